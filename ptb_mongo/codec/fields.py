"""Reads the fields of a tagged document that a stranger may have written: each of just the type that it should have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ptb_mongo.errors import DecodeError

__all__ = ["Decode", "Encode", "Fields", "field", "integer", "optional"]

Fields = dict[str, Any]
"""A tagged document."""

Encode = Callable[[Any], Any]
"""Gives the form of a value that stands inside another one."""

Decode = Callable[[Any], Any]
"""Gives the value of a form that stands inside another one."""


def field(tagged: Fields, name: str, *kinds: type) -> Any:
    """A field, if it has one of these types.

    Raises:
        DecodeError: If not, or if it is missing.
    """
    value = tagged.get(name)
    if type(value) not in kinds:
        raise DecodeError(f"its {name} is not a {' or a '.join(kind.__name__ for kind in kinds)}")
    return value


def optional(tagged: Fields, name: str, *kinds: type) -> Any:
    """The same for a field that may be missing, which is `None`."""
    return field(tagged, name, *kinds) if name in tagged else None


def integer(tagged: Fields, name: str, least: int, most: int) -> int:
    """A whole number between two others.

    Raises:
        DecodeError: If it is none, or too small or too large.
    """
    number: int = field(tagged, name, int)
    if not least <= number <= most:
        raise DecodeError(f"its {name} is not between {least} and {most}")
    return number
