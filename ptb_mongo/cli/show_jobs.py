"""`ptb-mongo show jobs`: what a `MongoJobQueue` has stored, in the order in which it is due."""

from __future__ import annotations

import datetime as dtm
from typing import Any

from rich.table import Table

from ptb_mongo.cli.common import (
    FINE,
    FOUND,
    Alias,
    CollectionPrefix,
    DatabaseName,
    Json,
    Target,
    Trust,
    Uri,
    run,
    show_problems,
)
from ptb_mongo.cli.stored_json import write_stored
from ptb_mongo.cli.terminal import Console, Text, Value, console
from ptb_mongo.migration.database import Stored
from ptb_mongo.scopes.job_form import FIELDS, MISSING_RUN, JobRecord, record_of

__all__ = ["show_jobs"]

_LATEST = dtm.datetime.max.replace(tzinfo=dtm.timezone.utc)
_WIDEST = 40
_WIDE = 120  # columns; with fewer, the columns of a table are too narrow to be read


def show_jobs(
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    as_json: Json = False,
) -> None:
    """Show the jobs of a MongoJobQueue, the next one first."""
    run(_show(Target.of(uri, database, collection_prefix, trust, alias), as_json=as_json))


async def _show(target: Target, *, as_json: bool) -> int:
    found: list[Stored] = []
    async with target.open() as database:
        async for stored in database.read("jobs", {"buried": {"$exists": False}}, ("rev", "updated_at")):
            found.append(stored)  # noqa: PERF401  (`run` closes the database only after this)
    problems = [stored.error for stored in found if stored.error is not None]
    if as_json:
        for stored in found:
            write_stored(stored)
    else:
        _show_table(console(), [stored for stored in found if stored.error is None])
        show_problems(console(), problems, "Cannot be read")
    return FOUND if problems or not found else FINE


def _show_table(out: Console, found: list[Stored]) -> None:
    if not found:
        out.print(Text("No job is stored."))
        return
    jobs = [(record_of({name: one.body[name] for name in FIELDS if name in one.body}), one.id) for one in found]
    jobs.sort(key=lambda job: (job[0].next_run or _LATEST, str(job[1])))
    out.print(_wide(jobs) if out.width >= _WIDE else _narrow(jobs))


def _wide(jobs: list[tuple[JobRecord, Any]]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2), pad_edge=False)
    for title in ("next run", "name", "callback", "rule", "chat", "user", "data", "_id"):
        table.add_column(title, no_wrap=title == "next run", max_width=_WIDEST)
    for record, job_id in jobs:
        table.add_row(
            _when(record),
            Text(record.name, "bold"),
            record.callback,
            _rule(record.trigger),
            "" if record.chat_id is None else str(record.chat_id),
            "" if record.user_id is None else str(record.user_id),
            "" if record.data is None else Value(record.data),
            Text(str(job_id), "dim"),
        )
    return table


def _narrow(jobs: list[tuple[JobRecord, Any]]) -> Table:
    """The same, each job in several lines."""
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for record, job_id in jobs:
        table.add_row(_when(record), Text(record.name, "bold"))
        lines: dict[str, Any] = {"callback": record.callback, "rule": _rule(record.trigger)}
        lines |= {"chat": record.chat_id, "user": record.user_id}
        for title, value in {**lines, "_id": job_id}.items():
            if value is not None:
                table.add_row(Text(f"  {title}", "dim"), Text(str(value)))
        if record.data is not None:
            table.add_row(Text("  data", "dim"), Value(record.data))
    return table


def _when(record: JobRecord) -> Text:
    if record.next_run is None:
        return Text("paused", "yellow")
    if record.next_run == MISSING_RUN:
        return Text("by its rule", "dim")
    running = " runs now" if record.claim is not None else ""
    return Text(f"{record.next_run:%Y-%m-%d %H:%M:%S}{running}", "green" if running else "")


def _rule(trigger: Any) -> str:
    kind = trigger["kind"]
    if kind == "repeating":
        return f"every {dtm.timedelta(seconds=trigger['interval'])}"
    details = [trigger.get("time"), *trigger.get("days", ()), trigger.get("day")]
    if kind == "cron":
        details = [f"{name}={value}" for name, value in trigger.items() if type(value) is str and name != "kind"]
    return " ".join([kind, *(str(one) for one in details if one is not None)])
