"""`ptb-mongo stats`: how much is stored, of what, and since when."""

from __future__ import annotations

import datetime as dtm
from dataclasses import asdict, dataclass
from typing import Annotated, Final

import typer
from rich.table import Table

from ptb_mongo.cli.common import (
    FINE,
    CollectionPrefix,
    DatabaseName,
    Json,
    Target,
    Trust,
    Uri,
    progress,
    run,
)
from ptb_mongo.cli.terminal import Console, Text, console, open_table, write_json
from ptb_mongo.migration.data import Kind
from ptb_mongo.migration.statistics import (
    KeyUse,
    Storage,
    conversation_states,
    key_uses,
    storage,
    writes_by_day,
)

__all__ = ["stats"]

_BAR: Final = 32  # characters
_EIGHTHS: Final = " ▏▎▍▌▋▊▉"
_WITH_KEYS: Final[tuple[Kind, ...]] = ("user_data", "chat_data", "bot_data")


@dataclass(frozen=True, slots=True)
class _Stats:
    storage: dict[Kind, Storage]
    days: dict[dtm.date, int]
    keys: dict[Kind, list[KeyUse]]
    states: dict[str, dict[str, int]]


def stats(
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    days: Annotated[int, typer.Option(min=1, max=366, help="How many days of growth")] = 14,
    keys: Annotated[int, typer.Option(min=0, help="How many keys of each collection")] = 10,
    sample: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="Count the keys of only so many documents")
    ] = None,
    as_json: Json = False,
) -> None:
    """Count documents, sizes, keys, states, and what changes from day to day.

    Nothing is decoded: --trust is taken so that the same options do for all commands.
    """
    run(_stats(Target.of(uri, database, collection_prefix, trust), days, keys, sample, as_json=as_json))


async def _stats(target: Target, days: int, most: int, sample: int | None, *, as_json: bool) -> int:
    async with target.open() as database:
        with progress(quiet=as_json) as steps:
            parts = len(_WITH_KEYS) + 3
            found = await storage(database)
            steps.advance("counting", 1, parts)
            by_day = await writes_by_day(database, "user_data", days)
            steps.advance("counting", 1)
            uses: dict[Kind, list[KeyUse]] = {}
            for kind in _WITH_KEYS if most else ():
                uses[kind] = await key_uses(database, kind, most=most, sample=sample)
                steps.advance("counting", 1)
            result = _Stats(found, by_day, uses, await conversation_states(database))
    if as_json:
        write_json(
            {
                "storage": {kind: asdict(one) for kind, one in result.storage.items()},
                "users_by_day": {day.isoformat(): number for day, number in result.days.items()},
                "keys": {kind: [asdict(one) for one in found] for kind, found in result.keys.items()},
                "states": result.states,
            }
        )
    else:
        _show(console(), result)
    return FINE


def _show(out: Console, result: _Stats) -> None:
    table = _table(out, "collection", ">documents", ">size", ">average", ">on disk", ">indexes")
    for kind, one in result.storage.items():
        average = one.size // one.documents if one.size is not None and one.documents else None
        sizes = (one.size, average, one.on_disk, one.indexes)
        table.add_row(
            kind, f"{one.documents:,}", *(Text("-", "dim") if size is None else _size(size) for size in sizes)
        )
    out.print(table)
    if any(result.days.values()):
        _title(out, "Users by the day of their last change")
        bars = _table(out, "", ">", "")
        most = max(result.days.values())
        began = next(day for day, number in result.days.items() if number)
        for day, number in result.days.items():
            if day < began:
                continue
            bars.add_row(Text(f"{day:%a %d %b}", "dim"), f"{number:,}" if number else "", _bar(number, most, "green"))
        out.print(bars)
    for kind, uses in result.keys.items():
        if uses:
            _title(out, f"Keys of {kind}")
            rows = _table(out, "", ">", "", "")
            documents = max(use.documents for use in uses)
            for use in uses:
                types = Text(", ").join(_type(name, number, use.documents) for name, number in use.types.items())
                rows.add_row(
                    Text(use.key if isinstance(use.key, str) else repr(use.key), "bold"),
                    f"{use.documents:,}",
                    _bar(use.documents, documents, "cyan", width=_BAR // 2),
                    types,
                )
            out.print(rows)
    for handler, states in result.states.items():
        _title(out, f"Conversations of {handler}")
        bars = _table(out, "", ">", "")
        for state, number in states.items():
            bars.add_row(Text(state, "bold"), f"{number:,}", _bar(number, max(states.values()), "magenta"))
        out.print(bars)


def _table(out: Console, *titles: str) -> Table:
    table = open_table(out, show_header=any(titles[:1]))
    for title in titles:
        table.add_column(title.lstrip(">"), justify="right" if title.startswith(">") else "left")
    return table


def _title(out: Console, title: str) -> None:
    out.print()
    out.print(Text(title, "bold"))


def _type(name: str, number: int, of: int) -> Text:
    return Text(name) if number == of else Text(name).append(f" {number:,}", "dim")


def _bar(number: int, most: int, style: str, width: int = _BAR) -> Text:
    eighths = round(number / most * width * 8) if most else 0
    if number and not eighths:
        eighths = 1
    return Text("█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip(), style)


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:  # noqa: PLR2004  (units are thousands)
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
