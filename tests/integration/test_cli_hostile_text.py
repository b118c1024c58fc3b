"""Text of users, or of whoever writes to the database, must be shown by the terminal, never obeyed.

The same text is planted wherever text can come from; each command runs in both forms, and the test checks the bytes
that it prints. The output is not a terminal here, so that rich prints no escapes: any escape must come from the data.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pickle
import re
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rich.text
from bson.code import Code
from offline import BOT_ID
from rich.panel import Panel
from test_cli_looking import watching_process
from typer.testing import CliRunner, Result

from ptb_mongo.cli.app import app

HOSTILE = (
    "[/red][link=x]:zap:\x1b[2J\x1b]0;t\x07\x9b31m\r\nFORGED"
    "\t\x7f\x85\u2028FORGED\u2029\u202e\u2066\u200f\ufeff\U000e0041"
)
SHOWN = "[/red][link=x]:zap:"  # it stands there as it was written
FLAG = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
ORDINARY = f"Ада 阿达 آدا می\u200cخواهم 👩\u200d👩\u200d👧 ☕\ufe0f {FLAG}"  # noqa: RUF001
ALLOWED_FORMATS = {"\u200c", "\u200d", *ORDINARY}
Run = Callable[..., Result]


def offending(printed: bytes, indent: str = " │") -> list[str]:
    """What a terminal would obey, or could not print, and lines that the data has begun."""
    text = printed.decode("utf-8")
    characters = [
        character
        for character in text
        if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        and character not in ALLOWED_FORMATS
        and character != "\n"
    ]
    forged = [line for line in text.splitlines() if line.lstrip(indent).startswith("FORGED")]
    return [*map(ascii, characters), *forged, *(["emoji"] if "⚡" in text else [])]


@pytest.fixture
def run(mongodb_server_uri: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `ptb-mongo` on this test's database, and looks at every byte that it prints."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server_uri)
    monkeypatch.setenv("COLUMNS", "250")

    def invoke(*words: str, **options: Any) -> Result:
        database = [] if "--database" in words else ["--database", mongodb_database]
        result = CliRunner().invoke(app, [*words, *database], catch_exceptions=False, **options)
        assert "Traceback" not in result.output
        assert offending(result.stdout_bytes) == []
        assert offending(result.stderr_bytes) == []
        if "--json" in words and (result.exit_code == 0 or result.stdout):
            assert [json.loads(line) for line in result.stdout.splitlines()]
        return result

    return invoke


@pytest.fixture
def db(database: Any) -> Any:
    return database


@pytest.fixture
def planted(db: Any) -> None:
    """The same text in keys, values, ids, names and tags: what can be read, and what cannot."""
    marks = {"rev": HOSTILE, "updated_at": HOSTILE}
    good = {
        HOSTILE: HOSTILE,
        "deep": {HOSTILE: [HOSTILE, {HOSTILE: {"_py": "set", "v": [HOSTILE]}}]},
        ORDINARY: ORDINARY,
    }
    not_text = {"%uD800": 1, "%00": 1, "a%2Eb": 1}
    no_name = [{"_py": "object", "cls": cls, "state": {}} for cls in (5, {HOSTILE: HOSTILE}, [HOSTILE], None)]
    db.user_data.insert_many(
        [
            {"_id": 1, "data": good, **marks},
            {"_id": 2, "data": {"deep": {HOSTILE: {"_py": HOSTILE}}}, **marks},
            {"_id": 3, "data": {HOSTILE: {"_py": "object", "cls": f"{HOSTILE}.{HOSTILE}", "state": {}}}},
            {"_id": 4, "data": {HOSTILE: {"_py": "enum", "cls": HOSTILE, "name": HOSTILE}}},
            {"_id": 5, "data": not_text, "updated_at": None, "rev": {HOSTILE: 1}},
            {"_id": 6, "data": {"_py": "object", "cls": HOSTILE, "state": {HOSTILE: 1}}},
            {"_id": 7, "data": HOSTILE},
            {"_id": 8, "data": {HOSTILE: {"_py": "class", "v": f"os;{HOSTILE}.Class"}}},
            *({"_id": 10 + number, "data": {"x": one}} for number, one in enumerate(no_name)),
            {"_id": HOSTILE, "data": good},
            {"_id": {HOSTILE: HOSTILE}, "data": good},
            {"_id": Code(HOSTILE), "data": good},
        ]
    )
    db.chat_data.insert_one({"_id": -5, "data": good, **marks})
    db.bot_data.insert_one({"_id": BOT_ID, "data": good, **marks})
    states = [HOSTILE, {"_py": "enum", "cls": HOSTILE, "name": HOSTILE}, {HOSTILE: 1}, [HOSTILE], None]
    for number, state in enumerate(states):
        place = {"handler": f"{HOSTILE}{number}", "key": [HOSTILE, number]}
        db.conversations.insert_one({"_id": place, **place, "state": state, **marks})
    readable = {"handler": HOSTILE, "key": [HOSTILE]}
    db.conversations.insert_one({"_id": readable, **readable, "state": HOSTILE, **marks})
    db.conversations.insert_one({"_id": {"handler": HOSTILE, "key": 5}, "handler": {HOSTILE: 1}})
    db.callback_data.insert_one({"_id": HOSTILE, "keyboard": HOSTILE, "buttons": {HOSTILE: HOSTILE}})
    db.ptb_mongo.insert_one({"_id": "format", "version": 1, "bot_id": HOSTILE})


LOOKING = (
    ["check"],
    ["check", "--sample", "3"],
    ["stats"],
    ["repair"],
    ["repair", "--drop-path"],
    ["repair", "--aside"],
    ["show", "user", "1"],
    ["show", "user", "2"],
    ["show", "user", "5"],
    ["show", "chat", "-5"],
    ["show", "bot"],
    ["show", "conversations"],
    ["show", "conversations", HOSTILE],
)


@pytest.mark.usefixtures("planted")
class TestWhatLiesInTheDatabase:
    @pytest.mark.parametrize("words", LOOKING, ids=" ".join)
    def test_is_shown_and_does_nothing(self, run, words):
        shown = run(*words, input="n\n").output
        if words != ["check", "--sample", "3"]:
            assert SHOWN in shown
        as_json = ["--json", *(["--yes"] if words[0] == "repair" and len(words) > 1 else [])]
        run(*words, *as_json)

    def test_is_the_same_text_in_the_json(self, run):
        told = json.loads(run("show", "user", "1", "--json").stdout)

        assert told["data"][HOSTILE] == HOSTILE
        assert told["data"][ORDINARY] == ORDINARY
        assert ORDINARY in run("show", "user", "1", "--json").stdout
        keys = [one["key"] for one in json.loads(run("stats", "--json").stdout)["keys"]["user_data"]]
        assert {HOSTILE, ORDINARY, "\ud800", "\0"} <= set(keys)

    def test_is_shown_as_it_is_where_it_is_ordinary(self, run):
        assert ORDINARY in run("stats").output
        assert "Ада 阿达 آدا" in run("show", "user", "1").output

    def test_offers_no_command_line_that_does_more_than_trusting_a_module(self, run, db):
        db.user_data.insert_one({"_id": 20, "data": {"x": {"_py": "class", "v": "a;reboot;.Class"}}})
        db.user_data.insert_one({"_id": 21, "data": {"x": {"_py": "class", "v": "cli_models.Basket"}}})
        output = run("check").output

        (offer,) = re.findall(r"if they are yours: (.*); and in the bot", output)
        assert offer == "--trust cli_models"

    @pytest.mark.parametrize("option", ["--aside", "--drop-path"])
    def test_does_nothing_while_it_is_repaired(self, run, option):
        run("repair", option, "--yes")
        run("repair", "--json")

    @pytest.mark.parametrize("words", [(), ("--multi-file",), ("--json",)], ids=str)
    def test_does_nothing_while_it_is_exported(self, run, tmp_path, words):
        file = tmp_path / HOSTILE.replace("/", "|")

        shown = run("export", "pickle", str(file), *words).output
        run("export", "pickle", str(file), "--incomplete", "--bot-id", str(BOT_ID), *words)
        assert list(tmp_path.iterdir())
        there_already = run("export", "pickle", str(file), *words)

        assert there_already.exit_code == 2
        assert "[link=x]" in there_already.stderr
        assert SHOWN in shown

    def test_does_nothing_as_a_name_of_a_bot_or_a_format(self, run, db):
        assert run("import", "dict", __file__, "--bot-id", "5").exit_code == 1
        db.ptb_mongo.update_one({"_id": "format"}, {"$set": {"version": HOSTILE}})

        found = run("check")

        assert "which no ptb_mongo writes; it is treated as 1" in found.output
        assert r"\x1b[2J" in found.output
        assert run("repair").exit_code == found.exit_code

    def test_of_one_conversation_leaves_room_for_the_others(self, run, db, monkeypatch):
        monkeypatch.setenv("COLUMNS", "120")
        place = {"handler": "survey", "key": [1815, "x"]}
        db.conversations.insert_one({"_id": place, **place, "state": "menu"})

        (line,) = (line for line in run("show", "conversations").output.splitlines() if "survey" in line)
        assert line.split()[:4] == ["survey", "1815,", "x", "'menu'"]

    def test_is_no_link_and_no_style_in_a_terminal(self, run_in_colours):
        for words in LOOKING:
            assert run_in_colours(*words) == [], words


@pytest.fixture
def run_in_colours(
    mongodb_server_uri: str, mongodb_database: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., list[str]]:
    """Runs a command that may print colours; gives what else it prints to be obeyed."""
    monkeypatch.setenv("MONGODB_URI", mongodb_server_uri)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")

    def invoke(*words: str) -> list[str]:
        result = CliRunner().invoke(app, [*words, "--database", mongodb_database], input="n\n", catch_exceptions=False)
        assert b"\x1b[" in result.stdout_bytes
        return offending(re.sub(rb"\x1b\[[0-9;]*m", b"", result.stdout_bytes))

    return invoke


# -- watch ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [(), ("--json",)], ids=str)
def test_what_is_watched_does_nothing(mongodb_server_uri, db, words):
    def change(number: int) -> None:
        place = {"handler": f"{HOSTILE}{number}", "key": number}  # a key that is no list
        db.conversations.insert_one({"_id": place})
        db.conversations.insert_one({"_id": {"handler": HOSTILE, "key": [HOSTILE, number]}})
        db.user_data.insert_one({"_id": f"{HOSTILE}{number}", "data": {}, "rev": f"{HOSTILE}:1"})
        db.user_data.update_one({"_id": f"{HOSTILE}{number}"}, {"$set": {f"data.{HOSTILE}": 1}, "$unset": {"rev": 1}})
        db.user_data.update_one({"_id": f"{HOSTILE}{number}"}, {"$unset": {f"data.{HOSTILE}": 1}})
        db.user_data.delete_one({"_id": f"{HOSTILE}{number}"})

    with watching_process(mongodb_server_uri, db.name, "--bots", "--count", "18", *words) as watching:
        if not words:
            assert "Watching" in watching.stdout.readline()
        number = 0
        while watching.poll() is None and number < 300:
            change(number := number + 1)
        printed = watching.stdout.read()

    assert watching.returncode == 0
    assert offending(printed.encode()) == []
    assert len(printed.splitlines()) == 18
    if words:
        told = [json.loads(line) for line in printed.splitlines()]
        assert f"data.{HOSTILE}" in {name for line in told for name in line["set"]}
    else:
        assert f"data.{SHOWN}" in printed


# -- import --------------------------------------------------------------------------------------------------


class _Foreign:
    """Pickled under names that somebody else has chosen."""


def foreign_pickle(data: Any) -> bytes:
    """A pickle in which this module's class has hostile names."""
    names = f"c{__name__}\n_Foreign\n".encode()
    hostile = HOSTILE.replace("\n", "|").replace("\r", "|").encode()
    pickled = pickle.dumps(data, protocol=0)
    assert names in pickled
    return pickled.replace(names, b"c" + hostile + b"\n" + hostile + b"\n")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a name of its own."""
    folder = tmp_path / HOSTILE.replace("/", "|")
    folder.mkdir()
    return folder


@pytest.mark.parametrize("words", [(), ("--json",), ("--apply", "--bot-id", "7")], ids=str)
class TestWhatIsImported:
    def test_from_a_pickle_does_nothing(self, run, folder, words):
        file = folder / HOSTILE.replace("/", "|")
        data = {
            "user_data": {1: {HOSTILE: _Foreign()}, 2: {HOSTILE: HOSTILE}, HOSTILE: {HOSTILE: 1}},
            "chat_data": {3: {HOSTILE: object}},
            "bot_data": {},
            "callback_data": None,
            "conversations": {HOSTILE: {(HOSTILE,): HOSTILE, (HOSTILE, 2): _Foreign()}},
        }
        file.write_bytes(foreign_pickle(data))

        assert SHOWN.replace("/", "|") in run("import", "pickle", str(file), *words).output.replace("/", "|")
        file.write_bytes(b"cos" + HOSTILE.encode().partition(b"\r")[0] + b"\nsystem\n.")
        assert run("import", "pickle", str(file), *words).exit_code == 1
        file.write_bytes(HOSTILE.encode())
        assert run("import", "pickle", str(file), *words).exit_code == 1
        file.unlink()
        assert run("import", "pickle", str(file), *words).exit_code != 0

    def test_from_json_does_nothing(self, run, folder, words):
        file = folder / HOSTILE.replace("/", "|")
        states = json.dumps({HOSTILE: {json.dumps([HOSTILE]): HOSTILE}})
        good = {"user_data": {"1": {HOSTILE: "\ud800"}, "2": {HOSTILE: HOSTILE}}, "conversations": states}
        for content in (good, {HOSTILE: 1}, {"user_data": {HOSTILE: 1}}, {"conversations": HOSTILE}):
            file.write_text(json.dumps(content))
            run("import", "dict", str(file), *words)
        file.write_text(HOSTILE)
        assert run("import", "dict", str(file), *words).exit_code == 1

    def test_from_mongopersistence_does_nothing(self, run, db, words):
        db.old_users.insert_many(
            [{"_id": HOSTILE, HOSTILE: HOSTILE}, {"_id": 5, "user_id": 5, HOSTILE: HOSTILE, "data": {HOSTILE: HOSTILE}}]
        )
        db.old_conversations.insert_many(
            [{"_id": HOSTILE, HOSTILE: HOSTILE}, {"_id": 1, "name": HOSTILE, "data": HOSTILE}]
        )
        names = ["--user-data", "old_users", "--conversations", "old_conversations"]

        run("import", "mongopersistence", *names, *words)


# -- what else is printed ------------------------------------------------------------------------------------


def test_names_that_an_operator_gives_do_nothing(run):
    for words in (
        ["check", "--database", HOSTILE],
        ["check", "--database", HOSTILE.replace("/", "").replace(".", "")],
        ["check", "--collection-prefix", HOSTILE],
        ["stats", "--collection-prefix", HOSTILE],
        ["check", "--uri", f"mongodb://{HOSTILE}"],
        ["check", "--uri", HOSTILE],
        ["check", "--trust", HOSTILE],
        ["check", f"--{HOSTILE}"],
        ["show", "user", HOSTILE],
        [HOSTILE],
        ["import", "pickle", HOSTILE],
        ["import", "dict", HOSTILE],
        ["export", "pickle", f"/nowhere/{HOSTILE}"],
    ):
        assert run(*words).exit_code is not None


def test_a_module_that_cannot_be_imported_says_why_and_does_nothing(run, tmp_path):
    script = tmp_path / "bot.py"
    script.write_text(f"raise ValueError({HOSTILE!r})")

    refused = run("check", "--trust", str(script))

    assert refused.exit_code == 2
    assert "[link=x]" in refused.stderr


def test_objects_show_themselves_and_do_nothing(run, db, tmp_path, monkeypatch):
    """Own classes have a `repr` of their own, which may give a user's text as it is."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_reprs.py").write_text(
        "class Plain:\n    def __repr__(self): return self.name\n"
        "class Rich:\n    def __rich_repr__(self): yield self.name, self\n    def __repr__(self): return self.name\n"
    )
    state = {"name": HOSTILE}
    for number, name in enumerate(("Plain", "Rich")):
        stored = {"_py": "object", "cls": f"own_reprs.{name}", "state": state}
        db.user_data.insert_one({"_id": number, "data": {"x": stored, "y": [stored]}})
        place = {"handler": name, "key": [1]}
        db.conversations.insert_one({"_id": place, **place, "state": stored})

    for words in (["user", "0"], ["user", "1"], ["conversations"]):
        assert SHOWN in run("show", *words, "--trust", "own_reprs").output


def test_an_unforeseen_error_says_what_happened_and_does_nothing(mongodb_server_uri, mongodb_database, tmp_path):
    program = (
        "import sys, ptb_mongo.cli.stats, ptb_mongo.cli\n"
        f"def broken(*_, **__): raise KeyError('no ' 'repr') from ValueError({HOSTILE!r})\n"
        "ptb_mongo.cli.stats.storage = broken\n"
        f"sys.argv = ['ptb-mongo', 'stats', '--database', {mongodb_database!r}]\n"
        "ptb_mongo.cli.main()"
    )

    async def ran() -> tuple[int | None, bytes]:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            program,
            env={**os.environ, "MONGODB_URI": mongodb_server_uri},
            stderr=asyncio.subprocess.PIPE,
        )
        _, printed = await process.communicate()
        return process.returncode, printed

    code, printed = asyncio.run(ran())
    assert code == 1
    assert b"no repr" in printed
    assert offending(printed, indent="") == []  # its lines are indented, and so are no prompt of a shell


def test_progress_shows_the_name_of_a_file_and_does_nothing(monkeypatch, capfdbinary):
    from ptb_mongo.cli import common

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with contextlib.suppress(SystemExit), common.progress(quiet=False) as steps:
        steps.at(f"reading {HOSTILE}", 1, 2)
        steps.advance(HOSTILE, 1, 2)
    printed = re.sub(rb"\x1b\[\??[0-9;]*[a-zA-Z]|\r", b"", capfdbinary.readouterr().err)

    assert SHOWN.encode() in printed
    assert offending(printed) == []


def test_what_a_command_forgets_to_escape_the_console_escapes(capfdbinary, monkeypatch):
    from ptb_mongo.cli.terminal import console

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    for text in (HOSTILE, rich.text.Text(HOSTILE), rich.text.Text("x", "link https://example.org")):
        console().print(Panel(text))
    printed = re.sub(rb"\x1b\[[0-9;]*m", b"", capfdbinary.readouterr().out)

    assert printed.count(rb"\x1b[2J") == 2
    assert [one for one in offending(printed, indent="") if not one.startswith("FORGED")] == []
    assert b"example.org" not in printed


def test_the_planted_text_would_be_found():
    assert len(offending(HOSTILE.encode())) > 15
    assert offending(ORDINARY.encode()) == []
