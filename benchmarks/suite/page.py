"""Puts the figures of one run into `docs/performance.md`: rewrites its table, and draws its pictures again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from suite import pictures
from suite.core import Figure, Results
from suite.report import COLUMNS, cells

BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
DOCS = Path(__file__).parents[2] / "docs"


def table(figures: Sequence[Figure], versions: Mapping[str, str]) -> str:
    """The figures in Markdown."""
    numbers = {"ours", "theirs", "ratio", "target"}
    rows = [COLUMNS, tuple("--:" if name in numbers else "---" for name in COLUMNS)]
    rows += [cells(figure) for figure in figures]
    named = ", ".join(f"{name} {version}" for name, version in versions.items() if name != "system")
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"Measured with {named}; {versions['system']}.\n\n{text}"


def between_markers(page: str, text: str) -> str:
    """The page with a new text between its markers."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has no {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def write(results: Results, versions: Mapping[str, str], docs: Path = DOCS) -> None:
    """Writes the figures and pictures of a run into the documentation."""
    path = docs / "performance.md"
    page = between_markers(path.read_text(encoding="utf-8"), table(results.figures, versions))
    path.write_text(page, encoding="utf-8")
    pictures.draw(docs / "images", results.series)
