"""A bot's migrations, in a separate module, as `ptb-mongo migrate` requires."""

from __future__ import annotations

from typing import Any


def to_1(data: dict[str, Any]) -> None:
    data["title"] = data.pop("name")


def to_2(data: dict[str, Any]) -> dict[str, Any]:
    return {**data, "n": data.get("n", 0) + 1}


migrations = {"user_data": [to_1, to_2], "chat_data": [to_2]}
first_only = {"user_data": [to_1]}
