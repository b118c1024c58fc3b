"""The one place where the core is patched: how it connects, and what it takes for the time and for chance."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from unittest import mock

from client import Client
from loop import LIFE, Life, Loop
from memory import Memory
from network import Network
from steps import DATABASE

from ptb_mongo.driver import Driver

__all__ = ["seams"]


@contextlib.contextmanager
def seams(loop: Loop, network: Network, seed: str) -> Iterator[None]:
    """The one place where the core is patched: how it connects, and what it takes for the time and for chance."""

    async def connect(*_: Any, **__: Any) -> Driver:
        life = LIFE.get()
        assert isinstance(life, Memory)

        async def renewed() -> Client:
            return Client(network, life)

        if not life.options.borrows:
            return Driver(Client(network, life), DATABASE, owned=True, renew=renewed)
        borrowed = clients.setdefault(life, Client(network, life, has_timeout=False))
        return Driver(borrowed, DATABASE, owned=False)

    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=numbers.getrandbits(128), version=4)

    clock = SimpleNamespace(monotonic=loop.time, time=loop.time, perf_counter=loop.time)
    clients: dict[Life, Client] = {}
    numbers = random.Random(f"{seed}/uuid")
    state = random.getstate()
    random.seed(f"{seed}/random")
    with contextlib.ExitStack() as stack:
        for name, module in list(sys.modules.items()):
            if name.startswith("ptb_mongo.") and getattr(module, "time", None) is time:
                stack.enter_context(mock.patch.object(module, "time", clock))
        for name in ("ptb_mongo.session", "ptb_mongo.store"):
            if hasattr(sys.modules.get(name), "connect"):
                stack.enter_context(mock.patch.object(sys.modules[name], "connect", connect))
        stack.enter_context(mock.patch.object(uuid, "uuid4", uuid4))
        stack.enter_context(mock.patch.object(os, "fsync"))  # a real disk would take longer than all the rest
        try:
            yield
        finally:
            random.setstate(state)
