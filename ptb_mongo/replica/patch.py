"""Brings changes into a live object in place, so that whoever holds it, or a dict inside it, sees them.

Nothing here waits: between reading the live object and changing it no other handler runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ptb_mongo.codec import unescape
from ptb_mongo.codec.objects import attributes_of, is_plain, remove_attribute, set_attribute
from ptb_mongo.replica.values import MISSING, Document, fields_inside, same

__all__ = ["bring_into"]

Decode = Callable[[Any], Any]


def bring_into(live: Any, before: Any, after: Any, decode: Decode) -> None:
    """Changes a live object from one version to another; what is equal in both is not touched.

    Args:
        live: The object; a dict, an object of a dataclass or of a plain class, or one of those inside.
        before: What it encodes to now.
        after: What it shall encode to.
        decode: Makes a value of its plain form.
    """
    if same(before, after):
        return
    old, new = fields_inside(before), fields_inside(after)
    if old is not None and new is not None and old[0] == new[0]:
        if isinstance(live, dict):
            _dict_fields(live, old[1], new[1], decode)
            return
        if is_plain(type(live)):
            _attributes(live, old[1], new[1], decode)
            return
    _whole(live, decode(after))


def _dict_fields(live: dict[Any, Any], before: Document, after: Document, decode: Decode) -> None:
    for name in before:
        if name not in after:
            live.pop(unescape(name), None)
    for name, value in after.items():
        key = unescape(name)
        inner = live.get(key, MISSING)
        if inner is MISSING or not _descend(inner, before.get(name, MISSING), value, decode):
            live[key] = decode(value)
    if list(before) != list(after):
        for name in after:  # the order of keys is part of the value
            key = unescape(name)
            live[key] = live.pop(key)


def _attributes(live: Any, before: Document, after: Document, decode: Decode) -> None:
    own = attributes_of(live)
    for name in before:
        if name not in after:
            remove_attribute(live, str(unescape(name)))
    for name, value in after.items():
        attribute = str(unescape(name))
        inner = own.get(attribute, MISSING)
        if inner is MISSING or not _descend(inner, before.get(name, MISSING), value, decode):
            set_attribute(live, attribute, decode(value))


def _descend(inner: Any, before: Any, after: Any, decode: Decode) -> bool:
    """Changes what lies inside in place, where that is possible; `False` if it must be replaced."""
    if same(before, after):
        return True
    old, new = fields_inside(before), fields_inside(after)
    if old is None or new is None or old[0] != new[0]:
        return False
    if before.get("cls") != after.get("cls") or not (isinstance(inner, dict) or is_plain(type(inner))):
        return False
    bring_into(inner, before, after, decode)
    return True


def _whole(live: Any, value: Any) -> None:
    """Takes over everything from another object of the same kind."""
    if isinstance(live, dict):
        live.clear()
        live.update(value)
        return
    for name in attributes_of(live):
        remove_attribute(live, name)
    for name, attribute in attributes_of(value).items():
        set_attribute(live, name, attribute)
