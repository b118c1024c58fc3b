"""The callbacks that jobs may have: only those that a bot registers, by name."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from ptb_mongo.errors import ConfigurationError

__all__ = ["Callbacks", "name_of"]

_LOCAL: Final = "<"  # in the names of lambdas, and of functions inside others

Callback = Callable[[Any], Any]


def name_of(callback: object) -> str | None:
    """The name of a callback, "module:qualname"; `None` if it has no unique name."""
    module, qualname = getattr(callback, "__module__", None), getattr(callback, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or _LOCAL in qualname:
        return None
    return f"{module}:{qualname}"


class Callbacks:
    """The registered callbacks.

    Args:
        registered: Functions, methods, and names of modules whose functions are all registered.
        aliases: Callbacks by their former names: `{"old_module:alarm": alarm}`.

    Raises:
        ConfigurationError: If something cannot be registered.
    """

    def __init__(self, registered: Collection[Callback | str], aliases: Mapping[str, Callback]) -> None:
        if isinstance(registered, str):
            raise ConfigurationError(f"callbacks is a list of functions and names of modules: [{registered!r}]")
        self._by_name: dict[str, Callback] = {}
        self._names: dict[Callback, str] = {}
        self._modules: list[str] = []
        self._aliases = dict(aliases)
        for one in registered:
            if isinstance(one, str):
                self._modules.append(one)
            else:
                self.add(one)
        for old, callback in self._aliases.items():
            if not isinstance(old, str) or ":" not in old:
                raise ConfigurationError(f'aliases has the old name {old!r:.200}; it is written "old_module:alarm"')
            self.add(callback)

    def add(self, callback: Callback) -> None:
        """Registers a callback.

        Raises:
            ConfigurationError: If it cannot be registered.
        """
        name = name_of(callback) if callable(callback) else None
        if name is None:
            raise ConfigurationError(
                f"{callback!r:.200} cannot be registered: a callback of a job that is stored is a function of a module,"
                " written with def at its top level, so that it is found again by its name"
            )
        if self._by_name.setdefault(name, callback) != callback:
            raise ConfigurationError(f"two callbacks have the name {name!r:.200}")
        self._names[callback] = name

    def load(self) -> None:
        """Imports the modules, and registers the functions that are defined in them.

        Raises:
            ConfigurationError: If one cannot be imported.
        """
        while self._modules:
            module = self._modules[0]
            try:
                found = vars(importlib.import_module(module))
            except ImportError as error:
                raise ConfigurationError(f"callbacks names the module {module!r}: {error}") from error
            for value in list(found.values()):
                is_written_there = inspect.iscoroutinefunction(value) and value.__module__ == module
                if is_written_there and name_of(value) is not None:
                    self.add(value)
            del self._modules[0]

    @property
    def names(self) -> list[str]:
        """All names, including old ones."""
        return [*self._by_name, *self._aliases]

    def named(self, callback: object) -> str | None:
        """The name under which a callback is registered; `None` if it is not."""
        try:
            return self._names.get(callback)  # type: ignore[call-overload, no-any-return]
        except TypeError:  # it cannot be hashed
            return None

    def get(self, name: str) -> Callback | None:
        """The callback with a current or former name; `None` if there is none."""
        return self._by_name.get(name) or self._aliases.get(name)
