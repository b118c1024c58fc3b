"""Expressions of aggregation: what they make of a document."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from bson.decimal128 import Decimal128
from bson.int64 import Int64

from mongod.errors import TYPE_MISMATCH, StatementError
from mongod.values import MISSING, Document, compare, is_number, type_name

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
            found = (field_at(item, path[position:]) for item in value)
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


def _arguments(expression: Any, scope: Scope, count: int | None = None) -> list[Any]:
    expressions = expression if type(expression) is list else [expression]
    if count is not None and len(expressions) != count:
        raise StatementError(16020, f"the expression takes exactly {count} arguments")
    return [evaluate(item, scope) for item in expressions]


def _mismatch(code: int, name: str, value: Any) -> StatementError:
    return StatementError(code, f"{name} does not take {type_name(value)}")


# -- conditions -------------------------------------------------------------------------------------------


def _and(expression: Any, scope: Scope) -> bool:
    expressions = expression if type(expression) is list else [expression]
    return all(is_true(evaluate(item, scope)) for item in expressions)


def _or(expression: Any, scope: Scope) -> bool:
    expressions = expression if type(expression) is list else [expression]
    return any(is_true(evaluate(item, scope)) for item in expressions)


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
    values = _arguments(expression, scope)
    if any(map(_is_nothing, values)):
        return None
    dates = [value for value in values if type(value) is dtm.datetime]
    total: Any = 0
    for value in values:
        if type(value) is not dtm.datetime:
            if not is_number(value):
                raise _mismatch(TYPE_MISMATCH, "$add", value)
            total = _representable(add(total, value))
    if not dates:
        return total
    if len(dates) > 1:
        raise StatementError(16612, "only one date allowed in an $add expression")
    return dates[0] + dtm.timedelta(milliseconds=_whole(total))


def _representable(total: Any) -> Any:
    return float(total) if type(total) is int and not -(2**63) <= total < 2**63 else total


def _whole(milliseconds: Any) -> int:
    return round(_decimal(milliseconds))


def _difference(expression: Any, scope: Scope) -> Any:
    one, other = _arguments(expression, scope, 2)
    if _is_nothing(one) or _is_nothing(other):
        return None
    if type(one) is dtm.datetime:
        if type(other) is dtm.datetime:
            return Int64((one - other) // dtm.timedelta(milliseconds=1))
        if is_number(other):
            return one - dtm.timedelta(milliseconds=_whole(other))
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
    for array in _arguments(expression, scope):
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
    document = {}
    for item in array:
        if type(item) is dict and item.keys() == {"k", "v"} and type(item["k"]) is str:
            document[item["k"]] = item["v"]
        elif type(item) is list and len(item) == 2 and type(item[0]) is str:
            document[item[0]] = item[1]
        else:
            raise _mismatch(40398, "$arrayToObject", item)
    return document


def _merged(expression: Any, scope: Scope) -> Document:
    values = _arguments(expression, scope)
    if len(values) == 1 and type(values[0]) is list:
        values = values[0]
    merged: Document = {}
    for value in values:
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
