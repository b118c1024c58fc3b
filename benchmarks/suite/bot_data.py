"""Save a large `bot_data`, which PTB offers at every interval, changed or not."""

from __future__ import annotations

import copy
import re
from collections.abc import Awaitable, Callable
from typing import Any

import bson

from suite.core import Line, Results, Run, Work, alternate, at_most, no_more_than, scaled, timed
from suite.subjects import OTHER, OURS, PICKLE, Counted, Persistence, persistences

WORK = "bot_data"
DEEPCOPY = "PTB's own deepcopy of it"
UNCHANGED = ", unchanged"


def catalogue(products: int) -> dict[str, Any]:
    """A `bot_data` with this many keys, of 1,250 bytes each."""
    return {
        f"product-{number}": {
            "title": f"Tea number {number}",
            "prices": [number, number + 1, number + 2],
            "tags": ["green", "loose"],
            "stock": {"here": number, "elsewhere": 0},
            "text": "t" * 1050,
        }
        for number in range(products)
    }


def offering(persistence: Any, data: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> Work:
    """One round: changes, copies and offers it."""

    async def once() -> float:
        change(data)
        offered = copy.deepcopy(data)

        async def offer() -> None:  # the call takes the data, and its result is awaited later: both count
            await persistence.update_bot_data(offered)

        return await timed(offer())

    return once


def sell(data: dict[str, Any]) -> None:
    """Changes one key."""
    data["product-17"]["stock"]["here"] += 1


def leave(data: dict[str, Any]) -> None:
    """Changes nothing."""
    del data


def copying(data: dict[str, Any]) -> Work:
    """What PTB does before it offers data."""

    async def copied() -> None:
        copy.deepcopy(data)

    def once() -> Awaitable[float]:
        return timed(copied())

    return once


async def sent(run: Run, name: str, data: dict[str, Any]) -> tuple[int, int]:
    """How many keys and bytes go to the server when one key has changed."""
    subject = Counted(run, name)
    subject.database += "_counted"
    await subject.open()
    await subject.persistence.refresh_bot_data(data)
    await subject.persistence.update_bot_data(copy.deepcopy(data))
    subject.sent.take()
    sell(data)
    await subject.persistence.update_bot_data(copy.deepcopy(data))
    commands = subject.sent.take()
    await subject.close()
    updates = [update["u"] for command in commands for update in command.get("updates", ())]
    keys = set(re.findall(r"product-\d+", repr(updates)))
    return len(keys), sum(len(bson.encode(command)) for command in commands)


async def measure(run: Run) -> Results:
    """Measures."""
    products = run.of(4000, 1000)
    size = len(bson.encode(catalogue(products)))
    works = {DEEPCOPY: copying(catalogue(products))}
    subjects = [subject for subject in persistences(run) if isinstance(subject, Persistence)]
    for subject in subjects:
        await subject.open()
        data = catalogue(products)
        await subject.persistence.refresh_bot_data(data)  # like an update: shows which object is the live one
        await subject.persistence.update_bot_data(copy.deepcopy(data))
        works[subject.name] = offering(subject.persistence, data, sell)
        if subject.name in OURS:
            works[subject.name + UNCHANGED] = offering(subject.persistence, data, leave)
    times = await alternate(works, run.of(9, 3))
    for subject in subjects:
        await subject.close()
    results = Results(series={"bot_data": {"bytes": size, "seconds": times}})
    times = scaled(times, 1e3)
    megabytes = f"{size / 1e6:.0f} MB"
    for name, driver in OURS.items():
        for state, what, peers in (
            (UNCHANGED, "unchanged", {DEEPCOPY: at_most(0.4)}),
            ("", "one key changed", {DEEPCOPY: at_most(2.0), PICKLE: None, OTHER: None}),
        ):
            line = Line(WORK, f"{megabytes}, {what}", driver)
            for peer, target in peers.items():
                results.figures.append(line.compare("ms", times, name + state, peer, target))
        keys, length = await sent(run, name, catalogue(products))
        results.figures += [
            line.counts(keys, "keys", no_more_than(1)),
            line.against(length, "B", "all of it as BSON", size),
        ]
    return results
