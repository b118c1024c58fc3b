"""Classes change, and what was stored of their objects before is loaded, or refused with what to do.

The kind of fault: an object that comes back without an attribute that its class has now (whoever copies or prints it
fails, and PTB's saver with it); one that is refused because of a change that pickle would accept; a reason that names
neither class nor field.
"""

from __future__ import annotations

import base64
import copy
import json
import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import samples
from evolutions import EVOLUTIONS, MODULE, PAGE, Evolution, in_page, outcome, table
from roundtrip import portrait, restored, stored

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.errors import DecodeError

earlier = pytest.importorskip("earlier", reason="it needs pydantic, attrs and msgspec")

DOCUMENTS = json.loads(Path(__file__).with_name("earlier_documents.json").read_text(encoding="utf-8"))


@pytest.fixture
def models() -> Iterator[types.ModuleType]:
    """A module whose classes the test changes."""
    module = sys.modules[MODULE] = types.ModuleType(MODULE)
    yield module
    del sys.modules[MODULE]


def become(module: types.ModuleType, source: str) -> Codec:
    """The module has other classes now, and the bot was started anew."""
    vars(module).clear()
    vars(module).update({"__name__": MODULE})
    exec(compile(source, MODULE, "exec", dont_inherit=True), vars(module))
    return Codec([MODULE])


# -- the table -----------------------------------------------------------------------------------------------


def test_the_docs_say_what_happens() -> None:
    written = in_page(PAGE.read_text(encoding="utf-8"))

    assert written == table(), f"run: python {Path(__file__).with_name('evolutions.py').name}"


def test_the_table_is_of_many_changes_and_kinds() -> None:
    assert len({(one.change, one.kind) for one in EVOLUTIONS}) >= 40


@pytest.mark.parametrize("evolution", EVOLUTIONS, ids=lambda one: f"{one.kind}: {one.change}")
def test_what_is_refused_is_refused_with_class_and_remedy(evolution: Evolution) -> None:
    what = outcome(evolution)

    if what.startswith("quarantined"):
        assert "Basket" in what
        assert any(word in what for word in ("give it", "let it", "allow it", "keep it", "aliases="))


# -- what earlier versions have stored -----------------------------------------------------------------------


@pytest.mark.parametrize("name", earlier.VALUES)
def test_what_earlier_versions_have_stored_loads_and_is_then_stored_as_it_is_now(name: str) -> None:
    value = earlier.VALUES[name]

    back = restored(base64.b64decode(DOCUMENTS[name]))

    assert portrait(back) == portrait(value)
    assert stored(back) == stored(value)
    assert b"\x02_py\x00\x07\x00\x00\x00pickle" not in stored(back)


def test_a_pickle_of_an_earlier_version_gets_the_default_of_a_field_that_is_new(models: types.ModuleType) -> None:
    raw = base64.b64decode(DOCUMENTS["attrs"]).replace(b"shaped.Defined", b"my_models.Here")
    source = "import attrs\n@attrs.define\nclass Here:\n a: int\n b: list\n c: int\n double: tuple\n"

    back = restored(raw, become(models, source + " total: int = 5"))

    assert (back.a, back.total) == (1, 5)
    assert copy.deepcopy(back) == back
    with pytest.raises(DecodeError, match=r"my_models.Here has the field 'total'"):
        restored(raw, become(models, source + " total: int"))


# -- methods of the class ------------------------------------------------------------------------------------


def test_a_setstate_gets_what_pickle_hands_over_also_of_what_was_stored_before_it(
    models: types.ModuleType,
) -> None:
    sources = {
        "class A:\n pass": {"a": 1},
        "class A:\n __slots__ = ('a',)": (None, {"a": 1}),
        "class A:\n __slots__ = ('a', '__dict__')": ({"b": 2}, {"a": 1}),
    }
    for source, expected in sources.items():
        before = become(models, source)
        obj = models.A()  # type: ignore[attr-defined]
        obj.a = 1
        if "__dict__" in source:
            obj.b = 2
        raw = stored(obj, before)
        after = become(models, source + "\n def __setstate__(self, state): got.append(state)\ngot = []")

        restored(raw, after)

        assert models.got == [expected]  # type: ignore[attr-defined]


def test_a_setstate_is_not_called_where_pickle_would_not(models: types.ModuleType) -> None:
    source = "class A:\n def __setstate__(self, state): raise ValueError"
    codec = become(models, source)

    assert type(restored(stored(models.A(), codec), codec)) is models.A  # type: ignore[attr-defined]


def test_neither_init_nor_validators_run_with_what_is_stored(models: types.ModuleType) -> None:
    codec = become(
        models,
        "import attrs, pydantic, collections\nfrom dataclasses import dataclass\nran = []\n"
        "@dataclass\nclass A:\n a: int = 1\n def __post_init__(self): ran.append(self)\n"
        "@attrs.define\nclass B:\n a: int = attrs.field(default=1, validator=lambda *args: ran.append(args))\n"
        "class C(pydantic.BaseModel):\n a: int = pydantic.Field(1, gt=0)\n"
        " @pydantic.model_validator(mode='after')\n def check(self): ran.append(self); return self\n"
        "class D(dict):\n def __init__(self, *args): ran.append(args); super().__init__(*args)\n"
        " def __setitem__(self, *args): ran.append(args); super().__setitem__(*args)\n"
        "class E(list):\n def append(self, one): ran.append(one)\n def extend(self, one): ran.append(one)\n"
        "class F(str):\n def __new__(cls, text): ran.append(text); return super().__new__(cls, text)\n",
    )
    values = [models.A(5), models.B(5), models.C(a=5), models.D({"a": 1}), models.E([1]), models.F("x")]  # type: ignore[attr-defined]
    plain = codec.encode(values)
    models.ran.clear()  # type: ignore[attr-defined]
    plain[2]["state"]["a"] = -1  # as somebody else may write it

    back = codec.decode(plain)

    assert models.ran == []  # type: ignore[attr-defined]
    assert back[:2] == values[:2]
    assert back[3:] == values[3:]
    assert back[2].a == -1


def test_a_factory_that_fails_is_named(models: types.ModuleType) -> None:
    codec = become(models, "from dataclasses import dataclass, field\n@dataclass\nclass A:\n a: int = 1")
    raw = stored(models.A(), codec)  # type: ignore[attr-defined]
    codec = become(
        models,
        "from dataclasses import dataclass, field\n@dataclass\nclass A:\n b: int = field(default_factory=lambda: 1/0)",
    )

    with pytest.raises(DecodeError, match=r"the field 'b' of my_models.A cannot be made \(ZeroDivisionError\)"):
        restored(raw, codec)


def test_a_field_that_takes_other_fields_for_its_default_gets_them(models: types.ModuleType) -> None:
    codec = become(models, "import attrs\n@attrs.define\nclass A:\n a: int")
    raw = stored(models.A(3), codec)  # type: ignore[attr-defined]
    codec = become(
        models,
        "import attrs\n@attrs.define\nclass A:\n a: int\n"
        " b: int = attrs.Factory(lambda self: self.a * 2, takes_self=True)",
    )

    assert restored(raw, codec).b == 6


def test_what_a_class_keeps_beside_its_fields_is_no_field_that_is_gone(models: types.ModuleType) -> None:
    codec = become(
        models,
        "import functools, pydantic\nfrom dataclasses import dataclass, field\n"
        "@dataclass\nclass A:\n a: int = 1\n def __post_init__(self): self.double = 2 * self.a\n"
        "class B(pydantic.BaseModel):\n a: int = 1\n"
        " @functools.cached_property\n def double(self): return 2 * self.a\n"
        "@dataclass\nclass C:\n name: str\n _name: str = field(init=False, repr=False)\n"
        " @property\n def name(self): return self._name\n"
        " @name.setter\n def name(self, value): self._name = value\n",
    )
    a, b, c = models.A(), models.B(), models.C("x")  # type: ignore[attr-defined]
    assert b.double == 2

    back = codec.decode(codec.encode([a, b, c]))

    assert (back[0].double, vars(back[1]), back[2].name) == (2, {"a": 1, "double": 2}, "x")
    assert vars(back[2]) == {"_name": "x"}


# -- what is said --------------------------------------------------------------------------------------------


def test_a_field_that_is_gone_is_said_once_for_each_class(caplog: pytest.LogCaptureFixture) -> None:
    codec = Codec(samples.TRUSTED)
    plain = {"_py": "object", "cls": "samples.Slotted", "state": {"a": 1, "b": 1, "gone": 1}}

    for _ in range(3):
        codec.decode([plain, plain])

    assert [record.getMessage() for record in caplog.records] == [
        "samples.Slotted has no field 'gone' any more: what is stored of it is left out, and stays stored"
    ]


def test_fields_that_a_stranger_invents_do_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    codec = Codec(samples.TRUSTED)

    for number in range(1000):
        codec.decode({"_py": "object", "cls": "samples.Slotted", "state": {"a": 1, "b": 1, f"x{number}\n": 1}})

    assert len(caplog.records) == 200
    assert all("\n" not in record.getMessage() for record in caplog.records)


def test_a_member_whose_name_somebody_else_has_changed_is_nothing_to_say(caplog: pytest.LogCaptureFixture) -> None:
    codec = Codec(samples.TRUSTED)

    assert codec.decode({"_py": "enum", "cls": "samples.Word", "name": "DOLLAR", "v": "hello"}) is samples.Word.DOLLAR
    assert not caplog.records


def test_the_reason_that_a_copy_fails_names_class_and_attribute(models: types.ModuleType) -> None:
    codec = become(
        models,
        "class A:\n a = 1\n def __getstate__(self): return {'a': self.lock}\n def __setstate__(self, state): pass",
    )
    raw = dump({"data": {"_py": "object", "cls": f"{MODULE}.A", "state": {"a": 1}}})
    value = codec.decode_body(raw, load(raw))

    with pytest.raises(DecodeError, match="a A has no 'lock'"):
        codec.check_usable(value, copied=True)


# -- what a class promises is kept ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "state",
    [
        {"name": 1, "__pydantic_fields_set__": [1]},
        {"name": 1, "__pydantic_fields_set__": {"_py": "set", "v": [1]}},
        {"name": 1, "__pydantic_extra__": [1]},
        {"name": 1, "__pydantic_private__": {"%i1": 1}},
    ],
    ids=str,
)
def test_what_pydantic_keeps_for_itself_is_of_its_types_or_refused(state: dict[str, Any]) -> None:
    with pytest.raises(DecodeError, match="pydantic"):
        Codec(samples.TRUSTED).decode({"_py": "object", "cls": "shaped.OpenModel", "state": state})
