"""Overrides the addresses that a replica set tells all its clients, for a worker in its own process."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

__all__ = ["routed"]


def routed(routes: Mapping[str, int]) -> None:
    """From now on, connections to some ports of this machine go to others; before a client is made.

    Args:
        routes: By a port, as text, that to which a connection goes.
    """

    class Socket(socket.socket):
        def connect(self, address: Any) -> None:
            if isinstance(address, tuple):
                address = (address[0], routes.get(str(address[1]), address[1]), *address[2:])
            super().connect(address)

    socket.socket = Socket  # type: ignore[misc]
