"""What a schedule may contain."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Features"]


@dataclass(frozen=True)
class Features:
    """What a schedule may hold.

    Attributes:
        bots: How many there may be.
        elements: Whether several sides change the same set or list.
        remote: Whether others may win conflicts.
        by_hand: Whether people flush, or count users, while the bot runs.
        put_back: Whether services put back documents that they have read long ago.
        spills: Whether bots have a folder for what is unsaved.
        forms: Whether services write forms that are not the bot's.
        refusals: Whether the server refuses whole commands, or some statements of them, for a while.
        rules: Whether the server refuses documents that hold certain values.
        half_open: Whether connections may swallow everything.
        hostile: Whether services store what cannot be read, and handlers what cannot be stored.
        rollback: Whether an election may undo what a majority has not got.
        faults: Whether anything goes wrong at all.
        keyboards: Whether there is a cache of callback data.
        late: Whether what PTB's calls give may begin some time after they were made.
        overrides: Whether bots may be subclasses that call us some time after PTB has called them: which version a copy
            was made from can then only be guessed by what it holds.
        sets: Whether there are sets.
        counts: Whether all sides add to one number.
        drops: Whether all of a user's data is dropped.
        on_flush: Whether a bot may save only when it stops.
        holds: Whether requests may arrive long after they were sent, or twice.
        workers: Whether the bots may be workers of one `SharedApplication`.
        redelivery: Whether updates of workers may come again until they are answered, and be done in transactions.
        restarts: Whether a persistence may be used for another life of its bot, after a stop.
        migrations: Whether bots may have migrations, each another number of them. Such schedules take longer.
        long_waits: Whether more than a minute may pass without anything.
    """

    bots: int = 3
    elements: bool = True
    remote: bool = True
    by_hand: bool = True
    put_back: bool = True
    spills: bool = True
    forms: bool = True
    hostile: bool = True
    refusals: bool = True
    rules: bool = True
    half_open: bool = True
    rollback: bool = True
    faults: bool = True
    keyboards: bool = True
    late: bool = True
    overrides: bool = False
    sets: bool = True
    counts: bool = True
    drops: bool = True
    on_flush: bool = True
    holds: bool = True
    workers: bool = True
    redelivery: bool = True
    restarts: bool = True
    long_waits: bool = True
    migrations: bool = False
