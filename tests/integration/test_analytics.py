"""People who know MongoDB but have never seen Python can query what a bot has stored."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from bson.decimal128 import Decimal128
from offline import message_from, offline_application
from telegram.ext import ContextTypes, MessageHandler, filters

UTC = dtm.timezone.utc
ROME = dtm.timezone(dtm.timedelta(hours=2))


@dataclass
class Account:
    plan: str = "free"
    balance: Decimal = Decimal(0)
    since: dtm.datetime | None = None
    addresses: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def db(database: Any) -> Any:
    """What an analyst has: a client of MongoDB, and nothing else."""
    return database


PEOPLE = {
    1: {"score": 5, "city": "Turin", "price": "9.90", "at": dtm.datetime(2024, 1, 1, tzinfo=UTC)},
    2: {"score": 20, "city": "Turin", "price": "19.90", "at": dtm.datetime(2024, 6, 1, 12, 0, 0, 123456, tzinfo=ROME)},
    3: {"score": 11.5, "city": "Athens", "price": "100", "at": dtm.datetime(2025, 1, 1)},  # noqa: DTZ001
}


@pytest.fixture
async def stored(mongo_persistence: Callable[..., Any]) -> None:
    """Three people have written to a bot, which has stored what it knows of them, and has been stopped."""

    async def remember(update: Any, context: Any) -> None:
        person = PEOPLE[update.effective_user.id]
        context.user_data.update(
            score=person["score"],
            city=person["city"],
            price=Decimal(person["price"]),
            seen_at=person["at"],
            seen_on=person["at"].date(),
            session=dtm.timedelta(minutes=person["score"]),
            cart=[{"sku": "tea", "qty": update.effective_user.id}],
            tags={"reader", person["city"].lower()},
            last=update.message,
        )
        context.chat_data["visits"] = context.chat_data.get("visits", 0) + 1
        context.bot_data.setdefault("by_user", {})[update.effective_user.id] = person["score"]

    application = offline_application(mongo_persistence(), MessageHandler(filters.TEXT, remember))
    async with application:
        for user_id in PEOPLE:
            await application.process_update(message_from(user_id, f"hello from {user_id}"))


def ids(cursor: Any) -> list[int]:
    return [document["_id"] for document in cursor.sort("_id", 1)]


pytestmark = pytest.mark.usefixtures("stored")


def test_users_are_found_by_a_number(db):
    assert ids(db.user_data.find({"data.score": {"$gt": 10}})) == [2, 3]


def test_users_are_counted_and_summed_by_groups(db):
    groups = db.user_data.aggregate(
        [
            {"$group": {"_id": "$data.city", "users": {"$sum": 1}, "score": {"$sum": "$data.score"}}},
            {"$sort": {"_id": 1}},
        ]
    )

    assert list(groups) == [
        {"_id": "Athens", "users": 1, "score": 11.5},
        {"_id": "Turin", "users": 2, "score": 25},
    ]


def test_users_are_found_by_what_lies_in_a_list(db):
    assert ids(db.user_data.find({"data.cart": {"$elemMatch": {"sku": "tea", "qty": {"$gte": 2}}}})) == [2, 3]


def test_users_are_found_by_an_element_of_a_set(db):
    assert ids(db.user_data.find({"data.tags.v": "turin"})) == [1, 2]


def test_users_are_found_by_the_chat_of_a_stored_message(db):
    assert ids(db.user_data.find({"data.last.view.chat.id": 2})) == [2]
    assert ids(db.user_data.find({"data.last.view.from.first_name": "Ada"})) == [1, 2, 3]


def test_the_text_of_stored_messages_is_searched(db):
    assert ids(db.user_data.find({"data.last.view.text": {"$regex": "from [23]"}})) == [2, 3]


def test_decimals_are_compared_and_summed_as_numbers(db):
    assert ids(db.user_data.find({"data.price.v": {"$gte": Decimal128("19.90")}})) == [2, 3]
    (total,) = db.user_data.aggregate([{"$group": {"_id": None, "sum": {"$sum": "$data.price.v"}}}])
    assert total["sum"].to_decimal() == Decimal("129.80")


def test_dates_in_utc_are_dates(db):
    assert ids(db.user_data.find({"data.seen_at": {"$lt": dtm.datetime(2024, 2, 1, tzinfo=UTC)}})) == [1]


def test_dates_with_a_zone_or_none_are_compared_as_instants(db):
    noon = dtm.datetime(2024, 6, 1, 10, 0, 0, 123000, tzinfo=UTC)
    assert ids(db.user_data.find({"data.seen_at.v": noon})) == [2]
    assert ids(db.user_data.find({"data.seen_at.v": {"$gte": noon}})) == [2, 3]


def test_days_and_durations_are_compared(db):
    assert ids(db.user_data.find({"data.seen_on.v": {"$gte": dtm.datetime(2024, 6, 1, tzinfo=UTC)}})) == [2, 3]
    assert ids(db.user_data.find({"data.session.v": {"$gt": 600}})) == [2, 3]


def test_chats_and_the_bot_are_asked_in_the_same_way(db):
    assert db.chat_data.count_documents({"data.visits": {"$gte": 1}}) == 3
    assert db.bot_data.find_one()["data"]["by_user"] == {"%i1": 5, "%i2": 20, "%i3": 11.5}


def test_documents_are_found_by_when_they_were_saved(db):
    today = dtm.datetime.now(UTC) - dtm.timedelta(days=1)

    assert ids(db.user_data.find({"updated_at": {"$gte": today}})) == [1, 2, 3]


def test_an_index_serves_such_a_query(db):
    db.user_data.create_index("data.score")

    plan = db.user_data.find({"data.score": {"$gt": 10}}).explain()["queryPlanner"]["winningPlan"]
    assert plan["inputStage"]["stage"] == "IXSCAN"


async def test_users_are_found_by_the_attributes_of_a_dataclass(mongo_persistence, db):
    async def subscribe(update: Any, context: Any) -> None:
        account = context.user_data
        account.plan = "pro" if update.effective_user.id > 1 else "free"
        account.balance = Decimal(update.effective_user.id) / 4
        account.since = dtm.datetime(2024, 1, update.effective_user.id, tzinfo=UTC)
        account.addresses.append({"city": "Turin"})

    context_types = ContextTypes(user_data=Account)
    application = offline_application(
        mongo_persistence(context_types=context_types, collection_prefix="pro_"),
        MessageHandler(filters.TEXT, subscribe),
        context_types=context_types,
    )
    async with application:
        for user_id in PEOPLE:
            await application.process_update(message_from(user_id))

    users = db.pro_user_data
    assert ids(users.find({"data.state.plan": "pro"})) == [2, 3]
    assert ids(users.find({"data.state.balance.v": {"$gt": Decimal128("0.5")}})) == [3]
    assert ids(users.find({"data.state.since": {"$lt": dtm.datetime(2024, 1, 3, tzinfo=UTC)}})) == [1, 2]
    assert ids(users.find({"data.state.addresses.city": "Turin"})) == [1, 2, 3]
    assert users.distinct("data.cls") == [f"{Account.__module__}.Account"]
