"""Proves from the histories that nothing was lost: the author of each final value could have been the last writer.

Each write takes effect at some moment between its start and its end. So a value that is there in the end, or the
absence of one, is in order if somebody wrote it whose write did not end before another, acknowledged write to the
same path began. Else that other write is lost.

An element of a list or set is such a value, too: 1 where it is there, 2 where it is there twice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from history import GRACE, Document, Sighting, Write
from values import Keys, Value, leaves

_SHOWN: Final = 12  # writes of a path, in a report


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must not be.

    Attributes:
        kind: "lost", "resurrected", "unknown value", "twice", "out of order", "went back", or what the runner found.
        where: The document and the path.
        text: What happened.
    """

    kind: str
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind.upper()} {self.where}: {self.text}"


def effect(write: Write, path: Keys) -> Value:
    """What a write to a path, or to a parent of it, makes of that path; `None` also where a dict is then."""
    value = _written(write, path)
    return None if isinstance(value, dict) else value


def _written(write: Write, path: Keys) -> Value:
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

    def check_orders(self, final: Mapping[Document, Any]) -> list[Violation]:
        """Looks for lists in which what a process appended stands before what it had saved earlier.

        Args:
            final: What is there in the end: for each document, its lists by their paths.
        """
        violations = []
        for document, lists in final.items():
            for path, elements in lists.items():
                written: dict[str, list[Write]] = defaultdict(list)
                for element in elements:
                    for write in self._by_path.get((document, (*path, element)), ()):
                        if write.value is not None and write.acknowledged and write.spilled is None:
                            written[write.actor].append(write)
                for writes in written.values():
                    latest = writes[0]
                    for write in writes:
                        latest = max(latest, write, key=lambda write: write.start)
                        if write.end < latest.start:
                            text = f"{_shown(latest)} stands before {_shown(write)}"
                            violations.append(self._violation("out of order", document, path, text))
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
            if before is not None and self._went_back(before, moment, writers):
                text = f"{moment.actor} had {_shown(before)}, and then saw {moment.value!r} at {moment.time:.3f}"
                violations.append(self._violation("went back", moment.document, moment.path, text))
            if moment.value is not None and writers:
                first = min(writers, key=lambda write: write.start)
                if first.acknowledged or first.actor == moment.actor:
                    memory[moment.path] = first
        return violations

    def _went_back(self, before: Write, sighting: Sighting, writers: list[Write]) -> bool:
        if before.actor != sighting.actor and before.end > sighting.time:
            return False
        if any(write.end >= before.start for write in writers):
            return False
        return sighting.value is None or not self._may_be_kept(sighting.document, sighting.path, sighting.value, before)

    def _relevant(self, document: Document, path: Keys) -> list[Write]:
        """The writes to a path, and to its parents."""
        return [write for end in range(len(path) + 1) for write in self._by_path.get((document, path[:end]), ())]

    def _writers(self, document: Document, path: Keys, value: Value) -> list[Write]:
        return [write for write in self._relevant(document, path) if effect(write, path) == value]

    def _check_path(self, document: Document, path: Keys, value: Value) -> Violation | None:
        if isinstance(value, int) and value > 1:
            return self._violation("twice", document, path, f"it is there {value} times")
        writers = self._writers(document, path, value)
        if value is not None and not writers:
            return self._violation("unknown value", document, path, f"nobody wrote {value!r}")
        for write in self._relevant(document, path):
            if effect(write, path) == value or not self._binds(write, path):
                continue
            if any(_may_follow(writer, write) for writer in writers):
                continue
            if value is not None and self._may_be_kept(document, path, value, write):
                continue
            kind = "lost" if write.value is not None else "resurrected"
            return self._violation(kind, document, path, f"{_shown(write)} is overwritten by nothing but {value!r}")
        return None

    def _binds(self, write: Write, path: Keys) -> bool:
        """Whether what was written has to be there if nobody has overwritten it.

        What a bot has spilled loses every conflict: it need not come where others wrote, too.
        """
        if write.spilled is not None:
            return all(one.name == write.name for one in self._relevant(write.document, path))
        return write.acknowledged and write.binding

    def _may_be_kept(self, document: Document, path: Keys, value: Value, overwritten: Write) -> bool:
        """Whether a bot may have kept an older value with a dict that others have removed, and so overwritten a write.

        A removal of a dict may meet a bot's unsaved change inside that: the bot's version of all of it stays then, also
        over what others write there until it is saved. With it, older values of others come back that the bot had read
        before.
        """
        writers = self._writers(document, path, value)
        for removal, removed in self._removals(document, path):
            was_there = any(one.start <= removal.end for one in writers)
            for change in self._by_document[document]:
                is_inside = len(change.path) > len(removed) and change.path[: len(removed)] == removed
                if not change.by_bot or not is_inside or change.end < removal.start:
                    continue
                if removal.end >= overwritten.start:
                    return True
                is_kept = change.start <= removal.end and change.end >= overwritten.start
                if was_there and is_kept and change.actor != overwritten.actor:
                    return True
        return False

    def _removals(self, document: Document, path: Keys) -> list[tuple[Write, Keys]]:
        """The writes that remove dicts around a path, each with the outermost dict that it removes."""
        removals = []
        for write in self._relevant(document, path):
            for end in range(len(write.path) or 1, len(path)):
                if _written(write, path[:end]) is None:
                    removals.append((write, path[:end]))
                    break
        return removals

    def _violation(self, kind: str, document: Document, path: Keys, text: str) -> Violation:
        writes = sorted(self._relevant(document, path), key=lambda write: write.start)[-_SHOWN:]
        story = "".join(f"\n    {_shown(write)}" for write in writes)
        return Violation(kind, f"{document[0]} {document[1]} {'.'.join(path)}", f"{text}; written there:{story}")


def _may_follow(write: Write, other: Write) -> bool:
    """Whether a write may have taken effect after another one.

    What a bot has spilled does not, if the other one was made when it was old, and before the bot began again.
    """
    if write.spilled is not None:
        is_old = write.spilled + GRACE < other.start and other.end < write.taken
        return not is_old
    return write.end >= other.start


def _shown(write: Write) -> str:
    what = "removed" if write.value is None else "wrote a dict" if isinstance(write.value, dict) else repr(write.value)
    state = "acknowledged" if write.acknowledged else "unacknowledged"
    if not write.binding:
        state = "not binding"
    return f"{write.actor} {'.'.join(write.path) or 'all'}: {what} [{write.start:.3f}..{write.end:.3f}, {state}]"
