"""Iterators over sequences: what is left of them, whatever Python version and copy they come from.

Nothing is taken from an iterator to store it. One that calls a function is not stored.
"""

from __future__ import annotations

from typing import Any, Final

from ptb_mongo.codec.fields import Decode, Encode, Fields, optional
from ptb_mongo.codec.keys import TAG
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["ITERATORS", "iterator", "iterator_form"]

_OVER: Final = (list, tuple, str, bytes, bytearray, range)


def _kinds() -> frozenset[type]:
    """Each type of an iterator over a sequence, none of which has a name."""
    made: list[Any] = [iter(kind()) for kind in (list, tuple, str, bytes, bytearray, set, frozenset)]
    made += [iter("é"), iter(range(1)), iter(range(2**70)), reversed([]), reversed(()), enumerate(()), zip()]
    empty: dict[Any, Any] = {}
    made += [iter(empty), iter(empty.values()), iter(empty.items())]
    made += [reversed(empty), reversed(empty.values()), reversed(empty.items())]
    return frozenset(map(type, made))


ITERATORS: Final = _kinds()
"""The types of the iterators that have a form."""


def iterator_form(value: Any, encode: Encode) -> Fields:
    """The form of an iterator.

    Raises:
        EncodeError: If it goes over something else than plain sequences.
    """
    made_by, args, *state = value.__reduce__()
    if made_by is zip:
        _check_all(args, ITERATORS)
        strict = {"strict": True} if state and state[0] is True else {}
        return {TAG: "iterator", "kind": "zip", **strict, "v": encode(list(args))}
    if made_by is enumerate:
        _check_all(args[:1], ITERATORS)
        return {TAG: "iterator", "kind": "enumerate", "v": encode(args[0]), "at": encode(args[1])}
    _check_all(args, _OVER)
    (over,) = args
    at = state[0] if state else None
    if made_by is iter:
        return {TAG: "iterator", "v": encode(over if at is None else over[at:])}
    return {TAG: "iterator", "kind": "reversed", "v": encode(over if at is None else over[: at + 1])}


def _check_all(parts: Any, kinds: Any) -> None:
    for part in parts:
        if type(part) not in kinds:
            raise EncodeError(
                f"an iterator over a {type(part).__qualname__} cannot be stored; store what is left: list(iterator)"
            )


def iterator(tagged: Fields, decode: Decode) -> Any:
    """The iterator of a form."""
    kind = optional(tagged, "kind", str)
    inside = decode(tagged.get("v"))
    if kind == "zip":
        if type(inside) is not list:
            raise DecodeError("its v is not an array of iterators")
        _check_inside(inside, ITERATORS)
        return zip(*inside, strict=tagged.get("strict") is True)
    if kind == "enumerate":
        _check_inside([inside], ITERATORS)
        at = decode(tagged.get("at"))
        if type(at) is not int:
            raise DecodeError("its at is not a number")
        return enumerate(inside, at)
    _check_inside([inside], _OVER)
    if kind not in (None, "reversed"):
        raise DecodeError("its kind is none of an iterator")
    return iter(inside) if kind is None else reversed(inside)


def _check_inside(parts: list[Any], kinds: Any) -> None:
    if any(type(part) not in kinds for part in parts):
        raise DecodeError("it goes over something else than plain sequences")
