"""Which keyboards and callback queries were created, used or dropped: an update checks only these, not all of them.

PTB's cache does not report changes, so its public methods are overridden. PTB keeps the contents of a keyboard in
private attributes. Only `_held_in` uses these: if a version of PTB lacks them, all keyboards are searched.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from telegram import CallbackQuery, InlineKeyboardMarkup, Message, Update
from telegram.ext import CallbackDataCache

from ptb_mongo.errors import DocumentError
from ptb_mongo.replica.document import Replica
from ptb_mongo.scopes.callback_data import QUERY, CallbackDataScope
from ptb_mongo.workers.callback_data import keyboards_in
from ptb_mongo.workers.noted import Noted
from ptb_mongo.workers.turn import TURN, Turn

__all__ = ["TouchedKeyboards"]


def _held_in(cache: CallbackDataCache) -> tuple[Mapping[str, Any], Mapping[str, str]] | None:
    """The keyboards and the queries in a cache, by their ids; `None` if PTB keeps them elsewhere."""
    keyboards, queries = getattr(cache, "_keyboard_data", None), getattr(cache, "_callback_queries", None)
    if not all(callable(getattr(one, "get", None)) for one in (keyboards, queries)):
        return None
    return keyboards, queries  # type: ignore[return-value]


def _entry(keyboard: Any) -> tuple[str, float, dict[str, Any]]:
    """A keyboard in the form of `CallbackDataCache.persistence_data`."""
    return keyboard.keyboard_uuid, keyboard.access_time, keyboard.button_data


class Staged(NamedTuple):
    """The keyboards to write.

    Attributes:
        mine: Those changed by the update that was handled.
        others: Those changed outside of updates.
        errors: The errors of those that cannot be stored.
    """

    mine: list[Replica]
    others: list[Replica]
    errors: list[DocumentError]


class TouchedKeyboards:
    """The keyboards that have changed in PTB's cache since they were last staged.

    An update's changes are staged when it is done, not by others that are done earlier.

    Args:
        cache: PTB's cache; from now on its methods note which keyboards they change.
    """

    def __init__(self, cache: CallbackDataCache) -> None:
        self._cache = cache
        self._held = _held_in(cache)
        self._noted = Noted(is_any=True)  # changes outside of updates
        self._turns: set[Turn] = set()  # turns that have dropped keyboards, and may not be over
        self._unsaved: dict[Replica, None] = {}
        self._is_told = _make_tell(cache, self)

    def note(self, used: Iterable[str] = (), queries: Iterable[str] = (), dropped: Iterable[str] = ()) -> None:
        """Notes keyboards and queries that were created, used or dropped."""
        noted = self._noted_now()
        noted.add(used, queries, dropped)
        self._watch_drops(noted)

    def note_any(self) -> None:
        """Notes that any of them may have changed."""
        noted = self._noted_now()
        noted.is_any = True
        self._watch_drops(noted)

    def _noted_now(self) -> Noted:
        turn = TURN.get()
        return self._noted if turn is None or turn.is_over else turn.buttons

    def _watch_drops(self, noted: Noted) -> None:
        turn = TURN.get()
        if turn is not None and noted is turn.buttons and noted.has_dropped:
            self._turns.add(turn)

    def of_query(self, query_id: str) -> str:
        """The keyboard that a query came from; empty if PTB's cache has none."""
        queries = self._held[1] if self._held is not None else self._cache.persistence_data[1]
        return queries.get(query_id, "")

    def dropped_in_hand(self) -> set[str]:
        """The keyboards that updates have dropped that are not done, and may be taken back."""
        return {uuid for turn in self._turns if turn.comes_again and not turn.is_over for uuid in turn.buttons.dropped}

    def unsaved(self) -> list[Replica]:
        """The replicas that were staged and are not stored yet."""
        self._unsaved = {replica: None for replica in self._unsaved if replica.is_unsaved}
        return [*self._unsaved]

    def stage(self, scope: CallbackDataScope, turn: Turn) -> Staged:
        """Stages the changes of an update, and those made outside of updates; usually, there are none.

        Args:
            scope: The scope of the keyboards.
            turn: The update that was handled; its handlers may have changed the object of the pressed button.
        """
        mine = turn.buttons
        query = turn.update.callback_query if isinstance(turn.update, Update) else None
        if query is not None:
            pressed = self.of_query(query.id)
            mine.add([pressed] if pressed else (), [query.id])
        mine.is_any = mine.is_any or not self._is_told
        others, self._noted = self._noted, Noted()
        noted = mine.together(others)
        if noted.is_empty:
            return Staged([], [], [])
        staged, errors = self._stage(scope, noted, turn)
        if staged:
            self._unsaved = dict.fromkeys([*self.unsaved(), *staged])
        if mine.is_empty:
            return Staged([], staged, errors)
        # Another update that was done earlier may have staged some of these.
        ids = [*mine.used, *mine.dropped, *(f"{QUERY}{one}" for one in mine.queries)]
        known = self.unsaved() if mine.is_any else [scope.replicas[one] for one in ids if one in scope.replicas]
        return Staged([*dict.fromkeys([*staged, *known])], [], errors)

    def _stage(self, scope: CallbackDataScope, noted: Noted, turn: Turn) -> tuple[list[Replica], list[DocumentError]]:
        if noted.is_any or self._held is None:
            return scope.stage_changed(self._cache)
        keyboards, queries = self._held
        held = [keyboard for uuid in noted.used if (keyboard := keyboards.get(uuid)) is not None]
        found = {one: keyboard for one in noted.queries if (keyboard := queries.get(one)) is not None}
        self._turns = {one for one in self._turns if not one.is_over}
        data = [_entry(one) for one in held], found
        return scope.stage_some(data, noted.dropped, keyboards, queries, sweeps=self._turns <= {turn})

    def withdraw(self, scope: CallbackDataScope, turn: Turn) -> list[Replica]:
        """Restores the keyboards that an update has dropped, which has failed and will be repeated.

        Keyboards that it has created stay, as users may see them.

        Returns:
            The replicas that must still be written.
        """
        for uuid in dict.fromkeys((*turn.buttons.dropped, turn.keyboard)):
            if uuid:
                scope.withdraw(uuid)
        noted, turn.buttons = turn.buttons, Noted()
        self._noted.add(noted.used, noted.queries)
        return self.unsaved()


if TYPE_CHECKING:
    _Cache = CallbackDataCache
else:
    _Cache = object


class _Telling(_Cache):
    """The base class that is added to the class of a cache."""

    __slots__ = ()
    keyboards: ClassVar[TouchedKeyboards]

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
        self.keyboards.note(queries=[callback_query.id], dropped=[dropped] if dropped else ())

    def load_persistence_data(self, persistent_data: Any) -> None:
        super().load_persistence_data(persistent_data)
        self.keyboards.note((uuid for uuid, *_ in persistent_data[0]), persistent_data[1])

    def clear_callback_data(self, time_cutoff: Any = None) -> None:
        super().clear_callback_data(time_cutoff)
        self.keyboards.note_any()

    def clear_callback_queries(self) -> None:
        super().clear_callback_queries()
        self.keyboards.note_any()


def _make_tell(cache: CallbackDataCache, keyboards: TouchedKeyboards) -> bool:
    """Makes a cache report its changes; returns whether that was possible."""
    kind: Any = type(cache)
    if issubclass(kind, _Telling):  # it reports to an earlier application with the same bot
        kind = kind.__bases__[1]
    try:
        cache.__class__ = type(kind.__name__, (_Telling, kind), {"__slots__": (), "keyboards": keyboards})
    except TypeError:  # for example, a class of the program's own with different slots
        return False
    return True
