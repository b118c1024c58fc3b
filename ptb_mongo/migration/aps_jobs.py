"""Jobs that APScheduler's `MongoDBJobStore` has stored for PTB, as documents of a `MongoJobQueue`.

Such a store contains pickles, which APScheduler restores without restrictions. Here they are read like all foreign
pickles: none of their code runs. An object of APScheduler is represented by its class's name and its state, a callback
by its name.

PTB's `Job` cannot be pickled. `ptbcontrib.ptb_jobstores` stores `(name, data, chat_id, user_id, callback)` instead, and
a former example of this package stored `(callback, data, name, chat_id, user_id)`.
"""

from __future__ import annotations

import datetime as dtm
import types
from collections.abc import Mapping
from typing import Any, Final

import telegram
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger

from ptb_mongo.codec import Codec
from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import DecodeError
from ptb_mongo.jobs.triggers import plain_date, plain_trigger
from ptb_mongo.migration.names import Names, StandIn
from ptb_mongo.migration.unpickler import ForeignPickle
from ptb_mongo.replica.values import Document
from ptb_mongo.scopes.job_form import DAYS, record_of

__all__ = ["job_document"]

_APSCHEDULER: Final = "apscheduler"
_ARGUMENTS: Final = 5
_PLACES: Final = ("1st", "2nd", "3rd", "4th", "5th", "last")


class _Held:
    """An object of APScheduler."""

    def __init__(self) -> None:
        self.state: Any = {}


class _Names(Names):
    """Finds names; objects of APScheduler are only held, not created."""

    def find(self, module: str, name: str) -> Any:
        """See `Names.find`."""
        if module.partition(".")[0] == _APSCHEDULER:
            return self._found.setdefault((module, name), type(name.rpartition(".")[2][:100], (_Held,), {}))
        return super().find(module, name)


class _JobPickle(ForeignPickle):
    """One pickled job."""

    def __init__(self, data: bytes, trust: Trust, bot: telegram.Bot | None) -> None:
        super().__init__(data, trust, bot)
        self._names = _Names(trust)

    def _called(self, cls: Any, args: tuple[Any, ...], kwargs: dict[str, Any], *, bare: bool) -> Any:
        if issubclass(cls, _Held):
            return cls()
        return super()._called(cls, args, kwargs, bare=bare)

    def _with_state(self, obj: Any, state: Any) -> Any:
        if isinstance(obj, _Held):
            obj.state = state
            return obj
        return super()._with_state(obj, state)


def job_document(pickled: object, codec: Codec, trust: Trust, bot: telegram.Bot | None = None) -> Document:
    """The document of a pickled job.

    Args:
        pickled: Its `job_state`.
        codec: Encodes its data.
        trust: Which classes may be loaded.
        bot: Takes the place of the bot.

    Raises:
        DocumentError: If it cannot be read or stored.
    """
    if not isinstance(pickled, bytes):
        raise DecodeError("its job_state is not a pickle")
    state = _JobPickle(bytes(pickled), trust, bot).load()
    if type(state) is not dict:
        raise DecodeError("its job_state is not a job of APScheduler")
    callback, data, name, chat_id, user_id = _of_ptb(state.get("args"))
    next_run = state.get("next_run_time")
    document: Document = {
        "callback": callback,
        "name": name,
        **{key: value for key, value in (("chat_id", chat_id), ("user_id", user_id)) if value is not None},
        **({} if data is None else codec.encode({"data": data})),
        "trigger": plain_trigger(_trigger(state.get("trigger")), codec),
        "next_run": plain_date(next_run) if isinstance(next_run, dtm.datetime) and next_run.tzinfo else None,
        **{key: state[key] for key in ("misfire_grace_time",) if state.get(key) is not None},
        **({} if state.get("coalesce", True) else {"coalesce": False}),
        **({} if state.get("max_instances", 1) == 1 else {"max_instances": state["max_instances"]}),
    }
    record_of(codec.decode(document))
    return document


def _of_ptb(args: object) -> tuple[str, Any, Any, Any, Any]:
    """The arguments of PTB's job: callback, data, name, chat and user."""
    if type(args) is tuple and len(args) == _ARGUMENTS:
        if (callback := _name_of(args[0])) is not None:
            return callback, *args[1:]
        if (callback := _name_of(args[4])) is not None:
            name, data, chat_id, user_id, _ = args
            return callback, data, name, chat_id, user_id
    raise DecodeError("its args are not those of a job of PTB whose callback is a function of a module")


def _name_of(callback: object) -> str | None:
    if isinstance(callback, types.FunctionType) or (isinstance(callback, type) and issubclass(callback, StandIn)):
        return f"{callback.__module__}:{callback.__qualname__}"
    return None


# -- triggers -------------------------------------------------------------------------------------------


def _trigger(held: object) -> Any:
    if not isinstance(held, _Held) or type(held.state) is not dict:
        raise DecodeError("it has no trigger of APScheduler", path="trigger")
    state, kind = held.state, type(held).__name__
    try:
        if kind == "DateTrigger":
            return DateTrigger(state["run_date"], state["run_date"].tzinfo)
        ends = {name: state.get(name) for name in ("start_date", "end_date", "timezone", "jitter")}
        if kind == "IntervalTrigger":
            return IntervalTrigger(seconds=state["interval"].total_seconds(), **ends)
        if kind == "CronTrigger":
            fields = [field.state for field in state["fields"]]
            given = {field["name"]: _expressions(field) for field in fields if not field.get("is_default")}
            return CronTrigger(**given, **ends)
    except Exception as error:  # APScheduler may raise anything for what it does not know
        raise DecodeError(f"its trigger cannot be read ({type(error).__name__})", path="trigger") from error
    raise DecodeError(f"a {kind:.100} is a trigger that cannot be stored", path="trigger")


def _expressions(field: Mapping[str, Any]) -> str:
    return ",".join(_expression(one, is_weekday=field["name"] == "day_of_week") for one in field["expressions"])


def _expression(held: _Held, *, is_weekday: bool) -> str:
    """A cron expression for APScheduler, made from a pickled expression object."""
    state, kind = held.state, type(held).__name__
    if kind == "LastDayOfMonthExpression":
        return "last"
    if kind == "WeekdayPositionExpression":
        return f"{_PLACES[state['option_num']]} {DAYS[state['weekday']]}"
    step = f"/{int(state['step'])}" if state.get("step") else ""
    if kind == "AllExpression":
        return f"*{step}"
    first, last = state["first"], state.get("last")
    shown = [DAYS[one] if is_weekday else str(int(one)) for one in (first, last) if one is not None]
    return "-".join(shown if last != first else shown[:1]) + step
