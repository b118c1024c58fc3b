"""`ptb-mongo backup` and `ptb-mongo restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ptb_mongo.cli.common import (
    FINE,
    FOUND,
    CollectionPrefix,
    DatabaseName,
    Json,
    Target,
    Uri,
    count,
    problem_json,
    progress,
    run,
    show_problems,
)
from ptb_mongo.cli.terminal import Console, Text, console, open_table, write_json
from ptb_mongo.migration.backing_up import Restored, back_up, restore, restore_from_bots
from ptb_mongo.migration.backup_file import BackupReader
from ptb_mongo.people.subject import Subject

__all__ = ["backup", "restore_backup"]


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="The file to write")],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file")] = False,
    as_json: Json = False,
) -> None:
    """Back up everything of a bot to one file; the bot may keep running."""
    target = Target.of(uri, database, collection_prefix, None)
    if file.exists() and not force:
        raise typer.BadParameter(f"{file} is there already; --force replaces it", param_hint="FILE")
    run(_backup(target, file, as_json=as_json))


async def _backup(target: Target, file: Path, *, as_json: bool) -> int:
    async with target.open() as database:
        with progress(quiet=as_json) as steps:
            made = await back_up(database, file, steps.advance)
    if as_json:
        write_json({"file": str(file), "bytes": made.size, "documents": made.documents, "snapshot": made.is_snapshot})
        return FINE
    out = console()
    out.print(Text.assemble(("✓ ", "green"), (str(file), "bold"), (f", {made.size:,} bytes", "dim")))
    listed = ", ".join(f"{number:,} of {kind}" for kind, number in made.documents.items())
    out.print(Text(f"  {listed or 'no documents'}", "dim"))
    if not made.is_snapshot:
        said = (
            "This server reads no snapshots: what the bot wrote meanwhile may be in one collection and not in another."
        )
        out.print(Text(f"  {said}", "yellow"), soft_wrap=True)
    return FINE


def restore_backup(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", show_default=False, help="A file of ptb-mongo backup")
    ] = None,
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    user: Annotated[int | None, typer.Option("--user", show_default=False, help="Only the data of this user")] = None,
    chat: Annotated[int | None, typer.Option("--chat", show_default=False, help="Only the data of this chat")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without it, only show what would change")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also replace what is stored in another version, which is newer")
    ] = False,
    from_bot: Annotated[
        bool, typer.Option("--from-bot", help="After the database was dropped: store what running bots have in memory")
    ] = False,
    as_json: Json = False,
) -> None:
    """Restore a backup: what is missing, and with --overwrite also what differs; the bot may keep running."""
    target = Target.of(uri, database, collection_prefix, None)
    if (file is None) is not from_bot:
        raise typer.BadParameter("a FILE or --from-bot", param_hint="FILE")
    if file is None:
        run(_from_bot(target, apply=apply, as_json=as_json))
        return
    if user is not None and chat is not None:
        raise typer.BadParameter("--user or --chat, not both")
    subject = None if user is None and chat is None else Subject.of(user, chat)
    run(_restore(target, file, subject, apply=apply, overwrite=overwrite, as_json=as_json))


async def _from_bot(target: Target, *, apply: bool, as_json: bool) -> int:
    async with target.open() as database:
        has_vanished = await database.format() is None
        documents = await restore_from_bots(database) if apply else None
    if as_json:
        write_json({"vanished": has_vanished, "applied": apply, "documents": documents})
        return FINE if documents or not apply else FOUND
    out = console()
    if not apply:
        if not has_vanished:
            out.print("The format document is there: the database was not dropped, or another process has begun anew.")
        out.print(Text("Nothing was changed. --apply makes every running bot store what it has in memory.", "bold"))
    elif documents is None:
        said = "No bot has stored anything: none runs, or none has noticed that what it had stored is gone."
        out.print(Text(said, "bold red"), soft_wrap=True)
    else:
        out.print(Text(f"{count(sum(documents.values()), 'document')} stored.", "bold green"))
        out.print(Text(f"  {', '.join(f'{number:,} of {kind}' for kind, number in documents.items())}", "dim"))
    return FINE if documents or not apply else FOUND


async def _restore(
    target: Target, file: Path, subject: Subject | None, *, apply: bool, overwrite: bool, as_json: bool
) -> int:
    with BackupReader(file) as reader:
        async with target.open() as database:
            with progress(quiet=as_json) as steps:
                restored = await restore(
                    database,
                    reader,
                    subject=subject,
                    apply=apply,
                    overwrite=overwrite,
                    advance=steps.advance,
                )
        if as_json:
            write_json(_as_json(reader.header, restored, applied=apply))
        else:
            _show(console(), reader.header, restored, applied=apply, overwrite=overwrite)
    return FOUND if restored.problems or not restored.in_backup.total() else FINE


def _as_json(header: dict[str, Any], restored: Restored, *, applied: bool) -> dict[str, Any]:
    names = ("in_backup", "new", "same", "different", "written")
    return {
        "made_at": str(header.get("made_at")),
        "applied": applied,
        **{name: dict(getattr(restored, name)) for name in names},
        "problems": [problem_json(problem) for problem in restored.problems],
    }


def _show(out: Console, header: dict[str, Any], restored: Restored, *, applied: bool, overwrite: bool) -> None:
    form = header.get("format")
    bot = form.get("bot_id") if isinstance(form, dict) else None
    out.print(
        Text(f"Made at {header.get('made_at')!s:.40} of the database {header.get('database')!s:.80}, bot {bot}", "dim")
    )
    table = open_table(out)
    table.add_column("collection")
    for title in ("in backup", "missing", "the same", "different", *(["written"] if applied else [])):
        table.add_column(title, justify="right")
    for kind, number in restored.in_backup.items():
        numbers = [number, restored.new[kind], restored.same[kind], restored.different[kind]]
        numbers += [restored.written[kind]] if applied else []
        table.add_row(Text(kind), *(f"{one:,}" if one else Text("-", "dim") for one in numbers))
    out.print(table)
    show_problems(out, restored.problems, "Not restored")
    out.print()
    if applied:
        out.print(Text(f"{count(restored.written.total(), 'document')} written.", "bold green"))
    else:
        out.print(Text("Nothing was changed. --apply writes what is missing.", "bold"))
    if restored.different.total() and not overwrite:
        out.print(Text("  What is different counts as newer, and stays; --overwrite replaces it.", "dim"))
