"""The classes of the standard library and of `bson` that may be stored and restored, whoever names them."""

from __future__ import annotations

import enum
import importlib
from typing import Final

__all__ = ["standard_classes", "standard_enum"]

# Types whose construction from plain data runs no code but their own, in time and memory that is bounded by
# that data. `range` and `Fraction` are missing on purpose (they expand); the codec has forms of their own.
_STANDARD: Final = {
    "bson.binary": "Binary",
    "bson.code": "Code",
    "bson.datetime_ms": "DatetimeMS",
    "bson.dbref": "DBRef",
    "bson.decimal128": "Decimal128",
    "bson.int64": "Int64",
    "bson.max_key": "MaxKey",
    "bson.min_key": "MinKey",
    "bson.objectid": "ObjectId",
    "bson.regex": "Regex",
    "bson.timestamp": "Timestamp",
    "builtins": "complex slice object int float str bytes bool list dict set tuple frozenset bytearray",
    "collections": "Counter OrderedDict defaultdict deque",
    "datetime": "date datetime time timedelta timezone",
    "decimal": "Decimal",
    "ipaddress": "IPv4Address IPv4Interface IPv4Network IPv6Address IPv6Interface IPv6Network",
    "pathlib": "Path PosixPath PurePath PurePosixPath PureWindowsPath WindowsPath",
    "types": "SimpleNamespace",
    "uuid": "UUID SafeUUID",
}

# Enums, whose members are there already: nothing is made of what a document says. Looked up when they are met, as not
# each Python has all of them, and a program may use none.
_ENUMS: Final = {
    f"{module}.{name}"
    for module, names in {
        "calendar": "Day Month",
        "http": "HTTPMethod HTTPStatus",
        "re": "RegexFlag",
        "signal": "Handlers Sigmasks Signals",
        "socket": "AddressFamily SocketKind",
        "ssl": "TLSVersion",
        "uuid": "SafeUUID",
    }.items()
    for name in names.split()
}


def standard_classes() -> dict[str, type]:
    """The classes, by their names."""
    return {
        f"{module}.{name}": getattr(importlib.import_module(module), name)
        for module, names in _STANDARD.items()
        for name in names.split()
    }


def standard_enum(name: str) -> type | None:
    """An enum of the standard library; `None` if this Python lacks it, or it is not one of those that are let in."""
    if name not in _ENUMS:
        return None
    module, _, attribute = name.rpartition(".")
    found = getattr(importlib.import_module(module), attribute, None)
    return found if isinstance(found, type) and issubclass(found, enum.Enum) else None
