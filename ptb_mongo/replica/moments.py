"""When we learned what we know of a document, and whether it may have changed since. Pure."""

from __future__ import annotations

__all__ = ["Moments"]


class Moments:
    """The moments of one document, on its own logical clock.

    Args:
        known: Whether what is stored is known now; otherwise, the document must be read first.
    """

    __slots__ = ("_known_at", "_now", "_read_at", "_reading_at", "_told_at")

    def __init__(self, *, known: bool) -> None:
        # Now; when something was last known for certain; when the document was last reported as possibly changed; when
        # the last read that counted began; when the last read began, whatever its outcome.
        self._now = self._known_at = self._told_at = self._reading_at = 0
        self._read_at = 0 if known else -1

    @property
    def is_loaded(self) -> bool:
        """Whether the document has been read at least once, or is known not to exist."""
        return self._read_at >= 0

    @property
    def is_stale(self) -> bool:
        """Whether the database may hold another version."""
        return self._told_at > self._read_at

    @property
    def is_being_read(self) -> bool:
        """Whether a read may be in progress that will report its result to this replica."""
        return self._reading_at > max(self._known_at, self._read_at)

    @property
    def now(self) -> int:
        """This moment, for `is_read_since`."""
        return self._now

    def is_read_since(self, moment: int) -> bool:
        """Whether a read that began after this moment has counted."""
        return self._read_at > moment

    def told(self) -> None:
        """Notes that somebody may have written the document."""
        self._now += 1
        self._told_at = self._now

    def reading(self) -> int:
        """Notes that a read begins; returns its moment, to be passed to `read`."""
        self._now += 1
        self._reading_at = self._now
        return self._now

    def _is_too_old(self, moment: int) -> bool:
        """Whether a read that began then may show an older state than the known one."""
        return moment < self._known_at

    def _know(self, read_at: int | None = None) -> None:
        """Notes that something is known for certain: by an answer, or by a read that began at a moment."""
        if read_at is not None:
            self._read_at = read_at
        self._now += 1
        self._known_at = self._now

    def _has_failed(self, moment: int) -> None:
        """Notes that the result of the read that began then cannot be used; reading again would not help."""
        self._read_at = max(self._read_at, moment)
