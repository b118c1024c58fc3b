"""What a process writes after it has written down what is unsaved: the file must not let the next start write it again.

The kind of fault: the file says which writes may have been done, and another one is sent later. A list then holds an
element twice. After the last file nothing is sent; after the first, which is written in case the process is killed,
the next start recognises the writes that it does not name by their writer. A start that leaves a file to the next one
goes on writing: it sends nothing more of what is in the file, and what it does send is not taken for that.
"""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import bson
import pytest
from bots import USER, Bot, turns

from ptb_mongo import MongoPersistence, UnsavedDataError
from ptb_mongo.driver.database import Driver
from ptb_mongo.errors import RefusedError, UnavailableError
from ptb_mongo.replica.sent import Sent
from ptb_mongo.replica.versions import Stored, Version, Write
from ptb_mongo.sync import spill, spilled


def files_in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


class Away:
    """The server of one bot, which answers no write until it is back.

    Attributes:
        begun: How many writes have begun.
    """

    def __init__(self, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
        assert bot.persistence.session
        driver = bot.persistence.session._driver
        self._write, self.is_back, self.begun = driver.write, False, 0
        monkeypatch.setattr(driver, "write", self.write)

    async def write(self, collection: str, operations: Any) -> Any:
        self.begun += 1
        if not self.is_back:
            raise UnavailableError("it is away")
        return await self._write(collection, operations)


class Files:
    """The files that are written, each kept as a process would leave it that is killed at that moment."""

    def __init__(self, away: Away, folder: Path, monkeypatch: pytest.MonkeyPatch, *, back_at: int) -> None:
        self._write, self._loop = spill.write, asyncio.get_running_loop()
        self._away, self._folder, self._back_at = away, folder, back_at
        self.kept: list[Path] = []
        self.begun_then = 0
        monkeypatch.setattr(spill, "write", self.write)

    def write(self, *args: Any) -> Path:
        """Called in a thread, while the event loop runs on."""
        path = self._write(*args)
        self.kept.append(self._folder / f"{len(self.kept)}-{path.name}")
        shutil.copy(path, self.kept[-1])
        self.begun_then = self._away.begun
        self._away.is_back = len(self.kept) > self._back_at
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.3), self._loop).result()  # time in which nothing must happen
        return path


async def with_unsaved_element(bot: Bot, monkeypatch: pytest.MonkeyPatch, folder: Path, *, back_at: int) -> Files:
    """A bot with a list that was saved, and an element that is not."""
    await bot.application.initialize()
    await bot.hears(lambda context: context.user_data.update(log=["a"]))
    await bot.application.update_persistence()
    away = Away(bot, monkeypatch)
    await bot.hears(lambda context: context.user_data["log"].append("x"))
    return Files(away, folder, monkeypatch, back_at=back_at)


@pytest.fixture
def bot(mongodb_server_uri: str, mongodb_database: str, tmp_path: Path) -> Bot:
    options: dict[str, Any] = {"shutdown_timeout": 2, "spill_dir": tmp_path / "spilled"}
    return Bot(MongoPersistence(mongodb_server_uri, mongodb_database, **options))


async def test_nothing_is_sent_once_the_last_file_says_what_may_have_been_done(
    bot: Bot, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    files = await with_unsaved_element(bot, monkeypatch, tmp_path, back_at=1)

    with pytest.raises(UnsavedDataError, match="are kept"):
        await bot.application.shutdown()

    assert len(files.kept) == 2
    assert files._away.begun == files.begun_then


async def test_what_was_saved_after_the_first_file_is_not_saved_again_if_the_process_was_killed(
    bot: Bot,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    database: Any,
    mongodb_server_uri: str,
    mongodb_database: str,
) -> None:
    files = await with_unsaved_element(bot, monkeypatch, tmp_path, back_at=0)
    await bot.application.shutdown()
    monkeypatch.undo()
    database.user_data.update_one({"_id": USER}, {"$push": {"data.log": "y"}})
    (left,) = files.kept
    shutil.copy(left, tmp_path / "spilled" / left.name.partition("-")[2])

    async with Bot(MongoPersistence(mongodb_server_uri, mongodb_database, spill_dir=tmp_path / "spilled")).application:
        assert database.user_data.find_one({"_id": USER})["data"]["log"] == ["a", "x", "y"]
    assert files_in(tmp_path / "spilled") == []


async def test_a_start_sends_nothing_of_what_it_has_left_to_the_next(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, database: Any, mongodb_server_uri: str, mongodb_database: str
) -> None:
    """The start writes what is left into a new file while the read before its write is still on its way."""
    database.user_data.insert_one({"_id": USER, "data": {"log": ["a"]}, "rev": "w:1"})
    left_behind(tmp_path, mongodb_database, {"log": ["a"]}, {"log": ["a", "x"]}, rev="w:1", writer="w:1")
    monkeypatch.setattr(spilled, "_PATIENCE", 0.2)
    monkeypatch.setattr(Driver, "raw_documents", late := Late(Driver.raw_documents))
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database, spill_dir=tmp_path))
    await bot.application.initialize()
    late.may_go.set()
    await bot.hears(lambda context: context.user_data.update(n=1))
    await bot.application.shutdown()
    assert database.user_data.find_one({"_id": USER})["data"] == {"log": ["a"], "n": 1}
    database.user_data.update_one({"_id": USER}, {"$push": {"data.log": "y"}})
    assert len(files_in(tmp_path)) == 1

    async with Bot(MongoPersistence(mongodb_server_uri, mongodb_database, spill_dir=tmp_path)).application:
        assert database.user_data.find_one({"_id": USER})["data"] == {"log": ["a", "y", "x"], "n": 1}
    assert files_in(tmp_path) == []


async def test_what_is_refused_at_a_start_is_not_mistaken_for_saved_when_that_process_saves_something_else(
    bot: Bot, database: Any, mongodb_server_uri: str, mongodb_database: str, tmp_path: Path
) -> None:
    folder = tmp_path / "spilled"
    await bot.application.initialize()
    await bot.hears(lambda context: context.user_data.update(plan="basic"))
    await bot.saves()
    database.command("collMod", "user_data", validator={"data.plan": {"$ne": "gold"}})
    await bot.hears(lambda context: context.user_data.update(plan="gold"))
    with pytest.raises(UnsavedDataError, match="are kept"):
        await bot.application.shutdown()
    second, third = (Bot(MongoPersistence(mongodb_server_uri, mongodb_database, spill_dir=folder)) for _ in range(2))
    async with second.application:
        assert second.persistence.health().waiting == 0
        assert await second.hears(lambda context: context.user_data.update(n=1)) == {"plan": "basic", "n": 1}
        await second.saves()
    assert len(files_in(folder)) == 1
    database.command("collMod", "user_data", validator={})

    async with third.application:
        assert database.user_data.find_one({"_id": USER})["data"] == {"plan": "gold", "n": 1}
    assert files_in(folder) == []


@pytest.mark.parametrize("code", [13, 20, 371, 8000])
async def test_nor_is_what_everybody_is_refused_at_a_start(
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    database: Any,
    mongodb_server_uri: str,
    mongodb_database: str,
    tmp_path: Path,
) -> None:
    database.user_data.insert_one({"_id": USER, "data": {"log": ["a"]}, "rev": "w:1"})
    left_behind(tmp_path, mongodb_database, {"log": ["a"]}, {"log": ["a", "x"]}, rev="w:1", writer="w:1")
    second, third = (Bot(MongoPersistence(mongodb_server_uri, mongodb_database, spill_dir=tmp_path)) for _ in range(2))

    async def refused(*_: Any) -> Any:
        raise RefusedError("MongoDB refuses", code)

    with monkeypatch.context() as context:
        context.setattr(spilled, "_PATIENCE", 0.2)
        context.setattr(Driver, "write", refused)
        await second.application.initialize()
    for number in (1, 2):
        await second.hears(lambda context, number=number: context.user_data.update(n=number))
        await second.saves()
    await second.application.shutdown()
    assert database.user_data.find_one({"_id": USER})["data"] == {"log": ["a"], "n": 2}

    async with third.application:
        assert database.user_data.find_one({"_id": USER})["data"] == {"log": ["a", "x"], "n": 2}
    assert files_in(tmp_path) == []


def left_behind(folder: Path, database: str, base: Any, wanted: Any, **fields: Any) -> None:
    """A file with a list that an earlier process could not save."""
    before, after = (None if one is None else bson.encode({"data": one}) for one in (base, wanted))
    spill.write(folder, database, "", "earlier", [spill.Spilled("user_data", USER, before, after, {}, **fields)])


@pytest.fixture
def late_answer(monkeypatch: pytest.MonkeyPatch) -> Late:
    """The writes of a start are done, and their answers come after it has gone on."""
    monkeypatch.setattr(spilled, "_PATIENCE", 0.2)
    monkeypatch.setattr(Driver, "write", late := Late(Driver.write, is_done=True))
    return late


async def test_what_a_start_has_left_to_the_next_and_was_done_is_not_done_again(
    late_answer: Late, tmp_path: Path, database: Any, mongodb_server_uri: str, mongodb_database: str
) -> None:
    database.user_data.insert_one({"_id": USER, "data": {"log": ["a"]}, "rev": "w:1"})
    left_behind(tmp_path, mongodb_database, {"log": ["a"]}, {"log": ["a", "x"]}, rev="w:1", writer="w:1")
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database, spill_dir=tmp_path))
    await bot.application.initialize()
    assert database.user_data.find_one({"_id": USER})["data"]["log"] == ["a", "x"]
    late_answer.may_go.set()
    await bot.hears(lambda context: context.user_data.update(n=1))
    await bot.application.shutdown()
    database.user_data.update_one({"_id": USER}, {"$push": {"data.log": "y"}})

    async with Bot(MongoPersistence(mongodb_server_uri, mongodb_database, spill_dir=tmp_path)).application:
        assert database.user_data.find_one({"_id": USER})["data"] == {"log": ["a", "x", "y"], "n": 1}
    assert files_in(tmp_path) == []


async def test_what_is_known_of_a_user_is_not_forgotten_with_what_a_start_has_left(
    late_answer: Late, tmp_path: Path, database: Any, mongodb_server_uri: str, mongodb_database: str
) -> None:
    left_behind(tmp_path, mongodb_database, None, {"log": ["x"], "n": 5})
    options: dict[str, Any] = {"spill_dir": tmp_path, "on_conflict": {"user_data": {"n": "add"}}}
    bot = Bot(MongoPersistence(mongodb_server_uri, mongodb_database, **options))
    await bot.application.initialize()
    assert await bot.hears() == {"log": ["x"], "n": 5}
    late_answer.may_go.set()
    await turns()
    await bot.hears(lambda context: context.user_data.update(n=6, log=[]))
    await bot.saves()

    assert database.user_data.find_one({"_id": USER})["data"] == {"log": [], "n": 6}
    await bot.application.shutdown()


class Late:
    """A method whose calls go on their way when they may; or come back then, if they are done at once."""

    def __init__(self, method: Any, *, is_done: bool = False) -> None:
        self._method, self._is_done, self.may_go = method, is_done, asyncio.Event()

    def __get__(self, driver: Any, _: object) -> Any:
        async def call(*args: Any, **options: Any) -> Any:
            if not self._is_done:
                await self.may_go.wait()
            result = await self._method(driver, *args, **options)
            await self.may_go.wait()
            return result

        return call


@pytest.mark.parametrize(
    ("shown", "is_done"),
    [
        (Stored("w:8", (), b""), True),
        (Stored("w:10", (), b""), True),
        (Stored("other:1", ("w:8",), b""), True),
        (Stored("w:8*", (), b""), False),
        (Stored("w:7", (), b""), False),
        (Stored("w:5", (), b""), False),
        (Stored("other:9", ("w:6",), b""), False),
        (Stored("w2:8", (), b""), False),
        (Stored("w:x", ("w:", "w"), b""), False),
        (Stored(None, (), b""), False),
        (None, False),
    ],
    ids=str,
)
def test_a_later_write_of_a_writer_counts_as_all_that_it_had_written_down(shown: Stored | None, is_done: bool) -> None:
    """The last write that is known was the seventh."""
    later = Write(Version({"a": 1}, b""), b"", "w:6", ("other:3",))
    sent = Sent({"w:7": Write(None, b"", "w:6", ("other:3",)), "w:7+": later})

    assert ("w:7+" in sent.done_by(shown)) is is_done
