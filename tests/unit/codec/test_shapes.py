"""Objects are documents of their fields: to be queried and edited by whoever reads the page on the storage format.

The kind of fault: an opaque binary in the place of what has fields; bytes that depend on what an object has been asked;
a value that a bot could store before, and cannot now.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import datetime as dtm
from typing import Any

import pytest
import samples
from roundtrip import CODEC, portrait, restored, round_trip, stored

from ptb_mongo.codec import Codec
from ptb_mongo.codec.objects import attributes_of
from ptb_mongo.codec.shapes import BASES
from ptb_mongo.errors import DecodeError, EncodeError

shaped = pytest.importorskip("shaped", reason="it is about classes of pydantic, attrs and msgspec, too")

MIDNIGHT = dtm.datetime(2024, 1, 1, tzinfo=dtm.timezone.utc)
FORMS: dict[str, tuple[Any, dict[str, Any]]] = {
    "model": (
        shaped.Model(name="x", score=1, tags=["a"]),
        {"_py": "object", "cls": "shaped.Model", "state": {"name": "x", "score": 1, "tags": ["a"]}},
    ),
    "model with a default": (
        shaped.Model(name="x"),
        {
            "_py": "object",
            "cls": "shaped.Model",
            "state": {"name": "x", "score": 0, "tags": [], "__pydantic_fields_set__": {"_py": "set", "v": ["name"]}},
        },
    ),
    "attrs": (
        shaped.FrozenDefined(1),
        {"_py": "object", "cls": "shaped.FrozenDefined", "state": {"a": 1, "b": None}},
    ),
    "struct": (shaped.Struct(1), {"_py": "object", "cls": "shaped.Struct", "state": {"a": 1, "b": []}}),
    "state": (samples.WithLock(1), {"_py": "object", "cls": "samples.WithLock", "state": {"a": 1}}),
    "state as a tuple": (
        samples.InSlots(1, 2),
        {"_py": "object", "cls": "samples.InSlots", "state": {"_py": "tuple", "v": [1, 2]}},
    ),
    "dict": (samples.Table(a=1), {"_py": "dict", "cls": "samples.Table", "v": {"a": 1}}),
    "dict of pairs": (
        samples.Table({(1,): 1}),
        {"_py": "dict", "cls": "samples.Table", "v": {"_py": "dict", "v": [[{"_py": "tuple", "v": [1]}, 1]]}},
    ),
    "list": (samples.Named([1], "n"), {"_py": "list", "cls": "samples.Named", "v": [1], "state": {"name": "n"}}),
    "set": (samples.Tags({2, 1}), {"_py": "set", "cls": "samples.Tags", "v": [1, 2]}),
    "deque": (samples.Ring([1], 3), {"_py": "deque", "cls": "samples.Ring", "maxlen": 3, "v": [1]}),
    "tuple": (samples.Vector(1, 2), {"_py": "tuple", "cls": "samples.Vector", "v": [1, 2]}),
    "str": (samples.Title("x"), {"_py": "str", "cls": "samples.Title", "v": "x"}),
    "int": (samples.Number(5), {"_py": "int", "cls": "samples.Number", "v": 5}),
    "float": (samples.ratio(1.5, "m"), {"_py": "float", "cls": "samples.Ratio", "v": 1.5, "state": {"unit": "m"}}),
    "bytes": (samples.Blob(b"x"), {"_py": "bytes", "cls": "samples.Blob", "v": b"x"}),
    "date": (samples.Day(2024, 1, 1), {"_py": "date", "cls": "samples.Day", "v": MIDNIGHT}),
    "datetime": (
        samples.Moment(2024, 1, 1, tzinfo=dtm.timezone.utc),
        {"_py": "datetime", "cls": "samples.Moment", "v": MIDNIGHT},
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_an_object_is_a_document_of_its_fields(name: str) -> None:
    value, form = FORMS[name]

    assert CODEC.encode({"x": value}) == {"x": form}
    assert portrait(CODEC.decode({"x": form})["x"]) == portrait(value)


@pytest.mark.parametrize("name", FORMS)
def test_a_form_without_its_parts_is_refused(name: str) -> None:
    _, form = FORMS[name]
    for field in form.keys() - {"_py", "cls"}:
        for other in ({}, {field: object}, {field: [[]]}, {field: {"_py": "tuple", "v": []}}):
            damaged = {key: value for key, value in form.items() if key != field} | other
            with contextlib.suppress(DecodeError):
                value = CODEC.decode({"x": damaged})
                assert type(value["x"]).__module__ in {"samples", "shaped"}


def test_what_a_cached_property_has_computed_changes_nothing() -> None:
    obj = shaped.Defined(1)
    raw = stored(obj)

    assert obj.costly == [1]

    assert stored(obj) == stored(copy.deepcopy(obj)) == raw


def test_storing_an_object_does_not_compute_what_it_has_not_computed_yet() -> None:
    obj = shaped.Defined(samples.Trap())
    Codec([shaped.Defined, samples.Trap]).encode(obj)

    with pytest.raises(AttributeError):
        object.__getattribute__(obj, "costly")


@pytest.mark.parametrize("cls", [shaped.FrozenDefined, shaped.FrozenOpen])
def test_a_hash_that_attrs_remembers_is_not_that_of_another_process(cls: Any) -> None:
    obj = cls("x")
    hash(obj)

    plain = CODEC.encode(obj)
    back = CODEC.decode(plain)

    assert plain["state"].get("_attrs_cached_hash") is None
    assert object.__getattribute__(back, "_attrs_cached_hash") is None
    assert hash(back) == hash(obj)


@pytest.mark.parametrize("make", [lambda: shaped.Defined(1), lambda: shaped.Struct(1), lambda: samples.WithLock(1)])
def test_an_object_that_leads_back_to_itself_does_so_again(make: Any) -> None:
    """As a pickle, in which it was stored before objects of its class had fields."""
    obj = make()
    obj.a = [obj]

    back = round_trip({"x": [obj]})["x"][0]

    assert back.a[0] is back


def test_a_plain_object_in_a_circle_is_refused_and_the_next_one_stored() -> None:
    obj = samples.Bare()
    obj.me = [obj]

    with pytest.raises(EncodeError, match="contains itself"):
        stored(obj)
    assert round_trip(samples.Bare(a=1)).a == 1


def test_a_plain_object_in_a_circle_around_one_that_is_pickled_is_stored_with_it() -> None:
    plain, other = samples.Bare(), shaped.Defined(1)
    plain.other, other.a = [other], [plain]

    (back,) = round_trip(plain).other

    assert back.a[0].other[0] is back


@pytest.mark.parametrize("kind", ["int", "tuple"])
def test_a_long_number_of_a_subclass_is_not_compared_with_others_of_its_hash(kind: str) -> None:
    number = {"_py": "int", "cls": "samples.Number", "v": {"_py": "int", "v": hex((2**61 - 1) << 100_000)}}
    others: list[Any] = [{"_py": "decimal", "v": str(count * (2**61 - 1))} for count in range(20)]
    if kind == "tuple":
        number, *others = ({"_py": "tuple", "cls": "samples.Vector", "v": [one]} for one in (number, *others))

    with pytest.raises(DecodeError, match="take too long to be compared"):
        CODEC.decode({"_py": "set", "v": [number, *others]})


@pytest.mark.parametrize("tag", ["list", "dict", "float", "bytes", "str", "int", "date", "set"])
@pytest.mark.parametrize(
    "cls", ["builtins.list", "bson.code.Code", "telegram.User", "telegram.error.BadRequest", "os.system"]
)
def test_a_form_of_a_subclass_is_of_a_trusted_subclass(tag: str, cls: str) -> None:
    inside = {"list": [], "dict": {}, "float": 1.5, "bytes": b"", "str": "", "int": 1, "date": MIDNIGHT, "set": []}

    with pytest.raises(DecodeError):
        CODEC.decode({"_py": tag, "cls": cls, "v": inside[tag]})


def test_a_planted_attribute_never_stands_in_the_place_of_a_method() -> None:
    for form in (form for _, form in FORMS.values() if form["_py"] != "object" or type(form["state"]) is dict):
        for hook in ("__deepcopy__", "__reduce_ex__"):
            planted = {**form, "state": {**form.get("state", {}), hook: 1}}
            with contextlib.suppress(DecodeError):
                assert hook not in getattr(CODEC.decode(planted), "__dict__", ())


MADE_BY_A_CALL = [
    samples.NamedDay(2020, 1, 1),
    samples.Stamped(2020, 5, 1, tzinfo=dtm.timezone.utc),
    samples.Shift(5),
    samples.Term(15),
    samples.Limited("aab"),
    samples.LimitedDefaults(list, {"a": [1]}),
]


@pytest.mark.parametrize("value", MADE_BY_A_CALL, ids=lambda value: type(value).__name__)
def test_what_a_constructor_sets_comes_back_as_from_a_copy(value: Any) -> None:
    expected = attributes_of(copy.deepcopy(value))

    back = round_trip({"x": value})["x"]

    assert expected
    assert (back, attributes_of(back)) == (value, expected)
    assert stored(copy.deepcopy(value)) == stored(value) == stored(back)


@pytest.mark.parametrize("value", MADE_BY_A_CALL, ids=lambda value: type(value).__name__)
def test_what_was_stored_before_the_class_had_a_constructor_loads(value: Any) -> None:
    base = next(cls for cls in type(value).__mro__ if cls.__module__ in {"datetime", "collections"})
    plain = CODEC.encode(base(list, value) if base is collections.defaultdict else BASES[base](value))
    plain = plain if type(plain) is dict else {"_py": base.__name__, "v": plain}

    back = CODEC.decode({**plain, "cls": f"samples.{type(value).__name__}"})

    assert type(back) is type(value)
    assert back == value


def test_a_constructor_that_sets_nothing_is_no_reason_to_hide_the_elements() -> None:
    assert CODEC.encode(samples.Counted("aab")) == {"_py": "Counter", "cls": "samples.Counted", "v": {"a": 2, "b": 1}}


class Demanding(set):
    """What a copy of this cannot be made of."""

    def __init__(self, first: Any, second: Any) -> None:
        super().__init__((first, second))


@pytest.mark.parametrize(
    "value",
    [*(value for value, _ in FORMS.values()), Demanding(1, 2), samples.Stateful(1), samples.Migrated(1)],
    ids=lambda value: type(value).__name__,
)
def test_an_object_whose_class_takes_part_is_proven_usable_before_it_is_stored(value: Any) -> None:
    codec = Codec([*samples.TRUSTED, Demanding])

    raw = stored({"x": [value]}, codec)

    assert codec.may_not_load
    back = restored(raw, codec)
    assert codec.doubtful
    if type(value) is Demanding:
        with pytest.raises(DecodeError, match="cannot be copied"):
            codec.check_usable(back, copied=True)
    else:
        codec.check_usable(back, copied=True)


def test_an_object_without_a_field_that_it_needs_is_proven_usable_and_is_not() -> None:
    obj = samples.Plain(1)
    del obj.a

    raw = stored(obj)

    assert CODEC.may_not_load
    with pytest.raises(DecodeError, match=r"samples\.Plain has the field 'a'"):
        restored(raw)


@pytest.mark.parametrize("v", [[], [1], [1, 2, 3]], ids=len)
def test_a_tuple_of_another_length_is_no_named_tuple(v: list[Any]) -> None:
    with pytest.raises(DecodeError, match=r"samples\.Point is a named tuple now"):
        CODEC.decode({"_py": "tuple", "cls": "samples.Point", "v": v})


def test_validators_do_not_run_when_a_model_is_restored() -> None:
    samples.FIRED.clear()
    raw = stored(shaped.StrictModel.model_construct(age=-5))

    assert restored(raw).age == -5
    assert samples.FIRED == []
