"""`ptb-mongo rename-class` and `ptb-mongo migrate`: adapt stored data to the bot's classes and code."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

import typer

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
from ptb_mongo.cli.naming import class_named, excluded_from, imported
from ptb_mongo.cli.terminal import Text, console, write_json
from ptb_mongo.errors import ConfigurationError
from ptb_mongo.migration.data import Kind
from ptb_mongo.migration.database import Database
from ptb_mongo.migration.rewriting import Rewritten
from ptb_mongo.migration.rewriting import migrate as migrate_all
from ptb_mongo.migration.rewriting import rename_class as rename
from ptb_mongo.replica.schema import check_migrations
from ptb_mongo.types import Exclude, Migrations

__all__ = ["migrate", "rename_class"]

Apply = Annotated[bool, typer.Option("--apply", help="Write; without it, only report what would be written")]
_Work = Callable[[Database, Callable[[Kind, int], None]], Awaitable[Rewritten]]


def rename_class(
    old: Annotated[str, typer.Argument(metavar="OLD", show_default=False, help="Its name in what is stored")],
    new: Annotated[str, typer.Argument(metavar="NEW", show_default=False, help="Its name now: models.Basket")],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Give a moved or renamed class its new name wherever it is stored; the bot may keep running."""
    target = Target.of(uri, database, collection_prefix, trust)
    if not old.rpartition(".")[0] or old == new:
        message = "give it with its module, as in my_bot.cart.Cart; it differs from NEW"
        raise typer.BadParameter(message, param_hint="OLD")
    class_named(new, "NEW")  # the objects would become unreadable if no class had that name

    def work(opened: Database, advance: Callable[[Kind, int], None]) -> Awaitable[Rewritten]:
        return rename(opened, old, new, apply=apply, advance=advance)

    run(_rewrite(target, work, apply=apply, as_json=as_json))


def migrate(
    module: Annotated[
        str,
        typer.Argument(
            metavar="MODULE", show_default=False, help='Where the dictionary "migrations" is; or MODULE:NAME'
        ),
    ],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude",
            metavar="DATA:PATH",
            show_default=False,
            help="As given to the bot: user_data:session.lock; may be repeated",
        ),
    ] = None,
    apply: Apply = False,
    as_json: Json = False,
) -> None:
    """Apply the bot's migrations to all documents at once; the bot may keep running."""
    target = Target.of(uri, database, collection_prefix, trust, alias)
    excluded = excluded_from(exclude or (), "--exclude")
    name, _, attribute = module.partition(":")
    migrations: Any = imported(name, "MODULE")
    for part in (attribute or "migrations").split("."):
        migrations = getattr(migrations, part, None)
    try:
        check_migrations(migrations)
    except ConfigurationError as error:
        raise typer.BadParameter(f"{module!r}: {error}", param_hint="MODULE") from error

    def work(opened: Database, advance: Callable[[Kind, int], None]) -> Awaitable[Rewritten]:
        return migrate_all(opened, apply=apply, advance=advance)

    run(_rewrite(target, work, apply=apply, as_json=as_json, migrations=migrations, exclude=excluded))


async def _rewrite(
    target: Target,
    work: _Work,
    *,
    apply: bool,
    as_json: bool,
    migrations: Migrations | None = None,
    exclude: Exclude | None = None,
) -> int:
    async with target.open(migrations=migrations, exclude=exclude) as database:
        await database.format()
        totals = {
            kind: (await database.driver.command({"count": scope.collection}))["n"]
            for kind, scope in database.scopes.items()
        }
        with progress(quiet=as_json) as steps:
            result = await work(database, steps.expecting(lambda kind: totals[kind]))  # type: ignore[index]
    if as_json:
        problems = [problem_json(problem) for problem in result.problems]
        write_json({"documents": result.documents, "values": result.values, "applied": apply, "problems": problems})
    else:
        _show(result, apply=apply, counts_values=migrations is None)
    return FOUND if result.problems else FINE


def _show(result: Rewritten, *, apply: bool, counts_values: bool) -> None:
    out = console()
    show_problems(out, result.problems, "Not rewritten" if apply else "Would not be rewritten")
    if result.problems:
        out.print()
    documents = sum(result.documents.values())
    what = count(documents, "document")
    if counts_values:
        what += f", {count(result.values, 'value')}"
    if documents:
        by_kind = ", ".join(f"{kind} {number:,}" for kind, number in result.documents.items() if number)
        out.print(Text.assemble((what, "bold green"), " rewritten" if apply else " would be rewritten", f": {by_kind}"))
        if not apply:
            out.print(Text("Nothing was written. --apply does it.", "bold"))
    else:
        out.print("There is nothing else to rewrite." if result.problems else "There is nothing to rewrite.")
