"""Values of libraries, and rarer ones of the standard library, come back as what they were, from forms to be read.

The kind of fault: a value that people really keep (a date of pytz, a number of numpy, a path, an iterator) is refused,
or stored as a blob, or comes back as another type; or it is lost where its library is missing.
"""

from __future__ import annotations

import contextlib
import copy
import datetime as dtm
import math
import sys
import zoneinfo
from typing import Any

import pytest
import samples
from bson.datetime_ms import DatetimeMS
from hypothesis import given
from hypothesis import strategies as st
from library_values import LIBRARY_VALUES, STANDARD_VALUES, ZONES
from roundtrip import CODEC, portrait, restored, round_trip, stored
from strategies import values

from ptb_mongo.errors import DecodeError

EVERY = [*STANDARD_VALUES, *LIBRARY_VALUES]
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def name_of(value: Any) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}"


@pytest.mark.parametrize("value", EVERY, ids=name_of)
def test_a_value_comes_back_and_its_copy_gives_the_same_bytes(value: Any) -> None:
    raw = stored(value)

    assert portrait(restored(raw)) == portrait(value)
    assert stored(restored(raw)) == raw
    assert stored(copy.deepcopy(value)) == raw


@pytest.mark.parametrize("value", EVERY, ids=name_of)
def test_a_value_comes_back_from_inside_a_pickle(value: Any) -> None:
    raw = stored(samples.Reduced([value, value]))

    assert portrait(restored(raw).a[1]) == portrait(value)
    assert stored(restored(raw)) == raw


@pytest.mark.parametrize("value", EVERY, ids=name_of)
def test_no_form_is_a_blob_but_that_of_many_numbers(value: Any) -> None:
    plain = CODEC.encode(value)

    assert plain["_py"] not in {"pickle", "bson"}
    if type(plain.get("v")) is bytes:
        assert plain["_py"] in {"array", "ndarray", "numpy"}


@pytest.mark.parametrize("zone", ZONES, ids=repr)
def test_a_date_can_be_queried_by_its_instant_and_its_zone(zone: dtm.tzinfo) -> None:
    moment = dtm.datetime(2024, 7, 1, 2, 3, tzinfo=zone)
    plain = CODEC.encode(moment)

    assert plain["v"] == moment
    assert type(plain["v"].tzinfo) is dtm.timezone
    assert plain["iso"] == moment.isoformat()
    assert type(plain["tz"]["v"]) in {str, int}


LEFTOVERS: dict[str, Any] = {
    "list": lambda: iter([1, [2], 3]),
    "tuple": lambda: iter((1, [2], 3)),
    "range": lambda: iter(range(5, 50, 5)),
    "long range": lambda: iter(range(2**70, 2**70 + 4)),
    "text": lambda: iter("aéb"),
    "bytes": lambda: iter(b"abc"),
    "bytearray": lambda: iter(bytearray(b"abc")),
    "set": lambda: iter({1, 2, 3}),
    "dict": lambda: iter({1: 2, 3: 4, 5: 6}),
    "items": lambda: iter({1: 2, 3: 4, 5: 6}.items()),
    "values": lambda: iter({1: 2, 3: 4, 5: 6}.values()),
    "reversed list": lambda: reversed([1, [2], 3]),
    "reversed tuple": lambda: reversed((1, 2, 3)),
    "reversed dict": lambda: reversed({1: 2, 3: 4, 5: 6}),
    "enumerate": lambda: enumerate(iter("abc"), 2**70),
    "zip": lambda: zip([1, 2, 3], iter("abc"), strict=True),
    "zip of enumerate": lambda: zip(enumerate([1, 2, 3]), range(9), strict=False),
}


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
@pytest.mark.parametrize("kind", LEFTOVERS)
def test_what_is_left_of_an_iterator_comes_back_and_nothing_is_taken_from_it(kind: str, taken: int) -> None:
    iterator, other = LEFTOVERS[kind](), LEFTOVERS[kind]()
    for _ in range(taken):
        next(iterator)
        next(other)

    raw = stored(copy.deepcopy(iterator))
    assert stored(iterator) == raw
    assert stored(restored(raw)) == raw
    pickled = restored(stored(samples.Reduced(iterator))).a

    assert list(restored(raw)) == list(pickled) == list(iterator) == list(other)


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if these libraries were not installed."""
    for name in list(sys.modules):
        if name.partition(".")[0] in names:
            monkeypatch.setitem(sys.modules, name, None)
    for name in names:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.mark.parametrize("value", [value for value in LIBRARY_VALUES if "numpy" not in name_of(value)], ids=repr)
def test_a_value_of_a_library_that_is_missing_is_one_of_python_s_own(
    value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = stored(value)
    pickled = stored(samples.Reduced([value]))
    without(monkeypatch, "pytz", "dateutil", "pendulum")

    found = restored(raw)

    root = type(found).__module__.partition(".")[0]
    assert root in {"datetime", "zoneinfo", "bson"}
    if isinstance(value, dtm.datetime):
        assert found.isoformat() == dtm.datetime.isoformat(value)
    if isinstance(value, dtm.timedelta):
        assert found == value
    assert portrait(round_trip(found)) == portrait(found)
    assert type(restored(pickled).a[0]) is type(found)


@pytest.mark.parametrize("is_dst", [True, False])
def test_a_repeated_hour_of_pytz_is_the_same_instant_without_it(is_dst: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    pytz = pytest.importorskip("pytz")
    moment = pytz.timezone("Europe/Berlin").localize(dtm.datetime(2024, 10, 27, 2, 30), is_dst=is_dst)  # noqa: DTZ001
    raw = stored(moment)

    assert portrait(restored(raw)) == portrait(moment)
    without(monkeypatch, "pytz")
    found = restored(raw)
    assert (found.tzinfo, found.fold) == (BERLIN, 0 if is_dst else 1)
    assert found.utcoffset() == moment.utcoffset()


def test_documents_that_ptb_21_wrote_beside_pytz_are_loaded_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "pytz")
    plain = {"_py": "datetime", "iso": "2024-01-02T03:04:05+00:00", "tz": {"_py": "pytz", "v": "UTC"}}

    assert CODEC.decode(plain) == dtm.datetime(2024, 1, 2, 3, 4, 5, tzinfo=dtm.timezone.utc)


def test_a_zone_that_is_gone_leaves_the_offset() -> None:
    tz = {"_py": "pytz", "v": "Atlantis/Capital", "offset": 3600, "dst": 0, "name": "ACT"}
    moment = CODEC.decode({"_py": "datetime", "iso": "2024-01-02T03:04:05+01:00", "tz": tz})

    assert (moment.utcoffset(), moment.tzname()) == (dtm.timedelta(hours=1), "ACT")


def test_a_period_that_somebody_has_made_up_is_not_kept_by_pytz() -> None:
    pytz = pytest.importorskip("pytz")
    before = len(pytz.timezone("Europe/Berlin")._tzinfos)
    for offset in range(100):
        CODEC.decode({"_py": "pytz", "v": "Europe/Berlin", "offset": offset, "dst": 0, "name": "x"})

    assert len(pytz.timezone("Europe/Berlin")._tzinfos) == before


@pytest.mark.parametrize("offset", ["+01:00", "+02:00", ""])
def test_a_date_of_pytz_that_somebody_has_edited_is_the_instant_of_its_text(offset: str) -> None:
    pytest.importorskip("pytz")
    tz = {"_py": "pytz", "v": "Europe/Berlin", "offset": 3600, "dst": 0, "name": "CET"}
    iso = f"2024-07-01T12:00:00{offset}"

    assert CODEC.decode({"_py": "datetime", "iso": iso, "tz": tz}).replace(tzinfo=None).isoformat() == iso[:19]
    if offset == "+02:00":
        assert CODEC.decode({"_py": "datetime", "iso": iso, "tz": tz}).tzname() == "CEST"


@pytest.mark.parametrize("zone", [*ZONES, BERLIN, dtm.timezone.utc, None], ids=repr)
def test_a_date_of_pendulum_in_any_zone_keeps_it_when_it_is_copied(zone: dtm.tzinfo | None) -> None:
    pendulum = pytest.importorskip("pendulum")
    found = round_trip(pendulum.DateTime(2024, 7, 1, 2, 3, tzinfo=zone))

    assert type(found) is pendulum.DateTime
    assert copy.deepcopy(found).utcoffset() == found.utcoffset() == dtm.datetime(2024, 7, 1, tzinfo=zone).utcoffset()
    assert stored(copy.deepcopy(found)) == stored(found)


HOSTILE: dict[str, dict[str, Any]] = {
    "a zone of no name": {"_py": "dateutil.gettz", "v": ""},
    "a zone that is a file": {"_py": "dateutil.gettz", "v": "/etc/passwd"},
    "a zone above": {"_py": "dateutil.gettz", "v": "../../../etc/passwd"},
    "a zone that is a rule": {"_py": "dateutil.gettz", "v": "EST5EDT4,M3.2.0"},
    "a zone with a NUL": {"_py": "pytz", "v": "UTC\0"},
    "a long name": {"_py": "pendulum.Timezone", "v": "a" * 101},
    "an offset of years": {"_py": "dateutil.tzoffset", "v": 10**9},
    "an offset that is none": {"_py": "pendulum.FixedTimezone", "v": 1.5},
    "a date in no zone": {"_py": "datetime", "iso": "2024-01-01", "tz": {"_py": "path", "v": "a"}},
    "a path of numbers": {"_py": "path", "v": 5},
    "a path of no kind": {"_py": "path", "v": "a", "pure": []},
    "an address in words": {"_py": "IPv4Address", "v": "localhost"},
    "an address as a number": {"_py": "IPv4Address", "v": 5},
    "a complex number of texts": {"_py": "complex", "v": ["1", "2"]},
    "a slice of slices": {"_py": "slice", "start": {"_py": "slice", "start": 1}},
    "an array of texts": {"_py": "array", "type": "i", "v": ["a"]},
    "an array of fractions": {"_py": "array", "type": "i", "v": [1.5]},
    "an array of characters": {"_py": "array", "type": "u", "v": b"abcd"},
    "an array of half a number": {"_py": "array", "type": "i", "size": 4, "v": b"abc"},
    "an iterator over a set": {"_py": "iterator", "v": {"_py": "set", "v": [1]}},
    "an iterator over a file": {"_py": "iterator", "v": {"_py": "object", "cls": "samples.Trap", "state": {}}},
    "numbers of an array that become infinite": {"_py": "array", "type": "f", "v": [1e300]},
    "an iterator of no kind": {"_py": "iterator", "kind": "map", "v": [1]},
    "enumerate from a text": {"_py": "iterator", "kind": "enumerate", "v": {"_py": "iterator", "v": [1]}, "at": "1"},
    "zip of lists": {"_py": "iterator", "kind": "zip", "v": [[1]]},
    "an enum of the standard library that is none": {"_py": "enum", "cls": "http.HTTPStatus", "name": "GONE_FISHING"},
    "a duration of dates": {"_py": "pendulum.Duration", "days": 10**12, "seconds": 0, "microseconds": 0},
    "a duration that pendulum rounds": {"_py": "pendulum.Duration", "days": 0, "seconds": 2**40, "microseconds": 1},
    "a date of pendulum in milliseconds": {"_py": "pendulum.Date", "v": DatetimeMS(2**62)},
}
ROUNDED: dict[str, Any] = {
    "a fraction of a few digits": {"_py": "ndarray", "dtype": "<f4", "shape": [1], "v": [0.1]},
    "what is infinite or no number": {"_py": "ndarray", "dtype": "<f4", "shape": [2], "v": [math.inf, math.nan]},
    "a single one": {"_py": "numpy", "dtype": "float16", "v": 0.1},
    "a single infinite one": {"_py": "numpy", "dtype": "complex64", "v": [0.1, math.inf]},
    "a whole number": {"_py": "numpy", "dtype": "float32", "v": 3},
    "texts as long as they may be": {"_py": "ndarray", "dtype": "<U2", "shape": [2], "v": ["ab", ""]},
}
HOSTILE_NUMBERS: dict[str, dict[str, Any]] = {
    "objects": {"_py": "ndarray", "dtype": "|O", "shape": [1], "v": b"12345678"},
    "records": {"_py": "ndarray", "dtype": "i4,i4", "shape": [1], "v": b"12345678"},
    "a type that repeats": {"_py": "ndarray", "dtype": "(1000000,)i4", "shape": [0], "v": b""},
    "no elements, each of a gigabyte": {"_py": "ndarray", "dtype": "<U99999999", "shape": [0], "v": []},
    "many texts, each of a gigabyte": {"_py": "ndarray", "dtype": "<U99999", "shape": [40], "v": [""] * 40},
    "a shape without end": {"_py": "ndarray", "dtype": "<f8", "shape": [2**40, 2**40], "v": b"12345678"},
    "a negative shape": {"_py": "ndarray", "dtype": "<f8", "shape": [-1], "v": [1.0]},
    "another shape": {"_py": "ndarray", "dtype": "<f8", "shape": [2], "v": [1.0]},
    "numbers that do not fit": {"_py": "ndarray", "dtype": "|u1", "shape": [1], "v": [-(2**40)]},
    "fractions as whole numbers": {"_py": "ndarray", "dtype": "<i8", "shape": [1], "v": [1.5]},
    "texts that are cut off": {"_py": "ndarray", "dtype": "<U2", "shape": [2], "v": ["ab", "abcdef"]},
    "a text that loses its end": {"_py": "ndarray", "dtype": "<U4", "shape": [1], "v": ["ab\0"]},
    "numbers that wrap around": {"_py": "ndarray", "dtype": "|i1", "shape": [2], "v": [1, 200]},
    "numbers that become infinite": {"_py": "ndarray", "dtype": "<f4", "shape": [2], "v": [1.0, 1e300]},
    "whole numbers that become infinite": {"_py": "ndarray", "dtype": "<f2", "shape": [1], "v": [70000]},
    "a single number that wraps around": {"_py": "numpy", "dtype": "uint8", "v": 256},
    "a single number that becomes infinite": {"_py": "numpy", "dtype": "float32", "v": -1e300},
    "a complex number that becomes infinite": {"_py": "numpy", "dtype": "complex64", "v": [0.0, 1e300]},
    "an unknown order": {"_py": "ndarray", "dtype": "<i8", "shape": [1], "v": [1], "order": []},
    "a single object": {"_py": "numpy", "dtype": "object", "v": 1},
    "a single text as a number": {"_py": "numpy", "dtype": "int64", "v": "1"},
    "half a complex number": {"_py": "numpy", "dtype": "complex128", "v": [1.0]},
    "a moment of fractions": {"_py": "numpy", "dtype": "<M8[s]", "v": 1.5},
    "a moment in no unit": {"_py": "numpy", "dtype": "<M8[x]", "v": 1},
}


@pytest.mark.parametrize("name", ROUNDED)
def test_what_others_write_by_hand_is_rounded_as_numpy_does(name: str) -> None:
    pytest.importorskip("numpy")
    value = CODEC.decode(ROUNDED[name])
    assert CODEC.encode(CODEC.decode(CODEC.encode(value))) == CODEC.encode(value) or "no number" in name


@pytest.mark.parametrize("name", [*HOSTILE, *HOSTILE_NUMBERS])
def test_a_form_that_says_something_else_than_such_a_value_is_refused(name: str) -> None:
    plain = HOSTILE.get(name) or HOSTILE_NUMBERS[name]
    if name in HOSTILE_NUMBERS or "rounds" in name:
        pytest.importorskip("numpy" if name in HOSTILE_NUMBERS else "pendulum")

    with pytest.raises(DecodeError):
        CODEC.decode(plain)


@given(values, st.sampled_from(sorted(HOSTILE)), st.sampled_from(["v", "at", "kind", "name", "tz", "pure", "type"]))
def test_whatever_stands_in_a_field_nothing_but_a_decode_error_comes_of_it(value: Any, name: str, field: str) -> None:
    plain = {**HOSTILE[name], field: CODEC.encode(value)}
    with contextlib.suppress(DecodeError):
        CODEC.encode(CODEC.decode(plain))


@pytest.mark.parametrize(
    "plain",
    [
        {"_py": "numpy", "dtype": "<M8", "v": 5},
        {"_py": "pendulum.FixedTimezone", "v": 60, "name": "a\x00"},
        {"_py": "dateutil.tzoffset", "v": 60, "name": "\u202e"},
        {"_py": "bson.FixedOffset", "v": 60, "name": "a\n"},
    ],
    ids=lambda plain: plain["_py"],
)
def test_what_could_not_be_stored_again_is_not_let_in(plain: dict[str, Any]) -> None:
    with pytest.raises(DecodeError):
        CODEC.decode(plain)
