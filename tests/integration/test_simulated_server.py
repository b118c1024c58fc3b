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
