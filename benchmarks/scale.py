"""The cost of a bot with very many users: `python benchmarks/scale.py --users 1000000`.

It creates such a database on the embedded server: users, a tenth as many chats, three tenths as many conversations, a
twentieth as many keyboards, and `bot_data` with an entry for every 25th user. Each line is measured in a separate
process, so that its memory can be measured. Times depend on the machine; the ratios to the raw driver, or to a
persistence that does nothing, hardly do.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from pymongo import AsyncMongoClient, MongoClient
from pymongo.monitoring import CommandListener, CommandStartedEvent
from suite.bot import App, NoNetwork, remember, update_from
from suite.subjects import TOKEN
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.ext import (
    Application,
    BasePersistence,
    ConversationHandler,
    ExtBot,
    MessageHandler,
    PersistenceInput,
    PicklePersistence,
    filters,
)

from ptb_mongo import MongoPersistence, SharedApplication
from ptb_mongo.embedded import mongodb_uri

DATABASE = "benchmark_scale"
EMPTY = f"{DATABASE}_empty"
BATCH = 10_000
MOST_OF_PICKLE = 1.5
ANY_COMMAND = 20  # MB: client, tables
MOST_RELEASED = 200_000
MOST_OF_A_COMMAND = 300  # MB
LOOKING = tuple(
    f"{words} --json" for words in ("check", "stats", "show conversations", "show user 1", "erase user 1 --search")
)


# -- the database ------------------------------------------------------------------------------------------


def documents(kind: str, users: int) -> Iterator[dict[str, Any]]:
    """The stored documents of one kind."""
    if kind == "user_data":
        for one in range(1, users + 1):
            yield {"_id": one, "data": {"score": one, "last": "hello", "name": f"User {one}", "tags": ["a", "b"]}}
    elif kind == "chat_data":
        for one in range(1, users // 10 + 1):
            yield {"_id": -one, "data": {"title": f"Group {one}", "members": one % 100}}
    elif kind == "conversations":
        for one in range(1, users * 3 // 10 + 1):
            key = {"handler": "order", "key": [one, one]}
            yield {"_id": key, **key, "state": one % 3}
    elif kind == "callback_data":
        for one in range(users // 20):
            yield {
                "_id": f"{one:032x}",
                "position": one,
                "accessed_at": 1e9 + one,
                "buttons": {f"{one:032x}": 0},
                "objects": [{"article": one}],
            }
    else:
        entries = {str(one): {"name": f"Entry {one}", "number": one, "text": "x" * 40} for one in range(users // 25)}
        yield {"_id": int(TOKEN.partition(":")[0]), "data": entries}


def make(uri: str, users: int) -> None:
    """Creates the database, unless it exists."""
    with MongoClient[dict[str, Any]](uri) as client:
        database = client[DATABASE]
        if database.user_data.estimated_document_count() == users:
            return
        client.drop_database(DATABASE)
        for kind in ("user_data", "chat_data", "conversations", "callback_data", "bot_data"):
            batch: list[dict[str, Any]] = []
            for document in documents(kind, users):
                batch.append({**document, "rev": "made:1"})
                if len(batch) == BATCH:
                    database[kind].insert_many(batch, ordered=False)
                    batch = []
            if batch:
                database[kind].insert_many(batch, ordered=False)


# -- how it is measured ------------------------------------------------------------------------------------


def memory() -> float:
    """This process's peak memory so far, in MB; the figure of `getrusage` may be the parent process's."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def memory_now() -> float:
    """The memory of this process now, in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024**2


async def watched(work: Awaitable[Any]) -> dict[str, float]:
    """Does some work; returns its seconds, the longest block of the loop in milliseconds, and the memory it took."""
    before, longest = memory(), 0.0

    async def tick() -> None:
        nonlocal longest
        while True:
            at = time.perf_counter()
            await asyncio.sleep(0.001)
            longest = max(longest, time.perf_counter() - at - 0.001)

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    begun = time.perf_counter()
    await work
    seconds = time.perf_counter() - begun
    ticking.cancel()
    return {"seconds": seconds, "longest block, ms": longest * 1000, "MB": memory() - before}


def application(persistence: BasePersistence[Any, Any, Any], *, shared: bool = False, buttons: int = 1024) -> App:
    """A bot with a conversation and a handler that writes."""
    bot = ExtBot(TOKEN, request=NoNetwork(), get_updates_request=NoNetwork(), arbitrary_callback_data=buttons)
    builder: Any = Application.builder().bot(bot).updater(None).job_queue(None).persistence(persistence)
    if shared:
        builder = builder.application_class(SharedApplication, {})
    made: App = builder.build()
    made.add_handler(ConversationHandler([], {}, [], name="order", persistent=True), group=-1)
    made.add_handler(MessageHandler(filters.TEXT, remember))
    return made


# -- what is measured --------------------------------------------------------------------------------------


async def start(uri: str, loading: str, kind: str) -> dict[str, float]:
    """Measures a start."""
    made = application(MongoPersistence(uri, DATABASE, loading=loading), shared=kind == "shared")  # type: ignore[arg-type]
    figures = await watched(made.initialize())
    await made.shutdown()
    return figures


async def raw_start(uri: str) -> dict[str, float]:
    """Measures the raw driver reading what an eager plain start loads."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri)

    async def read() -> None:
        kept = [
            await client[DATABASE][kind].find().to_list()
            for kind in ("user_data", "chat_data", "bot_data", "conversations")
        ]
        assert kept

    figures = await watched(read())
    await client.close()
    return figures


async def cpu_of_updates(made: App, number: int) -> float:
    """Milliseconds of CPU time for an update of a loaded user that writes nothing."""
    best = float("inf")
    nothing = update_from(1)
    for _ in range(5):
        begun = time.process_time()
        for _ in range(number):
            await made.process_update(nothing)
        best = min(best, (time.process_time() - begun) / number * 1000)
    return best


async def update(uri: str, kind: str, database: str) -> dict[str, float]:
    """Measures updates, with a large database or an empty one."""
    persistence = MongoPersistence(uri, database, loading="lazy", update_interval=3600)
    made = application(persistence, shared=kind == "shared", buttons=10**6)
    for handlers in list(made.handlers.values()):
        for handler in list(handlers):
            if isinstance(handler, MessageHandler):
                made.remove_handler(handler)
    made.add_handler(MessageHandler(filters.TEXT, lambda *_: asyncio.sleep(0)))
    async with made:
        cache: Any = made.bot.callback_data_cache  # type: ignore[attr-defined]
        if database == DATABASE:
            cache.process_keyboard(InlineKeyboardMarkup([[InlineKeyboardButton("x", callback_data=1)]]))
        for _ in range(50):
            await made.process_update(update_from(1))
            await asyncio.sleep(0.01)
        return {
            "CPU, ms": await cpu_of_updates(made, 200),
            "keyboards": len(cache.persistence_data[0]),
        }


class Idle(BasePersistence[dict[Any, Any], dict[Any, Any], dict[Any, Any]]):
    """Saves nothing, which leaves PTB's own cost."""

    def __init__(self) -> None:
        super().__init__(store_data=PersistenceInput(callback_data=False), update_interval=3600)

    async def _nothing(self, *_: Any, **__: Any) -> dict[Any, Any]:
        return {}

    get_user_data = get_chat_data = get_bot_data = get_callback_data = get_conversations = _nothing  # type: ignore[assignment]
    update_user_data = update_chat_data = update_bot_data = update_conversation = _nothing  # type: ignore[assignment]
    update_callback_data = drop_user_data = drop_chat_data = flush = _nothing  # type: ignore[assignment]
    refresh_user_data = refresh_chat_data = refresh_bot_data = _nothing  # type: ignore[assignment]


async def save(uri: str, number: int, *, idle: bool) -> dict[str, float]:
    """Measures a save pass with this many changed users."""
    stored = MongoPersistence(uri, f"{DATABASE}_save_{os.getpid()}", update_interval=3600)
    made = application(Idle() if idle else stored)
    async with made:
        for again in range(2):
            for one in range(1, number + 1):
                await made.process_update(update_from(one))
            figures = await watched(made.update_persistence())
            if again == 0:
                gc.collect()
    if not idle:
        with MongoClient[dict[str, Any]](uri) as client:
            client.drop_database(f"{DATABASE}_save_{os.getpid()}")
    return figures


def forget_cursors(uri: str) -> None:
    """Closes idle sessions and cursors, as a server does after half an hour."""
    with MongoClient[dict[str, Any]](uri) as client:
        client.admin.command({"killAllSessions": []})
        for one in client.admin.aggregate([{"$currentOp": {"idleCursors": True, "allUsers": True}}]):
            if one.get("type") == "idleCursor" and one["ns"].startswith(f"{DATABASE}.user"):
                client[DATABASE].command({"killCursors": "user_data", "cursors": [one["cursor"]["cursorId"]]})


async def broadcast(uri: str, users: int) -> dict[str, float]:
    """Measures reading all ids, with a pause in the middle in which the server closes its cursors."""
    persistence = MongoPersistence(uri, DATABASE, loading="lazy")
    seen = 0

    async def go() -> None:
        nonlocal seen
        async for _ in persistence.user_ids():
            seen += 1
            if seen == users // 2:
                forget_cursors(uri)

    figures = await watched(go())
    await persistence.flush()
    return {**figures, "ids": seen}


async def raw_broadcast(uri: str) -> dict[str, float]:
    """Measures reading all ids by one cursor of the raw driver, without a pause."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri)

    async def go() -> None:
        async for _ in client[DATABASE].user_data.find({}, {"_id": 1}):
            pass

    figures = await watched(go())
    await client.close()
    return figures


class Reads(CommandListener):
    """Counts the commands that read documents."""

    number = 0

    def started(self, event: CommandStartedEvent) -> None:
        """See `CommandListener`."""
        self.number += event.command_name == "find" or event.command.get("aggregate", 1) != 1

    def succeeded(self, event: Any) -> None:
        """See `CommandListener`."""

    def failed(self, event: Any) -> None:
        """See `CommandListener`."""


async def lost_stream(uri: str, kind: str) -> dict[str, float]:
    """Measures the first updates of users after the stream was lost: how many reads each takes."""
    reads, number = Reads(), 500
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri, event_listeners=[reads])
    made = application(MongoPersistence(client, DATABASE, loading="lazy"), shared=kind == "shared")
    persistence: Any = made.persistence
    async with made:
        for one in range(1, number + 1):
            await made.process_update(update_from(one))
        await made.update_persistence()
        while persistence.session.must_read:  # noqa: ASYNC110  (nobody tells when the stream is open)
            await asyncio.sleep(0.01)
        persistence.session.scopes.told_all()
        await made.process_update(update_from(number + 1))  # reads the bot's own data
        before = reads.number
        for one in range(1, number + 1):
            await made.process_update(update_from(one))
        figures = {"reads an update": (reads.number - before) / number}
    await client.close()
    return figures


async def release(uri: str, users: int, keep: int) -> dict[str, float]:
    """Measures the memory of a lazy bot with `keep` after each fifth of many different users."""
    persistence = MongoPersistence(uri, DATABASE, loading="lazy", keep=keep, update_interval=3600)
    made = application(persistence)
    figures: dict[str, float] = {}
    async with made:
        for one in range(1, users + 1):
            await made.process_update(update_from(one))
            if one % (keep // 2) == 0:
                await made.update_persistence()
            if one % (users // 5) == 0:
                figures[f"MB after {one:,}"] = memory_now()
        figures["users in memory"] = len(made.user_data)
    return figures


# -- the command line --------------------------------------------------------------------------------------


async def pickled(_: str, file: str) -> dict[str, float]:
    """Measures how `PicklePersistence` loads a file and writes it again."""
    persistence: PicklePersistence[Any, Any, Any] = PicklePersistence(file, on_flush=True)

    async def go() -> None:
        kept = [
            await persistence.get_user_data(),
            await persistence.get_chat_data(),
            await persistence.get_bot_data(),
            await persistence.get_conversations("order"),
        ]
        assert kept
        await persistence.flush()

    figures = await watched(go())
    return {"seconds": figures["seconds"], "MB": figures["MB"]}


class FirstLine(io.StringIO):
    """Discards the output, and notes when it begins."""

    at = 0.0

    def write(self, text: str) -> int:
        """See `TextIOBase`."""
        self.at = self.at or time.perf_counter()
        return len(text)


async def command(uri: str, words: str, database: str = DATABASE) -> dict[str, float]:
    """Measures a command of `ptb-mongo`: its seconds, those until its first line, and its additional memory."""
    from ptb_mongo.cli.app import app  # noqa: PLC0415  (the other lines need no memory for it)

    os.environ.update(MONGODB_URI=uri, BOT_TOKEN=TOKEN)
    before, begun, printed = memory(), time.perf_counter(), FirstLine()
    with contextlib.redirect_stdout(printed):
        code = await asyncio.to_thread(app, [*words.split(), "--database", database], standalone_mode=False)
    if code not in {None, 0, 1}:
        sys.exit(f"ptb-mongo {words} has failed")
    seconds = time.perf_counter() - begun
    return {"seconds": seconds, "first line": printed.at - begun, "MB": memory() - before}


# -- all of it ---------------------------------------------------------------------------------------------

WORK: dict[str, Callable[..., Awaitable[dict[str, float]]]] = {
    "start": start,
    "raw start": raw_start,
    "update": update,
    "save": save,
    "broadcast": broadcast,
    "raw broadcast": raw_broadcast,
    "lost stream": lost_stream,
    "release": release,
    "command": command,
    "pickled": pickled,
}


def measured(uri: str, name: str, **options: Any) -> dict[str, float]:
    """Measures one line in a separate process, and prints it."""
    command = [sys.executable, __file__, "--uri", uri, "--one", json.dumps([name, options])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    shown = ", ".join(f"{one} {value:,.2f}".rstrip("0").rstrip(".") for one, value in figures.items())
    print(f"{name} {' '.join(map(str, options.values()))}: {shown}", flush=True)
    return figures


def ratio(what: str, ours: float, theirs: float) -> None:
    """Prints a ratio."""
    print(f"    {what}: {ours / theirs:.2f}", flush=True)


def starts(uri: str, users: int) -> None:  # noqa: ARG001  (all groups have the same arguments)
    """Starts, compared with the raw driver."""
    raw = measured(uri, "raw start")
    for kind in ("plain", "shared"):
        measured(uri, "start", loading="lazy", kind=kind)
        figures = measured(uri, "start", loading="eager", kind=kind)
        ratio("seconds, to find().to_list()", figures["seconds"], raw["seconds"])


def updates(uri: str, users: int) -> None:  # noqa: ARG001  (likewise)
    """Updates, compared with those on an empty database."""
    for kind in ("plain", "shared"):
        empty = measured(uri, "update", kind=kind, database=EMPTY)
        large = measured(uri, "update", kind=kind, database=DATABASE)
        ratio("CPU, to that with an empty database", large["CPU, ms"], empty["CPU, ms"])


def saves(uri: str, users: int) -> None:
    """Saves of 1 % and 10 %, compared with a persistence that does nothing."""
    for share in (100, 10):
        idle = measured(uri, "save", number=users // share, idle=True)
        ours = measured(uri, "save", number=users // share, idle=False)
        ratio("longest block, to an idle persistence", ours["longest block, ms"], idle["longest block, ms"])
        ratio("seconds, likewise", ours["seconds"], idle["seconds"])


def broadcasts(uri: str, users: int) -> None:
    """A broadcast, compared with one cursor of the raw driver."""
    raw = measured(uri, "raw broadcast")
    ours = measured(uri, "broadcast", users=users)
    ratio("seconds, to one cursor of the raw driver", ours["seconds"], raw["seconds"])
    if ours["ids"] != users:
        sys.exit(f"a broadcast has seen {ours['ids']} of {users} users")


def streams(uri: str, users: int) -> None:  # noqa: ARG001  (likewise)
    """Updates after the change stream was lost."""
    for kind in ("plain", "shared"):
        if measured(uri, "lost stream", kind=kind)["reads an update"] > 1:
            sys.exit("an update after the stream was lost takes more than one read")


def releases(uri: str, users: int) -> None:
    """Users who come and go."""
    keep = max(users // 50, 1000)
    if measured(uri, "release", users=min(users, MOST_RELEASED), keep=keep)["users in memory"] > keep:
        sys.exit("more users stay in memory than keep says")


def commands(uri: str, users: int) -> None:  # noqa: ARG001  (likewise)
    """The commands of `ptb-mongo`, compared with `PicklePersistence`."""
    is_within = True
    with tempfile.TemporaryDirectory() as folder:
        file, backup, copy = f"{folder}/bot.pickle", f"{folder}/bot.backup", f"{DATABASE}_copy"
        export = measured(uri, "command", words=f"export pickle {file} --json")
        itself = measured(uri, "pickled", file=file)
        imported = measured(uri, "command", words=f"import pickle {file} --apply --json", database=copy)
        for what, figures in (("export", export), ("import", imported)):
            ratio(f"MB of {what}, to PicklePersistence itself", figures["MB"], itself["MB"])
            is_within = is_within and figures["MB"] <= MOST_OF_PICKLE * itself["MB"] + ANY_COMMAND
        for words in (*LOOKING, f"backup {backup} --json", f"restore {backup} --json"):
            is_within = measured(uri, "command", words=words)["MB"] <= MOST_OF_A_COMMAND and is_within
        with MongoClient[dict[str, Any]](uri) as client:
            client.drop_database(copy)
    if not is_within:
        sys.exit("a command of ptb-mongo needs too much memory")


GROUPS: dict[str, Callable[[str, int], None]] = {
    "start": starts,
    "update": updates,
    "save": saves,
    "broadcast": broadcasts,
    "stream": streams,
    "release": releases,
    "commands": commands,
}


def measure(uri: str, users: int, groups: list[str]) -> None:
    """Prints the lines of some groups."""
    make(uri, users)
    for group in groups:
        GROUPS[group](uri, users)


def main() -> None:
    """Reads the arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=1_000_000)
    parser.add_argument("--uri", help="a server; by default an embedded one")
    parser.add_argument("--only", default=",".join(GROUPS), help="some of: " + ", ".join(GROUPS))
    parser.add_argument("--one", help="measures one line, and prints it as JSON")
    options = parser.parse_args()
    if options.one:
        name, arguments = json.loads(options.one)
        print(json.dumps(asyncio.run(WORK[name](options.uri, **arguments))))  # type: ignore[arg-type]
        return
    with contextlib.nullcontext(options.uri) if options.uri else mongodb_uri() as uri:
        measure(uri, options.users, options.only.split(","))


if __name__ == "__main__":
    main()
