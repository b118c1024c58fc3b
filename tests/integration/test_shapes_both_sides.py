"""Two sides edit objects of every kind of class at once, each a different field, and both changes stay.

The kind of fault: an object is stored as one value, so that the last save undoes the other change; an object that
promises not to change does change; the server refuses the update.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
from stored import data_in, edit, put
from telegram.ext import ContextTypes

from ptb_mongo.codec import Codec

for _library in ("pydantic", "attrs", "msgspec"):
    pytest.importorskip(_library, reason="it is about classes of three libraries")

SOURCE = """
import attrs, msgspec, pydantic
from typing import Any, NamedTuple

class Model(pydantic.BaseModel):
    a: Any = 1
    b: Any = 1

class FrozenModel(Model):
    model_config = pydantic.ConfigDict(frozen=True)

@attrs.define
class Defined:
    a: Any = 1
    b: Any = 1

class Struct(msgspec.Struct):
    a: Any = 1
    b: Any = 1

class Point(NamedTuple):
    a: Any = 1
    b: Any = 1

class Stateful:
    def __init__(self, a=1, b=1): self.a, self.b = a, b
    def __getstate__(self): return {"a": self.a, "b": self.b}
    def __setstate__(self, state): self.a, self.b = state["a"], state["b"]
    def __eq__(self, other): return (self.a, self.b) == (other.a, other.b)

class Table(dict):
    pass

class Row(list):
    pass
"""


def _module() -> types.ModuleType:
    module = sys.modules["both_sides_models"] = types.ModuleType("both_sides_models")
    exec(compile(SOURCE, "both_sides_models", "exec", dont_inherit=True), vars(module))
    return module


m: Any = _module()
CODEC = Codec(["both_sides_models"])
CLASSES = [m.Model, m.FrozenModel, m.Defined, m.Struct, m.Point, m.Stateful]


def changed(obj: Any, b: Any) -> Any:
    return type(obj)(a=obj.a, b=b)


@pytest.mark.parametrize("order", ["unseen", "unsaved"])
async def test_what_both_sides_change_in_one_object_is_kept(
    start: Callable[..., Any], database: Any, mode: str, order: str
) -> None:
    put(database, {cls.__name__: cls() for cls in CLASSES} | {"Table": m.Table(a=1), "Row": m.Row([1])}, CODEC)

    def change(context: Any) -> None:
        data = context.user_data
        for cls in CLASSES:
            data[cls.__name__] = changed(data[cls.__name__], "bot")
        data["Table"]["b"] = "bot"
        data["Row"].append("bot")

    bot = await start(refresh=mode, trusted=["both_sides_models"])
    await bot.hears(change)
    fields = {f"data.{cls.__name__}.{'v' if cls is m.Point else 'state'}.a": "panel" for cls in CLASSES}
    edit(database, {"$set": {**fields, "data.Table.v.a": "panel", "data.Row.v.0": "panel"}})
    expected = {cls.__name__: cls(a="panel", b="bot") for cls in CLASSES}
    expected |= {"Table": m.Table(a="panel", b="bot"), "Row": m.Row(["panel", "bot"])}
    if order == "unsaved":
        await bot.sees(lambda data: data == expected)
    await bot.saves()

    assert data_in(database, CODEC) == expected
    await bot.sees(lambda data: data == expected)
    await bot.saves()
    assert data_in(database, CODEC) == expected


@pytest.mark.parametrize("cls", [m.Model, m.FrozenModel, m.Defined, m.Struct, m.Stateful])
async def test_the_data_of_a_user_may_be_an_object_that_others_edit(
    start: Callable[..., Any], database: Any, cls: Any
) -> None:
    types_: Any = ContextTypes(user_data=cls)
    put(database, cls(b="before"), CODEC)
    bot = await start(types_, trusted=["both_sides_models"])

    def change(context: Any) -> None:
        if cls is not m.FrozenModel:
            context.user_data.b = "bot"

    await bot.hears(change)
    await bot.saves()
    edit(database, {"$set": {"data.state.a": "panel"}})

    expected = cls(a="panel", b="before" if cls is m.FrozenModel else "bot")
    await bot.sees(lambda data: data == expected)
    await bot.saves()
    assert data_in(database, CODEC) == expected


async def test_a_field_with_a_new_default_is_written_with_the_next_change_alone(
    start: Callable[..., Any], database: Any
) -> None:
    put(database, {"x": m.Model(), "n": 1}, CODEC)
    edit(database, {"$unset": {"data.x.state.b": 1}})  # as an earlier version of the class had stored it

    bot = await start(trusted=["both_sides_models"])
    await bot.saves()
    assert "b" not in database.user_data.find_one()["data"]["x"]["state"]
    await bot.hears(lambda context: context.user_data.update(n=2))
    await bot.saves()

    assert database.user_data.find_one()["data"]["n"] == 2
    assert data_in(database, CODEC)["x"].b == 1
