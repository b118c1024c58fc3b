"""Pickles what BSON cannot hold, in a dialect of pickle that cannot run code.

Our pickles name no class and no function but one, `restore`, and our own reader can do nothing but call it.
A class travels as text and is looked up through `Trust`. `telegram.Bot` is a placeholder: no token is ever
stored.
"""

from __future__ import annotations

import enum
import io
import pickle
import types
import warnings
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

import telegram

from ptb_mongo.codec.advice import advice
from ptb_mongo.codec.inert import newer_form
from ptb_mongo.codec.left_out import IN_ONE_PIECE, LeftOut, PartOf
from ptb_mongo.codec.objects import without_alias
from ptb_mongo.codec.parts import PARTS, enum_key
from ptb_mongo.codec.shapes import shape_of
from ptb_mongo.codec.telegram_objects import telegram_state
from ptb_mongo.codec.telegram_writer import written
from ptb_mongo.codec.trust import DEFAULT_NONE, Trust
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["FOREIGN_BOT", "OWN_BOT", "Pickled", "dumps", "restore", "warn_foreign_bot"]

_PROTOCOL: Final = 5  # a fixed one: equal values must give equal bytes under every Python
OWN_BOT: Final = "bot"
FOREIGN_BOT: Final = "foreign bot"


def restore(*_: object) -> Any:
    """The one global of our pickles; it does nothing outside our unpickler."""
    raise DecodeError("this pickle belongs to ptb_mongo and is loaded by it alone")


restore.__module__ = "ptb_mongo.codec"  # which stands in every pickle: the shortest name that it can be found under


def warn_foreign_bot() -> None:
    """Says, as `PicklePersistence` does, that another bot than the own one was stored."""
    warnings.warn("An unknown bot is stored; it will be loaded as None.", stacklevel=2)


class Pickled(NamedTuple):
    """A pickle.

    Attributes:
        data: Its bytes.
        doubtful: Whether it holds more than Telegram objects, enums and plain values: what classes say of themselves,
            which may be something that is not restored.
        holds_telegram: Whether it holds Telegram objects.
    """

    data: bytes
    doubtful: bool
    holds_telegram: bool


def dumps(value: object, *, trust: Trust, bot: telegram.Bot | None) -> Pickled:
    """Pickles one object.

    Raises:
        EncodeError: If it holds something that is not trusted, or that cannot be pickled.
    """
    if isinstance(value, telegram.TelegramObject) and (data := written(value, trust, bot, restore)) is not None:
        return Pickled(data, doubtful=False, holds_telegram=True)
    buffer = io.BytesIO()
    try:
        pickler = _Pickler(buffer, trust, bot)
        pickler.dump(value)
    except EncodeError:
        raise
    except RecursionError as error:
        raise EncodeError(f"the {type(value).__name__} is nested too deeply, or contains itself") from error
    except Exception as error:  # whatever a class's own __reduce__ may raise
        raise EncodeError(f"{type(value).__qualname__} cannot be pickled: {error}") from error
    return Pickled(buffer.getvalue(), pickler.doubtful, pickler.holds_telegram)


def _check_data(obj: Any) -> None:
    """Refuses what is code, or stands for something that is left out."""
    if isinstance(obj, (types.FunctionType, types.BuiltinFunctionType, types.MethodType, types.ModuleType)):
        raise EncodeError(f"a {type(obj).__name__} cannot be stored; {advice(type(obj))}")
    if type(obj) in {LeftOut, PartOf}:
        raise EncodeError(IN_ONE_PIECE)


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
        self._copies: dict[int, tuple[object, Any]] = {}
        self.doubtful = False
        self.holds_telegram = False

    def persistent_id(self, obj: object) -> object:
        if isinstance(obj, telegram.Bot):
            if obj is self._bot:
                return self._one(OWN_BOT)
            warn_foreign_bot()
            return self._one(FOREIGN_BOT)
        if type(obj) in {set, frozenset}:  # iteration order differs from process to process
            self.doubtful = True  # a view does not show how deep they are
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

    def _deep_one(self, value: Any) -> Any:
        """The same for all that JSON holds; what stands in two places still does."""
        if type(value) not in {dict, list, tuple}:
            return self._one(value)
        if id(value) not in self._copies:
            if type(value) is dict:
                copy: Any = {self._one(key): self._deep_one(item) for key, item in value.items()}
            else:
                copy = type(value)([self._deep_one(item) for item in value])
            self._copies[id(value)] = value, copy  # both kept, so that the id stays its own
        return self._copies[id(value)][1]

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
            self.holds_telegram = True
            self.doubtful = self.doubtful or hasattr(obj, "__dict__")
            state = telegram_state(obj)
            if "api_kwargs" in state:
                state["api_kwargs"] = self._deep_one(state["api_kwargs"])
            return "telegram", self._trust.name_of(cls), self._state(state)
        if cls is type(DEFAULT_NONE) and obj.value is None:  # PTB hands over deep copies, which are others
            return ("default",)
        if isinstance(obj, enum.Enum):
            name = self._trust.name_of(cls)
            value = (obj.value,) if name.startswith("telegram.") else ()  # for a version that lacks this member
            return "enum", name, enum_key(obj), *value
        if cls in PARTS:
            return PARTS[cls](obj)
        if cls.__module__.partition(".")[0] == "pytz" and getattr(obj, "zone", None) == "UTC":
            return ("pytz",)
        if (form := newer_form(obj, lambda part: part)) is not None:
            self.doubtful = True
            return "form", self._state(form)
        _check_data(obj)
        self.doubtful = True
        return "object", *self._reduce_object(obj)

    def _reduce_object(self, obj: Any) -> tuple[object, ...]:
        name = self._trust.name_of(type(obj))
        reduced = obj.__reduce_ex__(_PROTOCOL)
        if not isinstance(reduced, tuple):
            raise EncodeError(f"objects of {name} are stored by reference, which is not supported")
        function, args, state, items, pairs = (*reduced, None, None, None)[:5]
        if isinstance(obj, BaseException) and type(state) is dict and not state:
            state = None  # whether an exception has a dict without attributes depends on who has looked at it
        kwargs: dict[str, object] = {}
        bare = getattr(function, "__module__", None) == "copyreg"
        if bare and function.__name__ == "__newobj__":
            cls, *args = args
        elif bare and function.__name__ == "__newobj_ex__":
            cls, args, kwargs = args
        else:
            cls = function
            bare = False
        if not isinstance(cls, type) and (shape := shape_of(type(obj))) is not None and shape.kind == "msgspec":
            cls, args, kwargs = type(obj), (), shape.state_of(obj)  # one that takes its fields by name alone
        if not isinstance(cls, type):
            raise EncodeError(
                f"objects of {name} are restored by a function, and only classes may be called; "
                "give the class a __reduce__ that names a class, or store its data instead"
            )
        if isinstance(obj, (set, frozenset)):  # of a subclass
            args = [self._sorted(arg) if type(arg) is list else arg for arg in args]
        parts = [
            self._trust.name_of(cls),
            bare,
            tuple([self._one(arg) for arg in args]),
            self._state(kwargs) or None,
            self._state(without_alias(state)),
            None if items is None else [self._one(item) for item in items],
            None if pairs is None else [tuple([self._one(part) for part in pair]) for pair in pairs],
        ]
        while parts[-1] is None:
            parts.pop()
        return tuple(parts)
