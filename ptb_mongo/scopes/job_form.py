"""The form of a stored job: what its document must contain, checked before anything is made from it. Pure.

A document contains the arguments of `JobQueue`, as plain values; a missing field means the default:

    {_id: "daily-report", callback: "my_bot.jobs:report", name: "report", chat_id: -100123, data: {…},
     trigger: {kind: "daily", time: "08:00:00", days: ["mon", "fri"], zone: "Europe/Berlin"},
     next_run: ISODate("2026-01-05T07:00:00Z"), last_run: ISODate("2026-01-02T07:00:00Z")}

Whoever writes to the database is a stranger. Dates are limited to the years 1970 to 9000, so that no scheduler computes
one beyond Python's last; numbers are limited to what makes sense for people.
"""

from __future__ import annotations

import datetime as dtm
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ptb_mongo.codec.bounds import shown
from ptb_mongo.errors import DecodeError
from ptb_mongo.scopes.ids import whole_number

__all__ = ["DAYS", "FIELDS", "LONGEST_ID", "MISSING_RUN", "SHORTEST_INTERVAL", "JobRecord", "record_of"]

FIELDS: Final = (
    "callback",
    "name",
    "chat_id",
    "user_id",
    "data",
    "trigger",
    "next_run",
    "last_run",
    "misfire_grace_time",
    "coalesce",
    "max_instances",
    "claim",
)
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
LONGEST_ID: Final = 512
"""The maximum length of a job's id, of its name and of its callback's name."""

SHORTEST_INTERVAL: Final = 0.001
_LONGEST_INTERVAL: Final = 100 * 366 * 86_400.0
_MOST: Final = 2**31
_UTC: Final = dtm.timezone.utc
_FIRST: Final = dtm.datetime(1970, 1, 1, tzinfo=_UTC)
_LAST: Final = dtm.datetime(9000, 1, 1, tzinfo=_UTC)
_CRON: Final = re.compile(r"[0-9A-Za-z*/, -]{1,100}")
_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d):([0-5]\d)")
_CRON_FIELDS: Final = ("year", "month", "day", "week", "day_of_week", "hour", "minute", "second")

MISSING_RUN: Final = _FIRST - dtm.timedelta(seconds=1)
"""Stands for a `next_run` that somebody has omitted: it is computed by the trigger."""


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job in its stored form.

    Attributes:
        callback: The registered name of its callback.
        name, chat_id, user_id, data: Those of PTB's `Job`.
        trigger: Its trigger, in plain form.
        next_run: When it runs next; `None` while it is paused, `MISSING_RUN` if that is not said.
        last_run: The scheduled time of its last run.
        misfire_grace_time, coalesce, max_instances: Those of APScheduler's `Job`.
        claim: The worker that is running it now; `None` if none is.
    """

    callback: str
    name: str
    chat_id: int | None = None
    user_id: int | None = None
    data: Any = None
    trigger: Mapping[str, Any] = field(default_factory=dict)
    next_run: dtm.datetime | None = None
    last_run: dtm.datetime | None = None
    misfire_grace_time: int | None = None
    coalesce: bool = True
    max_instances: int = 1
    claim: str | None = None


def record_of(body: Mapping[str, Any]) -> JobRecord:
    """The job in a decoded document.

    Raises:
        DecodeError: If it is not a job; says what is wrong.
    """
    callback = _text("callback", body.get("callback"))
    name = body.get("name")
    next_run = _date("next_run", body["next_run"]) if "next_run" in body else MISSING_RUN
    grace, instances = body.get("misfire_grace_time"), body.get("max_instances", 1)
    return JobRecord(
        callback=callback,
        name=callback.rpartition(":")[2] or callback if name is None else _text("name", name),
        chat_id=_id("chat_id", body.get("chat_id")),
        user_id=_id("user_id", body.get("user_id")),
        data=body.get("data"),
        trigger=_trigger(body.get("trigger"), next_run),
        next_run=next_run,
        last_run=_date("last_run", body.get("last_run")),
        misfire_grace_time=None if grace is None else _positive("misfire_grace_time", grace),
        coalesce=_flag("coalesce", body.get("coalesce", True)),
        max_instances=_positive("max_instances", instances),
        claim=_claim(body.get("claim")),
    )


# -- values ---------------------------------------------------------------------------------------------


def _text(name: str, value: object) -> str:
    if type(value) is not str or not 0 < len(value) <= LONGEST_ID:
        raise DecodeError(f"it is not a text of 1 to {LONGEST_ID} characters but {shown(value)}", path=name)
    return value


def _id(name: str, value: object) -> int | None:
    if value is None:
        return None
    number = whole_number(value)
    if number is None:
        raise DecodeError(f"it is not an id but {shown(value)}", path=name)
    return number


def _positive(name: str, value: object) -> int:
    number = whole_number(value)
    if number is None or not 0 < number < _MOST:
        raise DecodeError(f"it is not a whole number of at least 1 but {shown(value)}", path=name)
    return number


def _flag(name: str, value: object) -> bool:
    if type(value) is not bool:
        raise DecodeError(f"it is not true or false but {shown(value)}", path=name)
    return value


def _claim(value: object) -> str | None:
    """A claim; an invalid one was not made by a worker, and expires like that of a dead one."""
    if value is None:
        return None
    return value if type(value) is str and len(value) <= LONGEST_ID else "void"


def _date(name: str, value: object) -> dtm.datetime | None:
    if value is None:
        return None
    if type(value) is dtm.datetime and value.tzinfo is not None:
        try:
            instant = value.astimezone(_UTC)
        except (OverflowError, ValueError):
            instant = _LAST
        if _FIRST <= instant < _LAST:
            return instant
    raise DecodeError(f"it is not a date from {_FIRST.year} to {_LAST.year - 1} but {shown(value)}", path=name)


def _needed_date(name: str, value: object) -> dtm.datetime:
    date = _date(name, value)
    if date is None:
        raise DecodeError("it is missing", path=name)
    return date


def _seconds(name: str, value: object, least: float) -> float:
    if (type(value) is int or type(value) is float) and least <= value <= _LONGEST_INTERVAL:
        return value  # not NaN, which fails both comparisons
    raise DecodeError(f"it is not a number of at least {least:g} seconds but {shown(value)}", path=name)


def _zone(name: str, value: object) -> Any:
    if type(value) is str and 0 < len(value) <= LONGEST_ID:
        return value  # looked up when the trigger is created
    if isinstance(value, dtm.tzinfo):
        return value
    raise DecodeError(f"it is not a time zone but {shown(value)}", path=name)


def _time(name: str, value: object) -> str:
    if type(value) is not str or not _TIME.fullmatch(value):
        raise DecodeError(f'it is not a time such as "08:00:00" but {shown(value)}', path=name)
    return value


def _days(name: str, value: object) -> list[str]:
    if type(value) is not list or not 0 < len(value) <= len(DAYS) or not all(one in DAYS for one in value):
        raise DecodeError(f'it is not a list of days such as ["mon", "fri"] but {shown(value)}', path=name)
    return sorted(set(value), key=DAYS.index)


def _day_of_month(name: str, value: object) -> int | str:
    if type(value) is str and value == "last":
        return value
    number = whole_number(value)
    if number is None or not 0 < number <= 31:  # noqa: PLR2004
        raise DecodeError(f'it is not a day of a month or "last" but {shown(value)}', path=name)
    return number


def _cron(name: str, value: object) -> str:
    if type(value) is not str or not _CRON.fullmatch(value):
        raise DecodeError(f"it is not a cron expression but {shown(value)}", path=name)
    return value


# -- triggers -------------------------------------------------------------------------------------------

_Check = Callable[[str, object], Any]
_OF_ALL: Final[dict[str, _Check]] = {"zone": _zone}
_REPEATED: Final[dict[str, _Check]] = {
    **_OF_ALL,
    "first": _date,
    "last": _date,
    "jitter": lambda name, value: _seconds(name, value, 0),
}
_NEEDED: Final[dict[str, dict[str, _Check]]] = {
    "once": {"at": _needed_date},
    "repeating": {"interval": lambda name, value: _seconds(name, value, SHORTEST_INTERVAL)},
    "daily": {"time": _time},
    "monthly": {"time": _time, "day": _day_of_month},
    "cron": {},
}
_ALLOWED: Final[dict[str, dict[str, _Check]]] = {
    "once": _OF_ALL,
    "repeating": _REPEATED,
    "daily": {**_REPEATED, "days": _days},
    "monthly": _REPEATED,
    "cron": {**_REPEATED, **dict.fromkeys(_CRON_FIELDS, _cron)},
}


def _trigger(trigger: object, next_run: dtm.datetime | None) -> Mapping[str, Any]:
    if trigger is None:
        if next_run is None or next_run is MISSING_RUN:
            raise DecodeError("it says neither when the job runs next nor on what schedule", path="trigger")
        return {"kind": "once", "at": next_run}
    if type(trigger) is not dict:
        raise DecodeError(f"it is not a document but {shown(trigger)}", path="trigger")
    kind = trigger.get("kind")
    if type(kind) is not str or kind not in _NEEDED:
        raise DecodeError(f"it is not one of {', '.join(_NEEDED)} but {shown(kind)}", path="trigger.kind")
    checked: dict[str, Any] = {"kind": kind}
    needed, allowed = _NEEDED[kind], {**_NEEDED[kind], **_ALLOWED[kind]}
    for name, value in trigger.items():
        if name == "kind" or value is None:
            continue
        if name not in allowed:
            raise DecodeError(f"a job of the kind {kind} has no {shown(name)}", path="trigger")
        checked[name] = allowed[name](f"trigger.{name}", value)
    for name in needed:
        if name not in checked:
            raise DecodeError("it is missing", path=f"trigger.{name}")
    return checked
