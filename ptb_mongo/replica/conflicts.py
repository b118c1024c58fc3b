"""What decides a conflict: the strategies of `on_conflict`, by path. Pure, except for users' functions.

A strategy is "local" or "remote" (that side's value), "add" (the sum of what both sides added to a number or took from
it), "max" or "min" (the larger or the smaller value), or a function. If "add", "max" or "min" makes no sense for the
two values, the bot's wins; if one side has removed the value, the other side's wins.

The path of a value goes through the user's data: keys of dicts, names of attributes, indexes of lists. A pattern is a
series of keys joined by dots; `*` matches any one key, `**` at the end everything below, and `**` alone everything. A
dot, a `*` or a `%` that belongs to a key is written `%2E`, `%2A` or `%25`, an empty key `%empty`.

Among several matching patterns, the one with the most keys decides, then the one with the most `*`, then the one whose
keys come earlier. If none matches, "local" decides.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Mapping
from datetime import timedelta
from fractions import Fraction
from typing import Any, Final, get_args

from ptb_mongo.codec import unescape
from ptb_mongo.errors import ConfigurationError
from ptb_mongo.replica.key_patterns import stored_keys
from ptb_mongo.replica.merge import Resolver, Side
from ptb_mongo.replica.values import MISSING, Keys
from ptb_mongo.types import Conflict, OnConflict, ScopeName, Strategy

__all__ = ["Strategies", "check_on_conflict"]

_SCOPES: Final[tuple[ScopeName, ...]] = get_args(ScopeName)
_SIDES: Final = ("local", "remote")
_ACCUMULATING: Final = ("add", "max", "min")
_NUMBERS: Final = frozenset({int, float, decimal.Decimal, Fraction, timedelta})
_DIGITS: Final = 200  # of decimals that are added

Convert = Callable[[Any], Any]


def check_on_conflict(on_conflict: object) -> None:
    """Checks the argument `on_conflict`.

    Raises:
        ConfigurationError: If it cannot be used; says what is wrong and how to write it.
    """
    if callable(on_conflict) or (isinstance(on_conflict, str) and on_conflict in _SIDES):
        return
    if not isinstance(on_conflict, Mapping):
        raise ConfigurationError(
            f'on_conflict must be "local", "remote", a function, or a mapping such as '
            f'{{"user_data": {{"score": "add"}}}}, not {on_conflict!r:.80}'
        )
    for scope, by_pattern in on_conflict.items():
        if scope not in _SCOPES:
            raise ConfigurationError(f"on_conflict names {scope!r:.80}, which is none of {', '.join(_SCOPES)}")
        if not isinstance(by_pattern, Mapping):
            raise ConfigurationError(
                f"on_conflict[{scope!r}] must map patterns to strategies; for one strategy write "
                f'{{"**": {by_pattern!r:.80}}}'
            )
        for pattern, strategy in by_pattern.items():
            _Pattern(pattern, strategy)


class _Pattern:
    """A pattern and its strategy.

    Raises:
        ConfigurationError: If one of them cannot be used.
    """

    def __init__(self, pattern: object, strategy: object) -> None:
        known = isinstance(strategy, str) and strategy in _SIDES + _ACCUMULATING
        if not known and not callable(strategy):
            names = ", ".join(f'"{name}"' for name in _SIDES + _ACCUMULATING)
            raise ConfigurationError(
                f"on_conflict has {strategy!r:.80} for {pattern!r:.80}; a strategy is one of {names}, or a function"
            )
        if not isinstance(pattern, str):
            raise ConfigurationError(f"on_conflict has the pattern {pattern!r:.80}; write it as text")
        parts = pattern.split(".")
        self.strategy: Strategy = strategy  # type: ignore[assignment]
        self.is_accumulating = strategy not in _SIDES
        self._is_open = parts[-1] == "**"
        self._keys = [stored_keys(part, pattern, "on_conflict") for part in (parts[:-1] if self._is_open else parts)]
        literal = [keys is not None for keys in self._keys]
        self.rank = sum(literal), len(literal) - sum(literal), literal

    def matches(self, keys: Keys) -> bool:
        """Whether the pattern matches the value at these keys."""
        if len(keys) == len(self._keys):
            return (not self._is_open or not keys) and self._begins_as(keys)
        return self._is_open and len(keys) > len(self._keys) and self._begins_as(keys)

    def reaches(self, keys: Keys) -> bool:
        """Whether the pattern matches the value at these keys, or may match one inside it."""
        return (self._is_open or len(keys) <= len(self._keys)) and self._begins_as(keys)

    def _begins_as(self, keys: Keys) -> bool:
        pairs = zip(self._keys, keys, strict=False)
        return all(named is None or key in named for named, key in pairs)


class Strategies:
    """Decides the conflicts of one scope.

    Args:
        scope: The scope's name.
        on_conflict: The argument of `MongoPersistence`.
        encode: Returns the stored form of a value that a strategy has computed.
        decode: Returns the value of a stored form.
        on_error: Called with a document's id and the exception of a user's function, while it is being handled; the
            bot's value stays.

    Raises:
        ConfigurationError: If `on_conflict` cannot be used.
    """

    def __init__(
        self,
        scope: ScopeName,
        on_conflict: OnConflict,
        *,
        encode: Convert,
        decode: Convert,
        on_error: Callable[[Any, Exception], None] = lambda _id, _error: None,
    ) -> None:
        check_on_conflict(on_conflict)
        by_pattern = on_conflict.get(scope, {}) if isinstance(on_conflict, Mapping) else {"**": on_conflict}
        patterns = [_Pattern(pattern, strategy) for pattern, strategy in by_pattern.items()]
        self._patterns = sorted(patterns, key=lambda pattern: pattern.rank, reverse=True)
        self._is_local = all(pattern.strategy == "local" for pattern in patterns)
        self.scope: Final = scope
        self.encode = encode
        self.decode = decode
        self.on_error = on_error

    def of(self, keys: Keys) -> Strategy:
        """The strategy for a value.

        Args:
            keys: The keys from the document's field with the data, which patterns omit, to the value.
        """
        return next((pattern.strategy for pattern in self._patterns if pattern.matches(keys[1:])), "local")

    def guards(self, keys: Keys) -> bool:
        """Whether a value may be written only if nobody else has changed it, as the bot's might then lose."""
        return not self._is_local and self.of(keys) != "local"

    def accumulates(self, keys: Keys) -> bool:
        """See `Resolver.accumulates`."""
        return any(pattern.is_accumulating and pattern.reaches(keys[1:]) for pattern in self._patterns)

    def resolver(self, document_id: Any, noted: Callable[[], None] = lambda: None, *, yields: bool = False) -> Resolver:
        """The resolver for one document's conflicts.

        Args:
            document_id: Its `_id`.
            noted: Called for each conflict.
            yields: Whether the bot's version is old, so that the database's wins where otherwise the bot's would.
        """
        return _Decision(self, document_id, noted, yields=yields)


class _Decision:
    """Decides the conflicts of one document."""

    def __init__(self, strategies: Strategies, document_id: Any, noted: Callable[[], None], *, yields: bool) -> None:
        self._strategies = strategies
        self._id = document_id
        self._noted = noted
        self._default: Strategy = "remote" if yields else "local"

    def _of(self, keys: Keys) -> Strategy:
        strategy = self._strategies.of(keys)
        return self._default if strategy == "local" else strategy

    def accumulates(self, keys: Keys, /) -> bool:
        return self._strategies.accumulates(keys)

    def hunk_of(self, keys: Keys, /) -> Side | None:
        strategy = self._of(keys)
        if strategy == "remote":
            self._noted()
            return "remote"
        if strategy in {"local", "add"}:  # what both sides added has been kept already
            self._noted()
            return "local"
        return None

    def __call__(self, keys: Keys, base: Any, local: Any, remote: Any, /) -> Any:
        self._noted()
        strategy = self._of(keys)
        if strategy == "local":
            return local
        if strategy == "remote":
            return remote
        if callable(strategy):
            return self._ask(strategy, keys, base, local, remote)
        if local is MISSING or remote is MISSING:
            return remote if local is MISSING else local
        return self._compute(strategy, base, local, remote)

    def _ask(self, decide: Callable[[Conflict], Any], keys: Keys, base: Any, local: Any, remote: Any) -> Any:
        try:
            path = tuple(unescape(key) for key in keys[1:])
            versions = [self._decoded(value) for value in (base, local, remote)]
            value = decide(Conflict(self._strategies.scope, self._id, path, *versions))
            return value if value is MISSING else self._strategies.encode(value)
        except Exception as error:  # noqa: BLE001  (users' code, which must not break the whole update)
            self._strategies.on_error(self._id, error)
            return local

    def _compute(self, strategy: str, base: Any, local: Any, remote: Any) -> Any:
        try:
            versions = [self._decoded(value) for value in (base, local, remote)]
            if strategy == "add":
                total = _total(*versions)
                return local if total is None else self._strategies.encode(total)
            theirs_wins = bool(versions[2] > versions[1] if strategy == "max" else versions[2] < versions[1])
        except Exception:  # noqa: BLE001  (values that cannot be compared or added; their classes may raise anything)
            return local
        return remote if theirs_wins else local

    def _decoded(self, value: Any) -> Any:
        return value if value is MISSING else self._strategies.decode(value)


def _total(base: Any, local: Any, remote: Any) -> Any:
    """A number with the changes of both sides; `None` if these are not numbers."""
    if type(local) not in _NUMBERS or type(remote) not in _NUMBERS:
        return None
    with decimal.localcontext() as context:
        context.prec = _DIGITS
        total = local + (remote - (base if type(base) in _NUMBERS else type(local)()))
    return total if total == total else None  # noqa: PLR0124  (NaN)
