"""`ptb-mongo erase` and `ptb-mongo export user`: deletes or hands out one person's data."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.table import Table

from ptb_mongo.cli.common import (
    FINE,
    FOUND,
    CollectionPrefix,
    DatabaseName,
    Json,
    Target,
    Uri,
    count,
    progress,
    run,
)
from ptb_mongo.cli.exporting import export_app
from ptb_mongo.cli.terminal import Commands, Console, Text, console, write_json
from ptb_mongo.migration.database import Database
from ptb_mongo.people.handing_out import as_text, handed_out
from ptb_mongo.people.orders import order, ordered
from ptb_mongo.people.spilled import erase_spilled
from ptb_mongo.people.stored import Erased, Found, counts, delete_all, find, lasting
from ptb_mongo.people.subject import Subject
from ptb_mongo.people.traces import Trace, search

__all__ = ["erase_app"]

_SHOWN: Final = 20
_NEGATIVE: Final = {"ignore_unknown_options": True}  # the ids of groups look like options

erase_app = typer.Typer(cls=Commands, no_args_is_help=True, help="Erase a person, or a chat, from all collections.")

Apply = Annotated[bool, typer.Option("--apply", help="Do it; without it, only show what is found")]
Search = Annotated[bool, typer.Option("--search", help="List where others' data mentions the id; it is not changed")]
SpillDir = Annotated[
    Path | None, typer.Option("--spill-dir", show_default=False, help="The bot's spill_dir, with files of unsaved data")
]
Limit = Annotated[int, typer.Option("--limit", min=1, help="List at most so many mentions")]
JsonFile = Annotated[
    Path,
    typer.Option("--json", metavar="FILE", show_default=False, help="The file to write; only its owner can read it"),
]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing file")]


@erase_app.command("user")
def erase_user(
    user_id: Annotated[int, typer.Argument(show_default=False)],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    apply: Apply = False,
    search: Search = False,
    limit: Limit = 1000,
    spill_dir: SpillDir = None,
    as_json: Json = False,
) -> None:
    """Erase a user: their data, the private chat's, conversations, jobs, leases."""
    target = Target.of(uri, database, collection_prefix, None)
    subject = Subject.of(user_id, None)
    run(_erase(target, subject, apply=apply, limit=limit if search else 0, spill_dir=spill_dir, as_json=as_json))


@erase_app.command("chat", context_settings=_NEGATIVE)
def erase_chat(
    chat_id: Annotated[int, typer.Argument(show_default=False)],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    apply: Apply = False,
    search: Search = False,
    limit: Limit = 1000,
    spill_dir: SpillDir = None,
    as_json: Json = False,
) -> None:
    """Erase a chat: its data, conversations, jobs; groups have negative ids."""
    target = Target.of(uri, database, collection_prefix, None)
    subject = Subject.of(None, chat_id)
    run(_erase(target, subject, apply=apply, limit=limit if search else 0, spill_dir=spill_dir, as_json=as_json))


async def _erase(
    target: Target, subject: Subject, *, apply: bool, limit: int, spill_dir: Path | None, as_json: bool
) -> int:
    async with target.open() as database:
        await database.format()  # raises an error if it is newer
        driver, prefix = database.driver, database.prefix
        found = [one async for one in find(driver, prefix, subject)]
        erased = Erased(found=counts(lasting(found)))
        if apply:
            # Running bots forget them, too, even if nothing is stored yet.
            async with ordered(driver, database.format_collection, order(subject)):
                erased.note_left(await delete_all(driver, prefix, subject, found))
            if spill_dir is not None:
                where = spill_dir, database.name, prefix, subject
                erased.note_spilled(await asyncio.to_thread(erase_spilled, *where))
        traces, is_all = await _traces(database, subject, limit, quiet=as_json) if limit else ([], True)
    if as_json:
        write_json(_as_json(subject, erased, traces if limit else None, applied=apply))
    else:
        _show(console(), subject, lasting(found), erased, applied=apply)
        if limit:
            _show_traces(console(), traces, is_all=is_all)
    return FOUND if erased.left else FINE


async def _traces(database: Database, subject: Subject, limit: int, *, quiet: bool) -> tuple[list[Trace], bool]:
    traces: list[Trace] = []
    with progress(quiet=quiet) as steps:
        async for trace in search(database.driver, database.prefix, subject):
            if trace is None:
                steps.advance("searching", 1)
            elif len(traces) == limit:
                return traces, False
            else:
                traces.append(trace)
    return traces, True


def _as_json(subject: Subject, erased: Erased, traces: list[Trace] | None, *, applied: bool) -> dict[str, Any]:
    made: dict[str, Any] = {subject.kind: subject.id, "applied": applied, "found": erased.found}
    if applied:
        made |= {"removed": erased.removed, "marks": erased.marks, "left": erased.left}
    if traces is not None:
        made["mentions"] = [
            {"collection": one.collection, "_id": _shown_id(one.id), "path": one.path} for one in traces
        ]
    return made


def _shown_id(document_id: Any) -> Any:
    return document_id if type(document_id) in {int, str} else repr(document_id)[:200]


def _show(out: Console, subject: Subject, found: list[Found], erased: Erased, *, applied: bool) -> None:
    if not found and not erased.left and not erased.total:
        out.print(Text(f"Nothing is stored of {subject}."))
        return
    table = Table(box=None, header_style="dim", padding=(0, 2), pad_edge=False)
    table.add_column("collection")
    for title in ("found", "removed") if applied else ("found",):
        table.add_column(title, justify="right")
    for collection, number in erased.found.items():
        removed = [f"{erased.removed.get(collection, 0):,}"] if applied else []
        table.add_row(Text(collection), f"{number:,}", *removed)
    out.print(table)
    out.print()
    if not applied:
        for one in found[:_SHOWN]:
            out.print(Text(f"  ● {one.collection}, _id {one.document['_id']!r:.100}", "dim"), soft_wrap=True)
        if len(found) > _SHOWN:
            out.print(Text(f"    and {len(found) - _SHOWN:,} more", "dim"))
        out.print(Text("Nothing was changed. --apply erases these, and no bot that runs remembers them.", "bold"))
        return
    if erased.left:
        left = f"{count(erased.left, 'document')} came or stayed meanwhile: run it again."
        out.print(Text(left, "bold red"))
        return
    out.print(Text(f"{count(erased.total, 'document')} erased.", "bold green"))
    if erased.marks:
        out.print(Text("  Marks of deleted documents, of the id alone, go within a minute.", "dim"))


def _show_traces(out: Console, traces: list[Trace], *, is_all: bool) -> None:
    out.print()
    if not traces:
        out.print("Nothing else mentions the id.")
        return
    out.print(Text("Mentions in other data, which stay", "bold"))
    for one in traces:
        where = Text.assemble("  ● ", one.collection, (f", _id {one.id!r:.60}, ", "dim"))
        out.print(where.append(f"{one.path:.200}", "cyan"), soft_wrap=True)
    if not is_all:
        out.print(Text("  and more: --limit", "dim"))


# -- handing out ------------------------------------------------------------------------------------------


@export_app.command("user")
def export_user(
    user_id: Annotated[int, typer.Argument(show_default=False)],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    file: JsonFile,
    force: Force = False,
) -> None:
    """Write everything of a user as JSON, for their request."""
    target = Target.of(uri, database, collection_prefix, None)
    run(_export(target, Subject.of(user_id, None), _free(file, force=force)))


@export_app.command("chat", context_settings=_NEGATIVE)
def export_chat(
    chat_id: Annotated[int, typer.Argument(show_default=False)],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    file: JsonFile,
    force: Force = False,
) -> None:
    """Write everything of a chat as JSON; groups have negative ids."""
    target = Target.of(uri, database, collection_prefix, None)
    run(_export(target, Subject.of(None, chat_id), _free(file, force=force)))


def _free(path: Path, *, force: bool) -> Path:
    if path.exists() and not force:
        raise typer.BadParameter(f"{path} is there already; --force replaces it", param_hint="--json")
    return path


async def _export(target: Target, subject: Subject, path: Path) -> int:
    async with target.open() as database:
        await database.format()
        made = await handed_out(database.driver, database.prefix, subject)
    size = _write_privately(path, f"{as_text(made)}\n".encode())
    numbers = {name: len(found) for name, found in made.items() if isinstance(found, list)}
    out = console()
    out.print(Text.assemble(("✓ ", "green"), (str(path), "bold"), (f", {size:,} bytes", "dim")))
    listed = ", ".join(f"{number:,} of {name}" for name, number in numbers.items())
    out.print(Text(f"  {listed or f'nothing is stored of {subject}'}", "dim"))
    return FINE if numbers else FOUND


def _write_privately(path: Path, content: bytes) -> int:
    """Writes a file that only its owner may read; returns its size."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        return file.write(content)
