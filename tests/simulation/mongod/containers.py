"""Arrays and documents in expressions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mongod.errors import StatementError, mismatch
from mongod.values import MISSING, Document, compare, is_nothing, is_number

__all__ = ["concatenated", "element", "fields", "from_fields", "length", "merged", "present", "slice_of", "without"]


def present(value: Any) -> Any:
    """A value without the places of fields that a stage has removed."""
    if type(value) is dict:
        return {name: present(item) for name, item in value.items() if item is not MISSING}
    return list(map(present, value)) if type(value) is list else value


def concatenated(arrays: Iterable[Any]) -> Any:
    """All items of several arrays; what comes after one that is nothing is not looked at."""
    items: list[Any] = []
    for array in arrays:
        if is_nothing(array):
            return None
        if type(array) is not list:
            raise mismatch(28664, "$concatArrays", array)
        items += array
    return items


def without(array: Any, others: Any) -> Any:
    """The items of an array that are not in another one, each once."""
    if is_nothing(array) or is_nothing(others):
        return None
    for code, one in ((17048, array), (17049, others)):
        if type(one) is not list:
            raise mismatch(code, "$setDifference", one)
    known, found = list(map(present, others)), []
    for item in array:
        plain = present(item)
        if not any(compare(plain, other) == 0 for other in known):
            known.append(plain)
            found.append(item)
    return found


def element(array: Any, index: Any) -> Any:
    """The item at a place."""
    if is_nothing(array) or is_nothing(index):
        return None
    if type(array) is not list:
        raise mismatch(28689, "$arrayElemAt", array)
    if not is_number(index):
        raise mismatch(28690, "$arrayElemAt", index)
    place = int(index)
    if place != index:
        raise StatementError(28691, f"$arrayElemAt's second argument must be representable as an integer: {index}")
    return array[place] if -len(array) <= place < len(array) else MISSING


def length(array: Any) -> int:
    """How many items there are."""
    if type(array) is not list:
        raise mismatch(17124, "$size", array)
    return len(array)


def slice_of(array: Any, *numbers: Any) -> Any:
    """So many items from the beginning, the end or a place."""
    if is_nothing(array) or any(map(is_nothing, numbers)):
        return None
    if type(array) is not list:
        raise mismatch(28724, "$slice", array)
    for number, code in zip(numbers, (28725, 28727), strict=False):
        if not is_number(number):
            raise mismatch(code, "$slice", number)
    if len(numbers) == 1:
        count = int(numbers[0])
        return array[:count] if count >= 0 else array[count:]
    start, count = map(int, numbers)
    if count <= 0:
        raise StatementError(28729, "Third argument to $slice must be positive")
    first = start if start >= 0 else max(0, len(array) + start)
    return array[first : first + count]


def fields(document: Any) -> Any:
    """A document for each field."""
    if is_nothing(document):
        return None
    if type(document) is not dict:
        raise mismatch(40390, "$objectToArray", document)
    return [{"k": name, "v": value} for name, value in document.items() if value is not MISSING]


def from_fields(array: Any) -> Any:
    """The document that has these fields."""
    if is_nothing(array):
        return None
    if type(array) is not list:
        raise mismatch(40386, "$arrayToObject", array)
    return dict(_pair(item, type(array[0])) for item in array)


def _pair(item: Any, kind: Any) -> tuple[str, Any]:
    """A field, from a document or an array, as the first one is."""
    if kind is not dict and kind is not list:
        raise mismatch(40398, "$arrayToObject", item)
    if type(item) is not kind:
        raise mismatch(40391 if kind is dict else 40396, "$arrayToObject", item)
    if len(item) != 2:
        raise mismatch(40392 if kind is dict else 40397, "$arrayToObject", item)
    if kind is dict and item.keys() != {"k", "v"}:
        raise mismatch(40393, "$arrayToObject", item)
    name, value = (item["k"], item["v"]) if kind is dict else item
    if type(name) is not str:
        raise mismatch(40394 if kind is dict else 40395, "$arrayToObject", name)
    return name, value


def merged(values: Iterable[Any], *, are_several: bool) -> Document:
    """The fields of several documents, or of those in an array that is the only argument."""
    document: Document = {}
    for argument in values:
        for value in argument if type(argument) is list and not are_several else [argument]:
            if is_nothing(value):
                continue
            if type(value) is not dict:
                raise mismatch(40400, "$mergeObjects", value)
            document.update((name, item) for name, item in value.items() if item is not MISSING)
    return document
