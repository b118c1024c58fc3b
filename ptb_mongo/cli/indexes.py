"""`ptb-mongo indexes`: the indexes by which documents expire, for a bot that may not create them itself."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from ptb_mongo.cli.common import FINE, FOUND, CollectionPrefix, DatabaseName, Json, Target, Uri, count, run
from ptb_mongo.cli.terminal import Text, console, write_json
from ptb_mongo.sync.expiry import apply as apply_change
from ptb_mongo.sync.expiry import changes, wanted_in

__all__ = ["indexes"]

_DAY = 86_400


def indexes(
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    apply: Annotated[bool, typer.Option("--apply", help="Create, change and remove them")] = False,
    as_json: Json = False,
) -> None:
    """Compare the indexes for expire with the bot's option; --apply adapts them."""
    run(_indexes(Target.of(uri, database, collection_prefix, None), apply=apply, as_json=as_json))


async def _indexes(target: Target, *, apply: bool, as_json: bool) -> int:
    async with target.open() as database:
        wanted = wanted_in(await database.format())
        found = await changes(database.driver, database.prefix, wanted)
        for change in found if apply else ():
            await apply_change(database.driver, change)
    if as_json:
        listed = [{"collection": one.collection, "now": one.now, "wanted": one.wanted} for one in found]
        write_json({"wanted": wanted, "changes": listed, "applied": apply})
        return FINE if apply or not found else FOUND
    out = console()
    if not found:
        what = ", ".join(f"{name} after {_period(seconds)}" for name, seconds in wanted.items())
        out.print(Text(f"All indexes are as the bot wants them: {what or 'nothing expires'}."))
        return FINE
    table = Table(box=None, header_style="dim", padding=(0, 2), pad_edge=False)
    for title in ("collection", "expires after", "is to"):
        table.add_column(title)
    for change in found:
        table.add_row(Text(change.collection), _period(change.now), _period(change.wanted))
    out.print(table)
    out.print()
    if apply:
        out.print(Text(f"{count(len(found), 'index', 'indexes')} changed.", "bold green"))
        return FINE
    out.print(Text("Nothing was changed. --apply does it.", "bold"))
    return FOUND


def _period(seconds: int | None) -> str:
    if seconds is None:
        return "never"
    return count(seconds // _DAY, "day") if seconds % _DAY == 0 else count(seconds, "second")
