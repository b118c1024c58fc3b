"""Marks what is not to be stored, in the value that is encoded instead of a user's own.

Where an attribute is `LEFT_OUT`, the encoder stores nothing under its name. If a class has put that elsewhere, it has
made something of its own of an excluded value, which nobody could take out again: that is refused.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from ptb_mongo.codec.objects import attributes_of

__all__ = ["IN_ONE_PIECE", "LEFT_OUT", "OF_ITS_OWN", "LeftOut", "PartOf", "without_left_out"]

IN_ONE_PIECE: Final = "exclude does not reach into an object that is stored in one piece: exclude all of it"
OF_ITS_OWN: Final = "exclude does not reach into what an object's own __getstate__ makes: exclude all of it"


class LeftOut:
    """The type of `LEFT_OUT`."""

    def __repr__(self) -> str:
        return "LEFT_OUT"


LEFT_OUT: Final = LeftOut()
"""Stands for an attribute that is excluded."""


class PartOf(NamedTuple):
    """An object of which a part is excluded, though nothing can be taken out of it.

    Attributes:
        value: The object.
    """

    value: Any


def without_left_out(obj: object, state: Any) -> Any:
    """What an object says is its state, without its attributes that are excluded."""
    if type(state) is not dict or not any(value is LEFT_OUT for value in state.values()):
        return state
    attributes = attributes_of(obj)
    return {
        name: value for name, value in state.items() if value is not LEFT_OUT or attributes.get(name) is not LEFT_OUT
    }
