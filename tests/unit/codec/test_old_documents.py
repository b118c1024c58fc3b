"""Documents of earlier versions are loaded by this one, with the same values.

The kind of fault: a form changes, and data that has been in the database for years is quarantined, or comes back as
another type. `old_documents.json` is what was written then, in MongoDB's own JSON.
"""

from __future__ import annotations

import datetime as dtm
import json
from pathlib import Path
from typing import Any

import pytest
from bson import json_util
from bson.binary import UuidRepresentation
from old_values import OLD_VALUES
from roundtrip import portrait, restored, stored

from ptb_mongo.codec import dump

OLD: dict[str, Any] = json.loads(Path(__file__).with_name("old_documents.json").read_text(encoding="utf-8"))
WRITTEN_BESIDE_PYTZ = {"a date of pytz", "a zone of pytz", "a message of pytz"}
_JSON = json_util.CANONICAL_JSON_OPTIONS.with_options(
    tz_aware=True, uuid_representation=UuidRepresentation.STANDARD, document_class=dict
)


def old_bytes(name: str) -> bytes:
    return dump({"data": json_util.loads(json.dumps(OLD[name]), json_options=_JSON)})


def test_each_value_has_its_document() -> None:
    assert list(OLD) == list(OLD_VALUES)
    assert len(OLD) > 60


@pytest.mark.parametrize("name", sorted(set(OLD_VALUES) - {"a message of pytz"}))
def test_what_an_earlier_version_stored_is_loaded(name: str) -> None:
    if name in WRITTEN_BESIDE_PYTZ:
        pytest.importorskip("pytz")
    assert portrait(restored(old_bytes(name))) == portrait(OLD_VALUES[name]())


def test_a_message_that_was_made_beside_pytz_has_utc_as_ptb_has_it_now() -> None:
    pytest.importorskip("pytz")
    message = restored(old_bytes("a message of pytz"))

    assert message.to_dict() == OLD_VALUES["a message of pytz"]().to_dict()
    assert message.date.tzinfo is dtm.timezone.utc


@pytest.mark.parametrize("name", OLD_VALUES)
def test_what_an_earlier_version_stored_can_be_stored_again(name: str) -> None:
    value = restored(old_bytes(name))

    assert portrait(restored(stored(value))) == portrait(value)
