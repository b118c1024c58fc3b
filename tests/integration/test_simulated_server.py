"""The model of mongod that the simulation runs on does what a real server does."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Iterator
from typing import Any

import pytest
from both_servers import GIVEN_IDS, MARKS, BothServers
from bson import Decimal128, Int64, Timestamp
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ptb_mongo.changes import diff
from ptb_mongo.codec import Codec
from ptb_mongo.leases import _handing_over, _renewing, _taking
from ptb_mongo.watcher import events_of_others

COLLECTION = "user_data"
A_DAY = dtm.datetime(2020, 1, 1, tzinfo=dtm.timezone.utc)

keys = st.sampled_from(["a", "b", "c", "a", "b", "c", "0", "1", "10", "x", "B", "é"])
paths = st.lists(keys, min_size=1, max_size=3).map(".".join)
scalars = st.sampled_from(
    [
        *(None, True, False, 0, 1, 2, -1, 5, 2**31 - 1, 2**40, 2**63 - 1, Int64(1), Int64(0)),
        *(0.0, 1.0, -0.0, 2.5, float("nan"), float("inf")),
        *("", "a", "b", "text", b"", b"x", A_DAY, A_DAY + dtm.timedelta(days=40)),
        *(Decimal128("1"), Decimal128("2.5"), GIVEN_IDS[0], Timestamp(1, 2)),
    ]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=6
)
bodies = st.dictionaries(keys, values, max_size=5)
documents = st.lists(bodies, min_size=1, max_size=3).map(
    lambda several: [{"_id": number, **body} for number, body in enumerate(several, 1)]
)


@pytest.fixture
def both(mongodb_server_uri: str, mongodb_database: str) -> Iterator[BothServers]:
    servers = BothServers(mongodb_server_uri, mongodb_database)
    yield servers
    servers.close()


everywhere = settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])

# -- operators ------------------------------------------------------------------------------------------

small = st.integers(-2, 5)
modifiers = st.fixed_dictionaries(
    {"$each": st.lists(values, max_size=3)},
    optional={"$slice": st.integers(-4, 4), "$position": st.integers(-3, 4)},
)
arguments = {
    "$set": values,
    "$unset": st.just(""),
    "$inc": st.sampled_from([0, 1, -1, 5, Int64(1), 2**31 - 1, 2**62, 0.5, 0.0, Decimal128("1.5"), "x", None]),
    "$push": values | modifiers,
    "$addToSet": values | st.fixed_dictionaries({"$each": st.lists(values, max_size=3)}),
    "$pull": values | st.fixed_dictionaries({"$in": st.lists(values, max_size=3)}),
    "$pop": st.sampled_from([1, -1, 1.0, 2]),
    "$currentDate": st.sampled_from([True, {"$type": "date"}]),
    "$setOnInsert": values,
    "$min": values,
    "$max": values,
}
operators = st.lists(
    st.sampled_from(sorted(arguments)).flatmap(
        lambda name: st.tuples(st.just(name), st.dictionaries(paths, arguments[name], min_size=1, max_size=3))
    ),
    min_size=1,
    max_size=3,
).map(dict)
ids = st.integers(1, 4)
guards = st.dictionaries(
    paths,
    st.sampled_from([{"$exists": False}, {"$exists": True}, {"$size": 2}, {"$size": 0}, {"$in": []}])
    | values.map(lambda value: {"$eq": value})
    | st.just({"$not": {"$type": ["array", "int", "null", "string"]}}),
    max_size=1,
)
queries = st.tuples(ids, guards).map(lambda parts: {"_id": parts[0], **parts[1]})


def statements(updates: st.SearchStrategy[Any], **options: Any) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(
        st.fixed_dictionaries({"q": queries, "u": updates}, optional={"upsert": st.booleans(), **options}),
        min_size=1,
        max_size=4,
    )


@everywhere
@given(documents, statements(operators), st.booleans())
def test_operators(both: BothServers, before: list[Any], updates: list[Any], ordered: bool) -> None:
    both.start(COLLECTION, before)

    both.execute({"update": COLLECTION, "updates": updates, "ordered": ordered})

    both.check(COLLECTION)


@everywhere
@given(
    st.lists(st.lists(values, max_size=4), min_size=1, max_size=2).map(
        lambda lists: [{"_id": number, "a": {"b": items}} for number, items in enumerate(lists, 1)]
    ),
    st.lists(
        st.sampled_from(["$push", "$addToSet", "$pull", "$pop", "$unset", "$set"]).flatmap(
            lambda name: st.fixed_dictionaries(
                {
                    "q": st.fixed_dictionaries({"_id": ids}, optional={"a.b": st.just({"$size": 2})}),
                    "u": st.fixed_dictionaries(
                        {
                            name: st.dictionaries(
                                st.sampled_from(["a.b", "a.b.1", "a.b.3.c"]), arguments[name], min_size=1
                            )
                        }
                    ),
                }
            )
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_arrays(both: BothServers, before: list[Any], updates: list[Any]) -> None:
    both.start(COLLECTION, before)

    both.execute({"update": COLLECTION, "updates": updates, "ordered": False})

    both.check(COLLECTION)


# -- pipelines ------------------------------------------------------------------------------------------

fields = paths.map("${}".format)
variables = st.sampled_from(["$$ROOT", "$$ROOT.a", "$$NOW", "$$REMOVE"])
literals = values.map(lambda value: {"$literal": value})
elements = st.sampled_from(["$$this", "$$this.a", "$$this.k", "$$this.v"])


def operator(*names: str, of: st.SearchStrategy[Any], count: int | None = None) -> st.SearchStrategy[Any]:
    """One of several operators, with its arguments."""
    least, most = (count, count) if count else (1, 3)
    arguments = st.lists(of, min_size=least, max_size=most)
    return st.tuples(st.sampled_from(names), arguments).map(lambda parts: {parts[0]: parts[1]})


def refers(expression: Any) -> bool:
    """Whether an expression is no constant: of `$and` and `$or`, the server looks at constants first."""
    if isinstance(expression, dict):
        return "$literal" not in expression and any(map(refers, expression.values()))
    return any(map(refers, expression)) if isinstance(expression, list) else str(expression).startswith("$")


def of_three(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    three = st.tuples(anything, inner, inner)
    return three.map(lambda parts: {"$cond": list(parts)}) | three.map(
        lambda parts: {"$cond": {"if": parts[0], "then": parts[1], "else": parts[2]}}
    )


# Constants stand where they fit: the server refuses others even where it would not come to them.
anything = st.deferred(
    lambda: literals | fields | variables | truths | numbers | arrays | embedded | of_three(literals)
)
truths = st.deferred(
    lambda: (
        operator("$eq", "$ne", "$gt", "$gte", "$lt", "$lte", of=anything, count=2)
        | operator("$and", "$or", of=anything.filter(refers))
        | operator("$not", "$isArray", of=anything, count=1)
        | st.tuples(anything, arrays).map(lambda two: {"$in": list(two)})
    )
)
numbers = st.deferred(
    lambda: (
        fields
        | st.sampled_from([{"$literal": number} for number in (0, 1, -3, 2**31 - 1, 2**40, 2.5, Decimal128("1.5"))])
        | operator("$add", of=numbers)
        | operator("$subtract", of=numbers, count=2)
        | operator("$min", "$max", of=numbers)
        | arrays.map(lambda one: {"$size": [one]})
    )
)
arrays = st.deferred(
    lambda: (
        fields
        | st.lists(values, max_size=3).map(lambda items: {"$literal": items})
        | st.lists(anything, max_size=3)
        | operator("$concatArrays", of=arrays)
        | st.tuples(arrays, elements | truths).map(lambda two: {"$filter": {"input": two[0], "cond": two[1]}})
        | st.tuples(arrays, elements | truths).map(
            lambda two: {"$map": {"input": two[0], "in": {"x": two[1], "y": "$$this"}}}
        )
        | embedded.map(lambda one: {"$objectToArray": [one]})
        | st.tuples(arrays, small).map(lambda two: {"$slice": list(two)})
        | st.tuples(arrays, small, st.integers(1, 3)).map(lambda three: {"$slice": list(three)})
    )
)
embedded = st.deferred(
    lambda: (
        fields
        | st.just("$$ROOT")
        | st.dictionaries(keys, values, max_size=2).map(lambda value: {"$literal": value})
        | st.dictionaries(keys, anything, min_size=1, max_size=2)
        | operator("$mergeObjects", of=embedded)
        | embedded.map(lambda one: {"$arrayToObject": {"$objectToArray": [one]}})
    )
)
several_kinds = of_three(anything) | st.lists(anything, min_size=2, max_size=3).map(lambda some: {"$ifNull": some})
expressions = (
    anything
    | several_kinds
    | anything.map(lambda one: {"$type": [one]})
    | st.tuples(arrays, small).map(lambda two: {"$arrayElemAt": list(two)})
    | arrays.map(lambda one: {"$min": [one]})
)
stages = st.one_of(
    st.dictionaries(paths, expressions, min_size=1, max_size=3).map(lambda sets: {"$set": sets}),
    st.dictionaries(paths, values.map(lambda value: {"$literal": value}), min_size=1, max_size=3).map(
        lambda sets: {"$set": sets}
    ),
    st.lists(paths, min_size=1, max_size=2, unique=True).map(lambda unsets: {"$unset": unsets}),
    expressions.map(lambda one: {"$replaceWith": {"$mergeObjects": ["$$ROOT", {"a": one}]}}),
)


@everywhere
@given(documents, statements(st.lists(stages, min_size=1, max_size=3)))
def test_pipelines(both: BothServers, before: list[Any], updates: list[Any]) -> None:
    both.start(COLLECTION, before)

    both.execute({"update": COLLECTION, "updates": updates, "ordered": False})

    both.check(COLLECTION)


# -- filters --------------------------------------------------------------------------------------------

types = st.sampled_from(["array", "string", "int", "long", "double", "bool", "null", "date", "object", "number", 16])
conditions = st.deferred(
    lambda: (
        values
        | st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]).flatmap(
            lambda name: values.map(lambda value: {name: value})
        )
        | st.sampled_from(["$in", "$nin"]).flatmap(
            lambda name: st.lists(values, max_size=3).map(lambda several: {name: several})
        )
        | st.booleans().map(lambda value: {"$exists": value})
        | (types | st.lists(types, min_size=1, max_size=3)).map(lambda value: {"$type": value})
        | st.integers(0, 3).map(lambda value: {"$size": value})
        | st.sampled_from(["^a", "^te", "x"]).map(lambda value: {"$regex": value})
        | st.tuples(values, values).map(lambda two: {"$gte": two[0], "$lt": two[1]})
        | st.sampled_from([{"$not": {"$type": ["array", "int"]}}, {"$not": {"$size": 1}}, {"$not": {"$eq": None}}])
    )
)
id_conditions = st.one_of(
    st.integers(0, 4),
    st.lists(st.integers(0, 4), max_size=3).map(lambda several: {"$in": several}),
    st.tuples(st.sampled_from(["$gt", "$gte", "$lt", "$lte", "$ne", "$eq"]), st.integers(0, 4)).map(
        lambda parts: {parts[0]: parts[1]}
    ),
)
filters = st.recursive(
    st.dictionaries(paths, conditions, max_size=2) | id_conditions.map(lambda condition: {"_id": condition}),
    lambda inner: st.sampled_from(["$and", "$or", "$nor"]).flatmap(
        lambda name: st.lists(inner, min_size=1, max_size=2).map(lambda several: {name: several})
    ),
    max_leaves=3,
)


@everywhere
@given(
    documents,
    st.lists(st.tuples(filters, st.lists(paths, max_size=2)), min_size=1, max_size=4),
    st.lists(truths, min_size=1, max_size=2),
)
def test_filters_and_projections(both: BothServers, stored: list[Any], looked_for: list[Any], tests: list[Any]) -> None:
    both.start(COLLECTION, stored)

    for query, names in looked_for:
        both.execute({"find": COLLECTION, "filter": query, "projection": dict.fromkeys(names, 1)})
    for test in tests:
        both.execute({"find": COLLECTION, "filter": {"$expr": test}})


# -- other commands -------------------------------------------------------------------------------------

commands = st.one_of(
    statements(operators | bodies, multi=st.booleans()).map(lambda updates: {"update": COLLECTION, "updates": updates}),
    st.lists(
        st.fixed_dictionaries({"u": operators | bodies, "q": filters, "upsert": st.booleans(), "multi": st.booleans()}),
        min_size=1,
        max_size=2,
    ).map(lambda updates: {"update": COLLECTION, "updates": updates}),
    st.lists(st.fixed_dictionaries({"q": filters, "limit": st.integers(0, 1)}), min_size=1, max_size=2).map(
        lambda deletes: {"delete": COLLECTION, "deletes": deletes}
    ),
    st.lists(st.tuples(ids, bodies).map(lambda parts: {**parts[1], "_id": parts[0]}), min_size=1, max_size=2).map(
        lambda inserts: {"insert": COLLECTION, "documents": inserts}
    ),
)


@everywhere
@given(documents, st.lists(st.tuples(commands, st.booleans()), min_size=1, max_size=3))
def test_writing_commands(both: BothServers, before: list[Any], written: list[Any]) -> None:
    both.start(COLLECTION, before)

    for command, ordered in written:
        both.execute({**command, "ordered": ordered})

    both.check(COLLECTION)


# -- what ptb_mongo and the services send ---------------------------------------------------------------

codec = Codec()
bot_keys = st.sampled_from(
    ["a", "b", "c", "a.b", "$set", "", "0", "1", "10", "é", "%", "_py", 5, -1, True, None, "rev"]
)
bot_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.sampled_from([1.0, 2**40, 2**70, "x", "$x", "$$NOW", b"", (1,), {1, 2}, A_DAY, dtm.timedelta(1)]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(bot_keys, inner, max_size=4),
    max_leaves=8,
)
versions = st.dictionaries(bot_keys, bot_values, max_size=6).map(lambda data: {"data": codec.encode(data)})
edits = st.sampled_from(
    [
        {"$set": {"data.plan": "premium"}},
        {"$set": {"data.a": 5}},
        {"$set": {"data.a.x": 1}},
        {"$set": {"data.a": {"b": 1}}, "$unset": {"data.c": ""}},
        {"$unset": {"data.a": ""}},
        {"$inc": {"data.balance": 500}},
        {"$push": {"data.b": "more"}},
        {"$addToSet": {"data.b.v": "tea"}},
        {"$rev": None},
    ]
)


@everywhere
@given(versions, versions, edits, st.sampled_from(["upsert", "guarded", "new"]), st.sampled_from([1, 2]))
def test_saves(both: BothServers, base: Any, local: Any, edit: Any, how: str, saved: int) -> None:
    changes = diff(base, local, at_most=3)
    assume(changes)
    both.start(COLLECTION, [{"_id": 1, "rev": "w:1", **base}])
    if "$rev" not in edit:
        both.execute({"update": COLLECTION, "updates": [{"q": {"_id": 1}, "u": edit, "upsert": True}]})

    guard = {"upsert": {}, "guarded": {"rev": "w:1"}, "new": {"rev": {"$in": []}}}[how]
    query = {"_id": saved, **guard, **changes.guard()}
    for number in (2, 3):  # the second one is what a service that froze sends late
        update = {"q": query, "u": changes.update(f"w:{number}"), "upsert": how != "guarded"}
        both.execute({"update": COLLECTION, "updates": [update], "ordered": False})

    both.check(COLLECTION)
    both.check_events(events_of_others("w", [COLLECTION, MARKS], "leases"))


workers = st.sampled_from(["one:1", "one:2", "two:1", "three:1"])
untils = st.sampled_from([A_DAY, dtm.datetime(2100, 1, 1, tzinfo=dtm.timezone.utc)])
places = st.fixed_dictionaries({"update_id": st.integers(1, 4), "ticket": workers, "until": untils})
lease = st.fixed_dictionaries(
    {"holder": workers | st.none(), "until": untils | st.none(), "waiting": st.lists(places, max_size=3)}
)
steps = st.one_of(
    st.tuples(st.just("take"), workers, st.integers(1, 4)),
    st.tuples(st.just("renew"), workers),
    st.tuples(st.just("leave"), workers),
    st.tuples(st.just("delete"), workers | st.none()),
)
KEY = "user:1"


def statement_for(step: Any) -> dict[str, Any]:
    """The command by which a worker takes, renews or gives up a lease."""
    what, ticket, *update = step
    if what == "delete":
        query = {"_id": KEY, "holder": ticket, "waiting": []}
        return {"delete": "leases", "deletes": [{"q": query, "limit": 1}]}
    if what == "take":
        statement = {"q": {"_id": KEY}, "u": _taking(ticket, update[0], 1000), "upsert": True}
    else:
        query = {"_id": KEY, "$or": [{"holder": ticket}, {"waiting.ticket": ticket}]}
        change = _renewing(ticket, 1000) if what == "renew" else _handing_over(ticket, 1000)
        statement = {"q": query, "u": change, "upsert": False}
    return {"update": "leases", "updates": [statement], "ordered": False}


@everywhere
@given(lease | st.none(), st.lists(steps, min_size=1, max_size=6))
def test_leases(both: BothServers, before: Any, taken: list[Any]) -> None:
    both.start("leases", [] if before is None else [{"_id": KEY, **before}])

    for step in taken:
        both.execute(statement_for(step))

    both.check("leases")
    both.check_events(events_of_others("one", [MARKS], "leases"))


history = st.lists(st.text("abc", max_size=3), max_size=4)


@everywhere
@given(history, st.lists(st.tuples(history, st.integers(-5, 5), st.integers(0, 4)), min_size=1, max_size=4))
def test_lists_that_are_appended_to_and_cut_off(both: BothServers, before: list[str], pushes: list[Any]) -> None:
    both.start(COLLECTION, [{"_id": 1, "data": {"history": before}, "rev": "w:0"}])

    for number, (new, limit, size) in enumerate(pushes):
        query = {"_id": 1, "rev": f"w:{number}", "data.history": {"$size": size}}
        change = {"$push": {"data.history": {"$each": new, "$slice": limit}}, "$set": {"rev": f"w:{number + 1}"}}
        both.execute({"update": COLLECTION, "updates": [{"q": query, "u": change}]})

    both.check(COLLECTION)
