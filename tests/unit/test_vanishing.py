"""What a bot has in memory is stored again in short steps, although most of it has not been used since the start."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest

from ptb_mongo.codec import Codec, dump
from ptb_mongo.health import Counters
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.sync import steps
from ptb_mongo.sync.availability import Availability
from ptb_mongo.sync.vanishing import Vanishing

NUMBER = 500


class Driver:
    """Takes the format document."""

    def __init__(self) -> None:
        self.form: Mapping[str, Any] = {}

    async def set_fields(self, _: str, __: str, fields: Mapping[str, Any], *, insert: Mapping[str, Any]) -> None:
        self.form = {**insert, **fields}


def remembered(driver: Any, submitted: list[int]) -> tuple[DataScope[Any], dict[int, Any], Vanishing]:
    """Users who are in memory, their data, and what stores them again; it submits their ids."""
    counters = Counters()
    users = DataScope[Any]("user_data", "user_data", Codec(), counters, new=dict)
    loaded = dict(users.attached([dump({"_id": one, "data": {"n": one}, "rev": "bot:1"}) for one in range(NUMBER)]))
    names = "ptb_mongo", "database", 5
    return (
        users,
        loaded,
        Vanishing(driver, *names, [users], lambda _, one: submitted.append(one.id), Availability(counters)),
    )


async def test_a_restore_from_memory_gives_way_between_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "_LONGEST", 0.0)
    submitted: list[int] = []
    driver = Driver()
    users, loaded, vanishing = remembered(driver, submitted)
    made = [0]

    async def look() -> None:
        while True:
            made.append(len(users.replicas.in_use()))
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    await asyncio.sleep(0)
    await vanishing.restore("1")
    looking.cancel()
    assert len(loaded) == len(submitted) == NUMBER
    assert max(after - before for before, after in itertools.pairwise(made)) <= 2
    assert driver.form["restored"] == "1"


async def test_a_restore_from_memory_leaves_out_nobody_whom_an_update_uses_meanwhile(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In each pause somebody is used whose turn in the restore has not come yet."""
    monkeypatch.setattr(steps, "_LONGEST", 0.0)
    submitted: list[int] = []
    users, loaded, vanishing = remembered(Driver(), submitted)
    assert users.replicas[0].id == 0

    async def use() -> None:
        for key in reversed(range(NUMBER)):
            users.see(key, loaded[key])
            await asyncio.sleep(0)

    using = asyncio.create_task(use())
    await vanishing.restore("1")
    using.cancel()
    assert sorted(submitted) == [*range(NUMBER)]


async def test_nothing_goes_on_after_the_end_of_what_waits_for_something_before_it() -> None:
    class NeverAnswers(Driver):
        def find(self, *_: Any, **__: Any) -> Any:
            return self._nothing()

        @staticmethod
        async def _nothing() -> Any:
            await asyncio.Event().wait()
            yield

    driver: Any = NeverAnswers()
    vanishing = Vanishing(driver, "ptb_mongo", "database", 5, [], lambda *_: None, Availability(Counters()))
    before = asyncio.all_tasks()
    for _ in range(3):
        vanishing.look()
        await asyncio.sleep(0)
    await vanishing.close()
    assert asyncio.all_tasks() == before
