"""Two bots and a service make random edits, saves, refreshes, drops and restarts: they end up agreeing."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections import defaultdict
from typing import Any, ClassVar

import pytest
from bots import Bot
from deep import IS_DEEP
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test
from pymongo import MongoClient

from ptb_mongo import MongoPersistence

USERS = (1, 2)
users = st.sampled_from(USERS)
bots = st.sampled_from([0, 1])
paths = st.sampled_from([("a",), ("b",), ("d", "x"), ("d", "y"), ("0",), ("a.b",)])
GONE = "gone"
_RUNS = itertools.count()


def stored(path: tuple[str, ...]) -> str:
    return ".".join(("data", *(part.replace(".", "%2E") for part in path)))


def put(data: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        data = data.setdefault(part, {})
    if value is GONE:
        data.pop(path[-1], None)
    else:
        data[path[-1]] = value


def look(data: Any, path: tuple[str, ...]) -> object:
    for part in path:
        data = data.get(part, GONE) if isinstance(data, dict) else GONE
    return data


class Sides(RuleBasedStateMachine):
    """The bots' memories, the database, and who wrote what last."""

    uri: ClassVar[str]
    refresh: ClassVar[str]
    loading: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.client: Any = MongoClient(self.uri)
        self.database = self.client[f"sides_{os.getpid()}_{next(_RUNS)}"]
        self.numbers = itertools.count(1)
        self.bots: list[Bot] = []
        self.last: dict[tuple[int, tuple[str, ...]], dict[str, object]] = defaultdict(dict)
        self.dropped: set[int] = set()

    def run(self, coroutine: Any) -> Any:
        return self.loop.run_until_complete(coroutine)

    def new_bot(self) -> Bot:
        options: Any = {"refresh": self.refresh, "loading": self.loading}
        bot = Bot(MongoPersistence(self.uri, self.database.name, **options))
        self.run(bot.application.initialize())
        return bot

    def note(self, who: str, user: int, path: tuple[str, ...], value: object) -> None:
        self.last[user, path][who] = value

    @initialize()
    def start(self) -> None:
        self.bots = [self.new_bot(), self.new_bot()]

    @rule(index=bots, user=users, path=paths, remove=st.booleans())
    def bot_edits(self, index: int, user: int, path: tuple[str, ...], remove: bool) -> None:
        value = GONE if remove else next(self.numbers)
        self.run(self.bots[index].hears(lambda context: put(context.user_data, path, value), user=user))
        self.note(f"bot {index}", user, path, value)

    @rule(user=users, path=paths, remove=st.booleans())
    def service_edits(self, user: int, path: tuple[str, ...], remove: bool) -> None:
        value = GONE if remove else next(self.numbers)
        operation = {"$unset": {stored(path): ""}} if remove else {"$set": {stored(path): value}}
        self.database.user_data.update_one({"_id": user}, operation, upsert=not remove)
        self.note("service", user, path, value)

    @rule(user=users)
    def service_deletes(self, user: int) -> None:
        self.database.user_data.delete_one({"_id": user})
        self.dropped.add(user)

    @rule(index=bots)
    def saves(self, index: int) -> None:
        self.run(self.bots[index].saves())

    @rule(index=bots, user=users)
    def hears(self, index: int, user: int) -> None:
        self.run(self.bots[index].hears(user=user))

    @rule(index=bots, user=users)
    def drops(self, index: int, user: int) -> None:
        self.bots[index].application.drop_user_data(user)
        self.dropped.add(user)

    @rule(index=bots)
    def restarts(self, index: int) -> None:
        self.run(self.bots[index].application.shutdown())
        self.bots[index] = self.new_bot()

    def contents(self) -> dict[int, Any]:
        found = {document["_id"]: document.get("data", {}) for document in self.database.user_data.find()}
        return {user: found.get(user, {}) for user in USERS}

    async def agree(self) -> None:
        for _ in range(1000):
            for bot in self.bots:
                for user in USERS:
                    await bot.hears(user=user)
                await bot.saves()
            in_database = {
                user: {key.replace("%2E", "."): value for key, value in data.items()}
                for user, data in self.contents().items()
            }
            in_memory = [{user: bot.application.user_data[user] for user in USERS} for bot in self.bots]
            if all(memory == in_database for memory in in_memory):
                return
            await asyncio.sleep(0.003)  # until the change stream has told both
        raise AssertionError(f"they do not agree: {in_memory}, database {in_database}")

    def teardown(self) -> None:
        try:
            if self.bots:
                self.run(self.agree())
                data = {user: self.bots[0].application.user_data[user] for user in USERS}
                for (user, path), by in self.last.items():
                    value = look(data[user], path)
                    if user not in self.dropped:
                        assert value in by.values(), f"user {user}, {path}: {value!r}, and the last edits are {by}"
                assert not [error for bot in self.bots for error in bot.errors]
        finally:
            for bot in self.bots:
                self.run(bot.application.shutdown())
            self.client.drop_database(self.database.name)
            self.client.close()
            self.run(self.loop.shutdown_default_executor())
            self.loop.close()


@pytest.mark.parametrize(
    ("refresh", "loading"), [("watch", "eager"), ("watch", "lazy"), ("read", "eager"), ("read", "lazy")]
)
def test_two_bots_and_a_service_end_up_with_the_same_data_and_no_lost_edit(
    mongodb_server_uri: str, refresh: str, loading: str
) -> None:
    machine: Any = type("Sides", (Sides,), {"uri": mongodb_server_uri, "refresh": refresh, "loading": loading})

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=200 if IS_DEEP else 8,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
