"""Stand-ins for `PicklePersistence` and `DictPersistence`.

PTB's tests look at the files, the JSON and the attributes of these two. Here all of that is made from what is in the
database, by the package's own importers and exporter.
"""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

from ptb_suite.databases import KINDS, TRUSTED, OwnDatabase
from ptb_suite.ours import Ours
from telegram.ext import ContextTypes, PersistenceInput

from ptb_mongo import DecodeError, MongoPersistence
from ptb_mongo.migration import BotData, PickleSource, read_dict, write_pickle

__all__ = ["DictStandIn", "PickleStandIn"]


@contextlib.contextmanager
def _as_type_error() -> Iterator[None]:
    """PTB calls input that it cannot read a `TypeError`; the text must name the culprit in both cases."""
    try:
        yield
    except DecodeError as error:
        raise TypeError(str(error)) from error


def _with_hooks(name: str) -> Callable[..., Awaitable[Any]]:
    """A method of `MongoPersistence` between the two hooks of `_Transparent`."""
    kind = {"update_conversation": "conversations"}.get(name, name.partition("_")[2])

    async def method(self: _Transparent, *args: Any, **named: Any) -> Any:
        await self._before(kind)
        answer = await getattr(MongoPersistence, name)(self, *args, **named)
        await self._after(kind)
        return answer

    return method


class _Transparent(Ours):
    """What both have in common: a kind of data that is set to `None` is forgotten, and saved no more."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._forgotten: set[str] = set()

    async def _before(self, kind: str) -> None:
        if kind not in self._forgotten:
            return
        self._forgotten.remove(kind)
        match kind:
            case "user_data":
                for user_id in self.own.load(kind):
                    await MongoPersistence.drop_user_data(self, user_id)
            case "chat_data":
                for chat_id in self.own.load(kind):
                    await MongoPersistence.drop_chat_data(self, chat_id)
            case "conversations":
                for name in self.own.load(kind):
                    for key in list(await MongoPersistence.get_conversations(self, name)):
                        await MongoPersistence.update_conversation(self, name, key, None)

    async def _after(self, kind: str) -> None:
        pass

    get_user_data = _with_hooks("get_user_data")
    get_chat_data = _with_hooks("get_chat_data")
    get_bot_data = _with_hooks("get_bot_data")
    get_callback_data = _with_hooks("get_callback_data")
    get_conversations = _with_hooks("get_conversations")
    update_user_data = _with_hooks("update_user_data")
    update_chat_data = _with_hooks("update_chat_data")
    update_bot_data = _with_hooks("update_bot_data")
    update_callback_data = _with_hooks("update_callback_data")
    update_conversation = _with_hooks("update_conversation")
    drop_user_data = _with_hooks("drop_user_data")
    drop_chat_data = _with_hooks("drop_chat_data")
    flush = _with_hooks("flush")


class PickleStandIn(_Transparent):
    """In place of `PicklePersistence`: each path has a database, and the file mirrors it.

    A file that exists before its database is imported. From then on the file is written whenever a call has changed
    the database, and only then: what a test reads from the file is what is stored at that moment. The attributes
    `user_data` and so on are what the persistence itself gives after each call.
    """

    def __init__(
        self,
        filepath: Path | str,
        store_data: PersistenceInput | None = None,
        single_file: bool = True,
        on_flush: bool = False,
        update_interval: float = 60,
        context_types: ContextTypes[Any, Any, Any, Any] | None = None,
    ) -> None:
        self.filepath = Path(filepath)
        self.single_file = single_file
        self._path = self.filepath.absolute()
        own, self._is_new = OwnDatabase.of(self._path, context_types)
        super().__init__(store_data, update_interval, on_flush=on_flush, own=own)
        self._on_flush = on_flush
        self._held: dict[str, Any] = dict.fromkeys(KINDS)
        self._mirrored = own.documents()

    @property
    def on_flush(self) -> bool:
        return self._on_flush

    @on_flush.setter
    def on_flush(self, on_flush: bool) -> None:
        """`PicklePersistence` can change its mind; ours is made anew, which it can be while it is closed."""
        if on_flush == self._on_flush:
            return
        assert self.refresh_mode is None
        bot = self.bot
        MongoPersistence.__init__(
            self,
            **self.own.options(),
            store_data=self.store_data,
            update_interval=self.update_interval,
            on_flush=on_flush,
        )
        self.bot, self._on_flush = bot, on_flush

    def _attribute(kind: str) -> Any:  # noqa: N805  (it makes the attributes below)
        def set_none(self: PickleStandIn, value: None) -> None:
            assert value is None
            self._held[kind] = None
            self._forgotten.add(kind)

        return property(lambda self: self._held[kind], set_none)

    user_data, chat_data, bot_data, callback_data, conversations = map(_attribute, KINDS)

    async def _before(self, kind: str) -> None:
        if self._is_new:
            with _as_type_error(), contextlib.suppress(FileNotFoundError):
                self.own.take_in(PickleSource(self._path, TRUSTED, self.bot).read())
                self._mirrored = self.own.documents()
            self._is_new = False
        await super()._before(kind)

    async def _after(self, kind: str) -> None:
        if kind == "conversations":
            names = self.own.load(kind)
            self._held[kind] = {name: dict(await MongoPersistence.get_conversations(self, name)) for name in names}
        elif kind:  # after a flush nothing is asked, as that would open it again
            self._held[kind] = await getattr(MongoPersistence, f"get_{kind}")(self)
        documents = self.own.documents()
        if documents != self._mirrored:
            self._mirrored = documents
            data = BotData(**self.own.load_kinds(*KINDS))
            await write_pickle(data, self._path, self.bot, single_file=self.single_file)


class DictStandIn(_Transparent):
    """In place of `DictPersistence`: the JSON that it is given is imported; attributes and JSON are what is stored."""

    def __init__(
        self,
        store_data: PersistenceInput | None = None,
        user_data_json: str = "",
        chat_data_json: str = "",
        bot_data_json: str = "",
        conversations_json: str = "",
        callback_data_json: str = "",
        update_interval: float = 60,
    ) -> None:
        super().__init__(store_data, update_interval)
        texts = {
            "user_data": user_data_json,
            "chat_data": chat_data_json,
            "bot_data": bot_data_json,
            "conversations": conversations_json,
            "callback_data": callback_data_json,
        }
        if any(texts.values()):
            with tempfile.TemporaryDirectory() as folder, _as_type_error():
                path = Path(folder) / "persistence.json"
                path.write_text(json.dumps(texts), encoding="utf-8")
                self.own.take_in(read_dict(path))

    def _attribute(kind: str) -> Any:  # noqa: N805  (it makes the attributes below)
        return property(lambda self: self.own.load(kind) or None)

    def _json(kind: str) -> Any:  # noqa: N805  (it makes the attributes below)
        return property(lambda self: json.dumps(getattr(self, kind)))

    def _forgettable(kind: str) -> Any:  # noqa: N805  (it makes the attributes below)
        return property(fset=lambda self, _: self._forgotten.add(kind))

    user_data, chat_data, bot_data, callback_data, conversations = map(_attribute, KINDS)
    user_data_json, chat_data_json, bot_data_json, callback_data_json = map(_json, KINDS[:4])
    _user_data, _chat_data, _conversations = map(_forgettable, ("user_data", "chat_data", "conversations"))

    @property
    def conversations_json(self) -> str:
        return self._encode_conversations_to_json(self.conversations)

    @staticmethod
    def _encode_conversations_to_json(conversations: Any) -> str:
        """Under this name PTB's tests ask for what they expect."""
        if conversations is None:
            return "null"
        plain = {
            name: {json.dumps(key): state for key, state in states.items()} for name, states in conversations.items()
        }
        return json.dumps(plain)
