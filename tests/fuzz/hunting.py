"""Plays cases in processes of their own, so that one that crashes, hangs or swells is a finding and not the end.

Before a case is played, its number is written down: a process that ends without a word, or says nothing for too long,
has been killed by the case of that number. Needs POSIX.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import multiprocessing
import resource
import signal
import struct
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, Final

from cases import Case, Found, Layer, Play, Statistics
from choices import Choices, shorter
from judging import Finding, of_error

__all__ = ["DIED", "HANGS", "hunt", "outcome", "shortest"]

HANGS: Final = "the process hangs"
DIED: Final = "the process has died"
_FORK: Final = multiprocessing.get_context("fork")
_MOST_MEMORY: Final = 3 * 2**30
_SILENCE: Final = 600.0  # seconds, in which a case has hung: those of some megabytes take a minute or more
_GROWTH: Final = 60 * 2**20, 550  # bytes, and bytes for a byte of a document
_REPORTS: Final = 1.0  # seconds between what a process says


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever has started us ends us
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, _MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _played(play: Play, made: Any, size: int, number: int) -> Finding | None:
    """Plays a case, and looks at what it takes of memory."""
    before = _peak()
    try:
        finding = play(made, number)
    except Exception as error:  # noqa: BLE001  (a fault of the fuzzer's own is not to end the run)
        return of_error("playing", error)
    fixed, each = _GROWTH
    grown = _peak() - before
    if finding is None and grown > fixed + each * size:
        return Finding("the process grows", f"by {grown:,} bytes for {size:,}")
    return finding


# -- many cases ------------------------------------------------------------------------------------------


class _Process:
    """Plays every so many-th case."""

    def __init__(self, layer: Layer, seed: int, numbers: Iterator[int], until: float) -> None:
        self._now = mmap.mmap(-1, 8)
        self._layer, self._seed, self._until = layer, seed, until
        self._numbers = numbers
        self._start()

    def _start(self) -> None:
        self.heard, theirs = _FORK.Pipe(duplex=False)
        self._process = _FORK.Process(target=self._work, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        self.said_at = time.monotonic()

    def _work(self, said: Connection) -> None:
        _begin()
        statistics, reported = Statistics(), time.monotonic()
        with self._layer.open() as play:
            for number in self._numbers:
                if time.monotonic() > self._until:
                    break
                self._now[:8] = struct.pack("<Q", number)
                case, began = Case(self._layer.name, self._seed, number), time.thread_time()
                label, size, finding = self._play(play, case)
                statistics.note(case, label, size, time.thread_time() - began)
                if finding is not None or time.monotonic() > reported + _REPORTS:
                    statistics.peak = _peak()
                    said.send((statistics, finding and Found(case, finding)))
                    statistics, reported = Statistics(), time.monotonic()
        statistics.peak = _peak()
        said.send((statistics, None))
        said.send(None)

    def _play(self, play: Play, case: Case) -> tuple[str, int, Finding | None]:
        choices = case.choices()
        try:
            made = self._layer.make(choices)
            size = self._layer.size(made)
        except Exception as error:  # noqa: BLE001  (likewise)
            return choices.label, 0, of_error("making", error)
        return choices.label, size, _played(play, made, size, case.number)

    def ended(self, kind: str) -> Found:
        """It was killed by a case, or is now; the next process goes on after that case."""
        (number,) = struct.unpack("<Q", self._now[:8])
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        for passed in self._numbers:
            if passed == number:
                break
        code = self._process.exitcode
        self._start()
        return Found(
            Case(self._layer.name, self._seed, number), Finding(kind if kind == HANGS else f"{kind} ({code})", "")
        )

    def close(self) -> None:
        """It has done its work, or is to end."""
        self.heard.close()
        self._process.kill()
        self._process.join()


def hunt(layer: Layer, seed: int, *, seconds: float, jobs: int, first: int = 0) -> Iterator[Statistics | Found]:
    """Plays cases for so long, in so many processes; gives figures and findings as they come.

    Args:
        layer: What is tested.
        seed: Of the run.
        seconds: How long.
        jobs: How many processes.
        first: The number of the first case.
    """
    until = time.monotonic() + seconds
    running = [_Process(layer, seed, itertools.count(first + job, jobs), until) for job in range(jobs)]
    try:
        while running:
            ready = wait([one.heard for one in running], timeout=_SILENCE / 3)
            for one in list(running):
                if one.heard in ready:
                    one.said_at = time.monotonic()
                    try:
                        said: Any = one.heard.recv()
                    except EOFError:
                        yield one.ended(DIED)
                        continue
                    if said is None:
                        running.remove(one)
                        one.close()
                        continue
                    statistics, found = said
                    yield statistics
                    if found is not None:
                        yield found
                elif time.monotonic() > one.said_at + _SILENCE:
                    yield one.ended(HANGS)
    finally:
        for one in running:
            one.close()


# -- one case --------------------------------------------------------------------------------------------


def outcome(layer: Layer, made: Any, *, seconds: float = _SILENCE) -> Finding | None:
    """What comes of a case, played in a process of its own."""
    heard, said = _FORK.Pipe(duplex=False)

    def work() -> None:
        _begin()
        with layer.open() as play:
            said.send(_played(play, made, layer.size(made), 0))

    process = _FORK.Process(target=work, daemon=True)
    process.start()
    said.close()
    try:
        if not heard.poll(seconds):
            return Finding(HANGS, "")
        return heard.recv()  # type: ignore[no-any-return]
    except EOFError:
        process.join()
        return Finding(f"{DIED} ({process.exitcode})", "")
    finally:
        process.kill()
        process.join()
        heard.close()


def shortest(layer: Layer, found: Found, *, seconds: float) -> list[int]:
    """The fewest decisions that lead to a finding of the same kind, as far as they are found in so many seconds."""
    until = time.monotonic() + seconds
    choices = found.case.choices()
    try:
        layer.make(choices)
    except Exception:  # noqa: BLE001  (that is the finding)
        return choices.made
    with contextlib.ExitStack() as stack:
        if found.finding.kind.startswith((HANGS, DIED)):

            def finding(made: Any) -> Finding | None:
                return outcome(layer, made, seconds=10)

        else:
            play = stack.enter_context(layer.open())

            def finding(made: Any) -> Finding | None:
                return _played(play, made, layer.size(made), 0)

        def fails(decisions: Sequence[int]) -> bool:
            if time.monotonic() > until:
                raise TimeoutError
            now = finding(layer.make(Choices.again(decisions)))
            return now is not None and now.kind == found.finding.kind

        return shorter(choices.made, fails)
