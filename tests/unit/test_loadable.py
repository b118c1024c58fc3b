"""Whatever is saved can be loaded: what a start would quarantine is refused at the first save, before anything is lost.

Each case goes the way that data goes: staged by the scopes of one process, and loaded by those of the next, which were
made with the same arguments. It is either refused or comes back.
"""

from __future__ import annotations

import collections
import enum
import math
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import telegram
from hypothesis import given
from hypothesis import strategies as st
from offline import TOKEN

from ptb_mongo.codec import Codec, dump
from ptb_mongo.errors import EncodeError, PersistenceError
from ptb_mongo.scopes.callback_data import Found
from ptb_mongo.scopes.factory import Scopes, make_scopes

_PRIME = 2**61 - 1  # Python's hash of an integer is its remainder


class Basket:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Basket) and vars(other) == vars(self)

    __hash__ = object.__hash__


class Shop(dict[Any, Any]):
    """A dict of one's own."""


class NoState:
    """Can be stored, and not be restored."""

    def __getstate__(self) -> object:
        return {"a": 1}

    def __setstate__(self, state: object) -> None:
        raise RuntimeError("no")


class NoCopy:
    """Can be stored and restored, and not be copied by PTB."""

    def __deepcopy__(self, memo: object) -> NoCopy:
        raise TypeError("no")


class Factory:
    def __call__(self) -> list[Any]:
        return []


class Made(enum.Enum):
    """Makes members that it does not know afterwards."""

    A = 1

    @classmethod
    def _missing_(cls, value: object) -> Made:
        made = object.__new__(cls)
        made._name_, made._value_ = f"made {value}", value
        return made


def scopes(**new: Callable[[], Any]) -> Scopes:
    """The scopes of a process, always of the same arguments."""
    return make_scopes(
        Codec([__name__]), prefix="", new={"user_data": dict, "chat_data": dict, "bot_data": dict, **new}
    )


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def loaded(documents: list[dict[str, Any]], load: Callable[[Scopes, list[bytes]], Any], **new: Any) -> Any:
    """What the next process makes of what was written."""
    fresh = scopes(**new)
    raws = [dump({"_id": one["_id"], **one, "rev": "writer:1"}) for one in documents]
    found = load(fresh, raws)
    assert [dict(one.quarantined) for one in fresh] == [{} for _ in fresh]
    return found


def user_data(data: Any, key: Any = 1, **new: Any) -> dict[Any, Any]:
    """Data that is saved, and loaded by the next process."""
    scope = scopes(**new).user_data
    replica = scope.stage(key, data)
    if scope.problems:
        raise scope.problems[0]
    assert replica is not None
    assert replica.pending is not None
    document = {"_id": key, **(replica.pending.plain or {})}
    return loaded([document], lambda fresh, raws: dict(fresh.user_data.attached(raws)), **new)


def state(value: Any, handler: Any = "order", key: Any = (1, 2)) -> Any:
    """A conversation's state that is saved, and loaded by the next process."""
    replica = scopes().conversations.stage(handler, key, value)
    assert replica is not None
    assert replica.pending is not None
    document = {"_id": replica.id, **(replica.pending.plain or {})}
    return loaded([document], lambda fresh, raws: fresh.conversations.states(raws))


def button(value: Any, keyboard: Any = "keyboard", query: Any = "query", of: Any = "keyboard") -> Any:
    """A button that is saved, and loaded by the next process."""
    staged, errors = scopes().callback_data.stage_all(([(keyboard, 1.0, {"button": value})], {query: of}))
    if errors:
        raise errors[0]
    documents = [{"_id": one.id, **(one.pending.plain or {})} for one in staged if one.pending is not None]
    assert len(documents) == 2
    return loaded(documents, lambda fresh, raws: _keyboards(fresh.callback_data, raws))


def _keyboards(scope: Any, raws: list[bytes]) -> Any:
    found = Found([], [])
    scope.read(raws, found)
    return scope.data(found)


REFUSED: dict[str, tuple[Any, str]] = {
    "a dict whose keys have one hash": ({i * _PRIME: 0 for i in range(4000)}, "same hash"),
    "a set whose elements have one hash": ({i * _PRIME for i in range(4000)}, "same hash"),
    "pairs whose keys have one hash": ({(i * _PRIME,): 0 for i in range(4000)}, "same hash"),
    "a class that cannot be restored": (NoState(), "could not be loaded again"),
    "a class that cannot be restored, deep inside": ([{"a": (NoState(),)}], "could not be loaded again"),
    "an attribute in the place of a method": (Basket(__deepcopy__=1), "in the place of a method"),
    "another such attribute": (Basket(__reduce_ex__=1), "in the place of a method"),
    "a factory that is no class": (collections.defaultdict(Factory()), "factory of a defaultdict is stored if"),
    "a member that its enum has not": (Made(5), "has no member"),
}
REFUSED_WHERE_COPIED: dict[str, tuple[Any, str]] = {
    "a class that cannot be copied": (NoCopy(), "cannot be copied"),
    "what is nested deeper than Python copies": (nested(500), "cannot be copied"),
    "a bot": (telegram.Bot(TOKEN), "could not be loaded again|cannot be copied"),
}
LOADED: dict[str, Any] = {
    "many keys": dict.fromkeys(range(5000), 0),
    "many elements": set(range(5000)),
    "negative keys": {-1: 0, -2: 0},
    "an object": Basket(a=1, b=[Basket()]),
    "a dict of one's own": Shop(a=1),
    "a class": Basket,
    "a member": Made.A,
    "a defaultdict of a class": collections.defaultdict(Basket),
    "a namespace": SimpleNamespace(a=1),
    "deep, and yet not too deep": nested(60),
    "a Telegram object": telegram.User(1, "Ada", is_bot=False),
    "an endless number": 10**4000,
}


@pytest.mark.parametrize(
    "save", [lambda value: user_data({"v": value}), state, button], ids=["data", "state", "button"]
)
@pytest.mark.parametrize("case", REFUSED)
def test_what_could_not_be_loaded_is_refused_when_it_is_saved(save: Callable[[Any], Any], case: str) -> None:
    value, reason = REFUSED[case]

    with pytest.raises(EncodeError, match=reason):
        save(value)


@pytest.mark.filterwarnings("ignore:An unknown bot")
@pytest.mark.parametrize("save", [lambda value: user_data({"v": value}), button], ids=["data", "button"])
@pytest.mark.parametrize("case", REFUSED_WHERE_COPIED)
def test_what_could_not_be_copied_is_refused_where_ptb_copies(save: Callable[[Any], Any], case: str) -> None:
    value, reason = REFUSED_WHERE_COPIED[case]
    if case == "a bot":  # another bot is stored as nothing, which can be copied
        codec = Codec((), lambda: value)
        one = make_scopes(codec, prefix="", new={"user_data": dict, "chat_data": dict, "bot_data": dict})
        assert one.user_data.stage(1, {"v": value}) is None
        (problem,) = one.user_data.problems
        assert re.search(reason, str(problem))
        return

    with pytest.raises(EncodeError, match=reason):
        save(value)


@pytest.mark.parametrize("case", LOADED)
def test_what_can_be_loaded_is_not_refused(case: str) -> None:
    value = LOADED[case]

    assert user_data({"v": value}) == {1: {"v": value}}
    assert state(value) == {(1, 2): value}
    assert button(value) == ([("keyboard", 1.0, {"button": value})], {"query": "keyboard"})


@pytest.mark.parametrize("key", ["1", 1.5, True, None, (1,), 2**63, -(2**63) - 1, math.inf, b"1"], ids=repr)
def test_data_of_an_id_that_is_none_is_refused_and_not_deleted_either(key: Any) -> None:
    with pytest.raises(EncodeError, match="_id"):
        user_data({"n": 1}, key)
    with pytest.raises(EncodeError, match="_id"):
        scopes().user_data.drop(key)


@pytest.mark.parametrize("key", [1, -1001234567890, 2**63 - 1, 0])
def test_data_of_any_id_that_telegram_may_give_is_loaded(key: int) -> None:
    assert user_data({"n": 1}, key) == {key: {"n": 1}}


@pytest.mark.parametrize(
    ("handler", "key"),
    [
        (1, (1,)),
        (None, (1,)),
        ("order", (None,)),
        ("order", (1.5,)),
        ("order", (True,)),
        ("order", (b"1",)),
        ("order", ((1,),)),
        ("order", (2**63,)),
        ("\ud800", (1,)),
        ("order", ("\ud800",)),
    ],
    ids=ascii,
)
def test_a_conversation_whose_key_could_not_be_loaded_is_refused(handler: Any, key: Any) -> None:
    with pytest.raises(EncodeError):
        state(1, handler, key)


@pytest.mark.parametrize(("handler", "key"), [("order", (1,)), ("", ()), ("a.b\0", (1, "x", -5))], ids=ascii)
def test_a_conversation_of_any_other_key_is_loaded(handler: str, key: Any) -> None:
    assert state(1, handler, key) == {key: 1}


@pytest.mark.parametrize(("keyboard", "of"), [(5, "keyboard"), (None, "keyboard"), ("keyboard", 5), ("keyboard", None)])
def test_a_keyboard_that_could_not_be_loaded_is_refused(keyboard: Any, of: Any) -> None:
    with pytest.raises(EncodeError, match="could not be loaded again"):
        button(1, keyboard, of=of)


def test_one_keyboard_that_could_not_be_loaded_leaves_the_others_alone() -> None:
    staged, errors = scopes().callback_data.stage_all(
        ([("bad", 1.0, {"b": NoState()}), ("good", 1.0, {"b": 1})], {"query": 5})  # type: ignore[dict-item]
    )

    assert [one.id for one in staged] == ["good"]
    assert len(errors) == 2


@pytest.mark.parametrize("name", ["user_data", "chat_data", "bot_data"])
@pytest.mark.parametrize("data", [1, None, [], "text", Basket(), {1, 2}], ids=lambda value: type(value).__name__)
def test_data_of_another_type_than_the_bots_is_refused_naming_context_types(name: str, data: Any) -> None:
    with pytest.raises(EncodeError, match=r"context_types=") as caught:
        getattr(scopes(), name).stage(1, data)

    assert f"{name}, _id 1, at data: data is a {type(data).__name__}, and this bot's {name} is a dict" in str(
        caught.value
    )
    assert "trusted" not in str(caught.value)


def test_data_of_another_type_is_reported_once() -> None:
    scope = scopes().user_data
    with pytest.raises(EncodeError):
        scope.stage(1, 1)

    assert scope.stage(1, 1) is None


def test_data_of_the_bots_own_type_is_loaded() -> None:
    assert user_data(Basket(n=1), user_data=Basket) == {1: Basket(n=1)}
    with pytest.raises(EncodeError, match="data is a dict, and this bot's user_data is a Basket"):
        user_data({"n": 1}, user_data=Basket)


def test_a_dict_of_ones_own_is_a_dict() -> None:
    assert user_data(Shop(n=1)) == {1: Shop(n=1)}


_parts = st.sampled_from(
    [*(value for value, _ in REFUSED.values()), *LOADED.values(), *(NoCopy(), nested(500)), 1, "x"]
)
_values = st.recursive(
    _parts, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(), inner, max_size=2)
)


@given(_values)
def test_what_is_not_refused_is_loaded_in_any_combination(value: Any) -> None:
    for save in (lambda one: user_data({"v": one}), state, button):
        try:
            found = save(value)
        except PersistenceError:
            continue
        assert found
