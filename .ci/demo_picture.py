"""Draws docs/images/demo.svg from the output of `examples/demo.py`: run `python .ci/demo_picture.py` if it changes."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

ROOT = Path(__file__).parents[1]
SHOWN = re.compile(r"^[^\n]*3 · A live edit.*?what only the database knew\.[^\n]*\n", re.MULTILINE | re.DOTALL)
COLOURS = [(0, 0, 0), (230, 90, 90), (80, 200, 120), (230, 190, 90), (95, 165, 240), (200, 130, 230), (80, 200, 210)]
THEME = TerminalTheme((22, 27, 34), (215, 220, 226), [*COLOURS, (215, 220, 226)], [*COLOURS, (255, 255, 255)])


def main() -> None:
    """Runs the demo, and draws one act of it."""
    terminal = {"FORCE_COLOR": "1", "COLUMNS": "88", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    environment = {**os.environ, **terminal}
    command = [sys.executable, ROOT / "examples/demo.py"]
    printed = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603
    if (act := SHOWN.search(printed)) is None:
        sys.exit("examples/demo.py no longer prints what the picture shows")
    console = Console(record=True, width=88, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.from_ansi(act[0].rstrip()))
    picture = console.export_svg(title="python examples/demo.py", theme=THEME, unique_id="demo")
    picture = re.sub(r"@font-face \{.*?\}\n?\s*", "", picture, flags=re.DOTALL)  # the picture must not load anything
    picture = picture.replace("Fira Code, monospace", "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace")
    (ROOT / "docs/images/demo.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
