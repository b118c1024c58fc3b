"""The adversary: kills and freezes servers, kills and stops bots, plants edits. A seed decides everything.

Others are in `proxies`, which disturb the traffic, and in `access`, which revoke permissions.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from actors import BotProcess
from edits import FLAT, PLANTED, RICH
from history import GRACE, Document, Recorder
from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError
from values import CONTAINERS, Keys, Value

from ptb_mongo.embedded import EmbeddedMongo, EmbeddedReplicaSet


class Nemesis:
    """One of several, each for a thread of its own; leaves everything healed.

    Args:
        recorder: Notes what it does.
        chance: Decides.
        until: The time at which to stop.
        counts: How often it did what.
    """

    pause = (0.3, 1.5)

    def __init__(self, recorder: Recorder, chance: random.Random, until: float, counts: Counter[str]) -> None:
        self._recorder = recorder
        self._chance = chance
        self._until = until
        self._counts = counts

    def run(self) -> None:
        """Does one thing after another."""
        while (left := self._until - time.monotonic()) > 0:
            time.sleep(min(left, self._chance.uniform(*self.pause)))
            actions = self.actions()
            (action,) = self._chance.choices(list(actions), list(actions.values()))
            begun = time.monotonic()
            action()
            self._recorder.note("nemesis", action=action.__name__, begun=begun)

    def actions(self) -> dict[Callable[[], None], int]:
        """What it can do, and how likely."""
        raise NotImplementedError

    def _count(self, what: str) -> None:
        self._counts[what] += 1


class NodeNemesis(Nemesis):
    """Kills and freezes servers.

    Args:
        servers: Which.
        starting: Held while a server starts: it must reach itself, and others, by the address that clients use.
        args: See `Nemesis`.
    """

    def __init__(self, servers: EmbeddedReplicaSet, starting: threading.Lock, *args: Any) -> None:
        super().__init__(*args)
        self._servers = servers
        self._starting = starting
        self._election = self._last_election()

    def actions(self) -> dict[Callable[[], None], int]:
        """See `Nemesis.actions`."""
        return {
            self._kill_primary: 4,
            self._kill_most: 1,
            self._freeze_primary: 4,
            self._freeze_secondary: 1,
            self._freeze_most: 2,
            self._freeze_all: 1,
            self._freeze_and_kill: 1,
            self._cut_off_and_kill: 3,
        }

    def run(self) -> None:
        """See `Nemesis.run`; heals what is ill."""
        try:
            super().run()
        finally:
            for member in self._servers.members:
                if member.is_running:
                    member.resume()
            self._start()

    def _start(self) -> None:
        with self._starting:
            self._servers.start()

    def _last_election(self) -> object:
        while True:
            primary = self._servers.primary(timeout=30)
            with MongoClient(primary.host, directConnection=True) as client:
                hello = client.admin.command("hello")
            if hello["isWritablePrimary"]:  # else it has stepped down meanwhile
                return hello["electionId"]

    def _over(self, what: str) -> None:
        self._count(what)
        election = self._last_election()
        if election != self._election:
            self._count("failovers")
        self._election = election

    def _most(self) -> list[EmbeddedMongo]:
        """The primary and another one: the rest is no majority."""
        primary = self._servers.primary()
        others = [member for member in self._servers.members if member is not primary]
        return [primary, self._chance.choice(others)]

    def _kill(self, members: list[EmbeddedMongo]) -> None:
        for member in members:
            member.kill()
        time.sleep(self._chance.uniform(0, 2.5))
        self._start()

    def _freeze(self, members: list[EmbeddedMongo], longest: float) -> None:
        for member in members:
            member.pause()
        time.sleep(self._chance.uniform(0.2, longest))
        for member in members:
            member.resume()

    def _kill_primary(self) -> None:
        self._kill([self._servers.primary()])
        self._over("kills of the primary")

    def _kill_most(self) -> None:
        self._kill(self._most())
        self._over("kills of two servers")

    def _freeze_primary(self) -> None:
        self._freeze([self._servers.primary()], 4)
        self._over("freezes of the primary")

    def _freeze_secondary(self) -> None:
        self._freeze(self._most()[1:], 3)
        self._over("freezes of a secondary")

    def _freeze_most(self) -> None:
        self._freeze(self._most(), 3)
        self._over("freezes of two servers")

    def _freeze_all(self) -> None:
        self._freeze(self._servers.members, 2.5)
        self._over("freezes of all servers")

    def _freeze_and_kill(self) -> None:
        primary = self._servers.primary()
        self._freeze([primary], 1)
        self._kill([primary])
        self._over("freezes, then kills")

    def _cut_off_and_kill(self) -> None:
        """What the primary takes meanwhile exists nowhere else, and is undone when it comes back."""
        primary = self._servers.primary()
        others = [member for member in self._servers.members if member is not primary]
        for member in others:
            member.pause()
        time.sleep(self._chance.uniform(0.2, 1))
        primary.kill()
        for member in others:
            member.resume()
        time.sleep(self._chance.uniform(1, 2.5))
        self._start()
        self._over("primaries cut off, then killed")


class BotNemesis(Nemesis):
    """Kills and stops bots, and starts them again."""

    def __init__(self, bots: list[BotProcess], *args: Any) -> None:
        super().__init__(*args)
        self._bots = bots

    def actions(self) -> dict[Callable[[], None], int]:
        """See `Nemesis.actions`."""
        return {self._kill_after_save: 4, self._kill: 1, self._stop: 3, self._kill_while_it_stops: 1}

    def _restart(self, bot: BotProcess, what: str) -> None:
        self._count(what)
        time.sleep(self._chance.uniform(0, 0.7))
        bot.start()
        self._count("restarts of bots")

    def _kill_after_save(self) -> None:
        bot = self._chance.choice(self._bots)
        if bot.saves and bot.waits_for("acknowledged", 5):
            bot.kill()
            self._restart(bot, "kills of bots after a save")

    def _kill(self) -> None:
        bot = self._chance.choice(self._bots)
        bot.kill()
        self._restart(bot, "kills of bots at any time")

    def _stop(self) -> None:
        bot = self._chance.choice(self._bots)
        if bot.is_ready(15):
            saved = bot.stop()
            if not saved and self._chance.random() < 0.4 and self._until - time.monotonic() > GRACE:
                time.sleep(GRACE)  # what it has spilled is old then, and others have changed the same
                self._count("bots stopped for long")
            self._restart(bot, "bots stopped")

    def _kill_while_it_stops(self) -> None:
        bot = self._chance.choice(self._bots)
        if bot.is_ready(15):
            bot.kill_while_it_stops(self._chance.uniform(0, 0.3))
            self._restart(bot, "kills of bots that stop")


class Planter(Nemesis):
    """Plants edits that no decent service makes: removes dicts and documents, and puts back what it read before."""

    pause = (0.2, 1.0)

    def __init__(self, uri: str, database: str, *args: Any) -> None:
        super().__init__(*args)
        self._client: MongoClient[dict[str, Any]] = MongoClient(uri)
        self._database = self._client.get_database(database, write_concern=WriteConcern("majority"))

    def actions(self) -> dict[Callable[[], None], int]:
        """See `Nemesis.actions`."""
        return {self._put_back: 3, self._remove_dict: 3, self._delete: 1, self._reorder_set: 3}

    def run(self) -> None:
        """See `Nemesis.run`."""
        with self._client:
            super().run()

    def _write(self, document: Document, path: Keys, value: Value, do: Callable[[], object]) -> None:
        number = self._recorder.write(document, path, value)
        self._done(number, do)

    def _done(self, number: int, do: Callable[[], object]) -> None:
        try:
            do()
        except PyMongoError as error:
            self._recorder.note("failed", number=number, error=type(error).__name__)
        else:
            self._recorder.acknowledged([number])
            self._count("planted edits")

    def _put_back(self) -> None:
        """As a person at a GUI does it: reads a document, edits it, and stores all of it again, or all but `rev`."""
        target, query = self._database.user_data, {"_id": PLANTED}
        begun = time.monotonic()
        try:
            found = target.find_one(query)
        except PyMongoError:
            return
        if found is None:
            return
        time.sleep(self._chance.uniform(0, 0.3))
        found["data"]["planted"] = self._recorder.value()
        if self._chance.random() < 0.5:
            found = {"_id": found["_id"], "data": found["data"]}
        number = self._recorder.write(("user_data", PLANTED), (), found["data"], since=begun)
        self._done(number, lambda: target.replace_one(query, found))

    def _remove_dict(self) -> None:
        path = self._chance.choice([("p",), ("p", "q"), ("d",)])
        change = {"$unset": {".".join(("data", *path)): ""}}
        target = self._database.user_data
        self._write(("user_data", PLANTED), path, None, lambda: target.update_one({"_id": PLANTED}, change))

    def _delete(self) -> None:
        scope = self._chance.choice(["user_data", "chat_data"])
        target = self._database[scope]
        self._write((scope, FLAT), (), None, lambda: target.delete_one({"_id": FLAT}))

    def _reorder_set(self) -> None:
        """Stores the same set in another order, unless it has changed: nothing has happened."""
        container = self._chance.choice([container for container in CONTAINERS if container.kind == "set"])
        query = {"_id": self._chance.choice(RICH[:-1])}
        try:
            items: Any = self._database.user_data.find_one(query)
            for key in container.field.split("."):
                items = (items or {}).get(key)
            if not items:
                return
            change = {"$set": {container.field: items[::-1]}}
            self._database.user_data.update_one({**query, container.field: items}, change)
        except PyMongoError:
            return
        self._count("sets in another order")
