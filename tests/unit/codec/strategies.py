"""Hypothesis strategies for every value that the codec accepts: nested, extreme, and of the samples' classes."""

from __future__ import annotations

import array
import collections
import datetime as dtm
import decimal
import ipaddress
import math
import pathlib
import re
import uuid
import zoneinfo
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import samples
from bson.binary import Binary
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from bson.dbref import DBRef
from bson.decimal128 import Decimal128
from bson.int64 import Int64
from bson.max_key import MaxKey
from bson.min_key import MinKey
from bson.objectid import ObjectId
from bson.regex import Regex
from bson.timestamp import Timestamp
from hypothesis import strategies as st
from library_values import INSTALLED, LIBRARY_VALUES, STANDARD_VALUES, ZONES

__all__ = ["garbage", "keys", "texts", "values"]


def _short(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The same strategy with a short `repr`: those of nested strategies grow without bounds."""

    @st.composite
    def anything(draw: st.DrawFn) -> Any:
        return draw(strategy)

    return anything()


AWKWARD_TEXTS = (
    *("", "a.b", ".", "$set", "$", "a$b", "_py", "_id", "%", "%%", "%25", "%i5", "%i-0", "%empty", "%none", "%5Fpy"),
    *("%btrue", "%2E", "%uD800", "50%", "100%25x", "\0", "a\0b", "\ud800", "x\udfff.", "é", "日本", "🤖", "\u2028"),
    *("telegram", "object", "text", "bot", "v", "cls", "0", "-1", "__class__", "__dict__", "a" * 99),
)

texts = st.one_of(
    st.sampled_from(AWKWARD_TEXTS),
    st.text(max_size=12),
    st.text(alphabet=st.characters(categories=["Cs", "L", "P", "N"]), max_size=6),
    st.text(alphabet="%._$py25iu0D8\0", max_size=8),
)

_extreme_ints = st.sampled_from([2**31, -(2**31) - 1, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1])
_beyond_decimals = st.integers(997, 1003).map(lambda digits: -(10**digits))
integers = st.one_of(st.integers(-5, 5), st.integers(), _extreme_ints, _beyond_decimals)
floats = st.one_of(st.floats(), st.sampled_from([math.inf, -math.inf, -0.0, 0.0, math.nan, -math.nan, 5e-324]))

_offsets = st.timedeltas(dtm.timedelta(hours=-23), dtm.timedelta(hours=23))
fixed_zones = st.one_of(
    st.just(dtm.timezone.utc),
    st.just(dtm.timezone(dtm.timedelta(0), "UTC")),
    st.just(dtm.timezone(dtm.timedelta(0), "GMT")),
    st.builds(lambda minutes: dtm.timezone(dtm.timedelta(minutes=minutes)), st.integers(-1439, 1439)),
    st.builds(dtm.timezone, _offsets),
    st.builds(dtm.timezone, _offsets, texts),
)
named_zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Africa/Monrovia"]).map(
    zoneinfo.ZoneInfo
)
zones = st.one_of(st.none(), fixed_zones, named_zones, st.sampled_from(ZONES))
_folds = st.sampled_from([0, 0, 0, 1])
datetimes = st.one_of(
    st.builds(
        lambda value, fold: value.replace(fold=fold), st.datetimes(timezones=zones, allow_imaginary=True), _folds
    ),
    st.builds(
        lambda value: value.replace(microsecond=value.microsecond // 1000 * 1000),
        st.datetimes(timezones=st.just(dtm.timezone.utc)),
    ),
    st.builds(
        lambda zone, fold: dtm.datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=zone),  # twice, in Berlin
        zones,
        _folds,
    ),
    st.builds(lambda day, zone: dtm.datetime(*day, tzinfo=zone), st.sampled_from([(1, 1, 1), (9999, 12, 31)]), zones),
)
times = st.one_of(
    st.builds(
        lambda value, fold: value.replace(fold=fold), st.datetimes(timezones=zones, allow_imaginary=True), _folds
    ),
    st.builds(
        lambda value: value.replace(microsecond=value.microsecond // 1000 * 1000),
        st.datetimes(timezones=st.just(dtm.timezone.utc)),
    ),
    st.builds(
        lambda zone, fold: dtm.datetime(2024, 10, 27, 2, 30, fold=fold, tzinfo=zone),  # twice, in Berlin
        zones,
        _folds,
    ),
    st.builds(
        lambda year, zone: dtm.datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, tzinfo=zone),
        st.sampled_from([1, 9999]),
        zones,
    ),
)
times = st.one_of(
    st.times(timezones=zones), st.builds(lambda value, fold: value.replace(fold=fold), st.times(), _folds)
)

decimals = st.one_of(
    st.decimals(),
    st.sampled_from(["NaN", "-NaN123", "sNaN", "sNaN5", "-0", "0E-6176", "1E+6144", "-Infinity"]).map(decimal.Decimal),
    st.sampled_from(["1E+99999", "9" * 34, "9" * 60, "0E+7000", "1.10", "-0.00"]).map(decimal.Decimal),
)
patterns = st.one_of(
    st.sampled_from(["a+", "(?i)ä", "\ud800", r"\d{2}\Z", ""]).map(re.compile),
    st.sampled_from([re.compile("x", re.VERBOSE | re.MULTILINE | re.DOTALL), re.compile("é", re.ASCII)]),
    st.sampled_from([re.compile(b"a\x00"), re.compile(b"k", re.IGNORECASE)]),
)
of_bson = st.one_of(
    st.binary(min_size=12, max_size=12).map(ObjectId),
    st.sampled_from(["1.5", "NaN", "sNaN", "-Infinity", "0E+6111"]).map(Decimal128),
    st.builds(Timestamp, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    st.integers(-(2**63), 2**63 - 1).map(Int64),
    st.builds(Binary, st.binary(max_size=20), st.sampled_from([0, 1, 2, 3, 4, 5, 6, 7, 128, 254])),
    st.builds(Binary, st.binary(min_size=16, max_size=16), st.sampled_from([3, 4])),
    st.builds(
        Regex, st.sampled_from(["a", "é", ""]), st.sampled_from([0, int(re.IGNORECASE), int(re.MULTILINE | re.VERBOSE)])
    ),
    st.sampled_from([MinKey(), MaxKey()]),
    st.sampled_from([Code("f()"), Code("f(x)", {"x": 1}), Code("", {})]),
    st.sampled_from([DBRef("c", 1), DBRef("c", "x", "db"), DBRef("c", ObjectId(b"0" * 12), extra="y")]),
    st.sampled_from([0, -1, 253402300799999, 253402300800000, -62135596800001, 2**62]).map(DatetimeMS),
)
enums = st.sampled_from(
    [
        *samples.Colour,
        *samples.Level,
        *samples.Word,
        *samples.Shop.Size,
        *(samples.Right(number) for number in range(4)),
        *(samples.Mode(number) for number in range(16)),
    ]
)
classes = st.sampled_from([int, dict, samples.Plain, samples.Shop.Item, samples.Colour, dtm.date, samples.Letter])
paths = st.sampled_from([pathlib.PurePosixPath("/a/../b"), pathlib.PureWindowsPath("C:/x"), pathlib.PurePath()])
addresses = st.one_of(
    st.ip_addresses(),
    st.sampled_from(["10.0.0.0/8", "::/0", "2001:db8::/32"]).map(ipaddress.ip_network),
    st.sampled_from(["10.1.2.3/8", "fe80::1%eth0/64"]).map(ipaddress.ip_interface),
)
of_strings_and_numbers = st.one_of(
    texts.map(samples.Title), integers.map(samples.Number), st.binary(max_size=9).map(samples.Blob)
)

hashables_without_content = _short(
    st.one_of(
        st.none(),
        st.booleans(),
        integers,
        floats,
        texts,
        st.binary(max_size=20),
        datetimes,
        st.dates(),
        times,
        st.timedeltas(),
        fixed_zones,
        named_zones,
        decimals.filter(lambda value: not value.is_snan()),  # which has no hash
        st.uuids(),
        st.sampled_from([uuid.uuid3(uuid.NAMESPACE_DNS, "x"), uuid.UUID(int=0)]),
        st.fractions(),
        st.just(Fraction(10**100, 3)),
        st.complex_numbers(),
        st.builds(range, st.integers(), st.integers(), st.integers().filter(bool)),
        patterns,
        enums,
        classes,
        paths,
        addresses,
        of_strings_and_numbers,
    )
)
_arrays = st.one_of(
    st.builds(array.array, st.sampled_from("fd"), st.lists(st.floats(width=32), max_size=5)),
    st.builds(array.array, st.sampled_from("bhilq"), st.lists(st.integers(-128, 127), max_size=5)),
)
if "numpy" in INSTALLED:
    import numpy as np

    _arrays = st.one_of(
        _arrays,
        st.builds(np.array, st.lists(st.floats(width=32), max_size=6), st.sampled_from(["<f4", ">f4", "<f8", "<c16"])),
        st.builds(np.array, st.lists(st.integers(0, 127), max_size=6), st.sampled_from(["i1", "u8", ">i2", "M8[s]"])),
        st.lists(st.text(max_size=5), max_size=4).map(lambda items: np.array(items, dtype="U5")),
        floats.map(np.float64),
        st.integers(-(2**63), 2**63 - 1).map(np.int64),
    )
scalars = st.one_of(
    hashables_without_content,
    decimals,
    of_bson,
    st.binary(max_size=20).map(bytearray),
    st.just(slice(1, None, 2)),
    _arrays,
    st.sampled_from([*STANDARD_VALUES, *LIBRARY_VALUES]),
)
keys = _short(
    st.recursive(
        hashables_without_content,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3).map(tuple),
            st.frozensets(inner, max_size=3),
            st.builds(samples.Frozen, inner, inner),
            st.builds(samples.FrozenSlotted, inner),
            st.builds(samples.Point, inner, inner),
            st.frozensets(inner, max_size=3).map(samples.Frost),
        ),
        max_leaves=4,
    )
)
_dict_keys = st.one_of(texts, texts, st.integers(), st.none(), st.booleans(), keys)


def _defaultdict(factory: type | None, content: dict[Any, Any]) -> collections.defaultdict[Any, Any]:
    return collections.defaultdict(factory, content)


def _place(x: Any, note: Any) -> samples.Place:
    place = samples.Place(x)
    if note is not None:
        place.note = note
    return place


def _containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    inner = _short(inner)
    lists = st.lists(inner, max_size=4)
    documents = st.dictionaries(texts, inner, max_size=4)
    mappings = st.dictionaries(_dict_keys, inner, max_size=4)
    attributes = st.dictionaries(st.sampled_from(["a", "b", "_c", "é", "class", "_py"]), inner, max_size=3)
    return st.one_of(
        lists,
        lists.map(tuple),
        documents,
        mappings,
        st.sets(keys, max_size=4),
        st.frozensets(keys, max_size=4),
        st.builds(collections.deque, lists, st.sampled_from([None, 0, 2, 9])),
        mappings.map(collections.OrderedDict),
        mappings.map(collections.Counter),
        st.builds(_defaultdict, st.sampled_from([None, int, list, samples.Bare]), mappings),
        st.builds(samples.Plain, inner, inner),
        st.builds(samples.Frozen, inner),
        st.builds(samples.Slotted, inner, inner),
        st.builds(samples.FrozenSlotted, inner),
        st.builds(samples.Counting, inner),
        st.builds(samples.Shop.Item, inner),
        attributes.map(lambda items: samples.Bare(**items)),
        st.builds(samples.Hidden, inner, inner),
        st.builds(lambda a, b, items: samples.Mixed(a, b, **items), inner, inner, st.just({"z": 1, "é": 2})),
        st.builds(samples.Guarded, inner),
        st.builds(samples.Point, inner, inner),
        st.builds(samples.Pair, inner),
        st.builds(_place, inner, st.one_of(st.none(), texts)),
        st.builds(lambda a, b: SimpleNamespace(a=a, b={"b": b, "c": (a, b)}), inner, lists),
        _iterators(lists),
        _pickled(inner),
        _shaped(inner),
        *([_of_libraries(inner)] if samples.WITH_LIBRARIES else []),
    )


def _shaped(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with a state of their own, and of subclasses of built-in types."""
    lists = st.lists(inner, max_size=3)
    return st.one_of(
        st.builds(samples.Stateful, st.sets(keys, max_size=4)),
        st.builds(samples.Migrated, inner),
        st.builds(samples.WithLock, inner),
        st.builds(samples.InSlots, inner, inner),
        st.builds(samples.Named, lists, inner),
        st.builds(samples.label, texts, inner),
        st.builds(samples.ratio, floats, inner),
        lists.map(lambda items: samples.Vector(*items)),
        lists.map(samples.Row),
        st.dictionaries(_dict_keys, inner, max_size=3).map(samples.Table),
        st.sets(keys, max_size=4).map(samples.Tags),
        st.builds(samples.Ring, lists, st.sampled_from([None, 2])),
    )


def _of_libraries(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects of pydantic, attrs and msgspec."""
    import shaped

    attributes = st.dictionaries(st.sampled_from(["a", "b", "é", "class"]), inner, max_size=2)
    return st.one_of(
        st.builds(shaped.Model, name=inner),
        st.builds(shaped.Model, name=inner, score=inner, tags=st.lists(inner, max_size=2)),
        st.builds(shaped.FrozenModel, name=inner),
        st.builds(lambda name, more: shaped.OpenModel(name=name, **more), inner, attributes),
        st.builds(shaped.Wrapped, inner),
        st.builds(shaped.Defined, inner),
        st.builds(shaped.FrozenDefined, inner),
        st.builds(shaped.OpenDefined, inner, inner),
        st.builds(shaped.Struct, inner, st.lists(inner, max_size=2)),
        st.builds(shaped.FrozenStruct, a=inner),
        st.builds(shaped.OpenStruct, inner),
    )


def _iterators(lists: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    simple = st.one_of(lists.map(iter), lists.map(tuple).map(iter), lists.map(reversed), texts.map(iter))
    return st.one_of(
        simple,
        st.builds(enumerate, simple, integers),
        st.builds(lambda one, other: zip(one, other, strict=False), simple, simple),
    )


def _pickled(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What is stored as a pickle."""
    lists = st.lists(inner, max_size=3)
    return st.one_of(
        st.builds(samples.Reduced, inner),
        st.builds(samples.MishapError, inner, lists),
    )


values = _short(st.recursive(_short(scalars), _containers, max_leaves=8))

garbage = _short(
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(2**63), 2**63 - 1),
            st.sampled_from([10**9, 2**62, -1]),
            st.floats(),
            st.sampled_from(AWKWARD_TEXTS).filter(lambda text: text.isprintable() and "\ud800" not in text),
            st.sampled_from(
                ["builtins.eval", "os.system", "samples.Plain", "samples.Colour", "builtins.dict", "nan", "1e9"]
            ),
            st.binary(max_size=8),
            st.datetimes(timezones=st.just(dtm.timezone.utc)),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(["_py", "v", "cls", "state", "a", "%i1", "1", "$set"]), inner, max_size=3),
            st.builds(
                lambda tag, v: {"_py": tag, "v": v}, st.sampled_from(["tuple", "set", "dict", "int", "bson"]), inner
            ),
        ),
        max_leaves=4,
    )
)
"""Plain documents that other services might write where the codec expects something else."""
