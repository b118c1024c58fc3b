"""The quick form of the torture test: one seed. The long form is `python tests/torture/run.py --seeds 30 --proxy`."""

from __future__ import annotations

import shutil

from run import Torture, summary

from ptb_mongo.embedded import EmbeddedReplicaSet


def test_nothing_is_lost_while_servers_and_bots_are_disturbed() -> None:
    with EmbeddedReplicaSet() as servers:
        result = Torture(servers, seed=7, seconds=4).run()

    assert not result.violations, "\n".join(map(str, result.violations))
    assert result.counts["acknowledged"] > 100, summary([result])
    assert any(name.startswith(("kills", "freezes")) for name in result.counts)
    shutil.rmtree(result.folder)
