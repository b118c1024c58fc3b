"""A page for the people of the tea shop: who the customers are, and a switch that makes one premium.

    pip install -e ".[examples,examples-web]" && python examples/admin_api.py

This runs offline, on an embedded MongoDB (or the one in MONGODB_URI), with a simulated bot and customers; `--stay`
keeps the page open until Ctrl-C. For your own bot's database, it is an ordinary web application (FastAPI), which knows
the documents but not the bot:

    MONGODB_URI=... DATABASE=tea_shop ADMIN_PASSWORD=... uvicorn --app-dir examples --factory admin_api:from_environment

Everybody who can open the page can change the data. Without ADMIN_PASSWORD, let it listen only on your own machine. It
then answers only to that machine's names; otherwise, any page in your browser could reach it by DNS rebinding.
"""

from __future__ import annotations

import contextlib
import datetime as dtm
import os
import re
import sys
from collections.abc import AsyncIterator
from hmac import compare_digest
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import WriteError

PAGE = Path(__file__).with_name("admin_page.html")
SHOWN_AT_MOST = 100
LONGEST_TEXT = 100  # characters of a name that are shown
LARGEST_CART = 20  # kinds of tea
NUMBER = {"$type": ["int", "long"]}  # the types of Telegram's ids
THIS_MACHINE = re.compile(r"(localhost|127\.0\.0\.1|\[::1\])(:\d+)?", re.IGNORECASE)
ORDER = {"choosing": "is choosing", "amount": "is asked how many"}  # the states of the conversation
# Reads only what the page shows: no pickles.
FIELDS = {"data.name": 1, "data.plan": 1, "data.cart": 1, "data.customer_since": 1, "updated_at": 1}
Database = AsyncDatabase[dict[str, Any]]
UserId = Annotated[int, InPath(ge=-(2**63), lt=2**63)]
Search = Annotated[str, Query(max_length=LONGEST_TEXT)]


class Premium(BaseModel):
    """The request that the switch sends."""

    premium: bool


def make_app(uri: str, database: str, password: str | None = None) -> FastAPI:
    """The page and its API.

    Raises:
        ValueError: If the password is empty: that is a mistake in the settings, not a wish for an unprotected page.
    """
    if password is not None and not password.strip():
        raise ValueError("ADMIN_PASSWORD is empty: set a password, or remove it to use the page on this machine only")
    client = AsyncMongoClient[dict[str, Any]](
        uri,
        tz_aware=True,
        connect=False,
        unicode_decode_error_handler="replace",  # one customer whose data is damaged must not hide all others
        datetime_conversion="DATETIME_AUTO",
    )
    db = client[database]

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    guard = Depends(login(password) if password else only_on_this_machine)
    app = FastAPI(lifespan=lifespan, dependencies=[guard], docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        return PAGE.read_text(encoding="utf-8")

    @app.get("/api/customers")
    async def customers(search: Search = "") -> dict[str, Any]:
        return await list_customers(db, search)

    @app.put("/api/customers/{user_id}/premium")
    async def set_premium(user_id: UserId, wanted: Premium) -> dict[str, Any]:
        # One field, by its path: whatever the bot writes at the same time stays. The bot sees this at the next update.
        change = {"$set": {"data.plan": "premium"}} if wanted.premium else {"$unset": {"data.plan": ""}}
        try:
            result = await db["user_data"].update_one({"_id": user_id}, change)
        except WriteError as error:  # somebody has stored something else in the place of the data
            raise HTTPException(409, "This customer's data is not what the bot writes.") from error
        if not result.matched_count:
            raise HTTPException(404, "There is no such customer.")
        return {"id": user_id, "premium": wanted.premium}

    return app


def login(password: str) -> Any:
    """Returns a check for the password; any user name is accepted."""

    def check(given: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> None:
        if not compare_digest(given.password.encode(), password.encode()):
            raise HTTPException(401, headers={"WWW-Authenticate": "Basic"})

    return check


def only_on_this_machine(request: Request) -> None:
    """Refuses requests to other host names, which somebody else's page in a local browser might send."""
    if not THIS_MACHINE.fullmatch(request.headers.get("host", "")):
        raise HTTPException(400, "Without ADMIN_PASSWORD, the page is for http://localhost only.")


async def list_customers(db: Database, search: str) -> dict[str, Any]:
    """The most recent customers, and the state of each one's order."""
    users, query = db["user_data"], {"_id": NUMBER}
    if search := search.replace("\0", ""):
        query["data.name"] = {"$regex": f"^{re.escape(search)}", "$options": "i"}
    found = await users.find(query, FIELDS).sort([("updated_at", -1), ("_id", 1)]).limit(SHOWN_AT_MOST).to_list()
    # The ids of the private chat and of the user.
    ids = [{"handler": "order", "key": [user["_id"], user["_id"]]} for user in found]
    orders = db["conversations"].find({"_id": {"$in": ids}}, {"state": 1})
    states = {order["_id"]["key"][1]: order.get("state") async for order in orders}
    return {
        "total": await users.estimated_document_count(),
        "premium": await users.count_documents({"data.plan": "premium"}),
        "customers": [as_shown(user, states.get(user["_id"])) for user in found],
    }


def as_shown(user: dict[str, Any], state: Any) -> dict[str, Any]:
    """A customer, for the page. Others also write to the database: whatever is not in the bot's form is left out."""
    data = expected(user.get("data"), dict, {})
    cart = expected(data.get("cart"), dict, {})
    return {
        "id": user["_id"],
        "name": expected(data.get("name"), str, "")[:LONGEST_TEXT],
        "premium": data.get("plan") == "premium",
        "cart": {tea[:LONGEST_TEXT]: tins for tea, tins in islice(cart.items(), LARGEST_CART) if isinstance(tins, int)},
        "order": ORDER.get(expected(state, str, ""), ""),
        "since": expected(data.get("customer_since"), dtm.datetime, None),
        "seen": expected(user.get("updated_at"), dtm.datetime, None),
    }


def expected(value: Any, kind: type, otherwise: Any) -> Any:
    return value if isinstance(value, kind) else otherwise


def from_environment() -> FastAPI:
    """For `uvicorn --factory`."""
    env = os.environ
    try:
        return make_app(env["MONGODB_URI"], env.get("DATABASE", "tea_shop"), env.get("ADMIN_PASSWORD"))
    except ValueError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    from admin_demo import main  # imports this module in turn

    main()
