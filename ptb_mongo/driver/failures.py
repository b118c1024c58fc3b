"""The errors of drivers and servers, translated into ours; no text holds a password or users' data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    ConnectionFailure,
    ExecutionTimeout,
    InvalidOperation,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

from ptb_mongo.driver import codes, texts
from ptb_mongo.driver.operations import Failure
from ptb_mongo.errors import AuthenticationError, RefusedError, UnavailableError

__all__ = [
    "alone",
    "check_writes",
    "failures_in",
    "is_for_one",
    "is_for_one_read",
    "is_resumable",
    "reason_of",
    "refused_in",
    "translated",
]

_OF_VALUES: Final = (BSONError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""Exceptions that a value raises if it cannot be written as BSON."""
_CURSOR_NOT_FOUND: Final = 43
_RESUMABLE: Final = "ResumableChangeStreamError"
_RETRYABLE: Final = "RetryableWriteError"


@contextmanager
def translated() -> Iterator[None]:
    """Translates a driver's errors into ours."""
    try:
        yield
    except (AutoReconnect, ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError) as error:
        text = reason_of(error) if isinstance(error, OperationFailure) else str(error)
        for details in (", Topology Description", " (configured timeouts", ", full error"):
            text = text.partition(details)[0]
        raise UnavailableError(f"no MongoDB server answers: {text}") from _without_values(error)
    except OperationFailure as error:
        text = reason_of(error)
        if error.code in codes.AWAY or error.has_error_label(_RETRYABLE):
            away = f"the MongoDB server is changing: {text} (error {error.code})"
            raise UnavailableError(away) from _without_values(error)
        if codes.is_login_refused(error.code, text):
            raise AuthenticationError(
                f"MongoDB refuses the user name or the password ({text}); look at the user, at the password (escaped "
                "with urllib.parse.quote_plus) and at authSource in the connection string",
                error.code,
            ) from _without_values(error)
        raise RefusedError(f"MongoDB refuses: {text} (error {error.code})", error.code) from _without_values(error)
    except InvalidOperation as error:  # the client was closed, or replaced, meanwhile
        raise UnavailableError(f"the connection was closed: {error}") from error
    except PyMongoError as error:
        raise RefusedError(f"the MongoDB driver refuses: {error}") from error


def is_for_one(error: Exception) -> bool:
    """Whether a whole command was refused, or could not be built, because of a single write in it."""
    if isinstance(error, RefusedError):
        return error.code in codes.TOO_LARGE | codes.OWN
    return isinstance(error, _OF_VALUES)


def is_for_one_read(error: Exception) -> bool:
    """Whether documents could not be read because of a single one that is too large to be read with others."""
    if isinstance(error, RefusedError):
        return error.code in codes.TOO_LARGE
    return isinstance(error, (BSONError, OverflowError))


def alone(error: Exception) -> Failure:
    """The failure of a write that was sent alone, in a command that was refused."""
    if isinstance(error, RefusedError) and error.code not in codes.TOO_LARGE:
        return Failure(str(error))
    if not isinstance(error, (RefusedError, BSONError)):  # its text may hold users' data
        return Failure(f"it cannot be written as BSON ({type(error).__name__})")
    return Failure("too much of it has changed at once: the update is larger than MongoDB takes", oversized=True)


def reason_of(error: OperationFailure) -> str:
    """What the server says, without users' data."""
    text = str(error).partition(", full error")[0]
    return texts.said({"errmsg": text, **(error.details or {}), "code": error.code})


_Error = TypeVar("_Error", bound=PyMongoError)


def _without_values(error: _Error) -> _Error | OperationFailure:
    """The same error without users' data: it becomes the cause of ours, which a traceback in a log shows."""
    if not isinstance(error, OperationFailure):
        return error
    text = reason_of(error)
    kept = {"errmsg": text, "code": error.code, "codeName": (error.details or {}).get("codeName")}
    labels = [label for label in (_RESUMABLE, _RETRYABLE) if error.has_error_label(label)]
    return OperationFailure(text, error.code, {**kept, "errorLabels": labels})


def is_resumable(error: BaseException | None) -> bool:
    """Whether a change stream that was refused may be resumed (MongoDB, change streams specification)."""
    if not isinstance(error, OperationFailure):
        return False
    return error.code == _CURSOR_NOT_FOUND or error.has_error_label(_RESUMABLE)


def failures_in(errors: Sequence[Mapping[str, Any]], unacknowledged: Mapping[str, Any] | None) -> dict[int, Failure]:
    """The failures of the writes that a server has refused, by position.

    Raises:
        UnavailableError: If the server cannot do them now, or cannot guarantee that they are permanent.
    """
    if unacknowledged is not None:
        raise UnavailableError(f"the writes are not acknowledged by a majority: {texts.said(unacknowledged)}")
    if (away := next((error for error in errors if error.get("code") in codes.AWAY), None)) is not None:
        raise UnavailableError(f"the MongoDB server is changing: {texts.said(away)} (error {away['code']})")
    return {error["index"]: _failure(error) for error in errors}


def refused_in(answer: Mapping[str, Any]) -> dict[int, RefusedError]:
    """Why a server refuses some writes of a command because of their documents, by position.

    Raises:
        RefusedError: If it refuses for any other reason.
        UnavailableError: See `failures_in`.
    """
    errors = answer.get("writeErrors", ())
    refused = {}
    for index, failure in failures_in(errors, answer.get("writeConcernError")).items():
        code = next((error.get("code") for error in errors if error["index"] == index), None)
        refused[index] = RefusedError(f"MongoDB refuses: {failure.reason}", code)
        if code in codes.EVERYBODYS:
            raise refused[index]
    return refused


def check_writes(answer: Mapping[str, Any]) -> None:
    """Checks the answer to a command that writes.

    Raises:
        RefusedError: If the server has refused a part of it.
        UnavailableError: See `failures_in`.
    """
    for error in refused_in(answer).values():
        raise error


def _failure(entry: Mapping[str, Any]) -> Failure:
    code = entry.get("code")
    if code == codes.DUPLICATE_KEY:
        fields = list(entry.get("keyPattern", ()))
        return Failure(texts.said(entry), outdated=fields == ["_id"], path=fields[0] if fields else "")
    is_own = code in codes.OWN | codes.TOO_LARGE | codes.OUTDATED
    reason = f"{texts.said(entry)} (error {code})"
    return Failure(reason, outdated=code in codes.OUTDATED, for_now=not is_own, code=code)
