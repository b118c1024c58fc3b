"""What PTB's version has to do with stored values: the version itself, and the classes and members that it lacks."""

from __future__ import annotations

from typing import Any, Final

import telegram

from ptb_mongo.codec.parts import enum_member
from ptb_mongo.codec.trust import Trust, class_name
from ptb_mongo.errors import DecodeError

__all__ = ["VERSION", "ancestor_of", "class_of", "member_or_value", "stands_for_member"]

VERSION: Final = telegram.__version__
"""What is stored beside Telegram objects: the version of PTB that their attributes are of."""

_FORMERLY: Final = {"telegram.ChatFullInfo": "telegram.Chat"}  # which was one class until 21.2


def class_of(name: object, trust: Trust) -> type:
    """The class of a stored name; one of PTB's that this version lacks is a bare `TelegramObject`.

    Raises:
        DecodeError: If it is not trusted.
    """
    try:
        return trust.resolve(name)
    except DecodeError:
        if type(name) is not str or not name.startswith("telegram."):
            raise
        return trust.resolve(_FORMERLY[name]) if name in _FORMERLY else telegram.TelegramObject


def member_or_value(trust: Trust, name: object, key: object, value: object) -> Any:
    """The member of an enum; of one of PTB's that this version lacks the value, which is equal to it.

    Raises:
        DecodeError: If it is not trusted, or there is no such member, nor a value.
    """
    try:
        return enum_member(trust.resolve(name), key)
    except DecodeError:
        if stands_for_member(name, value):
            return value
        raise


def stands_for_member(name: object, value: object) -> bool:
    """Whether a value is equal to the member of one of PTB's enums that it was stored beside."""
    return type(name) is str and name.startswith("telegram.constants.") and type(value) in {str, int}


def ancestor_of(cls: type) -> str | None:
    """The class of PTB that one of its classes is a kind of, for a version that lacks that kind."""
    if not cls.__module__.startswith("telegram."):
        return None
    names = (class_name(owner) for owner in cls.__mro__[1 : cls.__mro__.index(telegram.TelegramObject)])
    return next((name for name in names if vars(telegram).get(name.removeprefix("telegram."))), None)
