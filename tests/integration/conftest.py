"""Fixtures for tests with a server: a bot, and another service that works on the same data."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.testing
from bots import Bot
from disturbed import Traffic
from proxy_process import ProxyProcess
from pymongo import AsyncMongoClient, MongoClient
from pymongo.uri_parser import parse_uri
from telegram.ext import ContextTypes
from workers import SharedBot

from ptb_mongo import MongoPersistence


@pytest.fixture(scope="session")
def service(mongodb_server_uri: str) -> Iterator[Any]:
    """Another service's client, which stays connected."""
    with MongoClient(mongodb_server_uri, tz_aware=True) as client:
        yield client


@pytest.fixture
def database(service: Any, mongodb_database: str) -> Any:
    """Another service, and the eyes of the tests."""
    return service[mongodb_database]


@pytest.fixture
def run(
    mongodb_server_uri: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., typer.testing.Result]:
    """Runs `ptb-mongo` in this process, on this test's database."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server_uri)
    from ptb_mongo.cli.app import app

    def invoke(*words: str, **options: Any) -> typer.testing.Result:
        ran = typer.testing.CliRunner().invoke(
            app, (*words, "--database", mongodb_database), catch_exceptions=False, **options
        )
        assert "Traceback" not in ran.output
        return ran

    return invoke


@pytest.fixture
def killed(mongodb_server_uri: str, mongodb_database: str) -> Callable[..., None]:
    """Runs a command in a process that is killed at some moment."""

    def kill(at: tuple[str, int, str], *words: str) -> None:
        done = subprocess.run(
            [
                sys.executable,
                str(Path(__file__).with_name("killed_command.py")),
                at[0],
                str(at[1]),
                at[2],
                *words,
                "--database",
                mongodb_database,
            ],
            env={**os.environ, "MONGODB_URI": mongodb_server_uri},
            capture_output=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr

    return kill


@pytest.fixture
async def client(mongodb_server_uri: str) -> AsyncIterator[Any]:
    """What bots are given to connect with."""
    async with AsyncMongoClient(mongodb_server_uri) as client:
        yield client


@pytest.fixture
async def start(client: Any, mongodb_database: str) -> AsyncIterator[Callable[..., Any]]:
    """Starts a bot; all that were started are shut down at the end."""
    async with contextlib.AsyncExitStack() as stack:

        async def started(context_types: ContextTypes[Any, Any, Any, Any] | None = None, **options: Any) -> Bot:
            persistence: Any = MongoPersistence(client, mongodb_database, context_types=context_types, **options)
            bot = Bot(persistence, **({"context_types": context_types} if context_types else {}))
            await bot.application.initialize()
            stack.push_async_callback(bot.application.shutdown)
            return bot

        yield started


@pytest.fixture
def worker(mongo_persistence: Callable[..., MongoPersistence[Any, Any, Any]]) -> Callable[..., SharedBot]:
    """Makes one of several workers of a bot."""

    def make(consistency: str = "strict", handlers: Any = (), **options: Any) -> SharedBot:
        return SharedBot(mongo_persistence(**options), handlers, consistency=consistency)

    return make


@pytest.fixture(params=["watch", "read"])
def mode(request: pytest.FixtureRequest) -> str:
    """How a bot notices what others change."""
    return str(request.param)


@pytest.fixture(scope="session")
def proxy_process(mongodb_server_uri: str) -> Iterator[ProxyProcess]:
    host, port = parse_uri(mongodb_server_uri)["nodelist"][0]
    with ProxyProcess(f"{host}:{port}") as process:
        yield process


@pytest.fixture
async def traffic(proxy_process: ProxyProcess) -> AsyncIterator[Traffic]:
    """What disturbs the traffic between a server and those who connect to it by this."""
    traffic = Traffic(proxy_process)
    yield traffic
    await traffic.calm()
    # Each command whose answer was lost keeps one of the few threads that all of Motor's clients here share.
    await traffic.does("cut")


@pytest.fixture
async def proxied(request: pytest.FixtureRequest, traffic: Traffic) -> AsyncIterator[Any]:
    """What a bot connects with by way of the proxy: a URI for Motor, or PyMongo's client."""
    if getattr(request, "param", "motor") == "motor":
        yield traffic.uri
    else:
        async with AsyncMongoClient(traffic.uri) as client:
            yield client


@pytest.fixture
async def disturbed(proxied: Any, mongodb_database: str, traffic: Traffic) -> AsyncIterator[Bot]:
    """A bot whose traffic may be disturbed."""
    bot = Bot(MongoPersistence(proxied, mongodb_database))
    async with bot.application:
        await bot.persistence.get_conversations("order")
        yield bot
        await traffic.calm()


@pytest.fixture
async def others(mongodb_server_uri: str, mongodb_database: str) -> AsyncIterator[Bot]:
    """The same bot in another process, whose way to the server is not disturbed."""
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database, loading="lazy"))
    async with bot.application:
        yield bot
