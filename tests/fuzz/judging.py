"""What must hold for whatever is planted, and how a case that breaks it is named."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

__all__ = ["Finding", "Timed", "cost", "of_error"]

T = TypeVar("T")
_ROOT: Final = Path(__file__).parents[2] / "ptb_mongo"


class Finding(NamedTuple):
    """Something that does not hold.

    Attributes:
        kind: What it has in common with others of the same cause.
        text: All that is known of it.
    """

    kind: str
    text: str


def of_error(where: str, error: BaseException) -> Finding:
    """An error that nobody expects, named by the last line of ours that it went through."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if Path(frame.filename).is_relative_to(_ROOT)]
    last = (ours or frames)[-1]
    place = f" in {Path(last.filename).name}, {last.name}" + ("" if ours else f", line {last.lineno}")
    text = "".join(traceback.format_exception(error))
    return Finding(f"{where}: {type(error).__name__}{place}", text)


class Timed(NamedTuple):
    """What something costs.

    Attributes:
        seconds: Of the processor.
        result: What it gives.
    """

    seconds: float
    result: Any


def cost(function: Callable[[], T]) -> Timed:
    """Does something, and measures it."""
    started = time.thread_time()
    result = function()
    return Timed(time.thread_time() - started, result)
