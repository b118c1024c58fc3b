"""Library values, arrays and iterators in foreign pickles: created in the same way as by the running bot.

A pickle names classes and functions of the library, which differ between versions. None of them is called: their
arguments are put into the codec's form for such a value, and checked like any stored one.
"""

from __future__ import annotations

import datetime as dtm
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ptb_mongo.codec.inert import made_of_form
from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.standard import check_date
from ptb_mongo.errors import DecodeError

__all__ = ["LIBRARY_NAMES", "Maker", "Unfinished", "unused"]

_UTC: Final = dtm.timezone.utc


class Maker(NamedTuple):
    """A class or a function of a library that a pickle names.

    Attributes:
        name: Its name.
        make: Returns what it would return, or an `Unfinished` value if its state follows later.
    """

    name: str
    make: Callable[..., Any]


class Unfinished(NamedTuple):
    """A value whose state follows later.

    Attributes:
        finish: Creates it from its state.
        name: The name of what creates it.
        place: Its position in the memo.
    """

    finish: Callable[[Any], Any]
    name: str = ""
    place: int = 0


class _Type(NamedTuple):
    """A data type of numpy."""

    text: str


def unused(value: Any) -> str | None:
    """The name of a library's class, function or type that is in the place of a value; `None` for a real value."""
    if type(value) is _Type:
        return "numpy.dtype"
    return value.name if type(value) in {Maker, Unfinished} else None


def _form(tag: str, **fields: Any) -> Any:
    return made_of_form({TAG: tag, **{name: value for name, value in fields.items() if value is not None}})


def _whole(offset: Any, unit: dtm.timedelta) -> Any:
    """An offset as a number of units; anything else is refused later."""
    units, rest = divmod(offset, unit) if type(offset) is dtm.timedelta else (offset, None)
    return offset if rest else units


# -- time zones and times -------------------------------------------------------------------------------


def _dateutil_offset(*args: Any) -> Any:
    def made(name: Any, offset: Any) -> Any:
        return _form("dateutil.tzoffset", v=_whole(offset, dtm.timedelta(seconds=1)), name=name)

    return made(*args) if args else Unfinished(lambda state: made(state["_name"], state["_offset"]))


def _dateutil_file(_: Any, filename: Any, *__: Any) -> Any:
    if type(filename) is not str:
        raise DecodeError("its zone has no name")
    return _form("dateutil.gettz", v=re.split(r"[/\\]zoneinfo[/\\]", filename)[-1].replace("\\", "/"))


def _bson_offset(offset: Any, name: Any) -> Any:
    return _form("bson.FixedOffset", v=_whole(offset, dtm.timedelta(minutes=1)), name=name)


def _pendulum_date_time(*args: Any) -> Any:
    *parts, zone = args
    return _form("pendulum.DateTime", iso=dtm.datetime(*parts).isoformat(), tz=zone)  # noqa: DTZ001


def _pendulum_time(*args: Any) -> Any:
    *parts, zone = args
    return _form("pendulum.Time", v=dtm.time(*parts).isoformat(), tz=zone)


def _pendulum_date(*args: Any) -> Any:
    day = dtm.date(*args)
    check_date(day)
    return _form("pendulum.Date", v=dtm.datetime(day.year, day.month, day.day, tzinfo=_UTC))


def _pendulum_duration(days: Any, seconds: Any, microseconds: Any) -> Any:
    return _form("pendulum.Duration", days=days, seconds=seconds, microseconds=microseconds)


# -- arrays ---------------------------------------------------------------------------------------------

_LITTLE_FORMATS: Final = {0: 1, 1: 1, 2: 2, 4: 2, 6: 4, 8: 4, 10: 8, 12: 8, 14: 4, 16: 8}
"""The little-endian formats in which Python pickles arrays, and the size of a number in each."""


def _array(_: Any, code: Any, kind: Any, data: Any) -> Any:
    return _form("array", type=code, size=_LITTLE_FORMATS.get(kind, 0), v=data)


def _numpy_type(text: Any, *_: Any) -> Any:
    def finished(state: Any) -> _Type:
        _, order, *rest = state
        unit = ""
        if str(text)[:1] in {"M", "m"} and type(rest[-1]) is tuple:
            name, number, *_others = rest[-1][1]
            name = name.decode() if type(name) is bytes else name
            unit = "" if name == "generic" else f"[{'' if number == 1 else number}{name}]"
        return _Type(f"{order}{text}{unit}")

    return Unfinished(finished)


def _numpy_array(data: Any, kind: Any, shape: Any, order: Any) -> Any:
    if type(kind) is not _Type or type(shape) is not tuple or type(data) not in {bytes, bytearray}:
        raise DecodeError("its array is not of plain numbers")
    lengths = list(reversed(shape)) if order == "F" else list(shape)
    made = _form("ndarray", dtype=kind.text, shape=lengths, v=bytes(data))
    return made.T if order == "F" else made


def _numpy_scalar(kind: Any, data: Any) -> Any:
    return _numpy_array(data, kind, (), "C")[()]


def _numpy_reconstruct(*_: Any) -> Unfinished:
    def finished(state: Any) -> Any:
        _version, shape, kind, is_fortran, data = state
        return _numpy_array(data, kind, shape, "F" if is_fortran else "C")

    return Unfinished(finished)


# -- iterators ------------------------------------------------------------------------------------------


def _zip(*iterators: Any) -> Any:
    return made_of_form({TAG: "iterator", "kind": "zip", "v": list(iterators)})


def _nothing(*_: Any) -> Any:
    raise DecodeError("it is made in a way that this version does not know")


_MULTIARRAY: Final = {"_reconstruct": _numpy_reconstruct, "scalar": _numpy_scalar}
_MODULES: Final[Mapping[str, Mapping[str, Callable[..., Any]]]] = {
    "dateutil.tz.tz": {
        "tzutc": lambda: _form("dateutil.tzutc"),
        "tzlocal": lambda: _form("dateutil.tzlocal"),
        "tzoffset": _dateutil_offset,
        "tzfile": _dateutil_file,
    },
    "dateutil.tz._tzfile": {
        "tzfile": _dateutil_file,
        "_unpickle": lambda _, __, filename, ___: _dateutil_file(None, filename),
    },
    "pendulum.tz.timezone": {
        "Timezone": _nothing,
        "Timezone._unpickle": lambda name, _: _form("pendulum.Timezone", v=name),
        "FixedTimezone": lambda offset, name=None: _form("pendulum.FixedTimezone", v=offset, name=name),
    },
    "pendulum.datetime": {"DateTime": _pendulum_date_time},
    "pendulum.date": {"Date": _pendulum_date},
    "pendulum.time": {"Time": _pendulum_time},
    "pendulum.duration": {"Duration": _pendulum_duration},
    "bson.tz_util": {"FixedOffset": _bson_offset},
    "array": {"array": _nothing, "_array_reconstructor": _array},
    "numpy": {"ndarray": _nothing, "dtype": _numpy_type},
    "numpy.core.multiarray": _MULTIARRAY,
    "numpy._core.multiarray": _MULTIARRAY,
    "numpy.core.numeric": {"_frombuffer": _numpy_array},
    "numpy._core.numeric": {"_frombuffer": _numpy_array},
    "builtins": {
        "iter": lambda over: made_of_form({TAG: "iterator", "v": over}),
        "reversed": lambda over: made_of_form({TAG: "iterator", "kind": "reversed", "v": over}),
        "enumerate": lambda over, at: made_of_form({TAG: "iterator", "kind": "enumerate", "v": over, "at": at}),
        "zip": _zip,
    },
}

LIBRARY_NAMES: Final = {
    (module, name): Maker(f"{module}.{name}", make)
    for module, names in _MODULES.items()
    for name, make in names.items()
}
"""What replaces each name, by module and by the name in it."""
