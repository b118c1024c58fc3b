"""Several workers of one bot, in separate processes: the quick form of `python tests/e2e/journeys.py`."""

from __future__ import annotations

import pytest
from deep import IS_DEEP
from journey_bot import STEPS, steps_of
from journeys import Journeys, Result
from troubles import end_transactions_soon

from ptb_mongo.embedded import EmbeddedReplicaSet

SHORT = 4
"""A seed with which both happen once."""


def assert_well(result: Result) -> None:
    assert not result.violations, "\n".join(result.violations + result.notes)


async def test_a_single_process_of_plain_ptb_leaves_all_where_the_workers_tests_expect_them(
    mongodb_server_uri: str,
) -> None:
    result = await Journeys(mongodb_server_uri, 1, mode="plain", users=2, workers=1, kills=0).run()

    assert_well(result)


@pytest.mark.parametrize("seed", [1])
async def test_all_end_where_a_single_process_would_leave_them_though_a_worker_is_killed(
    mongodb_server_uri: str, seed: int
) -> None:
    result = await Journeys(mongodb_server_uri, seed, users=6, kills=1).run()

    assert_well(result)
    assert (result.counts["kills"], result.counts["users"]) == (1, 6)
    assert result.counts["delivered again"] > 0


@pytest.mark.skipif(not IS_DEEP, reason="in the deep form only: it takes half a minute")
async def test_all_end_there_too_though_workers_are_frozen_and_cut_off_for_longer_than_a_lease(
    mongodb_server_uri: str,
) -> None:
    result = await Journeys(mongodb_server_uri, SHORT, users=3, kills=0, troubles=2).run()

    assert_well(result)
    assert (result.counts["frozen"], result.counts["cut off"]) == (1, 1)
    assert result.counts["delivered again"] > 0


@pytest.mark.skipif(not IS_DEEP, reason="in the deep form only: each seed takes minutes")
@pytest.mark.parametrize("seed", range(1, 21))
@pytest.mark.parametrize("mode", ["exclusive", "strict", "whole"])
async def test_all_end_there_whatever_happens_to_workers_network_and_servers(mode: str, seed: int) -> None:
    with EmbeddedReplicaSet() as servers:
        end_transactions_soon(servers)
        pause = 0.001 if mode == "strict" else 0  # which does not keep a user's updates apart that come at once
        result = await Journeys(servers.uri, seed, mode=mode, troubles=8, servers=servers, pause=pause).run()

    assert_well(result)
    assert result.counts["failovers"] > 0


async def test_at_human_pace_what_the_change_stream_tells_is_enough(mongodb_server_uri: str) -> None:
    result = await Journeys(mongodb_server_uri, 2, mode="stream", users=6, kills=1, pause=0.05).run()

    assert_well(result)
    assert result.counts["kills"] == 1


async def test_two_workers_that_count_in_the_same_key_lose_no_count(mongodb_server_uri: str) -> None:
    result = await Journeys(mongodb_server_uri, 1, workers=2, kills=0).count(300)

    assert_well(result)
    assert result.counts["counted"] == 300


def test_a_user_who_misses_a_step_ends_elsewhere() -> None:
    values = [[1]] * STEPS
    assert steps_of(values)[STEPS - 1] != steps_of([[2], *values[1:]])[STEPS - 1]
