"""Names of the user's modules and classes on the command line, and what they refer to."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import typer

from ptb_mongo.cli.script import stand_in_for_main
from ptb_mongo.errors import ConfigurationError
from ptb_mongo.scopes.exclusion import Exclusion
from ptb_mongo.types import Exclude, ScopeName

__all__ = ["aliases_from", "class_named", "excluded_from", "imported", "trusted_named"]


def excluded_from(words: Sequence[str], hint: str) -> Exclude:
    """The excluded paths, each with its kind of data in front: `user_data:session.lock`.

    Args:
        words: The values of the option.
        hint: The option.

    Raises:
        typer.BadParameter: If one cannot be used.
    """
    found: dict[ScopeName, set[str]] = {}
    names = {name: name for name in get_args(ScopeName)}
    for word in words:
        name, _, path = word.partition(":")
        if name not in names or not path:
            text = f"{word!r:.200} is no path in {', '.join(names)}, such as user_data:session.lock"
            raise typer.BadParameter(text, param_hint=hint)
        found.setdefault(names[name], set()).add(path)
    try:
        for paths in found.values():
            Exclusion(paths)
    except ConfigurationError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from error
    return dict(found)


def trusted_named(name: str, hint: str) -> str | types.FunctionType:
    """The name of a module or of a script's module, after importing it; or a function in it.

    Args:
        name: The module's name or the script's path; with a colon, a function in it: `models:make_basket`.
        hint: The option.

    Raises:
        typer.BadParameter: If it cannot be imported, or there is no such function.
    """
    module, _, function = name.rpartition(":")
    if not module or not function.replace(".", "").isidentifier():
        imported(name, hint)
        return "__main__" if name.endswith(".py") else name
    found = imported(module, hint)
    for part in function.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, types.FunctionType):
        text = f"there is no function {function!r} in {module}; a class is trusted with its module"
        raise typer.BadParameter(text, param_hint=hint)
    return found


def imported(name: str, hint: str) -> object:
    """A module, or a script as a module; see `trusted_named`."""
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.append(here)  # to find the bot's modules, like `python -m`
    try:
        if name.endswith(".py"):
            stand_in_for_main(Path(name))
            return sys.modules["__main__"]
        return importlib.import_module(name)
    except Exception as error:  # a module may raise anything when it is imported
        text = f"{name!r} cannot be imported: {type(error).__name__}: {error}"
        raise typer.BadParameter(text, param_hint=hint) from error


def class_named(name: str, hint: str) -> type:
    """The class with a full name, which includes its module.

    Raises:
        typer.BadParameter: If there is none.
    """
    module = name
    while module := module.rpartition(".")[0]:
        try:
            found = imported(module, hint)
        except typer.BadParameter as error:
            if isinstance(error.__cause__, ModuleNotFoundError) and "." in module:
                continue  # for a class inside a class, this part of the name is not a module
            raise
        for part in name[len(module) + 1 :].split("."):
            found = getattr(found, part, None)
        if isinstance(found, type):
            return found
        break
    raise typer.BadParameter(f"there is no class {name!r}; write it with its module: models.Basket", param_hint=hint)


def aliases_from(options: Sequence[str], hint: str) -> dict[str, type]:
    """Classes by their old names, from options such as `old_models.Basket=models.Basket`.

    Raises:
        typer.BadParameter: If one cannot be used.
    """
    names = dict(_pair(option, hint) for option in options)
    aliases = {}
    for old, new in names.items():
        seen = {old}
        while new in names:  # renamed twice: this name was only temporary
            if new in seen:
                raise typer.BadParameter(f"the names go in a circle: {old!r} comes back to {new!r}", param_hint=hint)
            seen.add(new)
            new = names[new]  # noqa: PLW2901
        aliases[old] = class_named(new, hint)
    return aliases


def _pair(option: str, hint: str) -> tuple[str, str]:
    old, _, new = (part.strip() for part in option.partition("="))
    if not old or not new:
        raise typer.BadParameter(f"{option!r} is not OLD=NEW, as in old_models.Basket=models.Basket", param_hint=hint)
    return old, new
