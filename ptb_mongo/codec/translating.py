"""Telegram objects that another version of PTB has stored, as the version that loads them would have made them.

Each object is made anew by its constructor, from its attributes as they were stored; what the loading version knows
and the other one did not is parsed from `api_kwargs` with `de_json`, and what it does not know stays there, as JSON.
So an attribute that has become a `timedelta` is one, what has got a default has it, and two equal objects are equal.
What comes out passes the same gate as an object of the same version: see `telegram_object`.
"""

from __future__ import annotations

import contextlib
import datetime as dtm
import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

import telegram

from ptb_mongo.codec.api_json import SEQUENCES, json_of, objects_in, seconds_of
from ptb_mongo.codec.objects import slots_of
from ptb_mongo.codec.telegram_objects import accepts, is_own_attribute, telegram_object, wrong_attributes
from ptb_mongo.errors import DecodeError

__all__ = ["renamed", "translated"]

_FORMER_NAMES: Final = {"correct_option_ids": "correct_option_id"}  # of a poll, which had one right option until 22.8
_ABOUT: Final = frozenset({"_frozen", "_id_attrs", "_bot", "api_kwargs"})  # an object itself, not what it stands for
_FORMS: Final[WeakKeyDictionary[type, _Form]] = WeakKeyDictionary()
_SCALARS: Final = (str, int, float, dtm.datetime, dtm.timedelta)
_ONE: Final = {str, int, float, bool, type(None), dtm.datetime, dtm.timedelta}  # that hold nothing
_LIST: Final = re.compile("Sequence|List|Tuple|list|tuple")
_NO_FILE: Final = object()


class _Form(NamedTuple):
    """What a class of PTB is made of.

    Attributes:
        annotations: The arguments of its constructor, and what they may be, as text.
        required: Those without a default.
        nothing: JSON with no more than those, to parse something else beside it.
        files: Those that may be files, which the constructor would open.
        has_kinds: Whether `de_json` may make an object of a subclass.
    """

    annotations: dict[str, str]
    required: list[str]
    nothing: dict[str, Any]
    files: frozenset[str]
    has_kinds: bool


def translated(
    cls: type, state: Any, bot: telegram.Bot | None, weigh: Callable[[Any], None], *, is_final: bool = False
) -> Any:
    """The object of a state that another version has stored.

    Args:
        cls: Its class.
        state: Its attributes; other Telegram objects among them are translated.
        bot: The bot that it belongs to.
        weigh: Refuses what is out of proportion when it is made JSON and parsed.
        is_final: Whether its class is known for certain.

    Raises:
        DecodeError: If it cannot be made.
    """
    if not issubclass(cls, telegram.TelegramObject) or type(state) is not dict:
        raise DecodeError(f"{cls.__qualname__} is not a class of Telegram objects, or has no attributes")
    if any(type(name) is not str for name in state) or type(state.get("api_kwargs", {})) is not dict:
        raise DecodeError(f"a {cls.__qualname__} has attributes without a name")
    base: Any = next(owner for owner in cls.__mro__ if owner.__module__.startswith("telegram."))
    form = _form_of(base)
    sorted_out = _Sorted(cls, base, form, weigh)
    sorted_out.add(state)
    if form.has_kinds and base is cls and not is_final:
        kind = sorted_out.kind()
        if kind is not base:
            return translated(kind, state, bot, weigh, is_final=True)
    sorted_out.parse(bot)
    return telegram_object(cls, sorted_out.state(state))


def renamed(obj: telegram.TelegramObject, cls: type, weigh: Callable[[Any], None]) -> Any:
    """An object of a class that this version lacks, as one of the class that it is a kind of.

    Raises:
        DecodeError: If it cannot be made.
    """
    bot = None
    with contextlib.suppress(RuntimeError):  # it has none
        bot = obj.get_bot()
    made = translated(cls, obj.__getstate__(), bot, weigh)
    made.set_bot(bot)
    return made


class _Sorted:
    """The attributes of one object, by what becomes of them.

    Args:
        cls: Its class.
        base: The class of PTB that this is, or derives from.
        form: What that is made of.
        weigh: Refuses what is out of proportion when it is made JSON and parsed.
    """

    def __init__(self, cls: type, base: Any, form: _Form, weigh: Callable[[Any], None]) -> None:
        self._cls = cls
        self._base = base
        self._form = form
        self._weigh = weigh
        self._known: dict[str, Any] = {}  # the arguments of the constructor
        self._raw: dict[str, Any] = {}  # JSON that is one of them
        self._own: dict[str, Any] = {}  # what a class of one's own has added
        self._rest: dict[Any, Any] = {}  # what this version does not know

    def add(self, state: dict[str, Any]) -> None:
        """Sorts a state."""
        for name, value in state.items():
            if value is not None and name not in _ABOUT:
                self._add(name, value)
        for key, value in state.get("api_kwargs", {}).items():
            self._add_unknown(key, value)
        for later, name in _FORMER_NAMES.items():
            several = self._rest.get(later)
            if name in self._form.annotations and name not in self._known and type(several) is list and several:
                self._raw[name] = several[0]

    def _add(self, name: str, value: Any) -> None:
        plain = name.removeprefix("_")
        if plain in self._form.annotations:
            adapted = _adapted(value, self._form.annotations[plain])
            if _is_current(adapted) and accepts(self._base, plain, adapted):
                self._known[plain] = adapted
            else:
                self._raw[plain] = self._json(value)
        elif name in slots_of(self._base):
            pass  # its constructor sets it, or it is a cache
        elif is_own_attribute(self._cls, name):
            self._own[name] = value
        elif value != () and (not name.startswith("_") or type(value) is dtm.timedelta):  # else nothing, or a cache
            self._rest[_key(plain)] = self._json(value)

    def _add_unknown(self, key: Any, value: Any) -> None:
        """Sorts what the other version did not know."""
        name = "from_user" if key == "from" else key
        if type(key) is str and name in self._form.annotations and name not in self._known and name not in self._raw:
            self._raw[name] = self._weighed(value)
        else:
            self._rest[key] = value

    def _json(self, value: Any) -> Any:
        return json_of(self._weighed(value))

    def _weighed(self, value: Any) -> Any:
        if type(value) not in _ONE:
            self._weigh(value)
        return value

    def kind(self) -> Any:
        """The subclass that an object with these attributes is one of."""
        try:
            found = type(self._parsed({name: value for name, value in self._raw.items() if type(value) is str}, None))
        except Exception:  # noqa: BLE001  (whatever else it is made of)
            return self._base
        return found if issubclass(found, self._base) else self._base

    def parse(self, bot: telegram.Bot | None) -> None:
        """Parses what was JSON for the version that has stored it."""
        todo = {}
        for name, value in self._raw.items():
            annotation = self._form.annotations[name]
            if name in self._form.files:
                self._take(name, value if type(value) is str else None, value)
            elif type(value) in {dict, list} or (type(value) is int and "datetime" in annotation):
                todo[name] = value
            else:
                self._take(name, value, value)
        try:
            parsed = self._parsed(todo, bot) if todo else None
        except Exception:  # noqa: BLE001  (it is not what this version expects: each by itself)
            parsed = None
        for name, value in todo.items():
            try:
                found = parsed if parsed is not None else self._parsed({name: value}, bot)
            except Exception:  # noqa: BLE001
                found = None
            self._take(name, None if found is None else _attribute(found, name), value)

    def _parsed(self, values: dict[str, Any], bot: telegram.Bot | None) -> Any:
        # What it needs beside them: it may ask for more than its signature says.
        beside = {
            name: json_of(value)
            for name, value in self._known.items()
            if isinstance(value, _SCALARS) and name not in self._form.files
        }
        return self._base.de_json(
            self._form.nothing | {_key(name): one for name, one in (beside | values).items()}, bot
        )

    def _take(self, name: str, value: Any, raw: Any) -> None:
        if value is not None and accepts(self._base, name, value) and all(map(_is_sound, objects_in(value))):
            self._known[name] = value
        else:
            self._rest[_key(name)] = raw

    def state(self, stored: dict[str, Any]) -> dict[str, Any]:
        """The attributes of an object of this version."""
        made = self._made()
        if made is not None:
            state: dict[str, Any] = made.__getstate__()
            state |= {name: self._known.get(name) for name in self._form.files}
        else:  # it lacks what this version asks for, say
            slots = slots_of(self._base)
            names = {name: name if name in slots else f"_{name}" for name in self._known}
            state = {names[name]: _as_period(names[name], value) for name, value in self._known.items()}
            state = {name: value for name, value in stored.items() if name in slots} | state
        if type(frozen := stored.get("_frozen")) is bool:
            state["_frozen"] = frozen
        compared = stored.get("_id_attrs")
        if type(compared) is tuple and any(one is mine for one in compared for mine in self._own.values()):
            state["_id_attrs"] = compared  # a class of one's own says what its objects are compared by
        whole = {name: value for name, value in state.items() if value is not None} | self._own
        return whole | {"api_kwargs": self._rest}

    def _made(self) -> Any:
        known = dict.fromkeys(self._form.required) | self._known
        try:
            return self._base(**known | dict.fromkeys(self._form.files & known.keys(), _NO_FILE))
        except Exception:  # noqa: BLE001  (PTB asks for what Telegram did not send then)
            return None


def _form_of(base: Any) -> _Form:
    form = _FORMS.get(base)
    if form is None:
        kinds = inspect.Parameter
        given = [
            one
            for one in inspect.signature(base.__init__).parameters.values()
            if one.name not in {"self", "api_kwargs"} and one.kind in {kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY}
        ]
        annotations = {one.name: str(one.annotation) for one in given}
        required = [one.name for one in given if one.default is kinds.empty]
        form = _FORMS[base] = _Form(
            annotations,
            required,
            {_key(name): [] if _LIST.search(annotations[name]) else None for name in required},
            frozenset(name for name, text in annotations.items() if "FileInput" in text or "InputFile" in text),
            any(one.__module__.startswith("telegram.") for one in base.__subclasses__()),
        )
    return form


def _key(name: str) -> str:
    """The name of an attribute in JSON."""
    return "from" if name == "from_user" else name


def _attribute(obj: Any, name: str) -> Any:
    """An attribute of a Telegram object, past a property that warns."""
    hidden = f"_{name}"
    return getattr(obj, hidden if hidden in slots_of(type(obj)) else name, None)


def _adapted(value: Any, annotation: str) -> Any:
    """A period of time as a number of seconds, for a version that has not known better; UTC as PTB has it now."""
    if type(value) is dtm.datetime and type(value.tzinfo).__module__.startswith("pytz") and str(value.tzinfo) == "UTC":
        return value.replace(tzinfo=dtm.timezone.utc)
    is_period = type(value) is dtm.timedelta and "timedelta" not in annotation and "TimePeriod" not in annotation
    return seconds_of(value) if is_period else value


def _as_period(name: str, value: Any) -> Any:
    """A number of seconds as a period, for an attribute that is behind a property."""
    return dtm.timedelta(seconds=value) if name.startswith("_") and type(value) in {int, float} else value


def _is_current(value: Any) -> bool:
    """Whether a value holds nothing whose class this version lacks."""
    if type(value) in SEQUENCES:
        return all(map(_is_current, value))
    return type(value) is not telegram.TelegramObject


def _is_sound(obj: telegram.TelegramObject) -> bool:
    """Whether an object that was parsed holds nothing that its class does not declare, and so on inside of it."""
    state: Mapping[str, Any] = obj.__getstate__()
    if next(wrong_attributes(type(obj), state), None) is not None:
        return False
    return all(_is_sound(one) for value in state.values() for one in objects_in(value))
