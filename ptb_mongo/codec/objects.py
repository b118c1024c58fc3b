"""Takes plain objects apart into their attributes and puts them together again, without their `__init__`.

An object is *plain* when pickle would store nothing but its attributes: no `__reduce__`, `__getstate__` or
`__setstate__` of its own, no built-in container underneath. Dataclasses are plain, frozen and slotted too, and so is
`types.SimpleNamespace`.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final
from weakref import WeakKeyDictionary

__all__ = [
    "attributes_of",
    "copies_itself",
    "has_slot",
    "is_plain",
    "new_object",
    "order_attributes",
    "remove_attribute",
    "set_attribute",
    "slots_of",
    "without_alias",
]

_ALIAS: Final = "__orig_class__"
_DEFAULT_GETSTATE: Final = getattr(object, "__getstate__", None)  # Python 3.11 gave every object one
_SLOTS_OF: Final[WeakKeyDictionary[type, tuple[str, ...]]] = WeakKeyDictionary()
_IS_PLAIN: Final[WeakKeyDictionary[type, bool]] = WeakKeyDictionary()


def _slots(cls: type) -> Iterator[str]:
    for owner in reversed(cls.__mro__):
        names = vars(owner).get("__slots__", ())
        for name in (names,) if isinstance(names, str) else tuple(names):
            if name in {"__dict__", "__weakref__"}:
                continue
            private = name.startswith("__") and not name.endswith("__")
            yield f"_{owner.__name__.lstrip('_')}{name}" if private else name


def slots_of(cls: Any) -> tuple[str, ...]:
    """The names of all slots of a class, base classes first."""
    names = _SLOTS_OF.get(cls)
    if names is None:
        names = _SLOTS_OF[cls] = tuple(_slots(cls))
    return names


def is_plain(cls: Any) -> bool:
    """Whether an object of this class is nothing but its attributes."""
    plain = _IS_PLAIN.get(cls)
    if plain is None:
        plain = _IS_PLAIN[cls] = _is_plain(cls)
    return plain


def _is_plain(cls: Any) -> bool:
    if cls is types.SimpleNamespace:
        return True
    getstate = getattr(cls, "__getstate__", None)
    setstate = getattr(cls, "__setstate__", None)
    from_dataclasses = getattr(getstate, "__module__", None) == "dataclasses"  # frozen with slots has both
    return (
        cls.__new__ is object.__new__
        and cls.__reduce__ is object.__reduce__
        and cls.__reduce_ex__ is object.__reduce_ex__
        and (from_dataclasses or (getstate is _DEFAULT_GETSTATE and setstate is None))
        and not hasattr(cls, "__getnewargs__")
        and not hasattr(cls, "__getnewargs_ex__")
        and cls.__basicsize__ - object.__basicsize__
        <= 8 * (len(slots_of(cls)) + 2)  # nothing but attributes: no C structure underneath
        and cls.__itemsize__ == 0
    )


def copies_itself(cls: Any) -> bool:
    """Whether methods of the class take part when an object is copied, which may fail where an attribute is missing."""
    return hasattr(cls, "__deepcopy__") or getattr(cls, "__getstate__", None) is not _DEFAULT_GETSTATE


def has_slot(cls: Any, name: str) -> bool:
    """Whether an object keeps an attribute outside of its `__dict__`."""
    return name in getattr(cls, "__struct_fields__", slots_of(cls))


def attributes_of(obj: object) -> dict[str, Any]:
    """The attributes that an object holds itself: its slots that are set, then its `__dict__`."""
    slots = getattr(type(obj), "__struct_fields__", None) or slots_of(type(obj))
    state = {}
    for name in slots:
        try:
            state[name] = object.__getattribute__(obj, name)  # which does not ask a `__getattr__`
        except AttributeError:
            continue
    own = getattr(obj, "__dict__", None)
    if own and _ALIAS in own:
        own = without_alias(own)
    return {**state, **own} if own else state


def without_alias(state: Any) -> Any:
    """A state without what `typing` leaves in an object of `Basket[int](...)`: that is no data."""
    if type(state) is tuple and state and type(state[0]) is dict and _ALIAS in state[0]:  # then what slots hold
        return (without_alias(state[0]) or None, *state[1:])
    if type(state) is dict and _ALIAS in state:
        return {name: value for name, value in state.items() if name != _ALIAS}
    return state


def new_object(cls: Any, attributes: Mapping[str, Any]) -> Any:
    """An object of a plain class with these attributes; `__init__` does not run."""
    obj: Any = cls.__new__(cls)
    if hasattr(obj, "__dict__") and not slots_of(cls):
        obj.__dict__.update(attributes)
        return obj
    for name, value in attributes.items():
        set_attribute(obj, name, value)
    return obj


def set_attribute(obj: object, name: str, value: object) -> None:
    """Sets an attribute where it is stored, also on a frozen dataclass or past a `__setattr__`.

    Raises:
        AttributeError: If the class has no room for it.
    """
    if name in getattr(type(obj), "__struct_fields__", ()):
        import msgspec  # noqa: PLC0415  (there, as it has made the class)

        msgspec.structs.force_setattr(obj, name, value)  # type: ignore[arg-type]
    elif name in slots_of(type(obj)):
        try:
            object.__setattr__(obj, name, value)
        except TypeError:  # its base class is written in C, and has a way of its own
            next(vars(owner)[name] for owner in type(obj).__mro__ if name in vars(owner)).__set__(obj, value)
    elif (own := getattr(obj, "__dict__", None)) is not None:
        own[name] = value
    else:
        raise AttributeError(f"{type(obj).__qualname__} has no attribute {name!r}")


def remove_attribute(obj: object, name: str) -> None:
    """Removes an attribute, if it is there."""
    own = getattr(obj, "__dict__", None)
    if own is not None and name in own:
        del own[name]
    elif name in slots_of(type(obj)) and hasattr(obj, name):
        object.__delattr__(obj, name)


def order_attributes(obj: object, names: Iterable[str]) -> None:
    """Moves attributes to the end, one after the other; slots stay where their class has them."""
    own = getattr(obj, "__dict__", None)
    for name in names:
        if own is not None and name in own:
            own[name] = own.pop(name)
