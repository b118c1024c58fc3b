"""`ptb-mongo show`: data as the bot has it."""

from __future__ import annotations

import datetime as dtm
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Final

import bson
import telegram
import typer
from bson import json_util
from rich.panel import Panel
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
    run,
    show_problems,
)
from ptb_mongo.cli.terminal import Console, Text, Value, console, write_json
from ptb_mongo.codec.objects import attributes_of
from ptb_mongo.driver.decoding import ANYTHING
from ptb_mongo.migration.data import Kind
from ptb_mongo.migration.database import Stored

__all__ = ["show_app"]

show_app = typer.Typer(no_args_is_help=True, help="Show data as the bot has it. --json gives it as it is stored.")
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
    uri: Uri = None,
    database: DatabaseName = None,
    collection_prefix: CollectionPrefix = "",
    trust: Trust = None,
    alias: Alias = None,
    as_json: Json = False,
) -> None:
    """Show the states of the conversations that are going on."""
    target = Target.of(uri, database, collection_prefix, trust, alias)
    query = {} if handler is None else {"handler": handler}
    run(_show(target, "conversations", query, "conversation", as_json=as_json))


async def _show(target: Target, kind: Kind, query: Mapping[str, Any], name: str, *, as_json: bool) -> int:
    found: list[Stored] = []
    async with target.open() as database:
        async for stored in database.read(kind, query, ("rev", "updated_at")):
            found.append(stored)  # noqa: PERF401  (`run` closes the database only after this)
    problems = [stored.error for stored in found if stored.error is not None]
    if as_json:
        for stored in found:
            relaxed = json_util.dumps(bson.decode(stored.raw, ANYTHING), json_options=json_util.RELAXED_JSON_OPTIONS)
            write_json({**json.loads(relaxed), "error": stored.error and str(stored.error)})
        return FOUND if problems or not found else FINE
    out = console()
    if not found:
        whose = "the bot" if kind == "bot_data" else name
        nothing = "No conversation is going on." if kind == "conversations" else f"Nothing is stored for {whose}."
        out.print(Text(nothing))
    good = [stored for stored in found if stored.error is None]
    if kind == "conversations":
        _show_table(out, good)
    else:
        for stored in good:
            out.print(_panel(stored, name))
    show_problems(out, problems, "Cannot be read")
    return FOUND if problems or not found else FINE


def _panel(stored: Stored, name: str) -> Panel:
    meta = Text("  ").join(
        Text.assemble((f"{field} ", "dim"), shown(stored.body.get(field)))
        for field, shown in _META.items()
        if field in stored.body
    )
    title = name if str(stored.id) in name else f"{name} {stored.id}"
    content = Value(_pleasant(stored.body.get("data", {})), expand=True)
    return Panel(content, title=Text(title, "bold"), title_align="left", subtitle=meta, border_style="cyan")


class _Shown:
    """Something with a shorter `repr` than its own."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class _Telegram:
    """A Telegram object, of which rich would print one long line."""

    def __init__(self, value: telegram.TelegramObject) -> None:
        self._value = value

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        for name, value in self._value.to_dict(recursive=False).items():
            if value not in (None, False):
                yield name, _pleasant(getattr(self._value, name, value))  # dates, not numbers


class _Object:
    """An object whose class has no `repr` of its own: its attributes."""

    def __init__(self, attributes: dict[str, Any]) -> None:
        self._attributes = attributes

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        for name, value in self._attributes.items():
            yield name, _pleasant(value)


def _pleasant(value: Any) -> Any:
    """The same value, as far as it matters to the eye."""
    if type(value) is dict:
        return {key: _pleasant(item) for key, item in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(_pleasant(item) for item in value)
    if isinstance(value, telegram.TelegramObject):
        return type(type(value).__name__, (_Telegram,), {})(value)
    if isinstance(value, (dtm.datetime, dtm.date, dtm.time, dtm.timedelta)):
        return _Shown(repr(value).replace("tzinfo=datetime.timezone.utc", "UTC").replace("datetime.", ""))
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


def _show_table(out: Console, found: list[Stored]) -> None:
    if not found:
        return
    table = Table(box=None, header_style="dim", padding=(0, 2), pad_edge=False)
    for title in ("handler", "key", "state", "updated_at", "rev"):
        # A long text in one conversation must not take the room of the others' handlers and keys.
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
