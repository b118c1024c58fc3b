"""A bot in its own process, as a user runs it: `run_polling`, ended by SIGTERM. Reports on its standard output."""

from __future__ import annotations

import asyncio
import json
import pathlib
import sys
import threading
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from offline import OfflineRequest, message_from
from telegram.ext import Application, ExtBot, MessageHandler, filters

from ptb_mongo import MongoPersistence


class IdleRequest(OfflineRequest):
    """Long polling that never brings an update."""

    async def do_request(self, url: str, *args: Any, **kwargs: Any) -> tuple[int, bytes]:
        if url.endswith("/getUpdates"):
            await asyncio.sleep(0.2)
            return 200, b'{"ok": true, "result": []}'
        return await super().do_request(url, *args, **kwargs)


def say(*words: object) -> None:
    print(*words, flush=True)  # noqa: T201  (it is how the process speaks)


async def handle(_: object, context: Any) -> None:
    context.user_data["n"] = context.user_data.get("n", 0) + 1


def main(uri: str, database: str, options: str) -> None:
    persistence: Any = MongoPersistence(uri, database, **json.loads(options))
    request = IdleRequest()
    bot = ExtBot("123456:OFFLINE-token", request=request, get_updates_request=IdleRequest())

    async def started(application: Any) -> None:
        loop = asyncio.get_running_loop()

        async def handled(user: int) -> None:
            begun = loop.time()
            await application.process_update(message_from(user))
            say("handled", application.user_data[user]["n"], f"{loop.time() - begun:.3f}")

        def follow() -> None:
            for line in sys.stdin:
                asyncio.run_coroutine_threadsafe(handled(int(line)), loop)

        threading.Thread(target=follow, daemon=True).start()  # does not keep the process from ending
        say("ready")

    application = Application.builder().bot(bot).persistence(persistence).post_init(started).build()
    application.add_handler(MessageHandler(filters.ALL, handle))
    application.run_polling()
    say("ended")


main(*sys.argv[1:])
