"""The offline part of `admin_api.py`: customers, their bot, the page, and a switch that the bot obeys."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
from pathlib import Path
from typing import Any

import httpx
from customers import come_again, come_in
from offline import PATIENCE, Person, Telegram
from other_bots import free_port
from pymongo import MongoClient
from stage import Stage

from ptb_mongo.embedded import mongodb_uri


async def play(stage: Stage, uri: str, database: str, *, stay: bool) -> None:
    telegram, page = Telegram(), None
    try:
        await telegram.start_bot(uri, database, save_every=0.5)
        await stage.act("1 · Customers", "The bot runs, and seven people order tea.")
        people = await come_in(telegram)
        ada = people[0]
        await stage.writes(ada, "/cart")
        page = await serve_page(uri, database, port := free_port())
        await stage.act("2 · The page", f"Another process, which knows the documents only: http://127.0.0.1:{port}")
        async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{port}") as browser:
            await until_it_shows(browser, len(people))
            await flip(stage, browser, ada.id, premium=True)
            await until_obeyed(ada, "premium")
            await stage.writes(ada, "/cart")
            await stage.note("The running bot has obeyed, and has not lost the cart.", "green")
            if stay:
                await stage.note(f"Open http://127.0.0.1:{port} and try it. Ctrl-C ends it.", "bold green")
                await come_again(people)
            await flip(stage, browser, ada.id, premium=False)
            await until_obeyed(ada, "together")
            await stage.writes(ada, "/cart")
        await telegram.stop_bot()
    finally:
        if page is not None:
            page.terminate()
            await page.wait()
        await telegram.kill_bot()


async def serve_page(uri: str, database: str, port: int) -> asyncio.subprocess.Process:
    """Starts the page as a separate process, as you would."""
    environment = {name: value for name, value in os.environ.items() if name != "ADMIN_PASSWORD"}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "uvicorn", "--app-dir", str(Path(__file__).parent), "--factory"),
        *("admin_api:from_environment", "--port", str(port), "--log-level", "warning"),
        env={**environment, "MONGODB_URI": uri, "DATABASE": database},
        start_new_session=True,  # Ctrl-C reaches only us, and we end it
    )


async def until_it_shows(browser: httpx.AsyncClient, customers: int) -> None:
    """Waits until the page has started and the bot has saved."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while loop.time() < deadline:
        with contextlib.suppress(httpx.TransportError):
            if len((await browser.get("/api/customers")).json()["customers"]) == customers:
                return
        await asyncio.sleep(0.05)
    raise TimeoutError("the page does not show the customers")


async def flip(stage: Stage, browser: httpx.AsyncClient, user_id: int, *, premium: bool) -> None:
    """Sends what the page's switch sends, and notes what the page then shows."""
    answer = await browser.put(f"/api/customers/{user_id}/premium", json={"premium": premium})
    await stage.note(f"PUT {answer.request.url.path} {answer.request.content.decode()}: {answer.status_code}")
    found = (await browser.get("/api/customers")).json()
    shown = [{name: customer[name] for name in ("name", "premium", "cart")} for customer in found["customers"]]
    await stage.query("curl /api/customers  # who is premium", [customer for customer in shown if customer["premium"]])


async def until_obeyed(person: Person, word: str) -> None:
    """Asks for the cart until the bot knows about the change, which takes milliseconds."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while word not in (answer := await person.writes("/cart")).text:
        if loop.time() > deadline:
            raise AssertionError(f"the bot has not obeyed: {answer.text}")


def main() -> None:
    with mongodb_uri() as uri, MongoClient[dict[str, Any]](uri) as client:
        database = f"ptb_mongo_example_{secrets.token_hex(4)}"
        try:
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(play(Stage(), uri, database, stay="--stay" in sys.argv))
        finally:
            client.drop_database(database)
