"""Reminders that survive a restart: the jobs are stored in MongoDB, in the bot's own database.

    pip install -e ".[examples,examples-web]" && python examples/jobs_bot.py

Offline, on an embedded MongoDB (or the one in MONGODB_URI), the bot is killed while a reminder is waiting. With
BOT_TOKEN and MONGODB_URI in the environment, it is a real bot.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import Any

from offline import PATIENCE
from other_bots import AnyBot, builder
from pymongo import MongoClient
from pymongo.collection import Collection
from reminders import add_handlers, ring
from stage import Stage

from ptb_mongo import MongoJobQueue, MongoPersistence
from ptb_mongo.embedded import mongodb_uri

DATABASE = "reminders"


def run_bot(uri: str, database: str) -> None:
    """Runs the bot until SIGTERM or Ctrl-C."""
    application = (
        builder()
        .persistence(MongoPersistence(uri, database, update_interval=1))
        .job_queue(MongoJobQueue(callbacks=[ring]))
        .build()
    )
    add_handlers(application)
    application.run_polling()


# -- offline: a kill, and what is left -----------------------------------------------------------------------


async def stored(jobs: Collection[dict[str, Any]], count: int) -> None:
    """Waits until this many jobs are stored: the bot stores them in the background, right after its answer."""
    while await asyncio.to_thread(jobs.count_documents, {}) < count:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


async def play(stage: Stage, client: MongoClient[dict[str, Any]], uri: str, database: str) -> None:
    telegram = AnyBot()
    ada = telegram.person(1815, "Ada")
    settings = {"MONGODB_URI": uri, "DATABASE": database}
    try:
        first = await telegram.start(Path(__file__), **settings)
        await stage.act("1 · Two reminders", f"The bot is process {first}.")
        await stage.writes(ada, "/remind 3600 buy some more")
        await stage.writes(ada, "/remind 2 take the tea out")
        await telegram.confirmed()
        jobs = client[database]["jobs"]
        await asyncio.wait_for(stored(jobs, 2), PATIENCE)
        await telegram.kill_bot()
        await stage.note(f"kill -9 {first}", "bold red")
        await stage.query("db.jobs.find().sort({ next_run: 1 })", list(jobs.find().sort("next_run", 1)))

        await asyncio.sleep(2)
        await stage.act("2 · Two seconds later", "One reminder came due while no bot was there.")
        second = await telegram.start(Path(__file__), **settings)
        await stage.note(f"A new process, {second}, finds it, and reminds, better late than not at all:")
        ring = await asyncio.wait_for(ada.inbox.get(), PATIENCE)
        await stage.note(f"to Ada: {ring.text}", "bold green")
        await stage.writes(ada, "/list")
        await telegram.confirmed()
        await telegram.terminate_bot()
    finally:
        await telegram.close()


def main() -> None:
    if os.environ.get("BOT_TOKEN") or os.environ.get("OFFLINE"):
        uri = os.environ.get("MONGODB_URI") or sys.exit("Set MONGODB_URI, where the bot stores its data and its jobs.")
        run_bot(uri, os.environ.get("DATABASE", DATABASE))
        return
    with mongodb_uri() as uri, MongoClient[dict[str, Any]](uri) as client:
        database = f"ptb_mongo_example_{secrets.token_hex(4)}"
        try:
            asyncio.run(play(Stage(), client, uri, database))
        finally:
            client.drop_database(database)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
