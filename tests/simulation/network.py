"""Between bots and the server: each request takes its time, and faults may happen to it on the way."""

from __future__ import annotations

import datetime as dtm
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from typing import Any, Final

from loop import Life, Loop
from mongod import Mongod, Written
from pymongo.errors import AutoReconnect, NetworkTimeout, NotPrimaryError, OperationFailure
from replication import Replication
from traffic import Link, Request

__all__ = ["Network"]

_SOCKET_TIMEOUT: Final = 10.0
_OUTSIDE: Final = Context()  # of no process: what the network does goes on, whoever is frozen


class Network:
    """All connections, and the server's side of them.

    Args:
        loop: The world's loop.
        mongod: The server.
        seed: Decides how long everything takes.
        written: Called with what a request has changed, before anything else happens.
        answered: Called when a client gets an answer.
        replication: Decides when a majority has a change; `None` if that is at once.
    """

    def __init__(
        self,
        loop: Loop,
        mongod: Mongod,
        seed: str,
        written: Callable[[Request, Sequence[Written]], None],
        answered: Callable[[Request, int], None],
        replication: Replication | None = None,
    ) -> None:
        self._replication = replication
        self._loop = loop
        self.mongod = mongod
        self._seed = seed
        self._written = written
        self._answered = answered
        self.links: dict[Life, Link] = {}
        self.frozen_until = 0.0
        self.failing_until = 0.0
        self._stream_delay = 0.0
        self.closed = False
        self._is_healed = False
        self.log: list[tuple[float, str]] = []
        """What was executed, and when."""
        self._began = loop.time()
        self._inbox: list[Callable[[], None]] = []
        self._listening: dict[Request, None] = {}
        self.busy = 0
        """How many requests have been executed, but for those of streams, and the removal of old marks, which comes a
        minute after a start, whatever happens."""
        self.busy_until = 0.0
        """When the last request that is held back arrives, and the last client has noticed that nothing answers."""
        self._cursors: dict[int, None] = {}

    # -- the client's side --------------------------------------------------------------------------------

    def link(self, life: Life) -> Link:
        found = self.links.get(life)
        if found is None:
            found = self.links[life] = Link()
        return found

    async def ask(self, life: Life, command: dict[str, Any]) -> dict[str, Any]:
        """Sends a command, and waits for its answer.

        Raises:
            AutoReconnect: If the connection breaks, or nothing is answered in time.
            OperationFailure: If the server refuses.
        """
        if self.closed or life.dead:
            raise AutoReconnect("connection closed")
        link, loop = self.link(life), self._loop
        link.sent += 1
        request = Request(life, link.sent, command, loop.time(), len(self.mongod.history), loop.create_future())
        request.fault = fault = link.fault_for(request.target)
        timeout = loop.call_later(_SOCKET_TIMEOUT + self._await_time(request), self._time_out, request)
        link.flying.add(request)
        kind = fault.kind if fault is not None else ""
        if loop.time() < link.dead_until or kind == "lose request":
            if fault is not None:
                self._break_later(request, fault.delay)
            else:
                self._expect_until(request.sent + _SOCKET_TIMEOUT + self._await_time(request))
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
                copy = Request(life, link.sent, command, request.sent, request.sent_at, loop.create_future())
                self._hold(copy, fault.delay)
        try:
            return await request.answer
        except (AutoReconnect, OperationFailure):
            link.failed += 1
            raise
        finally:
            link.flying.discard(request)
            timeout.cancel()

    def _expect_until(self, at: float) -> None:
        self.busy_until = max(self.busy_until, at)

    def _hold(self, request: Request, delay: float) -> None:
        self._expect_until(self._loop.time() + delay)
        self._later(delay, self._arrive, request)

    def _await_time(self, request: Request) -> float:
        return float(request.command.get("maxTimeMS", 0)) / 1000

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

    # -- the server's side --------------------------------------------------------------------------------

    def now(self) -> dtm.datetime:
        return dtm.datetime.fromtimestamp(self._loop.time(), dtm.timezone.utc)

    def at_server(self, action: Callable[[], None]) -> None:
        """Does something at the server: now, or when it is no longer frozen or without a primary."""
        now = self._loop.time()
        if now < self.frozen_until:
            self._inbox.append(action)
        elif now < self.failing_until:
            self._expect_until(self.failing_until)
            self._later(self.failing_until - now, self.at_server, action)
        else:
            action()

    def _arrive(self, request: Request) -> None:
        if self._loop.time() < self.frozen_until:
            self._inbox.append(lambda: self._execute(request))
        else:
            self._execute(request)

    def _execute(self, request: Request) -> None:
        if self.closed or request.is_over:
            return
        if (refusal := self._refusal(request)) is not None:
            self._answer_later(request, refusal)
            return
        if request.started is None:
            request.started = self._loop.time()
        self.busy += request.target in {"read", "write"} and not _sweeps(request.command)
        self.log.append((self._loop.time() - self._began, f"{request.life.name}#{request.number} {request.name}"))
        before = len(self.mongod.history)
        kept = self._replication.keep() if self._replication is not None else None
        try:
            answer = self.mongod.execute(request.command, self.now())
        except OperationFailure as error:
            self._answer_later(request, error)
            return
        if not self._waits(request, answer):
            self._executed(request, answer, kept, self.mongod.history[before:])

    def _waits(self, request: Request, answer: Mapping[str, Any]) -> bool:
        """Whether a stream has no events yet, and time left to wait for them."""
        if request.name != "getMore" or answer["cursor"]["nextBatch"] or not answer["cursor"]["id"]:
            return False
        assert request.started is not None
        left = request.started + self._await_time(request) - self._loop.time()
        if left <= 1e-9:
            return False
        if request not in self._listening:
            self._listening[request] = None
            self._later(left, self._stop_listening, request)
        return True

    def _executed(self, request: Request, answer: dict[str, Any], kept: Any, changes: Sequence[Any]) -> None:
        self._listening.pop(request, None)
        request.executed_at = len(self.mongod.history)
        if number := answer.get("cursor", {}).get("id"):
            self._cursors[number] = None
        if changes:
            self._written(request, changes)
            if self._loses_answer(request):  # the connection breaks, whether or not a majority has it
                self._answer_later(request, answer)
            self._replicate(kept, lambda: request.is_over or self._answer_later(request, answer))
        elif request.command.get("readConcern", {}).get("level") == "linearizable":
            self._replicate(kept, lambda: self._answer_later(request, answer))  # the server writes a note, and waits
        else:
            self._answer_later(request, answer)

    def edit(self, action: Callable[[], bool]) -> None:
        """Lets somebody else do something at the server; whether that has changed something."""
        kept = self._replication.keep() if self._replication is not None else None
        if action():
            self._replicate(kept, lambda: None)

    def _replicate(self, kept: Any, then: Callable[[], None]) -> None:
        """Goes on when a majority has a change."""
        if self._replication is None:
            self.tell()
            then()
            return
        written = self._replication.written(kept, then)
        self._expect_until(self._loop.time() + self._replication.delay)
        self._later(self._replication.delay, self._commit, written)

    def _commit(self, written: Any) -> None:
        assert self._replication is not None
        if self._replication.commit(written):
            self.tell()

    def _refusal(self, request: Request) -> OperationFailure | NotPrimaryError | None:
        if self._loop.time() < self.failing_until:
            details = {"ok": 0.0, "errmsg": "not primary", "code": 10107, "codeName": "NotWritablePrimary"}
            return NotPrimaryError("not primary", details)
        if request.fault is not None and request.fault.kind == "refuse":
            code = request.fault.code
            return OperationFailure("refused", code, {"ok": 0.0, "errmsg": "refused", "code": code})
        return None

    def tell(self) -> None:
        """Lets those that listen to change streams know that something was written."""
        if self._stream_delay:
            self._expect_until(self._loop.time() + self._stream_delay)
        for request in self._listening:
            self._later(self._delay(request, "event") + self._stream_delay, self._listen_again, request)

    def _listen_again(self, request: Request) -> None:
        if request in self._listening:
            self._arrive(request)

    def _stop_listening(self, request: Request) -> None:
        if self._listening.pop(request, False) is None:
            self._arrive(request)

    def _loses_answer(self, request: Request) -> bool:
        return request.fault is not None and request.fault.kind == "lose answer" and not self._is_healed

    def _answer_later(self, request: Request, answer: dict[str, Any] | Exception) -> None:
        request.is_over = True
        if self._loses_answer(request):
            assert request.fault is not None
            self._break_later(request, request.fault.delay)
            return
        self._later(self._delay(request, "back"), self._answer, request, answer)

    def _answer(self, request: Request, answer: dict[str, Any] | Exception) -> None:
        if request.answer.done():
            return
        if self._loop.time() < self.link(request.life).dead_until:
            self._expect_until(request.sent + _SOCKET_TIMEOUT + self._await_time(request))
            return
        if isinstance(answer, Exception):
            self._fail(request, answer)
        else:
            self._answered(request, self.link(request.life).sent)
            request.answer.set_result(answer)

    # -- faults -------------------------------------------------------------------------------------------

    def reset(self, life: Life) -> None:
        """Breaks all connections of a process; what was sent and has not arrived yet is executed all the same."""
        for request in sorted(self.link(life).flying, key=lambda one: one.number):
            self._fail(request, AutoReconnect("connection reset"))
            self.link(life).failed += 1

    def freeze(self, seconds: float) -> None:
        """Lets the server do nothing for a while; then it does what has come meanwhile, in any order."""
        self.frozen_until = max(self.frozen_until, self._loop.time() + seconds)
        self._later(seconds, self._thaw)

    def _thaw(self) -> None:
        if self._loop.time() < self.frozen_until:
            return
        inbox, self._inbox = self._inbox, []
        order = sorted(range(len(inbox)), key=lambda index: zlib.crc32(f"{self._seed}/thaw/{index}".encode()))
        for index in order:
            inbox[index]()

    def fail_over(self, seconds: float) -> None:
        """Leaves the server without a primary for a while: streams end, connections break."""
        self.failing_until = max(self.failing_until, self._loop.time() + seconds)
        self.mongod.election += 1
        for life in self.links:
            self.reset(life)
        self._listening.clear()
        if self._cursors:
            self.mongod.execute({"killCursors": "$cmd.aggregate", "cursors": list(self._cursors)}, self.now())
            self._cursors.clear()

    def has_failed(self) -> bool:
        """Whether anybody has noticed that something goes wrong, and may pause until it tries again."""
        return any(link.failed for link in self.links.values()) or self.busy_until > self._loop.time()

    def delay_events(self, seconds: float) -> None:
        """Lets change streams tell later what has happened."""
        self._stream_delay = seconds

    def replicate_in(self, seconds: float) -> None:
        """Lets it take longer until a majority has a change."""
        if self._replication is not None:
            self._replication.delay = seconds

    def roll_back(self, seconds: float) -> None:
        """Lets another server become the primary, which does not have what a majority has not got."""
        if self._replication is not None:
            self._replication.roll_back()
        self.fail_over(seconds)

    def heal(self) -> None:
        """Ends all faults; what is held back is still to come."""
        now = self._loop.time()
        self._is_healed = True
        self.failing_until = min(self.failing_until, now)
        self._stream_delay = 0.0
        self.replicate_in(0.002)
        for link in self.links.values():
            link.faults.clear()
            link.dead_until = min(link.dead_until, now)
        if self.frozen_until > now:
            self.frozen_until = now
            self._thaw()


def _sweeps(command: Mapping[str, Any]) -> bool:
    """Whether a command removes the marks of deleted documents that an earlier process has left."""
    deletes = command.get("deletes", ())
    return any(one["limit"] == 0 and one["q"].get("buried") is True for one in deletes)
