"""`ptb-mongo export`: writes the data to a file that PTB itself can load."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptb_mongo.cli.common import (
    FINE,
    FOUND,
    Alias,
    BotId,
    CollectionPrefix,
    DatabaseName,
    Json,
    Target,
    Token,
    Trust,
    Uri,
    bot_for,
    bot_id_from,
    count,
    problem_json,
    progress,
    run,
    show_problems,
)
from ptb_mongo.cli.terminal import Commands, Text, console, write_json
from ptb_mongo.migration.data import BotData
from ptb_mongo.migration.exporting import collect, write_pickle

__all__ = ["export_app"]

export_app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Export to a file: everything, for another persistence, or one person's data.",
)


@export_app.callback()
def _export() -> None:
    """Groups the commands."""


@export_app.command("pickle")
def export_pickle(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", show_default=False, help="The filepath for PicklePersistence")
    ],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    token: Token = None,
    bot_id: BotId = None,
    multi_file: Annotated[
        bool, typer.Option("--multi-file", help="Five files, for PicklePersistence(..., single_file=False)")
    ] = False,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Write the file though some documents cannot be read")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file")] = False,
    as_json: Json = False,
) -> None:
    """Write a file that PicklePersistence loads."""
    target = Target.of(uri, database, collection_prefix, trust, alias)
    there = [
        one for one in (file, *file.parent.glob(f"{file.name}_*data"), Path(f"{file}_conversations")) if one.exists()
    ]
    if there and not force:
        raise typer.BadParameter(f"{there[0]} is there already; --force replaces it", param_hint="FILE")
    wanted_id = bot_id_from(bot_id, token)
    run(_export_pickle(target, file, wanted_id, single_file=not multi_file, incomplete=incomplete, as_json=as_json))


async def _export_pickle(
    target: Target, file: Path, bot_id: int | None, *, single_file: bool, incomplete: bool, as_json: bool
) -> int:
    bot = bot_for(bot_id)
    with progress(quiet=as_json) as steps:
        async with target.open(bot) as database:
            data = await collect(database, bot_id=bot_id, advance=steps.advance)
    files: list[Path] = []
    if incomplete or not data.problems:
        files = await write_pickle(data, file, bot, single_file=single_file)
    if as_json:
        write_json(
            {
                "files": [str(one) for one in files],
                "documents": _counts(data),
                "problems": [problem_json(problem) for problem in data.problems],
            }
        )
    else:
        _show(data, files)
    return FOUND if data.problems or not files else FINE


def _counts(data: BotData) -> dict[str, int]:
    return {
        "user_data": len(data.user_data),
        "chat_data": len(data.chat_data),
        "bot_data": int(data.bot_data is not None),
        "conversations": sum(len(states) for states in data.conversations.values()),
        "callback_data": len(data.callback_data[0]) if data.callback_data else 0,
    }


def _show(data: BotData, files: list[Path]) -> None:
    out = console()
    show_problems(out, data.problems, "Cannot be read, and so not be exported")
    counts = _counts(data)
    for file in files:
        out.print(Text.assemble(("✓ ", "green"), (str(file), "bold"), (f", {file.stat().st_size:,} bytes", "dim")))
    if files:
        parts = [
            count(counts["user_data"], "user"),
            count(counts["chat_data"], "chat"),
            "the bot's data" if counts["bot_data"] else "no data of the bot",
            count(counts["conversations"], "conversation"),
            count(counts["callback_data"], "keyboard"),
        ]
        out.print(Text(f"  {', '.join(parts)}", "dim"))
    elif data.problems:
        out.print()
        out.print(Text("Nothing was written. --incomplete leaves these out, --trust loads classes.", "bold"))
    else:
        out.print("There is nothing to export.")
