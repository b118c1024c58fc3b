"""The network between bots and the server: each request takes time, and faults may happen to it."""

from __future__ import annotations

import datetime as dtm
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from loop import Life, Loop
from mongod import Mongod, Written
from pymongo.errors import AutoReconnect, NotPrimaryError, OperationFailure
from refusing import Refusals, with_errors, without
from replication import Replication
from traffic import Request
from validating import Rules
from wiring import Wiring, await_time, gives_up_in

__all__ = ["Network"]

_LIFETIME: Final = 3.0
"""Seconds after which the server ends a transaction: less than usual, as some schedules are short."""
_RETRY: Final = 0.005
"""Seconds between two looks whether a transaction has ended."""


class Network(Wiring):
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
        super().__init__(loop, mongod, seed)
        self._replication = replication
        self._written = written
        self._answered = answered
        self.refusals = Refusals(seed)
        self.rules = Rules()
        mongod.validate(lambda *versions: self.rules.refuse(*versions, loop.time()))
        self.frozen_until = 0.0
        self.failing_until = 0.0
        self._stream_delay = 0.0
        self._is_healed = False
        self.log: list[tuple[float, str]] = []
        """What was executed, and when."""
        self._began = loop.time()
        self._inbox: list[Callable[[], None]] = []
        self._listening: dict[Request, None] = {}
        self.busy = 0
        """How many requests have been executed, but for those of streams, and the removal of old marks, which comes a
        minute after a start, whatever happens."""
        self._cursors: dict[int, None] = {}

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
        if self.mongod.transactions.holds(request.command):
            self._later(_RETRY, self._arrive, request)
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
            answer = self._done(request)
        except OperationFailure as error:
            self._answer_later(request, error)
            return
        if not self._waits(request, answer):
            self._executed(request, answer, kept, self.mongod.history[before:])

    def _done(self, request: Request) -> dict[str, Any]:
        """What the server answers when it has done all that it does not refuse."""
        errors = self.refusals.of_statements(request, self._loop.time())
        transaction = self.mongod.transactions.name_of(request.command)
        if transaction is not None:
            self._later(_LIFETIME, self.mongod.transactions.abort, transaction)
        if not errors:
            return self.mongod.execute(request.command, self.now())
        if transaction is not None:
            self.mongod.transactions.abort(transaction)
            return with_errors({"n": 0, "nModified": 0}, [], errors)
        command, left = without(request.command, errors)
        return with_errors(self.mongod.execute(command, self.now()), left, errors)

    def _waits(self, request: Request, answer: Mapping[str, Any]) -> bool:
        """Whether a stream has no events yet, and time left to wait for them."""
        if request.name != "getMore" or answer["cursor"]["nextBatch"] or not answer["cursor"]["id"]:
            return False
        assert request.started is not None
        left = request.started + await_time(request) - self._loop.time()
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

    def edit(self, command: Mapping[str, Any], action: Callable[[], bool]) -> None:
        """Lets somebody else do something at the server; whether that has changed something.

        Args:
            command: A command that writes the same.
            action: Does it.
        """
        if self.mongod.transactions.holds(command):
            self._later(_RETRY, self.at_server, lambda: self.edit(command, action))
            return
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
        return self.refusals.of(request, self._loop.time())

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
        if self._loop.time() < self.link(request.life).dead_until or request.wire.is_mute:
            self._expect_until(request.sent + gives_up_in(request))
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
            self.link(life).has_failed(self._loop.time())

    def be_half_open(self, life: Life, *, every: bool) -> None:
        """Lets connections of a process swallow everything, until it closes them."""
        for pool in self.link(life).pools:
            pool.be_mute(every=every)

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
        self.mongod.elect()
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
        self.refusals.end()
        self.rules.end()
        self.replicate_in(0.002)
        for link in self.links.values():
            link.faults.clear()
            for pool in link.pools:
                pool.forget_mute()
            for request in sorted(link.flying, key=lambda one: one.number):
                if request.wire.is_mute:
                    self._fail(request, AutoReconnect("connection reset"))
            link.dead_until = min(link.dead_until, now)
        if self.frozen_until > now:
            self.frozen_until = now
            self._thaw()


def _sweeps(command: Mapping[str, Any]) -> bool:
    """Whether a command removes the marks of deleted documents that an earlier process has left."""
    deletes = command.get("deletes", ())
    return any(one["limit"] == 0 and one["q"].get("buried") is True for one in deletes)
