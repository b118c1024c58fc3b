"""Writes all kinds of objects, or loads what other versions have written, with the version of PTB that is imported.

`run.py` starts one of these for each version; it is no test by itself.
"""

from __future__ import annotations

import copy
import datetime as dtm
import json
import pathlib
import sys
import types
import warnings
from collections.abc import Iterator
from typing import Any

warnings.simplefilter("ignore")  # old versions, on a new Python

import bson  # noqa: E402
import kinds  # noqa: E402
import owned  # noqa: E402
import telegram  # noqa: E402
import telegram.error  # noqa: E402

from ptb_mongo.codec import OPTIONS, Codec, dump, load  # noqa: E402
from ptb_mongo.errors import DocumentError  # noqa: E402

BOT = telegram.Bot("123456:a-secret-token")
CODEC = Codec(trusted=[owned.__name__], bot=lambda: BOT)
CACHES = frozenset(
    {"_bot", "_credentials", "_effective_user", "_effective_chat", "_effective_message", "_effective_sender"}
)


def main() -> None:
    """`write FOLDER`, or `load FOLDER`: which prints what it found as JSON."""
    action, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    folder.mkdir(exist_ok=True)
    own = folder / f"{telegram.__version__}.bson"
    if action == "write":
        own.write_bytes(bson.encode({"objects": dict(written())}))
    else:
        found = {path.stem: dict(loaded(path)) for path in sorted(folder.glob("*.bson"))}
        print(json.dumps(found))  # noqa: T201  (it is how a worker speaks)


def written() -> Iterator[tuple[str, bytes]]:
    """Each kind that this version has, stored."""
    for name, make in kinds.KINDS.items():
        if getattr(make, "exists", True):
            yield name, dump({"data": CODEC.encode(make(BOT))})


def loaded(path: pathlib.Path) -> Iterator[tuple[str, str]]:
    """What is wrong with each object in a file; nothing, if it is as this version would have made it."""
    for name, raw in bson.decode(path.read_bytes(), OPTIONS)["objects"].items():
        try:
            yield name, wrong_with(bytes(raw), kinds.KINDS[name](BOT))
        except DocumentError as error:
            yield name, f"quarantined: {error}"
        except Exception as error:  # noqa: BLE001  (whatever an attribute that cannot be read raises)
            yield name, f"{type(error).__name__}: {error}"


def wrong_with(raw: bytes, wanted: Any) -> str:
    """How a stored object differs from that which this version makes."""
    value = CODEC.decode_body(raw, load(raw))["data"]
    if CODEC.doubtful:
        CODEC.check_usable(value, copied=True)
    if found := next(differences(value, wanted), None):
        return found
    if (
        telegram.TelegramObject in type(value).__mro__
        and value._id_attrs
        and value != wanted
        and "InvalidCallbackData" not in str(value)
    ):
        return "it is not equal"
    again = dump({"data": CODEC.encode(value)})
    if CODEC.may_not_load:
        CODEC.check_usable(CODEC.decode(load(again))["data"], copied=True)
    if dump({"data": CODEC.encode(copy.deepcopy(value))}) != again:
        return "a copy is stored as something else"
    if dump(CODEC.encode(CODEC.decode(load(again)))) != again:
        return "it is stored as something else once more"
    return ""


def differences(found: Any, wanted: Any, path: str = "") -> Iterator[str]:  # noqa: C901  (one kind of value after the other)
    """Where two values differ, in type or in what they hold."""
    if type(found) is not type(wanted):
        yield f"{path} is a {type(found).__name__}, not a {type(wanted).__name__}"
    elif isinstance(found, (dict, types.MappingProxyType)):
        if found.keys() != wanted.keys():
            yield f"{path} has too much: {set(found) - set(wanted)}, and lacks {set(wanted) - set(found)}"[:300]
        for key, item in found.items():
            yield from differences(item, wanted.get(key), f"{path}.{key if type(key) is str else '?'}")
    elif isinstance(found, (list, tuple, set, frozenset)):
        if len(found) != len(wanted):
            yield f"{path} has {len(found)} elements, not {len(wanted)}"
        in_order = isinstance(found, (list, tuple))
        pairs = (
            zip(found, wanted, strict=False)
            if in_order
            else zip(sorted(found, key=repr), sorted(wanted, key=repr), strict=False)
        )
        for index, (one, other) in enumerate(pairs):
            yield from differences(one, other, f"{path}.{index}")
    elif isinstance(found, (telegram.TelegramObject, telegram.error.TelegramError, *OWN)):
        if found is not wanted:
            yield from differences(attributes(found), attributes(wanted), path)
    elif found != wanted or (isinstance(found, dtm.datetime) and found.utcoffset() != wanted.utcoffset()):
        yield f"{path} is {found!r:.60}, not {wanted!r:.60}"


OWN = tuple(vars(owned)[name] for name in owned.__all__ if isinstance(vars(owned)[name], type))


def attributes(obj: Any) -> dict[str, Any]:
    """All that an object holds, and what its properties say."""
    if isinstance(obj, telegram.Bot):
        return {"is the bot": obj is BOT}
    slots = [slot for cls in type(obj).__mro__ for slot in vars(cls).get("__slots__", ())]
    names = sorted({*slots, *getattr(obj, "__dict__", {})} - CACHES - {"__dict__", "__weakref__"})
    found = {name: getattr(obj, name, "not set") for name in names}
    if isinstance(obj, BaseException):
        found |= {"args": obj.args, "retry_after": getattr(obj, "retry_after", None)}
    if isinstance(obj, telegram.TelegramObject):
        found |= {f"property {name}": getattr(obj, name) for name in names_of_periods(type(obj))}
        if type(obj).__module__.startswith("telegram."):
            found["api_kwargs"] = without_nothing(obj.api_kwargs)
        try:
            found["bot"] = obj.get_bot() is BOT or obj.get_bot()
        except RuntimeError:
            found["bot"] = None
    return found


def without_nothing(value: Any) -> Any:
    """JSON without what is not there, which PTB leaves out of a `to_dict()` or adds; a few dates PTB has parsed."""
    if isinstance(value, (dict, types.MappingProxyType)):
        return {key: without_nothing(item) for key, item in value.items() if item not in (None, False, [])}
    if isinstance(value, dtm.datetime):
        return int(value.timestamp())
    return list(map(without_nothing, value)) if type(value) is list else value


def names_of_periods(cls: type) -> list[str]:
    """The properties that stand for an attribute of the same name with an underscore."""
    return [name for name, item in vars(cls).items() if isinstance(item, property) and f"_{name}" in vars(cls)]


if __name__ == "__main__":
    main()
