"""Documents that a bot has stored itself: values of its own, in one another, and in several places."""

from __future__ import annotations

import collections
import copy
import warnings
from types import SimpleNamespace
from typing import Any, Final

import samples
import telegram
from choices import Choices
from honest_values import HONEST

from ptb_mongo.codec import Codec, dump
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["stored"]

_DEEPEST: Final = 4
_MOST: Final = 1000  # how often one value may stand in the whole
_LARGEST: Final = 200_000  # bytes; few larger ones would take most of the time, and some no server would hold


def stored(choices: Choices, codec: Codec) -> Any:
    """The plain form of an honest value."""
    choices.label = "an honest value"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PTB, about seconds
        return _stored(_value(choices), codec)


def _stored(value: Any, codec: Codec) -> Any:
    try:
        plain = codec.encode(copy.deepcopy(value))
        if codec.may_not_load:  # then it is tried before it is stored
            codec.check_usable(codec.decode(plain), copied=True)
    except EncodeError:  # a type that cannot stand in this place; nothing is stored then
        return None
    except DecodeError as error:
        return None if "unfold" in error.reason else plain
    return plain if len(dump({"data": plain})) < _LARGEST else None


def _value(choices: Choices) -> Any:
    value, most = choices.one(HONEST), _MOST
    for _ in range(choices.below(_DEEPEST)):
        often = min(choices.one((1, 2, 30, 200)), most)
        most //= often
        value = _held(choices, value, often)
    return value


def _held(choices: Choices, value: Any, often: int) -> Any:
    """Something that holds a value, once or often."""
    return choices.one(
        (
            lambda: [value],
            lambda: [value] * often,
            lambda: [(value, number) for number in range(often)],
            lambda: {"a": value, 5: value},
            lambda: telegram.InlineKeyboardButton("x", callback_data=value),
            lambda: telegram.InlineKeyboardMarkup(
                [[telegram.InlineKeyboardButton("x", callback_data=(value, number))] for number in range(often)]
            ),
            lambda: telegram.CallbackQuery("1", telegram.User(1, "x", is_bot=False), "c", data=value),
            lambda: samples.Stateful(value),
            lambda: samples.Reduced([value] * often),
            lambda: samples.Plain(value, value),
            lambda: samples.Row([value] * often),
            lambda: samples.Table(a=value),
            lambda: samples.MishapError("x", value),
            lambda: samples.Letter(value),
            lambda: SimpleNamespace(a=value, b=value),
            lambda: collections.deque([value] * often, 500),
            lambda: collections.defaultdict(samples.Colour, a=value),
        )
    )()
