"""`user_data`, `chat_data` and `bot_data`: live objects that are saved to the database and refreshed from it.

A read brings others' edits into the replica, and a three-way merge brings them from there into the live object, without
an `await` in between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.errors import DocumentError, QuarantinedError, UnavailableError, as_encode_error
from ptb_mongo.gc_pause import collector_paused
from ptb_mongo.health import Counters
from ptb_mongo.replica.live import LiveReplica
from ptb_mongo.replica.patch import bring_into
from ptb_mongo.replica.values import Document, same
from ptb_mongo.replica.versions import InHand, Version
from ptb_mongo.scopes.data_form import T
from ptb_mongo.scopes.loadable import check_id
from ptb_mongo.scopes.offering import OfferedData
from ptb_mongo.scopes.partial import Plain, with_parts
from ptb_mongo.types import ScopeName

__all__ = ["DataScope"]


class DataScope(OfferedData[T]):
    """One of `user_data`, `chat_data` and `bot_data`; for its arguments see `DataForm`."""

    def __init__(self, name: ScopeName, collection: str, codec: Codec, counters: Counters, **options: Any) -> None:
        super().__init__(name, collection, codec, counters, **options)
        self._was_loaded = False
        self._void: set[int] = set()  # whose drop PTB is going to tell of, and there is nothing to be deleted

    # -- which documents are known ----------------------------------------------------------------------

    def is_needless(self, replica: LiveReplica) -> bool:
        """See `Collection.is_needless`; one that is deleted and no longer in use can be forgotten."""
        return replica.live is None

    def is_unused(self, replica: LiveReplica) -> bool:
        """See `Collection.is_unused`; what was loaded but is not in use is loaded again."""
        return replica.live is None and not replica.handed_out

    def may_be_released(self, replica: LiveReplica) -> bool:
        """Whether everything in the live object is stored, and nothing is going on with the document."""
        if self._loads or not replica.is_settled:  # a read in progress may be older than what was saved meanwhile
            return False
        if replica in self.unstorable or self.key_of(replica.id) in self.quarantined:
            return False
        try:
            plain = self._plain(replica, replica.live)  # a job may have changed it without telling PTB
        except Exception:  # noqa: BLE001  (whatever it is, a save reports it)
            return False
        return plain.error is None and same(plain.body, replica.target_plain(self))

    def release(self, key: int) -> None:
        """Forgets a document that may be released, and its object: it is read again as if never loaded."""
        self.misses_some()
        self._made_by_others.discard(key)
        del self.replicas[key]

    def is_unread(self, key: int) -> bool:
        """Whether a document could not be read or decoded so far, and nothing is going on with it."""
        replica = self.replicas.get(key)
        if replica is None:
            return True
        is_known = replica.is_loaded and replica.live is not None and key not in self.quarantined
        return not (is_known or self._loads or replica in self.unstorable) and replica.is_given_up

    def is_new(self, key: int, live: T) -> bool:
        """Whether an object is as PTB creates it for somebody new."""
        return self._is_empty(self._plain_or_none(LiveReplica(key), live))

    def release_unused(self) -> None:
        """Forgets documents that were read but have no object in the application."""
        if self._loads:
            return
        for replica in self.replicas.in_use():
            key = self.key_of(replica.id)
            is_named = replica in self.unstorable or key in self.quarantined
            if replica.live is None and replica.is_idle and not is_named:
                self.release(key)

    # -- loading ----------------------------------------------------------------------------------------

    def attached(self, raws: Sequence[bytes]) -> Iterator[tuple[int, T]]:
        """Objects for documents that were read; they become the live ones."""
        if not self._was_loaded:
            unused = self.attached_unused(raws)
            yield from zip(unused.keys, unused.data, strict=True)
            raws = unused.others
        for replica, body in self.loaded(raws):
            if "data" in body or replica.live is not None:
                live = body["data"] if "data" in body else self._new()
                replica.attached(live, is_again=self._was_loaded)
                yield self.key_of(replica.id), live

    def attached_new(self, key: int) -> T:
        """An object for a document that does not exist; it becomes the live one."""
        replica = self.replicas.setdefault(key, LiveReplica(key))
        live = self._new() if replica.target is None else self.codec.decode(replica.target_plain(self))["data"]
        replica.attached(live, is_again=self._was_loaded)
        return live

    def all_loaded(self) -> None:
        """Notes that everything was loaded: a document without a replica does not exist."""
        self.complete = self.is_complete_since_load
        self._was_loaded = True

    def copies(self, raws: Sequence[bytes]) -> Iterator[tuple[int, T]]:
        """Objects for documents that were read, never refreshed or saved; unreadable ones are left out."""
        for raw in raws:
            try:
                key, _, body = self.decoded(raw, load(raw))
            except Exception:  # noqa: BLE001, S112  (whatever it is, a load reports it)
                continue
            if "data" in body:
                yield key, body["data"]

    def all_left(self, keys: Iterable[int]) -> None:
        """Notes that a new application may begin, which has no object yet for some documents."""
        for key in keys:
            if (replica := self.replicas.get(key)) is not None:
                replica.left()

    # -- saving -----------------------------------------------------------------------------------------

    def stage(self, key: int, obj: T) -> LiveReplica | None:
        """Stages a copy of a live object, as it is now.

        If the live object itself is known, that is staged: an update may have saved it since the copy was made.

        Returns:
            The replica to write; `None` if there is nothing to write.

        Raises:
            EncodeError: If it cannot be stored.
            QuarantinedError: If the stored document cannot be read.
        """
        if self.current is not None and (live := self.current(key)) is not None:
            return self.stage_live(key, live)
        return self._stage(self._savable(key), obj)

    def _savable(self, key: int) -> LiveReplica:
        """The replica of a document to save or delete; created if necessary.

        Raises:
            EncodeError: If the id cannot be stored.
        """
        if key not in self.replicas:
            check_id(self, key, key)
        return self.replica(key, key)

    def stage_live(self, key: int, live: T) -> LiveReplica | None:
        """Stages a live object itself, as it is now; see `stage`."""
        self._savable(key)
        replica = self.see(key, live)
        self._fill(replica)
        return self._stage(replica, live)

    def _stage(self, replica: LiveReplica, obj: T, native: Version | None = None) -> LiveReplica | None:
        try:
            plain, bad, _ = self._plain(replica, obj) if native is None or native.plain is None else Plain(native.plain)
            for again, _ in reversed(replica.handed_out):
                if same(plain, self._plain_or_none(replica, again)):
                    # A copy of an object that was loaded at a second start, before any update.
                    self.see(self.key_of(replica.id), again)
                    break
            if self._is_nothing(replica, plain):
                is_new = False
            else:
                is_new = replica.staged_copy(
                    plain,
                    self,
                    lambda: self._plain_or_none(replica, replica.live),
                    lambda merged: self.version(replica, merged, native),
                )
        except QuarantinedError:
            raise
        except Exception as error:
            found = self._explained(obj, as_encode_error(error))
            if self.cannot_store(replica, found):
                raise found from error
            return None
        if bad is None:
            if self.refusal(replica) is None:
                self.can_store(replica)
        elif self.cannot_store(replica, found := self._explained(obj, bad)):
            self.problems.append(found)
        return replica if is_new else None

    def _is_nothing(self, replica: LiveReplica, plain: Document) -> bool:
        """Whether there was no data as far as is known, and still is none: then nothing that others stored changes."""
        is_nothing = replica.base is None or replica.is_buried
        nothing_known = is_nothing and replica.view is None and not replica.is_unsaved
        return nothing_known and same(plain, self._empty)

    def drop(self, key: int) -> LiveReplica | None:
        """Deletes a document, as PTB has dropped its object; if handlers have filled a new one since, stages that.

        Returns:
            The replica to write; `None` if there is nothing to write.

        Raises:
            DocumentError: If it cannot be written.
        """
        if key in self._void:
            self._void.discard(key)
            live = self.current(key) if self.current is not None else None
            return None if live is None else self.stage_unless_empty(key, live)
        replica = self._savable(key)
        if self.is_refused(replica):
            return None
        try:
            return self._drop(replica)
        except DocumentError:
            raise
        except Exception as error:
            raise as_encode_error(error).located(self.collection, replica.id) from error

    def _drop(self, replica: LiveReplica) -> LiveReplica | None:
        key = self.key_of(replica.id)
        self.can_store(replica)
        if self.current is not None:
            replica.replaced_by(self.current(key))
        if replica.is_replaced and not self._is_empty(self._plain_or_none(replica, replica.live)):
            # What the new object lacks is removed field by field: deleting the document and writing the whole object
            # again would restore what others have removed meanwhile.
            return self.stage(key, replica.live)
        return replica if replica.dropped() else None

    def stage_unless_empty(self, key: int, live: T) -> LiveReplica | None:
        """Stages a live object that was created after the deletion of its document, unless it is empty."""
        replica = self._savable(key)
        return None if self._is_empty(self._plain_or_none(replica, live)) else self.stage_live(key, live)

    def erased(self, key: int) -> LiveReplica | None:
        """Deletes a document, whatever was changed since, and empties the objects that were made from it.

        Returns:
            The replica to write; `None` if there is nothing to write.
        """
        replica = self.replicas.get(key)
        held = [] if self.current is None else [self.current(key)]
        if replica is not None:
            held += [replica.live, *(one for one, _ in replica.handed_out)]
        for live in held:
            if live is not None:
                self._make_empty(live)
        if replica is None:
            return None
        self.quarantined.pop(key, None)
        self.can_store(replica)
        replica.replaced_by(None)
        return replica if replica.dropped() else None

    def _make_empty(self, live: Any) -> None:
        if isinstance(live, dict):
            dict.clear(live)
        if type(live) is dict:
            return
        new = self._new()
        try:
            bring_into(live, self._body(live)["data"], self._body(new)["data"], self.codec.decode)
        except Exception:  # noqa: BLE001  (it could not be stored, so we cannot tell which part of it to remove)
            if hasattr(live, "__dict__"):
                vars(live).clear()
                vars(live).update(vars(new))

    def _is_empty(self, plain: Document | None) -> bool:
        return plain is not None and same(plain["data"], self._empty["data"])

    def withdraw(self, key: int, found: InHand) -> None:
        """Withdraws a turn's changes, in the live object, too.

        Args:
            key: The user's, chat's or bot's id.
            found: The state at the beginning of the turn.
        """
        replica = self.replica(key, key)
        live = self.current(key) if self.current is not None else replica.live
        plain = None if live is None else self._plain_or_none(replica, live)
        is_as_found = replica.pending is None or replica.pending is found.pending
        if plain is not None and is_as_found and replica.view is None and same(plain, replica.target_plain(self)):
            return  # other turns that are changing it lose nothing
        replica.withdrawn(found, self)
        self.can_store(replica)
        replica.undone(live, None if plain is None else dump(plain))
        self._fill(replica)

    def void(self, key: int) -> None:
        """PTB's next save pass is not to delete a document: its turn has done that, or was withdrawn."""
        self._void.add(key)

    def is_void(self, key: int) -> bool:
        """Whether the next drop that PTB tells of is void."""
        return key in self._void

    def not_void(self, key: int) -> None:
        """Notes that PTB drops an object again."""
        self._void.discard(key)

    # -- refreshing -------------------------------------------------------------------------------------

    def is_current(self, key: int, live: T) -> bool:
        """Whether an object has all that is known of this user or chat: there is nothing to note, read or merge."""
        try:
            one = self.replicas[key]  # takes half as long as `get`
        except KeyError:
            return False
        return one.is_current(live)

    def is_seen(self, key: int, live: T) -> bool:
        """Whether this object is known to be the one that handlers change, and there is nothing to merge into it."""
        one = self.replicas.get(key)
        return one is not None and one.live is live and one.view is None and not one.handed_out

    def see(self, key: int, live: T) -> LiveReplica:
        """Notes the object that handlers change."""
        replica = self.replica(key, key)
        replica.seen(live, self, lambda: self._plain_or_none(replica, live))
        return replica

    def go_on(self, key: int, error: Exception) -> None:
        """Allows an update to be handled with what was loaded, as nothing can be read now.

        Raises:
            UnavailableError: If nothing was loaded.
        """
        replica = self.replica(key, key)
        if not (replica.is_loaded or replica.is_being_deleted):
            what = f"{self.collection}, _id {key}"
            raise UnavailableError(f"{what}: it was never loaded, and cannot be loaded now: {error}") from error

    def outdated(self, key: int, *, read: bool) -> LiveReplica | None:
        """The replica to read before an update of this user or chat; `None` if that is not necessary.

        Args:
            key: The user's, chat's or bot's id.
            read: Whether to read the document even if it is not stale.
        """
        if self.complete and not read and key not in self.replicas:
            return None
        replica = self.replica(key, key)
        return replica if (read or replica.is_stale) and not replica.is_being_deleted else None

    def catch_up(self, key: int) -> None:
        """Merges what was read into the live object if that lags behind."""
        if (replica := self.replicas.get(key)) is not None and replica.view is not None:
            if self.current is not None and (live := self.current(key)) is not None:
                self.see(key, live)
            self._fill(replica)

    def caught_up(self, keys: Iterable[int], live: Callable[[int], T]) -> None:
        """Merges what was read into many live objects."""
        with collector_paused():
            for key in keys:
                self._fill(self.see(key, live(key)))

    def _fill(self, replica: LiveReplica) -> None:
        """Merges the target into the live object."""
        if replica.view is None or replica.live is None:
            return
        view = replica.view
        try:
            try:
                before, _, left_out = self._plain(replica, replica.live)
            except DocumentError:
                return  # it cannot be stored at all, which its save reports; it is merged when it can be
            after = with_parts(replica.brought(before, self), before, left_out)
            held = self._excluded.held(replica.live)
            bring_into(replica.live, before["data"], after["data"], self.codec.decode)
            self._excluded.put_back(replica.live, held)
        except Exception as error:  # noqa: BLE001  (an error here would break the whole update)
            replica.not_brought(view)
            self.could_not_be_used(replica, error)
