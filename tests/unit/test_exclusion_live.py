"""`exclude` changes nothing in the bot's own objects, whatever their classes make of a copy or of their state.

The kind: each method of a class by which another object could share something with the live one (`__copy__`,
`__getstate__`, `__setstate__`, `__reduce__`, `__new__`, an odd `__dict__`), and each in which it makes something else
of an excluded value. What is excluded is never stored: where it cannot be taken out, the save is refused, and says so.
"""

from __future__ import annotations

import asyncio
import collections
import functools
from typing import Any

import pytest

from ptb_mongo.codec import Codec, dump
from ptb_mongo.errors import EncodeError
from ptb_mongo.scopes.exclusion import Exclusion

CODEC = Codec([__name__])
SECRET = "SECRET"
EXCLUSION = Exclusion({"it.lock", "*.lock"})


class Made:
    def __init__(self) -> None:
        self.lock = SECRET
        self.n = 1


class SharesState(Made):
    def __getstate__(self) -> Any:
        return self.__dict__

    def __setstate__(self, state: Any) -> None:
        self.__dict__ = state


class IsItsCopy(Made):
    def __copy__(self) -> Any:
        return self


class IsItsCopyWithState(IsItsCopy):
    def __getstate__(self) -> Any:
        return {"lock": self.lock, "n": self.n}


class IsItsCopyInOnePiece(IsItsCopy):
    def __reduce__(self) -> Any:
        return IsItsCopyInOnePiece, ()


class RunsCode(Made):
    def __new__(cls, *_: Any) -> Any:
        if hasattr(cls, "is_complete"):
            raise AssertionError("another one was made by its own methods")
        return object.__new__(cls)

    def __getstate__(self) -> Any:
        return dict(vars(self))


class Alike:
    """All its objects have the same attributes."""

    shared: Any = {}  # noqa: RUF012

    def __new__(cls) -> Any:
        made = object.__new__(cls)
        made.__dict__ = cls.shared
        return made

    def __init__(self) -> None:
        self.lock = SECRET
        self.n = 1


class AlikeByItsType(Alike):
    __dict__ = property(lambda self: type(self).shared, lambda *_: None)  # type: ignore[assignment]

    def __init__(self) -> None:
        self.shared.update(lock=SECRET, n=1)


class Entries(dict):  # type: ignore[type-arg]
    def __init__(self) -> None:
        super().__init__(lock=SECRET, n=1)

    def copy(self) -> Any:
        return self

    __copy__ = copy


class EntriesWithState(Entries):
    def __getstate__(self) -> Any:
        return {}


class AreItsAttributes(dict):  # type: ignore[type-arg]
    def __init__(self) -> None:
        super().__init__(lock=SECRET, n=1)
        self.__dict__ = self


class OrderedEntries(collections.OrderedDict):  # type: ignore[type-arg]
    def __init__(self) -> None:
        super().__init__(lock=SECRET, n=1)

    def __reduce__(self) -> Any:
        return OrderedEntries, ()

    def __copy__(self) -> Any:
        return self


class Failure(Exception):  # noqa: N818
    def __init__(self) -> None:
        super().__init__()
        self.lock = SECRET

    def __copy__(self) -> Any:
        return self


@functools.cache
def class_of(library: str) -> Any:
    module = pytest.importorskip(library)
    if library == "pydantic":
        base = module.create_model("Model", lock=(Any, SECRET), n=(int, 1))
    elif library == "attrs":
        base = module.make_class("Defined", {"lock": module.field(default=SECRET), "n": module.field(default=1)})
    else:
        base = module.defstruct("Struct", [("lock", Any, SECRET), ("n", int, 1)])
    made = type(base)(f"Own{base.__name__}", (base,), {"__copy__": lambda self: self, "__module__": __name__})
    globals()[made.__name__] = made
    return made


KINDS: dict[str, Any] = {
    **{
        cls.__name__: cls
        for cls in (SharesState, IsItsCopy, IsItsCopyWithState, IsItsCopyInOnePiece, RunsCode, Alike, AlikeByItsType)
    },
    **{cls.__name__: cls for cls in (Entries, EntriesWithState, AreItsAttributes, OrderedEntries, Failure)},
    **{
        f"{library}, and its own copy": lambda library=library: class_of(library)()
        for library in ("attrs", "msgspec", "pydantic")
    },
}
IN_ONE_PIECE = {"IsItsCopyInOnePiece", "OrderedEntries", "Failure"}


def contents(one: Any) -> list[Any]:
    entries = [*dict.items(one)] if isinstance(one, dict) else []
    return [*entries, getattr(one, "lock", None), getattr(one, "n", None), *sorted(getattr(one, "__dict__", ()))]


@pytest.mark.parametrize("kind", KINDS)
def test_a_live_object_stays_what_it_is_and_what_is_excluded_is_not_stored(kind, monkeypatch):
    live = {"it": KINDS[kind](), "x": 1}
    one, before = live["it"], contents(live["it"])
    monkeypatch.setattr(RunsCode, "is_complete", True, raising=False)

    other = EXCLUSION.without(live)

    assert (live["it"] is one, contents(one)) == (True, before)
    if kind in IN_ONE_PIECE:
        with pytest.raises(EncodeError, match="exclude all of it"):
            CODEC.encode(other)
    else:
        assert SECRET.encode() not in dump({"data": EXCLUSION.stripped(CODEC.encode(other))})
    assert (live["it"] is one, contents(one)) == (True, before)


class Renames(Made):
    def __getstate__(self) -> Any:
        return {"L": self.lock, "n": self.n}


class Swaps(Made):
    def __getstate__(self) -> Any:
        return {"n": self.lock, "lock": self.n}


class Nests(Made):
    def __getstate__(self) -> Any:
        return {"n": self.n, "all": {"lock": [self.lock]}}


class IsTuple(Made):
    def __getstate__(self) -> Any:
        return (self.lock, self.n)


class IsPair(Made):
    def __getstate__(self) -> Any:
        return (None, {"lock": self.lock})


class Computes(Made):
    def __getstate__(self) -> Any:
        return {"L": self.lock.lower()}


class Reduces(Made):
    def __reduce__(self) -> Any:
        return Reduces, (self.lock,)


class HasOddNames(Made):
    """Is stored in one piece, as no text names its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.__dict__[5] = 5  # type: ignore[index]


@pytest.mark.parametrize("cls", [Renames, Swaps, Nests, IsTuple, IsPair, Computes, Reduces])
@pytest.mark.parametrize("besides", [{}, {"other": asyncio.Lock()}])
def test_what_a_class_makes_of_it_is_refused_with_what_helps(cls, besides):
    other = EXCLUSION.without({"it": cls(), **besides})
    with pytest.raises(EncodeError, match="exclude all of it") as caught:
        CODEC.encode(other)

    told = CODEC.explained(other, caught.value, "user_data")

    paths = ", ".join(f'"{path}"' for path in sorted({"it", *besides}))
    assert f'exclude={{"user_data": {{{paths}}}}}' in told.reason
    assert "LeftOut" not in told.reason.replace("'LeftOut' object has no attribute", "")
    assert "PartOf" not in told.reason
    assert CODEC.encode(Exclusion({"it"}).without({"it": cls()})) == {}


def test_what_is_stored_in_one_piece_for_its_attributes_lacks_what_is_excluded():
    plain = EXCLUSION.stripped(CODEC.encode(EXCLUSION.without({"it": HasOddNames()})))

    assert SECRET.encode() not in dump({"data": plain})


@pytest.mark.parametrize("library", ["pydantic", "msgspec"])
def test_what_is_left_out_is_no_trouble_beside_another_one(library):
    class_of(library)
    one = class_of(library)()
    one.lock = asyncio.Lock()
    other = EXCLUSION.without({"it": one, "x": asyncio.Lock()})
    with pytest.raises(EncodeError) as caught:
        CODEC.encode(other)

    assert 'exclude={"user_data": {"x"}}' in CODEC.explained(other, caught.value, "user_data").reason
