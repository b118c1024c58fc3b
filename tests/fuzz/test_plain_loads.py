"""A load of many documents at once gives just what loading each of them gives: objects, quarantine, and states.

The kind of fault: a document for which the quick way was not made takes it, and reaches the bot in another form, or
unchecked. So hostile and honest documents lie side by side here, as they do in a collection.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

sys.path.append(str(Path(__file__).parents[1] / "unit/codec"))

import codec_case
import samples
from choices import Choices
from hostile_documents import HostileDocuments
from odd_values import encoded
from roundtrip import portrait

from ptb_mongo.codec import Codec, load
from ptb_mongo.errors import DecodeError
from ptb_mongo.health import Counters
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.unused import UnusedData

SETS = 60
TOGETHER = 12


def documents(number: int) -> list[bytes]:
    """Some documents with different ids, in their bytes."""
    choices = Choices.by_seed(f"plain loads {number}")
    made: dict[Any, bytes] = {}
    for user in range(10, 10 + TOGETHER):
        if choices.percent(30):
            raw = HostileDocuments(choices).data().raw()
        elif choices.percent(40):
            data = {"n": user, "name": "Ada", "cart": [{"sku": "x", "share": choices.one((1.5, -0.0, 2**40, None))}]}
            raw = encoded({"_id": user, "data": data, "rev": "bot:1", "schema": choices.one((0, 1, "x", 2**40))})
        else:
            body = codec_case.make(choices)
            raw = b"".join((b"\x10_id\x00", user.to_bytes(4, "little"), body[4:]))
            raw = (len(raw) + 4).to_bytes(4, "little") + raw
        try:
            document_id = load(raw)["_id"]
        except DecodeError:
            document_id = user
        damaged = raw[:-2] + bytes((raw[-2] ^ 0x41, 0))
        known = document_id if type(document_id) in {int, float, str} else repr(document_id)
        made.setdefault(known, damaged if choices.percent(5) else raw)
    return list(made.values())


def load_all(raws: list[bytes]) -> tuple[dict[int, Any], DataScope[Any]]:
    scope: DataScope[Any] = DataScope("user_data", "user_data", Codec(samples.TRUSTED), Counters(), new=dict)
    with scope.being_loaded():
        loaded = dict(scope.attached(raws))
    scope.all_loaded()
    return loaded, scope


def state(scope: DataScope[Any], user: Any, objects: dict[int, Any]) -> Any:
    replica = scope.replicas[user]
    known = replica.base, replica.rev, replica.revs, replica.pending, replica.view, replica.handed_out, replica.now
    is_live = replica.live is objects.get(user)
    return known, is_live, replica.is_loaded, replica.is_stale, replica.is_unsaved, replica._brings


@pytest.mark.parametrize("part", range(4))
def test_what_is_loaded_together_is_what_is_loaded_one_by_one(part: int) -> None:
    quick = 0
    for number in range(part, SETS, 4):
        raws = documents(number)

        loaded, scope = load_all(raws)
        quick += len(scope.replicas._current.raws)
        with mock.patch.object(UnusedData, "attached_unused", lambda self, raws: Parted(raws)):
            expected, slow = load_all(raws)

        assert loaded.keys() == expected.keys()
        for user, data in loaded.items():
            assert portrait(data) == portrait(expected[user])
        assert sorted(map(str, scope.quarantined.values())) == sorted(map(str, slow.quarantined.values()))
        assert sorted(scope.replicas, key=str) == sorted(slow.replicas, key=str)
        for user in list(scope.replicas):
            assert state(scope, user, loaded) == state(slow, user, expected)
    assert quick > SETS / 4


class Parted:
    """Nothing is loaded quickly."""

    keys = raws = data = ()

    def __init__(self, raws: list[bytes]) -> None:
        self.others = raws
