"""Stages of pipelines, as an update and an aggregation have them: what they make of one document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mongod.errors import StatementError
from mongod.expressions import Scope, evaluate
from mongod.matching import split
from mongod.values import MISSING, Document, type_name

__all__ = ["included", "transformed"]


def transformed(document: Document, pipeline: Sequence[Mapping[str, Any]], scope: Scope) -> Document:
    """A document after stages that change it."""
    for stage in pipeline:
        ((name, argument),) = stage.items()
        if name in {"$set", "$addFields"}:
            document = _with_fields(document, argument, scope.at(document))
        elif name == "$unset":
            for path in [argument] if type(argument) is str else argument:
                document = _without(document, split(path))
        elif name in {"$replaceWith", "$replaceRoot"}:
            document = _replaced(argument if name == "$replaceWith" else argument["newRoot"], scope.at(document))
        elif name == "$project":
            document = included(document, argument, scope.at(document))
        else:
            raise NotImplementedError(name)
    return document


def _replaced(expression: Any, scope: Scope) -> Document:
    value = evaluate(expression, scope)
    if type(value) is not dict:
        raise StatementError(40228, f"'newRoot' expression must evaluate to an object, not {type_name(value)}")
    return value


def _with_fields(document: Document, fields: Mapping[str, Any], scope: Scope) -> Document:
    for path, expression in _leaves(fields, ()):
        document = _put(document, path, evaluate(expression, scope))
    return document


def _leaves(fields: Mapping[str, Any], before: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    """The paths of `$set` and their expressions; a document that is no expression holds further fields."""
    leaves: list[tuple[tuple[str, ...], Any]] = []
    for name, expression in fields.items():
        path = (*before, *split(name))
        if type(expression) is dict and expression and next(iter(expression))[:1] != "$":
            leaves += _leaves(expression, path)
        else:
            leaves.append((path, expression))
    return leaves


def _put(value: Any, path: Sequence[str], new: Any) -> Any:
    """A copy with a value at a path: in each element of an array; a scalar on the way is replaced by a document."""
    if not path:
        return new
    if type(value) is list:
        return [_put(item, path, new) for item in value]
    document = dict(value) if type(value) is dict else {}
    inner = _put(document.get(path[0], MISSING), path[1:], new)
    if inner is MISSING:
        document.pop(path[0], None)
    else:
        document[path[0]] = inner
    return document


def _without(value: Any, path: Sequence[str]) -> Any:
    if type(value) is list:
        return [_without(item, path) for item in value]
    if type(value) is not dict or path[0] not in value:
        return value
    if len(path) == 1:
        return {name: item for name, item in value.items() if name != path[0]}
    return {**value, path[0]: _without(value[path[0]], path[1:])}


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
        result = _put(result, split(path), evaluate(expression, scope))
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
