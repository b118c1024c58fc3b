"""Restores what a pickle of ours describes: each class in the one way in which an object of it can be made safely.

Values of the standard library and of `bson` are made by their constructors, Telegram objects of the attributes that
they declare, PTB's errors of their messages. Only a class that is trusted is asked to restore itself, by whatever
its own pickle says: its code runs, with arguments that the writer of the pickle has chosen.
"""

from __future__ import annotations

import collections
import datetime as dtm
import enum
import ipaddress
import pickle
import types
import zoneinfo
from collections.abc import Callable
from typing import Any, Final

import telegram
import telegram.error

from ptb_mongo.codec.bounds import COPY_HOOKS, Spending, shown
from ptb_mongo.codec.described import Described
from ptb_mongo.codec.evolution import complete
from ptb_mongo.codec.inert import made_of_form
from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.objects import is_plain, set_attribute
from ptb_mongo.codec.parts import fraction, range_of
from ptb_mongo.codec.pickling import FOREIGN_BOT, OWN_BOT, restore
from ptb_mongo.codec.proportion import Outside
from ptb_mongo.codec.reader import Reader
from ptb_mongo.codec.standard import STANDARD, check_date
from ptb_mongo.codec.telegram_objects import telegram_object
from ptb_mongo.codec.translating import renamed, translated
from ptb_mongo.codec.trust import DEFAULT_NONE, DEFAULT_VALUE, Trust
from ptb_mongo.codec.versions import class_of, member_or_value
from ptb_mongo.errors import DecodeError

__all__ = ["Restorer", "check_call", "set_state"]

_OPENING: Final = (pickle.MARK, pickle.EMPTY_LIST, pickle.EMPTY_DICT, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3)
_MANY_LEVELS: Final = 50
_CONTAINERS: Final = (list, tuple, set, frozenset, dict, collections.deque)
_NETWORKS: Final = (ipaddress.IPv4Network, ipaddress.IPv6Network)  # iterable, and endless
_SETS: Final[dict[str, Callable[[list[Any]], Any]]] = {"set": set, "frozenset": frozenset}
_OF_AN_ERROR: Final = (str, int, float, dtm.timedelta, type(None))


class Restorer(Reader):
    """What `restore` does inside our own pickles, and what their persistent ids stand for.

    Args:
        data: The pickle.
        trust: Which classes may be restored.
        bot: The running bot.
        spending: What the document has cost until now.
        translates: Whether its Telegram objects are those of another version of PTB.
        base: The name of the class that this value is a kind of, if this version of PTB lacks its own.

    Attributes:
        doubtful: After `load`, whether the value has to be proven usable.
        holds_telegram: After `load`, whether there are Telegram objects in it.
    """

    def __init__(
        self,
        data: bytes,
        trust: Trust,
        bot: telegram.Bot | None,
        spending: Spending,
        *,
        translates: bool = False,
        base: object = None,
    ) -> None:
        super().__init__(data, (restore.__module__, restore.__name__))
        # Each of these bytes may open one more level: a copy takes at most three frames of the stack for it.
        self.doubtful = sum(data.count(opcode) for opcode in _OPENING) > _MANY_LEVELS
        self._open_bots: set[Outside] = set()  # not yet put into the Telegram objects that belong to the bot
        self._trust = trust
        self._bot = bot
        self._translates = translates
        self._base = base
        self.holds_telegram = False
        self._kinds: dict[str, Callable[..., Any]] = {
            "class": trust.resolve,
            "telegram": self._telegram,
            "default": lambda: DEFAULT_NONE,
            "enum": self._enum,
            "zone": _zone,
            "fraction": fraction,
            "range": range_of,
            "pattern": spending.pattern,
            "pytz": lambda: made_of_form({TAG: "pytz", "v": "UTC"}),
            "form": made_of_form,
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
        if not self.was_made(value):
            raise DecodeError(f"the pickle is of a {type(value).__name__}, which is never pickled by itself")
        if self._open_bots:
            raise DecodeError("the pickle has the bot where it never stands")
        if self._translates and self._base is not None and type(value) is telegram.TelegramObject:
            return renamed(value, class_of(self._base, self._trust), self._proportion.unfolds)
        return value

    def outside(self, reference: Any) -> Any:
        """What stands for the bot, which only a Telegram object can belong to; or a set from its sorted elements."""
        if type(reference) is str and reference == OWN_BOT:
            place = Outside()
            self._open_bots.add(place)
            return place
        if type(reference) is str and reference == FOREIGN_BOT:
            return None
        if type(reference) is tuple and len(reference) == 2 and type(reference[1]) is list:  # noqa: PLR2004
            kind, elements = reference
            if type(kind) is str and (cls := _SETS.get(kind)) is not None:
                self._proportion.enters(elements, outside=bool(self._open_bots))
                self.check_hashing(elements)
                made = cls(elements)
                self._proportion.makes(made)
                return made
        raise DecodeError("the pickle refers to an unknown outside object")

    def restore(self, *args: object) -> Any:
        """A class, a member of an enum, or an object: the kind, and what it is made of."""
        kind, *details = args
        if type(kind) is not str or kind not in self._kinds:
            raise DecodeError(f"the pickle uses an unknown form {shown(kind)}")
        bot = self._bot_of(details[-1]) if kind == "telegram" else None
        self._proportion.enters(args, outside=bool(self._open_bots))
        if self._translates and kind == "telegram":
            made = self._translated(bot, *details)
        else:
            made = self._kinds[kind](*details)
        if bot is not None:
            made.set_bot(bot)
        return made

    def _bot_of(self, state: Any) -> telegram.Bot | None:
        """The bot, if a Telegram object with this state belongs to it: that alone is where the bot stands."""
        place = state.get("_bot") if type(state) is dict else None
        if type(place) is not Outside:
            return None
        self._open_bots.remove(place)
        del state["_bot"]
        return self._bot

    def _telegram(self, name: object, state: Any) -> Any:
        self.holds_telegram = True
        cls = self._trust.resolve(name)
        obj = telegram_object(cls, state)
        # Classes of one's own may have more attributes than PTB declares, and buttons hold whatever they are given.
        self.doubtful = self.doubtful or hasattr(obj, "__dict__")
        return _unhooked(obj)

    def _translated(self, bot: telegram.Bot | None, name: object, state: object) -> Any:
        self.doubtful = True
        return _unhooked(translated(class_of(name, self._trust), state, bot, self._proportion.unfolds))

    def _enum(self, name: object, key: object, value: object = None) -> Any:
        return member_or_value(self._trust, name, key, value)

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
        if type(args) is not tuple or any(type(part) not in {list, type(None)} for part in (items, pairs)):
            raise DecodeError(f"{name} is not made of a tuple of arguments and lists of items")
        described = Described(cls, args, kwargs or {}, state, items, pairs)
        self._check_keys(described)
        if (make := STANDARD.get(cls)) is not None:
            return _unhooked(make(described))
        if self._trust.is_standard(cls) or issubclass(cls, enum.Enum):
            raise DecodeError(f"{name} is not called from a pickle")
        if cls is DEFAULT_VALUE or issubclass(cls, telegram.error.TelegramError):
            return _of_telegram(described)
        if issubclass(cls, telegram.TelegramObject):
            raise DecodeError(f"{name} is not restored as a plain object")
        self.doubtful = True
        return _restored_by_itself(described, bare=bool(bare))

    def _check_keys(self, described: Described) -> None:
        """Refuses what would be hashed without end."""
        if described.pairs:
            self.check_hashing(pair[0] for pair in described.pairs)
        if issubclass(described.cls, (set, frozenset, dict)) and described.cls not in STANDARD:
            for elements in described.args:
                if type(elements) in {list, tuple}:
                    are_pairs = issubclass(described.cls, dict)
                    self.check_hashing([element[0] for element in elements] if are_pairs else elements)


def _zone(name: Any) -> zoneinfo.ZoneInfo:
    if type(name) is not str:  # it would be hashed
        raise TypeError("the name of a time zone is a text")
    return zoneinfo.ZoneInfo(name)


def _of_telegram(described: Described) -> Any:
    """What PTB defines beside Telegram objects: errors, and the value that stands for a default."""
    cls = described.cls
    if issubclass(cls, telegram.error.TelegramError):
        return cls(*described.arguments(*[_OF_AN_ERROR] * len(described.args)))
    (value,) = described.attributes(value=(bool, int, str, float, type(None)))
    return cls(value)


def _restored_by_itself(described: Described, *, bare: bool) -> Any:
    """An object of a trusted class, as the class's own pickle would restore it."""
    cls, args, kwargs, state, items, pairs = described
    if is_plain(cls) and not (bare and not args and not kwargs):
        raise DecodeError(f"a {cls.__qualname__} is restored from its attributes alone, and not called")
    if (items and not issubclass(cls, (list, collections.deque))) or (pairs and not issubclass(cls, dict)):
        raise DecodeError(f"a {cls.__qualname__} is not filled: its methods would be called")
    check_call(cls, args, kwargs)
    obj = cls.__new__(cls, *args, **kwargs) if bare else cls(*args, **kwargs)
    # What follows is looked up on the class: on the object, a planted attribute could be in its place.
    if state is not None:
        set_state(obj, state)
    if isinstance(obj, (dtm.date, dtm.time)):
        check_date(obj)
    for item in items or ():
        type(obj).append(obj, item)
    for key, value in pairs or ():
        obj[key] = value
    complete(obj)
    return _unhooked(obj)


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


def set_state(obj: Any, state: Any) -> None:
    """Gives an object its state, by its class's own `__setstate__` if there is one."""
    setstate = getattr(type(obj), "__setstate__", None)
    # That of exceptions sets each attribute that it is given, and Python's own ones read whatever they get to its end.
    if setstate is not None and setstate is not getattr(BaseException, "__setstate__", None):
        setstate(obj, state)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)  # noqa: PLR2004
    for name, value in {**(attributes or {}), **(slots or {})}.items():
        found = next((vars(owner)[name] for owner in type(obj).__mro__ if name in vars(owner)), None)
        if isinstance(found, types.GetSetDescriptorType):
            # Kept by Python itself: a copy would set it by code that reads what it gets to its end.
            if name == "args" and type(value) is tuple:  # which an error has been made of; since Python 3.12
                continue
            raise DecodeError(f"{shown(name)} is no attribute that a pickle holds")
        if isinstance(found, types.MemberDescriptorType) and isinstance(obj, BaseException):
            object.__setattr__(obj, name, value)  # the `name` of an ImportError, say, which is in no `__slots__`
        else:
            set_attribute(obj, name, value)


def _unhooked(obj: Any) -> Any:
    """The object, if it has no attribute that would be called when it is copied."""
    if COPY_HOOKS.isdisjoint(getattr(obj, "__dict__", ())):
        return obj
    raise DecodeError(f"a {type(obj).__qualname__} has an attribute that stands in the place of a method")
