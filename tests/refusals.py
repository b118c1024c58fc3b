"""Refusals on behalf of a server, which never learns of what was refused: how a `proxy` makes them.

The server gets the rest of the request, or a `ping` if nothing is left of it, and its answer gets the refusals.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from bson import encode
from bson.raw_bson import RawBSONDocument
from wire import Message, packed, unpacked

__all__ = ["Refusal", "refused", "refused_statements"]

Refusal = tuple[Message, Callable[[Message], Message]]
"""What is forwarded in place of a request, and what its answer becomes."""

_STATEMENTS: Final = {"update": "updates", "delete": "deletes", "insert": "documents"}
_OF_EACH_COMMAND: Final = {"lsid", "$db", "$clusterTime", "$readPreference"}
_OF_EACH_ANSWER: Final = {"ok", "$clusterTime", "operationTime"}


def refused(request: Message, error: dict[str, Any]) -> Refusal:
    """A whole command is refused.

    Args:
        request: The command.
        error: `code`, `errmsg` and what else the server would say.
    """

    def refuse(answer: Message) -> Message:
        body, _ = unpacked(answer)
        return packed(answer, {**_kept(body), "ok": 0.0, **error})

    return _nothing(request), refuse


def refused_statements(request: Message, errors: Sequence[tuple[Any, dict[str, Any]]]) -> Refusal | None:
    """Some statements of a command that writes are refused; `None` if it has none of those.

    Args:
        request: The command.
        errors: The `_id`s of documents, and what the server would say of the statements for them; see `refused`.
    """
    name = _STATEMENTS.get(request.command)
    if name is None:
        return None
    body, sequences = unpacked(request)
    statements = sequences.get(name) or [*map(_raw, body[name])]
    ids = [*map(_id, statements)]
    refusing = {ids.index(key): error for key, error in errors if key in ids}
    if not refusing:
        return None
    positions = [index for index in range(len(statements)) if index not in refusing]
    refusals = [{"index": index, **error} for index, error in refusing.items()]

    def add(answer: Message) -> Message:
        answered, _ = unpacked(answer)
        if not positions:
            answered = {"n": 0, **({"nModified": 0} if request.command == "update" else {}), **_kept(answered)}
        for part in ("writeErrors", "upserted"):
            for entry in answered.get(part, ()):
                entry["index"] = positions[entry["index"]]
        more = sorted([*answered.get("writeErrors", ()), *refusals], key=lambda entry: entry["index"])
        return packed(answer, {**answered, "writeErrors": more})

    if not positions:
        return _nothing(request), add
    rest = {**sequences, name: [statements[index] for index in positions]}
    return packed(request, {key: value for key, value in body.items() if key != name}, rest), add


def _nothing(request: Message) -> Message:
    body, _ = unpacked(request)
    return packed(request, {"ping": 1, **{key: body[key] for key in body if key in _OF_EACH_COMMAND}})


def _kept(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: answer[key] for key in answer if key in _OF_EACH_ANSWER}


def _id(statement: RawBSONDocument) -> Any:
    return statement["q"].get("_id") if "q" in statement else statement.get("_id")


def _raw(document: dict[str, Any]) -> RawBSONDocument:
    return RawBSONDocument(encode(document))
