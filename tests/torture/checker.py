"""Proves from the histories that nothing was lost: whoever wrote what is there now could have been the last.

Each write takes effect at some moment between its start and its end. So a value that is there in the end, or the
absence of one, is in order if somebody wrote it whose write did not end before another, acknowledged write to the
same path began. Else that other write is lost.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from history import Document, Keys, Sighting, Value, Write, leaves

_SHOWN: Final = 12  # writes of a path, in a report


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be.

    Attributes:
        kind: "lost", "resurrected", "unknown value", "went back", or what the runner found.
        where: The document and the path.
        text: What happened.
    """

    kind: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind.upper()} {self.where}: {self.text}"


def effect(write: Write, path: Keys) -> Value:
    """What a write to a path, or to a parent of it, makes of that path."""
    value = write.value
    for key in path[len(write.path) :]:
        value = value.get(key) if isinstance(value, dict) else None
    return value


class Checker:
    """Checks what is in the end, and what bots saw on the way, against all that was written.

    Args:
        writes: All of it.
    """

    def __init__(self, writes: Iterable[Write]) -> None:
        self._by_path: dict[tuple[Document, Keys], list[Write]] = defaultdict(list)
        self._by_document: dict[Document, list[Write]] = defaultdict(list)
        for write in sorted(writes, key=lambda write: write.start):
            self._by_path[write.document, write.path].append(write)
            self._by_document[write.document].append(write)

    def check(self, final: Mapping[Document, Any]) -> list[Violation]:
        """Compares the documents that are there in the end with what was written."""
        violations: list[Violation] = []
        for document in sorted({*final, *self._by_document}):
            there = dict(leaves(final.get(document)))
            known = {path for write in self._by_document[document] for path, _ in leaves(write.value, write.path)}
            found = [self._check_path(document, path, there.get(path)) for path in sorted({*there, *known})]
            violations += [violation for violation in found if violation is not None]
        return violations

    def check_sightings(self, sightings: Iterable[Sighting]) -> list[Violation]:
        """Looks for bots whose memory went back to a value that was overwritten before by one that they knew.

        What a server shows before a majority has it may be gone after a failover, and come again with the retry: so
        what others have written counts from its acknowledgement on.
        """
        violations = []
        known: dict[tuple[str, Document], dict[Keys, Write]] = defaultdict(dict)
        own = [write for writes in self._by_document.values() for write in writes if write.by_bot]
        moments: list[tuple[float, Write | Sighting]] = [(write.start, write) for write in own]
        moments += [(sighting.time, sighting) for sighting in sightings]
        for _, moment in sorted(moments, key=lambda moment: moment[0]):
            memory = known[moment.actor, moment.document]
            if isinstance(moment, Write):
                for path in [path for path in memory if path[: len(moment.path)] == moment.path]:
                    del memory[path]
                memory |= dict.fromkeys((path for path, _ in leaves(moment.value, moment.path)), moment)
                continue
            before = memory.pop(moment.path, None)
            writers = self._writers(moment.document, moment.path, moment.value)
            latest = max((write.end for write in writers), default=-math.inf)
            lasting = before is not None and (before.actor == moment.actor or before.end <= moment.time)
            if lasting and before is not None and latest < before.start:
                text = f"{moment.actor} had {_shown(before)}, and then saw {moment.value!r} at {moment.time:.3f}"
                violations.append(self._violation("went back", moment.document, moment.path, text))
            if moment.value is not None and writers:
                first = min(writers, key=lambda write: write.start)
                if first.acknowledged or first.actor == moment.actor:
                    memory[moment.path] = first
        return violations

    def _relevant(self, document: Document, path: Keys) -> list[Write]:
        """The writes to a path, and to its parents."""
        return [write for end in range(len(path) + 1) for write in self._by_path.get((document, path[:end]), ())]

    def _writers(self, document: Document, path: Keys, value: Value) -> list[Write]:
        return [write for write in self._relevant(document, path) if effect(write, path) == value]

    def _check_path(self, document: Document, path: Keys, value: Value) -> Violation | None:
        writers = self._writers(document, path, value)
        if value is not None and not writers:
            return self._violation("unknown value", document, path, f"nobody wrote {value!r}")
        latest = max((write.end for write in writers), default=-math.inf)
        for write in self._relevant(document, path):
            if not (write.acknowledged and write.binding) or effect(write, path) == value or write.start <= latest:
                continue
            if value is not None and any(
                self._may_be_undone(one, path) for one in self._relevant(document, path) if one.end >= write.start
            ):
                continue
            kind = "lost" if write.value is not None else "resurrected"
            return self._violation(kind, document, path, f"{_shown(write)} is overwritten by nothing but {value!r}")
        return None

    def _may_be_undone(self, removal: Write, path: Keys) -> bool:
        """Whether a removal of a dict met a bot's unsaved change inside that: the bot's version of all of it stays.

        With it, older values of others come back that the bot had read before.
        """
        for end in range(len(removal.path) or 1, len(path)):
            removed = path[:end]
            if effect(removal, removed) is None:
                return any(
                    write.by_bot
                    and len(write.path) > end
                    and write.path[:end] == removed
                    and write.end >= removal.start
                    for write in self._by_document[removal.document]
                )
        return False

    def _violation(self, kind: str, document: Document, path: Keys, text: str) -> Violation:
        writes = sorted(self._relevant(document, path), key=lambda write: write.start)[-_SHOWN:]
        story = "".join(f"\n    {_shown(write)}" for write in writes)
        return Violation(kind, f"{document[0]} {document[1]} {'.'.join(path)}", f"{text}; written there:{story}")


def _shown(write: Write) -> str:
    what = "removed" if write.value is None else "wrote a dict" if isinstance(write.value, dict) else repr(write.value)
    state = "acknowledged" if write.acknowledged else "unacknowledged"
    if not write.binding:
        state = "not binding"
    return f"{write.actor} {'.'.join(write.path) or 'all'}: {what} [{write.start:.3f}..{write.end:.3f}, {state}]"
