"""Everything that is stored about one person, as JSON that people can read.

Values have a familiar form: dates in ISO 8601, decimals and large numbers as texts, Telegram objects as in the Bot API,
objects as their attributes. It is made from the stored form: no object is restored, and no class is needed.
"""

from __future__ import annotations

import base64
import datetime as dtm
import json
import math
from collections.abc import Mapping
from typing import Any, Final

import bson
from bson.dbref import DBRef
from bson.decimal128 import Decimal128

from ptb_mongo.codec import TAG, unescape
from ptb_mongo.driver import Driver
from ptb_mongo.driver.decoding import ANYTHING
from ptb_mongo.people.stored import find, lasting
from ptb_mongo.people.subject import KeyParts, Subject, unknown
from ptb_mongo.printable import printable_json

__all__ = ["as_text", "handed_out", "readable"]

_HIDDEN: Final = ("_id", "rev", "revs", "schema")
_BY_TEXT: Final = ("iso", "text")
_DEEPEST: Final = 150
_SAFE: Final = 2**53  # most JSON readers change larger numbers


async def handed_out(driver: Driver, prefix: str, subject: Subject, parts: KeyParts = unknown) -> dict[str, Any]:
    """Everything that is stored about somebody, ready for `json.dumps`.

    Args:
        driver: The database.
        prefix: The beginning of the collections' names.
        subject: The person or chat.
        parts: What is known about the conversation handlers.
    """
    made: dict[str, Any] = {
        "subject": {subject.kind: subject.id},
        "exported_at": dtm.datetime.now(dtm.timezone.utc).isoformat(timespec="seconds"),
    }
    async for one in find(driver, prefix, subject, parts):
        if not lasting([one]):
            continue
        fields = {name: value for name, value in one.document.items() if name not in _HIDDEN}
        entry = {"_id": readable(one.document["_id"]), **readable(fields)}
        made.setdefault(one.collection.removeprefix(prefix), []).append(entry)
    return made


def readable(value: Any, depth: int = 0) -> Any:
    """A stored value in a familiar form."""
    if depth > _DEEPEST:
        return "(nested deeper than this shows)"
    if isinstance(value, Mapping):
        if type(value.get(TAG)) is str:
            return _untagged(value, depth)
        made: dict[str, Any] = {}
        for key, item in value.items():
            name = str(unescape(key))
            made[f"{name} ({key})" if name in made else name] = readable(item, depth + 1)  # 1 and "1" are two keys
        return made
    if isinstance(value, list):
        return [readable(item, depth + 1) for item in value]
    return _scalar(value)


def _untagged(value: Mapping[str, Any], depth: int) -> Any:
    """The value that a tagged form represents; see the table in `codec`."""
    if value[TAG] == "telegram" and "view" in value:
        return readable(value["view"], depth + 1)
    for name in _BY_TEXT:
        if type(value.get(name)) is str:
            return value[name]
    if value[TAG] in {"object", "namedtuple"} or "state" in value:
        inside = value.get("state", value.get("v"))
        return readable(inside, depth + 1)
    if value[TAG] == "enum":
        return readable(value.get("name"), depth + 1)
    if value[TAG] == "bson" and isinstance(value.get("v"), bytes):
        try:
            return readable(bson.decode(value["v"], ANYTHING), depth + 1)
        except Exception:  # noqa: BLE001  (a stranger may have written anything there)
            return _scalar(value["v"])
    if "v" in value:
        return readable(value["v"], depth + 1)
    return {name: readable(item, depth + 1) for name, item in value.items() if name != TAG}


def _scalar(value: Any) -> Any:
    if value is None or type(value) in {bool, str}:
        return value
    if isinstance(value, int):
        return int(value) if abs(value) <= _SAFE else str(int(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dtm.datetime):
        return value.isoformat()
    if isinstance(value, DBRef):
        return readable(value.as_doc())
    if isinstance(value, Decimal128):
        return str(value)
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode()}
    return str(value)


def as_text(made: Mapping[str, Any]) -> str:
    """The same as the text of a file."""
    lines = json.dumps(made, ensure_ascii=False, indent=2).split("\n")  # inside a text, a line feed is escaped
    return "\n".join(map(printable_json, lines))
