"""The views of `ptb-mongo views`: a query need not know the form in which a value is stored.

The kind: a query finds only a part, because the same thing is stored in two forms or has a Python wrapper.
"""

from __future__ import annotations

import datetime as dtm
import zoneinfo
from collections import Counter, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from bson import Decimal128
from cli_models import Account, Basket, Coin, Level, Notes, Place
from telegram import Chat, Message
from typer.testing import CliRunner, Result

from ptb_mongo.cli.app import app
from ptb_mongo.codec import Codec

UTC = dtm.timezone.utc
WHOLE = dtm.datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def run(mongodb_server_uri: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("MONGODB_URI", mongodb_server_uri)

    def invoke(*words: str) -> Result:
        result = CliRunner().invoke(app, [*words, "--database", mongodb_database], catch_exceptions=False)
        assert "Traceback" not in result.output
        return result

    return invoke


@pytest.fixture
def views(run: Any, database: Any) -> Any:
    """The database, with views."""
    assert run("views", "--apply").exit_code == 0
    return database


def plant(database: Any, data: Any, user_id: int = 1) -> None:
    database.user_data.insert_one({"_id": user_id, "data": Codec(["cli_models"]).encode(data), "updated_at": WHOLE})


def test_every_form_of_a_date_is_found_by_one_query(views):
    forms = [
        WHOLE,
        WHOLE.replace(microsecond=123456),
        WHOLE.astimezone(zoneinfo.ZoneInfo("Europe/Berlin")),
        WHOLE.astimezone(dtm.timezone(dtm.timedelta(hours=-3))),
        WHOLE.replace(tzinfo=None),
        WHOLE.date(),
    ]
    for user_id, form in enumerate(forms):
        plant(views, {"since": form}, user_id)
    assert views.user_data.count_documents({"data.since": {"$gte": dtm.datetime(2026, 1, 1, tzinfo=UTC)}}) == 1
    assert views.user_data_flat.count_documents({"since": {"$gte": dtm.datetime(2026, 1, 1, tzinfo=UTC)}}) == len(forms)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("tea", "tea"),
        (None, None),
        ([], []),
        ({}, {}),
        ([[1], None], [[1], None]),
        ((1, (2, 3)), [1, [2, 3]]),
        ({"a"}, ["a"]),
        (deque([1, 2]), [1, 2]),
        (Decimal("4.50"), Decimal128("4.50")),
        (dtm.timedelta(hours=1), 3600.0),
        (Fraction(1, 3), [1, 3]),
        (Level.GOLD, "GOLD"),
        (Counter({"tea": 2}), {"tea": 2}),
        ({(1, 2): "x"}, [[[1, 2], "x"]]),
        (Account("Ada", [Coin(1)]), {"owner": "Ada", "coins": [{"value": 1}]}),
        (Notes({"a": 1}), "cli_models.Notes"),
        (
            Basket({"tea": 2}, Level.GOLD, Place("Elm", 5)),
            {"items": {"tea": 2}, "level": "GOLD", "place": {"street": "Elm", "number": 5}},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_is_shown_without_its_wrapping(views, value, shown):
    plant(views, {"value": value})
    found = views.user_data_flat.find_one({"_id": 1})["value"]
    assert "_py" not in repr(found)
    assert found == shown


def test_a_telegram_object_is_shown_as_telegram_describes_it(views):
    message = Message(9, WHOLE, Chat(1, "private"), text="hi")
    plant(views, {"last": message})
    assert views.user_data_flat.find_one({"last.chat.type": "private"})["last"] == message.to_dict()


def test_data_that_is_an_object_and_data_that_is_nothing_good_are_shown(views):
    plant(views, Place("Elm", 5), 1)
    views.user_data.insert_many(
        [
            {"_id": 2, "data": "no document"},
            {"_id": 3, "data": {"_py": "object"}},
            {"_id": 4, "data": {"_py": 5, "x": [{"_py": "set"}]}},
            {"_id": 5, "data": {"x": {"_py": "telegram", "view": {"_py": "set", "v": 1}}}},
            {"_id": 6, "rev": "1:1", "buried": True},
        ]
    )
    found = {one["_id"]: one for one in views.user_data_flat.find()}
    assert set(found) == {1, 2, 3, 4, 5}
    assert (found[1]["street"], found[2]["data"]) == ("Elm", "no document")


def test_what_lies_too_deep_stays_as_it_is_stored(views):
    deep: Any = {"tip": {1}}
    for _ in range(30):
        deep = {"in": deep}
    plant(views, deep)
    assert "_py" in repr(views.user_data_flat.find_one())


def test_conversations_and_jobs_are_shown_too(views):
    place = {"handler": "order", "key": [1, 1]}
    state = Codec(["cli_models"]).encode(Level.GOLD)
    views.conversations.insert_one({"_id": place, **place, "state": state, "rev": "1:1"})
    views.jobs.insert_one({"_id": "a", "callback": "m:f", "data": Codec().encode({1, 2}), "next_run": WHOLE})
    assert views.conversations_flat.find_one({"state": "GOLD"})["key"] == [1, 1]
    assert views.jobs_flat.find_one()["data"] == [1, 2]


def test_without_apply_nothing_is_made_and_once_made_nothing_is_to_do(run, database):
    assert (run("views").exit_code, "user_data_flat" in database.list_collection_names()) == (1, False)
    assert run("views", "--apply").exit_code == 0
    again = run("views")
    assert (again.exit_code, "Nothing to do." in again.output) == (0, True)


def test_a_view_of_another_version_is_changed_and_a_collection_is_left_alone(run, database):
    database.create_collection("user_data_flat", viewOn="user_data", pipeline=[])
    assert "1 view" not in run("views").output
    assert run("views", "--apply").exit_code == 0
    assert "Nothing to do." in run("views").output
    database.drop_collection("user_data_flat")
    database.user_data_flat.insert_one({"mine": 1})
    result = run("views", "--apply")
    assert (result.exit_code, "is a collection" in result.output) == (1, True)
    assert database.user_data_flat.count_documents({}) == 1


def test_views_are_in_nobody_elses_way(run, views, mongo_persistence):
    plant(views, {"name": "Ada"})
    for words in (["check"], ["stats"], ["repair"]):
        assert run(*words).exit_code == 0, words
