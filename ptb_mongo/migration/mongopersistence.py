"""The collections of `mongopersistence` 0.3, a similar package on PyPI: only read, never changed.

A user or chat is a flat document under its id; the bot is `{_id: 0, content: {…}}`; each handler has one document with
its name as `_id`, whose other fields are the keys of conversations in Python's notation: `"(1, 2)"`.
"""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import bson
from bson.codec_options import CodecOptions

from ptb_mongo.codec import OPTIONS
from ptb_mongo.driver import Driver
from ptb_mongo.errors import DecodeError, DocumentError
from ptb_mongo.migration.data import BotData
from ptb_mongo.types import ConversationKey

__all__ = ["PeerCollections", "read_mongopersistence"]

# Dates without a zone, as in bots that use that package.
_OPTIONS: Final[CodecOptions[dict[str, Any]]] = OPTIONS.with_options(tz_aware=False, tzinfo=None)
_LONGEST_KEY: Final = 1000
_BOT: Final = 0


@dataclass(frozen=True, slots=True)
class PeerCollections:
    """The names of that package's collections, which its users choose; `None` for what it did not store."""

    user_data: str | None = None
    chat_data: str | None = None
    bot_data: str | None = None
    conversations: str | None = None


async def read_mongopersistence(
    driver: Driver, names: PeerCollections, advance: Callable[[int], None] = lambda _: None
) -> BotData:
    """Everything that `mongopersistence` has stored.

    Args:
        driver: Its database.
        names: Its collections.
        advance: Called with the number of documents that were read.
    """
    data = BotData()
    for kind, collection in (("user_data", names.user_data), ("chat_data", names.chat_data)):
        target: dict[int, Any] = getattr(data, kind)
        async for document in _documents(driver, collection, data.problems, advance):
            document_id = document.pop("_id")
            if type(document_id) is int:
                target[document_id] = document
            else:
                data.problems.append(_problem("its _id is no number", collection, document_id))
    async for document in _documents(driver, names.bot_data, data.problems, advance):
        if document["_id"] == _BOT and isinstance(document.get("content"), dict):
            data.bot_data = document["content"]
        else:
            data.problems.append(_problem("it is not {_id: 0, content: {...}}", names.bot_data, document["_id"]))
    async for document in _documents(driver, names.conversations, data.problems, advance):
        _take_conversations(data, names.conversations, document)
    return data


def _take_conversations(data: BotData, collection: str | None, document: dict[str, Any]) -> None:
    handler = document.pop("_id")
    if not isinstance(handler, str):
        data.problems.append(_problem("its _id is no handler's name", collection, handler))
        return
    states = data.conversations.setdefault(handler, {})
    for text, state in document.items():
        try:
            key = _conversation_key(text)
        except DecodeError as error:
            data.problems.append(_problem(error.reason, collection, handler, path=text))
            continue
        if state is not None:  # `None` is a conversation that has ended
            states[key] = state


def _conversation_key(text: str) -> ConversationKey:
    """The key that a field's name represents.

    Raises:
        DecodeError: If it does not represent one.
    """
    try:
        key = ast.literal_eval(text) if len(text) <= _LONGEST_KEY else None
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        key = None
    if not isinstance(key, tuple) or not all(type(part) in {int, str} for part in key):
        raise DecodeError("it is not the key of a conversation, such as (1, 2)")
    return key


def _problem(reason: str, collection: str | None, document_id: object, *, path: str = "") -> DocumentError:
    return DecodeError(reason, path=path).located(collection or "", document_id)


async def _documents(
    driver: Driver, collection: str | None, problems: list[DocumentError], advance: Callable[[int], None]
) -> AsyncIterator[dict[str, Any]]:
    if collection is None:
        return
    async for raws in driver.raw_batches(collection, {}, ()):
        for raw in raws:
            try:
                yield bson.decode(raw, _OPTIONS)
            except (bson.errors.BSONError, ValueError) as error:
                problems.append(_problem(f"not valid BSON: {error}", collection, "?"))
        advance(len(raws))
