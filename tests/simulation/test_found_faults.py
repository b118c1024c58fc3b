"""Faults that the simulation has found, each as the shortest schedule that shows it."""

from __future__ import annotations

from typing import Any

import pytest
from schedule import Schedule
from steps import CHAT_ID, BotOptions
from world import play

_BOT = BotOptions()
_LAZY = BotOptions(loading="lazy")
_WORKER = BotOptions(shares="stream")
_SEED = 6114
"""How long each request takes: so that each fault shows."""
_OTHER_SEEDS = {
    "deliver says nothing of a change that is refused as the one before it was": 177,
    "a second application with the same persistence removes what others have made anew": 4306,
    "what a second start has loaded is saved before any update, and what others have added is doubled": 4861,
    "what a turn reads after a flush by hand, while nobody follows the changes, counts as new": 8356,
    "an object that PTB has made after a drop counts as new once more, and overwrites another bot": 4077,
    "after a flush by hand, somebody without data cannot be handled in an outage": 7212,
    "an update is handled without its user's data, as nothing is open in an outage": 10341,
    "what was refused at a start counts as saved, as that process has saved something else": 11793,
    "an object that goes on after a second start, of which only copies were seen, counts as new": 19860,
    "a drop after an earlier one that is not saved leaves what others have written in between": 14202,
    "a late copy of a refused write counts as what was changed since it was sent": 16823,
    "a value that has won a conflict before it was spilled counts as older": 4073,
    "an object that PTB has made itself counts as based on what a load by hand gave": 16767,
    "statistics that cannot be read after a second start replace the objects that it was given": 8475,
    "a user who is dropped while the first statistics are read comes back with the next update": 16843,
    "statistics between a second start and its first update replace the objects that it was given": 4861,
    "a state that was taken back, and is acknowledged all the same, is removed by the next update": 2240,
}


def _edit(user: int, *edit: Any) -> tuple[Any, ...]:
    return ("edit", "panel", "user_data", user, edit)


def _update(user: int, *steps: tuple[Any, ...], bot: int = 0) -> tuple[Any, ...]:
    return ("update", bot, user, steps, 0)


FOUND = {
    "an answer that got lost is taken twice": (
        (_BOT,),
        [
            ("fault", 0, "lose answer", "write", 7.0),
            ("fault", 0, "lose request", "write", 8.0),
            _update(2, ("user", "set", "n1", "v1")),
            ("turns", 3),
            ("save", 0),
            ("wait", 5.5),
            _update(2, ("user", "set", "n2", "v2")),
            ("turns", 3),
            ("save", 0),
            _edit(2, "set", "plan", "trial"),
            ("wait", 4.0),
            _edit(2, "set", "plan", "premium"),
        ],
    ),
    "another form of a set is taken for a change of the bot": (
        (_BOT,),
        [_edit(1, "add", "t3"), ("wait", 0.1), _update(1), ("wait", 0.1), ("save", 0)],
    ),
    "a document that holds another form and is deleted comes back": (
        (_BOT,),
        [_edit(1, "delete"), ("wait", 0.1), _update(1), ("wait", 0.1), ("save", 0)],
    ),
    "a late write undoes a newer one of the same bot": (
        (_BOT,),
        [
            ("fault", 0, "hold", "write", 20.0),
            _update(3, ("user", "set", "a", "v1")),
            ("save", 0),
            ("wait", 0.3),
            _update(3, ("user", "set", "a", "v2")),
            ("save", 0),
        ],
    ),
    "a late write undoes that of another bot": (
        (_BOT, _BOT),
        [
            ("fault", 0, "hold", "write", 20.0),
            _update(3, ("user", "set", "a", "v1")),
            ("save", 0),
            ("wait", 0.3),
            ("kill", 0, 1.0),
            _update(3, ("user", "set", "a", "v2"), bot=1),
            ("wait", 0.1),
            ("save", 1),
        ],
    ),
    "a copy that was made before a merge is offered later": (
        (BotOptions(late=0.5),),
        [_update(1), ("save", 0), ("wait", 0.01), _edit(1, "set", "b", "s1"), ("wait", 0.05), _update(1)],
    ),
    "what was spilled undoes what is newer": (
        (BotOptions(spills=True),),
        [
            _update(1, ("user", "set", "a", "v1")),
            ("turns", 3),
            ("fail over", 4.0),
            ("stop", 0, 1.0),
            ("wait", 2.0),
            _edit(1, "set", "a", "s1"),
        ],
    ),
    "statistics on a running bot replace what handlers change": (
        (_BOT,),
        [("edit", "panel", "bot_data", 0, ("set", "b", "s1")), ("count users", 0), ("wait", 0.1)],
    ),
    "a flush by hand forgets every base": (
        (_BOT,),
        [
            ("flush", 0),
            ("wait", 0.1),
            _update(1, ("user", "remove", "a"), ("conversation", "state1")),
            ("save", 0),
            ("wait", 0.1),
            ("flush", 0),
            ("wait", 0.1),
            _update(1, ("user", "remove", "n"), ("conversation", None)),
            ("save", 0),
        ],
    ),
    "an object in a document that was deleted is made anew in part": (
        (_BOT,),
        [
            _update(2, ("user", "item", "tea", "v1")),
            ("turns", 3),
            ("save", 0),
            _edit(2, "delete"),
        ],
    ),
    "an element that a service adds to a set is lost when the bot adds one": (
        (_BOT,),
        [_edit(1, "add", "s1"), _update(1, ("user", "add", "v1")), ("save", 0), _edit(1, "add", "s2")],
    ),
    "an element that a service appends to a list is lost when the bot appends one": (
        (_BOT,),
        [_update(1, ("user", "append", "v1")), ("turns", 3), _edit(1, "append", "s1"), ("save", 0)],
    ),
    "another bot's edit is overwritten where others win": (
        (BotOptions(on_conflict="remote"),),
        [_update(2, ("user", "set", "b", "v1")), ("turns", 3), ("save", 0), _edit(2, "set", "b", "s1")],
    ),
    "what was read while a write was under way is taken for a change of the bot when that write is settled": (
        (BotOptions(refresh="read"),),
        [
            ("update", 0, 3, (("user", "add", "v1"),), -1),
            ("wait", 0.092),
            _update(3, ("user", "discard")),
            ("save", 0),
            ("wait", 0.5358),
            _edit(3, "replace", "b", "s5"),
            ("fault", 0, "hold", "write", 0.01),
            _update(3),
            ("save", 0),
            ("wait", 0.0085),
            _edit(3, "set", "b", "s11"),
        ],
    ),
    "a flush by hand that fails leaves a file behind, which is merged once more": (
        (BotOptions(spills=True),),
        [
            ("deaf", 0, 15.0),
            ("update", 0, 2, (("chat", "append", "v1"),), 0.5),
            ("save", 0),
            ("flush", 0),
            ("edit", "billing", "chat_data", CHAT_ID, ("append", "s6")),
            ("wait", 0.095),
        ],
    ),
    "a deletion whose answer got lost is done again, although somebody has made the document anew": (
        (_BOT, _BOT, _BOT),
        [
            _update(2, ("user", "add", "v1")),
            ("save", 0),
            ("wait", 0.0518),
            ("drop", 0, 2),
            ("fault", 0, "lose answer", "write", 2.0),
            ("save", 0),
            ("wait", 0.109),
            _edit(2, "set", "c%2Ed", "s8"),
        ],
    ),
    "a write whose answer got lost is done again after somebody has made the document unreadable for a while": (
        (_BOT,),
        [
            ("fault", 0, "lose answer", "write", 8.0),
            ("save", 0),
            ("fault", 0, "lose answer", "write", 8.0),
            _update(3, ("user", "set", "a", "v4")),
            ("save", 0),
            ("wait", 2.71),
            ("wait", 6.7),
            _edit(3, "poison", "a"),
        ],
    ),
    "what a stop finds unsaved after a flush by hand is spilled nowhere": (
        (BotOptions(spills=True),),
        [
            ("fail over", 1.0),
            _update(2, ("user", "total", "v7")),
            ("flush", 0),
            ("turns", 2),
            ("stop", 0, 5.0),
            ("wait", 2.85),
        ],
    ),
    "the file of a flush by hand that failed stays, as a save has opened another session meanwhile": (
        (BotOptions(on_flush=True, spills=True),),
        [
            ("fault", 0, "lose answer", "write", 8.0),
            _update(1, ("user", "add", "v1")),
            ("save", 0),
            ("flush", 0),
            ("wait", 0.0032),
            ("save", 0),
        ],
    ),
    "an object that PTB was given and did not take counts as what is stored": (
        (_BOT,),
        [("count users", 0), _edit(3, "set", "b", "s6")],
    ),
    "an object that PTB has made after a drop counts as new once more, and overwrites another bot": (
        (_BOT, _BOT),
        [
            ("save", 1),
            _update(3, ("user", "item", "tea", "v1")),
            ("wait", 0.105),
            ("fail over", 0.1),
            _update(3, bot=1),
            ("wait", 1.53),
            ("drop", 1, 3),
            ("wait", 1.09),
            _update(4, ("chat", "total", "v6"), bot=1),
            ("wait", 1.37),
            _update(3, ("user", "item", "milk", "v7"), bot=1),
            ("save", 1),
            ("fail over", 1.0),
            ("save", 1),
            ("wait", 0.0011),
        ],
    ),
    "a second application with the same lazy persistence erases its users' data": (
        (_LAZY,),
        [_update(2), ("wait", 1.6), ("restart", 0, 0.01, True)],
    ),
    "a second application with the same persistence removes what others have made anew": (
        (_BOT, _LAZY, _BOT),
        [
            ("drop", 0, 1),
            ("save", 0),
            _update(1, ("user", "set", "c.d", "v7"), bot=1),
            ("restart", 2, 0.01, True),
        ],
    ),
    "what a second start has loaded is saved before any update, and what others have added is doubled": (
        (BotOptions(on_conflict="add"), _BOT, _BOT),
        [
            ("restart", 0, 5.0, True),
            ("wait", 2.88),
            _update(3, ("bot", "count", 1), bot=2),
            ("wait", 0.226),
            ("save", 2),
            ("wait", 2.81),
            ("restart", 0, 0.01, False),
        ],
    ),
    "statistics that cannot be read after a second start replace the objects that it was given": (
        (_BOT, BotOptions(on_conflict="add"), _BOT),
        [("restart", 1, 0.01, True), ("wait", 11.7), ("deaf", 1, 0.5), ("count users", 1), ("wait", 9.2)],
    ),
    "statistics between a second start and its first update replace the objects that it was given": (
        (BotOptions(on_conflict="add"), _BOT, _BOT),
        [
            ("restart", 0, 5.0, True),
            ("wait", 2.88),
            _update(3, ("user", "count", 1), bot=2),
            ("wait", 0.226),
            ("save", 2),
            ("wait", 4.81),
            ("count users", 0),
            ("wait", 0.1),
        ],
    ),
    "a user who is dropped while the first statistics are read comes back with the next update": (
        (_BOT, _BOT),
        [("drop", 1, 1), ("count users", 1), _update(1, bot=1)],
    ),
    "a second shared application with the same persistence is not saved": (
        (_WORKER,),
        [("restart", 0, 0.01, True), ("wait", 0.2), _update(2, ("user", "append", "v1"))],
    ),
    "a second shared application with the same lazy persistence ends conversations": (
        (BotOptions(shares="stream", loading="lazy"),),
        [_update(1, ("conversation", "state1")), ("wait", 1.0), ("restart", 0, 0.01, True), ("wait", 1.0), _update(1)],
    ),
    "deliver has saved nothing of the first update after a flush by hand": (
        (_WORKER,),
        [("flush", 0), ("wait", 1.0), _update(3, ("user", "set in n", "x", "v1"))],
    ),
    "no lease is held for the first update after a flush by hand": (
        (BotOptions(shares="exclusive"),),
        [("flush", 0), ("wait", 1.0), _update(3)],
    ),
    "an update during which somebody flushes by hand is given to a writer that is closed": (
        (_WORKER,),
        [
            ("update", 0, 3, (("user", "set", "a", "v1"), ("user", "set", "b", "v2")), 0.5),
            ("wait", 0.1),
            ("flush", 0),
            ("wait", 0.1),
            _update(2, ("user", "set", "a", "v3")),
        ],
    ),
    "what a turn reads after a flush by hand, while nobody follows the changes, counts as new": (
        (_WORKER,),
        [
            ("fault", 0, "hold", "write", 0.5),
            ("wait", 0.288),
            ("flush", 0),
            ("update", 0, 3, (), 0.001),
            ("wait", 0.075),
            ("edit", "panel", "chat_data", CHAT_ID, ("count", 1)),
        ],
    ),
    "deliver does not wait for the data that an update drops": (
        (BotOptions(shares="strict"),),
        [
            ("fault", 0, "hold", "write", 3.0),
            ("update", 0, 1, (("bot", "set", "c.d", "v5"), ("user", "drop")), 0.02),
            ("wait", 0.131),
            _update(1, ("user", "item", "milk", "v7")),
        ],
    ),
    "deliver says nothing of a change that is refused as the one before it was": (
        (_WORKER,),
        [
            ("update", 0, 2, (("bot", "typed", "pair", 5),), 0.02),
            ("rule", "user_data", "b", None, float("inf")),
            ("wait", 2.52),
            _update(2, ("user", "set", "b", "v6")),
            ("fault", 0, "hold", "read", 0.05),
            ("update", 0, 2, (("user", "set", "b", "v7"), ("chat", "typed", "day", 8)), 0.02),
            ("wait", 0.074),
        ],
    ),
    "after a flush by hand, somebody without data cannot be handled in an outage": (
        (_BOT,),
        [
            ("flush", 0),
            ("wait", 2.4),
            ("roll back", 1.0),
            ("update", 0, 3, (), -1),
            ("wait", 0.282),
            ("update", 0, 3, (), 0.5),
            ("save", 0),
            ("wait", 0.057),
        ],
    ),
    "a drop after an earlier one that is not saved leaves what others have written in between": (
        (BotOptions(shares="exclusive"), BotOptions(shares="exclusive")),
        [
            _update(2, ("user", "set", "a", "v12"), bot=1),
            ("drop", 0, 2),
            ("wait", 6.6),
            ("update", 0, 2, (("user", "drop"),), -1),
        ],
    ),
    "a flush never waits while the server refuses what is to be saved": (
        (_BOT,),
        [
            ("refuse", "write", 13, 20.0, "", 1.0),
            _update(1, ("user", "set", "a", "v1")),
            ("wait", 0.1),
            ("save", 0),
            ("flush", 0),
            ("wait", 5.0),
        ],
    ),
    "a late copy of a refused write counts as what was changed since it was sent": (
        (BotOptions(refresh="read"),),
        [
            _update(3, ("user", "set", "b", "v1")),
            ("wait", 0.3313),
            ("save", 0),
            ("wait", 11.9),
            ("fault", 0, "duplicate", "write", 0.5),
            ("update", 0, 3, (("user", "remove", "b"),), 0.5),
            ("wait", 1.73),
            ("refuse", "write", 13, 3.0, "", 0.2),
            _update(3, ("user", "set", "b", "v4")),
            ("save", 0),
            ("wait", 0.4547),
            _update(3, ("user", "remove", "b")),
            ("save", 0),
        ],
    ),
    "a value that has won a conflict before it was spilled counts as older": (
        (_BOT, _BOT, BotOptions(spills=True)),
        [
            ("rule", "user_data", "a", 0, 5.0),
            _update(3, ("user", "set", "a", "v10"), bot=2),
            _update(3, ("user", "set", "a", "v11")),
            ("save", 0),
            ("wait", 0.001),
            ("stop", 2, 1.0),
            ("wait", 0.193),
        ],
    ),
    "an object that PTB has made itself counts as based on what a load by hand gave": (
        (_WORKER, _BOT, _WORKER),
        [
            _edit(3, "set", "a", "s6"),
            ("count users", 0),
            _update(3, ("user", "add", "v9"), bot=2),
        ],
    ),
    "an update is handled without its user's data, as nothing is open in an outage": (
        (BotOptions(loading="lazy"), _BOT),
        [
            ("roll back", 4.0),
            ("count users", 0),
            ("wait", 2.9),
            ("update", 0, 2, (), 0),
            ("wait", 0.0995),
            ("update", 0, 2, (), 0),
            ("save", 0),
            ("wait", 0.3491),
        ],
    ),
    "what was refused at a start counts as saved, as that process has saved something else": (
        (BotOptions(spills=True),),
        [
            ("rule", "user_data", "b", 0, 60.0),
            _update(2, ("user", "set", "b", "v16")),
            ("wait", 9.3),
            ("stop", 0, 0.01),
            ("wait", 2.89),
            ("update", 0, 2, (("user", "set", "a", "v13"),), 0.5),
        ],
    ),
    "an object that goes on after a second start, of which only copies were seen, counts as new": (
        (BotOptions(loading="lazy", refresh="read", on_conflict="add"),),
        [
            ("fault", 0, "lose request", "read", 8.0),
            ("update", 0, 3, (("user", "count", 2),), 0.001),
            ("fault", 0, "lose answer", "write", 3.0),
            ("flush", 0),
            ("wait", 0.051),
            ("restart", 0, 1.0, False),
            ("roll back", 4.0),
            ("wait", 0.109),
        ],
    ),
    "a state that was taken back, and is acknowledged all the same, is removed by the next update": (
        (_BOT, _WORKER),
        [
            ("update", 1, 1, (), 0),
            ("wait", 0.168),
            ("slow replication", 3.0),
            ("update", 1, 1, (("conversation", "state2"),), 0.5),
            ("wait", 6.8),
        ],
    ),
}


@pytest.mark.parametrize("name", FOUND)
def test_a_fault_that_was_found_is_gone(name: str) -> None:
    bots, actions = FOUND[name]
    seed, all_ = _OTHER_SEEDS.get(name, _SEED), str(actions)
    is_slow = "slow replication" in all_
    schedule = Schedule(seed, bots, tuple(actions), hostile="poison" in all_, rolls_back=is_slow)
    assert play(schedule).violation is None
