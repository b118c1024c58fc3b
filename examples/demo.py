"""A bot is killed in the middle of a conversation and carries on; offline, in half a minute.

    pip install -e ".[examples]" && python examples/demo.py

It needs no token and no network: the bot is a real `Application` in its own process (`tea_shop.py`), MongoDB is
embedded (or the one in MONGODB_URI, where a database is created and dropped), and this process plays Telegram
(`offline.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Mapping
from typing import Any

from live_edit import NEVER, edit_live
from offline import PATIENCE, Person, Telegram
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from stage import Stage
from tea_shop import AMOUNT

from ptb_mongo.embedded import mongodb_uri

Database = AsyncDatabase[dict[str, Any]]


async def play(stage: Stage, uri: str) -> None:
    """Plays all acts."""
    telegram = Telegram()
    ada = telegram.person(1815, "Ada")
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        database = client[f"ptb_mongo_example_{secrets.token_hex(4)}"]
        try:
            await acts(stage, telegram, ada, database, uri)
        finally:
            await telegram.kill_bot()
            await client.drop_database(database.name)


async def acts(stage: Stage, telegram: Telegram, ada: Person, database: Database, uri: str) -> None:
    first = await telegram.start_bot(uri, database.name, save_every=0.5)
    await stage.act("1 · A conversation", f"Ada buys tea. The bot is process {first}.")
    menu = await stage.writes(ada, "/start")
    await stage.presses(ada, "Assam", menu)
    await stage.writes(ada, "1")
    await stage.presses(ada, "Sencha", menu)

    await saved(database["conversations"], {"state": AMOUNT})
    await saved(database["user_data"], {"data.choice.state.name": "Sencha"})
    await stage.act(
        "2 · Killed and restarted", "The bot has asked how many tins of Sencha, and has saved that it waits."
    )
    await telegram.kill_bot()
    await stage.note(f"kill -9 {first}", "bold red")
    second = await telegram.start_bot(uri, database.name, save_every=NEVER)
    await stage.note(f"A new process, {second}. Ada does not notice, and answers.")
    await stage.writes(ada, "2")
    await stage.note("The message that it edits was sent by the killed process, and comes from the database.", "green")

    await stage.act(
        "3 · A live edit",
        "Another service changes data that the bot has in memory. To leave time to look, the new process saves only "
        "when it stops. The button that Ada presses was sent by the killed process, too.",
    )
    await edit_live(stage, database, uri, ada, menu)

    await telegram.stop_bot()
    await stage.act(
        "4 · What is in the database", "The bot was stopped, and has saved everything. Any tool can read it."
    )
    await show(stage, database, ada)


async def saved(collection: Any, query: Mapping[str, Any]) -> None:
    """Waits until the bot has saved a document that matches."""
    deadline = time.monotonic() + PATIENCE
    while await collection.find_one(query) is None:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the bot has saved nothing like {query}")
        await asyncio.sleep(0.05)


async def show(stage: Stage, database: Database, ada: Person) -> None:
    """Shows the documents in the style of `mongosh`."""
    users = database["user_data"]
    await stage.query(
        f"db.user_data.findOne({{ _id: {ada.id} }}, {{ 'data.cart_message.pickle': 0 }})",
        [await users.find_one({"_id": ada.id}, {"data.cart_message.pickle": 0})],
    )
    await stage.query("db.conversations.find()", await database["conversations"].find().to_list())
    is_keyboard, one_object = {"buttons": {"$exists": True}}, {"objects": {"$slice": 1}}
    await stage.query(
        "db.callback_data.find({ buttons: { $exists: true } }, { objects: { $slice: 1 } })",
        await database["callback_data"].find(is_keyboard, one_object).to_list(),
    )
    await stage.note("Queries work, too: what is in the carts of premium customers?")
    pipeline: list[dict[str, Any]] = [
        {"$match": {"data.plan": "premium"}},
        {"$project": {"cart": {"$objectToArray": "$data.cart"}}},
        {"$unwind": "$cart"},
        {"$group": {"_id": "$cart.k", "tins": {"$sum": "$cart.v"}}},
        {"$sort": {"tins": -1}},
    ]
    command = (
        "db.user_data.aggregate([\n"
        "    { $match: { 'data.plan': 'premium' } },\n"
        "    { $project: { cart: { $objectToArray: '$data.cart' } } },\n"
        "    { $unwind: '$cart' },\n"
        "    { $group: { _id: '$cart.k', tins: { $sum: '$cart.v' } } },\n"
        "    { $sort: { tins: -1 } },\n"
        "  ])"
    )
    await stage.query(command, await (await users.aggregate(pipeline)).to_list())


def main() -> None:
    started = time.monotonic()
    stage = Stage()
    stage.title("ptb_mongo", "a Telegram bot whose memory is MongoDB; no network, no token")
    with mongodb_uri() as uri:
        asyncio.run(play(stage, uri))
    asyncio.run(stage.note(f"Done in {time.monotonic() - started:.0f} s; everything is cleaned up.", "green"))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
