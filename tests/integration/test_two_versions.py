"""A bot of an old and one of a new version of a class on one database: neither undoes what the other has stored.

See `tests/unit/replica/test_unknown_fields.py` for the kinds of classes and changes.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from bots import USER


def versions() -> tuple[Any, Any]:
    old = dataclasses.make_dataclass("Basket", [("a", int, 1)], slots=True)
    new = dataclasses.make_dataclass("Basket", [("a", int, 1), ("vat", int, 0)], slots=True)
    for cls in (old, new):
        cls.__module__, cls.__qualname__ = __name__, "Basket"
    return old, new


def stored(database: Any) -> Any:
    return database.user_data.find_one({"_id": USER})


async def test_an_old_bot_keeps_the_field_of_a_new_one(start: Any, database: Any) -> None:
    old_class, new_class = versions()
    new = await start(trusted=[new_class])
    await new.hears(lambda context: context.user_data.update(one=new_class(1, 19), more=[new_class(1, 20)]))
    await new.saves()
    await new.persistence.flush()
    old = await start(trusted=[old_class])

    def change(context: Any) -> None:
        context.user_data["one"].a = 2
        context.user_data["more"].append(old_class(3))

    await old.hears(change)
    await old.saves()
    await old.persistence.flush()

    again = await start(trusted=[new_class])
    data = await again.hears()
    assert data == {"one": new_class(2, 19), "more": [new_class(1, 20), new_class(3)]}


async def test_two_versions_that_change_nothing_write_nothing(start: Any, database: Any) -> None:
    old_class, new_class = versions()
    old = await start(trusted=[old_class])
    await old.hears(lambda context: context.user_data.update(one=old_class(1)))
    await old.saves()
    await old.persistence.flush()
    before = stored(database)

    for cls in (new_class, old_class, new_class):
        bot = await start(trusted=[cls])
        await bot.hears()
        await bot.saves()
        await bot.persistence.flush()

    assert stored(database) == before
