"""Many numbers of one kind: the arrays of the standard library and of numpy, and numpy's single values.

Up to some thousand numbers are an array of BSON, to be read and queried; more than that, and what BSON has no numbers
for, are the bytes that they have in memory. Arrays of objects are never stored: they may hold anything.
"""

from __future__ import annotations

import array
import math
import re
import sys
from collections.abc import Iterable
from typing import Any, Final

from ptb_mongo.codec.fields import Decode, Encode, Fields, field
from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.zones import library
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["array_form", "array_of", "numpy_array", "numpy_form", "numpy_scalar"]

_MOST_ELEMENTS: Final = 4096
_LARGEST: Final = 16 * 1024 * 1024
_LARGEST_OF_NONE: Final = 1000
"""Bytes of an element of an array without elements, for which numpy takes the memory of one."""
_PADDED: Final = 64
_PER_TEXT: Final = 8
_MOST_DIMENSIONS: Final = 32
_DTYPE: Final = re.compile(
    r"[<>|](?:b1|[iu][1248]|f[248]|c8|c16|[SU][0-9]{1,8}|[mM]8(?:\[[0-9]{0,5}(?:Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?)"
)
_KINDS: Final[dict[str, set[type]]] = {"b": {bool}, "i": {int}, "u": {int}, "f": {float, int}, "U": {str}}
"""What BSON has for which of numpy's kinds; others may write 5 for 5.0."""
_INTEGERS: Final = "bBhHiIlLqQ"
_FLOATS: Final = "fd"
_IS_LITTLE: Final = sys.byteorder == "little"


# -- array.array ----------------------------------------------------------------------------------------


def array_form(value: Any, encode: Encode) -> Fields:
    """The form of an `array.array`."""
    code = value.typecode
    if code not in _INTEGERS + _FLOATS:
        raise EncodeError(f"an array of type {code!r} cannot be stored; store its text, array.tounicode()")
    if len(value) <= _MOST_ELEMENTS and _same_bits(array.array(code, value.tolist()), value):
        return {TAG: "array", "type": code, "v": [encode(number) for number in value]}
    return {TAG: "array", "type": code, "size": value.itemsize, "v": _little(value).tobytes()}


def _same_bits(one: Any, other: Any) -> bool:
    return bool(one.tobytes() == other.tobytes())


def _little(value: Any) -> Any:
    if _IS_LITTLE:
        return value
    swapped = value[:]
    swapped.byteswap()
    return swapped


def array_of(tagged: Fields, decode: Decode) -> Any:
    """The `array.array` of a form."""
    code, plain = field(tagged, "type", str), field(tagged, "v", list, bytes)
    if len(code) != 1 or code not in _INTEGERS + _FLOATS:
        raise DecodeError("its type is none of an array")
    if type(plain) is bytes:
        made = array.array(code)
        if field(tagged, "size", int) != made.itemsize:
            raise DecodeError("its numbers have another size on this machine")
        made.frombytes(plain)
        return _little(made)
    numbers = _numbers(plain, {int} if code in _INTEGERS else {float, int}, decode)
    made = array.array(code, numbers)
    _check_kept(numbers, made)
    return made


def _numbers(plain: list[Any], kinds: set[type], decode: Decode) -> list[Any]:
    numbers = [decode(number) for number in plain]
    if not set(map(type, numbers)) <= kinds:
        raise DecodeError("its v holds something else than such numbers")
    return numbers


def _check_kept(said: list[Any], made: Iterable[Any]) -> None:
    """Refuses values that became others in silence: cut off, wrapped around, or infinite; a fraction may be rounded.

    Raises:
        DecodeError: If there is one.
    """
    if not all(map(_is_kept, said, made)):
        raise DecodeError("its v holds what does not fit into its type")


def _is_kept(said: Any, made: Any) -> bool:
    if type(made) is float:
        return math.isfinite(made) or not math.isfinite(said)
    if type(made) is complex:
        return _is_kept(said.real, made.real) and _is_kept(said.imag, made.imag)
    return bool(said == made)


# -- numpy ----------------------------------------------------------------------------------------------


def numpy_form(value: Any, encode: Encode) -> Fields | None:
    """The form of a value of numpy; `None` for what has none.

    Raises:
        EncodeError: If its data type is not one of plain values.
    """
    numpy = sys.modules["numpy"]
    if type(value) is numpy.ndarray:
        return _array_form(numpy, value, encode)
    if not isinstance(value, numpy.generic) or not type(value).__module__.startswith("numpy"):
        return None
    _checked_dtype(value.dtype)
    if isinstance(value, (str, bytes)):
        base = str if isinstance(value, str) else bytes
        return {TAG: "numpy", "dtype": base.__name__, "v": encode(_bare(base, value))}
    dtype = value.dtype
    if dtype.kind in "mM":  # a number of units; what it says is for whoever reads it
        return {TAG: "numpy", "dtype": dtype.str, "v": int(value.view("<i8")), "text": str(value)}
    if dtype.kind == "c":
        parts = [float(value.real), float(value.imag)]
        return {TAG: "numpy", "dtype": dtype.name, "v": parts}
    return {TAG: "numpy", "dtype": dtype.name, "v": encode(value.item())}


def _bare(base: Any, value: Any) -> Any:
    return str.__str__(value) if base is str else bytes.__getitem__(value, slice(None))


def _checked_dtype(dtype: Any) -> None:
    if dtype.fields is None and not dtype.metadata and _DTYPE.fullmatch(dtype.str):
        return
    instead = {"f": "value.astype(float)", "c": "value.astype(complex)"}.get(dtype.kind, "value.tolist()")
    raise EncodeError(f"numpy's type {dtype!s:.100} cannot be stored; store {instead}")


def _array_form(numpy: Any, value: Any, encode: Encode) -> Fields:
    dtype = value.dtype
    _checked_dtype(dtype)
    if value.nbytes > _LARGEST:
        raise EncodeError("it has more elements than a 16 MB document can hold")
    if not value.size and dtype.itemsize > _LARGEST_OF_NONE:
        raise EncodeError("an array without elements, each of which would be so large, cannot be stored")
    order = {"order": "F"} if value.flags.f_contiguous and not value.flags.c_contiguous else {}
    form = {TAG: "ndarray", "dtype": dtype.str, "shape": list(value.shape), **order}
    if value.size <= _MOST_ELEMENTS and dtype.kind in _KINDS:
        numbers = value.ravel(order="C").tolist()
        if not _is_padded(dtype, numbers) and _same_bits(numpy.array(numbers, dtype), value):
            return {**form, "v": [encode(number) for number in numbers]}
    return {**form, "v": value.tobytes()}


def _is_padded(dtype: Any, items: list[Any]) -> bool:
    """Whether short texts take as much memory as one long one."""
    if dtype.kind != "U":
        return False
    return bool(dtype.itemsize * len(items) > _PADDED * sum(_PER_TEXT + len(text) for text in items))


def _numpy() -> Any:
    numpy = library("numpy")
    if numpy is None:
        raise DecodeError("it is a value of numpy, which is not installed here")
    return numpy


def _dtype_of(numpy: Any, text: str) -> Any:
    if not _DTYPE.fullmatch(text):
        raise DecodeError("its dtype is none of plain values")
    return numpy.dtype(text)


_SCALARS: Final = {
    **dict.fromkeys(("bool",), bool),
    **dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"), int),
    **dict.fromkeys(("float16", "float32", "float64"), float),
    **dict.fromkeys(("complex64", "complex128"), complex),
    "str": str,
    "bytes": bytes,
}


def numpy_scalar(tagged: Fields, decode: Decode) -> Any:
    """The single value of numpy of a form."""
    numpy = _numpy()
    name = field(tagged, "dtype", str)
    kind = _SCALARS.get(name)
    if kind is None:
        dtype = _dtype_of(numpy, name)
        if dtype.kind not in "mM":
            raise DecodeError("its dtype is none of a single value")
        return _legible(numpy.array([field(tagged, "v", int)], "<i8").view(dtype)[0])
    value = decode(tagged.get("v"))
    if kind is complex:
        if type(value) is not list or len(value) != 2 or set(map(type, value)) > {float}:  # noqa: PLR2004
            raise DecodeError("its v is not an array of two numbers")
        value = complex(*value)
    elif type(value) not in ({float, int} if kind is float else {kind}):
        raise DecodeError(f"its v is not a {kind.__name__}")
    with numpy.errstate(over="ignore"):  # it is refused
        made = numpy.dtype(name).type(value)
    if kind not in (str, bytes):  # which it holds as they are
        _check_kept([value], [made.item()])
    return made


def _legible(moment: Any) -> Any:
    """The moment, or period, if it is one: a date without a unit is not."""
    try:
        str(moment)
    except ValueError as error:
        raise DecodeError("its v is no moment of its dtype") from error
    return moment


def numpy_array(tagged: Fields, decode: Decode) -> Any:
    """The array of numpy of a form."""
    numpy = _numpy()
    dtype = _dtype_of(numpy, field(tagged, "dtype", str))
    shape, plain = field(tagged, "shape", list), field(tagged, "v", list, bytes)
    order = tagged.get("order", "C")
    if len(shape) > _MOST_DIMENSIONS or any(type(length) is not int or length < 0 for length in shape):
        raise DecodeError("its shape is not an array of lengths")
    if order not in ("C", "F"):
        raise DecodeError("its order is neither C nor F")
    size = math.prod(shape)
    if size * dtype.itemsize > _LARGEST or (not size and dtype.itemsize > _LARGEST_OF_NONE):
        raise DecodeError("it is too large")
    if type(plain) is bytes:
        if len(plain) != size * dtype.itemsize:
            raise DecodeError("its v has another length than its shape says")
        flat = numpy.frombuffer(plain, dtype) if size else numpy.empty(0, dtype)
    else:
        if dtype.kind not in _KINDS or len(plain) != size:
            raise DecodeError("its v has another length than its shape says")
        items = _numbers(plain, _KINDS[dtype.kind], decode)
        if _is_padded(dtype, items):
            raise DecodeError("its texts are much shorter than its dtype says")
        with numpy.errstate(over="ignore"):
            flat = numpy.array(items, dtype)
        _check_kept(items, flat.tolist())
    return flat.reshape(shape).copy(order=order)
