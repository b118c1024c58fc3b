"""Documents, and commands of all shapes that read and change them, for comparing two servers."""

from __future__ import annotations

import datetime as dtm
from typing import Any

from both_servers import GIVEN_IDS
from bson import Decimal128, Int64, Timestamp
from hypothesis import strategies as st

COLLECTION = "user_data"
A_DAY = dtm.datetime(2020, 1, 1, tzinfo=dtm.timezone.utc)

# -- documents --------------------------------------------------------------------------------------------

keys = st.sampled_from(["a", "b", "c", "a", "b", "c", "0", "1", "10", "x", "B", "é"])
paths = st.lists(keys, min_size=1, max_size=3).map(".".join)
scalars = st.sampled_from(
    [
        *(None, True, False, 0, 1, 2, -1, 5, 2**31 - 1, 2**40, 2**63 - 1, Int64(1), Int64(0)),
        *(0.0, 1.0, -0.0, 2.5, float("nan"), float("inf")),
        *("", "a", "b", "text", "long " * 20, b"", b"x", A_DAY, A_DAY + dtm.timedelta(days=40)),
        *(Decimal128("1"), Decimal128("2.5"), GIVEN_IDS[0], Timestamp(1, 2)),
    ]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=6
)
bodies = st.dictionaries(keys, values, max_size=5)
large = st.sampled_from([{}, {"large": "x" * 400}])  # the server tells small documents as they are, not what differs
documents = st.lists(st.tuples(large, bodies), min_size=1, max_size=3).map(
    lambda several: [{"_id": number, **more, **body} for number, (more, body) in enumerate(several, 1)]
)


# -- updates by operators ---------------------------------------------------------------------------------

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


# -- pipelines --------------------------------------------------------------------------------------------

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
    if isinstance(expression, list):
        return any(map(refers, expression))
    return str(expression).startswith("$") and expression not in {"$$NOW", "$$REMOVE"}


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
of_any_kind = of_three(anything) | st.lists(anything, min_size=2, max_size=3).map(lambda some: {"$ifNull": some})
expressions = (
    anything
    | of_any_kind
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


# -- filters ----------------------------------------------------------------------------------------------

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


# -- commands ---------------------------------------------------------------------------------------------

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
