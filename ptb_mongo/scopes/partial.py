"""Objects with a part that cannot be stored: everything else is saved and refreshed as usual.

In the plain form of such an object, that part is replaced by what is stored there, so that it counts as unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ptb_mongo.codec import TAG, escape
from ptb_mongo.errors import EncodeError
from ptb_mongo.replica.values import Document

__all__ = ["Plain", "part_of", "with_parts"]


class Plain(NamedTuple):
    """The plain form of an object.

    Attributes:
        body: The document.
        error: Why a part of the object could not be stored; `None` if all of it could.
        left_out: The stored names of the keys whose values could not be stored.
    """

    body: Document
    error: EncodeError | None = None
    left_out: tuple[str, ...] = ()


def part_of(obj: Any, stored: Mapping[str, Any], encode: Callable[[Any], Document], error: EncodeError) -> Plain:
    """The plain form of a dict with a part that cannot be stored.

    Args:
        obj: The object.
        stored: The fields that are stored now.
        encode: Returns the plain form of an object that can be stored.
        error: Why `obj` cannot be stored.

    Raises:
        EncodeError: `error`, if the object is not a dict, or if a key that is not text gives it a different form.
    """
    if type(obj) is not dict:
        raise error
    fields: Document = {}
    left_out: list[str] = []
    for key, value in obj.items():
        try:
            one = encode({key: value})["data"]
        except EncodeError:
            if type(key) is not str:
                continue
            if (name := escape(key)) is None:
                raise error from None
            left_out.append(name)
            one = {name: stored[name]} if name in stored else {}
        if TAG in one:
            raise error
        fields.update(one)
    return Plain({"data": fields}, error, tuple(left_out))


def with_parts(body: Document, other: Document, names: tuple[str, ...]) -> Document:
    """A document in which some fields of the data are taken from another one."""
    if not names:
        return body
    fields, others = {**body["data"]}, other["data"]
    for name in names:
        if name in others:
            fields[name] = others[name]
        else:
            fields.pop(name, None)
    return {**body, "data": fields}
