"""The forms of values that run no code when they are made, beside those of the encoder's own: one table of both ways.

The same forms stand in our pickles, where what is inside of them is pickled instead of encoded.
"""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any, Final

from ptb_mongo.codec.builtin_values import (
    ADDRESSES,
    PATHS,
    address,
    address_form,
    complex_form,
    complex_number,
    path,
    path_form,
    slice_form,
    slice_of,
)
from ptb_mongo.codec.fields import Decode, Encode, Fields
from ptb_mongo.codec.iterators import ITERATORS, iterator, iterator_form
from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.numbers import array_form, array_of, numpy_array, numpy_form, numpy_scalar
from ptb_mongo.codec.pendulum_values import PENDULUM, pendulum_form
from ptb_mongo.codec.zones import ZONES, zone_form
from ptb_mongo.errors import DecodeError

__all__ = ["INERT", "inert_form", "made_of_form", "newer_form"]

_Form = Callable[[Any, Encode], Fields | None]


def _zone_form(value: Any, _: Encode) -> Fields | None:
    return zone_form(value)


_LIBRARIES: Final[dict[str, _Form]] = {
    **dict.fromkeys(("pytz", "dateutil", "bson"), _zone_form),
    "pendulum": pendulum_form,
    "numpy": numpy_form,
}
"""By the first part of the name of a class's module; a library is not imported to be looked at."""

_NEWER: Final[dict[type, _Form]] = {**dict.fromkeys(ITERATORS, iterator_form), array.array: array_form}
_BY_TYPE: Final[dict[type, _Form]] = {
    **_NEWER,
    **dict.fromkeys(PATHS, path_form),
    **dict.fromkeys(ADDRESSES.values(), address_form),
    complex: complex_form,
    slice: slice_form,
}

INERT: Final[dict[str, Callable[[Fields, Decode], Any]]] = {
    **ZONES,
    **PENDULUM,
    **dict.fromkeys(ADDRESSES, address),
    "path": path,
    "complex": complex_number,
    "slice": slice_of,
    "array": array_of,
    "iterator": iterator,
    "numpy": numpy_scalar,
    "ndarray": numpy_array,
}
"""How each value is made, by its tag."""


def inert_form(value: Any, encode: Encode) -> Fields | None:
    """The form of a value, found by its exact type or its library; `None` if there is none.

    Args:
        value: The value.
        encode: Encodes what is inside of it.

    Raises:
        EncodeError: If it is one of a kind that has a form, but would not come back from it.
    """
    return _found(_BY_TYPE, value, encode)


def newer_form(value: Any, encode: Encode) -> Fields | None:
    """The same in a pickle, where paths, addresses and the like have always been described by their classes."""
    return _found(_NEWER, value, encode)


def _found(by_type: dict[type, _Form], value: Any, encode: Encode) -> Fields | None:
    cls = type(value)
    form = by_type.get(cls) or _LIBRARIES.get(cls.__module__.partition(".")[0])
    return None if form is None else form(value, encode)


def made_of_form(tagged: Any) -> Any:
    """The value of a form in which all that is inside is made already, as in a pickle.

    Raises:
        DecodeError: If it is none.
    """
    tag = tagged.get(TAG) if type(tagged) is dict else None
    if type(tag) is not str or tag not in INERT:
        raise DecodeError("the pickle uses an unknown form")
    return INERT[tag](tagged, lambda made: made)
