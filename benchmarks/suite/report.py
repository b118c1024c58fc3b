"""The results of a run: a table in the terminal, and a file."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from rich.console import Console
from rich.table import Table

from suite.core import Figure, Results, Target


def versions(uri: str) -> dict[str, str]:
    """The versions with which the figures were measured."""
    with MongoClient[Any](uri) as client:
        mongod = client.server_info()["version"]
    names = {
        "ptb_mongo": "ptb-mongo",
        "python-telegram-bot": "python-telegram-bot",
        "motor": "motor",
        "pymongo": "pymongo",
        "mongopersistence": "mongopersistence",
    }
    return {
        "python": platform.python_version(),
        **{name: version(package) for name, package in names.items()},
        "mongod": mongod,
        "system": f"{sys.platform} {platform.machine()}, {os.cpu_count()} CPUs",
    }


def number(value: float, unit: str = "") -> str:
    """A figure in its shortest form."""
    text = f"{value:,.0f}" if value == int(value) or abs(value) >= 100 else f"{value:.3g}"
    return f"{text} {unit}".strip()


def target(figure: Figure) -> str:
    """The target, in words."""
    wanted = figure.target
    if wanted is None:
        return ""
    sign = "≥" if wanted.at_least else "≤"
    if wanted.kind == "ratio":
        return f"{sign} {wanted.limit:g} x"
    if wanted.kind == "overhead":
        return f"{sign} +{wanted.limit - 1:.0%}"
    return f"{sign} {number(wanted.limit)} {figure.unit}".strip()


def verdict(figure: Figure) -> str:
    """Whether the target is met, in words."""
    if figure.met is not False or figure.target is None or figure.target.accepted is None:
        return {None: "", True: "met", False: "missed"}[figure.met]
    wanted = figure.target
    bound = f"+{wanted.accepted - 1:.0%}" if wanted.kind == "overhead" else number(wanted.accepted)
    return f"missed; in the small form {'≥' if wanted.at_least else '≤'} {bound}"


def cells(figure: Figure) -> tuple[str, ...]:
    """A line of the table."""
    theirs = "" if figure.theirs is None else number(figure.theirs, figure.unit)
    ratio = ""
    if figure.ratio is not None and figure.target is not None and figure.target.kind == "overhead":
        ratio = f"{figure.ratio - 1:+.1%}"
    elif figure.ratio is not None:
        faster = figure.target is not None and figure.target.at_least and not figure.unit.endswith("/s")
        ratio = f"{number(figure.ratio)} x" + (" faster" if faster else "")
    return (
        figure.work,
        figure.measure,
        figure.driver,
        number(figure.ours, figure.unit),
        figure.peer,
        theirs,
        ratio,
        target(figure),
        verdict(figure),
    )


COLUMNS = ("work", "measure", "driver", "ours", "limit or peer", "theirs", "ratio", "target", "")


def show(console: Console, figures: Sequence[Figure]) -> None:
    """Prints the table."""
    table = Table(*COLUMNS, title="Benchmarks: medians, and medians of the ratios within each round")
    for name in ("ours", "theirs", "ratio", "target"):
        table.columns[COLUMNS.index(name)].justify = "right"
    shown: tuple[str, ...] = ()
    for figure in figures:
        line = cells(figure)
        if line[:1] != shown[:1]:
            table.add_section()
        same = next((number for number in range(4) if line[: number + 1] != shown[: number + 1]), 4)
        colour = {"met": "green", "missed": "red"}.get(line[-1], "default")
        table.add_row(*[""] * same, *line[same:-1], f"[{colour}]{line[-1]}[/]")
        shown = line
    console.print(table)


def dump(path: Path, results: Results, small: bool, of: dict[str, str]) -> None:
    """Writes everything to a file."""
    figures = [{**asdict(figure), "met": figure.met} for figure in results.figures]
    content = {"small": small, "versions": of, "figures": figures, "series": results.series}
    path.write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> tuple[Results, bool, dict[str, str]]:
    """Reads a file that `dump` has written."""
    content = json.loads(path.read_text(encoding="utf-8"))
    figures = []
    for line in content["figures"]:
        del line["met"]
        wanted = line.pop("target")
        figures.append(Figure(**line, target=wanted and Target(**wanted)))
    return Results(figures, content["series"]), content["small"], content["versions"]
