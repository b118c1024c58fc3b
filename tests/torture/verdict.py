"""What a run has shown: what is stored in the end, whether all bots have the same, and what the checker finds."""

from __future__ import annotations

import datetime as dtm
import json
import pathlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bson.raw_bson import RawBSONDocument
from checker import Checker, Violation
from edits import DOCUMENTS, RICH
from history import Document, History, load
from keyboards import CACHE, cache_exact, cache_tree
from pymongo import MongoClient
from pymongo.read_concern import ReadConcern
from values import LISTS, TRUSTED, Thing, exact, excluded_in, tree

from ptb_mongo.codec import OPTIONS, Codec

_CODEC: Final = Codec(TRUSTED)


@dataclass
class Result:
    """What a run has shown.

    Attributes:
        seed: Of everything that was decided by chance.
        counts: Of what happened.
        violations: What must not be.
        folder: The histories.
    """

    seed: int
    folder: pathlib.Path
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)

    def add_problems(self, problems: Iterable[str]) -> None:
        """Takes what went wrong, in words."""
        self.violations += [Violation("problem", "", text) for text in problems]

    def add_disagreements(self, differences: Iterable[str]) -> None:
        """Takes how bots and database differ."""
        self.violations += [Violation("disagreement", "", text) for text in differences]


class Stored:
    """What is in the database, by a majority, as the bots would load it.

    Args:
        client: Of the servers.
        name: The database's.

    Attributes:
        data: The values of each document; the cache as PTB has it.
    """

    def __init__(self, client: MongoClient[dict[str, Any]], name: str) -> None:
        database = client.get_database(name, codec_options=OPTIONS, read_concern=ReadConcern("majority"))
        self.data: dict[Document, Any] = {}
        self.half_conversations: list[str] = []
        for scope in ("user_data", "chat_data", "bot_data"):
            for found in database[scope].find():
                self.data[scope, found["_id"]] = _CODEC.decode(found.get("data", {}))
        for found in database.conversations.find():
            self.data["conversations", found["_id"]["key"][0]] = found.get("state")
            parts = {name: found.get(name) for name in ("handler", "key")}
            if found["_id"] != parts and found.get("state") is not None:
                self.half_conversations.append(f"half a conversation is stored: {found}")
        keyboards, queries = [], {}
        for found in database.callback_data.find():
            if "keyboard" in found:
                queries[found["_id"].removeprefix("query:")] = found["keyboard"]
            elif "buttons" in found:
                objects = _CODEC.decode(found["objects"])
                buttons = {button: objects[index] for button, index in found["buttons"].items()}
                keyboards.append((found["_id"], found["accessed_at"], buttons))
        self.data[CACHE] = keyboards, queries

    def trees(self) -> dict[Document, Any]:
        """Everything, as the histories have it."""
        return {key: cache_tree(data) if key == CACHE else tree(data) for key, data in self.data.items()}

    def exactly(self, document: Document) -> Any:
        """One document, as bots write down what they have in memory."""
        data = self.data.get(document)
        return cache_exact(data) if document == CACHE else exact(data)

    def lists(self) -> dict[Document, Any]:
        """The lists that all share, by their paths."""
        return {
            document: {path: list(map(str, _at(self.data.get(document), path))) for path in LISTS}
            for document in DOCUMENTS
            if document[1] in RICH
        }


def _at(data: Any, path: Iterable[str]) -> list[Any]:
    for key in path:
        data = getattr(data, key, None) if isinstance(data, Thing) else (data or {}).get(key)
    return data or []


def revs(client: MongoClient[dict[str, Any]], database: str) -> dict[tuple[str, str], Any]:
    """The last write of each document, by its collection and `_id`."""
    return {
        (scope, str(found["_id"])): found.get("rev")
        for scope in ("user_data", "chat_data", "bot_data", "conversations", "callback_data")
        for found in client[database][scope].find({}, {"rev": 1})
    }


def differences(stored: Stored, bot: str, documents: Iterable[Document], file: pathlib.Path) -> list[str]:
    """How a bot's memory, as it has written it down, differs from what is stored."""
    if not file.exists():
        return [f"{bot} has said nothing"]
    dumped = json.loads(file.read_text(encoding="utf-8"))
    found = [f"{bot} has {dumped['waiting']} changes that are not saved"] if dumped["waiting"] else []
    for document in documents:
        memory, there = dumped["memory"][f"{document[0]} {document[1]}"] or {}, stored.exactly(document) or {}
        if memory != there:
            found.append(f"{bot}, {document[0]} {document[1]}: {_difference(memory, there)}")
    return found


def _difference(memory: object, stored: object) -> str:
    if not (isinstance(memory, dict) and isinstance(stored, dict)):
        return f"memory {memory!r}, database {stored!r}"
    parts = [key for key in {**memory, **stored} if memory.get(key) != stored.get(key)]
    shown = [f"{key}: memory {memory.get(key)!r}, database {stored.get(key)!r}" for key in parts[:3]]
    return f"{len(parts)} keys differ: {'; '.join(shown)}"[:1000]


def judge(result: Result, client: MongoClient[dict[str, Any]], database: str, begun: dtm.datetime) -> None:
    """Checks everything that is left of a run."""
    history, stored = load(result.folder), Stored(client, database)
    checker = Checker(history.writes)
    result.add_problems(history.problems)
    result.add_problems(stored.half_conversations)
    result.violations += checker.check(stored.trees())
    result.violations += checker.check_orders(stored.lists())
    result.violations += checker.check_sightings(history.sightings)
    if found := excluded_in([entry.raw for entry in _oplog(client, begun)]):
        result.add_problems([f"what must never be stored was stored {found} times"])
    result.counts |= _counts(history)


def _oplog(client: MongoClient[dict[str, Any]], begun: dtm.datetime) -> list[RawBSONDocument]:
    """All that was written since then."""
    oplog = client.local.get_collection("oplog.rs", codec_options=OPTIONS.with_options(document_class=RawBSONDocument))
    return list(oplog.find({"wall": {"$gte": begun}}))


def _counts(history: History) -> Counter[str]:
    external = [write for write in history.writes if not write.by_bot]
    health: list[Mapping[str, int]] = [*history.health.values()]
    return Counter(
        {
            "writes": len(history.writes),
            "acknowledged": sum(write.acknowledged for write in history.writes),
            "external edits": len(external),
            "external, acknowledged": sum(write.acknowledged for write in external),
            "save passes": history.counts["acknowledged"],
            "merged values": len(history.sightings),
            "conflicts": sum(numbers["conflicts"] for numbers in health),
            "stale reads": sum(numbers["stale_reads"] for numbers in health),
            "warnings of bots": history.counts["warning"],
            "starts in vain": history.counts["no start"],
            "updates refused, never loaded": history.counts["never loaded"],
            "refusals that bots report": history.counts["refusal"],
            "stops with data spilled": history.counts["spilled"],
            "stops with data unsaved": history.counts["unsaved"],
            "calls beside the application": history.counts["asks"],
            "slowest update, ms": max((numbers["slowest"] for numbers in health), default=0),
        }
    )
