"""What is remembered of documents that the bot does not use: up to a number of documents, not of events.

The kind of fault: a count that only grows. After enough documents that came and went, the bot believes that it misses
some, and reads before each update from then on.
"""

from __future__ import annotations

from typing import Any

import pytest

from ptb_mongo.codec import Codec, dump
from ptb_mongo.health import Counters
from ptb_mongo.replica.known import MOST_MADE_BY_OTHERS
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.replica.versions import Stored, Version
from ptb_mongo.scopes.conversations import ConversationScope
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.factory import make_scopes


def scope() -> ConversationScope:
    found = ConversationScope("conversations", Codec(), Counters())
    found.all_loaded("order")
    return found


def place(number: int) -> dict[str, object]:
    return {"handler": "order", "key": [number, number]}


def test_documents_of_others_that_are_gone_again_do_not_count() -> None:
    conversations = scope()
    for number in range(2 * MOST_MADE_BY_OTHERS):
        conversations.told(place(number))
        conversations.told(place(number), deleted=True)

    assert conversations.complete
    assert not conversations.replicas


def test_documents_of_others_that_are_used_do_not_count() -> None:
    conversations = scope()
    for number in range(2 * MOST_MADE_BY_OTHERS):
        conversations.told(place(number))
        replica = conversations.replicas["order", (number, number)]
        conversations.answered([(replica, replica.reading())], [], lasts=True)

    assert conversations.complete
    assert len(conversations.replicas) == 2 * MOST_MADE_BY_OTHERS


def test_of_documents_of_others_that_nobody_uses_no_more_are_remembered() -> None:
    conversations = scope()
    for number in range(MOST_MADE_BY_OTHERS + 1):
        conversations.told(place(number))

    assert not conversations.replicas
    assert not conversations.complete


# -- a deletion of ours that the change stream tells of only when the bot has stored the document again ------------


def user_data() -> DataScope[Any]:
    found: DataScope[Any] = make_scopes(
        Codec(), prefix="", new={"user_data": dict, "chat_data": dict, "bot_data": dict}
    ).user_data
    found.all_loaded()
    return found


def stored_again(users: DataScope[Any], *, by_a_read: bool) -> LiveReplica:
    """A document that was deleted and made anew, in two writes."""
    replica = users.replica(1, 1)
    plain: dict[str, Any] | None
    for number, plain in enumerate((None, {"data": {"a": 1, "gone": 2}})):
        replica.staged(Version(plain, None if plain is None else dump(plain)))
        rev = f"writer:{number}"
        replica.sending(rev, replica.pending, buries=False, is_exact=True)
        if by_a_read and plain is not None:
            replica.read(replica.reading(), Stored(rev, (), dump(plain)), users, lasts=True)
        else:
            replica.acknowledged(rev, users)
    return replica


@pytest.mark.parametrize("by_a_read", [False, True])
def test_what_was_stored_after_a_deletion_is_not_forgotten_when_that_is_told(*, by_a_read: bool) -> None:
    users = user_data()
    replica = stored_again(users, by_a_read=by_a_read)

    users.told(1, deleted=True)

    assert users.replicas[1] is replica
    assert replica.is_stale
    later = {"data": {"a": 5}}
    replica.staged(Version(later, dump(later)))
    replica.read(replica.reading(), Stored("writer:1", (), dump({"data": {"a": 1, "gone": 2}})), users, lasts=True)
    assert replica.pending is not None
    assert replica.pending.plain == later


def test_a_document_that_others_have_deleted_is_forgotten_once_that_was_read() -> None:
    users = user_data()
    replica = stored_again(users, by_a_read=False)

    users.told(1, deleted=True)
    replica.read(replica.reading(), None, users, lasts=True)
    users.told(1, deleted=True)

    assert not users.replicas


def test_a_document_that_is_being_read_is_not_forgotten_when_others_make_and_delete_it_meanwhile() -> None:
    data = user_data()
    data.told_all()
    replica = data.replica(1, 1)
    moment = replica.reading()
    data.told(1)
    data.told(1, deleted=True)

    data.answered([(replica, moment)], [dump({"_id": 1, "data": {"n": 1}, "rev": "other:1"})], lasts=True)

    assert data.replicas[1] is replica
    assert replica.is_stale


def test_whose_document_is_being_read_is_not_let_go_before_the_read_has_failed() -> None:
    """The read would tell a replica that nobody has any more, and the update would find nothing."""
    users = DataScope[Any]("user_data", "user_data", Codec(), Counters(), new=dict)
    replica = users.replica(1, 1)
    assert users.is_unread(1)
    replica.reading()
    assert not users.is_unread(1)
    replica.told()  # what the reader says of a read that has failed
    assert users.is_unread(1)


class States:
    """The state that a handler holds."""

    def __init__(self) -> None:
        self.state: object = None

    def now(self, *_: object) -> object:
        return self.state

    def arrived(self, _: str, __: object, state: object) -> None:
        self.state = state


@pytest.mark.parametrize("state", [None, 2])
def test_a_state_that_was_taken_back_and_is_stored_all_the_same_is_held_again_unless_there_is_a_later_one(
    state: object,
) -> None:
    conversations, live = scope(), States()
    conversations.live = live  # type: ignore[assignment]
    replica = conversations.of("order", (1, 1))
    found = replica.in_hand()
    live.state = 1
    conversations.stage("order", (1, 1), 1)
    replica.sending("bot:1", replica.pending)
    conversations.withdraw(replica, found)
    assert live.state is None

    live.state = state  # which the next update may have set meanwhile
    conversations.acknowledged(replica, "bot:1")

    assert live.state == (state or 1)
