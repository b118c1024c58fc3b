"""How a foreign pickle fills containers and objects, and the opcodes of the earlier protocol 3.

If a user's class fails while it is being filled, reading goes on: an object that cannot be filled is replaced by a
stand-in, wherever the pickle refers to it from then on.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from ptb_mongo.codec.reader import Reader
from ptb_mongo.errors import DecodeError
from ptb_mongo.migration.names import Function, HostilePickleError, Names, stands_in

__all__ = ["ForeignContents"]


class ForeignContents(Reader):
    """The part of a foreign pickle's reader that fills objects; a subclass creates them.

    Args:
        data: The pickle.
        names: Resolves names, and collects those that are refused.
    """

    def __init__(self, data: bytes, names: Names) -> None:
        super().__init__(data, ("", ""), is_bounded=False)
        self._names = names
        self._places: dict[int, int] = {}  # positions of objects in the memo, known right after their creation

    # -- what cannot be made or filled ------------------------------------------------------------------

    def _guarded(self, label: str, make: Callable[[], Any]) -> Any:
        """The result of `make`, or a stand-in if that fails, for example because a member of an enum is gone."""
        try:
            return make()
        except HostilePickleError:
            raise
        except Exception as error:  # noqa: BLE001  (a class's own methods may raise anything)
            return self._stand_in(label, error)

    def _stand_in(self, label: str, error: Exception) -> Any:
        reason = error.reason if isinstance(error, DecodeError) else type(error).__name__
        module, _, name = label.rpartition(".")
        return self._names.stand_in(module, name, f"it cannot be restored: {reason}")()

    def _push_made(self, made: Any) -> None:
        self._places[id(made)] = len(self._memo)
        self._stack.append(made)

    def _put_in_place(self, other: Any) -> None:
        """Replaces the topmost object by another one, also in the memo."""
        obj = self._stack[-1]
        place = self._places.get(id(obj), -1)
        if 0 <= place < len(self._memo) and self._memo[place] is obj:
            self._memo[place] = other
        self._stack[-1] = other

    def _fill(self, target: Any, fill: Callable[[], None]) -> None:
        """Fills an object by its class's own methods; it is replaced if that fails."""
        if id(target) not in self._made or isinstance(target, (type, Function)):
            raise DecodeError("the pickle fills what it has not made")
        try:
            fill()
        except Exception as error:  # noqa: BLE001  (see `_guarded`)
            self._put_in_place(self._stand_in(f"{type(target).__module__}.{type(target).__qualname__}", error))

    # -- contents ---------------------------------------------------------------------------------------

    def _extend(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is list:
            target.extend(items)
        elif not stands_in(target):

            def fill() -> None:
                for item in items:
                    type(target).append(target, item)

            self._fill(target, fill)

    def _update(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) is dict:
            super()._update(items)
        elif not stands_in(target):

            def fill() -> None:
                self.check_hashing(items[::2])
                for key, value in zip(items[::2], items[1::2], strict=True):
                    type(target).__setitem__(target, key, value)

            self._fill(target, fill)

    def _empty_set(self, _: None = None) -> None:
        self._stack.append(set())

    def _add_items(self, _: None = None) -> None:
        items = self._hashable_items()
        target = self._stack[-1]
        if type(target) is not set:
            raise DecodeError("the pickle adds to a value that is not a set")
        target.update(items)

    def _frozenset(self, _: None = None) -> None:
        items = self._hashable_items()
        self._stack.append(frozenset(items))

    def _hashable_items(self) -> Iterable[Any]:
        items: list[Any] = self._since_mark()
        self.check_hashing(items)
        return items

    # -- protocol 3, which Python 3.6 and 3.7 wrote for PTB 13 ------------------------------------------

    def _line(self) -> str:
        end = self._data.index(b"\n", self._at)
        line = self._data[self._at : end].decode()
        self._at = end + 1
        return line

    def _name_in_lines(self, _: None = None) -> None:
        module = self._line()
        self._stack.append(self._names.find(module, self._line()))

    def _remember(self, width: int) -> None:
        place = int.from_bytes(self._take(width), "little")
        if place > len(self._memo):
            raise DecodeError("the pickle remembers things in another order than Python does")
        self._memo[place : place + 1] = [self._stack[-1]]

    _OPERATIONS: ClassVar[dict[int, tuple[Any, Any]]] = {
        **Reader._OPERATIONS,  # noqa: SLF001  (the base class's)
        pickle.EMPTY_SET[0]: (_empty_set, None),
        pickle.ADDITEMS[0]: (_add_items, None),
        pickle.FROZENSET[0]: (_frozenset, None),
        pickle.GLOBAL[0]: (_name_in_lines, None),
        pickle.BINPUT[0]: (_remember, 1),
        pickle.LONG_BINPUT[0]: (_remember, 4),
    }
