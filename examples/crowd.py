"""Ten thousand customers of a tea shop, for `analytics.py`: a real bot serves them, and MongoPersistence stores them.

Each of them sends one order. The bot keeps typical data: a dataclass, a dict, and the message itself.
"""

from __future__ import annotations

import datetime as dtm
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pymongo import AsyncMongoClient
from telegram import Update
from telegram.ext import Application, ContextTypes, MessageHandler, filters
from telegram.request import BaseRequest

from ptb_mongo import MongoPersistence

TOKEN = "123456:not-a-token"  # noqa: S105  (nobody checks it)
PRICES = {"Assam": "4.50", "Sencha": "6.50", "Earl Grey": "5.20", "Oolong": "9.80", "Rooibos": "3.90"}
POPULARITY = [30, 26, 22, 9, 13]
NAMES = ["Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Frances", "Linus", "Margaret", "Niklaus"]
LANGUAGES, SHARES = ["en", "de", "es", "it", "pt", "uk"], [38, 19, 16, 12, 9, 6]
HOURS = [2, 1, 1, 1, 1, 2, 5, 9, 12, 10, 8, 9, 12, 9, 8, 10, 13, 12, 10, 9, 9, 8, 6, 4]  # how busy each hour is
WEEKDAYS = [8, 8, 9, 10, 12, 15, 14]
DAYS = 60


@dataclass
class Account:
    """What the shop keeps about a customer; its attributes are stored under `data.account.state`."""

    plan: str
    orders: int
    spent: Decimal
    since: dtm.datetime


async def order(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    """The bot's only handler: "3 x Assam, 1 x Oolong"."""
    cart = {tea: int(tins) for tins, _, tea in (line.partition(" x ") for line in update.message.text.split(", "))}
    price = sum((Decimal(PRICES[tea]) * tins for tea, tins in cart.items()), Decimal())
    plan = "premium" if price > 60 or update.effective_user.id % 9 == 0 else "free"  # noqa: PLR2004  (a price)
    account = Account(plan, orders=len(cart), spent=price, since=update.message.date)
    context.user_data.update(name=update.effective_user.first_name, cart=cart, account=account, last=update.message)


class Silence(BaseRequest):
    """A Bot API that only answers who the bot is."""

    @property
    def read_timeout(self) -> float | None:
        """See `BaseRequest`."""
        return None

    async def initialize(self) -> None:
        """See `BaseRequest`."""

    async def shutdown(self) -> None:
        """See `BaseRequest`."""

    async def do_request(self, *_: Any, **__: Any) -> tuple[int, bytes]:
        """See `BaseRequest`."""
        bot = {"id": 123456, "is_bot": True, "first_name": "Tea shop", "username": "tea_shop_bot"}
        return 200, json.dumps({"ok": True, "result": bot}).encode()


def orders(customers: int, chance: random.Random, today: dtm.datetime) -> Iterator[dict[str, Any]]:
    """The updates from Telegram: one message from each customer, at some time in the last sixty days."""
    days = [today - dtm.timedelta(days=ago) for ago in range(1, DAYS + 1)]
    busy = [WEEKDAYS[day.weekday()] * (1 + (DAYS - ago) / DAYS) for ago, day in enumerate(days)]  # and growing
    for number, day in enumerate(chance.choices(days, busy, k=customers), start=1):
        hour = dtm.timedelta(hours=chance.choices(range(24), HOURS)[0], seconds=chance.randrange(3600))
        teas = {chance.choices(list(PRICES), POPULARITY)[0] for _ in range(chance.choice([1, 1, 2, 3]))}
        text = ", ".join(f"{min(int(chance.lognormvariate(0.8, 0.7)) + 1, 20)} x {tea}" for tea in sorted(teas))
        name, language = chance.choice(NAMES), chance.choices(LANGUAGES, SHARES)[0]
        sender = {"id": number, "is_bot": False, "first_name": name, "language_code": language}
        chat = {"id": number, "type": "private", "first_name": name}
        date = int((day + hour).timestamp())
        message = {"message_id": number, "date": date, "chat": chat, "from": sender, "text": text}
        yield {"update_id": number, "message": message}


async def serve_everybody(uri: str, database: str, customers: int = 10_000) -> None:
    """Runs the bot until all have been served, and saves their data."""
    persistence = MongoPersistence(uri, database, refresh="off", trusted=[Account])
    silence = Silence()
    application = (
        Application.builder()
        .token(TOKEN)
        .request(silence)
        .get_updates_request(silence)
        .updater(None)
        .job_queue(None)
        .persistence(persistence)
        .build()
    )
    application.add_handler(MessageHandler(filters.TEXT, order))
    today = dtm.datetime.now(dtm.timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    async with application:  # at the end, saves all of them with a few bulk writes
        for update in orders(customers, random.Random(1815), today):  # noqa: S311  (the same crowd each time)
            await application.process_update(Update.de_json(update, application.bot))
    async with AsyncMongoClient[dict[str, Any]](uri) as client:
        # All were saved at the same time; this makes it look as if each had been saved when they wrote.
        when_they_wrote = {"$toDate": {"$multiply": ["$data.last.view.date", 1000]}}
        await client[database]["user_data"].update_many({}, [{"$set": {"updated_at": when_they_wrote}}])
