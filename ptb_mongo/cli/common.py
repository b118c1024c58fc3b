"""What all commands share: options, access to the database, and the look of errors and progress."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from types import FunctionType
from typing import Annotated, Any, Final

import telegram
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ptb_mongo.cli.naming import aliases_from, trusted_named
from ptb_mongo.cli.terminal import Console, Text, error_console
from ptb_mongo.codec.trusted_modules import module_in
from ptb_mongo.driver.uri import without_password
from ptb_mongo.errors import ConfigurationError, DocumentError, PersistenceError
from ptb_mongo.migration.database import Database
from ptb_mongo.printable import printable
from ptb_mongo.types import Exclude, Migrations

__all__ = [
    "ERROR",
    "FINE",
    "FOUND",
    "USAGE",
    "Alias",
    "BotId",
    "CollectionPrefix",
    "DatabaseName",
    "Json",
    "Steps",
    "Target",
    "Token",
    "Trust",
    "Uri",
    "bot_for",
    "bot_id_from",
    "count",
    "modules_of",
    "problem_json",
    "progress",
    "run",
    "show_problems",
]

FINE: Final = 0
FOUND: Final = 1  # something is wrong with the data
ERROR: Final = 1
USAGE: Final = 2
_SHOWN_REASONS: Final = 20
_SHOWN_DOCUMENTS: Final = 5  # for each reason

_TRUST: Final = (
    "Module of your own classes, or script (bot.py) that defines them; or a function, models:make; may be repeated"
)
_ALIAS: Final = "Old and new name of a class that was moved or renamed, as in aliases; may be repeated"

Uri = Annotated[
    str | None,
    typer.Option(
        "--uri", envvar="MONGODB_URI", show_default=False, help="Connection string: mongodb:// or mongodb+srv://"
    ),
]
DatabaseName = Annotated[
    str | None, typer.Option("--database", "-d", show_default=False, help="Database; by default the one in the URI")
]
CollectionPrefix = Annotated[
    str, typer.Option("--collection-prefix", show_default=False, help="As given to MongoPersistence")
]
Trust = Annotated[
    list[str] | None,
    typer.Option("--trust", metavar="MODULE", show_default=False, help=_TRUST),
]
Alias = Annotated[
    list[str] | None,
    typer.Option("--alias", metavar="OLD=NEW", show_default=False, help=_ALIAS),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts")]
BotId = Annotated[int | None, typer.Option("--bot-id", show_default=False, help="The bot's id, instead of its token")]
Token = Annotated[
    str | None,
    typer.Option("--token", envvar="BOT_TOKEN", show_default=False, help="Only the bot's id is taken from it"),
]


@dataclass(frozen=True, slots=True)
class Target:
    """The database that a command works on.

    Attributes:
        uri: The connection string.
        database: The database's name; `None` for the one in the URI.
        prefix: The beginning of the collections' names.
        trusted: Names of modules, and functions.
        aliases: Classes by their old names.
    """

    uri: str | None
    database: str | None
    prefix: str
    trusted: tuple[str | FunctionType, ...]
    aliases: Mapping[str, type] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        uri: str | None,
        database: str | None,
        prefix: str,
        trust: list[str] | None,
        alias: list[str] | None = None,
    ) -> Target:
        """Takes the options of a command, and imports the trusted modules and the classes with aliases.

        Raises:
            typer.BadParameter: If one cannot be imported.
        """
        if uri is None:
            raise typer.BadParameter("pass --uri, or set MONGODB_URI", param_hint="--uri")
        trusted = tuple(trusted_named(name, "--trust") for name in trust or ())
        return cls(uri, database, prefix, trusted, aliases_from(alias or (), "--alias"))

    @property
    def shown(self) -> str:
        """The connection string without its password."""
        return without_password(self.uri or "")

    @asynccontextmanager
    async def open(
        self,
        bot: telegram.Bot | None = None,
        migrations: Migrations | None = None,
        exclude: Exclude | None = None,
    ) -> AsyncIterator[Database]:
        """The database, opened and known to answer."""
        database = await Database.open(
            self.uri,
            self.database,
            prefix=self.prefix,
            trusted=self.trusted,
            aliases=self.aliases,
            migrations=migrations,
            exclude=exclude,
            bot=bot,
        )
        try:
            await database.driver.hello()
            yield database
        finally:
            await database.close()


def run(work: Coroutine[Any, Any, int], *, interrupted: int = 130) -> None:
    """Runs a command and ends with its exit code; errors become one line each.

    Args:
        work: The command.
        interrupted: The exit code after Ctrl-C.
    """
    logging.getLogger("ptb_mongo").addHandler(logging.NullHandler())  # the command itself reports what it would log
    try:
        code = asyncio.run(work)
    except ConfigurationError as error:
        _complain(error)
        code = USAGE
    except (PersistenceError, OSError) as error:
        _complain(error)
        code = ERROR
    except KeyboardInterrupt:
        code = interrupted
    raise typer.Exit(code)


def _complain(error: BaseException) -> None:
    error_console().print(Text.assemble(("Error: ", "bold red"), str(error)))


# -- the bot ---------------------------------------------------------------------------------------------


def bot_id_from(bot_id: int | None, token: str | None) -> int | None:
    """The bot's id, from either option.

    Raises:
        typer.BadParameter: If the token has none.
    """
    if bot_id is not None or not token:
        return bot_id
    number = token.partition(":")[0]
    if not number.isdecimal():
        raise typer.BadParameter("it does not begin with the bot's id and a colon", param_hint="--token")
    return int(number)


def bot_for(bot_id: int | None) -> telegram.Bot:
    """A stand-in for the bot in its data, where only a marker is stored; it never contacts Telegram."""
    return telegram.Bot(f"{bot_id or 0}:none")


# -- output ----------------------------------------------------------------------------------------------


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number with its noun."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"


def problem_json(problem: DocumentError) -> dict[str, Any]:
    """A problem in JSON, for scripts."""
    return {
        "collection": problem.collection,
        "_id": problem.document_id,
        "path": problem.path,
        "reason": problem.reason,
    }


def modules_of(names: Iterable[str]) -> list[str]:
    """The modules of classes, for a command to copy; only valid names, as a stranger may have chosen them."""
    modules = set(map(module_in, names))
    return sorted(module for module in modules if all(part.isidentifier() for part in module.split(".")))


def show_problems(out: Console, problems: Sequence[DocumentError], title: str) -> None:
    """Lists what is wrong with documents: each reason once, with its first documents."""
    if not problems:
        return
    by_reason: dict[str, list[DocumentError]] = {}
    for problem in problems:
        by_reason.setdefault(problem.reason, []).append(problem)
    out.print()
    out.print(Text(title, "bold red"))
    for reason, alike in list(by_reason.items())[:_SHOWN_REASONS]:
        out.print(Text.assemble(("  ● ", "red"), reason), soft_wrap=True)
        shown = alike if len(alike) <= _SHOWN_DOCUMENTS else alike[: _SHOWN_DOCUMENTS - 1]
        for problem in shown:
            where = Text(f"      {problem.collection or ''}, _id {problem.document_id!r:.60}", "dim")
            if problem.path:
                where.append(", ").append(f"{problem.path:.100}", "cyan")
            out.print(where, soft_wrap=True)
        if len(shown) < len(alike):
            out.print(Text(f"      and {len(alike) - len(shown):,} more", "dim"))
    if len(by_reason) > _SHOWN_REASONS:
        out.print(Text(f"  and {len(by_reason) - _SHOWN_REASONS:,} more reasons; --json names all", "dim"))


class Steps:
    """The progress of work in several parts, each of which appears when it begins."""

    def __init__(self, bar: Progress | None) -> None:
        self._bar = bar
        self._tasks: dict[str, TaskID] = {}

    def advance(self, name: str, number: int, total: int | None = None) -> None:
        """Notes progress in a part."""
        if self._bar is None:
            return
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(printable(name), total=total)
        self._bar.advance(self._tasks[name], number)

    def at(self, name: str, position: int, total: int) -> None:
        """Notes the position in a part."""
        if self._bar is None:
            return
        if name not in self._tasks:
            self._tasks[name] = self._bar.add_task(printable(name), total=total)
        self._bar.update(self._tasks[name], completed=position)

    def expecting(self, totals: Callable[[str], int | None]) -> Callable[[str, int], None]:
        """An `advance` that knows the totals."""
        return lambda name, number: self.advance(name, number, totals(name))


@contextmanager
def progress(*, quiet: bool) -> Iterator[Steps]:
    """Progress bars on stderr, so that piped output stays clean; they disappear at the end.

    Args:
        quiet: Whether to show no bars.
    """
    out = error_console()
    if quiet or not out.is_terminal:
        yield Steps(None)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=out, transient=True) as bar:
        yield Steps(bar)
