"""Dates and times: what is stored of them beside their tag, and how they are put together again."""

from __future__ import annotations

import datetime as dtm
from typing import Any, Final

from ptb_mongo.codec.fields import Decode, Encode, Fields, field
from ptb_mongo.codec.keys import TAG
from ptb_mongo.codec.zones import ZONES, placed
from ptb_mongo.errors import DecodeError

__all__ = ["datetime_fields", "datetime_of", "default_name", "time_fields", "time_of"]

_UTC: Final = dtm.timezone.utc


def datetime_fields(value: dtm.datetime, encode: Encode) -> Fields:
    """The fields of a date; its zone is encoded."""
    instant: Fields = {}
    try:
        utc = value.replace(tzinfo=_UTC) if value.tzinfo is None else value.astimezone(_UTC)
        instant["v"] = utc.replace(microsecond=utc.microsecond // 1000 * 1000)
    except (OverflowError, ValueError):  # within hours of the years 1 and 9999: no such instant in UTC
        pass
    return {**instant, "iso": value.isoformat(), **_zone_fields(value, encode)}


def time_fields(value: dtm.time, encode: Encode) -> Fields:
    """The fields of a time; its zone is encoded."""
    return {"v": value.isoformat(), **_zone_fields(value, encode)}


def _zone_fields(value: dtm.datetime | dtm.time, encode: Encode) -> Fields:
    """What the ISO form leaves out: the zone's name, and which of two repeated hours is meant."""
    fields: Fields = {"fold": 1} if value.fold else {}
    zone = value.tzinfo
    offset_says_all = (
        type(zone) is dtm.timezone
        and zone.tzname(None) == default_name(zone)
        and not zone.utcoffset(None).microseconds  # which fromisoformat may lose
    )
    if zone is not None and not offset_says_all:
        fields["tz"] = encode(zone)
    return fields


def default_name(zone: dtm.timezone) -> str:
    """The name that a zone of this offset has if it is given none."""
    return dtm.timezone(zone.utcoffset(None)).tzname(None)


def datetime_of(tagged: Fields, decode: Decode) -> dtm.datetime:
    """The date of its fields."""
    value = dtm.datetime.fromisoformat(field(tagged, "iso", str))
    fold = tagged.get("fold", 0)
    if "tz" not in tagged:
        return value.replace(fold=fold)
    zone = _zone(tagged, decode)
    if type(tagged["tz"]) is dict and tagged["tz"].get(TAG) not in ZONES:
        return value.replace(tzinfo=zone, fold=fold)
    return placed(value, zone, fold)


def time_of(tagged: Fields, decode: Decode) -> dtm.time:
    """The time of its fields."""
    value = dtm.time.fromisoformat(field(tagged, "v", str))
    zone = _zone(tagged, decode) if "tz" in tagged else value.tzinfo
    return value.replace(tzinfo=zone, fold=tagged.get("fold", 0))


def _zone(tagged: Fields, decode: Decode) -> Any:
    zone = decode(tagged["tz"])
    if not isinstance(zone, dtm.tzinfo):
        raise DecodeError("its tz is not a time zone")
    return zone
