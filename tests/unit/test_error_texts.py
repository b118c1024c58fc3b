"""What we say about a server's error contains no document's value, although servers put them into their texts.

The kind of fault: the text of another error is passed on, because nobody knew that it quotes values.
"""

from __future__ import annotations

import traceback
from typing import Any

import pytest
from error_codes import ALL
from pymongo.errors import DuplicateKeyError, ExecutionTimeout, OperationFailure, WriteError

from ptb_mongo.driver import codes
from ptb_mongo.driver.failures import check_writes, failures_in, is_resumable, translated
from ptb_mongo.errors import PersistenceError, RefusedError, UnavailableError

SECRET = "SECRET-555"
NUMBER = "5550123"

AS_SERVERS_WRITE_THEM = [
    (16755, f"Can't extract geo keys: {{ _id: 42, data: {{ phone: \"{SECRET}\" }} }}  can't project geometry"),
    (510, f'Can\'t extract geo keys: {{ _id: 42, data: {{ phone: "{SECRET}" }} }}'),
    (16755, f'unknown GeoJSON type: {{ type: "{SECRET}" }}'),
    (13027, f'point not in interval of [ -180, 180 ] :: caused by :: {{ data: {{ s: "{SECRET}" }} }}'),
    (11000, f'E11000 duplicate key error collection: x.u index: data.email_1 dup key: {{ data.email: "{SECRET}" }}'),
    (11001, f'E11000 duplicate key error index: x.u.$email_1  dup key: {{ : "{SECRET}" }}'),
    (12582, f'E11000 duplicate key error index: x.u.$email_1  dup key: {{ : "{SECRET}" }}'),
    (66, f"After applying the update, the (immutable) field 'k' was found to have been altered to k: \"{SECRET}\""),
    (17280, f'WiredTigerIndex::insert: key too large to index, failing  1030 {{ : "{SECRET}" }}'),
    (28, f"Cannot create field 'x' in element {{n: \"{SECRET}\"}}"),
    (14, f'Cannot increment with non-numeric argument: {{data.m: "{SECRET}"}}'),
    (14, f"Cannot apply $inc to a value of non-numeric type. {{_id: {NUMBER}}} has the field 'n'"),
    (2, f"The field 'data.n' must be an array but is of type string in document {{_id: \"{SECRET}\"}}"),
    (2, f"Longitude/latitude is out of bounds, lng: {NUMBER} lat: {NUMBER}"),
    (9, f'Bad digit "S" while parsing {SECRET}'),
    (52, f"The dollar ($) prefixed field '${SECRET}' is not allowed"),
    (53, f"The '_id' value cannot be of type array: {SECRET}"),
    (241, f"Failed to parse number '{SECRET}' in $convert with no onError value: Did not consume whole string."),
    (17262, f"language override unsupported: {SECRET}"),
    (10334, f'BSONObj size: 17000000 (0x1036640) is invalid. First element: _id: "{SECRET}"'),
    (22, f'invalid bson in element with field name "{SECRET}"'),
    (4711, f"a value is not allowed: {SECRET}"),
    (4711, f"the value {NUMBER} is not allowed"),
    (4711, f"the value `{SECRET}` is not allowed"),
    (4711, f"the value <{SECRET}> is not allowed"),
    (4711, f"the values [{SECRET}] are not allowed"),
    (4711, f"the value -{NUMBER} is not allowed"),
    (4711, f"caused by :: a value :: caused by :: {{ {SECRET}"),
    (13, f'not authorized on x to execute command {{ update: "u", updates: [ {{ q: {{ a: "{SECRET}" }} }} ] }}'),
    (112, f'Caused by :: Write conflict :: {{ a: "{SECRET}" }}'),
    (11602, f'operation was interrupted: {{ a: "{SECRET}" }}'),
    (16500, f'Error=16500, RetryAfterMs=20, Details=\'{{"a": "{SECRET}"}}\''),
    (8000, f'you are over your space quota: {{ a: "{SECRET}" }}'),
    (79, f"No write concern mode named '{SECRET}' found in replica set configuration"),
    (None, f"something about '{SECRET}'"),
]


def tells(text: str) -> bool:
    return SECRET in text or NUMBER in text


@pytest.mark.parametrize(("code", "text"), AS_SERVERS_WRITE_THEM)
def test_no_value_is_in_the_error_of_a_single_write(code: int | None, text: str) -> None:
    entry = {"index": 0, "code": code, "errmsg": text}
    try:
        failure = failures_in([entry], None)[0]
        assert failure.reason
        assert not tells(failure.reason)
        with pytest.raises(RefusedError) as refused:
            check_writes({"writeErrors": [entry]})
        assert not tells(str(refused.value))
    except UnavailableError as error:
        assert code in codes.AWAY
        assert not tells(str(error))  # noqa: PT017


@pytest.mark.parametrize("kind", [OperationFailure, WriteError, DuplicateKeyError, ExecutionTimeout])
@pytest.mark.parametrize(("code", "text"), AS_SERVERS_WRITE_THEM)
def test_no_value_is_in_the_error_of_a_command_nor_in_its_traceback(code: int | None, text: str, kind: Any) -> None:
    details = {"ok": 0.0, "code": code, "errmsg": text, "keyValue": {"a": SECRET}, "errInfo": {"value": SECRET}}
    error = kind(f"Plan executor error during findAndModify :: caused by :: {text}", code, details)

    with pytest.raises(PersistenceError) as caught, translated():
        raise error

    assert not tells(str(caught.value))
    assert not tells("".join(traceback.format_exception(caught.value)))


@pytest.mark.parametrize("code", sorted(codes.OWN | codes.OUTDATED | codes.TOO_LARGE))
def test_every_code_that_blames_a_document_tells_no_value_and_its_number_or_what_it_means(code: int) -> None:
    failure = failures_in([{"index": 0, "code": code, "errmsg": f'{ALL[code]}: {{ a: "{SECRET}" }}'}], None)[0]

    assert not tells(failure.reason)
    assert len(failure.reason) > len("(error 12345)")


def test_what_helps_is_kept() -> None:
    with pytest.raises(RefusedError, match=r"^MongoDB refuses: not authorized on shop \(error 13\)$"), translated():
        raise OperationFailure("not authorized on shop to execute command { update: 1 }", 13)
    with (
        pytest.raises(RefusedError, match=r"quota, using 513 MB of 512 MB \(error 8000\)"),
        translated(),
    ):
        raise OperationFailure("you are over your space quota, using 513 MB of 512 MB", 8000)
    with pytest.raises(RefusedError, match=r"the same data.email, .* unique index \(error 11000\)"), translated():
        raise DuplicateKeyError("E11000", 11000, {"errmsg": "E11000", "keyPattern": {"data.email": 1}})
    with pytest.raises(RefusedError, match=r"refuses: BrokenPromise \(error 245\)"), translated():
        raise OperationFailure("{ a: 1 }", 245, {"errmsg": "{ a: 1 }", "codeName": "BrokenPromise"})


def test_a_cause_without_values_still_says_whether_a_stream_may_be_resumed() -> None:
    details = {"errmsg": "no", "errorLabels": ["ResumableChangeStreamError"]}
    with pytest.raises(RefusedError) as caught, translated():
        raise OperationFailure("no", 280, details)

    assert is_resumable(caught.value.__cause__)


@pytest.mark.parametrize("others", [11000, 16755, 4711])
def test_of_several_errors_the_one_that_says_that_the_server_is_away_is_told(others: int) -> None:
    errors = [
        {"index": 0, "code": others, "errmsg": f'E11000 dup key: {{ data.email: "{SECRET}" }}'},
        {"index": 1, "code": 11602, "errmsg": "operation was interrupted"},
    ]

    with pytest.raises(UnavailableError, match=r"operation was interrupted \(error 11602\)") as caught:
        failures_in(errors, None)

    assert not tells(str(caught.value))
    assert "E11000" not in str(caught.value)


def test_of_writes_that_no_majority_has_acknowledged_no_value_is_told() -> None:
    with pytest.raises(UnavailableError, match="not acknowledged by a majority: waiting for replication") as caught:
        failures_in([], {"code": 64, "errmsg": f'waiting for replication timed out: {{ a: "{SECRET}" }}'})

    assert not tells(str(caught.value))
