"""The states of conversations: one document for each handler and conversation."""

from __future__ import annotations

import collections
from collections.abc import Sequence
from typing import Any, Final, Protocol

import telegram
from telegram.ext import ConversationHandler

from ptb_mongo.codec import BURIED, Codec, load
from ptb_mongo.errors import DecodeError, DocumentError, QuarantinedError, as_encode_error
from ptb_mongo.health import Counters
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.values import MISSING, Document, same
from ptb_mongo.replica.versions import InHand, Version
from ptb_mongo.scopes.ids import whole_number
from ptb_mongo.scopes.loadable import check_id, check_loadable
from ptb_mongo.types import ConversationDict, ConversationKey

__all__ = ["ConversationScope", "States", "is_over"]

_FIELDS: Final = ("handler", "key", "state")
_USUAL_STATES: Final = {int, str, type(None)}
_NO_KEY: Final = "its _id is not {handler: <text>, key: [<numbers and texts>]}"
_MOST_ENDED: Final = 1000  # that each worker remembers, and as many more as are ongoing
_MOST_OF_ONE_HASH: Final = 100  # honest keys are ids, of which hardly ever two have the same hash
_MOST_KNOWN: Final = 20_000  # if others may begin conversations: above that, nonexistent ones are forgotten
_Key = tuple[str, ConversationKey]


class States(Protocol):
    """The states that the handlers hold, if other workers may change the stored ones."""

    def now(self, handler: str, key: ConversationKey) -> object:
        """The state of a conversation; `None` if there is none, `MISSING` if it is unknown."""

    def arrived(self, handler: str, key: ConversationKey, state: object) -> None:
        """Handles a new state that another worker has set; `None` ends the conversation."""

    def went_on(self, handler: str, key: ConversationKey) -> None:
        """Handles an update of a conversation by another worker that left the state unchanged."""

    def noticed(self, handler: str, key: ConversationKey, replica: Replica) -> None:
        """Handles the report that another worker has written or deleted a conversation."""


def is_over(state: Any) -> bool:
    """Whether a state ends a conversation; one that cannot be compared, such as a numpy array, does not."""
    try:
        return bool(state is None or state == ConversationHandler.END)
    except Exception:  # noqa: BLE001
        return False


def _check_comparable(state: Any) -> None:
    """Checks that PTB can compare a state with the end of a conversation, as it does at its start.

    Raises:
        DecodeError: If it cannot: the start would fail.
    """
    try:
        bool(state == ConversationHandler.END)
    except Exception as error:  # whatever its own code may do
        what = f"a {type(state).__qualname__} that cannot be compared ({type(error).__name__})"
        raise DecodeError(f"{what} is no state", path="state") from error


class ConversationScope(Collection[Replica]):
    """The collection of all conversations' states."""

    always: Sequence[str] = ("handler", "key")
    # A stored state means that its update is complete, with all of its changes; and the states of nested conversations
    # change together.
    last: bool = True
    ended: Document = {"state": None}  # noqa: RUF012

    copied = False

    def __init__(self, collection: str, codec: Codec, counters: Counters) -> None:
        super().__init__(collection, _FIELDS, codec, counters, Replica)
        self.complete = True  # all states of a handler are loaded before the first update
        self.live: States | None = None
        """The states that the handlers hold, where other workers may change the stored ones; otherwise `None`."""
        self._most = _MOST_KNOWN
        self._loaded_handlers: set[str] = set()
        self._ended: dict[_Key, None] = {}  # those that are over, in the order of their last use
        self._hashes: collections.Counter[int] = collections.Counter()  # of the keys that a load has shown so far

    def key_of(self, document_id: Any) -> _Key:
        """See `Collection.key_of`."""
        # Exactly these fields in this order: anything else is a different `_id`, not to be mistaken for this one.
        if type(document_id) is dict and list(document_id) == ["handler", "key"]:
            return _key(document_id)
        raise DecodeError(_NO_KEY)

    def check(self, key: _Key, body: Document) -> None:
        """See `Collection.check`."""
        if "handler" not in body or "key" not in body or _key(body) != key:
            raise DecodeError("its handler and key are not those of its _id")
        if "state" not in body:
            raise DecodeError("it has no state")
        state = body["state"]
        if isinstance(state, telegram.Bot):
            raise DecodeError("a bot is not a state", path="state")  # PTB would log it, including its token
        if type(state) not in _USUAL_STATES:
            _check_comparable(state)

    def enters(self, key: _Key, *, is_new: bool) -> None:
        """See `Collection.enters`; PTB's dict of states also compares each key with all others of the same hash."""
        self._hashes[hash(key)] += 1
        if is_new and self._hashes[hash(key)] > _MOST_OF_ONE_HASH:
            raise DecodeError("too many conversations have keys of the same hash")

    @staticmethod
    def stored(handler: str) -> Document:
        """A filter for all conversations of a handler.

        It includes those whose `handler` field was changed, which must not count as missing documents.
        """
        named = {"_id": {"$gte": {"handler": handler}, "$lt": {"handler": f"{handler}\0"}}}
        return {"$or": [{"handler": handler}, named]}

    @staticmethod
    def among(raws: Sequence[bytes], handler: str) -> list[bytes] | None:
        """The documents of one handler, among those of all; `None` if only the filter `stored` can tell."""
        found = []
        for raw in raws:
            try:
                body = load(raw)
            except Exception:  # noqa: BLE001  (whatever it is, a load reports it)
                return None
            document_id, named = body["_id"], body.get("handler")
            if type(document_id) is not dict or list(document_id) != ["handler", "key"]:
                return None
            if type(named) is not str or document_id["handler"] != named:
                return None
            if named == handler:
                found.append(raw)
        return found

    def states(self, raws: Sequence[bytes]) -> ConversationDict:
        """The states, from documents that were read."""
        states: ConversationDict = {}
        for replica, _ in self.loaded(raws):
            try:
                if not self._is_over(replica):
                    states[self.key_of(replica.id)[1]] = self._state(replica)
            except Exception as error:  # noqa: BLE001  (whatever it is, it is this document's own trouble)
                self.could_not_be_used(replica, error)
        return states

    def all_loaded(self, handler: str) -> None:
        """Notes that all conversations of a handler were loaded: one without a replica does not exist."""
        self._loaded_handlers.add(handler)
        self._hashes.clear()

    def of(self, handler: str, key: ConversationKey) -> Replica:
        """The replica of a conversation; created if necessary."""
        found = self.replicas.get((handler, key))
        if found is None:
            known = self.complete and handler in self._loaded_handlers
            found = Replica({"handler": handler, "key": list(key)}, known=known)
            self.replicas[handler, key] = found
            if self.live is not None and len(self.replicas) > self._most:
                self._let_go()
        return found

    def _let_go(self) -> None:
        """Forgets nonexistent conversations: they are read again when needed, as if for the first time."""
        for key, replica in [*self.replicas.items()]:
            is_nothing = self._is_over(replica) and replica.is_loaded and not (replica.is_stale or replica.sent)
            if is_nothing and self._may_be_forgotten(replica):
                del self.replicas[key]
        self._most = max(_MOST_KNOWN, 2 * len(self.replicas))

    def outdated(self, handler: str, key: ConversationKey, *, read: bool) -> Replica | None:
        """The replica to read before an update of a conversation; `None` if that is not necessary."""
        replica = self.replicas.get((handler, key))
        if replica is None:
            return self.of(handler, key) if read or not self.complete else None
        return replica if read or replica.is_stale else None

    def stage(self, handler: str, key: ConversationKey, state: object | None) -> Replica | None:
        """Stages a conversation's new state; `None` ends it.

        Returns:
            The replica to write; `None` if there is nothing to write.

        Raises:
            EncodeError: If the state cannot be stored.
            QuarantinedError: If the stored document cannot be read.
        """
        key = tuple(key)
        if (handler, key) not in self.replicas:
            check_id(self, (handler, key), {"handler": handler, "key": list(key)})
        replica = self.of(handler, key)
        try:
            if state is None:
                return self._end(replica)
            plain = {**replica.id, **self.codec.encode({"state": state})}
            if self.codec.may_not_load:
                check_loadable(self, (handler, key), plain)
            version = self.version(replica, plain)
            if version is None:
                return None
            self.can_store(replica)
            return replica if replica.staged(version) else None
        except QuarantinedError:
            raise
        except Exception as error:
            found = self.codec.explained(state, as_encode_error(error))
            if self.cannot_store(replica, found):
                raise found from error
            return None  # if each update is saved separately, it is staged again and again

    def _end(self, replica: Replica) -> Replica | None:
        if self._is_over(replica) and not replica.is_unsaved and replica.is_loaded:
            if self.refusal(replica) is None:
                self.can_store(replica)
                self.forget(replica)
            return None
        if self.is_refused(replica):
            return None
        self.can_store(replica)
        return replica if replica.staged(Version(None, None)) else None

    def stage_now(self, handler: str, key: ConversationKey, state: object | None) -> Replica | None:
        """Stages the state that a handler holds now, which is at least as new as the one that PTB passes.

        Returns:
            See `stage`; `None` also while a non-blocking handler is running.
        """
        if self.live is not None:
            state = self.live.now(handler, tuple(key))
        return None if state is MISSING else self.stage(handler, key, state)

    def touch(self, replica: Replica) -> Replica | None:
        """Writes an unchanged state again, so that other workers notice that the conversation is ongoing."""
        if self._is_over(replica) or replica.base is None or replica.is_unsaved or self.is_refused(replica):
            return None
        replica.staged(Version(load(replica.base), replica.base, touch=True))
        return replica

    def withdraw(self, replica: Replica, found: InHand) -> None:
        """Withdraws a turn's changes to a conversation, in the handler, too.

        Args:
            replica: The conversation.
            found: Its state at the beginning of the turn.
        """
        replica.withdrawn(found, self)
        self.can_store(replica)
        if self.live is not None:
            self.live.arrived(*self.key_of(replica.id), None if self._is_over(replica) else self._state(replica))

    def _state(self, replica: Replica) -> Any:
        return self.codec.decode(load(replica.target or BURIED)).get("state")

    def _is_over(self, replica: Replica) -> bool:
        """Whether there is no conversation, or one that is marked as ended and about to be deleted."""
        return replica.target is None or load(replica.target).get("state") is None

    def left(self, handler: str, key: ConversationKey) -> None:
        """Notes that an update of a conversation is done; only so many conversations that are over are remembered."""
        self._ended.pop((handler, key), None)
        self._ended[handler, key] = None
        if len(self._ended) <= _MOST_ENDED:
            return
        oldest = next(iter(self._ended))
        del self._ended[oldest]
        replica = self.replicas.get(oldest)
        if replica is not None and replica.base is None and self._may_be_forgotten(replica):
            del self.replicas[oldest]

    def is_needless(self, replica: Replica) -> bool:  # noqa: ARG002
        """See `Collection.is_needless`; if others may write it, it is kept, as a read may be in progress."""
        return self.complete and self.live is None

    # -- what others have written -----------------------------------------------------------------------

    def arrived(self, replica: Replica, before: bytes | None, rev: Any) -> None:
        """See `Collection.arrived`."""
        if self.live is None:
            return
        handler, key = self.key_of(replica.id)
        if replica.target != before:
            self.live.arrived(handler, key, None if self._is_over(replica) else self._state(replica))
        elif not replica.is_unsaved and replica.rev not in {None, rev}:
            self.live.went_on(handler, key)

    def came_true(self, replica: Replica, before: bytes | None) -> None:
        """See `Collection.came_true`; the handlers' state is staged before the next read, and would undo this."""
        if self.live is None:
            return
        handler, key = self.key_of(replica.id)
        if self._is_held(self.live.now(handler, key), before):  # otherwise, a handler has just set another one
            self.live.arrived(handler, key, None if self._is_over(replica) else self._state(replica))

    def _is_held(self, state: object, version: bytes | None) -> bool:
        """Whether a state is the one in a version of a conversation."""
        known = None if version is None else self.canonical(version).get("state")
        if state is None or known is None:
            return state is None and known is None
        try:
            return state is not MISSING and same(known, self.codec.encode({"state": state})["state"])
        except DocumentError:
            return False

    def told(self, document_id: Any, *, deleted: bool = False) -> None:
        """See `Collection.told`."""
        super().told(document_id, deleted=deleted)
        if self.live is not None and (replica := self._known(document_id)) is not None and replica.is_stale:
            self.live.noticed(*self.key_of(replica.id), replica)

    def _known(self, document_id: Any) -> Replica | None:
        try:
            return self.replicas.get(self.key_of(document_id))
        except DecodeError:
            return None


def _key(document: Document) -> _Key:
    """The handler and the key in an `_id` or in a document.

    Raises:
        DecodeError: If their types are not those that a bot stores.
    """
    handler, stored = document["handler"], document["key"]
    if type(handler) is str and type(stored) is list:
        parts = [part if type(part) is str else whole_number(part) for part in stored]
        if None not in parts:
            return handler, tuple(parts)  # type: ignore[arg-type]  # none of them is `None`
    raise DecodeError(_NO_KEY)
