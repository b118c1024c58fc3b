"""An object as its pickle describes it: a class, and what it is to be called with and given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ptb_mongo.errors import DecodeError

__all__ = ["Described", "made_of"]


class Described(NamedTuple):
    """An object as its pickle describes it.

    Attributes:
        cls: Its class.
        args: What the class is called with.
        kwargs: The same, by name.
        state: What it is given then.
        items: What is appended to it.
        pairs: Which keys are set to what.
    """

    cls: Any
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}  # noqa: RUF012  (never changed)
    state: Any = None
    items: list[Any] | None = None
    pairs: list[Any] | None = None

    def arguments(self, *kinds: type | tuple[type, ...], least: int | None = None) -> tuple[Any, ...]:
        """The arguments, if there is nothing else, and each has just the type that is wanted.

        Args:
            kinds: The type of each argument, or several.
            least: How many there must be; all of them, if it is `None`.

        Raises:
            DecodeError: If not.
        """
        if self.kwargs or self.state or self.items or self.pairs:
            raise self.refused()
        return self.typed(self.args, *kinds, least=least)

    def attributes(self, **kinds: type | tuple[type, ...]) -> list[Any]:
        """The values of a state, if it has these attributes and there is nothing else but arguments.

        Raises:
            DecodeError: If not.
        """
        state = self.state
        if type(state) is tuple and len(state) == 2 and state[0] is None:  # noqa: PLR2004  (attributes, and slots)
            state = state[1]
        if self.kwargs or self.items or self.pairs or type(state) is not dict or state.keys() != kinds.keys():
            raise self.refused()
        return list(self.typed(tuple(state[name] for name in kinds), *kinds.values()))

    def typed(
        self, values: tuple[Any, ...], *kinds: type | tuple[type, ...], least: int | None = None
    ) -> tuple[Any, ...]:
        """These values, if each has just the type that is wanted.

        Raises:
            DecodeError: If not.
        """
        if not (len(kinds) if least is None else least) <= len(values) <= len(kinds):
            raise self.refused()
        for value, kind in zip(values, kinds, strict=False):
            if type(value) not in (kind if type(kind) is tuple else (kind,)):
                raise self.refused()
        return values

    def refused(self) -> DecodeError:
        """Why it is not made."""
        return DecodeError(f"a {self.cls.__qualname__} in a pickle is not made of what such a value is made of")


def made_of(*kinds: type | tuple[type, ...], least: int | None = None) -> Callable[[Described], Any]:
    """Makes a value of arguments of these types."""
    return lambda described: described.cls(*described.arguments(*kinds, least=least))
