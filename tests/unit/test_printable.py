"""The places where others' text leaves the package: a log or a terminal gets it in a harmless form."""

from __future__ import annotations

import ast
import importlib
import io
import json
import logging
import logging.config
import re
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ptb_mongo
from ptb_mongo import errors
from ptb_mongo.log import get_logger
from ptb_mongo.printable import printable, printable_json

PACKAGE = Path(ptb_mongo.__file__).parent
HOSTILE = "\x1b[2J\x9b31m\r\nFORGED\u2028\u202e\u200f\ufeff\ud800\x00\x7f\U000e0041"
FLAG = "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f"  # Wales
ORDINARY = f"naïve Ада 阿达 می\u200cخواهم שלום हिन्दी 👩\u200d👩\u200d👧 ☕\ufe0f {FLAG} \\x1b [/red] ﷽ 葛\U000e0100"  # noqa: RUF001
texts = st.text(st.characters() | st.sampled_from(HOSTILE + ORDINARY))


def obeyed(text: str) -> set[str]:
    """The characters in a text that a terminal may obey; joiners, and flags, are ordinary."""
    without_flags = re.sub("🏴[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,6}\U000e007f", "", text)
    bidirectional = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
    return {
        character
        for character in without_flags
        if unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(character) in bidirectional
        or character in "\u061c\u200e\u200f\ufeff"
        or "\U000e0000" <= character <= "\U000e007f"
    }


class TestPrintable:
    @given(texts)
    def test_leaves_nothing_to_obey_and_says_the_same_when_it_is_asked_again(self, text: str) -> None:
        shown = printable(text)

        assert obeyed(shown) == set()
        assert printable(shown) == shown
        assert obeyed(printable(text, lines=True)) <= {"\n"}
        if not obeyed(text) and text.isprintable():
            assert shown == text

    @given(texts)
    def test_json_is_the_same_value_and_has_nothing_to_obey(self, text: str) -> None:
        written = printable_json(json.dumps({text: [text]}, ensure_ascii=False))

        assert obeyed(written) == set()
        assert json.loads(written) == {text: [text]}

    def test_ordinary_text_of_any_script_stays(self) -> None:
        assert printable(ORDINARY) == ORDINARY
        assert printable_json(json.dumps(ORDINARY, ensure_ascii=False)) == json.dumps(ORDINARY, ensure_ascii=False)


# -- the log -------------------------------------------------------------------------------------------------


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What an application's log file gets, of all libraries."""
    handler = logging.StreamHandler(stream := io.StringIO())
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logging.getLogger().addHandler(handler)
    yield stream
    logging.getLogger().removeHandler(handler)


def logger_names() -> list[str]:
    """The modules that log; each is imported."""
    modules = [
        path.relative_to(PACKAGE.parent).with_suffix("").as_posix().replace("/", ".")
        for path in sorted(PACKAGE.rglob("*.py"))
        if "_LOGGER = " in path.read_text(encoding="utf-8")
    ]
    assert len(modules) > 10
    for module in modules:
        importlib.import_module(module)
    return modules


class TestLog:
    def test_every_logger_of_ours_escapes_what_it_is_given(self, log: io.StringIO) -> None:
        for name in logger_names():
            logger = sys.modules[name]._LOGGER
            logger.error(f"{HOSTILE} %s and %r at %d", HOSTILE, HOSTILE, 5)  # noqa: G004
        printed = log.getvalue()

        assert obeyed(printed) == {"\n"}
        lines = printed.splitlines()
        assert [line.partition(":")[0] for line in lines] == logger_names()

    def test_an_exception_is_escaped_and_none_of_its_lines_begins_a_record(self, log: io.StringIO) -> None:
        try:
            try:
                raise KeyError(HOSTILE)
            except KeyError as error:
                raise ValueError(HOSTILE) from error
        except ValueError:
            get_logger("ptb_mongo.sync.writer").exception("Saving failed")
        printed = log.getvalue()

        assert obeyed(printed) == {"\n"}
        assert "test_printable.py" in printed
        first, *rest = printed.splitlines()
        assert first == "ptb_mongo.sync.writer: Saving failed"
        assert all(line.startswith("    ") for line in rest)

    def test_a_record_without_anything_to_escape_keeps_template_and_arguments(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        get_logger("ptb_mongo.sync.writer").warning("%d documents of %s", 5, "Ада")

        (record,) = caplog.records
        assert (record.msg, record.args) == ("%d documents of %s", (5, "Ада"))

    def test_whoever_logs_does_not_fail_for_an_argument_that_cannot_be_shown(self) -> None:
        class BrokenError(Exception):
            def __str__(self) -> str:
                raise ValueError(HOSTILE)

        logger, error = get_logger("ptb_mongo.sync.writer"), BrokenError()
        for exc_info in (None, (BrokenError, error, None)):
            record = logger.makeRecord(logger.name, logging.ERROR, __file__, 1, "Not saved: %s", (error,), exc_info)
            assert logger.filter(record)

    def test_records_of_other_libraries_stay_as_they_are(self, caplog: pytest.LogCaptureFixture) -> None:
        get_logger("ptb_mongo.sync.writer")
        text = HOSTILE.replace("\ud800", "")  # pytest-xdist cannot report that
        logging.getLogger("telegram.ext").warning("%s", text)
        logging.getLogger("ptb_mongo_of_others").warning("%s", text)

        assert [record.getMessage() for record in caplog.records] == [text, text]

    def test_a_logger_keeps_its_filter_when_logging_is_configured(self, log: io.StringIO) -> None:
        logger = get_logger("ptb_mongo.sync.writer")
        settings = {"ptb_mongo": {"level": "INFO"}, "ptb_mongo.sync.writer": {"level": "INFO", "handlers": []}}
        logging.config.dictConfig(
            {"version": 1, "disable_existing_loggers": False, "incremental": False, "loggers": settings}
        )
        logger.error(HOSTILE)

        assert obeyed(log.getvalue()) == {"\n"}
        assert len(logger.filters) == 1


# -- errors, which others log --------------------------------------------------------------------------------


def test_the_text_of_every_error_is_harmless_and_its_attributes_are_what_they_were() -> None:
    assert len(errors.__all__) > 10
    for name in errors.__all__:
        error = getattr(errors, name)(HOSTILE)
        assert obeyed(str(error)) <= {"\n"}
        assert error.args[0] == HOSTILE
    located = errors.DecodeError(HOSTILE, path=HOSTILE).located(HOSTILE, {HOSTILE: HOSTILE})
    assert obeyed(str(located)) == set()
    assert (located.reason, located.path, located.collection) == (HOSTILE, HOSTILE, HOSTILE)


# -- nobody goes another way ---------------------------------------------------------------------------------


def names_used(tree: ast.AST) -> Iterator[str]:
    """Every dotted name in a module, and every name that it imports with its module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, (ast.Attribute, ast.Name)):
            yield ast.unparse(node)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_module_has_a_way_of_its_own_to_a_terminal_or_a_log(path: Path) -> None:
    allowed = {
        "log.py": {"logging.getLogger"},
        "cli/common.py": {"logging.getLogger"},  # what is logged, the command says
        "cli/terminal.py": {"rich.text", "rich.text.Text", "rich.console.Console", "sys.stdout", "sys.stderr"},
        "cli/app.py": {"typer.echo"},  # the version
    }.get(path.relative_to(PACKAGE).as_posix(), set())
    used = set(names_used(ast.parse(path.read_text(encoding="utf-8"))))
    ways = {"print", "typer.echo", "typer.secho", "logging.getLogger", "sys.stdout", "sys.stderr", "rich.print"}
    ways |= {"rich.text", "rich.text.Text", "rich.console.Console", "rich.pretty.Pretty", "rich.pretty.pprint"}

    assert used & ways <= allowed
