"""Kinds of Telegram objects: how each is made, by whatever version of python-telegram-bot is imported.

Most are API JSON that PTB parses, so that each version makes of it what it knows. A kind of a class that a version
lacks names what that version makes of it; the last resort is a bare `TelegramObject`, with everything in `api_kwargs`.
"""

from __future__ import annotations

import copy
import datetime as dtm
import enum
from collections.abc import Callable
from typing import Any

import owned
import telegram
import telegram.constants
import telegram.error
import telegram.ext
from api_answers import (
    CHAT,
    DATE,
    ENTITY,
    FILE,
    FULL_CHAT,
    GIFT,
    GIVEAWAY,
    HOURS,
    KEYBOARD,
    LOCATION,
    MEMBER_UPDATE,
    MESSAGE,
    MORE,
    ORDER,
    PAYMENT,
    PERMISSIONS,
    POLL,
    PRIVATE,
    RIGHTS,
    STICKER,
    THUMBNAIL,
    TRANSACTION,
    USER,
    VIDEO,
)

__all__ = ["KINDS", "parsed"]

Make = Callable[[telegram.Bot], Any]


def parsed(data: dict[str, Any], *names: str) -> Make:
    """Parses API JSON as the first of these classes that there is."""

    def make(bot: telegram.Bot) -> Any:
        cls = next((vars(telegram)[name] for name in names if name in vars(telegram)), None)
        if cls is None:
            obj = telegram.TelegramObject(api_kwargs=data)
            obj.set_bot(bot)
            obj._freeze()
            return obj
        return cls.de_json(copy.deepcopy(data), bot)  # old versions put objects into what they parse

    make.exists = names[0] in vars(telegram)  # type: ignore[attr-defined]
    return make


def message(**fields: Any) -> Make:
    return parsed(MESSAGE | fields, "Message")


def one_of(cls: type[enum.Enum], name: str) -> Make:
    """A member of one of PTB's enums; for a version that lacks it, the text that it is."""

    def make(_: telegram.Bot) -> Any:
        return cls.__members__.get(name, name.lower())

    make.exists = name in cls.__members__  # type: ignore[attr-defined]
    return make


def _of_the_bot(obj: Any, bot: telegram.Bot) -> Any:
    obj.set_bot(bot)
    return obj


KINDS: dict[str, Make] = {
    "text message": parsed(MORE, "Message"),
    "photo": message(photo=[THUMBNAIL, THUMBNAIL], caption="c", caption_entities=[ENTITY], has_media_spoiler=True),
    "video message": message(video=VIDEO, caption="c"),
    "audio message": message(audio={**FILE, "duration": 200, "performer": "p", "title": "t", "thumbnail": THUMBNAIL}),
    "voice message": message(voice={**FILE, "duration": 5}),
    "video note": message(video_note={**FILE, "duration": 5, "length": 240}),
    "animation": message(animation={**VIDEO, "file_name": "a.gif"}),
    "document": message(
        document={**FILE, "thumbnail": THUMBNAIL, "file_name": "x.pdf", "mime_type": "application/pdf"}
    ),
    "sticker message": message(sticker=STICKER),
    "paid media": message(
        paid_media={
            "star_count": 5,
            "paid_media": [
                {"type": "preview", "width": 1, "height": 2, "duration": 3},
                {"type": "photo", "photo": [THUMBNAIL]},
                {"type": "video", "video": VIDEO},
            ],
        }
    ),
    "gift message": message(gift={"gift": GIFT, "owned_gift_id": "o", "text": "t", "entities": [ENTITY]}),
    "giveaway": message(giveaway=GIVEAWAY),
    "video chat": message(video_chat_ended={"duration": 61}),
    "auto delete": message(message_auto_delete_timer_changed={"message_auto_delete_time": 60}),
    "checklist": message(checklist={"title": "t", "tasks": [{"id": 1, "text": "do it", "completion_date": DATE}]}),
    "background": message(
        chat_background_set={"type": {"type": "fill", "fill": {"type": "solid", "color": 255}, "dark_theme_dimming": 5}}
    ),
    "story and shared": message(
        story={"chat": CHAT, "id": 3},
        users_shared={
            "request_id": 1,
            "user_ids": [7],
            "users": [{"user_id": 7, "first_name": "Ada", "photo": [THUMBNAIL]}],
        },
        chat_shared={"request_id": 1, "chat_id": 5, "title": "t"},
        boost_added={"boost_count": 1},
        refunded_payment={
            "currency": "XTR",
            "total_amount": 5,
            "invoice_payload": "p",
            "telegram_payment_charge_id": "t",
        },
    ),
    "update": parsed({"update_id": 1, "message": MORE}, "Update"),
    "update of the future": parsed(
        {"update_id": 1, "purchased_paid_media": {"from": USER, "paid_media_payload": "p"}}, "Update"
    ),
    "callback query": parsed(
        {"id": "9", "from": USER, "chat_instance": "x", "message": {**MESSAGE, "text": "t"}, "data": "d"},
        "CallbackQuery",
    ),
    "inaccessible message": parsed(
        {
            "id": "9",
            "from": USER,
            "chat_instance": "x",
            "message": {"message_id": 1, "date": 0, "chat": CHAT},
            "data": "d",
        },
        "CallbackQuery",
    ),
    "user": parsed(USER, "User"),
    "private chat": parsed(PRIVATE, "Chat"),
    "group": parsed(CHAT, "Chat"),
    "chat with everything": parsed(FULL_CHAT, "Chat"),
    "full chat": parsed(FULL_CHAT, "ChatFullInfo", "Chat"),
    "inline keyboard": parsed(KEYBOARD, "InlineKeyboardMarkup"),
    "reply keyboard": lambda _: telegram.ReplyKeyboardMarkup(
        [["a", telegram.KeyboardButton("b", request_contact=True)]], is_persistent=True, input_field_placeholder="p"
    ),
    "keyboard that asks for users": lambda _: telegram.ReplyKeyboardMarkup.from_button(
        telegram.KeyboardButton(
            "b",
            request_users=telegram.KeyboardButtonRequestUsers(1, max_quantity=3),
            request_poll=telegram.KeyboardButtonPollType("quiz"),
        )
    ),
    "force reply": lambda _: telegram.ForceReply(selective=True),
    "poll": parsed(POLL, "Poll"),
    "poll answer": parsed(
        {"poll_id": "1", "user": USER, "option_ids": [0, 2], "option_persistent_ids": ["0", "2"]}, "PollAnswer"
    ),
    "location": parsed(LOCATION, "Location"),
    "venue": parsed({"location": LOCATION, "title": "t", "address": "a", "foursquare_id": "f"}, "Venue"),
    "sticker": parsed(STICKER, "Sticker"),
    "sticker set": parsed(
        {
            "name": "n",
            "title": "t",
            "sticker_type": "regular",
            "stickers": [STICKER],
            "is_animated": True,
            "is_video": False,
        },
        "StickerSet",
    ),
    "gift": parsed(GIFT, "Gift"),
    "file": parsed({**FILE, "file_path": "photos/file_1.jpg"}, "File"),
    "video": parsed(VIDEO, "Video"),
    "payment": parsed(PAYMENT, "SuccessfulPayment"),
    "invoice": parsed(
        {"title": "t", "description": "d", "start_parameter": "s", "currency": "XTR", "total_amount": 1}, "Invoice"
    ),
    "order": parsed(ORDER, "OrderInfo"),
    "stars": parsed(TRANSACTION, "StarTransaction"),
    "administrator": parsed({"status": "administrator", "user": USER, "can_be_edited": True, **RIGHTS}, "ChatMember"),
    "member": parsed({"status": "member", "user": USER, "until_date": DATE}, "ChatMember"),
    "banned": parsed({"status": "kicked", "user": USER, "until_date": DATE}, "ChatMember"),
    "member update": parsed(MEMBER_UPDATE, "ChatMemberUpdated"),
    "invite link": parsed(MEMBER_UPDATE["invite_link"], "ChatInviteLink"),
    "join request": parsed(
        {"chat": CHAT, "from": USER, "date": DATE, "user_chat_id": 7, "bio": "b"}, "ChatJoinRequest"
    ),
    "permissions": parsed(PERMISSIONS, "ChatPermissions"),
    "paid reaction": parsed({"type": "paid"}, "ReactionType"),
    "class of a paid reaction": parsed({"type": "paid"}, "ReactionTypePaid", "ReactionType"),
    "reaction": parsed({"type": "emoji", "emoji": "👍"}, "ReactionType"),
    "reactions": parsed(
        {
            "chat": CHAT,
            "message_id": 5,
            "date": DATE,
            "user": USER,
            "old_reaction": [{"type": "paid"}],
            "new_reaction": [{"type": "emoji", "emoji": "👍"}],
        },
        "MessageReactionUpdated",
    ),
    "business": parsed(
        {
            "id": "b",
            "user": USER,
            "user_chat_id": 7,
            "date": DATE,
            "is_enabled": True,
            "can_reply": True,
            "rights": {"can_reply": True},
        },
        "BusinessConnection",
    ),
    "opening hours": parsed(HOURS, "BusinessOpeningHours"),
    "web app": lambda _: telegram.MenuButtonWebApp("x", telegram.WebAppInfo("https://x.y")),
    "command": lambda _: telegram.BotCommand("start", "Start"),
    "command scope": lambda _: telegram.BotCommandScopeChat(5),
    "input media": lambda _: telegram.InputMediaVideo(
        "file id", caption="c", duration=61, caption_entities=[telegram.MessageEntity("bold", 0, 1)], parse_mode="HTML"
    ),
    "input contact": lambda _: telegram.InlineQueryResultArticle("1", "t", telegram.InputTextMessageContent("x")),
    "link preview": lambda _: telegram.LinkPreviewOptions(url="https://x.y"),
    "photos": parsed({"total_count": 1, "photos": [[THUMBNAIL, THUMBNAIL]]}, "UserProfilePhotos"),
    "rights": parsed(RIGHTS | {"can_manage_tags": True}, "ChatAdministratorRights"),
    "forum topic": parsed(
        {"message_thread_id": 1, "name": "n", "icon_color": 5, "is_name_implicit": True}, "ForumTopic"
    ),
    "subclass of a message": lambda bot: _of_the_bot(
        owned.Letter(
            5, dtm.datetime(2024, 1, 1, tzinfo=owned.ZONE), telegram.Chat.de_json(CHAT, bot), {"seal": (1, 2)}
        ),
        bot,
    ),
    "subclass of a user": lambda _: owned.Member(7, "Ada", False, 5),
    "object of one's own": lambda bot: owned.Note(
        telegram.Message.de_json(MORE, bot), [telegram.User.de_json(USER, bot)]
    ),
    "button with an object": lambda bot: telegram.InlineKeyboardMarkup.from_button(
        telegram.InlineKeyboardButton("x", callback_data=owned.Note(telegram.Video.de_json(VIDEO, bot), [{3, 1}]))
    ),
    "query with an object": lambda bot: telegram.CallbackQuery(
        "9", telegram.User.de_json(USER, bot), "x", data=owned.Stateful(telegram.Video.de_json(VIDEO, None))
    ),
    "invalid data": lambda _: telegram.InlineKeyboardMarkup.from_button(
        telegram.InlineKeyboardButton("x", callback_data=telegram.ext.InvalidCallbackData("uuid"))
    ),
    "set of users": lambda _: {telegram.User.de_json(USER, None), telegram.User(8, "Bob", False)},
    "dict of users": lambda bot: {telegram.User.de_json(USER, bot): telegram.Chat.de_json(CHAT, bot)},
    "error": lambda _: telegram.error.BadRequest("chat not found"),
    "retry after": lambda _: telegram.error.RetryAfter(30),
    "chat migrated": lambda _: telegram.error.ChatMigrated(-5),
    "constant": lambda _: telegram.constants.ChatType.GROUP,
    "constant of the future": one_of(telegram.constants.MessageType, "PAID_MEDIA"),
}
"""What is stored by one version and loaded by another, by its name."""
