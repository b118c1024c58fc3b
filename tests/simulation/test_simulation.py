"""The whole core against invented faults: whatever the network, the server, others and time do, no change is lost.

`python tests/simulation/run.py` plays more, and shows the shortest schedule that fails.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from making import Features, make
from run import shortest
from schedule import readable
from world import play

_CHUNKS = 30
_IN_A_CHUNK = 25
_WITH_MIGRATIONS = 25


@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_no_schedule_breaks_an_invariant(chunk: int) -> None:
    for seed in range(chunk * _IN_A_CHUNK, (chunk + 1) * _IN_A_CHUNK):
        schedule = make(seed, Features())
        result = play(schedule)
        if result.violation is not None:
            short = shortest(schedule, result, frozenset())
            pytest.fail(
                f"{play(short).violation}\n{readable(short)}\n"
                f"Again: python tests/simulation/run.py --seed {seed} --verbose"
            )


def test_bots_of_several_versions_break_none_either() -> None:
    for seed in range(_WITH_MIGRATIONS):
        result = play(make(seed, Features(migrations=True)))
        again = f"python tests/simulation/run.py --also migrations --seed {seed}"
        assert result.violation is None, f"{result.violation}\nAgain: {again}"


def _digest(seeds: range) -> str:
    digest = hashlib.sha256()
    for seed in seeds:
        result = play(make(seed, Features()))
        digest.update(repr((result.kind, result.trace)).encode() + result.stored)
    return digest.hexdigest()


def test_a_seed_gives_the_same_world_in_each_process() -> None:
    here = str(Path(__file__).parent)
    program = (
        f"import sys; sys.path.insert(0, {here!r}); import test_simulation; print(test_simulation._digest(range(20)))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1
    assert found == {f"{_digest(range(20))}\n"}


def test_worlds_differ_by_their_seeds() -> None:
    assert len({_digest(range(seed, seed + 1)) for seed in range(5)}) == 5
