"""What README and docs show is true: their programs compile and, where they need nothing else, run."""

from __future__ import annotations

import ast
import asyncio
import builtins
import importlib.util
import inspect
import logging
import os
import re
import shlex
import shutil
import subprocess
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pymongo.collection import Collection

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), ROOT / "examples/README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# Commands that need a container engine, a cloud, or the reader's own bot.
NOT_HERE = {"docker", "gcloud", "uvicorn", "ptb-mongo"}


@dataclass(frozen=True)
class Block:
    page: Path
    number: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.number}"


def blocks(language: str) -> list[Block]:
    return [
        Block(page, text.count("\n", 0, match.start()) + 1, match[1], match[2])
        for page in PAGES
        for text in [page.read_text(encoding="utf-8")]
        for match in FENCE.finditer(text)
        if match[1] == language
    ]


PYTHON, BASH, JS = blocks("python"), blocks("bash"), blocks("js")


def compiled(block: Block) -> types.CodeType:
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    return compile(block.text, str(block), "exec", flags=flags, dont_inherit=True)


def names_missing(text: str, known: set[str]) -> set[str]:
    """The names that a program uses, and neither defines nor finds."""
    used, defined = set(), {*dir(builtins), *known}
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id=name, ctx=ast.Load()):
                used.add(name)
            case ast.Name(id=name) | ast.arg(arg=name) | ast.ClassDef(name=name):
                defined.add(name)
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                defined.add(name)
            case ast.alias(name=name, asname=other):
                defined.add(other or name.partition(".")[0])
    return used - defined


def is_test(block: Block) -> bool:
    return "def test_" in block.text


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_program_in_the_docs_compiles(block: Block) -> None:
    compiled(block)


@pytest.fixture
def logging_as_before() -> Iterator[None]:
    """Some programs configure the logging of the whole process."""
    root, driver = logging.getLogger(), logging.getLogger("pymongo.command")
    httpx = logging.getLogger("httpx")
    levels, handlers = [(one, one.level) for one in (root, driver, httpx)], root.handlers[:]
    yield
    root.handlers[:] = handlers
    for one, level in levels:
        one.setLevel(level)


@pytest.mark.usefixtures("logging_as_before")
def test_the_programs_of_each_page_run_one_after_the_other(mongodb_server_uri: str, mongodb_database: str) -> None:
    # given those that need nothing but a server, and what stands before them on their page
    ran = []
    for page in PAGES:
        module = types.ModuleType("docs_page")
        module.__dict__["__name__"] = "docs_page"
        sys.modules["docs_page"] = module  # dataclasses look for theirs
        for block in (block for block in PYTHON if block.page == page and not is_test(block)):
            if names_missing(block.text, set(vars(module))) or "run_polling" in block.text or ":27117" in block.text:
                continue
            if "import pandas" in block.text and not importlib.util.find_spec("pandas"):
                continue
            text = block.text.replace("mongodb://localhost:27017", mongodb_server_uri)
            text = text.replace('"my_bot"', repr(mongodb_database))
            text = text.replace('"my_bot.models"', '"decimal"').replace('["models"]', '["decimal"]')
            # when
            work = eval(compiled(Block(page, block.number, "python", text)), vars(module))
            if inspect.iscoroutine(work):
                asyncio.run(work)
            ran.append(str(block))
        del sys.modules["docs_page"]
        for value in vars(module).values():
            if isinstance(value, Collection):
                value.database.client.close()
    # then
    assert len(ran) >= 10, ran
    assert {name.partition(":")[0] for name in ran} >= {"docs/how-to/live-edits.md", "docs/storage-format.md"}


def test_the_tests_in_the_docs_pass(mongodb_server_uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given
    found = [block for block in PYTHON if is_test(block)]
    assert len(found) >= 2
    for block in found:
        name = re.sub(r"\W", "_", str(block))
        (tmp_path / f"test_{name}.py").write_text(block.text, encoding="utf-8")
    settings = ["asyncio_mode = auto", "asyncio_default_fixture_loop_scope = function", "filterwarnings = error"]
    (tmp_path / "pytest.ini").write_text("\n".join(["[pytest]", *settings]))
    (tmp_path / "conftest.py").write_text(next(block.text for block in PYTHON if "pytest_plugins" in block.text))
    monkeypatch.setenv("MONGODB_URI", mongodb_server_uri)
    # when
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    # then
    assert finished.returncode == 0, finished.stdout


@pytest.mark.parametrize("block", BASH, ids=str)
def test_the_commands_in_the_docs_exist(block: Block) -> None:
    for line in block.text.replace("\\\n", " ").splitlines():
        for command in line.split("&&"):
            words = shlex.split(command, comments=True)
            while words and re.match(r"\w+=", words[0]):
                del words[0]
            if not words or words[0] == "export" or words[0] in NOT_HERE:
                continue
            assert shutil.which(words[0]) or words[0] in {"pip", "python", "pytest", "nox", "pre-commit", "."}, words[0]
            for word in words[1:]:
                assert not word.startswith(("examples/", "docs/", "tests/")) or (ROOT / word).exists(), word


def test_the_extras_in_the_docs_exist() -> None:
    named = {
        extra for page in PAGES for names in re.findall(r"\.\[([\w,-]+)\]", text_of(page)) for extra in names.split(",")
    }
    assert named >= {"examples", "cli"}
    assert named <= names_in_pyproject("project.optional-dependencies")


def test_the_groups_in_the_docs_exist() -> None:
    named = {group for page in PAGES for group in re.findall(r"--group ([\w-]+)", text_of(page))}
    assert named >= {"dev", "fuzz"}
    assert named <= names_in_pyproject("dependency-groups")


def test_the_tasks_in_the_docs_exist() -> None:
    tasks = set(
        re.findall(r"^def ([a-z]\w*)\(session", (ROOT / "noxfile.py").read_text(encoding="utf-8"), re.MULTILINE)
    )
    named = {
        task
        for page in PAGES
        for words in re.findall(r"nox -s ((?:(?:\w|-)+ ?)+)", text_of(page))
        for task in words.partition("--")[0].split()
        if task.islower()
    }
    assert named >= {"lint", "tests"}
    assert named <= tasks


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def names_in_pyproject(table: str) -> set[str]:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition(f"[{table}]")[2].partition("\n[")[0]
    return set(re.findall(r"^([\w-]+) = \[", text, re.MULTILINE))


def test_the_command_line_knows_what_the_docs_say_to_it() -> None:
    typer = pytest.importorskip("typer", reason='pip install ".[cli]"')
    app: Any = typer.main.get_command(importlib.import_module("ptb_mongo.cli.app").app)
    seen = 0
    for block in BASH:
        for line in block.text.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] != ["ptb-mongo"]:
                continue
            command, words, seen = app, words[1:], seen + 1
            while words and hasattr(command, "commands"):
                assert words[0] in command.commands, line
                command, words = command.commands[words[0]], words[1:]
            options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            assert {word for word in words if word.startswith("-") and not word[1:].isdigit()} <= options, line
    assert seen >= 5


def test_the_commands_for_mongosh_are_javascript(tmp_path: Path) -> None:
    if (node := shutil.which("node")) is None:
        pytest.skip("there is no node here")
    assert len(JS) >= 10
    script = tmp_path / "docs.js"
    script.write_text("".join(f"// {block}\nasync () => {{\n{block.text}}};\n" for block in JS), encoding="utf-8")
    finished = subprocess.run([node, "--check", script], capture_output=True, text=True, timeout=30, check=False)
    assert finished.returncode == 0, finished.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_something(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if path.startswith(("http:", "https:")):
            continue
        file = page.parent / path if path else page
        assert file.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_the_site_builds(tmp_path: Path) -> None:
    for module in ("zensical", "mkdocstrings"):
        pytest.importorskip(module, reason="pip install --group docs")
    for name in ("docs", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "zensical.toml", tmp_path)
    command = [sys.executable, "-m", "zensical", "build", "--strict"]
    finished = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    site = tmp_path / "build/site"
    # Every member that the reference names is shown: one that is not found is left out without a warning.
    shown = (site / "reference/index.html").read_text(encoding="utf-8")
    lists = re.findall(
        r"^::: ([\w.]+)\n    options:\n      members: \[(.+)\]$", (ROOT / "docs/reference.md").read_text(), re.MULTILINE
    )
    assert len(lists) >= 3
    assert [
        f"{owner}.{member}"
        for owner, members in lists
        for member in members.split(", ")
        if f'id="{owner}.{member}"' not in shown
    ] == []
    # A program in a docstring is shown as one, line by line.
    assert len(re.findall(r'<span class="gp">&gt;&gt;&gt; ', shown)) >= 10
    assert not re.search(r"<blockquote>\s*<blockquote>", shown)
    # Nothing is loaded from elsewhere.
    for page in site.rglob("*.html"):
        assert re.findall(r'(?:src|<link[^>]*href)="https?://[^"]*"', page.read_text(encoding="utf-8")) == [], page


def test_the_messages_on_the_troubleshooting_page_are_those_of_the_package() -> None:
    said = {words for file in (ROOT / "ptb_mongo").rglob("*.py") for words in words_of(file)}
    page = text_of(ROOT / "docs/troubleshooting.md")
    messages = re.findall(r"^\| [^|`]*`([^`]+)`", page, re.MULTILINE)
    assert len(messages) >= 15
    for message in messages:
        for fragment in filter(
            None,
            (part.strip(" ;:.") for part in re.split(r"…|\(|'[^']*'|_id 42|data\.\w+|user_data| to save", message)),
        ):
            if not message.startswith("{") and fragment not in {",", ", , at", "at", "not authorized"}:
                assert any(fragment in words for words in said), (message, fragment)


def words_of(file: Path) -> Iterator[str]:
    """What a module says: its texts, the placeholders of each left open."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.ClassDef):
            yield node.name
