"""How bots are made, and what their handlers do at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from things import COUNT, TYPED, UNSTORABLE, Basket, Unstorable, can_be_cut

__all__ = ["BOT_ID", "CHAT_ID", "DATABASE", "EXCLUDED", "TALLY", "BotOptions", "Step", "change"]

DATABASE: Final = "bot"
CHAT_ID: Final = -100
BOT_ID: Final = 0
EXCLUDED: Final = "cache"
"""The key in a user's data that a bot may exclude."""
TALLY: Final = "tally"
"""The key of a number to which each update that comes again adds another power of 16."""

Step = tuple[Any, ...]
"""What a handler does at once: where ("user", "chat", "bot", "conversation", "keyboard"), what, and with what."""


@dataclass(frozen=True)
class BotOptions:
    """How one bot is made.

    Attributes:
        late: Turns of the loop (or seconds, if it is a float) between PTB's calls and the first steps of what they
            give.
        overrides: Whether it is a subclass that waits as long before it calls the `update_*` of the persistence.
        on_conflict: "local", "remote", or "add": "local", but for the number that all sides add to.
        spills: Whether it has a folder for what is unsaved at its end.
        keyboards: Whether it has a cache of callback data.
        borrows: Whether it is given a client, which waits for ever where nothing answers.
        shares: Of a worker of a `SharedApplication`: its consistency, "stream" or "strict", or "exclusive".
        migrations: How many migrations it has: bots of several versions work on one database.
        lease_timeout: With "exclusive": seconds after which a lease expires.
        once: Of a worker of a `SharedApplication`: how it recognizes what it has done; see there.
    """

    loading: str = "eager"
    refresh: str = "watch"
    on_conflict: str = "local"
    on_flush: bool = False
    excludes: bool = False
    spills: bool = False
    late: float = 0
    overrides: bool = False
    keyboards: bool = False
    borrows: bool = False
    shutdown_timeout: float = 3.0
    shares: str = ""
    lease_timeout: float = 3.0
    migrations: int = 0
    once: bool | str = True


def change(data: dict[Any, Any], what: str, *more: Any) -> None:  # noqa: C901, PLR0912  (a dispatch)
    """One step of a handler."""
    match what, *more:
        case "set", name, value:
            data[name] = value
        case "set in n", name, value:
            data.setdefault("n", {})[name] = value
        case "remove", name:
            data.pop(name, None)
        case "remove in n", name:
            data.get("n", {}).pop(name, None)
        case "new n", value:
            data["n"] = {"x": f"{value}x", "z": f"{value}z"}
        case "add", value:
            data.setdefault("tags", set()).add(value)
        case ("discard",):
            if tags := data.get("tags"):
                tags.discard(min(tags))
        case "count", power:
            data[COUNT] = data.get(COUNT, 0) + 16**power
        case "tally", power:
            data[TALLY] = data.get(TALLY, 0) + 16**power
        case "append", value:
            data.setdefault("log", []).append(value)
        case ("cut",):
            if data.get("log") and can_be_cut(data["log"]):
                del data["log"][0]
        case "typed", name, number:
            data[name] = TYPED[name](number)
        case ("spoil",):
            data[UNSTORABLE] = Unstorable()
        case ("mend",):
            data.pop(UNSTORABLE, None)
        case "total", value:
            data.setdefault("basket", Basket()).total = value
        case "item", name, value:
            data.setdefault("basket", Basket(f"{value} in total")).items[name] = value
        case _:
            raise NotImplementedError(what)
