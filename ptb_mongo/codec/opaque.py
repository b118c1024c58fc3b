"""The plain forms of what is stored in one piece: Telegram objects, bots, classes, and whatever else can be pickled."""

from __future__ import annotations

import datetime as dtm
from collections.abc import Callable
from typing import Any, Final

import telegram

from ptb_mongo.codec import pickling
from ptb_mongo.codec.keys import TAG, escape
from ptb_mongo.codec.scalars import MAX_INT64, MIN_INT64
from ptb_mongo.codec.telegram_objects import without_token
from ptb_mongo.codec.trust import Trust
from ptb_mongo.codec.versions import VERSION, ancestor_of

__all__ = ["OpaqueForms"]

_DEEPEST_VIEW: Final = 80
_LARGEST_VIEW: Final = 50_000  # parts, each wherever it stands: no query looks through more
_UNUSUAL_PARTS: Final = 4_000  # times the attributes of a Telegram object: less than a pickle may always stand for
_FILE_PATH: Final = "file_path"
_PART_OF_A_TEXT: Final = 16  # characters
_UNUSUAL_DEPTH: Final = 30


class OpaqueForms:
    """Encodes objects without a look at what they hold.

    Args:
        trust: Which classes may be stored.
        bot: Returns the running bot.
    """

    def __init__(self, trust: Trust, bot: Callable[[], telegram.Bot | None]) -> None:
        self._trust = trust
        self._bot = bot
        self.doubtful = False
        """Whether it may be that what was encoded last cannot be decoded, or then not be copied."""

    def form(self, value: Any) -> Any:
        """The plain form of an object.

        Raises:
            EncodeError: If its class is not trusted, or it cannot be pickled.
        """
        self.doubtful = False
        if isinstance(value, telegram.Bot):
            self.doubtful = True
            return self._bot_form(value)
        if isinstance(value, telegram.TelegramObject):
            return self._telegram_form(value)
        if isinstance(value, type):
            return {TAG: "class", "v": self._trust.name_of(value)}
        cls = type(value)
        pickled = pickling.dumps(value, trust=self._trust, bot=self._bot())  # first, as it knows better what is wrong
        self.doubtful = True
        version = {"ptb": VERSION} if pickled.holds_telegram else {}
        return {TAG: "pickle", "cls": self._trust.name_of(cls), **version, "v": pickled.data}

    def _bot_form(self, value: telegram.Bot) -> Any:
        if value is self._bot():
            return {TAG: "bot"}
        pickling.warn_foreign_bot()
        return {TAG: "bot", "foreign": True}

    def _telegram_form(self, value: telegram.TelegramObject) -> Any:
        seen = _View()
        try:
            view = seen.of(value.to_dict(), 1)
        except Exception:  # noqa: BLE001  (an attribute of another type than PTB expects; the pickle holds it)
            view = None
        pickled = pickling.dumps(value, trust=self._trust, bot=self._bot())
        self.doubtful = pickled.doubtful or view is None or seen.is_unusual
        cls = type(value)
        ancestor = ancestor_of(cls)
        return {
            TAG: "telegram",
            "cls": self._trust.name_of(cls),
            **({"base": ancestor} if ancestor else {}),
            "ptb": VERSION,
            "pickle": pickled.data,
            "view": view,
        }


class _View:
    """A Telegram object's `to_dict()` for queries; it is not read back, so what BSON lacks is left out."""

    def __init__(self) -> None:
        self._parts = 0
        self._deepest = 0
        self._hides = False

    @property
    def is_unusual(self) -> bool:
        """Whether it has, or hides, so many parts or levels that the object may be refused when it is loaded."""
        return self._hides or self._parts > _UNUSUAL_PARTS or self._deepest > _UNUSUAL_DEPTH

    def of(self, value: Any, depth: int) -> Any:
        """The view of one part.

        Raises:
            ValueError: If the whole is too large.
        """
        kind = type(value)
        if kind is str and value.isascii():
            self._parts += len(value) // _PART_OF_A_TEXT
            return value
        if kind is bool or kind is float or kind is dtm.datetime or (kind is int and MIN_INT64 <= value <= MAX_INT64):
            return value
        if isinstance(value, (dict, list, tuple)):
            self._parts += 1 + len(value)
            self._deepest = max(self._deepest, depth)
            if self._parts > _LARGEST_VIEW:
                raise ValueError("too large for a view")
        if isinstance(value, dict) and depth < _DEEPEST_VIEW:
            return self._of_dict(value, depth + 1)
        if isinstance(value, (list, tuple)) and depth < _DEEPEST_VIEW:
            return [self.of(item, depth + 1) for item in value]
        if isinstance(value, str):
            self._parts += len(value) // _PART_OF_A_TEXT
            return str.__str__(value).encode("utf-8", "replace").decode()
        if isinstance(value, int) and not isinstance(value, bool):
            return int(value) if MIN_INT64 <= value <= MAX_INT64 else float(value)
        self._hides = self._hides or value is not None  # PTB looks into no tuple, so this may hold anything
        return None

    def _of_dict(self, value: dict[Any, Any], depth: int) -> dict[str, Any]:
        view = {}
        for key, item in value.items():
            is_name = type(key) is str and key.isidentifier() and key != TAG
            name, plain = key if is_name else escape(key), self.of(item, depth)
            self._hides = self._hides or name is None
            if name is not None and plain is not None:
                view[name] = without_token(plain) if name == _FILE_PATH and type(plain) is str else plain
        return view
