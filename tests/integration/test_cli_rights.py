"""`ptb-mongo check` names each action that a database user lacks, and the command that it suggests grants it.

The kind of fault: a permission is missing for only one collection or one kind of command, so that a bot starts, and
fails days later, for example at the first deletion.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from guarded import guarded_mongod
from pymongo import MongoClient
from typer.testing import CliRunner

from ptb_mongo.cli.app import app
from ptb_mongo.cli.check import _show_missing
from ptb_mongo.cli.common import Target
from ptb_mongo.cli.terminal import console
from ptb_mongo.migration.inspection import Server as Inspected
from ptb_mongo.migration.privileges import ACTIONS, granting, missing_actions

PASSWORD = secrets.token_hex(8)
DATABASE = "my_bot"
DATA = ["user_data", "chat_data", "bot_data", "conversations", "callback_data"]
WHERE = {
    **{action: [*DATA, "ptb_mongo"] for action in ("find", "insert", "update")},
    "remove": DATA,
    "createIndex": ["conversations"],
    "changeStream": [],
}
WRITES = ["insert", "update", "remove", "createIndex"]
NAMES = iter(range(10**6))


@dataclass
class Server:
    """A replica set of one node that asks for passwords."""

    port: int

    def uri(self, user: str, database: str = DATABASE) -> str:
        return f"mongodb://{user}:{PASSWORD}@127.0.0.1:{self.port}/{database}?authSource=admin&replicaSet=rs0"

    def as_root(self, *commands: tuple[Any, ...], database: str = "admin", **fields: Any) -> None:
        with MongoClient(self.uri("root")) as client:
            for words in commands:
                client[database].command(*words, **fields)

    def user(self, privileges: list[Any] | None, roles: list[Any] = []) -> str:  # noqa: B006  (it is only read)
        """A new user, with a role of its own if there are privileges; gives the name of both."""
        name = f'ada "{next(NAMES)}"'
        if privileges is not None:
            self.as_root(("createRole", name), privileges=privileges, roles=[])
            roles = [*roles, name]
        self.as_root(("createUser", name), pwd=PASSWORD, roles=roles)
        return name

    def check(self, user: str, *words: str, database: str = DATABASE) -> Any:
        uri = self.uri(re.sub("[^a-z0-9]", lambda found: f"%{ord(found[0]):02x}", user), database)
        return CliRunner().invoke(app, ["check", "--uri", uri, *words], env={"COLUMNS": "400"})

    def told(self, user: str) -> Any:
        return json.loads(self.check(user, "--json").output)

    def run_in_mongosh(self, line: str) -> None:
        """What `mongosh` does with a line: its methods are commands of the same name."""
        found = re.fullmatch(r'db\.getSiblingDB\((".*?")\)\.(\w+)\((.*)\)', line)
        assert found, line
        database, method, text = json.loads(found[1]), found[2], found[3]
        arguments = json.loads(re.sub(r"(?<=[{,] )(\w+):", r'"\1":', f"[{text}]"))
        if method == "createRole":
            (role,) = arguments
            self.as_root(("createRole", role.pop("role")), database=database, **role)
        else:
            name, given = arguments
            field = {"grantPrivilegesToRole": "privileges", "grantRolesToUser": "roles"}[method]
            self.as_root((method, name), database=database, **{field: given})


def whole(actions: Any, collection: str = "", database: str = DATABASE) -> dict[str, Any]:
    return {"resource": {"db": database, "collection": collection}, "actions": list(actions)}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with guarded_mongod(tmp_path_factory.mktemp("guarded"), PASSWORD, replica_set="rs0") as port:
        yield Server(port)


@pytest.fixture(autouse=True)
def empty(server: Server) -> None:
    with MongoClient(server.uri("root")) as client:
        client.drop_database(DATABASE)
        client.admin.command("dropAllRolesFromDatabase")


def without(*missing: str) -> list[str]:
    return [action for action in ACTIONS if action not in missing]


def test_the_table_has_every_action() -> None:
    assert set(WHERE) == set(ACTIONS)
    assert len(ACTIONS) == 6


@pytest.mark.parametrize("missing", ACTIONS)
def test_an_action_that_is_missing_is_named_and_the_line_grants_it(missing: str, server: Server) -> None:
    user = server.user([whole(without(missing))])

    told = server.told(user)
    shown = server.check(user)

    expected = {missing: WHERE[missing]} | ({"changeStream": []} if missing == "find" else {})
    assert told["missing"] == expected
    assert shown.exit_code == (0 if missing == "changeStream" else 1)
    assert f"● {missing}  {', '.join(WHERE[missing]) or 'the whole database'}" in shown.output
    (line,) = told["granting"]
    assert line in shown.output
    assert PASSWORD not in shown.output

    server.run_in_mongosh(line)

    after = server.check(user)
    assert server.told(user)["missing"] == {}
    assert server.told(user)["granting"] == []
    assert "✓ read  ✓ write  ✓ index  ✓ watch" in after.output
    assert "missing" not in after.output
    assert after.exit_code == 0


@pytest.mark.parametrize("collection", [*DATA, "ptb_mongo"])
def test_an_action_that_is_missing_for_one_collection_is_named_with_it(collection: str, server: Server) -> None:
    others = [one for one in (*DATA, "ptb_mongo") if one != collection]
    everywhere = whole(["find", "remove", "createIndex", "changeStream"])
    user = server.user([everywhere, *(whole(["insert", "update"], one) for one in others)])

    told = server.told(user)

    assert told["missing"] == {"insert": [collection], "update": [collection]}
    assert server.check(user).exit_code == 1
    for line in told["granting"]:
        server.run_in_mongosh(line)
    assert server.told(user)["missing"] == {}


@pytest.mark.parametrize(
    ("privileges", "roles", "expected"),
    [
        (None, [], {**WHERE}),
        (None, [{"role": "read", "db": DATABASE}], {one: WHERE[one] for one in WRITES}),
        (None, [{"role": "readWrite", "db": "another"}], {**WHERE}),
        (None, [{"role": "readWrite", "db": DATABASE}], {}),
        (None, ["readWriteAnyDatabase"], {}),
        (None, ["root"], {}),
        ([whole(ACTIONS, database="")], [], {}),
        ([{"resource": {"anyResource": True}, "actions": ["anyAction"]}], [], {}),
        ([whole(["find", "insert", "update", "remove"], one) for one in (*DATA, "jobs", "ptb_mongo")]
         + [whole(["createIndex"], "conversations")], [], {"changeStream": []}),
        ([whole(without("find", "changeStream"), database=DATABASE), whole(["find"], database="another")], [],
         {"find": WHERE["find"], "changeStream": []}),
    ],
    ids=["nothing", "read", "another database", "readWrite", "any database", "root", "all databases", "anything",
         "each collection", "several"],
)  # fmt: skip
def test_what_roles_of_all_kinds_are_missing(privileges: Any, roles: Any, expected: Any, server: Server) -> None:
    user = server.user(privileges, roles)

    told = server.told(user)

    assert told["missing"] == expected
    assert bool(told["granting"]) == bool(expected)
    for line in told["granting"]:
        server.run_in_mongosh(line)
    assert server.told(user)["missing"] == {}
    assert server.check(user).exit_code == 0


def test_what_check_finds_missing_is_what_the_server_refuses(server: Server) -> None:
    user = server.user([whole(["find", "insert", "changeStream"])])

    told = server.told(user)

    assert told["missing"].keys() == {"update", "remove", "createIndex"}
    assert told["rights"] == {"read": True, "write": False, "index": False, "watch": True}


def test_with_a_prefix_its_collections_are_named(server: Server) -> None:
    user = server.user([whole(without("remove"))])

    shown = server.check(user, "--collection-prefix", "ada_")

    assert f"● remove  {', '.join(f'ada_{one}' for one in DATA)}" in shown.output


def test_on_atlas_where_shells_make_no_roles_the_page_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    target = Target("mongodb+srv://ada:secret@cluster.ab12c.mongodb.net/my_bot", None, "", ())
    server = Inspected("6.0", "replica set", {}, {"remove": DATA}, ["db.createRole()"])

    _show_missing(console(), target, DATABASE, server)

    shown = capsys.readouterr().out
    assert "on Atlas: Database Access, Custom Roles" in shown
    assert "createRole" not in shown


def test_nothing_is_left_behind(server: Server) -> None:
    server.check(server.user([whole(ACTIONS)]))

    with MongoClient(server.uri("root")) as client:
        assert client[DATABASE].list_collection_names() == []


def test_where_nobody_logs_in_nothing_is_missing() -> None:
    status: dict[str, Any] = {"authenticatedUsers": [], "authenticatedUserPrivileges": []}
    assert missing_actions(status, DATABASE, DATA, "ptb_mongo", "conversations") == {}


def test_a_role_of_another_database_cannot_be_granted_anything_here() -> None:
    status = {
        "authenticatedUsers": [{"user": "ada", "db": "people"}],
        "authenticatedUserRoles": [{"role": "own", "db": "people"}],
    }

    create, grant = granting(status, DATABASE, ["remove"])

    assert create.startswith('db.getSiblingDB("admin").createRole({ role: "telegramBot"')
    assert grant == 'db.getSiblingDB("people").grantRolesToUser("ada", [{ role: "telegramBot", db: "admin" }])'
