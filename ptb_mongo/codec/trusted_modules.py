"""Whether the modules that are named in `trusted` are there: told at the start, not by the first document.

A module is looked for when a persistence is made, which may be while that very module is being imported, and imported
when the bot starts.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable
from importlib.machinery import PathFinder

from ptb_mongo.errors import ConfigurationError

__all__ = ["find_modules", "import_modules", "module_in"]


def find_modules(names: Iterable[str]) -> None:
    """Looks for modules; nothing but the packages that they are in is imported.

    Raises:
        ConfigurationError: If one is not there.
    """
    for name in names:
        if name in sys.modules:
            continue
        try:
            is_there = importlib.util.find_spec(name) is not None
        except (ImportError, ValueError) as error:  # of a package around it, or of an empty name
            raise _missing(name, error) from error
        if not is_there:
            raise _missing(name, None)


def import_modules(names: Iterable[str]) -> None:
    """Imports modules.

    Raises:
        ConfigurationError: If one cannot be imported.
    """
    for name in names:
        if name in sys.modules or _is_running_itself(name):
            continue
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever the module does while it is imported
            raise _missing(name, error) from error


def module_in(name: str) -> str:
    """The module in the name of a class, which may be defined inside another class; nothing is imported.

    Args:
        name: The name, as anybody may have written it.

    Returns:
        The longest part that is a module; all but the last name, if none is.
    """
    found, path = "", None
    outer = name.rpartition(".")[0]
    for part in outer.split("."):
        if not part.isidentifier() or (found and path is None):  # or no package
            break
        current = f"{found}.{part}" if found else part
        if (module := sys.modules.get(current)) is not None:
            path = getattr(module, "__dict__", {}).get("__path__")
        elif (spec := PathFinder.find_spec(current, path)) is not None:
            path = spec.submodule_search_locations
        else:
            break
        found = current
    return found or outer


def _is_running_itself(name: str) -> bool:
    """Whether a module is the program that runs as `__main__`: imported, it would run again."""
    spec = importlib.util.find_spec(name)
    program = getattr(sys.modules.get("__main__"), "__file__", None)
    return spec is not None and program is not None and spec.origin == program


def _missing(name: str, error: Exception | None) -> ConfigurationError:
    why = f" ({type(error).__name__}: {error})" if error is not None else ""
    return ConfigurationError(
        f"trusted names the module {name!r}, which cannot be imported{why}; a class is named by the module it is "
        'defined in, as Class.__module__ says, which is "__main__" in the program that is run'
    )
