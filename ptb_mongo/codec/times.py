"""The plain forms of dates, times and time zones."""

from __future__ import annotations

import datetime as dtm
import zoneinfo
from typing import Any, Final

from ptb_mongo.codec.keys import TAG
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
        instant: dict[str, Any] = {}
        try:
            utc = value.replace(tzinfo=_UTC) if value.tzinfo is None else value.astimezone(_UTC)
            instant["v"] = utc.replace(microsecond=utc.microsecond // 1000 * 1000)
        except (OverflowError, ValueError):  # within hours of the years 1 and 9999: no such instant in UTC
            pass
        return {TAG: "datetime", **instant, "iso": value.isoformat(), **self._zone_fields(value, depth)}

    def _time(self, value: dtm.time, depth: int) -> Any:
        return {TAG: "time", "v": value.isoformat(), **self._zone_fields(value, depth)}

    def _timezone(self, value: dtm.timezone, depth: int) -> Any:
        name = value.tzname(None)
        named = {} if name == _default_name(value) else {"name": text_form(name, depth)}
        return {TAG: "timezone", "v": self._encode(value.utcoffset(None), depth + 1), **named}

    def _zone_fields(self, value: dtm.datetime | dtm.time, depth: int) -> dict[str, Any]:
        """What the ISO form leaves out: the zone's name, and which of two repeated hours is meant."""
        fields: dict[str, Any] = {"fold": 1} if value.fold else {}
        zone = value.tzinfo
        offset_says_all = (
            type(zone) is dtm.timezone
            and zone.tzname(None) == _default_name(zone)
            and not zone.utcoffset(None).microseconds  # which fromisoformat may lose
        )
        if zone is not None and not offset_says_all:
            fields["tz"] = self._encode(zone, depth + 1)
        return fields


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


def _default_name(zone: dtm.timezone) -> str:
    return dtm.timezone(zone.utcoffset(None)).tzname(None)
