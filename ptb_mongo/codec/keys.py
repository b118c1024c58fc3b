"""Escapes the keys of a dict, so that each can stand in an update path and comes back with its type.

Pure text work. A key that needs no escape is stored as it is; what other services write unescaped is read
as it stands, never refused.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["TAG", "escape", "unescape"]

TAG: Final = "_py"
"""The key that marks a tagged document; as a user's key it is escaped."""

_EMPTY: Final = "%empty"
_NONE: Final = "%none"
_BOOLS: Final = {True: "%btrue", False: "%bfalse"}
_WHOLE: Final[dict[str, object]] = {
    _EMPTY: "",
    _NONE: None,
    _BOOLS[True]: True,
    _BOOLS[False]: False,
    "%5Fpy": TAG,
}
_NEEDS_ESCAPE: Final = re.compile("[%.\x00\ud800-\udfff]|\\A\\$")
_ESCAPED: Final = re.compile("%(?:(25|2E|00|24)|u(D[89A-F][0-9A-F]{2}))")
_INT: Final = re.compile(r"%i(0|-?[1-9][0-9]*)", re.ASCII)
_MAX_INT_DIGITS: Final = 1000


def _escape_character(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"%{code:02X}" if code < 0x80 else f"%u{code:04X}"  # noqa: PLR2004  (ASCII ends there)


def _unescape_character(match: re.Match[str]) -> str:
    return chr(int(match.group(1) or match.group(2), 16))


def escape(key: object) -> str | None:
    """The stored form of a dict's key, or `None` for a key that no field name can hold.

    Args:
        key: `str`, `int`, `bool` and `None` have a stored form; every other type gives `None`, and so do
            integers of more than a thousand digits.
    """
    kind = type(key)
    if kind is str:
        text: str = key  # type: ignore[assignment]
        if text.isidentifier() and text != TAG:
            return text
        if not text:
            return _EMPTY
        if text == TAG:
            return "%5Fpy"
        return _NEEDS_ESCAPE.sub(_escape_character, text)
    if kind is int:
        if abs(key) >= 10**_MAX_INT_DIGITS:  # type: ignore[arg-type]
            return None
        return f"%i{key}"
    if kind is bool:
        return _BOOLS[key]  # type: ignore[index]
    return _NONE if key is None else None


def unescape(stored: str) -> object:
    """The key that a stored field name stands for."""
    if "%" not in stored:
        return stored
    if stored in _WHOLE:
        return _WHOLE[stored]
    if number := _INT.fullmatch(stored):
        return int(number.group(1)) if len(stored) <= _MAX_INT_DIGITS + 3 else stored
    return _ESCAPED.sub(_unescape_character, stored)
