"""Stages of pipelines, as an update and an aggregation have them: what they make of one document."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from mongod.errors import StatementError
from mongod.expressions import Scope, evaluate, present
from mongod.matching import split
from mongod.values import MISSING, Document, type_name

__all__ = ["included", "parsed", "transformed"]

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
            stages.append((name, argument))
        else:
            raise NotImplementedError(name)
    return stages


def transformed(document: Document, stages: Sequence[tuple[str, Any]], scope: Scope) -> Document:
    """A document after stages, as `parsed` gives them."""
    removed: list[Path] = []
    for name, argument in stages:
        if name == "$set":
            at = scope.at(document)
            for path, expression in argument:
                document = _put(document, path, partial(evaluate, expression, at), removed)
        elif name == "$unset":
            for path, _ in argument:
                document = _without(document, path, removed)
        elif name == "$replaceWith":
            document = _replaced(argument, scope.at(document))
        else:
            document = included(document, argument, scope.at(document))
    return present(document) if removed else document


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
        if type(expression) is dict and expression and next(iter(expression))[:1] != "$":
            leaves += _leaves(expression, path)
        else:
            leaves.append((path, expression))
    return leaves


def _put(value: Any, path: Path, new: Callable[[], Any], removed: list[Path]) -> Any:
    """A copy with a value at a path: in each element of an array; a scalar on the way is replaced by a document."""
    if not path:
        return new()
    if type(value) is list:
        return [_put(item, path, new, removed) for item in value]
    document = dict(value) if type(value) is dict else {}
    inner = _put(document.get(path[0], MISSING), path[1:], new, removed)
    if inner is not MISSING:
        document[path[0]] = inner
    elif path[0] in document:
        document[path[0]] = MISSING
        removed.append(path)
    return document


def _without(value: Any, path: Path, removed: list[Path]) -> Any:
    """A copy without a field, whose place is kept: who sets it again finds it there, as on the server."""
    if type(value) is list:
        return [_without(item, path, removed) for item in value]
    if type(value) is not dict or path[0] not in value:
        return value
    if len(path) > 1:
        return {**value, path[0]: _without(value[path[0]], path[1:], removed)}
    removed.append(path)
    return {**value, path[0]: MISSING}


def included(document: Document, projection: Mapping[str, Any], scope: Scope) -> Document:
    """The fields of a document that a projection includes, in the document's order, then those that it computes."""
    if not projection:
        return document
    tree: Document = {}
    computed: list[tuple[str, Any]] = []
    for path, wanted in projection.items():
        if path == "_id" and wanted in (0, False):
            continue
        if type(wanted) in {bool, int, float} and wanted:
            node = tree
            *way, last = split(path)
            for part in way:
                node = node.setdefault(part, {})
            node[last] = None
        elif type(wanted) in {bool, int, float}:
            raise NotImplementedError("a projection that excludes")
        else:
            computed.append((path, wanted))
    if projection.get("_id", 1) not in (0, False):
        tree["_id"] = None
    result = _only(document, tree)
    for path, expression in computed:
        result = _put(result, split(path), partial(evaluate, expression, scope), [])
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
