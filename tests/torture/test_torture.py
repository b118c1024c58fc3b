"""The quick form of the torture test: one seed. The long form is `python tests/torture/run.py --seeds 30 --proxy`."""

from __future__ import annotations

import shutil

from access import guarded_servers
from proxies import proxied
from run import Torture, summary

OF_TRAFFIC = {
    "cuts",
    "drips",
    "frozen connections",
    "half-open connections",
    "late requests",
    "lost answers",
    "requests delivered twice",
    "slow answers",
    "stalls",
}


def test_nothing_is_lost_while_servers_bots_and_their_traffic_are_disturbed() -> None:
    with guarded_servers() as servers, proxied(servers) as proxies:
        result = Torture(servers, seed=7, seconds=4, proxies=proxies).run()

    assert not result.violations, "\n".join(map(str, result.violations))
    assert result.counts["acknowledged"] > 100, summary([result])
    assert any(name.startswith(("kills", "freezes")) for name in result.counts)
    assert any(result.counts[name] for name in OF_TRAFFIC)
    shutil.rmtree(result.folder)
