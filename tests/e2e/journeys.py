"""Many users, each on a journey of twenty steps, whose updates land on any of three workers; one is killed on the way.

    python tests/e2e/journeys.py --seeds 20 --users 50      # strict and exclusive; no pause between updates
    python tests/e2e/journeys.py --seeds 20 --users 50 --mode strict --pause 0.001   # a user's updates one by one
    python tests/e2e/journeys.py --seeds 20 --users 50 --mode stream --pause 0.05
    python tests/e2e/journeys.py --seeds 20 --users 50 --troubles 8 --mode whole    # on a set of three servers
    python tests/e2e/journeys.py --seeds 20 --users 50 --troubles 8 --mode strict --pause 0.001
    python tests/e2e/journeys.py --counts 10000             # two workers count in one key

Telegram is played by this process: each update goes to a worker by chance, and again to any, until one has answered
that it is handled. In the end every user must be where a single process would have left them, in the database, too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import pathlib
import random
import secrets
import signal
import socket
import sys
import tempfile
import time
from asyncio.subprocess import Process
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from botapi import FakeBotAPI, User
from journey_bot import BUTTONS, ENTER, LEAVE, NAMES, STEPS, TEXTS, THREE_TEXTS, Move, ends, kind, steps_of
from pymongo import MongoClient
from rich.console import Console
from rich.table import Table
from telegram.ext import ExtBot
from troubles import Troubles, end_transactions_soon

from ptb_mongo import MongoPersistence
from ptb_mongo.embedded import EmbeddedReplicaSet, mongodb_uri

_LEASE: Final = 2.0
MODES: Final[dict[str, dict[str, Any] | None]] = {
    "exclusive": {"consistency": "strict", "exclusive": True, "lease_timeout": _LEASE},
    "whole": {"exclusive": "chat", "once": "transaction", "lease_timeout": _LEASE},
    "strict": {"consistency": "strict"},
    "stream": {"consistency": "stream"},
    "plain": None,
}
TOKEN: Final = "123456:TEST-token"
PATIENCE: Final = 30.0  # seconds until a worker has started or ended, or an update was handled
_AGAIN: Final = 0.05  # seconds until an update comes again
_FIRST_USER: Final = 1000
_LONGEST_REPORT: Final = 10


@dataclass
class Result:
    """What a run has shown.

    Attributes:
        seed: Of everything that was decided by chance.
        counts: Of what happened.
        violations: What must not be.
        notes: What the workers have said, if there are violations.
    """

    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Worker:
    """A process that handles updates.

    Args:
        name: Of the worker.
        options: What it is given.
        folder: Where what it prints is kept.
    """

    def __init__(self, name: str, options: dict[str, Any], folder: pathlib.Path) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self._options = {**options, "port": port}
        self._output, self._errors = folder / f"{name}.out", folder / f"{name}.err"
        self._process: Process | None = None

    async def start(self) -> None:
        """Starts it, and waits until it listens."""
        warnings = ["-W", "error", "-W", "ignore::ResourceWarning"]  # a driver that is killed closes nothing
        program = str(pathlib.Path(__file__).with_name("journey_bot.py"))
        with self._output.open("ab") as output, self._errors.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, *warnings, program, json.dumps(self._options)),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
            )
        async with aiohttp.ClientSession() as session:
            for _ in range(int(PATIENCE / 0.02)):
                with contextlib.suppress(aiohttp.ClientError):
                    async with session.get(f"{self.url}/alive"):
                        return
                if self._process.returncode is not None:
                    break
                await asyncio.sleep(0.02)  # a port offers no event
        raise AssertionError(f"{self.name} has not started: {self.errors}")

    async def kill(self) -> None:
        """Ends it at once."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            await self._process.wait()

    def freeze(self) -> None:
        """Stops it, as a laptop that is closed, or a platform between two requests."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(signal.SIGCONT)

    async def stop(self) -> int:
        """Ends it as an administrator does; gives the exit status."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self._process.wait(), PATIENCE)

    @property
    def errors(self) -> str:
        """What it has complained about."""
        return self._errors.read_text(errors="replace").strip()

    @property
    def output(self) -> list[str]:
        """What it has said."""
        return self._output.read_text(errors="replace").splitlines()


class Journeys:
    """One run.

    Args:
        uri: Of the server.
        seed: Decides on everything but time.
        mode: A name in `MODES`.
        users: How many.
        workers: How many.
        kills: How often a worker is killed and started again.
        pause: Seconds between two updates of a user.
        troubles: How often something else goes wrong: see `troubles`.
        servers: The servers, if they may be failed over.
    """

    def __init__(
        self,
        uri: str,
        seed: int,
        *,
        mode: str = "exclusive",
        users: int = 50,
        workers: int = 3,
        kills: int = 1,
        pause: float = 0,
        troubles: int = 0,
        servers: EmbeddedReplicaSet | None = None,
    ) -> None:
        self.result = Result(seed)
        self._uri = uri
        self._database = f"ptb_mongo_journeys_{secrets.token_hex(4)}"
        self._mode = mode
        self._kills = kills
        self._pause = pause
        self._number_of_workers = workers
        self._users = range(_FIRST_USER, _FIRST_USER + users)
        self._chance = random.Random(f"{seed} {mode}")
        self._values = {
            user: [
                [self._chance.randrange(BUTTONS) for _ in range(TEXTS if kind(step) == THREE_TEXTS else 1)]
                for step in range(STEPS)
            ]
            for user in self._users
        }
        self._number_of_troubles = troubles
        chance = random.Random(f"{seed} {mode} troubles")
        self._troubles = Troubles(uri, servers, chance, _LEASE, self.result.counts)
        self._workers: list[Worker] = []
        self._handled = asyncio.Condition()
        self._restart: asyncio.Task[None] | None = None

    async def run(self) -> Result:
        """Everybody goes all steps."""
        begun = time.monotonic()
        async with self._running() as (api, session):
            goers = [asyncio.create_task(self._goes(api, session, user)) for user in self._users]
            nemeses = [asyncio.create_task(self._kill()), asyncio.create_task(self._trouble())]
            await asyncio.gather(*goers)
            for nemesis in nemeses:
                nemesis.cancel()
            await asyncio.wait(nemeses)
            for nemesis in nemeses:
                if not nemesis.cancelled() and (error := nemesis.exception()) is not None:
                    raise error
        self.result.counts["users"] += len(self._users)
        self.result.counts["seconds"] += round(time.monotonic() - begun)
        return self.result

    async def count(self, updates: int, at_once: int = 20) -> Result:
        """One user's updates, many at once, each of which adds one to a count."""
        async with self._running() as (api, session):
            user, numbers = api.user(_FIRST_USER, "Ada"), iter(range(updates))

            async def count_on() -> None:
                for _ in numbers:
                    await self._text(api, session, user, "count")

            await asyncio.gather(*(count_on() for _ in range(at_once)))
        return self.result

    @contextlib.asynccontextmanager
    async def _running(self) -> AsyncIterator[tuple[FakeBotAPI, aiohttp.ClientSession]]:
        with tempfile.TemporaryDirectory(prefix="journeys-") as folder, MongoClient[Any](self._uri) as client:
            connector = aiohttp.TCPConnector(limit=0, force_close=True)
            try:
                async with (
                    FakeBotAPI(TOKEN) as api,
                    aiohttp.ClientSession(connector=connector) as session,
                    self._ways() as routes,
                ):
                    await self._start(api, pathlib.Path(folder), routes)
                    yield api, session
                    await self._stop()
                await self._check(client[self._database])
            finally:
                await asyncio.gather(*(worker.kill() for worker in self._workers))
                client.drop_database(self._database)

    @contextlib.asynccontextmanager
    async def _ways(self) -> AsyncIterator[list[dict[str, int]]]:
        if not self._number_of_troubles:
            yield [{}] * self._number_of_workers
            return
        async with self._troubles.ways(self._number_of_workers) as routes:
            yield routes

    async def _start(self, api: FakeBotAPI, folder: pathlib.Path, routes: list[dict[str, int]]) -> None:
        options = {
            "uri": self._uri,
            "database": self._database,
            "token": api.token,
            "base_url": api.base_url,
            "shared": MODES[self._mode],
        }
        for number, routes_of_one in enumerate(routes):
            more = {"loading": self._chance.choice(["eager", "lazy"]), "routes": routes_of_one}
            self._workers.append(Worker(f"worker{number}", {**options, **more}, folder))
        await asyncio.gather(*(worker.start() for worker in self._workers))

    async def _stop(self) -> None:
        if self._restart is not None:  # which everybody may have gone all steps before
            await self._restart
        statuses = await asyncio.gather(*(worker.stop() for worker in self._workers))
        for worker, status in zip(self._workers, statuses, strict=True):
            if status or "Traceback" in worker.errors or (worker.errors and not self._number_of_troubles):
                self.result.violations.append(f"{worker.name} ended with {status}: {worker.errors[-3000:]}")
            for line in worker.output:
                self.result.counts[line.partition(":")[0]] += 1
            if self.result.violations:
                self.result.notes += [f"{worker.name}: {line}" for line in worker.output]

    # -- users ------------------------------------------------------------------------------------------

    async def _goes(self, api: FakeBotAPI, session: aiohttp.ClientSession, number: int) -> None:
        user = api.user(number, "Ada")
        for step, values in enumerate(self._values[number]):
            await self._takes_step(api, session, user, step, values)
            last = api.last_message(number).text
            if last != str(step):
                self.result.violations.append(f"{number} has given {values} in step {step}, and was told {last!r}")
                return

    async def _takes_step(
        self, api: FakeBotAPI, session: aiohttp.ClientSession, user: User, step: int, values: list[int]
    ) -> None:
        if kind(step) == THREE_TEXTS:
            texts = [f"{step} {number} {value}" for number, value in enumerate(values)]
            if self._pause:
                for text in texts:
                    await self._text(api, session, user, text)
            else:
                await asyncio.gather(*(self._text(api, session, user, text) for text in texts))
        elif kind(step) in {ENTER, LEAVE}:
            message = api.last_message(user.id)
            query = {"id": str(api.new_id()), "from": user.json, "message": message.json, "chat_instance": str(user.id)}
            data = message.buttons[str(values[0])]
            await self._deliver(api, session, callback_query={**query, "data": data})
        else:
            await self._text(api, session, user, f"{step} {values[0]}")

    async def _text(self, api: FakeBotAPI, session: aiohttp.ClientSession, user: User, text: str) -> None:
        await self._deliver(api, session, message=api.new_message(chat=user.chat, sender=user.json, text=text))

    async def _deliver(self, api: FakeBotAPI, session: aiohttp.ClientSession, **content: Any) -> None:
        update = {"update_id": api.new_id(), **content}
        deadline = time.monotonic() + PATIENCE * (10 if self._number_of_troubles else 1)
        while not await self._answered(session, update):
            if time.monotonic() > deadline:
                raise AssertionError(f"nobody has handled {content}")
            self.result.counts["delivered again"] += 1
            await asyncio.sleep(_AGAIN)
        async with self._handled:
            self.result.counts["updates"] += 1
            self._handled.notify_all()
        await asyncio.sleep(self._pause)

    async def _answered(self, session: aiohttp.ClientSession, update: dict[str, Any]) -> bool:
        worker = self._chance.choice(self._workers)
        patience = aiohttp.ClientTimeout(_LEASE if self._number_of_troubles else None)
        try:
            async with session.post(f"{worker.url}/telegram", json=update, timeout=patience) as answer:
                return answer.ok
        except (aiohttp.ClientError, asyncio.TimeoutError):  # it may be handled all the same
            return False

    async def _moments(self, number: int) -> AsyncIterator[None]:
        """So many moments of the run."""
        total = sum(len(values) for steps in self._values.values() for values in steps)
        for moment in sorted(self._chance.sample(range(total // 10, total * 9 // 10), number)):
            async with self._handled:
                await self._handled.wait_for(lambda: self.result.counts["updates"] >= moment)  # noqa: B023
            yield

    async def _trouble(self) -> None:
        async for _ in self._moments(self._number_of_troubles):
            await self._troubles.happen(self._workers)

    async def _kill(self) -> None:
        async for _ in self._moments(self._kills):
            await asyncio.sleep(self._chance.random() * 0.02)
            worker = self._chance.choice(self._workers)
            self._restart = asyncio.create_task(self._restarts(worker))
            await asyncio.shield(self._restart)

    async def _restarts(self, worker: Worker) -> None:
        await worker.kill()
        self.result.counts["kills"] += 1
        await worker.start()

    # -- the end ----------------------------------------------------------------------------------------

    async def _check(self, database: Any) -> None:
        persistence = MongoPersistence(self._uri, self._database, trusted=[Move], refresh="off")
        persistence.set_bot(ExtBot(TOKEN))
        user_data, chat_data = await persistence.get_user_data(), await persistence.get_chat_data()
        bot_data = await persistence.get_bot_data()
        states = {name: await persistence.get_conversations(name) for name in NAMES}
        await persistence.flush()
        self.result.counts["counted"] += user_data.get(_FIRST_USER, {}).get("count", 0)
        if self.result.counts["counted"]:
            self._same("the count", self.result.counts["updates"], self.result.counts["counted"])
            return
        self._check_tallies(user_data, chat_data)
        kept = {user: steps_of(values) for user, values in self._values.items()}
        for user in self._users:
            given = {
                step: dict(enumerate(values))
                for step, values in enumerate(self._values[user])
                if kind(step) == THREE_TEXTS
            }
            # Order is not compared: three texts at once have none.
            self._same(f"user_data of {user}", {"steps": kept[user], "given": given}, user_data.get(user))
            self._same(f"chat_data of {user}", {"trace": list(range(STEPS))}, chat_data.get(user))
        last = {user: steps[STEPS - 1] for user, steps in kept.items()}
        self._same(
            "bot_data", {"finished": last, **{f"finished {user}": value for user, value in last.items()}}, bot_data
        )
        waiting = {(user, user): STEPS for user in self._users if not ends(user)}
        self._same("states", {"journey": waiting, "room": {}, "corner": {}}, states)
        self._same("leases", [], list(database.leases.find()))

    def _check_tallies(self, user_data: dict[int, Any], chat_data: dict[int, Any]) -> None:
        """Each update has counted: once, where that is promised, and else once at least, where updates do not meet."""
        for user in self._users:
            updates = sum(map(len, self._values[user]))
            for what, data in (("user_data", user_data), ("chat_data", chat_data)):
                counted = data.get(user, {}).pop("tally", 0)
                if self._mode in {"whole", "plain"}:
                    self._same(f"the tally in {what} of {user}", updates, counted)
                elif self._mode == "exclusive" and counted < updates:
                    self._same(f"the tally in {what} of {user}", f"at least {updates}", counted)

    def _same(self, what: str, expected: object, stored: object) -> None:
        if expected != stored:
            self.result.violations.append(f"{what}: {difference(expected, stored)}"[:1000])


def difference(expected: object, stored: object) -> str:
    """Where two values differ."""
    if isinstance(expected, dict) and isinstance(stored, dict):
        keys = [key for key in {**expected, **stored} if expected.get(key) != stored.get(key)]
        return ", ".join(f"{key}: {difference(expected.get(key), stored.get(key))}" for key in keys)
    return f"expected {expected!r}, stored {stored!r}"


def report(title: str, result: Result, console: Console) -> None:
    """Prints what a run has shown."""
    counts = ", ".join(f"{count:,} {name}" for name, count in sorted(result.counts.items()) if count)
    verdict = f"[red]{len(result.violations)} violations[/red]" if result.violations else "[green]as expected[/green]"
    console.print(f"{title}: {verdict}; {counts}", highlight=False)
    for violation in result.violations[:_LONGEST_REPORT] + result.notes[-_LONGEST_REPORT:]:
        console.print(violation, style="red", markup=False, highlight=False)


def main(arguments: list[str] | None = None) -> int:
    """Runs the seeds that are asked for; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mode", choices=list(MODES), default="exclusive")
    parser.add_argument("--seed", type=int, default=1, help="the first, or only, seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many")
    parser.add_argument("--users", type=int, default=50)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--kills", type=int, default=1, help="in each run")
    parser.add_argument("--troubles", type=int, default=0, help="in each run; then on a set of three servers")
    parser.add_argument("--pause", type=float, default=0, help="seconds between two updates of a user")
    parser.add_argument("--counts", type=int, help="instead of journeys, let two workers count so many updates")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first violation")
    options = parser.parse_args(arguments)
    console, results = Console(), list[Result]()
    with contextlib.ExitStack() as stack:
        servers = stack.enter_context(EmbeddedReplicaSet()) if options.troubles else None
        if servers is not None:
            end_transactions_soon(servers)
        uri = stack.enter_context(mongodb_uri()) if servers is None else servers.uri
        for seed in range(options.seed, options.seed + options.seeds):
            if options.counts:
                run = Journeys(uri, seed, mode=options.mode, workers=2, kills=0).count(options.counts)
            else:
                names = ("mode", "users", "workers", "kills", "pause", "troubles")
                run = Journeys(uri, seed, servers=servers, **{name: getattr(options, name) for name in names}).run()
            results.append(asyncio.run(run))
            report(f"seed {seed}", results[-1], console)
            if results[-1].violations and not options.keep_going:
                break
    total = Counter[str]()
    for result in results:
        total += result.counts
    failed = [result.seed for result in results if result.violations]
    table = Table("", "total", title=f"{options.mode}, {len(results)} seeds")
    for name, count in sorted(total.items()):
        table.add_row(name, f"{count:,}")
    console.print(table)
    verdict = f"failed: {failed}" if failed else "all are where a single process would have left them"
    console.print(verdict, style="bold red" if failed else "bold green")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
