"""Stands for a value that is not to be stored, in a copy of the object that holds it.

The encoder leaves it as it is, and whoever has put it there takes it out of the document again.
"""

from __future__ import annotations

from typing import Final

__all__ = ["LEFT_OUT", "LeftOut"]


class LeftOut:
    """The type of `LEFT_OUT`."""

    def __repr__(self) -> str:
        return "LEFT_OUT"


LEFT_OUT: Final = LeftOut()
