"""When what is known of a document was learned, and whether it may have changed since. Pure."""

from __future__ import annotations

__all__ = ["Moments"]


class Moments:
    """The moments of one document, on a logical clock of its own.

    Args:
        known: Whether what is stored is known now; otherwise the document has to be read first.
    """

    __slots__ = ("_known_at", "_now", "_read_at", "_reading_at", "_told_at")

    def __init__(self, *, known: bool) -> None:
        # Now; when something was last known for certain; when it was last said that the document may have changed; when
        # the last read began that counted; when the last read began, whatever became of it.
        self._now = self._known_at = self._told_at = self._reading_at = 0
        self._read_at = 0 if known else -1

    @property
    def is_loaded(self) -> bool:
        """Whether the document was read at least once, or is known not to exist."""
        return self._read_at >= 0

    @property
    def is_stale(self) -> bool:
        """Whether the database may hold another version."""
        return self._told_at > self._read_at

    @property
    def is_being_read(self) -> bool:
        """Whether a read may be in progress, which will tell this replica what it has shown."""
        return self._reading_at > max(self._known_at, self._read_at)

    @property
    def now(self) -> int:
        """This moment, for `is_read_since`."""
        return self._now

    def is_read_since(self, moment: int) -> bool:
        """Whether a read that began after a moment has counted."""
        return self._read_at > moment

    def told(self) -> None:
        """Somebody may have written the document."""
        self._now += 1
        self._told_at = self._now

    def reading(self) -> int:
        """A read begins; returns its moment, to be passed to `read`."""
        self._now += 1
        self._reading_at = self._now
        return self._now

    def _is_too_old(self, moment: int) -> bool:
        """Whether a read that began then may show an older state than what is known."""
        return moment < self._known_at

    def _know(self, read_at: int | None = None) -> None:
        """Something is known for certain: by an answer, or by a read that began at a moment."""
        if read_at is not None:
            self._read_at = read_at
        self._now += 1
        self._known_at = self._now

    def _has_failed(self, moment: int) -> None:
        """What a read showed that began then cannot be used: there is no need to read it again."""
        self._read_at = max(self._read_at, moment)
