"""Values of the standard library that text or a few numbers say all of: paths, addresses, complex numbers, slices."""

from __future__ import annotations

import ipaddress
import pathlib
from typing import Any, Final

from ptb_mongo.codec.fields import Decode, Encode, Fields, field
from ptb_mongo.codec.keys import TAG
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = [
    "ADDRESSES",
    "PATHS",
    "address",
    "address_form",
    "complex_form",
    "complex_number",
    "path",
    "path_form",
    "slice_form",
    "slice_of",
]

PATHS: Final[dict[type, dict[str, str]]] = {
    pathlib.PurePosixPath: {"pure": "posix"},
    pathlib.PureWindowsPath: {"pure": "windows"},
    type(pathlib.Path()): {},
}
"""The classes of paths, each with what stands beside its text; a `Path` is one of the system that loads it."""

ADDRESSES: Final[dict[str, type]] = {
    cls.__name__: cls
    for cls in (
        *(ipaddress.IPv4Address, ipaddress.IPv4Network, ipaddress.IPv4Interface),
        *(ipaddress.IPv6Address, ipaddress.IPv6Network, ipaddress.IPv6Interface),
    )
}
"""The classes of addresses by their names, which are their tags."""

_PURE: Final = {fields.get("pure"): cls for cls, fields in PATHS.items()}
_LONGEST_ADDRESS: Final = 1000
_PARTS: Final = ("start", "stop", "step")
_SCALARS: Final = (type(None), bool, int, float, str, bytes)


def path_form(value: Any, encode: Encode) -> Fields:
    """The form of a path."""
    text = str(value)
    cls = type(value)
    if str(cls(text)) != text or cls(text) != value:  # a Windows path of odd parts, under some Pythons
        raise EncodeError("its text does not stand for this path; store the text")
    return {TAG: "path", **PATHS[cls], "v": encode(text)}


def path(tagged: Fields, decode: Decode) -> Any:
    """The path of a form."""
    pure, text = tagged.get("pure"), decode(tagged.get("v"))
    if type(text) is not str or (type(pure) not in (str, type(None)) or pure not in _PURE):
        raise DecodeError("its v is no text, or its kind unknown")
    return _PURE[pure](text)


def address_form(value: Any, _: Encode) -> Fields:
    """The form of an IP address, a network or an interface."""
    text = str(value)
    if len(text) > _LONGEST_ADDRESS or type(value)(text) != value:
        raise EncodeError("its text does not stand for this address; store the text")
    return {TAG: type(value).__name__, "v": text}


def address(tagged: Fields, _: Decode) -> Any:
    """The IP address, network or interface of a form."""
    text = field(tagged, "v", str)
    if len(text) > _LONGEST_ADDRESS:
        raise DecodeError("its v is no address")
    return ADDRESSES[tagged[TAG]](text)


def complex_form(value: complex, _: Encode) -> Fields:
    """The form of a complex number."""
    return {TAG: "complex", "v": [value.real, value.imag]}


def complex_number(tagged: Fields, _: Decode) -> complex:
    """The complex number of a form."""
    parts = field(tagged, "v", list)
    if len(parts) != 2 or not set(map(type, parts)) <= {float, int}:  # noqa: PLR2004
        raise DecodeError("its v is not an array of two numbers")
    return complex(*parts)


def slice_form(value: slice, encode: Encode) -> Fields:
    """The form of a slice."""
    if not _is_shallow(value):
        raise EncodeError("a slice can be stored only of numbers and texts; store what stands in it")
    return {TAG: "slice", **{name: encode(getattr(value, name)) for name in _PARTS}}


def slice_of(tagged: Fields, decode: Decode) -> slice:
    """The slice of a form."""
    made = slice(*(decode(tagged.get(name)) for name in _PARTS))
    if not _is_shallow(made):
        raise DecodeError("a slice is made of numbers and texts")
    return made


def _is_shallow(value: slice) -> bool:
    """Whether it holds plain values, or tuples of them: deep ones end the process when they are freed."""
    parts = (value.start, value.stop, value.step)
    return all(
        type(part) in _SCALARS or (type(part) is tuple and all(type(one) in _SCALARS for one in part)) for part in parts
    )
