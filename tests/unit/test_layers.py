"""No module imports one of a layer above it, not even inside a function: what it needs from there is passed in."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "ptb_mongo"
# The lowest first. Those that stand together do not import each other.
LAYERS = (
    ("printable",),
    ("errors", "log"),
    ("types", "health", "gc_pause", "waiting", "embedded"),
    ("codec",),
    ("replica", "driver"),
    ("scopes",),
    ("sync", "held_by_ptb", "held_states"),
    ("settings",),
    ("session",),
    ("people", "every_id"),
    ("lifecycle", "releasing"),
    ("quick_refresh",),
    ("ptb_interface",),
    ("persistence",),
    ("testing", "workers"),
    ("jobs",),
    ("__init__",),
    ("migration",),
    ("cli",),
)
LEVELS = {name: level for level, names in enumerate(LAYERS) for name in names}
PURE = ("codec", "replica", "scopes")
CLIENTS = ("motor", "pymongo", "mongomock", "mongomock_motor", "asyncio", "socket")


def room_of(path: Path) -> str:
    """The package, or the module beside the packages, that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports(path: Path) -> Iterator[str]:
    """The names of all modules that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            module = node.module or ""
            yield from (f"{module}.{alias.name}" for alias in node.names) if module == "ptb_mongo" else (module,)


FILES = sorted(PACKAGE.rglob("*.py"))


def test_every_module_has_its_layer() -> None:
    assert {room_of(path) for path in FILES} == set(LEVELS)


@pytest.mark.parametrize("room", sorted(LEVELS))
def test_no_module_imports_one_above_it(room: str) -> None:
    wrong = []
    for path in (path for path in FILES if room_of(path) == room):
        for name in imports(path):
            top, _, inner = name.partition(".")
            other = inner.partition(".")[0]
            level = LEVELS.get(other, LEVELS["__init__"])  # the package itself: its version, say
            if top == "ptb_mongo" and other != room and level >= LEVELS[room]:
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


@pytest.mark.parametrize("room", PURE)
def test_the_pure_layers_import_no_client_and_no_event_loop(room: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in FILES
        if room_of(path) == room
        for name in imports(path)
        if name.partition(".")[0] in CLIENTS
    ]
    assert not wrong
