"""`ptb-mongo import`: imports what another persistence has kept."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, NamedTuple, get_args

import telegram
import typer

from ptb_mongo.cli.common import (
    FINE,
    FOUND,
    Alias,
    BotId,
    CollectionPrefix,
    DatabaseName,
    Json,
    Steps,
    Target,
    Token,
    Trust,
    Uri,
    bot_for,
    bot_id_from,
    progress,
    run,
)
from ptb_mongo.cli.import_report import report_json, show_report
from ptb_mongo.cli.terminal import Commands, console, write_json
from ptb_mongo.driver import connect, database_of
from ptb_mongo.errors import ConfigurationError
from ptb_mongo.migration.data import BotData, Kind
from ptb_mongo.migration.database import Database
from ptb_mongo.migration.dict_json import read_dict
from ptb_mongo.migration.importing import Importer
from ptb_mongo.migration.mongopersistence import PeerCollections, read_mongopersistence
from ptb_mongo.migration.pickle_file import PickleSource
from ptb_mongo.scopes.exclusion import Exclusion
from ptb_mongo.types import Exclude, ScopeName

__all__ = ["import_app"]

import_app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    help="Import data from another persistence. Stop the bot first; nothing is written without --apply.",
)

Apply = Annotated[bool, typer.Option("--apply", help="Write; without it, only report what would be written")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Also overwrite documents that differ in the database")]

Skip = Annotated[
    bool,
    typer.Option("--skip", help="Leave out values that cannot be stored; without it, their documents are not imported"),
]
DropPath = Annotated[
    list[str] | None,
    typer.Option(
        "--drop-path",
        metavar="PATH",
        show_default=False,
        help="Leave out this path, such as user_data.session.lock; * is any one key; may be repeated",
    ),
]


@import_app.command("pickle")
def import_pickle(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", show_default=False, help="The filepath that PicklePersistence was given; single_file or not"
        ),
    ],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    token: Token = None,
    bot_id: BotId = None,
    apply: Apply = False,
    overwrite: Overwrite = False,
    skip: Skip = False,
    drop_path: DropPath = None,
    as_json: Json = False,
) -> None:
    """Import the file of a PicklePersistence, of PTB 13 or later."""
    wishes = _Wishes(apply, overwrite, skip, _drops(drop_path))
    target = Target.of(uri, database, collection_prefix, trust, alias)

    async def read(bot: telegram.Bot, steps: Steps) -> BotData:
        source = PickleSource(file, target.trusted, bot, target.aliases)
        reading = asyncio.create_task(asyncio.to_thread(source.read))
        while not reading.done():
            await asyncio.wait({reading}, timeout=0.1)
            steps.at(f"reading {file.name}", source.position, source.size)
        steps.at(f"reading {file.name}", source.size, source.size)
        return await reading

    run(_import(target, read, bot_id_from(bot_id, token), wishes, as_json=as_json))


@import_app.command("dict")
def import_dict(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help='JSON: {"user_data": ..., "chat_data": ..., ...}, each as DictPersistence.user_data_json and so on',
        ),
    ],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    token: Token = None,
    bot_id: BotId = None,
    apply: Apply = False,
    overwrite: Overwrite = False,
    skip: Skip = False,
    drop_path: DropPath = None,
    as_json: Json = False,
) -> None:
    """Import the JSON of a DictPersistence."""
    wishes = _Wishes(apply, overwrite, skip, _drops(drop_path))
    target = Target.of(uri, database, collection_prefix, None)

    async def read(_: telegram.Bot, __: Steps) -> BotData:
        return read_dict(file)

    run(_import(target, read, bot_id_from(bot_id, token), wishes, as_json=as_json))


@import_app.command("mongopersistence")
def import_mongopersistence(
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    source_uri: Annotated[
        str | None, typer.Option(show_default=False, help="The server to read from; by default the same")
    ] = None,
    source_database: Annotated[
        str | None, typer.Option(show_default=False, help="The database to read from; by default the one in the URI")
    ] = None,
    user_data: Annotated[str | None, typer.Option(show_default=False, help="name_col_user_data")] = None,
    chat_data: Annotated[str | None, typer.Option(show_default=False, help="name_col_chat_data")] = None,
    bot_data: Annotated[str | None, typer.Option(show_default=False, help="name_col_bot_data")] = None,
    conversations: Annotated[str | None, typer.Option(show_default=False, help="name_col_conversations_data")] = None,
    token: Token = None,
    bot_id: BotId = None,
    apply: Apply = False,
    overwrite: Overwrite = False,
    skip: Skip = False,
    drop_path: DropPath = None,
    as_json: Json = False,
) -> None:
    """Import the collections of the package mongopersistence 0.3; they are only read."""
    wishes = _Wishes(apply, overwrite, skip, _drops(drop_path))
    target = Target.of(uri, database, collection_prefix, None)
    names = PeerCollections(user_data, chat_data, bot_data, conversations)
    if names == PeerCollections():
        raise typer.BadParameter("name at least one collection: --user-data, --chat-data, ...")
    from_uri = source_uri or target.uri

    async def read(_: telegram.Bot, steps: Steps) -> BotData:
        name = database_of(from_uri, source_database)
        ours = {f"{collection_prefix}{kind}" for kind in ("user_data", "chat_data", "bot_data", "conversations")}
        if source_uri is None and name == database_of(target.uri, target.database):
            both = ours & {user_data, chat_data, bot_data, conversations}
            if both:
                raise ConfigurationError(
                    f"{', '.join(sorted(both))} would be read and written at once: import into another --database, or "
                    "with a --collection-prefix"
                )
        driver = await connect(from_uri, name)
        try:
            return await read_mongopersistence(driver, names, lambda number: steps.advance("reading", number))
        finally:
            await driver.close()

    run(_import(target, read, bot_id_from(bot_id, token), wishes, as_json=as_json))


class _Wishes(NamedTuple):
    """The options of an import; see `Importer`."""

    apply: bool
    overwrite: bool
    skip: bool
    drop: Exclude


def _drops(paths: list[str] | None) -> Exclude:
    """The paths to leave out, for each kind of data.

    Raises:
        typer.BadParameter: If one cannot be used.
    """
    drops: dict[ScopeName, set[str]] = {}
    for path in paths or ():
        kind, _, rest = path.partition(".")
        if kind not in get_args(ScopeName) or not rest:
            text = f"{path!r:.80} does not begin with one of {', '.join(get_args(ScopeName))}, and a dot"
            raise typer.BadParameter(text, param_hint="--drop-path")
        drops.setdefault(kind, set()).add(rest)  # type: ignore[arg-type]  # checked above
    try:
        for some in drops.values():
            Exclusion(some)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint="--drop-path") from error
    return drops


async def _import(
    target: Target,
    read: Callable[[telegram.Bot, Steps], Awaitable[BotData]],
    bot_id: int | None,
    wishes: _Wishes,
    *,
    as_json: bool,
) -> int:
    bot = bot_for(bot_id)
    with progress(quiet=as_json) as steps:
        data = await read(bot, steps)
        async with target.open(bot) as database:
            bot_id = await _bot_id(database, data, bot_id)
            totals = _totals(data)
            advance = steps.expecting(lambda kind: totals[kind])  # type: ignore[index]  # the names are kinds
            importer = Importer(database, bot_id=bot_id, advance=advance, **wishes._asdict())
            report = await importer.run(data)
    if as_json:
        write_json(report_json(report, apply=wishes.apply))
    else:
        show_report(console(), report, apply=wishes.apply, overwrite=wishes.overwrite)
    tallies = report.tallies.values()
    is_empty = not any(tally.found for tally in tallies)  # for example, because of a wrong name
    return FOUND if is_empty or report.problems or any(tally.unreadable for tally in tallies) else FINE


async def _bot_id(database: Database, data: BotData, bot_id: int | None) -> int | None:
    """The bot's id, as given, or else as stored in the database.

    Raises:
        ConfigurationError: If it is needed and unknown, or differs from the database's.
    """
    form = await database.format()
    known = form.get("bot_id") if form else None
    if bot_id is None:
        if not data.bot_data or isinstance(known, int):
            return known
        raise ConfigurationError(
            "there is data of the bot itself, stored under its id: pass --bot-id, or set BOT_TOKEN"
        )
    if isinstance(known, int) and known != bot_id:
        raise ConfigurationError(
            f"the collections in {database.name!r} belong to bot {known}, not to {bot_id}: use another --database, or "
            "a --collection-prefix"
        )
    return bot_id


def _totals(data: BotData) -> dict[Kind, int]:
    return {
        "user_data": len(data.user_data),
        "chat_data": len(data.chat_data),
        "bot_data": int(bool(data.bot_data)),
        "conversations": sum(len(states) for states in data.conversations.values()),
        "callback_data": sum(len(part) for part in data.callback_data or ()),
    }
