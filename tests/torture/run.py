"""Three servers, several bots and services, and a nemesis; at the end a checker proves that nothing was lost.

python tests/torture/run.py --seed 7 --seconds 30     # one run, or the same again
python tests/torture/run.py --seeds 50 --seconds 20   # the long form
"""

from __future__ import annotations

import argparse
import json
import pathlib
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from actors import BotProcess, ServiceProcess
from checker import Checker, Violation
from edits import DOCUMENTS
from history import Document, Recorder, load
from nemesis import BotNemesis, Nemesis, NodeNemesis, Planter
from pymongo import MongoClient
from pymongo.read_concern import ReadConcern
from rich.console import Console
from rich.table import Table

from ptb_mongo.embedded import EmbeddedReplicaSet

SOON: Final = "&serverSelectionTimeoutMS=500&connectTimeoutMS=1000&heartbeatFrequencyMS=500&socketTimeoutMS=2000"
_AGREE_WITHIN: Final = 45.0  # seconds
_LONGEST_REPORT: Final = 10


@dataclass
class Result:
    """What a run has shown.

    Attributes:
        seed: Of everything that was decided by chance.
        counts: Of what happened.
        violations: What must not be.
        folder: The histories.
    """

    seed: int
    folder: pathlib.Path
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)


class Torture:
    """One run.

    Args:
        servers: A replica set that is running, and is so in the end.
        seed: Decides on everything but time.
        seconds: How long the nemesis is at work.
        bots: How many.
        services: How many.
    """

    def __init__(
        self, servers: EmbeddedReplicaSet, seed: int, seconds: float, *, bots: int = 3, services: int = 2
    ) -> None:
        folder = pathlib.Path(tempfile.mkdtemp(prefix=f"torture-{seed}-"))
        self._servers = servers
        self._seconds = seconds
        self._services = services
        self._database = f"torture_{seed}"
        self._uri = servers.uri + SOON
        self._result = Result(seed, folder)
        self._recorder = Recorder(folder, "runner.0")
        self._bots = [self._bot(index, random.Random(f"{seed} options {index}")) for index in range(bots)]

    def _bot(self, index: int, chance: random.Random) -> BotProcess:
        spills = chance.random() < 0.4
        persistence = {
            "loading": chance.choice(["eager", "lazy"]),
            "refresh": chance.choice(["watch", "watch", "read"]),
            "shutdown_timeout": 1 if spills else 30,
            "spill_dir": str(self._result.folder / "spilled"),
        }
        options = {
            "folder": str(self._result.folder),
            "seed": self._result.seed,
            "uri": self._uri,
            "database": self._database,
            "driver": ("motor", "pymongo")[(self._result.seed + index) % 2],
            "talker": index + 1,
            "persistence": persistence,
        }
        return BotProcess(f"bot{index}", options, self._recorder, may_spill=spills)

    def run(self) -> Result:
        """Does it all."""
        result, folder = self._result, self._result.folder
        with MongoClient(self._servers.uri) as client:
            client.drop_database(self._database)
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
                self._problems(service.ends())
            self._wait_for_agreement()
            for bot in self._bots:
                bot.stop()
                self._problems(bot.problems)
        finally:
            for actor in (*self._bots, *services):
                actor.close()
            self._recorder.close()
        self._check()
        with MongoClient(self._servers.uri) as client:
            client.drop_database(self._database)
        return result

    def _problems(self, problems: list[str]) -> None:
        self._result.violations += [Violation("problem", "", text) for text in problems]

    def _let_loose(self) -> None:
        seed, until, counts = self._result.seed, time.monotonic() + self._seconds, self._result.counts

        def chosen(name: str) -> tuple[Recorder, random.Random, float, Counter[str]]:
            recorder = Recorder(self._result.folder, f"{name}.0")
            recorders.append(recorder)
            return recorder, random.Random(f"{seed} {name}"), until, counts

        recorders: list[Recorder] = []
        nemeses: list[Nemesis] = [
            NodeNemesis(self._servers, *chosen("nodes")),
            BotNemesis(self._bots, *chosen("bot-nemesis")),
            Planter(self._uri, self._database, *chosen("planter")),
        ]
        with ThreadPoolExecutor(len(nemeses)) as pool:
            for running in [pool.submit(nemesis.run) for nemesis in nemeses]:
                running.result()
        for recorder in recorders:
            recorder.close()

    # -- the end ----------------------------------------------------------------------------------------

    def _stored(self) -> dict[Document, Any]:
        """What is in the database, by a majority."""
        stored: dict[Document, Any] = {}
        with MongoClient(self._servers.uri) as client:
            database = client.get_database(self._database, read_concern=ReadConcern("majority"))
            for scope in ("user_data", "chat_data", "bot_data"):
                stored |= {(scope, found["_id"]): found.get("data", {}) for found in database[scope].find()}
            for found in database.conversations.find():
                stored["conversations", found["_id"]["key"][0]] = found.get("state")
        return stored

    def _differences(self, stored: dict[Document, Any]) -> list[str]:
        differences = []
        for bot in self._bots:
            file = self._result.folder / f"{bot.name}.memory"
            if not file.exists():
                differences.append(f"{bot.name} has said nothing")
                continue
            dumped = json.loads(file.read_text(encoding="utf-8"))
            if dumped["waiting"]:
                differences.append(f"{bot.name} has {dumped['waiting']} changes that are not saved")
            talk = ("conversations", bot.options["talker"])
            for document in (*DOCUMENTS, talk):
                memory = dumped["memory"][f"{document[0]} {document[1]}"] or {}
                if memory != (there := stored.get(document) or {}):
                    differences.append(f"{bot.name}, {document[0]} {document[1]}: {_difference(memory, there)}")
        return differences

    def _wait_for_agreement(self) -> None:
        begun = time.monotonic()
        while differences := self._differences(stored := self._stored()):
            if time.monotonic() - begun > _AGREE_WITHIN:
                violations = [Violation("disagreement", "", text) for text in differences[:_LONGEST_REPORT]]
                self._result.violations += violations
                break
            time.sleep(0.1)
        self._result.counts["seconds until all agreed"] = round(time.monotonic() - begun)
        self._result.counts["documents"] = len(stored)

    def _check(self) -> None:
        result = self._result
        history = load(result.folder)
        checker = Checker(history.writes)
        self._problems(history.problems)
        result.violations += checker.check(self._stored())
        with MongoClient(self._servers.uri) as client:
            for found in client[self._database].conversations.find():
                if found["_id"] != {name: found.get(name) for name in ("handler", "key")}:
                    self._problems([f"half a conversation is stored: {found}"])
        result.violations += checker.check_sightings(history.sightings)
        external = [write for write in history.writes if not write.by_bot]
        health = history.health.values()
        result.counts |= Counter(
            {
                "writes": len(history.writes),
                "acknowledged": sum(write.acknowledged for write in history.writes),
                "external edits": len(external),
                "external, acknowledged": sum(write.acknowledged for write in external),
                "save passes": history.counts["acknowledged"],
                "merged values": len(history.sightings),
                "conflicts": sum(numbers["conflicts"] for numbers in health),
                "stale reads": sum(numbers["stale_reads"] for numbers in health),
                "outages seen": history.counts["outage"],
                "starts in vain": history.counts["no start"],
                "updates refused, never loaded": history.counts["never loaded"],
                "spilled": history.counts["spilled"],
                "slowest update, ms": max((numbers["slowest"] for numbers in health), default=0),
            }
        )
        if history.counts["unsaved"]:
            self._problems([f"{history.counts['unsaved']} shutdowns lost data"])


def _difference(memory: object, stored: object) -> str:
    if not (isinstance(memory, dict) and isinstance(stored, dict)):
        return f"memory {memory!r}, database {stored!r}"
    parts = [key for key in {**memory, **stored} if memory.get(key) != stored.get(key)]
    shown = [f"{key}: memory {memory.get(key)!r}, database {stored.get(key)!r}" for key in parts[:3]]
    return f"{len(parts)} keys differ: {'; '.join(shown)}"[:1000]


def report(result: Result, console: Console) -> None:
    """Prints what a run has shown."""
    table = Table("", "count", title=f"seed {result.seed}")
    for name, count in sorted(result.counts.items()):
        table.add_row(name, f"{count:,}")
    console.print(table)
    for violation in result.violations[:_LONGEST_REPORT]:
        console.print(str(violation), style="red", markup=False, highlight=False)
    if result.violations:
        console.print(f"{len(result.violations)} violations; histories: {result.folder}", style="bold red")


def main(arguments: list[str] | None = None) -> int:
    """Runs the seeds that are asked for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="the first, or only, seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--seconds", type=float, default=20, help="that the nemesis is at work, for each seed")
    parser.add_argument("--bots", type=int, default=3)
    parser.add_argument("--services", type=int, default=2)
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first loss")
    options = parser.parse_args(arguments)
    console = Console()
    results: list[Result] = []
    with EmbeddedReplicaSet() as servers:
        for seed in range(options.seed, options.seed + options.seeds):
            torture = Torture(servers, seed, options.seconds, bots=options.bots, services=options.services)
            results.append(torture.run())
            report(results[-1], console)
            if not results[-1].violations:
                shutil.rmtree(results[-1].folder)
            elif not options.keep_going:
                break
    total = Counter[str]()
    for result in results:
        total += result.counts
    failed = [result.seed for result in results if result.violations]
    table = Table("", "total", title=f"{len(results)} seeds")
    for name, count in sorted(total.items()):
        table.add_row(name, f"{count:,}")
    console.print(table)
    console.print(f"failed: {failed}" if failed else "nothing lost", style="bold red" if failed else "bold green")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
