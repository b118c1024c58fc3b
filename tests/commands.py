"""Commands to the server: a listener that tests subclass, to note the ones that they check."""

from __future__ import annotations

from typing import Any

from pymongo.monitoring import CommandListener

__all__ = ["Commands"]


class Commands(CommandListener):
    """Notes nothing; a subclass says in `started` what it notes."""

    def started(self, event: Any) -> None:
        """A command is sent."""

    def succeeded(self, event: Any) -> None:
        """It was answered."""

    def failed(self, event: Any) -> None:
        """It was refused, or not answered."""
