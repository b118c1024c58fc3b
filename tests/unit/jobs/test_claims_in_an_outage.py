"""How long another worker's claim is believed in: only time in which its holder could have renewed it counts.

The kinds of time that do not: while the server is unreachable; an outage that nobody has looked at; what was open, and
is closed and opened again.
"""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from ptb_mongo.health import Counters
from ptb_mongo.jobs.claims import Claims
from ptb_mongo.sync.availability import Availability

LEASE = 10.0


class Jobs:
    """One job that is due, and that another worker has claimed."""

    def __init__(self) -> None:
        self.session: Any = SimpleNamespace(availability=Availability(Counters()))
        self.asked = False
        self.waits_until = 0.0
        self.store: Any = SimpleNamespace(wait=self._waits, jobs={"x": object()}, runs={})

    def _waits(self, _: str, until: float) -> None:
        self.waits_until = until

    def run_in_background(self, coroutine: Any) -> None:
        coroutine.close()
        self.asked = True

    async def store_now(self, job_ids: list[str]) -> None:
        raise AssertionError(job_ids)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def _goes_away(jobs: Jobs, claims: Claims, clock: list[float]) -> None:
    jobs.session.availability.mark_unreachable(OSError("gone"))
    clock[0] += 60
    assert not claims.may_run("x")
    jobs.session.availability.mark_reachable()


def _goes_away_unseen(jobs: Jobs, _: Claims, clock: list[float]) -> None:
    jobs.session.availability.mark_unreachable(OSError("gone"))
    clock[0] += 60
    jobs.session.availability.mark_reachable()


def _is_opened_again(jobs: Jobs, _: Claims, clock: list[float]) -> None:
    clock[0] += 60
    jobs.session = SimpleNamespace(availability=Availability(Counters()))


@pytest.mark.parametrize("happens", [_goes_away, _goes_away_unseen, _is_opened_again])
def test_a_claim_that_nobody_could_renew_is_no_older_afterwards(clock: list[float], happens: Any) -> None:
    jobs = Jobs()
    claims = Claims(jobs, LEASE)
    assert claims.seen("x", "other:1")
    assert not claims.may_run("x")

    happens(jobs, claims, clock)

    for seconds in (0, LEASE / 2, LEASE / 2 - 0.1):
        clock[0] += seconds
        assert not claims.may_run("x")
        assert not jobs.asked
    assert jobs.waits_until > clock[0]
    clock[0] += 0.2
    claims.may_run("x")
    assert jobs.asked


def test_a_claim_that_is_not_renewed_while_the_server_answers_is_asked_for(clock: list[float]) -> None:
    jobs = Jobs()
    claims = Claims(jobs, LEASE)
    claims.seen("x", "other:1")
    clock[0] += LEASE / 2
    claims.seen("x", "other:2")
    clock[0] += LEASE - 0.1
    claims.may_run("x")
    assert not jobs.asked

    clock[0] += 0.2
    claims.may_run("x")
    assert jobs.asked
