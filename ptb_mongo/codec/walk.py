"""Walks through all parts of a value, without recursion and only so far, to tell what is wrong with each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from ptb_mongo.codec.troubles import Place, Trouble

__all__ = ["Child", "walk"]

_MOST_LOOKED_AT: Final = 300_000


class Child(NamedTuple):
    """A part of a value.

    Attributes:
        key: Its key, the name of its attribute, or its index.
        value: The part.
        is_named: Whether a path of `exclude` names it.
        is_attribute: Whether it is an attribute.
    """

    key: Any
    value: Any
    is_named: bool
    is_attribute: bool = False


def walk(
    root: Any,
    at: Callable[[Any, Place | None], Iterable[Trouble]],
    children: Callable[[Any], Iterator[Child]],
    is_simple: Callable[[Any], bool],
) -> Iterator[Trouble | None]:
    """What is wrong with a value and its parts, in their order; `None` at the end if not all were looked at.

    Args:
        root: The value.
        at: What is wrong with one value itself.
        children: The parts of one value.
        is_simple: Whether nothing can be wrong with a part, nor lie in it.
    """
    yield from at(root, None)
    todo: list[tuple[Place | None, Any, Iterator[Child]]] = [(None, root, children(root))]
    for _ in range(_MOST_LOOKED_AT):
        if not todo:
            return
        above, holder, inside = todo[-1]
        child = next(inside, None)
        if child is None:
            todo.pop()
        elif not is_simple(child.value):
            place = Place.below(above, holder, child.key, is_named=child.is_named, is_attribute=child.is_attribute)
            yield from at(child.value, place)
            todo.append((place, child.value, children(child.value)))
    yield None
