"""What planted data may cost: it is refused in bounded time, and what is loaded can be copied and saved."""

from __future__ import annotations

import collections
import copy
import pickle
import pickletools
import resource
import struct
import time
from collections.abc import Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import bson
import pytest
import samples
import telegram
from assembler import called, literal, made, planted, restore
from hypothesis import given
from roundtrip import CODEC, restored, stored
from strategies import values
from test_hostile import laughs, places, refuse

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.codec.bounds import check_copy
from ptb_mongo.codec.reader import Reader
from ptb_mongo.errors import DecodeError, EncodeError

QUICK = 20.0
"""Seconds of work that nothing here may take, whatever else runs; what hangs takes for ever."""


@pytest.fixture(autouse=True)
def nothing_takes_long_or_much_memory() -> Iterator[None]:
    samples.FIRED.clear()
    started = time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert samples.FIRED == []
    assert time.process_time() - started < QUICK
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000, "more than a gigabyte"


# ---- Opcodes ---------------------------------------------------------------------------------------------------------

KNOWN = set(Reader._OPERATIONS) | {pickle.STOP[0], pickle.MEMOIZE[0], pickle.BINGET[0], pickle.SHORT_BINUNICODE[0]}
STRANGE = [opcode for opcode in pickletools.opcodes if opcode.code.encode("latin-1")[0] not in KNOWN]


def pickles_in(plain: object) -> Iterator[bytes]:
    if isinstance(plain, dict):
        for name in ("pickle", "v"):
            if isinstance(plain.get(name), bytes) and plain.get("_py") in {"pickle", "telegram"}:
                yield plain[name]
    for item in plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ():
        yield from pickles_in(item)


@given(values)
def test_our_pickles_hold_no_opcode_that_the_reader_does_not_know(value: Any) -> None:
    for raw in pickles_in(load(stored(value))):
        assert {opcode.code.encode("latin-1")[0] for opcode, _, _ in pickletools.genops(raw)} <= KNOWN


@pytest.mark.parametrize("opcode", STRANGE, ids=lambda opcode: opcode.name)
def test_every_other_opcode_is_refused_before_it_does_anything(opcode: Any) -> None:
    code = opcode.code.encode("latin-1")
    for argument in (b"", b"samples\nfire\n", b"\x01\x00\x00\x00", b"200\n"):
        error = refuse(planted(literal("samples") + literal("fire") + literal(("run",)) + code + argument))
        assert "which no pickle of ours does" in error.reason


def test_the_strange_opcodes_are_those_that_name_build_and_extend() -> None:
    names = {opcode.name for opcode in STRANGE}

    assert names > {"GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "BUILD", "EXT1", "EXT2", "EXT4", "PERSID", "PUT"}
    assert names > {"BINPUT", "LONG_BINPUT", "EMPTY_SET", "ADDITEMS", "FROZENSET", "NEXT_BUFFER", "READONLY_BUFFER"}


@pytest.mark.parametrize("name", ["STACK_GLOBAL", "REDUCE"])
def test_the_two_opcodes_that_name_and_call_reach_nothing_but_our_own_function(name: str) -> None:
    code = getattr(pickle, name)
    refuse(planted(literal("samples") + literal("fire") + code))
    refuse(planted(literal("builtins") + literal("eval") + pickle.STACK_GLOBAL + literal(("1",)) + code))
    refuse(planted(called(restore("class", "samples.Plain"), 1)))


# ---- Plain values, which we never pickle by themselves ---------------------------------------------------------------


@pytest.mark.parametrize(
    "opcodes",
    [
        literal((1, 2)),
        literal([1, 2]),
        literal({"a": 1}),
        literal("text"),
        literal(5),
        pickle.EMPTY_LIST * 100_000 + pickle.APPEND * 99_999,
        pickle.EMPTY_LIST + pickle.MEMOIZE + pickle.BINGET + b"\x00" + pickle.APPEND,
        literal("bot") + pickle.BINPERSID,
    ],
    ids=["tuple", "list", "dict", "text", "number", "deep", "a list in itself", "the bot"],
)
def test_a_plain_value_is_not_restored_from_a_pickle(opcodes: bytes) -> None:
    assert "by itself" in refuse(planted(opcodes)).reason


# ---- Bombs that go off when the value is used ------------------------------------------------------------------------


def shared_list(levels: int) -> bytes:
    """As `laughs`, with lists."""
    opcodes = pickle.EMPTY_LIST
    for level in range(levels):
        again = pickle.LONG_BINGET + struct.pack("<I", level)
        opcodes = opcodes + pickle.MEMOIZE + pickle.POP + pickle.EMPTY_LIST + pickle.MARK + again + again + b"e"
    return opcodes


@pytest.mark.parametrize(
    "plain",
    [
        planted(made("types.SimpleNamespace", state={"a": laughs(40)})),
        planted(made("samples.Reduced", laughs(40))),
        planted(made("samples.Reduced", laughs(40).replace(pickle.LONG_BINGET, b"h").replace(b"\0\0\0\x86", b"\x86"))),
        planted(made("samples.Reduced", {"a": [laughs(40)]})),
        planted(made("samples.Row", bare=True, items=[laughs(40)])),
        planted(made("samples.Table", bare=True, pairs=[("a", laughs(40))])),
        {"_py": "telegram", "pickle": planted(restore("telegram", "telegram.User", {"id": laughs(40)}))["v"]},
        {"_py": "telegram", "pickle": planted(restore("telegram", "telegram.User", {"_id_attrs": laughs(40)}))["v"]},
    ],
    ids=[
        "namespace",
        "argument",
        "with short references",
        "inside an argument",
        "item",
        "value",
        "telegram",
        "id of a Telegram object",
    ],
)
def test_a_billion_laughs_inside_an_object_are_refused_as_a_copy_of_them_would_never_end(plain: dict[str, Any]) -> None:
    assert "unfold" in refuse(plain).reason


def test_lists_that_stand_in_many_places_are_refused_as_they_would_be_stored_in_each() -> None:
    for opcodes in (
        made("types.SimpleNamespace", state={"a": shared_list(40)}),
        made("samples.Plain", bare=True, state={"a": shared_list(40)}),
    ):
        assert "unfold" in refuse(planted(opcodes)).reason


def test_what_may_stand_in_several_places_still_may() -> None:
    point = (1, (2, 3), "x" * 50)
    chat = telegram.Chat(1, "private")
    value = {"a": SimpleNamespace(points=[point] * 1000, chat=[chat] * 1000, again=(point, point))}

    assert restored(stored(value)) == value


# ---- Hashes that collide ---------------------------------------------------------------------------------------------

SAME_HASH = [n * (2**61 - 1) for n in range(1, 20_000)]
"""Each is another number, and all have the hash 0."""


def as_documents(numbers: list[int]) -> list[Any]:
    return [{"_py": "int", "v": hex(n)} if n >= 2**63 else n for n in numbers]


@pytest.mark.parametrize(
    "plain",
    [
        {f"%i{n}": 1 for n in SAME_HASH},
        {"_py": "set", "v": as_documents(SAME_HASH)},
        {"_py": "frozenset", "v": as_documents(SAME_HASH)},
        {"_py": "set", "v": [UUID(int=n) for n in SAME_HASH]},
        {"_py": "dict", "v": [[n, 1] for n in as_documents(SAME_HASH)]},
        {"_py": "Counter", "v": {f"%i{n}": 1 for n in SAME_HASH}},
        {"_py": "OrderedDict", "v": {f"%i{n}": 1 for n in SAME_HASH}},
        planted(made("samples.Reduced", pickle.EMPTY_DICT + b"".join(literal(n) + b"Ns" for n in SAME_HASH))),
        planted(made("samples.Reduced", b"}(" + b"".join(literal(n) + pickle.NONE for n in SAME_HASH) + b"u")),
        planted(made("samples.Reduced", literal(("set", list(SAME_HASH))) + pickle.BINPERSID)),
        planted(made("samples.Tags", list(SAME_HASH))),
        planted(made("samples.Table", bare=True, pairs=[(n, 1) for n in SAME_HASH])),
    ],
    ids=[
        *("integer keys", "set", "frozenset", "set of UUIDs", "pairs", "Counter", "OrderedDict"),
        *("dict in a pickle", "large dict in a pickle", "set in a pickle", "a subclass of set", "a subclass of dict"),
    ],
)
def test_a_flood_of_equal_hashes_is_refused(plain: dict[str, Any]) -> None:
    assert "same hash" in refuse(plain).reason


def test_a_thousand_equal_hashes_are_let_through() -> None:
    value = {"set": set(SAME_HASH[:900]), "dict": dict.fromkeys(SAME_HASH[:900]), "more": set(range(5000))}

    assert restored(stored(value)) == value


# ---- Nesting ---------------------------------------------------------------------------------------------------------


def test_packed_documents_in_packed_documents_do_not_multiply_what_they_hold() -> None:
    plain: Any = b"x" * (8 * 1024 * 1024)
    for _ in range(200):
        plain = {"_py": "bson", "v": bson.encode({"v": plain})}

    assert "packed too deeply" in refuse(plain).reason


def test_packed_documents_beside_each_other_are_opened() -> None:
    packed = {"_py": "bson", "v": bson.encode({"v": [1]})}

    assert CODEC.decode([packed] * 100) == [[1]] * 100


def test_what_is_deepest_of_what_we_store_is_opened() -> None:
    value: Any = 1
    for _ in range(450):
        value = [value]

    assert restored(stored(value)) == value


def test_a_pattern_counts_once_though_the_dict_that_holds_it_is_stored_as_pairs_in_the_end() -> None:
    plain = {"a": {"_py": "regex", "v": "[\u0400-\uffff]", "flags": 32}, f"%i{10**1000}": 0}

    value = CODEC.decode({"data": plain})

    assert CODEC.decode(CODEC.encode(value)) == value


def test_a_long_pattern_is_neither_stored_nor_loaded() -> None:
    import re

    with pytest.raises(EncodeError, match="100,000"):
        CODEC.encode(re.compile("a" * 100_001))
    refuse({"_py": "regex", "v": "a" * 100_001, "flags": 32})
    refuse(planted(restore("pattern", "a" * 100_001, 32)))


# ---- What PTB copies before it saves anybody's data ------------------------------------------------------------------


def doubtful(plain: object, codec: Codec = CODEC) -> Any:
    """The value of a document that is known to need a look before PTB copies it."""
    raw = dump({"data": plain})
    value = codec.decode_body(raw, load(raw))
    assert codec.doubtful
    return value


def deep(kind: str, levels: int) -> Any:
    plain: Any = 1
    for level in range(levels):
        plain = {"_py": kind, "v": [plain]} if kind != "list" else [plain]
        if level % 60 == 59:
            plain = {"_py": "bson", "v": bson.encode({"v": plain})}
    return plain


BOT = telegram.Bot("1:TOKEN")
WITH_BOT = Codec(samples.TRUSTED, lambda: BOT)


@pytest.mark.parametrize(
    "plain",
    [
        {"_py": "bot"},
        deep("list", 450),
        planted(made("types.SimpleNamespace", state={"a": pickle.EMPTY_LIST * 5000 + pickle.APPEND * 4999})),
        planted(made("types.SimpleNamespace", state={"a": literal(1) + pickle.TUPLE1 * 900})),
        planted(
            restore(
                "telegram",
                "telegram.InlineKeyboardButton",
                {"callback_data": pickle.EMPTY_LIST * 500 + pickle.APPEND * 499},
            )
        ),
        planted(made("samples.Stateful", bare=True)),
    ],
    ids=[
        *(
            "the bot",
            "deep lists",
            "deeper lists",
            "deep tuples",
            "a deep Telegram object",
            "an object without its state",
        ),
    ],
)
def test_what_ptb_cannot_copy_is_found(plain: dict[str, Any]) -> None:
    value = doubtful(plain, WITH_BOT)

    with pytest.raises(DecodeError, match="cannot be copied"):
        check_copy(value)


@pytest.mark.parametrize("hook", ["__deepcopy__", "__reduce_ex__", "__reduce__", "__getstate__", "__getnewargs_ex__"])
@pytest.mark.parametrize("planted_hook", [5, {"_py": "class", "v": "samples.Trap"}], ids=["number", "class"])
def test_an_attribute_in_the_place_of_a_method_that_a_copy_calls_is_refused(hook: str, planted_hook: Any) -> None:
    refuse({"_py": "object", "cls": "samples.Bare", "state": {hook: planted_hook}})
    refuse(planted(made("types.SimpleNamespace", state={hook: restore("class", "samples.Trap")})))
    refuse(planted(made("types.SimpleNamespace", kwargs={hook: restore("class", "samples.Trap")})))
    refuse(planted(made("samples.MishapError", "x", state={hook: 5})))


@pytest.mark.parametrize(
    "value",
    [
        *(telegram.User(1, "x", False), telegram.Message(1, None, telegram.Chat(1, "private"), text="x" * 300)),
        *(
            {"name": "Ada"},
            [1, {"a": (2.0, "x")}],
            {5: {"a"}},
            samples.Plain(1),
            samples.Point(1),
            Decimal("1.1"),
            collections.deque(),
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_ordinary_values_need_no_second_look(value: Any) -> None:
    raw = stored(value)
    doubtful({"_py": "bot"})

    restored(raw)

    assert not CODEC.doubtful


def test_a_telegram_object_that_belongs_to_the_bot_needs_no_second_look() -> None:
    user = telegram.User(1, "x", False)
    user.set_bot(BOT)

    decoded = WITH_BOT.decode(WITH_BOT.encode({"a": user}))

    assert decoded["a"].get_bot() is BOT
    assert not WITH_BOT.doubtful


GARBAGE: list[Any] = [None, 0, "x", [1], {"a": 1}, (1,), True, restore("class", "builtins.list")]


def test_a_telegram_object_with_garbage_in_an_attribute_can_be_copied_or_is_refused() -> None:
    message = telegram.Message(1, None, telegram.Chat(1, "private"), text="x")
    names = [name for cls in telegram.Message.__mro__ for name in getattr(cls, "__slots__", ())]
    assert len(names) > 50
    for name in [*names, "__class__", "__dict__", "_frozen", "api_kwargs", "_id_attrs", "unknown", "_bot"]:
        for garbage in GARBAGE:
            state = {"message_id": 1, "chat": restore("telegram", "telegram.Chat", {"id": 1}), name: garbage}
            try:
                value = CODEC.decode(planted(restore("telegram", "telegram.Message", state)))
            except DecodeError:
                continue
            copy.deepcopy(value)
    assert copy.deepcopy(message) == message


@given(values)
def test_whatever_we_store_can_be_copied_when_it_is_loaded(value: Any) -> None:
    check_copy(restored(stored(value)))


def test_every_bson_type_that_others_may_write_can_be_copied() -> None:
    types = [
        *(None, True, 1, bson.Int64(2**40), 1.5, "x", b"x", bson.Binary(b"x", 5), UUID(int=1), bson.ObjectId()),
        *(bson.Decimal128("1"), bson.Regex("(", "i"), bson.Timestamp(1, 1), bson.MinKey(), bson.MaxKey()),
        *(bson.Code("x"), bson.Code("x", {"a": 1}), bson.DBRef("a", 1, "b", c=1), bson.datetime_ms.DatetimeMS(2**60)),
    ]
    raw = dump({"data": types})

    value = CODEC.decode_body(raw, load(raw))

    assert copy.deepcopy(value) == value
    assert len(list(places(value))) > len(types)
