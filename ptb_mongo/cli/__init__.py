"""The command line `ptb-mongo`, for people who run a bot. Needs the extra `cli`.

Each module contains one or two commands; the work itself is done in `ptb_mongo.migration` and `ptb_mongo.people`,
without a terminal.
"""

from __future__ import annotations

import importlib.util
import sys

__all__ = ["main"]


def main() -> None:
    """Runs the command line."""
    missing = [name for name in ("typer", "rich") if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f'ptb-mongo needs {" and ".join(missing)}: pip install ".[cli]" in a clone of the repository')
    from ptb_mongo.cli.app import app  # noqa: PLC0415  (only if Typer is installed)
    from ptb_mongo.cli.terminal import take_every_character, write_error  # noqa: PLC0415

    take_every_character()
    try:
        app(prog_name="ptb-mongo")
    except Exception as error:  # noqa: BLE001  (Python would print it unescaped)
        write_error(error)
        sys.exit(1)
