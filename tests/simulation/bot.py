"""A bot through all its lives."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from process import Process
from steps import BotOptions
from worker import Worker

if TYPE_CHECKING:
    from world import World

__all__ = ["Bot"]


class Bot:
    """A bot through all its lives."""

    def __init__(self, world: World, number: int, options: BotOptions, folder: Path) -> None:
        self.world = world
        self.number = number
        self.name = f"bot{number}"
        self.options = options
        self.handler = "order" if options.shares else f"order-{number}"
        self.folder = folder
        self.spilled: list[Process] = []
        self.lives: list[Process] = []
        self.process: Process | None = None

    def begin(self) -> Process:
        """Starts a process."""
        process = (Worker if self.options.shares else Process)(self, len(self.lives) + 1)
        self.world.checker.begins(process, self.lives if self.options.spills else ())
        self.lives.append(process)
        self.process = process
        self.run(process.start())
        return process

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any] | None:
        """Runs something in the process that lives now."""
        process = self.process
        if process is None or process.dead:
            coroutine.close()
            return None
        return self.world.run(process, coroutine)

    def is_reachable(self) -> bool:
        """Whether it takes updates."""
        process = self.process
        return process is not None and not process.dead and process.started and not process.stopping

    def is_idle(self) -> bool:
        """Whether it runs, and handles nothing."""
        return self.process is not None and self.process.is_idle()

    def kill(self) -> None:
        """Ends the process as SIGKILL does: what it has sent is on its way, and nothing of it runs any more."""
        if self.process is not None:
            self.world.end(self.process)
            self.process = None
