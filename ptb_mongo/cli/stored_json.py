"""A stored document as a line of JSON, in its stored form, with the reason why it cannot be read."""

from __future__ import annotations

import json

import bson
from bson import json_util

from ptb_mongo.cli.terminal import write_json
from ptb_mongo.driver.decoding import ANYTHING
from ptb_mongo.migration.database import Stored

__all__ = ["write_stored"]


def write_stored(stored: Stored) -> None:
    """Prints a document as MongoDB's relaxed extended JSON."""
    relaxed = json_util.dumps(bson.decode(stored.raw, ANYTHING), json_options=json_util.RELAXED_JSON_OPTIONS)
    write_json({**json.loads(relaxed), "error": stored.error and str(stored.error)})
