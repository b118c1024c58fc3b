"""What docs/storage-format.md says about forms, types and merges is true.

The kind: a sentence of the contract that was once true, or nearly true, and on which another service relies.
"""

from __future__ import annotations

import datetime as dtm
import re
import zoneinfo
from collections import Counter, OrderedDict, defaultdict
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import bson
import pytest
from bson import Decimal128
from bson.int64 import Int64

from ptb_mongo.codec import Codec, load
from ptb_mongo.replica.merge import merge
from ptb_mongo.scopes.ids import whole_number

PAGE = (Path(__file__).parents[2] / "docs/storage-format.md").read_text(encoding="utf-8")
UTC = dtm.timezone.utc
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
SUMMER = dtm.datetime(2024, 7, 2, 3, 4, 5, 123456, BERLIN)


def test_iso_has_the_offset_and_tz_only_what_an_offset_does_not_say() -> None:
    codec = Codec()
    form = codec.encode(SUMMER)
    assert form["iso"] == "2024-07-02T03:04:05.123456+02:00"
    assert form["iso"] in PAGE
    assert form["tz"] == {"_py": "zoneinfo", "v": "Europe/Berlin"}
    assert form["v"] == SUMMER.astimezone(UTC).replace(microsecond=123000)
    assert "tz" not in codec.encode(SUMMER.astimezone(dtm.timezone(dtm.timedelta(hours=2))))
    assert codec.encode(SUMMER.replace(tzinfo=None))["iso"] == "2024-07-02T03:04:05.123456"
    assert codec.encode(dtm.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=BERLIN))["fold"] == 1
    # an edit of `iso` needs no other `tz`: the zone's offset is looked up again
    assert codec.decode({**form, "iso": "2024-01-02T03:04:05+02:00"}).utcoffset() == dtm.timedelta(hours=1)


@pytest.mark.parametrize(
    ("stored", "got"), [(5, int), (Int64(5_000_000_000), int), (5_000_000_000.0, float), (5.0, float)]
)
def test_a_number_is_an_int_or_a_float_as_it_is_stored(stored: Any, got: type) -> None:
    assert type(Codec().decode(load(bson.encode({"n": stored})))["n"]) is got


@pytest.mark.parametrize("stored", [1815, Int64(1815), 1815.0, Decimal128("1815")])
def test_in_an_id_the_types_of_numbers_make_no_difference(stored: Any) -> None:
    assert whole_number(stored) == 1815


def merged(base: Any, local: Any, remote: Any) -> tuple[Any, list[Any]]:
    """The merge of both sides, where the bot's value wins; and where both were asked for."""
    codec, asked = Codec(), []

    def resolve(keys: Any, _: Any, mine: Any, __: Any) -> Any:
        asked.append(keys)
        return mine

    plain = [{"x": codec.encode(value)} for value in (base, local, remote)]
    return codec.decode(merge(*plain, resolve))["x"], asked


@pytest.mark.parametrize(
    "kind",
    [dict, OrderedDict, Counter, lambda items: defaultdict(int, items)],
    ids=["dict", "ordered", "counter", "default"],
)
def test_dicts_of_all_kinds_merge_by_key(kind: Any) -> None:
    assert merged(kind({"a": 1}), kind({"a": 1, "b": 2}), kind({"a": 1, "c": 3})) == (
        kind({"a": 1, "c": 3, "b": 2}),
        [],
    )


@pytest.mark.parametrize(
    ("base", "local", "remote"),
    [
        ((1, 2), (1, 3), (0, 2)),
        ({(1, 2): 1}, {(1, 2): 1, "a": 1}, {(1, 2): 1, "b": 1}),
        (Decimal(1), Decimal(2), Decimal(3)),
        (SUMMER, SUMMER.replace(hour=4), SUMMER.replace(minute=5)),
        (Fraction(1, 3), Fraction(2, 3), Fraction(1, 5)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_tagged_values_are_one_value(base: Any, local: Any, remote: Any) -> None:
    assert merged(base, local, remote) == (local, [("x",)])


def test_every_tag_on_the_page_is_one_that_the_codec_writes_or_reads() -> None:
    tags = set(re.findall(r'_py: "([\w.]+)"', PAGE))
    assert len(tags) >= 30
    sources = "".join(
        file.read_text(encoding="utf-8") for file in (Path(__file__).parents[2] / "ptb_mongo/codec").glob("*.py")
    )
    assert {tag for tag in tags if f'"{tag}"' not in sources and tag.partition(".")[2] not in sources} == set()
