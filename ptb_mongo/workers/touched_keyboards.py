"""Which keyboards and callback queries were made, used or dropped: an update looks at these alone, not at all of them.

PTB's cache does not tell. Its public methods do, once they are overridden; what the cache then holds of one keyboard,
PTB keeps in private attributes. Only `_held_in` uses these: with a PTB that has none, all keyboards are looked through.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from telegram import CallbackQuery, InlineKeyboardMarkup, Message, Update
from telegram.ext import CallbackDataCache

from ptb_mongo.errors import DocumentError
from ptb_mongo.replica.document import Replica
from ptb_mongo.scopes.callback_data import CallbackDataScope, Staged
from ptb_mongo.workers.callback_data import keyboards_in
from ptb_mongo.workers.turn import TURN, Turn

__all__ = ["Keyboards"]


def _held_in(cache: CallbackDataCache) -> tuple[Mapping[str, Any], Mapping[str, str]] | None:
    """The keyboards and the queries that a cache holds, by their ids; `None` if PTB keeps them otherwise."""
    keyboards, queries = getattr(cache, "_keyboard_data", None), getattr(cache, "_callback_queries", None)
    if not all(callable(getattr(one, "get", None)) for one in (keyboards, queries)):
        return None
    return keyboards, queries  # type: ignore[return-value]


def _entry(keyboard: Any) -> tuple[str, float, dict[str, Any]]:
    """A keyboard as `CallbackDataCache.persistence_data` gives it."""
    return keyboard.keyboard_uuid, keyboard.access_time, keyboard.button_data


class Keyboards:
    """The keyboards that have changed in PTB's cache since they were last staged.

    Args:
        cache: PTB's cache; from now on its methods note which keyboards they change.
    """

    def __init__(self, cache: CallbackDataCache) -> None:
        self._cache = cache
        self._held = _held_in(cache)
        self._used: set[str] = set()
        self._dropped: set[str] = set()
        self._queries: set[str] = set()
        self._unsaved: dict[Replica, None] = {}
        self._is_any = True  # whether any of them may have changed
        self._is_told = _make_tell(cache, self)

    def note(self, used: Iterable[str] = (), queries: Iterable[str] = (), dropped: Iterable[str] = ()) -> None:
        """Some keyboards and queries were made, used or dropped."""
        self._used.update(used)
        self._queries.update(queries)
        self._dropped.update(dropped)
        if (turn := TURN.get()) is not None:
            turn.shows_buttons = True

    def note_any(self) -> None:
        """Any of them may have changed."""
        self._is_any = True
        self.note()

    def of_query(self, query_id: str) -> list[str]:
        """The keyboard that a query came from, if it is known."""
        found = self._held[1].get(query_id) if self._held is not None else None
        return [] if found is None else [found]

    def unsaved(self) -> list[Replica]:
        """What was staged and is not stored yet."""
        self._unsaved = {replica: None for replica in self._unsaved if replica.is_unsaved}
        return [*self._unsaved]

    def stage(self, scope: CallbackDataScope, turn: Turn) -> list[DocumentError]:
        """Takes what has changed since the last call; usually nothing.

        Args:
            scope: Where it is stored.
            turn: The update that has been handled; its handlers may have changed the object of the pressed button.

        Returns:
            The errors of what cannot be stored.
        """
        turn.shows_buttons = turn.shows_buttons or not self._is_told
        staged, errors = self._stage(scope, turn)
        if staged:
            self._unsaved = dict.fromkeys([*self.unsaved(), *staged])
        return errors

    def _stage(self, scope: CallbackDataScope, turn: Turn) -> Staged:
        query = turn.update.callback_query if isinstance(turn.update, Update) else None
        if query is not None:
            self.note(self.of_query(query.id), [query.id])
        is_any, used, asked, dropped = self._is_any, self._used, self._queries, self._dropped
        if not (is_any or used or asked or dropped):
            return [], []
        self._used, self._queries, self._dropped = set(), set(), set()
        self._is_any = not self._is_told
        if is_any or self._held is None:
            return scope.stage_changed(self._cache)
        keyboards, queries = self._held
        held = [keyboard for uuid in used if (keyboard := keyboards.get(uuid)) is not None]
        found = {one: keyboard for one in asked if (keyboard := queries.get(one)) is not None}
        return scope.stage_some(([_entry(one) for one in held], found), dropped, keyboards, queries)


if TYPE_CHECKING:
    _Cache = CallbackDataCache
else:
    _Cache = object


class _Telling(_Cache):
    """What is put before the class of a cache."""

    __slots__ = ()
    keyboards: ClassVar[Keyboards]

    def process_keyboard(self, reply_markup: InlineKeyboardMarkup) -> InlineKeyboardMarkup:
        made = super().process_keyboard(reply_markup)
        self.keyboards.note(keyboards_in(made))
        return made

    def process_message(self, message: Message) -> None:
        used = keyboards_in(message)
        super().process_message(message)
        self.keyboards.note(used)

    def process_callback_query(self, callback_query: CallbackQuery) -> None:
        used = keyboards_in(callback_query)
        super().process_callback_query(callback_query)
        self.keyboards.note(used, [callback_query.id])

    def drop_data(self, callback_query: CallbackQuery) -> None:
        dropped = self.keyboards.of_query(callback_query.id)
        super().drop_data(callback_query)
        self.keyboards.note(queries=[callback_query.id], dropped=dropped)

    def load_persistence_data(self, persistent_data: Any) -> None:
        super().load_persistence_data(persistent_data)
        self.keyboards.note((uuid for uuid, *_ in persistent_data[0]), persistent_data[1])

    def clear_callback_data(self, time_cutoff: Any = None) -> None:
        super().clear_callback_data(time_cutoff)
        self.keyboards.note_any()

    def clear_callback_queries(self) -> None:
        super().clear_callback_queries()
        self.keyboards.note_any()


def _make_tell(cache: CallbackDataCache, keyboards: Keyboards) -> bool:
    """Makes a cache tell what changes; returns whether it does."""
    kind: Any = type(cache)
    if issubclass(kind, _Telling):  # to an application that was there before, with the same bot
        kind = kind.__bases__[1]
    try:
        cache.__class__ = type(kind.__name__, (_Telling, kind), {"__slots__": (), "keyboards": keyboards})
    except TypeError:  # of a class of the program's own, with attributes beside its slots, say
        return False
    return True
