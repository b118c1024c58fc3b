"""The look of the demo: acts, a chat with bubbles, and documents in the style of `mongosh`."""

from __future__ import annotations

import asyncio
import datetime as dtm
import io
import json
import sys
from typing import Any

from bson.decimal128 import Decimal128
from offline import Person, Reply
from rich.align import Align
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.rule import Rule
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

WIDTH = 88
ONE_LINE = 70  # characters: a shorter document is printed on one line
READING_TIME = 0.4  # seconds for each line, for people


class Stage:
    """The stage of the demo.

    Args:
        console: The console to print to; on a terminal, with time to read.
    """

    def __init__(self, console: Console | None = None) -> None:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # LANG=C has no tea cups
        self._console = console or Console(highlight=False)
        self._console.width = min(self._console.width, WIDTH)
        self._pause = READING_TIME if self._console.is_terminal else 0.0

    def title(self, title: str, subtitle: str) -> None:
        """Prints the title."""
        text = Text.assemble((title, "bold"), "\n", (subtitle, "dim"), justify="center")
        self._console.print(Panel(text, style="cyan"))

    async def act(self, title: str, introduction: str) -> None:
        """Begins an act."""
        self._console.print()
        self._console.print(Rule(Text(title, "bold cyan"), style="cyan"))
        self._console.print(Text(introduction, "dim"))
        self._console.print()
        await self._time_to_read()

    async def note(self, text: str, style: str = "yellow") -> None:
        """Prints what happens outside the chat."""
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(Text("  ●", style), Text(text, style))
        self._console.print(line)
        await self._time_to_read()

    async def writes(self, person: Person, text: str) -> Reply:
        """Lets a person write to the bot; shows the message and the answer."""
        await self._bubble(Text(text), "green", person.name, on_the_right=True)
        return await self._answer(await person.writes(text))

    async def presses(self, person: Person, button: str, reply: Reply) -> Reply:
        """Lets a person press a button; shows that and the answer."""
        label = next(label for label in reply.buttons if label.startswith(button))
        await self._bubble(Text(f"[ {label} ]", "reverse"), "green", f"{person.name} presses", on_the_right=True)
        return await self._answer(await person.presses(label, reply))

    async def _answer(self, reply: Reply) -> Reply:
        content: list[RenderableType] = [Text(reply.text)]
        if reply.buttons:
            labels = [Text(f" {label} ", "reverse") for label in reply.buttons]
            content.append(Text("  ").join(labels))
        title = "Tea shop edits its message" if reply.edited else "Tea shop"
        await self._bubble(Group(*content), "blue", title, on_the_right=False)
        return reply

    async def _bubble(self, content: RenderableType, style: str, title: str, *, on_the_right: bool) -> None:
        bubble = Panel(content, title=Text(title), title_align="left", border_style=style, expand=False, padding=(0, 1))
        self._console.print(Align.right(bubble) if on_the_right else bubble)
        await self._time_to_read()

    async def query(self, command: str, documents: list[Any]) -> None:
        """Shows a query and its result."""
        text = "\n".join([f"> {command}", *map(in_mongosh, documents)])
        self._console.print(Syntax(text, "javascript", theme="ansi_dark", background_color="default", word_wrap=True))
        self._console.print()
        await self._time_to_read()

    async def _time_to_read(self) -> None:
        await asyncio.sleep(self._pause)


def in_mongosh(value: Any, indent: int = 0) -> str:
    """A value in the style of `mongosh`; a short one takes one line."""
    if isinstance(value, dict):
        items = [f"{_key(key)}: {in_mongosh(item, indent + 2)}" for key, item in value.items()]
        return _joined("{}", items, indent)
    if isinstance(value, list):
        return _joined("[]", [in_mongosh(item, indent + 2) for item in value], indent)
    if isinstance(value, dtm.datetime):
        return f"ISODate('{value:%Y-%m-%dT%H:%M:%SZ}')"
    if isinstance(value, Decimal128):
        return f"Decimal128('{value}')"
    if isinstance(value, bytes):
        return f"Binary({len(value)} bytes)"
    text = json.dumps(value, ensure_ascii=False)
    return text if "'" in text else text.replace('"', "'")


def _key(key: str) -> str:
    return key if key.isidentifier() else f"'{key}'"


def _joined(brackets: str, items: list[str], indent: int) -> str:
    opening, closing = brackets[0], brackets[1]
    line = f"{opening} {', '.join(items)} {closing}" if items else brackets
    if "\n" not in line and len(line) + indent < ONE_LINE:
        return line
    inside = "".join(f"{' ' * (indent + 2)}{item},\n" for item in items)
    return f"{opening}\n{inside}{' ' * indent}{closing}"
