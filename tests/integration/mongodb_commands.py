"""Documents, and commands of all shapes that read and change them, for comparing two servers."""

from __future__ import annotations

import datetime as dtm
from operator import itemgetter
from typing import Any
from uuid import UUID

from both_servers import GIVEN_IDS
from bson import Decimal128, Int64, Regex, Timestamp
from hypothesis import strategies as st

COLLECTION = "user_data"
A_DAY = dtm.datetime(2020, 1, 1, tzinfo=dtm.timezone.utc)

# -- documents --------------------------------------------------------------------------------------------

keys = st.sampled_from(["a", "b", "c", "n", "l", "d", "0", "1", "10", "9", "B", "é"])
numerals = st.sampled_from(
    [0, 1, 2, -1, 5, 2**31 - 1, 2**40, 2**63 - 1, Int64(1), 0.0, 1.0, -0.0, 2.5, Decimal128("1"), Decimal128("2.5")]
)
scalars = numerals | st.sampled_from(
    [
        *(None, None, True, False, float("nan"), float("inf"), "", "a", "b", "text", "long " * 20, b"", b"x"),
        *(A_DAY, A_DAY + dtm.timedelta(days=40), GIVEN_IDS[0], Timestamp(1, 2), Regex("^te"), UUID(int=5)),
    ]
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=6
)
lists = st.lists(values | numerals | st.dictionaries(keys, values, max_size=2), max_size=5)


def with_fields(*more: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Documents in which a number, a list and a document are likely to be where they are looked for."""
    fields = [st.tuples(st.just("n"), numerals), st.tuples(st.just("l"), lists), st.tuples(keys, values), *more]
    return st.lists(st.one_of(fields), max_size=6, unique_by=itemgetter(0)).map(dict)


bodies = with_fields(st.tuples(st.just("d"), with_fields()), st.tuples(st.just("d"), with_fields()))
large = st.sampled_from([{}, {"large": "x" * 400}])  # the server tells small documents as they are, not what differs
documents = st.lists(st.tuples(large, bodies), min_size=1, max_size=3).map(
    lambda several: [{"_id": number, **more, **body} for number, (more, body) in enumerate(several, 1)]
)
places = st.lists(keys, min_size=1, max_size=3).map(".".join)
numbers_at = st.sampled_from(["n", "d.n", "l.0", "l.1", "d.l.0"])
lists_at = st.sampled_from(["l", "d.l", "l.0"])
anywhere = st.sampled_from(["a", "d", "d.a", "d.b", "d.10", "d.9", "l.0.a", "l.1.b", "l.7", "d.x.y", "d.x.z", "n.x"])
paths = anywhere | places | numbers_at | lists_at
odd_paths = st.sampled_from(["a..b", "", ".a", "a.", "$a", "d.$a"])
in_the_id = st.sampled_from(["_id", "_id.a"])


# -- updates by operators ---------------------------------------------------------------------------------

small = st.integers(-2, 5)
modifiers = st.fixed_dictionaries(
    {"$each": lists},
    optional={"$slice": st.integers(-4, 4), "$position": st.integers(-3, 4)},
)
odd_modifiers = st.sampled_from([{"$each": 5}, {"$each": [1], "$slice": "x"}, {"$each": [1], "$slices": 1}])
items = values | numerals
operations = {
    "$set": (paths | paths | in_the_id, values),
    "$unset": (paths | paths | in_the_id, st.just("")),
    "$inc": (
        numbers_at | paths,
        st.sampled_from([0, 1, -1, 5, Int64(1), 2**31 - 1, 2**62, 0.5, 0.0, Decimal128("1.5")]) | values,
    ),
    "$push": (lists_at | paths, items | modifiers | odd_modifiers),
    "$addToSet": (lists_at | paths, items | st.fixed_dictionaries({"$each": lists}) | st.just({"$each": 5})),
    "$pull": (lists_at | paths, items | st.fixed_dictionaries({"$in": lists})),
    "$pullAll": (lists_at | paths, lists | values),
    "$pop": (lists_at | paths, st.sampled_from([1, -1, 1.0, 2])),
    "$currentDate": (paths, st.sampled_from([True, {"$type": "date"}])),
    "$setOnInsert": (paths, values),
    "$min": (numbers_at | paths, items),
    "$max": (numbers_at | paths, items),
}


def by(name: str) -> st.SearchStrategy[tuple[str, Any]]:
    """One operator, and what it changes."""
    at, argument = operations[name]
    fields = st.dictionaries(at | at | at | odd_paths, argument, min_size=1, max_size=2)
    return st.tuples(st.just(name), fields | fields | fields | st.just(5))


operators = st.lists(st.sampled_from(sorted(operations)).flatmap(by), min_size=1, max_size=3).map(dict)
ids = st.sampled_from([1, 1, 1, 2, 2, 3, 4])
none: st.SearchStrategy[dict[str, Any]] = st.just({})
guards = (
    none
    | none
    | st.dictionaries(
        paths,
        st.sampled_from([{"$exists": False}, {"$exists": True}, {"$size": 2}, {"$size": 0}, {"$in": []}])
        | values.map(lambda value: {"$eq": value})
        | st.just({"$not": {"$type": ["array", "int", "null", "string"]}}),
        max_size=2,
    )
)
queries = st.tuples(ids, guards).map(lambda parts: {"_id": parts[0], **parts[1]})


def statements(updates: st.SearchStrategy[Any], **options: Any) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(
        st.fixed_dictionaries({"q": queries, "u": updates}, optional={"upsert": st.booleans(), **options}),
        min_size=1,
        max_size=4,
    )


# -- pipelines --------------------------------------------------------------------------------------------

fields = (paths | lists_at | numbers_at).map("${}".format)
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
        numbers_at.map("${}".format)
        | fields
        | numerals.map(lambda number: {"$literal": number})
        | operator("$add", of=numbers)
        | operator("$subtract", of=numbers, count=2)
        | operator("$min", "$max", of=numbers)
        | arrays.map(lambda one: {"$size": [one]})
    )
)
arrays = st.deferred(
    lambda: (
        lists_at.map("${}".format)
        | fields
        | st.lists(values, max_size=3).map(lambda items: {"$literal": items})
        | st.lists(anything, max_size=3)
        | operator("$concatArrays", of=arrays)
        | operator("$setDifference", of=arrays, count=2)
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
        | st.sampled_from(["$d", "$d", "$$ROOT"])
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
    st.dictionaries(keys, anything, max_size=2).map(lambda sets: {"$set": {"d": sets, "l": sets}}),
    embedded.map(lambda one: {"$replaceWith": one}),
)


# -- filters ----------------------------------------------------------------------------------------------

types = st.sampled_from(["array", "string", "int", "long", "double", "bool", "null", "date", "object", "number", 16])
ordered = values.filter(lambda value: not isinstance(value, Regex))
conditions = st.deferred(
    lambda: (
        values
        | st.sampled_from(["$eq", "$ne", "$gt", "$gte", "$lt", "$lte"]).flatmap(
            lambda name: ordered.map(lambda value: {name: value})
        )
        | st.sampled_from(["$in", "$nin"]).flatmap(
            lambda name: st.lists(values, max_size=3).map(lambda several: {name: several})
        )
        | st.booleans().map(lambda value: {"$exists": value})
        | (types | st.lists(types, min_size=1, max_size=3)).map(lambda value: {"$type": value})
        | st.integers(0, 3).map(lambda value: {"$size": value})
        | st.sampled_from(["^a", "^te", "x"]).map(lambda value: {"$regex": value})
        | st.tuples(ordered, ordered).map(lambda two: {"$gte": two[0], "$lt": two[1]})
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

# Of several documents that match, the server's plan decides which one is changed: what is for one names it.
for_all = st.fixed_dictionaries({"q": filters, "u": operators, "upsert": st.booleans(), "multi": st.just(True)})
to_delete = st.fixed_dictionaries({"q": filters, "limit": st.just(0)}) | st.fixed_dictionaries(
    {"q": queries, "limit": st.integers(0, 1)}
)
to_insert = st.tuples(ids, bodies).map(lambda parts: {**parts[1], "_id": parts[0]})
commands = st.one_of(
    statements(operators | bodies, multi=st.booleans()).map(lambda updates: {"update": COLLECTION, "updates": updates}),
    st.lists(for_all, min_size=1, max_size=2).map(lambda updates: {"update": COLLECTION, "updates": updates}),
    st.lists(to_delete, min_size=1, max_size=2).map(lambda deletes: {"delete": COLLECTION, "deletes": deletes}),
    st.lists(to_insert, min_size=1, max_size=2).map(lambda inserts: {"insert": COLLECTION, "documents": inserts}),
)
