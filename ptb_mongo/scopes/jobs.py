"""The jobs of a `MongoJobQueue`: one document for each.

The rule for two versions of a job: the time of its next run, the time of its last run, and who is running it now belong
together. A worker claims or finishes a run only if nobody else has claimed it or set another time meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

from ptb_mongo.codec import Codec, load
from ptb_mongo.errors import DecodeError
from ptb_mongo.health import Counters
from ptb_mongo.replica.changes import Changes
from ptb_mongo.replica.collection import Collection
from ptb_mongo.replica.document import Replica
from ptb_mongo.replica.values import Document
from ptb_mongo.replica.versions import Version
from ptb_mongo.scopes.job_form import FIELDS, LONGEST_ID, record_of

__all__ = ["JobScope", "LiveJobs", "same_rule"]

_SCHEDULE: Final = ("next_run", "last_run", "claim")
_BEGINS: Final = ("first", "at")  # they depend on the moment at which a program adds a job


class LiveJobs(Protocol):
    """The jobs that a queue holds."""

    def check(self, body: Document) -> None:
        """Checks that a job can be created from a decoded document.

        Raises:
            DecodeError: If it cannot.
        """

    def arrived(self, job_id: str, body: Document | None) -> None:
        """Handles somebody else's change of a job; `None` if the job is gone."""

    def noticed(self, replica: Replica) -> None:
        """Handles the report that somebody else has written or deleted a job."""

    def all_noticed(self) -> None:
        """Handles the report that any job may have been written."""

    def reads(self) -> None:
        """Called before a read is taken in, so that changes made here are staged first."""


def same_rule(one: object, other: object) -> bool:
    """Whether two triggers in plain form are the same, apart from the moment from which they count."""
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    return _without(one, _BEGINS) == _without(other, _BEGINS)


def _without(document: Document, names: tuple[str, ...]) -> Document:
    return {name: value for name, value in document.items() if name not in names}


class JobScope(Collection[Replica]):
    """The collection of all jobs."""

    # A job that is stored as done means that its changes are stored, as far as they are sent with it.
    last: bool = True

    copied = False

    def __init__(self, collection: str, codec: Codec, counters: Counters) -> None:
        super().__init__(collection, FIELDS, codec, counters, Replica)
        self.live: LiveJobs | None = None
        """The queue of the running bot; `None` if it has none that stores jobs."""

    def key_of(self, document_id: Any) -> str:
        """See `Collection.key_of`."""
        if type(document_id) is str and 0 < len(document_id) <= LONGEST_ID:
            return document_id
        raise DecodeError(f"its _id is not a text of 1 to {LONGEST_ID} characters")

    def check(self, key: str, body: Document) -> None:  # noqa: ARG002
        """See `Collection.check`."""
        if self.live is None:
            record_of(body)
        else:
            self.live.check(body)

    def is_needless(self, replica: Replica) -> bool:  # noqa: ARG002
        """See `Collection.is_needless`."""
        return True

    def changes(self, base: bytes, plain: Document, at_most: float) -> Changes:
        """See `DocumentForm.changes`; the order of the fields means nothing."""
        stored = load(base)
        new = sorted(name for name in plain if name not in stored)
        ordered = [name for name in stored if name in plain] + new
        return super().changes(base, {name: plain[name] for name in ordered}, at_most)

    def merged(
        self, document_id: Any, base: Document, local: Document, remote: Document, *, yields: bool = False
    ) -> Document:
        """See `Form.merged`, and the rule of this module."""
        merged = super().merged(document_id, base, local, remote, yields=yields)
        _take(merged, "trigger", remote if yields or local.get("trigger") == base.get("trigger") else local)
        if not base:
            if local.get("callback") == remote.get("callback"):  # two workers add it as they start
                for name in _SCHEDULE:
                    _take(merged, name, remote)
                if same_rule(local.get("trigger"), remote.get("trigger")):
                    _take(merged, "trigger", remote)
            return merged
        is_claimed = remote.get("claim") != base.get("claim")
        is_moved = remote.get("next_run") != base.get("next_run")
        is_claim = local.get("claim") != base.get("claim") and local.get("next_run") == base.get("next_run")
        if is_claimed or (is_moved and is_claim):
            for name in _SCHEDULE:
                _take(merged, name, remote)
        elif is_moved and local.get("last_run") != base.get("last_run"):  # it ran while somebody set another time
            _take(merged, "next_run", remote)
        return merged

    def staged(self, job_id: str, plain: Document | None, *, is_done: bool = False) -> Replica | None:
        """Stages a job, or its deletion.

        Args:
            job_id: Its `_id`.
            plain: Its document; `None` to delete it.
            is_done: Whether it is deleted because it has run; it stays if others have changed it meanwhile.

        Returns:
            The replica to write; `None` if there is nothing to write.

        Raises:
            DocumentError: If it cannot be stored.
        """
        replica = self.replica(job_id, job_id)
        if plain is None:
            if (replica.base is None or replica.is_buried) and not replica.is_unsaved:
                self.forget(replica)
                return None
            if self.is_refused(replica):
                return None
            self.can_store(replica)
            return replica if replica.staged(Version(None, None, yields=is_done)) else None
        version = self.version(replica, plain)
        if version is None or (version.raw == replica.target and not replica.is_being_deleted):
            return None
        self.can_store(replica)
        # A touch does not bring back what others have deleted.
        is_known = replica.base is not None and not replica.is_buried
        return replica if replica.staged(version._replace(touch=is_known)) else None

    def stored(self, job_id: str) -> Document | None:
        """The stored document of a job, as far as is known."""
        replica = self.replicas.get(job_id)
        return None if replica is None or replica.base is None else load(replica.base)

    # -- what others have written -----------------------------------------------------------------------

    def loaded(self, raws: Sequence[bytes]) -> Iterator[tuple[Replica, Document]]:
        """See `Collection.loaded`."""
        if self.live is not None:
            self.live.reads()
        return super().loaded(raws)

    def answered(self, asked: Iterable[tuple[Replica, int]], raws: Iterable[bytes], *, lasts: bool) -> None:
        """See `Collection.answered`."""
        if self.live is not None:
            self.live.reads()
        super().answered(asked, raws, lasts=lasts)

    def arrived(self, replica: Replica, before: bytes | None, rev: Any) -> None:  # noqa: ARG002
        """See `Collection.arrived`."""
        if self.live is not None and replica.target != before:
            self.live.arrived(replica.id, self._target(replica) or None)

    def told(self, document_id: Any, *, deleted: bool = False) -> None:
        """See `Collection.told`."""
        super().told(document_id, deleted=deleted)
        if self.live is None:
            return
        try:
            replica = self.replicas.get(self.key_of(document_id))
        except DecodeError:
            return
        if replica is not None and replica.is_stale:
            self.live.noticed(replica)

    def told_all(self) -> None:
        """See `Collection.told_all`."""
        super().told_all()
        if self.live is not None:
            self.live.all_noticed()


def _take(merged: Document, name: str, side: Document) -> None:
    if name in side:
        merged[name] = side[name]
    else:
        merged.pop(name, None)
