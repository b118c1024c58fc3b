"""States that PTB cannot use: its start compares each state, and an update looks its state up in the handler's.

The kind of fault: a value can be decoded, copied and stored, but its comparison raises an error, so that the start
fails forever. A state that merely has no hash affects only the updates of that conversation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest
from bots import until
from neighbours import OTHER, Talking, neighbours, serves_the_neighbour, states
from offline import message_from
from workers import running

from ptb_mongo.codec import Codec

USER = 42


class Unequal:
    """Raises an error when it is compared."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("never equal")

    def __hash__(self) -> int:
        return 0


class Elementwise:
    """Compares each of its elements, as arrays do: the result is neither true nor false."""

    def __eq__(self, other: object) -> Any:
        return Undecided()

    def __hash__(self) -> int:
        return 0


class Undecided:
    """Is neither true nor false."""

    def __bool__(self) -> bool:
        raise ValueError("it is ambiguous")


class Unhashable:
    """Has no hash."""

    def __hash__(self) -> int:
        raise TypeError("no hash")


@dataclass
class Holding:
    """Is compared by what it holds, with others of its kind alone."""

    array: Any


attrs, numpy, pydantic = map(pytest.importorskip, ("attrs", "numpy", "pydantic"))
Model = pydantic.create_model("Model", __module__=__name__, array=(Any, None))
Defined = attrs.make_class("Defined", ["array"])
Defined.__module__ = __name__

INCOMPARABLE = {
    "an array of numpy": numpy.array([1, 2]),
    "a signalling NaN": Decimal("sNaN"),
    "an object whose comparison raises": Unequal(),
    "an object whose comparison has no result": Elementwise(),
}
ODD = {
    **INCOMPARABLE,
    "a tuple with a signalling NaN": (1, Decimal("sNaN")),
    "an object without a hash": Unhashable(),
    "an array of one number": numpy.array([1]),
    "a dataclass with an array": Holding(numpy.array([1, 2])),
    "a model of pydantic": Model(array=numpy.array([1, 2])),
    "an object of attrs": Defined(numpy.array([1, 2])),
    "a list": [1],
    "a dict": {"a": 1},
    "a set": {1},
}
CLASSES = [Unequal, Elementwise, Unhashable, Holding, Model, Defined]


def plant(database: Any, name: str) -> dict[str, Any]:
    codec = Codec(CLASSES)
    named = {"handler": "order", "key": [USER, USER]}
    document = {"_id": named, **named, "state": codec.encode(ODD[name]), "rev": "a:1"}
    database.conversations.replace_one({"_id": named}, document, upsert=True)
    return document


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_state_stops_neither_the_start_nor_anybody_else(
    mongo_persistence: Callable[..., Any], database: Any, name: str
) -> None:
    planted = plant(database, name)
    neighbours(database)

    bot = Talking(mongo_persistence(trusted=CLASSES))
    async with bot.application:
        await serves_the_neighbour(bot, database, 1)

        assert bot.persistence.health().quarantined == (name in INCOMPARABLE)
    assert database.conversations.find_one({"_id": planted["_id"]}) == planted


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("loading", ["eager", "lazy"])
async def test_an_odd_state_that_appears_while_workers_run_stops_nobody_else(
    worker: Callable[..., Any], database: Any, name: str, loading: str
) -> None:
    held: list[Any] = []
    bot = worker("stream", [states(held)], loading=loading, trusted=CLASSES)
    async with running(bot):
        await bot.application.deliver(message_from(USER, "a"))
        planted = plant(database, name)
        scope = bot.persistence.session.scopes.conversations
        await until(lambda: scope.replicas[("order", (USER, USER))].is_stale)
        for user in (OTHER, USER, OTHER):
            await bot.application.deliver(message_from(user, "a"))
        assert held[-1] == 1  # where the other user was
        assert bot.persistence.health().quarantined == (name in INCOMPARABLE)
    assert database.conversations.find_one({"_id": planted["_id"]})["state"] == planted["state"]
