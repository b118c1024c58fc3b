"""Time zones of other libraries: pytz, dateutil, pendulum and PyMongo. Stored are its name and the library's.

A zone is stored only if just the same one comes back. Where a library is missing when a zone is loaded, `zoneinfo` has
one of that name, and the offset of a date says the rest: data that was written beside a library is not lost without it.
"""

from __future__ import annotations

import datetime as dtm
import importlib
import re
import zoneinfo
from collections.abc import Callable
from typing import Any, Final

from bson import tz_util

from ptb_mongo.codec.fields import Decode, Fields, field, integer, optional
from ptb_mongo.codec.keys import TAG
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["ZONES", "library", "placed", "zone_form"]

_DAY: Final = 86_400 - 1
_DAY_IN_MINUTES: Final = 1440 - 1
_LONGEST_NAME: Final = 100
_OF_DATEUTIL: Final = re.compile(r"tzfile\((['\"])(.*)\1\)")
_PENDULUM: Final = "pendulum.tz.timezone"


def library(name: str) -> Any:
    """A library that the user's program may use; `None` if it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


# -- their forms ----------------------------------------------------------------------------------------


def zone_form(zone: dtm.tzinfo) -> Fields | None:
    """The form of a zone of another library; `None` if its class is none that is known.

    Raises:
        EncodeError: If another zone would come back.
    """
    root = type(zone).__module__.partition(".")[0]
    form = _FORMS[root](zone) if root in _FORMS else None
    if form is not None and not _comes_back(form, zone):
        raise EncodeError(f'{zone!r:.100} is no zone that its name stands for; use zoneinfo.ZoneInfo("Europe/Berlin")')
    return form


def _comes_back(form: Fields, zone: dtm.tzinfo) -> bool:
    try:
        made = ZONES[form[TAG]](form, _as_it_is)
    except Exception:  # noqa: BLE001  (whatever a library raises for a name that it does not know)
        return False
    if type(made) is not type(zone) or repr(made) != repr(zone):
        return False
    return made is zone or type(zone).__module__.partition(".")[0] != "pytz"  # whose zones exist once


def _of_pytz(zone: Any) -> Fields | None:
    try:
        args = zone.__reduce__()[1]
    except Exception:  # noqa: BLE001  (a class that only lives in a module of that name)
        return None
    match args:
        case ():
            return {TAG: "pytz", "v": "UTC"}
        case (int(minutes),):
            return {TAG: "pytz.FixedOffset", "v": minutes}
        case (str(name),):
            return {TAG: "pytz", "v": name}
        case (str(name), int(offset), int(dst), str(period)):
            return {TAG: "pytz", "v": name, "offset": offset, "dst": dst, "name": period}
    return None


def _of_dateutil(zone: Any) -> Fields | None:
    kind = type(zone).__name__
    if kind == "tzutc":
        return {TAG: "dateutil.tzutc", "v": "UTC"}
    if kind == "tzlocal":
        return {TAG: "dateutil.tzlocal", "v": "local"}
    if kind == "tzoffset":
        return {TAG: "dateutil.tzoffset", **_offset(zone, dtm.timedelta(seconds=1))}
    if kind == "tzfile" and (found := _OF_DATEUTIL.fullmatch(repr(zone))):
        name = re.split(r"[/\\]zoneinfo[/\\]", found[2])[-1].replace("\\", "/")
        if _is_name(name):
            return {TAG: "dateutil.gettz", "v": name}
    return None


def _of_pendulum(zone: Any) -> Fields | None:
    kind = type(zone).__name__
    if kind == "Timezone":
        return {TAG: "pendulum.Timezone", "v": zone.name}
    if kind == "FixedTimezone":
        return {TAG: "pendulum.FixedTimezone", **_offset(zone, dtm.timedelta(seconds=1))}
    return None


def _of_bson(zone: Any) -> Fields | None:
    if type(zone) is not tz_util.FixedOffset:
        return None
    return {TAG: "bson.FixedOffset", **_offset(zone, dtm.timedelta(minutes=1))}


def _offset(zone: dtm.tzinfo, unit: dtm.timedelta) -> Fields:
    """An offset in units, and its name, which may be missing."""
    offset, name = zone.utcoffset(None), zone.tzname(None)
    units, rest = divmod(offset or dtm.timedelta(0), unit)
    if offset is None or rest:
        raise EncodeError(f"{zone!r:.100} has an offset that cannot be stored; use datetime.timezone")
    return {"v": units} if name is None else {"v": units, "name": _checked_name(name)}


def _checked_name(name: str) -> str:
    if type(name) is not str or len(name) > _LONGEST_NAME or not name.isprintable():
        raise EncodeError("the name of its time zone cannot be stored")
    return name


_FORMS: Final[dict[str, Callable[[Any], Fields | None]]] = {
    "pytz": _of_pytz,
    "dateutil": _of_dateutil,
    "pendulum": _of_pendulum,
    "bson": _of_bson,
}


# -- and what is made of them ---------------------------------------------------------------------------


def _as_it_is(value: Any) -> Any:
    return value


def _is_name(name: str) -> bool:
    """Whether a zone of that name is known here: a stranger's name must not open any other file."""
    try:
        zoneinfo.ZoneInfo(name)
    except Exception:  # noqa: BLE001  (it also raises what the file system does)
        return False
    return len(name) <= _LONGEST_NAME


def _name(tagged: Fields) -> str:
    name: str = field(tagged, "v", str)
    if len(name) > _LONGEST_NAME:
        raise DecodeError("its v is no name of a time zone")
    return name


def _fixed(seconds: int, name: str | None) -> dtm.timezone:
    offset = dtm.timedelta(seconds=seconds)
    return dtm.timezone(offset) if name is None else dtm.timezone(offset, name)


def _label(tagged: Fields) -> str | None:
    name: str | None = optional(tagged, "name", str)
    if name is not None and (len(name) > _LONGEST_NAME or not name.isprintable()):
        raise DecodeError("its name is none of a time zone")
    return name


def _pytz(tagged: Fields, _: Decode) -> dtm.tzinfo:
    name = _name(tagged)
    period = None
    if "offset" in tagged:
        seconds, dst = integer(tagged, "offset", -_DAY, _DAY), integer(tagged, "dst", -_DAY, _DAY)
        period = dtm.timedelta(seconds=seconds), dtm.timedelta(seconds=dst), _label(tagged)
    pytz = library("pytz")
    if pytz is None and name == "UTC":
        return dtm.timezone.utc
    try:
        zone = pytz.timezone(name)
    except (AttributeError, KeyError):  # pytz is missing, or does not know it
        return _without_pytz(name, period)
    if period is None:
        return zone  # type: ignore[no-any-return]
    # One for each offset and name that the zone has had. The library's own function for this adds to them what a
    # stranger makes up, for good.
    periods = getattr(zone, "_tzinfos", None) or {}
    return periods.get(period) or dtm.timezone(period[0], period[2] or name)


def _without_pytz(name: str, period: tuple[dtm.timedelta, dtm.timedelta, str | None] | None) -> dtm.tzinfo:
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a zone that is gone, or no data of zones at all
        if period is None:
            raise
    return dtm.timezone(period[0], period[2] or name)


def _pytz_offset(tagged: Fields, _: Decode) -> dtm.tzinfo:
    minutes = integer(tagged, "v", -_DAY_IN_MINUTES, _DAY_IN_MINUTES)
    pytz = library("pytz")
    return _fixed(minutes * 60, None) if pytz is None else pytz.FixedOffset(minutes)


def _dateutil_utc(_: Fields, __: Decode) -> dtm.tzinfo:
    tz = library("dateutil.tz")
    return dtm.timezone.utc if tz is None else tz.tzutc()


def _dateutil_local(_: Fields, __: Decode) -> dtm.tzinfo:
    tz = library("dateutil.tz")
    return dtm.timezone.utc if tz is None else tz.tzlocal()


def _dateutil_offset(tagged: Fields, _: Decode) -> dtm.tzinfo:
    seconds, name = integer(tagged, "v", -_DAY, _DAY), _label(tagged)
    tz = library("dateutil.tz")
    return _fixed(seconds, name) if tz is None else tz.tzoffset(name, seconds)


def _dateutil_file(tagged: Fields, _: Decode) -> dtm.tzinfo:
    zone = zoneinfo.ZoneInfo(_name(tagged))
    tz = library("dateutil.tz")
    found: Any = None if tz is None else tz.gettz(zone.key)
    return found if tz is not None and type(found) is tz.tzfile else zone


def _pendulum_zone(tagged: Fields, _: Decode) -> dtm.tzinfo:
    zone = zoneinfo.ZoneInfo(_name(tagged))
    module = library(_PENDULUM)
    return zone if module is None else module.Timezone(zone.key)


def _pendulum_offset(tagged: Fields, _: Decode) -> dtm.tzinfo:
    seconds, name = integer(tagged, "v", -_DAY, _DAY), _label(tagged)
    module = library(_PENDULUM)
    return _fixed(seconds, name) if module is None else module.FixedTimezone(seconds, name)


def _bson_offset(tagged: Fields, _: Decode) -> dtm.tzinfo:
    minutes = integer(tagged, "v", -_DAY_IN_MINUTES, _DAY_IN_MINUTES)
    return tz_util.FixedOffset(minutes, _label(tagged))  # type: ignore[arg-type]


ZONES: Final[dict[str, Callable[[Fields, Decode], dtm.tzinfo]]] = {
    "pytz": _pytz,
    "pytz.FixedOffset": _pytz_offset,
    "dateutil.tzutc": _dateutil_utc,
    "dateutil.tzoffset": _dateutil_offset,
    "dateutil.gettz": _dateutil_file,
    "dateutil.tzlocal": _dateutil_local,
    "pendulum.Timezone": _pendulum_zone,
    "pendulum.FixedTimezone": _pendulum_offset,
    "bson.FixedOffset": _bson_offset,
}
"""How each zone is made, by its tag."""


def placed(value: dtm.datetime, zone: dtm.tzinfo, fold: int) -> dtm.datetime:
    """A date, which has the offset that was stored, in its zone.

    Args:
        value: The date.
        zone: The zone, which may be another than was stored: its library is missing, or the machine is another one.
        fold: Which of two repeated hours is meant.

    Returns:
        The same instant: with the offset alone, if the zone does not have that offset then.
    """
    wanted = value.utcoffset()
    if wanted is not None and value.replace(tzinfo=zone).utcoffset() != wanted:
        zone = value.astimezone(zone).tzinfo or zone  # pytz has a zone for each of its periods
    for which in (fold, 1 - fold):
        made = value.replace(tzinfo=zone, fold=which)
        if wanted is None or made.utcoffset() == wanted:
            return made
    return value.replace(fold=fold)
