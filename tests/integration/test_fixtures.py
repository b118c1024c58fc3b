"""The fixtures for users' tests: what one test leaves open does not affect another one, with either driver.

The kind: everything that ends a test before it has flushed. An assertion, an exception in the bot, a forgotten `flush`;
a persistence that was created in a fixture, or used in the test's own loop.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

WITHOUT_MOTOR = "import sys\nsys.modules.update({'motor': None, 'mongomock_motor': None})\n"
PLUGIN = 'pytest_plugins = ["ptb_mongo.testing"]\n'
SETTINGS = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n"
TESTS = """
import asyncio, gc
import pytest

@pytest.fixture
def bot(mongo_persistence):
    return mongo_persistence()

async def test_fails_before_it_flushes(mongo_persistence):
    await mongo_persistence().update_user_data(1, {"a": 1})
    assert False

async def test_innocent_1():
    gc.collect()

async def test_fails_with_a_stream(mongo_persistence):
    await mongo_persistence(refresh="watch").get_user_data()
    raise KeyError

async def test_innocent_2():
    gc.collect()

async def test_fails_with_one_of_a_fixture(bot):
    await bot.get_user_data()
    assert False

async def test_innocent_3():
    gc.collect()

def test_fails_in_a_loop_of_its_own(mongo_persistence):
    async def main():
        await mongo_persistence().get_user_data()
        assert False
    asyncio.run(main())

def test_innocent_4():
    gc.collect()

async def test_innocent_but_forgetful(mongo_persistence):
    await mongo_persistence().update_user_data(1, {"a": 1})

async def test_innocent_5(bot):
    await bot.update_user_data(1, {"a": 1})
    await bot.flush()
    gc.collect()
"""


@pytest.mark.parametrize("head", ["", WITHOUT_MOTOR], ids=["Motor", "PyMongo alone"])
def test_a_test_that_fails_before_it_flushes_spoils_no_other(
    head: str, mongodb_server_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    (tmp_path / "conftest.py").write_text(head + PLUGIN, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text(SETTINGS, encoding="utf-8")
    (tmp_path / "test_bot.py").write_text(TESTS, encoding="utf-8")
    monkeypatch.setenv("MONGODB_URI", mongodb_server_uri)
    # when
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rA", "test_bot.py"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    # then
    said = finished.stdout.splitlines()
    passed = {line.partition("::")[2] for line in said if line.startswith("PASSED")}
    failed = {line.partition("::")[2].partition(" ")[0] for line in said if line.startswith(("FAILED", "ERROR"))}
    assert (len(passed), len(failed)) == (6, 4), finished.stdout
    assert all("innocent" in name for name in passed)
    assert finished.returncode == pytest.ExitCode.TESTS_FAILED, finished.stderr  # with its summary, not by a traceback
