"""Filters: whether a document matches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from bson.regex import Regex

from mongod.errors import BAD_VALUE, FAILED_TO_PARSE, StatementError
from mongod.expressions import Scope, evaluate, is_true
from mongod.values import MISSING, Document, compare, equal, is_number, rank, type_name

__all__ = ["equalities", "matches", "split"]

_TYPES: Final = {
    1: "double",
    2: "string",
    3: "object",
    4: "array",
    5: "binData",
    7: "objectId",
    8: "bool",
    9: "date",
    10: "null",
    11: "regex",
    13: "javascript",
    16: "int",
    17: "timestamp",
    18: "long",
    19: "decimal",
    -1: "minKey",
    127: "maxKey",
}
_TYPE_NAMES: Final = frozenset({*_TYPES.values(), "number"})


@lru_cache(maxsize=10_000)
def split(path: str) -> tuple[str, ...]:
    """The parts of a dotted path."""
    return tuple(path.split("."))


def matches(document: Document, query: Mapping[str, Any], scope: Scope) -> bool:
    """Whether a document matches a filter.

    Args:
        document: The document.
        query: The filter.
        scope: The variables for `$expr`.
    """
    for name, condition in query.items():
        if name[:1] == "$":
            if not _known(_LOGICAL, name)(document, condition, scope):
                return False
        elif not _matches_at(document, name, condition):
            return False
    return True


def _each(document: Document, queries: Any, scope: Scope) -> Iterator[bool]:
    if type(queries) is not list or not queries:
        raise StatementError(BAD_VALUE, "$and/$or/$nor must be a nonempty array")
    return (matches(document, query, scope) for query in queries)


def _known(tests: Mapping[str, Callable[..., bool]], name: str) -> Callable[..., bool]:
    if name not in tests:
        raise NotImplementedError(name)
    return tests[name]


def equalities(query: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The fields and values that a document must have to match: what an upsert makes one from."""
    for name, condition in query.items():
        if name == "$and" or (name == "$or" and len(condition) == 1):
            for part in condition:
                yield from equalities(part)
        elif name[:1] != "$" and type(condition) is not Regex:
            if not _is_operators(condition):
                yield name, condition
            elif "$eq" in condition:
                yield name, condition["$eq"]
            elif (several := condition.get("$in")) and _is_one(several):
                yield name, several[0]


def _is_one(several: Sequence[Any]) -> bool:
    return type(several[0]) is not Regex and all(equal(several[0], other) for other in several)


def _is_operators(condition: Any) -> bool:
    return type(condition) is dict and next(iter(condition), "")[:1] == "$"


def _matches_at(document: Document, path: str, condition: Any) -> bool:
    if not _is_operators(condition):
        if type(condition) is Regex:
            return any(_equals_or_fits(value, condition) for value in _values(document, path))
        return _any_equal(document, path, condition)
    for name, argument in condition.items():
        if name == "$options":
            continue
        test = _known(_OPERATORS, name)
        if name == "$regex":
            argument = _regex(argument, condition.get("$options", ""))  # noqa: PLW2901
        if not test(document, path, argument):
            return False
    return True


# -- values at a path -------------------------------------------------------------------------------------


def _values(document: Document, path: str) -> Iterator[Any]:
    """What is at a path: in an array that is met on the way, in each element; of one at the end, the elements too."""
    parts = split(path)
    value = document.get(parts[0], MISSING)
    if len(parts) == 1 and type(value) is not list:
        return iter((value,))
    return _below(document, parts)


def _below(document: Document, parts: Sequence[str], *, whole: bool = False) -> Iterator[Any]:
    value: Any = document
    for position, part in enumerate(parts):
        value = value.get(part, MISSING) if type(value) is dict else MISSING
        if type(value) is list:
            yield from _in_array(value, parts[position + 1 :], whole=whole)
            return
    yield value


def _in_array(array: list[Any], rest: Sequence[str], *, whole: bool) -> Iterator[Any]:
    if not rest:
        if not whole:
            yield from array
        yield array
        return
    index = int(rest[0]) if rest[0].isdecimal() and str(int(rest[0])) == rest[0] else -1
    for position, item in enumerate(array):
        if type(item) is dict:
            yield from _below(item, rest, whole=whole)
        if position == index:
            if len(rest) == 1:
                yield item
            elif type(item) is dict:
                yield from _below(item, rest[1:], whole=whole)
            elif type(item) is list:
                yield from _in_array(item, rest[1:], whole=whole)


# -- conditions -------------------------------------------------------------------------------------------


def _equal(value: Any, wanted: Any) -> bool:
    if wanted is None:
        return value is None or value is MISSING
    return equal(value, wanted)


def _any_equal(document: Document, path: str, wanted: Any) -> bool:
    if len(split(path)) == 1 and type(value := document.get(path, MISSING)) is not list:
        return _equal(value, wanted)  # the usual case, without an iterator
    return any(_equal(value, wanted) for value in _values(document, path))


def _equals_or_fits(value: Any, wanted: Any) -> bool:
    if type(wanted) is Regex:
        return _fits(value, wanted) or (type(value) is Regex and equal(value, wanted))
    return _equal(value, wanted)


def _any_in(document: Document, path: str, wanted: Sequence[Any]) -> bool:
    if not isinstance(wanted, list):
        raise StatementError(BAD_VALUE, "$in needs an array")
    return any(_equals_or_fits(value, one) for value in _values(document, path) for one in wanted)


def _ordered(accepts: Callable[[int], bool]) -> Callable[[Document, str, Any], bool]:
    def test(document: Document, path: str, limit: Any) -> bool:
        _check_no_regex(limit)
        return any(_is_ordered(value, limit, accepts) for value in _values(document, path))

    return test


def _check_no_regex(argument: Any) -> None:
    if type(argument) is Regex:
        raise StatementError(BAD_VALUE, "Can't have RegEx as arg to predicate")


def _is_ordered(value: Any, limit: Any, accepts: Callable[[int], bool]) -> bool:
    if value is MISSING and limit is None:
        return accepts(0)
    if rank(value) != rank(limit) or value is MISSING:
        return type_name(limit) in {"minKey", "maxKey"} and accepts(compare(value, limit))
    if is_number(value) and (value != value) != (limit != limit):  # noqa: PLR0124  (NaN is equal to itself alone)
        return False
    return accepts(compare(value, limit))


def _exists(document: Document, path: str, wanted: Any) -> bool:
    return any(value is not MISSING for value in _values(document, path)) == bool(wanted)


def _is_of_type(document: Document, path: str, wanted: Any) -> bool:
    names: set[str] = set()
    if wanted == []:
        raise StatementError(FAILED_TO_PARSE, f"{path} must match at least one type")
    for one in wanted if type(wanted) is list else [wanted]:
        name = one if type(one) is str else _TYPES.get(one)
        if name is None or name not in _TYPE_NAMES:
            raise StatementError(BAD_VALUE, f"Unknown type name alias or code: {one}")
        names |= {"int", "long", "double", "decimal"} if name == "number" else {name}
    return any(value is not MISSING and type_name(value) in names for value in _values(document, path))


def _differs(document: Document, path: str, unwanted: Any) -> bool:
    _check_no_regex(unwanted)
    return not _any_equal(document, path, unwanted)


def _is_not(document: Document, path: str, condition: Any) -> bool:
    if type(condition) is not dict and type(condition) is not Regex:
        raise StatementError(BAD_VALUE, "$not needs a regex or a document")
    return not _matches_at(document, path, condition)


def _has_size(document: Document, path: str, size: Any) -> bool:
    if not is_number(size) or size < 0 or size != int(size):
        raise StatementError(BAD_VALUE, f"Failed to parse $size. Expected a non-negative integer: {size}")
    return any(type(value) is list and len(value) == size for value in _below(document, split(path), whole=True))


def _regex(pattern: Any, options: str) -> Regex[str]:
    if type(pattern) is Regex and not options:
        return pattern
    text = getattr(pattern, "pattern", pattern)
    if type(text) is not str:
        raise StatementError(BAD_VALUE, "$regex has to be a string")
    return Regex(text, options)


@lru_cache(maxsize=1000)
def _compiled(pattern: str, flags: int) -> re.Pattern[str]:
    return re.compile(pattern, flags & ~re.UNICODE)


def _fits(value: Any, regex: Regex[str]) -> bool:
    return type(value) is str and _compiled(regex.pattern, regex.flags).search(value) is not None


def _any_fits(document: Document, path: str, regex: Regex[str]) -> bool:
    return any(_equals_or_fits(value, regex) for value in _values(document, path))


_OPERATORS: Final[Mapping[str, Callable[[Document, str, Any], bool]]] = {
    "$eq": _any_equal,
    "$ne": _differs,
    "$gt": _ordered(lambda result: result > 0),
    "$gte": _ordered(lambda result: result >= 0),
    "$lt": _ordered(lambda result: result < 0),
    "$lte": _ordered(lambda result: result <= 0),
    "$in": _any_in,
    "$nin": lambda document, path, wanted: not _any_in(document, path, wanted),
    "$exists": _exists,
    "$type": _is_of_type,
    "$not": _is_not,
    "$size": _has_size,
    "$regex": _any_fits,
}
_LOGICAL: Final[Mapping[str, Callable[[Document, Any, Scope], bool]]] = {
    "$and": lambda document, queries, scope: all(_each(document, queries, scope)),
    "$or": lambda document, queries, scope: any(_each(document, queries, scope)),
    "$nor": lambda document, queries, scope: not any(_each(document, queries, scope)),
    "$expr": lambda document, expression, scope: is_true(evaluate(expression, scope.at(document))),
    "$comment": lambda document, text, scope: True,
}
