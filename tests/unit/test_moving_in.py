"""One value never stops an import, and only an attack is called one.

The kind: whatever a pickle of `PicklePersistence` may name, and whatever may fail while it is read. Each such value is
refused by itself, with all others of the file read as if it were not there. The same for pickles that PTB 13 wrote:
`ptb13/make.py` made them with python-telegram-bot 13.15 under Python 3.11 and 3.7.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import datetime as dtm
import functools
import importlib.util
import io
import logging
import operator
import os
import pickle
import random
import signal
import string
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import telegram
from hypothesis import given
from hypothesis import strategies as st

from ptb_mongo import DecodeError
from ptb_mongo.codec import Codec
from ptb_mongo.codec.trust import Trust
from ptb_mongo.migration import PickleSource
from ptb_mongo.migration.names import HostilePickleError, StandIn, stands_in
from ptb_mongo.migration.ptb13 import rebuilt
from ptb_mongo.migration.unpickler import ForeignPickle
from ptb_mongo.migration.weapons import is_weapon

BOT = telegram.Bot("123456:none")
UTC = dtm.timezone.utc
HERE = Path(__file__).parent / "ptb13"


class Fragile:
    """A class of the user's, every method of which fails when it is loaded."""

    def __init__(self, what: str = "") -> None:
        if what == "made":
            raise OSError("no")

    def __setstate__(self, _: object) -> None:
        raise RuntimeError("no")

    def method(self) -> None:
        """Is stored by some as `update.message.reply_text` is."""


class FragileList(list[Any]):
    def append(self, _: Any) -> None:
        raise LookupError("no")


class FragileDict(dict[Any, Any]):
    def __setitem__(self, *_: Any) -> None:
        raise ZeroDivisionError


class Call:
    """Is pickled as a call."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


REFUSED: dict[str, Any] = {
    "a lock": asyncio.Lock(),
    "an event": asyncio.Event(),
    "a queue": asyncio.Queue(),
    "a class that is gone": None,  # see `pickled_with_gone`
    "a class that is not trusted": string.Template("x"),
    "a method of an object": Fragile().method,
    "a method of a text": "abc".upper,
    "a partial": functools.partial(int, base=2),
    "a function": os.path.join,
    "a getter": operator.attrgetter("a.b"),
    "a caller": operator.methodcaller("clear"),
    "a finished process": subprocess.CompletedProcess([], 0),
    "a logger": logging.getLogger("x"),
    "a generator of numbers": random.Random(1),
    "a file in memory": io.StringIO("x"),
    "a class that cannot be made": Call(Fragile, ("made",)),
    "a class that cannot take its state": Call(Fragile, (), {"a": 1}),
    "a list that cannot be filled": FragileList([1, 2]),
    "a dict that cannot be filled": FragileDict({1: 2}),
    "a member of an enum that is gone": Call(signal.Signals, (12345,)),
}


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("what", REFUSED)
def test_a_value_that_cannot_be_loaded_is_refused_by_itself(what, protocol):
    bad = REFUSED[what]
    data = {"user_data": {1: {"bad": bad, "also": [bad], "good": (1, {2})}, 2: {"name": "Ada"}}}
    raw = pickled_with_gone(data, protocol) if what == "a class that is gone" else pickle.dumps(data, protocol)
    reader = ForeignPickle(raw, Trust([__name__]), BOT)

    found = reader.load()["user_data"]

    assert stands_in(found[1]["bad"])
    assert found[1]["also"][0] is found[1]["bad"] or stands_in(found[1]["also"][0])
    assert (found[1]["good"], found[2]) == ((1, {2}), {"name": "Ada"})
    assert reader.refused
    with pytest.raises(TypeError, match=r"at bad"):
        Codec([__name__]).encode(found[1])


def pickled_with_gone(data: Any, protocol: int) -> bytes:
    """The same bytes with the name of a class that no module has."""
    data["user_data"][1].update(bad=(bad := collections.UserDict()), also=[bad])
    return pickle.dumps(data, protocol).replace(b"collections", b"collectionz").replace(b"UserDict", b"UserDuck")


def test_what_takes_the_place_of_a_value_takes_it_wherever_the_value_stands():
    bad = Fragile()
    bad.__dict__["x"] = 1
    reader = ForeignPickle(pickle.dumps([bad, {"a": bad}, (bad,)]), Trust([__name__]), BOT)

    first, second, third = reader.load()

    assert isinstance(first, StandIn)
    assert second["a"] is first
    assert third[0] is first


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "posix.system",
        "nt.system",
        "os.popen",
        "os.execv",
        "posix.remove",
        "subprocess.Popen",
        "subprocess.check_output",
        "builtins.eval",
        "builtins.exec",
        "builtins.__import__",
        "__builtin__.eval",
        "builtins.setattr",
        "importlib.import_module",
        "runpy.run_path",
        "pty.spawn",
        "shutil.rmtree",
        "marshal.loads",
        "pickle.loads",
        "_pickle.loads",
        "ctypes.CDLL",
        "code.interact",
        "pdb.run",
        "webbrowser.open",
        "timeit.timeit",
        "asyncio.subprocess.create_subprocess_shell",
        "sys.modules",
        "subprocess.Popen.__init__",
        "commands.getoutput",
        "code.InteractiveConsole",
        "site.addsitedir",
        "profile.run",
        "trace.Trace",
    ],
)
def test_what_attacks_is_called_an_attack(name):
    module, _, attribute = name.rpartition(".")
    if attribute == "__init__":
        module, attribute = "subprocess", "Popen.__init__"
    data = f"c{module}\n{attribute}\n".encode()
    top = module.partition(".")[0]
    is_there = top in sys.stdlib_module_names and importlib.util.find_spec(top)  # else of another system, or Python 2
    trusted = [top] if is_there else []

    with pytest.raises(HostilePickleError, match="to run code"):
        ForeignPickle(b"\x80\x03" + data + b".", Trust(trusted), BOT).load()


@pytest.mark.parametrize(
    "name",
    [
        "asyncio.locks.Lock",
        "threading.Event",
        "_thread.RLock",
        "signal.Signals",
        "subprocess.CompletedProcess",
        "socket.AddressFamily",
        "tempfile.SpooledTemporaryFile",
        "os.stat_result",
        "posixpath.join",
        "builtins.getattr",
        "builtins.KeyError",
        "pickle.PickleBuffer",
        "platform.uname_result",
        "my_bot.code.Voucher",
        "my.os.system",
        "importlib.metadata.PackagePath",
        "multiprocessing.shared_memory.SharedMemory",
        "codes.run",
        "sys.float_info",
        "commands.orders.Order",
        "code.Snippet",
        "site.models.User",
    ],
)
def test_what_only_shares_a_module_with_a_weapon_accuses_nobody(name):
    module, _, attribute = name.rpartition(".")

    assert not is_weapon(module, attribute)


OWN = {"profile": "Profile", "trace": "Trace", "code": "InteractiveShop", "webbrowser": "opening", "commands": "Order"}


@pytest.fixture
def own_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of the user's that have the names of Python's."""
    for module, name in OWN.items():
        (tmp_path / f"{module}.py").write_text(f"class {name}:\n    n = 1\n")
        monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for module in OWN:
        sys.modules.pop(module, None)


@pytest.mark.usefixtures("own_modules")
@pytest.mark.parametrize("module", OWN)
def test_a_module_of_ones_own_with_the_name_of_one_of_pythons_attacks_nobody_once_it_is_trusted(module):
    name = OWN[module]
    data = f"\x80\x03c{module}\n{name}\n)\x81.".encode("latin-1")
    if is_weapon(module, name):
        with pytest.raises(HostilePickleError, match=f"is a module of yours: --trust {module}"):
            ForeignPickle(data, Trust(), BOT).load()
    assert type(ForeignPickle(data, Trust([module]), BOT).load()).__module__ == module
    assert type(ForeignPickle(data, Trust(aliases={f"{module}.{name}": Fragile}), BOT).load()) is Fragile
    gone = data.replace(name.encode(), b"Popen")
    ForeignPickle(gone, Trust([module]), BOT).load()


# -- PTB 13 --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["ptb13", "ptb13_five", "ptb13_py37"])
def of_ptb_13(request: pytest.FixtureRequest) -> Any:
    return PickleSource(HERE / request.param, (), BOT).read()


def test_what_ptb_13_has_stored_comes_in(of_ptb_13):
    data = of_ptb_13

    user = data.user_data[7]
    assert user["plain"] == {"a": [1, 2.5, None, True], "t": (1, "2"), "s": {1, 2}, "b": b"bytes", 5: "five"}
    assert user["when"] == dtm.datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)
    assert user["naive"] == dtm.datetime(2020, 9, 13, 12, 26, 40, 5)  # noqa: DTZ001
    assert list(user["order"]) == ["b", "a"]
    assert data.chat_data[-100]["seen"] == {1: [2]}
    assert data.bot_data == {"admins": {7}, "since": dtm.date(2020, 1, 1)}
    assert {key: state for key, state in data.conversations["order"].items() if state is not None} == {
        (7, 7): "menu",
        (8, 8): 2,
    }
    assert data.callback_data[0] == [("keyboard", 1600000000.5, {"button": {"tea": 1}})]
    assert data.callback_data[1] == {"q": "keyboard"}
    assert (data.refused, data.problems) == ({}, [])


def test_telegram_objects_of_ptb_13_are_those_of_today(of_ptb_13):
    user, chat = of_ptb_13.user_data[7], of_ptb_13.chat_data[-100]
    message = user["message"]

    assert type(message) is telegram.Message
    assert message is user["again"]
    assert (message.text, message.from_user, message.date.year) == ("Tea, please", user["user"], 2020)
    assert message.entities == (telegram.MessageEntity("bold", 0, 3),)
    assert message.get_bot() is BOT
    assert message.reply_markup.inline_keyboard[0][0].callback_data == "b"
    assert isinstance(message.reply_to_message.video_chat_ended, telegram.VideoChatEnded)
    assert message.reply_to_message.photo[0].height == 2
    assert message.api_kwargs["forward_from"]["first_name"] == "Grace"  # which PTB has no attribute for any more
    assert chat["chat"].title == "Tea"
    assert chat["markup"].inline_keyboard[0][0].callback_data == {"an": ("object",)}
    assert chat["update"].callback_query.message == message
    assert chat["content"].message_text == "*x*"
    assert (type(chat["error"]), chat["error"].message) == (telegram.error.Forbidden, "blocked")


def test_what_ptb_13_has_stored_can_be_stored_again(of_ptb_13):
    codec = Codec((), lambda: BOT)
    for kind in ("user_data", "chat_data"):
        for data in getattr(of_ptb_13, kind).values():
            again = codec.decode(codec.encode(data))
            assert again == data or "error" in data  # exceptions are equal to themselves alone


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system has one time zone for each process")
def test_dates_without_a_zone_are_in_utc_as_they_were_for_ptb_13(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        sent = {"message_id": 1, "date": dtm.datetime(2020, 1, 1, 12), "chat": telegram.Chat(1, "private")}  # noqa: DTZ001
        assert rebuilt(telegram.Message, (None, sent), BOT).date == dtm.datetime(2020, 1, 1, 12, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


PTB_13 = (HERE / "ptb13").read_bytes()


@given(st.lists(st.tuples(st.integers(2, len(PTB_13) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_whatever_bytes_of_such_a_file_are_changed_nothing_but_a_clear_error_comes_out(changes):
    data = bytearray(PTB_13)
    for place, byte in changes:
        data[place] = byte
    with contextlib.suppress(DecodeError):
        ForeignPickle(bytes(data), Trust(), BOT).load()
