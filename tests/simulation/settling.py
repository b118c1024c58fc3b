"""The end of a world: all faults end, everybody writes once more, and then everything must agree."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from bot import Bot
from mongod import key
from nodes import Document, Node, leaves_of
from process import Process
from steps import BOT_ID, CHAT_ID
from things import CODEC

from ptb_mongo.codec import dump, load

if TYPE_CHECKING:
    from world import World

__all__ = ["Settling"]

_LONGEST_PAUSE: Final = 6.0  # that a bot makes before it tries again, and a little more
_LONGEST_PAUSE_OF_DOCUMENTS: Final = 310.0
_MOST_ROUNDS: Final = 8


class Settling:
    """See the module."""

    def __init__(self, world: World) -> None:
        self.world = world

    async def settle(self) -> None:
        """Lets everything come to rest, and looks at it."""
        await self._calm_down()
        if self.world.has_hostile_data:
            await self._cure()
        await self._until(lambda: self.world.redelivery.is_over, "has handled what comes again")
        await self._until(lambda: all(bot.is_idle() for bot in self.world.bots), "comes to rest")
        await self._give_time_beside_what_is_refused()
        await self._until(self._is_saved, "has saved", _LONGEST_PAUSE_OF_DOCUMENTS if self.world.may_blame else 60)
        await self._agree()
        if not any(map(self._refused, self.world.bots)):
            await self._rest()
        for bot in self.world.bots:
            if not bot.options.on_flush:
                self._compare(bot)
                self.world.checker.ended(bot.process, self._is_refused)
        self.world.redelivery.check()
        for bot in self.world.bots:
            await self._stop(bot)

    async def _calm_down(self) -> None:
        world = self.world
        world.network.heal()
        world.redelivery.calm_down()
        for life in world.lives:
            if not life.runs and not life.dead:
                world.loop.thaw(life)
        world.note("all faults end")
        calm = _LONGEST_PAUSE if world.network.has_failed() else 0.05
        await asyncio.sleep(max(0.0, world.network.busy_until - world.loop.time()) + calm)
        await self._until(lambda: all(bot.is_idle() for bot in world.bots), "comes to rest")

    async def _agree(self) -> None:
        """Each user has an update in each bot, and each bot a save pass, until nothing is left to be written."""
        world = self.world
        for _ in range(_MOST_ROUNDS):
            before = len(world.mongod.history)
            for bot in world.bots:
                for user_id in world.users:
                    await self._wait_for(bot.run(bot.process.update(user_id, (), 0)))
                await self._wait_for(bot.run(bot.process.save()))
                await asyncio.sleep(0.1)
            if all(change.collection in {"leases", "updates"} for change in world.mongod.history[before:]):
                return
        world.checker.violated("restless", "each save pass writes something")

    async def _give_time_beside_what_is_refused(self) -> None:
        """Lets documents be tried again of which something is refused to the end, and something else no longer is."""
        checker = self.world.checker
        for _ in range(int(2 * _LONGEST_PAUSE_OF_DOCUMENTS)):
            refused = [(bot, document) for bot in self.world.bots for document in self._refused(bot)]
            unsaved = [node for bot, document in refused for node in checker.unsaved(bot.process, document)]
            if all(self._is_refused(node) or checker.is_resolved(node) for node in unsaved):
                return
            await asyncio.sleep(0.5)

    def _is_refused(self, node: Node) -> bool:
        """Whether a change is refused as long as its document holds it."""
        return self.world.network.rules.may_refuse(node.document, node.path)

    def _refused(self, bot: Bot) -> set[Document]:
        """The documents with changes that are still refused."""
        unsaved = self.world.checker.unsaved_of(bot.process) if self.world.network.rules.all else []
        is_resolved = self.world.checker.is_resolved
        return {node.document for node in unsaved if self._is_refused(node) and not is_resolved(node)}

    def _waits(self, bot: Bot) -> bool:
        """Whether something is still to be written, but for what is refused to the end.

        That waits as well if PTB's next save will take it back.
        """
        rules, process, refused = self.world.network.rules, bot.process, self._refused(bot)
        for replica, one in process.persistence.session.writer.waiting.items():
            document = one.collection.collection, key(replica.id)
            is_offered = document in process.touched or self.world.checker.drops(process, document)
            pending = replica.pending.plain if replica.pending is not None else None
            if document not in refused and not (is_offered and rules.refuse_for_good(document, pending)):
                return True
        return False

    async def _stop(self, bot: Bot) -> None:
        checker, process = self.world.checker, bot.process
        is_saved = await self._wait_for(bot.run(process.stop()))
        if refused := self._refused(bot):
            self._check_error(process, refused)
        elif not is_saved:
            checker.violated("stop", f"{process} cannot be stopped: {process.errors}")
        if bot.options.on_flush:
            checker.ended(process, self._is_refused)
        if not refused and self.world.may_blame and sorted(bot.folder.glob("*.unsaved")):
            await self._start_once_more(bot)
        for spilled in bot.spilled if not self.world.has_hostile_data else ():
            checker.spilled(spilled, self._is_refused)
        if self.world.network.rules.are_lasting:
            return
        if not self.world.has_hostile_data and (left := sorted(bot.folder.glob("*.unsaved"))):
            checker.violated("left", f"{process} has left {len(left)} files of unsaved data")

    def _check_error(self, process: Process, refused: set[Document]) -> None:
        """The stop names what is refused."""
        for collection, number in refused:
            named = f"{collection}, _id {number!r}"
            if not process.errors or named not in process.errors[-1]:
                self.world.checker.violated("unnamed", f"the stop of {process} does not name {named}")

    async def _start_once_more(self, bot: Bot) -> None:
        """What was refused when an earlier process was taken over is saved by the next one."""
        process = bot.begin()
        await self._until(lambda: process.started, "starts")
        await self._wait_for(bot.run(process.stop()))

    async def _cure(self) -> None:
        """What cannot be read is repaired, what cannot be stored is taken away."""
        for collection, ids in (("user_data", self.world.users), ("chat_data", [CHAT_ID]), ("bot_data", [BOT_ID])):
            for document_id in ids:
                self.world.services["panel"].edit(collection, document_id, ("cure", "a"))
        await asyncio.sleep(0.1)
        mending = tuple((where, "mend") for where in ("user", "chat", "bot"))
        for bot in self.world.bots:
            for user_id in self.world.users:
                await self._wait_for(bot.run(bot.process.update(user_id, mending, 0)))
        await asyncio.sleep(0.1)

    async def _wait_for(self, task: Any) -> Any:
        while not task.done():
            await asyncio.wait({task}, timeout=60)
            if not task.done():
                self.world.checker.violated("hangs", f"{task} does not end")
                await asyncio.sleep(1)
        return task.result()

    async def _until(self, condition: Any, what: str, seconds: float = 60.0) -> None:
        for _ in range(int(2 * seconds)):
            if condition():
                return
            await asyncio.sleep(0.5)
        self.world.checker.violated("waits", f"no bot {what} within {seconds:g} s after all faults")
        await asyncio.sleep(0)

    def _is_saved(self) -> bool:
        for bot in self.world.bots:
            health = bot.process.persistence.health()
            waits = health.refresh is not None and not bot.options.on_flush and self._waits(bot)
            if health.refresh is not None and (not health.connected or waits):
                return False
        return True

    async def _rest(self) -> None:
        """Nothing is read or written where nothing happens."""
        busy = self.world.network.busy
        await asyncio.sleep(1.5)
        if self.world.network.busy != busy:
            self.world.checker.violated(
                "restless", f"{self.world.network.busy - busy} reads or writes although nothing happens"
            )

    def _compare(self, bot: Bot) -> None:
        process = bot.process
        assert process is not None
        health = process.persistence.health()
        refused = self._refused(bot)
        if {health.waiting, health.refused} != {len(refused)} or health.quarantined:
            self.world.checker.violated("waiting", f"{process}: {health}")
        for user_id in process.user_data:
            self._compare_data(process, ("user_data", key(user_id)), process.user_data[user_id])
        if CHAT_ID in process.chat_data or process.options.loading != "lazy":  # otherwise it was let go
            self._compare_data(process, ("chat_data", key(CHAT_ID)), process.chat_data[CHAT_ID])
        self._compare_data(process, ("bot_data", key(BOT_ID)), process.bot_data)
        for user_id in self.world.users:
            document = process.conversation(user_id)
            stored = self._stored(document)
            state = None if stored is None else stored.get("state")
            if self.world.checker.is_late(process, document):
                continue
            if state != process.state(user_id):
                self.world.checker.violated(
                    "differs", f"{process}: the conversation of {user_id} is stored as {state!r}"
                )
        if bot.options.keyboards:
            boards = self.world.mongod.documents("callback_data").items()
            stored_boards = {
                number: leaves
                for number, body in boards
                if (leaves := leaves_of("callback_data", body))
                and not self.world.checker.is_late(process, ("callback_data", number))
            }
            if stored_boards != {key(uuid): process.leaves_of_keyboard(uuid) for uuid in process.keyboards}:
                self.world.checker.violated("differs", f"{process}: the keyboards that are stored are {stored_boards}")

    def _stored(self, document: Document) -> Mapping[str, Any] | None:
        return self.world.mongod.documents(document[0]).get(document[1])

    def _compare_data(self, process: Process, document: Document, live: dict[Any, Any]) -> None:
        if document in self._refused(process.bot):
            return
        stored = self._stored(document)
        data = {} if stored is None else CODEC.decode(load(dump(dict(stored))).get("data", {}))  # as a bot reads it
        if process.options.excludes and document[0] == "user_data":
            live = {name: value for name, value in live.items() if name != "cache"}
            data = {name: value for name, value in data.items() if name != "cache"}
        if dump(CODEC.encode({"data": live})) != dump(CODEC.encode({"data": data})):
            kind = "order" if live == data else "differs"
            self.world.checker.violated(kind, f"{process} holds {live} for {document}, and stored is {data}")
