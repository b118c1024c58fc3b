"""A command is killed and run again while a bot and a second worker run, and change what it is about.

The kind of fault: a worker that was told only half of it, and stores what it still holds of somebody who is to be
forgotten; an order that nobody completes; a half of a restore that a worker takes for a deletion, or undoes; somebody
else's data that goes, or goes back, with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import bson
import pytest
from bots import until
from deep import IS_DEEP
from people import ADA, SECRET, mentions
from telegram import Update
from telegram.ext import ConversationHandler, MessageHandler, filters
from typer.testing import Result
from workers import SharedBot, running, text

from ptb_mongo import MongoPersistence, PersistenceError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

Run = Callable[..., Result]
At = tuple[str, int, str]
BOB, CY = 77, 78
PEOPLE = ("user_data", "chat_data", "conversations", "jobs", "user_data_quarantine")
_PAUSE = 0.05  # seconds between two updates of one user: the commands need the processor, too
FIRST: list[tuple[str, At]] = [
    ("lazy", ("findAndModify", 1, "succeeded")),  # the order is given
    ("eager", ("delete", 2, "succeeded")),
]
ERASING = [*itertools.product(["eager", "lazy"], itertools.product(["delete"], range(1, 6), ["started", "succeeded"]))]
RESTORED: list[tuple[str, At]] = [("lazy", ("insert", 2, "succeeded"))]
RESTORING = [
    *itertools.product(["eager", "lazy"], itertools.product(["insert"], range(1, 5), ["started", "succeeded"]))
]


def handlers() -> list[Any]:
    async def stay(*_: Any) -> str:
        return "amount"

    texts = MessageHandler(filters.TEXT, stay)
    return [ConversationHandler([texts], {"amount": [texts]}, [], name="order", persistent=True)]


class Traffic:
    """Updates of some users, which two workers get in turn; each counts, and leaves a note.

    Attributes:
        done: How many updates of each user were done.
        users: Whose updates come now.
    """

    def __init__(self, bots: list[SharedBot], *users: int) -> None:
        self._bots = bots
        self.done: Counter[int] = Counter()
        self.users = set(users)

    async def comes(self, user: int, bot: SharedBot) -> None:
        """One update; it comes again until it is done, if it is of somebody who is not being erased."""
        update = text(user=user)

        def act(_: Update, context: Any) -> None:
            for data in (context.user_data, context.chat_data):
                data["n"] = data.get("n", 0) + 1
                data["note"] = SECRET if user == ADA else f"note of {user}"

        while True:
            try:
                await bot.delivers(update, act)
            except PersistenceError:
                if user == ADA:
                    return
                continue
            self.done[user] += 1
            return

    async def _goes_on(self, user: int) -> None:
        for bot in itertools.cycle(self._bots):
            if user not in self.users:
                return
            await self.comes(user, bot)
            await asyncio.sleep(_PAUSE)

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Updates come all the time."""
        coming = [asyncio.create_task(self._goes_on(user)) for user in self.users]
        try:
            yield
        finally:
            self.users.clear()
            await asyncio.gather(*coming)


@pytest.fixture
def two_workers(
    mongodb_server_uri: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], list[SharedBot]]:
    monkeypatch.setattr("ptb_mongo.sync.graves.LATE", 0.1)  # seconds for which a deleted document leaves a mark

    def make(loading: Any) -> list[SharedBot]:
        persistences = [MongoPersistence(mongodb_server_uri, mongodb_database, loading=loading) for _ in range(2)]
        return [SharedBot(one, handlers(), exclusive=True) for one in persistences]

    return make


def fill(database: Any) -> None:
    """What else is stored of people."""
    for one in (ADA, BOB):
        database.jobs.insert_one({"_id": f"job of {one}", "user_id": one, "data": SECRET if one == ADA else ""})
        database.user_data_quarantine.insert_one({"_id": one, "data": SECRET if one == ADA else ""})


def counts(database: Any, user: int) -> list[Any]:
    found = [database[name].find_one(user) or {} for name in ("user_data", "chat_data")]
    return [one.get("data", {}).get("n") for one in found]


async def all_saved(bots: list[SharedBot]) -> None:
    """PTB's save passes, twice, and everything that is under way."""
    for bot in [*bots, *bots]:
        await bot.application.update_persistence()
    await until(lambda: all(bot.persistence.health().waiting == 0 for bot in bots))


@pytest.mark.parametrize(("loading", "at"), FIRST + ERASING if IS_DEEP else FIRST, ids=str)
async def test_an_erasure_that_was_killed_is_completed_beside_two_workers(
    two_workers: Any, database: Any, run: Run, killed: Any, loading: str, at: At
) -> None:
    bots = two_workers(loading)
    traffic = Traffic(bots, ADA, BOB, CY)
    async with running(*bots):
        async with traffic.going_on():
            await until(lambda: min(traffic.done[user] for user in (ADA, BOB, CY)) >= 4)
            fill(database)
            await asyncio.to_thread(killed, at, "erase", "user", str(ADA), "--apply")
            before = traffic.done.copy()
            await until(lambda: all(traffic.done[user] > before[user] for user in (BOB, CY)))
            traffic.users.discard(ADA)
            async with bots[0].application.turn(user_id=ADA):
                pass  # what she has written is done
            ran = await asyncio.to_thread(run, "erase", "user", str(ADA), "--apply")
            assert ran.exit_code == 0, ran.output
            before = traffic.done.copy()
            await until(lambda: all(traffic.done[user] > before[user] for user in (BOB, CY)))

        await all_saved(bots)
        await until(lambda: not mentions(database, secret=str(ADA)) and not mentions(database))
        for user in (BOB, CY):
            assert counts(database, user) == [traffic.done[user]] * 2
        assert {one["_id"] for one in database.jobs.find()} == {f"job of {BOB}"}
        assert database.user_data_quarantine.count_documents({}) == 1
        assert database.conversations.count_documents({"state": "amount"}) == 2
        for number, bot in enumerate(bots, 1):  # who comes back is new
            await traffic.comes(ADA, bot)
            assert counts(database, ADA) == [number] * 2
        assert not any(bot.errors for bot in bots)


@pytest.mark.parametrize(("loading", "at"), RESTORED + RESTORING if IS_DEEP else RESTORED, ids=str)
async def test_a_restore_that_was_killed_is_completed_beside_two_workers(
    two_workers: Any, database: Any, run: Run, killed: Any, tmp_path: Path, loading: str, at: At
) -> None:
    bots = two_workers(loading)
    traffic, file = Traffic(bots, BOB, CY), str(tmp_path / "b")
    async with running(*bots):
        for bot in (*bots, bots[0]):
            await traffic.comes(ADA, bot)
        await all_saved(bots)
        fill(database)
        async with traffic.going_on():
            await until(lambda: min(traffic.done[user] for user in (BOB, CY)) >= 4)
            assert (await asyncio.to_thread(run, "backup", file)).exit_code == 0
            hers = of_ada(database)
            for name in PEOPLE:
                database[name].delete_many(
                    {"_id": {"$in": [one["_id"] for one in database[name].find() if is_hers(one)]}}
                )
            await asyncio.to_thread(killed, at, "restore", file, "--apply")
            before = traffic.done.copy()
            await until(lambda: all(traffic.done[user] > before[user] for user in (BOB, CY)))
            ran = await asyncio.to_thread(run, "restore", file, "--apply")
            assert ran.exit_code == 0, ran.output
            assert of_ada(database) == hers  # byte for byte
            before = traffic.done.copy()
            await until(lambda: all(traffic.done[user] > before[user] for user in (BOB, CY)))

        await all_saved(bots)
        assert of_ada(database) == hers
        for bot in bots:
            await traffic.comes(ADA, bot)
        for user in (ADA, BOB, CY):
            assert counts(database, user) == [traffic.done[user]] * 2
        assert database.conversations.count_documents({"state": "amount"}) == 3
        assert not any(bot.errors for bot in bots)


def is_hers(document: Any) -> bool:
    return str(ADA) in str(document)


def of_ada(database: Any) -> dict[str, list[bytes]]:
    """What is stored of her, as bytes, by collection."""
    return {name: [bson.encode(one) for one in database[name].find().sort("_id") if is_hers(one)] for name in PEOPLE}
