"""Commands on a database in which somebody has put values of every type wherever a bot stores its own.

The kind of fault: one document ends a command for all others, because the command or the server assumes a type.
"""

from __future__ import annotations

import contextlib
import datetime as dtm
from typing import Any

import pytest
from bson.dbref import DBRef
from odd_values import NO_IDS, ODD, plant
from pymongo.errors import PyMongoError
from typer.testing import CliRunner

from ptb_mongo.cli.app import app

USER = 42
NOW = dtm.datetime.now(dtm.timezone.utc)
VALUES = {
    **ODD,
    "a list of now": [NOW],
    "a list of documents": [{"a": 1}],
    "an object with a list": {"_py": "object", "cls": "x.Y", "state": [{"a": 1}]},
    "a reference with a year": DBRef("c", 1, year=1),
    "tomorrow": NOW + dtm.timedelta(days=1),
    "a list of lists": [[]],
}
COMMANDS = [
    ["stats"],
    ["stats", "--json"],
    ["check"],
    ["check", "--json"],
    ["show", "conversations"],
    ["show", "conversations", "--json"],
    ["show", "user", str(USER)],
    ["show", "chat", str(USER)],
]


@pytest.mark.parametrize("start", range(6))
def test_no_value_anywhere_ends_a_command(
    database: Any, mongodb_server_uri: str, monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
    """A sixth of the values at once; each of them alone would take six times as long."""
    for number, name in enumerate([*VALUES][start::6]):
        value, user = VALUES[name], USER + 100 * number
        for scope in ("user_data", "chat_data"):
            plant(database[scope], {"_id": user, "data": {"n": 1, "x": value}, "updated_at": value, "rev": value})
            plant(database[scope], {"_id": user + 1, "data": value, "updated_at": NOW})
        for part in ("handler", "state", "updated_at"):
            key = {"handler": "order", "key": [user, part]}
            plant(database.conversations, {"_id": key, **key, "state": 1, "updated_at": NOW, part: value})
        both = {"_id": user, "handler": value, "key": value, "state": value}
        plant(database.conversations, both)
        plant(database.callback_data, {"_id": f"{user:032}", "accessed_at": value, "position": value, "buttons": value})
        if name not in NO_IDS:
            with contextlib.suppress(PyMongoError):
                plant(database.user_data, {"_id": value, "data": value})
    monkeypatch.setenv("MONGODB_URI", mongodb_server_uri)
    monkeypatch.setenv("COLUMNS", "200")

    for words in COMMANDS:
        result = CliRunner().invoke(app, [*words, "--database", database.name])

        assert result.exit_code in {0, 1}, (words, result.output[-2000:])
        assert result.exception is None or isinstance(result.exception, SystemExit), (words, result.exception)
        assert "Traceback" not in result.output
        assert "Error" not in result.stderr.replace("DecodeError", ""), (words, result.stderr[-2000:])
