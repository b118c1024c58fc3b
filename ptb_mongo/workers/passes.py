"""PTB's save passes: one after the other, with the error handlers of each as a part of it.

So an error handler that has PTB save would wait for itself, and one that waits for a lease might wait for an update
that waits for the pass. Neither is left waiting for ever.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar

__all__ = ["in_pass", "is_in_pass"]


class _Pass:
    """A save pass.

    Attributes:
        is_over: Whether it has ended.
        is_wanted_again: Whether one of its error handlers has asked for another one.
    """

    def __init__(self) -> None:
        self.is_over = self.is_wanted_again = False


_PASS: ContextVar[_Pass | None] = ContextVar("ptb_mongo_pass", default=None)
"""The save pass that this task is a part of, or was begun by."""


def is_in_pass() -> bool:
    """Whether what runs belongs to a save pass that goes on, or was begun by that."""
    one = _PASS.get()
    return one is not None and not one.is_over


async def in_pass(save: Callable[[], Awaitable[None]]) -> None:
    """Runs a save pass; if what runs belongs to one, another one follows that, and is not waited for.

    Args:
        save: Runs it.
    """
    around = _PASS.get()
    if around is not None and not around.is_over:
        around.is_wanted_again = True
        return
    one = _Pass()
    token = _PASS.set(one)
    try:
        await save()
    finally:
        one.is_over = True
        _PASS.reset(token)
    if one.is_wanted_again:
        await save()
