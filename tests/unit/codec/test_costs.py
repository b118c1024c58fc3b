"""What planted data costs: time and memory in proportion to its bytes, with the factors that SECURITY.md gives.

The kind of fault: a few bytes stand for a value that takes for ever, or all memory, to be made, copied or stored again.
So of each form, and of each class that can be restored, as many as fit are decoded, in documents of three sizes.
"""

from __future__ import annotations

import datetime as dtm
import multiprocessing
import pickle
import re
import struct
import time
import tracemalloc
import zoneinfo
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bson
import pytest
import samples
import telegram
from assembler import RESTORE, literal, made, planted, restore, text
from deep import IS_DEEP
from zoo import ZOO

from ptb_mongo.codec import Codec, dump, fingerprint, load
from ptb_mongo.codec import restore as RESTORED  # noqa: N812
from ptb_mongo.codec.proportion import LOOKED_AT_AT_LEAST, LOOKED_AT_PER_BYTE
from ptb_mongo.codec.standard import STANDARD
from ptb_mongo.codec.trust import Trust
from ptb_mongo.errors import DecodeError

CODEC = Codec(samples.TRUSTED)
SECONDS_PER_BYTE = 20e-6
MEMORY_PER_BYTE = 500
"""Of which a check takes most, and gives it back: in a pickle, two bytes stand for an empty tuple."""
MEMORY_PER_CHARACTER = 350
"""Of a pattern, while it is compiled."""
SECONDS = 0.5
"""What even the smallest document may take: for its patterns, for what it shares, and for what else a machine does."""
MEMORY = 8_000_000

SIZES = [1000, 100_000, 1_000_000] if IS_DEEP else [1000, 10_000]
"""All of it takes an hour: `HYPOTHESIS_PROFILE=deep pytest tests/unit/codec/test_costs.py`."""
TRACED = 50_000
"""Up to how many bytes each allocation is traced, which takes ten times as long; beyond, a process is measured."""

ZONES = sorted(zoneinfo.available_timezones())
PRIME = 2**61 - 1
"""Each multiple of it has the hash 0."""
SAME_HASH = [{"_py": "int", "v": str(number * PRIME)} for number in range(1, 1000)]


def sets_in_sets(levels: int) -> dict[str, Any]:
    """What a loop that looks twice at each level looks at so often that it is seen."""
    value: dict[str, Any] = {"_py": "frozenset", "v": []}
    for _ in range(levels):
        value = {"_py": "frozenset", "v": [value]}
    return value


NEWS = (
    "telegram",
    "telegram.Message",
    {"api_kwargs": {name: {} for name in ("chat", "video", "poll", "game", "gift")}},
)
UNITS: dict[str, Any] = {
    "an empty list": [],
    "an empty tuple": {"_py": "tuple", "v": []},
    "an empty set": {"_py": "set", "v": []},
    "an empty deque": {"_py": "deque", "v": [], "maxlen": 1},
    "an empty OrderedDict": {"_py": "OrderedDict", "v": {}},
    "an empty Counter": {"_py": "Counter", "v": {}},
    "an empty defaultdict": {"_py": "defaultdict", "factory": {"_py": "class", "v": "builtins.list"}, "v": {}},
    "a dict of pairs": {"_py": "dict", "v": [[1, 1]]},
    "a long number": {"_py": "int", "v": "0x" + "f" * 200},
    "a decimal": {"_py": "decimal", "v": "1.5e99999"},
    "a fraction": {"_py": "fraction", "v": [1, 3]},
    "a range": {"_py": "range", "v": [0, 10**9, 1]},
    "a bytearray": {"_py": "bytearray", "v": b""},
    "a date": {"_py": "datetime", "iso": "2024-01-01T00:00:00"},
    "a date with a zone": {
        "_py": "datetime",
        "iso": "2024-01-01T00:00:00",
        "tz": {"_py": "zoneinfo", "v": "Asia/Tokyo"},
    },
    "a timedelta": {"_py": "timedelta", "days": 1, "seconds": 1, "microseconds": 1},
    "a member of an enum": {"_py": "enum", "cls": "samples.Colour", "name": "RED"},
    "a class": {"_py": "class", "v": "telegram.User"},
    "sets in sets": sets_in_sets(24),
    "an object": {"_py": "object", "cls": "samples.Bare", "state": {}},
    "a named tuple": {"_py": "namedtuple", "cls": "samples.Point", "v": {"x": 1}},
    "an object of a subclass of list": {"_py": "list", "cls": "samples.Row", "v": []},
    "an object of a subclass of dict": {"_py": "dict", "cls": "samples.Table", "v": {}},
    "an object of a subclass of set": {"_py": "set", "cls": "samples.Tags", "v": []},
    "an object of a subclass of deque": {"_py": "deque", "cls": "samples.Ring", "v": []},
    "an object of a subclass of int": {"_py": "int", "cls": "samples.Number", "v": 1},
    "an object with a state of its own": {"_py": "object", "cls": "samples.Stateful", "state": ["state", 1]},
    "an object that lacks what has a default": {"_py": "object", "cls": "samples.Counting", "state": {"a": 1}},
    "an object with what its class has no field for": {
        "_py": "object",
        "cls": "samples.Slotted",
        "state": {"a": 1, "gone": 1},
    },
    **(
        {
            "a model": {"_py": "object", "cls": "shaped.Model", "state": {"name": 1}},
            "an open model": {"_py": "object", "cls": "shaped.OpenModel", "state": {"name": 1}},
            "an object of attrs": {"_py": "object", "cls": "shaped.FrozenDefined", "state": {"a": 1}},
            "a struct": {"_py": "object", "cls": "shaped.Struct", "state": {"a": 1}},
        }
        if samples.WITH_LIBRARIES
        else {}
    ),
    "packed BSON": {"_py": "bson", "v": bson.encode({"v": 1})},
    "a namespace": planted(made("types.SimpleNamespace")),
    "an UUID": planted(made("uuid.UUID", bare=True, state={"int": 5})),
    "a message": {"_py": "telegram", "pickle": planted(restore("telegram", "telegram.Message", {}))["v"]},
    "a date of pytz": {
        "_py": "datetime",
        "iso": "2024-01-01T00:00:00+01:00",
        "tz": {"_py": "pytz", "v": "Europe/Berlin", "offset": 3600, "dst": 0, "name": "CET"},
    },
    "an offset of pytz": {"_py": "pytz.FixedOffset", "v": 1},
    "UTC of dateutil": {"_py": "dateutil.tzutc"},
    "an offset of dateutil": {"_py": "dateutil.tzoffset", "v": 1},
    "a zone of dateutil": {"_py": "dateutil.gettz", "v": "Asia/Tokyo"},
    "the local zone": {"_py": "dateutil.tzlocal"},
    "a zone of pendulum": {"_py": "pendulum.Timezone", "v": "Asia/Tokyo"},
    "an offset of pendulum": {"_py": "pendulum.FixedTimezone", "v": 1},
    "an offset of PyMongo": {"_py": "bson.FixedOffset", "v": 1},
    "a date of pendulum": {"_py": "pendulum.DateTime", "iso": "2024-01-01T00:00:00"},
    "a day of pendulum": {"_py": "pendulum.Date", "v": dtm.datetime(2024, 1, 1, tzinfo=dtm.timezone.utc)},
    "a time of pendulum": {"_py": "pendulum.Time", "v": "00:00"},
    "a duration of pendulum": {"_py": "pendulum.Duration", "days": 1, "seconds": 1, "microseconds": 1},
    "a path": {"_py": "path", "v": "a/" * 40},
    "a windows path": {"_py": "path", "pure": "windows", "v": "a"},
    "a network": {"_py": "IPv6Network", "v": "::/0"},
    "an interface": {"_py": "IPv4Interface", "v": "0.0.0.0/0"},
    "a complex number": {"_py": "complex", "v": [1, 1]},
    "a slice": {"_py": "slice"},
    "an array": {"_py": "array", "type": "d", "v": []},
    "an iterator": {"_py": "iterator", "v": ""},
    "an iterator that goes back": {"_py": "iterator", "kind": "reversed", "v": []},
    "an iterator of iterators": {"_py": "iterator", "kind": "zip", "v": []},
    "a number of numpy": {"_py": "numpy", "dtype": "int8", "v": 1},
    "a moment of numpy": {"_py": "numpy", "dtype": "<M8[s]", "v": 1},
    "an array of numpy": {"_py": "ndarray", "dtype": "<f8", "shape": [], "v": [1]},
    "an array of no elements": {"_py": "ndarray", "dtype": "<U250", "shape": [0], "v": []},
    "an array of short texts": {"_py": "ndarray", "dtype": "<U127", "shape": [1], "v": [""]},
    "an array in the other order": {"_py": "ndarray", "dtype": "<i8", "shape": [1, 1], "order": "F", "v": b"01234567"},
    "a namespace of its attributes": {"_py": "object", "cls": "types.SimpleNamespace", "state": {}},
    "a member of a standard enum": {"_py": "enum", "cls": "http.HTTPStatus", "name": "OK"},
    "a message of another version": {
        "_py": "telegram",
        "ptb": "0",
        "pickle": planted(restore("telegram", "telegram.Message", {}))["v"],
    },
    "news for this version": {"_py": "telegram", "ptb": "0", "pickle": planted(restore(*NEWS))["v"]},
    "an object of a lost class": {
        "_py": "telegram",
        "ptb": "0",
        "base": "telegram.Message",
        "pickle": planted(restore("telegram", "telegram.Lost", {}))["v"],
    },
    "many equal hashes": {"_py": "set", "v": SAME_HASH},
}


def deep_iterators(levels: int) -> Any:
    plain: Any = {"_py": "iterator", "v": [1]}
    for _ in range(levels):
        plain = {"_py": "iterator", "kind": "enumerate", "v": plain, "at": 0}
    return plain


def many(unit: Any, size: int) -> list[Any]:
    return [unit] * max(1, size // len(dump({"0": unit})))


def holding(opcodes: bytes) -> dict[str, Any]:
    """One pickle of an object that holds this."""
    return planted(made("samples.Stateful", bare=True, state=["state", opcodes]))


def repeated(kind: str, name: str, end: bytes, size: int) -> dict[str, Any]:
    """As many objects as fit into one pickle, each of which takes a few bytes."""
    head = b"".join(part + b"\x940" for part in (RESTORE, literal(kind), literal(name)))  # remembered, and popped
    one = b"h\0(h\1h\2" + end + b"tR"
    return holding(head + b"(" + one * (size // len(one)) + b"t")


WHOLE: dict[str, Callable[[int], Any]] = {
    "numbers": lambda size: list(range(size // 11)),
    "a text": lambda size: "x" * size,
    "escaped keys": lambda size: {f"%i{number}": number for number in range(size // 14)},
    "a set": lambda size: {"_py": "set", "v": list(range(size // 11))},
    "zones": lambda size: [{"_py": "zoneinfo", "v": ZONES[number % len(ZONES)]} for number in range(size // 50)],
    **{
        tag: lambda size, tag=tag: [{"_py": tag, "v": ZONES[number % len(ZONES)]} for number in range(size // 50)]
        for tag in ("pytz", "dateutil.gettz", "pendulum.Timezone")
    },
    "periods of pytz": lambda size: [
        {"_py": "pytz", "v": "Europe/Berlin", "offset": number % 86_000, "dst": 0} for number in range(size // 60)
    ],
    "offsets of dateutil": lambda size: [
        {"_py": "dateutil.tzoffset", "v": number % 86_000} for number in range(size // 40)
    ],
    "one array of numbers": lambda size: {"_py": "array", "type": "d", "v": [1.5] * (size // 15)},
    "one array of bytes": lambda size: {"_py": "array", "type": "b", "size": 1, "v": b"x" * size},
    "one array of numpy": lambda size: {
        "_py": "ndarray",
        "dtype": "|i1",
        "shape": [size // 11],
        "v": [1] * (size // 11),
    },
    "one array of bytes of numpy": lambda size: {"_py": "ndarray", "dtype": "|i1", "shape": [size], "v": b"x" * size},
    "a path of many parts": lambda size: {"_py": "path", "v": "a/" * (size // 2)},
    "an iterator over a text": lambda size: {"_py": "iterator", "v": "x" * size},
    "iterators in iterators": lambda size: deep_iterators(min(size // 50, 100)),
    "patterns": lambda size: [{"_py": "regex", "v": f"()a{number}", "flags": 32} for number in range(size // 50)],
    "a long pattern": lambda size: {"_py": "regex", "v": "()" * (min(size, 99_000) // 2), "flags": 32},
    "wide classes of characters": lambda size: [
        {"_py": "regex", "v": f"[\u0400-\uffff]{number}", "flags": 34} for number in range(size // 60)
    ],
    "lists in a pickle": lambda size: holding(b"(" + b"]" * size + b"t"),
    "dicts in a pickle": lambda size: holding(b"(" + b"}" * size + b"t"),
    "tuples in a pickle": lambda size: holding(b"(" + b")\x85" * (size // 2) + b"t"),
    "deep tuples in a pickle": lambda size: holding(b")" + b"\x85" * size),
    "a long number in a pickle": lambda size: holding(b"\x8b" + struct.pack("<I", size) + b"\x01" * size),
    "one text in many places": lambda size: holding(
        literal("x" * (size // 2)) + b"\x940(" + b"h\0" * (size // 4) + b"t"
    ),
    "classes of characters": lambda size: [
        {"_py": "regex", "v": f"[a-z]+{number}", "flags": 34} for number in range(size // 60)
    ],
    "what stands in as many places as it may": lambda size: holding(in_as_many_places_as_it_may(size)),
    "news in a pickle": lambda size: repeated("telegram", "telegram.Message", literal(NEWS[2]), size) | {"ptb": "0"},
    "news that stands in many places": lambda size: other_version(
        {"entities": [{"type": "bold", "offset": 1, "length": 1}] * (size // 2)}
    ),
    "news of news, twice": lambda size: other_version(replies(min(size // 45, 100))),
    "news in an attribute, in many places": lambda size: other_version(
        {}, entities=[{"type": "bold", "offset": 1, "length": 1}] * (size // 2)
    ),
    "news that stands in one place": lambda size: other_version(
        {"entities": [{"type": "bold", "offset": at, "length": 1} for at in range(size // 30)]}
    ),
    "messages": lambda size: repeated("telegram", "telegram.Message", literal({"message_id": 1}), size),
    "messages of a few bytes": lambda size: repeated("telegram", "telegram.Message", b"}", size),
    "namespaces of a few bytes": lambda size: repeated("object", "types.SimpleNamespace", b"\x89)", size),
    "a chain of references to the next, twice": lambda size: holding(chain(min(size // 12, 200))),
    "dicts that hold what others hold": lambda size: holding(b"(" + dicts_of_one(size) + b"t"),
    "keys of one hash, one by one": lambda size: holding(
        b"}" + b"".join(literal(number * PRIME) + b"Ns" for number in range(1, size // 12))
    ),
    "keys of one hash that share what is dear to compare": lambda size: holding(
        equal_tuples(size // 2) + b"}(" + shared_keys(size // 2, end=b"N") + b"u"
    ),
    "the same, one by one": lambda size: holding(equal_tuples(size // 2) + b"}" + shared_keys(size // 2, end=b"Ns")),
    "the same, in sets": lambda size: holding(
        equal_tuples(size // 2) + text("set") + b"](" + shared_keys(size // 2, end=b"") + b"e\x86Q"
    ),
    "decimals with the hash of a long fraction": lambda size: {
        "_py": "set",
        "v": [
            {"_py": "fraction", "v": [{"_py": "int", "v": hex(PRIME << min(size * 4, 90_000))}, 7]},
            *({"_py": "decimal", "v": str(number * PRIME)} for number in range(1, size // 120)),
        ],
    },
    "tuples of one hash": lambda size: {
        "_py": "set",
        "v": [
            {"_py": "tuple", "v": [{"_py": "fraction", "v": [1, 3]}, {"_py": "int", "v": str(number * PRIME)}]}
            for number in range(1, size // 180)
        ],
    },
}


REFUSED = {
    "wide classes of characters": "not a valid regex",
    "deep tuples in a pickle": "cannot be copied|nested deeper",  # since Python 3.12 the latter
    "one text in many places": "the same parts",
    "messages": "larger than 16 MB",
    "messages of a few bytes": "much more of its bytes",
    "tuples in a pickle": "larger than 16 MB",
    "news that stands in many places": "the same parts",
    "news of news, twice": "the same parts",
    "news in an attribute, in many places": "the same parts",
    "a chain of references to the next, twice": "the same parts",
    "keys of one hash, one by one": "the same hash",
    "keys of one hash that share what is dear to compare": "the same hash|the same parts",
    "the same, one by one": "the same hash|the same parts",
    "the same, in sets": "the same hash|the same parts",
    "decimals with the hash of a long fraction": "the same hash",
    "tuples of one hash": "the same hash",
}
"""Those that are not let in, and why; all others are."""
LET_IN_UP_TO = {
    "messages": 100_000,
    "tuples in a pickle": 100_000,
    "one text in many places": 1000,
    "news that stands in many places": 1000,
    "news in an attribute, in many places": 1000,
    "keys of one hash, one by one": 20_000,
    "decimals with the hash of a long fraction": 1000,
    "tuples of one hash": 10_000,
}
GROWING_NO_FURTHER = {"a long pattern", "news of news, twice", "a chain of references to the next, twice"}


def other_version(news: dict[str, Any], **known: Any) -> dict[str, Any]:
    """A message that another version has stored, with what it did not know, and shares as Python does."""
    state = {"message_id": 1, **known, "api_kwargs": news}
    return {"_py": "telegram", "ptb": "0", "pickle": pickle.dumps(Restored("telegram", "telegram.Message", state), 5)}


class Restored:
    def __init__(self, *args: Any) -> None:
        self.args = args

    def __reduce__(self) -> tuple[Any, ...]:
        return RESTORED, self.args


def replies(levels: int) -> dict[str, Any]:
    """JSON that stands for twice as many messages with each level."""
    base = {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}}
    news: dict[str, Any] = {}
    for _ in range(levels):
        news = {"reply_to_message": base | news, "pinned_message": None}
        news["pinned_message"] = news["reply_to_message"]
    return news


def in_as_many_places_as_it_may(size: int) -> bytes:
    """One tuple, which a copy takes apart in each place."""
    places = size // 4
    parts = min(size // 2, (LOOKED_AT_AT_LEAST + LOOKED_AT_PER_BYTE * size // 2) * 9 // 10 // places - 32)
    return b"(" + b"N" * parts + b"t\x940(" + b"h\0" * places + b"t"


def chain(levels: int) -> bytes:
    opcodes = literal(0)
    for level in range(levels):
        again = b"j" + struct.pack("<I", level)
        opcodes += b"\x940" + pickle_list(again)
    return opcodes


def dicts_of_one(size: int) -> bytes:
    """One list, and dicts each of which holds it twice."""
    one = b"}(" + literal("a") + b"h\0" + literal("b") + b"h\0u"
    return b"]\x940" + one * (size // len(one))


def equal_tuples(size: int) -> bytes:
    """Remembers two tuples of fractions that are equal, and not the same."""
    one = b"(" + restore("fraction", 1, 3) * (size // 2 // len(restore("fraction", 1, 3))) + b"t\x940"
    return one + one


def shared_keys(size: int, end: bytes) -> bytes:
    """Keys of one hash, each of which holds one of the two."""
    return b"".join(
        b"h" + bytes([number % 2]) + literal(number * PRIME) + b"\x86" + end for number in range(1, size // 14)
    )


def pickle_list(again: bytes) -> bytes:
    return b"](" + again + again + b"e"


def assert_cheap(plain: Any, memory_per_byte: int = MEMORY_PER_BYTE) -> str:
    """Why it is refused; nothing, if it is let in."""
    raw = dump({"data": plain})
    reason, seconds, peak = traced(raw) if len(raw) <= TRACED else measured_apart(raw)
    assert seconds < SECONDS + SECONDS_PER_BYTE * len(raw), f"{seconds:.1f} s for {len(raw):,} bytes"
    assert peak < MEMORY + memory_per_byte * len(raw), f"{peak:,} bytes of memory for {len(raw):,}"
    return reason


def traced(raw: bytes) -> tuple[str, float, int]:
    """What it takes: seconds, and bytes of memory."""
    started = time.process_time()
    reason = use(raw)
    seconds = time.process_time() - started
    re.purge()  # else patterns are not compiled again
    tracemalloc.start()
    try:
        use(raw)
        return reason, seconds, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def measured_apart(raw: bytes) -> tuple[str, float, int]:
    """The same, in a process that shows its memory to the system (Linux alone)."""
    fork = multiprocessing.get_context("fork")
    ours, theirs = fork.Pipe()
    process = fork.Process(target=lambda: theirs.send(measured(raw)))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    finally:
        process.join()


def measured(raw: bytes) -> tuple[str, float, int]:
    Path("/proc/self/clear_refs").write_text("5")  # the most memory so far is what there is now
    before, started = memory("VmRSS"), time.process_time()
    reason = use(raw)
    return reason, time.process_time() - started, memory("VmHWM") - before


def memory(name: str) -> int:
    found = re.search(rf"{name}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


def use(raw: bytes) -> str:
    """What a bot does with a document that it loads, and is asked to save again."""
    try:
        value = CODEC.decode_body(raw, load(raw))
        if CODEC.doubtful:
            CODEC.check_usable(value, copied=True)
    except DecodeError as error:
        return error.reason
    if fingerprint(value) is not None:
        CODEC.nature(value)
    return ""


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", UNITS)
def test_as_many_as_fit_cost_no_more_than_their_bytes(name: str, size: int) -> None:
    assert assert_cheap(many(UNITS[name], size)) == ""


@pytest.mark.filterwarnings("ignore")  # some patterns are deprecated
@pytest.mark.parametrize(
    ("name", "size"),
    [(name, size) for name in WHOLE for size in SIZES if size <= 100_000 or name not in GROWING_NO_FURTHER],
)
def test_one_large_value_costs_no_more_than_its_bytes(name: str, size: int) -> None:
    reason = assert_cheap(WHOLE[name](size), MEMORY_PER_CHARACTER if "pattern" in name else MEMORY_PER_BYTE)

    if name in REFUSED and size > LET_IN_UP_TO.get(name, 0):
        assert re.search(REFUSED[name], reason)
    else:
        assert reason == ""


def telegram_names() -> Iterator[str]:
    for name, cls in vars(telegram).items():
        if isinstance(cls, type) and issubclass(cls, telegram.TelegramObject) and not issubclass(cls, telegram.Bot):
            yield f"telegram.{name}"


TELEGRAM = list(telegram_names())
SIZES_OF_EACH = SIZES if IS_DEEP else [100]


@pytest.mark.parametrize("size", SIZES_OF_EACH)
@pytest.mark.parametrize("names", [TELEGRAM[start::10] for start in range(10)], ids=lambda names: names[0])
def test_telegram_objects_of_no_class_cost_more_than_their_bytes(names: list[str], size: int) -> None:
    for name in names:
        assert_cheap(repeated("telegram", name, b"}", size))


@pytest.mark.parametrize("size", SIZES_OF_EACH)
@pytest.mark.parametrize("cls", STANDARD)
def test_calls_of_no_standard_class_cost_more_than_their_bytes(cls: type, size: int) -> None:
    assert_cheap(repeated("object", Trust().name_of(cls), b"\x89)", size))


@pytest.mark.parametrize("size", SIZES_OF_EACH)
@pytest.mark.parametrize("value", ZOO, ids=lambda value: type(value).__name__)
def test_honest_values_cost_no_more_than_their_bytes(value: Any, size: int) -> None:
    assert assert_cheap(many(CODEC.encode(value), size)) == ""


def test_every_class_of_telegram_is_among_them() -> None:
    assert len(TELEGRAM) > 180  # 189 under PTB 21.0
