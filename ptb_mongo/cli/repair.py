"""`ptb-mongo repair`: repairs documents that cannot be read, or moves them out of the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

import typer
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
    count,
    problem_json,
    progress,
    run,
    show_problems,
)
from ptb_mongo.cli.terminal import Console, Text, console, write_json
from ptb_mongo.errors import DocumentError
from ptb_mongo.migration.data import Kind
from ptb_mongo.migration.database import Database, Stored
from ptb_mongo.migration.inspection import bad_documents, is_untrusted
from ptb_mongo.migration.repairing import drop_bad_paths, droppable, move_aside, quarantine_of

__all__ = ["repair"]

_SHOWN: Final = 20  # documents
_Bad = list[tuple[Kind, Stored]]


@dataclass(frozen=True, slots=True)
class _Wanted:
    """The options of a repair."""

    aside: bool
    drop_path: bool
    untrusted: bool
    yes: bool

    def concerns(self, stored: Stored) -> bool:
        """Whether a document may be touched: nobody loses data because `--trust` was forgotten."""
        return self.untrusted or not (stored.error and is_untrusted(stored.error.reason))


def repair(
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    aside: Annotated[
        bool, typer.Option("--aside", help="Move them into <collection>_quarantine; the bot begins anew with them")
    ] = False,
    drop_path: Annotated[
        bool, typer.Option("--drop-path", help="Remove what cannot be read, and keep the rest of each document")
    ] = False,
    untrusted: Annotated[
        bool, typer.Option("--untrusted", help="Also those that only need a class to be trusted")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do it without asking")] = False,
    as_json: Json = False,
) -> None:
    """List documents that cannot be read; on request, repair them, or move them aside."""
    target = Target.of(uri, database, collection_prefix, trust, alias)
    if aside and drop_path:
        raise typer.BadParameter("--aside or --drop-path, not both")
    if as_json and (aside or drop_path) and not yes:
        raise typer.BadParameter("--json asks nobody: pass --yes, too")
    wanted = _Wanted(aside=aside, drop_path=drop_path, untrusted=untrusted, yes=yes)
    run(_repair(target, wanted, as_json=as_json))


async def _repair(target: Target, wanted: _Wanted, *, as_json: bool) -> int:
    out = console()
    async with target.open() as database:
        await database.format()
        with progress(quiet=as_json) as steps:
            found: _Bad = [one async for one in bad_documents(database, advance=steps.advance)]
        if not as_json:
            show_problems(out, [stored.error for _, stored in found if stored.error], "Cannot be read")
        bad = [(kind, stored) for kind, stored in found if wanted.concerns(stored)]
        if not bad or not (wanted.aside or wanted.drop_path):
            if as_json:
                write_json({"problems": [_as_json(kind, stored) for kind, stored in found], "repaired": 0})
            else:
                _say_what_can_be_done(out, found, bad)
            return FOUND if found else FINE
        if not as_json:
            _say_what_will_be_done(out, database, bad, aside=wanted.aside)
        if not wanted.yes and not typer.confirm("\nDo that?", default=False):
            out.print("Nothing was changed.")
            return FOUND
        with progress(quiet=as_json) as steps:
            failed = await _do(database, bad, wanted, lambda: steps.advance("repairing", 1, len(bad)))
    if as_json:
        write_json({"problems": [problem_json(error) for error in failed], "repaired": len(bad) - len(failed)})
    else:
        show_problems(out, failed, "Not repaired")
        out.print()
        out.print(Text(f"{count(len(bad) - len(failed), 'document')} repaired.", "bold green"))
    return FOUND if failed or len(bad) < len(found) else FINE


async def _do(database: Database, bad: _Bad, wanted: _Wanted, done: Callable[[], None]) -> list[DocumentError]:
    failed = []
    for kind, stored in bad:
        try:
            if wanted.aside:
                await move_aside(database, kind, stored)
            else:
                await drop_bad_paths(database, kind, stored, untrusted=wanted.untrusted)
        except DocumentError as error:
            failed.append(error)
        done()
    return failed


def _as_json(kind: Kind, stored: Stored) -> dict[str, Any]:
    path = droppable(kind, stored)
    problem = problem_json(stored.error) if stored.error else {}
    return {**problem, "drop_path": ".".join(path) if path else None}


def _say_what_can_be_done(out: Console, found: _Bad, bad: _Bad) -> None:
    if not found:
        out.print(Text("Every document can be read.", "bold green"))
        return
    options = Table.grid(padding=(0, 3))
    if len(bad) < len(found):
        options.add_row("--trust MODULE", f"if the classes are yours: {count(len(found) - len(bad), 'document')}")
        options.add_row("--alias OLD=NEW", "if they were moved or renamed")
    if some := sum(droppable(kind, stored) is not None for kind, stored in bad):
        options.add_row("--drop-path", f"would remove what is bad from {count(some, 'document')}, and keep the rest")
    if bad:
        options.add_row("--aside", f"would move {count(len(bad), 'document')} into <collection>_quarantine")
    options.columns[0].style = "bold cyan"
    out.print()
    out.print(options)


def _say_what_will_be_done(out: Console, database: Database, bad: _Bad, *, aside: bool) -> None:
    out.print()
    out.print(Text("This will be done", "bold"))
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
