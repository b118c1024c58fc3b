"""`ptb-mongo show jobs`: the stored jobs of a `MongoJobQueue`, in the order of their next run."""

from __future__ import annotations

import contextlib
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
from ptb_mongo.errors import DocumentError
from ptb_mongo.scopes.job_form import FIELDS, MISSING_RUN, JobRecord, record_of

__all__ = ["show_jobs"]

_LATEST = dtm.datetime.max.replace(tzinfo=dtm.timezone.utc)
_WIDEST = 40
_MOST = 1000  # jobs in the table
_WIDE = 120  # columns of the terminal; with fewer, those of a table are too narrow to read
_QUERY = {"buried": {"$exists": False}}


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
    found, jobs, problems = 0, _Soonest(), list[DocumentError]()
    async with (
        target.open() as database,
        contextlib.aclosing(database.read("jobs", _QUERY, ("rev", "updated_at"))) as reading,  # type: ignore[type-var]
    ):
        async for stored in reading:
            found += 1
            if stored.error is not None and len(problems) < _MOST:
                problems.append(stored.error)
            if as_json:
                write_stored(stored)
            elif stored.error is None:
                jobs.add(record_of({name: stored.body[name] for name in FIELDS if name in stored.body}), stored.id)
    if not as_json:
        _show_table(console(), jobs)
        show_problems(console(), problems, "Cannot be read")
    return FOUND if problems or not found else FINE


Row = tuple[dtm.datetime, str, JobRecord]


class _Soonest:
    """The jobs that are due first, as a stranger may have stored more than fit into memory."""

    def __init__(self) -> None:
        self.number = 0
        self._rows: list[Row] = []

    def add(self, record: JobRecord, job_id: object) -> None:
        self.number += 1
        self._rows.append((record.next_run or _LATEST, str(job_id), record))
        if len(self._rows) >= 2 * _MOST:
            self._rows = self.rows()

    def rows(self) -> list[Row]:
        """The rows, in order."""
        return sorted(self._rows, key=lambda row: row[:2])[:_MOST]


def _show_table(out: Console, jobs: _Soonest) -> None:
    if not jobs.number:
        out.print(Text("No job is stored."))
        return
    rows = jobs.rows()
    out.print(_wide(rows) if out.width >= _WIDE else _narrow(rows))
    if jobs.number > len(rows):
        out.print(Text(f"There are {jobs.number - len(rows):,} more, which are due later; --json shows all."))


def _wide(rows: list[Row]) -> Table:
    table = Table(box=None, header_style="dim", padding=(0, 2), pad_edge=False)
    for title in ("next run", "name", "callback", "rule", "chat", "user", "data", "_id"):
        table.add_column(title, no_wrap=title == "next run", max_width=_WIDEST)
    for _, job_id, record in rows:
        table.add_row(
            _when(record),
            Text(record.name, "bold"),
            record.callback,
            _rule(record.trigger),
            "" if record.chat_id is None else str(record.chat_id),
            "" if record.user_id is None else str(record.user_id),
            "" if record.data is None else Value(record.data),
            Text(job_id, "dim"),
        )
    return table


def _narrow(rows: list[Row]) -> Table:
    """The jobs, each on several lines."""
    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for _, job_id, record in rows:
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
