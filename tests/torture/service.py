"""A service that edits the bots' data: plain PyMongo, acknowledged by a majority. Runs until it is to be quiet."""

from __future__ import annotations

import pathlib
import random
import sys
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from edits import Edits
from history import Recorder
from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError


def main(name: str, seed: str, folder: str, uri: str, database: str) -> None:
    """Edits until the file `quiet` is there.

    Args:
        name: Whose paths are edited.
        seed: Decides on the edits.
        folder: Of the histories.
        uri: Of the servers.
        database: Its name.
    """
    recorder = Recorder(pathlib.Path(folder), f"{name}.0")
    chance = random.Random(f"{seed} {name}")
    edits = Edits(name, recorder, chance)
    quiet = pathlib.Path(folder, "quiet")
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    with client:
        target = client.get_database(database, write_concern=WriteConcern("majority"))
        while not quiet.exists():
            document = edits.document()
            edit = edits.edit(document)
            number = recorder.write(document, edit.path, edit.value)
            field = ".".join(("data", *edit.path))
            change = {"$unset": {field: ""}} if edit.value is None else {"$set": {field: edit.value}}
            try:
                target[document[0]].update_one({"_id": document[1]}, change, upsert=edit.value is not None)
            except PyMongoError as error:
                recorder.note("failed", number=number, error=type(error).__name__)
            else:
                recorder.acknowledged([number])
            time.sleep(chance.uniform(0, 0.06))
    recorder.close()


main(*sys.argv[1:])
