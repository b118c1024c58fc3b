"""Three servers, several bots and services, and a nemesis; at the end a checker proves that nothing was lost.

python tests/torture/run.py --seed 7 --seconds 30                     # one run, or the same again
python tests/torture/run.py --seeds 30 --driver motor                 # the long form
python tests/torture/run.py --seeds 30 --driver motor --proxy         # the traffic is disturbed, too
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dtm
import pathlib
import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Literal

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from access import REFUSALS, Access, AccessNemesis, GuardedReplicaSet, guarded_servers
from actors import BotProcess, ServiceProcess
from edits import DOCUMENTS, RICH
from history import Document, Recorder
from keyboards import CACHE
from nemesis import BotNemesis, Nemesis, NodeNemesis, Planter
from proxies import RequestNemesis, TrafficNemesis, proxied
from proxy_process import ProxyProcess
from pymongo import MongoClient
from rich.console import Console
from rich.table import Table
from values import seed as seed_data
from verdict import Result, Stored, differences, judge, revs

Driver = Literal["motor", "pymongo"]

_SOON: Final = "&serverSelectionTimeoutMS=500&connectTimeoutMS=1000&heartbeatFrequencyMS=500"
_GIVES_UP: Final = "&socketTimeoutMS=2000"
_AGREE_WITHIN: Final = 45.0  # seconds
_QUIET: Final = 1.0  # seconds, in which each bot saves several times
_LONGEST_REPORT: Final = 10
_REFUSED: Final = 0.6  # of the seeds: the bots are refused what they may do, for a while


class Torture:
    """One run.

    Args:
        servers: A replica set that is running, and is so in the end.
        seed: Decides on everything but time.
        seconds: How long the nemesis is at work.
        proxies: Those of the servers, if there are any.
        driver: What bots connect with; by default some with this, some with that.
        bots: How many.
        services: How many.
    """

    def __init__(
        self,
        servers: GuardedReplicaSet,
        seed: int,
        seconds: float,
        *,
        proxies: list[ProxyProcess] | None = None,
        driver: Driver | None = None,
        bots: int = 3,
        services: int = 2,
    ) -> None:
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"torture-{seed}-"))
        self._servers = servers
        self._proxies = proxies
        self._seconds = seconds
        self._services = services
        self._database = f"torture_{seed}"
        self._begun = dtm.datetime.now(dtm.timezone.utc)
        self._hosts = [each.host for each in (servers.members if proxies is None else proxies)]
        self._uri = servers.uri_of(self._hosts) + _SOON + _GIVES_UP
        self._result = Result(seed, folder)
        self._recorder = Recorder(folder, "runner.0")
        self._refuses = random.Random(f"{seed} access").random() < _REFUSED
        self._access = Access(servers, self._database, [f"bot{index}" for index in range(bots)])
        self._bots = [self._bot(index, driver, random.Random(f"{seed} options {index}")) for index in range(bots)]

    def _bot(self, index: int, driver: Driver | None, chance: random.Random) -> BotProcess:
        folder = str(self._result.folder)
        at_the_end = chance.choices(["patient", "spills", "forgets"], [5, 4, 1])[0]
        persistence = {
            "loading": chance.choice(["eager", "lazy"]),
            "refresh": chance.choice(["watch", "watch", "read", "auto"]),
            "on_flush": at_the_end == "patient" and chance.random() < 0.2,
            "shutdown_timeout": 30 if at_the_end == "patient" else 1,
            "spill_dir": None if at_the_end == "forgets" else f"{folder}/bot{index}.spilled",
        }
        uri = self._servers.uri_of(self._hosts, f"bot{index}") + _SOON
        options = {
            "folder": folder,
            "seed": self._result.seed,
            "uri": uri + chance.choice(["", "&retryWrites=false"]) + chance.choice(["", _GIVES_UP]),
            "refused": self._refuses,
            "database": self._database,
            "driver": driver or ("motor", "pymongo")[(self._result.seed + index) % 2],
            "talker": index + 1,
            "keyboards": index == 0,  # the cache of callback data is one bot's own
            "asks": at_the_end == "patient" and not persistence["on_flush"] and chance.random() < 0.4,
            "persistence": persistence,
        }
        return BotProcess(f"bot{index}", options, self._recorder)

    def run(self) -> Result:
        """Does it all."""
        result, folder = self._result, self._result.folder
        self._prepare()
        services: list[ServiceProcess] = []
        try:
            for bot in self._bots:
                bot.start()
            services += [
                ServiceProcess(f"service{index}", result.seed, folder, self._uri, self._database)
                for index in range(self._services)
            ]
            for bot in self._bots:
                bot.is_ready(30)
            self._let_loose()
            (folder / "quiet").touch()
            for service in services:
                result.add_problems(service.ends())
            self._restart_those_that_have_not_saved()
            self._wait_for_agreement()
            self._wait_for_quiet()
            for bot in self._bots:
                bot.begin_to_stop()
            for bot in self._bots:
                bot.has_saved()
                result.add_problems(bot.problems)
        finally:
            for actor in (*self._bots, *services):
                actor.close()
            self._recorder.close()
        with MongoClient(self._servers.uri) as client:
            judge(result, client, self._database, self._begun)
            client.drop_database(self._database)
        return result

    def _prepare(self) -> None:
        self._access.give_all()
        with MongoClient(self._servers.uri, w="majority") as client:
            client.drop_database(self._database)
            for scope, key in DOCUMENTS:
                if key in RICH:
                    client[self._database][scope].insert_one({"_id": key, "data": seed_data()})

    def _let_loose(self) -> None:
        seed, until, counts = self._result.seed, time.monotonic() + self._seconds, self._result.counts
        starting = threading.Lock()

        def chosen(name: str) -> tuple[Recorder, random.Random, float, Counter[str]]:
            recorder = Recorder(self._result.folder, f"{name}.0")
            recorders.append(recorder)
            return recorder, random.Random(f"{seed} {name}"), until, counts

        recorders: list[Recorder] = []
        nemeses: list[Nemesis] = [
            NodeNemesis(self._servers, starting, *chosen("nodes")),
            BotNemesis(self._bots, *chosen("bot-nemesis")),
            Planter(self._uri, self._database, *chosen("planter")),
        ]
        if self._refuses:
            nemeses.append(AccessNemesis(self._access, self._bots, self._proxies, *chosen("access")))
        if (proxies := self._proxies) is not None:
            nemeses.append(RequestNemesis(self._servers, proxies, *chosen("requests")))
            nemeses.append(TrafficNemesis(starting, self._servers, proxies, *chosen("traffic")))
        with ThreadPoolExecutor(len(nemeses)) as pool:
            for running in [pool.submit(nemesis.run) for nemesis in nemeses]:
                running.result()
        self._access.give_all()  # whatever a server that was killed has forgotten of that
        for recorder in recorders:
            recorder.close()

    def _restart_those_that_have_not_saved(self) -> None:
        for bot in self._bots:
            if bot.is_ready(30) and (not bot.saves or bot.has_left_something):
                bot.stop()
                bot.start()
                bot.is_ready(30)

    def _documents(self, bot: BotProcess) -> tuple[Document, ...]:
        """What is compared at the end."""
        talk = ("conversations", bot.options["talker"])
        return (*DOCUMENTS, talk, CACHE) if bot.options["keyboards"] else (*DOCUMENTS, talk)

    def _wait_for_agreement(self) -> None:
        begun, result = time.monotonic(), self._result
        with MongoClient(self._servers.uri) as client:
            while True:
                stored, found = Stored(client, self._database), []
                for bot in self._bots:
                    found += differences(stored, bot.name, self._documents(bot), bot.memory)
                if not found:
                    break
                if time.monotonic() - begun > _AGREE_WITHIN:
                    result.add_disagreements(found[:_LONGEST_REPORT])
                    break
                time.sleep(0.1)
        result.counts["seconds until all agreed"] = round(time.monotonic() - begun)
        result.counts["documents"] = len(stored.data)

    def _wait_for_quiet(self) -> None:
        """Waits until nobody writes any more: bots that agree, and write all the same, would do so for ever."""
        begun = time.monotonic()
        with MongoClient(self._servers.uri) as client:
            before = revs(client, self._database)
            while True:
                time.sleep(_QUIET)
                now = revs(client, self._database)
                if before == now:
                    break
                if time.monotonic() - begun > _AGREE_WITHIN:
                    changed = [str(document) for document in now if before.get(document) != now[document]]
                    self._result.add_disagreements([f"still written, though nothing changes: {', '.join(changed)}"])
                    break
                before = now


def report(result: Result, console: Console) -> None:
    """Prints what a run has shown."""
    table = Table("", "count", title=f"seed {result.seed}")
    for name, count in sorted(result.counts.items()):
        table.add_row(name, f"{count:,}")
    console.print(table)
    for violation in result.violations[:_LONGEST_REPORT]:
        console.print(str(violation), style="red", markup=False, highlight=False)
    if result.violations:
        (result.folder / "violations.txt").write_text("\n".join(map(str, result.violations)))
        console.print(f"{len(result.violations)} violations; histories: {result.folder}", style="bold red")


def summary(results: list[Result]) -> str:
    """All runs in one line."""
    total = Counter[str]()
    for result in results:
        total += result.counts
    kills = sum(count for name, count in total.items() if "kill" in name)
    numbers = {
        "seeds": len(results),
        "writes": total["writes"],
        "acknowledged": total["acknowledged"],
        "edits": total["external edits"],
        "failovers": total["failovers"],
        "kills": kills,
        "stalls": total["stalls"] + sum(count for name, count in total.items() if name.startswith("freezes of")),
        "lost answers": total["lost answers"],
        "late requests": total["late requests"],
        "refusals": sum(total[name] for name in REFUSALS),
        "frozen connections": total["frozen connections"],
        "violations": sum(len(result.violations) for result in results),
    }
    return ", ".join(f"{count:,} {name}" for name, count in numbers.items())


def main(arguments: list[str] | None = None) -> int:
    """Runs the seeds that are asked for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="the first, or only, seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--seconds", type=float, default=20, help="that the nemesis is at work, for each seed")
    parser.add_argument("--driver", choices=["motor", "pymongo"], help="of the bots; by default some with each")
    parser.add_argument("--proxy", action="store_true", help="put a proxy in front of each server, and misuse it")
    parser.add_argument("--bots", type=int, default=3, choices=[1, 2, 3])
    parser.add_argument("--services", type=int, default=2, choices=[0, 1, 2])
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first loss")
    options = parser.parse_args(arguments)
    console = Console()
    results: list[Result] = []
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(guarded_servers())
        chosen: dict[str, Any] = {"driver": options.driver, "bots": options.bots, "services": options.services}
        if options.proxy:
            chosen["proxies"] = stack.enter_context(proxied(servers))
        for seed in range(options.seed, options.seed + options.seeds):
            results.append(Torture(servers, seed, options.seconds, **chosen).run())
            report(results[-1], console)
            if not results[-1].violations:
                shutil.rmtree(results[-1].folder)
            elif not options.keep_going:
                break
    failed = [result.seed for result in results if result.violations]
    console.print(f"failed: {failed}" if failed else "nothing lost", style="bold red" if failed else "bold green")
    console.print(summary(results), soft_wrap=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
