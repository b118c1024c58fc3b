"""Whatever strangers invent is refused or usable, and nobody honest notices it: the quick form of the fuzzer.

The long form is `python tests/fuzz/run.py --minutes 60`. Both find faults: with a check left out, some case fails.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit/codec"))

from bot_layer import BotLayer
from bson.timestamp import Timestamp
from cases import Case, Found, Layer
from choices import Choices, shorter
from codec_case import CodecLayer, judge, make
from hunting import DIED, HANGS, hunt, outcome, shortest
from hypothesis import given, settings
from hypothesis import strategies as st
from judging import Finding

from ptb_mongo.codec import Codec, bounds, decoder, standard
from ptb_mongo.codec.restoring import Restorer
from ptb_mongo.replica.collection import Collection
from ptb_mongo.scopes.callback_data import CallbackDataScope

SEED = 14
Worse = Callable[[], Any]


def first(layer: Layer, numbers: Iterable[int]) -> Found | None:
    """The first finding of some cases; `None` if there is none."""
    with layer.open() as play:
        for number in numbers:
            case = Case(layer.name, SEED, number)
            if (finding := play(layer.make(case.choices()), number)) is not None:
                return Found(case, finding)
    return None


# -- what is fuzzed --------------------------------------------------------------------------------------


def test_whatever_is_planted_is_refused_or_can_be_copied_stored_and_restored() -> None:
    assert first(CodecLayer(), range(2000)) is None


@settings(derandomize=True, max_examples=100)
@given(st.randoms(use_true_random=False))
def test_whatever_hypothesis_plants_is_refused_or_can_be_used(chance: Any) -> None:
    assert judge(make(Choices(chance.randrange))) is None


def test_a_bot_serves_everybody_else(mongodb_server_uri: str) -> None:
    assert first(BotLayer(mongodb_server_uri), range(12)) is None


# -- the fuzzer itself -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "worse"),
    [
        (1105, lambda: mock.patch.object(Codec, "check_usable")),
        (1864, lambda: mock.patch.object(decoder, "check_collisions")),
        (67, lambda: mock.patch.object(Restorer, "outside", lambda self, _: self._bot)),
        (1038, lambda: mock.patch.object(bounds, "PATTERN_FLAGS", -1)),
        (3969, lambda: mock.patch.dict(standard.STANDARD, {uuid.UUID: lambda _: uuid.UUID.__new__(uuid.UUID)})),
        (5677, lambda: mock.patch.dict(standard.STANDARD, {Timestamp: lambda made: made.cls.__new__(made.cls)})),
    ],
    ids=[
        "no proof that it is usable",
        "equal hashes",
        "the bot anywhere",
        "any flags",
        "bare UUIDs",
        "bare timestamps",
    ],
)
def test_a_check_less_in_the_codec_is_found(number: int, worse: Worse) -> None:
    """By its case; where the fuzzer has changed since, by another one."""
    with worse():
        assert first(CodecLayer(), chain([number], range(30_000))) is not None


@pytest.mark.parametrize(
    ("number", "worse"),
    [
        (0, lambda: mock.patch.object(Collection, "_decoded", lambda self, raw, body: self._loaded(raw, body))),
        (4, lambda: mock.patch.object(CallbackDataScope, "check")),
    ],
    ids=["no quarantine", "any keyboard"],
)
def test_a_check_less_in_a_bot_is_found(number: int, worse: Worse, mongodb_server_uri: str) -> None:
    with worse():
        assert first(BotLayer(mongodb_server_uri), chain([number], range(200))) is not None


class Odd:
    """A layer whose cases are numbers; some of them kill, stop or swell the process that plays them."""

    name = "odd"

    def make(self, choices: Choices) -> int:
        return choices.below(1000)

    def size(self, made: int) -> int:
        return 1

    def shown(self, made: int) -> str:
        return str(made)

    @contextmanager
    def open(self) -> Iterator[Callable[[int, int], Finding | None]]:
        yield self._play

    def _play(self, made: int, number: int) -> Finding | None:
        if made >= 990:
            os.kill(os.getpid(), signal.SIGKILL)
        if made >= 980:
            return Finding("too large", str(made))
        if made >= 970:
            _ = b"x" * (200 * 2**20)
        return None


def test_processes_that_die_or_swell_are_findings_and_the_others_go_on() -> None:
    kinds = {f"{DIED} (-9)", "too large", "the process grows"}
    found: dict[str, Found] = {}
    numbers = []
    for said in hunt(Odd(), 1, seconds=60, jobs=2):
        if isinstance(said, Found):
            found.setdefault(said.finding.kind, said)
            numbers.append(said.case.number)
        if found.keys() == kinds and max(numbers) > 2 * found[f"{DIED} (-9)"].case.number:
            break

    assert found.keys() == kinds
    assert len(numbers) == len(set(numbers))
    for kind, one in found.items():
        assert outcome(Odd(), Odd().make(one.case.choices())).kind == kind  # type: ignore[union-attr]


def test_a_process_that_hangs_is_a_finding() -> None:
    class Hanging(Odd):
        def _play(self, made: int, number: int) -> Finding | None:
            time.sleep(60)

    assert outcome(Hanging(), 1, seconds=0.2) == Finding(HANGS, "")


def test_a_case_is_made_as_small_as_it_can_be() -> None:
    case = next(case for number in range(10**4) if Odd().make((case := Case("odd", 1, number)).choices()) > 985)

    assert shortest(Odd(), Found(case, Finding("too large", "")), seconds=10) == [980]
    assert shorter([5, 3, 9, 200, 7], lambda made: sum(made) > 150) == [151]


def test_a_case_is_the_same_each_time_it_is_made() -> None:
    for layer in (CodecLayer(), BotLayer("")):
        case = Case(layer.name, SEED, 3)
        choices = case.choices()
        assert repr(layer.make(choices)) == repr(layer.make(case.choices()))
        assert repr(layer.make(Choices.again(choices.made))) == repr(layer.make(case.choices()))
