"""`ptb-mongo check`: whether a bot can work with a database; the first command to run."""

from __future__ import annotations

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
    modules_of,
    problem_json,
    progress,
    run,
    show_problems,
)
from ptb_mongo.cli.terminal import Console, Text, console, write_json
from ptb_mongo.migration.inspection import Examination, Server, examine, inspect_server
from ptb_mongo.migration.privileges import WATCH

__all__ = ["check"]

_NEEDED: Final = ("read", "write", "index")  # without change streams, a bot reads instead
_CANNOT_READ: Final = frozenset({"read", "find"})
_WITHOUT: Final = {"watch": 'the bot reads before each update instead (refresh="read")'}


def check(
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    sample: Annotated[
        int | None, typer.Option(min=1, show_default=False, help="Decode only so many documents of each collection")
    ] = None,
    as_json: Json = False,
) -> None:
    """Check the server, the rights and the format, and decode every document."""
    run(_check(Target.of(uri, database, collection_prefix, trust, alias), sample, as_json=as_json))


async def _check(target: Target, sample: int | None, *, as_json: bool) -> int:
    async with target.open() as database:
        server = await inspect_server(database)
        missing = [right for right in _NEEDED if server.rights[right]]
        missing += [action for action in server.missing if action != WATCH]
        form = await database.format() if not _CANNOT_READ.intersection(missing) else None
        examination = Examination()
        if not _CANNOT_READ.intersection(missing):
            with progress(quiet=as_json) as steps:
                examination = await examine(database, sample=sample, advance=steps.advance)
        if as_json:
            write_json(_as_json(server, form, examination))
        else:
            _show(console(), target, database.name, server, form)
            _show_missing(console(), target, database.name, server)
            _show_documents(console(), examination, sampled=sample is not None)
    return FOUND if missing or examination.problems else FINE


def _as_json(server: Server, form: dict[str, Any] | None, examination: Examination) -> dict[str, Any]:
    return {
        "version": server.version,
        "topology": server.topology,
        "rights": {right: reason is None for right, reason in server.rights.items()},
        "reasons": {right: reason for right, reason in server.rights.items() if reason},
        "missing": server.missing,
        "granting": server.granting,
        "format": form.get("version") if form else None,
        "bot_id": form.get("bot_id") if form else None,
        "documents": examination.documents,
        "decoded": examination.decoded,
        "problems": [problem_json(problem) for problem in examination.problems],
        "untrusted": examination.untrusted,
    }


def _show(out: Console, target: Target, name: str, server: Server, form: dict[str, Any] | None) -> None:
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim")
    facts.add_row("server", f"MongoDB {server.version}, {server.topology}")
    facts.add_row("address", target.shown)
    bot_id = form.get("bot_id") if form else None
    state = f"format {form.get('version')} of bot {bot_id}" if form and bot_id else "no bot has been here yet"
    facts.add_row("database", f"{name}, {state}")
    rights = Text("  ").join(
        Text.assemble(("✓ ", "green"), right) if reason is None else Text.assemble(("✗ ", "red"), right)
        for right, reason in server.rights.items()
    )
    facts.add_row("rights", rights)
    out.print(facts)
    if form and "odd_version" in form:
        odd = f"the format document names the version {form['odd_version']!r:.80}, which no ptb_mongo writes"
        out.print(Text.assemble(("  ● ", "yellow"), f"{odd}; it is treated as {form['version']}"), soft_wrap=True)
    for right, reason in server.rights.items():
        if reason:
            out.print(Text.assemble(("  ● ", "yellow"), f"no {right}: {reason}"), soft_wrap=True)
            if right in _WITHOUT:
                out.print(Text(f"    {_WITHOUT[right]}", "dim"), soft_wrap=True)


def _show_missing(out: Console, target: Target, name: str, server: Server) -> None:
    if not server.missing:
        return
    out.print()
    out.print(Text("This user is missing", "bold red"))
    for action, collections in server.missing.items():
        where = ", ".join(collections) if collections else "the whole database"
        out.print(Text.assemble(("  ● ", "red"), action, (f"  {where}", "dim")), soft_wrap=True)
    if ".mongodb.net" in target.shown:
        out.print(
            Text(f"    on Atlas: Database Access, Custom Roles; these actions, on {name}, all collections", "dim")
        )
        return
    out.print(Text("    as an administrator, in mongosh:", "dim"))
    for line in server.granting:
        out.print(Text(f"    {line}"), soft_wrap=True)


def _show_documents(out: Console, examination: Examination, *, sampled: bool) -> None:
    if not sum(examination.documents.values()):
        return
    table = Table(box=None, header_style="dim", padding=(0, 2), pad_edge=False)
    table.add_column("collection")
    for title in ("documents", "tried", "unreadable"):
        table.add_column(title, justify="right")
    for kind, documents in examination.documents.items():
        bad = examination.unreadable[kind]
        unreadable = Text(f"{bad:,}", "bold red") if bad else Text("-", "dim")
        table.add_row(kind, f"{documents:,}", f"{examination.decoded[kind]:,}", unreadable)
    out.print()
    out.print(table)
    show_problems(out, examination.problems, "These would be put into quarantine")
    _show_untrusted(out, examination)
    if not examination.problems:
        out.print()
        out.print(Text.assemble(("All is well", "bold green"), " (of the sample)" if sampled else "", "."))


def _show_untrusted(out: Console, examination: Examination) -> None:
    if examination.untrusted:
        out.print()
        out.print(Text("Classes and functions that are not trusted, or are gone", "bold red"))
        for name, number in sorted(examination.untrusted.items()):
            out.print(Text.assemble(("  ● ", "red"), name, (f", in {count(number, 'document')}", "dim")))
        for offer in _offers(examination):
            out.print(Text(f"    {offer}", "dim"), soft_wrap=True)


def _offers(examination: Examination) -> list[str]:
    """The options that would help, ready to be copied."""
    offers = []
    by_way: dict[str, list[str]] = {}
    for name, way in sorted(examination.ways.items()):
        if modules_of([name]):
            by_way.setdefault(way, []).append(name)
    modules, functions = modules_of(by_way.get("untrusted", ())), by_way.get("class", [])
    if modules or functions:
        parts = [(function.rpartition(".")[0], function.rpartition(".")[2]) for function in functions]
        options = " ".join(f"--trust {one}" for one in [*modules, *(f"{module}:{name}" for module, name in parts)])
        listed = ", ".join([*(f'"{module}"' for module in modules), *(name for _, name in parts)])
        offers.append(f"if they are yours: {options}; and in the bot: trusted=[{listed}]")
    if gone := by_way.get("gone", []) or (["OLD"] if modules else []):
        options = " ".join(f"--alias {name}=NEW" for name in gone)
        offers.append(f"if they were moved or renamed: {options}; and in the bot: aliases={{...}}")
    return offers
