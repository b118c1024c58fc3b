"""How examples handle documents that no bot has written, requests that no page sends, and empty settings."""

from __future__ import annotations

import datetime as dtm
import json
import os
import re
import subprocess
import sys
import types
from typing import TYPE_CHECKING, Any

import bson
import pytest
from bson import Binary, Code, DatetimeMS, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Regex, Timestamp
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from telegram import Bot, Chat, Document, InputMediaPhoto, Message, PhotoSize, Sticker, Update, Voice
from telegram.request import BaseRequest, RequestData
from test_examples import EXAMPLES
from test_more_examples import free_port, needs_web

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = needs_web

UTC = dtm.timezone.utc
NAN = float("nan")
ODD_DATA = [
    None, True, 0, 1.5, NAN, -float("inf"), "", "\x1b[2J", "amount", "x" * 5000, [], [1], [[1, 1]], {}, {"a": {"b": 1}},
    b"\xff\xfe", ObjectId("5" * 24), Decimal128("NaN"), Int64(2**62), Code("x"), Code("x", {}),
    Regex("("), DBRef("a", 1),
    Timestamp(1, 1), MinKey(), MaxKey(), Binary(b"x", 4), DatetimeMS(2**62),
    dtm.datetime(1, 1, 1, tzinfo=UTC), dtm.datetime(9999, 12, 31, tzinfo=UTC),
]  # fmt: skip


@pytest.fixture
def database(mongodb_server_uri: str, mongodb_database: str) -> Iterator[Any]:
    with MongoClient(mongodb_server_uri) as client:
        yield client[mongodb_database]


class TestAdminPage:
    @pytest.mark.parametrize("odd", ODD_DATA, ids=lambda odd: f"{odd!r:.20}")
    async def test_an_odd_document_hides_nobody(self, page: Any, database: Any, odd: Any) -> None:
        # given a customer, and documents that no bot has written, in every place that the page reads
        now = dtm.datetime(2026, 1, 1, tzinfo=UTC)
        fields = dict.fromkeys(("name", "plan", "cart", "customer_since"), odd)
        ada = {"name": "Ada", "plan": "premium", "cart": {"Assam": 1}, "customer_since": now}
        users = [{"_id": 1, "data": ada, "updated_at": now}, {"_id": 2, "data": odd}, {"_id": 3, "data": fields}]
        users += [{"_id": 4, "data": {"cart": {"": odd, "$a.b": odd}}, "updated_at": odd}, {"_id": 5}]
        ids = [one for one in [odd, 2**63 - 1, {"a": odd}] if not isinstance(one, (list, Regex)) and one is not True]
        users += [{"_id": one, "data": ada} for one in ids]
        keys = [[1, 1], [2, odd], [[3, 3]], [[4, 4], {"a": odd}], [odd], []]
        orders = [{"_id": number, "handler": "order", "key": key} for number, key in enumerate(keys)]
        orders += [
            {"_id": f"{number}", "handler": "order", "key": [number, number], "state": odd} for number in (1, 2, 3)
        ]
        database.user_data.insert_many(users, ordered=False)
        database.conversations.insert_many([*orders, {"_id": 7, "handler": "order", "key": odd, "state": "amount"}])
        async with page() as client:
            # when
            answer = await client.get("/api/customers")
            # then
            assert answer.status_code == 200
            shown = {customer["id"]: customer for customer in answer.json()["customers"]}
            assert shown.keys() >= {1, 2, 3, 4, 5}
            assert (shown[1]["name"], shown[1]["premium"], shown[1]["cart"]) == ("Ada", True, {"Assam": 1})
            assert all(isinstance(customer["id"], int) for customer in shown.values())
            for customer in shown.values():
                assert isinstance(customer["name"], str)
                assert len(customer["name"]) <= 100
                assert all(isinstance(tins, int) for tins in customer["cart"].values())
                assert all(isinstance(customer[name], (str, type(None))) for name in ("since", "seen"))
            for user_id in (1, 2, 3, 4, 5):
                for wanted in (True, False):
                    path = f"/api/customers/{user_id}/premium"
                    assert (await client.put(path, json={"premium": wanted})).status_code in {200, 409}

    async def test_a_document_that_is_no_good_bson_hides_nobody(self, page: Any, database: Any) -> None:
        # given texts that are no UTF-8, and a date beyond Python's
        broken = {"name": "Bro\u00e9ken", "customer_since": DatetimeMS(2**62)}
        raw = bson.encode({"_id": 2, "data": broken, "updated_at": DatetimeMS(-(2**62))})
        database.user_data.insert_many(
            [{"_id": 1, "data": {"name": "Ada"}}, RawBSONDocument(raw.replace(b"\xc3", b"\xff"))]
        )
        async with page() as client:
            answer = await client.get("/api/customers")
        assert {customer["id"] for customer in answer.json()["customers"]} == {1, 2}

    async def test_odd_questions_are_answered(self, page: Any, database: Any) -> None:
        database.user_data.insert_one({"_id": 1, "data": {"name": "Ada"}})
        async with page() as client:
            for search in ("\0", "a\0b", "x" * 60_000, "(", "\\", "\ufeff\u202e", "{1}", "%00"):
                answer = await client.get("/api/customers", params={"search": search})
                assert answer.status_code in {200, 422}, search
            for user_id in (2**63, -(2**63) - 1, 10**30, "x", 1.5):
                answer = await client.put(f"/api/customers/{user_id}/premium", json={"premium": True})
                assert answer.status_code in {404, 422}, user_id

    @pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "192.168.1.5", ""])
    async def test_without_a_password_it_answers_on_this_machine_only(
        self, page: Any, database: Any, host: str
    ) -> None:
        # given a name that somebody's server has given the address 127.0.0.1, as in a DNS rebinding
        database.user_data.insert_one({"_id": 1, "data": {"name": "Ada"}})
        async with page() as client:
            for answer in (
                await client.get("/", headers={"Host": host}),
                await client.get("/api/customers", headers={"Host": host}),
                await client.put("/api/customers/1/premium", json={"premium": True}, headers={"Host": host}),
            ):
                assert answer.status_code == 400
        assert database.user_data.find_one() == {"_id": 1, "data": {"name": "Ada"}}
        async with page() as client:
            for mine in ("localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000", "LOCALHOST"):
                assert (await client.get("/", headers={"Host": mine})).status_code == 200, mine
        async with page("s3cret") as client:
            assert (await client.get("/", auth=("me", "s3cret"), headers={"Host": "shop.example"})).status_code == 200

    @pytest.mark.parametrize("password", ["", " "])
    def test_an_empty_password_opens_no_door(self, password: str, mongodb_server_uri: str) -> None:
        environment = {**os.environ, "MONGODB_URI": mongodb_server_uri, "ADMIN_PASSWORD": password}
        command = [sys.executable, "-m", "uvicorn", "--app-dir", EXAMPLES, "--factory", "admin_api:from_environment"]
        finished = subprocess.run(
            [*command, "--port", str(free_port())],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert finished.returncode != 0
        assert finished.stderr.strip().splitlines()[-1].startswith("ADMIN_PASSWORD is empty: ")


class TestWebhooks:
    @pytest.mark.parametrize("secret", ["", " ", "two words", "x" * 257, None], ids=str)
    @pytest.mark.parametrize("program", ["webhook_bot.py", "workers/worker.py"])
    def test_without_a_secret_that_telegram_takes_it_does_not_start(self, program: str, secret: str | None) -> None:
        environment = {key: value for key, value in os.environ.items() if key != "WEBHOOK_SECRET"}
        environment |= {"BOT_TOKEN": "1:x", "WEBHOOK_URL": "https://tea-shop.example.org", "PORT": str(free_port())}
        environment |= {
            "MONGODB_URI": "mongodb://127.0.0.1:1",
            **({} if secret is None else {"WEBHOOK_SECRET": secret}),
        }
        finished = subprocess.run(
            [sys.executable, EXAMPLES / program],
            env=environment,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert finished.returncode == 1
        assert finished.stderr.startswith("WEBHOOK_SECRET must be ")
        assert "Traceback" not in finished.stderr


class Recorder(BaseRequest):
    """A Telegram that accepts everything, and notes what it was sent."""

    read_timeout = None

    def __init__(self) -> None:
        self.sent: list[RequestData] = []

    async def initialize(self) -> None: ...

    async def shutdown(self) -> None: ...

    async def do_request(self, url: str, method: str, request_data: RequestData | None = None, **_: Any) -> Any:
        if request_data is not None:
            self.sent.append(request_data)
        message = {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}}
        return 200, json.dumps({"ok": True, "result": message}).encode()


class TestStoredFileIds:
    """What `docs/how-to/live-edits.md` says of them."""

    @pytest.fixture
    def documented(self) -> dict[str, Any]:
        page = (EXAMPLES.parent / "docs/how-to/live-edits.md").read_text(encoding="utf-8")
        (program,) = (text for text in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "stored_photo" in text)
        names: dict[str, Any] = {}
        exec(program.replace("from __future__", ""), names)
        return names

    @pytest.fixture
    def secret(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "environ").write_text("BOT_TOKEN=123:secret")
        return tmp_path / "environ"

    async def send(self, documented: dict[str, Any], stored: Any) -> Recorder:
        """Runs the documented handler on a user's data."""
        bot = Bot("1:x", request=(recorder := Recorder()), get_updates_request=Recorder())
        message = Message(1, dtm.datetime.now(UTC), Chat(1, "private"))
        message.set_bot(bot)
        context = types.SimpleNamespace(user_data={"photo": stored})
        await documented["show_photo"](Update(1, message=message), context)
        return recorder

    async def test_a_text_that_names_a_file_is_uploaded_by_ptb(self, secret: Path) -> None:
        bot = Bot("1:x", request=(recorder := Recorder()), get_updates_request=Recorder())
        for stored in (str(secret), secret.name, secret):
            await bot.send_photo(1, stored)
        assert [b"123:secret" in str(data.multipart_data).encode() for data in recorder.sent] == [True] * 3

    async def test_the_documented_handler_sends_no_file_of_this_machine(self, documented: Any, secret: Path) -> None:
        for stored in (
            str(secret),
            f"./{secret.name}",
            secret,
            secret.as_uri(),
            b"x",
            "https://example.org/",
            "",
            None,
        ):
            with pytest.raises(ValueError, match="file_id"):
                await self.send(documented, stored)
        for stored in (secret.name, "AgACAgIAAxkBAAI-_x"):
            (sent,) = (await self.send(documented, stored)).sent
            assert not sent.contains_files
            assert sent.json_parameters["photo"] == stored

    async def test_so_do_objects_of_other_types_and_the_media_of_a_group(self, secret: Path) -> None:
        bot = Bot("1:x", request=(recorder := Recorder()), get_updates_request=Recorder())
        path = str(secret)
        await bot.send_document(1, Document(path, "stored"))
        await bot.send_sticker(1, Sticker(path, "stored", 1, 1, False, False, "regular"))
        await bot.send_voice(1, Voice(path, "stored", 1))
        await bot.edit_message_media(InputMediaPhoto(PhotoSize(path, "stored", 1, 1)), 1, 1)
        assert [data.contains_files for data in recorder.sent] == [False] * 4
