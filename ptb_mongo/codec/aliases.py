"""Old names of classes that were moved or renamed: which class each stands for now. Pure.

An alias makes nothing trusted but the class that its author gives. It stands also for the classes that were defined
inside the old one; those need the trust that they would need under their new names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ptb_mongo.errors import ConfigurationError

__all__ = ["Aliases", "way_out"]


def way_out(name: str) -> str:
    """What to do about a class that is not found under a stored name."""
    return f'if it was moved or renamed: MongoPersistence(..., aliases={{"{name:.200}": <the class>}})'


class Aliases:
    """The old names, and what they stand for.

    Args:
        aliases: Classes by their old names, with module.
        name_of: Gives the name under which a class is stored.

    Attributes:
        classes: The classes that old names stand for, after all their renames.

    Raises:
        ConfigurationError: If it is no mapping of such names to classes, or if renames go in a circle.
    """

    def __init__(self, aliases: Mapping[str, type], name_of: Callable[[type], str]) -> None:
        if not isinstance(aliases, Mapping):
            raise ConfigurationError(
                f'aliases maps old names to classes, {{"old_module.Basket": Basket}}, and is no {_kind(aliases)}'
            )
        for old, cls in aliases.items():
            if not isinstance(old, str) or not old.rpartition(".")[0]:
                raise ConfigurationError(
                    f'aliases has the old name {old!r:.200}; it is written with its module: "old_module.Basket"'
                )
            if not isinstance(cls, type):
                raise ConfigurationError(f"aliases has for {old!r:.200} no class, but a {_kind(cls)}: {cls!r:.200}")
        self.classes: dict[str, type] = {old: _last(old, aliases, name_of) for old in aliases}
        # Of two that fit, the longer one counts: the class inside may have been moved elsewhere.
        self._names = sorted(((old, name_of(cls)) for old, cls in self.classes.items()), key=lambda one: -len(one[0]))

    def renamed(self, name: str) -> str | None:
        """The new name of a class that has an alias, or was defined inside one that has; `None` for all others."""
        for old, new in self._names:
            if name.startswith(old) and name[len(old) : len(old) + 1] in {"", "."}:
                return new + name[len(old) :]
        return None


def _last(old: str, aliases: Mapping[str, type], name_of: Callable[[type], str]) -> type:
    """The class that a name stands for in the end: one that was renamed may have been renamed again."""
    seen = {old}
    cls = aliases[old]
    while (name := name_of(cls)) in aliases:
        if name in seen:
            raise ConfigurationError(f"aliases goes in a circle: {old!r:.200} comes back to {name!r:.200}")
        seen.add(name)
        cls = aliases[name]
    return cls


def _kind(value: object) -> str:
    return type(value).__name__
