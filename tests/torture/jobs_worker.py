"""One of several workers that run jobs: what each run does stands in a file, which survives whatever is done to it.

python jobs_worker.py URI DATABASE FILE LEASE
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workers import SharedBot

from ptb_mongo import MongoJobQueue, MongoPersistence

_FILE = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


def note(what: str, *words: object) -> None:
    """Writes a line, whole or not at all."""
    os.write(_FILE, " ".join([what, f"{time.time():.4f}", str(os.getpid()), *map(str, words)]).encode() + b"\n")


async def works(context: Any) -> None:
    job = context.job.data
    note("began", job["name"])
    await asyncio.sleep(job["seconds"])
    note("ended", job["name"])


async def main(uri: str, database: str, lease: float) -> None:
    queue = MongoJobQueue(callbacks=[works])
    bot = SharedBot(MongoPersistence(uri, database), job_queue=queue, lease_timeout=lease)
    await bot.application.initialize()
    await bot.application.start()
    note("ready")
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[4])))
