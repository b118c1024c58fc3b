"""The examples that need more than the demo: analytics, a webhook, jobs, and a page with a switch."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from botapi import TIMEOUT, FakeBotAPI
from bots import Bot
from guarded import guarded_mongod
from pymongo import MongoClient
from pymongo.errors import OperationFailure
from test_examples import EXAMPLES, ON_THE_STAND_IN, positions

from ptb_mongo.embedded import EmbeddedMongo

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

needs_web = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ["apscheduler", "fastapi", "starlette", "uvicorn"])),
    reason='pip install ".[examples-web]"',
)
needs_analytics = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ["matplotlib", "pandas"])), reason='pip install ".[analytics]"'
)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here")


def run(name: str, uri: str, *arguments: str) -> str:
    """Runs an example without a token; gives what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "BOT_TOKEN"}
    finished = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        env={**environment, "MONGODB_URI": uri, "PYTHONUTF8": "1", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


@contextlib.asynccontextmanager
async def process(*arguments: str | Path, stdout: int | None = None, **environment: str) -> AsyncIterator[Process]:
    """A program that runs until it is ended with SIGTERM."""
    kept = {key: value for key, value in os.environ.items() if key != "BOT_TOKEN"}
    started = await asyncio.create_subprocess_exec(
        *map(str, arguments),
        env={**kept, **environment},
        cwd=EXAMPLES.parent,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=stdout,
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
            await asyncio.wait_for(started.wait(), TIMEOUT)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


async def eventually(ask: Callable[[], Any], expected: Callable[[Any], bool]) -> Any:
    """Asks until the answer is as expected; whoever is asked may not be there yet."""
    answer = None
    for _ in range(int(TIMEOUT / 0.05)):
        with contextlib.suppress(httpx.TransportError):
            answer = await ask()
            if expected(answer):
                return answer
        await asyncio.sleep(0.05)
    raise AssertionError(f"not answered as expected: {answer!r}")


class TestAnalytics:
    @needs_analytics
    def test_it_answers_its_questions_and_draws_a_picture(self, mongodb_server_uri: str, tmp_path: Path) -> None:
        # when
        picture = tmp_path / "folder" / "picture.png"
        output = run("analytics.py", mongodb_server_uri, str(picture), "400")
        # then
        order = positions(output, "served 400 customers", "premium", "IXSCAN", "frame of 400 rows", "language", "en  ")
        assert order == sorted(order)
        assert picture.read_bytes().startswith(b"\x89PNG")

    def test_the_picture_in_the_docs_is_there(self) -> None:
        assert (EXAMPLES.parent / "docs/images/analytics.png").stat().st_size < 200_000

    def test_the_role_in_the_docs_reads_and_does_nothing_else(self, tmp_path: Path) -> None:
        # given a server with access control, and the page's commands, as an administrator gives them
        page = (EXAMPLES.parent / "docs/analytics.md").read_text(encoding="utf-8")
        with guarded_mongod(tmp_path, "root") as port:
            with MongoClient(port=port, username="root", password="root") as root:
                root.my_bot.user_data.insert_one({"_id": 1815, "data": {"name": "Ada", "cart": {"Sencha": 2}}})
                for command in ("createRole", "createUser"):
                    arguments = arguments_in_mongosh(page, f'getSiblingDB("admin").{command}(')
                    root.admin.command({command: arguments.pop(command.removeprefix("create").lower()), **arguments})
                root.my_bot.create_collection(
                    "user_figures",
                    viewOn="user_data",
                    pipeline=arguments_in_mongosh(page, 'createView("user_figures", "user_data", '),
                )
            with MongoClient(port=port, username="ada", password="s3cret", authSource="admin") as ada:
                # then it reads
                assert ada.my_bot.user_data.find_one()["data"]["name"] == "Ada"
                assert list(ada.my_bot.user_data.aggregate([{"$group": {"_id": None, "users": {"$sum": 1}}}]))
                assert ada.my_bot.user_data.find({"data.name": "Ada"}).explain()["queryPlanner"]
                assert {"user_data", "user_figures"} <= set(ada.my_bot.list_collection_names())
                assert ada.my_bot.user_data.index_information()
                assert ada.my_bot.command("collStats", "user_data")["count"] == 1
                assert ada.my_bot.user_figures.find_one() == {"_id": 1815, "data": {"cart": {"Sencha": 2}}}
                # and nothing else
                for forbidden in (
                    lambda: ada.my_bot.user_data.update_one({"_id": 1815}, {"$set": {"data.plan": "premium"}}),
                    lambda: ada.my_bot.user_data.delete_one({"_id": 1815}),
                    lambda: ada.my_bot.user_data.aggregate([{"$out": "copy"}]),
                    lambda: ada.my_bot.user_data.create_index("updated_at"),
                    ada.other.user_data.find_one,
                ):
                    with pytest.raises(OperationFailure, match="not authorized"):
                        forbidden()


def arguments_in_mongosh(page: str, call: str) -> Any:
    """What stands behind `call` in a page, as a value."""
    text = page.partition(call)[2].partition("\n```")[0].rstrip(")").replace("passwordPrompt()", '"s3cret"')
    quoted = re.sub(r"([{,\[]\s*)([$\w]+):", r'\1"\2":', text)
    value, _ = json.JSONDecoder().raw_decode(re.sub(r",(\s*[}\]])", r"\1", quoted))
    return value


class TestTutorial:
    async def test_its_bot_counts_on_after_a_stop_and_obeys_an_edit(self, tmp_path: Path) -> None:
        # given its files
        page = (EXAMPLES.parent / "docs/tutorial.md").read_text(encoding="utf-8")
        names, port = ["bot.py", "look.py", "rename.py"], str(free_port())
        programs = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        for name, program in zip(names, programs, strict=True):
            (tmp_path / name).write_text(program.replace("27117", port).replace("bot-data", str(tmp_path / "data")))
        async with FakeBotAPI() as api:
            ada = api.user(1815, "Ada")
            environment = {"BOT_TOKEN": api.token}
            async with process(*on_the_stand_in(tmp_path / "bot.py", api), **environment):
                assert (await ada.talks("one", "two")).text == "Ada, this was message 2."
            # when it is started again
            async with process(*on_the_stand_in(tmp_path / "bot.py", api), **environment):
                assert (await ada.talks("three")).text == "Ada, this was message 3."
                # and its data is looked at, and changed
                async with process(sys.executable, tmp_path / "look.py", stdout=asyncio.subprocess.PIPE) as look:
                    output, _ = await look.communicate()
                async with process(sys.executable, tmp_path / "rename.py") as rename:
                    assert await rename.wait() == 0

                async def says_something() -> str:
                    return (await ada.talks("hello")).text

                # then it obeys, and has not lost count
                answer = await eventually(says_something, lambda text: text.startswith("Countess"))
        assert re.search(r"^1815 \{'messages': [23]\} ", output.decode())
        assert int(answer.rpartition(" ")[2].rstrip(".")) >= 4


@needs_web
class TestWorkers:
    def test_everybody_is_where_they_should_be_though_a_worker_is_killed(self, mongodb_server_uri: str) -> None:
        output = run("workers/run.py", mongodb_server_uri, "--people", "4")

        order = positions(output, "Three workers listen", "kill -9 worker 2", "worker 2 is back", "of 4 are where")
        assert order == sorted(order)

    def test_each_worker_behind_the_load_balancer_is_a_service(self) -> None:
        yaml = pytest.importorskip("yaml", reason="pip install --group docs")
        folder = EXAMPLES / "workers"
        services = yaml.safe_load((folder / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
        balanced = re.findall(r"server (\S+):8080", (folder / "nginx.conf").read_text(encoding="utf-8"))
        assert len(balanced) == 3
        assert set(balanced) == {name for name in services if name.startswith("worker")}
        assert services["worker-1"] == services["worker-2"] == services["worker-3"]


@needs_web
class TestWebhookBot:
    def test_an_order_goes_on_after_sigterm(self, mongodb_server_uri: str) -> None:
        # when
        output = run("webhook_demo.py", mongodb_server_uri)
        # then
        order = positions(output, "/telegram", "How many tins of Sencha?", "GET /health: 200", ": 403", "2 x Sencha")
        assert order == sorted(order)

    async def test_an_update_that_the_database_is_needed_for_is_left_to_telegram_during_an_outage(self) -> None:
        # given a bot that has met Ada, and a database that is gone
        port = str(free_port())
        settings = {"PORT": port, "WEBHOOK_URL": "https://tea-shop.example.org/", "WEBHOOK_SECRET": "s3cret"}
        async with FakeBotAPI() as api, http_client(port) as telegram:
            ada, grace = api.user(1815, "Ada"), api.user(1906, "Grace")
            with EmbeddedMongo() as mongo:
                environment = {"BOT_TOKEN": api.token, "MONGODB_URI": mongo.uri, **settings}
                async with process(*on_the_stand_in("webhook_bot.py", api), **environment):
                    await eventually(lambda: telegram.get("/health"), lambda answer: answer.status_code == 200)
                    assert await says(telegram, api, ada, "/start") == 200
                    mongo.kill()
                    # when somebody writes whose data was never read, then that is to come again
                    assert await says(telegram, api, grace, "/cart") == 503
                    # and who is known is served; the bot is unwell, but no reason to restart it
                    assert await says(telegram, api, ada, "/cart") == 200
                    assert (await telegram.get("/health")).status_code == 503
                    assert (await telegram.get("/alive")).status_code == 200
                    # when it is back, and Telegram delivers again
                    mongo.start()
                    await eventually(lambda: says(telegram, api, grace, "/start"), lambda status: status == 200)
                    await eventually(lambda: telegram.get("/health"), lambda answer: answer.json()["waiting"] == 0)
        (call,) = api.requests_to("setWebhook")
        assert call["url"] == "https://tea-shop.example.org/telegram"


def on_the_stand_in(name: str | Path, api: FakeBotAPI) -> list[str]:
    """The command that runs an example with a token, at our Telegram."""
    program = ON_THE_STAND_IN.format(
        base_url=api.base_url, base_file_url=api.base_file_url, folder=str(EXAMPLES), path=str(EXAMPLES / name)
    )
    return [sys.executable, "-c", program]


def http_client(port: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=TIMEOUT)


async def says(telegram: httpx.AsyncClient, api: FakeBotAPI, user: Any, text: str) -> int:
    """Somebody's message, as Telegram posts it; gives the status of the answer."""
    update = {"update_id": api.new_id(), "message": api.new_message(chat=user.chat, sender=user.json, text=text)}
    secret = {"X-Telegram-Bot-Api-Secret-Token": "s3cret"}
    return (await telegram.post("/telegram", json=update, headers=secret)).status_code


@needs_web
class TestJobsBot:
    def test_a_reminder_rings_although_the_bot_was_killed(self, mongodb_server_uri: str) -> None:
        # when
        output = run("jobs_bot.py", mongodb_server_uri)
        # then
        order = positions(output, "take the tea out", "kill -9 ", "callback: ", "⏰ take", "1 so far")
        assert order == sorted(order)

    async def test_a_repeating_job_that_removes_itself_after_a_restart_is_removed(
        self, mongodb_server_uri: str, mongodb_database: str
    ) -> None:
        # given a program that adds a job, and ends; and one that finds it and lets it run
        program = JOB_THAT_ENDS_ITSELF.format(uri=mongodb_server_uri, database=mongodb_database)
        finished = [await run_to_the_end(program, when) for when in ("first", "second")]
        # then it ran twice, and is gone
        assert finished == ["jobs: 1", "ran: 2, jobs: 0"]


JOB_THAT_ENDS_ITSELF = """\
import asyncio, sys
from ptb_mongo import MongoJobQueue, MongoPersistence
from telegram.ext import Application
from telegram.request import BaseRequest

class Silence(BaseRequest):
    read_timeout = None
    async def initialize(self): pass
    async def shutdown(self): pass
    async def do_request(self, *_, **__):
        return 200, b'{{"ok": true, "result": {{"id": 1, "is_bot": true, "first_name": "B", "username": "b"}}}}'

over = asyncio.Event()

async def tick(context):
    context.bot_data["ran"] = context.bot_data.get("ran", 0) + 1
    if context.bot_data["ran"] == context.job.data:
        context.job.schedule_removal()
        over.set()

async def main():
    queue = MongoJobQueue(callbacks=[tick])
    builder = Application.builder().token("1:x").request(Silence()).get_updates_request(Silence())
    application = builder.persistence(MongoPersistence({uri!r}, {database!r})).job_queue(queue).build()
    async with application:
        if sys.argv[1] == "first":
            queue.run_repeating(tick, 0.1, data=2, name="tick")
            await application.start()
            queue.scheduler.pause()
            print("jobs:", len(queue.jobs()))
        else:
            await application.start()
            await asyncio.wait_for(over.wait(), 10)
            print(f"ran: {{application.bot_data['ran']}}, jobs: {{len(queue.jobs())}}")
        await application.stop()

asyncio.run(main())
"""


async def run_to_the_end(program: str, *arguments: str) -> str:
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, *arguments, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(started.communicate(), TIMEOUT)
    assert started.returncode == 0
    return output.decode().strip()


@needs_web
class TestAdminPage:
    def test_the_running_bot_obeys_its_switch(self, mongodb_server_uri: str) -> None:
        # when
        output = run("admin_api.py", mongodb_server_uri)
        # then
        order = positions(output, "together 17.50", '{"premium":true}: 200', "premium, 20 % off: 14.00", ":false}: 200")
        assert order == sorted(order)

    async def test_a_flag_is_set_and_removed_beside_what_the_bot_has_not_saved(
        self, page: Any, mongo_persistence: Callable[..., Any]
    ) -> None:
        # given a running bot, with a change in its memory only
        bot = Bot(mongo_persistence())
        async with bot.application, page() as client:
            await bot.hears(lambda context: context.user_data.update(name="Ada"), user=1815)
            await bot.saves()
            await bot.hears(lambda context: context.user_data.update(cart={"Assam": 1}), user=1815)
            # when
            switched = await client.put("/api/customers/1815/premium", json={"premium": True})
            # then both are there
            assert switched.status_code == 200
            await bot.sees(lambda data: data == {"name": "Ada", "plan": "premium", "cart": {"Assam": 1}}, user=1815)
            # and when it is switched back, the bot forgets the one and not the other
            await client.put("/api/customers/1815/premium", json={"premium": False})
            await bot.sees(lambda data: data == {"name": "Ada", "cart": {"Assam": 1}}, user=1815)

    async def test_nobody_is_made_who_does_not_exist(self, page: Any) -> None:
        async with page() as client:
            assert (await client.put("/api/customers/5/premium", json={"premium": True})).status_code == 404
            assert (await client.get("/api/customers")).json()["customers"] == []

    async def test_a_search_takes_what_is_typed_for_text(
        self, page: Any, mongo_persistence: Callable[..., Any]
    ) -> None:
        await stored(mongo_persistence(), {1: {"name": "Ada"}, 2: {"name": "A.da"}})
        async with page() as client:
            for search, found in {"ad": [1], "A.": [2], ".*": [], "": [1, 2]}.items():
                answer = await client.get("/api/customers", params={"search": search})
                assert sorted(customer["id"] for customer in answer.json()["customers"]) == found

    async def test_with_a_password_nothing_is_shown_or_changed_without_it(self, page: Any) -> None:
        async with page("s3cret") as client:
            assert (await client.get("/")).status_code == 401
            assert (await client.get("/api/customers")).status_code == 401
            assert (await client.put("/api/customers/1/premium", json={"premium": True})).status_code == 401
            assert (await client.get("/", auth=("me", "wrong"))).status_code == 401
            assert (await client.get("/", auth=("me", "s3cret"))).status_code == 200

    @needs_chromium
    async def test_a_click_in_a_browser_reaches_the_running_bot(
        self,
        mongo_persistence: Callable[..., Any],
        mongodb_server_uri: str,
        mongodb_database: str,
        tmp_path: Path,
    ) -> None:
        # given a running bot with a customer whose name is no HTML, and the page in a browser
        bot, name, port = Bot(mongo_persistence()), "<b onclick=alert(1)>Ada", str(free_port())
        environment = {"MONGODB_URI": mongodb_server_uri, "DATABASE": mongodb_database}
        command = [sys.executable, "-m", "uvicorn", "--app-dir", EXAMPLES, "--factory", "--port", port]
        async with (
            bot.application,
            process(*command, "admin_api:from_environment", "--log-level", "warning", **environment),
            http_client(port) as client,
        ):
            await bot.hears(lambda context: context.user_data.update(name=name), user=1815)
            await bot.saves()
            await eventually(lambda: client.get("/"), lambda answer: answer.status_code == 200)
            async with browser(f"http://127.0.0.1:{port}/", tmp_path) as evaluate:
                row = "document.querySelector('tr[data-id=\"1815\"]')"
                await evaluate_until(evaluate, f"{row}?.querySelector('.who').firstChild.textContent", name)
                # when
                await evaluate(f"{row}.querySelector('input').click()")
                # then
                await bot.sees(lambda data: data.get("plan") == "premium", user=1815)
                await evaluate_until(evaluate, f"{row}?.querySelector('.switch').textContent", "premium")
                await evaluate_until(evaluate, "document.querySelector('[role=alert]').textContent", "")


async def stored(persistence: Any, people: dict[int, dict[str, Any]]) -> None:
    await asyncio.gather(*(persistence.update_user_data(user_id, data) for user_id, data in people.items()))
    await persistence.flush()


@contextlib.asynccontextmanager
async def browser(address: str, folder: Path) -> AsyncIterator[Callable[[str], Any]]:
    """A page in headless Chromium; gives what evaluates JavaScript in it."""
    import aiohttp

    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-proxy-server"]
    flags += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags += [f"--user-data-dir={folder / 'chromium'}", "--remote-debugging-port=0", "--remote-allow-origins=*"]
    assert CHROMIUM is not None
    chromium = await asyncio.create_subprocess_exec(
        CHROMIUM, *flags, address, stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
    )
    try:
        assert chromium.stderr is not None
        while not (line := await asyncio.wait_for(chromium.stderr.readline(), TIMEOUT)).startswith(b"DevTools"):
            assert line, "chromium has ended"
        port = line.decode().split(":")[2].partition("/")[0]
        async with httpx.AsyncClient(trust_env=False) as client:

            async def pages() -> list[str]:
                targets = (await client.get(f"http://127.0.0.1:{port}/json")).json()
                return [target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page"]

            (socket_url, *_) = await eventually(pages, bool)
        async with aiohttp.ClientSession() as session, session.ws_connect(socket_url) as page:

            async def evaluate(expression: str) -> Any:
                parameters = {"expression": expression, "returnByValue": True}
                await page.send_json({"id": 1, "method": "Runtime.evaluate", "params": parameters})
                answer = await page.receive_json(timeout=TIMEOUT)
                return answer["result"]["result"].get("value")

            yield evaluate
    finally:
        chromium.terminate()
        await chromium.communicate()


async def evaluate_until(evaluate: Callable[[str], Any], expression: str, expected: object) -> None:
    await eventually(lambda: evaluate(expression), lambda answer: answer == expected)


@needs_web
class TestDockerCompose:
    async def test_its_bot_and_its_page_work_together(self, mongodb_server_uri: str, mongodb_database: str) -> None:
        # given its services' commands and settings, with our server and a free port in the place of theirs
        yaml = pytest.importorskip("yaml", reason="pip install --group docs")
        file = yaml.safe_load((EXAMPLES.parent / "docker-compose.yml").read_text())
        bot, page, port = file["services"]["bot"], file["services"]["page"], str(free_port())
        assert bot["environment"]["MONGODB_URI"] == "mongodb://mongo:27017/tea_shop?directConnection=true"
        host = mongodb_server_uri.partition("://")[2].partition("/")[0]
        if "," in host or "@" in host:
            pytest.skip("a direct connection needs a server alone")
        settings = {"MONGODB_URI": f"mongodb://{host}/?directConnection=true", "DATABASE": mongodb_database}
        settings |= {"BOT_TOKEN": "", "PATH": f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"}  # noqa: PTH120
        run_bot = [part.replace("$$", "$") for part in bot["command"]]
        run_page = page["command"].replace("8000", port).split()
        # when
        async with (
            process(*run_bot, **settings) as customers,
            process(*run_page, "--log-level=warning", **settings),
            http_client(port) as client,
        ):
            found = await eventually(
                lambda: client.get("/api/customers"), lambda answer: len(answer.json()["customers"]) == 7
            )
            customers.send_signal(signal.SIGTERM)
            # then
            assert await asyncio.wait_for(customers.wait(), TIMEOUT) == 0
        assert {"Ada", "Grace"} < {customer["name"] for customer in found.json()["customers"]}

    def test_every_file_that_its_image_needs_exists(self) -> None:
        dockerfile = (EXAMPLES / "Dockerfile").read_text()
        copied = [line.split()[1:-1] for line in dockerfile.splitlines() if line.startswith("COPY")]
        assert copied
        for names in copied:
            assert [name for name in names if not (EXAMPLES.parent / name).exists()] == []
        command = json.loads(dockerfile.rpartition("CMD ")[2])
        assert (EXAMPLES.parent / command[1]).is_file()
