"""Three workers of one bot, one of which is killed; offline, in less than half a minute.

    pip install -e ".[examples,examples-web]" && python examples/workers/run.py

The workers are separate processes (`worker.py`, a webhook), MongoDB is embedded (or the one in MONGODB_URI, where a
database is created and dropped), and this process plays Telegram (`stand_in.py`): it pushes each update to a random
worker, and again if that one has not answered. `--people 60` makes it a crowd.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import os
import random
import secrets
import signal
import socket
import sys
import time
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from rich.console import Console
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text
from stand_in import PATIENCE, TOKEN, Person, StandIn
from tasting import TEAS, WORD

from ptb_mongo.embedded import mongodb_uri

Database = AsyncDatabase[dict[str, Any]]

NAMES = ["Ada", "Alan", "Barbara", "Dennis", "Donald", "Edsger", "Grace", "John", "Katherine", "Ken", "Lynn", "Radia"]
WORDS = ["bright", "earthy", "floral", "malty", "smoky"]
STOPS = 4  # every fourth person stops before the last word
UPDATES = 3  # for each tea, after one for /start


class Worker:
    """A process that handles updates.

    Args:
        name: Its name here.
        environment: Its environment variables.
    """

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        self.name = name
        self.url = f"http://127.0.0.1:{port}"
        self.kills = 0
        self._environment = {**os.environ, **environment, "PORT": str(port)}
        self._process: Process | None = None

    async def start(self) -> int:
        """Starts it, and waits until it answers; returns its process id."""
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("worker.py"))),
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C reaches only us, and we end it
        )
        deadline = time.monotonic() + PATIENCE
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await client.get(f"{self.url}/alive")
                    return self._process.pid
                if self._process.returncode is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{self.name} does not start")
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """Ends it with SIGKILL: it has no time to save or even to notice."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
            self.kills += 1

    async def stop(self) -> None:
        """Ends it with SIGTERM: it finishes its current work, and exits."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            status = await asyncio.wait_for(self._process.wait(), PATIENCE)
            if status not in {0, -signal.SIGTERM}:  # uvicorn ends with the signal that stopped it
                raise RuntimeError(f"{self.name} has ended with the exit status {status}")


class Taster:
    """Somebody who tastes all teas, or stops at the last one, just before the word for it.

    Args:
        person: The person.
        stops: Whether they stop there.
        chance: Decides on stars and words.
    """

    def __init__(self, person: Person, chance: random.Random, *, stops: bool) -> None:
        self.person = person
        self.stops = stops
        self.notes = {tea: {"stars": chance.randint(1, 5), "word": chance.choice(WORDS)} for tea in TEAS}
        if stops:
            del self.notes[TEAS[-1]]["word"]

    @property
    def updates(self) -> int:
        """The number of their updates."""
        return 1 + UPDATES * len(TEAS) - self.stops

    async def tastes(self, handled: Callable[[], None]) -> None:
        """Goes from tea to tea, without a pause; calls `handled` after each update."""
        await self.person.writes("/start")
        handled()
        for tea, note in self.notes.items():
            await self.person.presses(tea)
            handled()
            await self.person.presses("★" * int(note["stars"]))
            handled()
            if "word" in note:
                await self.person.writes(str(note["word"]))
                handled()

    async def is_where_they_should_be(self, database: Database) -> bool:
        """Whether the stored data and conversation state match what they have said."""
        stored = await database["user_data"].find_one({"_id": self.person.id}) or {}
        states = {
            found["handler"]: found["state"]
            async for found in database["conversations"].find({"key": [self.person.id, self.person.id]})
        }
        expected = {"tasting": "choosing", "cup": WORD} if self.stops else {}
        return stored.get("data", {}).get("notes") == self.notes and states == expected


async def play(console: Console, uri: str, people: int) -> bool:
    """Plays everything; returns whether all went well."""
    secret = secrets.token_urlsafe()
    telegram, chance = StandIn(secret), random.Random(7)  # noqa: S311  (a fair choice is enough)
    async with AsyncMongoClient[dict[str, Any]](uri) as client, telegram.serving():
        database = client[f"ptb_mongo_example_{secrets.token_hex(4)}"]
        environment = {"BOT_TOKEN": TOKEN, "BOT_API": telegram.url, "MONGODB_URI": uri, "DATABASE": database.name}
        environment |= {"WEBHOOK_URL": "https://example.org", "WEBHOOK_SECRET": secret}
        workers = [Worker(f"worker {number}", environment) for number in (1, 2, 3)]
        tasters = [
            Taster(telegram.person(1000 + number, NAMES[number % len(NAMES)]), chance, stops=number % STOPS == 0)
            for number in range(people)
        ]
        try:
            async with started(console, workers, telegram):
                begun = time.monotonic()
                await taste(console, tasters, workers[1], telegram)
                seconds = time.monotonic() - begun
            there = [await taster.is_where_they_should_be(database) for taster in tasters]
        finally:
            await client.drop_database(database.name)
    report(console, workers, tasters, telegram, there, seconds)
    return all(there)


@contextlib.asynccontextmanager
async def started(console: Console, workers: list[Worker], telegram: StandIn) -> AsyncIterator[None]:
    """A context in which the workers are running."""
    try:
        pids = await asyncio.gather(*(worker.start() for worker in workers))
        telegram.webhooks = {worker.name: f"{worker.url}/telegram" for worker in workers}
        listed = ", ".join(map(str, pids))
        console.print(Text(f"● Three workers listen: processes {listed}", "yellow"))
        yield
        await asyncio.gather(*(worker.stop() for worker in workers))
        console.print(Text("● kill -TERM: all workers have finished, and ended", "yellow"))
    finally:
        await asyncio.gather(*(worker.kill() for worker in workers))


async def taste(console: Console, tasters: list[Taster], victim: Worker, telegram: StandIn) -> None:
    """Everybody tastes at once; after a third of the updates, a worker is killed, and a new one replaces it."""
    total = sum(taster.updates for taster in tasters)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task, a_third_is_over = progress.add_task("updates", total=total), asyncio.Event()

        def handled() -> None:
            progress.advance(task)
            if telegram.handled.total() > total / 3:
                a_third_is_over.set()

        tasting = asyncio.gather(*(taster.tastes(handled) for taster in tasters))
        waiting = asyncio.ensure_future(a_third_is_over.wait())
        await asyncio.wait({tasting, waiting}, return_when=asyncio.FIRST_COMPLETED)
        await victim.kill()
        console.print(Text(f"● kill -9 {victim.name}, in the middle of things", "bold red"))
        pid = await victim.start()
        console.print(Text(f"● {victim.name} is back, as process {pid}", "yellow"))
        await tasting


def report(
    console: Console,
    workers: list[Worker],
    tasters: list[Taster],
    telegram: StandIn,
    there: list[bool],
    seconds: float,
) -> None:
    """Prints the tables at the end."""
    console.print()
    table = Table("", "updates handled", "", "killed", title="Who did what", title_justify="left")
    most = max(telegram.handled.values())
    for worker in workers:
        handled = telegram.handled[worker.name]
        bar = Text("█" * round(24 * handled / most), "cyan")
        table.add_row(worker.name, str(handled), bar, "☠ once" if worker.kills else "")
    console.print(table)
    console.print()
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right")
    updates = telegram.handled.total()
    table.add_row(str(len(tasters)), "people, each in a conversation inside another, with buttons")
    table.add_row(str(updates), f"updates, each to a worker by chance; {updates / seconds:.0f} a second")
    table.add_row(str(telegram.redelivered), "deliveries in vain, and again")
    table.add_row(str(sum(taster.stops for taster in tasters)), "people stopped before the last word, and are there")
    style = "bold green" if all(there) else "bold red"
    table.add_row(Text(str(sum(there)), style), Text(f"of {len(there)} are where they should be", style))
    console.print(table)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=30)
    people = parser.parse_args().people
    started_at = time.monotonic()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # LANG=C has no bullets
    console = Console(highlight=False)
    title = Text.assemble(("One bot, three workers", "bold"), "\n", ("no network, no token, no containers", "dim"))
    title.justify = "center"
    console.print(Panel(title, style="cyan", width=min(console.width, 88)))
    with mongodb_uri() as uri:
        well = asyncio.run(play(console, uri, people))
    console.print(Text(f"\n● Done in {time.monotonic() - started_at:.0f} s; everything is cleaned up.", "green"))
    return 0 if well else 1


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main())
