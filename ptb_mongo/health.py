"""How the persistence is doing: counted where things happen, asked for by a cloud's health check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Counters", "Health"]


@dataclass(slots=True)
class Counters:
    """What has happened since the persistence was opened.

    Attributes:
        saves: Versions that were offered and differed from what is stored.
        documents_written: Documents that the server has acknowledged.
        conflicts: Keys that both sides had changed.
        stale_reads: Documents that were read again because somebody else may have changed them.
        last_error: The last error of the connection, or of a document.
    """

    saves: int = 0
    documents_written: int = 0
    conflicts: int = 0
    stale_reads: int = 0
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """The state of a `MongoPersistence`.

    Attributes:
        connected: Whether the server answered when it was asked last.
        refresh: How changes by others are noticed; `None` while the application is not initialized.
        waiting: Documents that are not written yet.
        oldest_waiting: Seconds since the oldest of them changed; 0.0 if none waits.
        quarantined: Documents that cannot be read.
        last_error: The last error; `None` if there was none.
        saves: Versions that were offered and differed from what is stored.
        documents_written: Documents that the server has acknowledged.
        conflicts: Keys that both sides had changed.
        stale_reads: Documents that were read again because somebody else may have changed them.
    """

    connected: bool = False
    refresh: Literal["watch", "read", "off"] | None = None
    waiting: int = 0
    oldest_waiting: float = 0.0
    quarantined: int = 0
    last_error: str | None = None
    saves: int = 0
    documents_written: int = 0
    conflicts: int = 0
    stale_reads: int = 0
