"""What Telegram answers: API JSON, with fields that not every version of python-telegram-bot knows."""

from __future__ import annotations

__all__ = [
    "CHAT",
    "DATE",
    "ENTITY",
    "FILE",
    "FULL_CHAT",
    "GIFT",
    "GIVEAWAY",
    "HOURS",
    "KEYBOARD",
    "LOCATION",
    "MEMBER_UPDATE",
    "MESSAGE",
    "MORE",
    "ORDER",
    "PAYMENT",
    "PERMISSIONS",
    "POLL",
    "PRIVATE",
    "RIGHTS",
    "STICKER",
    "THUMBNAIL",
    "TRANSACTION",
    "USER",
    "VIDEO",
]

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
