"""The replicas of a collection by their keys. Those of documents that nobody uses are made when somebody does.

Most of what a start loads is not used for hours. Until then a document takes no more than its bytes and a reference to
its object: no object of its own that Python's garbage collector would have to look at, and nothing that takes time.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Sequence, ValuesView
from typing import Any, Generic, TypeVar

from ptb_mongo.replica.document import Replica

__all__ = ["Replicas"]

R = TypeVar("R", bound=Replica)


class _Unused:
    """Documents that nobody has used, by their keys: their bytes, and the objects that were made of them."""

    __slots__ = ("lives", "raws")

    def __init__(self) -> None:
        self.raws: dict[Any, bytes] = {}
        self.lives: dict[Any, Any] = {}

    def add(self, other: _Unused) -> None:
        self.raws.update(other.raws)
        self.lives.update(other.lives)


class Replicas(dict[Any, R], Generic[R]):
    """Replicas by their keys.

    It is a dict in which one looks up as fast as in any other what is in use. Whatever else is asked for is made then.

    Args:
        make: Makes the replica of a document that nobody has used, of its key, its bytes, and its object.
        made: Called with the key and the replica, when that was made, and what was told of it is known to it.
    """

    def __init__(self, make: Callable[[Any, bytes, Any], R], made: Callable[[Any, R], None]) -> None:
        super().__init__()
        self._make = make
        self._made_one = made
        self._current, self._stale = _Unused(), _Unused()

    def add_unused(self, keys: Sequence[Any], raws: Iterable[bytes], lives: Iterable[Any]) -> None:
        """Adds documents that were just read, none of which has a replica.

        Args:
            keys: Their keys.
            raws: Their bytes.
            lives: The objects that were made of them.
        """
        self._current.raws.update(zip(keys, raws, strict=True))
        self._current.lives.update(zip(keys, lives, strict=True))

    def has_none_of(self, keys: Iterable[Any]) -> bool:
        """Whether there is no replica of any of these."""
        known: Any
        for known in (super().keys(), self._current.raws.keys(), self._stale.raws.keys()):
            if known and not known.isdisjoint(keys):
                return False
        return True

    def is_unused(self, key: Any) -> bool:
        """Whether a document was loaded, is up to date as far as is known, and nobody has used it since."""
        return key in self._current.raws

    def told_unused(self, key: Any) -> bool:
        """A document may have been written by somebody; returns whether nobody uses it, and it needs no replica."""
        if (raw := self._current.raws.pop(key, None)) is not None:
            self._stale.raws[key] = raw
            self._stale.lives[key] = self._current.lives.pop(key)
        return raw is not None or key in self._stale.raws

    def in_use(self) -> list[R]:
        """Those that somebody uses now: of no other one there is anything to save."""
        return list(super().values())

    def items_in_use(self) -> list[tuple[Any, R]]:
        """The same, with their keys."""
        return list(super().items())

    def told_all(self) -> None:
        """Any document may have been written by somebody."""
        for replica in super().values():
            replica.told()
        if self._stale.raws:
            self._stale.add(self._current)
        else:
            self._stale = self._current
        self._current = _Unused()

    def __missing__(self, key: Any) -> R:
        for unused in (self._current, self._stale):
            if (raw := unused.raws.get(key)) is not None:
                replica = self._make(key, raw, unused.lives[key])
                del unused.raws[key], unused.lives[key]  # only now: if it cannot be made, it is not taken for missing
                if unused is self._stale:
                    replica.told()
                self[key] = replica
                self._made_one(key, replica)
                return replica
        raise KeyError(key)

    def _made(self) -> Replicas[R]:
        """The same, when all are made."""
        for unused in (self._current, self._stale):
            for key in list(unused.raws):
                self[key]
        return self

    # -- what a dict does without asking for a missing one ----------------------------------------------

    def get(self, key: Any, default: R | None = None) -> R | None:  # type: ignore[override]
        """The replica of a key; `default` if there is none."""
        try:
            return self[key]
        except KeyError:
            return default

    def setdefault(self, key: Any, default: R) -> R:
        """The replica of a key; `default`, which is added, if there is none."""
        found = self.get(key)
        return super().setdefault(key, default) if found is None else found

    def pop(self, key: Any, *default: Any) -> Any:
        """Removes the replica of a key, and returns it."""
        self.get(key)
        return super().pop(key, *default)

    def __delitem__(self, key: Any) -> None:
        for unused in (self._current, self._stale):
            if unused.raws.pop(key, None) is not None:
                del unused.lives[key]
                return
        super().__delitem__(key)

    def __contains__(self, key: object) -> bool:
        return super().__contains__(key) or key in self._current.raws or key in self._stale.raws

    def __len__(self) -> int:
        return super().__len__() + len(self._current.raws) + len(self._stale.raws)

    def __iter__(self) -> Iterator[Any]:
        # All at once: whoever goes through them in steps would miss what is used, and so put elsewhere, meanwhile.
        return iter([*super().keys(), *self._current.raws, *self._stale.raws])

    def keys(self) -> KeysView[Any]:  # type: ignore[override]
        """The keys of all."""
        return KeysView(self)

    def values(self) -> ValuesView[R]:  # type: ignore[override]
        """All replicas; see also `in_use`."""
        return super(Replicas, self._made()).values()

    def items(self) -> ItemsView[Any, R]:  # type: ignore[override]
        """All keys and their replicas."""
        return super(Replicas, self._made()).items()
