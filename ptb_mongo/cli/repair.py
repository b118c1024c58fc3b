"""`ptb-mongo repair`: gets documents that cannot be read out of the bot's way."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.text import Text

from ptb_mongo.cli.common import (
    FINE,
    FOUND,
    CollectionPrefix,
    DatabaseName,
    Json,
    Target,
    Trust,
    Uri,
    console,
    count,
    problem_json,
    progress,
    run,
    show_problems,
    write_json,
)
from ptb_mongo.errors import DocumentError
from ptb_mongo.migration.data import Kind
from ptb_mongo.migration.database import Database, Stored
from ptb_mongo.migration.inspection import bad_documents
from ptb_mongo.migration.repairing import drop_bad_paths, droppable, move_aside, quarantine_of

__all__ = ["repair"]

_SHOWN: Final = 20  # documents
_Bad = list[tuple[Kind, Stored]]


def repair(
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    aside: Annotated[
        bool, typer.Option("--aside", help="Move them into <collection>_quarantine; the bot begins anew with them")
    ] = False,
    drop_path: Annotated[
        bool, typer.Option("--drop-path", help="Remove what cannot be read, and keep the rest of each document")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking")] = False,
    as_json: Json = False,
) -> None:
    """List documents that cannot be read; on request, get them out of the bot's way."""
    target = Target.of(uri, database, collection_prefix, trust)
    if aside and drop_path:
        raise typer.BadParameter("--aside or --drop-path, not both")
    if as_json and (aside or drop_path) and not yes:
        raise typer.BadParameter("with --json nobody is asked: give --yes, too")
    run(_repair(target, aside=aside, drop_path=drop_path, yes=yes, as_json=as_json))


async def _repair(target: Target, *, aside: bool, drop_path: bool, yes: bool, as_json: bool) -> int:
    out = console()
    async with target.open() as database:
        await database.format()
        with progress(quiet=as_json) as steps:
            bad: _Bad = [one async for one in bad_documents(database, advance=steps.advance)]
        if not as_json:
            show_problems(out, [stored.error for _, stored in bad if stored.error], "Cannot be read")
        if not bad or not (aside or drop_path):
            if as_json:
                write_json({"problems": [_as_json(kind, stored) for kind, stored in bad], "repaired": 0})
            else:
                _say_what_can_be_done(out, bad)
            return FOUND if bad else FINE
        if not as_json:
            _say_what_will_be_done(out, database, bad, aside=aside)
        if not yes and not typer.confirm("\nDo that?", default=False):
            out.print("Nothing was changed.")
            return FOUND
        with progress(quiet=as_json) as steps:
            failed = []
            for kind, stored in bad:
                try:
                    if aside:
                        await move_aside(database, kind, stored)
                    else:
                        await drop_bad_paths(database, kind, stored)
                except DocumentError as error:
                    failed.append(error)
                steps.advance("repairing", 1, len(bad))
    repaired = len(bad) - len(failed)
    if as_json:
        problems = [problem_json(error) for error in failed]
        write_json({"problems": problems, "repaired": repaired})
    else:
        show_problems(out, failed, "Not repaired")
        out.print(Text(f"\n{count(repaired, 'document')} repaired.", "bold green"))
    return FOUND if failed else FINE


def _as_json(kind: Kind, stored: Stored) -> dict[str, Any]:
    path = droppable(kind, stored)
    problem = problem_json(stored.error) if stored.error else {}
    return {**problem, "drop_path": ".".join(path) if path else None}


def _say_what_can_be_done(out: Console, bad: _Bad) -> None:
    if not bad:
        out.print(Text("Every document can be read.", "bold green"))
        return
    some = sum(droppable(kind, stored) is not None for kind, stored in bad)
    out.print()
    out.print(Text.assemble(("--trust MODULE  ", "bold cyan"), "if only a class of yours is not trusted"))
    out.print(
        Text.assemble(("--drop-path     ", "bold cyan"), f"would repair {count(some, 'document')} of {len(bad):,}")
    )
    out.print(Text.assemble(("--aside         ", "bold cyan"), f"would move {count(len(bad), 'document')}"))


def _say_what_will_be_done(out: Console, database: Database, bad: _Bad, *, aside: bool) -> None:
    out.print(Text("\nThis will be done", "bold"))
    for kind, stored in bad[:_SHOWN]:
        where = f"{database.scopes[kind].collection}, _id {stored.id!r:.60}"
        path = droppable(kind, stored)
        if aside:
            out.print(Text.assemble("  move ", where, (f" into {quarantine_of(database, kind)}", "cyan")))
        elif path:
            out.print(Text.assemble("  drop ", (".".join(path), "red"), f" of {where}"))
        else:
            out.print(Text.assemble("  leave ", where, (": no path can be dropped", "dim")))
    if len(bad) > _SHOWN:
        out.print(Text(f"  and the same for {len(bad) - _SHOWN:,} more", "dim"))
