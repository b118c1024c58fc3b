"""What planted data may cost: refuses values that take for ever, or all memory, to be made or to be used.

A few bytes may stand for a value whose hash, copy or text is without end. PTB copies all data before it saves,
for all users in one go: a single value that cannot be copied would end the saving of everybody's data.
"""

from __future__ import annotations

import copy
import re
import unicodedata
from typing import Any, Final

from ptb_mongo.errors import DecodeError

__all__ = [
    "COPY_HOOKS",
    "MAX_PACKED",
    "PATTERN_FLAGS",
    "Spending",
    "check_copy",
    "shown",
]

MAX_PACKED: Final = 10
"""Packed BSON in packed BSON; each level holds all that is inside once more."""

COPY_HOOKS: Final = frozenset(
    {"__deepcopy__", "__reduce_ex__", "__reduce__", "__getstate__", "__getnewargs_ex__", "__getnewargs__", "to_dict"}
)
"""What `copy`, and PTB's `to_dict`, look up on the object itself, where a planted attribute could be, and call."""

PATTERN_FLAGS: Final = int(re.ASCII | re.IGNORECASE | re.LOCALE | re.MULTILINE | re.DOTALL | re.UNICODE | re.VERBOSE)
"""What a pattern may be compiled with; `DEBUG` would print it."""

_MAX_PATTERN: Final = 100_000
_ALLOWANCE: Final = 0.02  # seconds for one document, whatever its size
_SECONDS_PER_CHARACTER: Final = 6e-6
_SECONDS_PER_CLASS: Final = 2e-4
_SECONDS_PER_LAID_OUT: Final = 2e-7
_LAST_LAID_OUT: Final = 0xFFFF  # beyond it, a range stays a range
_ONE: Final = re.compile(
    r"\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\U[0-9a-fA-F]{8}|\\N\{[^}]*\}|\\[0-7]{1,3}|\\.|.", re.DOTALL
)
_FRAMES_BELOW: Final = 100  # PTB may copy at a deeper place than we do


def shown(value: object, longest: int = 80) -> str:
    """What an error says of a value: the beginning of a text or a number, and of anything else its type.

    The `repr` of a value that holds others may be without end.
    """
    if type(value) in {str, bytes}:
        return f"{value[:longest]!r:.{longest}}"  # type: ignore[index]
    return f"{value!r:.{longest}}" if type(value) in {bool, float, type(None)} else f"a {type(value).__qualname__}"


def check_copy(value: object) -> None:
    """Refuses a value that PTB could not copy.

    Raises:
        DecodeError: If so: it holds the bot, is nested too deeply, or its class does not copy what it was given.
    """
    try:
        _copy_below(_FRAMES_BELOW, value)
    except Exception as error:  # whatever a class's own methods may raise
        what = type(error).__name__
        if isinstance(error, AttributeError) and error.name:
            what += f": a {type(error.obj).__qualname__} has no {shown(error.name)}"
        raise DecodeError(f"it cannot be copied, as PTB does with all data before it is saved ({what})") from error


def _copy_below(frames: int, value: object) -> None:
    if frames:
        _copy_below(frames - 1, value)
    else:
        copy.deepcopy(value)


class Spending:
    """What the regular expressions of one document cost: the only values that are dear to make, and cheap to write.

    A class of characters in brackets is laid out in full, and with `IGNORECASE` each of them is looked up.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._allowed = _ALLOWANCE
        # One that stands in several places is paid for once: the encoder may also come to one place twice.
        self._compiled: dict[tuple[str | bytes, int], re.Pattern[Any]] = {}

    def pattern(self, text: Any, flags: int) -> re.Pattern[Any]:
        """A compiled pattern.

        Raises:
            ValueError: If compiling it, and those before it, would take too long, or do more than that.
        """
        if type(text) not in {str, bytes} or type(flags) is not int:
            raise TypeError("a pattern is a text or bytes, and a number")
        if (known := self._compiled.get((text, flags))) is not None:
            return known
        if flags & ~PATTERN_FLAGS:
            raise ValueError("a pattern can be stored with the flags A, I, L, M, S, U and X alone")
        self._allowed += _SECONDS_PER_CHARACTER * len(text)
        self._seconds += _seconds_to_compile(text if isinstance(text, str) else text.decode("latin-1"), flags)
        if len(text) > _MAX_PATTERN:
            raise ValueError(f"a pattern of more than {_MAX_PATTERN:,} characters cannot be stored")
        if self._seconds > self._allowed:
            raise ValueError("patterns with so wide ranges of characters take too long to be compiled")
        compiled = self._compiled[text, flags] = re.compile(text, flags)
        return compiled


def _seconds_to_compile(text: str, flags: int) -> float:
    """An estimate that is rather too high."""
    seconds = _SECONDS_PER_CHARACTER * len(text)
    if not text.isascii() or "\\" in text:
        ignores_case = flags & re.IGNORECASE or "(?" in text
        seconds += text.count("[") * (_SECONDS_PER_CLASS if ignores_case else _SECONDS_PER_CLASS / 10)
        seconds += _laid_out(text) * _SECONDS_PER_LAID_OUT
    return seconds


def _laid_out(text: str) -> int:
    """How many characters all ranges hold that would be ranges inside brackets."""
    ones = _ONE.findall(text)
    count = 0
    for index, one in enumerate(ones[1:-1], 1):
        if one == "-":
            first, last = _code(ones[index - 1]), _code(ones[index + 1])
            count += max(min(last, _LAST_LAID_OUT) - first + 1, 0)
    return count


def _code(one: str) -> int:
    """The number of a character that a pattern writes as it is, or escapes in whatever way."""
    if len(one) == 1:
        return ord(one)
    kind, digits = one[1], one[2:]
    if kind in "xuU" and digits:
        return int(digits, 16)
    if kind.isdigit():
        return int(one[1:], 8) if set(one[1:]) <= set("01234567") else 0
    return ord(unicodedata.lookup(digits[1:-1])) if kind == "N" and digits else ord(kind)
