"""Expressions of aggregation: what they make of a document."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from bson.datetime_ms import DatetimeMS
from bson.decimal128 import Decimal128
from bson.int64 import Int64

from mongod.errors import TYPE_MISMATCH, StatementError
from mongod.values import MISSING, OPTIONS, Document, compare, is_number, type_name

__all__ = ["Scope", "add", "evaluate", "field_at", "is_true", "present"]


@dataclass(frozen=True, slots=True)
class Scope:
    """What an expression may refer to.

    Attributes:
        now: The server's time.
        root: The document.
        variables: Those of `$filter` and `$map`.
    """

    now: dtm.datetime
    root: Any = None
    variables: Mapping[str, Any] = field(default_factory=dict)

    def at(self, document: Document) -> Scope:
        """The same for another document."""
        return Scope(self.now, document)

    def with_variable(self, name: str, value: Any) -> Scope:
        """The same with one variable more."""
        return Scope(self.now, self.root, {**self.variables, name: value})

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


def present(value: Any) -> Any:
    """A value without the places of fields that a stage has removed."""
    if type(value) is dict:
        return {name: present(item) for name, item in value.items() if item is not MISSING}
    return list(map(present, value)) if type(value) is list else value


def _document(expression: Document, scope: Scope) -> Document:
    evaluated = ((name, evaluate(item, scope)) for name, item in expression.items())
    return {name: value for name, value in evaluated if value is not MISSING}


def _null_if_missing(value: Any) -> Any:
    return None if value is MISSING else value


def _is_nothing(value: Any) -> bool:
    return value is MISSING or value is None


def _one_by_one(expression: Any, scope: Scope) -> Iterator[Any]:
    """The arguments; what comes after one that decides is not evaluated."""
    for item in expression if type(expression) is list else [expression]:
        yield evaluate(item, scope)


def _arguments(expression: Any, scope: Scope, count: int | None = None) -> list[Any]:
    expressions = expression if type(expression) is list else [expression]
    if count is not None and len(expressions) != count:
        raise StatementError(16020, f"the expression takes exactly {count} arguments")
    return [evaluate(item, scope) for item in expressions]


def _mismatch(code: int, name: str, value: Any) -> StatementError:
    return StatementError(code, f"{name} does not take {type_name(value)}")


# -- conditions -------------------------------------------------------------------------------------------


def _and(expression: Any, scope: Scope) -> bool:
    return all(map(is_true, _one_by_one(expression, scope)))


def _or(expression: Any, scope: Scope) -> bool:
    return any(map(is_true, _one_by_one(expression, scope)))


def _not(expression: Any, scope: Scope) -> bool:
    return not is_true(_arguments(expression, scope, 1)[0])


def _cond(expression: Any, scope: Scope) -> Any:
    if type(expression) is dict:
        expression = [expression["if"], expression["then"], expression["else"]]
    condition, then, otherwise = expression
    return evaluate(then if is_true(evaluate(condition, scope)) else otherwise, scope)


def _if_null(expression: Any, scope: Scope) -> Any:
    *first, last = expression
    for item in first:
        value = evaluate(item, scope)
        if not _is_nothing(value):
            return value
    return evaluate(last, scope)


def _comparison(accepts: Callable[[int], bool]) -> Callable[[Any, Scope], bool]:
    def compared(expression: Any, scope: Scope) -> bool:
        one, other = _arguments(expression, scope, 2)
        return accepts(compare(present(one), present(other)))

    return compared


def _in(expression: Any, scope: Scope) -> bool:
    value, array = _arguments(expression, scope, 2)
    if type(array) is not list:
        raise _mismatch(40081, "$in", array)
    value = present(value)
    return any(compare(value, present(item)) == 0 for item in array)


# -- numbers ----------------------------------------------------------------------------------------------


def add(one: Any, other: Any) -> Any:
    """The sum of two numbers, of the type that MongoDB gives it; an `int` of Python that fits no type is too large."""
    if Decimal128 in {type(one), type(other)}:
        return Decimal128(_decimal(one) + _decimal(other))
    if float in {type(one), type(other)}:
        return float(one) + float(other)
    total = int(one) + int(other)
    is_long = Int64 in {type(one), type(other)} or not -(2**31) <= total < 2**31
    return Int64(total) if is_long and -(2**63) <= total < 2**63 else total


def _decimal(number: Any) -> Decimal:
    return number.to_decimal() if type(number) is Decimal128 else Decimal(number)


def _sum(expression: Any, scope: Scope) -> Any:
    date: dtm.datetime | None = None
    total: Any = 0
    for value in _one_by_one(expression, scope):
        if _is_nothing(value):
            return None
        if type(value) is dtm.datetime:
            if date is not None:
                raise StatementError(16612, "only one date allowed in an $add expression")
            date = value
        elif is_number(value):
            total = _representable(add(total, value))
        else:
            raise _mismatch(16554, "$add", value)
    return total if date is None else _date(_decimal(_milliseconds(date)) + _decimal(total))


def _representable(total: Any) -> Any:
    return float(total) if type(total) is int and not -(2**63) <= total < 2**63 else total


def _milliseconds(date: dtm.datetime) -> int:
    return int(DatetimeMS(date))


def _date(milliseconds: Any) -> dtm.datetime:
    return DatetimeMS(int(milliseconds)).as_datetime(OPTIONS)


def _difference(expression: Any, scope: Scope) -> Any:
    other, one = _arguments(expression[::-1], scope, 2)  # the server takes the second one first
    if _is_nothing(one) or _is_nothing(other):
        return None
    if type(one) is dtm.datetime:
        if type(other) is dtm.datetime:
            return Int64(_milliseconds(one) - _milliseconds(other))
        if is_number(other):
            return _date(_milliseconds(one) - int(_decimal(other)))
    if not is_number(one) or not is_number(other):
        raise _mismatch(TYPE_MISMATCH, "$subtract", other if is_number(one) else one)
    return _representable(add(one, _negative(other)))


def _negative(number: Any) -> Any:
    return Decimal128(-number.to_decimal()) if type(number) is Decimal128 else type(number)(-number)


def _extreme(sign: int) -> Callable[[Any, Scope], Any]:
    def extreme(expression: Any, scope: Scope) -> Any:
        values = _arguments(expression, scope)
        if len(values) == 1 and type(values[0]) is list:
            values = values[0]
        best: Any = None
        for value in values:
            if not _is_nothing(value) and (best is None or compare(present(value), present(best)) * sign > 0):
                best = value
        return best

    return extreme


# -- arrays and documents ---------------------------------------------------------------------------------


def _filter(expression: Document, scope: Scope) -> Any:
    array = evaluate(expression["input"], scope)
    if _is_nothing(array):
        return None
    if type(array) is not list:
        raise _mismatch(28651, "$filter", array)
    name = expression.get("as", "this")
    return [item for item in array if is_true(evaluate(expression["cond"], scope.with_variable(name, item)))]


def _map(expression: Document, scope: Scope) -> Any:
    array = evaluate(expression["input"], scope)
    if _is_nothing(array):
        return None
    if type(array) is not list:
        raise _mismatch(16883, "$map", array)
    name = expression.get("as", "this")
    return [_null_if_missing(evaluate(expression["in"], scope.with_variable(name, item))) for item in array]


def _concatenated(expression: Any, scope: Scope) -> Any:
    items: list[Any] = []
    for array in _one_by_one(expression, scope):
        if _is_nothing(array):
            return None
        if type(array) is not list:
            raise _mismatch(28664, "$concatArrays", array)
        items += array
    return items


def _element(expression: Any, scope: Scope) -> Any:
    array, index = _arguments(expression, scope, 2)
    if _is_nothing(array) or _is_nothing(index):
        return None
    if type(array) is not list:
        raise _mismatch(28689, "$arrayElemAt", array)
    if not is_number(index):
        raise _mismatch(28690, "$arrayElemAt", index)
    place = int(index)
    return array[place] if -len(array) <= place < len(array) else MISSING


def _size(expression: Any, scope: Scope) -> int:
    (array,) = _arguments(expression, scope, 1)
    if type(array) is not list:
        raise _mismatch(17124, "$size", array)
    return len(array)


def _slice(expression: Any, scope: Scope) -> Any:
    array, *numbers = _arguments(expression, scope)
    if _is_nothing(array) or any(map(_is_nothing, numbers)):
        return None
    if type(array) is not list:
        raise _mismatch(28724, "$slice", array)
    for number, code in zip(numbers, (28725, 28727), strict=False):
        if not is_number(number):
            raise _mismatch(code, "$slice", number)
    if len(numbers) == 1:
        count = int(numbers[0])
        return array[:count] if count >= 0 else array[count:]
    start, count = map(int, numbers)
    if count <= 0:
        raise StatementError(28729, "Third argument to $slice must be positive")
    first = start if start >= 0 else max(0, len(array) + start)
    return array[first : first + count]


def _fields(expression: Any, scope: Scope) -> Any:
    (document,) = _arguments(expression, scope, 1)
    if _is_nothing(document):
        return None
    if type(document) is not dict:
        raise _mismatch(40390, "$objectToArray", document)
    return [{"k": name, "v": value} for name, value in document.items() if value is not MISSING]


def _from_fields(expression: Any, scope: Scope) -> Any:
    (array,) = _arguments(expression, scope, 1)
    if _is_nothing(array):
        return None
    if type(array) is not list:
        raise _mismatch(40386, "$arrayToObject", array)
    return dict(_pair(item, type(array[0])) for item in array)


def _pair(item: Any, kind: type) -> tuple[str, Any]:
    """A field, from a document or an array, as the first one is."""
    if kind is not dict and kind is not list:
        raise _mismatch(40398, "$arrayToObject", item)
    if type(item) is not kind:
        raise _mismatch(40391 if kind is dict else 40396, "$arrayToObject", item)
    if len(item) != 2:
        raise _mismatch(40392 if kind is dict else 40397, "$arrayToObject", item)
    if kind is dict and item.keys() != {"k", "v"}:
        raise _mismatch(40393, "$arrayToObject", item)
    name, value = (item["k"], item["v"]) if kind is dict else item
    if type(name) is not str:
        raise _mismatch(40394 if kind is dict else 40395, "$arrayToObject", name)
    return name, value


def _merged(expression: Any, scope: Scope) -> Document:
    merged: Document = {}
    for argument in _one_by_one(expression, scope):
        is_only = type(expression) is not list or len(expression) == 1
        for value in argument if type(argument) is list and is_only else [argument]:
            if _is_nothing(value):
                continue
            if type(value) is not dict:
                raise _mismatch(40400, "$mergeObjects", value)
            merged.update((name, item) for name, item in value.items() if item is not MISSING)
    return merged


_OPERATORS: Final[Mapping[str, Callable[[Any, Scope], Any]]] = {
    "$literal": lambda expression, scope: expression,
    "$and": _and,
    "$or": _or,
    "$not": _not,
    "$cond": _cond,
    "$ifNull": _if_null,
    "$eq": _comparison(lambda result: result == 0),
    "$ne": _comparison(lambda result: result != 0),
    "$gt": _comparison(lambda result: result > 0),
    "$gte": _comparison(lambda result: result >= 0),
    "$lt": _comparison(lambda result: result < 0),
    "$lte": _comparison(lambda result: result <= 0),
    "$in": _in,
    "$add": _sum,
    "$subtract": _difference,
    "$max": _extreme(1),
    "$min": _extreme(-1),
    "$filter": _filter,
    "$map": _map,
    "$concatArrays": _concatenated,
    "$arrayElemAt": _element,
    "$size": _size,
    "$slice": _slice,
    "$isArray": lambda expression, scope: type(_arguments(expression, scope, 1)[0]) is list,
    "$type": lambda expression, scope: type_name(_arguments(expression, scope, 1)[0]),
    "$objectToArray": _fields,
    "$arrayToObject": _from_fields,
    "$mergeObjects": _merged,
}
