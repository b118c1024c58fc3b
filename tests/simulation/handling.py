"""What handlers do with what a bot has in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from memory import Memory
from mongod import key
from steps import Step, change
from things import Leaves

if TYPE_CHECKING:
    from bot import Bot

__all__ = ["Handling"]


class Handling(Memory):
    """See the module."""

    def __init__(self, bot: Bot, number: int) -> None:
        super().__init__(bot, number)
        self._touched_conversations: dict[tuple[int, ...], None] = {}

    def _do(self, user_id: int, step: Step) -> None:
        where, what, *more = step
        if where == "conversation":
            self._talk(user_id, what)
        elif where == "keyboard":
            self._press(what, *more)
        else:
            document, obj = self._data(where, user_id)
            self._saw(document, obj, "something")  # what a refresh for another handler has brought meanwhile
            change(obj, what, *more)
            self._changed(document, obj)

    def _talk(self, user_id: int, state: str | None) -> None:
        conversation = self.conversation_of(user_id)
        if state is not None:
            self.conversations[conversation] = state
        elif self.conversations.pop(conversation, None) is None:
            return
        self._touched_conversations[conversation] = None
        leaves: Leaves = {} if state is None else {("state",): state}
        self.world.checker.changed(self, self._conversation(conversation), leaves)

    def _press(self, what: str, uuid: str, value: str = "") -> None:
        now = self.world.loop.time()
        if what == "new":
            self.keyboards[uuid] = now, {f"{uuid}-1": value, f"{uuid}-2": value}
        elif uuid not in self.keyboards:
            return
        elif what == "use":
            self.keyboards[uuid] = now, self.keyboards[uuid][1]
        else:
            del self.keyboards[uuid]
        self.world.checker.changed(self, ("callback_data", key(uuid)), self.leaves_of_keyboard(uuid))
