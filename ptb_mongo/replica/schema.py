"""Migrations: which of the bot's functions have been applied to a document, and which are still due.

A document's `schema` says how many of its scope's functions were applied to its data. A number larger than the number
of functions comes from a newer version of the bot: its data is taken as it is. Pure, except for users' functions.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args

from ptb_mongo.codec.documents import value_of
from ptb_mongo.errors import ConfigurationError, DecodeError
from ptb_mongo.replica.values import Document
from ptb_mongo.types import ScopeName

__all__ = ["SCHEMA", "Steps", "check_migrations", "is_newer", "without_schema"]

SCHEMA: Final = "schema"
_MOST: Final = 2**31 - 1
_EXAMPLE: Final = '{"user_data": [to_1, to_2]}'


def check_migrations(migrations: object) -> None:
    """Checks the argument `migrations`.

    Raises:
        ConfigurationError: If it cannot be used; says what is wrong and how to write it.
    """
    if not isinstance(migrations, Mapping):
        raise ConfigurationError(f"migrations is a mapping such as {_EXAMPLE}, not a {type(migrations).__name__}")
    for scope, functions in migrations.items():
        if scope not in get_args(ScopeName):
            raise ConfigurationError(
                f"migrations names {scope!r:.80}, which is none of {', '.join(get_args(ScopeName))}"
            )
        if not isinstance(functions, (list, tuple)):  # which have a fixed order
            raise ConfigurationError(f"migrations[{scope!r}] is a list of functions: {_EXAMPLE}")
        for function in functions:
            if not callable(function) or inspect.iscoroutinefunction(function):
                raise ConfigurationError(
                    f"migrations[{scope!r}] has {function!r:.80}; each is a function from the data to the "
                    "data, and not async"
                )


def without_schema(plain: Document) -> Document:
    """A document without its `schema` number."""
    return {name: value for name, value in plain.items() if name != SCHEMA} if SCHEMA in plain else plain


def is_newer(one: Document, other: Document) -> bool:
    """Whether more functions were applied to a document than to another one."""
    return _number_or_0(one.get(SCHEMA)) > _number_or_0(other.get(SCHEMA))


class Steps:
    """The functions for the data of one scope, in their order.

    Args:
        functions: From the data to the data; one that returns `None` has changed it in place.
    """

    def __init__(self, functions: Sequence[Callable[[Any], Any]] = ()) -> None:
        self._functions = tuple(functions)

    def __len__(self) -> int:
        return len(self._functions)

    @staticmethod
    def counts(value: Any) -> bool:
        """Whether a bot without functions takes a value for their number; any other may be somebody's own field."""
        return _number_or_0(value) > 0

    def number_of(self, raw: bytes | None) -> int:
        """The number to write into a document: never lower than the one it has.

        Args:
            raw: The stored bytes; `None` if there is no document.
        """
        try:
            return max(len(self), 0 if raw is None else _number(value_of(raw, SCHEMA)))
        except DecodeError:
            return len(self)

    def are_due(self, raw: bytes) -> bool:
        """Whether some functions have not been applied to a document yet."""
        return len(self) > _number(value_of(raw, SCHEMA))

    def are_done(self, body: Document) -> bool:
        """Whether a decoded document has a valid number, and no function is due."""
        try:
            return _number(body.get(SCHEMA)) >= len(self)
        except DecodeError:
            return False

    def applied(self, body: Document) -> Document:
        """A decoded document after all functions that are due; the same object if none is.

        Raises:
            DecodeError: If one fails, or if the document's number is not valid.
        """
        done = _number(body.get(SCHEMA))
        if done >= len(self) or "data" not in body:
            return body
        data = body["data"]
        for function in self._functions[done:]:
            try:
                made = function(data)
            except Exception as error:
                # Its text may contain users' data, which must not be logged.
                reason = f"the migration {_name(function)} failed ({type(error).__name__})"
                raise DecodeError(reason, path="data") from error
            data = data if made is None else made
        return {**body, "data": data, SCHEMA: len(self)}


def _number(value: Any) -> int:
    if value is None:
        return 0
    if type(value) is float and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MOST:
        return int(value)
    raise DecodeError(f"its {SCHEMA} is not a number of migrations", path=SCHEMA)


def _number_or_0(value: Any) -> int:
    try:
        return _number(value)
    except DecodeError:
        return 0


def _name(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
