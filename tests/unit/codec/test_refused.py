"""What cannot be stored is refused when it is stored: with the path to it, its type, and what to do."""

from __future__ import annotations

import _thread
import collections
import contextvars
import functools
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import samples
import telegram
from roundtrip import CODEC, round_trip

from ptb_mongo.codec import Codec
from ptb_mongo.errors import ConfigurationError, EncodeError


@dataclass
class StrangeData:
    a: int = 1


class StrangePlain:
    pass


class StrangeSlots:
    __slots__ = ("a",)


class StrangeEnum(Enum):
    A = 1


class StrangeTuple(NamedTuple):
    a: int = 1


class StrangeError(Exception):
    pass


class StrangeTelegram(telegram.TelegramObject):
    pass


class StrangeDict(dict):
    pass


class StrangeReduced:
    def __reduce__(self) -> tuple[Any, ...]:
        return StrangeReduced, ()


STRANGE = [
    StrangeData(),
    StrangePlain(),
    StrangeSlots(),
    StrangeEnum.A,
    StrangeTuple(),
    StrangeError(),
    StrangeTelegram(),
    StrangeDict(),
    StrangeReduced(),
    StrangePlain,
]
PLACES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a dict": (lambda value: {"a": {"b.c": value}}, "a.b%2Ec"),
    "a list": (lambda value: {"a": [0, [0, value]]}, "a.1.1"),
    "a tuple": (lambda value: {"a": (0, value)}, "a.v.1"),
    "a deque": (lambda value: {"a": collections.deque([value])}, "a.v.0"),
    "an OrderedDict": (lambda value: {"a": collections.OrderedDict(b=value)}, "a.v.b"),
    "a dict with other keys": (lambda value: {"a": {1.5: value}}, "a.v.0"),
    "an object": (lambda value: {"a": samples.Plain(value)}, "a.state.a"),
    "a named tuple": (lambda value: {"a": samples.Point(value)}, "a.v.x"),
    "a namespace": (lambda value: {"a": SimpleNamespace(b=value)}, "a.state.b"),
    "something pickled": (lambda value: {"a": samples.Reduced(value)}, "a"),
    "a button": (lambda value: {"a": [telegram.InlineKeyboardButton("x", callback_data=value)]}, "a.0"),
}


def generator() -> Iterator[int]:
    yield 1


def function() -> None:
    """A function, which is refused."""


def unstorable(tmp_path: Path) -> Iterator[tuple[str, Any]]:
    yield "generator", generator()
    yield "lambda", lambda: None
    yield "function", function
    yield "method", StrangePlain().__init__
    yield "bound method", [].append
    yield "built-in function", len
    yield "partial", functools.partial(function)
    yield "module", sys
    yield "lock", threading.Lock()
    yield "RLock", threading.RLock()
    yield "thread", threading.current_thread()
    yield "thread id's lock", _thread.allocate_lock()
    yield "context variable", contextvars.ContextVar("x")
    yield "weak reference", weakref.ref(function)
    yield "iterator that calls", map(len, [])
    yield "iterator over what it calls", enumerate(map(len, []))
    yield "dict view", {}.keys()
    yield "memory view", memoryview(b"x")
    yield "NotImplemented", NotImplemented
    yield "property", property()
    yield "class of the standard library", threading.Thread
    yield "coroutine function", StrangePlain.__init__
    yield "trusted, but restored by a function", samples.FunctionMade()
    yield "trusted function", samples.fire
    yield "frame", sys._getframe()
    yield "code", function.__code__


@pytest.mark.parametrize("place", PLACES)
def test_what_has_no_stored_form_is_refused(place: str, tmp_path: Path) -> None:
    wrap, path = PLACES[place]
    refused = []
    for name, value in unstorable(tmp_path):
        with pytest.raises(EncodeError) as caught:
            CODEC.encode(wrap(value))
        assert caught.value.path == path, name
        assert "store" in caught.value.reason or "restored by a function" in caught.value.reason, name
        refused.append(name)

    assert len(refused) > 20


@pytest.mark.parametrize("wrap", [lambda value: value, samples.Reduced], ids=["bare", "pickled"])
def test_open_files_and_sockets_are_refused_by_name(wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file, socket.socket() as connection:
        with pytest.raises(EncodeError, match="at file: a TextIOWrapper cannot be stored"):
            CODEC.encode({"file": wrap(file)})
        with pytest.raises(EncodeError, match="at connection: a socket cannot be stored"):
            CODEC.encode({"connection": wrap(connection)})


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", STRANGE, ids=lambda value: getattr(value, "__name__", type(value).__name__))
def test_an_untrusted_class_is_refused_with_the_line_that_allows_it(value: Any, place: str) -> None:
    wrap, path = PLACES[place]
    cls = value if isinstance(value, type) else type(value)

    with pytest.raises(EncodeError) as caught:
        CODEC.encode(wrap(value))

    assert caught.value.path == path
    assert f"{__name__}.{cls.__name__}" in caught.value.reason
    assert f'trusted=["{__name__}"]' in caught.value.reason


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("value", STRANGE, ids=lambda value: getattr(value, "__name__", type(value).__name__))
def test_the_line_that_the_error_names_allows_it(value: Any, place: str) -> None:
    codec = Codec(trusted=[samples.__name__, __name__])

    codec.encode(PLACES[place][0](value))


def test_an_untrusted_class_is_refused_as_a_key_and_in_a_set() -> None:
    for value in ({StrangeEnum.A: 1}, {StrangeEnum.A}, collections.defaultdict(StrangePlain)):
        with pytest.raises(EncodeError, match=r"^at a.*trusted=\["):
            CODEC.encode({"a": value})


def test_a_class_defined_in_a_function_is_refused_even_in_a_trusted_module() -> None:
    @dataclass
    class Local:
        a: int = 1

    with pytest.raises(EncodeError, match=r"at x: .*Local is defined inside a function"):
        Codec(trusted=[__name__]).encode({"x": Local()})


def test_trusting_a_class_does_not_trust_its_module() -> None:
    codec = Codec(trusted=[StrangePlain])

    codec.encode(StrangePlain())
    with pytest.raises(EncodeError, match="StrangeData"):
        codec.encode(StrangeData())


def _itself_in_a_list() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def _itself_in_a_dict() -> Any:
    value: dict[Any, Any] = {}
    value["me"] = value
    return value


def _itself_in_a_tuple() -> Any:
    value: tuple[Any, ...] = ([],)
    value[0].append(value)
    return value


def _itself_in(obj: Any) -> Callable[[], Any]:
    def make() -> Any:
        obj.a = obj
        return obj

    return make


def _itself_in_a_telegram_object() -> Any:
    letter = samples.Letter("x")
    object.__setattr__(letter, "note", letter)
    return letter


@pytest.mark.parametrize(
    "make",
    [
        _itself_in_a_list,
        _itself_in_a_dict,
        _itself_in_a_tuple,
        _itself_in(samples.Plain(1)),
        _itself_in(samples.Bare()),
        _itself_in(SimpleNamespace(before=1)),
        _itself_in(samples.Reduced(1)),
        _itself_in(samples.Stateful(1)),
        _itself_in(samples.MishapError(1)),
        _itself_in_a_telegram_object,
    ],
    ids=["list", "dict", "tuple", "dataclass", "plain", "namespace", "reduced", "stateful", "exception", "telegram"],
)
def test_what_contains_itself_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(EncodeError, match="contains itself"):
        CODEC.encode({"me": make()})


@pytest.mark.parametrize(
    "obj",
    [samples.Reduced(1), samples.Stateful(1), samples.MishapError(1), samples.Letter("x")],
    ids=lambda obj: type(obj).__name__,
)
def test_a_list_that_leads_back_to_a_pickled_object_does_so_again(obj: Any) -> None:
    inside = [obj, "x"]
    name = "note" if isinstance(obj, samples.Letter) else "a"
    object.__setattr__(obj, name, inside)

    copy = round_trip({"me": obj})["me"]

    assert type(copy) is type(obj)
    assert getattr(copy, name)[0] is copy
    assert getattr(copy, name)[1:] == ["x"]


def test_what_contains_itself_leaves_the_codec_in_order() -> None:
    with pytest.raises(EncodeError):
        CODEC.encode(_itself_in_a_list())

    assert CODEC.encode({"a": [1]}) == {"a": [1]}


def test_the_path_to_something_deep_is_cut_in_the_text_but_not_in_the_attribute() -> None:
    value: Any = generator()
    for _ in range(100):
        value = {"level": value}

    with pytest.raises(EncodeError) as caught:
        CODEC.encode(value)

    assert caught.value.path == ".".join(["level"] * 100)
    assert len(str(caught.value)) < 400


def test_an_attribute_that_raises_is_refused_not_raised() -> None:
    class Raising:
        def __reduce__(self) -> tuple[Any, ...]:
            raise RuntimeError("no")

    Raising.__qualname__, Raising.__module__ = "Raising", __name__
    with pytest.raises(EncodeError, match="at x: Raising cannot be pickled: no"):
        Codec(trusted=[Raising]).encode({"x": Raising()})


@pytest.mark.parametrize("trusted", [[1], [None], "module", int, [b"module"]], ids=repr)
def test_trusted_takes_a_collection_of_classes_and_names(trusted: Any) -> None:
    with pytest.raises(ConfigurationError):
        Codec(trusted=trusted)
