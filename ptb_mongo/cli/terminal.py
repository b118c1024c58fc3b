"""The terminal: everything that the commands print goes through here, so that others' text is shown and never obeyed.

No command imports rich's `Text`, `Console` or `Pretty`, or prints by itself; a test checks that.
"""

from __future__ import annotations

import codecs
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
from rich.table import Table
from typer.core import TyperGroup

from ptb_mongo.printable import printable, printable_json, printable_traceback

__all__ = [
    "Commands",
    "Console",
    "Text",
    "Value",
    "console",
    "error_console",
    "open_table",
    "take_every_character",
    "write_error",
    "write_json",
]

_INDENT: Final = 4  # columns, as in rich
_PLAIN_SIGNS: Final = {"●": "*", "✓": "+", "✗": "x", **dict.fromkeys("█▉▊▋▌", "#"), **dict.fromkeys("▍▎▏", ".")}
_NARROW: Final = 72  # columns; in a narrower terminal, tables take less room
_READ: Final = ReprHighlighter()


class Text(rich.text.Text):
    """A line of text with styles: everything in it is escaped, including line feeds."""

    def __init__(self, text: str = "", style: str | Style = "", **options: Any) -> None:
        super().__init__(printable(text), style, **options)

    def append(self, text: rich.text.Text | str, style: str | Style | None = None) -> Text:
        """See rich."""
        super().append(printable(text) if isinstance(text, str) else text, style)
        return self


class _Terminal(Console):
    """A console that treats text as text: no markup, no emoji names, no links. It escapes what is not escaped yet."""

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
    """A value as Python writes it, on several lines if necessary.

    Rich's own `Pretty` would obey escape sequences in a `repr`.

    Args:
        value: The value.
        expand: Whether each element gets its own line.
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
    """The tree with its `repr`s escaped, each of which may contain anything, as classes write their own."""
    for name in ("key_repr", "value_repr", "open_brace", "close_brace", "empty"):
        setattr(node, name, printable(getattr(node, name)))
    for child in node.children or ():
        _escaped(child)
    return node


class Commands(TyperGroup):
    """A group of commands whose messages are escaped, and whose help does not show the types of flags."""

    def invoke(self, ctx: Any) -> Any:
        """See click."""
        try:
            return super().invoke(ctx)
        except Exception as error:
            _make_printable(error)
            raise

    def make_context(self, *args: Any, **options: Any) -> Any:
        """See click; this parses what comes before the command."""
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
    """Removes `<bool>`, which some versions of Typer add to each flag."""
    for parameter in parameters:
        if getattr(parameter, "is_flag", False) and parameter.metavar is None:
            parameter.metavar = ""
    return parameters


def _make_printable(error: Exception) -> None:
    """Escapes the message that click will print; Typer does not export the class of these errors."""
    if hasattr(error, "format_message") and isinstance(message := getattr(error, "message", None), str):
        is_help = type(error).__name__ == "NoArgsIsHelpError"  # its lines are ours
        error.message = printable(message, lines=is_help)  # type: ignore[attr-defined]


def console() -> Console:
    """The console for a command's output; created each time, so that it uses the current terminal."""
    return _Terminal()


def error_console() -> Console:
    """The same for errors and progress."""
    return _Terminal(stderr=True)


def open_table(out: Console, *, show_header: bool = True) -> Table:
    """A table without lines, whose columns are closer together in a narrow terminal."""
    gap = 1 if out.width < _NARROW else 2
    return Table(box=None, header_style="dim", padding=(0, gap), pad_edge=False, show_header=show_header)


def take_every_character() -> None:
    """Replaces characters that the output's encoding lacks: our own signs by plain ones, others by their numbers."""
    codecs.register_error("ptb_mongo", _replaced)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="ptb_mongo")


def _replaced(error: UnicodeError) -> tuple[str, int]:
    """See `codecs.register_error`; a Windows code page has no bars, and no tea cup."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(_PLAIN_SIGNS.get(one) or ascii(one)[1:-1] for one in lacking), error.end


def write_json(value: object) -> None:
    """Prints one line of JSON, with JSON escapes for characters that the output's encoding lacks."""
    only_ascii = "utf" not in (sys.stdout.encoding or "utf-8").lower()
    sys.stdout.write(printable_json(json.dumps(value, ensure_ascii=only_ascii, default=str)) + "\n")
    sys.stdout.flush()


def write_error(error: Exception) -> None:
    """Prints the traceback of an unforeseen error."""
    sys.stderr.write(f"{printable_traceback(error)}\n")
