"""Dates, times and durations of pendulum: stored as Python's own are, under tags of their own.

Where pendulum is missing when they are loaded, they are Python's own.
"""

from __future__ import annotations

import copy
import datetime as dtm
import zoneinfo
from collections.abc import Callable
from typing import Any, Final

from ptb_mongo.codec.fields import Decode, Encode, Fields, field, integer
from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.moments import datetime_fields, datetime_of, time_fields, time_of
from ptb_mongo.codec.zones import ZONES, library, zone_form
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["PENDULUM", "pendulum_form"]

_UTC: Final = dtm.timezone.utc
_MOST_MONTHS: Final = 999_999
_FIELDS: Final = ("days", "seconds", "microseconds")


def pendulum_form(value: Any, encode: Encode) -> Fields | None:
    """The form of a value of pendulum; `None` for what has none.

    Raises:
        EncodeError: If it is a duration that would not come back.
    """
    kind = type(value).__name__
    if isinstance(value, dtm.tzinfo):
        return zone_form(value)
    if kind == "DateTime" and isinstance(value, dtm.datetime):
        return {TAG: "pendulum.DateTime", **datetime_fields(_plain_date(value), encode)}
    if kind == "Time" and isinstance(value, dtm.time):
        return {TAG: "pendulum.Time", **time_fields(_plain_time(value), encode)}
    if kind == "Date" and isinstance(value, dtm.date):
        return {TAG: "pendulum.Date", "v": dtm.datetime(value.year, value.month, value.day, tzinfo=_UTC)}
    if kind == "Duration" and isinstance(value, dtm.timedelta):
        return _duration_form(value)
    if kind in ("Interval", "Period"):
        raise EncodeError(f"a {kind} cannot be stored; store its start and its end")
    return None


def _plain_date(value: dtm.datetime) -> dtm.datetime:
    date = (value.year, value.month, value.day)
    time = (value.hour, value.minute, value.second, value.microsecond)
    return dtm.datetime(*date, *time, tzinfo=value.tzinfo, fold=value.fold)


def _plain_time(value: dtm.time) -> dtm.time:
    parts = (value.hour, value.minute, value.second, value.microsecond)
    return dtm.time(*parts, tzinfo=value.tzinfo)  # its own copies have no fold


def _duration_form(value: Any) -> Fields:
    days, seconds, micros = _parts(value)
    form = {
        TAG: "pendulum.Duration",
        "v": dtm.timedelta.total_seconds(value),
        **({"years": value.years} if value.years else {}),
        **({"months": value.months} if value.months else {}),
        "days": days,
        "seconds": seconds,
        "microseconds": micros,
    }
    try:
        is_exact = repr(_duration(form, lambda plain: plain)) == repr(value)
    except DecodeError:
        is_exact = False
    if not is_exact:
        raise EncodeError("this Duration cannot be stored; store duration.total_seconds()")
    return form


def _parts(value: Any) -> list[int]:
    """What a `timedelta` is made of, whatever its class says of itself."""
    return [vars(dtm.timedelta)[name].__get__(value) for name in _FIELDS]


def _date_time(tagged: Fields, decode: Decode) -> dtm.datetime:
    value = datetime_of(tagged, decode)
    pendulum = library("pendulum")
    if pendulum is None:
        return value
    date = (value.year, value.month, value.day)
    time = (value.hour, value.minute, value.second, value.microsecond)
    return pendulum.DateTime(*date, *time, tzinfo=_own_zone(value), fold=value.fold)  # type: ignore[no-any-return]


def _own_zone(value: dtm.datetime) -> dtm.tzinfo | None:
    """The zone of a date as one of pendulum, whose copies of a date have no other."""
    zone, offset = value.tzinfo, value.utcoffset()
    if zone is None or offset is None or type(zone).__module__.partition(".")[0] == "pendulum":
        return zone
    if type(zone) is zoneinfo.ZoneInfo and zone.key:
        return ZONES["pendulum.Timezone"]({"v": zone.key}, lambda plain: plain)
    name = zone.tzname(value)
    fields = {"v": offset // dtm.timedelta(seconds=1), **({"name": name} if name else {})}
    return ZONES["pendulum.FixedTimezone"](fields, lambda plain: plain)


def _time(tagged: Fields, decode: Decode) -> dtm.time:
    value = time_of(tagged, decode)
    pendulum = library("pendulum")
    if pendulum is None:
        return value
    parts = (value.hour, value.minute, value.second, value.microsecond)
    return pendulum.Time(*parts, tzinfo=value.tzinfo)  # type: ignore[no-any-return]


def _date(tagged: Fields, _: Decode) -> dtm.date:
    value = field(tagged, "v", dtm.datetime).date()
    pendulum = library("pendulum")
    return value if pendulum is None else pendulum.Date(value.year, value.month, value.day)  # type: ignore[no-any-return]


def _duration(tagged: Fields, _: Decode) -> dtm.timedelta:
    value = dtm.timedelta(*(field(tagged, name, int) for name in _FIELDS))
    pendulum = library("pendulum")
    if pendulum is None:
        return value
    years, months = (
        integer(tagged, name, -_MOST_MONTHS, _MOST_MONTHS) if name in tagged else 0 for name in ("years", "months")
    )
    rest = value - dtm.timedelta(days=365 * years + 30 * months)  # which is what pendulum counts them for
    parts = {name: getattr(rest, name) for name in _FIELDS}
    made = pendulum.Duration(years=years, months=months, **parts)
    if _parts(copy.deepcopy(made)) != _parts(value):  # it reckons with floats, and most so when it is copied
        raise DecodeError("pendulum has no Duration of just this length")
    return made  # type: ignore[no-any-return]


PENDULUM: Final[dict[str, Callable[[Fields, Decode], Any]]] = {
    "pendulum.DateTime": _date_time,
    "pendulum.Date": _date,
    "pendulum.Time": _time,
    "pendulum.Duration": _duration,
}
"""How each value is made, by its tag."""
