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

__all__ = ["KINDS", "parsed"]

Make = Callable[[telegram.Bot], Any]

DATE = 1700000000
USER = {
    "id": 7,
    "is_bot": False,
    "first_name": "Ada",
    "username": "ada",
    "language_code": "en",
    "is_premium": True,
    "can_connect_to_business": False,
    "has_main_web_app": True,
    "has_topics_enabled": True,
}
CHAT = {"id": -1001, "type": "supergroup", "title": "Engines", "is_forum": True, "is_direct_messages": True}
PRIVATE = {"id": 7, "type": "private", "first_name": "Ada"}
FILE = {"file_id": "f", "file_unique_id": "u", "file_size": 1000}
THUMBNAIL = {**FILE, "width": 90, "height": 90}
VIDEO = {
    **FILE,
    "width": 640,
    "height": 480,
    "duration": 61,
    "mime_type": "video/mp4",
    "thumbnail": THUMBNAIL,
    "cover": [THUMBNAIL],
    "start_timestamp": 3,
}
STICKER = {
    **FILE,
    "type": "regular",
    "width": 512,
    "height": 512,
    "is_animated": False,
    "is_video": False,
    "emoji": "🙂",
    "mask_position": {"point": "eyes", "x_shift": 0.5, "y_shift": -0.5, "scale": 1.0},
    "premium_animation": FILE,
}
LOCATION = {"latitude": 1.5, "longitude": -2.25, "live_period": 900, "heading": 10, "horizontal_accuracy": 1.5}
ENTITY = {"type": "text_mention", "offset": 0, "length": 5, "user": USER}
GIFT = {
    "id": "g",
    "sticker": STICKER,
    "star_count": 15,
    "total_count": 100,
    "remaining_count": 9,
    "upgrade_star_count": 25,
}
OPTION = {
    "persistent_id": "0",
    "text": "yes",
    "voter_count": 3,
    "text_entities": [{"type": "bold", "offset": 0, "length": 3}],
}
ADDRESS = {
    "country_code": "GB",
    "state": "",
    "city": "London",
    "street_line1": "1",
    "street_line2": "",
    "post_code": "N1",
}
ORDER = {"name": "Ada", "phone_number": "+44", "email": "a@b.c", "shipping_address": ADDRESS}
PAYMENT = {
    "currency": "XTR",
    "total_amount": 500,
    "invoice_payload": "p",
    "telegram_payment_charge_id": "t",
    "provider_payment_charge_id": "v",
    "order_info": ORDER,
    "subscription_expiration_date": DATE,
    "is_recurring": True,
}
RIGHTS = dict.fromkeys(
    [
        "is_anonymous",
        "can_manage_chat",
        "can_delete_messages",
        "can_manage_video_chats",
        "can_restrict_members",
        "can_promote_members",
        "can_change_info",
        "can_invite_users",
        "can_post_stories",
        "can_edit_stories",
        "can_delete_stories",
        "can_post_messages",
        "can_edit_messages",
        "can_pin_messages",
        "can_manage_topics",
        "can_manage_direct_messages",
    ],
    True,
)
PERMISSIONS = {
    name: index % 2 == 0
    for index, name in enumerate(
        [
            "can_send_messages",
            "can_send_audios",
            "can_send_documents",
            "can_send_photos",
            "can_send_videos",
            "can_send_video_notes",
            "can_send_voice_notes",
            "can_send_polls",
            "can_send_other_messages",
            "can_add_web_page_previews",
            "can_change_info",
            "can_invite_users",
            "can_pin_messages",
            "can_manage_topics",
            "can_edit_tag",
            "can_react_to_messages",
        ]
    )
}
KEYBOARD = {
    "inline_keyboard": [
        [{"text": "a", "callback_data": "b"}, {"text": "c", "url": "https://c.d"}],
        [{"text": "copy", "copy_text": {"text": "copied"}}],
    ]
}
MESSAGE = {"message_id": 5, "date": DATE, "chat": CHAT, "from": USER}
MORE = {
    **MESSAGE,
    "text": "hello",
    "edit_date": DATE + 9,
    "entities": [ENTITY],
    "effect_id": "e",
    "business_connection_id": "b",
    "sender_boost_count": 2,
    "is_from_offline": True,
    "show_caption_above_media": True,
    "link_preview_options": {"is_disabled": True, "url": "https://c.d"},
    "forward_origin": {"type": "user", "sender_user": USER, "date": DATE},
    "reply_to_message": {**MESSAGE, "message_id": 4, "text": "hi", "effect_id": "f"},
    "reply_markup": KEYBOARD,
    "quote": {"text": "h", "position": 0, "is_manual": True},
    "a_field_of_the_future": {"nested": [1, 2.5, None], "more": {"x": "y"}},
}
MEMBER_UPDATE = {
    "chat": CHAT,
    "from": USER,
    "date": DATE,
    "old_chat_member": {"status": "member", "user": USER, "until_date": DATE},
    "new_chat_member": {"status": "restricted", "user": USER, "is_member": True, "until_date": 0, **PERMISSIONS},
    "via_join_request": True,
    "invite_link": {
        "invite_link": "https://t.me/+x",
        "creator": USER,
        "creates_join_request": False,
        "is_primary": False,
        "is_revoked": False,
        "expire_date": DATE,
        "subscription_period": 2592000,
        "subscription_price": 50,
    },
}
POLL = {
    "id": "1",
    "question": "?",
    "total_voter_count": 3,
    "is_closed": False,
    "is_anonymous": True,
    "type": "quiz",
    "allows_multiple_answers": False,
    "allows_revoting": True,
    "members_only": False,
    "options": [OPTION],
    "open_period": 60,
    "close_date": DATE,
    "explanation": "because",
    "explanation_entities": [{"type": "bold", "offset": 0, "length": 3}],
    "question_entities": [{"type": "custom_emoji", "offset": 0, "length": 1, "custom_emoji_id": "9"}],
    "correct_option_id": 0,
    "correct_option_ids": [0],
}
FULL_CHAT = {
    **CHAT,
    "accent_color_id": 1,
    "max_reaction_count": 11,
    "photo": {"small_file_id": "a", "small_file_unique_id": "b", "big_file_id": "c", "big_file_unique_id": "d"},
    "available_reactions": [{"type": "emoji", "emoji": "👍"}, {"type": "paid"}],
    "permissions": PERMISSIONS,
    "message_auto_delete_time": 86400,
    "slow_mode_delay": 30,
    "birthdate": {"day": 1, "month": 2},
    "bio": "b",
    "business_location": {"address": "x", "location": LOCATION},
    "pinned_message": {**MESSAGE, "text": "pinned"},
    "location": {"location": LOCATION, "address": "y"},
    "emoji_status_expiration_date": DATE,
    "accepted_gift_types": {
        "unlimited_gifts": True,
        "limited_gifts": True,
        "unique_gifts": False,
        "premium_subscription": False,
        "gifts_from_channels": True,
    },
}
GIVEAWAY = {
    "chats": [CHAT],
    "winners_selection_date": DATE,
    "winner_count": 2,
    "only_new_members": True,
    "country_codes": ["GB"],
    "prize_star_count": 100,
}
HOURS = {"time_zone_name": "Europe/London", "opening_hours": [{"opening_minute": 0, "closing_minute": 600}]}
TRANSACTION = {
    "id": "s",
    "amount": 5,
    "nanostar_amount": 7,
    "date": DATE,
    "source": {
        "type": "user",
        "transaction_type": "invoice_payment",
        "user": USER,
        "invoice_payload": "p",
        "subscription_period": 2592000,
    },
}


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
