"""The core with one line for the worse: each of these the simulation finds.

`python tests/simulation/mutants.py` finds, for each, the first schedule that fails. Its seed stands here, so that the
test need play no other.
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
WITHIN = 2000
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
    Mutant("a settled rev is kept by an answer", f"{_REPLICA}.acknowledged", "self.sent = Sent()  #", "pass  #", 3),
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
        605,
    ),
    Mutant(
        "stale is cleared by a read that began before",
        f"{_REPLICA}.read",
        "self._know(read_at=moment)",
        "self._know(read_at=self._now)",
        1309,
    ),
    Mutant(
        "a write that did not match is taken for done",
        "sync.sender:Sender._is_left",
        "replica.outdated(one.rev)",
        "replica.acknowledged(one.rev, run.collection)",
        65,
    ),
    Mutant(
        "nobody says that others have written", "replica.moments:Moments.told", "self._told_at = self._now", "pass", 0
    ),
    Mutant(
        "what was read is not merged with what is pending",
        f"{_REPLICA}._rebase",
        "if pending is not None and remote != base:",
        "if False:",
        2,
    ),
    Mutant(
        "a merge with the wrong base",
        "replica.document:rebased",
        "form.canonical(base), pending.plain, theirs",
        "theirs, pending.plain, theirs",
        2,
    ),
    Mutant(
        "a merge without the canonical form",
        "replica.document:rebased",
        "else form.canonical(remote)",
        "else __import__('bson').decode(remote)",
        345,
    ),
    Mutant(
        "the base of an answer is what was sent, whatever was read meanwhile",
        "replica.document:stored_by",
        "if base is None or base == write.base:",
        "if True:",
        966,
    ),
    Mutant(
        "pending is given up though it is newer than what was acknowledged",
        f"{_REPLICA}._saved",
        "if pending is version or (",
        "if True or (",
        66,
    ),
    Mutant(
        "no guard on an update",
        "sync.operations:_update",
        "return Update(replica.id, _has(replica.rev), changes",
        "return Update(replica.id, {}, changes",
        1103,
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
        2,
    ),
    Mutant(
        "a lagging object is taken for up to date",
        f"{_LIVE}.brought",
        "return form.merged(self.id, base, before, remote)",
        "return remote",
        0,
    ),
    Mutant("what was spilled wins", "sync.spilled:_version", "yields=True", "yields=False", 425),
    Mutant(
        "how many were matched is not looked at",
        "driver.database:Driver._send",
        'if answer["n"] < len(rest):',
        "if False:",
        65,
    ),
    Mutant(
        "stale documents are written without being read",
        "sync.sender:Sender._read_stale",
        "if stale := [replica for replica in replicas if replica.is_stale]:",
        "if stale := []:",
        3,
    ),
    Mutant(
        "a write without an answer is taken for refused",
        "sync.sender:Sender._send_chunk",
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
        886,
    ),
    Mutant(
        "what others make is not noticed",
        "replica.collection:Collection.told",
        "elif self._loads or (self.complete and not deleted):",
        "elif False:",
        12,
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
        "changes.conditions |= equal_to(path, before)",
        "pass",
        158,
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
