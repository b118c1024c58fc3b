"""The plain forms of dates, times and time zones."""

from __future__ import annotations

import datetime as dtm
import zoneinfo
from typing import Any, Final

from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.moments import datetime_fields, default_name, time_fields
from ptb_mongo.codec.scalars import Form, text_form
from ptb_mongo.errors import EncodeError

__all__ = ["TimeForms"]

_UTC: Final = dtm.timezone.utc


class TimeForms:
    """Encodes dates, times and time zones.

    Args:
        encode: Encodes a time zone, which may be of any class.

    Attributes:
        by_type: The form of each, by the exact type of the value.
    """

    def __init__(self, encode: Form) -> None:
        self._encode = encode
        self.by_type: dict[type, Form] = {
            dtm.datetime: self._datetime,
            dtm.date: _date_form,
            dtm.time: self._time,
            dtm.timedelta: _timedelta_form,
            dtm.timezone: self._timezone,
            zoneinfo.ZoneInfo: _zone_form,
        }

    def _datetime(self, value: dtm.datetime, depth: int) -> Any:
        zone = value.tzinfo
        if zone is not _UTC and type(zone) is dtm.timezone and zone == _UTC and zone.tzname(None) == "UTC":
            value = value.replace(tzinfo=_UTC)  # the same, but for its identity
        if value.tzinfo is _UTC and not value.microsecond % 1000 and not value.fold:
            return value
        return {TAG: "datetime", **datetime_fields(value, lambda zone: self._encode(zone, depth + 1))}

    def _time(self, value: dtm.time, depth: int) -> Any:
        return {TAG: "time", **time_fields(value, lambda zone: self._encode(zone, depth + 1))}

    def _timezone(self, value: dtm.timezone, depth: int) -> Any:
        name = value.tzname(None)
        named = {} if name == default_name(value) else {"name": text_form(name, depth)}
        return {TAG: "timezone", "v": self._encode(value.utcoffset(None), depth + 1), **named}


def _date_form(value: dtm.date, _: int) -> Any:
    return {TAG: "date", "v": dtm.datetime(value.year, value.month, value.day, tzinfo=_UTC)}


def _timedelta_form(value: dtm.timedelta, _: int) -> Any:
    return {
        TAG: "timedelta",
        "v": value.total_seconds(),
        "days": value.days,
        "seconds": value.seconds,
        "microseconds": value.microseconds,
    }


def _zone_form(value: zoneinfo.ZoneInfo, _: int) -> Any:
    if not value.key:
        raise EncodeError("a ZoneInfo that was read from a file cannot be stored; use one with a name")
    return {TAG: "zoneinfo", "v": value.key}
