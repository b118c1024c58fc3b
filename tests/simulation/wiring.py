"""The clients' side of all connections: commands are sent, answered or not, and given up."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable
from contextvars import Context
from typing import Any, Final

from loop import Life, Loop
from mongod import Mongod
from mongod.errors import DUPLICATE_KEY
from pools import Pool
from pymongo.errors import AutoReconnect, NetworkTimeout, OperationFailure
from traffic import Link, Request

__all__ = ["Wiring", "await_time", "gives_up_in"]

_SOCKET_TIMEOUT: Final = 10.0
_OUTSIDE: Final = Context()  # of no process: what the network does goes on, whoever is frozen


def await_time(request: Request) -> float:
    """Seconds that the server may wait until it answers."""
    return float(request.command.get("maxTimeMS", 0)) / 1000


def gives_up_in(request: Request) -> float:
    """Seconds after which a client no longer waits for an answer."""
    return _SOCKET_TIMEOUT + await_time(request)


class Wiring:
    """See the module.

    Args:
        loop: The world's loop.
        mongod: The server.
        seed: Decides how long everything takes.

    Attributes:
        links: What connects each process with the server.
        closed: Whether the world has ended.
        busy_until: When the last request that is held back arrives, and the last client has noticed that nothing
            answers.
    """

    def __init__(self, loop: Loop, mongod: Mongod, seed: str) -> None:
        self._loop = loop
        self.mongod = mongod
        self._seed = seed
        self.links: dict[Life, Link] = {}
        self.closed = False
        self.busy_until = 0.0

    def _arrive(self, request: Request) -> None:
        """A request reaches the server."""
        raise NotImplementedError

    def link(self, life: Life) -> Link:
        found = self.links.get(life)
        if found is None:
            found = self.links[life] = Link()
        return found

    def pool(self, life: Life) -> Pool:
        """The connections of another client."""
        made = Pool()
        self.link(life).pools.append(made)
        return made

    async def ask(self, life: Life, command: dict[str, Any], pool: Pool, *, has_timeout: bool = True) -> dict[str, Any]:
        """Sends a command, and waits for its answer.

        Args:
            life: The process.
            command: The command.
            pool: The connections of its client.
            has_timeout: Whether that gives up if nothing is answered.

        Raises:
            AutoReconnect: If the connection breaks, or nothing is answered in time.
            OperationFailure: If the server refuses.
        """
        if self.closed or life.dead:
            raise AutoReconnect("connection closed")
        link, loop = self.link(life), self._loop
        link.sent += 1
        sent_at, wire = len(self.mongod.history), pool.take()
        request = Request(life, link.sent, command, loop.time(), sent_at, loop.create_future(), wire)
        request.fault = link.fault_for(request.target)
        timeout = loop.call_later(gives_up_in(request), self._time_out, request) if has_timeout else None
        link.flying.add(request)
        self._send(request, swallowed=loop.time() < link.dead_until or wire.is_mute)
        works = False
        try:
            answer = await request.answer
            works = True
        except (OperationFailure, AutoReconnect) as error:
            works = isinstance(error, OperationFailure)
            link.has_failed(loop.time())
            raise
        except asyncio.CancelledError:
            if wire.is_mute:
                link.has_failed(loop.time())
            raise
        finally:
            link.flying.discard(request)
            pool.give_back(wire, works=works)
            if timeout is not None:
                timeout.cancel()
        if any(one["code"] != DUPLICATE_KEY for one in answer.get("writeErrors", ())):
            link.has_failed(loop.time())
        return answer

    def _send(self, request: Request, *, swallowed: bool) -> None:
        fault = request.fault
        kind = fault.kind if fault is not None else ""
        if swallowed or kind == "lose request":
            if fault is not None:
                self._break_later(request, fault.delay)
            else:
                self._expect_until(request.sent + gives_up_in(request))
        elif kind == "hold":
            assert fault is not None
            self._hold(request, fault.delay)
            self._break_later(request, min(fault.delay, self._draw(request, "notice") * 3))
        else:
            self._later(self._delay(request, "there"), self._arrive, request)
            if kind == "duplicate" and request.target != "stream" and not request.inserts:
                # A second copy of an insertion is what no transport and no driver sends by itself. One that was held
                # back, and its sender given up, is another matter.
                assert fault is not None
                copied = request.life, request.number, request.command, request.sent, request.sent_at
                self._hold(Request(*copied, self._loop.create_future(), request.wire), fault.delay)

    def _expect_until(self, at: float) -> None:
        self.busy_until = max(self.busy_until, at)

    def _hold(self, request: Request, delay: float) -> None:
        self._expect_until(self._loop.time() + delay)
        self._later(delay, self._arrive, request)

    def _time_out(self, request: Request) -> None:
        self._fail(request, NetworkTimeout("timed out"))

    def _fail(self, request: Request, error: Exception) -> None:
        if not request.answer.done():
            request.answer.set_exception(error)
            request.answer.exception()  # whoever waits for it may have been cancelled

    def _break_later(self, request: Request, delay: float) -> None:
        self._expect_until(self._loop.time() + delay)
        self._later(delay, self._fail, request, AutoReconnect("connection closed"))

    def _draw(self, request: Request, what: str) -> float:
        text = f"{self._seed}/{request.life.name}/{request.number}/{what}"
        return zlib.crc32(text.encode()) / 2**32

    def _delay(self, request: Request, what: str) -> float:
        draw = self._draw(request, what)
        return 0.0002 + 0.002 * draw + (0.1 * (draw - 0.9) if draw > 0.9 else 0.0)

    def _later(self, delay: float, function: Callable[..., None], *args: Any) -> None:
        self._loop.call_later(delay, function, *args, context=_OUTSIDE)
