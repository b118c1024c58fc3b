"""How often one waits for the server: the commands that are sent, and that wait for one another.

The kind: a command whose answer brings nothing, or that could have been sent together with another one. What each use
takes is counted in `benchmarks/suite/round_trips.py`; here stands why.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from bson import encode
from commands import Commands
from motor.motor_asyncio import AsyncIOMotorClient
from proxy import Proxy
from pymongo import AsyncMongoClient
from pymongo.uri_parser import parse_uri

from ptb_mongo.driver import ByIds, Driver, connect

SEVERAL = [ByIds("first", [1, 2], ("data",)), ByIds("second", [1], ("data",))]


class Noted(Commands):
    """Notes the names of the commands."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: Any) -> None:
        self.names.append(event.command_name)

    def take(self) -> list[str]:
        taken, self.names[:] = [*self.names], []
        return taken


@pytest.fixture
def noted() -> Noted:
    return Noted()


@pytest.fixture(params=[AsyncIOMotorClient, AsyncMongoClient], ids=["Motor", "PyMongo"])
async def driver(
    request: pytest.FixtureRequest, mongodb_server_uri: str, mongodb_database: str, noted: Noted
) -> AsyncIterator[Driver]:
    client = request.param(mongodb_server_uri, event_listeners=[noted])
    yield await connect(client, mongodb_database)
    if (closed := client.close()) is not None:
        await closed


# -- reads ----------------------------------------------------------------------------------------------


async def test_documents_of_several_collections_take_one_round_trip(driver: Driver, database: Any, noted: Noted):
    database.first.insert_many([{"_id": 1}, {"_id": 2}])

    await driver.raw_documents(SEVERAL)

    assert noted.take() == ["aggregate"]


async def test_many_documents_of_one_collection_take_one_round_trip(driver: Driver, database: Any, noted: Noted):
    ids = list(range(400))  # a server gives 101 at first, unless it is told otherwise
    database.first.insert_many([{"_id": number} for number in ids])

    (found,) = await driver.raw_documents([ByIds("first", ids, ("data",))])

    assert len(found) == len(ids)
    assert noted.take() == ["find"]


async def test_what_is_too_large_for_one_answer_is_read_apart_and_leaves_no_cursor(driver: Driver, database: Any):
    large = {"data": "x" * (10 * 1024 * 1024)}
    database.first.insert_many([{"_id": number, **large} for number in (1, 2)])
    database.second.insert_one({"_id": 1, **large})

    first, second = await driver.raw_documents(SEVERAL)

    assert first == [encode({"_id": number, **large}) for number in (1, 2)]
    assert second == [encode({"_id": 1, **large})]
    assert database.client.admin.aggregate([{"$currentOp": {"idleCursors": True}}, *_of(database)]).to_list() == []


def _of(database: Any) -> list[dict[str, Any]]:
    return [{"$match": {"type": "idleCursor", "ns": {"$regex": f"^{database.name}\\."}}}]


@pytest.mark.parametrize("client_type", [AsyncIOMotorClient, AsyncMongoClient])
async def test_a_read_whose_connection_breaks_is_sent_again(
    client_type: Any, mongodb_server_uri: str, mongodb_database: str, database: Any
):
    database.second.insert_one({"_id": 1})
    host, port = parse_uri(mongodb_server_uri)["nodelist"][0]
    async with Proxy(f"{host}:{port}") as proxy:
        client = client_type(proxy.uri)
        driver = await connect(client, mongodb_database)
        proxy.lose_answer({"aggregate"})

        found = await driver.raw_documents(SEVERAL)

        if (closed := client.close()) is not None:
            await closed
    assert found == [[], [encode({"_id": 1})]]
    assert (proxy.lost_answers, proxy.commands["aggregate"]) == (1, 2)
