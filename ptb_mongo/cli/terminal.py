"""The terminal: all that the commands print goes through here, so that text of others is shown and never obeyed.

No command imports rich's `Text`, `Console` or `Pretty`, or prints by itself: a test looks for that.
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

import rich.text
from rich.console import Console, ConsoleOptions, RenderableType
from rich.highlighter import ReprHighlighter
from rich.measure import Measurement
from rich.pretty import Node, traverse
from rich.segment import Segment
from rich.style import Style
from typer.core import TyperGroup

from ptb_mongo.printable import printable, printable_json, printable_traceback

__all__ = [
    "Commands",
    "Console",
    "Text",
    "Value",
    "console",
    "error_console",
    "take_every_character",
    "write_error",
    "write_json",
]

_INDENT: Final = 4  # columns, as rich has it
_READ: Final = ReprHighlighter()


class Text(rich.text.Text):
    """A line of text, with styles: whatever it is made of is escaped, line feeds too."""

    def __init__(self, text: str = "", style: str | Style = "", **options: Any) -> None:
        super().__init__(printable(text), style, **options)

    def append(self, text: rich.text.Text | str, style: str | Style | None = None) -> Text:
        """See rich."""
        super().append(printable(text) if isinstance(text, str) else text, style)
        return self


class _Terminal(Console):
    """A console for which text is text: no markup, no names of emoji, no links. It escapes what nobody else has."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False)

    def render_str(self, text: str, **options: Any) -> rich.text.Text:
        """See rich; a line, like `Text`."""
        return super().render_str(printable(text), **{**options, "markup": False, "emoji": False})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """See rich."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                style = segment.style.update_link(None) if segment.style and segment.style.link else segment.style
                yield Segment(printable(segment.text, lines=True), style)


class Value:
    """A value as Python writes it, over several lines if necessary.

    rich's own `Pretty` obeys the escapes in a `repr`.

    Args:
        value: The value.
        expand: Whether each element has a line of its own.
    """

    def __init__(self, value: Any, *, expand: bool = False) -> None:
        self._value = value
        self._expand = expand

    def _written(self, width: int) -> str:
        return _escaped(traverse(self._value)).render(width, _INDENT, self._expand)

    def __rich_console__(self, out: Console, options: ConsoleOptions) -> Iterator[rich.text.Text]:
        text = _READ(rich.text.Text(self._written(options.max_width), "pretty"))
        yield text if options.ascii_only or not self._expand else text.with_indent_guides(_INDENT, style="repr.indent")

    def __rich_measure__(self, out: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(out, options, rich.text.Text(self._written(options.max_width)))


def _escaped(node: Node) -> Node:
    """A tree of `repr`s, each of which may be anything: a class writes its own."""
    for name in ("key_repr", "value_repr", "open_brace", "close_brace", "empty"):
        setattr(node, name, printable(getattr(node, name)))
    for child in node.children or ():
        _escaped(child)
    return node


class Commands(TyperGroup):
    """A group of commands: its messages do not act on the terminal, and its help names no types of flags."""

    def invoke(self, ctx: Any) -> Any:
        """See click."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            _make_printable(error)
            raise

    def make_context(self, *args: Any, **options: Any) -> Any:
        """See click; this parses what stands before the command."""
        try:
            return super().make_context(*args, **options)
        except Exception as error:
            _make_printable(error)
            raise

    def get_params(self, ctx: Any) -> list[Any]:
        """See click."""
        return _without_types_of_flags(super().get_params(ctx))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """See click."""
        command = super().get_command(ctx, cmd_name)
        if command is not None:
            _without_types_of_flags(command.get_params(ctx))
        return command


def _without_types_of_flags(parameters: list[Any]) -> list[Any]:
    """Some versions of Typer write `<bool>` behind each."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters


def _make_printable(error: Exception) -> None:
    """Escapes what click is going to print; Typer does not export the class of these errors."""
    if hasattr(error, "format_message") and isinstance(message := getattr(error, "message", None), str):
        is_help = type(error).__name__ == "NoArgsIsHelpError"  # its lines are ours
        error.message = printable(message, lines=is_help)  # type: ignore[attr-defined]


def console() -> Console:
    """Where a command prints; made anew, so that it is the terminal of this moment."""
    return _Terminal()


def error_console() -> Console:
    """The same for errors and progress."""
    return _Terminal(stderr=True)


def take_every_character() -> None:
    """Shows what the output's encoding lacks by its number: a Windows code page, or LANG=C, has no tea cups."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def write_json(value: object) -> None:
    """Prints one line of JSON, in which characters that the output's encoding lacks are escaped as JSON does it."""
    only_ascii = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    sys.stdout.write(printable_json(json.dumps(value, ensure_ascii=only_ascii, default=str)) + "\n")
    sys.stdout.flush()


def write_error(error: Exception) -> None:
    """Prints the traceback of an error that nobody has thought of."""
    sys.stderr.write(f"{printable_traceback(error)}\n")
