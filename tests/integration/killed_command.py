"""`ptb-mongo` in a process that kills itself: `killed_command.py COMMAND NUMBER started|succeeded WORDS…`.

At the given command to the server: when it is about to be sent, or when it was done and nobody knows yet.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from pymongo import monitoring

from ptb_mongo.cli.app import app


class Killer(monitoring.CommandListener):
    """Kills this process.

    Args:
        name: The name of the command at which it does.
        number: How many of them there are until then.
        moment: Whether before or after it.
    """

    def __init__(self, name: str, number: int, moment: str) -> None:
        self._name = name
        self._left = {"started": number, "succeeded": number}
        self._moment = moment

    def _count(self, moment: str, event: Any) -> None:
        if event.command_name == self._name:
            self._left[moment] -= 1
            if moment == self._moment and not self._left[moment]:
                os.kill(os.getpid(), signal.SIGKILL)

    def started(self, event: Any) -> None:
        self._count("started", event)

    def succeeded(self, event: Any) -> None:
        self._count("succeeded", event)

    def failed(self, event: Any) -> None:
        pass


if __name__ == "__main__":
    monitoring.register(Killer(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
    app(sys.argv[4:])
