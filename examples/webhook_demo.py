"""`webhook_bot.py` without Telegram and without a cloud: SIGTERM stops it in the middle of an order.

    pip install -e ".[examples,examples-web]" && python examples/webhook_demo.py

It needs no token and no network: MongoDB is embedded (or the one in MONGODB_URI, where a database is created and
dropped), and this process plays Telegram (`other_bots.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from pathlib import Path
from typing import Any

import httpx
from offline import Person
from other_bots import AnyBot, builder, free_port
from pymongo import MongoClient
from stage import Stage
from webhook_bot import serve

from ptb_mongo.embedded import mongodb_uri


async def play(stage: Stage, uri: str, database: str) -> None:
    telegram = AnyBot()
    ada = telegram.person(1815, "Ada")
    port = str(free_port())
    settings = {"MONGODB_URI": uri, "DATABASE": database, "WEBHOOK_URL": f"http://127.0.0.1:{port}", "PORT": port}
    settings["WEBHOOK_SECRET"] = secrets.token_urlsafe()
    try:
        await acts(stage, telegram, ada, settings)
    finally:
        await telegram.close()


async def acts(stage: Stage, telegram: AnyBot, ada: Person, settings: dict[str, str]) -> None:
    first = await telegram.start(Path(__file__), **settings)
    address = await telegram.webhook()
    await stage.act("1 · A webhook", f"The bot is process {first}, and has told Telegram where it is: {address}")
    menu = await stage.writes(ada, "/start")
    await stage.presses(ada, "Sencha", menu)
    async with httpx.AsyncClient(trust_env=False, base_url=settings["WEBHOOK_URL"]) as internet:
        health = await internet.get("/health")
        await stage.note(f"GET /health: {health.status_code}", "green")
        await stage.query(f"curl {settings['WEBHOOK_URL']}/health", [health.json()])
        intruder = await internet.post("/telegram", json={"update_id": 1})
        await stage.note(f"POST /telegram, by somebody who does not know the secret: {intruder.status_code}", "green")

    await stage.act("2 · Stopped in the middle of an order", "The cloud replaces the instance, as it does any time.")
    await telegram.terminate_bot()
    await stage.note(f"kill -TERM {first}: it has saved, and ended", "bold red")
    answer = asyncio.create_task(stage.writes(ada, "2"))
    await stage.note("Ada answers while nobody is there. Telegram keeps it.")
    second = await telegram.start(Path(__file__), **settings)
    await answer
    await stage.note(f"The new instance, process {second}, got that, and knew what it was about.", "green")
    await telegram.terminate_bot()


def main() -> None:
    if os.environ.get("OFFLINE"):  # this is the bot's process
        serve(builder(), "127.0.0.1")
        return
    with mongodb_uri() as uri, MongoClient[dict[str, Any]](uri) as client:
        database = f"ptb_mongo_example_{secrets.token_hex(4)}"
        try:
            asyncio.run(play(Stage(), uri, database))
        finally:
            client.drop_database(database)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
