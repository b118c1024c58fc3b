"""What the simulation needs from the simulated server besides its answers: snapshots, failovers, a history."""

from __future__ import annotations

import datetime as dtm
from typing import Any

import pytest
from bson.timestamp import Timestamp
from mongod import Mongod, key
from pymongo.errors import OperationFailure

NOW = dtm.datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=dtm.timezone.utc)


@pytest.fixture
def mongod() -> Mongod:
    return Mongod()


def insert(mongod: Mongod, *documents: dict[str, Any]) -> None:
    mongod.execute({"insert": "user_data", "documents": list(documents)}, NOW)


def update(mongod: Mongod, document_id: Any, change: Any, now: dtm.datetime = NOW) -> None:
    answer = mongod.execute({"update": "user_data", "updates": [{"q": {"_id": document_id}, "u": change}]}, now)
    assert answer["n"] == 1


def stream(mongod: Mongod, **options: Any) -> int:
    command = {"aggregate": 1, "pipeline": [{"$changeStream": options}], "cursor": {}}
    return int(mongod.execute(command, NOW)["cursor"]["id"])


def events(mongod: Mongod, cursor: int) -> list[dict[str, Any]]:
    return list(mongod.execute({"getMore": cursor, "collection": "$cmd.aggregate"}, NOW)["cursor"]["nextBatch"])


def ids(told: list[dict[str, Any]]) -> list[Any]:
    return [event["documentKey"]["_id"] for event in told]


def test_what_was_written_after_a_snapshot_is_undone(mongod: Mongod) -> None:
    insert(mongod, {"_id": 1, "data": {"a": 1}}, {"_id": 2})
    snapshot = mongod.snapshot()
    update(mongod, 1, {"$set": {"data.a": 2}})
    mongod.execute({"delete": "user_data", "deletes": [{"q": {"_id": 2}, "limit": 1}]}, NOW)
    mongod.execute({"insert": "chat_data", "documents": [{"_id": 3}]}, NOW)

    undone = mongod.restore(snapshot)

    assert list(mongod.documents("user_data").values()) == [{"_id": 1, "data": {"a": 1}}, {"_id": 2}]
    assert not mongod.documents("chat_data")
    assert [(one.collection, one.id) for one in undone] == [("user_data", 1), ("user_data", 2), ("chat_data", 3)]
    assert [one.id for one in mongod.history] == [1, 2]


def test_a_snapshot_can_be_gone_back_to_more_than_once_and_in_any_order(mongod: Mongod) -> None:
    snapshots = [mongod.snapshot()]
    for number in range(3):
        insert(mongod, {"_id": number})
        snapshots.append(mongod.snapshot())

    for count in (1, 3, 0, 2, 3):
        mongod.restore(snapshots[count])
        assert list(mongod.documents("user_data")) == list(range(count))
        assert ids(events(mongod, stream(mongod, startAtOperationTime=mongod_start(mongod)))) == list(range(count))
        insert(mongod, {"_id": "new"})


def mongod_start(mongod: Mongod) -> Any:
    return mongod.snapshot().oplog[0].at


def test_cursors_end_with_their_primary(mongod: Mongod) -> None:
    cursor = stream(mongod)

    mongod.restore(mongod.snapshot())

    with pytest.raises(OperationFailure) as refused:
        events(mongod, cursor)
    assert refused.value.code == 43


def test_a_stream_goes_on_after_an_election_where_it_was(mongod: Mongod) -> None:
    cursor = stream(mongod)
    insert(mongod, {"_id": 1}, {"_id": 2})
    first, _ = events(mongod, cursor)
    mongod.restore(mongod.snapshot())
    insert(mongod, {"_id": 3})

    assert ids(events(mongod, stream(mongod, resumeAfter=first["_id"]))) == [2, 3]


def test_no_event_gets_the_token_of_one_that_was_undone(mongod: Mongod) -> None:
    snapshot = mongod.snapshot()
    tokens = []
    for _ in range(3):
        cursor = stream(mongod)
        insert(mongod, {"_id": 1})
        tokens.append(events(mongod, cursor)[0]["_id"]["_data"])
        mongod.restore(snapshot)

    assert tokens == sorted(set(tokens))


def test_a_stream_cannot_begin_before_the_first_change_that_is_known(mongod: Mongod) -> None:
    with pytest.raises(OperationFailure) as refused:
        stream(mongod, startAtOperationTime=Timestamp(0, 1))
    assert refused.value.code == 286
    assert refused.value.has_error_label("NonResumableChangeStreamError")


def test_a_time_without_a_zone_counts_as_utc(mongod: Mongod) -> None:
    assert mongod.execute({"hello": 1}, NOW.replace(tzinfo=None)) == mongod.execute({"hello": 1}, NOW)


def test_the_time_of_the_server_never_goes_back(mongod: Mongod) -> None:
    snapshot = mongod.snapshot()
    insert(mongod, {"_id": 1})
    before = mongod.execute({"hello": 1}, NOW)["operationTime"]

    mongod.restore(snapshot)

    assert mongod.execute({"hello": 1}, NOW)["operationTime"] > before


def test_streams_tell_nothing_of_what_no_majority_has_yet(mongod: Mongod) -> None:
    cursor = stream(mongod)
    insert(mongod, {"_id": 1})
    mongod.replicates = False
    insert(mongod, {"_id": 2})

    assert ids(events(mongod, cursor)) == [1]
    assert list(mongod.documents("user_data")) == [1, 2]

    mongod.replicates = True
    assert ids(events(mongod, cursor)) == [2]


def test_a_primary_that_no_majority_follows_is_undone_without_a_word(mongod: Mongod) -> None:
    cursor = stream(mongod)
    insert(mongod, {"_id": 1})
    snapshot = mongod.snapshot()
    mongod.replicates = False
    insert(mongod, {"_id": 2})
    token = events(mongod, cursor)[-1]["_id"]

    mongod.restore(snapshot)
    insert(mongod, {"_id": 3})

    assert ids(events(mongod, stream(mongod, resumeAfter=token))) == [3]


def test_versions_that_were_given_out_stay_as_they_are(mongod: Mongod) -> None:
    insert(mongod, {"_id": 1, "a": {"b": [1, {"c": 1}]}, "same": {"x": 1}})
    (first,) = mongod.documents("user_data").values()
    cursor = stream(mongod)
    for change in (
        {"$set": {"a.b.1.c": 2, "rev": "w:1"}},
        {"$push": {"a.b": 3}},
        {"$unset": {"a.b.0": ""}},
        [{"$set": {"a.b": 5, "rev": "w:2"}}],
    ):
        update(mongod, 1, change)

    assert first == {"_id": 1, "a": {"b": [1, {"c": 1}]}, "same": {"x": 1}}
    last = mongod.documents("user_data")[1]
    assert last == {"_id": 1, "a": {"b": 5}, "same": {"x": 1}, "rev": "w:2"}
    assert last["same"] is first["same"]  # what has not changed is shared
    assert events(mongod, cursor)[0]["updateDescription"]["updatedFields"] == {"a.b.1.c": 2, "rev": "w:1"}
    assert [one.after["a"] for one in mongod.history if one.after] == [
        {"b": [1, {"c": 1}]},
        {"b": [1, {"c": 2}]},
        {"b": [1, {"c": 2}, 3]},
        {"b": [None, {"c": 2}, 3]},
        {"b": 5},
    ]


def test_a_command_may_be_used_again_and_its_values_may_change(mongod: Mongod) -> None:
    value = {"tea": 1}
    command = {"update": "user_data", "updates": [{"q": {"_id": 1}, "u": {"$set": {"cart": value}}, "upsert": True}]}
    mongod.execute(command, NOW)

    value["tea"] = 2

    assert mongod.documents("user_data")[1] == {"_id": 1, "cart": {"tea": 1}}
    assert mongod.execute(command, NOW)["nModified"] == 1


def test_the_history_has_each_change_with_its_time_and_both_versions(mongod: Mongod) -> None:
    later = NOW + dtm.timedelta(seconds=1)
    insert(mongod, {"_id": 1})
    update(mongod, 1, {"$set": {"a": 1}}, later)
    update(mongod, 1, {"$set": {"a": 1}}, later)  # changes nothing
    mongod.execute({"drop": "user_data"}, later)

    in_milliseconds = NOW.replace(microsecond=678000)
    assert list(mongod.history) == [
        (in_milliseconds, "user_data", 1, None, {"_id": 1}),
        (in_milliseconds + dtm.timedelta(seconds=1), "user_data", 1, {"_id": 1}, {"_id": 1, "a": 1}),
        (in_milliseconds + dtm.timedelta(seconds=1), "user_data", 1, {"_id": 1, "a": 1}, None),
    ]


def test_documents_are_found_by_the_key_of_any_id(mongod: Mongod) -> None:
    several = [1, -5, "1", {"handler": "order", "key": [1, 2]}, True, None, 2.5, NOW.replace(microsecond=0), b"x"]
    insert(mongod, *({"_id": one, "n": number} for number, one in enumerate(several)))

    assert [mongod.documents("user_data")[key(one)]["n"] for one in several] == list(range(len(several)))
    assert key(1) == key(1.0) != key(True)


def test_the_same_commands_give_the_same_answers(mongod: Mongod) -> None:
    def answers(mongod: Mongod) -> list[Any]:
        cursor = stream(mongod)
        insert(mongod, {"x": 1}, {"x": 2})
        return [
            mongod.execute({"find": "user_data"}, NOW),
            mongod.execute({"getMore": cursor, "collection": "$cmd.aggregate"}, NOW),
        ]

    assert answers(mongod) == answers(Mongod())


@pytest.mark.parametrize(
    "command",
    [
        {"update": "user_data", "updates": [{"q": {"_id": 1}, "u": {"$rename": {"a": "b"}}}]},
        {"update": "user_data", "updates": [{"q": {"_id": 1}, "u": {"$set": {"a.$[]": 1}}}]},
        {"update": "user_data", "updates": [{"q": {"_id": 1}, "u": [{"$set": {"a": {"$reverseArray": "$b"}}}]}]},
        {"find": "user_data", "filter": {"a": {"$elemMatch": {"b": 1}}}},
        {"find": "user_data", "filter": {"$where": "1"}},
        {"find": "user_data", "projection": {"a": 0}},
        {"find": "user_data", "sort": {"a": 1}},
        {"aggregate": "user_data", "pipeline": [{"$group": {"_id": 1}}], "cursor": {}},
        {"aggregate": "user_data", "pipeline": [{"$changeStream": {}}], "cursor": {}},
        {"update": "user_data", "updates": [{"q": {}, "u": {"$set": {"a": 1}}, "arrayFilters": []}]},
    ],
    ids=str,
)
def test_what_is_not_modelled_is_not_answered(mongod: Mongod, command: dict[str, Any]) -> None:
    insert(mongod, {"_id": 1})

    with pytest.raises(NotImplementedError):
        mongod.execute(command, NOW)
