"""Whatever strangers invent is refused or usable, and nobody honest notices it: the quick form of the fuzzer.

The long form is `python tests/fuzz/run.py --minutes 60`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "unit/codec"))

from bot_layer import BotLayer
from choices import Choices
from codec_case import CodecLayer, judge, make
from hunting import Case, Layer
from hypothesis import given, settings
from hypothesis import strategies as st

SEED = 14


def first(layer: Layer, cases: int) -> Any:
    """What the first case with a finding found; `None` if there was none."""
    with layer.open() as play:
        for number in range(cases):
            case = Case(layer.name, SEED, number)
            if (finding := play(layer.make(case.choices()), number)) is not None:
                return case, finding
    return None


def test_whatever_is_planted_is_refused_or_can_be_copied_stored_and_restored() -> None:
    assert first(CodecLayer(), 2500) is None


@settings(derandomize=True, max_examples=150)
@given(st.randoms(use_true_random=False))
def test_whatever_hypothesis_plants_is_refused_or_can_be_used(chance: Any) -> None:
    finding = judge(make(Choices(chance.randrange)))

    assert finding is None, finding


def test_a_bot_serves_everybody_else(mongodb_server_uri: str) -> None:
    assert first(BotLayer(mongodb_server_uri), 12) is None
