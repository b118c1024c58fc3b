"""Converts APScheduler's triggers to plain form and back, and computes when they are due, at a bounded cost.

What a stranger may have stored is built by APScheduler's constructors from checked arguments. A cron rule that matches
no day, such as "30 February", would make APScheduler search up to the year 9999, and block the bot: so rules from the
database are searched only a few years ahead.
"""

from __future__ import annotations

import datetime as dtm
import re
import zoneinfo
from collections.abc import Mapping
from typing import Any, Final

from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from ptb_mongo.codec import TAG, Codec
from ptb_mongo.errors import DecodeError, DocumentError, EncodeError
from ptb_mongo.scopes.job_form import DAYS, MISSING_RUN, SHORTEST_INTERVAL

__all__ = ["first_run", "latest_run", "plain_date", "plain_trigger", "trigger_of"]

_UTC: Final = dtm.timezone.utc
_AHEAD: Final = dtm.timedelta(days=9 * 366)  # there are eight years between 29 February 2096 and the next one
_FEW_YEARS: Final = re.compile(r"\d{4}(,\d{4}){0,8}")
_SECOND: Final = dtm.timedelta(seconds=1)
_NEVER: Final[dict[tuple[str, ...], dtm.datetime]] = {}
"""Rules without a match within the search, and from when on; a stranger may store the same one a thousand times."""
_MOST_NEVER: Final = 1000
_AGAIN: Final = dtm.timedelta(days=1)


class _StoredCron(CronTrigger):  # type: ignore[misc]  # APScheduler 3 is not typed
    """A cron rule from the database."""

    def get_next_fire_time(self, previous_fire_time: Any, now: dtm.datetime) -> Any:
        """See `CronTrigger`."""
        end: dtm.datetime | None = self.end_date
        if previous_fire_time is not None or self.start_date is not None or end is not None:
            return self._searched(previous_fire_time, now)
        rule = (*map(str, self.fields), str(self.timezone))
        known = _NEVER.get(rule)
        if known is not None and known <= now < known + _AGAIN:
            return None
        found = self._searched(None, now)
        if found is None:
            if len(_NEVER) >= _MOST_NEVER:
                _NEVER.clear()
            _NEVER[rule] = now
        return found

    def _searched(self, previous_fire_time: Any, now: dtm.datetime) -> Any:
        years = str(self.fields[0])
        end: dtm.datetime | None = self.end_date  # type: ignore[has-type]
        if not _FEW_YEARS.fullmatch(years):
            latest = max(now, self.start_date or now).astimezone(_UTC) + _AHEAD
            self.end_date = min(latest, end) if end is not None else latest
        try:
            return super().get_next_fire_time(previous_fire_time, now)
        except (OverflowError, ValueError):  # beyond the year 9999
            return None
        finally:
            self.end_date = end


# -- to plain forms -------------------------------------------------------------------------------------


def plain_date(date: dtm.datetime) -> dtm.datetime:
    """An instant in MongoDB's precision: in UTC, with milliseconds."""
    utc = date.astimezone(_UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


def plain_trigger(trigger: object, codec: Codec) -> dict[str, Any]:
    """The plain form of a trigger.

    Raises:
        EncodeError: If it has none.
    """
    kind = type(trigger)
    if kind is DateTrigger:
        at: dtm.datetime = trigger.run_date  # type: ignore[attr-defined]
        return {"kind": "once", "at": plain_date(at), "zone": _plain_zone(at.tzinfo, codec)}
    if kind is IntervalTrigger:
        return _plain_interval(trigger, codec)
    if kind in {CronTrigger, _StoredCron}:
        return _plain_cron(trigger, codec)
    raise EncodeError(
        f"a {kind.__qualname__} cannot be stored; use run_once, run_repeating, run_daily, run_monthly, or a trigger "
        "date, interval or cron",
        path="trigger",
    )


def _plain_interval(trigger: Any, codec: Codec) -> dict[str, Any]:
    seconds = trigger.interval_length
    if seconds < SHORTEST_INTERVAL:
        raise EncodeError(f"an interval of {seconds:g} s is too short to be stored", path="trigger")
    interval = int(seconds) if seconds == int(seconds) else seconds
    plain = {"kind": "repeating", "interval": interval, "first": plain_date(trigger.start_date)}
    return plain | _ends(trigger, codec)


def _ends(trigger: Any, codec: Codec) -> dict[str, Any]:
    plain: dict[str, Any] = {}
    if trigger.end_date is not None:
        plain["last"] = plain_date(trigger.end_date)
    plain["zone"] = _plain_zone(trigger.timezone, codec)
    if trigger.jitter is not None:
        plain["jitter"] = trigger.jitter
    return plain


def _plain_cron(trigger: Any, codec: Codec) -> dict[str, Any]:
    given = {field.name: str(field) for field in trigger.fields if not field.is_default}
    start = {} if trigger.start_date is None else {"first": plain_date(trigger.start_date)}
    return (_daily(given) or {"kind": "cron", **given}) | start | _ends(trigger, codec)


def _daily(given: Mapping[str, str]) -> dict[str, Any] | None:
    """The arguments of `run_daily` or `run_monthly`; `None` for any other rule."""
    days = given.keys() - {"hour", "minute", "second"}
    numbers = [given.get(name, "") for name in ("hour", "minute", "second")]
    if len(days) != 1 or not all(number.isdecimal() for number in numbers):
        return None
    (which,) = days
    time = ":".join(f"{int(number):02}" for number in numbers)
    named = given[which].split(",")
    if which == "day_of_week" and all(day in DAYS for day in named):
        ordered = sorted(set(named), key=DAYS.index)
        return {"kind": "daily", "time": time, **({"days": ordered} if len(ordered) < len(DAYS) else {})}
    if which == "day" and (given[which] == "last" or given[which].isdecimal()):
        return {"kind": "monthly", "time": time, "day": "last" if given[which] == "last" else int(given[which])}
    return None


def _plain_zone(zone: dtm.tzinfo | None, codec: Codec) -> Any:
    if zone is _UTC:
        return "UTC"
    if type(zone) is zoneinfo.ZoneInfo and zone.key:
        return zone.key
    if zone is None:
        raise EncodeError("a date of a trigger without a time zone cannot be stored", path="trigger")
    return codec.encode({"zone": zone})["zone"]


# -- from plain forms -----------------------------------------------------------------------------------


def trigger_of(record: Mapping[str, Any], codec: Codec) -> Any:
    """The trigger of a checked plain form.

    Raises:
        DecodeError: If APScheduler, or this machine's time zone database, does not know it.
    """
    kind = record["kind"]
    try:
        zone = _zone_of(record.get("zone", "UTC"), codec)
        if kind == "once":
            return DateTrigger(record["at"].astimezone(zone), zone)
        ends = {
            "start_date": _in_zone(record.get("first"), zone),
            "end_date": _in_zone(record.get("last"), zone),
            "timezone": zone,
            "jitter": record.get("jitter"),
        }
        if kind == "repeating":
            return IntervalTrigger(seconds=record["interval"], **ends)
        return _StoredCron(**_cron_fields(record), **ends)
    except DocumentError:
        raise
    except Exception as error:  # APScheduler may raise anything for what it does not know
        raise DecodeError(f"it is not a trigger: {type(error).__name__}", path="trigger") from error


def _cron_fields(record: Mapping[str, Any]) -> dict[str, str]:
    if record["kind"] == "cron":
        return {name: value for name, value in record.items() if type(value) is str and name not in {"kind", "zone"}}
    hour, minute, second = (str(int(part)) for part in record["time"].split(":"))
    times = {"hour": hour, "minute": minute, "second": second}
    if record["kind"] == "daily":
        return {"day_of_week": ",".join(record.get("days", DAYS)), **times}
    return {"day": str(record["day"]), **times}


def _zone_of(zone: Any, codec: Codec) -> dtm.tzinfo:
    if zone == "UTC":
        return _UTC
    found: dtm.tzinfo = codec.decode({TAG: "zoneinfo", "v": zone}) if type(zone) is str else zone
    return found


def _in_zone(date: dtm.datetime | None, zone: dtm.tzinfo) -> dtm.datetime | None:
    return None if date is None else date.astimezone(zone)


# -- when it is due -------------------------------------------------------------------------------------


def first_run(next_run: dtm.datetime | None, trigger: Any, now: dtm.datetime) -> dtm.datetime | None:
    """The next run of a job that is being loaded, in the zone of its trigger."""
    if next_run is MISSING_RUN or next_run == MISSING_RUN:
        found: dtm.datetime | None = trigger.get_next_fire_time(None, now)
        return found
    return _in_zone(next_run, _zone_in(trigger))


def _zone_in(trigger: Any) -> dtm.tzinfo:
    zone = trigger.run_date.tzinfo if type(trigger) is DateTrigger else trigger.timezone
    return zone if isinstance(zone, dtm.tzinfo) else _UTC


def latest_run(trigger: Any, next_run: dtm.datetime, now: dtm.datetime) -> dtm.datetime:
    """The last time up to now at which a trigger is due, starting from a time at which it is due.

    APScheduler goes from one time to the next, which takes seconds for a job that runs every second after a week
    without the bot.
    """
    following = trigger.get_next_fire_time(next_run, now)
    if following is None or following > now:
        return next_run
    if getattr(trigger, "jitter", None):
        return max(next_run, now - _SECOND)
    if type(trigger) is IntervalTrigger:
        begin = next_run.astimezone(_UTC)  # in any other zone, Python adds wall-clock time
        missed = int((now - begin) / trigger.interval)
        latest: dtm.datetime = begin + missed * trigger.interval
        return latest.astimezone(next_run.tzinfo)
    return _latest_match(trigger, next_run, now)


def _latest_match(trigger: Any, next_run: dtm.datetime, now: dtm.datetime) -> dtm.datetime:
    """The last matching time up to now, found by bisection: the latest second with a match at or after it."""
    begin, found = next_run.astimezone(_UTC), next_run
    low, high = 0, int((now - begin) / _SECOND) + 1
    while low < high:
        middle = (low + high + 1) // 2
        match = trigger.get_next_fire_time(None, begin + middle * _SECOND)
        if match is not None and match <= now:
            found, low = match, middle
        else:
            high = middle - 1
    return found if isinstance(found, dtm.datetime) else next_run
