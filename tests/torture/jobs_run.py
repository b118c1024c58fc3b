"""Three workers, hundreds of jobs that come due within seconds, and a nemesis: which runs were done, and how often.

    python tests/torture/jobs_run.py --seeds 10 --jobs 500    # each seed about a minute

Workers are killed and started anew, frozen for longer than their leases, and the primary steps down. In the end each
job has run at least once, and none twice unless its first run was broken off: its worker was killed or frozen before
the run was over and that was stored.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime as dtm
import itertools
import os
import random
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from ptb_mongo.embedded import EmbeddedReplicaSet

LEASE: Final = 3.0
_STORED_AFTER: Final = 15.0  # seconds after a run until it is surely stored that it was done: an election lies between
_WORKER: Final = Path(__file__).with_name("jobs_worker.py")


@dataclass
class Run:
    """One run of a job."""

    pid: int
    began: float
    ended: float | None = None


@dataclass
class Story:
    """What happened.

    Attributes:
        broken: When each worker was killed or frozen.
    """

    broken: dict[int, list[float]] = field(default_factory=lambda: collections.defaultdict(list))

    def runs(self, file: Path) -> dict[str, list[Run]]:
        """The runs of each job, in their order."""
        runs: dict[str, list[Run]] = collections.defaultdict(list)
        for line in file.read_text().splitlines():
            what, moment, pid, *name = line.split()
            if what == "began":
                runs[name[0]].append(Run(int(pid), float(moment)))
            elif what == "ended":
                last = next(one for one in reversed(runs[name[0]]) if one.pid == int(pid) and one.ended is None)
                last.ended = float(moment)
        return runs

    def was_broken_off(self, run: Run) -> bool:
        """Whether something was done to a worker before it could say that a run was over."""
        until = (run.ended or float("inf")) + _STORED_AFTER
        return any(run.began - LEASE <= moment <= until for moment in self.broken[run.pid])

    def faults(self, file: Path, names: list[str]) -> list[str]:
        """What must not be."""
        runs, found = self.runs(file), []
        for name in names:
            mine = runs.get(name, [])
            if not any(run.ended is not None for run in mine):
                found.append(f"{name} was never run to its end: {mine}")
            for first, second in itertools.pairwise(mine):
                if not self.was_broken_off(first):
                    found.append(f"{name} ran twice, though nothing had happened to its worker: {first}, {second}")
        return found


class Workers:
    """The processes."""

    def __init__(self, uri: str, database: str, file: Path, number: int, story: Story) -> None:
        self._arguments = [uri, database, str(file), str(LEASE)]
        self._story = story
        self._processes = [self._start() for _ in range(number)]

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, str(_WORKER), *self._arguments])

    def kill(self, number: int) -> None:
        """Kills one, and starts another one in its place."""
        old = self._processes[number]
        self._story.broken[old.pid].append(time.time())
        old.kill()
        old.wait()
        self._processes[number] = self._start()

    def freeze(self, number: int, seconds: float) -> None:
        """Stops one for a while."""
        process = self._processes[number]
        self._story.broken[process.pid].append(time.time())
        process.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            process.kill()
            process.wait()


def wait_for(condition: Any, seconds: float, what: str) -> None:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        with contextlib.suppress(PyMongoError):  # an election
            if condition():
                return
        time.sleep(0.1)
    raise AssertionError(f"{what}: not within {seconds:g} s")


def torture(seed: int, jobs: int, seconds: float, mongod: EmbeddedReplicaSet, accidents: int) -> list[str]:
    """One run; gives what went wrong."""
    chance, story = random.Random(seed), Story()
    database = f"jobs_torture_{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as folder, MongoClient[dict[str, Any]](mongod.uri) as client:
        file = Path(folder) / "runs"
        workers = Workers(mongod.uri, database, file, 3, story)
        try:
            wait_for(lambda: file.exists() and file.read_text().count("ready") == 3, 60, "the workers start")
            begin = dtm.datetime.now(dtm.timezone.utc) + dtm.timedelta(seconds=1)
            names = [f"job-{number}" for number in range(jobs)]
            client[database].jobs.insert_many(
                {
                    "_id": name,
                    "callback": "__main__:works",
                    "user_id": chance.randrange(20) if chance.random() < 0.5 else None,
                    "data": {"name": name, "seconds": chance.choice([0.0, 0.0, 0.1, 1.0])},
                    "next_run": begin + dtm.timedelta(seconds=chance.uniform(0, seconds)),
                }
                for name in names
            )
            for _ in range(accidents):
                time.sleep(chance.uniform(0.2, 2 * seconds / accidents / 2))
                match chance.choice(["kill", "freeze", "step down"]):
                    case "kill":
                        workers.kill(chance.randrange(3))
                    case "freeze":
                        workers.freeze(chance.randrange(3), LEASE + chance.uniform(0.5, 2))
                    case _:
                        with contextlib.suppress(PyMongoError):
                            client.admin.command({"replSetStepDown": 5, "secondaryCatchUpPeriodSecs": 5})
            left = {"buried": {"$exists": False}}
            wait_for(lambda: client[database].jobs.count_documents(left) == 0, 90, "all jobs are done")
        except AssertionError as error:
            return [str(error), *story.faults(file, names)]
        finally:
            workers.close()
            with contextlib.suppress(PyMongoError):
                client.drop_database(database)
        return story.faults(file, names)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--accidents", type=int, default=5)
    given = parser.parse_args()
    bad = 0
    with EmbeddedReplicaSet() as mongod:
        for seed in range(given.first, given.first + given.seeds):
            began = time.monotonic()
            faults = torture(seed, given.jobs, given.seconds, mongod, given.accidents)
            bad += bool(faults)
            sys.stdout.write(f"seed {seed}: {time.monotonic() - began:.0f} s, {faults[:5] or 'good'}\n")
            sys.stdout.flush()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
