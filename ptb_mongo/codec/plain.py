"""Finds out from the bytes of documents whether there is anything to restore in them; most hold plain data alone.

Where there is nothing, what BSON's own decoder makes of the bytes in C is the value: the full decoder would give just
that. The test may take plain documents for others, but never the reverse: it does not tell names from contents.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import bson
from bson.errors import BSONError

from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.options import OPTIONS

__all__ = ["is_plain", "load_plain"]

# Whatever its type: a tag that is no text is an error, not data. In short documents a pattern is found twice as fast
# as bytes are, of which the last one is as frequent as NUL.
_TAGGED: Final = re.compile(f"{TAG}\x00".encode())
# What `unescape` reads as something else than it says.
_ESCAPED: Final = re.compile(rb"%(?:i[-0-9]|2[5E4]|00|uD[89A-F]|empty|none|btrue|bfalse|5Fpy)")


def is_plain(raw: bytes) -> bool:
    """Whether documents hold neither a tag nor an escaped key."""
    return _TAGGED.search(raw) is None and _ESCAPED.search(raw) is None


def load_plain(raws: Sequence[bytes]) -> list[dict[str, Any]] | None:
    """The decoded documents, if all of them are plain and none is damaged; otherwise `None`."""
    together = b"".join(raws)
    if not is_plain(together):
        return None
    try:
        return bson.decode_all(together, OPTIONS)
    except (BSONError, RecursionError, ValueError):
        return None
