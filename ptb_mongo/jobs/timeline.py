"""Which jobs are due, in order. Pure."""

from __future__ import annotations

import bisect
from collections.abc import Iterator

__all__ = ["Timeline"]


class Timeline:
    """The moments of jobs, ordered by moment and then by id."""

    def __init__(self) -> None:
        self._ordered: list[tuple[float, str]] = []
        self._moments: dict[str, float] = {}

    def place(self, job_id: str, moment: float | None) -> None:
        """Sets when a job is due; `None` for never."""
        if job_id in self._moments:
            old = self._moments.pop(job_id)
            del self._ordered[bisect.bisect_left(self._ordered, (old, job_id))]
        if moment is not None:
            self._moments[job_id] = moment
            bisect.insort(self._ordered, (moment, job_id))

    def due(self, now: float, at_most: int) -> list[str]:
        """The jobs that are due now, the earliest first."""
        end = min(at_most, bisect.bisect_right(self._ordered, now, key=_moment))
        return [job_id for _, job_id in self._ordered[:end]]

    @property
    def first(self) -> float | None:
        """When the next job is due; `None` if none is."""
        return self._ordered[0][0] if self._ordered else None

    def __iter__(self) -> Iterator[str]:
        return (job_id for _, job_id in self._ordered)

    def clear(self) -> None:
        """Forgets all jobs."""
        self._ordered.clear()
        self._moments.clear()


def _moment(entry: tuple[float, str]) -> float:
    return entry[0]
