"""The running bot and `check` report all problems at once, and their advice works.

The kind: each place where a bot reports that something cannot be stored or read (a save, a conversation's state, a
button's data, a quarantine), with several classes in one document.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from bots import USER, Bot
from cli_models import Basket, Level, Place
from typer.testing import CliRunner

from ptb_mongo.cli.app import app

CLASSES = ("cli_models.Basket", "cli_models.Level", "cli_models.Place")


def puts(context: Any) -> None:
    context.user_data.update(
        name="Ada",
        basket=Basket({"tea": 1}, Level.GOLD, Place("Elm", 1)),
        session={"lock": asyncio.Lock(), "n": 1},
        seen=[1, Level.FREE],
    )


async def test_one_error_of_a_save_names_everything_and_what_it_advises_works(mongo_persistence, database):
    bot = Bot(mongo_persistence())
    await bot.application.initialize()
    await bot.hears(puts)
    await bot.saves()
    await bot.saves()

    (error,) = bot.errors
    told = str(error)
    assert f"user_data, _id {USER}" in told
    assert all(name in told for name in (*CLASSES, "asyncio.locks.Lock (at session.lock)"))
    assert 'trusted=["cli_models"]' in told
    assert 'exclude={"user_data": {"basket", "seen", "session.lock"}}' in told
    assert database.user_data.find_one()["data"] == {"name": "Ada"}
    with pytest.raises(Exception, match=r"cli_models\.Place"):
        await bot.application.shutdown()

    bot = Bot(mongo_persistence(trusted=["cli_models"], exclude={"user_data": {"session.lock"}}))
    async with bot.application:
        await bot.hears(puts)
        await bot.saves()
        assert bot.errors == []
    stored = database.user_data.find_one()["data"]
    assert (stored["session"], stored["basket"]["cls"]) == ({"n": 1}, "cli_models.Basket")


async def test_a_state_and_a_button_are_told_of_in_the_same_way(mongo_persistence):
    persistence = mongo_persistence()
    bot = Bot(persistence)
    await bot.application.initialize()
    both = (Level.GOLD, Place("Elm", 1))
    for call in (
        persistence.update_conversation("order", (1, 1), both),
        persistence.update_callback_data(([("k", 1.0, {"b": both})], {})),
    ):
        with pytest.raises(TypeError) as caught:
            await call
        assert all(name in str(caught.value) for name in CLASSES[1:])
        assert 'trusted=["cli_models"]' in str(caught.value)
        assert "exclude" not in str(caught.value)
    with pytest.raises(Exception, match="are lost"):
        await bot.application.shutdown()


async def test_a_quarantine_names_all_classes_and_so_does_check(
    mongo_persistence, database, mongodb_server_uri, mongodb_database, caplog
):
    async with Bot(mongo_persistence(trusted=["cli_models"])).application as application:
        application.user_data[USER].update(basket=Basket({}, Level.GOLD, Place("Elm", 1)), seen={Level.FREE})
        application.mark_data_for_update_persistence(user_ids=USER)
        await application.update_persistence()
    database.user_data.update_one({"_id": USER}, {"$set": {"data.made": {"_py": "function", "v": "shop.make"}}})

    async with Bot(mongo_persistence()).application as application:
        assert USER not in application.user_data
    told = next(record.getMessage() for record in caplog.records if "cli_models" in record.getMessage())
    assert all(name in told for name in (*CLASSES, "shop.make"))
    assert 'exclude={"user_data": {"basket", "made", "seen"}}' in told

    words = ["check", "--json", "--uri", mongodb_server_uri, "--database", mongodb_database]
    result = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert set(json.loads(result.stdout)["untrusted"]) == {*CLASSES, "shop.make"}

    exclude = {"user_data": {"basket", "made", "seen"}}
    async with Bot(mongo_persistence(exclude=exclude)).application as application:
        assert application.user_data[USER] == {}


async def test_check_names_functions_and_classes_that_are_gone_with_the_options_that_help(
    database, mongodb_server_uri, mongodb_database
):
    made = {"_py": "defaultdict", "factory": {"_py": "function", "v": "cli_models.make_basket"}, "v": {}}
    gone = {"_py": "object", "cls": "cli_models.Cart", "state": {"items": {}}}
    database.user_data.insert_one({"_id": USER, "data": {"made": made, "cart": gone}})
    words = ["check", "--uri", mongodb_server_uri, "--database", mongodb_database, "--trust", "cli_models"]

    result = await asyncio.to_thread(CliRunner().invoke, app, words)

    assert result.exit_code == 1
    assert "--trust cli_models:make_basket" in result.output
    assert "--alias cli_models.Cart=NEW" in result.output
    assert "trusted=[make_basket]" in result.output
    options = ["--trust", "cli_models:make_basket", "--alias", "cli_models.Cart=cli_models.Basket"]
    result = await asyncio.to_thread(CliRunner().invoke, app, [*words, *options])
    assert result.exit_code == 0, result.output
    for wrong, why in (("cli_models:Basket", "there is no function"), ("cli_models:nothing", "there is no function")):
        result = await asyncio.to_thread(CliRunner().invoke, app, [*words, "--trust", wrong])
        assert result.exit_code == 2
        assert why in result.output
