"""The form of `user_data`, `chat_data` and `bot_data`: what is stored, and what decides a conflict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

from ptb_mongo.codec import Codec, dump
from ptb_mongo.codec.documents import value_of
from ptb_mongo.errors import DecodeError, DocumentError, EncodeError, as_encode_error
from ptb_mongo.health import Counters
from ptb_mongo.log import get_logger
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.conflicts import Strategies
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.replica.merge import merge
from ptb_mongo.replica.schema import SCHEMA, Steps, is_newer, without_schema
from ptb_mongo.replica.values import Document, Keys, Path, fields_inside
from ptb_mongo.replica.versions import Stored, Version
from ptb_mongo.scopes.exclusion import Exclusion
from ptb_mongo.scopes.ids import whole_number
from ptb_mongo.scopes.loadable import check_loadable, other_type
from ptb_mongo.scopes.partial import Plain, part_of
from ptb_mongo.types import OnConflict, ScopeName

__all__ = ["DataForm", "T"]

_LOGGER = get_logger(__name__)

_SCHEMA_IN_BYTES = SCHEMA.encode()  # hardly any document contains it

T = TypeVar("T")


class DataForm(Collection[LiveReplica], Generic[T]):
    """The form of one of `user_data`, `chat_data` and `bot_data`.

    Args:
        name: The scope's name.
        collection: The collection's name.
        codec: Encodes and decodes values.
        counters: Counts what happens.
        new: Creates an empty object, as defined by `ContextTypes`.
        excluded: Paths of values that are never stored; see `Exclusion`.
        on_conflict: Decides conflicts.
        migrations: Functions for data that was stored before they were written.
    """

    def __init__(
        self,
        name: ScopeName,
        collection: str,
        codec: Codec,
        counters: Counters,
        *,
        new: Callable[[], T],
        excluded: Iterable[str] = (),
        on_conflict: OnConflict = "local",
        migrations: Sequence[Callable[[Any], Any]] = (),
    ) -> None:
        self._steps = Steps(migrations)
        # With the number of migrations even if this bot has none: a newer one may have some.
        super().__init__(collection, ("data", SCHEMA), codec, counters, LiveReplica)
        self._name = name
        self._new = new
        self._type = type(new())
        self._excluded = Exclusion(excluded)
        self._strategies = Strategies(
            name, on_conflict, encode=codec.encode, decode=codec.decode, on_error=self._not_decided
        )
        self._empty = self._body(new()) | self._schema(None)

    def key_of(self, document_id: Any) -> int:
        """See `Collection.key_of`."""
        if (number := whole_number(document_id)) is not None:
            return number
        raise DecodeError(f"its _id is a {type(document_id).__name__}, and should be the id of a user or chat")

    def canonical(self, raw: bytes | None) -> Document:
        """See `Collection.canonical`; a document without data counts as an empty object."""
        plain = super().canonical(raw)
        if "data" not in plain:
            return {**plain, **self._empty, **self._schema(raw)}
        return self._upgraded_plain(raw, plain) if self._steps and raw is not None else plain

    def _upgraded_plain(self, raw: bytes, plain: Document) -> Document:
        """The plain form of a stored document after the due migrations, unless they fail."""
        try:
            if self._steps.are_due(raw):
                plain = self._body(self.upgraded(self.codec.decode(plain))["data"])
        except DocumentError:
            return plain
        return {**plain, **self._schema(raw)}

    def _schema(self, raw: bytes | None) -> Document:
        """The field with the number of migrations to write into a document; may be empty.

        Args:
            raw: The stored bytes, or those to store; `None` if there is no document.
        """
        if self._steps:
            return {SCHEMA: self._steps.number_of(raw)}
        known = None if raw is None or _SCHEMA_IN_BYTES not in raw else value_of(raw, SCHEMA)
        return {SCHEMA: known} if self._steps.counts(known) else {}

    def upgraded(self, body: Document) -> Document:
        """See `Collection.upgraded`."""
        return self._steps.applied(body) if self._steps else body

    @property
    def has_migrations(self) -> bool:
        """Whether there are any migrations."""
        return bool(self._steps)

    def migrated(self, raw: bytes, body: Document) -> Document | None:
        """The plain form of a document that `upgraded` has changed; `None` if there was nothing to change.

        Args:
            raw: The stored bytes.
            body: What `upgraded` has returned.
        """
        if not self._steps or "data" not in body or not self._steps.are_due(raw):
            return None
        return self._body(body["data"]) | self._schema(raw)

    def note_upgrade(self, replica: LiveReplica, stored: Stored, body: Document) -> None:
        """See `Collection.note_upgrade`."""
        if (plain := self.migrated(stored.body, body)) is not None:
            replica.staged(Version(plain, dump(plain)))
            self.on_upgraded(replica)

    def check(self, key: Any, body: Document) -> None:  # noqa: ARG002
        """See `Collection.check`."""
        if "data" in body and not isinstance(body["data"], self._type):
            raise DecodeError(other_type(self._name, self._type, body["data"]), path="data")

    def _body(self, obj: Any) -> Document:
        """The plain document of an object, without excluded values."""
        if self._excluded:
            obj = self._excluded.without(obj)
        body: Document = self.codec.encode({"data": obj})
        return self.ours(body)

    def ours(self, body: Document) -> Document:
        """See `Collection.ours`; excluded values are not ours, though others may store them."""
        if SCHEMA in body:  # comes after the data, wherever others have put it
            schema = {SCHEMA: body[SCHEMA]} if self._steps or self._steps.counts(body[SCHEMA]) else {}
            return {**self.ours(without_schema(body)), **schema}
        if not self._excluded or "data" not in body:
            return body
        data = self._excluded.stripped(body["data"])
        return body if data is body["data"] else {**body, "data": data}

    def _plain(self, replica: LiveReplica, obj: T) -> Plain:
        """The plain form of an object; a part that cannot be stored is replaced by what is stored there now.

        Raises:
            EncodeError: If none of it can be stored.
        """
        if not isinstance(obj, self._type):
            raise EncodeError(other_type(self._name, self._type, obj), path="data")
        try:
            return Plain(self._loadable(replica, obj))
        except EncodeError as error:
            inside = fields_inside(replica.target_plain(self).get("data"))
            if inside is None or inside[0]:
                raise
            plain = part_of(obj, inside[1], lambda one: self._loadable(replica, one), error)
            return plain._replace(body=plain.body | self._schema(replica.target))

    def _loadable(self, replica: LiveReplica, obj: T) -> Document:
        """The plain document of an object, from which the next start will be able to restore it.

        Raises:
            EncodeError: If it could not be restored.
        """
        try:
            plain = self._body(obj) | self._schema(replica.target)
            if self.codec.may_not_load:
                check_loadable(self, replica.id, plain)
        except Exception as error:
            raise as_encode_error(error) from error
        return plain

    def explained(self, plain: Document, error: DecodeError) -> DecodeError:
        """See `Collection.explained`."""
        return self.codec.explained_unreadable(plain.get("data"), error, self._name)

    def _explained(self, obj: Any, error: EncodeError) -> EncodeError:
        """An error that names everything in an object that cannot be stored.

        It is created at each failed save, as only the complete list shows whether there is anything new to report.
        """
        try:
            left = self._excluded.without(obj)
        except Exception:  # noqa: BLE001  (the object's own class may raise anything; the first reason must do)
            return error
        return self.codec.explained(left, error, self._name)

    def _plain_or_none(self, replica: LiveReplica, obj: Any) -> Document | None:
        try:
            return self._plain(replica, obj).body if obj is not None else None
        except Exception:  # noqa: BLE001  (whatever it is, the save of the object reports it)
            return None

    def is_guarded(self, keys: Keys) -> bool:
        """See `Collection.is_guarded`."""
        return self._strategies.guards(keys)

    def merged(
        self, document_id: Any, base: Document, local: Document, remote: Document, *, yields: bool = False
    ) -> Document:
        """See `Collection.merged`; data migrated by a newer version of the bot wins over data in the old form."""
        schema = {SCHEMA: remote[SCHEMA]} if SCHEMA in remote else {}  # the bot itself never changes it
        resolver = self._strategies.resolver(document_id, self._noted, yields=yields or is_newer(remote, base))
        return merge(without_schema(base), without_schema(local), without_schema(remote), resolver) | schema

    def changed_paths(self, base: bytes | None, plain: Document) -> list[Path]:
        """See `DocumentForm.changed_paths`; what migrations have changed is saved as a whole or not at all."""
        paths = super().changed_paths(base, plain)
        return [] if (SCHEMA,) in paths else paths

    def unsaved(
        self, document_id: Any, stored: Stored | None, version: Version, sent: dict[str, Version], writer: str
    ) -> LiveReplica:
        """See `Collection.unsaved`; an earlier version of the bot may have left it."""
        if version.raw is not None and version.plain is not None and (self._steps or SCHEMA in version.plain):
            plain = self.canonical(version.raw)
            version = version._replace(plain=plain, raw=dump(plain))
        return super().unsaved(document_id, stored, version, sent, writer)

    def _noted(self) -> None:
        self.counters.conflicts += 1

    def _not_decided(self, document_id: Any, _: Exception) -> None:
        # Called while the exception is handled.
        _LOGGER.exception(  # noqa: LOG004
            "on_conflict failed for %s, _id %s; the bot's value is kept", self.collection, document_id
        )
