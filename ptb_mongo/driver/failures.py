"""The errors of drivers and servers, translated into ours; no text holds a password or users' data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from bson.errors import BSONError
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    ExecutionTimeout,
    OperationFailure,
    PyMongoError,
    WaitQueueTimeoutError,
)

from ptb_mongo.driver.operations import Failure
from ptb_mongo.errors import ConfigurationError, RefusedError, UnavailableError

__all__ = ["check_writes", "failures_in", "is_for_one", "is_resumable", "translated"]

_CURSOR_NOT_FOUND: Final = 43
_AUTHENTICATION_FAILED: Final = {18, 8000}
_DUPLICATE_KEY: Final = 11000
_PATH_NOT_VIABLE: Final = 28
_TOO_LARGE: Final = {10334, 17419, 17420}
# Failover and shutdown of a server: the operation may be tried again (MongoDB, retryable writes specification).
_TRANSIENT: Final = {6, 7, 89, 91, 134, 189, 262, 317, 358, 9001, 10107, 11600, 11602, 13388, 13435, 13436}


@contextmanager
def translated() -> Iterator[None]:
    """Translates a driver's errors into ours."""
    try:
        yield
    except (AutoReconnect, ConnectionFailure, ExecutionTimeout, WaitQueueTimeoutError) as error:
        text = str(error)
        for details in (", Topology Description", " (configured timeouts", ", full error"):
            text = text.partition(details)[0]
        raise UnavailableError(f"no MongoDB server answers: {text}") from error
    except BulkWriteError:
        raise
    except OperationFailure as error:
        if error.code in _TRANSIENT or error.has_error_label("RetryableWriteError"):
            raise UnavailableError(f"the MongoDB server is changing: {error.details}") from error
        text = (error.details or {}).get("errmsg", str(error).partition(", full error")[0])
        text = text.partition(" to execute command")[0]  # which holds users' data
        if error.code in _AUTHENTICATION_FAILED:
            raise ConfigurationError(
                f"MongoDB refuses the user name or the password ({text}); look at the user, at the password (escaped "
                "with urllib.parse.quote_plus) and at authSource in the connection string"
            ) from error
        raise RefusedError(f"MongoDB refuses: {text} (error {error.code})") from error
    except PyMongoError as error:
        raise RefusedError(f"the MongoDB driver refuses: {error}") from error


def is_for_one(error: Exception) -> bool:
    """Whether a whole command was refused because of a single write in it."""
    cause = error.__cause__
    return isinstance(error, BSONError) or (isinstance(cause, OperationFailure) and cause.code in _TOO_LARGE)


def is_resumable(error: BaseException | None) -> bool:
    """Whether a change stream that was refused may be resumed (MongoDB, change streams specification)."""
    if not isinstance(error, OperationFailure):
        return False
    return error.code == _CURSOR_NOT_FOUND or error.has_error_label("ResumableChangeStreamError")


def failures_in(errors: Sequence[Mapping[str, Any]], unacknowledged: Mapping[str, Any] | None) -> dict[int, Failure]:
    """The writes that a server has refused, by position.

    Raises:
        UnavailableError: If the server cannot do them now, or cannot guarantee that they last.
    """
    if unacknowledged is not None:
        text = unacknowledged.get("errmsg", "")
        raise UnavailableError(f"the writes are not acknowledged by a majority: {text}")
    if any(error.get("code") in _TRANSIENT for error in errors):
        raise UnavailableError(errors[0].get("errmsg"))
    return {error["index"]: _failure(error) for error in errors}


def check_writes(answer: Mapping[str, Any]) -> None:
    """Checks the answer to a command that writes.

    Raises:
        RefusedError: If the server has refused a part of it.
        UnavailableError: See `failures_in`.
    """
    for failure in failures_in(answer.get("writeErrors", ()), answer.get("writeConcernError")).values():
        raise RefusedError(f"MongoDB refuses: {failure.reason}")


def _failure(entry: Mapping[str, Any]) -> Failure:
    code = entry.get("code")
    if code == _DUPLICATE_KEY:  # its text holds the key's value
        fields = list(entry.get("keyPattern", ()))
        reason = f"another document has the same {' and '.join(fields)}, for which there is a unique index"
        return Failure(reason, outdated=fields == ["_id"], path=fields[0] if fields else "")
    if code in _TOO_LARGE:
        return Failure("with what others have stored in it, it would be larger than the 16 MB that MongoDB takes")
    return Failure(str(entry.get("errmsg", f"error {code}")), outdated=code == _PATH_NOT_VIABLE)
