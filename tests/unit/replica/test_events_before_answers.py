"""An event that comes before the answer to a write of our own: what it has said outlives the answer.

The kind of fault: the answer settles the document, and with it goes what others were said to have done since: the
document counts as known, or is forgotten, and the bot never sees it again. So for each of our writes, and each
answer that could settle it: the document is read again before it is used. After any other answer it is read anyway.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ptb_mongo.codec import Codec, dump
from ptb_mongo.health import Counters
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.sync.operations import OperationMaker

USER = 1
STORED = dump({"_id": USER, "data": {"n": 0}, "rev": "other:1"})


def changes(scope: DataScope[Any]) -> Any:
    list(scope.attached([STORED]))
    return scope.stage(USER, {"n": 1})


def creates(scope: DataScope[Any]) -> Any:
    return scope.stage(USER, {"n": 1})


def deletes(scope: DataScope[Any]) -> Any:
    list(scope.attached([STORED]))
    return scope.drop(USER)


def deletes_what_is_unsaved(scope: DataScope[Any]) -> Any:
    list(scope.attached([STORED]))
    scope.stage(USER, {"n": 1})
    return scope.drop(USER)


def acknowledged(scope: DataScope[Any], replica: LiveReplica, rev: str) -> None:
    replica.acknowledged(rev, scope)


def refused(_: DataScope[Any], replica: LiveReplica, rev: str) -> None:
    replica.refused(rev)


@pytest.mark.parametrize("is_gone", [False, True], ids=["others wrote it", "others deleted it"])
@pytest.mark.parametrize("buries", [False, True], ids=["", "leaving marks"])
@pytest.mark.parametrize("answer", [acknowledged, refused])
@pytest.mark.parametrize("write", [changes, creates, deletes, deletes_what_is_unsaved])
def test_what_an_event_has_said_outlives_the_answer(
    write: Callable[[DataScope[Any]], Any],
    answer: Callable[[DataScope[Any], LiveReplica, str], None],
    buries: bool,
    is_gone: bool,
) -> None:
    scope: DataScope[Any] = DataScope("user_data", "user_data", Codec(), Counters(), new=dict)
    scope.all_loaded()
    replica = write(scope)
    prepared = OperationMaker("bot", lambda: buries).make(scope, replica, replica.pending, 0)
    assert prepared is not None

    scope.told(USER, deleted=is_gone)
    answer(scope, replica, prepared.rev)
    scope.forget(replica)

    known = scope.replica(USER, USER)
    assert scope.outdated(USER, read=False) is not None or (known.is_being_deleted and known.is_stale)
