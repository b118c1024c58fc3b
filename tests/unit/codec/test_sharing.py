"""What stands in several places of a pickle: it is paid for in each, and the bot stands where it belongs alone.

The kinds of fault: a few bytes name one part again and again, and whatever is made of it looks at it, or copies it,
each time; and the bot is taken from where it belongs to where a handler shows it, or PTB copies it.
"""

from __future__ import annotations

import copy
import pickle
import struct
from collections.abc import Callable
from typing import Any

import pytest
import samples
import telegram
from assembler import RESTORE, literal, made, planted, restore
from test_hostile import chain, laughs

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.errors import DecodeError

BOT = telegram.Bot("1:TOKEN")
CODEC = Codec(samples.TRUSTED, lambda: BOT)
OUT_OF_PROPORTION = "too much of the same parts|much more of its bytes"


def let_in(plain: Any) -> Any:
    raw = dump({"data": plain})
    value = CODEC.decode_body(raw, load(raw))
    if CODEC.doubtful:
        CODEC.check_usable(value, copied=True)
    copy.deepcopy(value)
    return value["data"]


# ---- The bot ---------------------------------------------------------------------------------------------------------

THE_BOT = literal("bot") + pickle.BINPERSID
BETWEEN = {
    "nothing": b"",
    "a value": pickle.NONE + pickle.POP,
    "a version": pickle.PROTO + b"\x05",
    "a frame": pickle.FRAME + bytes(8),
    "a mark": pickle.MARK + pickle.POP_MARK,
    "two memos": pickle.MEMOIZE,
}
AGAIN = pickle.BINGET + b"\0"
BY_LONG = pickle.LONG_BINGET + bytes(4)


def of_the_bot(name: str, **state: Any) -> bytes:
    return restore("telegram", name, {"_bot": THE_BOT, **state})


def memoised(between: bytes, again: bytes) -> list[bytes]:
    """The bot where it belongs, and from there in another place."""
    bot = THE_BOT + between + pickle.MEMOIZE
    return [
        restore("telegram", "telegram.CallbackQuery", {"_bot": bot, "data": again}),
        restore("telegram", "telegram.CallbackQuery", {"_bot": bot, "data": [again]}),
        restore("telegram", "telegram.User", {"_bot": bot, "api_kwargs": {"a": again}}),
        restore("telegram", "telegram.User", {"_bot": bot, "_id_attrs": (again,)}),
        restore("telegram", "telegram.InlineKeyboardButton", {"_bot": bot, "callback_data": again}),
        restore("telegram", "samples.Letter", {"_bot": bot, "note": again}),
        restore("telegram", "telegram.User", {"id": bot, "_bot": again}),
    ]


@pytest.mark.parametrize("again", [AGAIN, BY_LONG], ids=["short", "long"])
@pytest.mark.parametrize("between", BETWEEN)
def test_the_bot_is_not_recalled_into_another_place(between: str, again: bytes) -> None:
    for opcodes in memoised(BETWEEN[between], again):
        with pytest.raises(DecodeError, match="several places"):
            let_in({"_py": "telegram", "pickle": planted(opcodes)["v"]})


ELSEWHERE = {
    "an argument": made("samples.Reduced", THE_BOT),
    "a list": made("samples.Reduced", [[THE_BOT]]),
    "a tuple": made("samples.Reduced", (1, (THE_BOT,))),
    "a state": made("types.SimpleNamespace", state={"_bot": THE_BOT}),
    "items": made("samples.Row", bare=True, items=[THE_BOT]),
    "pairs": made("samples.Table", bare=True, pairs=[("_bot", THE_BOT)]),
    "a key": made("samples.Reduced", b"}" + THE_BOT + literal(1) + pickle.SETITEM),
    "a set": made("samples.Reduced", literal("set") + literal([THE_BOT]) + pickle.TUPLE2 + pickle.BINPERSID),
    "a call's kind": restore(THE_BOT),  # type: ignore[arg-type]
    "a class's name": restore("class", THE_BOT),
    "what is dropped": THE_BOT + pickle.POP + made("types.SimpleNamespace"),
    "what is marked and dropped": pickle.MARK + THE_BOT + pickle.POP_MARK + made("types.SimpleNamespace"),
    "a button": of_the_bot("telegram.InlineKeyboardButton", callback_data=THE_BOT),
    "a query": of_the_bot("telegram.CallbackQuery", data={"a": THE_BOT}),
    "an attribute": of_the_bot("telegram.User", id=THE_BOT),
    "unknown attributes": of_the_bot("telegram.User", api_kwargs={"a": [THE_BOT]}),
    "a second object's state": (
        literal({"_bot": THE_BOT})
        + pickle.MEMOIZE
        + pickle.POP
        + literal((made("types.SimpleNamespace", state=AGAIN), restore("telegram", "telegram.User", AGAIN)))
        + pickle.POP
        + made("types.SimpleNamespace")
    ),
    "a state that is weighed before": (
        b"}"
        + pickle.MEMOIZE
        + pickle.POP
        + made("samples.Reduced", AGAIN)
        + pickle.POP
        + AGAIN
        + literal("_bot")
        + THE_BOT
        + pickle.SETITEM
        + pickle.POP
        + literal((made("types.SimpleNamespace", state=AGAIN), restore("telegram", "telegram.User", AGAIN)))
        + pickle.POP
        + made("types.SimpleNamespace")
    ),
}


@pytest.mark.parametrize("place", ELSEWHERE)
def test_the_bot_stands_only_where_a_telegram_object_belongs_to_it(place: str) -> None:
    with pytest.raises(DecodeError):
        CODEC.decode(planted(ELSEWHERE[place]))


def test_the_bot_is_no_data_also_where_ptb_does_not_copy() -> None:
    for plain in ({"_py": "bot"}, {"_py": "tuple", "v": [{"_py": "bot"}]}):
        raw = dump({"state": plain})
        value = CODEC.decode_body(raw, load(raw))

        assert CODEC.doubtful
        with pytest.raises(DecodeError, match="holds the bot"):
            CODEC.check_usable(value, copied=False)


def test_objects_of_the_bot_that_share_others_come_back_with_it() -> None:
    chat = telegram.Chat(1, "private")
    message = telegram.Message(1, None, chat)
    reply = telegram.Message(2, None, chat, reply_to_message=message)
    user = telegram.User(1, "x", False)
    query = telegram.CallbackQuery("1", user, "c", message=message, data=[reply, reply, chat])
    for obj in (chat, query, query.from_user, query.message, reply):
        obj.set_bot(BOT)

    back = let_in(CODEC.encode(query))

    assert back == query
    assert back.data[0].reply_to_message.chat.get_bot() is BOT
    assert back.data[0] is back.data[1]


# ---- What looks at its parts while it is made ------------------------------------------------------------------------

LISTS = chain(26)
DICTS = chain(26, b"}(", b"u", (literal("a"), literal("b")))


def reference(id_: bytes, more: Any = None) -> bytes:
    names = {"_DBRef__collection": "c", "_DBRef__database": None, "_DBRef__id": id_}
    return made("bson.dbref.DBRef", bare=True, state={**names, "_DBRef__kwargs": more or {}})


@pytest.mark.parametrize(
    "opcodes",
    [
        restore("telegram", "telegram.User", {"api_kwargs": {"a": LISTS}}),
        restore("telegram", "telegram.User", {"api_kwargs": DICTS}),
        restore("telegram", "telegram.PollAnswer", {"unknown": LISTS}),
        restore("telegram", "telegram.PollAnswer", {"option_ids": LISTS}),
        restore("telegram", "telegram.Message", {"photo": LISTS}),
        reference(LISTS),
        reference(literal(1), {"a": LISTS}),
        made("bson.code.Code", "x", bare=True, state={"_Code__scope": {"a": LISTS}}),
        made("samples.Table", [(laughs(26), 1)]),
        made("samples.Tags", (laughs(26),)),
        restore("fraction", LISTS, LISTS),
        made("types.SimpleNamespace", state={"a": LISTS}),
    ],
    ids=lambda opcodes: f"{len(opcodes)} bytes",
)
def test_what_unfolds_is_refused_before_anything_walks_it(opcodes: bytes) -> None:
    with pytest.raises(DecodeError, match="unfold"):
        CODEC.decode(planted(opcodes))


# ---- What copies its parts, or looks at them, again and again --------------------------------------------------------


def numbers(size: int) -> bytes:
    return b"](" + b"".join(b"M" + struct.pack("<H", number) for number in range(size // 3)) + b"e"


def again_and_again(size: int, *shared: bytes, one: bytes) -> bytes:
    """A half of the bytes is one part, the other half calls that are made of it."""
    head = b"".join(part + b"\x940" for part in shared)
    return made("types.SimpleNamespace", state={"a": head + b"(" + one * (size // 2 // len(one)) + b"t"})


def calls(name: str, end: bytes) -> Callable[[int, bytes], bytes]:
    one = b"h\0(h\1h\2" + end + b"tR"
    kind = "telegram" if name.startswith("telegram.") else "object"
    return lambda size, part: again_and_again(size, RESTORE, literal(kind), literal(name), part, one=one)


def text(size: int) -> bytes:
    return literal("a/" * (size // 2))


def attributes(size: int) -> bytes:
    return literal({f"a{number}": None for number in range(size // 16)})


def scope(size: int) -> bytes:
    return literal({"_Code__scope": attributes(size)})


def pairs(size: int) -> bytes:
    return b"](" + b"".join(b"M" + struct.pack("<H", number) + b"N\x86" for number in range(size // 5)) + b"e"


def keys(size: int) -> bytes:
    return b"}(" + b"".join(b"M" + struct.pack("<H", number) + b"N" for number in range(size // 4)) + b"u"


REPEATED: dict[str, tuple[Callable[[int, bytes], bytes], Callable[[int], bytes]]] = {
    "a namespace": (calls("types.SimpleNamespace", b"\x89)Nh\3"), attributes),
    "a path": (calls("pathlib.PurePosixPath", b"\x89h\3\x85"), text),
    "a Windows path": (calls("pathlib.PureWindowsPath", b"\x89h\3\x85"), text),
    "a deque": (calls("collections.deque", b"\x89)NNh\3"), numbers),
    "a deque of one": (calls("collections.deque", b"\x89)K\x01\x86NNh\3"), numbers),
    "an OrderedDict": (calls("collections.OrderedDict", b"\x89)NNNh\3"), pairs),
    "a defaultdict": (calls("collections.defaultdict", b"\x89)NNNh\3"), pairs),
    "a Counter": (calls("collections.Counter", b"\x89h\3\x85"), keys),
    "a poll's answer": (
        calls("telegram.PollAnswer", b"h\3"),
        lambda size: literal({"option_ids": numbers(size)}),
    ),
    "unknown attributes": (calls("telegram.User", b"h\3"), lambda size: literal({"api_kwargs": {"a": numbers(size)}})),
    "code": (calls("bson.code.Code", b"\x88" + literal("x") + b"\x85Nh\3"), scope),
    "a reference": (
        calls("bson.dbref.DBRef", b"\x88)Nh\3"),
        lambda size: literal(
            {"_DBRef__collection": "c", "_DBRef__database": None, "_DBRef__id": numbers(size), "_DBRef__kwargs": {}}
        ),
    ),
    "a set": (
        lambda size, part: again_and_again(size, part, one=b"h\0Q"),
        lambda size: literal(("set", numbers(size))),
    ),
    "a dropped set": (
        lambda size, part: again_and_again(size, part, one=b"h\0Q0"),
        lambda size: literal(("frozenset", numbers(size))),
    ),
    "a list of one's own": (calls("samples.Row", b"\x89h\3\x85"), numbers),
    "a set of one's own": (calls("samples.Tags", b"\x89h\3\x85"), numbers),
    "a dict of one's own": (calls("samples.Table", b"\x89h\3\x85"), pairs),
    "a text of one's own": (calls("samples.Title", b"\x88h\3\x85"), text),
    "a fraction": (
        lambda size, part: again_and_again(size, RESTORE, literal("fraction"), part, one=b"h\0(h\1h\2h\2tR"),
        lambda size: b"\x8b" + struct.pack("<I", min(size, 12_000)) + b"\x7f" * min(size, 12_000),
    ),
}


@pytest.mark.parametrize("name", REPEATED)
def test_what_is_made_of_the_same_parts_pays_for_them_each_time(name: str) -> None:
    repeat, part = REPEATED[name]

    CODEC.decode(planted(repeat(100, part(30))))
    with pytest.raises(DecodeError, match=OUT_OF_PROPORTION):
        CODEC.decode(planted(repeat(60_000, part(30_000))))


def test_a_part_that_grows_after_it_was_weighed_is_weighed_again() -> None:
    add = b"h\3" + b"(" + b"N" * 2000 + b"e0"
    one = b"h\0(h\1h\2\x89)NNh\3tR0"
    head = b"".join(
        part + b"\x940" for part in (RESTORE, literal("object"), literal("collections.deque"), pickle.EMPTY_LIST)
    )

    with pytest.raises(DecodeError, match=OUT_OF_PROPORTION):
        CODEC.decode(planted(head + one + add * 20 + one * 100 + made("types.SimpleNamespace")))


# ---- Honest values share, too ----------------------------------------------------------------------------------------

PRODUCT = samples.Plain(1, {"tags": [f"tag {number}" for number in range(200)], "price": 5})


@pytest.mark.parametrize(
    "value",
    [
        telegram.InlineKeyboardButton("x", callback_data=[(PRODUCT, number) for number in range(300)]),
        telegram.InlineKeyboardButton("x", callback_data=[(PRODUCT.b["tags"], number) for number in range(300)]),
        telegram.InlineKeyboardMarkup(
            [[telegram.InlineKeyboardButton("x", callback_data=("pick", number, PRODUCT))] for number in range(100)]
        ),
        samples.Stateful(["x" * 4000] * 400),
        samples.Stateful([(PRODUCT, number) for number in range(1000)]),
        samples.Reduced([telegram.User(number, "x" * 4000, False) for number in range(300)]),
    ],
    ids=["dataclass", "list", "keyboard", "texts", "history", "users"],
)
def test_what_honest_values_share_comes_back(value: Any) -> None:
    plain = CODEC.encode(value)

    assert dump(CODEC.encode(let_in(plain))) == dump(plain)


def large_keyboard() -> telegram.InlineKeyboardMarkup:
    return telegram.InlineKeyboardMarkup(
        [[telegram.InlineKeyboardButton("x", callback_data=(PRODUCT.b["tags"], number))] for number in range(100)]
    )


@pytest.mark.parametrize(
    "part",
    [
        (large_keyboard(), 1),
        [(large_keyboard(), 1)],
        {"a": (large_keyboard(),)},
        {5: [large_keyboard()]},
        {("x" * 40_000,) * 10: 1},
        ["x" * 40_000] * 10,
        telegram.InlineKeyboardMarkup([[telegram.InlineKeyboardButton("x", callback_data=(large_keyboard(), 1))]]),
        [telegram.User(number, "x", False) for number in range(300)],
    ],
    ids=["tuple", "list", "dict", "number", "key", "text", "keyboard", "users"],
)
def test_what_shares_more_than_is_loaded_again_is_tried_before_it_is_stored(part: Any) -> None:
    """A view does not show all that a Telegram object holds, or how often."""
    plain = CODEC.encode(
        telegram.InlineKeyboardMarkup(
            [[telegram.InlineKeyboardButton("x", callback_data=(part, number))] for number in range(200)]
        )
    )
    is_tried = CODEC.may_not_load

    with pytest.raises(DecodeError, match="unfold"):
        CODEC.decode(plain)
    assert is_tried


def test_a_view_that_unfolds_is_left_out() -> None:
    part: Any = [1]
    for _ in range(15):
        part = [part, part]

    plain = CODEC.encode(telegram.InlineKeyboardButton("x", callback_data=part))

    assert plain["view"] is None
    assert CODEC.decode(plain).callback_data == part
