"""A page for the people of the tea shop: who the customers are, and a switch that makes one premium.

    pip install -e ".[examples,examples-web]" && python examples/admin_api.py

Offline, on an embedded MongoDB (or the one in MONGODB_URI), with a bot and customers that it plays; `--stay` leaves
the page open until Ctrl-C. For your own bot's database it is a web application (FastAPI) like any other; it knows
the documents, and nothing of the bot:

    MONGODB_URI=... DATABASE=tea_shop ADMIN_PASSWORD=... uvicorn --app-dir examples --factory admin_api:from_environment

Who may open the page may change the data: without ADMIN_PASSWORD, only let it listen on your own machine.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import AsyncIterator
from hmac import compare_digest
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from pydantic import BaseModel
from pymongo import AsyncMongoClient
from pymongo.asynchronous.database import AsyncDatabase

PAGE = Path(__file__).with_name("admin_page.html")
SHOWN_AT_MOST = 100
ORDER = {"choosing": "is choosing", "amount": "is asked how many"}  # the states of the conversation
# Only what the page shows is read: no pickles.
FIELDS = {"data.name": 1, "data.plan": 1, "data.cart": 1, "data.customer_since": 1, "updated_at": 1}
Database = AsyncDatabase[dict[str, Any]]


class Premium(BaseModel):
    """What the switch sends."""

    premium: bool


def make_app(uri: str, database: str, password: str | None = None) -> FastAPI:
    """The page, and what it asks for."""
    client = AsyncMongoClient[dict[str, Any]](uri, tz_aware=True, connect=False)
    db = client[database]

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    needs_login = [Depends(login(password))] if password else []
    app = FastAPI(lifespan=lifespan, dependencies=needs_login, docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        return PAGE.read_text(encoding="utf-8")

    @app.get("/api/customers")
    async def customers(search: str = "") -> dict[str, Any]:
        return await list_customers(db, search)

    @app.put("/api/customers/{user_id}/premium")
    async def set_premium(user_id: int, wanted: Premium) -> dict[str, Any]:
        # One field, by its path: whatever the bot writes at the same moment stays. It finds this at the next update.
        change = {"$set": {"data.plan": "premium"}} if wanted.premium else {"$unset": {"data.plan": ""}}
        result = await db["user_data"].update_one({"_id": user_id}, change)
        if not result.matched_count:
            raise HTTPException(404, "There is no such customer.")
        return {"id": user_id, "premium": wanted.premium}

    return app


def login(password: str) -> Any:
    """Makes what asks for the password; any name will do."""

    def check(given: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]) -> None:
        if not compare_digest(given.password.encode(), password.encode()):
            raise HTTPException(401, headers={"WWW-Authenticate": "Basic"})

    return check


async def list_customers(db: Database, search: str) -> dict[str, Any]:
    """Those who were here last, and where each of them is in an order."""
    users, named = db["user_data"], {"data.name": {"$regex": f"^{re.escape(search)}", "$options": "i"}}
    found = (
        await users.find(named if search else {}, FIELDS)
        .sort([("updated_at", -1), ("_id", 1)])
        .limit(SHOWN_AT_MOST)
        .to_list()
    )
    keys = [[user["_id"], user["_id"]] for user in found]  # of the private chat, and of the user
    orders = db["conversations"].find({"handler": "order", "key": {"$in": keys}}, {"key": 1, "state": 1})
    states = {order["key"][1]: order["state"] async for order in orders}
    return {
        "total": await users.estimated_document_count(),
        "premium": await users.count_documents({"data.plan": "premium"}),
        "customers": [as_shown(user, states.get(user["_id"])) for user in found],
    }


def as_shown(user: dict[str, Any], state: str | None) -> dict[str, Any]:
    data = user.get("data", {})
    return {
        "id": user["_id"],
        "name": data.get("name", ""),
        "premium": data.get("plan") == "premium",
        "cart": data.get("cart", {}),
        "order": ORDER.get(state or "", ""),
        "since": data.get("customer_since"),
        "seen": user.get("updated_at"),
    }


def from_environment() -> FastAPI:
    """For `uvicorn --factory`."""
    env = os.environ
    return make_app(env["MONGODB_URI"], env.get("DATABASE", "tea_shop"), env.get("ADMIN_PASSWORD"))


if __name__ == "__main__":
    from admin_demo import main  # it plays with what is above

    main()
