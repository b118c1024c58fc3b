"""Schedules in which the core is right, although the checker once reported a fault."""

from __future__ import annotations

from typing import Any

import pytest
from schedule import Schedule
from steps import BotOptions
from world import play

_STRICT = BotOptions(shares="strict")

FAIR: dict[str, tuple[int, tuple[BotOptions, ...], list[tuple[Any, ...]]]] = {
    "a handler sees what was stored since its update came, and is gone again before it begins": (
        5765,
        (_STRICT, _STRICT, _STRICT),
        [
            ("update", 1, 1, (("chat", "cut"),), 0.02),
            ("wait", 0.0057),
            ("update", 1, 1, (("user", "remove", "b"),), 0),
            ("wait", 0.0024),
            ("wait", 0.0057),
            ("update", 0, 1, (("user", "set", "b", "v3"),), 0.001),
            ("wait", 0.0028),
            ("wait", 0.0022),
            ("update", 0, 1, (), -1),
        ],
    ),
    "what cannot be read is cured by its removal, and is what is unsaved no longer": (
        18591,
        (BotOptions(on_conflict="remote"),),
        [
            ("update", 0, 2, (("user", "set", "a", "v1"),), 0),
            ("edit", "billing", "user_data", 2, ("set", "a", "s3")),
            ("save", 0),
            ("update", 0, 2, (("user", "remove", "a"),), -1),
            ("edit", "panel", "user_data", 2, ("poison", "a")),
        ],
    ),
    "what is refused for ever waits for PTB's next save, which takes it back": (
        12636,
        (BotOptions(),),
        [
            ("rule", "user_data", "b", None, float("inf")),
            ("update", 0, 3, (("user", "set", "b", "v11"),), 0),
            ("save", 0),
            ("update", 0, 3, (("user", "remove", "b"),), 0.02),
        ],
    ),
    "what is refused for ever waits for PTB's next save, which drops its user": (
        4673,
        (BotOptions(), BotOptions(shares="stream")),
        [
            ("rule", "user_data", "a", None, float("inf")),
            ("update", 1, 3, (("user", "set", "a", "v7"),), 0),
            ("wait", 0.1185),
            ("drop", 1, 3),
        ],
    ),
}


@pytest.mark.parametrize("name", FAIR)
def test_what_is_fair_is_no_violation(name: str) -> None:
    seed, bots, actions = FAIR[name]
    assert play(Schedule(seed, bots, tuple(actions), hostile="poison" in str(actions))).violation is None
