"""The application with all commands."""

from __future__ import annotations

from typing import Annotated

import typer

import ptb_mongo
from ptb_mongo.cli.backing_up import backup, restore_backup
from ptb_mongo.cli.check import check
from ptb_mongo.cli.exporting import export_app
from ptb_mongo.cli.import_jobs import import_jobs
from ptb_mongo.cli.importing import import_app
from ptb_mongo.cli.indexes import indexes
from ptb_mongo.cli.people import erase_app
from ptb_mongo.cli.repair import repair
from ptb_mongo.cli.rewriting import migrate, rename_class
from ptb_mongo.cli.show import show_app
from ptb_mongo.cli.show_jobs import show_jobs
from ptb_mongo.cli.stats import stats
from ptb_mongo.cli.terminal import Commands
from ptb_mongo.cli.views import views
from ptb_mongo.cli.watch import watch

__all__ = ["app"]

# Plain tracebacks: Typer's show local variables, which may include a connection string.
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    cls=Commands,
    help="Manages a bot's MongoDB. Set MONGODB_URI, and start with [bold]ptb-mongo check[/].",
    epilog="Exit codes: 0 all is well, 1 something was found or failed, 2 wrong usage.",
)
app.command()(check)
import_app.command("jobs")(import_jobs)
app.add_typer(import_app, name="import")
app.add_typer(export_app, name="export")
show_app.command("jobs")(show_jobs)
app.add_typer(show_app, name="show")
app.command()(backup)
app.command("restore")(restore_backup)
app.add_typer(erase_app, name="erase")
app.command()(indexes)
app.command()(stats)
app.command()(views)
app.command()(watch)
app.command()(repair)
app.command("rename-class")(rename_class)
app.command()(migrate)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"ptb-mongo {ptb_mongo.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version")
    ] = False,
) -> None:
    """Takes the options that come before a command; the application's help is set above."""
