"""Rewrites stored documents while the bot may be running: each by a compare-and-set, like the bot's own writes.

A document that has changed between a read and the write is read again, so that nobody's change is overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from ptb_mongo.codec import BURIED, load, part
from ptb_mongo.codec.renaming import Renaming
from ptb_mongo.driver.operations import Update
from ptb_mongo.errors import DecodeError, DocumentError
from ptb_mongo.migration.data import KINDS, Kind
from ptb_mongo.migration.database import Database
from ptb_mongo.replica.changes import Changes
from ptb_mongo.replica.update import diff
from ptb_mongo.replica.versions import revs_beneath, stored_in

__all__ = ["Rewritten", "migrate", "rename_class"]

_TRIES: Final = 20
_MANY_PATHS: Final = 1000  # as in the bot's own writer

Advance = Callable[[Kind, int], None]


@dataclass(slots=True)
class Rewritten:
    """What was or would be rewritten.

    Attributes:
        documents: How many documents of each kind.
        values: How many values in them.
        problems: What could not be rewritten.
    """

    documents: dict[Kind, int] = field(default_factory=dict)
    values: int = 0
    problems: list[DocumentError] = field(default_factory=list)


class _Rewrite(NamedTuple):
    """The new version of one document."""

    changes: Changes
    values: int = 0
    problems: Sequence[DocumentError] = ()


_Make = Callable[[Kind, bytes], "_Rewrite | None"]


async def rename_class(
    database: Database, old: str, new: str, *, apply: bool, advance: Advance = lambda *_: None
) -> Rewritten:
    """Renames a class in everything that is stored; see `codec.renaming`.

    Args:
        database: The database.
        old: The stored name, including the module.
        new: The current name of the class.
        apply: Whether to write.
        advance: Called with the kind, and how many of its documents were processed since the last call.
    """

    def make(_: Kind, raw: bytes) -> _Rewrite | None:
        renaming = Renaming(old, new)
        if not renaming.may_concern(raw):
            return None
        try:
            plain = load(part(raw).body)
            renamed = renaming.of(plain)
        except RecursionError as error:
            raise DecodeError("it is nested too deeply") from error
        if not renaming.values and not renaming.failed:
            return None
        changes = diff(plain, renamed, at_most=_MANY_PATHS, guards=lambda _: True)
        return _Rewrite(changes, renaming.values, renaming.failed)

    return await _rewrite(database, KINDS, make, apply=apply, advance=advance)


async def migrate(database: Database, *, apply: bool, advance: Advance = lambda *_: None) -> Rewritten:
    """Applies the migrations with which a database was opened to all documents, as the bot would when loading them.

    Args:
        database: The database.
        apply: Whether to write.
        advance: Called with the kind, and how many of its documents were processed since the last call.
    """
    scopes = {kind: scope for kind, scope in database.data_scopes.items() if scope.has_migrations}

    def make(kind: Kind, raw: bytes) -> _Rewrite | None:
        scope = scopes[kind]
        if (found := database.decoded(kind, raw)).error is not None:
            raise found.error
        body = part(raw).body
        if (plain := scope.migrated(body, found.body)) is None:
            return None
        return _Rewrite(scope.changes(body, plain, _MANY_PATHS))

    return await _rewrite(database, scopes, make, apply=apply, advance=advance)


async def _rewrite(
    database: Database, kinds: Iterable[Kind], make: _Make, *, apply: bool, advance: Advance
) -> Rewritten:
    result = Rewritten()
    writes = _Writes(database, make, result, apply=apply)
    for kind in kinds:
        scope = database.scopes[kind]
        result.documents[kind] = 0
        async for raws in database.driver.raw_batches(scope.collection, {}, scope.fields):
            await writes.of(kind, raws)
            advance(kind, len(raws))
    return result


class _Writes:
    """Does the writes, and counts them."""

    def __init__(self, database: Database, make: _Make, result: Rewritten, *, apply: bool) -> None:
        self._database = database
        self._make = make
        self._result = result
        self._apply = apply
        self._count = 0

    async def of(self, kind: Kind, raws: Sequence[bytes], tries: int = _TRIES) -> None:
        """Rewrites documents, retrying if others write them meanwhile."""
        collection = self._database.scopes[kind].collection
        rewrites = [(one, operation) for raw in raws for one, operation in self._prepared(kind, raw)]
        failures = {}
        if self._apply and rewrites:
            failures = await self._database.driver.write(collection, [operation for _, operation in rewrites])
        again: list[Any] = []
        for index, (one, operation) in enumerate(rewrites):
            failure = failures.get(index)
            if failure is not None and failure.outdated and tries > 1:
                again.append(operation.id)
                continue
            if failure is None:
                self._result.documents[kind] += 1
                self._result.values += one.values
            else:
                reason = "others write it again and again" if failure.outdated else failure.reason
                self._result.problems.append(DocumentError(reason).located(collection, operation.id))
            self._result.problems += one.problems
        if again:
            fields = self._database.scopes[kind].fields
            async for some in self._database.driver.raw_batches(collection, {"_id": {"$in": again}}, fields):
                await self.of(kind, some, tries - 1)

    def _prepared(self, kind: Kind, raw: bytes) -> list[tuple[_Rewrite, Update]]:
        scope = self._database.scopes[kind]
        try:
            stored = part(raw)
            if stored.body == BURIED or (made := self._make(kind, raw)) is None:
                return []
        except DocumentError as error:
            document_id, _ = scope.named(raw)
            # A new error, because the traceback of the raised one keeps the whole document alive.
            found = DocumentError(error.reason, path=error.path).located(scope.collection, document_id)
            self._result.problems.append(found)
            return []
        for problem in made.problems:
            problem.located(scope.collection, stored.id)
        if not made.changes:
            self._result.problems += made.problems
            return []
        self._count += 1
        rev = f"{self._database.writer}:{self._count}"
        before = stored_in(stored)
        revs = revs_beneath(rev, before.rev, before.revs)
        extra = {"revs": list(revs)} if revs != before.revs else {}
        return [(made, Update(stored.id, {"rev": {"$eq": before.rev}}, made.changes, rev, extra))]
