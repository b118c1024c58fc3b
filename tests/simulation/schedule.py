"""A schedule says all that happens in a world: made from a seed, readable, and short enough to be understood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from steps import BotOptions

__all__ = ["Action", "Schedule", "readable", "shrunk"]

Action = tuple[Any, ...]


@dataclass(frozen=True)
class Schedule:
    """What happens.

    Attributes:
        seed: Decides what a schedule does not say: how long each request takes.
        bots: How each bot is made.
        actions: One after another.
        sets: Whether there are sets at the start.
        hostile: Whether some documents cannot be read or stored.
        rolls_back: Whether a change takes a while until a majority has it, and may be undone before.
        redelivers: Whether updates come again until they are answered.
    """

    seed: int
    bots: tuple[BotOptions, ...]
    actions: tuple[Action, ...]
    sets: bool = True
    hostile: bool = False
    rolls_back: bool = False
    redelivers: bool = False


def readable(schedule: Schedule) -> str:
    """A schedule, line by line."""
    lines = [f"bot{number}: {_differing(options)}" for number, options in enumerate(schedule.bots)]
    return "\n".join([*lines, *(" ".join(map(str, action)) for action in schedule.actions)])


def _differing(options: BotOptions) -> str:
    usual = BotOptions()
    named = [f"{name}={value!r}" for name, value in vars(options).items() if value != getattr(usual, name)]
    return ", ".join(named) or "as usual"


def shrunk(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """The shortest schedule that still fails, as far as leaving out finds it.

    Args:
        schedule: One that fails.
        fails: Whether another one fails in the same way.
    """
    best = _shorter(schedule, fails)
    for number in range(len(best.bots)):
        for name, value in vars(BotOptions()).items():
            options = replace(best.bots[number], **{name: value})
            simpler = replace(best, bots=(*best.bots[:number], options, *best.bots[number + 1 :]))
            if options != best.bots[number] and fails(simpler):
                best = simpler
    best = _simpler_actions(best, fails)
    return _shorter(best, fails)


def _shorter(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    actions = schedule.actions
    size = max(1, len(actions) // 2)
    while size:
        start, found = 0, False
        while start < len(actions):
            fewer = actions[:start] + actions[start + size :]
            if fails(replace(schedule, actions=fewer)):
                actions, found = fewer, True
            else:
                start += size
        if not found or size > 1:
            size = size // 2 if size > 1 else 0
    return replace(schedule, actions=actions)


def _simpler_actions(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Leaves out steps of updates."""
    actions: Sequence[Action] = schedule.actions
    for index in range(len(actions)):
        if actions[index][0] != "update":
            continue
        for number in range(len(actions[index][3]) - 1, -1, -1):
            name, bot, user, steps, pause = actions[index]
            fewer = (name, bot, user, steps[:number] + steps[number + 1 :], pause)
            tried = (*actions[:index], fewer, *actions[index + 1 :])
            if fails(replace(schedule, actions=tried)):
                actions = tried
    return replace(schedule, actions=tuple(actions))
