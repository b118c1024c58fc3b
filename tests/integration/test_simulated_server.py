"""The model of mongod that the simulation runs on does what a real server does."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Iterator
from typing import Any

import pytest
from both_servers import BothServers
from bson import Decimal128, Int64, ObjectId, Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

COLLECTION = "user_data"
A_DAY = dtm.datetime(2020, 1, 1, tzinfo=dtm.timezone.utc)

keys = st.sampled_from(["a", "b", "c", "a", "b", "c", "0", "1", "10", "x", "B", "é"])
paths = st.lists(keys, min_size=1, max_size=3).map(".".join)
scalars = st.sampled_from(
    [
        *(None, True, False, 0, 1, 2, -1, 5, 2**31 - 1, 2**40, 2**63 - 1, Int64(1), Int64(0)),
        *(0.0, 1.0, -0.0, 2.5, float("nan"), float("inf")),
        *("", "a", "b", "text", b"", b"x", A_DAY, A_DAY + dtm.timedelta(days=40)),
        *(Decimal128("1"), Decimal128("2.5"), ObjectId("0" * 24), Timestamp(1, 2)),
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
        | operator("$and", "$or", of=anything)
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
