"""What MongoDB's error codes mean for a save: the one place that classifies them.

The codes and their names are those of MongoDB's `error_codes.yml`. A code that is not listed here means "refused for
now": the change is kept and retried, and no document is blamed.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "AWAY",
    "DUPLICATE_KEY",
    "EVERYBODYS",
    "LOGGED_OUT",
    "NO_INDEX",
    "OUTDATED",
    "OWN",
    "TOO_LARGE",
    "UNSATISFIABLE",
    "is_login_lost",
    "is_login_refused",
    "is_streamless",
]

AWAY: Final = frozenset(
    {6, 7, 50, 89, 91, 134, 189, 262, 317, 358, 9001, 10107, 11600, 11602, 13388, 13435, 13436},
)
"""The server fails over, shuts down or is cut off: it is unknown whether the command was done (see the retryable
writes specification; 50 is an exceeded time limit)."""

DUPLICATE_KEY: Final = 11000

OUTDATED: Final = frozenset({28})
"""`PathNotViable`: there is a scalar where the update expects a document. The change is merged and sent again."""

TOO_LARGE: Final = frozenset({10334, 17419, 17420})
"""The update, or the resulting document, is larger than MongoDB accepts."""

UNSATISFIABLE: Final = frozenset({79, 100})
"""`UnknownReplWriteConcern`, `UnsatisfiableWriteConcern`: the write concern can never be met by these servers."""

OWN: Final = frozenset(
    {
        2,  # BadValue: an operator that does not accept this value
        9,  # FailedToParse: likewise
        14,  # TypeMismatch: likewise
        15,  # Overflow: nested too deep, or a number too large
        16,  # InvalidLength
        22,  # InvalidBSON
        40,  # ConflictingUpdateOperators
        52,  # DollarPrefixedFieldName: a validator's or an older server's business
        53,  # InvalidIdField
        54,  # NotSingleValueField
        55,  # InvalidDBRef
        56,  # EmptyFieldName
        57,  # DottedFieldName
        66,  # ImmutableField: for example a shard key
        121,  # DocumentValidationFailure: a validator or a schema
        171,  # CannotIndexParallelArrays: an index over two lists
        11000,  # DuplicateKey: a unique index
        11001,  # the same, from old servers
        12582,  # the same, from routers
        510,  # GeoKeyExtractionFailed: a value that a geospatial index cannot take
        511,  # the same, in a time series
        13027,  # the same, from old servers
        16755,  # the same, from others
        17280,  # KeyTooLong: an index of an old server
    }
)
"""The server refuses what is in one document; every other document is saved."""

NO_INDEX: Final = frozenset({67, 85, 86})
"""`CannotCreateIndex`, `IndexOptionsConflict`, `IndexKeySpecsConflict`: others have created too many, or another one
with the same name or fields. Our indexes only make a start faster."""

_UNAUTHORIZED: Final = 13
_AUTHENTICATION_FAILED: Final = 18
_ATLAS: Final = 8000  # everything that Atlas itself refuses: a quota, a role, a password

EVERYBODYS: Final = frozenset({_UNAUTHORIZED, _AUTHENTICATION_FAILED, 371, _ATLAS, 16500})
"""A missing permission, blocked writes (371), quotas, throttling (16500): no document is ever blamed for these, even if
others were accepted just before or after, as these conditions may begin or end at any moment. For other codes that are
not in `OWN`, we find out whether they concern a single document."""

LOGGED_OUT: Final = "requires authentication"
"""In the text of an `Unauthorized` that is not about permissions: the connection is not logged in, or no longer."""

_STREAMLESS: Final = frozenset(
    {
        2,  # BadValue: another vendor's server does not know such a command
        9,  # FailedToParse: likewise
        _UNAUTHORIZED,  # the user may not open one
        14,  # TypeMismatch: see BadValue
        59,  # CommandNotFound
        72,  # InvalidOptions: a storage engine or a read concern that has no streams
        73,  # InvalidNamespace: streams of single collections only
        115,  # CommandNotSupported
        136,  # Amazon DocumentDB: streams are not enabled for this database
        148,  # ReadConcernMajorityNotEnabled
        166,  # CommandNotSupportedOnView
        168,  # InvalidPipelineOperator
        224,  # QueryFeatureNotAllowed
        238,  # NotImplemented
        303,  # Amazon DocumentDB: a feature that it does not have
        323,  # APIStrictError: not in the version of the API that the client asks for
        376,  # ChangeStreamNotEnabled
        40324,  # an aggregation stage that the server does not know
        40573,  # not a replica set
    }
)
"""There will never be a change stream. Any other refusal may be temporary, and says nothing about that."""


def is_streamless(code: int | None, text: str) -> bool:
    """Whether the server offers no change streams, or not to this user."""
    return code in _STREAMLESS and LOGGED_OUT not in text


def is_login_refused(code: int | None, text: str) -> bool:
    """Whether the server refuses the user name or the password."""
    return code == _AUTHENTICATION_FAILED or (code == _ATLAS and "auth" in text and "authorized" not in text)


def is_login_lost(code: int | None) -> bool:
    """Whether connections may no longer be logged in: for example, their user was dropped and created again."""
    return code in {_UNAUTHORIZED, _AUTHENTICATION_FAILED}
