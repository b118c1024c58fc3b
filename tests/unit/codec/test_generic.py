"""Objects of generic classes are stored, or refused with what to do.

The kind of fault: what `typing` and pydantic add to a class that is given its types, an attribute or a class of its
own, is taken for the user's. Then such an object cannot be stored, or another program does not find its class.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from roundtrip import restored, stored

from ptb_mongo.codec import Codec
from ptb_mongo.errors import EncodeError

models = pytest.importorskip("generic_models", reason="it needs pydantic, attrs and msgspec")
CODEC = Codec(["generic_models"])
OF_FLOATS = models.Model[float]  # at the top level, so that it belongs to this module
NAMES = ["Data", "Slotted", "Defined", "Struct", "Elements", "Tally", "Reduced", "Stateful"]


@pytest.mark.parametrize("name", NAMES)
def test_an_object_that_was_made_with_types_is_stored_as_one_without(name: str) -> None:
    cls = getattr(models, name)
    argument: Any = "x"

    raw = stored(cls[str](argument), CODEC)

    assert raw == stored(cls(argument), CODEC)
    assert stored(restored(raw, CODEC), CODEC) == raw
    assert stored(copy.deepcopy(cls[str](argument)), CODEC) == raw


def test_the_object_keeps_what_typing_has_left_in_it() -> None:
    for name in ("Data", "Stateful"):
        obj = getattr(models, name)[int](1)
        stored(obj, CODEC)

        assert obj.__orig_class__ == getattr(models, name)[int]


def test_a_generic_model_of_pydantic_is_refused_where_others_would_not_find_it() -> None:
    for cls, name in ((models.Model[int], "int"), (OF_FLOATS, "float")):
        for codec in (CODEC, Codec([__name__]), Codec([])):
            with pytest.raises(EncodeError, match=rf"class MyModel\(Model\[{name}\]\)") as refused:
                stored(cls(x=1), codec)
            assert f"trusted=[Model[{name}]]" in str(refused.value)


def test_one_that_is_trusted_itself_has_the_same_name_whoever_writes_it_first() -> None:
    codec = Codec([OF_FLOATS])

    plain = codec.encode(OF_FLOATS(x=1))

    assert OF_FLOATS.__module__ != "generic_models"
    assert plain["cls"] == "generic_models.Model[float]"
    assert codec.decode(plain) == OF_FLOATS(x=1)
    earlier = {**plain, "cls": f"{OF_FLOATS.__module__}.Model[float]"}
    assert codec.decode(earlier) == OF_FLOATS(x=1)


def test_a_class_that_derives_from_one_and_one_that_its_own_module_makes_are_found() -> None:
    for cls in (models.OfText, models.Model[str], models.Model):
        raw = stored(cls(x="a"), CODEC)

        assert type(restored(raw, CODEC)) is cls
