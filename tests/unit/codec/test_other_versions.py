"""Telegram objects that another version of PTB has stored: nothing that this version knows is lost or wrong.

The kind of fault: attributes were set as another version had stored them, though their names, types, defaults and the
classes of what they hold differ; and what could not be set so sent a whole document to quarantine. All versions are
compared in `tests/ptb_versions`; here it is what a single one can show, and what a stranger can plant.
"""

from __future__ import annotations

import base64
import contextlib
import copy
import datetime as dtm
import json
import math
import pathlib
import pickle
import time
from typing import Any

import pytest
import samples
import telegram
from assembler import planted, restore
from roundtrip import portrait
from telegram import constants
from test_telegram import BOT, MESSAGE, NAMES, USER, WITH_BOT, has_bot, objects

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.errors import DecodeError
from ptb_mongo.replica.forms import DocumentForm

CODEC = Codec(trusted=[samples.__name__])
OTHER = "20.99"
OLD = json.loads(pathlib.Path(__file__).with_name("without_version.json").read_text())
CHAT_OPCODES = restore("telegram", "telegram.Chat", {"id": 1, "type": "private"})
FORM = DocumentForm(WITH_BOT)


def of_another_version(plain: Any, version: str | None = OTHER) -> Any:
    """The same document, as another version, or one from before versions were stored, would have written it."""
    if isinstance(plain, list):
        return [of_another_version(item, version) for item in plain]
    if not isinstance(plain, dict):
        return plain
    changed = {key: of_another_version(item, version) for key, item in plain.items() if key not in {"ptb", "base"}}
    if "ptb" not in plain or version is None:
        return changed
    return changed | {"ptb": version} | ({"base": plain["base"]} if "base" in plain else {})


def stored(name: str, state: dict[str, Any], version: str | None = OTHER, **beside: Any) -> dict[str, Any]:
    """A Telegram object, as another version stores it."""
    pickled = planted(restore("telegram", name, state))["v"]
    return {"_py": "telegram", "cls": name, **({"ptb": version} if version else {}), "pickle": pickled, **beside}


def frozen(**state: Any) -> dict[str, Any]:
    return {**state, "_frozen": True}


@pytest.mark.parametrize("version", [OTHER, None])
@pytest.mark.parametrize("name", NAMES)
def test_what_is_the_same_in_both_versions_comes_back_the_same(name: str, version: str | None) -> None:
    obj = dict(objects(BOT))[name]
    plain = of_another_version(WITH_BOT.encode([obj]), version)

    (back,) = WITH_BOT.decode(load(dump({"data": plain})))["data"]

    assert portrait(back) == portrait(obj)
    assert has_bot(back) == has_bot(obj)
    WITH_BOT.check_usable([back], copied=True)


@pytest.mark.parametrize("version", [OTHER, None])
@pytest.mark.parametrize("name", NAMES)
def test_another_version_of_the_same_object_is_no_change(name: str, version: str | None) -> None:
    """Else two versions on one database rewrite each other's documents, and bring back what the other has deleted."""
    obj = dict(objects(BOT))[name]
    plain = WITH_BOT.encode({"data": {"a": obj, "list": [obj, {"deep": (obj,)}]}})
    base = dump(of_another_version(plain, version))

    assert FORM.canonical(base) == plain
    assert not FORM.changes(base, plain, math.inf)
    assert list(FORM.changed_paths(base, {"data": {"list": plain["data"]["list"]}})) == [("data", "a")]
    assert WITH_BOT.encode(copy.deepcopy(WITH_BOT.decode(load(base)))) == plain


def test_a_number_that_has_become_a_period_is_one() -> None:
    video = frozen(file_id="f", file_unique_id="u", width=1, height=2, duration=61)

    for version in (OTHER, None):
        back = CODEC.decode(stored("telegram.Video", video, version))

        assert back == telegram.Video("f", "u", 1, 2, 61)
        assert portrait(back) == portrait(telegram.Video("f", "u", 1, 2, 61))
        assert back.to_dict()["duration"] == 61


def test_what_was_unknown_is_parsed_and_gets_the_bot() -> None:
    news = {"paid_media": {"star_count": 5, "paid_media": [{"type": "preview", "width": 1}]}, "edit_date": 1700000000}
    news |= {"from": USER, "effect_id": "e", "of_the_future": {"a": [1, None]}, "photo": "no photo"}
    plain = WITH_BOT.encode(
        telegram.Message.de_json({key: MESSAGE[key] for key in ("message_id", "date", "chat")}, BOT)
    )
    back = WITH_BOT.decode(stored("telegram.Message", frozen(message_id=5, chat=CHAT_OPCODES, api_kwargs=news)))

    assert back.paid_media == telegram.PaidMediaInfo(5, [telegram.PaidMediaPreview(width=1)])
    assert back.edit_date == dtm.datetime(2023, 11, 14, 22, 13, 20, tzinfo=dtm.timezone.utc)
    assert (back.from_user, back.effect_id) == (telegram.User.de_json(USER, None), "e")
    assert dict(back.api_kwargs) == {"of_the_future": {"a": [1, None]}, "photo": "no photo"}
    assert WITH_BOT.decode(of_another_version(plain)).get_bot() is BOT


def test_what_this_version_does_not_know_is_kept_as_json() -> None:
    inner = restore(
        "telegram", "telegram.OfTheFuture", frozen(name="x", user=restore("telegram", "telegram.User", USER))
    )
    state = frozen(id=7, is_bot=False, first_name="Ada", _cached=5, since=2, one=inner, several=b"](" + inner + b"e")

    back = CODEC.decode(stored("telegram.User", state))

    user = {key: value for key, value in USER.items() if value is not None}
    assert back.api_kwargs["one"] == {"name": "x", "user": user}
    assert back.api_kwargs["several"] == [back.api_kwargs["one"]]
    assert back.api_kwargs["since"] == 2
    assert set(back.api_kwargs) == {"one", "several", "since"}
    assert back.to_dict()["one"]["name"] == "x"


def test_a_class_that_this_version_lacks_is_what_it_is_a_kind_of() -> None:
    state = frozen(type="rare", weight=5)

    kind = CODEC.decode(stored("telegram.ReactionTypeRare", state, base="telegram.ReactionType"))
    nothing = CODEC.decode(stored("telegram.ReactionTypeRare", state))
    known = CODEC.decode(stored("telegram.ReactionTypeRare", {"type": "paid"}, base="telegram.ReactionType"))

    assert portrait(kind) == portrait(telegram.ReactionType.de_json({"type": "rare", "weight": 5}, None))
    assert (type(nothing), dict(nothing.api_kwargs)) == (telegram.TelegramObject, {"type": "rare", "weight": 5})
    assert type(known) is telegram.ReactionTypePaid
    assert CODEC.encode(known)["base"] == "telegram.ReactionType"
    for base in (5, "telegram.Nothing", "telegram.User", "os.system"):
        with contextlib.suppress(DecodeError):
            CODEC.decode(stored("telegram.ReactionTypeRare", state, base=base))


def test_a_kind_that_another_version_did_not_tell_apart_is_told_apart() -> None:
    back = CODEC.decode(
        stored("telegram.ChatMember", frozen(status="left", user=restore("telegram", "telegram.User", USER)))
    )

    assert type(back) is telegram.ChatMemberLeft
    assert back.user.id == 7


def test_a_member_of_an_enum_that_this_version_lacks_is_its_value() -> None:
    chat = frozen(id=1, type=restore("enum", "telegram.constants.ChatType", "ASTRAL", "astral"))

    assert CODEC.decode(stored("telegram.Chat", chat)).type == "astral"
    for cls in ("telegram.constants.ChatType", "telegram.constants.OfTheFuture"):
        assert CODEC.decode({"_py": "enum", "cls": cls, "name": "ASTRAL", "v": "astral"}) == "astral"
    assert CODEC.decode(CODEC.encode(constants.ChatType.GROUP)) is constants.ChatType.GROUP
    with pytest.raises(DecodeError):
        CODEC.decode({"_py": "enum", "cls": "samples.Colour", "name": "ASTRAL", "v": "astral"})
    with pytest.raises(DecodeError):
        CODEC.decode({"_py": "enum", "cls": "telegram.constants.ChatType", "name": "ASTRAL", "v": [1]})


def test_what_telegram_did_not_send_then_is_missing_and_no_error() -> None:
    """PTB 22.8 asks for fields that polls of earlier versions do not have."""
    option = restore("telegram", "telegram.PollOption", frozen(text="yes", voter_count=3))
    poll = frozen(
        id="1", question="?", options=b"](" + option + b"e", total_voter_count=3, type="quiz", correct_option_id=0
    )

    back = CODEC.decode(stored("telegram.Poll", poll))

    assert (back.id, back.options[0].text, back.options[0].voter_count) == ("1", "yes", 3)
    CODEC.check_usable([back], copied=True)
    assert portrait(CODEC.decode(CODEC.encode(back))) == portrait(back)


def test_objects_inside_of_trusted_ones_are_of_this_version() -> None:
    video = telegram.Video("f", "u", 1, 2, 61)
    plain = CODEC.encode([samples.Reduced(video), samples.Plain(video), {video}])
    assert plain[0]["ptb"] == telegram.__version__

    for version in (OTHER, None):
        assert portrait(CODEC.decode(of_another_version(plain, version))) == portrait(CODEC.decode(plain))


def test_no_file_of_the_machine_is_read(tmp_path: pathlib.Path) -> None:
    """The constructors of what is sent read the files that texts name."""
    secret = tmp_path / "secret"
    secret.write_text("secret")
    for place in (str(secret), secret.as_uri()):
        state = frozen(media=place, type="photo")
        back = CODEC.decode(stored("telegram.InputMediaPhoto", state))
        assert back.media == place
        assert b"secret" not in dump({"a": CODEC.encode(back)}).replace(place.encode(), b"")
        for name in ("telegram.InputMediaVideo", "telegram.InputMedia", "telegram.InputSticker"):
            news = dict.fromkeys(("media", "sticker", "thumbnail", "photo", "video", "cover", "thumb"), place)
            for given in ({"api_kwargs": news}, news):
                try:
                    back = CODEC.decode(stored(name, frozen(**given)))
                except DecodeError:
                    continue
                assert not any(isinstance(getattr(back, slot, None), telegram.InputFile) for slot in back.__slots__)


@pytest.mark.parametrize(
    "api_kwargs",
    [
        {"_bot": {"a": 1}, "_frozen": 5, "_id_attrs": [1], "api_kwargs": {"b": 2}, "self": 1, "bot": 2, "__class__": 3},
        {"chat": {"id": "x", "type": {"y": []}}, "date": "now", "entities": [{"type": 1}], "photo": {"a": 1}},
        {"from": [1], "from_user": {"id": 1}, "reply_to_message": {"message_id": 1, "date": 0, "chat": {"id": []}}},
        {"edit_date": 10**18, "video": {"file_id": 5, "duration": []}, "duration": "x"},
    ],
)
def test_hostile_json_stays_json(api_kwargs: dict[str, Any]) -> None:
    back = CODEC.decode(stored("telegram.Message", frozen(message_id=1, api_kwargs=api_kwargs)))

    CODEC.check_usable([back], copied=True)
    assert not has_bot(back)
    assert type(back) is telegram.Message
    assert all(isinstance(one, telegram.PhotoSize) for one in back.photo)
    assert back.chat is None
    assert "_bot" not in api_kwargs or back.api_kwargs["_bot"] == {"a": 1}


@pytest.mark.parametrize("mime_type", [{"a": 1}, ["a"], None, {"deep": [[]]}], ids=repr)
def test_json_that_makes_an_object_of_the_wrong_values_stays_json(mime_type: Any) -> None:
    """PTB's classes take whatever they are given, at every level."""
    video: dict[str, Any] = {"file_id": "f", "file_unique_id": "u", "width": 1, "height": 1, "duration": 1}
    video["mime_type"] = mime_type
    reply = {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}, "video": video}
    news = {"video": video, "reply_to_message": reply}

    back = CODEC.decode(stored("telegram.Message", frozen(message_id=1, chat=CHAT_OPCODES, api_kwargs=news)))

    CODEC.check_usable([back], copied=True)
    if mime_type is not None:
        assert (back.video, back.reply_to_message, dict(back.api_kwargs)) == (None, None, news)


@pytest.mark.parametrize("name", ["os.path", "builtins.eval", "samples.Plain", "telegrams.User", 5])
def test_no_other_class_is_made(name: Any) -> None:
    with pytest.raises(DecodeError):
        CODEC.decode(stored(name, {"a": 1}))


def test_a_class_of_ptb_that_is_no_value_is_a_bare_object() -> None:
    back = CODEC.decode(stored("telegram.Bot", {"token": "x"}))

    assert (type(back), dict(back.api_kwargs)) == (telegram.TelegramObject, {"token": "x"})


def doubled(levels: int) -> bytes:
    """A message that holds a message twice, which holds one twice, and so on."""
    inner = restore("telegram", "telegram.Message", {"message_id": 1})
    for level in range(levels):
        state = {"reply_to_message": inner + pickle.MEMOIZE, "pinned_message": pickle.BINGET + bytes([level])}
        inner = restore("telegram", "telegram.Message", state)
    return inner


@pytest.mark.parametrize("state", [{"of_the_future": doubled(60)}, {"language_code": doubled(60)}])
def test_what_unfolds_without_end_is_refused_before_json_is_made_of_it(state: dict[str, Any]) -> None:
    started = time.process_time()

    with pytest.raises(DecodeError, match="the same parts"):
        CODEC.decode(stored("telegram.User", frozen(id=1, **state)))

    assert time.process_time() - started < 2


@pytest.mark.parametrize("name", OLD)
def test_documents_from_before_versions_were_stored_are_loaded(name: str) -> None:
    kind = name.partition(" of ")[0]
    wanted = {"message": telegram.Message.de_json(MESSAGE, None), "video": telegram.Video("f", "u", 1, 2, 61)}

    back = CODEC.decode(load(base64.b64decode(OLD[name])))["data"]

    assert portrait(back) == portrait(wanted[kind])
    CODEC.check_usable([back], copied=True)


def test_what_is_behind_a_property_is_not_set_unseen() -> None:
    """PTB sets the attribute with an underscore to whatever `api_kwargs` hold, and its property then raises."""
    state = frozen(
        file_id="f", file_unique_id="u", width=1, height=2, api_kwargs={"duration": "x", "start_timestamp": 5}
    )

    back = CODEC.decode(stored("telegram.Video", state, telegram.__version__))

    assert dict(back.api_kwargs) == {"duration": "x", "start_timestamp": 5}
    CODEC.check_usable([back], copied=True)


def test_names_of_attributes_inside_of_json_give_the_same_bytes_once_more() -> None:
    """Python keeps one text for each name of an attribute; JSON that was read has another one."""
    user = telegram.User(1, "x", is_bot=False, api_kwargs={"first_name_": {"first_name": [{"is_bot": "first_name"}]}})
    plain = CODEC.encode([user])

    assert CODEC.encode(CODEC.decode(load(dump({"a": plain}))["a"])) == plain
