"""A whole bot on a real server, with hostile documents in all collections, and an honest neighbour.

The bot starts, is refreshed while more is planted, saves as PTB does, stops, and starts again with a spill file. The
neighbour must be loaded, refreshed and saved all the time; the bot must not end, hang or leave anything running; and
nothing in its log may be obeyed by a terminal.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from choices import Choices
from hostile_documents import HostileDocuments, Planted
from hostile_plain import HostileValues
from offline import BOT_ID

from ptb_mongo.sync.spill import Spilled

__all__ = ["BotCase", "make"]

_MODES: Final = ("watch", "read")
_SHARED: Final = ("", "", "", "stream", "strict", "exclusive")


class BotCase(NamedTuple):
    """What is planted, and what kind of bot finds it.

    Attributes:
        loading, refresh: Options of the bot.
        shared: How several workers would share it; empty for a bot alone.
        before: Documents that are there when it starts.
        running: Documents that are written while it runs.
        spilled: What a file of unsaved data holds before it starts again; if it is empty, there is none.
        damage: Which bytes of that file are other ones.
        stored: What the strangers' handlers put into their data.
    """

    loading: str
    refresh: str
    shared: str
    before: list[Planted]
    running: list[Planted]
    spilled: list[Spilled]
    damage: list[tuple[int, int]]
    stored: Any

    @property
    def size(self) -> int:
        """The bytes of all that is planted."""
        files = sum(len(one.wanted or b"") for one in self.spilled if type(one.wanted) is bytes)
        return files + sum(len(one.raw()) for one in (*self.before, *self.running))


def make(choices: Choices) -> BotCase:
    """A case."""
    shared = choices.one(_SHARED)
    refresh = "watch" if shared else choices.one(_MODES)
    loading = choices.one(("eager", "lazy"))
    documents = HostileDocuments(choices, large=choices.percent(5))
    leases = shared == "exclusive"
    before = [documents.planted(leases=leases) for _ in range(choices.between(1, 15))]
    if choices.percent(20):
        before.append(Planted("ptb_mongo", {"_id": "format", **documents.format(BOT_ID)}))
    running = [documents.planted(leases=leases) for _ in range(choices.between(0, 8))]
    spilled = documents.spilled() if choices.percent(30) else []
    damage = choices.some(lambda: (choices.below(2000), choices.below(256)), 3) if choices.percent(20) else []
    stored = HostileValues(choices).scalar()
    choices.label = f"{shared or 'alone'}, {loading}, {refresh}"
    return BotCase(loading, refresh, shared, before, running, spilled, damage, stored)
