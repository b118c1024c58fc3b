"""A bot in a process of its own: makes numbered changes, saves all the time, and notes what it was told and saw.

It ends at SIGTERM, as a bot does: it shuts its application down, which saves. While the file `quiet` is there it
changes nothing, and writes down what it has in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import pathlib
import random
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from edits import DOCUMENTS, FLAT, RICH, USERS, Edits
from history import Document, LogNotes, Recorder
from keyboards import CACHE, SIZE, Keyboards, cache_exact
from memory import Memory
from offline import message_from, offline_application
from ptb_private import conversation_state
from pymongo import AsyncMongoClient
from telegram.ext import ConversationHandler, MessageHandler, PersistenceInput, filters
from values import EXCLUDED, TRUSTED, exact, without_excluded

from ptb_mongo import MongoPersistence, UnavailableError, UnsavedDataError
from ptb_mongo.errors import RefusedError, WatchUnavailableError

SAVE_INTERVAL = 0.2
WORKERS = 2
CONVERSATION = "torture"
TALK = "/talk"
SCOPES = ("user_data", "chat_data", "bot_data")
UNSAVED = 3  # the exit status when `shutdown` could not save everything, and said so


class AnyState(dict[object, Any]):
    """The states of a conversation in which every value is one."""

    def __contains__(self, state: object) -> bool:
        return True


class TorturedBot:
    """The bot.

    Args:
        name: Whose paths it changes.
        run: How often it has been started.
        options: What the runner has chosen.
    """

    def __init__(self, name: str, run: str, options: dict[str, Any]) -> None:
        self._folder = pathlib.Path(options["folder"])
        self._name = name
        self._recorder = Recorder(self._folder, f"{name}.{run}")
        self._recorder.note("begun")
        self._chance = random.Random(f"{options['seed']} {name} {run}")
        self._edits = Edits(name, self._recorder, self._chance)
        self._talker = options["talker"]
        client = AsyncMongoClient(options["uri"]) if options["driver"] == "pymongo" else None
        self._client: AsyncMongoClient[Any] | None = client
        self._options = options
        self._refusals = (RefusedError, WatchUnavailableError) if options["refused"] else ()
        self._persistence: MongoPersistence[Any, Any, Any] = MongoPersistence(
            client or options["uri"],
            options["database"],
            store_data=PersistenceInput(callback_data=options["keyboards"]),
            trusted=TRUSTED,
            exclude={scope: {EXCLUDED} for scope in SCOPES},
            **options["persistence"],
        )
        talk = MessageHandler(filters.Text([TALK]), self._talk)
        conversation: ConversationHandler[Any] = ConversationHandler(
            [talk], AnyState(), [], allow_reentry=True, persistent=True, name=CONVERSATION
        )
        self._application = offline_application(
            self._persistence,
            conversation,
            MessageHandler(filters.ALL, self._handle),
            callback_data_cache=SIZE,
        )
        self._keyboards: Keyboards | None = None
        self._application.add_error_handler(self._failed)
        self._plans: dict[str, list[Callable[[], None]]] = {}
        self._plan_numbers = itertools.count()
        self._talked: list[int] = []
        self._finished: list[int] = []  # numbers of writes whose update is over
        self._carried: list[int] = []  # and of those that a save pass has taken
        self._slowest = 0.0
        self._memory = Memory(name, self._recorder, self._live)
        self._flat = asyncio.Lock()
        self._quiet = self._folder / "quiet"
        self._stopping = asyncio.Event()

    def _live(self, document: Document) -> Any:
        scope, key = document
        return self._application.bot_data if scope == "bot_data" else getattr(self._application, scope)[key]

    # -- updates ----------------------------------------------------------------------------------------

    async def _handle(self, update: Any, _: object) -> None:
        for number, step in enumerate(self._plans[update.message.text]):
            if number:
                await asyncio.sleep(self._chance.uniform(0, 0.01))
            step()

    async def _talk(self, update: Any, _: object) -> object:
        state = self._recorder.value() if self._chance.random() < 0.8 else None
        self._talked.append(self._recorder.write(("conversations", update.effective_user.id), (), state))
        return ConversationHandler.END if state is None else state

    async def _failed(self, update: Any, context: Any) -> None:
        documents = _documents(update.effective_user.id) if update else []
        is_loaded = all(map(self._memory.has_seen, documents))
        if isinstance(context.error, UnavailableError) and not is_loaded:
            self._recorder.note("never loaded")
        elif isinstance(context.error, RefusedError) and self._options["refused"]:
            self._recorder.note("refused", text=str(context.error))
        else:
            self._recorder.note("problem", text=f"error handler: {context.error!r}")

    async def _update(self, user: int, plan: Callable[[list[int]], list[Callable[[], None]]]) -> None:
        """One update of a user, whose handler does what is planned."""
        text = f"update {next(self._plan_numbers)}"
        numbers: list[int] = []
        self._plans[text] = plan(numbers)
        async with self._flat if user == FLAT else contextlib.nullcontext():
            begun = asyncio.get_running_loop().time()
            await self._application.process_update(message_from(user, text))
            self._slowest = max(self._slowest, asyncio.get_running_loop().time() - begun)
        del self._plans[text]
        self._finished += numbers

    def _plan(self, numbers: list[int], user: int) -> list[Callable[[], None]]:
        """Some changes of what a handler of this user's update reaches."""
        steps: list[Callable[[], None]] = []
        for _ in range(self._chance.randint(1, 3)):
            document = self._edits.document(_documents(user))
            if document[1] in RICH and self._chance.random() < 0.05:
                steps.append(lambda document=document: self._memory.exclude(document))
            edit = self._edits.edit(document)
            steps.append(lambda document=document, edit=edit: numbers.extend(self._memory.change(document, edit)))
        return steps

    async def _work(self) -> None:
        while not self._stopping.is_set() and not self._quiet.exists():
            user = self._chance.choice(USERS)
            await self._update(user, lambda numbers, user=user: self._plan(numbers, user))
            chance = self._chance.random()
            if chance < 0.1:
                await self._application.process_update(message_from(self._talker, TALK))
                self._finished += self._talked
                self._talked.clear()
            elif chance < 0.12:
                async with self._flat:  # between refresh and handler of an update it would be missed by both
                    self._drop(self._chance.choice(["user_data", "chat_data"]))
            elif chance < 0.22 and self._keyboards is not None:
                self._finished += self._keyboards.act()
            elif chance < 0.24 and self._options["asks"]:
                await self._ask()
            await asyncio.sleep(self._chance.uniform(0, 0.12))

    def _drop(self, scope: str) -> None:
        drop = getattr(self._application, f"drop_{scope}")
        self._finished += self._memory.drop((scope, FLAT), lambda: drop(FLAT))

    async def _ask(self) -> None:
        """Does what is harmless with a `PicklePersistence`: statistics, and a backup."""
        persistence = self._persistence
        ask: list[Callable[[], Any]] = [
            persistence.get_user_data,
            persistence.get_chat_data,
            persistence.get_bot_data,
            persistence.flush,
        ]
        chosen = self._chance.choice(ask)
        self._recorder.note("asks", what=chosen.__name__)
        try:
            await chosen()
        except (UnavailableError, UnsavedDataError, *self._refusals) as error:
            self._recorder.note("asked in vain", text=str(error))

    # -- saving -----------------------------------------------------------------------------------------

    def _take(self) -> None:
        """What the save pass that begins now will carry."""
        self._carried += self._finished
        self._finished = []

    async def _save(self) -> None:
        self._take()
        await self._application.update_persistence()
        if not self._options["persistence"]["on_flush"] and not self._persistence.health().waiting:
            self._recorder.acknowledged(self._carried)
            self._carried = []

    async def _save_all_the_time(self) -> None:
        parent = os.getppid()
        while not self._stopping.is_set() and os.getppid() == parent:
            await asyncio.sleep(SAVE_INTERVAL)
            await self._save()
            self._note_health()
        self._stopping.set()

    def _note_health(self) -> None:
        numbers = {key: value for key, value in asdict(self._persistence.health()).items() if isinstance(value, int)}
        self._recorder.note("health", numbers={**numbers, "slowest": round(self._slowest * 1000)})

    # -- the whole --------------------------------------------------------------------------------------

    async def _rest(self) -> None:
        """Changes nothing, sees and saves, and writes down what is in memory."""
        while not self._stopping.is_set():
            if self._quiet.exists():
                for user in USERS:
                    await self._update(user, lambda _, user=user: [lambda: self._look(user)])
                self._dump()
            await asyncio.sleep(0.1)

    def _look(self, user: int) -> None:
        for document in _documents(user):
            self._memory.look(document)

    def _dump(self) -> None:
        handler: Any = self._application.handlers[0][0]
        memory = {f"{scope} {key}": exact(without_excluded(self._live((scope, key)))) for scope, key in DOCUMENTS}
        memory[f"conversations {self._talker}"] = conversation_state(handler, (self._talker, self._talker))
        if self._keyboards is not None:
            memory[f"{CACHE[0]} {CACHE[1]}"] = cache_exact(self._application.bot.callback_data_cache.persistence_data)
        waiting = self._persistence.health().waiting + len(self._carried) + len(self._finished)
        file = self._folder / f"{self._name}.memory"
        partial = file.with_suffix(".partial")
        partial.write_text(json.dumps({"waiting": waiting, "memory": memory}), encoding="utf-8")
        partial.replace(file)

    async def run(self) -> int:
        """Runs until SIGTERM; the exit status."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stopping.set)
        logging.getLogger().addHandler(LogNotes(self._recorder, refused=self._options["refused"]))
        try:
            while not await self._starts():
                if self._stopping.is_set():
                    return 0
            await asyncio.gather(self._save_all_the_time(), self._rest(), *(self._work() for _ in range(WORKERS)))
            return await self._shut_down()
        finally:
            if self._client is not None:
                await self._client.close()
            if left := asyncio.all_tasks() - {asyncio.current_task()}:
                self._recorder.note("problem", text=f"tasks left: {left}")

    async def _starts(self) -> bool:
        try:
            await self._application.initialize()
        except (
            UnavailableError,
            RefusedError,
            *self._refusals,
        ) as error:  # a server that has just woken up may refuse, too
            self._recorder.note("no start", text=str(error))
            await asyncio.sleep(0.1)
            return False
        self._recorder.note("ready")
        if self._options["keyboards"]:
            file = self._folder / f"{self._name}.keyboards"
            self._keyboards = Keyboards(self._application.bot, self._recorder, self._chance, file)
        return True

    async def _shut_down(self) -> int:
        self._take()
        self._note_health()
        try:
            await self._application.shutdown()
        except UnsavedDataError as error:
            kept = self._options["persistence"]["spill_dir"] is not None
            self._recorder.note("spilled" if kept else "unsaved", numbers=self._carried, text=str(error))
            return UNSAVED
        self._recorder.acknowledged(self._carried)
        return 0


def _documents(user: int) -> list[Document]:
    """What a handler of this user's update reaches."""
    return [document for document in DOCUMENTS if document[1] == user or document[0] == "bot_data"]


if __name__ == "__main__":
    sys.exit(asyncio.run(TorturedBot(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])).run()))
