"""Which documents a query may find, and what an aggregation makes of a collection."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cmp_to_key
from typing import Any

from bson.regex import Regex

from mongod.expressions import Scope
from mongod.matching import matches
from mongod.stages import parsed, transformed
from mongod.values import Document, compare, key

__all__ = ["aggregated", "candidates"]

Matching = Callable[[str, Mapping[str, Any], Scope], Iterator[Document]]


def candidates(documents: Mapping[Hashable, Document], query: Mapping[str, Any]) -> Iterable[Document]:
    """The documents that a query may match, in the order in which the server finds them."""
    if "_id" not in query:
        return documents.values()
    wanted = query["_id"]
    if type(wanted) is not dict or next(iter(wanted), "")[:1] != "$":
        if type(wanted) is Regex or type(wanted) is list:
            return documents.values()
        return _by_keys(documents, [wanted])
    if "$eq" in wanted and type(wanted["$eq"]) is not list:
        return _by_keys(documents, [wanted["$eq"]])
    if "$in" in wanted and type(wanted["$in"]) is list:
        ids = wanted["$in"]
        if not any(type(one) in {Regex, list} for one in ids):
            return _by_keys(documents, sorted(ids, key=cmp_to_key(compare)))
    return sorted(documents.values(), key=_by_id)


def _by_keys(documents: Mapping[Hashable, Document], ids: Sequence[Any]) -> list[Document]:
    places = dict.fromkeys(map(key, ids))
    return [documents[place] for place in places if place in documents]


_in_order = cmp_to_key(compare)


def _by_id(document: Document) -> Any:
    return _in_order(document["_id"])


def aggregated(
    collection: str, pipeline: Sequence[Mapping[str, Any]], scope: Scope, matching: Matching
) -> Iterator[Document]:
    """What a pipeline makes of the documents of a collection."""
    stages = list(pipeline)
    first = stages.pop(0)["$match"] if stages and "$match" in stages[0] else {}
    found: Iterator[Document] = matching(collection, first, scope)
    for stage in stages:
        found = _after(stage, found, scope, matching)
    return found


def _after(stage: Mapping[str, Any], found: Iterator[Document], scope: Scope, matching: Matching) -> Iterator[Document]:
    ((name, argument),) = stage.items()
    if name == "$match":
        yield from (document for document in found if matches(document, argument, scope))
    elif name == "$unionWith":
        yield from found
        collection, others = (argument, ()) if type(argument) is str else (argument["coll"], argument["pipeline"])
        yield from aggregated(collection, others, scope, matching)
    else:
        stages = parsed([stage])
        yield from (transformed(document, stages, scope) for document in found)
