"""What one life of a bot has in memory, and what the checker learns about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from loop import Life
from mongod import key
from nodes import Document, Node
from steps import BOT_ID, CHAT_ID, EXCLUDED
from things import UNSTORABLE, Leaves, Path, flatten

if TYPE_CHECKING:
    from bot import Bot

__all__ = ["Memory"]

_ONLY_UNSTORABLE: Final = frozenset({UNSTORABLE})


class Memory(Life):
    """See the module."""

    def __init__(self, bot: Bot, number: int) -> None:
        super().__init__(f"{bot.name}.{number}")
        self.bot = bot
        self.world = bot.world
        self.options = bot.options
        self._be_empty()

    def _be_empty(self) -> None:
        self.user_data: MutableMapping[int, dict[Any, Any]] = defaultdict(dict)
        self.chat_data: MutableMapping[int, dict[Any, Any]] = defaultdict(dict)
        self.bot_data: dict[Any, Any] = {}
        self.conversations: dict[tuple[int, ...], str] = {}
        self.keyboards: dict[str, tuple[float, dict[str, str]]] = {}

    def _forget(self) -> None:
        """It has nothing in memory any more."""
        self._be_empty()
        self.world.checker.forgotten(self)

    def leaves(self, document: Document, obj: Any) -> Leaves:
        excluded = self.options.excludes and document[0] == "user_data"
        return flatten(obj, frozenset({EXCLUDED, UNSTORABLE}) if excluded else _ONLY_UNSTORABLE)

    def _saw(self, document: Document, obj: Any, why: str) -> None:
        self.world.checker.saw(self, document, self.leaves(document, obj), why)

    def _changed(self, document: Document, obj: Any) -> list[Node]:
        return self.world.checker.changed(self, document, self.leaves(document, obj))

    def is_excluded(self, document: Document, path: Path) -> bool:
        """Whether something is never stored."""
        excluded = {EXCLUDED, UNSTORABLE} if self.options.excludes and document[0] == "user_data" else {UNSTORABLE}
        return path[0] in excluded

    def conversation_of(self, user_id: int) -> tuple[int, ...]:
        """The key of a user's conversation."""
        return user_id, user_id

    def state(self, user_id: int) -> Any:
        """The state of a user's conversation; `None` if there is none."""
        return self.conversations.get(self.conversation_of(user_id))

    def conversation(self, user_id: int) -> Document:
        """The document of a user's conversation."""
        return self._conversation(self.conversation_of(user_id))

    def _conversation(self, conversation: tuple[int, ...]) -> Document:
        return "conversations", key({"handler": self.bot.handler, "key": list(conversation)})

    def _saw_keyboard(self, uuid: str) -> None:
        self.world.checker.saw(self, ("callback_data", key(uuid)), self.leaves_of_keyboard(uuid), "loading")

    def leaves_of_keyboard(self, uuid: str) -> Leaves:
        if uuid not in self.keyboards:
            return {}
        accessed_at, buttons = self.keyboards[uuid]
        return {("keyboard",): (accessed_at, tuple(sorted(buttons.items())))}

    def _data(self, where: str, user_id: int) -> tuple[Document, dict[Any, Any]]:
        if where == "user":
            return ("user_data", key(user_id)), self.user_data[user_id]
        if where == "chat":
            return ("chat_data", key(CHAT_ID)), self.chat_data[CHAT_ID]
        return ("bot_data", key(BOT_ID)), self.bot_data

    def _storable(self, document: Document) -> list[Node]:
        """What is to be saved of a document; nothing if it holds something for which its error was told already."""
        return [] if self.is_spoiled(document) else self.world.checker.unsaved(self, document)

    def is_spoiled(self, document: Document) -> bool:
        """Whether a document holds what cannot be stored."""
        scopes: dict[str, Mapping[int, Any]] = {"user_data": self.user_data, "chat_data": self.chat_data}
        items = scopes.get(document[0], {BOT_ID: self.bot_data}).items()
        return any(key(number) == document[1] and UNSTORABLE in data for number, data in items)
