"""The subjects of the comparison: each stores the same users in its own way, in its own database or file."""

from __future__ import annotations

import asyncio
import copy
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mongopersistence
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import AsyncMongoClient, MongoClient, UpdateOne
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent
from telegram.ext import BasePersistence, ExtBot, PicklePersistence

from ptb_mongo import MongoPersistence
from suite.core import Run

TOKEN = "123456:BENCHMARK"
DOCUMENT = {
    "name": "Ada",
    "language": "en",
    "score": 12,
    "premium": False,
    "cart": [{"sku": "x-1", "qty": 2}, {"sku": "y-2", "qty": 1}],
    "settings": {"tone": "warm", "size": 3, "notes": "n" * 60},
}
"""A user's data; 260 bytes as a stored document."""
CHUNK = 1000
_FILLED_AT_ONCE = 10_000

MOTOR, PYMONGO = "ours, Motor", "ours, PyMongo"
OURS = {MOTOR: "Motor", PYMONGO: "PyMongo"}
PICKLE, OTHER = "PicklePersistence", "mongopersistence"
IDLE = "an idle persistence"
CLIENTS: dict[str, Any] = {"Motor": AsyncIOMotorClient, "PyMongo": AsyncMongoClient}


def raw(driver: str, how: str) -> str:
    """The name of a raw subject."""
    return f"{driver}'s {how}"


@asynccontextmanager
async def client_of(driver: str, uri: str, **options: Any) -> AsyncIterator[Any]:
    """A client of one of the two drivers."""
    client = CLIENTS[driver](uri, **options)
    try:
        yield client
    finally:
        await closed(client)


async def closed(client: Any) -> None:
    """Closes a client of either driver."""
    closing = client.close()
    if closing is not None:
        await closing


class Sent(CommandListener):
    """Notes the commands that a client sends, except for those that open a change stream and wait on it."""

    waiting = frozenset({"hello", "aggregate", "getMore", "killCursors", "endSessions"})

    def __init__(self) -> None:
        self.commands: list[Mapping[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        """See `CommandListener`."""
        if event.command_name not in self.waiting:
            self.commands.append(event.command)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """See `CommandListener`."""

    def failed(self, event: CommandFailedEvent) -> None:
        """See `CommandListener`."""

    def take(self) -> list[Mapping[str, Any]]:
        """The commands that were sent since the last call."""
        taken, self.commands = self.commands, []
        return taken


class Subject(ABC):
    """Something that stores users.

    Attributes:
        name: Its name in the table.
        affordable: How many documents it saves at most, if more would take too long.
    """

    affordable = 1_000_000

    def __init__(self, run: Run, name: str) -> None:
        self.run = run
        self.name = name
        self.database = run.database + "".join(letter for letter in name if letter.isalnum())

    async def fill(self, count: int) -> None:
        """Stores this many users, in the subject's own form, without using the subject."""
        with MongoClient[Any](self.run.uri) as client:
            client.drop_database(self.database)
            for start in range(0, count, _FILLED_AT_ONCE):
                numbers = range(start, min(start + _FILLED_AT_ONCE, count))
                client[self.database].user_data.insert_many(self.document(number) for number in numbers)

    def document(self, number: int) -> dict[str, Any]:
        """A user's document."""
        return {"_id": number, "data": DOCUMENT, "rev": "benchmark:1"}

    @abstractmethod
    async def open(self) -> None:
        """Connects, and does everything else that comes before loading users."""

    @abstractmethod
    async def load(self) -> Any:
        """Loads all users."""

    def users(self, loaded: Any) -> dict[int, Any]:
        """The data of each user, from what `load` has returned."""
        users: dict[int, Any] = loaded
        return users

    @abstractmethod
    async def save(self, users: Mapping[int, Any]) -> None:
        """Saves users whose `score` has changed."""

    @abstractmethod
    async def close(self) -> None:
        """Disconnects."""


class Persistence(Subject):
    """A PTB persistence, used in the same way as by `Application`."""

    persistence: BasePersistence[Any, Any, Any]

    @abstractmethod
    def make(self) -> BasePersistence[Any, Any, Any]:
        """A new persistence."""

    def made(self) -> BasePersistence[Any, Any, Any]:
        """A new persistence, for an application to open; `close` closes it."""
        self.persistence = self.make()
        return self.persistence

    async def open(self) -> None:
        """See `Subject`."""
        self.made()
        self.persistence.set_bot(ExtBot(TOKEN))
        await self.persistence.get_bot_data()

    async def load(self) -> Any:
        """See `Subject`."""
        return await self.persistence.get_user_data()

    async def save(self, users: Mapping[int, Any]) -> None:
        """See `Subject`."""
        await asyncio.gather(*(self.persistence.update_user_data(user, data) for user, data in users.items()))

    async def close(self) -> None:
        """See `Subject`."""
        await self.persistence.flush()


class Ours(Persistence):
    """`ptb_mongo`, on one of the two drivers."""

    def __init__(self, run: Run, name: str, **options: Any) -> None:
        super().__init__(run, name)
        self.options = options
        self._client: Any = None

    def make(self) -> MongoPersistence[Any, Any, Any]:
        """See `Persistence`."""
        if self.name == PYMONGO:
            self._client = AsyncMongoClient(self.run.uri)
        return MongoPersistence(self._client or self.run.uri, self.database, **self.options)

    async def close(self) -> None:
        """See `Subject`."""
        await super().close()
        if self._client is not None:
            await closed(self._client)


class Counted(Ours):
    """The same, with notes of every command to the server: for counting, not for timing."""

    def __init__(self, run: Run, name: str, **options: Any) -> None:
        super().__init__(run, name, **options)
        self.sent = Sent()

    def make(self) -> MongoPersistence[Any, Any, Any]:
        """See `Persistence`."""
        self._client = CLIENTS[OURS[self.name]](self.run.uri, event_listeners=[self.sent])
        return MongoPersistence(self._client, self.database, **self.options)


class Raw(Subject):
    """The driver alone, doing the minimum.

    Args:
        run: The run.
        driver: "Motor" or "PyMongo".
        how: The method, for the name.
        chunk: How many updates are in one `bulk_write`, if several are sent at once.
        is_guarded: Whether each update expects the `rev` of its document, like ours.
    """

    def __init__(self, run: Run, driver: str, how: str, chunk: int | None = None, *, is_guarded: bool = False) -> None:
        super().__init__(run, raw(driver, how))
        self.driver = driver
        self.chunk = chunk
        self.is_guarded = is_guarded
        self._revs: dict[int, str] = {}
        self._saves = 0

    async def open(self) -> None:
        """See `Subject`."""
        self._entered = client_of(self.driver, self.run.uri)
        client = await self._entered.__aenter__()
        self.collection = client[self.database].user_data
        await self.collection.find_one()

    async def load(self) -> Any:
        """See `Subject`."""
        return await self.collection.find().to_list(None)

    def users(self, loaded: Any) -> dict[int, Any]:
        """See `Subject`."""
        self._revs = {document["_id"]: document["rev"] for document in loaded}
        return {document["_id"]: document["data"] for document in loaded}

    async def save(self, users: Mapping[int, Any]) -> None:
        """See `Subject`; the same update as ours, but with prior knowledge of the changed field."""
        self._saves += 1
        pairs = list(users.items())
        size = self.chunk or len(pairs)
        chunks = (self._updates(pairs[start : start + size]) for start in range(0, len(pairs), size))
        results = await asyncio.gather(*(self.collection.bulk_write(chunk, ordered=False) for chunk in chunks))
        if sum(result.matched_count for result in results) != len(pairs):
            raise RuntimeError("not everything was saved")

    def _updates(self, users: Iterable[tuple[int, Any]]) -> list[UpdateOne]:
        updates = []
        for user, data in users:
            rev = f"benchmark:{self._saves}.{user}"
            guard = {"rev": self._revs[user]} if self.is_guarded else {}
            self._revs[user] = rev
            fields = {"$set": {"data.score": data["score"], "rev": rev}, "$currentDate": {"updated_at": True}}
            updates.append(UpdateOne({"_id": user, **guard}, fields))
        return updates

    async def close(self) -> None:
        """See `Subject`."""
        await self._entered.__aexit__(None, None, None)


class Pickle(Persistence):
    """PTB's own `PicklePersistence`: rewrites its file for each user."""

    affordable = 10

    @property
    def path(self) -> Path:
        """The file."""
        return Path(self.run.folder) / f"{self.database}.pickle"

    def make(self) -> PicklePersistence[Any, Any, Any]:
        """See `Persistence`."""
        return PicklePersistence(self.path)

    async def fill(self, count: int) -> None:
        """See `Subject`."""
        self.path.unlink(missing_ok=True)
        writer: PicklePersistence[Any, Any, Any] = PicklePersistence(self.path, on_flush=True)
        writer.set_bot(ExtBot(TOKEN))
        await asyncio.gather(writer.get_user_data(), writer.get_chat_data(), writer.get_bot_data())
        for number in range(count):
            await writer.update_user_data(number, copy.deepcopy(DOCUMENT))
        await writer.flush()


class Other(Persistence):
    """`mongopersistence` from PyPI: reads and replaces the document of each user."""

    affordable = 500

    def document(self, number: int) -> dict[str, Any]:
        """See `Subject`."""
        return {"_id": number, **DOCUMENT}

    def make(self) -> Any:
        """See `Persistence`; the option's name is misleading: `True` would write only at the end."""
        names = {f"name_col_{kind}": kind for kind in ("user_data", "chat_data", "bot_data", "conversations_data")}
        return mongopersistence.MongoPersistence(self.run.uri, self.database, **names, load_on_flush=False)


class Nothing(BasePersistence[Any, Any, Any]):
    """Stores nothing, which leaves what PTB itself does for any persistence."""

    async def get_user_data(self) -> dict[int, Any]:
        """See `BasePersistence`."""
        return {}

    async def get_chat_data(self) -> dict[int, Any]:
        """See `BasePersistence`."""
        return {}

    async def get_bot_data(self) -> dict[Any, Any]:
        """See `BasePersistence`."""
        return {}

    async def get_callback_data(self) -> None:
        """See `BasePersistence`."""

    async def get_conversations(self, name: str) -> dict[Any, Any]:
        """See `BasePersistence`."""
        del name
        return {}

    async def update_user_data(self, user_id: int, data: Any) -> None:
        """See `BasePersistence`."""

    async def update_chat_data(self, chat_id: int, data: Any) -> None:
        """See `BasePersistence`."""

    async def update_bot_data(self, data: Any) -> None:
        """See `BasePersistence`."""

    async def update_callback_data(self, data: Any) -> None:
        """See `BasePersistence`."""

    async def update_conversation(self, name: str, key: Any, new_state: object | None) -> None:
        """See `BasePersistence`."""

    async def drop_user_data(self, user_id: int) -> None:
        """See `BasePersistence`."""

    async def drop_chat_data(self, chat_id: int) -> None:
        """See `BasePersistence`."""

    async def refresh_user_data(self, user_id: int, user_data: Any) -> None:
        """See `BasePersistence`."""

    async def refresh_chat_data(self, chat_id: int, chat_data: Any) -> None:
        """See `BasePersistence`."""

    async def refresh_bot_data(self, bot_data: Any) -> None:
        """See `BasePersistence`."""

    async def flush(self) -> None:
        """See `BasePersistence`."""


class Idle(Persistence):
    """`Nothing` as a subject."""

    def make(self) -> Nothing:
        """See `Persistence`."""
        return Nothing()


def persistences(run: Run) -> list[Subject]:
    """All interchangeable persistences: ours on both drivers, and the peers."""
    return [Ours(run, MOTOR), Ours(run, PYMONGO), Pickle(run, PICKLE), Other(run, OTHER)]
