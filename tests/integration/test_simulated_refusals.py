"""How the simulated server handles odd expressions, filters and updates, and the codes of its refusals."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from both_servers import BothServers
from bson import Decimal128, Regex

COLLECTION = "user_data"
STORED = {
    "_id": 1,
    "text": "x",
    "int": 1,
    "long": 2**40,
    "double": 2.5,
    "date": dtm.datetime(2020, 1, 1, tzinfo=dtm.timezone.utc),
    "list": [1, {"a": 2}, [3]],
    "document": {"x": 1},
    "null": None,
}


@pytest.fixture
def both(mongodb_server_uri: str, mongodb_database: str) -> Iterator[BothServers]:
    servers = BothServers(mongodb_server_uri, mongodb_database)
    yield servers
    servers.close()


EXPRESSIONS: list[Any] = [
    # sums and differences
    *({"$add": [one, 1]} for one in ("$text", "$int", "$long", "$double", "$date", "$list", "$null", "$missing")),
    *(
        {"$add": several}
        for several in ([], ["$date", "$date"], [2**31 - 1, 1], [2**63 - 1, "$int"], ["$null", "$text"])
    ),
    *({"$add": ["$date", one]} for one in (1.5, 2.5, -1.5, 86_400_000, "$text")),
    *({"$subtract": [one, "$int"]} for one in ("$text", "$int", "$long", "$double", "$date", "$null", "$missing")),
    *({"$subtract": [one, other]} for one in ("$int", "$date") for other in ("$text", "$date", "$double", "$long")),
    *(
        {name: several}
        for name in ("$min", "$max")
        for several in ("$list", ["$list", 0], [], ["$missing"], ["$null", 1])
    ),
    # lists
    *({"$arrayElemAt": [one, 0]} for one in ("$text", "$list", "$null", "$missing")),
    *({"$arrayElemAt": ["$list", one]} for one in (1, -1, 5, -5, "$text", "$null", "$missing", "$double")),
    *(
        {name: one}
        for name in ("$size", "$isArray", "$not", "$type")
        for one in ("$list", "$text", "$null", "$missing")
    ),
    *({"$slice": several} for several in (["$list", 2], ["$list", -2], ["$text", 1], ["$null", 1], ["$list", "$text"])),
    *({"$slice": ["$list", *numbers]} for numbers in ([1, 1], [-2, 1], [-9, 2], [0, 0], [0, "$text"], [1, "$null"])),
    *(
        {"$concatArrays": several}
        for several in (["$list", "$list"], ["$text"], ["$null", "$text"], ["$list", "$missing"])
    ),
    *({"$setDifference": [one, [[3], 1]]} for one in ("$list", "$text", "$null", "$missing")),
    *({"$setDifference": [{"$literal": [3, 1, 3, 2.0, "b", "a"]}, one]} for one in ("$list", "$text", [2], "$missing")),
    *({"$in": [one, other]} for one in (1, [3], "$missing") for other in ("$list", "$text", "$missing")),
    *({"$filter": {"input": one, "as": "it", "cond": "$$it.a"}} for one in ("$list", "$text", "$null", "$missing")),
    *({"$map": {"input": one, "as": "it", "in": "$$it.a"}} for one in ("$list", "$text", "$null", "$missing")),
    *({"$map": {"input": "$list", "in": one}} for one in ("$$this", "$$ROOT.int", "$missing", "$$that")),
    # documents
    *({"$objectToArray": one} for one in ("$document", "$text", "$null", "$missing", "$list")),
    *({"$arrayToObject": one} for one in ("$list", "$text", "$null", "$missing")),
    *(
        {"$arrayToObject": [{"$literal": several}]}
        for several in (
            *([], [["a", 1], ["b", 2]], [{"k": "a", "v": 1}], [{"v": 1, "k": "a"}], [{"k": "", "v": 1}]),
            *([["a", 1], {"k": "b", "v": 1}], [{"k": "b", "v": 1}, ["a", 1]], [["a", 1], 5], [["a"]], [[1, 1]]),
            *([{"k": 1, "v": 2}], [{"k": "a"}], [{"k": "a", "z": 1}], [["a", 1], ["a", 2]]),
        )
    ),
    *(
        {"$mergeObjects": one}
        for one in ("$document", "$text", "$list", "$null", ["$document", {"y": 1}], ["$text"], [])
    ),
    # paths, variables, conditions
    *("$list.a", "$list.0", "$list.a.b", "$document.x", "$document.x.y", "$text.x", "$missing.x"),
    *("$$ROOT", "$$CURRENT.int", "$$REMOVE", "$$nobody", {"a": "$missing", "b": ["$missing"]}, {}),
    *({"$cond": [one, "yes", "no"]} for one in ("$text", "$null", "$missing", "$list", 0, 0.0, "$document")),
    *(
        {"$ifNull": several}
        for several in (["$null", 1], ["$missing", "$null", 2], ["$text", 1], ["$missing", "$missing"])
    ),
    *({"$cond": {"if": True, "then": "$int", "else": "$text"}}, {"$and": []}, {"$or": []}, {"$literal": "$text"}),
    *({"$eq": ["$int"]}, {"$size": []}, {"$eq": [1, 2], "$ne": [1, 2]}),
]


def test_each_expression_has_the_value_or_the_error_that_it_has_on_the_server(both: BothServers) -> None:
    for expression in EXPRESSIONS:
        both.start(COLLECTION, [STORED])
        update = {"q": {"_id": 1}, "u": [{"$replaceWith": {"_id": 1, "value": expression}}]}
        both.execute({"update": COLLECTION, "updates": [update]})
        both.execute({"find": COLLECTION})


FILTERS: list[Any] = [
    *({"text": {name: Regex("^x")}} for name in ("$eq", "$ne", "$gt", "$lte", "$in", "$not", "$regex")),
    *({"list": {"$size": size}} for size in (3, 0, -1, 1.5, 3.0, "x")),
    *({"text": {"$type": kind}} for kind in (2, "string", ["int", "string"], "number", "nothing", 99, [])),
    *({"text": {name: 5}} for name in ("$in", "$nin", "$regex", "$not", "$exists", "$size")),
    *(
        {name: several}
        for name in ("$and", "$or", "$nor")
        for several in ([], 5, [{"int": 1}], [{"int": 1}, {"int": 2}])
    ),
    *({"text": {"$regex": "^X", "$options": "i"}}, {"text": {"$regex": "^X"}}, {"$comment": "x"}, {"text": {}}),
    *({"list": 1}, {"list.1.a": 2}, {"list.a": 2}, {"list.2.0": 3}, {"list.0": 1}, {"list": [3]}, {"list.2": 3}),
    *({"list": {"$in": [None]}}, {"list.a": None}, {"list.b": None}, {"text.x": None}, {"missing": {"$gte": None}}),
    *({"null": {"$lte": None}}, {"null": {"$gt": None}}, {"double": {"$gt": float("nan")}}, {"int": {"$gt": "a"}}),
]


def test_each_filter_finds_or_fails_as_on_the_server(both: BothServers) -> None:
    both.start(COLLECTION, [STORED])

    for query in FILTERS:
        both.execute({"find": COLLECTION, "filter": query, "projection": {"_id": 1}})


PROJECTIONS: list[Any] = [
    *({}, {"_id": 1}, {"_id": 0, "int": 1}, {"int": True, "text": 1.0}, {"list.a": 1}, {"document.x": 1, "missing": 1}),
    *({"text.x": 1}, {"int": 1, "int.x": 1}, {"left": {"$subtract": ["$long", "$int"]}}, {"text": 1, "copy": "$text"}),
]


def test_each_projection_lets_through_what_it_does_on_the_server(both: BothServers) -> None:
    both.start(COLLECTION, [STORED])

    for projection in PROJECTIONS:
        both.execute({"find": COLLECTION, "projection": projection})


UPDATES: list[Any] = [
    *({"$inc": {"long": 2**63 - 1}}, {"$inc": {"int": Decimal128("1.5")}}, {"$inc": {"int": 2**31 - 1}}),
    *({"$max": {"double": float("nan")}}, {"$min": {"double": float("nan")}}, {"$max": {"int": 1.0, "text": 5}}),
    *(
        {"$pullAll": {"list": [1, [3]]}},
        {"$pullAll": {"text": []}},
        {"$pullAll": {"list": 1}},
        {"$pull": {"list": {"a": 2}}},
    ),
    *(
        {"$unset": {"list.9": "", "list.1.b": ""}},
        {"$unset": {"list.0": ""}},
        {"$set": {"list.5": 1}},
        {"$set": {"list.x": 1}},
    ),
    *({"a": 1, "$b": 2}, {}, {"$set": {}}, {"$set": {"a": 1, "b.c": 2, "b.a": 3, "10": 4, "9": 5}}),
    *(
        [{"$set": {"document": {"y": "$int", "z": {"a": 1}}}}],
        [{"$unset": ["list.a", "document.x"]}],
        [{"$set": {"a": {}}}],
    ),
    *(
        [{"$set": {"list.a": "$int"}}],
        [{"$set": {"text.a": 1}}],
        [{"$set": {"a": "$missing"}}, {"$set": {"b": 1, "a": 2}}],
    ),
    *([{"$unset": "int"}, {"$set": {"new": 1, "int": 2}}], [{"$replaceWith": "$document"}], [{"$replaceWith": "$int"}]),
]


@pytest.mark.parametrize("large", [{}, {"large": "x" * 400}], ids=["small", "large"])
def test_each_update_does_what_it_does_on_the_server(both: BothServers, large: dict[str, Any]) -> None:
    for change in UPDATES:
        both.start(COLLECTION, [{**STORED, **large}])
        both.execute({"update": COLLECTION, "updates": [{"q": {"_id": 1}, "u": change}]})
        both.check(COLLECTION)


def test_ids_of_every_kind_are_found_as_on_the_server(both: BothServers) -> None:
    ids = [1, "1", True, None, 2.5, b"x", UUID(int=5), Decimal128("7"), {"handler": "a", "key": [1]}, STORED["date"]]
    both.start(COLLECTION, [{"_id": one, "n": number} for number, one in enumerate(ids)])

    for query in [
        *ids,
        1.0,
        7,
        Regex("^1"),
        [1],
        {"$gte": {"handler": "a"}, "$lt": {"handler": "a\0"}},
        {"$in": [7, 2.5]},
    ]:
        both.execute({"find": COLLECTION, "filter": {"_id": query}})
    both.execute({"find": COLLECTION, "filter": {"_id": {"$eq": 1.0}, "n": 0}})


UPSERTS: list[Any] = [
    ({"_id": 5, "rev": {"$in": []}}, {"$set": {"rev": "w:1"}}),
    ({"_id": 1, "rev": {"$in": []}}, {"$set": {"rev": "w:1"}}),
    ({"_id": 1, "rev": {"$in": []}}, [{"$set": {"rev": "w:1"}}]),
    ({"_id": {"handler": "a", "key": [1, 2]}, "state": {"$exists": False}}, {"$set": {"state": 1}}),
    ({"_id": 5, "a": 1, "b.c": {"$eq": 2}, "$and": [{"d": {"$in": [3]}}], "e": {"$gt": 4}}, {"$set": {"z": 1, "y": 2}}),
    ({"_id": 5, "b": 1, "a": 1}, [{"$set": {"copy": "$$ROOT"}}]),
    ({"_id": 5, "a": {"b": 1}, "a.b": 1}, {"$set": {"z": 1}}),
    ({"_id": 5, "a": 1}, {"$set": {"a.b": 1}}),
    ({"_id": 5}, {"$set": {"_id": 6}}),
    ({"x": 5}, {"$set": {"_id": [6]}}),
    ({"_id": 5}, {"_id": 6, "a": 1}),
    ({"_id": 5}, {"a": 1, "_id": 5.0}),
    ({"_id": 5}, [{"$unset": "_id"}]),
    ({"_id": 5}, [{"$set": {"_id": 6}}]),
    ({"_id": {"$gt": 9}}, {"$set": {"_id": 6}}),
    (
        {"_id": 5},
        {"$setOnInsert": {"a": 1}, "$inc": {"n": 2}, "$push": {"l": 1}, "$unset": {"x": ""}, "$min": {"m": 1}},
    ),
]


def test_each_upsert_makes_what_it_makes_on_the_server(both: BothServers) -> None:
    for query, change in UPSERTS:
        both.start(COLLECTION, [STORED])
        both.execute({"update": COLLECTION, "updates": [{"q": query, "u": change, "upsert": True}]})
        both.check(COLLECTION)


def test_changes_of_the_id_are_refused_as_on_the_server(both: BothServers) -> None:
    changes: list[Any] = [
        *({"$set": {"_id": 1}}, {"$set": {"_id": 1.0}}, {"$set": {"_id": 2}}, {"$unset": {"_id": ""}}),
        *({"$set": {"_id.x": 1}}, {"a": 1, "_id": 1}, {"a": 1, "_id": 1.0}, {"a": 1, "_id": 2}, {"$inc": {"_id": 0}}),
        *([{"$set": {"_id": 1.0}}], [{"$set": {"_id": 2}}], [{"$unset": "_id"}], [{"$replaceWith": {"a": 1}}]),
    ]
    for change in changes:
        both.start(COLLECTION, [STORED])
        both.execute({"update": COLLECTION, "updates": [{"q": {"_id": 1}, "u": change}]})
        both.check(COLLECTION)
