"""The importer makes of a value in a pickle what the running bot stores, whatever the library's version was.

The kind of fault: a zone of pytz, dateutil or pendulum, a number of numpy or an iterator comes in as another type than
the bot has for it, or not at all. `library_pickles.json` is what older versions of the libraries have written.
"""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from library_values import LIBRARY_VALUES, STANDARD_VALUES
from roundtrip import CODEC, portrait, stored

from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import DecodeError
from ptb_mongo.migration.library_values import LIBRARY_NAMES
from ptb_mongo.migration.names import stands_in
from ptb_mongo.migration.unpickler import ForeignPickle

OLD: dict[str, str] = json.loads(Path(__file__).with_name("library_pickles.json").read_text(encoding="utf-8"))
EVERY = [*STANDARD_VALUES, *LIBRARY_VALUES]


def loaded(data: bytes) -> Any:
    return ForeignPickle(data, Trust(), None).load()


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize("value", EVERY, ids=lambda value: f"{type(value).__module__}.{type(value).__qualname__}")
def test_a_value_comes_in_as_what_the_bot_stores(value: Any, protocol: int) -> None:
    is_pendulum = type(value).__module__.partition(".")[0] == "pendulum"
    expected = pickle.loads(pickle.dumps(value)) if is_pendulum else value  # which lacks years, and the fold

    one, other = loaded(pickle.dumps([value, value], protocol=protocol))

    assert portrait(one) == portrait(other) == portrait(expected)
    assert stored(one) == stored(expected)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_iterators_come_in_with_what_is_left_of_them(taken: int) -> None:
    makes: list[Any] = [lambda: iter([1, 2]), lambda: reversed((1, 2)), lambda: enumerate("ab")]
    for make in (*makes, lambda: zip("ab", [1, 2], strict=False)):
        iterator: Any = make()
        for _ in range(taken):
            next(iterator)
        found = loaded(pickle.dumps({"a": iterator}))["a"]
        assert stored(found) == stored(iterator)
        assert list(found) == list(iterator)


@pytest.mark.parametrize("name", OLD)
def test_what_older_versions_of_a_library_have_pickled_comes_in(name: str) -> None:
    pytest.importorskip(name.partition(" ")[0].rstrip(":"))
    found = loaded(base64.b64decode(OLD[name]))

    assert not stands_in(found)
    plain = CODEC.encode(found[0] if type(found) is list else found)
    assert plain["_py"].partition(".")[0] in {"datetime", "dateutil", "numpy", "ndarray", "pendulum"}


@pytest.mark.parametrize("place", LIBRARY_NAMES, ids=".".join)
@pytest.mark.parametrize("args", [(), (None,), ("x", 5), ([],), ("x",) * 4, (10**9, None, (), b"")], ids=repr)
def test_whatever_a_stranger_calls_a_library_with_nothing_but_a_decode_error_comes_of_it(place: Any, args: Any) -> None:
    data = _with_name(args, place)

    try:
        value = loaded(data)
    except DecodeError:
        return
    assert stands_in(value) or stored(value)


def _with_name(args: tuple[Any, ...], place: tuple[str, str]) -> bytes:
    """A pickle that calls what has this name, and gives the result a state."""
    module, name = (pickle.SHORT_BINUNICODE + bytes([len(part)]) + part.encode() for part in place)
    inner = pickle.dumps(args, protocol=4)[11:-1]
    state = pickle.EMPTY_DICT + pickle.BUILD
    return pickle.PROTO + b"\x04" + module + name + pickle.STACK_GLOBAL + inner + pickle.REDUCE + state + pickle.STOP
