"""Backs up and restores a bot's documents, byte for byte, even while the bot runs.

A backup is read at one point in time if the server offers that. A restore replaces what differs from the backup only
if it is told to, as what is stored now is newer. To a running bot, restored documents are edits by others.
"""

from __future__ import annotations

import asyncio
import datetime as dtm
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import bson

import ptb_mongo
from ptb_mongo.driver.decoding import ANYTHING
from ptb_mongo.errors import ConfigurationError, DocumentError, FormatError
from ptb_mongo.migration.backup_file import BackupReader, BackupWriter, Block
from ptb_mongo.migration.database import Database
from ptb_mongo.people.stored import names
from ptb_mongo.people.subject import Subject
from ptb_mongo.scopes.ids import whole_number
from ptb_mongo.sync.format import FORMAT_VERSION, check
from ptb_mongo.sync.vanishing import ORDER, RESTORED

__all__ = ["BACKED_UP", "BackedUp", "Restored", "back_up", "restore", "restore_from_bots"]

BACKED_UP: Final = ("user_data", "chat_data", "bot_data", "conversations", "callback_data", "jobs")
"""The collections in a backup, with their quarantines. Leases are not included, as their holders will have changed."""

_ASKED: Final = 60
_PAUSE: Final = 0.5  # seconds between two checks of what the bots have stored
_STEADY: Final = 4  # checks without anything new, as no bot reports that it has stored everything
_MOST: Final = 4 << 20  # bytes that are written with one command
_READ: Final = 5000  # documents that are read at once, while the previous ones are compressed
_AHEAD: Final = 2  # commands and blocks at once
_NUMBER: Final = frozenset({int, bson.Int64, float})
_OF_THE_FORMAT: Final = {
    "version": _NUMBER,
    "bot_id": _NUMBER,
    "created_at": frozenset({dtm.datetime}),
    "proof": frozenset({str}),
}
_KINDS: Final = frozenset(kind for kind in BACKED_UP for kind in (kind, f"{kind}_quarantine"))

Advance = Callable[[str, int], None]


class BackedUp(NamedTuple):
    """What a backup contains.

    Attributes:
        documents: The number of documents of each collection.
        size: The size of the file in bytes.
        is_snapshot: Whether all documents are from one point in time.
    """

    documents: dict[str, int]
    size: int
    is_snapshot: bool


@dataclass(slots=True)
class Restored:
    """What a restore has found and done, by collection.

    Attributes:
        in_backup: How many of the wanted documents are in the backup.
        new: Those that are not stored.
        same: Those that are stored identically.
        different: Those that are stored in a different version, which counts as newer.
        written: Those that were written.
        problems: Why others were not written.
    """

    in_backup: Counter[str] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)
    same: Counter[str] = field(default_factory=Counter)
    different: Counter[str] = field(default_factory=Counter)
    written: Counter[str] = field(default_factory=Counter)
    problems: list[DocumentError] = field(default_factory=list)


async def back_up(database: Database, path: Path, advance: Advance = lambda _, __: None) -> BackedUp:
    """Writes all documents of a bot to a file.

    Args:
        database: The database.
        path: The file.
        advance: Called with the progress.

    Raises:
        ConfigurationError: If there is nothing to back up.
    """
    form = await database.format() or {}
    async with database.driver.snapshot() as moment:
        header = {
            "made_by": ptb_mongo.__version__,
            "made_at": dtm.datetime.now(dtm.timezone.utc),
            "database": database.name,
            "format": {name: form[name] for name in _OF_THE_FORMAT if name in form},
            "is_snapshot": moment is not None,
        }
        with await asyncio.to_thread(BackupWriter, path, header) as writer:
            writing: asyncio.Task[None] | None = None
            try:
                for kind, collection in _collections(database.prefix):
                    async for raws in database.driver.raw_batches(collection, {}, (), session=moment, batch_size=_READ):
                        if writing is not None:
                            await writing
                        writing = asyncio.create_task(asyncio.to_thread(writer.put, Block(kind, raws)))
                        advance(kind, len(raws))
            finally:
                if writing is not None:
                    await writing
            if not writer.counts and not form:  # perhaps a name is misspelled: nobody should rely on such a file
                under = f", under the prefix {database.prefix!r}" if database.prefix else ""
                raise ConfigurationError(f"nothing of a bot is stored in {database.name!r}{under}: no file was written")
            size = await asyncio.to_thread(writer.finish)
    return BackedUp(dict(writer.counts), size, moment is not None)


def _collections(prefix: str) -> Iterator[tuple[str, str]]:
    for _, collection in names(prefix):
        if (kind := collection.removeprefix(prefix)) in _KINDS:
            yield kind, collection


async def restore(
    database: Database,
    reader: BackupReader,
    *,
    subject: Subject | None = None,
    apply: bool = False,
    overwrite: bool = False,
    advance: Advance = lambda _, __: None,
) -> Restored:
    """Writes documents of a backup, or finds out what that would change.

    Args:
        database: The database.
        reader: The backup.
        subject: Whose documents to restore; by default, all.
        apply: Whether to write.
        overwrite: Whether to replace what is stored in a different version.
        advance: Called with the progress.

    Raises:
        ConfigurationError: If the file is damaged (everything before the damage has then been restored), belongs to
            another bot, or has a newer version.
    """
    restored = Restored()
    form = _format_in(reader.header)
    await _check_owner(database, form)
    if apply and subject is None and form:
        await database.driver.insert_if_missing(database.format_collection, "format", form)
    blocks = reader.blocks()
    running: set[asyncio.Task[None]] = set()
    try:
        while (block := await asyncio.to_thread(next, blocks, None)) is not None:
            if block.kind not in _KINDS:
                continue
            usable = [raw for raw in block.raws if _is_usable(block.kind, raw, restored)]
            raws = usable if subject is None else [raw for raw in usable if _is_of(subject, block.kind, raw)]
            restored.in_backup[block.kind] += len(raws)
            for some in _pieces(raws):
                while len(running) >= _AHEAD:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in done:
                        task.result()
                work = _restore_some(database, Block(block.kind, some), restored, apply=apply, overwrite=overwrite)
                running.add(asyncio.create_task(work))
            advance(block.kind, len(block.raws))
        for task in running:
            await task
    finally:
        for task in running:
            task.cancel()
    return restored


def _pieces(raws: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Documents in pieces, each for one command."""
    start = size = 0
    for index, raw in enumerate(raws):
        if size and size + len(raw) > _MOST:
            yield raws[start:index]
            start, size = index, 0
        size += len(raw)
    if start < len(raws):
        yield raws[start:]


def _is_usable(kind: str, raw: bytes, restored: Restored) -> bool:
    """Whether something is a document that a server can store; otherwise, notes a problem."""
    try:
        document = bson.decode(raw, ANYTHING)
    except (bson.errors.BSONError, RecursionError) as error:
        restored.problems.append(DocumentError(f"it cannot be read ({type(error).__name__})").located(kind, "?"))
        return False
    if "_id" in document:
        return True
    restored.problems.append(DocumentError("it has no _id").located(kind, "?"))
    return False


def _is_of(subject: Subject, kind: str, raw: bytes) -> bool:
    return subject.owns(kind.removesuffix("_quarantine"), bson.decode(raw, ANYTHING))


async def _restore_some(database: Database, block: Block, restored: Restored, *, apply: bool, overwrite: bool) -> None:
    collection = f"{database.prefix}{block.kind}"
    there: Sequence[bytes] = block.raws
    if apply:
        failures = await database.driver.insert_raw(collection, block.raws)
        done = len(block.raws) - len(failures)
        restored.new[block.kind] += done
        restored.written[block.kind] += done
        there = []
        for index, failure in failures.items():
            if failure.outdated:
                there.append(block.raws[index])
            else:
                restored.problems.append(_problem(collection, block.raws[index], failure.reason))
    if not there:
        return
    stored: dict[bytes, bytes] = {}
    ids = [bson.decode(raw, ANYTHING)["_id"] for raw in there]
    async for raws in database.driver.raw_batches(collection, {"_id": {"$in": ids}}, ()):
        stored |= {_key(raw): raw for raw in raws}
    different = []
    for raw in there:
        now = stored.get(_key(raw))
        counter = restored.new if now is None else restored.same if now == raw else restored.different
        counter[block.kind] += 1
        if now is not None and now != raw:
            different.append(raw)
    if apply and overwrite and different:
        failures = await database.driver.replace_raw(collection, different)
        restored.written[block.kind] += len(different) - len(failures)
        restored.problems += [
            _problem(collection, different[index], failure.reason) for index, failure in failures.items()
        ]


def _key(raw: bytes) -> bytes:
    """The `_id` of a document as bytes; equal for numbers that MongoDB treats as equal."""
    document_id = bson.decode(raw, ANYTHING)["_id"]
    if type(document_id) in {int, float, bson.Int64} and float(document_id).is_integer():
        document_id = bson.Int64(document_id)
    return bson.encode({"": document_id})


def _problem(collection: str, raw: bytes, reason: str) -> DocumentError:
    return DocumentError(reason).located(collection, bson.decode(raw, ANYTHING)["_id"])


async def restore_from_bots(database: Database) -> dict[str, int] | None:
    """Makes every running bot store what it has in memory, after its database was dropped.

    Returns:
        How many documents of each collection exist when nothing new has come for two seconds; `None` if no bot has
        answered.
    """
    order = {ORDER: "bot", "number": uuid.uuid4().hex}
    await database.driver.insert_if_missing(
        database.format_collection, order, {"at": dtm.datetime.now(dtm.timezone.utc)}
    )
    before: dict[str, int] | None = None
    steady = 0
    try:
        for _ in range(_ASKED):
            await asyncio.sleep(_PAUSE)
            form = await database.format() or {}
            now = await _counts(database) if form.get(RESTORED) == order["number"] else None
            steady = steady + 1 if now and now == before else 0
            if steady == _STEADY:
                break
            before = now
    finally:
        await database.driver.delete_all(database.format_collection, {"_id": {"$eq": order}})
    return before


async def _counts(database: Database) -> dict[str, int]:
    counts = {}
    for kind, collection in _collections(database.prefix):
        answer = await database.driver.command({"count": collection})
        if answer["n"]:
            counts[kind] = int(answer["n"])
    return counts


def _format_in(header: Mapping[str, Any]) -> dict[str, Any]:
    """The version and the bot in a backup's header, reduced to what a format document has, as anybody may have made it.

    Raises:
        ConfigurationError: If its documents have a newer form.
    """
    stored = header.get("format")
    found = stored if type(stored) is dict else {}
    known = {name: found[name] for name, kind in _OF_THE_FORMAT.items() if type(found.get(name)) in kind}
    if not known:
        return {}
    try:
        check({"version": FORMAT_VERSION, **known}, "the backup", token="")
    except FormatError as error:
        raise ConfigurationError(
            f"the backup has the format {known['version']}, and this version of ptb_mongo knows {FORMAT_VERSION}: "
            "install a newer one (pip install -U ptb-mongo)"
        ) from error
    return {**known, "version": FORMAT_VERSION}


async def _check_owner(database: Database, form: Mapping[str, Any]) -> None:
    """Checks that a database is empty, or belongs to the same bot.

    Raises:
        ConfigurationError: If it belongs to another bot.
    """
    there = whole_number((await database.format() or {}).get("bot_id"))
    bot = whole_number(form.get("bot_id"))
    if there and bot and there != bot:
        raise ConfigurationError(
            f"the backup is of bot {bot}, and {database.name} belongs to bot {there}: "
            "restore it into an empty database, or under a --collection-prefix"
        )
