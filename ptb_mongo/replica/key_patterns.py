"""The keys in a path that the user writes: `on_conflict` and `exclude` accept the same ones.

A dot, a `*` or a `%` that belongs to a key is written `%2E`, `%2A` or `%25`, an empty key `%empty`; `*` alone matches
any key. A whole number matches both the number and the text.
"""

from __future__ import annotations

import re
from typing import Final

from ptb_mongo.codec import escape, unescape
from ptb_mongo.errors import ConfigurationError

__all__ = ["stored_keys"]

_INDEX: Final = re.compile("0|-?[1-9][0-9]*", re.ASCII)


def stored_keys(part: str, pattern: str, option: str) -> frozenset[str] | None:
    """The stored forms of one key in a pattern; `None` for any key.

    Args:
        part: The key, as the user writes it.
        pattern: The whole pattern, for the error.
        option: The argument that contains it, for the error.

    Raises:
        ConfigurationError: If it is not a key.
    """
    if part == "*":
        return None
    if not part:
        raise ConfigurationError(f"{option} has the pattern {pattern!r:.80}, with an empty key: that is %empty")
    if "*" in part:
        raise ConfigurationError(
            f"{option} has the pattern {pattern!r:.80}: * stands for a whole key, ** for all keys at the end; "
            "as a part of a key it is %2A"
        )
    key = unescape(part.replace("%2A", "*"))
    forms = {str(escape(key))}
    if isinstance(key, str) and _INDEX.fullmatch(key):
        forms.add(f"%i{key}")  # 5, in addition to "5"
    return frozenset(forms)
