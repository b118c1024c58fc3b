"""Pickles what BSON cannot hold, in a dialect of pickle that cannot run code.

Our pickles name no class and no function but one, `restore`, and our own reader can do nothing but call it.
A class travels as text and is looked up through `Trust`. `telegram.Bot` is a placeholder: no token is ever
stored.
"""

from __future__ import annotations

import collections
import contextlib
import enum
import io
import ipaddress
import pickle
import types
import warnings
import zoneinfo
from collections.abc import Callable, Iterable
from typing import Any, Final

import telegram

from ptb_mongo.codec.bounds import COPY_HOOKS, MAX_UNFOLDED, check_collisions, pattern
from ptb_mongo.codec.objects import set_attribute, slots_of
from ptb_mongo.codec.parts import PARTS, enum_key, enum_member, fraction, pytz_utc
from ptb_mongo.codec.reader import Reader
from ptb_mongo.codec.trust import DEFAULT_NONE, Trust
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["Restorer", "check_call", "dumps", "set_state", "warn_foreign_bot"]

_PROTOCOL: Final = 5  # a fixed one: equal values must give equal bytes under every Python
_OWN_BOT: Final = "bot"
_FOREIGN_BOT: Final = "foreign bot"
_CONTAINERS: Final = (list, tuple, set, frozenset, dict, collections.deque)
_NETWORKS: Final = (ipaddress.IPv4Network, ipaddress.IPv6Network)  # iterable, and endless
_OPENING: Final = (pickle.MARK, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)
_MANY_LEVELS: Final = 250
_CALLABLE_BUILTINS: Final = ("builtins.complex", "builtins.slice", "builtins.object")


def restore(*_: object) -> Any:
    """The one global of our pickles; it does nothing outside our unpickler."""
    raise DecodeError("this pickle belongs to ptb_mongo and is loaded by it alone")


restore.__module__ = "ptb_mongo.codec"  # which stands in every pickle: the shortest name that it can be found under


def warn_foreign_bot() -> None:
    """Says, as `PicklePersistence` does, that another bot than the own one was stored."""
    warnings.warn("An unknown bot is stored; it will be loaded as None.", stacklevel=2)


def dumps(value: object, *, trust: Trust, bot: telegram.Bot | None) -> bytes:
    """Pickles one object.

    Raises:
        EncodeError: If it holds something that is not trusted, or that cannot be pickled.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, trust, bot).dump(value)
    except EncodeError:
        raise
    except RecursionError as error:
        raise EncodeError(f"the {type(value).__name__} is nested too deeply, or contains itself") from error
    except Exception as error:  # whatever a class's own __reduce__ may raise
        raise EncodeError(f"{type(value).__qualname__} cannot be pickled: {error}") from error
    return buffer.getvalue()


class _Pickler(pickle.Pickler):
    def __init__(
        self,
        file: io.BytesIO,
        trust: Trust,
        bot: telegram.Bot | None,
        sort_keys: dict[int, tuple[object, bytes]] | None = None,
    ) -> None:
        super().__init__(file, protocol=_PROTOCOL)
        self._trust = trust
        self._bot = bot
        self._sort_keys = {} if sort_keys is None else sort_keys
        self._texts: dict[str, str] = {}

    def persistent_id(self, obj: object) -> object:
        if isinstance(obj, telegram.Bot):
            if obj is self._bot:
                return self._one(_OWN_BOT)
            warn_foreign_bot()
            return self._one(_FOREIGN_BOT)
        if type(obj) in {set, frozenset}:  # iteration order differs from process to process
            return self._one(type(obj).__name__), self._sorted(obj)  # type: ignore[arg-type]
        return None

    def _one(self, part: Any) -> Any:
        """Equal strings as one: pickle stores which are identical, and by chance equal values would differ."""
        return self._texts.setdefault(part, part) if type(part) is str else part

    def _state(self, state: Any) -> Any:
        """A state with copies of its dicts: an object that contains itself then never ends, and is refused."""
        if type(state) is dict:
            return {self._one(name): self._one(value) for name, value in state.items()}
        if type(state) is tuple and len(state) == 2:  # noqa: PLR2004
            return self._state(state[0]), self._state(state[1])
        return self._one(state)

    def _sorted(self, elements: Iterable[object]) -> list[object]:
        return sorted(elements, key=self._sort_key)

    def _sort_key(self, element: object) -> bytes:
        """The pickle of an element, made once: sets of sets would make it again at each level."""
        if id(element) not in self._sort_keys:
            buffer = io.BytesIO()
            _Pickler(buffer, self._trust, self._bot, self._sort_keys).dump(element)
            self._sort_keys[id(element)] = element, buffer.getvalue()  # kept, so that its id stays its own
        return self._sort_keys[id(element)][1]

    def reducer_override(self, obj: Any) -> Any:
        if obj is restore:
            return NotImplemented
        return restore, tuple([self._one(part) for part in self._reduce(obj)])

    def _reduce(self, obj: Any) -> tuple[Any, ...]:
        cls = type(obj)
        if isinstance(obj, type):
            return "class", self._trust.name_of(obj)
        if isinstance(obj, telegram.TelegramObject):
            return "telegram", self._trust.name_of(cls), self._state(_telegram_state(obj))
        if cls is type(DEFAULT_NONE) and obj.value is None:  # PTB hands over deep copies, which are others
            return ("default",)
        if isinstance(obj, enum.Enum):
            return "enum", self._trust.name_of(cls), enum_key(obj)
        if cls in PARTS:
            return PARTS[cls](obj)
        if cls.__module__.partition(".")[0] == "pytz" and getattr(obj, "zone", None) == "UTC":
            return ("pytz",)
        if isinstance(obj, (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)):
            raise EncodeError(f"a {cls.__name__} cannot be stored; store its name, or the data it works on")
        return "object", *self._reduce_object(obj)

    def _reduce_object(self, obj: Any) -> tuple[object, ...]:
        name = self._trust.name_of(type(obj))
        reduced = obj.__reduce_ex__(_PROTOCOL)
        if not isinstance(reduced, tuple):
            raise EncodeError(f"objects of {name} are stored by reference, which is not supported")
        function, args, state, items, pairs = (*reduced, None, None, None)[:5]
        kwargs: dict[str, object] = {}
        bare = getattr(function, "__module__", None) == "copyreg"
        if bare and function.__name__ == "__newobj__":
            cls, *args = args
        elif bare and function.__name__ == "__newobj_ex__":
            cls, args, kwargs = args
        else:
            cls = function
            bare = False
        if not isinstance(cls, type):
            raise EncodeError(
                f"objects of {name} are restored by a function, and only classes may be called; "
                "give the class a __reduce__ that names a class, or store its data instead"
            )
        if isinstance(obj, (set, frozenset)):  # of a subclass
            args = [self._sorted(arg) if type(arg) is list else arg for arg in args]
        check_call(cls, tuple(args), kwargs)
        parts = [
            self._trust.name_of(cls),
            bare,
            tuple([self._one(arg) for arg in args]),
            self._state(kwargs) or None,
            self._state(state),
            None if items is None else [self._one(item) for item in items],
            None if pairs is None else [tuple([self._one(part) for part in pair]) for pair in pairs],
        ]
        while parts[-1] is None:
            parts.pop()
        return tuple(parts)


def check_call(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuses arguments that a container would blow up into more than they are.

    Raises:
        TypeError: For bytes of a given size.
        ValueError: For the addresses of a network.
    """
    values = (*args, *kwargs.values())
    if issubclass(cls, (bytes, bytearray)) and isinstance(next(iter(values), None), int):
        raise TypeError("it is made of a number, which would be its size")
    takes_fields = hasattr(cls, "_fields")  # a named tuple, which is not filled from an iterable
    if issubclass(cls, _CONTAINERS) and not takes_fields and any(isinstance(value, _NETWORKS) for value in values):
        raise ValueError("it would be filled with the addresses of a network")


class Restorer(Reader):
    """What `restore` does inside our own pickles, and what their persistent ids stand for.

    Args:
        data: The pickle.
        trust: Which classes may be restored.
        bot: The running bot.

    Attributes:
        doubtful: After `load`, whether it may be that PTB cannot copy the value.
    """

    def __init__(self, data: bytes, trust: Trust, bot: telegram.Bot | None) -> None:
        super().__init__(data, (restore.__module__, restore.__name__), max_unfolded=MAX_UNFOLDED)
        # Each of these bytes may open one more level: a copy takes at most three frames of the stack for it.
        self.doubtful = sum(data.count(opcode) for opcode in _OPENING) > _MANY_LEVELS
        self._bots = 0
        self._trust = trust
        self._bot = bot
        self._kinds: dict[str, Callable[..., Any]] = {
            "class": trust.resolve,
            "telegram": self._telegram,
            "default": lambda: DEFAULT_NONE,
            "enum": self._enum,
            "zone": zoneinfo.ZoneInfo,
            "fraction": fraction,
            "range": range,
            "pattern": pattern,
            "pytz": pytz_utc,
            "object": self._object,
        }

    def load(self) -> Any:
        """Restores what `dumps` made; anything else that a pickle can say is refused.

        Raises:
            DecodeError: If it is damaged, or names a class that is not trusted.
        """
        try:
            value = self.read()
        except DecodeError:
            raise
        except Exception as error:  # damaged bytes raise nearly anything
            raise DecodeError(f"the pickle cannot be loaded ({type(error).__name__})") from error
        if id(value) not in self._made:
            raise DecodeError(f"the pickle is of a {type(value).__name__}, which is never pickled by itself")
        self.doubtful = self.doubtful or self._bots > 0
        return value

    def outside(self, reference: Any) -> Any:
        """The bot, or a set from its sorted elements."""
        if reference == _OWN_BOT:
            self._bots += 1
            return self._bot
        if reference == _FOREIGN_BOT:
            return None
        if type(reference) is tuple and len(reference) == 2 and type(reference[1]) is list:  # noqa: PLR2004
            self.check_hashing(reference[1])
            if reference[0] == "set":
                return set(reference[1])
            if reference[0] == "frozenset":
                return frozenset(reference[1])
        raise DecodeError("the pickle refers to an unknown outside object")

    def restore(self, *args: object) -> Any:
        """A class, a member of an enum, or an object: the kind, and what it is made of."""
        kind, *details = args
        if not isinstance(kind, str) or kind not in self._kinds:
            raise DecodeError(f"the pickle uses an unknown form {kind!r:.40}")
        return self._kinds[kind](*details)

    def _telegram(self, name: object, state: dict[str, Any]) -> Any:
        self._bots -= state.get("_bot") is not None  # there it is not copied
        return _unhooked(telegram_object(self._trust.resolve(name), state))

    def _enum(self, name: object, key: object) -> Any:
        return enum_member(self._trust.resolve(name), key)

    def _object(
        self,
        name: object,
        bare: object,
        args: tuple[object, ...],
        kwargs: dict[str, Any] | None = None,
        state: object = None,
        items: list[Any] | None = None,
        pairs: list[tuple[Any, Any]] | None = None,
    ) -> Any:
        cls: Any = self._trust.resolve(name)
        label = str(name)
        if issubclass(cls, (telegram.TelegramObject, enum.Enum)):
            raise DecodeError(f"{label} is not restored as a plain object")
        if label.startswith("builtins.") and label not in _CALLABLE_BUILTINS:
            raise DecodeError(f"{label} is not called from a pickle")
        if type(args) is not tuple or any(type(part) not in {list, type(None)} for part in (items, pairs)):
            raise DecodeError(f"{label} is not made of a tuple of arguments and lists of items")
        kwargs = kwargs or {}
        check_call(cls, args, kwargs)
        self.doubtful = self.doubtful or not self._trust.is_standard(cls)
        if issubclass(cls, (set, frozenset)):
            self.check_hashing(args)
            for elements in args:
                check_collisions(elements if type(elements) is list else ())
        self.check_hashing(key for key, _ in pairs or ())
        obj = cls.__new__(cls, *args, **kwargs) if bare else cls(*args, **kwargs)
        # What follows is looked up on the class: on the object, a planted attribute could be in its place.
        if state is not None:
            set_state(obj, state)
        for item in items or ():
            type(obj).append(obj, item)
        for key, value in pairs or ():
            obj[key] = value
        return _unhooked(obj)


def set_state(obj: Any, state: Any) -> None:
    """Gives an object its state, by its class's own `__setstate__` if there is one."""
    if setstate := getattr(type(obj), "__setstate__", None):
        setstate(obj, state)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)  # noqa: PLR2004
    for name, value in {**(attributes or {}), **(slots or {})}.items():
        set_attribute(obj, name, value)


def _telegram_state(obj: telegram.TelegramObject) -> dict[str, Any]:
    """The attributes that are not `None` (most are), and the bot that the object belongs to."""
    state = {name: value for name, value in obj.__getstate__().items() if value is not None}
    if not state.get("api_kwargs"):
        state.pop("api_kwargs", None)
    with contextlib.suppress(RuntimeError):  # it has none
        state["_bot"] = obj.get_bot()
    return state


def _unhooked(obj: Any) -> Any:
    """The object, if it has no attribute that would be called when it is copied."""
    if COPY_HOOKS.isdisjoint(getattr(obj, "__dict__", ())):
        return obj
    raise DecodeError(f"a {type(obj).__qualname__} has an attribute that stands in the place of a method")


def telegram_object(cls: type, state: Any) -> Any:
    """Restores a Telegram object; attributes that were left out are `None`."""
    if not issubclass(cls, telegram.TelegramObject):
        raise DecodeError(f"{cls.__qualname__} is not a class of Telegram objects")
    bot = state.pop("_bot", None)
    if bot is not None and not isinstance(bot, telegram.Bot):
        raise DecodeError("its bot is a different thing")
    obj = cls.__new__(cls)
    obj.__setstate__({name: None for name in slots_of(cls) if name != "api_kwargs"} | state)
    obj.set_bot(bot)
    return obj
