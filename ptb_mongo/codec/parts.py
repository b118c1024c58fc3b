"""What values of the standard library are taken apart into, and how they are made of that again."""

from __future__ import annotations

import enum
import functools
import operator
import re
import sys
import zoneinfo
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

from ptb_mongo.codec.bounds import shown
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["PARTS", "enum_key", "enum_member", "fraction", "range_of"]

_MAX_BITS: Final = 100_000


def enum_key(member: enum.Enum) -> object:
    """What identifies a member: its name, or the number of a combination of flags."""
    cls = type(member)
    name = member.name
    return name if name is not None and cls.__members__.get(name) is member else member.value


def enum_member(cls: type, key: object) -> enum.Enum:
    """The member that `enum_key` stands for.

    Raises:
        DecodeError: If there is no such member any more.
    """
    if not issubclass(cls, enum.Enum):
        raise DecodeError(f"{cls.__qualname__} is not an enum")
    if isinstance(key, str) and key in cls.__members__:
        return cls.__members__[key]
    if issubclass(cls, enum.Flag) and type(key) is int and not _is_foreign_to(cls, key):
        try:
            return cls(key)
        except ValueError as error:
            raise DecodeError(f"{cls.__qualname__} has no flags {shown(key)}") from error
    raise DecodeError(f"{cls.__qualname__} has no member {shown(key)}")


def _is_foreign_to(cls: type[enum.Flag], flags: int) -> bool:
    """Whether a number holds flags that an enum of the standard library lacks: it would keep that number for ever."""
    known = functools.reduce(operator.or_, (member.value for member in cls), 0)
    return cls.__module__ in sys.stdlib_module_names and bool(flags & ~known)


def _zone_parts(zone: zoneinfo.ZoneInfo) -> tuple[Any, ...]:
    if not zone.key:
        raise EncodeError("a ZoneInfo that was read from a file cannot be stored; use one with a name")
    return "zone", zone.key


def _fraction_parts(value: Fraction) -> tuple[Any, ...]:
    _check_lengths("fraction", value.numerator, value.denominator)
    return "fraction", value.numerator, value.denominator


def fraction(numerator: Any, denominator: Any) -> Fraction:
    """The fraction of two integers.

    Raises:
        TypeError: If they are no integers.
        ValueError: If they are so long that reducing them, which takes the square of their length, would hang.
    """
    if type(numerator) is not int or type(denominator) is not int:
        raise TypeError("a fraction is made of two integers")
    _check_lengths("fraction", numerator, denominator)
    return Fraction(numerator, denominator)


def range_of(*parts: Any) -> range:
    """The range of a start, a stop and a step.

    Raises:
        TypeError: If they are no integers.
        ValueError: If they are so long that their division, which takes the square of their length, would hang.
    """
    if not all(isinstance(part, int) for part in parts):
        raise TypeError("a range is made of integers")
    _check_lengths("range", *parts)
    return range(*parts)


def _check_lengths(kind: str, *parts: int) -> None:
    if any(part.bit_length() > _MAX_BITS for part in parts):
        raise ValueError(f"a {kind} of such long numbers cannot be stored")


def _range_parts(value: range) -> tuple[Any, ...]:
    _check_lengths("range", value.start, value.stop, value.step)
    return "range", value.start, value.stop, value.step


PARTS: Final[dict[type, Callable[[Any], tuple[Any, ...]]]] = {
    zoneinfo.ZoneInfo: _zone_parts,
    Fraction: _fraction_parts,
    range: _range_parts,
    re.Pattern: lambda value: ("pattern", value.pattern, value.flags),
}
"""Takes values apart, by their type: a word that says what they are, and the parts."""
