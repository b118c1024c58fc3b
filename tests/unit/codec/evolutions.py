"""What becomes of stored objects whose class has changed: each change is made, and the table in the docs is written.

`python tests/unit/codec/evolutions.py` writes the table anew. Every row is an object that was stored by one version
of a class, and loaded by another one.
"""

from __future__ import annotations

import logging
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ptb_mongo.codec import Codec, dump, load
from ptb_mongo.errors import DecodeError

__all__ = ["EVOLUTIONS", "PAGE", "Evolution", "in_page", "module_of", "outcome", "shown", "table"]

PAGE = Path(__file__).parents[3] / "docs/how-to/changing-classes.md"
MODULE = "my_models"
_BEGIN, _END = "<!-- table: written by tests/unit/codec/evolutions.py -->\n\n", "\n<!-- end of the table -->\n"
_IMPORTS = """
import collections, enum
from dataclasses import dataclass, field
from typing import NamedTuple
"""


class Kind(NamedTuple):
    """How a class of a kind is written.

    Attributes:
        name: What it is called in the table.
        imports: What it needs.
        head: The first lines; `{name}` is the class's name.
        field: A field without a default.
        default: One with a default.
        factory: One whose default is made anew.
        rest: The last lines.
    """

    name: str
    imports: str
    head: str
    field: str = "    {field}: {type}"
    default: str = "    {field}: {type} = {value}"
    factory: str = "    {field}: list = field(default_factory=list)"
    rest: str = ""

    def source(self, fields: dict[str, str], name: str = "Basket", more: str = "") -> str:
        """A class with these fields, each of which has a type, and maybe a default."""
        lines = [self.head.format(name=name)]
        for one, declared in fields.items():
            kind, _, value = declared.partition(" = ")
            template = self.factory if value == "[]" else self.default if value else self.field
            lines.append(template.format(field=one, type=kind, value=value))
        arguments = ", ".join(
            one + ("=" + value.partition(" = ")[2] if " = " in value else "") for one, value in fields.items()
        )
        rest = self.rest.format(arguments=arguments, sets="; ".join(f"self.{one} = {one}" for one in fields))
        return "\n".join([_IMPORTS, self.imports, *lines, rest, more])


DATACLASS = Kind("dataclass", "", "@dataclass(kw_only=True)\nclass {name}:")
KINDS = {
    "dataclass": DATACLASS,
    "slots": DATACLASS._replace(
        name="dataclass with slots", head="@dataclass(kw_only=True, slots=True)\nclass {name}:"
    ),
    "frozen": DATACLASS._replace(
        name="frozen dataclass with slots", head="@dataclass(kw_only=True, slots=True, frozen=True)\nclass {name}:"
    ),
    "attrs": Kind(
        "attrs",
        "import attrs",
        "@attrs.define(kw_only=True)\nclass {name}:",
        factory="    {field}: list = attrs.Factory(list)",
    ),
    "pydantic": Kind(
        "pydantic", "import pydantic", "class {name}(pydantic.BaseModel):", factory="    {field}: list = []"
    ),
    "msgspec": Kind(
        "msgspec", "import msgspec", "class {name}(msgspec.Struct, kw_only=True):", factory="    {field}: list = []"
    ),
    "named tuple": Kind("named tuple", "", "class {name}(NamedTuple):", factory="    {field}: list = ()"),
    "plain": Kind(
        "plain class",
        "",
        "class {name}:\n    pass",
        *("    # {field}",) * 3,
        rest="    def __init__(self, {arguments}): {sets}",
    ),
}
_FIELDS = {"item": "str", "count": "int"}
_SETSTATE = """
    def __setstate__(self, state):
        fields = dict(state[1] or {}) | dict(state[0] or {}) if isinstance(state, tuple) else dict(state)
        fields = dict(fields.get("__dict__", fields))
        for name, value in fields.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "count", fields["count"] + 100)
"""


class Evolution(NamedTuple):
    """A change of a class.

    Attributes:
        change: What was changed.
        kind: Which kind of class.
        before: The module's source before.
        after: And after.
        make: The expression that makes the object.
        alias: The class's new name, if `aliases` tells it.
    """

    change: str
    kind: str
    before: str
    after: str
    make: str = "Basket(item='tea', count=2)"
    alias: str = ""


def _of_all_kinds() -> Iterator[Evolution]:
    for name, kind in KINDS.items():
        before = kind.source(_FIELDS)
        changes = {
            "a field with a default is added": {**_FIELDS, "total": "int = 5"},
            "a field with a factory is added": {**_FIELDS, "tags": "list = []"},
            "a field without a default is added": {"total": "int", **_FIELDS},
            "a field is removed": {"item": "str"},
            "a field is renamed, and has a default": {"item": "str", "number": "int = 1"},
            "the type of a field is changed": {"item": "str", "count": "str"},
            "the fields stand in another order": {"count": "int", "item": "str"},
        }
        for change, fields in changes.items():
            yield Evolution(change, kind.name, before, kind.source(fields))
        if name != "frozen":  # where Python 3.10 replaces it by its own
            yield Evolution("a `__setstate__` is added", kind.name, before, kind.source(_FIELDS, more=_SETSTATE))
        renamed = Evolution("the class is renamed, or moved", kind.name, before, kind.source(_FIELDS, "Cart"))
        yield renamed
        yield renamed._replace(change=f"{renamed.change}; `aliases` says so", alias="Cart")


def _of_bases() -> Iterator[Evolution]:
    for name in ("dataclass", "attrs", "pydantic", "msgspec", "plain"):
        kind = KINDS[name]
        base = kind.source({"vat": "int = 19"}, "Base")
        head = kind.head.replace("(pydantic.BaseModel)", "(Base)").replace("msgspec.Struct", "Base")
        head = head if "(Base" in head else head.replace("{name}:", "{name}(Base):")
        after = base + "\n" + kind._replace(head=head).source(_FIELDS)
        yield Evolution("a base class with a field is added", kind.name, kind.source(_FIELDS), after)
    pairs = [
        ("plain", "dataclass"),
        ("dataclass", "slots"),
        ("slots", "dataclass"),
        ("slots", "frozen"),
        ("dataclass", "frozen"),
        ("dataclass", "attrs"),
        ("dataclass", "pydantic"),
        ("attrs", "msgspec"),
        ("pydantic", "dataclass"),
        ("named tuple", "dataclass"),
        ("dataclass", "named tuple"),
        ("msgspec", "pydantic"),
    ]
    for old, new in pairs:
        what = {"attrs": "an attrs class", "pydantic": "a pydantic model", "msgspec": "a struct of msgspec"}
        change = f"it becomes {what.get(new, 'a ' + KINDS[new].name)}"
        yield Evolution(change, KINDS[old].name, KINDS[old].source(_FIELDS), KINDS[new].source(_FIELDS))


def _of_subclasses() -> Iterator[Evolution]:
    def of(base: str, more: str = "pass") -> str:
        return f"{_IMPORTS}\nclass Basket({base}):\n    {more}"

    init = "def __init__(self, *args): super().__init__(*args); self.total = 0"
    make = "Basket({'tea': 2})"
    kind = "subclass of `dict`"
    yield Evolution("its `__init__` sets a new attribute", kind, of("dict"), of("dict", init), make)
    yield Evolution("its base becomes `OrderedDict`", kind, of("dict"), of("collections.OrderedDict"), make)
    yield Evolution("its base becomes `dict`", "plain class", of("object"), of("dict"), "Basket()")
    yield Evolution("it has no base any more", kind, of("dict"), of("object"), make)
    yield Evolution("it has no base any more", "subclass of `list`", of("list"), of("object"), "Basket(['tea'])")
    yield Evolution("its base becomes `tuple`", "subclass of `list`", of("list"), of("tuple"), "Basket(['tea'])")
    yield Evolution("its base becomes `list`", "subclass of `str`", of("str"), of("list"), "Basket('tea')")


def _of_slots() -> Iterator[Evolution]:
    init = "\n    def __init__(self, item, count): self.item, self.count = item, count"
    plain, slots, more = (
        f"{_IMPORTS}\nclass Basket:\n    {first}{init}"
        for first in ("pass", "__slots__ = ('item', 'count')", "__slots__ = ('item', 'count', 'total')")
    )
    fewer = f"{_IMPORTS}\nclass Basket:\n    __slots__ = ('item',)"
    yield Evolution("it gets `__slots__`", "plain class", plain, slots)
    yield Evolution("it has no `__slots__` any more", "plain class with slots", slots, plain)
    yield Evolution("a slot is added", "plain class with slots", slots, more)
    yield Evolution("a slot is removed", "plain class with slots", slots, fewer)


def _of_enums() -> Iterator[Evolution]:
    def of(members: str, base: str = "enum.Enum") -> str:
        return f"{_IMPORTS}\nclass Basket({base}):\n    {members}"

    both = "SMALL = 's'; LARGE = 'l'"
    for change, after in {
        "a member is added": of(f"TINY = 't'; {both}"),
        "the member is removed": of("SMALL = 's'"),
        "the member is renamed, and keeps its value": of("SMALL = 's'; BIG = 'l'"),
        "the member has another value": of("SMALL = 's'; LARGE = 'xl'"),
        "the member is renamed, and has another value": of("SMALL = 's'; BIG = 'xl'"),
        "it becomes a `str`, too": of(both, "str, enum.Enum"),
    }.items():
        yield Evolution(change, "enum", of(both), after, "Basket.LARGE")


def _of_states() -> Iterator[Evolution]:
    head = f"{_IMPORTS}\nclass Basket:\n    def __init__(self, item, count): self.item, self.count = item, count"
    getstate = "\n    def __getstate__(self): return {'i': self.item, 'c': self.count}"
    setstate = "\n    def __setstate__(self, state): self.item, self.count = state['i'], state['c']"
    tolerant = (
        "\n    def __setstate__(self, state):"
        "\n        self.item, self.count = state.get('i', state.get('item')), state.get('c', state.get('count'))"
    )
    kind = "class with a state of its own"
    yield Evolution("both methods are added", "plain class", head, head + getstate + setstate)
    yield Evolution("both are added, and accept the old state", "plain class", head, head + getstate + tolerant)
    yield Evolution("its `__getstate__` is removed", kind, head + getstate + tolerant, head + tolerant)
    yield Evolution("both methods are removed", kind, head + getstate + setstate, head)


EVOLUTIONS = [*_of_all_kinds(), *_of_bases(), *_of_subclasses(), *_of_slots(), *_of_states(), *_of_enums()]


def module_of(source: str) -> Any:
    module = sys.modules[MODULE] = types.ModuleType(MODULE)
    exec(compile(source, MODULE, "exec", dont_inherit=True), vars(module))
    return module


class _Log(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def stored_before(evolution: Evolution) -> tuple[bytes, dict[str, Any]]:
    """The document that the earlier version stores, and what its object holds."""
    before = eval(evolution.make, vars(module_of(evolution.before)))
    return dump({"data": Codec([MODULE]).encode({"it": before})}), shown(before)


def outcome(evolution: Evolution) -> str:
    """What happens to an object, in a few words."""
    log, logger = _Log(), logging.getLogger("ptb_mongo.codec.evolution")
    raw, was = stored_before(evolution)
    after = module_of(evolution.after)
    aliases = {f"{MODULE}.Basket": getattr(after, evolution.alias)} if evolution.alias else {}
    codec = Codec([MODULE], aliases=aliases)
    logger.addHandler(log)
    try:
        value = codec.decode_body(raw, load(raw))["data"]
        if codec.doubtful:
            codec.check_usable(value, copied=True)
    except DecodeError as error:
        return f"quarantined: “{error.reason.replace(MODULE + '.', '')}”"
    finally:
        logger.removeHandler(log)
        del sys.modules[MODULE]
    said = "; the log says so" if log.texts else ""
    return _difference(was, shown(value["it"])) + said


_NAMES = ("item", "count", "total", "tags", "number", "vat", "i", "c")


def shown(value: Any) -> dict[str, Any]:
    """What an object holds, by the names of its attributes; what it holds as a container, or as a value, by `""`."""
    if hasattr(value, "_asdict"):
        return dict(value._asdict())
    if hasattr(value, "_name_"):
        return {"": value.name, "value": value.value}
    held = {name: getattr(value, name) for name in _NAMES if not callable(getattr(value, name, len))}
    for base in (dict, list, tuple, str):
        if isinstance(value, base):
            held[""] = dict(value) if base is dict else str(value) if base is str else list(value)
    return held


def _difference(was: dict[str, Any], now: dict[str, Any]) -> str:
    parts = []
    for name, value in now.items():
        what = f"`{name}`" if name else "it"
        if name not in was:
            parts.append(f"{what} is `{value!r}`")
        elif was[name] != value:
            parts.append(f"{what} is `{value!r}`, and was `{was[name]!r}`")
    gone = [f"`{name}`" if name else "what it holds" for name in was if name not in now]
    parts += [f"{name} is left out" for name in gone]
    return ", ".join(parts) or "loads as it was"


def table() -> str:
    """The table: what happens on each change, to which kinds of classes."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for evolution in EVOLUTIONS:
        grouped.setdefault((evolution.change, outcome(evolution)), []).append(evolution.kind)
    changes = dict.fromkeys(change for change, _ in grouped)
    lines = ["| change | of a | what happens to a stored object |", "|---|---|---|"]
    for change in changes:
        title = change
        for (one, what), kinds in grouped.items():
            if one == change:
                lines.append(f"| {title} | {', '.join(dict.fromkeys(kinds))} | {what} |")
                title = ""
    return "\n".join(lines) + "\n"


def in_page(text: str) -> str:
    """The table as it stands in the page."""
    return text.partition(_BEGIN)[2].partition(_END)[0]


def main() -> None:
    """Writes the table into the page."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(text.replace(_BEGIN + in_page(text) + _END, _BEGIN + table() + _END), encoding="utf-8")


if __name__ == "__main__":
    main()
