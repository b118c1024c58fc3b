"""The tea shop behind a webhook, in a container: for Cloud Run, or whatever sends SIGTERM and asks for health.

    pip install -e ".[examples,examples-web]" && python examples/webhook_bot.py

Offline, on an embedded MongoDB (or the one in MONGODB_URI), it shows a stop by SIGTERM in the middle of an order.
With these in the environment it is the real bot; `examples/Dockerfile` makes an image of it, `docs/how-to/cloud.md`
puts that on Cloud Run.

    BOT_TOKEN       what @BotFather gave you
    WEBHOOK_URL     where this bot is on the internet: https://tea-shop.example.org
    WEBHOOK_SECRET  a password of your own making, by which Telegram shows that it is Telegram: A-Z, a-z, 0-9, _ and -
    MONGODB_URI     mongodb+srv://user:password@cluster.mongodb.net/tea_shop
    DATABASE        the database's name, if it is not that of MONGODB_URI
    PORT            8080, unless the cloud says otherwise
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import secrets
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from hmac import compare_digest
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from offline import Person
from other_bots import AnyBot, builder, free_port
from pymongo import MongoClient
from stage import Stage
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tea_shop import add_handlers
from telegram import Update
from telegram.ext import ContextTypes

from ptb_mongo import MongoPersistence, UnavailableError
from ptb_mongo.embedded import mongodb_uri

LOGGER = logging.getLogger(__name__)
SECRET = re.compile("[A-Za-z0-9_-]{1,256}")  # what Telegram takes
WHAT_TO_SET = (
    "WEBHOOK_SECRET must be 1 to 256 characters of A-Z, a-z, 0-9, _ and -, "
    "or anybody could send updates in Telegram's name. "
    'python -c "import secrets; print(secrets.token_urlsafe())" makes one'
)
SHUTDOWN = 8  # seconds; Cloud Run kills ten seconds after SIGTERM


def make_web_application(uri: str, database: str | None, webhook_url: str, secret: str) -> Starlette:
    """The bot as a web application: Telegram posts updates to it, the cloud asks how it is."""
    if not SECRET.fullmatch(secret):
        sys.exit(WHAT_TO_SET)
    persistence = MongoPersistence(
        uri,
        database,
        loading="lazy",  # an instance starts at once, however many users there are
        trusted=["tea_shop"],
        shutdown_timeout=SHUTDOWN,
    )
    application = builder().updater(None).persistence(persistence).arbitrary_callback_data(True).build()
    add_handlers(application)
    one_at_a_time = asyncio.Lock()
    not_handled: list[Exception] = []

    async def note(_: object, context: ContextTypes.DEFAULT_TYPE) -> None:
        LOGGER.error("An update has failed", exc_info=context.error)
        if isinstance(context.error, UnavailableError):
            not_handled.append(context.error)

    application.add_error_handler(note)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # Here, and not around the server: uvicorn ends the process with the very signal that stopped it, as soon as
        # it has left this. Leaving `async with application` saves what is unsaved.
        async with application:
            await application.start()
            await application.bot.set_webhook(f"{webhook_url}/telegram", secret_token=secret)
            yield
            await application.stop()

    async def telegram(request: Request) -> Response:
        if not compare_digest(request.headers.get("X-Telegram-Bot-Api-Secret-Token", "").encode(), secret.encode()):
            return Response(status_code=403)
        update = Update.de_json(await request.json(), application.bot)
        application.bot.insert_callback_data(update)  # what was put behind the button, as PTB's own updater does
        async with one_at_a_time:
            await application.process_update(update)
            # Telegram delivers again what was not answered: an answer means that it is handled, and saved.
            await application.update_persistence()
            later = bool(not_handled)  # the database is unreachable, and this user's data was never read
            not_handled.clear()
        return Response(status_code=503 if later else 200)

    async def health(_: Request) -> Response:
        """For monitoring: 503 while the database is unreachable, or something in it cannot be read."""
        state = asdict(persistence.health())
        well = state["connected"] and not state["quarantined"]
        shown = {name: state[name] for name in ("connected", "refresh", "waiting", "oldest_waiting", "quarantined")}
        return JSONResponse({"well": well, **shown}, status_code=200 if well else 503)

    async def alive(_: Request) -> Response:
        """For restarts: a new start would not bring the database back, and costs what is unsaved."""
        return Response("yes")

    routes = [Route("/telegram", telegram, methods=["POST"]), Route("/health", health), Route("/alive", alive)]
    return Starlette(routes=routes, lifespan=lifespan)


def serve() -> None:
    """Runs the bot until SIGTERM or Ctrl-C."""
    env = os.environ
    url, secret = env["WEBHOOK_URL"].rstrip("/"), env.get("WEBHOOK_SECRET", "")
    app = make_web_application(env["MONGODB_URI"], env.get("DATABASE"), url, secret)
    host = "127.0.0.1" if env.get("OFFLINE") else "0.0.0.0"  # noqa: S104  (a container is reached from outside)
    uvicorn.run(app, host=host, port=int(env.get("PORT", "8080")), log_level="warning", access_log=False)


# -- offline: what a cloud does to it ------------------------------------------------------------------------


async def play(stage: Stage, uri: str, database: str) -> None:
    telegram = AnyBot()
    ada = telegram.person(1815, "Ada")
    port = str(free_port())
    settings = {"MONGODB_URI": uri, "DATABASE": database, "WEBHOOK_URL": f"http://127.0.0.1:{port}", "PORT": port}
    settings["WEBHOOK_SECRET"] = secrets.token_urlsafe()
    try:
        await acts(stage, telegram, ada, settings)
    finally:
        await telegram.close()


async def acts(stage: Stage, telegram: AnyBot, ada: Person, settings: dict[str, str]) -> None:
    first = await telegram.start(Path(__file__), **settings)
    address = await telegram.webhook()
    await stage.act("1 · A webhook", f"The bot is process {first}, and has told Telegram where it is: {address}")
    menu = await stage.writes(ada, "/start")
    await stage.presses(ada, "Sencha", menu)
    async with httpx.AsyncClient(trust_env=False, base_url=settings["WEBHOOK_URL"]) as internet:
        health = await internet.get("/health")
        await stage.note(f"GET /health: {health.status_code}", "green")
        await stage.query(f"curl {settings['WEBHOOK_URL']}/health", [health.json()])
        intruder = await internet.post("/telegram", json={"update_id": 1})
        await stage.note(f"POST /telegram, by somebody who does not know the secret: {intruder.status_code}", "green")

    await stage.act("2 · Stopped in the middle of an order", "The cloud replaces the instance, as it does any time.")
    await telegram.terminate_bot()
    await stage.note(f"kill -TERM {first}: it has saved, and ended", "bold red")
    answer = asyncio.create_task(stage.writes(ada, "2"))
    await stage.note("Ada answers while nobody is there. Telegram keeps it.")
    second = await telegram.start(Path(__file__), **settings)
    await answer
    await stage.note(f"The new instance, process {second}, got that, and knew what it was about.", "green")
    await telegram.terminate_bot()


def main() -> None:
    if os.environ.get("BOT_TOKEN") or os.environ.get("OFFLINE"):
        serve()
        return
    with mongodb_uri() as uri, MongoClient[dict[str, Any]](uri) as client:
        database = f"ptb_mongo_example_{secrets.token_hex(4)}"
        try:
            asyncio.run(play(Stage(), uri, database))
        finally:
            client.drop_database(database)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
