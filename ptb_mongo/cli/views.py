"""`ptb-mongo views`: views of the stored data, for analysts who need not know the storage format."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from ptb_mongo.cli.common import FINE, FOUND, CollectionPrefix, DatabaseName, Json, Target, Uri, count, run
from ptb_mongo.cli.terminal import Text, console, write_json
from ptb_mongo.migration.flat_views import FlatView, flat_views
from ptb_mongo.migration.flat_views import apply as apply_view

__all__ = ["views"]

_STATUS = {"missing": "does not exist", "different": "is from another version", "there": "is up to date"}


def views(
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    apply: Annotated[bool, typer.Option("--apply", help="Create and update them")] = False,
    as_json: Json = False,
) -> None:
    """List the flat views for analysts and BI tools; --apply creates them."""
    run(_views(Target.of(uri, database, collection_prefix, None), apply=apply, as_json=as_json))


async def _views(target: Target, *, apply: bool, as_json: bool) -> int:
    async with target.open() as database:
        found = await flat_views(database.driver, database.prefix)
        changes = [view for view in found if view.status != "there"]
        for view in changes if apply else ():
            await apply_view(database.driver, view)
    if as_json:
        listed = [{"name": view.name, "of": view.source, "status": view.status} for view in found]
        write_json({"views": listed, "applied": apply})
    else:
        _report(found, len(changes), apply=apply)
    return FINE if apply or not changes else FOUND


def _report(found: list[FlatView], changes: int, *, apply: bool) -> None:
    out = console()
    table = Table(box=None, header_style="dim", padding=(0, 2), pad_edge=False)
    for title in ("view", "of", ""):
        table.add_column(title)
    for view in found:
        is_new = apply and view.status != "there"
        table.add_row(Text(view.name), Text(view.source), _STATUS["there"] if is_new else _STATUS[view.status])
    out.print(table)
    out.print()
    if not changes:
        out.print(Text("Nothing to do."))
    elif apply:
        out.print(Text(f"{count(changes, 'view')} created or updated.", "bold green"))
    else:
        out.print(Text("Nothing was changed. --apply creates and updates them.", "bold"))
