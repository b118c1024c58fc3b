"""What the server refuses: a statement of a command, or all of it."""

from __future__ import annotations

from typing import Any, Final

from mongod.values import type_name

__all__ = ["StatementError", "mismatch"]

BAD_VALUE: Final = 2
FAILED_TO_PARSE: Final = 9
TYPE_MISMATCH: Final = 14
PATH_NOT_VIABLE: Final = 28
CONFLICT: Final = 40
DOLLAR_PREFIXED: Final = 52
INVALID_ID: Final = 53
NOT_SINGLE_VALUE: Final = 54
EMPTY_FIELD_NAME: Final = 56
IMMUTABLE_FIELD: Final = 66
VALIDATION: Final = 121
DUPLICATE_KEY: Final = 11000

NAMES: Final = {
    BAD_VALUE: "BadValue",
    FAILED_TO_PARSE: "FailedToParse",
    TYPE_MISMATCH: "TypeMismatch",
    PATH_NOT_VIABLE: "PathNotViable",
    CONFLICT: "ConflictingUpdateOperators",
    DUPLICATE_KEY: "DuplicateKey",
    26: "NamespaceNotFound",
    43: "CursorNotFound",
    59: "CommandNotFound",
    260: "InvalidResumeToken",
    280: "ChangeStreamFatalError",
    286: "ChangeStreamHistoryLost",
}


class StatementError(Exception):
    """One statement of a command is refused.

    Args:
        code: The server's number for it.
        text: What it says.
        details: Further fields of the entry in `writeErrors`.
    """

    def __init__(self, code: int, text: str, **details: Any) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.details = details


def mismatch(code: int, name: str, value: Any) -> StatementError:
    """An operator is given a value of a type that it does not take."""
    return StatementError(code, f"{name} does not take {type_name(value)}")
