"""What is let in can be used: whatever comes out of the decoder can be copied, stored again, and restored from that.

The kind of fault: an object that a pickle, or a tag, has left in a state in which its class never leaves one. Loaded,
it ends PTB's saver, which copies the data of everybody in one go; or it stops the save that has to encode it; or it
discloses memory. So each class that can be named is made of every sort of part, alone and in every container.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import datetime as dtm
import itertools
import uuid
import warnings
from collections.abc import Iterator
from typing import Any

import bson
import pytest
import samples
import telegram
import telegram.error
import telegram.ext
from assembler import literal, made, planted, restore
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import given
from hypothesis import strategies as st

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.codec.standard import STANDARD
from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import DecodeError

CODEC = Codec(samples.TRUSTED)
NAMES = {cls: Trust().name_of(cls) for cls in STANDARD}


def let_in(plain: Any) -> Any:
    """The value of a document; whatever is let in is copied, stored and restored here.

    Raises:
        DecodeError: If it is not let in.
    """
    raw = dump({"data": plain})
    value = CODEC.decode_body(raw, load(raw))
    if CODEC.doubtful:
        CODEC.check_usable(value, copied=True)
    copied = copy.deepcopy(value)
    again = dump(CODEC.encode(copied))
    restored = CODEC.decode_body(again, load(again))
    assert dump(CODEC.encode(restored)) == again
    return value["data"]


def is_let_in(plain: Any) -> bool:
    try:
        let_in(plain)
    except DecodeError:
        return False
    return True


def in_containers(opcodes: bytes) -> Iterator[dict[str, Any]]:
    """The same object by itself, and where it is stored in other ways."""
    yield planted(opcodes)
    yield planted(made("types.SimpleNamespace", state={"a": opcodes}))
    yield planted(made("samples.Stateful", bare=True, state={"a": opcodes}))
    yield planted(restore("telegram", "telegram.InlineKeyboardButton", {"text": "x", "callback_data": opcodes}))
    yield {"_py": "tuple", "v": [planted(opcodes)]}
    yield {"_py": "dict", "v": [[planted(opcodes), planted(opcodes)]]}
    yield {"_py": "set", "v": [planted(opcodes)]}


WHOLE = [
    Binary(b"ab", 5),
    Code("x"),
    Code("x", {"a": [1, {"b": None}]}),
    DatetimeMS(4),
    DBRef("c", 1),
    DBRef("c", bson.ObjectId(b"0" * 12), "db", x=2),
    Decimal128("1.5"),
    Decimal128("-Infinity"),
    Int64(-(2**63)),
    bson.MaxKey(),
    bson.MinKey(),
    bson.ObjectId(b"abcdefghijkl"),
    Regex("a", 2),
    Regex(b"a"),
    Timestamp(1, 2**32 - 1),
    uuid.UUID(int=5),
    uuid.UUID(int=5, is_safe=uuid.SafeUUID.safe),
    uuid.UUID(int=5, is_safe=uuid.SafeUUID.unsafe),
]


@pytest.mark.parametrize("value", WHOLE, ids=repr)
def test_a_whole_value_is_let_in_with_its_state(value: Any) -> None:
    holder = CODEC.encode(telegram.InlineKeyboardButton("x", callback_data=[value]))

    restored = let_in(holder).callback_data[0]

    assert type(restored) is type(value)
    assert restored == value
    assert getattr(restored, "is_safe", None) == getattr(value, "is_safe", None)


# What a pickle may hold in the place of an argument, a state, items or pairs.
PARTS: list[Any] = [
    *(None, True, 0, 5, -1, 2**70, "", "x", "1.5", "::1", "10.0.0.0/8", "\0", "\ud800"),
    literal({}),
    *({"a": 1}, {"int": 5}, {"int": "x"}, {"_value": "x"}, {"_value": 2**70}, {"flags": 2, "pattern": "a\0"}),
    *({"_Code__scope": None}, {"_Code__scope": {"a": (1,)}}, {"_Binary__subtype": 999}, {"value": "x"}),
    *(
        [],
        [1],
        ["ab", 5],
        [(1, 2)],
        [("a", 1)],
        (),
        (1,),
        (None, {"_value": 4}),
        (None, {"_value": None}),
        (1, 2),
        (-1, 2),
    ),
    restore("class", "builtins.list"),
    made("ipaddress.IPv4Network", "0.0.0.0/0"),
    made("types.SimpleNamespace"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [*sorted(NAMES.values()), "uuid.SafeUUID", "telegram.error.RetryAfter"])
def test_a_standard_class_is_made_of_what_is_usable_or_not_at_all(name: str) -> None:
    count = 0
    for bare, args in itertools.product((False, True), [(), *((part,) for part in PARTS), *itertools.pairwise(PARTS)]):
        assert_usable(made(name, *args, bare=bare), 2)
        count += 1
    for bare, state in itertools.product((False, True), PARTS):
        for args in ((), ("x",), (b"C\x04\x07\xe8\x01\x01",)):
            assert_usable(made(name, *args, bare=bare, state=state), 2)
            count += 1
    for part in PARTS:
        assert_usable(made(name, items=part), 2)
        assert_usable(made(name, pairs=part), 2)
        assert_usable(made(name, kwargs=part), 2)

    assert count > 150


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [*sorted(NAMES.values()), "telegram._utils.defaultvalue.DefaultValue", "telegram.User"]
)
def test_no_other_form_makes_an_unusable_object_of_a_standard_class(name: str) -> None:
    for state in ({}, {"_value": "x"}, {"value": 5}, {"a": 1}, {"pattern": 1}, {"_Timestamp__time": None}):
        for plain in (
            {"_py": "object", "cls": name, "state": state},
            {"_py": "namedtuple", "cls": name, "v": state},
            {"_py": "enum", "cls": name, "name": "x"},
            {"_py": "defaultdict", "factory": {"_py": "class", "v": name}, "v": state},
        ):
            with contextlib.suppress(DecodeError):
                let_in(plain)
                let_in({"_py": "tuple", "v": [plain]})


def assert_usable(opcodes: bytes, places: int | None = None) -> None:
    for plain in itertools.islice(in_containers(opcodes), places):
        try:
            let_in(plain)
        except DecodeError:
            continue
        except Exception as error:
            raise AssertionError(f"let in, and not usable: {opcodes!r}") from error


def test_no_object_discloses_memory() -> None:
    for state in (b"C\x02ab", b"C\x00", b"C\x0cabcdefghijkl"):
        plain = planted(made("bson.objectid.ObjectId", bare=True, state=state))

        assert is_let_in(plain) is (state == b"C\x0cabcdefghijkl")


# ---- Telegram objects ------------------------------------------------------------------------------------------------

WRONG = {
    "an endless iterable": made("ipaddress.IPv4Network", "0.0.0.0/0"),
    "a namespace": made("types.SimpleNamespace"),
    "a class": restore("class", "builtins.list"),
    "another Telegram object": restore("telegram", "telegram.Dice", {"value": 1, "emoji": "x"}),
}


def telegram_classes() -> Iterator[tuple[str, type]]:
    for name, cls in vars(telegram).items():
        if isinstance(cls, type) and issubclass(cls, telegram.TelegramObject) and not issubclass(cls, telegram.Bot):
            yield f"telegram.{name}", cls


ANYTHING = {"callback_data", "api_kwargs", "_id_attrs", "data"}
"""Attributes that hold whatever a bot gives them."""


@pytest.mark.parametrize("what", WRONG)
def test_no_attribute_of_a_telegram_object_holds_what_it_never_holds(what: str) -> None:
    count = 0
    for name, cls in telegram_classes():
        slots = {slot for owner in cls.__mro__ for slot in vars(owner).get("__slots__", ())}
        for slot in slots - ANYTHING - {"_bot", "__dict__", "__weakref__"}:
            plain = {
                "_py": "telegram",
                "cls": name,
                "pickle": planted(restore("telegram", name, {slot: WRONG[what]}))["v"],
            }
            if what != "another Telegram object":
                assert not is_let_in(plain), f"{name}.{slot}"
            count += 1

    assert count > 1200  # 1,289 under PTB 21.0


def test_what_is_no_telegram_object_is_not_let_in_as_one() -> None:
    scope = {"a": [{"": None}]}  # which is no BSON of ours

    for opcodes in (
        made("bson.code.Code", "x", bare=True, state={"_Code__scope": scope}),
        restore("class", "telegram.Chat"),
    ):
        assert not is_let_in({"_py": "telegram", "cls": "telegram.User", "pickle": planted(opcodes)["v"], "view": {}})


def test_a_message_whose_chat_is_a_text_is_no_message() -> None:
    for wrong in ({"chat": "x"}, {"from_user": 5}, {"photo": ["x"]}, {"reply_to_message": {"a": 1}}, {"photo": "x"}):
        plain = {
            "_py": "telegram",
            "cls": "telegram.Message",
            "pickle": planted(restore("telegram", "telegram.Message", wrong))["v"],
        }

        assert not is_let_in(plain), wrong


@pytest.mark.parametrize("name", ["__class__", "__dict__", "__doc__", "__setstate__", "__slots__", "__module__"])
def test_no_attribute_of_a_telegram_object_is_pythons_own(name: str) -> None:
    for value in ({"a": 1}, restore("class", "telegram.Chat"), "x"):
        plain = planted(restore("telegram", "telegram.User", {"id": 1, name: value}))["v"]
        try:
            user = let_in({"_py": "telegram", "cls": "telegram.User", "pickle": plain})
        except DecodeError:
            continue
        assert type(user) is telegram.User
        assert user.id == 1


@pytest.mark.filterwarnings("ignore")  # PTB's, about seconds
@pytest.mark.parametrize("error", ["TelegramError", "RetryAfter", "ChatMigrated", "Conflict", "BadRequest"])
def test_an_error_of_ptb_is_made_of_its_message_alone(error: str) -> None:
    network = made("ipaddress.IPv4Network", "0.0.0.0/0")
    name = f"telegram.error.{error}"

    assert is_let_in(planted(made(name, 5 if error in {"RetryAfter", "ChatMigrated"} else "x")))
    assert not is_let_in(planted(made(name, network)))
    assert not is_let_in(planted(made(name, "x", state={"args": network})))
    assert not is_let_in(planted(made(name, bare=True)))


@pytest.mark.parametrize("name", ["args", "__dict__", "__class__", "__traceback__", "__context__", "__cause__"])
def test_an_error_of_ones_own_gets_attributes_and_nothing_is_read_to_its_end(name: str) -> None:
    network = made("ipaddress.IPv4Network", "0.0.0.0/0")

    assert is_let_in(planted(made("samples.MishapError", "x", state={"detail": network})))
    assert not is_let_in(planted(made("samples.MishapError", "x", state={name: network})))


def test_an_error_of_pythons_own_gets_what_it_keeps_outside_of_its_dict() -> None:
    error = samples.LostModuleError("x", name="foo", path="/bar")

    for value in (error, telegram.InlineKeyboardButton("x", callback_data=error)):
        back = let_in(CODEC.encode(value))
        back = getattr(back, "callback_data", back)
        assert (back.args, back.name, back.path) == (("x",), "foo", "/bar")
        assert vars(back) == {}


def test_an_error_whose_state_names_its_arguments_is_made_of_them_once() -> None:
    """As Python 3.12 pickles an `AttributeError`."""
    error = let_in(planted(made("samples.MishapError", "x", state={"args": ("x",), "detail": 5})))

    assert (error.args, error.detail) == (("x",), 5)


@pytest.mark.parametrize("parts", [{"items": ["x"]}, {"pairs": [("a", "x")]}], ids=["items", "pairs"])
@pytest.mark.parametrize("name", ["samples.Journal", "samples.StatefulJournal"])
def test_what_is_no_container_is_not_filled(name: str, parts: dict[str, Any]) -> None:
    samples.FIRED.clear()

    assert not is_let_in(planted(made(name, bare=True, **parts)))
    assert samples.FIRED == []


def packed(*numbers: int) -> bytes:
    return b"C" + bytes([len(numbers), *numbers])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("datetime.date", (0x07, 0xE8, 2, 30)),
        ("datetime.date", (0x07, 0xE8, 2, 0)),
        ("datetime.date", (0, 0, 1, 1)),
        ("datetime.date", (0xFF, 0xFF, 1, 1)),
        ("datetime.time", (23, 255, 255, 255, 255, 255)),
        ("datetime.time", (23, 60, 0, 0, 0, 0)),
        ("datetime.datetime", (0x07, 0xE8, 1, 255, 255, 255, 255, 255, 255, 255)),
        ("datetime.datetime", (0x07, 0xE8, 1, 1, 0, 0, 0, 255, 255, 255)),
        ("datetime.datetime", (0, 0, 1, 1, 0, 0, 0, 0, 0, 0)),
        ("samples.Moment", (0x07, 0xE8, 2, 30, 0, 0, 0, 0, 0, 0)),
    ],
    ids=str,
)
def test_a_date_that_does_not_exist_is_refused(name: str, data: tuple[int, ...]) -> None:
    for plain in in_containers(made(name, packed(*data))):
        with pytest.raises(DecodeError):
            CODEC.decode(plain)


def test_what_could_be_stored_and_not_be_loaded_then_is_refused() -> None:
    class Forgetful(Codec):
        """Its documents do not hold what they were made of."""

        def __init__(self) -> None:
            super().__init__(["samples"])
            self._encoder.document = lambda _: {"_py": "int", "v": "x"}  # type: ignore[method-assign]

    with pytest.raises(DecodeError, match="when it is stored again"):
        Forgetful().check_usable(5, copied=True)


# ---- What honest objects hold ----------------------------------------------------------------------------------------

HONEST = [
    collections.defaultdict(samples.Abstract, {1: 2}),
    collections.defaultdict(samples.Colour),
    collections.defaultdict(None, a=1),
    collections.defaultdict(list, a=[1]),
    slice((1,), (2, "x"), None),
    samples.Moment(2024, 1, 2, tzinfo=dtm.timezone.utc),
]


@pytest.mark.parametrize("value", HONEST, ids=repr)
def test_a_button_comes_back_with_what_it_was_given(value: Any) -> None:
    plain = CODEC.encode(telegram.InlineKeyboardButton("x", callback_data=value))

    assert CODEC.may_not_load
    assert let_in(plain).callback_data == value


@pytest.mark.parametrize(
    "value",
    [samples.Disguised(1), slice([1], 2), [samples.Stateful({1})], frozenset({1}), samples.Plain(1)],
    ids=lambda value: type(value).__name__,
)
def test_whatever_a_telegram_object_holds_of_other_classes_is_tried_before_it_is_stored(value: Any) -> None:
    CODEC.encode(telegram.InlineKeyboardButton("x", callback_data=value))

    assert CODEC.may_not_load


def test_a_telegram_object_that_is_deep_or_large_is_tried_before_it_is_stored() -> None:
    deep: Any = 1
    for _ in range(40):
        deep = [deep]
    part: Any = [1]
    for _ in range(15):
        part = [part, part]
    for value in (deep, part):
        CODEC.encode(telegram.InlineKeyboardButton("x", callback_data=value))
        assert CODEC.may_not_load

    for plain in (["x"] * 100, ("buy", 5), {"a": [1]}):
        CODEC.encode(telegram.InlineKeyboardButton("x", callback_data=plain))
        assert not CODEC.may_not_load


# ---- Whatever else ---------------------------------------------------------------------------------------------------

parts = st.recursive(
    st.sampled_from([part for part in PARTS if not isinstance(part, dict)]),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.sampled_from(["a", "int", "value", "pattern", "flags", "_value"]), inner, max_size=3),
    ),
    max_leaves=5,
)


@given(
    st.sampled_from(sorted(NAMES.values())),
    st.booleans(),
    st.lists(parts, max_size=3),
    st.one_of(st.none(), parts),
    st.one_of(st.none(), parts),
    st.one_of(st.none(), parts),
)
def test_whatever_a_standard_class_is_made_of_it_is_usable_or_refused(
    name: str, bare: bool, args: list[Any], state: Any, items: Any, pairs: Any
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert_usable(made(name, *args, bare=bare, state=state, items=items, pairs=pairs))


def test_dates_are_whole() -> None:
    zone = made("datetime.timezone", made("datetime.timedelta", 0, 3600, 0), "x")
    moment = made("datetime.datetime", b"C\x0a\x07\xe8\x01\x01\x00\x00\x00\x00\x00\x00", zone)

    assert let_in(planted(moment)) == dtm.datetime(2024, 1, 1, tzinfo=dtm.timezone(dtm.timedelta(hours=1)))
    assert not is_let_in(planted(made("datetime.datetime", b"C\x0a\x07\xe8\x01\x01\x00\x00\x00\x00\x00\x00", 5)))
    assert not is_let_in(planted(made("datetime.datetime", 2024, 1, 1)))


@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        (
            "time",
            b"\x81\x02\x03\0\0\x05",
            [b"\x81\x42\x03\0\0\x05", b"\x01\x02\x63\0\0\x05", b"\x01\x02\x03\xff\xff\xff"],
        ),
        ("date", b"\x07\xe8\x02\x1d", [b"\x07\xe8\x02\x1e", b"\x07\xe8\x02\0", b"\0\0\x02\x01", b"\xff\xff\x02\x01"]),
        ("datetime", b"\x07\xe8\x02\x1d\x01\x02\x03\0\0\x05", [b"\x07\xe8\x02\xff\x01\x02\x03\0\0\x05"]),
    ],
)
def test_no_time_is_made_of_numbers_that_a_clock_does_not_show(name: str, right: bytes, wrong: list[bytes]) -> None:
    cls: Any = getattr(dtm, name)

    assert let_in(planted(made(f"datetime.{name}", b"C" + bytes([len(right)]) + right))) == cls(right)
    for numbers in wrong:
        assert not is_let_in(planted(made(f"datetime.{name}", b"C" + bytes([len(numbers)]) + numbers)))
