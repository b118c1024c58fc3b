"""Mutants of the core, each with one line made worse: the simulation must find all of them.

`python tests/simulation/mutants.py` finds the first failing schedule for each. Its seed is noted here, so that the test
need not play any other.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2])]

from making import Features, make  # noqa: E402  (it lies beside this file)
from world import play  # noqa: E402

ALL = Features()
WITHIN = 5000
"""Schedules within which each is found."""


class Mutant(NamedTuple):
    """One line for the worse.

    Attributes:
        what: What is wrong then.
        where: The function: its module, and its name inside.
        line: A part of it that stands there once.
        worse: What stands there instead.
        seed: The first schedule that fails with it, as long as neither core nor simulation change.
    """

    what: str
    where: str
    line: str
    worse: str
    seed: int

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The core with it."""
        module_name, _, qualified = self.where.partition(":")
        module = importlib.import_module(f"ptb_mongo.{module_name}")
        *path, name = qualified.split(".")
        owner: Any = module
        for part in path:
            owner = getattr(owner, part)
        wrapped = vars(owner)[name]
        function = getattr(wrapped, "fget", None) or getattr(wrapped, "__func__", wrapped)
        source = textwrap.dedent(inspect.getsource(function))
        assert source.count(self.line) == 1, (
            f"{self.what}: {self.where} has {source.count(self.line)} times {self.line!r}"
        )
        made: dict[str, Any] = {}
        code = compile(
            "from __future__ import annotations\n" + source.replace(self.line, self.worse), self.where, "exec"
        )
        exec(code, function.__globals__, made)
        with mock.patch.object(owner, name, made[name]):
            yield

    def first(self, seeds: Iterable[int] = range(WITHIN)) -> int | None:
        """The first seed whose schedule fails with it."""
        with self.applied():
            return next((seed for seed in seeds if play(make(seed, ALL)).violation is not None), None)


_REPLICA = "replica.document:Replica"
_LIVE = "replica.live:LiveReplica"

MUTANTS = (
    Mutant("a settled rev is kept by an answer", f"{_REPLICA}.acknowledged", "self.sent = Sent()  #", "pass  #", 1),
    Mutant(
        "a settled rev is kept by a read",
        f"{_REPLICA}._settle_by",
        "last, self.sent, lost_insertion = self.sent.settled_by(stored)",
        "last, _, lost_insertion = self.sent.settled_by(stored)",
        324,
    ),
    Mutant(
        "an answer that got lost is never looked for", f"{_REPLICA}._settle_by", "if not self.sent:", "if True:", 21
    ),
    Mutant(
        "a write that is settled by a read is not the base",
        f"{_REPLICA}._settle_by",
        "self.base = stored_by(last, self.id, self.base, form)",
        "pass",
        35,
    ),
    Mutant(
        "stale is cleared by a read that began before",
        f"{_REPLICA}.read",
        "self._know(read_at=moment)",
        "self._know(read_at=self._now)",
        729,
    ),
    Mutant(
        "a write that did not match is taken for done",
        "sync.sender:Sender._is_left_by",
        "replica.outdated(one.rev)",
        "run.collection.acknowledged(replica, one.rev)",
        11,
    ),
    Mutant(
        "nobody says that others have written", "replica.moments:Moments.told", "self._told_at = self._now", "pass", 0
    ),
    Mutant(
        "what was read is not merged with what is pending",
        f"{_REPLICA}._rebase",
        "if pending is not None and remote != base:",
        "if False:",
        4,
    ),
    Mutant(
        "a merge with the wrong base",
        "replica.document:rebased",
        "form.canonical(base), pending.plain, theirs",
        "theirs, pending.plain, theirs",
        4,
    ),
    Mutant(
        "a merge without the canonical form",
        "replica.document:rebased",
        "else form.canonical(remote)",
        "else __import__('bson').decode(remote)",
        486,
    ),
    Mutant(
        "the base of an answer is what was sent, whatever was read meanwhile",
        "replica.document:stored_by",
        "if base is None or base == write.base:",
        "if True:",
        1805,
    ),
    Mutant(
        "pending is given up though it is newer than what was acknowledged",
        f"{_REPLICA}._saved",
        "if pending is version or (",
        "if True or (",
        3,
    ),
    Mutant(
        "no guard on an update",
        "sync.operations:_update",
        "return Update(replica.id, _has(replica.rev), changes",
        "return Update(replica.id, {}, changes",
        627,
    ),
    Mutant(
        "the writes of others are not remembered",
        "sync.operations:_revs",
        "revs = replica.revs_after(rev)",
        "revs = replica.revs",
        1448,
    ),
    Mutant("the live object does not lag behind", f"{_LIVE}._retarget", "if self.view is None:", "if False:", 0),
    Mutant(
        "a copy is relative to what is stored now",
        f"{_LIVE}.staged_copy",
        "elif self.view is not None:",
        "elif False:",
        45,
    ),
    Mutant(
        "a lagging object is taken for up to date",
        f"{_LIVE}.brought",
        "return form.merged(self.id, base, before, remote)",
        "return remote",
        0,
    ),
    Mutant("what was spilled wins", "sync.spilled:_version", "yields=True", "yields=False", 1405),
    Mutant(
        "how many were matched is not looked at",
        "driver.database:Driver._send",
        'if answer["n"] < len(rest):',
        "if False:",
        40,
    ),
    Mutant(
        "stale documents are written without being read",
        "sync.sender:Sender._read_stale",
        "if stale := [replica for replica in replicas if replica.is_stale]:",
        "if stale := []:",
        9,
    ),
    Mutant(
        "a write without an answer is taken for refused",
        "sync.sender:Sender._send_claimed",
        "replica.unknown(one.rev)",
        "replica.refused(one.rev)",
        21,
    ),
    Mutant(
        "every write gives a document the same rev",
        "sync.operations:OperationMaker.make",
        'rev = f"{self._name}:{self._count + 1}"',
        'rev = f"{self._name}:1"',
        3,
    ),
    Mutant(
        "a write in doubt is looked for in what a majority need not have",
        "driver.database:Driver.raw_documents",
        "if lasting and self.may_roll_back:",
        "if False:",
        398,
    ),
    Mutant(
        "what others make is not noticed",
        "replica.known:KnownDocuments.told",
        "elif self._loads or ((self.complete or self._was_complete) and not deleted):",
        "elif False:",
        65,
    ),
    Mutant(
        "what was read does not get into the live object",
        "scopes.data:DataScope._fill",
        "bring_into(replica.live, before",
        "_ = (replica.live, before",
        0,
    ),
    Mutant(
        "sets are replaced without a guard",
        "replica.update:_Difference._value",
        "changes.conditions |= equal_to(path, value_at(self.stored, path))",
        "pass",
        172,
    ),
    Mutant(
        "deliver does not wait for what an update has changed",
        "workers.saving:_unsaved",
        "return [(replica, submit(scope, replica))]",
        "return [one for one in [submit(scope, replica)] if not one]",
        2,
    ),
    Mutant(
        "deliver does not wait for what an update has dropped",
        "workers.saving:_drop",
        "kept.drop(scope, name, key)",
        "pass",
        290,
    ),
    Mutant(
        "deliver does not wait for the states of conversations",
        "workers.worker:offer",
        "*_offer_states(turn, session, kept, submit)]",
        "]",
        78,
    ),
    Mutant(
        "strict consistency does not read",
        "workers.refresh:Refresh.reads",
        "return self._strict or session.must_read",
        "return session.must_read",
        433,
    ),
    Mutant(
        "handlers run without a lease",
        "workers.worker:Worker._lease",
        "wanted = turn.lease_keys(self._exclusive) - held",
        "wanted = frozenset()",
        17,
    ),
    Mutant(
        "a lease is taken from its holder",
        "sync.leases:acquiring",  # where it is called
        'held = _lasts("$until", timeout)',
        "held = False",
        17,
    ),
    Mutant(
        "a state that is acknowledged although it was taken back is not told to the handlers",
        "replica.known:KnownDocuments.acknowledged",
        "self.came_true(replica, before)",
        "pass",
        2240,
    ),
    Mutant(
        "the empty objects of a second application count as what is left of the data",
        "ptb_interface:PTBInterface._load",
        "scope.all_left(earlier - loaded.keys())",
        "pass",
        169,
    ),
    Mutant(
        "what is refused for now is forgotten",
        "sync.writer:Writer._put_away",
        "if not replica.is_unsaved:",
        "if not replica.is_unsaved or self._availability.refusals:",
        145,
    ),
    Mutant(
        "what is refused for a document's own sake is not tried again",
        "sync.writer:Writer._put_away",
        "self._retries.documents.begin(replica, now)",
        "self.waiting.pop(replica, None)",
        3,
    ),
    Mutant(
        "all changes of a document are refused together",
        "sync.passes:Pass.divides",
        "elif division is None and pending is not None",
        "elif False and pending is not None",
        3,
    ),
    Mutant(
        "a half-open connection is waited for",
        "driver.connection:Connection.run",
        "await wait_at_most(DEADLINE, self._limited(attempt, awaits=awaits))",
        "await self._limited(attempt, awaits=awaits)",
        1082,
    ),
    Mutant(
        "a stop tries again without a pause what the server refuses",
        "sync.writer:Writer.drain",
        "self._run_in_background()",
        "self._start()",
        199,
    ),
    Mutant(
        "an update counts as done before it is",
        "workers.worker:Worker._ends",
        "await self._check(turn, session)  # a process",
        "self._mark(turn, session)  # a process",
        239,
    ),
    Mutant(
        "what an update has changed stays when it fails",
        "workers.worker:Worker._ends",
        "self._withdraw(turn, session)",
        "pass",
        398,
    ),
    Mutant(
        "what a turn has changed stays when it fails",
        "workers.worker:Worker._fails",
        "self._withdraw(turn, session)",
        "pass",
        701,
    ),
    Mutant(
        "the mark that an update is done is not part of its transaction",
        "workers.worker:Worker._save_whole",
        "marks = {session.marks.collection: turn.number} if",
        "marks = {} if",
        243,
    ),
    Mutant(
        "an update is known to be done, and handled once more",
        "workers.worker:Worker.handle",
        "if not turn.is_done:",
        "if True:",
        24,
    ),
    Mutant(
        "an update saves what another one has changed here whose lease was lost",
        "workers.worker:Worker._lease",
        "await self._holders.follow(turn, wanted)",
        "pass",
        1219,
    ),
    Mutant(
        "a strict worker reads no more than others",
        "workers.worker:Worker.__init__",
        'consistency == "strict" or exclusive is not None',
        "False",
        149,
    ),
)


def main() -> None:
    """Prints each mutant, and the first seed whose schedule fails."""
    for mutant in MUTANTS:
        seed = mutant.first()
        sys.stdout.write(f"{'not found' if seed is None else seed:>9}  {mutant.what}  ({mutant.where})\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
