"""Which documents belong to one user or one chat; no I/O.

A stranger may have written any `_id`. A document belongs to somebody only if it has the form in which a bot stores it;
anything else that mentions an id is a trace, which is shown and left alone (see `traces`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from ptb_mongo.errors import ConfigurationError
from ptb_mongo.scopes.ids import whole_number
from ptb_mongo.types import KeyParts

__all__ = ["COLLECTIONS", "KeyParts", "Subject", "unknown"]

COLLECTIONS: Final = ("user_data", "chat_data", "conversations", "callback_data", "jobs", "leases", "bot_data")
"""The collections that may name people, without prefix; each may also have a quarantine."""

_LARGEST: Final = 2**63 - 1


def unknown(_: str) -> None:
    """Knows nothing about any handler; see `KeyParts`."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A user with their private chat, or another chat.

    Attributes:
        kind: "user" or "chat".
        id: The id.
    """

    kind: Literal["user", "chat"]
    id: int

    @classmethod
    def of(cls, user_id: int | None, chat_id: int | None) -> Subject:
        """Takes the arguments of `erase` and `export`.

        Raises:
            ConfigurationError: If it is not exactly one id.
        """
        ids = {kind: one for kind, one in (("user", user_id), ("chat", chat_id)) if one is not None}
        if len(ids) != 1:
            raise ConfigurationError("pass a user_id or a chat_id")
        ((kind, number),) = ids.items()
        if type(number) is not int or not -_LARGEST <= number <= _LARGEST:
            raise ConfigurationError(f"an id is a whole number of 64 bits, not {number!r:.80}")
        return cls(kind, number)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.kind} {self.id}"

    @property
    def scopes(self) -> tuple[Literal["user_data", "chat_data"], ...]:
        """The scopes with data under this id: the user's, and that of the private chat with them."""
        return ("user_data", "chat_data") if self.kind == "user" else ("chat_data",)

    def queries(self, collection: str) -> dict[str, Any] | None:
        """A filter for the documents of a collection that may belong to the subject; `None` if none do.

        Args:
            collection: One of `COLLECTIONS`.
        """
        if collection in self.scopes:
            return {"_id": {"$eq": self.id}}
        if collection == "conversations":
            return {"_id.key": self.id}
        if collection == "jobs":
            return {"$or": [{"chat_id": self.id}, *([{"user_id": self.id}] if self.kind == "user" else [])]}
        if collection == "leases":
            return {"_id": {"$in": [f"{kind}:{self.id}" for kind in ("user", "chat")]}}
        return None

    def owns(self, collection: str, document: Mapping[str, Any], parts: KeyParts = unknown) -> bool:
        """Whether a document belongs to the subject.

        Args:
            collection: One of `COLLECTIONS`.
            document: The document.
            parts: What is known about the conversation handlers.
        """
        if collection in {"user_data", "chat_data"}:
            return collection in self.scopes and whole_number(document.get("_id")) == self.id
        if collection == "jobs":
            ids = {whole_number(document.get("chat_id"))}
            if self.kind == "user":
                ids.add(whole_number(document.get("user_id")))
            return self.id in ids
        if collection == "leases":
            return document.get("_id") in {f"{kind}:{self.id}" for kind in ("user", "chat")}
        if collection != "conversations":
            return False
        document_id = document.get("_id")
        if type(document_id) is not dict or list(document_id) != ["handler", "key"]:
            return False
        handler, key = document_id["handler"], document_id["key"]
        if type(handler) is not str or type(key) is not list:
            return False
        return self.owns_key([part if type(part) is str else whole_number(part) for part in key], parts(handler))

    def owns_key(self, key: list[Any] | tuple[Any, ...], parts: tuple[bool, bool] | None = None) -> bool:
        """Whether a conversation belongs to the subject.

        Args:
            key: The conversation's key.
            parts: Whether it begins with the chat's id, and whether the user's follows; `None` if that is unknown.
        """
        if parts is not None:
            per_chat, per_user = parts
            chat = key[0] if per_chat and key else None
            user = key[int(per_chat)] if per_user and len(key) > int(per_chat) else None
            return chat == self.id or (self.kind == "user" and user == self.id)
        if not key or key[0] == self.id:
            return bool(key)
        # In a private chat, the ids of user and chat are equal: what follows a different positive one is a message's.
        in_group = type(key[0]) is int and key[0] < 0
        return self.kind == "user" and len(key) > 1 and in_group and key[1] == self.id
