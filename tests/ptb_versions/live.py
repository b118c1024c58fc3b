"""A bot with the version of PTB that is imported: does what its standard input says, and answers with what it holds.

`run.py` starts two of these on one database, as a rolling update does; it is no test by itself.
"""

from __future__ import annotations

import asyncio
import json
import pathlib
import sys
import warnings
from typing import Any

warnings.simplefilter("ignore")  # old versions, on a new Python
sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

import kinds  # noqa: E402
import owned  # noqa: E402
from offline import message_from, offline_application  # noqa: E402
from telegram.ext import MessageHandler, filters  # noqa: E402

from ptb_mongo import MongoPersistence  # noqa: E402

USER = 7


async def work(uri: str, database: str) -> None:
    """Handles an update for each line, and saves."""
    orders: dict[str, Any] = {}

    async def handle(_: object, context: Any) -> None:
        data = context.user_data
        data.setdefault("all", [])
        for name in orders.get("put", ()):
            data[name] = kinds.KINDS[name](context.bot)
            data["all"].append(kinds.KINDS[name](context.bot))
        for name in orders.get("delete", ()):
            del data[name]
            del data["all"][0]
        data["updates"] = data.get("updates", 0) + 1

    persistence: Any = MongoPersistence(uri, database, trusted=[owned.__name__])
    handler = MessageHandler(filters.ALL, handle)
    application = offline_application(persistence, handler, callback_data_cache=False)
    async with application:
        say("ready")
        while line := await asyncio.to_thread(sys.stdin.readline):
            orders = json.loads(line)
            if orders:
                await application.process_update(message_from(USER))
                await application.update_persistence()
            data = application.user_data[USER]
            say({"holds": sorted(set(data) - {"all"}), "all": len(data.get("all", ())), "updates": data.get("updates")})


def say(what: object) -> None:
    """Answers."""
    print(json.dumps(what), flush=True)  # noqa: T201


if __name__ == "__main__":
    asyncio.run(work(*sys.argv[1:]))
