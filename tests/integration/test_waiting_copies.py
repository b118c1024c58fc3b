"""Copies that PTB hands over wait until the event loop has turned: what is told of them, and what happens meanwhile.

The kind of fault: a copy that waits is forgotten, by a stop, a deletion or a caller that does not await its save; or
its error is, as the call that could have raised it has returned.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from bots import USER, Bot, until

from ptb_mongo import EncodeError, MongoPersistence, UnsavedDataError

# Of Python's own types, so that a copy waits, and of one hash, so that it cannot be stored: it would take long to load.
UNSTORABLE = {"bad": {number * (2**61 - 1) for number in range(2500)}}
"""Marshal knows it, so that it waits; and it cannot be stored."""


@pytest.fixture
async def persistence(mongodb_server_uri: str, mongodb_database: str) -> AsyncIterator[MongoPersistence[Any, Any, Any]]:
    made: MongoPersistence[Any, Any, Any] = MongoPersistence(mongodb_server_uri, mongodb_database)
    await made.get_user_data()
    yield made
    with contextlib.suppress(UnsavedDataError):
        await made.flush()


@pytest.fixture
def users(database: Any) -> Callable[[], dict[int, Any]]:
    def stored() -> dict[int, Any]:
        return {document["_id"]: document.get("data") for document in database.user_data.find()}

    return stored


async def test_one_that_cannot_be_stored_fails_alone(persistence: Any, users: Any) -> None:
    data = {number: {"n": number} for number in range(1, 1300)} | {700: UNSTORABLE}
    results = await asyncio.gather(
        *(persistence.update_user_data(number, one) for number, one in data.items()), return_exceptions=True
    )

    (error,) = [one for one in results if one is not None]
    assert isinstance(error, EncodeError)
    assert "_id 700" in str(error)
    assert "data.bad" in str(error)
    assert users() == {number: one for number, one in data.items() if number != 700}
    assert persistence.health().refused == 1


async def test_its_error_is_raised_once_for_the_same_content(persistence: Any) -> None:
    with pytest.raises(EncodeError):
        await persistence.update_user_data(USER, copy.deepcopy(UNSTORABLE))
    await persistence.update_user_data(USER, copy.deepcopy(UNSTORABLE))
    with pytest.raises(EncodeError):
        await persistence.update_user_data(USER, {"worse": ...})


async def test_its_error_gets_to_the_error_handlers_and_the_rest_is_saved(
    mongodb_server_uri: str, mongodb_database: str, users: Any
) -> None:
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database))
    await bot.application.initialize()
    await bot.hears(lambda context: context.user_data.update(good=1, **UNSTORABLE))
    await bot.saves()

    assert [type(error) for error in bot.errors] == [EncodeError]
    assert users() == {USER: {"good": 1}}
    with pytest.raises(UnsavedDataError, match=r"data\.bad"):
        await bot.application.shutdown()


async def test_a_call_that_nobody_awaits_saves(persistence: Any, users: Any) -> None:
    persistence.update_user_data(USER, {"n": 1})
    assert persistence.health().waiting == 1
    await until(lambda: persistence.health().waiting == 0)
    assert users() == {USER: {"n": 1}}


async def test_a_stop_saves_what_still_waits(persistence: Any, users: Any) -> None:
    persistence.update_user_data(USER, {"n": 1})
    await persistence.flush()
    assert users() == {USER: {"n": 1}}


async def test_a_stop_names_what_waits_and_cannot_be_stored(persistence: Any) -> None:
    persistence.update_user_data(USER, copy.deepcopy(UNSTORABLE))
    with pytest.raises(UnsavedDataError, match=r"data\.bad"):
        await persistence.flush()


async def test_the_newest_of_several_copies_is_saved(persistence: Any, users: Any) -> None:
    await asyncio.gather(*(persistence.update_user_data(USER, {"n": number}) for number in range(5)))
    assert users() == {USER: {"n": 4}}
    assert persistence.health().documents_written == 1


async def test_what_is_deleted_while_it_waits_is_gone(persistence: Any, users: Any) -> None:
    await persistence.update_user_data(USER, {"n": 1})
    await asyncio.gather(persistence.update_user_data(USER, {"n": 2}), persistence.drop_user_data(USER))
    assert users() == {}


async def test_what_is_changed_back_after_an_edit_of_others_is_saved(
    persistence: Any, users: Any, database: Any
) -> None:
    """An unchanged copy is known by what is stored, and not only by what was offered last."""
    live: dict[str, Any] = {"n": 1}
    await persistence.update_user_data(USER, copy.deepcopy(live))
    await persistence.refresh_user_data(USER, live)
    database.user_data.update_one({"_id": USER}, {"$set": {"data.n": 2}})
    for _ in range(500):
        await persistence.refresh_user_data(USER, live)
        if live["n"] == 2:
            break
        await asyncio.sleep(0.01)  # the change stream has no event that a test could wait for

    live["n"] = 1
    await persistence.update_user_data(USER, copy.deepcopy(live))
    assert users() == {USER: {"n": 1}}


@pytest.mark.parametrize("is_changed", [True, False])
async def test_a_save_can_be_awaited_in_every_way(persistence: Any, users: Any, is_changed: bool) -> None:
    await persistence.update_user_data(USER, {"n": 0})
    number = 0

    def saving() -> Any:
        nonlocal number
        number += is_changed
        return persistence.update_user_data(USER, {"n": number})

    await saving()
    await asyncio.create_task(saving())
    await asyncio.ensure_future(saving())
    await asyncio.wait_for(saving(), 30)
    await asyncio.gather(saving(), saving())
    await asyncio.shield(saving())
    one = saving()
    assert asyncio.iscoroutine(one)
    await asyncio.gather(*{one, saving()}, return_exceptions=True)
    assert users() == {USER: {"n": number}}


async def test_the_error_of_a_save_comes_out_of_a_task(persistence: Any) -> None:
    with pytest.raises(EncodeError):
        await asyncio.create_task(persistence.update_user_data(USER, copy.deepcopy(UNSTORABLE)))


async def test_a_save_that_is_cancelled_is_done_all_the_same(persistence: Any, users: Any) -> None:
    for saving in (
        asyncio.ensure_future(persistence.update_user_data(USER, {"n": 1})),
        asyncio.create_task(persistence.update_user_data(USER + 1, {"n": 1})),
    ):
        saving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await saving
    await until(lambda: persistence.health().waiting == 0)
    assert users() == {USER: {"n": 1}, USER + 1: {"n": 1}}
