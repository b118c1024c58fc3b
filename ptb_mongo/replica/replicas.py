"""The replicas of a collection by their keys. The replica of a loaded document is created when somebody uses it.

Most of what a start loads is not used for hours. Until then, a document takes only its bytes and a reference to its
object: no object of its own for Python's garbage collector to scan, and no time.
"""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Sequence, ValuesView
from typing import Any, Generic, TypeVar

from ptb_mongo.replica.document import Replica

__all__ = ["Replicas"]

R = TypeVar("R", bound=Replica)


class _Unused:
    """Documents that nobody has used, by their keys: their bytes, and the objects made from them."""

    __slots__ = ("lives", "raws")

    def __init__(self) -> None:
        self.raws: dict[Any, bytes] = {}
        self.lives: dict[Any, Any] = {}

    def add(self, other: _Unused) -> None:
        self.raws.update(other.raws)
        self.lives.update(other.lives)


class Replicas(dict[Any, R], Generic[R]):
    """Replicas by their keys.

    Looking up a replica in use is as fast as in any dict; any other replica is created when it is asked for.

    Args:
        make: Creates the replica of an unused document from its key, its bytes and its object.
        made: Called with the key and the new replica, once the replica knows what was reported about it.
    """

    def __init__(self, make: Callable[[Any, bytes, Any], R], made: Callable[[Any, R], None]) -> None:
        super().__init__()
        self._make = make
        self._made_one = made
        self._current, self._stale = _Unused(), _Unused()

    def add_unused(self, keys: Sequence[Any], raws: Iterable[bytes], lives: Iterable[Any]) -> None:
        """Adds documents that were just read and have no replicas.

        Args:
            keys: Their keys.
            raws: Their bytes.
            lives: The objects made from them.
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
        """Whether a document was loaded, is current as far as is known, and has not been used since."""
        return key in self._current.raws

    def told_unused(self, key: Any) -> bool:
        """Notes that somebody may have written a document; returns whether it is unused, and so needs no replica."""
        if (raw := self._current.raws.pop(key, None)) is not None:
            self._stale.raws[key] = raw
            self._stale.lives[key] = self._current.lives.pop(key)
        return raw is not None or key in self._stale.raws

    def in_use(self) -> list[R]:
        """The replicas in use; no other one has anything to save."""
        return list(super().values())

    def items_in_use(self) -> list[tuple[Any, R]]:
        """The replicas in use, with their keys."""
        return list(super().items())

    def told_all(self) -> None:
        """Notes that somebody may have written any document."""
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
                del unused.raws[key], unused.lives[key]  # only now: if its creation fails, it does not count as missing
                if unused is self._stale:
                    replica.told()
                self[key] = replica
                self._made_one(key, replica)
                return replica
        raise KeyError(key)

    def _made(self) -> Replicas[R]:
        """This object, after creating all replicas."""
        for unused in (self._current, self._stale):
            for key in list(unused.raws):
                self[key]
        return self

    # -- methods for which a dict does not call `__missing__` -------------------------------------------

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
