"""Reads the pickles of `PicklePersistence`, which name classes and functions, without letting them run any.

It is a separate machine, like the one for our own pickles, with the opcodes that Python has written since PTB 13. It
never imports a name: a name is a class that `Trust` knows, or one of the few functions whose work is done here.
A class that is not trusted, or is gone, becomes a *stand-in*: it absorbs whatever is done to it, and the codec refuses
to store it, so that one class does not block everybody's data. A pickle that names what only an attacker would name is
refused as a whole.
"""

from __future__ import annotations

import contextlib
import enum
import pickle
import types
import zoneinfo
from collections.abc import Callable
from typing import Any, ClassVar, Final

import telegram

from ptb_mongo.codec.bounds import Spending
from ptb_mongo.codec.evolution import complete
from ptb_mongo.codec.inert import made_of_form
from ptb_mongo.codec.iterators import ITERATORS
from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.object_restoring import ObjectRestorer
from ptb_mongo.codec.parts import enum_member, fraction
from ptb_mongo.codec.restoring import check_call, set_state
from ptb_mongo.codec.telegram_objects import telegram_object
from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import DecodeError
from ptb_mongo.migration.foreign_contents import ForeignContents
from ptb_mongo.migration.library_values import LIBRARY_NAMES, Maker, Unfinished
from ptb_mongo.migration.names import Function, Names, StandIn, stands_in
from ptb_mongo.migration.pickled_states import attributes_in
from ptb_mongo.migration.ptb13 import is_of_ptb_13, rebuilt

__all__ = ["ForeignPickle"]

_PROTOCOLS: Final = (3, 4, 5)  # the default and the highest protocols since Python 3.6
_OWN_BOT: Final = "a known bot replaced by PTB's PicklePersistence"
_FOREIGN_BOT: Final = "an unknown bot replaced by PTB's PicklePersistence"
_WITHOUT_ARGUMENTS: Final = (object.__new__, list.__new__, dict.__new__, set.__new__)
_CALLABLE_BUILTINS: Final = (complex, slice, object, bytearray, set, frozenset)


class ForeignPickle(ForeignContents):
    """One pickle of `PicklePersistence`.

    Args:
        data: The pickle.
        trust: Which classes may be loaded.
        bot: Takes the place of the bot that wrote the pickle.
    """

    def __init__(self, data: bytes, trust: Trust, bot: telegram.Bot | None) -> None:
        super().__init__(data, Names(trust))
        self._bot = bot
        self._objects = ObjectRestorer(trust)
        self._whole: set[int] = set()  # library values that are complete without their state
        self._work: dict[Function, Callable[..., Any]] = {
            Function.RECONSTRUCT_TO: self._telegram,
            Function.NEWOBJ: lambda cls, *args: self._create(cls, args, bare=True),
            Function.NEWOBJ_EX: lambda cls, args, kwargs: self._create(cls, args, kwargs, bare=True),
            Function.RECONSTRUCTOR: self._reconstructor,
            Function.GETATTR: self._attribute,
            Function.OR: _joined_flags,
            Function.FRACTION: _fraction,
            Function.RANGE: range,
            Function.PATTERN: Spending().pattern,
            Function.ZONE: zoneinfo.ZoneInfo,
            Function.CACHED_ZONE: lambda key, _=1: zoneinfo.ZoneInfo(key),
            Function.PYTZ_UTC: lambda: _of_pytz("UTC"),
            Function.PYTZ: lambda name="UTC", *period: _of_pytz(name, *period),
            Function.PYTZ_OFFSET: lambda minutes: made_of_form({TAG: "pytz.FixedOffset", "v": minutes}),
            Function.STRUCT: self._struct,
        }

    @property
    def refused(self) -> dict[str, str]:
        """Names that may not be loaded, each with the reason; filled by `load`."""
        return self._names.refused

    @property
    def position(self) -> int:
        """How many bytes have been read."""
        return self._at

    def load(self) -> Any:
        """The value, with stand-ins for what is `refused`.

        Raises:
            DecodeError: If it is damaged, uses another protocol, or was crafted by an attacker.
        """
        if self._data[:1] != pickle.PROTO or self._data[1:2] not in map(bytes, ([number] for number in _PROTOCOLS)):
            raise DecodeError("it is not a pickle as PTB writes it since version 13 (protocol 3, 4 or 5)")
        try:
            return self._completed(self.read())
        except DecodeError:
            raise
        except Exception as error:  # damaged bytes may raise nearly anything
            raise DecodeError(f"the pickle is damaged ({type(error).__name__})") from error

    def _completed(self, value: Any) -> Any:
        """The value, after adding the defaults of new fields to objects for which the pickle has no state."""
        for made, _ in [*self._made.values()]:
            if not isinstance(made, type):
                with contextlib.suppress(Exception):  # without a default, the document is refused as a whole
                    complete(made)
        return value

    # -- names ------------------------------------------------------------------------------------------

    def _name_of_global(self, _: None = None) -> None:
        name = self._stack.pop()
        module = self._stack.pop()
        if type(name) is not str or type(module) is not str:
            raise DecodeError("the pickle has a name that is not a text")
        self._stack.append(self._names.find(module, name))

    # -- calls ------------------------------------------------------------------------------------------

    def _reduce(self, _: None = None) -> None:
        args = self._stack.pop()
        called = self._stack.pop()
        if type(args) is not tuple:
            raise DecodeError("the pickle makes a call without valid arguments")
        if stands_in(called):
            made = called() if isinstance(called, type) else called
        elif isinstance(called, types.FunctionType):  # trusted to fill a `defaultdict`
            reason = "it is restored by a function, and only classes may be called"
            made = self._names.stand_in(called.__module__, called.__qualname__, reason)()
        elif isinstance(called, Maker):
            made = self._of_library(called, args)
        elif isinstance(called, Function):
            made = self._guarded(called.value, lambda: self._work[called](*args))
            self._made.setdefault(id(made), (made, args))
        else:
            made = self._create(called, args, bare=False)
        self._push_made(made)

    def _new(self, *, keywords: bool) -> None:
        kwargs = self._stack.pop() if keywords else {}
        args = self._stack.pop()
        self._push_made(self._create(self._stack.pop(), args, kwargs, bare=True))

    def _create(self, cls: Any, args: Any, kwargs: Any = None, *, bare: bool) -> Any:
        """An object of a trusted class, created by `__new__` alone (`bare`) or by a call."""
        kwargs = {} if kwargs is None else kwargs
        if isinstance(cls, Maker) and not kwargs:
            return self._of_library(cls, args)
        if not isinstance(cls, type) or type(args) is not tuple or type(kwargs) is not dict:
            raise DecodeError("the pickle calls what may not be called")
        if issubclass(cls, StandIn):
            return cls()
        made = self._guarded(f"{cls.__module__}.{cls.__qualname__}", lambda: self._called(cls, args, kwargs, bare=bare))
        self._made[id(made)] = made, args
        return made

    def _check_elements(self, args: tuple[Any, ...]) -> None:
        for elements in args:
            if type(elements) in {list, tuple}:
                self.check_hashing(elements)

    def _of_library(self, maker: Maker, args: Any) -> Any:
        made = self._guarded(maker.name, lambda: maker.make(*args))
        if isinstance(made, Unfinished):
            return made._replace(name=maker.name, place=len(self._memo))
        if not stands_in(made):
            self._made.setdefault(id(made), (made, args))
            if type(made) not in ITERATORS:  # their state then says how far they have got
                self._whole.add(id(made))
        return made

    def _finish(self, unfinished: Unfinished, state: Any) -> None:
        """Replaces the placeholder of a value once its state is known."""
        made = self._guarded(unfinished.name, lambda: unfinished.finish(state))
        self._made.setdefault(id(made), (made, state))
        self._whole.add(id(made))
        self._stack[-1] = made
        if len(self._memo) > unfinished.place and self._memo[unfinished.place] is unfinished:
            self._memo[unfinished.place] = made

    def _called(self, cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, bare: bool) -> Any:
        if issubclass(cls, enum.Enum):
            if bare or kwargs or len(args) != 1:
                raise DecodeError("it is an enum, and is asked for more than a member")
            return cls(args[0])
        if issubclass(cls, telegram.TelegramObject) and (args or kwargs or not bare):
            raise DecodeError("it is restored from its attributes alone")
        if cls.__module__ == "builtins" and cls not in _CALLABLE_BUILTINS:
            raise DecodeError("it is not called from a pickle")
        if issubclass(cls, (set, frozenset)):
            self._check_elements(args)
        if bare and args and cls.__new__ in _WITHOUT_ARGUMENTS:  # it would ignore them
            raise DecodeError("its class has another base now")
        check_call(cls, args, kwargs)
        return cls.__new__(cls, *args, **kwargs) if bare else cls(*args, **kwargs)

    def _telegram(self, cls: Any, state: dict[str, Any]) -> Any:
        """Does what PTB's own function does that its pickles name."""
        if not isinstance(cls, type) or type(state) is not dict:
            raise DecodeError("the pickle has an invalid Telegram object")
        return cls() if issubclass(cls, StandIn) else telegram_object(cls, dict(state))

    def _struct(self, cls: Any, fields: Any) -> Any:
        """A msgspec struct that accepts its fields only by name."""
        if isinstance(cls, type) and issubclass(cls, StandIn):
            return cls()
        if not hasattr(cls, "__struct_fields__") or type(fields) is not dict:
            raise DecodeError("the pickle has an invalid struct")
        known = {name: fields[name] for name in cls.__struct_fields__ if name in fields}
        return self._create(cls, (), known, bare=False)

    def _reconstructor(self, cls: Any, base: Any, state: Any) -> Any:
        return self._create(cls, () if base is object else (state,), bare=True)

    @staticmethod
    def _attribute(owner: Any, name: Any) -> Any:
        """Resolves an attribute: members of enums are pickled as attributes, and so is the constructor of a zone."""
        if owner is Function.ZONE and name == "_unpickle":
            return Function.CACHED_ZONE
        if isinstance(owner, Maker) and type(name) is str:
            module, _, qualname = owner.name.rpartition(".")
            return LIBRARY_NAMES.get((module, f"{qualname}.{name}"), owner)
        if isinstance(owner, type) and issubclass(owner, StandIn):
            return owner()
        if isinstance(owner, type) and issubclass(owner, enum.Enum):
            return enum_member(owner, name)
        raise DecodeError(f"it is the attribute {name!r:.80} of an object, which may be code")

    # -- contents ---------------------------------------------------------------------------------------

    def _build(self, _: None = None) -> None:
        state = self._stack.pop()
        obj = self._stack[-1]
        if isinstance(obj, Unfinished):
            self._finish(obj, state)
            return
        if stands_in(obj) or id(obj) in self._whole:
            return
        if id(obj) not in self._made or isinstance(obj, (type, enum.Enum)):
            raise DecodeError("the pickle changes what it has not made")
        label = f"{type(obj).__module__}.{type(obj).__qualname__}"
        made, args = self._made[id(obj)]
        self._made[id(obj)] = made, (args, state)
        built = self._guarded(label, lambda: self._with_state(obj, state))
        if built is not obj:
            self._made[id(built)] = built, (args, state)
            self._put_in_place(built)

    def _with_state(self, obj: Any, state: Any) -> Any:
        if isinstance(obj, telegram.TelegramObject):
            if is_of_ptb_13(state):
                return rebuilt(type(obj), state, self._bot)
            bot = state.pop("_bot", None)
            obj.__setstate__(state)
            obj.set_bot(bot if isinstance(bot, telegram.Bot) else None)
        else:
            attributes = attributes_in(obj, state)
            if attributes is not None:
                return self._objects.fill(obj, attributes)
            set_state(obj, state)
            complete(obj)
        return obj

    def outside(self, reference: Any) -> Any:
        """The bot, for the marker of `PicklePersistence`; another bot is `None`, as in PTB."""
        if reference == _OWN_BOT:
            return self._bot
        if reference == _FOREIGN_BOT:
            return None
        return self._names.stand_in("pickle", "persistent_id", "it stands for an object outside of the file")()

    _OPERATIONS: ClassVar[dict[int, tuple[Any, Any]]] = {
        **ForeignContents._OPERATIONS,  # noqa: SLF001  (the base class's)
        pickle.STACK_GLOBAL[0]: (_name_of_global, None),
        pickle.REDUCE[0]: (_reduce, None),
        pickle.NEWOBJ[0]: (lambda self, _: self._new(keywords=False), None),
        pickle.NEWOBJ_EX[0]: (lambda self, _: self._new(keywords=True), None),
        pickle.BUILD[0]: (_build, None),
    }


def _joined_flags(one: Any, other: Any) -> Any:
    if isinstance(one, StandIn) or isinstance(other, StandIn):
        return one if isinstance(one, StandIn) else other
    if not isinstance(one, enum.Flag) or not isinstance(other, (type(one), int)):
        raise DecodeError("the pickle joins values that are not flags")
    return type(one)(one.value | (other.value if isinstance(other, enum.Flag) else other))


def _fraction(*parts: Any) -> Any:
    if len(parts) == 1 and type(parts[0]) is str:  # before Python 3.12
        numerator, _, denominator = parts[0].partition("/")
        parts = int(numerator), int(denominator or 1)
    return fraction(*parts)


def _of_pytz(name: Any, *period: Any) -> Any:
    return made_of_form({TAG: "pytz", "v": name, **dict(zip(("offset", "dst", "name"), period, strict=False))})
