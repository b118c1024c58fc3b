"""The core with one line for the worse: each of these the simulation must find.

`python tests/simulation/mutants.py` finds, for each, the first schedule that fails.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
from collections.abc import Iterator
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
    """

    what: str
    where: str
    line: str
    worse: str

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

    def first(self) -> int | None:
        """The first seed whose schedule fails with it."""
        with self.applied():
            return next((seed for seed in range(WITHIN) if play(make(seed, ALL)).violation is not None), None)


_REPLICA = "replica.document:Replica"
_LIVE = "replica.live:LiveReplica"

MUTANTS = (
    Mutant("a settled rev is kept by an answer", f"{_REPLICA}.acknowledged", "self.sent = Sent()  #", "pass  #"),
    Mutant(
        "a settled rev is kept by a read",
        f"{_REPLICA}._settle_by",
        "last, self.sent, lost_insertion = self.sent.settled_by(stored)",
        "last, _, lost_insertion = self.sent.settled_by(stored)",
    ),
    Mutant("an answer that got lost is never looked for", f"{_REPLICA}._settle_by", "if not self.sent:", "if True:"),
    Mutant(
        "a write that is settled by a read is not the base",
        f"{_REPLICA}._settle_by",
        "self.base = stored_by(last, self.id, self.base, form)",
        "pass",
    ),
    Mutant("a read counts that began before an answer", f"{_REPLICA}.acknowledged", "self._know()", "pass"),
    Mutant("any read counts, however old", f"{_REPLICA}.read", "if self._is_too_old(moment) or (", "if ("),
    Mutant(
        "stale is cleared by a read that began before",
        f"{_REPLICA}.read",
        "self._know(read_at=moment)",
        "self._know(read_at=self._now)",
    ),
    Mutant("nobody says that others have written", "replica.moments:Moments.told", "self._told_at = self._now", "pass"),
    Mutant(
        "what was read is not merged with what is pending",
        f"{_REPLICA}._rebase",
        "if pending is not None and remote != self.base:",
        "if False:",
    ),
    Mutant(
        "a merge with the wrong base",
        "replica.document:rebased",
        "form.canonical(base), pending.plain, theirs",
        "theirs, pending.plain, theirs",
    ),
    Mutant(
        "a merge without the canonical form",
        "replica.document:rebased",
        "else form.canonical(remote)",
        "else __import__('bson').decode(remote)",
    ),
    Mutant(
        "the base of an answer is what was sent, whatever was read meanwhile",
        "replica.document:stored_by",
        "if base is None or base == write.base:",
        "if True:",
    ),
    Mutant(
        "pending is given up though it is newer than what was acknowledged",
        f"{_REPLICA}._saved",
        "if pending is version or (",
        "if True or (",
    ),
    Mutant(
        "a change that was undone before it was sent stays pending no more",
        f"{_REPLICA}.staged",
        "if version.raw == self.base and not self.sent:",
        "if version.raw == self.base:",
    ),
    Mutant("an unknown outcome is not read again", f"{_REPLICA}.unknown", "self.told()", "pass"),
    Mutant(
        "a write that did not match is taken for done",
        "sync.writer:Writer._is_left",
        "replica.outdated(one.rev)",
        "replica.acknowledged(one.rev, run.collection)",
    ),
    Mutant(
        "no guard on an update",
        "sync.operations:_update",
        "return Update(replica.id, _has(replica.rev), changes",
        "return Update(replica.id, {}, changes",
    ),
    Mutant(
        "no guard on a deletion",
        "sync.operations:_deletion",
        "guard = {**_has(replica.rev), **collection.deletable(replica)}",
        "guard = {}",
    ),
    Mutant(
        "nothing follows a write whose outcome is unknown",
        f"{_REPLICA}.may_arrive",
        "return bool(self.sent) and self.sent.may_arrive",
        "return False",
    ),
    Mutant(
        "a document without a rev is not stamped",
        "sync.operations:OperationMaker.make",
        "not isinstance(replica.rev, str)",
        "False",
    ),
    Mutant(
        "a deletion leaves no mark",
        "sync.operations:OperationMaker.make",
        "(replica.is_insertion_in_doubt or self._buries())",
        "False",
    ),
    Mutant(
        "the writes of others are not remembered",
        "sync.operations:_revs",
        "revs = replica.revs_after(rev)",
        "revs = replica.revs",
    ),
    Mutant("the live object does not lag behind", f"{_LIVE}._retarget", "if self.view is None:", "if False:"),
    Mutant(
        "a copy is relative to what is stored now", f"{_LIVE}.staged_copy", "elif self.view is not None:", "elif False:"
    ),
    Mutant(
        "a lagging object is taken for up to date",
        f"{_LIVE}.brought",
        "return form.merged(self.id, base, before, remote)",
        "return remote",
    ),
    Mutant("what was spilled wins", "sync.spilled:_version", "yields=True", "yields=False"),
    Mutant(
        "how many were matched is not looked at",
        "driver.database:Driver._send",
        'if answer["n"] < len(rest):',
        "if False:",
    ),
    Mutant(
        "stale documents are written without being read",
        "sync.writer:Writer._write_collection",
        "if stale := [replica for replica in replicas if replica.is_stale]:",
        "if stale := []:",
    ),
    Mutant(
        "a lost stream is not noticed",
        "sync.change_stream:ChangeStream._mark_everything_stale",
        "scope.told_all()",
        "pass",
    ),
    Mutant(
        "sets are replaced without a guard",
        "replica.update:_Difference._value",
        "changes.conditions |= equal_to(path, before)",
        "pass",
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
