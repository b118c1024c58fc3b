"""Other services write to the database, too: whatever they plant there is inert, or at once a `DecodeError`."""

from __future__ import annotations

import builtins
import contextlib
import copyreg
import datetime as dtm
import enum
import functools
import os
import pickle
import re
import struct
import subprocess
import time
import warnings
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bson
import pytest
import samples
import telegram
from assembler import RESTORE, called, literal, made, named, planted, restore
from bson.code import Code
from bson.datetime_ms import DatetimeMS
from hypothesis import example, given
from hypothesis import strategies as st
from library_values import INSTALLED
from roundtrip import CODEC, stored
from strategies import garbage, values
from zoo import ZOO

from ptb_mongo.codec import dump, load
from ptb_mongo.codec.inert import INERT
from ptb_mongo.errors import DecodeError, EncodeError

QUICK = 3.0
"""Seconds of a processor that nothing here may take; what hangs takes for ever, or all memory."""


@pytest.fixture(autouse=True)
def nothing_runs() -> Iterator[None]:
    """The sentinel: planted data has not reached `samples.fire`, and nothing was slow."""
    samples.FIRED.clear()
    started = time.process_time()
    yield
    assert samples.FIRED == []
    assert time.process_time() - started < QUICK * 10


def refuse(plain: object) -> DecodeError:
    """Decodes what must be refused, and quickly."""
    raw = dump({"data": {"planted": plain}})
    started = time.process_time()
    with pytest.raises(DecodeError) as caught:
        CODEC.decode_body(raw, load(raw))
    assert time.process_time() - started < QUICK
    assert len(str(caught.value)) < 1000
    return caught.value


NETWORK = made("ipaddress.IPv4Network", "0.0.0.0/0")
FIRE_CODE = "import samples; samples.fire('exec')"


def test_the_assembler_makes_what_our_pickles_hold() -> None:
    plain = planted(made("types.SimpleNamespace", state={"a": 1, "b": [(1,), None, True]}))

    assert CODEC.decode(plain) == SimpleNamespace(a=1, b=[(1,), None, True])


def test_the_assembler_makes_what_python_would_run() -> None:
    raw = planted(called(named("samples", "fire"), "run"))["v"]

    pickle.loads(raw)

    assert samples.FIRED == [("run",)]
    samples.FIRED.clear()


# ---- Globals ---------------------------------------------------------------------------------------------------------

GLOBALS = [
    ("os", "system"),
    ("posix", "system"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "getattr"),
    ("builtins", "setattr"),
    ("builtins", "__import__"),
    ("builtins", "object"),
    ("builtins", "bytearray"),
    ("telegram._utils.datetime", "os.system"),
    ("telegram.ext._picklepersistence", "pickle.loads"),
    ("telegram", "Message"),
    ("telegram", "Bot"),
    ("enum", "bltns.eval"),
    ("samples", "enum.bltns.eval"),
    ("samples", "fire"),
    ("samples", "FIRED.append"),
    ("samples", "Plain"),
    ("samples", "Plain.__init__"),
    ("ptb_mongo.codec.pickling", "loads"),
    ("ptb_mongo.codec.pickling", "restore.__globals__"),
    ("copyreg", "_reconstructor"),
    ("functools", "partial"),
    ("operator", "attrgetter"),
]


@pytest.mark.parametrize(("module", "name"), GLOBALS)
def test_a_pickle_may_name_nothing(module: str, name: str) -> None:
    refuse(planted(named(module, name)))
    refuse(planted(called(named(module, name), FIRE_CODE)))
    refuse(planted(pickle.GLOBAL + f"{module}\n{name}\n".encode() + literal((FIRE_CODE,)) + pickle.REDUCE))
    refuse(planted(pickle.MARK + literal(FIRE_CODE) + pickle.INST + f"{module}\n{name}\n".encode()))
    refuse(planted(pickle.MARK + named(module, name) + literal(FIRE_CODE) + pickle.OBJ))


class Payload:
    def __init__(self, function: Callable[..., object], *args: object) -> None:
        self.reduced = function, args

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_payload_of_pythons_own_pickle_does_not_run(protocol: int, tmp_path: Path) -> None:
    target = tmp_path / "fired"
    payloads = [
        Payload(os.system, f"touch {target}"),
        Payload(subprocess.Popen, ["touch", str(target)]),
        Payload(builtins.eval, FIRE_CODE),
        Payload(builtins.exec, FIRE_CODE),
        Payload(builtins.getattr, samples.Plain, "__init__"),
        Payload(samples.fire, "reduced"),
        Payload(pickle.loads, pickle.dumps(Payload(samples.fire, "nested"))),
    ]

    for payload in payloads:
        data = pickle.dumps({"a": [payload]}, protocol)
        refuse({"_py": "pickle", "cls": "samples.Plain", "v": data})
        refuse({"_py": "telegram", "cls": "telegram.Message", "pickle": data, "view": {}})

    assert not target.exists()


def test_an_extension_code_names_nothing_either() -> None:
    copyreg.add_extension("samples", "fire", 200)
    try:
        for code in (pickle.EXT1 + b"\xc8", pickle.EXT2 + b"\xc8\0", pickle.EXT4 + b"\xc8\0\0\0"):
            refuse(planted(called(code, "extension")))
    finally:
        copyreg.remove_extension("samples", "fire", 200)


def test_an_extension_code_that_is_registered_and_cached_names_nothing_either() -> None:
    copyreg.add_extension("samples", "fire", 200)
    try:
        assert pickle.loads(pickle.EXT1 + b"\xc8" + pickle.STOP) is samples.fire

        refuse(planted(called(pickle.EXT1 + b"\xc8", "extension")))
    finally:
        copyreg.remove_extension("samples", "fire", 200)
        copyreg.clear_extension_cache()


# ---- Classes ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def imports(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the trusted module has merely imported, or made: none of it is a class of its own."""
    strangers = {
        "Popen": subprocess.Popen,
        "system": os.system,
        "os": os,
        "loads": pickle.loads,
        "Renamed": samples.Plain,
        "alias": list,
        "partial": functools.partial,
        "instance": samples.Plain(1),
    }
    for name, value in strangers.items():
        monkeypatch.setattr(samples, name, value, raising=False)
    return [f"samples.{name}" for name in [*strangers, "os.system", "enum.bltns.eval", "enum.Enum", "dataclass"]]


UNTRUSTED = [
    *(f"{module}.{name}" for module, name in GLOBALS if (module, name) != ("builtins", "object")),
    *("builtins.type", "builtins.range", "builtins.memoryview", "builtins.super", "builtins.property"),
    *("samples.Plain.__init__", "samples.Missing", "samples", "samples.", ".", "", "samples..Plain", "Plain"),
    *("telegram.ext.Application", "telegram.ext.PicklePersistence", "telegram.request.HTTPXRequest", "telegram.ext"),
    *("telegram._message.Message", "telegram._utils.datetime.os", "codecs.encode", "importlib.import_module"),
]
UNTRUSTED = [name for name in UNTRUSTED if name not in {"telegram.Message", "samples.Plain", "builtins.bytearray"}]


def tags_naming(name: object) -> Iterator[dict[str, Any]]:
    """Every form that names a class."""
    yield {"_py": "class", "v": name}
    yield {"_py": "object", "cls": name, "state": {}}
    yield {"_py": "object", "cls": name, "state": {"args": "touch fired", "a": 1}}
    yield {"_py": "enum", "cls": name, "name": "RED", "v": "red"}
    yield {"_py": "namedtuple", "cls": name, "v": {"x": 1}}
    yield {"_py": "defaultdict", "factory": {"_py": "class", "v": name}, "v": {}}
    yield planted(restore("class", name))
    yield planted(restore("enum", name, "RED"))
    yield planted(restore("telegram", name, {}))
    yield planted(restore("object", name, False, ("touch fired",)))
    yield planted(restore("object", name, True, ()))


@pytest.mark.parametrize("name", UNTRUSTED)
def test_no_form_reaches_what_is_not_trusted(name: str) -> None:
    count = 0
    for plain in tags_naming(name):
        refuse(plain)
        count += 1

    assert count > 10


def test_no_form_reaches_what_a_trusted_module_imported(imports: list[str]) -> None:
    for name in imports:
        for plain in tags_naming(name):
            refuse(plain)

    assert len(imports) > 10


@pytest.mark.parametrize("name", ["samples.fire", "samples.FIRED", "samples.FIRED.append", "samples.Plain.__init__"])
def test_no_form_reaches_a_function_of_a_trusted_module(name: str) -> None:
    for plain in tags_naming(name):
        refuse(plain)


def test_the_default_of_a_missing_key_is_a_trusted_class_or_nothing() -> None:
    trap = {"_py": "object", "cls": "samples.Trap", "state": {}}
    for factory in ("builtins.list", 1, {"_py": "tuple", "v": []}, [], {"a": 1}, trap):
        refuse({"_py": "defaultdict", "factory": factory, "v": {}})


@pytest.mark.parametrize(
    "cls",
    [
        *(
            "samples.Reduced",
            "samples.Title",
            "samples.Colour",
            "samples.MishapError",
        ),
        *(
            "telegram.User",
            "builtins.int",
            "builtins.list",
            "collections.deque",
            "datetime.date",
            "decimal.Decimal",
        ),
    ],
)
def test_a_class_that_is_more_than_its_attributes_is_not_made_of_them(cls: str) -> None:
    refuse({"_py": "object", "cls": cls, "state": {"a": 1}})


@pytest.mark.parametrize("name", ["list", "dict", "set", "tuple", "bytes", "bytearray", "str", "int", "float", "bool"])
def test_a_builtin_type_is_not_called(name: str) -> None:
    assert "not called" in refuse(planted(made(f"builtins.{name}"))).reason


@pytest.mark.parametrize("cls", ["telegram.Message", "samples.Plain", "samples.Bare", "samples.Letter"])
@pytest.mark.parametrize(
    "change",
    [
        literal({"evil": 1}) + pickle.BUILD,
        literal((None, {"evil": 1})) + pickle.BUILD,
        literal(({"evil": 1}, {"evil": 1})) + pickle.BUILD,
        literal("evil") + literal(1) + pickle.SETITEM,
        literal("evil") + pickle.APPEND,
        pickle.MARK + literal("evil") + pickle.APPENDS,
        pickle.MARK + literal("evil") + pickle.ADDITEMS,
    ],
    ids=["BUILD dict", "BUILD slots", "BUILD both", "SETITEM", "APPEND", "APPENDS", "ADDITEMS"],
)
def test_a_class_cannot_be_changed(cls: str, change: bytes) -> None:
    before = dict(vars(CODEC.decode({"_py": "class", "v": cls})))

    refuse(planted(restore("class", cls) + change))

    assert dict(vars(CODEC.decode({"_py": "class", "v": cls}))) == before


@pytest.mark.parametrize("cls", ["telegram.Message", "samples.Plain", "builtins.bytearray", "builtins.list"])
def test_a_class_on_the_stack_cannot_be_called(cls: str) -> None:
    refuse(planted(called(restore("class", cls), 10**6)))
    refuse(planted(restore("class", cls) + literal((10**6,)) + pickle.NEWOBJ))
    refuse(planted(restore("class", cls) + literal((10**6,)) + literal({}) + pickle.NEWOBJ_EX))
    refuse(planted(pickle.MARK + restore("class", cls) + literal(10**6) + pickle.OBJ))


@pytest.mark.parametrize(
    "change",
    [
        literal({"_kinds": {"x": 1}}) + pickle.BUILD,
        literal((None, {"_kinds": {}, "_trust": None, "restore": 1})) + pickle.BUILD,
        literal("x") + literal(1) + pickle.SETITEM,
        literal("x") + pickle.APPEND,
    ],
    ids=["BUILD dict", "BUILD slots", "SETITEM", "APPEND"],
)
def test_the_reader_cannot_be_changed(change: bytes) -> None:
    refuse(planted(RESTORE + change))

    assert CODEC.decode(planted(made("builtins.complex", 1, 2))) == 1 + 2j


def test_what_looks_like_a_method_is_not_called() -> None:
    for cls in ("builtins.list", "builtins.tuple", "builtins.bytearray", "samples.Trap"):
        trap = restore("class", cls)
        for name in ("append", "extend", "add", "__setstate__", "__setitem__", "__reduce__", "__call__"):
            for parts in ({"items": [NETWORK]}, {"pairs": [("a", NETWORK)]}):
                refuse(planted(made("types.SimpleNamespace", kwargs={name: trap}, state={name: trap}, **parts)))


@pytest.mark.parametrize(
    "use",
    [
        literal(1) + pickle.APPEND,
        pickle.MARK + literal(1) + pickle.APPENDS,
        pickle.MARK + literal(1) + pickle.ADDITEMS,
        literal("a") + literal(1) + pickle.SETITEM,
        literal({"a": 1}) + pickle.BUILD,
        literal((1,)) + pickle.REDUCE,
    ],
    ids=["APPEND", "APPENDS", "ADDITEMS", "SETITEM", "BUILD", "REDUCE"],
)
def test_an_object_that_is_made_to_look_like_a_container_is_not_used_as_one(use: bytes) -> None:
    trap = made("samples.Trap")
    methods = dict.fromkeys(("append", "extend", "add", "update", "__setitem__", "__setstate__"), trap)

    refuse(planted(trap + use))
    refuse(planted(made("types.SimpleNamespace", kwargs=methods) + use))
    refuse(planted(made("samples.Bare", kwargs=methods) + use))


def test_what_looks_like_a_state_is_only_stored() -> None:
    trap = restore("class", "builtins.list")

    value = CODEC.decode(planted(made("types.SimpleNamespace", state={"__setstate__": trap, "a": NETWORK})))

    assert value.__setstate__ is list
    assert str(value.a) == "0.0.0.0/0"


def test_a_telegram_object_belongs_to_a_bot_or_to_none() -> None:
    fake = made("types.SimpleNamespace", state={"send_message": restore("class", "samples.Plain")})

    refuse(planted(restore("telegram", "telegram.User", {"id": 1, "_bot": fake})))


@pytest.mark.parametrize(
    "opcodes",
    [
        restore("telegram", "samples.Plain", {}),
        restore("telegram", "telegram.User", ["id"]),
        restore("enum", "samples.Plain", "a"),
        restore("enum", "samples.Colour", "MISSING"),
        restore("enum", "samples.Right", 1 << 40),
        restore("enum", "samples.Colour", {}),
        restore("object", "telegram.User", True, ()),
        restore("object", "samples.Colour", False, ("red",)),
        restore("object", "samples.Plain", False, {"a": 1}),
        restore("object", "samples.Plain", False, (), ["a"]),
        restore("object", "samples.Row", True, (), None, None, "text"),
        restore("object", "samples.Row", True, (), None, None, NETWORK),
        restore("object", "samples.Table", True, (), None, None, None, NETWORK),
        restore("object", "samples.Plain", False, NETWORK),
        restore("object"),
        restore("unknown"),
        restore([]),  # type: ignore[arg-type]
        called(RESTORE),
        restore("zone", "../../etc/passwd"),
        restore("zone", "Nowhere/At_All"),
        restore("pattern", "(", 0),
        restore("class", ["samples.Plain"]),
        literal("unknown") + pickle.BINPERSID,
        literal(("set", "abc")) + pickle.BINPERSID,
        literal(("set", [[]])) + pickle.BINPERSID,
        literal(("object", [1])) + pickle.BINPERSID,
    ],
    ids=lambda opcodes: f"{len(opcodes)} bytes",
)
def test_a_call_with_other_parts_is_refused(opcodes: bytes) -> None:
    refuse(planted(opcodes))


# ---- Bombs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "opcodes",
    [
        made("builtins.bytearray", 10**12),
        made("builtins.bytes", 10**12),
        made("builtins.list", NETWORK),
        made("builtins.set", NETWORK),
        made("builtins.tuple", NETWORK),
        made("builtins.range", 10**12),
        made("collections.deque", NETWORK),
        made("collections.deque", kwargs={"iterable": NETWORK}),
        made("collections.deque", NETWORK, 5),
        made("collections.Counter", NETWORK),
        made("collections.OrderedDict", NETWORK),
        made("samples.Blob", 10**12),
        made("samples.Blob", 10**12, bare=True),
        made("samples.Blob", kwargs={"source": 10**12}),
        made("samples.Row", NETWORK),
        made("samples.Tags", NETWORK),
        made("samples.Frost", NETWORK, bare=True),
        made("samples.Ring", NETWORK),
        made("fractions.Fraction", "1e999999999"),
        restore("fraction", "1e999999999", 1),
        restore("fraction", 1, 0),
        pickle.BINBYTES8 + struct.pack("<Q", 2**60) + b"x",
        pickle.BINUNICODE8 + struct.pack("<Q", 2**60) + b"x",
        pickle.BYTEARRAY8 + struct.pack("<Q", 2**60) + b"x",
        pickle.BINBYTES8 + b"\xff" * 8 + b"x",
        pickle.LONG4 + struct.pack("<I", 2**31 - 1) + b"x",
        pickle.NONE + pickle.LONG_BINPUT + struct.pack("<I", 2**32 - 1),
        pickle.NONE + pickle.PUT + b"4294967295\n",
        pickle.NONE + pickle.BINPUT + b"\xff",
        pickle.LONG_BINGET + struct.pack("<I", 2**32 - 1),
        pickle.FRAME + struct.pack("<Q", 2**60),
        pickle.INT + b"9" * 10**6 + b"\n",
        pickle.LONG + b"9" * 10**6 + b"L\n",
        pickle.NEXT_BUFFER,
    ],
    ids=lambda opcodes: f"{len(opcodes)} bytes",
)
def test_a_few_bytes_do_not_become_gigabytes(opcodes: bytes) -> None:
    refuse(planted(opcodes))


def test_a_fraction_of_endless_numbers_is_refused() -> None:
    huge = {"_py": "int", "v": "0x" + "f" * 4_000_000}

    refuse({"_py": "fraction", "v": [huge, {"_py": "int", "v": "0x" + "e" * 4_000_001}]})


def laughs(levels: int) -> bytes:
    """A tuple of a tuple of a tuple ..., each twice the same: a few bytes a level, and 2 ** levels parts."""
    opcodes = literal(0)
    for level in range(levels):
        opcodes += pickle.MEMOIZE + pickle.LONG_BINGET + struct.pack("<I", level) + pickle.TUPLE2
    return opcodes


def test_a_billion_laughs_as_a_value_are_refused_as_a_copy_of_them_would_never_end() -> None:
    refuse(planted(laughs(40)))


@pytest.mark.parametrize(
    "opcodes",
    [
        pickle.EMPTY_DICT + laughs(60) + literal(1) + pickle.SETITEM,
        pickle.EMPTY_DICT + pickle.MARK + laughs(60) + literal(1) + pickle.SETITEMS,
        literal("set") + pickle.EMPTY_LIST + laughs(60) + pickle.APPEND + pickle.TUPLE2 + pickle.BINPERSID,
        pickle.EMPTY_SET + pickle.MARK + laughs(60) + pickle.ADDITEMS,
        pickle.MARK + laughs(60) + pickle.FROZENSET,
        made("samples.Table", pairs=[]).replace(literal([]), pickle.EMPTY_LIST + laughs(60) + literal(1) + b"\x86a"),
        restore("object", "samples.Tags", False, (pickle.EMPTY_LIST + laughs(60) + pickle.APPEND,)),
        pickle.EMPTY_DICT + made("samples.Frozen", laughs(60), 1) + literal(1) + pickle.SETITEM,
    ],
    ids=["SETITEM", "SETITEMS", "set", "ADDITEMS", "FROZENSET", "pairs", "a subclass of set", "a frozen dataclass"],
)
def test_a_billion_laughs_are_not_hashed(opcodes: bytes) -> None:
    refuse(planted(opcodes))


def test_a_billion_laughs_of_restored_objects_are_not_hashed() -> None:
    opcodes = literal(0)
    for level in range(60):
        again = pickle.LONG_BINGET + struct.pack("<I", 2 * level)
        opcodes += pickle.MEMOIZE + pickle.POP + made("samples.Frozen", again, again) + pickle.MEMOIZE
    refuse(planted(pickle.EMPTY_DICT + opcodes + literal(1) + pickle.SETITEM))


def chain(levels: int, opened: bytes = b"](", closed: bytes = b"e", names: tuple[bytes, bytes] = (b"", b"")) -> bytes:
    """A list of a list of a list ..., each twice the same; with other opcodes, of dicts."""
    opcodes = opened[:1]
    for level in range(levels):
        again = pickle.LONG_BINGET + struct.pack("<I", level)
        opcodes += pickle.MEMOIZE + pickle.POP + opened + b"".join(name + again for name in names) + closed
    return opcodes


LISTS = chain(60)
DICTS = chain(60, b"}(", b"u", (literal("a"), literal("b")))


@pytest.mark.parametrize(
    "opcodes",
    [
        restore(LISTS),  # type: ignore[arg-type]
        LISTS + literal("x") + pickle.STACK_GLOBAL,
        restore("enum", "samples.Colour", LISTS),
        restore("enum", "samples.Right", LISTS),
        restore("zone", LISTS),
        restore("telegram", "telegram.User", {"id": 1, "api_kwargs": DICTS}),
        restore("telegram", "telegram.Message", {"photo": LISTS}),
        made("bson.code.Code", "x", state={"_Code__scope": DICTS}),
        made(
            "bson.dbref.DBRef",
            bare=True,
            state=dict.fromkeys(("_DBRef__collection", "_DBRef__database"), "c")
            | {"_DBRef__id": LISTS, "_DBRef__kwargs": {}},
        ),
        made("samples.Title", LISTS),
        made("samples.MishapError", "x", state={"args": LISTS}),
    ],
    ids=lambda opcodes: f"{len(opcodes)} bytes",
)
def test_a_billion_laughs_are_not_looked_through_while_they_are_read(opcodes: bytes) -> None:
    refuse(planted(opcodes))


def test_a_time_zone_is_not_looked_up_by_what_is_hashed_without_end() -> None:
    opcodes = literal(0)
    for level in range(60):
        again = pickle.LONG_BINGET + struct.pack("<I", 2 * level)
        state = {"a": again, "b": again}
        opcodes += pickle.MEMOIZE + pickle.POP + made("samples.Frozen", bare=True, state=state) + pickle.MEMOIZE

    refuse(planted(restore("zone", opcodes)))


def test_bson_nested_without_end_is_refused() -> None:
    deep = b"\x05\x00\x00\x00\x00"
    for _ in range(20_000):
        deep = struct.pack("<i", len(deep) + 8) + b"\x03v\x00" + deep + b"\x00"

    refuse({"_py": "bson", "v": deep})


def test_packed_bson_inside_packed_bson_is_refused_or_opened() -> None:
    plain: Any = 1
    for _ in range(2000):
        plain = {"_py": "bson", "v": bson.encode({"v": plain})}

    refuse(plain)


@pytest.mark.parametrize("opcode", [pickle.MARK, pickle.EMPTY_DICT, pickle.EMPTY_TUPLE, pickle.TUPLE1])
def test_endless_opcodes_end(opcode: bytes) -> None:
    refuse(planted(opcode * 200_000 + pickle.APPENDS))


def test_a_deep_list_in_a_pickle_is_restored_or_refused() -> None:
    deep = pickle.EMPTY_LIST * 100_000 + pickle.APPEND * 99_999

    refuse(planted(deep))
    value = CODEC.decode(planted(made("types.SimpleNamespace", state={"a": deep}))).a

    depth = 0
    while value:
        value, depth = value[0], depth + 1
    assert depth == 99_999


@pytest.mark.parametrize("flags", [128, 128 | 32, 1, 512, -1, 2**40])
def test_a_pattern_is_compiled_with_no_flag_that_does_more(flags: int, capfd: pytest.CaptureFixture[str]) -> None:
    """`re.DEBUG` prints."""
    refuse({"_py": "regex", "v": "ab", "flags": flags})
    refuse(planted(restore("pattern", "ab", flags)))
    refuse(planted(made("bson.regex.Regex", bare=True, state={"flags": flags, "pattern": "ab"})))
    assert capfd.readouterr().out == ""


def test_a_pattern_that_prints_is_not_stored(capfd: pytest.CaptureFixture[str]) -> None:
    import re

    pattern = re.compile("ab", re.DEBUG)
    capfd.readouterr()

    for value in (pattern, samples.Reduced(pattern)):
        with contextlib.suppress(EncodeError):
            plain = CODEC.encode(value)
            refuse(plain)
    with pytest.raises(EncodeError, match="flags A, I"):
        CODEC.encode(pattern)
    assert capfd.readouterr().out == ""


# ---- Garbage ---------------------------------------------------------------------------------------------------------


def places(plain: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every part of a document."""
    yield path
    for key, item in plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ():
        yield from places(item, (*path, key))


def changed(plain: Any, path: tuple[Any, ...], new: object) -> Any:
    """A copy with another part at the path; `...` takes it away."""
    if not path:
        return None if new is ... else new
    key, *rest = path
    if isinstance(plain, list):
        return [changed(item, tuple(rest), new) if index == key else item for index, item in enumerate(plain)]
    return {
        name: changed(item, tuple(rest), new) if name == key else item
        for name, item in plain.items()
        if not (name == key and new is ... and not rest)
    }


def decode_anything(plain: object) -> None:
    """Decodes: a value or a `DecodeError`, and soon."""
    raw = dump({"data": plain})
    started = time.process_time()
    with contextlib.suppress(DecodeError):
        CODEC.decode_body(raw, load(raw))
    assert time.process_time() - started < QUICK


def plain_zoo() -> list[Any]:
    return load(stored(ZOO))["data"]


def test_the_zoo_holds_every_form() -> None:
    tags = {part.get("_py") for part in _documents(plain_zoo())}

    known = {*CODEC._decoder._by_tag, *CODEC._decoder._containers, *INERT}
    libraries = {tag: {"ndarray": "numpy"}.get(tag, tag.partition(".")[0]) for tag in INERT}
    missing = {tag for tag, name in libraries.items() if name in {"pytz", "dateutil", "pendulum", "numpy"} - INSTALLED}
    assert known - tags == {"bot", *missing}


def _documents(plain: object) -> Iterator[dict[str, Any]]:
    if isinstance(plain, dict):
        yield plain
    for item in plain.values() if isinstance(plain, dict) else plain if isinstance(plain, list) else ():
        yield from _documents(item)


GARBAGE: list[Any] = [
    *(
        ...,
        None,
        True,
        0,
        -1,
        10**9,
        2**62,
        1.5,
        float("nan"),
        float("inf"),
        "",
        "x",
        "0",
        b"",
        b"\x80\x05.",
        b"x" * 50,
    ),
    *("builtins.eval", "samples.Plain", "samples.Colour", "samples.Point", "telegram.User"),
    *([], [1], [[1, 2]], [[1, 2, 3]], {}, {"a": 1}, {"_py": "nonsense"}, {"_py": None}, {"_py": {}}),
    *({"_py": "tuple", "v": []}, {"_py": "class", "v": "samples.Bare"}, {"_py": "dict", "v": []}),
    *({"_py": "set", "v": [1]}, dtm.datetime(1, 1, 1, tzinfo=dtm.timezone.utc), DatetimeMS(2**62)),
    *(bson.ObjectId(b"0" * 12), bson.Regex("("), bson.MinKey(), bson.Decimal128("NaN")),
]


@pytest.mark.filterwarnings("ignore")
def test_garbage_in_every_field_of_every_form_is_an_error_or_a_value() -> None:
    count = 0
    for plain in plain_zoo():
        for path in places(plain):
            if len(path) < 5:
                for new in GARBAGE:
                    decode_anything(changed(plain, path, new))
                    count += 1

    assert count > 5000


@pytest.mark.filterwarnings("ignore")
def test_a_field_too_many_is_an_error_or_is_ignored() -> None:
    for plain in plain_zoo():
        for document in _documents(plain):
            for name in ("v", "cls", "state", "name", "fold", "tz", "maxlen", "factory", "foreign", "%i5", "50%"):
                decode_anything({**document, name: {"_py": "tuple", "v": [1]}})


@given(values, st.randoms(use_true_random=False), garbage)
def test_garbage_anywhere_in_any_document_is_an_error_or_a_value(value: Any, choose: Any, new: Any) -> None:
    plain = load(stored(value))["data"]
    path = choose.choice(list(places(plain)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a pattern of chance may be deprecated
        decode_anything(changed(plain, path, new))


@given(garbage)
def test_documents_of_other_services_are_read_or_refused(plain: Any) -> None:
    decode_anything(plain)


@given(st.data())
def test_a_damaged_pickle_is_an_error_or_a_value(data: st.DataObject) -> None:
    plain = CODEC.encode(
        data.draw(st.sampled_from([telegram.User(1, "x", False), samples.Reduced([1, {2}, (3, "x")])]))
    )
    name = "pickle" if "pickle" in plain else "v"
    raw = bytearray(plain[name])
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))

    decode_anything({**plain, name: bytes(raw)})


@given(st.binary(max_size=60))
@example(b"")
@example(b".")
@example(pickle.NONE)
def test_any_bytes_as_a_pickle_are_an_error_or_a_value(data: bytes) -> None:
    decode_anything({"_py": "pickle", "v": data})
    decode_anything({"_py": "telegram", "pickle": data})
    decode_anything({"_py": "bson", "v": data})


def test_an_error_names_the_path_to_what_is_wrong() -> None:
    plain = {
        "a": [1, {"_py": "object", "cls": "samples.Plain", "state": {"b": {"_py": "tuple", "v": [0, {"_py": 5}]}}}]
    }

    with pytest.raises(DecodeError) as caught:
        CODEC.decode(plain)

    assert caught.value.path == "a.1.state.b.v.1"


def test_a_tag_that_is_no_text_is_an_error_also_where_no_other_tag_is() -> None:
    refuse({"_py": 5})
    refuse({"_py": Code("tuple"), "v": []})
    refuse({"_py": "class", "v": Code("samples.Plain")})


def test_the_error_for_an_untrusted_class_holds_the_line_that_allows_it() -> None:
    error = refuse({"_py": "object", "cls": "mybot.models.Cart", "state": {}})

    assert error.path == "data.planted"
    assert 'trusted=["mybot.models"]' in error.reason


@pytest.mark.parametrize(
    "tag", ["class", "enum", "object", "int", "decimal", "zoneinfo", "time", "pickle", "x" * 10**6]
)
def test_an_error_does_not_hold_the_whole_document(tag: str) -> None:
    long = "long.word" * 10**5
    pickled = called(RESTORE, long) + pickle.STOP

    for field in ({"v": long}, {"v": pickled}, {"cls": long, "state": {}}, {"cls": "samples.Colour", "name": long}):
        error = refuse({"_py": tag, **field})
        assert len(error.reason) < 800


def test_loading_does_not_import() -> None:
    import sys

    assert "antigravity" not in sys.modules

    refuse({"_py": "class", "v": "antigravity.Thing"})

    assert "antigravity" not in sys.modules


def test_an_enum_is_not_made_larger() -> None:
    before = list(samples.Colour)

    refuse({"_py": "enum", "cls": "samples.Colour", "name": "NEW", "v": "new"})

    assert list(samples.Colour) == before
    assert enum.Enum in samples.Colour.__mro__


# -- long numbers, whose comparison and division take the square of their length ---------------------------

SAME = 2**61 - 1
LONG = (1 << 160_000) + 12345
AS_DEAR = [LONG, *(Decimal(LONG % SAME + number * SAME) for number in range(30))]

IN_A_PICKLE = [LONG, *(made("decimal.Decimal", str(one)) for one in AS_DEAR[1:])]


def form(number: object) -> Any:
    if isinstance(number, tuple):
        return {"_py": "tuple", "v": [form(one) for one in number]}
    return {"_py": "decimal", "v": str(number)} if isinstance(number, Decimal) else {"_py": "int", "v": hex(number)}


@pytest.mark.parametrize(
    "plain",
    [
        {"_py": "set", "v": [form(one) for one in AS_DEAR]},
        {"_py": "frozenset", "v": [form(one) for one in reversed(AS_DEAR)]},
        {"_py": "set", "v": [form((1, (one, 2))) for one in AS_DEAR]},
        {"_py": "dict", "v": [[form(one), 1] for one in AS_DEAR]},
        {"_py": "range", "v": [0, form((1 << 1_600_000) - 1), form((1 << 800_000) - 3)]},
        {"_py": "range", "v": [form(-(1 << 1_600_000)), 5, form((1 << 800_000) - 3)]},
        planted(restore("range", 0, (1 << 1_600_000) - 1, (1 << 800_000) - 3)),
        planted(made("types.SimpleNamespace", state={"a": b"}" + b"".join(literal(n) + b"Ns" for n in IN_A_PICKLE)})),
    ],
    ids=["set", "frozenset", "tuples", "dict", "range", "negative range", "range in a pickle", "dict in a pickle"],
)
def test_long_numbers_are_not_compared_or_divided(plain: Any) -> None:
    assert re.search("too long to be compared|range|ValueError", refuse(plain).reason)


def test_long_numbers_may_stand_where_nothing_is_compared_with_them() -> None:
    value = {"a": {LONG, LONG + 1, 5, Decimal("1.5")}, "b": [LONG], "c": range(5), "d": {LONG: 1, "x": 2, (1, LONG): 3}}

    assert CODEC.decode(CODEC.encode(value)) == value


def test_a_range_that_could_not_be_loaded_is_refused_when_it_is_stored() -> None:
    long = range(0, 1 << 1_600_000, (1 << 800_000) - 3)
    for value in (long, telegram.InlineKeyboardButton("x", callback_data=(long, 1))):
        with pytest.raises(EncodeError, match="range of such long numbers"):
            CODEC.encode(value)


@pytest.mark.parametrize("number", [1 << 40, -1, (1 << 20) - 1])
def test_an_enum_of_the_standard_library_is_made_no_larger_by_numbers_that_are_no_flags(number: int) -> None:
    known = len(re.RegexFlag._value2member_map_)  # that of Python's own enums

    refuse({"_py": "enum", "cls": "re.RegexFlag", "name": number})

    assert len(re.RegexFlag._value2member_map_) == known
    assert CODEC.decode(CODEC.encode(re.IGNORECASE | re.MULTILINE)) is re.IGNORECASE | re.MULTILINE
