"""`exclude` leaves out what a path names, wherever it stands, and nothing else.

The kind: a value that is excluded, in each thing that a path goes through (dicts of all kinds, objects of all kinds),
at each depth. Before encoding it need not be storable, before decoding it need not be readable, and in the live object
it is the same object for ever.
"""

from __future__ import annotations

import asyncio
import collections
import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptb_mongo import ConfigurationError
from ptb_mongo.codec import Codec, dump
from ptb_mongo.codec.left_out import LEFT_OUT
from ptb_mongo.errors import DecodeError, EncodeError
from ptb_mongo.health import Counters
from ptb_mongo.migration.skipping import leave_out
from ptb_mongo.replica.patch import bring_into
from ptb_mongo.scopes.data import DataScope
from ptb_mongo.scopes.exclusion import Exclusion

CODEC = Codec([__name__])
LOCK = asyncio.Lock()


@dataclass
class Session:
    number: int = 0
    lock: Any = None
    inner: Any = None


@dataclass(frozen=True)
class Frozen:
    number: int = 0
    lock: Any = None
    inner: Any = None


@dataclass(slots=True)
class Slotted:
    number: int = 0
    lock: Any = None
    inner: Any = None


class Plain:
    def __init__(self, **attributes: Any) -> None:
        self.__dict__.update(attributes)

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Needy:
    lock: Any


def counter(**entries: Any) -> Any:
    return collections.Counter(entries)


def with_default(**entries: Any) -> Any:
    return collections.defaultdict(list, entries)


HOLDERS = {
    "a dict": dict,
    "an ordered dict": collections.OrderedDict,
    "a counter": counter,
    "a dict with a default": with_default,
    "a dataclass": Session,
    "a frozen dataclass": Frozen,
    "a dataclass with slots": Slotted,
    "a plain object": Plain,
}


def stored(exclusion: Exclusion, data: Any) -> Any:
    return exclusion.stripped(CODEC.encode(exclusion.without(data)))


@pytest.mark.parametrize("outer", HOLDERS)
@pytest.mark.parametrize("inner", HOLDERS)
def test_what_a_path_names_is_left_out_of_whatever_holds_it(outer, inner):
    one, other = HOLDERS[outer], HOLDERS[inner]
    exclusion = Exclusion({"lock", "session.lock", "session.inner.lock"})
    data = {"session": one(number=1, lock=LOCK, inner=other(number=2, lock=LOCK)), "lock": LOCK, "n": 1}

    plain = stored(exclusion, data)

    assert "'lock'" not in repr(plain)
    assert all(f"'number': {number}" in repr(plain) for number in (1, 2))
    held = data["session"]["lock"] if isinstance(data["session"], dict) else data["session"].lock
    assert held is LOCK  # the live object has it still
    assert list(data) == ["session", "lock", "n"]


PATHS = [
    ("a", {"a": LOCK, "b": 1}, {"b": 1}),
    ("*", {"a": LOCK, "b": LOCK}, {}),
    ("*.lock", {"a": {"lock": LOCK, "n": 1}, "b": 2, "c": Plain(lock=LOCK)}, {"a": {"n": 1}, "b": 2, "c": Plain()}),
    ("a.*.lock", {"a": {5: {"lock": LOCK}, "x": {}}, "lock": 1}, {"a": {5: {}, "x": {}}, "lock": 1}),
    ("5", {5: LOCK, "x": 1}, {"x": 1}),
    ("5", {"5": LOCK, "x": 1}, {"x": 1}),
    ("%btrue", {True: LOCK, 2: 1}, {2: 1}),
    ("%none", {None: LOCK}, {}),
    ("%empty", {"": LOCK, "x": 1}, {"x": 1}),
    ("a%2Eb", {"a.b": LOCK, "a": {"b": 1}}, {"a": {"b": 1}}),
    ("a.b", {"a.b": 1, "a": {"b": LOCK}}, {"a.b": 1, "a": {}}),
    ("a%25", {"a%": LOCK}, {}),
    ("%2A", {"*": LOCK, "x": 1}, {"x": 1}),
    ("$x", {"$x": LOCK, "x": 1}, {"x": 1}),
    ("_py", {"_py": LOCK, "x": 1}, {"x": 1}),
    ("v", {"v": LOCK, "c": collections.Counter(v=1)}, {"c": collections.Counter(v=1)}),
    ("c.v", {"v": 1, "c": collections.Counter(v=1, w=2)}, {"v": 1, "c": collections.Counter(w=2)}),
    ("state", {"o": Plain(state=1), "state": LOCK}, {"o": Plain(state=1)}),
    ("o.state.x", {"o": Plain(state={"x": LOCK, "y": 1})}, {"o": Plain(state={"y": 1})}),
    ("a.lock", {"a": [{"lock": 1}], "b": ({"lock": 1},)}, {"a": [{"lock": 1}], "b": ({"lock": 1},)}),
    ("lock", {(1, 2): "x", "lock": LOCK}, {(1, 2): "x"}),
    ("a.lock", {"a": {(1, 2): 3, "lock": LOCK}}, {"a": {(1, 2): 3}}),
    ("*.lock", {(1, 2): {"lock": LOCK}, (3, 4): {"n": 1}}, {(1, 2): {}, (3, 4): {"n": 1}}),
    ("a.b.c", {"a": 5, "b": None}, {"a": 5, "b": None}),
]


@pytest.mark.parametrize(("path", "data", "left"), PATHS)
def test_a_path_names_keys_and_attributes_as_they_are_written(path, data, left):
    plain = stored(Exclusion({path}), data)

    assert CODEC.decode(plain) == left
    assert plain == CODEC.encode(left)


@pytest.mark.parametrize(
    ("path", "plain"),
    [
        ("a%2Eb", {"a.b": 1, "n": 1}),
        ("$x", {"$x": 1, "n": 1}),
        ("%empty", {"": 1, "n": 1}),
        ("s.lock", {"s": {"lock": {"_py": "object", "cls": "gone.Lock", "state": {}}}, "n": 1}),
        ("s.lock", {"s": {"_py": "object", "cls": f"{__name__}.Plain", "state": {"lock": {"_py": "no form"}}}, "n": 1}),
    ],
)
def test_what_others_have_stored_there_is_taken_out_whatever_it_is(path, plain):
    left = CODEC.decode(Exclusion({path}).stripped(plain))

    assert left["n"] == 1
    assert left.get("s") in (None, {}, Plain())
    assert set(left) <= {"s", "n"}


def test_what_is_not_there_costs_no_copy():
    exclusion = Exclusion({"a.b", "*.c"})
    data = {"a": {"x": [1]}, "o": Plain(n=1)}

    assert exclusion.without(data) is data
    assert exclusion.stripped(plain := CODEC.encode(data)) is plain


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("", "%empty"),
        ("a..b", "%empty"),
        ("a.b*", "%2A"),
        ("a.**", r"\* is any one key"),
        (5, "as text"),
        (".".join("a" * 30), "30 keys"),
    ],
)
def test_a_path_that_cannot_be_used_is_refused_at_the_start(path, says):
    with pytest.raises(ConfigurationError, match=says):
        Exclusion({path})


class Whole:
    """Is stored in one piece."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock

    def __reduce__(self) -> Any:
        return Whole, (self.lock,)


def test_an_object_that_is_stored_in_one_piece_can_only_be_excluded_as_a_whole():
    with pytest.raises(TypeError, match="exclude all of it"):
        stored(Exclusion({"w.lock"}), {"w": Whole(5)})
    assert stored(Exclusion({"w"}), {"w": Whole(LOCK)}) == {}


def test_a_document_has_its_canonical_form_whatever_is_excluded_in_it():
    scope = DataScope("user_data", "user_data", CODEC, Counters(), new=dict, excluded={"cache"})
    unreadable = {"_py": "object", "cls": "gone.Cache", "state": {}}

    plain = scope.canonical(dump({"data": {"tags": {"_py": "set", "v": [3, 1]}, "cache": unreadable}}))

    assert plain == {"data": {"tags": {"_py": "set", "v": [1, 3]}}}


def objects_of(library: str) -> list[Any]:
    """Objects of classes that are made by a library, and hold a lock."""
    module: Any = pytest.importorskip(library)
    fields: Any = {"number": (int, 0), "lock": (Any, None)}
    made = []
    for frozen in (False, True):
        if library == "msgspec":
            kind = module.defstruct("S", [("number", int), ("lock", Any)], frozen=frozen)
        elif library == "attrs":
            kind = module.make_class("A", [*fields], slots=True, frozen=frozen)
        else:
            kind = module.create_model("M", __config__={"frozen": frozen}, **fields)
        made.append(kind(number=1, lock=LOCK))
    return made


@pytest.mark.parametrize("library", ["msgspec", "attrs", "pydantic"])
def test_an_object_of_a_librarys_class_is_encoded_without_it_and_keeps_it(library):
    for obj in objects_of(library):
        exclusion = Exclusion({"o.lock"})
        live = {"o": obj}

        other = exclusion.without(live)["o"]

        assert (type(other), other.number, other.lock) == (type(obj), 1, LEFT_OUT)
        assert obj.lock is LOCK
        held = exclusion.held(live)
        live["o"] = other  # as a refresh would replace it
        exclusion.put_back(live, held)
        assert other.lock is LOCK


# -- attributes of objects of all kinds ------------------------------------------------------------------


class Own(dict):  # type: ignore[type-arg]
    lock: Any = None

    def __setitem__(self, key: Any, value: Any) -> None:
        raise AssertionError("no method of its own is called")

    __delitem__ = pop = __setitem__  # type: ignore[assignment]


class Ordered(collections.OrderedDict):  # type: ignore[type-arg]
    lock: Any = None


class Items(list):  # type: ignore[type-arg]
    lock: Any = None


class Tags(set):  # type: ignore[type-arg]
    lock: Any = None


class Queue(collections.deque):  # type: ignore[type-arg]
    lock: Any = None


class Word(str):  # noqa: SLOT000
    lock: Any = None


class Named(NamedTuple("Named", [("number", int)])):  # noqa: SLOT002
    lock: Any = None


class Stated:
    """Says itself what its state is."""

    lock: Any = None

    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> Any:
        return dict(vars(self))

    def __setstate__(self, state: Any) -> None:
        vars(self).update(state)


@functools.cache
def class_of(library: str, *, private: bool = False) -> Any:
    module: Any = pytest.importorskip(library)
    fields: Any = {"number": (int, 1), "lock": (Any, None)}
    if library == "msgspec":
        cls = module.defstruct("S", [("number", int, 1), ("lock", Any, None)], kw_only=True)
    elif library == "attrs":
        cls = module.make_class("A", {n: module.field(default=d) for n, (_, d) in fields.items()}, slots=True)
    else:
        fields |= {"_lock": (Any, module.PrivateAttr(default=None))} if private else {}
        cls = module.create_model("P" if private else "M", **fields)
    cls.__module__, cls.__qualname__ = __name__, cls.__name__
    globals()[cls.__name__] = cls
    return cls


def made_of(library: str, *, private: bool = False) -> Any:
    return class_of(library, private=private)()


ATTRIBUTES: dict[str, tuple[Any, str]] = {
    "a subclass of dict": (lambda: Own({"number": 1}), "lock"),
    "a subclass of dict with odd keys": (lambda: Own({(1, 2): 3}), "lock"),
    "a subclass of OrderedDict": (lambda: Ordered(number=1), "lock"),
    "a subclass of list": (lambda: Items([1, 2]), "lock"),
    "a subclass of set": (lambda: Tags({1, 2}), "lock"),
    "a subclass of deque": (lambda: Queue([1, 2], 5), "lock"),
    "a subclass of str": (lambda: Word("tea"), "lock"),
    "a named tuple with attributes": (lambda: Named(1), "lock"),
    "an object with a state of its own": (lambda: Stated(1), "lock"),
    "a model of pydantic": (lambda: made_of("pydantic"), "lock"),
    "a private attribute of pydantic": (lambda: made_of("pydantic", private=True), "__pydantic_private__._lock"),
    "an object of attrs": (lambda: made_of("attrs"), "lock"),
    "a struct of msgspec": (lambda: made_of("msgspec"), "lock"),
}


@pytest.mark.parametrize("kind", ATTRIBUTES)
@pytest.mark.parametrize("anything", [False, True])
def test_an_attribute_is_not_stored_and_the_live_one_stays(kind, anything):
    make, path = ATTRIBUTES[kind]
    steps = path.split(".")
    exclusion = Exclusion(
        {f"it.{path}", f"*.{path}", f"it.{'*.' * (len(steps) - 1)}lock"} if anything else {f"it.{path}"}
    )
    live = {"it": make(), "n": 1}
    setattr(live["it"], steps[-1], LOCK)

    plain = stored(exclusion, live)
    back = CODEC.decode(plain)

    if kind != "a model of pydantic":  # which remembers that the field was set
        assert steps[-1] not in repr(plain)
        assert plain == exclusion.stripped(CODEC.encode({**live, "it": make()}))  # as if it had never been there
    assert dump({"data": plain})
    assert type(back["it"]) is type(live["it"])
    assert getattr(back["it"], steps[-1]) is None
    assert getattr(live["it"], steps[-1]) is LOCK
    brought(exclusion, live, {"n": 2, "it": back["it"]})
    assert (live["n"], getattr(live["it"], steps[-1])) == (2, LOCK)
    held = exclusion.held(live)
    live["it"] = back["it"]  # as a refresh may replace it
    exclusion.put_back(live, held)
    assert getattr(live["it"], steps[-1]) is LOCK


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_the_error_names_the_path_that_leaves_it_out(kind):
    make, path = ATTRIBUTES[kind]
    live = {"it": make(), "n": 1}
    setattr(live["it"], path.rpartition(".")[2], LOCK)
    with pytest.raises(EncodeError) as caught:
        CODEC.encode(live)

    reason = CODEC.explained(live, caught.value, "user_data").reason

    path = "it" if isinstance(live["it"], Stated) else f"it.{path}"  # what it calls its state may be anything
    assert reason.startswith("a Lock cannot be stored")
    assert f'exclude={{"user_data": {{"{path}"}}}}' in reason
    stored(Exclusion({path}), live)


@pytest.mark.parametrize("kind", ATTRIBUTES)
def test_what_is_skipped_in_an_import_goes_alone(kind):
    make, path = ATTRIBUTES[kind]
    data = {"it": make(), "n": 1}
    setattr(data["it"], path.rpartition(".")[2], LOCK)

    (left,) = leave_out(data, CODEC)

    assert left.path.startswith("it.")
    back = CODEC.decode(CODEC.encode(data))
    whole = data.get("it") is None
    assert whole == (kind in {"an object with a state of its own", "a struct of msgspec"})
    assert back["n"] == 1


def test_what_a_class_cannot_do_without_is_skipped_with_all_of_it():
    data = {"a": Needy(LOCK), "b": Own({"lock": LOCK, "n": 1}), "c": Items([1, LOCK])}

    leave_out(data, CODEC)

    assert CODEC.decode(CODEC.encode(data)) == {"b": {"n": 1}, "c": [1]}


def test_a_path_means_the_entry_as_well_as_the_attribute():
    own = Own({"lock": LOCK, "n": 1})
    own.lock = LOCK
    exclusion = Exclusion({"own.lock"})

    plain = stored(exclusion, {"own": own})

    assert plain == {"own": {"_py": "dict", "cls": f"{__name__}.Own", "v": {"n": 1}}}
    assert [(one.is_entry, one.name) for one in exclusion.held({"own": own})] == [(True, "lock"), (False, "lock")]
    live = {"own": own}
    brought(exclusion, live, {"own": Own({"n": 2})})
    assert dict(live["own"]) == {"lock": LOCK, "n": 2}
    assert live["own"].lock is LOCK


def test_a_field_of_a_named_tuple_cannot_be_left_out():
    data = {"it": Named(5)}

    assert stored(Exclusion({"it.number", "*.number"}), data) == CODEC.encode(data)


def test_what_a_class_cannot_do_without_is_refused_at_the_save_and_not_at_the_next_start():
    for obj in objects_of("attrs")[:1]:
        cls: Any = type(obj)
        cls.__module__, cls.__qualname__ = __name__, cls.__name__
        globals()[cls.__name__] = cls
        codec = Codec([cls])
        exclusion = Exclusion({"o.lock"})

        plain = exclusion.stripped(codec.encode(exclusion.without({"o": obj})))

        assert codec.may_not_load  # so that it is tried
        with pytest.raises(DecodeError, match="'lock', which is not stored"):
            codec.decode(plain)


# -- the live object -----------------------------------------------------------------------------------------


def brought(exclusion: Exclusion, live: Any, after: Any) -> None:
    held = exclusion.held(live)
    bring_into(live, stored(exclusion, live), stored(exclusion, after), CODEC.decode)
    exclusion.put_back(live, held)


@pytest.mark.parametrize("kind", HOLDERS)
def test_a_live_object_keeps_its_excluded_values_through_any_change_of_others(kind):
    exclusion = Exclusion({"session.lock"})
    make = HOLDERS[kind]
    live = {"session": make(number=1, lock=LOCK, inner={"x": 1}), "n": 1}
    session = live["session"]

    brought(exclusion, live, {"n": 2, "session": make(number=2, lock="theirs", inner={"y": 1}), "new": 1})

    now = live["session"]
    assert (now["lock"] if isinstance(now, dict) else now.lock) is LOCK
    assert (now["number"] if isinstance(now, dict) else now.number) == 2
    assert kind == "a frozen dataclass" or now is session


def test_what_is_replaced_by_another_of_its_kind_gets_the_excluded_values_of_the_old_one():
    exclusion = Exclusion({"session.lock", "lock"})
    live = {(1, 2): 3, "session": {(1, 2): "a", "lock": LOCK}, "lock": LOCK}

    brought(exclusion, live, {(1, 2): 4, "session": {(1, 2): "b"}})

    assert live == {(1, 2): 4, "session": {(1, 2): "b", "lock": LOCK}, "lock": LOCK}


def test_what_is_replaced_by_something_else_gets_nothing_of_it():
    live = {"session": Session(1, LOCK)}

    brought(Exclusion({"session.lock"}), live, {"session": {"a": 1}})

    assert live == {"session": {"a": 1}}


KEYS = st.sampled_from(["a", "b", "c", 1, "a.b", "", "$", "%"])
TREES = st.recursive(
    st.integers(0, 3) | st.text(max_size=2),
    lambda inside: (
        st.dictionaries(KEYS, inside, max_size=4)
        | st.lists(inside, max_size=2)
        | st.builds(Session, inside, inside)
        | st.builds(lambda one, other: Plain(a=one, b=other), inside, inside)
        | st.dictionaries(KEYS, inside, max_size=3).map(collections.OrderedDict)
    ),
    max_leaves=12,
)
ONE = st.sampled_from(["a", "b", "*", "number", "lock", "1", "a%2Eb", "%empty"])


@given(
    st.dictionaries(KEYS, TREES, max_size=4),
    st.dictionaries(KEYS, TREES, max_size=4),
    st.sets(st.lists(ONE, min_size=1, max_size=3).map(".".join), max_size=3),
)
def test_whatever_is_excluded_storing_and_refreshing_agree(one, other, paths):
    exclusion = Exclusion(paths)
    plain = stored(exclusion, one)

    assert exclusion.stripped(CODEC.encode(one)) == plain  # both ways leave out the same
    assert stored(exclusion, CODEC.decode(plain)) == plain
    before = [(place.steps, place.is_entry, place.name, id(place.value)) for place in exclusion.held(one)]
    brought(exclusion, one, CODEC.decode(plain))
    assert [(place.steps, place.is_entry, place.name, id(place.value)) for place in exclusion.held(one)] == before
    brought(exclusion, one, other)
    assert CODEC.decode(stored(exclusion, one)) == CODEC.decode(stored(exclusion, other))
