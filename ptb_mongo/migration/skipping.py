"""Removes what cannot be stored from a value, so that the rest can be stored.

The value is changed in place: an import has just created it, and nobody else has it. What is removed is the smallest
removable part that contains a bad value: an entry of a dict, an element of a list or a set, an attribute. Parts of a
tuple cannot be removed, as their positions matter; nor can an attribute that the class needs, or a state that the class
itself defines. No method of a user's container class is called to fill or empty it.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable
from typing import Any, Final

from ptb_mongo.codec import Codec
from ptb_mongo.codec.evolution import fields_of
from ptb_mongo.codec.objects import remove_attribute
from ptb_mongo.codec.shapes import shape_of
from ptb_mongo.codec.troubles import Place, Trouble
from ptb_mongo.migration.library_values import unused
from ptb_mongo.migration.names import Function, StandIn, stands_in

__all__ = ["leave_out", "refused_value"]

_ROUNDS: Final = 3  # more are needed only if the value has more parts than one round examines


def refused_value(value: Any) -> tuple[str, str] | None:
    """The name of what a pickle's reader has not loaded, and the reason; `None` for anything else."""
    function = value.value if isinstance(value, Function) else unused(value)
    if function is not None:
        return function, f"it holds {function} itself, which is no value"
    if not stands_in(value):
        return None
    cls: type[StandIn] = value if isinstance(value, type) else type(value)
    name = f"{cls.__module__}.{cls.__qualname__}"
    return name, f"it holds {name}, which was not loaded"


def leave_out(value: Any, codec: Codec) -> list[Trouble]:
    """Removes everything that cannot be stored from a value.

    Args:
        value: The value; it is changed.
        codec: Tells what cannot be stored.

    Returns:
        What was removed, each with its place. It does not include what cannot be removed, such as the value as a
        whole.
    """
    left: list[Trouble] = []
    for _ in range(_ROUNDS):
        found = [*codec.troubles(value, refused_value)]
        places: dict[tuple[int, Any, bool], Place] = {}
        for trouble in found:
            if trouble is not None and (place := _place_to_go(trouble.place)) is not None:
                places[id(place.holder), _identity(place), place.is_attribute] = place
                left.append(trouble)
        _remove(places.values())
        if not found or found[-1] is not None:  # everything was examined
            break
    return left


def _identity(place: Place) -> Any:
    return place.key if type(place.key) in {int, str} else id(place.key)


def _place_to_go(place: Place | None) -> Place | None:
    """The innermost removable place that contains this one."""
    while place is not None and not _can_go(place):
        place = place.above
    return place


def _can_go(place: Place) -> bool:
    if not place.is_attribute:
        return not isinstance(place.holder, (tuple, frozenset))
    cls = type(place.holder)
    shape = shape_of(cls)
    if shape is None:
        return True
    return not (shape.own_getstate or shape.kind == "msgspec" or place.key in fields_of(cls, shape).required)


def _remove(places: Iterable[Place]) -> None:
    by_holder: dict[int, tuple[Any, list[Any]]] = {}
    for place in places:
        if place.is_attribute:
            remove_attribute(place.holder, place.key)
        else:
            by_holder.setdefault(id(place.holder), (place.holder, []))[1].append(place.key)
    for holder, keys in by_holder.values():
        if isinstance(holder, dict):
            mapping: Any = collections.OrderedDict if isinstance(holder, collections.OrderedDict) else dict
            for key in keys:
                mapping.pop(holder, key, None)
        elif isinstance(holder, (list, collections.deque)):
            sequence: Any = list if isinstance(holder, list) else collections.deque
            for index in sorted(keys, reverse=True):
                sequence.__delitem__(holder, index)
        elif isinstance(holder, set):
            elements = [*set.__iter__(holder)]
            set.difference_update(holder, [elements[index] for index in keys])
