"""Save one more message in a long history, as kept by bots that talk to a language model."""

from __future__ import annotations

import copy
import time
from typing import Any

import bson

from suite.core import Line, Results, Run, Work, alternate, at_most, no_more_than, scaled
from suite.subjects import OURS, Counted, Ours

WORK = "a long history"
COPY = "PTB's own deepcopy of it"
USER = 1
BYTES = 2000
# It is compared in C with what is stored, and only what was appended is sent. But it is encoded as a whole: that alone
# takes half as long as the copy, and so do two fingerprints of 500 kB.
ACCEPTED = 4


def conversation(messages: int) -> dict[str, Any]:
    """A user with this many messages of 500 bytes."""
    return {"name": "Ada", "history": [said(number) for number in range(messages)]}


def said(number: int) -> dict[str, Any]:
    """One message."""
    return {"role": "user", "content": f"{number} " + "x" * 450, "at": number}


def talking(persistence: Any, data: dict[str, Any]) -> Work:
    """One round: this process's seconds for one more message, beginning with PTB's copy."""

    async def once() -> float:
        data["history"].append(said(len(data["history"])))
        offered = copy.deepcopy(data)
        begun = time.process_time()
        await persistence.update_user_data(USER, offered)
        return time.process_time() - begun

    return once


def copying(data: dict[str, Any]) -> Work:
    """What PTB does first."""

    async def once() -> float:
        begun = time.process_time()
        copy.deepcopy(data)
        return time.process_time() - begun

    return once


async def begun(subject: Ours, messages: int) -> dict[str, Any]:
    """The live object of a user with this many messages and an update."""
    await subject.open()
    await subject.load()
    data = conversation(messages)
    await subject.persistence.refresh_user_data(USER, data)
    await subject.persistence.update_user_data(USER, copy.deepcopy(data))
    return data


async def sent(run: Run, name: str, messages: int) -> int:
    """How many bytes are sent to the server for one more message."""
    subject = Counted(run, name)
    subject.database += "_counted_history"
    data = await begun(subject, messages)
    subject.sent.take()
    await talking(subject.persistence, data)()
    commands = subject.sent.take()
    await subject.close()
    return sum(len(bson.encode(command)) for command in commands)


async def measure(run: Run) -> Results:
    """Measures."""
    messages = run.of(1000, 500)
    works = {COPY: copying(conversation(messages))}
    subjects = [Ours(run, name) for name in OURS]
    for subject in subjects:
        subject.database += "_history"
        data = await begun(subject, messages)
        works[subject.name] = talking(subject.persistence, data)
    times = scaled(await alternate(works, run.of(20, 6)), 1e3)
    results = Results()
    for subject in subjects:
        await subject.close()
        name, driver = subject.name, OURS[subject.name]
        line = Line(WORK, f"one more after {messages:,} of 500 bytes", driver)
        results.figures += [
            line.compare("ms", times, name, COPY, at_most(0.2, ACCEPTED)),
            line.counts(await sent(run, name, messages), "B", no_more_than(BYTES)),
        ]
    return results
