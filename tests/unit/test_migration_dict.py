"""The JSON of `DictPersistence` is read as PTB itself reads it."""

from __future__ import annotations

import json

import pytest
from telegram.ext import DictPersistence

from ptb_mongo import DecodeError
from ptb_mongo.migration import read_dict

KINDS = ("user_data", "chat_data", "bot_data", "conversations", "callback_data")


async def filled() -> DictPersistence:
    """What a bot has left in a `DictPersistence`."""
    persistence = DictPersistence()
    await persistence.update_user_data(1, {"name": "Ada", 5: ["x", None, 1.5]})
    await persistence.update_chat_data(-5, {"visits": 2})
    await persistence.update_bot_data({"admins": [1]})
    await persistence.update_conversation("order", (1, 1), "menu")
    await persistence.update_callback_data(([("uuid", 1.5, {"button": {"buy": 1}})], {"query": "uuid"}))
    return persistence


@pytest.mark.parametrize("suffix", ["", "_json"])
@pytest.mark.parametrize("as_text", [True, False], ids=["texts", "objects"])
async def test_everything_is_read(tmp_path, suffix, as_text):
    persistence = await filled()
    texts = {f"{kind}{suffix}": getattr(persistence, f"{kind}_json") for kind in KINDS}
    file = tmp_path / "bot.json"
    file.write_text(json.dumps(texts if as_text else {kind: json.loads(value) for kind, value in texts.items()}))

    data = read_dict(file)

    assert data.user_data == {1: {"name": "Ada", 5: ["x", None, 1.5]}}
    assert data.chat_data == {-5: {"visits": 2}}
    assert data.bot_data == {"admins": [1]}
    assert data.conversations == {"order": {(1, 1): "menu"}}
    assert data.callback_data == ([("uuid", 1.5, {"button": {"buy": 1}})], {"query": "uuid"})


def test_a_part_of_it_is_enough(tmp_path):
    (tmp_path / "bot.json").write_text('{"user_data": {"1": {"a": 1}}, "chat_data": null, "callback_data": "null"}')

    data = read_dict(tmp_path / "bot.json")

    assert (data.user_data, data.chat_data, data.bot_data, data.callback_data) == ({1: {"a": 1}}, {}, None, None)


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"users": {}}', '{"user_data": {"Ada": {}}}', '{"user_data": "{"}', '{"callback_data": [1]}'],
)
def test_something_else_is_refused_with_the_files_name(tmp_path, content):
    (tmp_path / "bot.json").write_text(content)

    with pytest.raises(DecodeError, match=r"bot\.json: it is"):
        read_dict(tmp_path / "bot.json")
