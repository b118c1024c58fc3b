"""The tea shop on Telegram; stop it with Ctrl-C in the middle of an order, start it again, and continue.

    BOT_TOKEN=123456:ABC... python examples/conversation_bot.py

You get the `BOT_TOKEN` from @BotFather. The data goes to the database in `MONGODB_URI`, on your own server or on Atlas
(mongodb+srv://user:password@cluster.mongodb.net/tea_shop), or without that to an embedded one in `examples/.cache`.
"""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tea_shop import add_handlers
from telegram.ext import Application

from ptb_mongo import MongoPersistence
from ptb_mongo.embedded import EmbeddedMongo


def server() -> AbstractContextManager[str | EmbeddedMongo]:
    """The user's own server, or an embedded one that keeps its data."""
    if uri := os.environ.get("MONGODB_URI"):
        return nullcontext(uri)
    return EmbeddedMongo(data_dir=Path(__file__).with_name(".cache") / "tea_shop")


def main() -> None:
    token = os.environ.get("BOT_TOKEN")
    if not token:
        sys.exit(
            "Set BOT_TOKEN to the token that @BotFather on Telegram gave you:\n"
            f"  BOT_TOKEN=123456:ABC... python {sys.argv[0]}\n"
            "Without one, the demo shows the same bot offline: python examples/demo.py"
        )
    with server() as mongo:
        persistence = MongoPersistence(
            mongo if isinstance(mongo, str) else mongo.uri,
            update_interval=5,  # seconds between two saves
            trusted=["tea_shop"],  # the module whose objects may be stored: the teas behind the buttons
        )
        application = Application.builder().token(token).persistence(persistence).arbitrary_callback_data(True).build()
        add_handlers(application)
        print("The tea shop is open: write /start to your bot. Ctrl-C closes it.")
        application.run_polling()


if __name__ == "__main__":
    main()
