"""`ptb-mongo watch`: shows what others change while the bot runs."""

from __future__ import annotations

from contextlib import aclosing
from typing import Annotated, Any, Final

import typer

from ptb_mongo.cli.common import (
    FINE,
    CollectionPrefix,
    DatabaseName,
    Json,
    Target,
    Uri,
    run,
)
from ptb_mongo.cli.terminal import Console, Text, console, write_json
from ptb_mongo.migration.watching import Change, beginning, changes

__all__ = ["watch"]

_SIGNS: Final = {"insert": "+", "update": "~", "replace": "=", "delete": "-"}
_STYLES: Final = {"insert": "green", "update": "yellow", "replace": "magenta", "delete": "red"}


def watch(
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    bots: Annotated[bool, typer.Option("--bots", help="Also show what bots write")] = False,
    most: Annotated[
        int | None, typer.Option("--count", min=1, show_default=False, help="Stop after so many changes")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show changes by other services as they happen; Ctrl-C ends it."""
    target = Target.of(uri, database, collection_prefix, None)
    run(_watch(target, most, bots=bots, as_json=as_json), interrupted=FINE)


async def _watch(target: Target, most: int | None, *, bots: bool, as_json: bool) -> int:
    out = console()
    async with target.open() as database:

        def lost(error: BaseException) -> None:
            if not as_json:
                out.print(Text.assemble(("● ", "red"), f"{error}; looking for it"), soft_wrap=True)

        since = await beginning(database)
        if not as_json:
            out.print(Text(f"Watching {database.name}; Ctrl-C ends it.", "dim"))
        async with aclosing(changes(database, since, bots=bots, lost=lost)) as stream:
            seen = 0
            async for change in stream:
                seen += 1
                if as_json:
                    write_json(_as_json(change))
                else:
                    _show(out, change)
                if seen == most:
                    break
    return FINE


def _as_json(change: Change) -> dict[str, Any]:
    return {
        "at": change.at.isoformat(),
        "collection": change.kind,
        "_id": change.id,
        "operation": change.operation,
        "by": f"bot {change.bot}" if change.bot else None if change.operation == "delete" else "another service",
        "set": change.set,
        "removed": change.removed,
    }


def _show(out: Console, change: Change) -> None:
    style = _STYLES[change.operation]
    if change.bot:
        who = Text(f"bot {change.bot}", "dim")
    else:
        who = Text("somebody" if change.operation == "delete" else "another service", "bold")
    shown_id = change.id
    match shown_id:
        case {"handler": str(handler), "key": [*key]}:
            shown_id = f"{handler} {tuple(key)}"
    line = Text.assemble(
        (f"{change.at:%H:%M:%S}  ", "dim"),
        (f"{_SIGNS[change.operation]} ", f"bold {style}"),
        f"{change.kind} ",
        (f"{shown_id}  ", "bold cyan"),
        who,
    )
    for name in change.set:
        line.append("  ").append(name, "yellow")
    for name in change.removed:
        line.append("  ").append(f"-{name}", "red")
    if change.operation != "update":
        line.append(f"  {change.operation}", style)
    out.print(line, soft_wrap=True)
