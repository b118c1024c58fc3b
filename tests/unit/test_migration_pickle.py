"""Files of `PicklePersistence` are read as PTB itself reads them, and run nothing."""

from __future__ import annotations

import collections
import contextlib
import copyreg
import datetime as dtm
import decimal
import enum
import fractions
import io
import ipaddress
import operator
import os
import pathlib
import pickle
import re
import sys
import types
import uuid
import zoneinfo
from pathlib import Path
from typing import Any

import pytest
import telegram
from hypothesis import given
from hypothesis import strategies as st
from telegram.ext import ExtBot, InvalidCallbackData, PersistenceInput, PicklePersistence

from ptb_mongo import DecodeError, DocumentError
from ptb_mongo.codec import Codec
from ptb_mongo.codec.trust import Trust
from ptb_mongo.migration import PickleSource
from ptb_mongo.migration.names import HostilePickleError, StandIn
from ptb_mongo.migration.unpickler import ForeignPickle

sys.path.append(str(Path(__file__).parent.parent / "integration"))
import cli_models
from cli_models import Basket, Coin, Level, Names, Notes, Place, Right

UTC = dtm.timezone.utc
BOT = telegram.Bot("123456:none")


async def written(path: Path, bot: telegram.Bot | None = None, *, single_file: bool = True, **data: Any) -> Path:
    """A file, or five, that PTB itself has written."""
    persistence: Any = PicklePersistence(path, PersistenceInput(callback_data=False), single_file)
    persistence.set_bot(bot or BOT)
    persistence.user_data = {}
    persistence.chat_data = {}
    persistence.conversations = {}
    persistence.bot_data = {"made": "by PTB"}
    for kind, value in data.items():
        setattr(persistence, kind, value)
    await persistence.flush()
    return path


def read(path: Path, *trusted: str) -> Any:
    return PickleSource(path, trusted, BOT).read()


def loaded(data: bytes, *trusted: str) -> Any:
    return ForeignPickle(data, Trust(trusted), BOT).load()


def message(bot: telegram.Bot | None = None) -> telegram.Message:
    user = telegram.User(1, "Ada", is_bot=False)
    made = telegram.Message(9, dtm.datetime(2026, 1, 1, tzinfo=UTC), telegram.Chat(1, "private"), user, text="hi")
    made.set_bot(bot)
    return made


SHARED = ["shared"]
VALUES: list[Any] = [
    None,
    True,
    -(2**70),
    1.5,
    "über",
    b"\x00bytes" * 100,
    [1, [2, (3, 4)]],
    {"a": {1: {None: ()}}},
    {1, 2},
    frozenset({"a", ("b", 1)}),
    bytearray(b"x"),
    1j,
    collections.OrderedDict(b=1, a=2),
    collections.Counter("hello"),
    collections.defaultdict(list, {"a": [1]}),
    collections.deque([1, 2], 5),
    dtm.datetime(2026, 1, 1, 12, 0, 0, 123456, tzinfo=UTC),
    dtm.datetime(2026, 1, 1),  # noqa: DTZ001
    dtm.datetime(2026, 7, 1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    dtm.date(2026, 1, 1),
    dtm.time(1, 2),
    dtm.timedelta(days=1, microseconds=5),
    decimal.Decimal("1.20"),
    fractions.Fraction(1, 3),
    range(1, 9, 2),
    re.compile("a+", re.IGNORECASE),
    uuid.UUID(int=5),
    ipaddress.ip_address("127.0.0.1"),
    pathlib.PurePosixPath("/a/b"),
    types.SimpleNamespace(a=1),
    telegram.constants.ParseMode.HTML,
    telegram.User(1, "Ada", is_bot=False),
    telegram.LinkPreviewOptions(is_disabled=True),
    InvalidCallbackData("uuid"),
    Basket({"tea": 2}, Level.GOLD, Place("Elm", 5)),
    Coin(5),
    {Coin(5): "hashed"},
    Right.READ,
    Right.READ | Right.WRITE,
    Right(0),
    Names([1, 2]),
    Notes({"a": 1}),
    Level,
    [SHARED, SHARED],
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
async def test_what_ptb_has_pickled_comes_back_equal_and_of_the_same_type(tmp_path, value):
    await written(tmp_path / "bot.pickle", user_data={1: {"value": value}})

    data = read(tmp_path / "bot.pickle", "cli_models")

    found = data.user_data[1]["value"]
    assert found == value or repr(found) == repr(value)  # some errors of PTB know no equality
    assert type(found) is type(value)
    assert data.refused == {}


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
async def test_what_was_read_can_be_stored(tmp_path, value):
    await written(tmp_path / "bot.pickle", user_data={1: {"value": value}})
    codec = Codec(["cli_models"], lambda: BOT)
    as_ptb_has_it: Any = PicklePersistence(tmp_path / "bot.pickle", PersistenceInput(callback_data=False))
    as_ptb_has_it.set_bot(BOT)

    found = read(tmp_path / "bot.pickle", "cli_models").user_data[1]["value"]

    assert codec.encode(found) == codec.encode((await as_ptb_has_it.get_user_data())[1]["value"])


async def test_attributes_of_a_container_of_ones_own_come_along(tmp_path):
    names = Names(["a"])
    names.owner = "Ada"
    await written(tmp_path / "bot.pickle", user_data={1: names})

    found = read(tmp_path / "bot.pickle", "cli_models").user_data[1]

    assert (found, found.owner) == (["a"], "Ada")


async def test_the_errors_of_ptb_come_back(tmp_path):
    await written(tmp_path / "bot.pickle", user_data={1: {"why": telegram.error.BadRequest("no")}})

    found = read(tmp_path / "bot.pickle").user_data[1]["why"]

    assert (type(found), found.message) == (telegram.error.BadRequest, "no")


async def test_messages_belong_to_the_bot_that_is_given(tmp_path):
    bot = ExtBot("1:other")
    await written(tmp_path / "bot.pickle", bot, user_data={1: {"last": message(bot), "bot": bot}})

    found = read(tmp_path / "bot.pickle").user_data[1]

    assert found["last"].to_dict() == message().to_dict()
    assert found["last"].get_bot() is BOT
    assert found["bot"] is BOT


async def test_another_bot_is_none_as_for_ptb(tmp_path):
    with pytest.warns(UserWarning, match="Unknown bot"):
        await written(tmp_path / "bot.pickle", user_data={1: {"bot": ExtBot("1:stranger")}})

    assert read(tmp_path / "bot.pickle").user_data == {1: {"bot": None}}


@pytest.mark.parametrize("single_file", [True, False])
async def test_all_kinds_of_data_are_read_from_one_file_and_from_five(tmp_path, single_file):
    cache = ([("uuid", 1.5, {"button": {"buy": 1}})], {"query": "uuid"})
    await written(
        tmp_path / "bot",
        single_file=single_file,
        user_data={1: {"a": 1}},
        chat_data={-5: {"b": 2}},
        bot_data={"c": 3},
        conversations={"order": {(1, 1): "menu", (2, 2): Level.GOLD}},
        callback_data=cache,
    )

    source = PickleSource(tmp_path / "bot", ["cli_models"], BOT)
    data = source.read()

    assert data.user_data == {1: {"a": 1}}
    assert data.chat_data == {-5: {"b": 2}}
    assert data.bot_data == {"c": 3}
    assert data.conversations == {"order": {(1, 1): "menu", (2, 2): Level.GOLD}}
    assert data.callback_data == cache
    assert source.position == pytest.approx(source.size, abs=len(source.files))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere_user_data"):
        PickleSource(tmp_path / "nowhere", (), BOT)


async def test_a_class_that_is_not_trusted_is_named_and_holds_up_nobody(tmp_path):
    await written(tmp_path / "bot.pickle", user_data={1: {"basket": Basket()}, 2: {"fine": True}})

    data = read(tmp_path / "bot.pickle")

    assert data.user_data[2] == {"fine": True}
    assert isinstance(data.user_data[1]["basket"], StandIn)
    assert set(data.refused) == {"cli_models.Basket", "cli_models.Level"}
    assert 'trusted=["cli_models"]' in data.refused["cli_models.Basket"]
    with pytest.raises(TypeError, match=r"at basket: .*Basket"):
        Codec(["cli_models"]).encode(data.user_data[1])


async def test_a_member_of_an_enum_that_is_gone_is_named(tmp_path, monkeypatch):
    await written(tmp_path / "bot.pickle", user_data={1: {"level": Level.GOLD}})
    smaller = enum.Enum("Level", {"FREE": "free"}, module="cli_models")
    monkeypatch.setattr(cli_models, "Level", smaller)

    data = read(tmp_path / "bot.pickle", "cli_models")

    assert isinstance(data.user_data[1]["level"], StandIn)
    assert "cannot be restored" in data.refused["cli_models.Level"]


# -- pickles as other versions of Python and PTB have written them -------------------------------------------


class Picture:
    """Writes a pickle that says what a test wants it to say."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


def spelled(*parts: bytes) -> bytes:
    return pickle.PROTO + b"\x04" + b"".join(parts) + pickle.STOP


def text(value: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


def number(value: int) -> bytes:
    return pickle.BININT2 + value.to_bytes(2, "little")


def name(module: str, qualname: str) -> bytes:
    return text(module) + text(qualname) + pickle.STACK_GLOBAL


def called(module: str, qualname: str, *args: bytes) -> bytes:
    return name(module, qualname) + pickle.MARK + b"".join(args) + pickle.TUPLE + pickle.REDUCE


def test_members_of_enums_as_python_3_11_pickled_them_at_first():
    assert loaded(pickle.dumps(Picture(getattr, (Level, "GOLD"))), "cli_models") is Level.GOLD


def test_joined_flags_as_python_3_11_pickled_them_at_first():
    data = pickle.dumps(Picture(operator.or_, (Right.READ, Right.WRITE)))

    assert loaded(data, "cli_models") == Right.READ | Right.WRITE


def test_fractions_as_python_3_8_pickled_them():
    assert loaded(pickle.dumps(Picture(fractions.Fraction, ("1/3",)))) == fractions.Fraction(1, 3)


def test_paths_as_python_3_13_names_them():
    data = spelled(called("pathlib._local", "PurePosixPath", text("/"), text("a")))

    assert loaded(data) == pathlib.PurePosixPath("/a")


def test_the_constructor_of_old_protocols_is_understood():
    basket = Picture(copyreg._reconstructor, (Basket, object, None), {"items": {"tea": 1}})

    assert loaded(pickle.dumps(basket), "cli_models").items == {"tea": 1}


@pytest.mark.parametrize("qualname", ["_UTC", "_p"])
def test_dates_with_zones_of_pytz_as_ptb_20_has_them(qualname):
    summer = [text("Europe/Berlin"), number(7200), number(3600), text("CEST")]
    zone = called("pytz", qualname, *(summer if qualname == "_p" else []))
    moment = pickle.SHORT_BINBYTES + b"\x0a" + bytes([7, 234, 7, 1, 12, 0, 0, 0, 0, 0])

    found = loaded(spelled(called("datetime", "datetime", moment, zone)))

    assert found.replace(tzinfo=None) == dtm.datetime(2026, 7, 1, 12)  # noqa: DTZ001
    assert found.utcoffset() == dtm.timedelta(hours=2 if qualname == "_p" else 0)


def test_telegram_objects_are_found_wherever_a_version_of_ptb_has_defined_them():
    state = pickle.EMPTY_DICT + text("id") + pickle.BININT1 + b"\x05" + pickle.SETITEM
    data = spelled(
        called(
            "telegram.ext._picklepersistence",
            "_reconstruct_to",
            name("telegram._an.old.place", "Chat"),
            state,
        )
    )

    found = loaded(data)
    assert (type(found), found.id) == (telegram.Chat, 5)


# -- what an attacker may write ------------------------------------------------------------------------------

TRACES: list[str] = []


def trace(*_: object) -> None:
    """Is never called: not even where the module is trusted."""
    TRACES.append("run")


class Traced:
    """Is never made, for no name that is not trusted is imported."""

    def __setstate__(self, _: object) -> None:
        trace()


SYSTEM = Picture(os.system, ("touch /hacked",))
HOSTILE = {
    "a call of os.system": pickle.dumps(SYSTEM),
    "a call of os.system in a user's data": pickle.dumps({"user_data": {1: {"a": [SYSTEM]}}}),
    "eval": pickle.dumps(Picture(eval, ("1/0",))),
    "exec": spelled(called("builtins", "exec", text("1/0"))),
    "__import__": spelled(called("builtins", "__import__", text("this"))),
    "subprocess": spelled(called("subprocess", "Popen", text("true"))),
    "pickle in pickle": spelled(called("pickle", "loads", pickle.SHORT_BINBYTES + b"\x01.")),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_pickle_that_was_made_to_run_code_is_refused_as_a_whole(data):
    with pytest.raises(HostilePickleError, match="Nothing was run"):
        loaded(data, "os", "builtins", "cli_models", "subprocess")
    assert not Path("/hacked").exists()


INERT = {
    "an attribute of a class": pickle.dumps(Picture(getattr, (telegram.User, "__init__"))),
    "an attribute of an object": pickle.dumps(Picture(getattr, ({}, "clear"))),
    "an attribute of an enum": pickle.dumps(Picture(getattr, (telegram.constants.ParseMode, "__class__"))),
    "a function of a module": pickle.dumps(Picture(trace, (1,))),
    "a class of a module": pickle.dumps(Picture(Traced, (), {"a": 1})),
    "a function by way of PTB": spelled(called("telegram.ext._picklepersistence", "pickle.loads", text("x"))),
    "a function of PTB": spelled(called("telegram.helpers", "escape_markdown", text("x"))),
    "an unknown outside object": spelled(text("the moon"), pickle.BINPERSID),
    "an enum that is extended": spelled(called("telegram.constants", "ParseMode", text("x"), text("a b"))),
    "a Telegram object that is called": spelled(called("telegram", "User", pickle.NONE)),
    "a method of a module": spelled(called("os", "path.join", text("a"))),
    "a bot": spelled(called("telegram", "Bot", text("1:x"))),
    "a module that does not exist": spelled(called("not.there", "X", text("x"))),
    "a name with a NUL": spelled(called("a\0b", "c\0d")),
    "appending to what was not loaded": spelled(name("not.there", "X"), text("x"), pickle.APPEND),
    "filling what was not loaded": spelled(
        called("not.there", "X"), text("x"), text("y"), pickle.SETITEM, pickle.EMPTY_DICT, pickle.BUILD
    ),
}


@pytest.mark.parametrize("trusted", [(), (__name__,)], ids=["untrusted", "its module trusted"])
@pytest.mark.parametrize("data", INERT.values(), ids=INERT.keys())
def test_what_may_not_be_loaded_is_replaced_by_something_inert(data, trusted):
    reader = ForeignPickle(data, Trust(trusted), BOT)
    if trusted and b"Traced" in data:  # trusted, so it is loaded
        reader.load()
        assert TRACES == ["run"]
        TRACES.clear()
        return

    found = reader.load()

    assert isinstance(found, StandIn) or issubclass(found, StandIn)
    assert len(reader.refused) == 1
    assert TRACES == []
    with pytest.raises(TypeError):
        Codec(trusted).encode({"x": found})


BROKEN = {
    "nothing": b"",
    "no pickle": b"hello",
    "an old protocol": pickle.dumps({}, 2),
    "half a pickle": pickle.dumps({"user_data": {1: {"a": "b" * 50}}})[:-20],
    "a changed class": spelled(name("telegram", "User"), pickle.EMPTY_DICT, pickle.BUILD),
    "a changed class's slots": spelled(
        name("telegram", "User"), pickle.NONE, pickle.EMPTY_DICT, pickle.TUPLE2, pickle.BUILD
    ),
    "a changed string": spelled(text("x"), pickle.EMPTY_DICT, pickle.BUILD),
    "a string that is called": spelled(text("x"), pickle.EMPTY_TUPLE, pickle.REDUCE),
    "a string that is made": spelled(text("x"), pickle.EMPTY_TUPLE, pickle.NEWOBJ),
    "a string that is appended to": spelled(text("x"), text("y"), pickle.APPEND),
    "a class that is appended to": spelled(name("collections", "deque"), text("y"), pickle.APPEND),
    "a list that is a set": spelled(pickle.EMPTY_LIST, pickle.MARK, pickle.NONE, pickle.ADDITEMS),
    "an unhashable key": spelled(pickle.EMPTY_DICT, pickle.EMPTY_LIST, pickle.NONE, pickle.SETITEM),
    "a name that is a number": spelled(pickle.NONE, pickle.NONE, pickle.STACK_GLOBAL),
    "more than the stack holds": spelled(pickle.TUPLE3),
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_a_damaged_pickle_is_an_error_that_says_so(data):
    with pytest.raises(DecodeError):
        loaded(data)


def test_a_small_pickle_does_not_become_large():
    size = pickle.BININT + (2**31 - 1).to_bytes(4, "little")

    for maker in ("bytearray", "bytes", "list"):
        reader = ForeignPickle(spelled(called("builtins", maker, size)), Trust(), BOT)
        with pytest.raises(DocumentError):
            Codec().encode(reader.load())


def test_a_key_that_would_be_hashed_forever_is_refused():
    nested = pickle.EMPTY_TUPLE + b"".join(
        [pickle.MEMOIZE + pickle.BINGET + bytes([n]) + pickle.TUPLE2 for n in range(60)]
    )

    with pytest.raises(DecodeError, match="unfolds"):
        loaded(spelled(pickle.EMPTY_SET, pickle.MARK, nested, pickle.ADDITEMS))


def test_a_class_of_ptb_is_as_it_was_after_an_attack():
    before = dict(vars(telegram.User))
    data = spelled(
        name("telegram", "User"),
        pickle.NONE,
        pickle.EMPTY_DICT + text("de_json") + pickle.NONE + pickle.SETITEM,
        pickle.TUPLE2,
        pickle.BUILD,
    )

    with pytest.raises(DecodeError):
        loaded(data)
    assert dict(vars(telegram.User)) == before


def real_pickle() -> bytes:
    buffer = io.BytesIO()
    value = {
        "user_data": {1: {"basket": Basket({"tea": 1}), "set": {1, 2}, "when": dtm.datetime(2026, 1, 1, tzinfo=UTC)}}
    }
    pickle.Pickler(buffer, 5).dump(value)
    return buffer.getvalue()


REAL = real_pickle()


@given(st.lists(st.tuples(st.integers(2, len(REAL) - 1), st.integers(0, 255)), min_size=1, max_size=6))
def test_whatever_bytes_are_changed_nothing_but_a_clear_error_comes_out(changes):
    data = bytearray(REAL)
    for place, byte in changes:
        data[place] = byte

    with contextlib.suppress(DecodeError):
        loaded(bytes(data), "cli_models")


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"user_data": []},
        {"conversations": {"order": []}},
        {"callback_data": ([("uuid", "soon", {})], {})},
        {"callback_data": 5},
    ],
)
def test_a_pickle_of_something_else_is_refused(tmp_path, value):
    (tmp_path / "other.pickle").write_bytes(pickle.dumps(value, 5))

    with pytest.raises(DecodeError, match=r"PicklePersistence|callback_data|conversations"):
        read(tmp_path / "other.pickle")


@pytest.mark.parametrize("protocol", [4, 5])
def test_sets_of_any_protocol_come_in(protocol: int) -> None:
    value = {"tags": {"a", "b"}, "frozen": frozenset({(1, 2), (3, 4)}), "none": set()}

    assert loaded(pickle.dumps(value, protocol)) == value
