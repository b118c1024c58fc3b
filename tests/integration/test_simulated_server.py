"""The simulated server answers, stores and reports in its change stream the same as a real one.

Documents and commands are random; HYPOTHESIS_PROFILE=deep uses fifty times as many.
"""

from __future__ import annotations

import datetime as dtm
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from both_servers import MARKS, BothServers
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from mongodb_commands import (
    A_DAY,
    COLLECTION,
    commands,
    documents,
    filters,
    ids,
    large,
    lists,
    operations,
    operators,
    paths,
    stages,
    statements,
    truths,
)

from ptb_mongo.codec import Codec
from ptb_mongo.replica.update import diff
from ptb_mongo.sync.change_stream import events_of_others
from ptb_mongo.sync.lease_updates import acquiring, handing_over, renewing

made_up = settings(
    max_examples=settings.default.max_examples // 3,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture
def both(mongodb_server_uri: str, mongodb_database: str) -> Iterator[BothServers]:
    servers = BothServers(mongodb_server_uri, mongodb_database)
    yield servers
    servers.close()


# -- commands of all shapes -----------------------------------------------------------------------------


@made_up
@given(documents, statements(operators), st.booleans())
def test_operators_change_documents_as_on_the_server(
    both: BothServers, stored: list[Any], updates: list[Any], ordered: bool
) -> None:
    both.start(COLLECTION, stored)

    both.execute({"update": COLLECTION, "updates": updates, "ordered": ordered})

    both.check(COLLECTION)


with_lists = st.lists(lists, min_size=1, max_size=2).map(
    lambda several: [{"_id": number, "a": {"b": items}} for number, items in enumerate(several, 1)]
)
places_in_lists = st.sampled_from(["a.b", "a.b", "a.b.1", "a.b.3.c"])
on_lists = st.sampled_from(["$push", "$addToSet", "$pull", "$pullAll", "$pop", "$unset", "$set"]).flatmap(
    lambda name: st.fixed_dictionaries(
        {
            "q": st.fixed_dictionaries({"_id": ids}, optional={"a.b": st.just({"$size": 2})}),
            "u": st.fixed_dictionaries({name: st.dictionaries(places_in_lists, operations[name][1], min_size=1)}),
        }
    )
)


@made_up
@given(with_lists, st.lists(on_lists, min_size=1, max_size=4))
def test_operators_change_lists_as_on_the_server(both: BothServers, stored: list[Any], updates: list[Any]) -> None:
    both.start(COLLECTION, stored)

    both.execute({"update": COLLECTION, "updates": updates, "ordered": False})

    both.check(COLLECTION)


@made_up
@given(documents, statements(st.lists(stages, min_size=1, max_size=3)))
def test_pipelines_change_documents_as_on_the_server(both: BothServers, stored: list[Any], updates: list[Any]) -> None:
    both.start(COLLECTION, stored)

    both.execute({"update": COLLECTION, "updates": updates, "ordered": False})

    both.check(COLLECTION)


searches = st.lists(st.tuples(filters, st.lists(paths, max_size=2)), min_size=1, max_size=4)


@made_up
@given(documents, searches, st.lists(truths, min_size=1, max_size=2))
def test_filters_find_what_they_find_on_the_server(
    both: BothServers, stored: list[Any], searched: list[Any], tests: list[Any]
) -> None:
    both.start(COLLECTION, stored)

    for query, names in searched:
        both.find({"find": COLLECTION, "filter": query, "projection": dict.fromkeys(names, 1)})
    for test in tests:
        both.find({"find": COLLECTION, "filter": {"$expr": test}})


@made_up
@given(documents, st.lists(st.tuples(commands, st.booleans()), min_size=1, max_size=3))
def test_commands_that_write_do_what_they_do_on_the_server(
    both: BothServers, stored: list[Any], written: list[Any]
) -> None:
    both.start(COLLECTION, stored)

    for command, ordered in written:
        both.execute({**command, "ordered": ordered})

    both.check(COLLECTION)


# -- what ptb_mongo and the services send ---------------------------------------------------------------

codec = Codec()
bot_keys = st.sampled_from(
    ["a", "a", "a", "b", "b", "c", "a.b", "$set", "", "0", "1", "10", "é", "%", "_py", 5, True, None, "rev"]
)
grown = st.sampled_from(
    [[1], [1, 2], [1, 2, 3], [2, 3], [2, 3, "x"], [], {1}, {1, 2}, {1, 2, "x"}, {2}, deque([1]), deque([1, 2]), (1,)]
)
bot_values = st.recursive(
    grown
    | grown
    | st.integers(-3, 3)
    | st.sampled_from([None, True, 1.0, 2**40, 2**70, "x", "$x", "$$NOW", b"", A_DAY, dtm.timedelta(1)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(bot_keys, inner, max_size=4),
    max_leaves=8,
)
versions = st.dictionaries(bot_keys, bot_values, max_size=6).map(lambda data: {"data": codec.encode(data)})
edits = st.sampled_from(
    [
        None,
        {"$set": {"data.plan": "premium"}},
        {"$set": {"data.a": 5}},
        {"$set": {"data.a.x": 1}},
        {"$set": {"data.a": {"b": 1}}, "$unset": {"data.c": ""}},
        {"$unset": {"data.a": ""}},
        {"$inc": {"data.balance": 500}},
        {"$push": {"data.b": "more"}},
        {"$addToSet": {"data.b.v": "tea"}},
    ]
)
conditions = st.sampled_from(
    [
        ({}, True),  # makes the document, if it is not there
        ({"rev": "w:1"}, False),  # changes the version that is known
        ({"rev": {"$in": []}}, True),  # makes the document, and changes none
    ]
)


@made_up
@given(versions, versions, large, edits, conditions, st.sampled_from([1, 2]))
def test_a_save_meets_an_edit_and_comes_twice_as_on_the_server(
    both: BothServers, base: Any, local: Any, more: Any, edit: Any, condition: tuple[Any, bool], saved: int
) -> None:
    changes = diff(base, local, at_most=3)
    assume(changes)
    both.start(COLLECTION, [{"_id": 1, "rev": "w:1", **base, **more}])
    if edit is not None:
        both.execute({"update": COLLECTION, "updates": [{"q": {"_id": 1}, "u": edit, "upsert": True}]})

    guard, upsert = condition
    query = {"_id": saved, **guard, **changes.guard()}
    for number in (2, 3):
        update = {"q": query, "u": changes.update(f"w:{number}"), "upsert": upsert}
        both.execute({"update": COLLECTION, "updates": [update], "ordered": False})

    both.check(COLLECTION)
    both.check_events(events_of_others("w", [COLLECTION, MARKS], "leases"))


texts = st.lists(st.text("abc", max_size=3), max_size=4)


@made_up
@given(texts, st.lists(st.tuples(texts, st.integers(-5, 5), st.integers(0, 4)), min_size=1, max_size=4))
def test_lists_grow_at_the_end_and_shrink_at_the_front_as_on_the_server(
    both: BothServers, before: list[str], pushes: list[Any]
) -> None:
    both.start(COLLECTION, [{"_id": 1, "data": {"history": before}, "rev": "w:0"}])

    for number, (new, limit, size) in enumerate(pushes):
        query = {"_id": 1, "rev": f"w:{number}", "data.history": {"$size": size}}
        change = {"$push": {"data.history": {"$each": new, "$slice": limit}}, "$set": {"rev": f"w:{number + 1}"}}
        both.execute({"update": COLLECTION, "updates": [{"q": query, "u": change}]})

    both.check(COLLECTION)


KEY = "user:1"
tickets = st.sampled_from(["one:1", "one:2", "two:1", "three:1"])
untils = st.sampled_from([A_DAY, dtm.datetime(2100, 1, 1, tzinfo=dtm.timezone.utc)])
places = st.fixed_dictionaries({"update_id": st.integers(1, 4), "ticket": tickets, "until": untils})
leases = st.fixed_dictionaries(
    {"holder": tickets | st.none(), "until": untils | st.none(), "waiting": st.lists(places, max_size=3)}
)
steps = st.one_of(
    st.tuples(st.just("take"), tickets, st.integers(1, 4)),
    st.tuples(st.just("renew"), tickets),
    st.tuples(st.just("leave"), tickets),
    st.tuples(st.just("delete"), tickets | st.none()),
)


def command_for(step: Any) -> dict[str, Any]:
    """The command by which a worker takes, renews, leaves or deletes a lease."""
    what, ticket, *update = step
    if what == "delete":
        return {"delete": "leases", "deletes": [{"q": {"_id": KEY, "holder": ticket, "waiting": []}, "limit": 1}]}
    if what == "take":
        statement = {"q": {"_id": KEY}, "u": acquiring(ticket, update[0], 1000), "upsert": True}
    else:
        query = {"_id": KEY, "$or": [{"holder": ticket}, {"waiting.ticket": ticket}]}
        change = renewing(ticket, 1000) if what == "renew" else handing_over(ticket, 1000)
        statement = {"q": query, "u": change, "upsert": False}
    return {"update": "leases", "updates": [statement], "ordered": False}


@made_up
@given(leases | st.none(), large, st.lists(steps, min_size=1, max_size=6))
def test_leases_are_taken_renewed_and_handed_over_as_on_the_server(
    both: BothServers, lease: Any, more: Any, taken: list[Any]
) -> None:
    both.start("leases", [] if lease is None else [{"_id": KEY, **lease, **more}])

    for step in taken:
        both.execute(command_for(step))

    both.check("leases")
    both.check_events(events_of_others("one", [MARKS], "leases"))
