"""One worker process of a bot: does what its standard input says, and answers with the data it has in memory."""

from __future__ import annotations

import asyncio
import json
import pathlib
import sys
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from bots import USER, Bot

from ptb_mongo import MongoPersistence


async def work(uri: str, database: str) -> None:
    bot = Bot(MongoPersistence(uri, database))
    loop = asyncio.get_running_loop()
    async with bot.application:
        print(json.dumps("ready"), flush=True)  # noqa: T201  (it is how a worker speaks)
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            scope, change = json.loads(line)

            def act(context: Any, scope: str = scope, change: Any = change) -> None:
                data = getattr(context, scope)
                for key, value in change.items():
                    if isinstance(value, dict):
                        data.setdefault(key, {}).update(value)
                    else:
                        data[key] = value

            await bot.hears(act)
            if change:
                await bot.saves()
            application: Any = bot.application
            data = application.bot_data if scope == "bot_data" else getattr(application, scope)[USER]
            print(json.dumps(data), flush=True)  # noqa: T201


asyncio.run(work(*sys.argv[1:]))
