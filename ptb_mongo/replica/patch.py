"""Applies changes to a live object in place, so that whoever holds it, or something inside it, sees them.

Dicts, lists, sets, deques, subclasses of them, and objects stay the same objects; what has not changed in them is not
touched. Everything else is replaced, including objects that promise not to change (frozen ones) or that restore their
state themselves. Everything new is decoded before anything is changed.

No method of a subclass is called, no validator and no `__setattr__`: the object gets exactly what is stored.

Nothing here waits: no other handler runs between reading the live object and changing it.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from typing import Any, Final

from ptb_mongo.codec import unescape
from ptb_mongo.codec.evolution import add_defaults
from ptb_mongo.codec.objects import attributes_of, has_slot, order_attributes, remove_attribute, set_attribute
from ptb_mongo.codec.shapes import PYDANTIC_SLOTS, is_frozen, shape_of
from ptb_mongo.replica.sequences import edits
from ptb_mongo.replica.values import (
    MISSING,
    Document,
    Elements,
    Path,
    comparable,
    elements_inside,
    fingerprints,
    same,
)

__all__ = ["bring_into"]

Decode = Callable[[Any], Any]

_MUTABLE: Final[dict[str, type]] = {"list": list, "deque": collections.deque, "set": set}


def bring_into(live: Any, before: Any, after: Any, decode: Decode) -> None:
    """Changes a live object from one version to another; what is equal in both is not touched.

    Args:
        live: The object: a dict, an object of a dataclass or of a plain class, or one inside such an object.
        before: What it encodes to now.
        after: What it must encode to.
        decode: Returns the value of a plain form.

    Raises:
        DecodeError: If `after` cannot be decoded; then nothing is changed.
    """
    plan = _Plan(decode)
    if not plan.patch(live, before, after):
        plan.replace_contents(live, decode(after))
    for step in plan.steps:
        step()


class _Plan:
    """The steps that change a live object."""

    def __init__(self, decode: Decode) -> None:
        self.decode = decode
        self.steps: list[Callable[[], None]] = []

    def patch(self, live: Any, before: Any, after: Any) -> bool:
        """Plans the changes of a value; returns `False`, without a plan, if it must be replaced."""
        if same(before, after):
            return True
        if inside := comparable(before, after):
            inner, old, new = inside
            if not _has_fields(live, inner, new):
                return False
            if isinstance(live, dict):
                self._dict(live, old, new)
            else:
                self._attributes(live, old, new)
            return True
        was, wanted = elements_inside(before), elements_inside(after)
        if was is None or wanted is None or not was.is_like(wanted) or not _has_elements(live, was):
            return False
        if was.is_set:
            self._set(live, was.items, wanted.items, after)
        else:
            self._sequence(live, was.items, wanted.items)
        return True

    def replace_contents(self, live: Any, value: Any) -> None:
        """Plans to copy everything from another object of the same kind."""
        if isinstance(live, dict):
            self.steps.append(lambda: _replace_entries(live, value))
        if type(live) is not dict:
            attributes = attributes_of(value)
            removed = [name for name in attributes_of(live) if name not in attributes]
            self._set_attributes(live, removed, attributes, [*attributes])

    def _dict(self, live: dict[Any, Any], before: Document, after: Document) -> None:
        removed = [unescape(name) for name in before if name not in after]
        changed = {}
        for name, value in after.items():
            key = unescape(name)
            known = dict.get(live, key, MISSING) if name in before else MISSING
            if known is MISSING or not self.patch(known, before[name], value):
                changed[key] = self.decode(value)
        moved = [unescape(name) for name in after] if list(before) != list(after) else []
        if removed or changed or moved:
            self.steps.append(lambda: _change_entries(live, removed, changed, moved))

    def _attributes(self, live: Any, before: Document, after: Document) -> None:
        own = attributes_of(live)
        changed = {}
        for name, value in after.items():
            attribute = str(unescape(name))
            known = before.get(name, MISSING)
            if known is MISSING or attribute not in own or not self.patch(own[attribute], known, value):
                changed[attribute] = self.decode(value)
        removed = [str(unescape(name)) for name in before if name not in after]
        shape = shape_of(type(live))
        if shape is not None and shape.kind == "pydantic":  # a default state is not stored
            removed += [name for name in PYDANTIC_SLOTS if name not in after and name not in removed]
        moved = [str(unescape(name)) for name in after] if list(before) != list(after) else []
        self._set_attributes(live, removed, changed, moved)

    def _set_attributes(self, live: Any, removed: list[str], changed: Mapping[str, Any], moved: list[str]) -> None:
        if removed or changed or moved:
            self.steps.append(lambda: _change_attributes(live, removed, changed, moved))

    def _sequence(self, live: Any, before: list[Any], after: list[Any]) -> None:
        """Plans the changes of a list or a deque; elements are identified by their positions in `before`."""
        elements = [*_base_of(live).__iter__(live)]
        if len(elements) != len(before):
            result = [self.decode(item) for item in after]
        else:
            occurrences = collections.Counter(map(id, elements))
            result = []
            position = 0
            for edit in edits(fingerprints(before), fingerprints(after)):
                result += elements[position : edit.start]
                position = edit.end
                for index in range(edit.new_start, edit.new_end):
                    place = edit.start + index - edit.new_start
                    stays = place < edit.end and occurrences[id(elements[place])] == 1
                    if stays and self.patch(elements[place], before[place], after[index]):
                        result.append(elements[place])
                    else:
                        result.append(self.decode(after[index]))
            result += elements[position:]
        self.steps.append(lambda: _replace_elements(live, result))

    def _set(self, live: set[Any], before: list[Any], after: list[Any], whole: Any) -> None:
        old, new = (dict(zip(fingerprints(items), items, strict=True)) for items in (before, after))
        removed = [self.decode(item) for mark, item in old.items() if mark not in new]
        added = [self.decode(item) for mark, item in new.items() if mark not in old]
        result = set.difference(live, removed).union(added)
        if len(result) != len(after):
            # Some elements differ from their decoded copies: NaN, or objects without `__eq__`.
            removed, added = [*set.__iter__(live)], list(self.decode(whole))
        self.steps.append(lambda: _change_set(live, removed, added))


def _has_fields(live: Any, inner: Path, fields: Document) -> bool:
    """Whether a live object is of the kind that keeps its fields there, and has room for all of them."""
    if inner != ("state",):
        return isinstance(live, dict)
    cls = type(live)
    shape = shape_of(cls)
    if shape is None or shape.own_getstate or shape.own_setstate or is_frozen(cls):
        return False
    return hasattr(live, "__dict__") or all(has_slot(cls, str(unescape(name))) for name in fields)


def _has_elements(live: Any, elements: Elements) -> bool:
    """Whether a live object contains such elements, and can be changed."""
    kind = _MUTABLE.get(elements.kind)
    return kind is not None and isinstance(live, kind)


def _change_entries(live: dict[Any, Any], removed: list[Any], changed: dict[Any, Any], moved: list[Any]) -> None:
    base = _base_of(live)
    for key in removed:
        base.pop(live, key, None)
    for key, value in changed.items():
        base.__setitem__(live, key, value)
    for key in moved:  # the order of keys is part of the value
        if dict.__contains__(live, key):
            base.__setitem__(live, key, base.pop(live, key))


def _replace_entries(live: dict[Any, Any], value: dict[Any, Any]) -> None:
    base = _base_of(live)
    base.clear(live)
    for key, item in dict.items(value):
        base.__setitem__(live, key, item)


def _base_of(live: Any) -> Any:
    """The built-in type whose methods can change an object, whatever the object's own methods do."""
    return next(base for base in (collections.OrderedDict, dict, list, collections.deque) if isinstance(live, base))


def _change_attributes(live: Any, removed: list[str], changed: Mapping[str, Any], moved: list[str]) -> None:
    for name in removed:
        remove_attribute(live, name)
    for name, value in changed.items():
        set_attribute(live, name, value)
    shape = shape_of(type(live))
    if shape is not None and shape.kind == "pydantic":
        add_defaults(live, shape)
    order_attributes(live, moved)  # the order is stored: two bots with different ones would rewrite it forever


def _replace_elements(live: Any, result: list[Any]) -> None:
    if isinstance(live, list):
        list.__setitem__(live, slice(None), result)
    else:
        collections.deque.clear(live)
        collections.deque.extend(live, result)


def _change_set(live: set[Any], removed: list[Any], added: list[Any]) -> None:
    set.difference_update(live, removed)
    set.update(live, added)
