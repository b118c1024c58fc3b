"""The fixtures of the end-to-end tests: a stand-in for Telegram, and PTB's examples."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import pytest
from botapi import FakeBotAPI, User
from deep import IS_DEEP
from ptb_examples import ExampleBot, MongoStorage, PickleStorage, Storage, examples_directory, rewritten
from pymongo import AsyncMongoClient
from test_examples import EXAMPLES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path


class RunExample(Protocol):
    """Starts an example by its name. It saves only when it stops, unless it is told to do so earlier."""

    async def __call__(self, name: str, *, update_interval: float = 3600) -> ExampleBot: ...


@pytest.fixture
async def api() -> AsyncIterator[FakeBotAPI]:
    """Telegram, as far as this test's bot can see it."""
    async with FakeBotAPI() as server:
        yield server


@pytest.fixture
def ada(api: FakeBotAPI) -> User:
    return api.user(1815, "Ada")


@pytest.fixture
def grace(api: FakeBotAPI) -> User:
    return api.user(1906, "Grace")


# What users expect, PTB's own persistence says; that it still does changes only with PTB.
STORAGES = ["MongoPersistence", *(["PicklePersistence"] if IS_DEEP else [])]


@pytest.fixture(params=STORAGES)
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    """An empty place to store in: PTB's own, which says what users expect, and ours."""
    if request.param == "PicklePersistence":
        yield PickleStorage(tmp_path / "bot.pickle")
        return
    uri = request.getfixturevalue("mongodb_server_uri")
    database = request.getfixturevalue("mongodb_database")
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(uri)
    async with client:
        yield MongoStorage(uri, client, database)


@pytest.fixture(scope="session")
def ptb_examples() -> Path:
    """The examples of the installed python-telegram-bot."""
    return examples_directory()


@pytest.fixture
async def run_example(
    ptb_examples: Path, api: FakeBotAPI, storage: Storage, tmp_path: Path
) -> AsyncIterator[RunExample]:
    """Run PTB's examples; whatever still runs when the test ends is ended."""
    bots: list[ExampleBot] = []

    async def run(name: str, *, update_interval: float = 3600) -> ExampleBot:
        original = (ptb_examples / f"{name}.py").read_text(encoding="utf-8")
        source = rewritten(original, storage, token=api.token, update_interval=update_interval)
        bot = ExampleBot(source, api, storage, log=tmp_path / f"{name}.log")
        bots.append(bot)
        await bot.start()
        return bot

    yield run
    for bot in bots:
        await bot.kill()
        print(bot.log)  # noqa: T201 - pytest shows it where the test failed


@pytest.fixture
def page(mongodb_server_uri: str, mongodb_database: str) -> Iterator[Any]:
    """Makes a client of the page, with a password or without."""
    sys.path.append(str(EXAMPLES))
    try:
        admin_api = importlib.import_module("admin_api")
    finally:
        sys.path.remove(str(EXAMPLES))

    @contextlib.asynccontextmanager
    async def client(password: str | None = None, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
        app = admin_api.make_app(mongodb_server_uri, mongodb_database, password)
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://localhost", **options) as client,
        ):
            yield client

    return client
