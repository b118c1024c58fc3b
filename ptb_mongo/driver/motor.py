"""Motor, where it is installed; PyMongo's own async client takes its place where it is not.

Motor is to be supported until May 2027, and may be missing from an environment that has none but PyMongo's client.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeGuard

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClient

try:
    from motor import motor_asyncio as _motor
except ImportError:
    _motor = None  # type: ignore[assignment]  # which mypy takes for a module always

__all__ = ["IS_INSTALLED", "is_motor", "motor_client"]

IS_INSTALLED: Final = _motor is not None


def is_motor(client: object) -> TypeGuard[AsyncIOMotorClient[Any]]:
    """Whether a client is one of Motor's; one of mongomock-motor says so of itself, too."""
    return IS_INSTALLED and isinstance(client, _motor.AsyncIOMotorClient)


def motor_client(uri: str, loop: asyncio.AbstractEventLoop, options: dict[str, Any]) -> AsyncIOMotorClient[Any]:
    """A new client; it asks a name server for a mongodb+srv URI, and blocks meanwhile."""
    return _motor.AsyncIOMotorClient(uri, io_loop=loop, **options)
