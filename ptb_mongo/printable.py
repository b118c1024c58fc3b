"""Makes others' text harmless: whatever a terminal would obey instead of showing it is escaped, as in Python.

Keys, values, names and ids come from users and from whoever writes to the database. Three places use this, so that no
other has to: `ptb_mongo.cli.terminal`, `ptb_mongo.log`, and the texts of our errors, which end up in other people's
logs and terminals.
"""

from __future__ import annotations

import json
import re
import traceback
from typing import Final

__all__ = ["printable", "printable_json", "printable_traceback"]

_OBEYED: Final = (
    "\x00-\x1f\x7f-\x9f"  # control characters, C0 and C1
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # what changes the direction of text
    "\u2028\u2029"  # line and paragraph separators
    "\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e007f"  # invisible, in no script
    "\ud800-\udfff"  # lone surrogates, which no stream accepts
)
# What emoji and scripts need stays: joiners, variation selectors, and the tags of a flag, such as that of Wales.
_FLAG: Final = "\U0001f3f4[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f"
_ESCAPED: Final = re.compile(f"{_FLAG}|[{_OBEYED}]")
_ESCAPED_IN_LINES: Final = re.compile(rf"{_FLAG}|(?!\n)[{_OBEYED}]")
_INDENT: Final = "    "


def printable(text: str, *, lines: bool = False) -> str:
    r"""The text with `\x1b` for an escape character, and so on; ordinary text of any script stays as it is.

    Args:
        text: The text.
        lines: Whether line feeds stay; only if none of them can come from the data.
    """
    if text.isascii() and text.isprintable():
        return text
    return (_ESCAPED_IN_LINES if lines else _ESCAPED).sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    found = match.group()
    return found if len(found) > 1 else found.encode("unicode_escape").decode()


def printable_json(text: str) -> str:
    """JSON that means the same, with the escapes of JSON.

    Args:
        text: JSON without line feeds between its parts.
    """
    return _ESCAPED.sub(_escaped_in_json, text)


def _escaped_in_json(match: re.Match[str]) -> str:
    found = match.group()
    return found if len(found) > 1 else json.dumps(found)[1:-1]


def printable_traceback(error: BaseException) -> str:
    """A traceback, indented, so that no line of an error's text can pass for a line of the log, or for a prompt."""
    lines = "".join(traceback.format_exception(type(error), error, error.__traceback__)).rstrip("\n").split("\n")
    return "\n".join(f"{_INDENT}{printable(line)}" for line in lines)
