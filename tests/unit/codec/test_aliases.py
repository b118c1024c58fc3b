"""Classes that were moved or renamed: whatever names a class by its old name means the new one.

The kind: a name in stored data that no longer is the name of the class. It stands in each form that names a class, at
any depth, in pickles and in what is packed; in comparisons both names are equal.
"""

from __future__ import annotations

import collections
import enum
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
import telegram

from ptb_mongo import MongoPersistence
from ptb_mongo.codec import Codec, dump
from ptb_mongo.codec.subclasses import MADE_FROM
from ptb_mongo.errors import ConfigurationError, DecodeError, EncodeError
from ptb_mongo.replica.update import diff
from ptb_mongo.replica.values import same

BASES = {base.__name__: base for base in MADE_FROM}
NAMES = (
    *("Basket", "Plain", "Level", "Right", "Place", "Notes", "Word", "Outer", "Hello", "Marked"),
    *(f"Of_{name}" for name in BASES),
)


def _classes(module: str) -> dict[str, Any]:
    """The same classes, defined once more in a module of this name."""

    @dataclass
    class Basket:
        items: Any = None
        total: int = 0

        def __hash__(self) -> int:
            return hash(self.total)

        @staticmethod
        def make() -> Any:
            return Basket()

    class Plain:
        def __eq__(self, other: object) -> bool:
            return vars(self) == vars(other)

        __hash__ = None  # type: ignore[assignment]

    class Level(enum.Enum):
        FREE = "free"
        GOLD = "gold"

    class Right(enum.Flag):
        READ = 1
        WRITE = 2

    class Place(NamedTuple):
        street: str
        number: int = 0

    class Notes(collections.UserDict):  # type: ignore[type-arg]
        def __reduce__(self) -> Any:
            return type(self), (dict(self.data),)

    class Word(str):
        __slots__ = ()

    class Outer:
        @dataclass
        class Inner:
            value: int = 0

    class Hello(telegram.User):
        pass

    class Marked(NamedTuple("Marked", [("number", int)])):  # noqa: SLOT002
        """A named tuple that has attributes as well."""

    found = {name: value for name, value in locals().items() if name in NAMES}
    found |= {f"Of_{name}": type(f"Of_{name}", (base,), {}) for name, base in BASES.items()}
    for name, cls in found.items():
        cls.__module__, cls.__qualname__ = module, name
    Outer.Inner.__module__, Outer.Inner.__qualname__ = module, "Outer.Inner"
    Basket.make.__module__, Basket.make.__qualname__ = module, "Basket.make"
    return found


@pytest.fixture(autouse=True)
def modules(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Three homes of the same classes."""
    made = {}
    for name in ("old_shop", "shop", "new_shop"):
        made[name] = types.ModuleType(name)
        vars(made[name]).update(_classes(name))
        monkeypatch.setitem(sys.modules, name, made[name])
    return made


def aliases(old: Any, new: Any) -> dict[str, type]:
    return {f"{old.__name__}.{name}": getattr(new, name) for name in NAMES}


def deep(shop: Any) -> Any:
    value: Any = shop.Basket(1)
    for _ in range(100):
        value = [value]
    return value


def plain(shop: Any) -> Any:
    made = shop.Plain()
    made.place = shop.Place("Elm", 5)
    return made


def of_bases(shop: Any) -> list[Any]:
    """An object of a subclass of each built-in type, some with an attribute."""
    made = [getattr(shop, f"Of_{name}")(*(VALUES.get(name, ()))) for name in BASES]
    made[[*BASES].index("list")].note = shop.Level.GOLD
    return made


def marked(shop: Any) -> Any:
    made = shop.Marked(5)
    made.note = shop.Level.FREE
    return made


VALUES: dict[str, Any] = {
    "datetime": (2024, 1, 2, 3, 4),
    "date": (2024, 1, 2),
    "time": (3, 4),
    "timedelta": (5,),
    "defaultdict": (list,),
}

FORMS: dict[str, Callable[[Any], Any]] = {
    "subclasses of builtins": of_bases,
    "a named tuple with attributes": marked,
    "a factory in a subclass of defaultdict": lambda shop: shop.Of_defaultdict(shop.Plain, {"a": plain(shop)}),
    "in an iterator": lambda shop: iter([shop.Basket(), shop.Level.GOLD]),
    "in an iterator inside of a pickle": lambda shop: shop.Notes({"a": iter([shop.Basket(), shop.Level.GOLD])}),
    "subclasses inside of a pickle": lambda shop: shop.Notes({"a": shop.Of_dict(x=shop.Of_str("tea"))}),
    "a Telegram object inside of a pickle": lambda shop: shop.Notes({"a": shop.Hello(1, "Ada", False)}),
    "in a Telegram object": lambda shop: telegram.InlineKeyboardButton("x", callback_data=shop.Basket(shop.Level.FREE)),
    "an object of a dataclass": lambda shop: shop.Basket({"tea": 2}, 5),
    "an object of a plain class": plain,
    "a member of an enum": lambda shop: shop.Level.GOLD,
    "a combination of flags": lambda shop: shop.Right.READ | shop.Right.WRITE,
    "a named tuple": lambda shop: shop.Place("Elm", 5),
    "a class": lambda shop: shop.Basket,
    "the factory of a defaultdict": lambda shop: collections.defaultdict(shop.Plain, {"a": plain(shop)}),
    "what is pickled": lambda shop: shop.Notes({"a": 1}),
    "what is inside of a pickle": lambda shop: shop.Notes({"a": shop.Basket(shop.Level.FREE), "b": shop.Place("x")}),
    "a class inside of a pickle": lambda shop: shop.Notes({"a": shop.Basket}),
    "a set inside of a pickle": lambda shop: shop.Notes({"a": {shop.Level.FREE, shop.Level.GOLD}}),
    "a subclass of a builtin": lambda shop: shop.Word("tea"),
    "a class inside of a class": lambda shop: [shop.Outer.Inner(3), shop.Outer.Inner],
    "a Telegram object": lambda shop: shop.Hello(1, "Ada", False),
    "in a list, a set, a tuple": lambda shop: [{shop.Level.FREE, shop.Level.GOLD}, (shop.Place("x"),)],
    "as a key": lambda shop: {shop.Level.GOLD: {shop.Place("x"): 1}},
    "in what is packed": deep,
}


@pytest.mark.parametrize("form", FORMS)
def test_what_is_stored_under_an_old_name_comes_back_as_the_new_class(form: str, modules: dict[str, Any]) -> None:
    stored = Codec(["old_shop"]).encode({"it": FORMS[form](modules["old_shop"])})
    codec = Codec(["new_shop"], aliases=aliases(modules["old_shop"], modules["new_shop"]))
    restored = codec.decode(stored)
    assert same(codec.encode(restored), Codec(["new_shop"]).encode({"it": FORMS[form](modules["new_shop"])}))
    assert b"old_shop" not in dump(codec.encode(restored))


@pytest.mark.parametrize("form", sorted(FORMS.keys() - {"in what is packed"}))  # which a part is not compared by
def test_two_names_of_a_class_are_no_change_of_what_is_stored(form: str, modules: dict[str, Any]) -> None:
    stored = Codec(["old_shop"]).encode({"it": FORMS[form](modules["old_shop"])})
    codec = Codec(["new_shop"], aliases=aliases(modules["old_shop"], modules["new_shop"]))
    changes = diff(stored, codec.encode(codec.decode(stored)), lambda value: codec.encode(codec.decode(value)))
    assert not changes


def test_a_function_that_fills_a_dict_is_found_under_the_new_name_of_its_class(modules: dict[str, Any]) -> None:
    old, new = modules["old_shop"], modules["new_shop"]
    stored = Codec([old.Basket.make]).encode(collections.defaultdict(old.Basket.make))
    codec = Codec([new.Basket.make], aliases={"old_shop.Basket": new.Basket})
    assert codec.decode(stored).default_factory is new.Basket.make
    with pytest.raises(DecodeError, match=r"new_shop\.Basket\.make. is not trusted"):
        Codec(aliases={"old_shop.Basket": new.Basket}).decode(stored)


def test_an_attribute_that_changes_is_written_alone_and_with_it_the_new_name(modules: dict[str, Any]) -> None:
    stored = Codec(["old_shop"]).encode({"it": modules["old_shop"].Basket({"tea": 2}, 5)})
    codec = Codec(aliases=aliases(modules["old_shop"], modules["new_shop"]))
    restored = codec.decode(stored)
    restored["it"].total = 6
    changes = diff(stored, codec.encode(restored), lambda value: codec.encode(codec.decode(value)))
    assert dict(changes.sets) == {("it", "state", "total"): 6, ("it", "cls"): "new_shop.Basket"}
    assert changes.guard()["it.cls"] == {"$eq": "old_shop.Basket"}


def test_a_class_that_was_renamed_twice_is_found_by_both_names(modules: dict[str, Any]) -> None:
    first, second, third = modules["old_shop"], modules["shop"], modules["new_shop"]
    codec = Codec(aliases=aliases(first, second) | aliases(second, third))
    for shop in (first, second):
        stored = Codec([shop.__name__]).encode([shop.Basket(1), shop.Notes({"a": shop.Level.FREE})])
        assert codec.decode(stored) == [third.Basket(1), third.Notes({"a": third.Level.FREE})]


def test_an_alias_wins_over_a_class_that_still_has_the_old_name(modules: dict[str, Any]) -> None:
    old, new = modules["old_shop"], modules["new_shop"]
    stored = Codec([old.Basket]).encode(old.Basket(1))
    for trusted in (["old_shop"], [old.Basket], []):
        codec = Codec(trusted, aliases={"old_shop.Basket": new.Basket})
        assert codec.decode(stored) == new.Basket(1)
        with pytest.raises(EncodeError, match="stands for new_shop"):
            codec.encode(old.Basket(1))


def test_an_alias_makes_nothing_trusted_but_its_class(modules: dict[str, Any]) -> None:
    old, new = modules["old_shop"], modules["new_shop"]
    codec = Codec(aliases={"old_shop.Outer": new.Outer})
    for value in (old.Basket(1), old.Outer.Inner(1), old.Notes({"a": old.Level.FREE})):
        with pytest.raises(DecodeError, match="is not trusted"):
            codec.decode(Codec(["old_shop"]).encode(value))
    with pytest.raises(EncodeError, match="not stored"):
        codec.encode(new.Basket(1))
    assert codec.decode(Codec(["old_shop"]).encode(old.Outer)) is new.Outer


def test_classes_inside_of_one_that_holds_itself_end(modules: dict[str, Any]) -> None:
    inner = modules["shop"].Outer.Inner
    codec = Codec(aliases={"shop.Outer": inner})
    with pytest.raises(DecodeError, match="not trusted"):
        codec.decode({"_py": "class", "v": "shop.Outer.Inner.Inner.Inner"})


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (["old_shop.Basket"], "maps old names to classes"),
        ({"Basket": dict}, "with its module"),
        ({5: dict}, "with its module"),
        ({"old_shop.Basket": "shop.Basket"}, "no class, but a str"),
        ({"builtins.dict": int}, "Python's or MongoDB's own"),
        ({"telegram.Message": int}, "PTB's own"),
        ({"shop.Basket": "itself"}, "circle"),
    ],
)
def test_aliases_that_cannot_be_used_are_refused_by_the_constructor(
    wrong: Any, why: str, modules: dict[str, Any]
) -> None:
    if wrong == {"shop.Basket": "itself"}:
        wrong = {"shop.Basket": modules["old_shop"].Basket, "old_shop.Basket": modules["shop"].Basket}
    with pytest.raises(ConfigurationError, match=why):
        MongoPersistence("mongodb://localhost", aliases=wrong)
