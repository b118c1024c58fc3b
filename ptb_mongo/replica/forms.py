"""The form of the documents of one collection: which part is ours, and how two versions are merged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ptb_mongo.codec import BURIED_FIELD, Codec, load
from ptb_mongo.errors import DocumentError
from ptb_mongo.replica.changes import Changes
from ptb_mongo.replica.merge import merge
from ptb_mongo.replica.update import diff
from ptb_mongo.replica.values import MISSING, Document, Keys, Path

__all__ = ["DocumentForm"]


class DocumentForm:
    """What a scope defines about its documents; see also `versions.Form`.

    Args:
        codec: Encodes and decodes values.
    """

    always: Sequence[str] = ()
    """Fields that every update sets as a whole."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec

    def key_of(self, document_id: Any) -> Any:
        """The key in `replicas` for an `_id`.

        Raises:
            DecodeError: If it is not an `_id` of this scope.
        """
        return document_id

    def ours(self, body: Document) -> Document:
        """The part of a stored document that the bot writes; by default, all of it."""
        return body

    def check(self, key: Any, body: Document) -> None:
        """Checks that a decoded document has the form of this scope.

        Raises:
            DecodeError: If it does not.
        """

    def is_guarded(self, keys: Keys) -> bool:  # noqa: ARG002
        """Whether a value may be written only if it is unchanged in the database; by default not, as the bot's wins."""
        return False

    def canonical(self, raw: bytes | None) -> Document:
        """See `Form.canonical`."""
        if raw is None:
            return {}
        body = self.ours(load(raw))
        body.pop(BURIED_FIELD, None)
        plain = self.canonical_value(body)
        return self.ours(body if plain is MISSING else plain)

    def canonical_value(self, plain: Any) -> Any:
        """A value that somebody else has stored, in the form that we store; `MISSING` if it cannot be read."""
        try:
            return self.codec.encode(self.codec.decode(plain))
        except DocumentError:
            return MISSING

    def gone(self, plain: Document) -> Document:
        """See `Form.gone`."""
        return self.canonical(None) | {name: plain[name] for name in self.always if name in plain}

    def merged(
        self,
        document_id: Any,  # noqa: ARG002
        base: Document,
        local: Document,
        remote: Document,
        *,
        yields: bool = False,
    ) -> Document:
        """See `Form.merged`; by default, the bot's value wins a conflict."""
        return merge(base, local, remote, lambda _keys, _base, ours, theirs: theirs if yields else ours)

    def still_deletes(self, base: bytes | None, remote: bytes) -> bool:  # noqa: ARG002
        """See `Form.still_deletes`."""
        return True

    def changed_paths(self, base: bytes | None, plain: Document) -> list[Path]:
        """The paths of those changes from a stored document to another that can be saved separately."""
        if self.always:
            return []
        if base is None:
            return list(diff(self.canonical(None), plain).paths())
        return list(self.changes(base, plain, math.inf).paths())

    def changes(self, base: bytes, plain: Document, at_most: float) -> Changes:
        """The changes that turn a stored document into another."""
        stored = load(base)
        before = self.ours(stored)
        if self.always:  # the order of the top-level fields means nothing
            before = {name: before[name] for name in plain if name in before} | before
        changes = diff(before, plain, self.canonical_value, at_most=at_most, guards=self.is_guarded, stored=stored)
        if changes:
            for name in self.always:
                if name in plain:
                    changes.set_whole(name, plain[name])
        return changes
