"""A service that edits the bots' data as docs/storage-format.md advises: plain PyMongo, acknowledged by a majority.

Runs until it is to be quiet.
"""

from __future__ import annotations

import pathlib
import random
import sys
import time
from typing import Any

sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))

from edits import RICH, Edit, Edits
from history import Document, Recorder
from pymongo import MongoClient, WriteConcern
from pymongo.errors import PyMongoError
from values import CUT_ABOVE, CUT_TO, FORMS, Container, Keys, Value, field_of

MongoUpdate = dict[str, dict[str, Any]]


class Service:
    """The service.

    Args:
        name: Whose paths are edited.
        recorder: Notes the edits.
        chance: Decides on them.
        database: The bots'.
    """

    def __init__(self, name: str, recorder: Recorder, chance: random.Random, database: Any) -> None:
        self._name = name
        self._recorder = recorder
        self._chance = chance
        self._database = database
        self._edits = Edits(name, recorder, chance)

    def edit(self) -> None:
        """Makes one edit."""
        document = self._edits.document()
        if document[1] in RICH and self._chance.random() < 0.08:
            self._write_form(document)
            return
        edit = self._edits.edit(document)
        if edit.container is None:
            field = field_of(edit.path)
            in_object = edit.path[0] == "o" and len(edit.path) == 2  # attributes are there, if only with None
            unset = edit.value is None and not in_object
            update = {"$unset": {field: ""}} if unset else {"$set": {field: edit.value}}
            self._write(document, edit.path, edit.value, update, upsert=edit.value is not None)
        elif edit.is_cut:
            self._cut(document, edit.container)
        else:
            self._edit_container(document, edit, edit.container)

    def _edit_container(self, document: Document, edit: Edit, container: Container) -> None:
        add = "$push" if container.kind == "list" else "$addToSet"
        update = {add if edit.value else "$pull": {container.field: edit.path[-1]}}
        self._write(document, edit.path, edit.value, update)

    def _cut(self, document: Document, container: Container) -> None:
        """Takes the oldest elements of a list, one by one, and none that it has not seen."""
        try:
            found = self._database[document[0]].find_one({"_id": document[1]})
        except PyMongoError:
            return
        items: Any = found
        for key in container.field.split("."):
            items = (items or {}).get(key)  # if it is not there, somebody has lost it, which will be found out
        if items and len(items) > CUT_ABOVE:
            for element in items[:-CUT_TO]:
                guard = {f"{container.field}.0": element}
                self._write(document, (*container.path, element), None, {"$pop": {container.field: -1}}, guard)

    def _write_form(self, document: Document) -> None:
        """Stores a value in a form that the bot never writes, and takes for the same."""
        stored, value = self._chance.choice(FORMS)(self._recorder.value())
        path = (f"{self._name}f{self._chance.randrange(2)}",)
        self._write(document, path, value, {"$set": {field_of(path): stored}})

    def _write(
        self,
        document: Document,
        path: Keys,
        value: Value,
        update: MongoUpdate,
        guard: dict[str, Any] | None = None,
        *,
        upsert: bool = False,
    ) -> None:
        number = self._recorder.write(document, path, value)
        try:
            done = self._database[document[0]].update_one({"_id": document[1], **(guard or {})}, update, upsert=upsert)
        except PyMongoError as error:
            self._recorder.note("failed", number=number, error=type(error).__name__)
            return
        if guard and not done.matched_count:
            self._recorder.note("failed", number=number, error="no longer so")
        else:
            self._recorder.acknowledged([number])


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
    quiet = pathlib.Path(folder, "quiet")
    client: MongoClient[dict[str, Any]] = MongoClient(uri)
    with client:
        target = client.get_database(database, write_concern=WriteConcern("majority"))
        service = Service(name, recorder, chance, target)
        while not quiet.exists():
            service.edit()
            time.sleep(chance.uniform(0, 0.06))
    recorder.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
