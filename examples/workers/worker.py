"""One of several workers of a bot: a webhook that answers 200 only after an update was handled and saved.

Start as many as you like, on as many machines as you like, behind any load balancer: `docker-compose.yml` starts three,
and so does `run.py`, without containers. They need these environment variables:

    BOT_TOKEN       what @BotFather gave you
    WEBHOOK_URL     the load balancer's address on the internet: https://tasting.example.org
    WEBHOOK_SECRET  a password that you make up, by which Telegram identifies itself: A-Z, a-z, 0-9, _ and -
    MONGODB_URI     mongodb+srv://user:password@cluster.mongodb.net/tasting
    DATABASE        the database's name, if it is not the one in MONGODB_URI
    HOST, PORT      127.0.0.1 and 8080 by default
    BOT_API         the address of the Bot API, if it is not Telegram's own
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
from collections.abc import AsyncIterator
from hmac import compare_digest
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from tasting import add_handlers
from telegram import Update
from telegram.ext import Application, ContextTypes

from ptb_mongo import MongoPersistence, PersistenceError, SharedApplication

LOGGER = logging.getLogger(__name__)
SECRET = re.compile("[A-Za-z0-9_-]{1,256}")  # what Telegram accepts
WHAT_TO_SET = (
    "WEBHOOK_SECRET must be 1 to 256 characters of A-Z, a-z, 0-9, _ and -, "
    "or anybody could send updates in Telegram's name. "
    'python -c "import secrets; print(secrets.token_urlsafe())" makes one'
)
LEASE = 3  # seconds until another worker takes over a user whose worker has crashed
SHUTDOWN = 8  # seconds; containers are killed ten seconds after SIGTERM


def make_application() -> SharedApplication[Any, Any, Any, Any, Any, Any]:
    """The bot: one user's updates are handled one at a time, whichever workers get them."""
    persistence = MongoPersistence(
        os.environ["MONGODB_URI"],
        os.environ.get("DATABASE"),
        loading="lazy",  # a worker starts at once, however many users there are
        trusted=["tasting"],
        shutdown_timeout=SHUTDOWN,
    )
    builder = Application.builder().token(os.environ["BOT_TOKEN"])
    if api := os.environ.get("BOT_API"):
        builder = builder.base_url(f"{api}/bot")
    application: Any = (
        builder.application_class(SharedApplication, {"exclusive": True, "lease_timeout": LEASE})
        .persistence(persistence)
        .arbitrary_callback_data(True)
        .updater(None)
        .build()
    )
    add_handlers(application)
    application.add_error_handler(note)
    return application


async def note(_: object, context: ContextTypes.DEFAULT_TYPE) -> None:
    LOGGER.error("An update has failed", exc_info=context.error)


def make_web_application() -> Starlette:
    """The bot as a web application."""
    if not SECRET.fullmatch(os.environ.get("WEBHOOK_SECRET", "")):
        sys.exit(WHAT_TO_SET)
    secret = os.environ["WEBHOOK_SECRET"].encode()
    application = make_application()

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with application:
            await application.start()
            await application.bot.set_webhook(f"{os.environ['WEBHOOK_URL']}/telegram", secret_token=secret.decode())
            yield  # until SIGTERM: uvicorn then accepts no new updates, and waits for those that are being handled
            await application.stop()

    async def telegram(request: Request) -> Response:
        if not compare_digest(request.headers.get("X-Telegram-Bot-Api-Secret-Token", "").encode(), secret):
            return Response(status_code=403)
        update = Update.de_json(await request.json(), application.bot)
        application.bot.insert_callback_data(update)  # puts the object behind the button, like PTB's own updater
        try:
            await application.deliver(update)
        except PersistenceError:
            LOGGER.exception("An update has to come again")
            return Response(status_code=503)
        return Response()

    async def alive(_: Request) -> Response:
        return Response("yes")

    routes = [Route("/telegram", telegram, methods=["POST"]), Route("/alive", alive)]
    return Starlette(routes=routes, lifespan=lifespan)


if __name__ == "__main__":
    uvicorn.run(
        make_web_application(),
        host=os.environ.get("HOST", "127.0.0.1"),
        port=int(os.environ.get("PORT", "8080")),
        log_level="warning",
        access_log=False,
    )
