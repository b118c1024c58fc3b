"""How one version of a document becomes another: the difference, as changes for MongoDB; no I/O."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ptb_mongo.codec import escape, unescape
from ptb_mongo.replica.changes import Changes
from ptb_mongo.replica.elements import (
    GUARDED_DOCUMENT,
    equal_to,
    fields_guard,
    push_guard,
    pushed,
    set_change,
    set_guard,
)
from ptb_mongo.replica.values import (
    MISSING,
    Document,
    Keys,
    Path,
    addressable,
    comparable,
    elements_inside,
    fields_inside,
    same,
    value_at,
)

__all__ = ["Changes", "diff"]

_CLASS: Final = "cls"
_EQUAL_IS_SAME: Final = frozenset({str, int, bool, bytes, type(None)})  # a short cut past `same`


def diff(
    base: Document,
    local: Document,
    canonical: Callable[[Any], Any] | None = None,
    *,
    at_most: float = math.inf,
    guards: Callable[[Keys], bool] = lambda _: False,
    stored: Document | None = None,
) -> Changes:
    """The changes that turn `base` into `local`.

    Args:
        base: A document as it is stored, or our part of it.
        local: Another, in the form that we store.
        canonical: Gives the form that we would store for a value of `base`, which may have been written by
            somebody else, or by another version: another form of the same value is no change.
        at_most: How many paths may change inside one document; if there are more, the document is replaced,
            provided that nobody else has changed it. MongoDB takes the square of their number.
        guards: Whether a value may be written only if it is what it was in `base`.
        stored: All that is stored, where `base` is only our part of it: MongoDB compares with that.
    """
    changes = Changes()
    _Difference(canonical or _as_it_is, at_most, guards, base if stored is None else stored).fields(
        base, local, (), (), changes
    )
    return changes


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True)
class _Difference:
    """Finds the changes; for its attributes see `diff`.

    Paths are made of the names that are stored, `Keys` of those that we would store.
    """

    canonical: Callable[[Any], Any]
    at_most: float
    guards: Callable[[Keys], bool]
    stored: Document

    def fields(self, base: Document, local: Document, path: Path, keys: Keys, changes: Changes) -> bool:
        """Adds the changes between two documents; `False` if they cannot be addressed one by one."""
        renamed: dict[str, str] = {}
        if list(base) != list(local):
            renamed = _renamed(base, local)
            if renamed:
                changes.keeps_forms = True
                ours = {name: key for key, name in renamed.items()}
                base = {ours.get(name, name): value for name, value in base.items()}
            if not self._names(base, local, renamed, path, keys, changes):
                return False
        for key, after in local.items():
            before = base.get(key, MISSING)
            if before is MISSING or _is_same(before, after):
                continue
            name = renamed.get(key, key)
            if addressable(name):
                self._value(before, after, (*path, name), (*keys, key), changes)
            elif not same(before, after):
                changes.keeps_forms = True
                if not same(self.canonical(before), after):
                    return False
        return True

    def _names(
        self, base: Document, local: Document, renamed: dict[str, str], path: Path, keys: Keys, changes: Changes
    ) -> bool:
        """Adds what is new, gone or in another place; `False` if it cannot be addressed."""
        kept = _kept(base, local)
        appended = [key for key in local if key not in kept]
        if any(key in renamed for key in appended):
            return False
        new = [key for key in appended if key not in base]
        removed = [key for key in base if key not in local]
        if not all(map(addressable, (*appended, *removed))):
            return False
        changes.unsets += [(*path, key) for key in removed]
        changes.sets += [((*path, key), local[key]) for key in new]
        for key in new:
            if _is_merged(local[key]) or self.guards((*keys, key)):
                changes.conditions |= {(*path, key): {"$exists": False}}
        for key in removed:
            if self.guards((*keys, key)):
                changes.conditions |= equal_to((*path, key), value_at(self.stored, (*path, key)))
        if len(new) < len(appended):
            changes.last[path] = {key: local[key] for key in appended}
            changes.ordered = True
        elif len(new) > 1 and not _is_lexicographic(new):
            changes.ordered = True
        return True

    def _value(self, before: Any, after: Any, path: Path, keys: Keys, changes: Changes) -> None:
        """Adds the changes between two values that stand at one path."""
        inside = comparable(before, after)
        known = before
        renamed: Document = {}
        if inside is None and type(before) not in _EQUAL_IS_SAME:
            if same(before, after):
                return
            known = self.canonical(before)
            changes.keeps_forms = changes.keeps_forms or not same(known, before)
            if same(known, after):
                return
            stored = fields_inside(before)
            if (ours := comparable(known, after)) and stored is not None and stored[0] == ours[0]:
                inside = ours[0], stored[1], ours[2]
                renamed = _new_name(before, after)
        if inside is not None:
            inner, old, new = inside
            mark = changes.mark()
            one_by_one = self.fields(old, new, path + inner, keys, changes)
            if one_by_one and changes.mark()[0] - mark[0] <= self.at_most:
                if changes.mark() != mark:
                    changes.conditions |= fields_guard(path, value_at(self.stored, path), inner)
                    changes.sets += [((*path, name), value) for name, value in renamed.items()]
                return
            changes.back_to(mark)
            changes.conditions |= equal_to(path, value_at(self.stored, path), GUARDED_DOCUMENT)
        elif _elements(before, known, after, path, changes):
            return
        elif self.guards(keys) or _is_merged(after):
            changes.conditions |= equal_to(path, value_at(self.stored, path))
        changes.sets.append((path, after))


def _elements(before: Any, known: Any, after: Any, path: Path, changes: Changes) -> bool:
    """Adds the change of a list, a deque or a set; `False` if it can only be replaced."""
    was, ours, wanted = elements_inside(before), elements_inside(known), elements_inside(after)
    if was is None or ours is None or wanted is None or not ours.is_like(wanted):
        return False
    array = path + was.inner
    if wanted.is_set:
        if change := set_change(was.items, ours.items, wanted.items):
            changes.arrays[array] = change
            changes.conditions |= set_guard(array, wanted.kind)
            return True
    elif push := pushed(ours.items, wanted.items):
        changes.arrays[array] = push
        changes.conditions |= push_guard(array, was.items, push)
        return True
    return False


def _is_same(before: Any, after: Any) -> bool:
    """The same as `same`, but faster: equality is compared in C, though it is blind for types and the order of keys."""
    kind = type(before)
    return before == after and kind is type(after) and (kind in _EQUAL_IS_SAME or same(before, after))


def _is_merged(value: Any) -> bool:
    """Whether a value is not one value for a merge: whoever creates it, too, is merged with."""
    return fields_inside(value) is not None or elements_inside(value) is not None


def _new_name(before: Any, after: Any) -> Document:
    """The name of a class, if one that was renamed is stored by its old one: what holds that is written anew anyway."""
    is_new = type(before) is dict and type(before.get(_CLASS)) is str and before[_CLASS] != after.get(_CLASS)
    return {_CLASS: after[_CLASS]} if is_new and type(after.get(_CLASS)) is str else {}


def _renamed(base: Document, local: Document) -> dict[str, str]:
    """The names of fields that others have stored without an escape, by the key that we would store."""
    found = {}
    for name in base:
        if name not in local and (key := escape(unescape(name))) in local and key not in base:
            found[str(key)] = name
    return found


def _kept(base: Document, local: Document) -> dict[str, None]:
    """The first keys of `local`, as far as they stand in `base` in that order; what follows must be appended."""
    kept: dict[str, None] = {}
    positions = iter(base)
    for key in local:
        if key not in base or all(position != key for position in positions):
            break
        kept[key] = None
    return kept


def _is_lexicographic(keys: list[str]) -> bool:
    return not any(key.isdigit() for key in keys) and keys == sorted(keys, key=str.encode)
