"""A refresh takes the fast path only if there is nothing at all to note, read or merge.

The kind of fault: another reason for a refresh to do something, which the fast path does not know.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from ptb_mongo.quick_refresh import Check, never, quick_refresh
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.sync.heartbeat import Heartbeat


class World:
    """All that a refresh looks at, as it is when there is nothing to do."""

    def __init__(self) -> None:
        self.live: dict[str, Any] = {}
        self.replica = LiveReplica(1, None)
        self.replica.attached(self.live, is_again=False)
        self.session = object()
        self.stream = SimpleNamespace(is_following=True)
        self.lifecycle = SimpleNamespace(session=self.session, settings=object())
        self.saver = SimpleNamespace(heartbeat=Heartbeat(), is_alarmed=False)
        self.saver.heartbeat.gives(("bot_data", 1), self.live, asyncio.get_running_loop().time())
        self.scope = SimpleNamespace(replicas={1: self.replica})

    def check(self, name: str, **others: Any) -> Check:
        world: dict[str, Any] = {**vars(self), **others}
        parts = (world[part] for part in ("lifecycle", "session", "stream", "saver"))
        return quick_refresh(*parts, name, world["scope"])


CHANGES: dict[str, Callable[[World], object]] = {
    "the document may have changed": lambda world: world.replica.told(),
    "the object lags behind": lambda world: world.replica.not_brought(b""),
    "another object was handed out": lambda world: world.replica.attached({}, is_again=True),
    "PTB has made another object": lambda world: world.replica.replaced_by({}),
    "the document was forgotten": lambda world: world.scope.replicas.clear(),
    "the stream has broken": lambda world: setattr(world.stream, "is_following", False),
    "the session was closed": lambda world: setattr(world.lifecycle, "session", None),
    "a worker's application shares it": lambda world: setattr(world.lifecycle, "settings", object()),
}


@pytest.mark.parametrize("name", ["user_data", "bot_data"])
@pytest.mark.parametrize("change", CHANGES)
async def test_it_is_not_taken_if(change: str, name: str) -> None:
    world = World()
    check = world.check(name)
    assert check(1, world.live)

    CHANGES[change](world)

    assert not check(1, world.live)


async def test_it_is_not_taken_by_another_object_that_is_equal() -> None:
    world = World()
    assert not world.check("user_data")(1, {})
    assert not never(1, world.live)


async def test_the_saver_is_told_what_an_update_gets() -> None:
    world = World()
    assert world.check("user_data")(1, world.live)
    assert world.saver.heartbeat.given["user_data", 1] is world.live
    assert world.check("user_data", saver=None)(1, world.live)


async def test_the_alarm_is_left_to_the_layers() -> None:
    world = World()
    check = world.check("bot_data")
    world.saver.is_alarmed = True
    assert not check(1, world.live)
    world.saver.is_alarmed = False

    world.saver.heartbeat.begins()  # the first update after a save begins to count

    assert not check(1, world.live)


async def test_updates_without_a_save_are_left_to_the_layers_when_one_is_due() -> None:
    heartbeat, now = Heartbeat(), asyncio.get_running_loop().time()
    heartbeat.gives(("bot_data", 1), {}, now)

    assert heartbeat.gives_again(("bot_data", 1), {}, now + 59)
    assert not heartbeat.gives_again(("bot_data", 1), {}, now + 61)
