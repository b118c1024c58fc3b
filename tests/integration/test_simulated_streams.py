"""The change streams of the simulated server begin, continue, end and are refused like those of a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from both_servers import BothServers, event_of
from bson import Int64, Timestamp
from pymongo.errors import OperationFailure

Ask = Callable[[Mapping[str, Any]], dict[str, Any]]
A_TOKEN = "826592008000000001" + "2B0229296E04"


@pytest.fixture
def both(mongodb_server_uri: str, mongodb_database: str) -> Iterator[BothServers]:
    servers = BothServers(mongodb_server_uri, mongodb_database)
    yield servers
    servers.close()


@pytest.fixture(params=["model", "server"])
def ask(both: BothServers, request: pytest.FixtureRequest) -> Ask:
    """Asks one of the two."""
    return both.ask_model if request.param == "model" else both.ask


def opened(ask: Ask, **options: Any) -> dict[str, Any]:
    pipeline = [{"$changeStream": options}]
    cursor: dict[str, Any] = ask({"aggregate": 1, "pipeline": pipeline, "cursor": {"batchSize": 0}})["cursor"]
    return cursor


def more(ask: Ask, cursor: Mapping[str, Any], *, count: int = 0) -> dict[str, Any]:
    """The cursor after at least so many events, and what they were."""
    events: list[Any] = []
    answer = dict(cursor)
    while answer["id"] and (len(events) < count or "nextBatch" not in answer):
        wait = {"maxTimeMS": 1000 if count else 1}
        answer = ask({"getMore": cursor["id"], "collection": "$cmd.aggregate", **wait})["cursor"]
        events += answer["nextBatch"]
    return {**answer, "events": events}


def write(ask: Ask, collection: str, document_id: int) -> None:
    ask({"insert": collection, "documents": [{"_id": document_id}]})


def refusal(ask: Ask, command: Mapping[str, Any]) -> tuple[Any, bool]:
    """The code, and whether a stream may be resumed all the same."""
    with pytest.raises(OperationFailure) as refused:
        ask(command)
    return refused.value.code, refused.value.has_error_label("NonResumableChangeStreamError")


def a_life(ask: Ask, database: str) -> dict[str, Any]:
    """What a stream tells of collections that come and go."""
    cursor = opened(ask)
    write(ask, "user_data", 1)
    write(ask, "chat_data", 2)
    ask({"delete": "user_data", "deletes": [{"q": {"_id": 1}, "limit": 1}]})
    ask({"drop": "user_data"})
    write(ask, "user_data", 3)
    ask({"update": "user_data", "updates": [{"q": {"_id": 3}, "u": {"name": "x"}}]})
    ask({"drop": "chat_data"})
    ask({"dropDatabase": 1})
    return more(ask, cursor, count=10)


def test_a_stream_tells_of_collections_that_come_and_go_and_ends_with_the_database(both: BothServers) -> None:
    real = a_life(both.ask, both.model.database)
    model = a_life(both.ask_model, both.model.database)

    assert list(map(event_of, model["events"])) == list(map(event_of, real["events"]))
    assert [event["operationType"] for event in model["events"]] == [
        *("insert", "insert", "delete", "drop", "insert", "replace", "drop", "drop", "dropDatabase", "invalidate")
    ]
    assert model["id"] == real["id"] == 0


def test_a_stream_resumes_after_each_event_with_the_next_one(ask: Ask) -> None:
    cursor = opened(ask)
    for number in range(4):
        write(ask, "user_data", number)
    events = more(ask, cursor, count=4)["events"]

    for position, event in enumerate(events):
        after = opened(ask, resumeAfter=event["_id"])
        assert after["postBatchResumeToken"] == event["_id"]
        rest = events[position + 1 :]
        assert more(ask, after, count=len(rest))["events"] == rest


def test_a_stream_resumes_after_the_token_of_a_batch_without_events(ask: Ask) -> None:
    write(ask, "user_data", 1)
    token = more(ask, opened(ask))["postBatchResumeToken"]
    write(ask, "user_data", 2)

    resumed = more(ask, opened(ask, resumeAfter=token), count=1)

    assert [event["documentKey"]["_id"] for event in resumed["events"]] == [2]


def test_a_stream_begins_at_a_time_of_the_server_with_what_was_written_then(ask: Ask) -> None:
    write(ask, "user_data", 1)
    second = ask({"insert": "user_data", "documents": [{"_id": 2}]})["operationTime"]

    at_it = more(ask, opened(ask, startAtOperationTime=second), count=1)["events"]
    write(ask, "user_data", 3)
    just_after = Timestamp(second.time, second.inc + 1)
    after_it = more(ask, opened(ask, startAtOperationTime=just_after), count=1)["events"]

    assert [event["documentKey"]["_id"] for event in at_it] == [2]
    assert [event["documentKey"]["_id"] for event in after_it] == [3]


def test_a_stream_that_a_dropped_database_has_ended_goes_on_only_from_its_beginning(ask: Ask) -> None:
    cursor = opened(ask)
    write(ask, "user_data", 1)
    ask({"dropDatabase": 1})
    *_, dropped, invalidate = more(ask, cursor, count=4)["events"]

    again = more(ask, opened(ask, resumeAfter=dropped["_id"]), count=1)
    assert [event["operationType"] for event in again["events"]] == ["invalidate"]
    assert refusal(
        ask, {"aggregate": 1, "pipeline": [{"$changeStream": {"resumeAfter": invalidate["_id"]}}], "cursor": {}}
    ) == (
        260,
        False,
    )
    write(ask, "user_data", 2)
    after = more(ask, opened(ask, startAfter=invalidate["_id"]), count=1)
    assert [event["documentKey"]["_id"] for event in after["events"]] == [2]


def test_resuming_after_an_event_that_is_not_there_is_refused_when_the_next_one_comes(
    both: BothServers, mongodb_server_uri: str
) -> None:
    other = BothServers(mongodb_server_uri, f"{both.model.database}_other")  # its events are not told here
    snapshot = both.model.snapshot()
    tokens = []
    for ask in (other.ask, both.ask_model):
        cursor = opened(ask)
        write(ask, "user_data", 1)
        tokens.append(more(ask, cursor, count=1)["events"][0]["_id"])
    other.ask({"dropDatabase": 1})
    other.close()
    both.model.restore(snapshot)

    for ask, token in zip((both.ask, both.ask_model), tokens, strict=True):
        cursor = opened(ask, resumeAfter=token)
        assert more(ask, cursor)["events"] == []
        write(ask, "user_data", 2)
        command = {"getMore": cursor["id"], "collection": "$cmd.aggregate", "maxTimeMS": 1000}
        assert refusal(ask, command) == (280, True)
        assert refusal(ask, command) == (43, False)


@pytest.mark.parametrize(
    "command",
    [
        {"aggregate": 1, "pipeline": [{"$changeStream": {"resumeAfter": {"_data": "zz"}}}], "cursor": {}},
        {"aggregate": 1, "pipeline": [{"$changeStream": {"resumeAfter": {"token": "82"}}}], "cursor": {}},
        {"aggregate": 1, "pipeline": [{"$changeStream": {"resumeAfter": 5}}], "cursor": {}},
        {
            "aggregate": 1,
            "pipeline": [
                {"$changeStream": {"resumeAfter": {"_data": A_TOKEN}, "startAtOperationTime": Timestamp(1, 1)}}
            ],
            "cursor": {},
        },
        {"getMore": Int64(5), "collection": "$cmd.aggregate"},
        {"drop": "nothing"},
        {"renameCollection": "other.nothing", "to": "other.something"},
        {"nothing": 1},
    ],
    ids=lambda command: str(command)[:60],
)
def test_what_cannot_be_done_is_refused_with_the_same_code(both: BothServers, command: dict[str, Any]) -> None:
    assert refusal(both.ask_model, command) == refusal(both.ask, command)


def test_a_collection_takes_no_name_that_another_has_unless_told_to(ask: Ask, both: BothServers) -> None:
    database = both.model.database
    for collection in ("made", "user_data"):
        ask({"createIndexes": collection, "indexes": [{"key": {"handler": 1}, "name": "handler_1"}]})

    assert refusal(ask, {"renameCollection": f"{database}.made", "to": f"{database}.user_data"}) == (48, False)
    assert ask({"ping": 1})["ok"] == 1


def test_a_cursor_that_was_killed_is_not_found(ask: Ask) -> None:
    cursor = opened(ask)

    killed = ask({"killCursors": "$cmd.aggregate", "cursors": [cursor["id"], Int64(5)]})

    assert (killed["cursorsKilled"], killed["cursorsNotFound"]) == ([cursor["id"]], [5])
    assert refusal(ask, {"getMore": cursor["id"], "collection": "$cmd.aggregate"}) == (43, False)


def a_new_name(ask: Ask, database: str) -> list[Any]:
    """What a stream tells of a collection that takes the place of another."""
    write(ask, "made", 1)
    write(ask, "user_data", 2)
    cursor = opened(ask)
    ask({"renameCollection": f"{database}.made", "to": f"{database}.user_data", "dropTarget": True})
    assert [document["_id"] for document in ask({"find": "user_data"})["cursor"]["firstBatch"]] == [1]
    return list(map(event_of, more(ask, cursor, count=1)["events"]))


def test_a_collection_that_takes_the_place_of_another_is_told_as_one_change(both: BothServers) -> None:
    database = both.model.database

    assert a_new_name(both.ask_model, database) == a_new_name(both.ask, database)


def test_documents_of_several_collections_are_read_in_one_round_trip(both: BothServers) -> None:
    both.start("user_data", [{"_id": number, "data": {"n": number}, "rev": "w:1"} for number in (3, 1, 2)])
    both.execute({"insert": "chat_data", "documents": [{"_id": 2, "data": {"c": 2}, "other": 1}]})

    def numbered(number: int, ids: list[int]) -> list[dict[str, Any]]:
        return [
            {"$match": {"_id": {"$in": ids}}},
            {"$project": {"data": 1, "rev": 1}},
            {"$replaceRoot": {"newRoot": {"n": {"$literal": number}, "d": "$$ROOT"}}},
        ]

    union = {"$unionWith": {"coll": "chat_data", "pipeline": numbered(1, [2, 5])}}
    both.execute({"aggregate": "user_data", "pipeline": [*numbered(0, [3, 1, 7]), union], "cursor": {}})
    later = [{"$match": {"data.n": {"$gt": 1}}}, {"$match": {"rev": "w:1"}}, {"$unionWith": "chat_data"}]
    both.execute({"aggregate": "user_data", "pipeline": later, "cursor": {}})
