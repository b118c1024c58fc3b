"""What blocks writes and revokes permissions does so, and restores them; otherwise, the torture test proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from access import ACTIONS, Access, GuardedReplicaSet, guarded_servers
from pymongo import MongoClient
from pymongo.errors import OperationFailure

DATABASE = "torture_access"
USER = "bot0"


@pytest.fixture(scope="module")
def servers() -> Iterator[GuardedReplicaSet]:
    with guarded_servers() as servers:
        yield servers


@pytest.fixture
def access(servers: GuardedReplicaSet) -> Access:
    access = Access(servers, DATABASE, [USER])
    access.give_all()
    return access


@pytest.fixture
def bot(servers: GuardedReplicaSet, access: Access) -> Iterator[Any]:
    """A client that is logged in as a bot's user."""
    with MongoClient(servers.uri_of([member.host for member in servers.members], USER)) as client:
        things = client[DATABASE].things
        write(things)
        yield things


def write(things: Any) -> None:
    things.update_one({"_id": 1}, {"$inc": {"n": 1}}, upsert=True)


@pytest.mark.parametrize(
    ("take", "code"),
    [
        (lambda access: access.block_writes(blocked=True), 371),
        (lambda access: access.allow([action for action in ACTIONS if action != "update"]), 13),
        (lambda access: access.allow([]), 13),
        (lambda access: access.revoke(USER), 13),
        (lambda access: access.drop_user(USER), 13),
    ],
    ids=["writes are blocked", "less is allowed", "nothing is allowed", "the role is revoked", "the user is dropped"],
)
def test_a_bot_cannot_write_until_all_is_given_back(
    servers: GuardedReplicaSet, access: Access, bot: Any, take: Callable[[Access], None], code: int
) -> None:
    take(access)

    with pytest.raises(OperationFailure) as caught:
        write(bot)
    assert caught.value.code == code
    with MongoClient(servers.uri) as services:
        write(services[DATABASE].things)

    access.give_all()
    with MongoClient(servers.uri_of([member.host for member in servers.members], USER)) as another:
        write(another[DATABASE].things)
        assert another[DATABASE].things.find_one()["n"] >= 3
