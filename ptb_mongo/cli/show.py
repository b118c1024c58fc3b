"""`ptb-mongo show`: the data as the bot sees it."""

from __future__ import annotations

import contextlib
import datetime as dtm
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

import telegram
import typer
from rich.panel import Panel

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
    run,
    show_problems,
)
from ptb_mongo.cli.stored_json import write_stored
from ptb_mongo.cli.terminal import Commands, Console, Text, Value, console, error_console, open_table
from ptb_mongo.codec.objects import attributes_of
from ptb_mongo.errors import DocumentError
from ptb_mongo.migration.data import Kind
from ptb_mongo.migration.database import Database, Stored
from ptb_mongo.migration.statistics import conversation_states

__all__ = ["show_app"]

show_app = typer.Typer(
    cls=Commands, no_args_is_help=True, help="Show data as the bot has it. --json gives it as it is stored."
)
_ROWS: Final = 500  # in one table, whose columns fit them; the next rows go into another table
_PROBLEMS: Final = 1000  # that are remembered
_NEGATIVE = {"ignore_unknown_options": True}  # the ids of groups look like options


@show_app.command("user")
def show_user(
    user_id: Annotated[int, typer.Argument(show_default=False)],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    as_json: Json = False,
) -> None:
    """Show the data of a user."""
    target = Target.of(uri, database, collection_prefix, trust, alias)
    run(_show(target, "user_data", {"_id": user_id}, f"user {user_id}", as_json=as_json))


@show_app.command("chat", context_settings=_NEGATIVE)
def show_chat(
    chat_id: Annotated[int, typer.Argument(show_default=False)],
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    as_json: Json = False,
) -> None:
    """Show the data of a chat; groups have negative ids."""
    target = Target.of(uri, database, collection_prefix, trust, alias)
    run(_show(target, "chat_data", {"_id": chat_id}, f"chat {chat_id}", as_json=as_json))


@show_app.command("bot")
def show_bot(
    *,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    as_json: Json = False,
) -> None:
    """Show the data of the bot."""
    target = Target.of(uri, database, collection_prefix, trust, alias)
    run(_show(target, "bot_data", {}, "bot", as_json=as_json))


@show_app.command("conversations")
def show_conversations(
    handler: Annotated[str | None, typer.Argument(show_default=False, help="Name of a ConversationHandler")] = None,
    *,
    limit: Annotated[int | None, typer.Option(min=1, show_default=False, help="Show no more than so many")] = None,
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    as_json: Json = False,
) -> None:
    """Show the states of ongoing conversations."""
    target = Target.of(uri, database, collection_prefix, trust, alias)
    query = {} if handler is None else {"handler": handler}
    run(_show(target, "conversations", query, "conversation", as_json=as_json, limit=limit))


async def _show(
    target: Target, kind: Kind, query: Mapping[str, Any], name: str, *, as_json: bool, limit: int | None = None
) -> int:
    shown = _Shown(kind, name, as_json=as_json)
    nothing = f"Nothing is stored for {'the bot' if kind == 'bot_data' else name}."
    async with (
        target.open() as database,
        contextlib.aclosing(database.read(kind, query, ("rev", "updated_at"))) as reading,  # type: ignore[type-var]
    ):
        async for stored in reading:
            if shown.number == limit:
                error_console().print(f"There are more than {limit:,}.")
                break
            shown.add(stored)
        if kind == "conversations" and not shown.number:
            nothing = await _no_conversation(database, query.get("handler"))
    return shown.end(nothing)


async def _no_conversation(database: Database, handler: str | None) -> str:
    """Explains why there is no conversation to show: no handler with this name has stored one."""
    stored = await conversation_states(database)
    if handler is None or not stored:
        return "No conversation is stored."
    names = ", ".join(map(repr, sorted(stored)))
    return f"No conversation of a handler named {handler!r} is stored; there are some of {names}."


class _Shown:
    """Shows documents as they arrive: there may be more than fit into memory.

    Args:
        kind: Their kind.
        name: The noun for one of them.
        as_json: Whether to print JSON.
    """

    def __init__(self, kind: Kind, name: str, *, as_json: bool) -> None:
        self.number = 0
        self._kind = kind
        self._name = name
        self._as_json = as_json
        self._out = console()
        self._rows: list[Stored] = []
        self._has_header = True
        self._problems: list[DocumentError] = []
        self._more = 0

    def add(self, stored: Stored) -> None:
        """Shows a document, possibly together with the next ones."""
        self.number += 1
        if stored.error is not None and len(self._problems) < _PROBLEMS:
            self._problems.append(stored.error)
        elif stored.error is not None:
            self._more += 1
        if self._as_json:
            write_stored(stored)
        elif stored.error is None and self._kind != "conversations":
            self._out.print(_panel(stored, self._name))
        elif stored.error is None:
            self._rows.append(stored)
            if len(self._rows) == _ROWS:
                self._show_rows()

    def _show_rows(self) -> None:
        if self._rows:
            _show_table(self._out, self._rows, has_header=self._has_header)
            self._rows, self._has_header = [], False

    def end(self, nothing: str) -> int:
        """Shows the remaining documents and the unreadable ones, or that there are none; returns the exit code."""
        if not self._as_json:
            self._show_rows()
            if not self.number:
                self._out.print(Text(nothing))
            show_problems(self._out, self._problems, "Cannot be read")
            if self._more:
                self._out.print(Text(f"  and {self._more:,} more documents; --json names all", "dim"))
        return FOUND if self._problems or not self.number else FINE


def _panel(stored: Stored, name: str) -> Panel:
    meta = Text("  ").join(
        Text.assemble((f"{field} ", "dim"), shown(stored.body.get(field)))
        for field, shown in _META.items()
        if field in stored.body
    )
    title = name if str(stored.id) in name else f"{name} {stored.id}"
    content = Value(_pleasant(stored.body.get("data", {})), expand=True)
    return Panel(content, title=Text(title, "bold"), title_align="left", subtitle=meta, border_style="cyan")


class _Brief:
    """A wrapper that gives something a shorter `repr`."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class _Telegram:
    """A Telegram object, which rich would print in one long line."""

    def __init__(self, value: telegram.TelegramObject) -> None:
        self._value = value

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        for name, value in self._value.to_dict(recursive=False).items():
            if value not in (None, False):
                yield name, _pleasant(getattr(self._value, name, value))  # dates, not numbers


class _Object:
    """An object whose class has no `repr` of its own, shown by its attributes."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self._attributes = attributes

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        for name, value in self._attributes.items():
            yield name, _pleasant(value)


def _pleasant(value: Any) -> Any:
    """The value in a form that is easier to read."""
    if type(value) is dict:
        return {key: _pleasant(item) for key, item in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(_pleasant(item) for item in value)
    if isinstance(value, telegram.TelegramObject):
        return type(type(value).__name__, (_Telegram,), {})(value)
    if isinstance(value, (dtm.datetime, dtm.date, dtm.time, dtm.timedelta)):
        return _Brief(repr(value).replace("tzinfo=datetime.timezone.utc", "UTC").replace("datetime.", ""))
    cls: Any = type(value)
    if cls.__repr__ is object.__repr__ and (attributes := attributes_of(value)):
        return type(cls.__name__, (_Object,), {})(attributes)
    return value


def _date(value: Any) -> str:
    return f"{value:%Y-%m-%d %H:%M:%S} UTC" if isinstance(value, dtm.datetime) else str(value)


_WIDEST: Final = {"state": 40, "updated_at": 23}
_META: dict[str, Callable[[Any], str]] = {"updated_at": _date, "rev": str}


def _place(stored: Stored) -> tuple[str, list[tuple[str, Any]]]:
    handler, key = stored.key
    return handler, [(type(part).__name__, part) for part in key]


def _show_table(out: Console, found: list[Stored], *, has_header: bool) -> None:
    table = open_table(out, show_header=has_header)
    for title in ("handler", "key", "state", "updated_at", "rev"):
        # A long text in one conversation must not squeeze the others' handlers and keys.
        table.add_column(title, no_wrap=title in {"state", "updated_at"}, max_width=_WIDEST.get(title))
    for stored in sorted(found, key=_place):
        handler, key = stored.key
        table.add_row(
            Text(handler, "bold"),
            ", ".join(map(str, key)),
            Value(stored.body["state"]),
            Text(_date(stored.body.get("updated_at", "")).removesuffix(" UTC"), "dim"),
            Text(str(stored.body.get("rev", "")), "dim"),
        )
    out.print(table)
