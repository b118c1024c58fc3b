"""Two write the same document and no change is lost: the bot, with a change that is not saved yet, and a service.

    pip install -e ".[examples]" && python examples/live_edit.py

It runs offline, on an embedded MongoDB (or the one in MONGODB_URI). The service is `billing.py`: plain PyMongo.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from pathlib import Path
from typing import Any

from offline import Person, Reply, Telegram
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from stage import Stage

from ptb_mongo.embedded import mongodb_uri

NEVER = 3600.0  # seconds between two saves: in this act, the bot saves only when it stops
CART = {"data.cart": 1, "data.plan": 1}


async def edit_live(stage: Stage, database: AsyncDatabase[dict[str, Any]], uri: str, ada: Person, menu: Reply) -> None:
    """Plays the act; the bot is running, and Ada sees a menu."""
    await stage.presses(ada, "Earl Grey", menu)
    await stage.writes(ada, "3")
    await stage.note("The bot has not saved that yet; the database holds:")
    await stage.query(
        f"db.user_data.findOne({{ _id: {ada.id} }}, {{ 'data.cart': 1, 'data.plan': 1 }})",
        [await database["user_data"].find_one({"_id": ada.id}, CART)],
    )
    output = await run_billing(uri, database.name, ada.id)
    await stage.note("Meanwhile, the billing service, another process with plain PyMongo, runs:")
    await stage.note(output, "bold yellow")
    answer = await stage.writes(ada, "/cart")
    if "premium" not in answer.text or "3 x Earl Grey" not in answer.text:
        raise AssertionError(f"one of the two changes is lost: {answer.text}")
    await stage.note("Both changes are there: what only the bot knew, and what only the database knew.", "green")


async def run_billing(uri: str, database: str, user_id: int) -> str:
    """Runs the billing service in another process; returns its output."""
    program = Path(__file__).with_name("billing.py")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(program), uri, database, str(user_id)), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"billing has ended with the exit status {process.returncode}")
    return output.decode().strip()


async def play(stage: Stage, uri: str) -> None:
    """Plays the whole story, in a database that is dropped at the end."""
    telegram = Telegram()
    ada = telegram.person(1815, "Ada")
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        database = client[f"ptb_mongo_example_{secrets.token_hex(4)}"]
        try:
            await telegram.start_bot(uri, database.name, NEVER)
            await stage.act("A live edit", "To leave time to look, the bot saves only when it stops.")
            menu = await stage.writes(ada, "/start")
            await edit_live(stage, database, uri, ada, menu)
            await telegram.stop_bot()
            await stage.note("The bot stops, and saves. Neither has overwritten the other:")
            await stage.query(
                f"db.user_data.findOne({{ _id: {ada.id} }}, {{ 'data.cart': 1, 'data.plan': 1 }})",
                [await database["user_data"].find_one({"_id": ada.id}, CART)],
            )
        finally:
            await telegram.kill_bot()
            await client.drop_database(database.name)


def main() -> None:
    with mongodb_uri() as uri:
        asyncio.run(play(Stage(), uri))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
