"""A folder for files that only their owner can access, even if it is in a place where others can put files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from ptb_mongo.errors import ConfigurationError

__all__ = ["make", "owner_of_new_files", "prepare"]


def prepare(folder: Path) -> None:
    """Creates a folder if necessary, and checks that files can be written there.

    Raises:
        ConfigurationError: If they cannot.
    """
    try:
        make(folder)
        owner_of_new_files(folder)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigurationError(
            f"spill_dir={str(folder)!r} cannot be used ({reason}): name a folder that this process may create, or "
            "write to, or leave spill_dir out"
        ) from error


def make(folder: Path) -> None:
    """Creates a folder and its parents if necessary, accessible only to their owner.

    Raises:
        OSError: If it cannot be created, is not a folder, or is a link.
    """
    missing = []
    at = folder
    while not at.exists() and at != at.parent:
        missing.append(at)
        at = at.parent
    for one in reversed(missing):
        one.mkdir(0o700, exist_ok=True)
    if folder.is_symlink():
        raise NotADirectoryError("it is a link, which may later lead elsewhere; name the folder itself")
    if not folder.is_dir():
        raise NotADirectoryError("it is not a folder")


def owner_of_new_files(folder: Path) -> int:
    """The owner of a file that this process creates: on a network file system, not always the process's own user.

    Raises:
        OSError: If no file can be created.
    """
    descriptor, name = tempfile.mkstemp(".partial", "ptb_mongo-", folder)
    try:
        return os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)
        Path(name).unlink()
