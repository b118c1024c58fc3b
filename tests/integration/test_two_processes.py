"""Two processes of one bot on one database: what one changes reaches the other, and different keys merge."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bots import USER
from offline import BOT_ID
from pymongo import MongoClient


class Worker:
    """A process of the bot."""

    def __init__(self, uri: str, database: str) -> None:
        script = pathlib.Path(__file__).with_name("worker.py")
        command = [sys.executable, "-W", "error", str(script), uri, database]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def is_ready(self) -> bool:
        return bool(self._answer() == "ready")

    def _answer(self) -> Any:
        assert self.process.stdout
        return json.loads(self.process.stdout.readline())

    def update(self, scope: str, **change: Any) -> Any:
        """One update from the user, in which the handler changes something; it is saved at once."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps([scope, change]) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def sees(self, scope: str, condition: Callable[[Any], bool]) -> Any:
        """Handles updates until another process's change has arrived."""
        until = time.monotonic() + 10
        while not condition(data := self.update(scope)):
            assert time.monotonic() < until, data
        return data

    def stop(self) -> None:
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.fixture
def workers(mongodb_server_uri: str, mongodb_database: str) -> Iterator[list[Worker]]:
    workers = [Worker(mongodb_server_uri, mongodb_database) for _ in range(2)]
    assert all(worker.is_ready() for worker in workers)
    yield workers
    for worker in workers:
        worker.stop()
    assert [worker.process.wait(timeout=20) for worker in workers] == [0, 0]


@pytest.mark.parametrize("scope", ["user_data", "chat_data", "bot_data"])
def test_what_one_process_changes_reaches_the_other(workers: list[Worker], scope: str) -> None:
    one, other = workers

    one.update(scope, color="blue")
    other.sees(scope, lambda data: data == {"color": "blue"})
    other.update(scope, color="red")

    one.sees(scope, lambda data: data == {"color": "red"})


@pytest.mark.parametrize("scope", ["user_data", "chat_data", "bot_data"])
def test_different_keys_of_two_processes_are_merged(
    workers: list[Worker], mongodb_server_uri: str, mongodb_database: str, scope: str
) -> None:
    one, other = workers

    one.update(scope, prefs={"lang": "en"}, a=1)
    other.update(scope, prefs={"tone": "dry"}, b=2)

    expected = {"prefs": {"lang": "en", "tone": "dry"}, "a": 1, "b": 2}
    assert one.sees(scope, lambda data: "b" in data) == expected
    assert other.sees(scope, lambda data: "a" in data) == expected
    with MongoClient(mongodb_server_uri) as client:
        document_id = BOT_ID if scope == "bot_data" else USER
        assert client[mongodb_database][scope].find_one({"_id": document_id})["data"] == expected
