"""What python-telegram-bot's `Application` does with a persistence, and what handlers do with their data.

The order and the timing of the calls are PTB's (22.8): coroutines are made with their copies in one go, and gathered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from copy import deepcopy
from random import Random
from typing import TYPE_CHECKING, Any, Final, get_args

from handling import Handling
from late import LatePersistence, begun_later
from letting_go import let_go
from mongod import key
from nodes import Document, Node
from steps import BOT_ID, CHAT_ID, DATABASE, EXCLUDED, Step
from telegram.ext import PersistenceInput
from things import COUNT, Basket, Level

from ptb_mongo import MongoPersistence
from ptb_mongo.errors import DocumentError, PersistenceError, UnsavedDataError
from ptb_mongo.types import ScopeName

if TYPE_CHECKING:
    from bot import Bot

__all__ = ["Process"]

_STRATEGIES: Final[dict[str, Any]] = {
    "add": {scope: {COUNT: "add"} for scope in ("user_data", "chat_data", "bot_data")}
}
_PATIENCE: Final = 5.0
_UNNAMED: Final = 12.0
"""Seconds for which a document may wait for nothing but its turn, or for an answer."""


def _as_it_is(data: object) -> object:
    """A migration that leaves no trace but its number: the checker knows what handlers have stored."""
    return data


class Process(Handling):
    """One life of a bot: from its start to its end, or to its death."""

    persistence_class: type[MongoPersistence[Any, Any, Any]] = MongoPersistence

    def __init__(self, bot: Bot, number: int) -> None:
        super().__init__(bot, number)
        self.persistence = self._made()
        self.started = False
        self.stopping = False
        self._met: set[int] | None = None
        self.served: set[int] = set()  # whose updates were handled: from then on, they always are
        self._touched_users: set[int] = set()
        self._touched_chats: set[int] = set()
        self._dropped_users: set[int] = set()
        self._saving: asyncio.Lock | None = None
        self._offered: list[Node] = []
        self._updates: set[asyncio.Task[None]] = set()
        self._passes = 0
        self.errors: list[str] = []
        self.told: set[Document] = set()
        """The documents for which it was told that something in them is refused."""

    def _made(self) -> MongoPersistence[Any, Any, Any]:
        options = self.options
        made = (LatePersistence if options.overrides else self.persistence_class)(
            f"mongodb://{self.name}",
            DATABASE,
            PersistenceInput(callback_data=options.keyboards),
            loading=options.loading,  # type: ignore[arg-type]
            refresh=options.refresh,  # type: ignore[arg-type]
            on_conflict=_STRATEGIES.get(options.on_conflict, options.on_conflict),  # type: ignore[arg-type]
            on_flush=options.on_flush,
            trusted=(Basket, Level),
            exclude={"user_data": {EXCLUDED}} if options.excludes else {},
            shutdown_timeout=options.shutdown_timeout,
            spill_dir=self.bot.folder if options.spills else None,
            migrations=dict.fromkeys(get_args(ScopeName), [_as_it_is] * options.migrations),
        )
        if isinstance(made, LatePersistence):
            made.late = options.late
        return made

    # -- start --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """As `Application.initialize`; until it works, as whoever has started the process starts it again."""
        self._saving = asyncio.Lock()
        while True:
            try:
                await self._initialize()
            except PersistenceError as error:
                self.world.note(f"{self} cannot start: {error}")
                await asyncio.sleep(1.0)
            else:
                break
        self.started = True
        self.world.note(f"{self} has started")

    async def start_again(self, *, anew: bool) -> None:
        """As another `Application.initialize` with the same persistence, after a `shutdown`.

        Args:
            anew: Whether by another `Application`, which has nothing in memory yet.
        """
        if anew:
            self._forget()
            self._touched_users, self._touched_chats, self._dropped_users = set(), set(), set()
            self._touched_conversations = {}
        self.stopping = False
        self._met, self.served = set(), set()
        await self.start()

    async def _initialize(self) -> None:
        persistence = self.persistence
        users = await persistence.get_user_data()
        chats = await persistence.get_chat_data()
        bot_data = await persistence.get_bot_data()
        data = await persistence.get_callback_data() if self.options.keyboards else None
        conversations = await persistence.get_conversations(self.bot.handler)
        self.user_data.update(users)
        self.chat_data.update(chats)
        self.bot_data = bot_data
        self._saw_loaded(users, chats)
        for uuid, accessed_at, buttons in (data or ([], {}))[0]:
            self.keyboards[uuid] = accessed_at, dict(buttons)
            self._saw_keyboard(uuid)
        for conversation, state in conversations.items():
            self.conversations[conversation] = str(state)
            self.world.checker.saw(self, self._conversation(conversation), {("state",): str(state)}, "loading")

    def _saw_loaded(self, users: Mapping[int, Any], chats: Mapping[int, Any]) -> None:
        """Looks at what a start has loaded."""
        for scope, all_data in {"user_data": users, "chat_data": chats, "bot_data": {BOT_ID: self.bot_data}}.items():
            for number, obj in all_data.items():
                self._saw((scope, key(number)), obj, "loading")

    def is_idle(self) -> bool:
        """Whether it runs, and handles nothing."""
        return self.started and not self.stopping and not self._updates

    # -- updates ------------------------------------------------------------------------------------------

    async def update(self, user_id: int, steps: Sequence[Step], pause: float) -> None:
        """As `Application.process_update`: refreshes, the handler, the mark that there is something to save."""
        if not self.started or self.stopping:
            return
        with self._handling(user_id):
            try:
                await self._refresh(user_id)
                for number, step in enumerate(steps):
                    if number and pause:
                        await asyncio.sleep(max(0, pause))
                    self._do(user_id, step)
            except PersistenceError as error:
                self.world.note(f"{self} cannot handle an update of {user_id}: {error}")
                if user_id in self.served and not self.world.has_hostile_data:
                    what = f"an update of {user_id}, who was loaded: {error!r}"
                    self.world.checker.violated("unhandled", f"{self} does not handle {what}")
                return
        self._touched_chats.add(CHAT_ID)
        self._touched_users.add(user_id)

    @contextlib.contextmanager
    def _handling(self, user_id: int) -> Iterator[None]:
        """Marks the time in which an update of a user is handled."""
        task = asyncio.current_task()
        assert task is not None
        self._updates.add(task)
        self.meets(user_id)
        try:
            yield
        finally:
            self._updates.discard(task)

    async def _refresh(self, user_id: int) -> None:
        await self.persistence.refresh_bot_data(self.bot_data)
        self._saw(("bot_data", key(BOT_ID)), self.bot_data, "a refresh")
        chat = self.chat_data[CHAT_ID]
        await self.persistence.refresh_chat_data(CHAT_ID, chat)
        self._look("chat_data", CHAT_ID, self.chat_data, chat)
        user = self.user_data[user_id]
        await self.persistence.refresh_user_data(user_id, user)
        self._look("user_data", user_id, self.user_data, user)
        self.served.add(user_id)

    def _look(self, scope: str, number: int, all_data: dict[int, Any], obj: Any) -> None:
        """Looks at what a refresh has done, unless the object was dropped meanwhile."""
        if all_data.get(number) is obj:
            self._saw((scope, key(number)), obj, "a refresh")

    def meets(self, user_id: int) -> None:
        """A user's update comes."""
        if self._met is not None:
            self._met.add(user_id)

    def may_drop(self, user_id: int) -> bool:
        """Whether that is somebody who is loaded; after a second start, somebody whose update has come since.

        Otherwise the persistence cannot know whether PTB has made a new object since, or was never given one.
        """
        return user_id in self.user_data and (self._met is None or user_id in self._met)

    @property
    def touched(self) -> set[Document]:
        """The documents that PTB's next save offers anew, or drops."""
        users, chats = self._touched_users | self._dropped_users, self._touched_chats
        return {("bot_data", key(BOT_ID))} | {
            (scope, key(number)) for scope, ids in (("user_data", users), ("chat_data", chats)) for number in ids
        }

    def drop(self, user_id: int) -> None:
        """As `Application.drop_user_data`; of somebody who is loaded, as the documentation asks."""
        if not self.started or self.stopping or not self.may_drop(user_id):
            return
        document = "user_data", key(user_id)
        self._saw(document, self.user_data.pop(user_id), "something")
        self._dropped_users.add(user_id)
        self.served.discard(user_id)
        self.world.checker.changed(self, document, {}, whole=True)

    # -- saving -------------------------------------------------------------------------------------------

    async def save(self) -> None:
        """As `Application.update_persistence`, which nobody calls any more once it has stopped."""
        if self.started and not self.stopping:
            await self._save_alone()

    async def _save_alone(self) -> None:
        assert self._saving is not None
        async with self._saving:
            await self._save()

    async def _save(self) -> None:
        persistence = self.persistence
        # Each with the documents that it saves.
        calls: list[tuple[Coroutine[Any, Any, None], list[Document]]] = []
        if self.options.keyboards:
            boards = [(uuid, accessed_at, buttons) for uuid, (accessed_at, buttons) in self.keyboards.items()]
            documents = self.world.checker.documents_of(self, "callback_data")
            calls.append((persistence.update_callback_data(deepcopy((boards, {}))), documents))
        self._saw(("bot_data", key(BOT_ID)), self.bot_data, "something")
        calls.append((persistence.update_bot_data(deepcopy(self.bot_data)), [("bot_data", key(BOT_ID))]))
        chats, self._touched_chats = self._touched_chats, set()
        for chat_id in sorted(chats):
            document = "chat_data", key(chat_id)
            self._saw(document, self.chat_data[chat_id], "something")
            calls.append((persistence.update_chat_data(chat_id, deepcopy(self.chat_data[chat_id])), [document]))
        users, self._touched_users = self._touched_users, set()
        dropped, self._dropped_users = self._dropped_users, set()
        for user_id in sorted(users - dropped):
            document = "user_data", key(user_id)
            self._saw(document, self.user_data[user_id], "something")
            calls.append((persistence.update_user_data(user_id, deepcopy(self.user_data[user_id])), [document]))
        for user_id in sorted(dropped):
            # Of data that was dropped and made anew PTB hands over the drop alone: the rest is saved later.
            is_new = user_id in self.user_data
            calls.append((persistence.drop_user_data(user_id), [] if is_new else [("user_data", key(user_id))]))
        talked, self._touched_conversations = self._touched_conversations, {}
        for conversation in talked:
            state = self.conversations.get(conversation)
            saving = persistence.update_conversation(self.bot.handler, conversation, state)
            calls.append((saving, [self._conversation(conversation)]))
        self._passes += 1
        Random(f"{self.name}/{self._passes}").shuffle(calls)  # PTB keeps them in a set
        await self._offer(calls)
        if self._passes % 4 == 1:
            let_go(self)

    async def _offer(self, calls: list[tuple[Coroutine[Any, Any, None], list[Document]]]) -> None:
        checker, link = self.world.checker, self.world.network.link(self)
        offered = [[node for document in documents for node in self._storable(document)] for _, documents in calls]
        before, failed, began = self.persistence.health(), link.failed, self.world.loop.time()
        saving: list[Any] = [call for call, _ in calls]
        if self.options.late and not self.options.overrides:
            saving = [begun_later(call, self.options.late) for call in saving]
        results = await asyncio.gather(*saving, return_exceptions=True)
        for result, nodes in zip(results, offered, strict=True):
            if isinstance(result, BaseException):
                self._failed(result)
                failed_documents = {node.document for node in nodes}
                self._offered = [node for node in self._offered if node.document not in failed_documents]
            else:
                self._offered += nodes
        health = self.persistence.health()
        was_quiet = before.connected and not before.waiting
        if not self.options.on_flush and health.connected and was_quiet and health.waiting:
            took = self.world.loop.time() - began
            if failed == link.failed and took < _PATIENCE:
                checker.violated("early", f"a save pass of {self} ended while {health.waiting} documents wait")
        if health.quarantined:  # it was said once that they are not saved
            self._offered = [node for node in self._offered if node.document not in checker.ever_unreadable]
        self.look_at_health()

    def _failed(self, error: BaseException) -> None:
        self.world.note(f"{self} was told: {error!r}")
        self.errors.append(repr(error))
        if isinstance(error, DocumentError):
            self.told.add((error.collection or "", key(error.document_id)))
        if not self.world.may_tell(error):
            self.world.checker.violated("error", f"a save pass of {self} has raised {error!r}")

    def look_at_health(self) -> None:
        """Silence means saved."""
        health = self.persistence.health()
        disturbed_at = max(self.thawed_at, self.world.network.link(self).failed_at)
        waits = min(health.oldest_waiting, self.world.loop.time() - disturbed_at)
        if waits > _UNNAMED and not health.reason and not health.refused and not self.options.on_flush:
            self.world.checker.violated("unnamed", f"{self} does not say why documents wait: {health}")
        if self._offered and health.connected and not health.waiting and not health.quarantined:
            offered, self._offered = self._offered, []
            self.world.checker.acknowledged(self, offered, "a save pass")

    # -- what else people do ------------------------------------------------------------------------------

    async def count_users(self) -> None:
        """Statistics on a running bot."""
        if self.started and not self.stopping:
            try:
                await self.persistence.get_user_data()
                await self.persistence.get_chat_data()
                await self.persistence.get_bot_data()
            except PersistenceError as error:
                self.world.note(f"{self} cannot count: {error}")

    async def flush(self) -> None:
        """By hand, before a backup."""
        if self.started and not self.stopping:
            try:
                await self.persistence.flush()
            except UnsavedDataError as error:
                self.world.note(f"{self} was told: {error}")

    async def _shut_down(self) -> None:
        await self._save_alone()
        await self.persistence.flush()

    async def stop(self) -> bool:
        """As `Application.stop` and `shutdown`; whether everything was saved."""
        self.stopping = True
        while self._updates:
            await asyncio.wait(self._updates)
        try:
            await self._shut_down()
        except UnsavedDataError as error:
            self.world.note(f"{self} was told: {error}")
            self.errors.append(str(error))
            if self.options.spills:
                self.bot.spilled.append(self)
            return False
        offered, self._offered = self._offered, []
        self.world.checker.acknowledged(self, offered, "the stop")
        return True
