"""Motor, if it is installed; otherwise PyMongo's own async client takes its place.

Motor's support ends in May 2027, so an environment may have only PyMongo.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, TypeGuard

if TYPE_CHECKING:
    from motor.motor_asyncio import AsyncIOMotorClient

try:
    from motor import motor_asyncio as _motor
except ImportError:
    _motor = None  # type: ignore[assignment]  # mypy expects a module

__all__ = ["IS_INSTALLED", "is_motor", "motor_client"]

IS_INSTALLED: Final = _motor is not None


def is_motor(client: object) -> TypeGuard[AsyncIOMotorClient[Any]]:
    """Whether a client is Motor's; one of mongomock-motor pretends to be."""
    return IS_INSTALLED and isinstance(client, _motor.AsyncIOMotorClient)


def motor_client(uri: str, loop: asyncio.AbstractEventLoop, options: dict[str, Any]) -> AsyncIOMotorClient[Any]:
    """A new client; blocks during the DNS lookup of a mongodb+srv URI."""
    return _motor.AsyncIOMotorClient(uri, io_loop=loop, **options)
