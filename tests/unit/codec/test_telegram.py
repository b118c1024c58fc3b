"""Telegram's objects come back whole: their attributes, whether they are frozen, and the bot that they belong to."""

from __future__ import annotations

import copy
import datetime as dtm
import enum
import json
import pickle
import re
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
import samples
import telegram
import telegram.error
import telegram.ext
from assembler import made, planted, restore
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import CODEC, levels, portrait, restored, round_trip, stored
from strategies import texts
from telegram import constants

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.codec.telegram_objects import accepts
from ptb_mongo.errors import DecodeError, EncodeError

TOKEN = "123456:a-secret-token"
BOT = telegram.Bot(TOKEN)
OTHER_TOKEN = "654321:another-secret-token"
WITH_BOT = Codec(trusted=[samples.__name__], bot=lambda: BOT)

USER = {"id": 7, "is_bot": False, "first_name": "Ada", "username": "ada", "language_code": "en"}
CHAT = {"id": -1001, "type": "supergroup", "title": "Engines"}
OPTION = {"persistent_id": "0", "text": "y", "voter_count": 0}
MESSAGE = {
    "message_id": 5,
    "date": 1700000000,
    "chat": CHAT,
    "from": USER,
    "text": "hello https://example.org /start",
    "entities": [
        {"type": "url", "offset": 6, "length": 19},
        {"type": "bot_command", "offset": 26, "length": 6},
        {"type": "text_mention", "offset": 0, "length": 5, "user": USER},
    ],
    "photo": [{"file_id": f"file{n}", "file_unique_id": f"u{n}", "width": n, "height": n} for n in (90, 320, 800)],
    "reply_to_message": {"message_id": 4, "date": 1690000000, "chat": CHAT, "from": USER, "text": "hi"},
    "reply_markup": {"inline_keyboard": [[{"text": "a", "callback_data": "b"}, {"text": "c", "url": "https://c.d"}]]},
    "a_field_of_the_future": {"nested": [1, 2.5, None]},
}


def message(bot: telegram.Bot | None = None) -> telegram.Message:
    made = telegram.Message.de_json(MESSAGE, bot)
    assert made is not None
    return made


def objects(bot: telegram.Bot | None) -> Iterator[tuple[str, telegram.TelegramObject]]:
    yield "message", message(bot)
    update = {"update_id": 1, "message": MESSAGE}
    yield "update", telegram.Update.de_json(update, bot)
    query = {"id": "9", "from": USER, "chat_instance": "x", "message": MESSAGE, "data": "d"}
    yield "callback query", telegram.CallbackQuery.de_json(query, bot)
    member = {"status": "administrator", "user": USER, "can_be_edited": True, "is_anonymous": False}
    rights = {name: True for name in telegram.ChatMemberAdministrator.__slots__ if name.startswith("can_")}
    yield "chat member", telegram.ChatMember.de_json({**member, **rights}, bot)
    change = {"chat": CHAT, "from": USER, "date": 1700000000}
    left = {"old_chat_member": {"status": "member", "user": USER}, "new_chat_member": {"status": "left", "user": USER}}
    yield "chat member updated", telegram.ChatMemberUpdated.de_json({**change, **left}, bot)
    poll = {"id": "1", "question": "?", "total_voter_count": 0, "is_closed": False, "is_anonymous": True}
    kind = {"type": "regular", "allows_multiple_answers": False, "allows_revoting": True, "options": [OPTION]}
    yield "poll", telegram.Poll.de_json({**poll, **kind, "members_only": False, "close_date": 1700000000}, bot)
    yield "location", telegram.Location(1.5, -2.25)
    yield "keyboard", telegram.ReplyKeyboardMarkup([["a", telegram.KeyboardButton("b", request_contact=True)]])
    yield "link preview options with a default value", telegram.LinkPreviewOptions(url="https://x.y")
    yield "link preview options", telegram.LinkPreviewOptions(is_disabled=True, show_above_text=False)
    yield (
        "invalid callback data",
        telegram.InlineKeyboardMarkup.from_button(
            telegram.InlineKeyboardButton("x", callback_data=telegram.ext.InvalidCallbackData("uuid"))
        ),
    )
    yield (
        "callback data",
        telegram.InlineKeyboardMarkup.from_button(
            telegram.InlineKeyboardButton("x", callback_data=samples.Plain({"page": (1, 2)}, {3, 1}))
        ),
    )
    yield "trusted subclass", samples.Letter([1, (2,)], telegram.User(1, "x", False), api_kwargs={"extra": {"a": 1}})
    yield "permissions", telegram.ChatPermissions.all_permissions()
    yield "awkward words", telegram.User(1, "text", False, last_name="bot", username="telegram")
    yield "input media", telegram.InputMediaPhoto("file id", caption="c", parse_mode=constants.ParseMode.HTML)
    yield "web app", telegram.MenuButtonWebApp("x", telegram.WebAppInfo("https://x.y"))


Make = Callable[[telegram.Bot | None], telegram.TelegramObject]
NAMES = [name for name, _ in objects(None)]
plain_json = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)


@pytest.fixture(params=NAMES)
def make(request: pytest.FixtureRequest) -> Make:
    """Makes one Telegram object after the other, as they come with this bot, or without any."""
    return lambda bot: dict(objects(bot))[request.param]


def has_bot(obj: telegram.TelegramObject) -> bool:
    try:
        obj.get_bot()
    except RuntimeError:
        return False
    return True


def plain_of(value: object) -> Any:
    """A `to_dict()` as JSON has it, without what is `None`."""
    if isinstance(value, dict):
        return {key: plain_of(item) for key, item in value.items() if item is not None}
    return [plain_of(item) for item in value] if isinstance(value, list) else value


def test_there_are_objects_to_test_with() -> None:
    assert len(NAMES) > 15
    assert sum(has_bot(obj) for _, obj in objects(BOT)) >= 5


def test_an_object_without_a_bot_comes_back_with_all_attributes(make: Make) -> None:
    obj = make(None)

    back = round_trip(obj, WITH_BOT)

    assert portrait(back) == portrait(obj)
    assert not has_bot(back)


def test_an_object_with_the_bot_comes_back_with_the_bot(make: Make) -> None:
    obj = make(BOT)

    back = round_trip(obj, WITH_BOT)

    assert portrait(back) == portrait(obj)
    assert has_bot(back) == has_bot(obj)
    assert not has_bot(back) or back.get_bot() is BOT


def test_an_object_comes_back_equal_and_with_the_same_dict(make: Make) -> None:
    obj = make(BOT)

    back = round_trip(obj, WITH_BOT)

    assert portrait(back.to_dict()) == portrait(obj.to_dict())
    if obj._id_attrs and "invalid" not in str(obj).lower():  # else PTB compares nothing, or identity
        assert back == obj


def test_an_object_is_frozen_as_it_was(make: Make) -> None:
    obj = make(None)

    back = round_trip(obj, WITH_BOT)

    assert back._frozen == obj._frozen
    if obj._frozen:
        with pytest.raises(AttributeError, match="can't be set"):
            back.anything = 1


def test_a_restored_object_gives_the_same_bytes(make: Make) -> None:
    raw = stored(make(BOT), WITH_BOT)

    assert stored(restored(raw, WITH_BOT), WITH_BOT) == raw


def test_equal_objects_give_the_same_bytes(make: Make) -> None:
    assert stored(make(BOT), WITH_BOT) == stored(make(BOT), WITH_BOT)


def test_a_deep_copy_gives_the_same_bytes_as_ptb_hands_over_nothing_else(make: Make) -> None:
    obj = make(BOT)

    assert stored(copy.deepcopy(obj), WITH_BOT) == stored(obj, WITH_BOT)


def test_an_object_is_stored_for_one_bot_and_loaded_for_another(make: Make) -> None:
    raw = stored(make(BOT), WITH_BOT)
    successor = telegram.Bot("123456:the-next-token")

    back = restored(raw, Codec(trusted=[samples.__name__], bot=lambda: successor))

    assert not has_bot(back) or back.get_bot() is successor


def test_no_byte_tells_a_token(make: Make) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        other = telegram.Bot(OTHER_TOKEN)
        raw = stored({"a": make(BOT), "b": make(other), "bots": [BOT, other], "c": {"d": BOT}}, WITH_BOT)

    for part in ("secret", TOKEN.partition(":")[0], OTHER_TOKEN.partition(":")[0]):
        assert part.encode() not in raw


def test_what_is_stored_names_the_class_and_has_a_view(make: Make) -> None:
    obj = make(BOT)

    document = load(stored(obj, WITH_BOT))["data"]

    assert document["_py"] == "telegram"
    assert document["cls"].rpartition(".")[2] == type(obj).__name__
    assert set(document) - {"base"} == {"_py", "cls", "ptb", "pickle", "view"}
    assert document["ptb"] == telegram.__version__


@pytest.mark.parametrize("name", [name for name in NAMES if "callback data" not in name])
def test_the_view_is_the_objects_dict_as_json_has_it(name: str) -> None:
    obj = dict(objects(BOT))[name]

    view = load(stored(obj, WITH_BOT))["data"]["view"]

    assert view == plain_of(json.loads(obj.to_json()))


def test_the_view_can_be_queried_where_a_person_would_look() -> None:
    view = load(stored(message(BOT), WITH_BOT))["data"]["view"]

    assert view["chat"]["id"] == -1001
    assert view["from"]["first_name"] == "Ada"
    assert view["entities"][1] == {"type": "bot_command", "offset": 26, "length": 6}
    assert view["reply_to_message"]["date"] == 1690000000


def test_the_view_leaves_out_what_only_python_knows() -> None:
    button = telegram.InlineKeyboardButton("x", callback_data=samples.Plain(1))

    view = load(stored(button, WITH_BOT))["data"]["view"]

    assert view == {"text": "x"}


def test_an_object_that_has_no_dict_is_stored_without_a_view() -> None:
    letter = samples.SealedLetter("x")

    raw = stored(letter, WITH_BOT)

    assert load(raw)["data"]["view"] is None
    assert portrait(restored(raw, WITH_BOT)) == portrait(letter)


def test_a_messages_pickle_is_a_third_of_pythons(record_property: Callable[[str, object], None]) -> None:
    plain = telegram.Message(1, dtm.datetime.now(dtm.timezone.utc), telegram.Chat(1, "private"), text="hello")
    of_plain, of_rich = (
        len(load(stored(obj, WITH_BOT))["data"]["pickle"]) / len(pickle.dumps(obj)) for obj in (plain, message(BOT))
    )
    record_property("ratio of a plain message", of_plain)
    record_property("ratio of a message with all trimmings", of_rich)

    assert of_plain < 0.3
    assert of_rich < 0.45


def test_a_foreign_bot_warns_and_comes_back_as_none() -> None:
    other = telegram.Bot(OTHER_TOKEN)

    with pytest.warns(UserWarning, match="unknown bot"):
        raw = stored({"message": message(other)}, WITH_BOT)

    assert not has_bot(restored(raw, WITH_BOT)["message"])
    assert restored(raw, WITH_BOT)["message"] == message()


def test_a_foreign_bot_by_itself_warns_and_comes_back_as_none() -> None:
    with pytest.warns(UserWarning, match="unknown bot"):
        raw = stored([BOT, telegram.Bot(OTHER_TOKEN)], WITH_BOT)

    assert restored(raw, WITH_BOT) == [BOT, None]
    assert restored(raw, WITH_BOT)[0] is BOT


def test_every_bot_is_foreign_while_there_is_none() -> None:
    with pytest.warns(UserWarning, match="unknown bot"):
        stored(message(BOT), Codec())


def test_a_bot_of_a_subclass_is_a_bot() -> None:
    bot = telegram.ext.ExtBot(TOKEN)
    codec = Codec(bot=lambda: bot)

    back = round_trip({"bot": bot, "message": message(bot)}, codec)

    assert back["bot"] is bot
    assert back["message"].get_bot() is bot


@pytest.mark.parametrize(
    "error",
    [
        telegram.error.BadRequest("no"),
        telegram.error.NetworkError("no"),
        telegram.error.Forbidden("no"),
        telegram.error.InvalidToken(),
        telegram.error.ChatMigrated(-100),
        telegram.error.Conflict("no"),
        telegram.error.TimedOut(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_telegrams_comes_back(error: Exception) -> None:
    assert portrait(round_trip(error, WITH_BOT)) == portrait(error)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PTB's own: seconds become a timedelta one day
def test_a_retry_after_comes_back() -> None:
    error = telegram.error.RetryAfter(5)

    assert portrait(round_trip(error, WITH_BOT)) == portrait(error)


def test_an_invalid_callback_data_comes_back() -> None:
    back = round_trip(telegram.ext.InvalidCallbackData("uuid"), WITH_BOT)

    assert type(back) is telegram.ext.InvalidCallbackData
    assert back.callback_data == "uuid"


def test_every_member_of_every_enum_of_telegrams_comes_back() -> None:
    enums = [item for item in vars(constants).values() if isinstance(item, type) and issubclass(item, enum.Enum)]
    members = [member for kind in enums for member in kind.__members__.values()]

    assert len(members) > 300
    assert all(back is member for back, member in zip(round_trip(members, WITH_BOT), members, strict=True))


def test_every_public_class_of_telegrams_can_be_named_and_found() -> None:
    classes = [
        item
        for item in vars(telegram).values()
        if isinstance(item, type) and issubclass(item, telegram.TelegramObject) and not issubclass(item, telegram.Bot)
    ]

    assert len(classes) > 150
    assert round_trip(classes) == classes


def test_an_attribute_that_is_not_none_though_its_default_is_comes_back() -> None:
    options = telegram.LinkPreviewOptions(is_disabled=None)

    back = round_trip(options)

    assert back.is_disabled is None
    assert type(round_trip(telegram.LinkPreviewOptions()).is_disabled) is type(
        telegram.LinkPreviewOptions().is_disabled
    )


@given(st.dictionaries(texts.map("future {}".format), plain_json, max_size=4))
def test_fields_of_the_future_come_back_exactly(fields: dict[str, Any]) -> None:
    user = telegram.User(1, "x", False, api_kwargs=fields)

    back = round_trip(user)

    assert portrait(back) == portrait(user)


@given(texts, texts)
def test_every_text_comes_back(text: str, caption: str) -> None:
    obj = telegram.InlineKeyboardButton(text, callback_data=(text, caption, {caption: text}))

    back = round_trip(obj)

    assert portrait(back) == portrait(obj)


def test_a_telegram_object_deep_inside_stays_within_mongodbs_levels() -> None:
    value: Any = message()
    for _ in range(75):
        value = [value]

    raw = stored(value)

    assert levels(load(raw)) <= 100


# ---- Attributes of other types than PTB declares ---------------------------------------------------------------------

NOW = samples.Moment(2024, 1, 2, tzinfo=dtm.timezone.utc)


@pytest.mark.parametrize(
    "value",
    [
        telegram.Message(1, NOW, telegram.Chat(1, "private"), text=samples.Title("hi")),
        telegram.Message(1, NOW, telegram.Chat(1, "private"), text=samples.Colour.RED),
        telegram.User(samples.Number(1), "x", False),
        telegram.LabeledPrice("x", Decimal(5)),
        telegram.Location(Decimal("1.5"), 2.0),
        telegram.ReplyKeyboardMarkup([[samples.Title("x")]]),
        telegram.User(1, "x", False, api_kwargs={"a": {1, frozenset({2})}}),
        telegram.User(1, "x", False, api_kwargs={"a": dtm.date(2024, 1, 1), "b": [dtm.time(1, 2)], "c": Decimal(1)}),
        telegram.User(1, "x", False, api_kwargs={"a": samples.Plain(1, [2]), "b": samples.Colour.GREEN}),
    ],
    ids=repr,
)
def test_an_attribute_of_ones_own_class_is_no_less_plain(value: telegram.TelegramObject) -> None:
    plain = CODEC.encode({"a": value})
    back = CODEC.decode(plain)["a"]
    CODEC.check_usable({"a": back}, copied=True)

    assert back.to_dict() == value.to_dict()
    assert {name: type(getattr(back, name)) for name in type(back).__slots__} == {
        name: type(getattr(value, name)) for name in type(value).__slots__
    }


def test_an_input_file_comes_back_if_it_is_trusted() -> None:
    codec = Codec([telegram.InputFile])
    media = telegram.InputMediaPhoto(telegram.InputFile(b"abc", filename="a.txt"))

    back = codec.decode(codec.encode({"a": media}))["a"]

    codec.check_usable({"a": back}, copied=True)
    assert vars(back.media) == vars(media.media) if hasattr(media.media, "__dict__") else True
    assert (back.media.filename, back.media.input_file_content) == ("a.txt", b"abc")
    with pytest.raises(EncodeError, match="InputFile"):
        CODEC.encode(media)


@pytest.mark.parametrize("value", ["x", 5, {"id": 1, "type": "private"}], ids=repr)
def test_what_has_become_an_attribute_is_set_only_if_it_is_of_its_kind(value: Any) -> None:
    """PTB moves what it did not know before from `api_kwargs` to the attribute that it has now."""
    state = {"message_id": 1, "api_kwargs": {"chat": value, "text": "hi", "_bot": value, "other": 1}}

    message = CODEC.decode({**planted(restore("telegram", "telegram.Message", state)), "ptb": telegram.__version__})

    assert (message.chat, message.text) == (None, "hi")
    assert dict(message.api_kwargs) == {"chat": value, "_bot": value, "other": 1}
    CODEC.check_usable({"a": message}, copied=True)
    assert CODEC.decode(CODEC.encode(message)).api_kwargs == message.api_kwargs


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://api.telegram.org/file/bot1:SECRET/photos/file_1.jpg", "photos/file_1.jpg"),
        ("http://127.0.0.1:8081/file/bot1:SECRET/photos/file_1.jpg", "photos/file_1.jpg"),
        ("http://localhost:8081/file/bot1:SECRET/test/documents/a b.pdf", "test/documents/a b.pdf"),
        ("https://example.org/telegram/1:SECRET/photos/file_1.jpg", "photos/file_1.jpg"),
        ("/var/lib/telegram-bot-api/1:SECRET/photos/file_1.jpg", "photos/file_1.jpg"),
        ("C:\\api\\photos\\file_1.jpg", "C:\\api\\photos\\file_1.jpg"),
        ("C:\\api\\1~SECRET\\photos\\file_1.jpg", "photos\\file_1.jpg"),
        ("D:\\1:SECRET\\file_1.jpg", "file_1.jpg"),
        ("photos/file_1.jpg", "photos/file_1.jpg"),
        ("", ""),
    ],
)
def test_the_address_of_a_file_is_stored_without_the_token(address: str, kept: str) -> None:
    codec = Codec()
    file = telegram.File("F", "U", file_path=address)

    plain = codec.encode([file, telegram.InlineKeyboardButton("x", callback_data=(file, [file]))])

    assert b"SECRET" not in dump({"data": plain})
    assert codec.decode(plain)[0].file_path == kept
    assert plain[0]["view"].get("file_path", "") == kept
    assert codec.encode(codec.decode(plain)) == plain


@pytest.mark.skipif(
    not hasattr(getattr(telegram, "BusinessOpeningHours", None), "is_open"),
    reason="this version of PTB keeps nothing in opening hours",
)
def test_what_ptb_keeps_in_an_object_that_was_looked_at_is_stored() -> None:
    hours = telegram.BusinessOpeningHours("Europe/Berlin", [telegram.BusinessOpeningHoursInterval(60, 600)])
    hours.is_open(dtm.datetime(2026, 1, 1, tzinfo=dtm.timezone.utc))

    assert CODEC.decode(CODEC.encode([hours])) == [hours]
    assert CODEC.decode(CODEC.encode([hours]))[0].opening_hours == hours.opening_hours


def test_nothing_in_the_place_of_a_to_dict_is_called() -> None:
    """PTB calls it on whatever an object holds."""
    namespace = made("types.SimpleNamespace", state={"to_dict": restore("class", "samples.Trap")})
    button = restore("telegram", "telegram.InlineKeyboardButton", {"text": "a", "callback_data": namespace})

    with pytest.raises(DecodeError, match="in the place of a method"):
        CODEC.decode({"_py": "telegram", "cls": "x", "pickle": planted(button)["v"]})
    with pytest.raises(DecodeError, match="in the place of a method"):
        CODEC.decode(
            {"_py": "object", "cls": "samples.Bare", "state": {"to_dict": {"_py": "class", "v": "samples.Trap"}}}
        )


def lists_of_objects() -> Iterator[tuple[type, str]]:
    """The attributes that PTB declares to hold a list of Telegram objects of one class."""
    for cls in vars(telegram).values():
        if isinstance(cls, type) and issubclass(cls, telegram.TelegramObject) and not issubclass(cls, telegram.Bot):
            for name, hint in getattr(cls.__init__, "__annotations__", {}).items():
                found = re.search(r"Sequence\[(?:ForwardRef\()?['\"]?(?:\w+\.)*(\w+)['\"]?\)?\]", str(hint))
                if found and issubclass(vars(telegram).get(found.group(1), int), telegram.TelegramObject):
                    yield cls, name


def test_where_ptb_declares_a_list_of_objects_there_is_none_of_anything_else() -> None:
    """On any Python: an old one leaves names in annotations unresolved."""
    found = list(lists_of_objects())

    assert len(found) > 40
    assert [(cls, name) for cls, name in found if accepts(cls, name, ({},)) or accepts(cls, name, (1,))] == []
