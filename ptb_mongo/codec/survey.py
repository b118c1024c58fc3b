"""Finds everything in a value that cannot be stored, after its encoding has stopped at the first of it.

The value is walked without recursion, and each object once: through containers, and through whatever is stored field by
field, with the elements and attributes of subclasses. What has no parts to walk through is given to an encoder that
takes every class for trusted, and notes those that are not.
"""

from __future__ import annotations

import collections
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any, Final

import telegram

from ptb_mongo.codec.encoder import Encoder
from ptb_mongo.codec.inert import inert_form
from ptb_mongo.codec.left_out import LeftOut, PartOf, without_left_out
from ptb_mongo.codec.object_forms import unreadable_state
from ptb_mongo.codec.shapes import BASES, Shape, shape_of
from ptb_mongo.codec.troubles import Place, Trouble
from ptb_mongo.codec.trust import Trust, class_name, generic_model_of
from ptb_mongo.codec.walk import Child, walk
from ptb_mongo.errors import EncodeError

__all__ = ["survey"]

_SIMPLE: Final = frozenset({type(None), bool, int, float, str, bytes})
_ELEMENTS: Final = frozenset({list, tuple, set, frozenset, collections.deque})
_DICTS: Final = frozenset({dict, collections.OrderedDict, collections.Counter, collections.defaultdict})
_KEYS: Final = frozenset({str, int, bool, type(None)})
_FUNCTIONS: Final = frozenset({"function", "builtin_function_or_method", "method", "generator", "coroutine"})


class _Noting(Trust):
    """Trusts what might be trusted, and notes what is not."""

    def __init__(self, trust: Trust) -> None:
        vars(self).update(vars(trust))
        self.noted: dict[type, str] = {}

    def name_of(self, cls: type) -> str:
        try:
            return super().name_of(cls)
        except EncodeError as error:
            if cls.__module__.partition(".")[0] in sys.stdlib_module_names:
                raise
            self.noted[cls] = error.reason
            return class_name(cls)


def survey(
    value: Any,
    trust: Trust,
    bot: Callable[[], telegram.Bot | None],
    refused: Callable[[Any], tuple[str, str] | None] = lambda _: None,
) -> Iterator[Trouble | None]:
    """What cannot be stored of a value, in its order; `None` at the end if not all of it was looked at.

    Args:
        value: The value.
        trust: Which classes may be stored.
        bot: Returns the running bot.
        refused: Gives the name of what is known to be unstorable, and the reason; `None` for everything else.
    """
    return _Survey(trust, bot, refused).of(value)


class _Survey:
    def __init__(
        self,
        trust: Trust,
        bot: Callable[[], telegram.Bot | None],
        refused: Callable[[Any], tuple[str, str] | None],
    ) -> None:
        self._trust = trust
        self._noting = _Noting(trust)
        self._encoder = Encoder(self._noting, bot)
        self._refused = refused
        self._seen: set[int] = set()
        self._reasons: dict[type, str | None] = {}

    def of(self, value: Any) -> Iterator[Trouble | None]:
        return walk(value, self._at, self._children, lambda part: type(part) in _SIMPLE)

    def _at(self, value: Any, place: Place | None) -> Iterator[Trouble]:
        """What is wrong with a value itself, or with what cannot be walked through."""
        cls = type(value)
        if (known := self._refused(value)) is not None:
            reason = self._reason(value if isinstance(value, type) else cls)
            yield Trouble("never", *known, place, instead_of=reason or "")
        elif cls in _SIMPLE or cls in _ELEMENTS or (cls in _DICTS and cls is not collections.defaultdict):
            return
        elif cls is collections.defaultdict:
            yield from self._encoded(collections.defaultdict(value.default_factory), place)
        elif (shape := _shape_of(value)) is None:
            yield from self._encoded(value, place)
        else:
            yield from self._named(cls, place)
            yield from self._taken_apart(value, shape, place)

    def _taken_apart(self, value: Any, shape: Shape, place: Place | None) -> Iterator[Trouble]:
        """What is wrong with an object beside what lies in it."""
        try:
            shape.state_of(value)
        except Exception as error:  # noqa: BLE001  (whatever a class's own method may raise)
            yield Trouble("never", _name(value), unreadable_state(value, _name(value), error), place)
        if shape.base is collections.defaultdict:
            yield from self._encoded(collections.defaultdict(value.default_factory), place)
        elif shape.base is not object and shape.base not in _DICTS and shape.base not in _ELEMENTS:
            yield from self._encoded(BASES[shape.base](value), place)

    def _named(self, cls: type, place: Place | None) -> Iterator[Trouble]:
        if (reason := self._reason(cls)) is not None:
            yield self._trouble(cls, reason, place)

    def _reason(self, cls: type) -> str | None:
        """Why objects of a class cannot be stored; `None` if they can."""
        if cls not in self._reasons:
            try:
                self._trust.name_of(cls)
                self._reasons[cls] = None
            except EncodeError as error:
                self._reasons[cls] = error.reason
        return self._reasons[cls]

    def _encoded(self, value: Any, place: Place | None) -> Iterator[Trouble]:
        self._noting.noted.clear()
        try:
            self._encoder.document(value)
        except EncodeError as error:
            untrusted = self._noting.noted.pop(type(value), "")  # to trust it would not help
            yield Trouble("never", _name(value), error.reason, place, error.path, untrusted)
        for cls, reason in self._noting.noted.items():
            yield self._trouble(cls, reason, place)

    def _trouble(self, cls: type, reason: str, place: Place | None) -> Trouble:
        name = class_name(cls)
        if "<locals>" in name or cls.__module__.partition(".")[0] in sys.stdlib_module_names:
            return Trouble("never", name, reason, place)
        is_by_itself = self._trust.covers(cls.__module__) or generic_model_of(cls) is not None
        return Trouble("class" if is_by_itself else "untrusted", name, reason, place)

    def _children(self, value: Any) -> Iterator[Child]:
        if self._refused(value) is not None:
            return iter(())
        cls = type(value)
        is_own = cls not in _DICTS and cls not in _ELEMENTS
        shape = _shape_of(value) if is_own and cls not in _SIMPLE else None
        if is_own and shape is None:
            return iter(())
        if id(value) in self._seen:
            return iter(())
        self._seen.add(id(value))
        return _inside(value, cls) if shape is None else _inside_object(value, shape)


def _inside(value: Any, base: type) -> Iterator[Child]:
    """The elements of a container, as its base type has them."""
    if base in _DICTS:
        for key, item in dict.items(value):
            has_name = type(key) in _KEYS
            if not has_name:
                yield Child(key, key, is_named=False)
            yield Child(key, item, has_name)
    elif base in _ELEMENTS:
        for index, item in enumerate(base.__iter__(value)):  # type: ignore[attr-defined]
            yield Child(index, item, is_named=False)


def _inside_object(value: Any, shape: Shape) -> Iterator[Child]:
    """The elements of an object, and its attributes, or what else it says is its state."""
    if hasattr(value, "_fields") and shape.base is tuple:
        for name, item in zip(type(value)._fields, tuple.__iter__(value), strict=False):
            yield Child(name, item, is_named=False)
    else:
        yield from _inside(value, shape.base)
    try:
        state = without_left_out(value, shape.state_of(value))
    except Exception:  # noqa: BLE001  (which was told already)
        return
    if type(state) is not dict:
        yield Child("state", state, is_named=False, is_attribute=True)
        return
    for name, item in state.items():
        # What a class's own method calls a part of its state need not be an attribute, which could be excluded.
        yield Child(name, item, is_named=not shape.own_getstate, is_attribute=True)


def _shape_of(value: Any) -> Shape | None:
    """The shape of an object that is stored by its parts; `None` for what is encoded to be looked at."""
    shape = shape_of(type(value))
    if shape is None or type(value) in {LeftOut, PartOf} or _has_form(value):
        return None
    if shape.own_getstate or shape.is_named:
        return shape
    # What has attributes that are not named by texts is stored in one piece.
    return shape if {*map(type, getattr(value, "__dict__", ()))} <= {str} else None


def _has_form(value: Any) -> bool:
    """Whether a value has a form of its own, whatever its class is made of."""
    try:
        return inert_form(value, lambda _: None) is not None
    except EncodeError:
        return True


def _name(value: Any) -> str:
    """What a value is called: a function by its own name, anything else by its class's."""
    if type(value) is LeftOut:
        return "an excluded attribute"
    if type(value) is PartOf:
        return _name(value.value)
    if isinstance(value, types.ModuleType):
        return value.__name__
    if type(value).__name__ in _FUNCTIONS:
        return f"{getattr(value, '__module__', None) or ''}.{getattr(value, '__qualname__', None) or ''}".strip(".")
    if type(value) is collections.defaultdict and value.default_factory is not None:
        return _name(value.default_factory)
    return class_name(value if isinstance(value, type) else type(value))
