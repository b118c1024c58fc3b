"""Temporary refusals of a server that answers: whole commands, or some statements of a batch."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pymongo.errors import OperationFailure
from traffic import STATEMENTS, Request

__all__ = ["Refusal", "Refusals", "with_errors", "without"]


@dataclass(frozen=True)
class Refusal:
    """What is refused for a while.

    Attributes:
        target: "write", "read", "stream" or "any".
        code: The error.
        until: When it ends.
        collection: The only one that it is about; all, if it is empty.
        share: Of the statements of a batch that are refused; with 1, the whole command is.
    """

    target: str
    code: int
    until: float
    collection: str = ""
    share: float = 1.0


class Refusals:
    """See the module.

    Args:
        seed: Decides which statements are refused.

    Attributes:
        have_begun: Whether anything was ever refused.
    """

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._refusals: list[Refusal] = []
        self.have_begun = False

    def begin(self, refusal: Refusal) -> None:
        """Something is refused from now on."""
        self.have_begun = True
        self._refusals.append(refusal)

    def end(self) -> None:
        """Nothing is refused any more."""
        self._refusals.clear()

    def of(self, request: Request, now: float) -> OperationFailure | None:
        """Why a whole command is refused; `None` if it is not."""
        if request.fault is not None and request.fault.kind == "refuse":
            return refused(request.fault.code)
        whole = [one for one in self._refusals if one.share >= 1 and _is_about(one, request, now)]
        return refused(whole[0].code) if whole else None

    def of_statements(self, request: Request, now: float) -> dict[int, int]:
        """The statements of a command that are refused, each with its error."""
        errors: dict[int, int] = {}
        for refusal in self._refusals:
            if refusal.share < 1 and request.name in STATEMENTS and _is_about(refusal, request, now):
                for index in range(len(request.command[STATEMENTS[request.name]])):
                    text = f"{self._seed}/{request.life.name}/{request.number}/{index}"
                    if zlib.crc32(text.encode()) / 2**32 < refusal.share:
                        errors[index] = refusal.code
        return errors


def _is_about(refusal: Refusal, request: Request, now: float) -> bool:
    target = request.target
    return (
        now < refusal.until
        and (refusal.target == target or (refusal.target == "any" and target != "other"))
        and refusal.collection in {"", request.command[request.name]}
    )


def refused(code: int) -> OperationFailure:
    """The error that a driver raises."""
    return OperationFailure("refused", code, {"ok": 0.0, "errmsg": "refused", "code": code})


def without(command: Mapping[str, Any], errors: Mapping[int, int]) -> tuple[dict[str, Any], list[int]]:
    """A command without the statements that are refused, and the positions of the others."""
    name = STATEMENTS[next(iter(command))]
    left = [index for index in range(len(command[name])) if index not in errors]
    if command.get("ordered", True) and errors:
        left = [index for index in left if index < min(errors)]
    return {**command, name: [command[name][index] for index in left]}, left


def with_errors(answer: Mapping[str, Any], left: list[int], errors: Mapping[int, int]) -> dict[str, Any]:
    """The answer to a whole command, some statements of which are refused.

    Args:
        answer: To what was left of it.
        left: The positions of that.
        errors: What is refused, and the errors.
    """
    made = dict(answer)
    if "upserted" in made:
        made["upserted"] = [{**one, "index": left[one["index"]]} for one in made["upserted"]]
    found = [{**one, "index": left[one["index"]]} for one in made.get("writeErrors", ())]
    found += [{"index": index, "code": code, "errmsg": "refused"} for index, code in errors.items()]
    return {**made, "writeErrors": sorted(found, key=lambda one: one["index"])}
