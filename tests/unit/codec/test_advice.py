"""The error for a value that cannot be stored says what to do instead, and that works.

The kind of fault: advice that leads nowhere (`trusted=["numpy"]`, and then "restored by a function"). So each piece of
advice in the table is followed here, and the result is stored and loaded.
"""

from __future__ import annotations

import array
import asyncio
import collections
import contextvars
import functools
import io
import itertools
import logging
import os
import queue
import random
import re
import threading
import time
import types
import urllib.parse
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import samples
from roundtrip import CODEC, portrait, round_trip

from ptb_mongo.codec import Codec
from ptb_mongo.errors import ConfigurationError, DecodeError, EncodeError


def generator() -> Iterator[int]:
    yield 1


async def agenerator() -> AsyncIterator[int]:
    yield 1


async def coroutine() -> int:
    return 1


def _coroutine() -> Any:
    made = coroutine()
    made.close()
    return made


def _chain() -> Any:
    return collections.ChainMap({"a": 1}, {"b": 2})


Case = tuple[Callable[[], Any], str, Callable[[Any], Any] | None]
"""How the value is made, what its error advises, and how the advice is followed."""

OUTSIDE = "keep it outside of the data"
CASES: dict[str, Case] = {
    "generator": (generator, "list(generator)", list),
    "async generator": (agenerator, "as a list", None),
    "coroutine": (_coroutine, "await it", None),
    "map": (lambda: map(str, [1]), "list(iterator)", list),
    "filter": (lambda: filter(None, [1]), "list(iterator)", list),
    "callable iterator": (lambda: iter(lambda: 1, 1), "as a list", list),
    "enumerate of a map": (lambda: enumerate(map(str, [1])), "list(iterator)", list),
    "count": (lambda: itertools.count(5), "the number that comes next", next),
    "chain of itertools": (lambda: itertools.chain([1], [2]), "list(iterator)", list),
    "keys": ({"a": 1}.keys, "list(keys)", list),
    "values": ({"a": 1}.values, "list(values)", list),
    "items": ({"a": 1}.items, "list(items)", list),
    "proxy": (lambda: types.MappingProxyType({"a": 1}), "dict(proxy)", dict),
    "memory view": (lambda: memoryview(b"x"), "bytes(view)", bytes),
    "function": (lambda: generator, "its name", lambda value: value.__name__),
    "built-in function": (lambda: len, "its name", lambda value: value.__name__),
    "module": (lambda: os, "its name", lambda value: value.__name__),
    "partial": (
        lambda: functools.partial(generator, 1, a=2),
        "partial.args, partial.keywords",
        lambda value: [value.func.__name__, value.args, value.keywords],
    ),
    "ChainMap": (_chain, "dict(chain)", dict),
    "UserDict": (lambda: collections.UserDict(a=1), "value.data", lambda value: value.data),
    "UserList": (lambda: collections.UserList([1]), "value.data", lambda value: value.data),
    "random": (lambda: random.Random(5), "random.getstate()", lambda value: value.getstate()),
    "bytes in memory": (lambda: io.BytesIO(b"x"), "file.getvalue()", lambda value: value.getvalue()),
    "text in memory": (lambda: io.StringIO("x"), "file.getvalue()", lambda value: value.getvalue()),
    "error of Python": (lambda: ValueError("x"), "str(error)", str),
    "time": (lambda: time.gmtime(0), "tuple(value)", tuple),
    "address of a page": (lambda: urllib.parse.urlsplit("https://x.y/z"), "tuple(value)", tuple),
    "text of array": (lambda: array.array("u", "x"), "array.tounicode()", lambda value: value.tounicode()),
    "lock": (threading.Lock, OUTSIDE, None),
    "lock of asyncio": (asyncio.Lock, OUTSIDE, None),
    "event": (asyncio.Event, OUTSIDE, None),
    "thread": (threading.current_thread, OUTSIDE, None),
    "queue": (queue.Queue, OUTSIDE, None),
    "logger": (lambda: logging.getLogger("x"), OUTSIDE, None),
    "context variable": (lambda: contextvars.ContextVar("x"), OUTSIDE, None),
    "weak reference": (lambda: weakref.ref(generator), OUTSIDE, None),
    "slice of lists": (lambda: slice([1]), "what stands in it", lambda value: value.start),
}


def library_cases() -> Iterator[tuple[str, Case]]:
    np: Any = pytest.importorskip("numpy")
    yield "objects of numpy", (lambda: np.array([None, "x"]), "value.tolist()", lambda value: value.tolist())
    yield "records of numpy", (lambda: np.zeros(2, "i4,f8"), "value.tolist()", lambda value: value.tolist())
    yield "masked array", (lambda: np.ma.array([1, 2], mask=[0, 1]), "value.tolist()", lambda value: value.tolist())
    yield "matrix", (lambda: np.asmatrix([[1]]), "value.tolist()", lambda value: value.tolist())
    yield "long double", (lambda: np.longdouble(1), "value.astype(float)", lambda value: value.astype(float))
    yield (
        "generator of numpy",
        (lambda: np.random.default_rng(5), "generator.bit_generator.state", lambda value: value.bit_generator.state),
    )
    pd: Any = pytest.importorskip("pandas")
    frame = pd.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    yield "frame", (lambda: frame, 'frame.to_dict("records")', lambda value: value.to_dict("records"))
    yield "series", (lambda: frame["a"], "series.to_dict()", lambda value: value.to_dict())
    yield (
        "moment of pandas",
        (lambda: pd.Timestamp("2024-01-01"), "value.to_pydatetime()", lambda value: value.to_pydatetime()),
    )
    tz: Any = pytest.importorskip("dateutil.tz")
    named = lambda _: tz.gettz("America/New_York")  # noqa: E731
    yield "rule of dateutil", (lambda: tz.tzstr("EST5EDT"), "a zone that has a name", named)
    yield "the zone of a file", (lambda: tz.tzfile("/etc/localtime"), "a zone that has a name", named)
    pytz: Any = pytest.importorskip("pytz")
    berlin: Any = pytz.timezone("Europe/Berlin")
    made_up = type("Atlantis", (type(berlin).__base__,), {**vars(type(berlin)), "zone": "Atlantis/Capital"})
    yield "a zone of pytz that is made up", (made_up, "is no zone that its name stands for", named)
    pendulum: Any = pytest.importorskip("pendulum")
    rounded = pendulum.duration(days=12725829, microseconds=1)
    total = lambda value: value.total_seconds()  # noqa: E731
    yield "a duration that is rounded", (lambda: rounded, "duration.total_seconds()", total)
    interval = pendulum.datetime(2024, 1, 2) - pendulum.datetime(2024, 1, 1)
    yield "interval", (lambda: interval, "its start and its end", lambda value: [value.start, value.end])


def check(make: Callable[[], Any], advised: str, follow: Callable[[Any], Any] | None) -> None:
    with pytest.raises(EncodeError) as caught:
        CODEC.encode({"a": make()})
    assert caught.value.path == "a"
    assert advised in caught.value.reason
    assert "trusted=" not in caught.value.reason
    if follow is not None:
        value = follow(make())
        assert portrait(round_trip(value)) == portrait(value)


@pytest.mark.filterwarnings("ignore")  # some types go
@pytest.mark.parametrize("name", CASES)
def test_the_advice_of_an_error_works(name: str) -> None:
    check(*CASES[name])


@pytest.mark.filterwarnings("ignore")
def test_the_advice_about_values_of_libraries_works() -> None:
    cases = dict(library_cases())
    for case in cases.values():
        check(*case)

    assert len(cases) > 8


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if OUTSIDE not in case[1] and "slice" not in name]
)
def test_inside_a_pickle_the_advice_is_the_same(name: str) -> None:
    make, advised, _ = CASES[name]
    with pytest.raises(EncodeError) as caught:
        CODEC.encode(samples.Reduced(make()))

    assert advised in caught.value.reason


# ---- functions that fill a defaultdict -------------------------------------------------------------------------------


def make_basket() -> dict[str, int]:
    return {"tea": 1}


def test_a_defaultdict_whose_function_is_trusted_comes_back() -> None:
    codec = Codec(trusted=[make_basket])
    plain = codec.encode(collections.defaultdict(make_basket, a={}))

    assert plain["factory"] == {"_py": "function", "v": f"{__name__}.make_basket"}
    back = codec.decode(plain)
    assert (back.default_factory, back["a"], back["b"]) == (make_basket, {}, {"tea": 1})


def test_the_error_says_the_function_to_trust_and_that_works() -> None:
    value = collections.defaultdict(make_basket)
    with pytest.raises(EncodeError, match=r"trusted=\[make_basket\]"):
        CODEC.encode(value)

    Codec(trusted=[make_basket]).encode(value)
    assert round_trip(dict(value)) == {}


@pytest.mark.parametrize("factory", [lambda: 1, functools.partial(dict), [].copy], ids=["lambda", "partial", "method"])
def test_a_factory_without_a_name_is_refused_with_what_to_write(factory: Any) -> None:
    with pytest.raises(EncodeError, match="a function at the top level of a module that is trusted"):
        Codec(trusted=[make_basket]).encode(collections.defaultdict(factory))


@pytest.mark.parametrize("name", ["samples.fire", "os.getcwd", "", None, [1]])
def test_planted_data_names_no_other_function_not_even_of_a_trusted_module(name: Any) -> None:
    plain = {"_py": "defaultdict", "factory": {"_py": "function", "v": name}, "v": {}}

    with pytest.raises(DecodeError, match="is not trusted"):
        Codec(trusted=[samples.__name__, make_basket]).decode(plain)


def test_a_function_is_a_factory_and_no_other_value() -> None:
    codec = Codec(trusted=[make_basket])

    with pytest.raises(DecodeError):
        codec.decode({"_py": "function", "v": f"{__name__}.make_basket"})
    with pytest.raises(EncodeError, match="store its name"):
        codec.encode(make_basket)


def test_a_lambda_cannot_be_trusted() -> None:
    with pytest.raises(ConfigurationError, match=re.escape("no function of a module")):
        Codec(trusted=[lambda: 1])
