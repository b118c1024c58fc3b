"""A class gets another name in stored values: the same is stored then as if it had had that name from the beginning.

The kind: a name that stands in each form that names a class, at any depth, in pickles and in what is packed; and texts
that look like it, and stay.
"""

from __future__ import annotations

from typing import Any

import bson
import pytest
from test_aliases import FORMS, NAMES, modules

from ptb_mongo.codec import Codec, dump
from ptb_mongo.codec.renaming import Renaming
from ptb_mongo.codec.subclasses import BASE_TAGS
from ptb_mongo.replica.values import same

__all__ = ["modules"]


def renamed(plain: Any) -> Any:
    """All classes of a module, each by itself."""
    for name in NAMES:
        renaming = Renaming(f"old_shop.{name}", f"new_shop.{name}")
        before = dump({"v": plain})
        plain = renaming.of(plain)
        assert not renaming.failed
        assert bool(renaming.values) == (dump({"v": plain}) != before)
    return plain


@pytest.mark.parametrize("form", FORMS)
def test_what_is_stored_is_the_same_as_if_the_class_had_always_had_its_name(form: str, modules: dict[str, Any]) -> None:
    stored = Codec(["old_shop"]).encode({"it": FORMS[form](modules["old_shop"])})
    wanted = Codec(["new_shop"]).encode({"it": FORMS[form](modules["new_shop"])})
    made = renamed(stored)
    assert b"old_shop" not in dump(made)
    if form == "a set inside of a pickle":  # its elements keep their order
        codec = Codec(["new_shop"])
        made = codec.encode(codec.decode(made))
    assert same(made, wanted)


FIELDS = {"class": "v", "function": "v", "telegram": "base", "enum": "cls", "no form of today": "cls"}


@pytest.mark.parametrize("tag", FIELDS)
def test_every_field_that_names_a_class_gets_the_new_name(tag: str) -> None:
    stored = {"it": {"_py": tag, FIELDS[tag]: "old_shop.Basket.make", "text": "old_shop.Basket"}}
    renaming = Renaming("old_shop.Basket", "new_shop.Cart")
    assert renaming.of(stored) == {"it": {**stored["it"], FIELDS[tag]: "new_shop.Cart.make"}}
    assert renaming.values == 1


def test_the_forms_of_these_tests_are_all_that_name_a_class(modules: dict[str, Any]) -> None:
    stored = [Codec(["old_shop"]).encode({"it": form(modules["old_shop"])}) for form in FORMS.values()]
    tags, todo = set(), [*stored]
    while todo:
        one = todo.pop()
        if type(one) is dict:
            tags |= {one["_py"]} if "cls" in one or one.get("_py") == "class" else set()
        todo += one.values() if type(one) is dict else one if type(one) is list else []
    assert tags == {"class", "enum", "namedtuple", "object", "pickle", "telegram", *BASE_TAGS}


def test_a_text_that_looks_like_the_name_stays(modules: dict[str, Any]) -> None:
    shop = modules["old_shop"]
    value = {
        "old_shop.Basket": "old_shop.Basket",
        "cls": "old_shop.Basket",
        "notes": shop.Notes({"old_shop.Basket": ["old_shop.Basket", shop.Place("old_shop.Basket", 1)]}),
    }
    stored = Codec(["old_shop"]).encode(value)
    assert Renaming("old_shop.Basket", "new_shop.Basket").of(stored) is stored
    assert Renaming("old_shop.Bask", "new_shop.Basket").of(Codec(["old_shop"]).encode(shop.Basket(1)))["cls"] == (
        "old_shop.Basket"
    )
    made = Renaming("old_shop.Notes", "new_shop.Notes").of(stored)
    restored = Codec(["old_shop", "new_shop"]).decode(made)
    assert restored["notes"] == value["notes"]
    assert type(restored["notes"]) is modules["new_shop"].Notes


def test_a_set_is_in_order_afterwards() -> None:
    stored = {"_py": "set", "v": [{"_py": "class", "v": "a.A"}, {"_py": "class", "v": "b.B"}]}
    assert [one["v"] for one in Renaming("a.A", "c.C").of(stored)["v"]] == ["b.B", "c.C"]
    assert stored["v"][0]["v"] == "a.A"


def test_no_code_runs_and_nothing_needs_to_be_trusted_or_to_exist() -> None:
    stored = {"a": {"_py": "object", "cls": "os.system.x", "state": {"b": {"_py": "class", "v": "os.system"}}}}
    made = Renaming("os.system", "x.y").of(stored)
    assert made == {"a": {"_py": "object", "cls": "x.y.x", "state": {"b": {"_py": "class", "v": "x.y"}}}}


@pytest.mark.parametrize(
    "data",
    [b"", b"old.A", b"\x80\x05old.A.", b"cos\nsystem\n(S'old.A'\ntR.", bson.encode({"x": "old.A"}) + b"1"],
)
@pytest.mark.parametrize("tag", ["pickle", "bson", "telegram"])
def test_what_is_damaged_stays_and_is_named(tag: str, data: bytes) -> None:
    field = "pickle" if tag == "telegram" else "v"
    bad = {"_py": tag, "cls": "old.A", field: data}
    renaming = Renaming("old.A", "new.A")
    made = renaming.of({"good": {"_py": "class", "v": "old.A"}, "bad": [bad]})
    assert made["good"]["v"] == "new.A"
    if b"old.A" in data:
        assert [error.path for error in renaming.failed] == [f"bad.0.{field}"]
        assert made["bad"] == [bad]
    else:
        assert not renaming.failed


def test_what_is_packed_again_and_again_ends() -> None:
    packed: Any = {"_py": "class", "v": "old.A"}
    for _ in range(2000):
        packed = {"_py": "bson", "v": bson.encode({"v": packed})}
    renaming = Renaming("old.A", "new.A")
    assert renaming.of(packed) is packed
    assert [error.reason for error in renaming.failed][-1].startswith("not a valid bson")
