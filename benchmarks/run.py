"""Runs all benchmarks, on the embedded server: `python benchmarks/run.py`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from rich.console import Console
from suite import (
    bot_data,
    callback_data,
    event_loop,
    growth,
    history,
    jobs,
    load,
    many_updates,
    message,
    one_update,
    page,
    pictures,
    refresh_changed,
    refresh_untouched,
    report,
    round_trips,
    save,
    save_nothing,
    save_one,
    size,
    start,
)
from suite.core import Results, Run

from ptb_mongo.embedded import mongodb_uri

GROUPS = {
    "save": save.measure,
    "save-nothing": save_nothing.measure,
    "save-one": save_one.measure,
    "bot-data": bot_data.measure,
    "history": history.measure,
    "message": message.measure,
    "callback-data": callback_data.measure,
    "load": load.measure,
    "start": start.measure,
    "refresh-untouched": refresh_untouched.measure,
    "refresh-changed": refresh_changed.measure,
    "one-update": one_update.measure,
    "many-updates": many_updates.measure,
    "round-trips": round_trips.measure,
    "size": size.measure,
    "event-loop": event_loop.measure,
    "growth": growth.measure,
    "jobs": jobs.measure,
}
ATTEMPTS = 3  # on a busy machine, a figure that is far off is measured again


def measured(run: Run, name: str, console: Console) -> Results:
    """Measures one group; in the small form, repeats it if a figure is far off its target."""
    for attempt in range(ATTEMPTS):
        gc.unfreeze()  # see `alternate`
        begun = time.monotonic()
        results = asyncio.run(GROUPS[name](run))
        console.print(f"measured: {name}, in {time.monotonic() - begun:.1f} s" + (" (again)" if attempt else ""))
        if not run.small or not any(figure.far_off for figure in results.figures):
            break
    return results


def measure(names: Sequence[str], small: bool, console: Console) -> tuple[Results, dict[str, str]]:
    """Measures groups."""
    results = Results()
    with mongodb_uri() as uri, tempfile.TemporaryDirectory(prefix="ptb-mongo-benchmarks-") as folder:
        run = Run(uri, f"benchmark_{os.getpid()}_", small, folder)
        try:
            versions = report.versions(uri)
            for name in names:
                found = measured(run, name, console)
                results.add(found)
        finally:
            with MongoClient[Any](uri) as client:
                for database in client.list_database_names():
                    if database.startswith(run.database):
                        client.drop_database(database)
    return results, versions


def arguments() -> argparse.Namespace:
    """The command's arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--small", action="store_true", help="a quick run, which fails where a ratio is worse than 1.5 times its target"
    )
    parser.add_argument("--only", metavar="GROUPS", help=f"some of {','.join(GROUPS)}")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all figures to this file")
    parser.add_argument("--from", type=Path, metavar="PATH", dest="source", help="measure nothing, show such a file")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER", help="draw pictures into this folder")
    parser.add_argument("--docs", action="store_true", help="put figures and pictures into docs/performance.md")
    asked = parser.parse_args()
    asked.names = asked.only.split(",") if asked.only else list(GROUPS)
    if unknown := set(asked.names) - set(GROUPS):
        parser.error(f"no such group: {', '.join(sorted(unknown))}")
    if asked.docs and (asked.small or asked.only):
        parser.error("the documentation shows one whole run: --docs goes with neither --small nor --only")
    return asked


def main() -> None:
    """Measures, and shows the results."""
    asked = arguments()
    console = Console(width=None if sys.stdout.isatty() else 180)
    small = asked.small
    if asked.source:
        results, small, versions = report.read(asked.source)
    else:
        results, versions = measure(asked.names, small, console)
    report.show(console, results.figures)
    if asked.json:
        report.dump(asked.json, results, small, versions)
    if asked.pictures:
        pictures.draw(asked.pictures, results.series)
    if asked.docs:
        page.write(results, versions)
    if small and (failed := [figure for figure in results.figures if figure.far_off]):
        console.print("[red]Worse than 1.5 times the target, or than what is accepted:[/]")
        for figure in failed:
            console.print("-", ", ".join(cell for cell in report.cells(figure) if cell))
        sys.exit(1)


if __name__ == "__main__":
    main()
