"""The quick form of the torture test: one seed. The long form is `python tests/torture/run.py --seeds 50`."""

from __future__ import annotations

import shutil

from run import Torture

from ptb_mongo.embedded import EmbeddedReplicaSet


def test_nothing_is_lost_while_servers_and_bots_are_killed_and_frozen() -> None:
    with EmbeddedReplicaSet() as servers:
        result = Torture(servers, seed=7, seconds=4).run()

    assert not result.violations, "\n".join(map(str, result.violations))
    assert result.counts["acknowledged"] > 100
    assert result.counts["failovers"] + result.counts["freezes of all servers"] > 0
    shutil.rmtree(result.folder)
