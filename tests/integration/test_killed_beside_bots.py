"""A command is killed and run again while a bot, or two workers of one, run and change what it is about.

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
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import bson
import pytest
from bots import Bot, until
from deep import IS_DEEP
from people import ADA, SECRET, mentions
from telegram.ext import ConversationHandler, MessageHandler, filters
from typer.testing import Result
from workers import SharedBot, running, text

from ptb_mongo import MongoPersistence, PersistenceError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")

Run = Callable[..., Result]
At = tuple[str, int, str]
Case = tuple[str, str, At]
BOB, CY = 77, 78
PEOPLE = ("user_data", "chat_data", "conversations", "jobs", "user_data_quarantine")
_PAUSE = 0.05  # seconds between two updates of one user: the commands need the processor, too


def every(command: str) -> list[Case]:
    """All moments of a command, which take minutes."""
    moments = itertools.product([command], range(1, 5), ["started", "succeeded"])
    return [*itertools.product(["workers", "a bot"], ["eager", "lazy"], moments)] if IS_DEEP else []


def handlers() -> list[Any]:
    async def stay(*_: Any) -> str:
        return "amount"

    texts = MessageHandler(filters.TEXT, stay)
    return [ConversationHandler([texts], {"amount": [texts]}, [], name="order", persistent=True)]


def count(context: Any) -> None:
    for data in (context.user_data, context.chat_data):
        data["n"] = data.get("n", 0) + 1


def remember(context: Any) -> None:
    for data in (context.user_data, context.chat_data):
        data["note"] = SECRET


class Traffic:
    """Updates of some users, which the bots get in turn; each counts.

    Attributes:
        done: How many updates of each user were done.
        users: Whose updates come now.
    """

    def __init__(self, bots: Sequence[Any], *users: int) -> None:
        self._bots = bots
        self.done: Counter[int] = Counter()
        self.users = set(users)

    async def comes(self, user: int, bot: Any) -> None:
        """One update; it comes again until it is done, if it is of somebody who is not being erased."""
        update = text(user=user)
        while True:
            try:
                if isinstance(bot, Bot):
                    await bot.hears(count, user=user)
                else:
                    await bot.delivers(update, lambda _, context: count(context))
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

    async def _saves(self) -> None:
        while self.users:
            await self._bots[0].application.update_persistence()
            await asyncio.sleep(_PAUSE)

    @contextlib.asynccontextmanager
    async def going_on(self) -> AsyncIterator[None]:
        """Updates come all the time, and PTB saves."""
        coming = [asyncio.create_task(one) for one in (*map(self._goes_on, self.users), self._saves())]
        try:
            yield
        finally:
            self.users.clear()
            await asyncio.gather(*coming)

    async def all_went_on(self) -> None:
        """Until each user has got something done from now on."""
        before = self.done.copy()
        await until(lambda: all(self.done[user] > before[user] for user in self.users))


@pytest.fixture
def bots_of(
    mongodb_server_uri: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, str], list[Any]]:
    monkeypatch.setattr("ptb_mongo.sync.graves.LATE", 0.1)  # seconds for which a deleted document leaves a mark

    def persistence(loading: Any) -> MongoPersistence[Any, Any, Any]:
        return MongoPersistence(mongodb_server_uri, mongodb_database, loading=loading)

    def make(who: str, loading: str) -> list[Any]:
        if who == "workers":
            return [SharedBot(persistence(loading), handlers(), exclusive=True) for _ in range(2)]
        bot = Bot(persistence(loading))
        bot.application.add_handlers(handlers(), group=1)
        return [bot]

    return make


def fill(database: Any) -> None:
    """What else is stored of people."""
    for one in (ADA, BOB):
        database.jobs.insert_one({"_id": f"job of {one}", "user_id": one, "data": SECRET if one == ADA else ""})
        database.user_data_quarantine.insert_one({"_id": one, "data": SECRET if one == ADA else ""})


def counts(database: Any, user: int) -> list[Any]:
    found = [database[name].find_one(user) or {} for name in ("user_data", "chat_data")]
    return [one.get("data", {}).get("n") for one in found]


async def all_saved(bots: list[Any]) -> None:
    """PTB's save passes, twice, and everything that is under way."""
    for bot in [*bots, *bots]:
        await bot.application.update_persistence()
    await until(lambda: all(bot.persistence.health().waiting == 0 for bot in bots))


@pytest.mark.parametrize(
    ("who", "loading", "at"),
    [
        ("workers", "lazy", ("findAndModify", 1, "succeeded")),  # the order is given
        ("a bot", "eager", ("delete", 2, "succeeded")),
        *every("delete"),
    ],
    ids=str,
)
async def test_an_erasure_that_was_killed_is_completed_beside_bots_that_go_on(
    bots_of: Any, database: Any, run: Run, killed: Any, who: str, loading: str, at: At
) -> None:
    bots = bots_of(who, loading)
    traffic = Traffic(bots, ADA, BOB, CY)
    async with running(*bots):
        await bots[0].hears(remember, user=ADA)
        async with traffic.going_on():
            await until(lambda: min(traffic.done[user] for user in (ADA, BOB, CY)) >= 4)
            fill(database)
            await asyncio.to_thread(killed, at, "erase", "user", str(ADA), "--apply")
            traffic.users.discard(ADA)
            await traffic.all_went_on()
            for bot in bots:  # she has written since
                await bot.hears(remember, user=ADA)
            ran = await asyncio.to_thread(run, "erase", "user", str(ADA), "--apply")
            assert ran.exit_code == 0, ran.output
            await until(lambda: not any(ADA in bot.application.user_data for bot in bots))
            await traffic.all_went_on()

        await all_saved(bots)
        await until(lambda: not mentions(database, secret=str(ADA)) and not mentions(database))
        for user in (BOB, CY):
            assert counts(database, user) == [traffic.done[user]] * 2
        assert {one["_id"] for one in database.jobs.find()} == {f"job of {BOB}"}
        assert database.user_data_quarantine.count_documents({}) == 1
        assert database.conversations.count_documents({"state": "amount"}) == 2
        for number, bot in enumerate(bots, 1):  # who comes back is new
            await traffic.comes(ADA, bot)
            await bot.application.update_persistence()
            assert counts(database, ADA) == [number] * 2
        assert not any(bot.errors for bot in bots)


@pytest.mark.parametrize(
    ("who", "loading", "at"), [("workers", "lazy", ("insert", 2, "succeeded")), *every("insert")], ids=str
)
async def test_a_restore_that_was_killed_is_completed_beside_bots_that_go_on(
    bots_of: Any, database: Any, run: Run, killed: Any, tmp_path: Path, who: str, loading: str, at: At
) -> None:
    bots = bots_of(who, loading)
    traffic, file = Traffic(bots, BOB, CY), str(tmp_path / "b")
    async with running(*bots):
        await bots[0].hears(remember, user=ADA)
        for bot in (*bots, bots[0]):
            await traffic.comes(ADA, bot)
        await all_saved(bots)
        fill(database)
        async with traffic.going_on():
            await until(lambda: min(traffic.done[user] for user in (BOB, CY)) >= 4)
            assert (await asyncio.to_thread(run, "backup", file)).exit_code == 0
            hers = of_ada(database)
            assert all(hers.values())
            for name in PEOPLE:
                ids = [one["_id"] for one in database[name].find() if is_hers(one)]
                database[name].delete_many({"_id": {"$in": ids}})
            await traffic.all_went_on()
            await asyncio.to_thread(killed, at, "restore", file, "--apply")
            assert of_ada(database) != hers
            await traffic.all_went_on()
            ran = await asyncio.to_thread(run, "restore", file, "--apply")
            assert ran.exit_code == 0, ran.output
            assert of_ada(database) == hers  # byte for byte
            await traffic.all_went_on()

        await all_saved(bots)
        assert of_ada(database) == hers
        for bot in bots:
            await until(lambda bot=bot: is_noticed(bot))  # type: ignore[misc]
            await traffic.comes(ADA, bot)
            await bot.application.update_persistence()
        for user in (ADA, BOB, CY):
            assert counts(database, user) == [traffic.done[user]] * 2
        assert database.conversations.count_documents({"state": "amount"}) == 3
        assert not any(bot.errors for bot in bots)


def is_noticed(bot: Any) -> bool:
    """Whether her next update finds what was restored; a plain bot hears of it from the change stream."""
    replica = bot.persistence.session.scopes.user_data.replicas.get(ADA)
    return isinstance(bot, SharedBot) or replica is None or replica.is_stale or replica.base is not None


def is_hers(document: Any) -> bool:
    return str(ADA) in str(document)


def of_ada(database: Any) -> dict[str, list[bytes]]:
    """What is stored of her, as bytes, by collection."""
    return {name: [bson.encode(one) for one in database[name].find().sort("_id") if is_hers(one)] for name in PEOPLE}
