"""What we say about a server's error: never anything from a document.

Servers quote documents, index keys and values in their error texts. So we have a sentence of our own for each code
that blames a document, and cut any other text off where a value may begin. Paths and names of collections and indexes
may stay: our errors name those anyway.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from ptb_mongo.driver import codes

__all__ = ["cut", "said"]

_NO_REASON: Final = "no reason given"
_SENTENCES: Final = {
    15: "it is nested too deeply, or has a number that is too large",
    16: "a value is longer than is allowed",
    22: "it is not valid BSON",
    28: "there is a value in the database where the change supposes a document",
    40: "the change would write into one path twice",
    52: "a key begins with a dollar",
    53: "a value of this type cannot be an _id",
    54: "a value must occur only once",
    55: "a DBRef is not valid",
    56: "a key is empty",
    57: "a key has a dot",
    66: "it would change a field that must not change: _id, or a shard key",
    121: "Document failed validation: the collection has a validator or a schema that does not accept it",
    171: "an index cannot take two lists of one document",
    17280: "a value is too long for an index",
    **dict.fromkeys((510, 511, 13027, 16755), "a geospatial index cannot take one of the values"),
    **dict.fromkeys(
        (11000, 11001, 12582), "another document has the same value in a field for which there is a unique index"
    ),
    **dict.fromkeys(
        codes.TOO_LARGE, "with what others have stored in it, it would be larger than the 16 MB that MongoDB takes"
    ),
}
"""For codes that blame a document; 2, 9 and 14 are not included, as they may also blame options."""

_OF_SERVERS: Final = codes.AWAY | codes.EVERYBODYS | codes.UNSATISFIABLE
"""Their texts are about servers, users and settings, so numbers and text after a colon do not come from a document."""

_OF_NAMES: Final = frozenset({73, 13297})
"""`InvalidNamespace`, `DatabaseDifferCase`: they quote the names of databases and collections that they reject."""

_QUOTED: Final = re.compile(r"""[{\["`<]|(?<!\w)'""")
_VALUE: Final = re.compile(rf"""{_QUOTED.pattern}|(?<!:):(?=\s)|(?<![\w.$])[-+]?\.?\d""")
_COMMAND: Final = " to execute command"


def said(error: Mapping[str, Any]) -> str:
    """The reason that a server gives.

    Args:
        error: Its answer, or an entry of `writeErrors`: `code`, `errmsg`, and possibly more.
    """
    code = error.get("code")
    if code in _SENTENCES:
        fields = list(error.get("keyPattern", ()))
        return _taken(fields) if fields else _SENTENCES[code]
    return cut(str(error.get("errmsg") or ""), code) or str(error.get("codeName") or _NO_REASON)


def cut(text: str, code: int | None = None) -> str:
    """The text up to where it may quote a value; may be empty."""
    before = text.partition(_COMMAND)[0]
    if code in _OF_NAMES:
        return before
    pattern = _QUOTED if code in _OF_SERVERS else _VALUE
    return pattern.split(before, maxsplit=1)[0].rstrip(" \t\r\n:,;(")


def _taken(fields: list[str]) -> str:
    """Says which fields have the same value as in another document."""
    return f"another document has the same {' and '.join(fields)}, for which there is a unique index"
