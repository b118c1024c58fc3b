"""The difference between two versions of a document, as changes for MongoDB; no I/O."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from ptb_mongo.codec import TAG, escape, unescape
from ptb_mongo.replica.changes import Changes
from ptb_mongo.replica.elements import (
    GUARDED_DOCUMENT,
    Push,
    equal_to,
    fields_guard,
    push_guard,
    pushed,
    pushed_as_stored,
    set_change,
    set_guard,
)
from ptb_mongo.replica.unknown_fields import as_stored
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
_SPECIAL: Final = frozenset({TAG, _CLASS})
_MOST_FAILED: Final = 8  # attempts, each of which decodes what surrounds the next one
_CONTAINERS: Final = frozenset({dict, list})
_EQUAL_IS_SAME: Final = frozenset({str, int, bool, bytes, type(None)})  # for these, `same` is not needed
_SCALARS: Final = _EQUAL_IS_SAME | {float}


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
        local: Another one, in the form that we store.
        canonical: Returns the form that we would store for a value of `base`, which may have been written by somebody
            else, or by another version: a different form of the same value is no change.
        at_most: How many paths may change inside one document; if there are more, the document is replaced,
            provided that nobody else has changed it. MongoDB needs time proportional to the square of their number.
        guards: Whether a value may be written only if it is still the same as in `base`.
        stored: The whole stored document, if `base` is only our part of it: MongoDB compares with that.
    """
    changes = Changes()
    if (sets := _changed_scalars(base, local, guards)) is not None and len(sets) <= at_most:
        changes.sets = sets
        return changes
    _Difference(canonical or _as_it_is, at_most, guards, base if stored is None else stored).fields(
        base, local, (), (), changes
    )
    return changes


def _changed_scalars(base: Document, local: Document, guards: Callable[[Keys], bool]) -> list[tuple[Path, Any]] | None:
    """A fast path for most documents, in a third of the time: only values right below top-level fields have changed.

    Returns:
        The same changes that `_Difference` would find; `None` if anything else has changed.
    """
    if list(base) != list(local):
        return None
    sets: list[tuple[Path, Any]] = []
    for name, after in local.items():
        before = base[name]
        if type(before) is not dict or type(after) is not dict or _SPECIAL & before.keys() or TAG in after:
            if not _is_same(before, after):
                return None
            continue
        if list(before) != list(after):
            return None
        for (key, old), new in zip(before.items(), after.values(), strict=True):
            if _is_same(old, new) or (old != old and same(old, new)):  # noqa: PLR0124  (NaN)
                continue
            if type(old) not in _SCALARS or type(new) not in _SCALARS or not addressable(key) or guards((name, key)):
                return None
            sets.append(((name, key), new))
    return sets


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(slots=True)
class _Difference:
    """Finds the changes; for its attributes see `diff`.

    Paths consist of the stored names, `Keys` of the names that we would store.
    """

    canonical: Callable[[Any], Any]
    at_most: float
    guards: Callable[[Keys], bool]
    stored: Document
    failed: list[Path] = field(default_factory=list)

    def fields(self, base: Document, local: Document, path: Path, keys: Keys, changes: Changes) -> bool:
        """Adds the changes between two documents; `False` if they cannot be addressed individually."""
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
        """Adds names that are new, gone or moved; `False` if they cannot be addressed."""
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
        """Adds the changes between two values at the same path."""
        if type(before) in _CONTAINERS and (pushed := pushed_as_stored(before, after)) is not None:
            _push(path, *pushed, changes)
            return
        forms = self._forms(before, after, path, changes)
        if forms is None:
            return
        difference, known, wanted, inside = forms
        if inside is not None:
            inner, old, new = inside
            mark = changes.mark()
            one_by_one = difference.fields(old, new, path + inner, keys, changes)
            found = changes.mark()
            if one_by_one and found[0] - mark[0] <= self.at_most:
                if found != mark:
                    changes.conditions |= fields_guard(path, value_at(self.stored, path), inner)
                    changes.sets += [((*path, name), value) for name, value in _new_name(before, after).items()]
                return
            changes.back_to(mark)
            changes.conditions |= equal_to(path, value_at(self.stored, path), GUARDED_DOCUMENT)
        elif _elements(before, known, wanted, path, changes):
            return
        elif self.guards(keys) or _is_merged(wanted):
            changes.conditions |= equal_to(path, value_at(self.stored, path))
        changes.sets.append((path, wanted))

    def _forms(self, before: Any, after: Any, path: Path, changes: Changes) -> _Forms | None:
        """The forms of two values at the same path; `None` if they represent the same value."""
        inside = comparable(before, after)
        has_other_names = inside is not None and list(inside[1]) != list(inside[2])
        if inside is not None and not (has_other_names and _CLASS in before and self._may_try()):
            return _Forms(self, before, after, inside)
        if type(before) in _EQUAL_IS_SAME:
            return _Forms(self, before, after, None)
        if same(before, after):
            return None
        known = self.canonical(before)
        is_ours = same(known, before)
        changes.keeps_forms = changes.keeps_forms or not is_ours
        if same(known, after):
            return None
        difference, wanted = self, after
        if is_ours:
            difference = replace(self, canonical=_as_it_is)  # and so is everything inside
        elif self._may_try():
            difference, wanted = self._with_unknown(before, known, after, path)
        if inside is None:
            stored, ours, new = fields_inside(before), comparable(known, after), fields_inside(wanted)
            if ours and stored and new and stored[0] == ours[0] == new[0]:
                inside = ours[0], stored[1], new[1]
        else:
            inside = comparable(before, wanted) or inside
        return _Forms(difference, known if difference is self else before, wanted, inside)

    def _may_try(self) -> bool:
        return len(self.failed) < _MOST_FAILED

    def _with_unknown(self, before: Any, known: Any, after: Any, path: Path) -> tuple[_Difference, Any]:
        """What finds the changes, and the value to store, including what only other versions of a class know."""
        wanted = as_stored(before, known, after)
        if same(wanted, after):
            return self, after
        understood = self.canonical(wanted)
        if understood is MISSING or not same(understood, self.canonical(after)):
            self.failed.append(path)
            return self, after
        return replace(self, canonical=_as_it_is), wanted


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
        _push(path, was.inner, was.items, push, changes)
        return True
    return False


def _push(path: Path, inner: Path, stored: list[Any], push: Push, changes: Changes) -> None:
    changes.arrays[path + inner] = push
    changes.conditions |= push_guard(path + inner, stored, push)


class _Forms(NamedTuple):
    """Two values that are compared.

    Attributes:
        difference: Finds the changes inside.
        known: The stored value in the form that we store.
        wanted: The value to store.
        inside: The path of the fields of both, if they have any, and these fields as they are stored.
    """

    difference: _Difference
    known: Any
    wanted: Any
    inside: tuple[Path, Document, Document] | None


def _is_same(before: Any, after: Any) -> bool:
    """Like `same`, but faster: equality is checked first, in C, although it ignores types and the order of keys."""
    kind = type(before)
    return before == after and kind is type(after) and (kind in _EQUAL_IS_SAME or same(before, after))


def _is_merged(value: Any) -> bool:
    """Whether a merge looks inside a value: then it is also merged if others have created it at the same path."""
    return fields_inside(value) is not None or elements_inside(value) is not None


def _new_name(before: Any, after: Any) -> Document:
    """The name of a class, if it is stored under its old name: the value that contains it is rewritten anyway."""
    is_new = type(before) is dict and type(before.get(_CLASS)) is str and before[_CLASS] != after.get(_CLASS)
    return {_CLASS: after[_CLASS]} if is_new and type(after.get(_CLASS)) is str else {}


def _renamed(base: Document, local: Document) -> dict[str, str]:
    """The names of fields that others have stored without escaping, by the key that we would store."""
    found = {}
    for name in base:
        if name not in local and (key := escape(unescape(name))) in local and key not in base:
            found[str(key)] = name
    return found


def _kept(base: Document, local: Document) -> dict[str, None]:
    """The first keys of `local`, as long as `base` has them in that order; the following ones must be appended."""
    kept: dict[str, None] = {}
    positions = iter(base)
    for key in local:
        if key not in base or all(position != key for position in positions):
            break
        kept[key] = None
    return kept


def _is_lexicographic(keys: list[str]) -> bool:
    return not any(key.isdigit() for key in keys) and keys == sorted(keys, key=str.encode)
