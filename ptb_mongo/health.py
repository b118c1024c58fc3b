"""The state of the persistence, for health checks: counted where things happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Counters", "Health"]


@dataclass(slots=True)
class Counters:
    """What has happened since the persistence was created.

    Attributes:
        saves: Documents that were handed to the writer.
        documents_written: Documents that the server has acknowledged.
        conflicts: Values that both sides had changed.
        stale_reads: Documents that were read because somebody else may have changed them.
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
        connected: Whether the server is reachable, as far as the last request has shown.
        saver_alive: Whether PTB still hands over changes. If PTB's saver cannot copy the data, it ends for good,
            silently. That is noticed if updates are handled and no save has come for two intervals and a minute, or
            five seconds after a save that broke off.
        refresh: How changes by others are noticed; `None` while the application is not initialized.
        reason: Why documents are waiting to be written or read: the server is unreachable, or refuses it for now.
            `None` if none has to wait.
        waiting: Documents that are not written yet.
        refused: Documents with changes that cannot be stored because of their content; all others are saved.
        oldest_waiting: How many seconds the oldest of the waiting documents has waited; 0.0 if none waits.
        quarantined: Documents that cannot be read; for each collection, at most a thousand that nobody uses.
        last_error: The last error; `None` if there was none.
        saves: Documents that were handed to the writer.
        documents_written: Documents that the server has acknowledged.
        conflicts: Values that both sides had changed.
        stale_reads: Documents that were read because somebody else may have changed them.
    """

    connected: bool = False
    saver_alive: bool = True
    refresh: Literal["watch", "read", "off"] | None = None
    reason: str | None = None
    waiting: int = 0
    refused: int = 0
    oldest_waiting: float = 0.0
    quarantined: int = 0
    last_error: str | None = None
    saves: int = 0
    documents_written: int = 0
    conflicts: int = 0
    stale_reads: int = 0
