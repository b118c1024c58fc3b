"""Expressions of aggregation: what they make of a document."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bson.decimal128 import Decimal128

from mongod.arithmetic import difference, total
from mongod.containers import concatenated, element, fields, from_fields, length, merged, present, slice_of, without
from mongod.errors import StatementError, mismatch
from mongod.values import MISSING, Document, compare, is_nothing, is_number, type_name

__all__ = ["Scope", "evaluate", "field_at", "is_true"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may refer to.

    Attributes:
        now: The server's time.
        root: The document.
        variables: Those of `$filter` and `$map`.
        empty: The places that were made in documents for values that are missing.
    """

    now: dtm.datetime
    root: Any = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    empty: list[str] = field(default_factory=list)

    def at(self, document: Document) -> Scope:
        """The same for another document."""
        return Scope(self.now, document, {}, self.empty)

    def with_variable(self, name: str, value: Any) -> Scope:
        """The same with one variable more."""
        return Scope(self.now, self.root, {**self.variables, name: value}, self.empty)

    def variable(self, name: str) -> Any:
        """The value of a variable."""
        if name in self.variables:
            return self.variables[name]
        if name in {"ROOT", "CURRENT"}:
            return self.root
        if name == "NOW":
            return self.now
        if name == "REMOVE":
            return MISSING
        raise StatementError(17276, f"Use of undefined variable: {name}")


def evaluate(expression: Any, scope: Scope) -> Any:
    """The value of an expression; `MISSING` where there is none."""
    kind = type(expression)
    if kind is str:
        if expression[:2] == "$$":
            name, _, path = expression[2:].partition(".")
            value = scope.variable(name)
            return field_at(value, path.split(".")) if path else value
        if expression[:1] == "$":
            return field_at(scope.root, expression[1:].split("."))
        return expression
    if kind is list:
        return [_null_if_missing(evaluate(item, scope)) for item in expression]
    if kind is not dict:
        return expression
    name = next(iter(expression), "")
    if name[:1] != "$":
        return _document(expression, scope)
    if len(expression) != 1:
        raise StatementError(15983, "an object representing an expression must have exactly one field")
    if name not in _OPERATORS:
        raise NotImplementedError(name)
    return _OPERATORS[name](expression[name], scope)


def is_true(value: Any) -> bool:
    """What a value counts for in a condition."""
    if value is MISSING or value is None or value is False:
        return False
    return not is_number(value) or not _is_zero(value)


def _is_zero(value: Any) -> bool:
    return bool(value.to_decimal() == 0) if type(value) is Decimal128 else bool(value == 0)


def field_at(value: Any, path: Sequence[str]) -> Any:
    """What is at a path; of an array, an array of what is there in each of its documents."""
    for position, part in enumerate(path):
        if type(value) is dict:
            value = value.get(part, MISSING)
        elif type(value) is list:
            found = (field_at(item, path[position:]) for item in value if type(item) is dict)
            return [item for item in found if item is not MISSING]
        else:
            return MISSING
    return value


def _document(expression: Document, scope: Scope) -> Document:
    document = {name: evaluate(item, scope) for name, item in expression.items()}
    scope.empty.extend(name for name, value in document.items() if value is MISSING)
    return document


def _null_if_missing(value: Any) -> Any:
    return None if value is MISSING else value


def _one_by_one(expression: Any, scope: Scope) -> Iterator[Any]:
    """The arguments; what comes after one that decides is not evaluated."""
    for item in expression if type(expression) is list else [expression]:
        yield evaluate(item, scope)


def _arguments(expression: Any, scope: Scope, count: int | None = None) -> list[Any]:
    expressions = expression if type(expression) is list else [expression]
    if count is not None and len(expressions) != count:
        raise StatementError(16020, f"the expression takes exactly {count} arguments")
    return [evaluate(item, scope) for item in expressions]


def _eager(function: Callable[..., Any], count: int | None = None) -> Callable[[Any, Scope], Any]:
    def applied(expression: Any, scope: Scope) -> Any:
        return function(*_arguments(expression, scope, count))

    return applied


# -- conditions -------------------------------------------------------------------------------------------


def _cond(expression: Any, scope: Scope) -> Any:
    if type(expression) is dict:
        expression = [expression["if"], expression["then"], expression["else"]]
    condition, then, otherwise = expression
    return evaluate(then if is_true(evaluate(condition, scope)) else otherwise, scope)


def _if_null(expression: Any, scope: Scope) -> Any:
    *first, last = expression
    for item in first:
        value = evaluate(item, scope)
        if not is_nothing(value):
            return value
    return evaluate(last, scope)


def _comparison(accepts: Callable[[int], bool]) -> Callable[[Any, Scope], bool]:
    return _eager(lambda one, other: accepts(compare(present(one), present(other))), 2)


def _is_in(value: Any, array: Any) -> bool:
    if type(array) is not list:
        raise mismatch(40081, "$in", array)
    value = present(value)
    return any(compare(value, present(item)) == 0 for item in array)


def _extreme(sign: int) -> Callable[[Any, Scope], Any]:
    def extreme(expression: Any, scope: Scope) -> Any:
        values = _arguments(expression, scope)
        if len(values) == 1 and type(values[0]) is list:
            values = values[0]
        best: Any = None
        for value in values:
            if not is_nothing(value) and (best is None or compare(present(value), present(best)) * sign > 0):
                best = value
        return best

    return extreme


# -- arrays and documents ---------------------------------------------------------------------------------


def _filter(expression: Document, scope: Scope) -> Any:
    array = evaluate(expression["input"], scope)
    if is_nothing(array):
        return None
    if type(array) is not list:
        raise mismatch(28651, "$filter", array)
    name = expression.get("as", "this")
    return [item for item in array if is_true(evaluate(expression["cond"], scope.with_variable(name, item)))]


def _map(expression: Document, scope: Scope) -> Any:
    array = evaluate(expression["input"], scope)
    if is_nothing(array):
        return None
    if type(array) is not list:
        raise mismatch(16883, "$map", array)
    name = expression.get("as", "this")
    return [_null_if_missing(evaluate(expression["in"], scope.with_variable(name, item))) for item in array]


def _difference(expression: Any, scope: Scope) -> Any:
    other, one = _arguments(expression[::-1], scope, 2)  # the server takes the second one first
    return difference(one, other)


def _merged(expression: Any, scope: Scope) -> Document:
    are_several = type(expression) is list and len(expression) != 1
    return merged(_one_by_one(expression, scope), are_several=are_several)


_OPERATORS: Final[Mapping[str, Callable[[Any, Scope], Any]]] = {
    "$literal": lambda expression, scope: expression,
    "$and": lambda expression, scope: all(map(is_true, _one_by_one(expression, scope))),
    "$or": lambda expression, scope: any(map(is_true, _one_by_one(expression, scope))),
    "$not": _eager(lambda value: not is_true(value), 1),
    "$cond": _cond,
    "$ifNull": _if_null,
    "$eq": _comparison(lambda result: result == 0),
    "$ne": _comparison(lambda result: result != 0),
    "$gt": _comparison(lambda result: result > 0),
    "$gte": _comparison(lambda result: result >= 0),
    "$lt": _comparison(lambda result: result < 0),
    "$lte": _comparison(lambda result: result <= 0),
    "$in": _eager(_is_in, 2),
    "$add": lambda expression, scope: total(_one_by_one(expression, scope)),
    "$subtract": _difference,
    "$max": _extreme(1),
    "$min": _extreme(-1),
    "$filter": _filter,
    "$map": _map,
    "$concatArrays": lambda expression, scope: concatenated(_one_by_one(expression, scope)),
    "$setDifference": _eager(without, 2),
    "$arrayElemAt": _eager(element, 2),
    "$size": _eager(length, 1),
    "$slice": _eager(slice_of),
    "$isArray": _eager(lambda value: type(value) is list, 1),
    "$type": _eager(type_name, 1),
    "$objectToArray": _eager(fields, 1),
    "$arrayToObject": _eager(from_fields, 1),
    "$mergeObjects": _merged,
}
