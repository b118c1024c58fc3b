"""What other programs do to the data: the recipes of docs/storage-format.md, and valid forms that are not the bot's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mongod import key
from nodes import poisoned_in
from things import CODEC, FORMS, TYPED, can_be_cut, number_of, plain_set

from ptb_mongo.errors import DecodeError

if TYPE_CHECKING:
    from world import World

__all__ = ["Service"]

Edit = tuple[Any, ...]


class Service:
    """A panel, a billing service, somebody with `mongosh`."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self._copies: dict[tuple[str, Any], Mapping[str, Any]] = {}

    def edit(self, collection: str, document_id: Any, edit: Edit) -> None:
        """Does one edit, as soon as the server can."""
        network = self.world.network
        writes = {"update": collection, "updates": [{"q": {"_id": document_id}}]}
        network.at_server(lambda: network.edit(writes, lambda: self._edit(collection, document_id, edit)))

    def _edit(self, collection: str, document_id: Any, edit: Edit) -> bool:
        now = self.world.mongod.documents(collection).get(key(document_id))
        command = self._command(collection, document_id, edit, now)
        if command is None:
            return False
        history = self.world.mongod.history
        before = len(history)
        self.world.mongod.execute(command, self.world.network.now())
        changes = history[before:]
        self.world.checker.edited(self.name, changes)
        return bool(changes)

    def _command(  # noqa: C901  (a dispatch)
        self, collection: str, document_id: Any, edit: Edit, now: Mapping[str, Any] | None
    ) -> Any:
        def update(change: Any, *, upsert: bool = False) -> dict[str, Any]:
            return {"update": collection, "updates": [{"q": {"_id": document_id}, "u": change, "upsert": upsert}]}

        if edit[1:2] and str(edit[1]).startswith("basket.") and "basket" not in ((now or {}).get("data") or {}):
            return None
        if "c.d" in ((now or {}).get("data") or {}) and "c%2Ed" in edit:
            return None  # both forms of one key in one document are no valid edit
        match edit:
            case "set", name, value:
                return update({"$set": {f"data.{name}": value}}, upsert=True)
            case "remove", name:
                return update({"$unset": {f"data.{name}": ""}})
            case ("delete",):
                return {"delete": collection, "deletes": [{"q": {"_id": document_id}, "limit": 1}]}
            case "count", power:
                return update({"$inc": {"data.count": 16**power}})
            case "typed", name, number, form:
                forms = [*FORMS[name](number), CODEC.encode({"x": TYPED[name](number)})["x"]]
                return update({"$set": {f"data.{name}": forms[form % len(forms)]}})
            case "poison", name:
                return update({"$set": {f"data.{name}": {"_py": "nonsense"}}})
            case "cure", name:
                return update({"$unset": {f"data.{name}": ""}}) if (name,) in poisoned_in(now) else None
            case ("look",):
                if now is not None:
                    self._copies[collection, document_id] = now
                return None
            case "put back", name, value:
                copy = self._copies.pop((collection, document_id), None)
                return None if copy is None else update({**copy, "data": {**copy.get("data", {}), name: value}})
        data = None if now is None else now.get("data")
        return None if type(data) is not dict else self._of_what_is_there(update, edit, now or {}, data)

    def _of_what_is_there(self, update: Any, edit: Edit, now: Mapping[str, Any], data: Mapping[str, Any]) -> Any:
        match edit:
            case "replace", name, value:
                return update({**now, "data": {**data, name: value}})
            case "add", value:
                if "tags" in data:
                    return update({"$addToSet": {"data.tags.v": value}})
                return update({"$set": {"data.tags": plain_set([value])}})
            case ("discard",):
                elements = data.get("tags", {}).get("v")
                return update({"$pull": {"data.tags.v": max(elements)}}) if elements else None
            case "append", value:
                return update({"$push": {"data.log": value}})
            case ("cut",):
                return update({"$pop": {"data.log": -1}}) if can_be_cut(data.get("log")) else None
            case "reform", name:
                return self._in_another_form(update, name, now, data)
        raise NotImplementedError(edit)

    def _in_another_form(self, update: Any, name: str, now: Mapping[str, Any], data: Mapping[str, Any]) -> Any:
        """Writes the value that is there, and nothing else, in another valid form."""
        if name == "c.d":
            if "c%2Ed" not in data:
                return None
            return update({**now, "data": {"c.d" if key == "c%2Ed" else key: item for key, item in data.items()}})
        if name not in data:
            return None
        if name == "tags":
            return update({"$set": {"data.tags.v": sorted(data["tags"]["v"], reverse=True)}})
        if name == "basket":
            return update({"$set": {"data.basket": dict(reversed(data["basket"].items()))}})
        if name == "m":
            pairs = [[inner, item] for inner, item in data["m"].items()] if "_py" not in data["m"] else data["m"]["v"]
            return update({"$set": {"data.m": {"_py": "dict", "v": pairs}}})
        try:
            value = CODEC.decode(data[name])
        except DecodeError:
            return None
        return update({"$set": {f"data.{name}": FORMS[name](number_of(value))[0]}})
