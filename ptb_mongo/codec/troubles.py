"""What cannot be stored or restored of a value: all of it in one text, with the places and every way out.

The text is bounded however deep or wide the value is: the first kinds are named, each with its first place, and the
others are counted. A place is a chain of keys, and becomes text only for those that are named.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

from ptb_mongo.codec.keys import escape
from ptb_mongo.codec.trusted_modules import module_in

__all__ = ["MOST_NAMED", "UNREADABLE", "UNSTORABLE", "Headline", "Place", "Trouble", "told"]

MOST_NAMED: Final = 10
_MOST_PATHS: Final = 20
_LONGEST: Final = 120  # characters of a name, or of a path
_DEEPEST_EXCLUDED: Final = 20  # keys: see `exclude`
_PLAIN: Final = "dicts, lists, texts, numbers, dates"
_INT: Final = re.compile("%i(-?[0-9]{1,20})")
_ANY: Final = re.compile(r"\*")


class Place(NamedTuple):
    """Where a value stands.

    Attributes:
        above: Where that stands which holds it; `None` for the outermost.
        holder: What holds it.
        key: Its key, the name of its attribute, or its index.
        depth: How many places are above.
        is_named: Whether a path of `exclude` leads here.
        named: The innermost place above that a path leads to; `None` if there is none.
        is_attribute: Whether the key is the name of an attribute, also where there are elements.
    """

    above: Place | None
    holder: Any
    key: Any
    depth: int
    is_named: bool
    named: Place | None
    is_attribute: bool = False

    @classmethod
    def below(cls, above: Place | None, holder: Any, key: Any, *, is_named: bool, is_attribute: bool = False) -> Place:
        """A place in what stands at another.

        Args:
            above: That other place.
            holder: What stands there.
            key: Where in it.
            is_named: Whether a path can name it: not an element of a list, a tuple or a set, nor a key.
            is_attribute: Whether it is an attribute.
        """
        if above is None:
            return cls(None, holder, key, 0, is_named, None, is_attribute)
        named = above if above.is_named else above.named
        return cls(above, holder, key, above.depth + 1, is_named and above.is_named, named, is_attribute)

    @property
    def excludable(self) -> Place | None:
        """The innermost place around, or this one, that a path leads to."""
        return self if self.is_named else self.named

    def chain(self) -> list[Place]:
        """All places from the outermost on."""
        chain: list[Place] = []
        place: Place | None = self
        while place is not None:
            chain.append(place)
            place = place.above
        return chain[::-1]


class Trouble(NamedTuple):
    """One value that cannot be stored or restored.

    Attributes:
        kind: "untrusted" if trusting its class helps; "class" if only the class, or the function, itself helps, and
            not its module's name; "gone" if it is not in its trusted module any more; "never" if nothing helps.
        name: The class's or function's name.
        reason: What is wrong, for a text that tells nothing else.
        place: Where it stands; `None` if it is all there is.
        inside: The stored path inside of what stands there.
        instead_of: Another reason, which this one takes the place of, as nothing is gained by what it advises.
    """

    kind: Literal["untrusted", "class", "gone", "never"]
    name: str
    reason: str
    place: Place | None
    inside: str = ""
    instead_of: str = ""

    @property
    def path(self) -> str:
        """The keys that lead to it, as a user writes them, and not longer than anybody reads."""
        keys = [] if self.place is None else [_written(place.key) for place in self.place.chain()[:_DEEPEST_EXCLUDED]]
        path = ".".join([*keys, self.inside] if self.inside else keys)
        return path if len(path) <= _LONGEST else f"{path[:_LONGEST]}..."

    @property
    def excludable(self) -> str | None:
        """The path that `exclude` takes, or that of the innermost thing around it; `None` if there is none."""
        place = None if self.place is None else self.place.excludable
        if place is None or place.depth >= _DEEPEST_EXCLUDED:
            return None
        path = ".".join(_written(one.key) for one in place.chain())
        return path if len(path) <= _LONGEST else None


def _written(key: Any) -> str:
    """A key as `exclude` and `on_conflict` take it."""
    stored = str(key) if type(key) is int else escape(key[:_LONGEST] if type(key) is str else key)
    return _ANY.sub("%2A", stored) if stored is not None else f"<{type(key).__qualname__[:_LONGEST]}>"


Ways = Callable[[Sequence[Trouble], "list[str] | None", str], list[str]]


class Headline(NamedTuple):
    """How a text begins.

    Attributes:
        alone: What is said of several troubles.
        besides: The same, after something else was said to be wrong.
    """

    alone: str
    besides: str


UNSTORABLE: Final = Headline("it holds what cannot be stored", "it also holds what cannot be stored")
UNREADABLE: Final = Headline(
    "the classes of these are not trusted, or do not exist any more", "it also holds objects of other such classes"
)


def told(
    troubles: Iterable[Trouble | None],
    scope: str | None,
    first_reason: str = "",
    headline: Headline = UNSTORABLE,
    ways: Ways | None = None,
) -> str | None:
    """All that is wrong, in one text; `None` if nothing is.

    Args:
        troubles: What is wrong, read to the end; `None` among it if not all was looked at.
        scope: The key of `exclude` that they are under; `None` if nothing can be excluded there.
        first_reason: What was found first; it is told too, if it is something else.
        headline: How the text begins.
        ways: Gives the ways out, for the troubles that are named, and for the paths of all, if these are few; the text
            that is read before them is passed, too. By default those that a running bot has.
    """
    ways = ways or _Ways(scope, reads=headline is UNREADABLE)
    first: dict[str, Trouble] = {}
    paths: dict[str, bool] = {}
    numbers: dict[str, int] = {}
    others = 0
    rest = ""
    is_told = not first_reason
    for trouble in troubles:
        if trouble is None:
            rest = ", and perhaps more: there is too much to look at all of it"
            continue
        is_told = is_told or first_reason in (trouble.reason, trouble.instead_of)
        if len(paths) <= _MOST_PATHS and (path := trouble.excludable) is not None:
            paths[path] = paths.get(path, False) or trouble.kind == "never"
        name = trouble.name[:_LONGEST]
        if name in first or len(first) < MOST_NAMED:
            first.setdefault(name, trouble)
            numbers[name] = numbers.get(name, 0) + 1
        else:
            others += 1
    if not first:
        return None
    if others:
        rest = f", and {others:,} values of other kinds{rest}"
    if len(first) == 1 and is_told:
        (name,) = first
        more = f" (and {numbers[name] - 1:,} more like it{rest})" if numbers[name] > 1 else ""
        one = first[name]
        return f"{one.reason}{more}{_joined(ways([one], _needed(paths), one.reason))}"
    named = ", ".join(_named(name, trouble, numbers[name]) for name, trouble in first.items())
    what = headline.alone if is_told else f"{first_reason}; {headline.besides}"
    return f"{what}: {named}{rest}{_joined(ways([*first.values()], _needed(paths), what))}"


def _named(name: str, trouble: Trouble, number: int) -> str:
    where = f"at {trouble.path}" if trouble.path else "itself"
    more = f", and {number - 1:,} more" if number > 1 else ""
    return f"{name} ({where}{more})"


class _Ways:
    """The ways out in a running bot.

    Args:
        scope: The key of `exclude`; `None` if nothing can be excluded.
        reads: Whether it is about what is stored.
    """

    def __init__(self, scope: str | None, *, reads: bool) -> None:
        self._scope = scope
        self._reads = reads

    def __call__(self, troubles: Sequence[Trouble], paths: list[str] | None, known: str) -> list[str]:
        ways = []
        modules = sorted({module_in(one.name)[:_LONGEST] for one in troubles if one.kind == "untrusted"})
        classes = [one.name.rpartition(".")[2][:_LONGEST] for one in troubles if one.kind == "class"]
        if (modules or classes) and "trusted=" not in known:
            entries = ", ".join([*(f'"{module}"' for module in modules), *classes])
            does = "loaded" if self._reads else "stored"
            ways.append(f"what is yours is {does} with MongoPersistence(..., trusted=[{entries}])")
        gone = [one.name[:_LONGEST] for one in troubles if one.kind == "gone"]
        if (gone or (modules and self._reads)) and "aliases=" not in known:
            entries = ", ".join(f'"{name}": <the class>' for name in gone) or "..."
            ways.append(f"what was moved or renamed is found with MongoPersistence(..., aliases={{{entries}}})")
        if self._scope is not None and paths:
            entries = ", ".join(f'"{path}"' for path in paths)
            ways.append(f'leave it out with exclude={{"{self._scope}": {{{entries}}}}}')
        elif self._scope is not None and paths is None:
            ways.append(f'leave it out with the paths in exclude={{"{self._scope}": {{...}}}}: * is any one key')
        if not ways or any(one.kind == "never" for one in troubles):
            ways.append(f"or keep plain data in its place ({_PLAIN})")
        return ways


def _needed(paths: dict[str, bool]) -> list[str] | None:
    """The paths to be excluded; `None` if there are too many.

    Of what only lies in something else that is excluded, none, unless nothing else helps against it.
    """
    if len(paths) > _MOST_PATHS:
        return None
    return sorted(path for path, is_needed in paths.items() if is_needed or not _lies_in(path, paths))


def _lies_in(path: str, others: Collection[str]) -> bool:
    keys = path.split(".")
    return any(".".join(keys[:length]) in others for length in range(1, len(keys)))


def _joined(ways: list[str]) -> str:
    return "".join(f"; {way}" for way in ways)
