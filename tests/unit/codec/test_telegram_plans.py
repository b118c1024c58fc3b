"""What is faster does nothing else: plans write the bytes that the pickler writes, and read what the restorer reads.

The kind of fault: a short cut that differs from the way that it shortens, in what it stores, in what it accepts from
a stranger, or in what it leaves of an object.
"""

from __future__ import annotations

import copy
import datetime as dtm
import io
import pickle
import random
import struct
import tracemalloc
from typing import Any

import pytest
import telegram
from assembler import named
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import portrait
from strategies import texts
from telegram import constants

from ptb_mongo.codec import Codec, dump, load, pickling
from ptb_mongo.codec.bounds import Spending
from ptb_mongo.codec.restoring import Restorer
from ptb_mongo.codec.telegram_objects import telegram_object
from ptb_mongo.codec.telegram_plans import plan_of
from ptb_mongo.codec.telegram_reader import TelegramReader
from ptb_mongo.codec.telegram_writer import written
from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import DecodeError

BOT = telegram.Bot("123456:a-secret-token")
TRUST = Trust()
READER = TelegramReader(TRUST)

USER = {"id": 7, "is_bot": False, "first_name": "Ada", "username": "ada", "language_code": "en"}
CHAT = {"id": -1001234567890, "type": "supergroup", "title": "Engines"}
KEYS = [[{"text": "+", "callback_data": "+1"}, {"text": "+", "url": "https://c.d"}], [{"text": "a", "url": "u"}]]
BUTTONS = {"inline_keyboard": KEYS}
ENTITIES = [
    {"type": "url", "offset": 6, "length": 19},
    {"type": "text_mention", "offset": 0, "length": 5, "user": USER},
]
PHOTO = [{"file_id": f"file{n}", "file_unique_id": f"u{n}", "width": n, "height": n} for n in (90, 320, 80_000)]
EARLIER = {"message_id": 4, "date": 1690000000, "chat": CHAT, "from": USER, "text": "hi"}
PLACE = {"latitude": 1.5, "longitude": -0.0, "live_period": 60}
MESSAGES: dict[str, dict[str, Any]] = {
    "a text": {"from": USER, "text": "hello"},
    "without a sender": {"text": "telegram"},
    "words of the pickle itself": {"from": USER | {"username": "bot", "first_name": "text"}, "text": "restore"},
    "entities": {"from": USER, "text": "hello https://example.org /start", "entities": ENTITIES},
    "a photo": {"photo": PHOTO, "caption": "nothing", "has_media_spoiler": True},
    "an answer": {"from": USER, "text": "yes", "reply_to_message": EARLIER, "reply_markup": BUTTONS},
    "a place": {"location": PLACE, "edit_date": 1700000001},
    "another script": {"text": "чай 茶 🍵" * 40},
    "many people": {"new_chat_members": [USER | {"id": n, "first_name": str(n)} for n in range(100)]},
    "a video": {"video": {**PHOTO[0], "duration": 90}},
}


def parsed(content: dict[str, Any], bot: telegram.Bot | None = BOT) -> telegram.Message:
    made = telegram.Message.de_json({"message_id": 5, "date": 1700000000, "chat": CHAT, **content}, bot)
    assert made is not None
    return made


def by_pickler(value: object) -> bytes:
    buffer = io.BytesIO()
    pickling._Pickler(buffer, TRUST, BOT).dump(value)
    return buffer.getvalue()


def by_plan(value: telegram.TelegramObject) -> bytes | None:
    return written(value, TRUST, BOT, pickling.restore)


def by_restorer(data: bytes) -> Any:
    return Restorer(data, TRUST, BOT, Spending()).load()


@pytest.mark.parametrize("bot", [BOT, None], ids=["with a bot", "without"])
@pytest.mark.parametrize("name", MESSAGES)
def test_the_bytes_are_those_of_the_pickler(name: str, bot: telegram.Bot | None) -> None:
    message = parsed(MESSAGES[name], bot)

    for one in (message, copy.deepcopy(message), READER.read(by_pickler(message), BOT)):
        assert one is not None
        assert by_plan(one) == by_pickler(one)


@given(
    st.builds(
        telegram.User,
        id=st.integers(-(2**80), 2**80),
        first_name=texts,
        is_bot=st.booleans(),
        username=st.none() | texts | st.sampled_from(["bot", "_bot", "telegram", "id", "restore"]),
        language_code=st.none() | st.sampled_from(["bot", "telegram.User", "en"]),
    )
)
def test_the_bytes_are_those_of_the_pickler_whatever_the_values_are(user: telegram.User) -> None:
    for one in (user, telegram.Contact("1", user.first_name, user.username, user.id)):
        data = by_pickler(one)

        found = by_plan(one)

        assert found is None or found == data
        assert found is not None or any("\ud800" <= letter <= "\udfff" for letter in letters(one))


def letters(one: telegram.TelegramObject) -> str:
    return "".join(value for value in one.to_dict().values() if isinstance(value, str))


@pytest.mark.parametrize("name", MESSAGES)
def test_what_is_read_is_what_the_restorer_reads(name: str) -> None:
    data = by_pickler(parsed(MESSAGES[name]))

    found = READER.read(data, BOT)

    assert portrait(found) == portrait(by_restorer(data))
    assert found is not None
    assert found.get_bot() is BOT


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_needs_no_proof_that_it_can_be_stored_and_copied(name: str) -> None:
    codec = Codec(bot=lambda: BOT)

    raw = dump({"data": codec.encode(parsed(MESSAGES[name]))})
    assert not codec.may_not_load

    codec.decode_body(raw, load(raw))
    assert not codec.doubtful


OPCODES = [value for name, value in vars(pickle).items() if name.isupper() and type(value) is bytes and len(value) == 1]


def damaged(data: bytes, chance: random.Random) -> bytes:
    """A pickle in which a few bytes are others: most are opcodes, or point to another place."""
    place = chance.randrange(11, len(data) - 1)
    what = chance.randrange(5)
    if what == 0:
        return data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]
    if what == 1:
        return data[:place] + data[place + chance.randrange(1, 4) :]
    if what == 2:
        return data[:place] + chance.choice(OPCODES) + data[place:]
    if what == 3:
        gets = [at for at in range(11, len(data) - 1) if data[at : at + 1] == pickle.BINGET]
        at = chance.choice(gets) + 1
        return data[:at] + bytes([chance.randrange(64)]) + data[at + 1 :]
    other = chance.randrange(11, len(data) - 1)
    length = chance.randrange(1, 12)
    return data[:place] + data[other : other + length] + data[place + length :]


@pytest.mark.parametrize("name", ["a text", "an answer", "a photo", "a place"])
def test_nothing_is_read_that_the_restorer_refuses_or_reads_in_another_way(name: str) -> None:
    chance = random.Random(name)
    data = by_pickler(parsed(MESSAGES[name]))
    accepted = 0
    for _ in range(1000):
        planted = damaged(data, chance)
        found = READER.read(planted, BOT)
        if found is not None:
            accepted += 1
            assert portrait(found) == portrait(by_restorer(planted))
    assert accepted > 20


HEAD = pickle.PROTO + b"\x05" + pickle.FRAME + bytes(8)
RESTORE = named("ptb_mongo.codec", "restore") + pickle.MEMOIZE


def text(value: str) -> bytes:
    return pickle.SHORT_BINUNICODE + bytes([len(value)]) + value.encode()


def made_of(cls: str, *items: bytes, function: bytes = pickle.BINGET + b"\x00") -> bytes:
    state = pickle.EMPTY_DICT + pickle.MEMOIZE + pickle.MARK + b"".join(items) + pickle.SETITEMS
    return function + text("telegram") + text(cls) + state + pickle.TUPLE3 + pickle.MEMOIZE + b"R" + pickle.MEMOIZE


def planted(cls: str, *items: bytes) -> bytes:
    return HEAD + made_of(cls, *items, function=RESTORE) + pickle.STOP


REFUSED = {
    "a chat that is a user": planted("telegram.Message", text("chat"), made_of("telegram.User", text("id"), b"K\x01")),
    "a text that is empty in another way": planted("telegram.Message", text("text"), b"K\x01", text("chat"), b")"),
    "a bot in another place": planted("telegram.User", text("id"), text("bot") + b"Q"),
    "a bot as data": planted("telegram.CallbackQuery", text("data"), text("bot") + b"Q"),
    "a bot that is a text": planted("telegram.User", text("id"), b"K\x01", text("_bot"), text("bot")),
    "a class that is not trusted": planted("os.PathLike", text("id"), b"K\x01"),
    "a bot by its class": planted("telegram.Bot", text("token"), text("x")),
    "a date of a month that there is not": planted(
        "telegram.Message",
        text("date"),
        pickle.BINGET
        + b"\x00("
        + text("object")
        + text("datetime.datetime")
        + b"\x89C\x0a\x07\xea\x0d\x20"
        + bytes(6)
        + pickle.BINGET
        + b"\x00("
        + text("object")
        + text("datetime.timezone")
        + b"\x89"
        + pickle.BINGET
        + b"\x00("
        + text("object")
        + text("datetime.timedelta")
        + b"\x89K\x00K\x00K\x00\x87t\x94R\x94"
        + b"\x85t\x94R\x94"
        + b"\x86t\x94R\x94",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_planted_is_left_to_the_restorer_which_refuses_it(name: str) -> None:
    assert READER.read(REFUSED[name], BOT) is None
    with pytest.raises(DecodeError):
        by_restorer(REFUSED[name])


def test_the_function_itself_is_no_data() -> None:
    assert READER.read(planted("telegram.CallbackQuery", text("data"), pickle.BINGET + b"\x00"), BOT) is None


def test_objects_that_unfold_without_end_are_left_to_the_restorer() -> None:
    nested = made_of("telegram.Message", text("message_id"), b"K\x01", function=RESTORE)
    for level in range(40):
        at = pickle.BINGET + bytes([3 + 3 * level])
        nested = made_of("telegram.Message", text("reply_to_message"), nested, text("pinned_message"), at)
    data = HEAD + nested + pickle.STOP

    assert READER.read(data, BOT) is None


def test_objects_that_are_nested_deeply_are_left_to_the_restorer() -> None:
    message = parsed(MESSAGES["a text"])
    for number in range(25):
        message = telegram.Message(number, message.date, message.chat, reply_to_message=message)

    assert READER.read(by_pickler(message), BOT) is None
    assert by_plan(message) == by_pickler(message)


@pytest.mark.parametrize("cls", [telegram.Message, telegram.User, telegram.Chat, telegram.Update, telegram.Sticker])
def test_a_plan_makes_objects_as_ptb_does(cls: Any) -> None:
    plan = plan_of(cls)
    assert plan is not None
    state = {"_frozen": True}

    ours, theirs = plan.made(state, BOT), telegram_object(cls, {"_bot": BOT, **state})

    assert portrait(ours) == portrait(theirs)
    with pytest.raises(AttributeError, match="can't be set"):
        ours.id = 1


def test_classes_of_one_s_own_and_files_have_no_plan() -> None:
    class Letter(telegram.Message):
        pass

    class Slotted(telegram.User):
        __slots__ = ("nick",)

    assert [plan_of(cls) for cls in (Letter, Slotted, telegram.File, telegram.Bot, int)] == [None] * 5


def test_equal_enums_of_two_classes_are_not_mistaken_for_each_other() -> None:
    one, other = constants.ChatType.PRIVATE, constants.BotCommandScopeType.ALL_PRIVATE_CHATS
    assert one == "private" != other
    for kind in (constants.ChatType.CHANNEL, constants.MessageOriginType.CHANNEL):
        user = telegram.User(1, kind, False)
        assert by_plan(user) == by_pickler(user)
        found = READER.read(by_pickler(user), BOT)
        assert found is not None
        assert type(found.first_name) is type(kind)  # type: ignore[attr-defined]


def test_moments_keep_their_fold_and_their_parts() -> None:
    date = dtm.datetime(2024, 10, 27, 1, 30, 59, 123456, tzinfo=dtm.timezone.utc, fold=1)
    message = telegram.Message(1, date, telegram.Chat(1, "private"), edit_date=date)

    found = READER.read(by_pickler(message), BOT)

    assert by_plan(message) == by_pickler(message)
    assert portrait(found) == portrait(by_restorer(by_pickler(message)))


def changed(raw: bytes, *replaced: tuple[bytes, bytes]) -> bytes:
    """A pickle in which something was replaced, with a frame of the right length."""
    for old, new in replaced:
        assert old in raw
        raw = raw.replace(old, new)
    return raw[:3] + struct.pack("<Q", len(raw) - 11) + raw[11:]


def test_the_place_of_the_bot_is_remembered_for_nothing_else() -> None:
    query = telegram.CallbackQuery("1", telegram.User(5, "a", is_bot=False), "ci", data="DATA")
    query.set_bot(BOT)
    codec = Codec(bot=lambda: BOT)
    plain = codec.encode(query)
    place_as_data = (b"\x8c\x04DATA\x94", b"\x8c\x03botQ\x94")
    planted = changed(plain["pickle"], place_as_data, (b"\x8c\x04_bot\x94\x8c\x03bot\x94Q", b"\x8c\x04_bot\x94h\x09"))

    with pytest.raises(DecodeError):
        codec.decode({**plain, "pickle": planted})


def test_what_a_stranger_writes_as_a_members_value_is_not_kept() -> None:
    codec = Codec()
    plain = codec.encode(telegram.Chat(1, "private"))
    tracemalloc.start()
    for number in range(60):
        text = b"%06d" % number + b"x" * 50_000
        planted = changed(
            plain["pickle"], (b"\x8c\x07private\x94", b"X" + struct.pack("<I", len(text)) + text + b"\x94")
        )
        codec.decode({**plain, "pickle": planted})

    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 1_000_000
