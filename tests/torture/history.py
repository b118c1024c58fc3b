"""What happened: every process appends what it does to a file of its own, from which the checker works.

A line is flushed before the program goes on, so that it survives the process being killed. Times are those of the
monotonic clock, which on Linux all processes share.
"""

from __future__ import annotations

import itertools
import json
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from values import Keys, Value

_REFUSALS: Final = ("MongoDB refuses", "Not saved: MongoDB refuses", "Kept for the next start")
GRACE: Final = 10.0
"""Seconds after which a write that nobody waits for any more cannot happen: longer than any hold and freeze."""

Document = tuple[str, int]
"""A scope, and an id in it."""


@dataclass(frozen=True, slots=True)
class Write:
    """One change.

    Attributes:
        actor: Who made it: a name and the number of the process that bore it.
        document: Where.
        path: Where in it; `()` for all of it.
        value: What was written; `None` for a removal.
        start: When it was begun.
        end: When it was done, or could not be done any more.
        acknowledged: Whether it was said to be done.
        binding: Whether an acknowledgement promises something: a removal of a whole dict does not for values that
            the remover has not seen.
        spilled: When the bot ended without having saved it, but put it into a file; `None` if it did not.
        taken: When the next process of that bot began, which takes the file in.
    """

    actor: str
    document: Document
    path: Keys
    value: Value
    start: float
    end: float = math.inf
    acknowledged: bool = False
    binding: bool = True
    spilled: float | None = None
    taken: float = math.inf

    @property
    def name(self) -> str:
        """Who made it: the same for all processes of a bot."""
        return self.actor.partition(".")[0]

    @property
    def by_bot(self) -> bool:
        """Whether a bot made it, which merges what it has not saved with what others have changed."""
        return self.actor.startswith("bot")


@dataclass(frozen=True, slots=True)
class Sighting:
    """A value that came from elsewhere into a bot's memory; `None` if it vanished there."""

    actor: str
    document: Document
    path: Keys
    value: Value
    time: float


@dataclass(slots=True)
class History:
    """What all processes have noted.

    Attributes:
        writes: Every change.
        sightings: What bots saw of others' changes.
        problems: Errors that reached an error handler, or the log.
        counts: How often what was noted.
        health: The last numbers of each bot process.
    """

    writes: list[Write] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    health: dict[str, dict[str, int]] = field(default_factory=dict)


class Recorder:
    """Appends to the history of one process.

    Args:
        folder: Where the histories are.
        actor: Who; also the file's name.
    """

    def __init__(self, folder: Path, actor: str) -> None:
        self.actor = actor
        self._file = (folder / f"{actor}.jsonl").open("a", encoding="utf-8")
        self._numbers = itertools.count(1)

    def note(self, event: str, **fields: object) -> None:
        """Appends anything."""
        line = {"event": event, "time": time.monotonic(), **fields}
        self._file.write(json.dumps(line, separators=(",", ":")) + "\n")
        self._file.flush()

    def value(self) -> str:
        """A value that nobody has written before."""
        return f"{self.actor}:{next(self._numbers)}"

    def write(
        self, document: Document, path: Keys, value: Value, *, binding: bool = True, since: float | None = None
    ) -> int:
        """Notes that a write begins, or has begun by reading what it depends on; its number."""
        number = next(self._numbers)
        start = time.monotonic() if since is None else since
        fields = {"document": document, "path": path, "value": value, "binding": binding, "start": start}
        self.note("write", number=number, **fields)
        return number

    def acknowledged(self, numbers: Iterable[int]) -> None:
        """Notes that writes are done."""
        if numbers := list(numbers):
            self.note("acknowledged", numbers=numbers)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class LogNotes(logging.Handler):
    """Notes errors and warnings.

    Args:
        recorder: Notes them.
        refused: Whether it is no problem that the server refuses something, as long as no document is blamed for it.
    """

    def __init__(self, recorder: Recorder, *, refused: bool = False) -> None:
        super().__init__(logging.WARNING)
        self._recorder = recorder
        self._refused = refused

    def emit(self, record: logging.LogRecord) -> None:
        """Takes one record."""
        if record.name.startswith(("pymongo", "motor")):
            return  # they log, and raise, what is then handled
        if record.name == "asyncio" and "_OperationCancelled" in record.getMessage():
            return  # Motor leaves a future behind if its cursor is cancelled while the connection breaks
        if self._refused and record.getMessage().startswith(_REFUSALS):
            self._recorder.note("refusal", text=record.getMessage())
        elif record.levelno >= logging.ERROR:
            text = record.getMessage() + (f" ({record.exc_info[1]!r})" if record.exc_info else "")
            self._recorder.note("problem", text=f"log of {record.name}: {text}")
        elif record.name.startswith("ptb_mongo"):
            self._recorder.note("warning", text=record.getMessage())


def load(folder: Path) -> History:
    """Reads all histories of a folder."""
    events = {file.stem: list(_lines(file)) for file in sorted(folder.glob("*.jsonl"))}
    noted = [event for one in events.values() for event in one]
    ended: dict[str, float] = {event["actor"]: event["time"] for event in noted if event["event"] == "ended"}
    history = History()
    for actor, one in events.items():
        name, _, run = actor.rpartition(".")
        successor = events.get(f"{name}.{int(run) + 1}")
        taken = successor[0]["time"] if successor else math.inf
        _add(history, actor, one, ended=ended.get(actor, math.inf), taken=taken)
    return history


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    *whole, _ = file.read_text(encoding="utf-8").split("\n")  # the last line may have been cut off by a kill
    return map(json.loads, whole)


def _add(history: History, actor: str, events: list[dict[str, Any]], *, ended: float, taken: float) -> None:
    done: dict[int, float] = {}
    spilled: dict[int, float] = {}
    given_up: dict[int, float] = defaultdict(lambda: ended)
    for event in events:
        history.counts[event["event"]] += 1
        match event:
            case {"event": "acknowledged", "numbers": numbers, "time": at}:
                done |= dict.fromkeys(numbers, at)
            case {"event": "spilled", "numbers": numbers, "time": at}:
                done |= dict.fromkeys(numbers, math.inf)  # some later process writes them
                spilled |= dict.fromkeys(numbers, at)
            case {"event": "failed", "number": number, "time": at}:
                given_up[number] = at
            case {"event": "health", "numbers": numbers}:
                history.health[actor] = numbers
            case {"event": "problem", "text": text}:
                history.problems.append(f"{actor}: {text}")
    for event in events:
        if event["event"] == "write":
            number = event["number"]
            history.writes.append(
                Write(
                    actor=actor,
                    document=tuple(event["document"]),
                    path=tuple(event["path"]),
                    value=event["value"],
                    start=event["start"],
                    end=done[number] if number in done else given_up[number] + GRACE,
                    acknowledged=number in done,
                    binding=event["binding"],
                    spilled=spilled.get(number),
                    taken=taken,
                )
            )
        elif event["event"] == "saw":
            history.sightings += [
                Sighting(actor, tuple(event["document"]), tuple(path), value, event["time"])
                for path, value in event["values"]
            ]
