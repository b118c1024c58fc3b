"""The tea shop behind a webhook: for Cloud Run, or any platform with SIGTERM and health checks. Copy this one.

    pip install -e ".[examples,examples-web]" && python examples/webhook_bot.py

`examples/Dockerfile` builds an image of it, and `docs/how-to/cloud.md` shows how to deploy that to Cloud Run. To see it
work without a token, run `webhook_demo.py`. It needs these environment variables:

    BOT_TOKEN       what @BotFather gave you
    WEBHOOK_URL     the bot's address on the internet: https://tea-shop.example.org
    WEBHOOK_SECRET  a password that you make up, by which Telegram identifies itself: A-Z, a-z, 0-9, _ and -
    MONGODB_URI     mongodb+srv://user:password@cluster.mongodb.net/tea_shop
    DATABASE        the database's name, if it is not the one in MONGODB_URI
    PORT            8080, unless the cloud says otherwise
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from hmac import compare_digest
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from tea_shop import add_handlers
from telegram import Update
from telegram.ext import Application, ApplicationBuilder, ContextTypes

from ptb_mongo import MongoPersistence, UnavailableError

LOGGER = logging.getLogger(__name__)
SECRET = re.compile("[A-Za-z0-9_-]{1,256}")  # what Telegram accepts
WHAT_TO_SET = (
    "WEBHOOK_SECRET must be 1 to 256 characters of A-Z, a-z, 0-9, _ and -, "
    "or anybody could send updates in Telegram's name. "
    'python -c "import secrets; print(secrets.token_urlsafe())" makes one'
)
SHUTDOWN = 8  # seconds; Cloud Run kills the process ten seconds after SIGTERM


Builder = ApplicationBuilder[Any, Any, Any, Any, Any, Any]


def make_web_application(builder: Builder, uri: str, database: str | None, webhook_url: str, secret: str) -> Starlette:
    """The bot as a web application: Telegram posts updates to it, and the platform checks its health."""
    if not SECRET.fullmatch(secret):
        sys.exit(WHAT_TO_SET)
    persistence = MongoPersistence(
        uri,
        database,
        loading="lazy",  # an instance starts at once, however many users there are
        trusted=["tea_shop"],
        shutdown_timeout=SHUTDOWN,
    )
    application = builder.updater(None).persistence(persistence).arbitrary_callback_data(True).build()
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
        # Here, not around the server: as soon as this is left, uvicorn ends the process with the signal that stopped
        # it. Leaving `async with application` saves what is unsaved.
        async with application:
            await application.start()
            await application.bot.set_webhook(f"{webhook_url}/telegram", secret_token=secret)
            yield
            await application.stop()

    async def telegram(request: Request) -> Response:
        if not compare_digest(request.headers.get("X-Telegram-Bot-Api-Secret-Token", "").encode(), secret.encode()):
            return Response(status_code=403)
        update = Update.de_json(await request.json(), application.bot)
        application.bot.insert_callback_data(update)  # puts the object behind the button, like PTB's own updater
        async with one_at_a_time:
            await application.process_update(update)
            # Telegram repeats an update that gets no answer: an answer means that it is handled and saved.
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
        """For restarts, which would not bring the database back, but lose what is unsaved."""
        return Response("yes")

    routes = [Route("/telegram", telegram, methods=["POST"]), Route("/health", health), Route("/alive", alive)]
    return Starlette(routes=routes, lifespan=lifespan)


def serve(builder: Builder, host: str) -> None:
    """Runs the bot until SIGTERM or Ctrl-C."""
    env = os.environ
    url, secret = env["WEBHOOK_URL"].rstrip("/"), env.get("WEBHOOK_SECRET", "")
    app = make_web_application(builder, env["MONGODB_URI"], env.get("DATABASE"), url, secret)
    uvicorn.run(app, host=host, port=int(env.get("PORT", "8080")), log_level="warning", access_log=False)


def main() -> None:
    missing = [name for name in ("BOT_TOKEN", "WEBHOOK_URL", "MONGODB_URI") if not os.environ.get(name)]
    if missing:
        sys.exit(f"{' and '.join(missing)} must be set; to see the bot without a token, run examples/webhook_demo.py")
    builder = Application.builder().token(os.environ["BOT_TOKEN"])
    serve(builder, "0.0.0.0")  # noqa: S104  (a container must be reachable from outside)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
