"""Imports a bot's data into a database: only what is missing there, unless it is told otherwise.

No clock decides anything, as a file does not say when a user was changed: a stored document that differs from the
imported one counts as newer, and stays. So an interrupted import can simply be run again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, get_args

from ptb_mongo.codec import MAX_SIZE, dump, load, part
from ptb_mongo.codec.troubles import told
from ptb_mongo.driver.operations import Insert, Update
from ptb_mongo.errors import ConfigurationError, DocumentError, EncodeError
from ptb_mongo.migration.data import KINDS, BotData, Kind
from ptb_mongo.migration.database import Database, Stored
from ptb_mongo.migration.skipping import leave_out, refused_value
from ptb_mongo.replica.update import diff
from ptb_mongo.replica.values import Document
from ptb_mongo.scopes.exclusion import Exclusion
from ptb_mongo.scopes.loadable import check_id, check_loadable
from ptb_mongo.types import Exclude, ScopeName

__all__ = ["Importer", "Report", "Tally"]

_BATCH: Final = 1000
_HEADROOM: Final = 1024  # bytes for `_id`, `rev`, `updated_at`


_NOTHING: Final = Exclusion()


def _ways_out(kind: Kind, paths: list[str] | None) -> list[str]:
    """The options for dealing with values that cannot be stored."""
    ways = ["--skip leaves it out"]
    if paths and kind in get_args(ScopeName):
        ways.append(" ".join(["or", *(f"--drop-path {kind}.{path}" for path in paths)]))
    return ways


@dataclass(slots=True)
class Tally:
    """The counts of an import for one kind of data.

    Attributes:
        found: Documents in the source; users without data have none.
        new: Those that the database lacks.
        same: Those that it already has.
        different: Those that it has in a different version, which counts as newer.
        unreadable: Those that it has in a version that cannot be read, which is never overwritten.
        refused: Those that cannot be stored.
        written: Those that were written.
    """

    found: int = 0
    new: int = 0
    same: int = 0
    different: int = 0
    unreadable: int = 0
    refused: int = 0
    written: int = 0


@dataclass(slots=True)
class Report:
    """What an import has done or would do.

    Attributes:
        tallies: The counts, for each kind of data.
        problems: What could not be read or stored, each with its place and the reason.
        refused: Names of classes that may not be loaded, each with the reason.
        left_out: What was left out of documents, each with its place.
    """

    tallies: dict[Kind, Tally] = field(default_factory=lambda: {kind: Tally() for kind in KINDS})
    problems: list[DocumentError] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    left_out: list[DocumentError] = field(default_factory=list)


@dataclass(slots=True)
class _Wanted:
    """One document of the source."""

    id: Any
    key: Any
    plain: Document


class Importer:
    """Imports data into a database.

    Args:
        database: The database.
        apply: Whether to write; otherwise, only reports what would happen.
        overwrite: Whether to replace what differs in the database by what the source has.
        bot_id: The bot's id, under which its data is stored.
        skip: Whether to leave values that cannot be stored out of their documents; otherwise, these are refused.
        drop: Paths to leave out in any case, as for `exclude`.
        advance: Called after each batch, with the kind of data and the number of documents.
    """

    def __init__(
        self,
        database: Database,
        *,
        apply: bool,
        overwrite: bool = False,
        bot_id: int | None = None,
        skip: bool = False,
        drop: Exclude | None = None,
        advance: Callable[[Kind, int], None] = lambda *_: None,
    ) -> None:
        self._database = database
        self._apply = apply
        self._overwrite = overwrite
        self._bot_id = bot_id
        self._skip = skip
        self._drop: dict[str, Exclusion] = {kind: Exclusion(paths) for kind, paths in (drop or {}).items()}
        self._left_out: list[DocumentError] = []
        self._advance = advance
        self._count = 0

    async def run(self, data: BotData) -> Report:
        """Imports everything.

        Raises:
            ConfigurationError: If there is `bot_data`, and the bot's id is unknown.
            FormatError: If a newer version has written the database.
            UnavailableError: If the server becomes unreachable; what was written stays, and the import can be repeated.
        """
        if data.bot_data and self._bot_id is None:
            raise ConfigurationError("there is data of the bot itself, which is stored under the bot's id: pass the id")
        await self._database.format()
        if self._apply and self._bot_id is not None:
            await self._database.begin(self._bot_id)
        report = Report(problems=list(data.problems), refused=data.refused, left_out=self._left_out)
        for kind in KINDS:
            batch: list[_Wanted] = []
            seen = 0
            for wanted in self._documents(kind, data, report):
                seen += 1
                if wanted is not None:
                    batch.append(wanted)
                if len(batch) == _BATCH:
                    await self._import(kind, batch, report)
                    batch = []
                if seen == _BATCH:
                    self._advance(kind, seen)
                    seen = 0
            await self._import(kind, batch, report)
            self._advance(kind, seen)
        return report

    # -- what to store ----------------------------------------------------------------------------------

    def _documents(self, kind: Kind, data: BotData, report: Report) -> Iterator[_Wanted | None]:
        """The documents of one kind; `None` for an entry that has none or cannot be stored, which is noted."""
        scope = self._database.scopes[kind]
        tally = report.tallies[kind]
        for document_id, plain in self._encoded(kind, data):
            if plain is None:
                yield None
                continue
            tally.found += 1
            try:
                if isinstance(plain, DocumentError):
                    raise plain
                key = scope.key_of(document_id)
                check_id(scope, key, document_id)
                if (size := len(dump(plain))) > MAX_SIZE - _HEADROOM:
                    raise EncodeError(f"it would have {size:,} bytes, and MongoDB takes {MAX_SIZE:,}")
            except DocumentError as error:
                tally.refused += 1
                report.problems.append(error.located(scope.collection, document_id))
                yield None
            else:
                yield _Wanted(document_id, key, plain)

    def _encoded(self, kind: Kind, data: BotData) -> Iterator[tuple[Any, Document | DocumentError | None]]:
        """Each `_id` with its document, or why it cannot be stored; `None` if there is nothing to store."""
        if kind == "callback_data":
            documents = self._database.callback_data.documents(data.callback_data) if data.callback_data else {}
            for position, (document_id, plain) in enumerate(documents.items()):
                yield document_id, plain if isinstance(plain, DocumentError) else {"position": position, **plain}
        elif kind == "conversations":
            for handler, states in data.conversations.items():
                for key, state in states.items():
                    place = {"handler": handler, "key": list(key) if isinstance(key, tuple) else key}
                    yield place, None if state is None else self._plain(kind, place, {"state": state}, place)
        else:
            values = {self._bot_id: data.bot_data} if kind == "bot_data" else getattr(data, kind)
            for owner, value in values.items():
                data_of_one = self._plain(kind, owner, {"data": value}, {})
                yield owner, None if value is None or data_of_one == {"data": {}} else data_of_one

    def _plain(self, kind: Kind, document_id: Any, value: Document, beside: Document) -> Document | DocumentError:
        scope = self._database.scopes[kind]
        (field_name,) = value
        drop = self._drop.get(kind, _NOTHING)
        value = {field_name: drop.without(value[field_name])}
        try:
            encoded = self._encoded_or_less(kind, document_id, value)
            plain = {**beside, field_name: drop.stripped(encoded[field_name])}
            if scope.codec.may_not_load:
                check_loadable(scope, scope.key_of(document_id), plain)
        except DocumentError as error:
            return error
        return plain

    def _encoded_or_less(self, kind: Kind, document_id: Any, value: Document) -> Document:
        """A value's plain form; with `skip`, without what cannot be stored.

        Raises:
            EncodeError: If it cannot be stored; it names everything that prevents it.
        """
        scope = self._database.scopes[kind]
        (held,) = value.values()
        try:
            encoded: Document = scope.codec.encode(value)
        except EncodeError as error:
            if self._skip and (left := leave_out(held, scope.codec)):
                encoded = scope.codec.encode(value)
                self._left_out += [
                    EncodeError(f"{one.name} was left out", path=one.path).located(scope.collection, document_id)
                    for one in left
                ]
                return encoded
            found = scope.codec.troubles(held, refused_value)
            reason = told(found, None, error.reason, ways=lambda _, paths, __: _ways_out(kind, paths))
            raise EncodeError(reason or error.reason, path=error.path) from error
        return encoded

    # -- what exists already ----------------------------------------------------------------------------

    async def _import(self, kind: Kind, batch: list[_Wanted], report: Report) -> None:
        if not batch:
            return
        collection = self._database.scopes[kind].collection
        tally = report.tallies[kind]
        there: dict[Any, Stored] = {}
        async for stored in self._database.read(kind, {"_id": {"$in": [wanted.id for wanted in batch]}}):
            there[stored.key] = stored
        operations = [one for wanted in batch if (one := self._operation(kind, wanted, there.get(wanted.key), tally))]
        if not self._apply or not operations:
            return
        failures = await self._database.driver.write(collection, operations)
        tally.written += len(operations) - len(failures)
        for index, failure in failures.items():
            operation = operations[index]
            if isinstance(operation, Insert) and failure.outdated:  # somebody has just created it
                tally.new -= 1
                tally.different += 1
                continue
            problem = DocumentError(f"it was not written: {failure.reason}")
            report.problems.append(problem.located(collection, operation.id))

    def _operation(self, kind: Kind, wanted: _Wanted, stored: Stored | None, tally: Tally) -> Insert | Update | None:
        """The write for a document, if it needs one; updates the counts."""
        self._count += 1
        rev = f"{self._database.writer}:{self._count}"
        if stored is None:
            tally.new += 1
            return Insert(wanted.id, {**wanted.plain, "rev": rev})
        if stored.error is not None:
            tally.unreadable += 1
            return None
        parts = part(stored.raw)
        base = load(parts.body)
        if "data" in base:  # dropped paths are not removed from what is stored
            base["data"] = self._drop.get(kind, _NOTHING).stripped(base["data"])
        plain = wanted.plain
        if "position" in plain:  # a relative position, which differs from database to database
            plain = {**plain, "position": base["position"]}
        changes = diff(base, plain, self._database.scopes[kind].canonical_value)
        if not changes:
            tally.same += 1
            return None
        tally.different += 1
        return Update(stored.id, {"rev": parts.rev}, changes, rev) if self._overwrite else None
