"""Which keyboards and callback queries were made, used or dropped: an update looks at these alone, not at all of them.

PTB's cache does not tell. Its public methods do, once they are overridden; what the cache then holds of one keyboard,
PTB keeps in private attributes. Only `_held_in` uses these: with a PTB that has none, all keyboards are looked through.
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
    """The keyboards and the queries that a cache holds, by their ids; `None` if PTB keeps them otherwise."""
    keyboards, queries = getattr(cache, "_keyboard_data", None), getattr(cache, "_callback_queries", None)
    if not all(callable(getattr(one, "get", None)) for one in (keyboards, queries)):
        return None
    return keyboards, queries  # type: ignore[return-value]


def _entry(keyboard: Any) -> tuple[str, float, dict[str, Any]]:
    """A keyboard as `CallbackDataCache.persistence_data` gives it."""
    return keyboard.keyboard_uuid, keyboard.access_time, keyboard.button_data


class Staged(NamedTuple):
    """What is to be written of the keyboards.

    Attributes:
        mine: What the update has changed that has been handled.
        others: What was changed by no update.
        errors: The errors of what cannot be stored.
    """

    mine: list[Replica]
    others: list[Replica]
    errors: list[DocumentError]


class TouchedKeyboards:
    """The keyboards that have changed in PTB's cache since they were last staged.

    What an update changes is staged when it is done, and not by others that are done earlier.

    Args:
        cache: PTB's cache; from now on its methods note which keyboards they change.
    """

    def __init__(self, cache: CallbackDataCache) -> None:
        self._cache = cache
        self._held = _held_in(cache)
        self._noted = Noted(is_any=True)  # by what is no update
        self._turns: set[Turn] = set()  # that have dropped keyboards, and may not be over
        self._unsaved: dict[Replica, None] = {}
        self._is_told = _make_tell(cache, self)

    def note(self, used: Iterable[str] = (), queries: Iterable[str] = (), dropped: Iterable[str] = ()) -> None:
        """Some keyboards and queries were made, used or dropped."""
        noted = self._noted_now()
        noted.add(used, queries, dropped)
        self._watch_drops(noted)

    def note_any(self) -> None:
        """Any of them may have changed."""
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
        """The keyboard that a query came from; empty if PTB's cache knows of none."""
        queries = self._held[1] if self._held is not None else self._cache.persistence_data[1]
        return queries.get(query_id, "")

    def dropped_in_hand(self) -> set[str]:
        """The keyboards that updates have dropped that are not done, and may be taken back."""
        return {uuid for turn in self._turns if turn.comes_again and not turn.is_over for uuid in turn.buttons.dropped}

    def unsaved(self) -> list[Replica]:
        """What was staged and is not stored yet."""
        self._unsaved = {replica: None for replica in self._unsaved if replica.is_unsaved}
        return [*self._unsaved]

    def stage(self, scope: CallbackDataScope, turn: Turn) -> Staged:
        """Takes what an update has changed, and what was changed by none; usually nothing.

        Args:
            scope: Where it is stored.
            turn: The update that has been handled; its handlers may have changed the object of the pressed button.
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
        # Another update that is done earlier may have staged some of these.
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
        """An update has failed, and will come again: the keyboards that it has dropped are there again.

        What it has made stays, as users may see it.

        Returns:
            What is still to be written.
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
    """What is put before the class of a cache."""

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
    """Makes a cache tell what changes; returns whether it does."""
    kind: Any = type(cache)
    if issubclass(kind, _Telling):  # to an application that was there before, with the same bot
        kind = kind.__bases__[1]
    try:
        cache.__class__ = type(kind.__name__, (_Telling, kind), {"__slots__": (), "keyboards": keyboards})
    except TypeError:  # of a class of the program's own, with attributes beside its slots, say
        return False
    return True
