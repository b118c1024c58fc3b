"""Warnings about jobs that a queue cannot store or does not run: each only once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from ptb_mongo.jobs.callbacks import name_of
from ptb_mongo.log import get_logger

__all__ = ["Notices"]

_LOGGER = get_logger(__name__)
_MOST: Final = 100
_OF_PTB: Final = ("telegram.", "ptb_mongo.")


class Notices:
    """Logs warnings, and remembers them."""

    def __init__(self) -> None:
        self._said: set[str] = set()

    def _is_new(self, what: str) -> bool:
        if what in self._said or len(self._said) >= _MOST:
            return False
        self._said.add(what)
        return True

    def unregistered(self, callback: Any) -> None:
        """Warns of a job whose callback is not registered, unless it is PTB's own, for conversations."""
        if str(getattr(callback, "__module__", "")).startswith(_OF_PTB):
            return
        name = name_of(callback)
        if name is None:
            if self._is_new("a local function"):
                _LOGGER.warning(
                    "Jobs of %r are not stored, and are lost at a restart: it is a lambda, or a function inside "
                    "another one, so its name does not lead to it. Write it at the top level of a module, and register "
                    "it: MongoJobQueue(callbacks=[...])",
                    getattr(callback, "__qualname__", type(callback).__qualname__),
                )
        elif self._is_new(name):
            _LOGGER.warning(
                "Jobs of %s are not stored, and are lost at a restart, because it is not registered: "
                "MongoJobQueue(callbacks=[%s, ...])",
                name,
                getattr(callback, "__qualname__", name),
            )

    def unstorable(self, job_id: str, error: Exception) -> None:
        """Reports a job that cannot be stored."""
        if self._is_new(f"job {job_id}"):
            _LOGGER.error("The job %s is not stored, and is lost at a restart: %s", job_id, error)

    def unknown(self, names: Iterable[object]) -> None:
        """Warns of stored jobs whose callbacks are not registered."""
        new = [name for name in dict.fromkeys(str(one)[:200] for one in names) if self._is_new(f"stored {name}")]
        if new:
            _LOGGER.warning(
                "Stored jobs are kept but not run, because their callbacks are not registered: %s; "
                'MongoJobQueue(callbacks=[...]), or aliases={"%s": <the function>} if one was renamed',
                ", ".join(new),
                new[0],
            )

    def too_many(self, most: int, most_bytes: int) -> None:
        """Warns of more stored jobs than are held in memory."""
        if self._is_new("too many"):
            _LOGGER.warning(
                "More than %d jobs, or more than %d MB of them, are stored; others are left alone. Who created them?",
                most,
                most_bytes // 2**20,
            )
