"""What the commands print is readable on every terminal: with few characters, and with few columns.

The kind of fault: a sign that a code page lacks becomes a number of six characters, thirty of them in a row for a bar;
or a narrow terminal cuts the names in a table off.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

from ptb_mongo.cli.terminal import Console, open_table, take_every_character

CLI = Path(__file__).parents[2] / "ptb_mongo" / "cli"


def printed(text: str, encoding: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What a terminal with this encoding gets."""
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    take_every_character()
    sys.stdout.write(text)
    sys.stdout.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("utf-8", "✓ ██▏ é 🍵"), ("cp1252", "+ ##. é \\U0001f375"), ("ascii", "+ ##. \\xe9 \\U0001f375")],
)
def test_what_an_encoding_lacks_is_replaced(encoding: str, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed("✓ ██▏ é 🍵", encoding, monkeypatch) == expected


def test_half_a_character_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert printed("\ud83c", "utf-8", monkeypatch) == "\\ud83c"


def test_every_sign_of_the_commands_has_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    signs = {one for file in CLI.glob("*.py") for one in file.read_text(encoding="utf-8") if not one.isascii()}
    assert len(signs) >= 10
    for sign in signs:
        plain = printed(sign, "cp1252", monkeypatch)
        assert len(plain) == 1, sign


def test_a_table_with_the_columns_of_stats_fits_into_60_columns() -> None:
    out = Console(width=60, file=io.StringIO())
    table = open_table(out)
    for title in ("collection", "documents", "size", "average", "on disk", "indexes"):
        table.add_column(title)
    table.add_row("conversations", "1,000,000", "9.1 MB", "95 B", "20.5 kB", "20.5 kB")
    out.print(table)
    lines = out.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert [line.split()[0] for line in lines] == ["collection", "conversations"]
