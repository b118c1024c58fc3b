"""Encode and load one stored `Message`, compared with PTB's copying."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

from telegram.ext import ExtBot

from ptb_mongo.codec import Codec, dump, load
from suite.bot import NoNetwork
from suite.core import Line, Results, Run, Work, alternate, at_most, scaled
from suite.size import message
from suite.subjects import TOKEN

WORK = "a stored Message"
COPY = "PTB's own deepcopy of it"
ENCODE, LOAD = "encode", "load"
AT_ONCE = 50
# 0.15 and 0.08 ms, while PTB's copy takes 0.12. PTB's own `to_dict`, which creates the view, is 0.04 ms of the first.
GOALS = {ENCODE: at_most(1.25), LOAD: at_most(0.67)}


def repeating(work: Callable[[], object]) -> Work:
    """One round: seconds for one of several repetitions."""

    async def once() -> float:
        begun = time.process_time()
        for _ in range(AT_ONCE):
            work()
        return (time.process_time() - begun) / AT_ONCE

    return once


async def measure(run: Run) -> Results:
    """Measures."""
    bot = ExtBot(TOKEN, request=NoNetwork(), get_updates_request=NoNetwork())
    codec, value = Codec(bot=lambda: bot), message(bot)
    stored = load(dump({"last": codec.encode(value)}))
    works = {
        ENCODE: repeating(lambda: codec.encode(value)),
        LOAD: repeating(lambda: codec.decode(stored)),
        COPY: repeating(lambda: copy.deepcopy(value)),
    }
    times = scaled(await alternate(works, run.of(100, 30), collect=False), 1e3)
    line = Line(WORK, "", "")
    return Results(
        [Line(WORK, what, line.driver).compare("ms", times, what, COPY, goal) for what, goal in GOALS.items()]
    )
