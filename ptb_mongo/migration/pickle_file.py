"""The files of `telegram.ext.PicklePersistence`, a single one or one for each kind of data, of any PTB since 13."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import FunctionType, MappingProxyType
from typing import Any, Final

import telegram

from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import DecodeError, DocumentError
from ptb_mongo.migration.data import KINDS, BotData
from ptb_mongo.migration.names import StandIn, stands_in
from ptb_mongo.migration.unpickler import ForeignPickle

__all__ = ["PickleSource"]

_DICTS: Final = ("user_data", "chat_data", "conversations")


class PickleSource:
    """The output of a `PicklePersistence`.

    Args:
        path: The file; or, with `single_file=False`, the beginning of the names of five files.
        trusted: Classes, or names of modules, whose objects may be loaded; and functions that fill a `defaultdict`.
        bot: Takes the place of the bot in the data.
        aliases: Classes by their former names.

    Raises:
        FileNotFoundError: If there is no such file.
    """

    def __init__(
        self,
        path: Path,
        trusted: Iterable[type | str | FunctionType],
        bot: telegram.Bot | None,
        aliases: Mapping[str, type] = MappingProxyType({}),
    ) -> None:
        self._trust = Trust(trusted, aliases)
        self._bot = bot
        # A single file contains a dict of all kinds, each of the five files contains one kind.
        self.files: dict[str, Path] = {"": path} if path.is_file() else {}
        if not self.files:
            parts = {kind: path.with_name(f"{path.name}_{kind}") for kind in KINDS}
            self.files = {kind: part for kind, part in parts.items() if part.is_file()}
        if not self.files:
            raise FileNotFoundError(f"{path}: there is no such file, nor files {path.name}_user_data and the like")
        self.size = sum(file.stat().st_size for file in self.files.values())
        self._before = 0
        self._reading: ForeignPickle | None = None

    @property
    def position(self) -> int:
        """How many bytes have been read; may be called from another thread."""
        reading = self._reading
        return self._before + (reading.position if reading is not None else 0)

    def read(self) -> BotData:
        """Everything in the files.

        Raises:
            DecodeError: If one is not a pickle of PTB, is damaged, or would run code.
        """
        refused: dict[str, str] = {}
        found: dict[str, Any] = {}
        for kind, file in self.files.items():
            reading = self._reading = ForeignPickle(file.read_bytes(), self._trust, self._bot)
            try:
                value = reading.load()
                if kind:
                    found[kind] = value
                elif type(value) is dict:
                    found = value
                else:
                    raise DecodeError("it is not what PicklePersistence writes: a dict with user_data, chat_data, ...")
            except DecodeError as error:
                raise DecodeError(f"{file.name}: {error.reason}") from error
            refused |= reading.refused
            self._before += reading.position
            self._reading = None
        return _bot_data(found, refused)


def _bot_data(found: dict[str, Any], refused: dict[str, str]) -> BotData:
    problems: list[DocumentError] = []
    for kind in _DICTS:
        if not isinstance(found.get(kind), (dict, type(None), StandIn)):
            raise DecodeError(f"its {kind} is not a dict, as PicklePersistence writes it")
    for kind in KINDS:
        found[kind] = _loaded(found.get(kind), kind, None, problems)
    conversations = {
        name: {} if stands_in(states) else states for name, states in (found["conversations"] or {}).items()
    }
    for name, states in (found["conversations"] or {}).items():
        _loaded(states, "conversations", name, problems)
    if not all(isinstance(states, dict) for states in conversations.values()):
        raise DecodeError("its conversations are not a dict for each handler")
    return BotData(
        user_data=found["user_data"] or {},
        chat_data=found["chat_data"] or {},
        bot_data=found["bot_data"],
        conversations=conversations,
        callback_data=_callback_data(found["callback_data"]),
        refused=refused,
        problems=problems,
    )


def _loaded(value: Any, kind: str, place: Any, problems: list[DocumentError]) -> Any:
    """What was read, or `None`, with a note, if all of it could not be loaded."""
    if not isinstance(value, StandIn):
        return value
    reason = f"it is an object of {type(value).__module__}.{type(value).__qualname__}, which was not loaded"
    problems.append(DecodeError(reason).located(kind, place))
    return None


def _callback_data(value: Any) -> Any:
    match value:
        case None | {}:
            return None
        case (list(keyboards), dict(queries)):
            if all(_is_keyboard(one) for one in keyboards) and all(
                type(part) is str for pair in queries.items() for part in pair
            ):
                return value
    raise DecodeError("its callback_data is not what PTB's cache gives")


def _is_keyboard(value: Any) -> bool:
    match value:
        case (str(), float() | int(), dict(buttons)):
            return all(type(button) is str for button in buttons)
    return False
