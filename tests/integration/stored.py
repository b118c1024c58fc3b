"""A user's document: its content before the bot starts, a service's edits, and its content afterwards."""

from __future__ import annotations

from typing import Any

from bots import USER

from ptb_mongo.codec import Codec

_PLAIN = Codec()


def put(database: Any, data: dict[str, Any], codec: Codec = _PLAIN) -> None:
    database.user_data.insert_one({"_id": USER, "data": codec.encode(data)})


def data_in(database: Any, codec: Codec = _PLAIN) -> Any:
    document = database.user_data.find_one({"_id": USER})
    return codec.decode(document["data"]) if document and "data" in document else None


def edit(database: Any, update: Any) -> None:
    database.user_data.update_one({"_id": USER}, update)
