"""An event loop with virtual time, in which processes can be frozen and killed.

Ready callbacks run first in, first out, as asyncio guarantees; when none is ready, the time jumps to the next timer.
Each callback belongs to the process (`Life`) in whose context it was scheduled; a frozen or dead one runs nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context, ContextVar, copy_context
from typing import Any, Final

__all__ = ["LIFE", "Life", "LivelockError", "Loop", "StuckError"]

LIFE: Final[ContextVar[Life | None]] = ContextVar("life", default=None)


class StuckError(Exception):
    """Nothing is ready, and no timer runs: what is awaited never happens."""


class LivelockError(Exception):
    """The callbacks never come to an end."""


class Life:
    """A process.

    Attributes:
        name: Which.
        runs: Whether its callbacks run; else they are held.
        dead: Whether it was killed, or has come to its end.
        thawed_at: When it was frozen last, until then.
        held: What would have run.
        tasks: All that it has started.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.runs = True
        self.dead = False
        self.thawed_at = 0.0
        self.held: list[_Callback] = []
        self.tasks: list[asyncio.Task[Any]] = []

    def __repr__(self) -> str:
        return self.name

    def reap(self) -> None:
        """Ends what no task will end, when nothing of it runs any more."""


class _Callback:
    """A callback that was scheduled; what asyncio calls a handle."""

    __slots__ = ("_args", "_cancelled", "_context", "_function", "_when", "life", "number")

    def __init__(
        self, function: Callable[..., Any], args: tuple[Any, ...], context: Context, when: float | None
    ) -> None:
        self._function = function
        self._args = args
        self._context = context
        self._when = when
        self._cancelled = False
        self.life = context.get(LIFE)
        self.number = 0

    def cancel(self) -> None:
        self._cancelled = True
        self._args = ()

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when or 0.0

    @property
    def is_timer(self) -> bool:
        return self._when is not None

    def run(self) -> None:
        self._context.run(self._function, *self._args)


class Loop(asyncio.AbstractEventLoop):
    """See the module.

    Args:
        start: The time to begin at; of `time`, and of the server's clock.
        most_callbacks: That are run before the world counts as one that never comes to rest; most worlds take 2,000,
            the largest of some hundred 18,000.
    """

    def __init__(self, start: float = 1_000_000_000.0, most_callbacks: int = 200_000) -> None:
        self._now = start
        self._ready: deque[_Callback] = deque()
        self._timers: list[tuple[float, int, _Callback]] = []
        self._count = 0
        self._left = most_callbacks
        self._running = False
        self._closed = False
        self.failure: Exception | None = None
        """Ends everything at once."""
        self.problems: list[dict[str, Any]] = []
        """What asyncio has reported: exceptions that nobody has looked at."""

    # -- time ---------------------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def call_soon(self, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        made = _Callback(callback, args, copy_context() if context is None else context, None)
        self._ready.append(made)
        return made

    call_soon_threadsafe = call_soon

    def call_at(self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        made = _Callback(callback, args, copy_context() if context is None else context, when)
        self._count += 1
        heapq.heappush(self._timers, (when, self._count, made))
        return made

    def call_later(self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None) -> Any:
        return self.call_at(self._now + delay, callback, *args, context=context)

    # -- processes ----------------------------------------------------------------------------------------

    def freeze(self, life: Life) -> None:
        """Lets a process run nothing any more."""
        life.runs = False

    def thaw(self, life: Life) -> None:
        """Lets a process run on: first what was ready and what has arrived, then what has become due."""
        life.runs = True
        life.thawed_at = self._now
        held, life.held = life.held, []
        self._ready.extend(sorted(held, key=lambda one: one.is_timer))

    # -- running ------------------------------------------------------------------------------------------

    def run_until_complete(self, future: Any) -> Any:
        task = future if isinstance(future, asyncio.Future) else self.create_task(future)
        self._running = True
        hooks = sys.get_asyncgen_hooks()
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(finalizer=lambda generator: self.create_task(generator.aclose()))
        try:
            self._run(task)
        finally:
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(None)
            self._running = False
        return task.result()

    def _run(self, task: asyncio.Future[Any]) -> None:
        ready, timers = self._ready, self._timers
        while not task.done():
            while not ready:
                if not timers:
                    raise StuckError
                when, _, due = heapq.heappop(timers)
                if not due.cancelled():
                    self._now = max(self._now, when)
                    ready.append(due)
            callback = ready.popleft()
            if callback.cancelled():
                continue
            life = callback.life
            if life is not None and not life.runs:
                life.held.append(callback)
                continue
            self._left -= 1
            if self._left < 0:
                raise LivelockError
            callback.run()
            if self.failure is not None:
                raise self.failure

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._closed

    def close(self) -> None:
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    def get_debug(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.problems.append(context)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.problems.append(context)

    async def shutdown_asyncgens(self) -> None:
        pass

    # -- what is made of it -------------------------------------------------------------------------------

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, **options: Any) -> Any:
        task = asyncio.Task(coro, loop=self, name=name, **options)
        life = LIFE.get()
        if life is not None:
            life.tasks.append(task)
        return task

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """Runs it at once: there are no threads in here."""
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001  (for whoever awaits it)
            future.set_exception(error)
        return future
