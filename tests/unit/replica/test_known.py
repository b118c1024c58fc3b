"""What is remembered of documents that the bot does not use: up to a number of documents, not of events.

The kind of fault: a count that only grows. After enough documents that came and went, the bot believes that it misses
some, and reads before each update from then on.
"""

from __future__ import annotations

from ptb_mongo.codec import Codec
from ptb_mongo.health import Counters
from ptb_mongo.replica.known import MOST_MADE_BY_OTHERS
from ptb_mongo.scopes.conversations import ConversationScope


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
