"""The torture of jobs; the long form is `python tests/torture/jobs_run.py`."""

from __future__ import annotations

import pytest
from deep import IS_DEEP
from jobs_run import Run, Story, torture

from ptb_mongo.embedded import EmbeddedReplicaSet


@pytest.mark.skipif(not IS_DEEP, reason="takes minutes: HYPOTHESIS_PROFILE=deep")
def test_each_job_runs_at_least_once_and_none_twice_unless_its_run_was_broken_off() -> None:
    with EmbeddedReplicaSet() as mongod:
        for seed in range(10):
            assert torture(seed, 500, 10, mongod, 5) == []


def test_the_verdict_knows_a_run_that_is_missing_from_one_that_was_broken_off(tmp_path) -> None:
    file, story = tmp_path / "runs", Story()
    lines = [
        "began 1 10 a",
        "ended 2 10 a",
        "began 3 20 a",
        "ended 4 20 a",
        "began 1 10 b",
        "began 5 10 c",
        "ended 5 10 c",
    ]
    file.write_text("\n".join(lines))

    assert [fault.split(",")[0] for fault in story.faults(file, ["a", "b", "c"])] == [
        "a ran twice",
        "b was never run to its end: [Run(pid=10",
    ]
    story.broken[10].append(1.5)
    assert story.was_broken_off(Run(10, 1, 2))
    assert not [fault for fault in story.faults(file, ["a", "c"]) if fault]
