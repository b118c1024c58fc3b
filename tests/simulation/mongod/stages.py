"""Stages of pipelines, as an update and an aggregation have them: what they make of one document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from mongod.containers import present
from mongod.errors import StatementError
from mongod.expressions import Scope, evaluate
from mongod.matching import split
from mongod.values import MISSING, Document, type_name

__all__ = ["Projection", "parsed", "transformed"]

Path = tuple[str, ...]


def parsed(pipeline: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any]]:
    """The stages that change a document, with the paths of their fields.

    Raises:
        StatementError: If they are refused whatever the document is.
    """
    stages: list[tuple[str, Any]] = []
    for stage in pipeline:
        ((name, argument),) = stage.items()
        if name in {"$set", "$addFields"}:
            stages.append(("$set", _checked(_leaves(argument, ()), 40176, 40176)))
        elif name == "$unset":
            paths = [argument] if type(argument) is str else argument
            stages.append(("$unset", _checked([(split(path), None) for path in paths], 31249, 31250)))
        elif name in {"$replaceWith", "$replaceRoot"}:
            stages.append(("$replaceWith", argument if name == "$replaceWith" else argument["newRoot"]))
        elif name == "$project":
            stages.append((name, Projection(argument)))
        else:
            raise NotImplementedError(name)
    return stages


def transformed(document: Document, stages: Sequence[tuple[str, Any]], scope: Scope) -> Document:
    """A document after stages, as `parsed` gives them.

    A field that is removed, or set to nothing, has its place kept: a later stage that sets it finds it there.
    """
    empty = scope.empty
    for name, argument in stages:
        at = scope.at(document)
        if name == "$set":
            for path, expression in argument:
                document = _put(document, path, partial(evaluate, expression, at), empty)
        elif name == "$unset":
            for path, _ in argument:
                document = _without(document, path, empty)
        elif name == "$replaceWith":
            document = _replaced(argument, at)
        else:
            document = argument.of(document, at)
    return present(document) if empty else document


def _replaced(expression: Any, scope: Scope) -> Document:
    value = evaluate(expression, scope)
    if type(value) is not dict:
        raise StatementError(40228, f"'newRoot' expression must evaluate to an object, not {type_name(value)}")
    return value


def _checked(paths: Sequence[tuple[Path, Any]], below: int, again: int) -> Sequence[tuple[Path, Any]]:
    taken: set[Path] = set()
    for path, _ in paths:
        if any(path[: len(other)] == other and path != other for other in taken):
            raise StatementError(below, f"two paths collide at '{'.'.join(path)}'")
        if any(other[: len(path)] == path for other in taken):
            raise StatementError(again, f"two paths collide at '{'.'.join(path)}'")
        taken.add(path)
    return paths


def _leaves(fields: Mapping[str, Any], before: Path) -> list[tuple[Path, Any]]:
    """The paths of `$set` and their expressions; a document that is no expression holds further fields."""
    leaves: list[tuple[Path, Any]] = []
    for name, expression in fields.items():
        path = (*before, *split(name))
        if type(expression) is dict and not expression:
            raise StatementError(40180, "an empty object is not a valid value")
        if type(expression) is dict and next(iter(expression))[:1] != "$":
            leaves += _leaves(expression, path)
        else:
            leaves.append((path, expression))
    return leaves


def _put(value: Any, path: Path, new: Callable[[], Any], empty: list[str]) -> Any:
    """A copy with a value at a path: in each element of an array; a scalar on the way is replaced by a document."""
    if not path:
        return new()
    if type(value) is list:
        return [_put(item, path, new, empty) for item in value]
    document = dict(value) if type(value) is dict else {}
    document[path[0]] = inner = _put(document.get(path[0], MISSING), path[1:], new, empty)
    if inner is MISSING:
        empty.append(path[0])
    return document


def _without(value: Any, path: Path, empty: list[str]) -> Any:
    """A copy without a field."""
    if type(value) is list:
        return [_without(item, path, empty) for item in value]
    if type(value) is not dict or path[0] not in value:
        return value
    if len(path) > 1:
        return {**value, path[0]: _without(value[path[0]], path[1:], empty)}
    empty.append(path[0])
    return {**value, path[0]: MISSING}


class Projection:
    """The fields that a find, or a stage, lets through, in the document's order, and those that it computes.

    Args:
        fields: What to include; nothing means everything.

    Raises:
        StatementError: If two of the paths collide.
    """

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._tree: Document = {"_id": None}
        self._computed: list[tuple[Path, Any]] = []
        self._everything = not fields
        for path, wanted in _checked([(split(name), wanted) for name, wanted in fields.items()], 31249, 31250):
            if type(wanted) not in {bool, int, float}:
                self._computed.append((path, wanted))
            elif wanted:
                self._include(path)
            elif path == ("_id",):
                del self._tree["_id"]
            else:
                raise NotImplementedError("a projection that excludes")

    def _include(self, path: Path) -> None:
        node = self._tree
        for part in path[:-1]:
            node = node.setdefault(part, {})
        node[path[-1]] = None

    def of(self, document: Document, scope: Scope) -> Document:
        """What is let through of a document; with the places of values that are missing."""
        if self._everything:
            return document
        result: Document = _only(document, self._tree)
        for path, expression in self._computed:
            result = _put(result, path, partial(evaluate, expression, scope), scope.empty)
        return result


def _only(value: Any, tree: Mapping[str, Any]) -> Any:
    if type(value) is list:
        kept = (_only(item, tree) for item in value)
        return [item for item in kept if item is not MISSING]
    if type(value) is not dict:
        return MISSING
    result = {}
    for name, item in value.items():
        if name in tree:
            inner = tree[name]
            kept_item = item if inner is None else _only(item, inner)
            if kept_item is not MISSING:
                result[name] = kept_item
    return result
