"""The processes of bots and services, as the runner and its nemesis handle them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from history import Recorder

_HERE: Final = Path(__file__).parent
# The code beside these tests, whatever is installed.
_ENVIRONMENT: Final = {**os.environ, "PYTHONPATH": str(_HERE.parents[1])}
_ENDS_WITHIN: Final = 60.0  # seconds
_LONGEST_OUTAGE: Final = 20.0


class BotProcess:
    """A bot that is started again and again.

    Args:
        name: Of the bot.
        options: What `bot.py` is given.
        recorder: Notes when a process has ended.
    """

    def __init__(self, name: str, options: dict[str, Any], recorder: Recorder) -> None:
        self.name = name
        self.options = options
        self.problems: list[str] = []
        self._folder = Path(options["folder"])
        self._recorder = recorder
        self._runs = 0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def actor(self) -> str:
        """Name and number of the process, as in the histories."""
        return f"{self.name}.{self._runs}"

    @property
    def saves(self) -> bool:
        """Whether it saves while it runs."""
        return not self.options["persistence"]["on_flush"]

    @property
    def has_left_something(self) -> bool:
        """Whether a start, which was refused everything for too long, has left something to the next one."""
        folder = self.options["persistence"]["spill_dir"]
        return folder is not None and any(Path(folder).glob("*.unsaved"))

    @property
    def _errors(self) -> Path:
        return self._folder / f"{self.actor}.stderr"

    @property
    def memory(self) -> Path:
        """Where it writes down what it has in memory."""
        return self._folder / f"{self.name}.memory"

    def start(self) -> None:
        """Starts the next process."""
        self._runs += 1
        self.memory.unlink(missing_ok=True)  # it is the last one's
        # A driver that is cancelled while it connects leaves a socket to the garbage collector.
        warnings = ["-W", "error", "-W", "ignore::ResourceWarning"]
        command = [sys.executable, *warnings, str(_HERE / "bot.py"), self.name, str(self._runs)]
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [*command, json.dumps(self.options)],
                stdin=subprocess.DEVNULL,
                stderr=errors,
                cwd=self._folder,
                env=_ENVIRONMENT,
            )

    def kill(self) -> None:
        """Ends it at once."""
        self._check_alive()
        self._signal(signal.SIGKILL)
        self._ended({-signal.SIGKILL})

    def stop(self) -> bool:
        """Ends it as an administrator does; whether it has saved everything."""
        self.begin_to_stop()
        return self.has_saved()

    def begin_to_stop(self) -> None:
        """Tells it to end."""
        self._check_alive()
        self._signal(signal.SIGTERM)

    def has_saved(self) -> bool:
        """Waits for the end of one that was told to; whether it has saved everything."""
        is_patient = self.options["persistence"]["shutdown_timeout"] > _LONGEST_OUTAGE
        return self._ended({0} if is_patient else {0, 3}) == 0

    def kill_while_it_stops(self, after: float) -> None:
        """Ends it before it has ended by itself."""
        self._check_alive()
        self._signal(signal.SIGTERM)
        time.sleep(after)
        self._signal(signal.SIGKILL)
        self._ended({0, 3, -signal.SIGKILL})

    def close(self) -> None:
        """Ends it when something has gone wrong."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()

    def waits_for(self, event: str, seconds: float) -> bool:
        """Waits until it notes something of this kind; `False` if it does not."""
        file = self._folder / f"{self.actor}.jsonl"
        position = file.stat().st_size if file.exists() else 0
        return self._noted(event, position, seconds)

    def is_ready(self, seconds: float) -> bool:
        """Waits until it has started."""
        return self._noted("ready", 0, seconds)

    def _noted(self, event: str, position: int, seconds: float) -> bool:
        file = self._folder / f"{self.actor}.jsonl"
        sought = f'"event":"{event}"'.encode()
        for _ in range(int(seconds / 0.005)):
            with contextlib.suppress(FileNotFoundError), file.open("rb") as history:
                history.seek(position)
                if sought in history.read():
                    return True
            time.sleep(0.005)  # a file offers no event
        return False

    def _signal(self, number: int) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def _check_alive(self) -> None:
        if self._process is not None and (status := self._process.poll()) is not None:
            self.problems.append(f"{self.actor} ended by itself with {status}")

    def _ended(self, expected: set[int]) -> int:
        assert self._process is not None
        try:
            status = self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            self.problems.append(f"{self.actor} did not end within {_ENDS_WITHIN:g} s")
            self._process.kill()
            status = self._process.wait()
        self._recorder.note("ended", actor=self.actor, status=status)
        said = self._errors.read_text(errors="replace").strip()
        if status not in expected or said:
            self.problems.append(f"{self.actor} ended with {status}: {said[-3000:]}")
        return status


class ServiceProcess:
    """A service."""

    def __init__(self, name: str, seed: int, folder: Path, uri: str, database: str) -> None:
        command = [sys.executable, "-W", "error", str(_HERE / "service.py"), name, str(seed), str(folder)]
        self.name = name
        self._process = subprocess.Popen([*command, uri, database], stdin=subprocess.DEVNULL, env=_ENVIRONMENT)

    def ends(self) -> list[str]:
        """Waits for its end; what is wrong about it."""
        try:
            status = self._process.wait(_ENDS_WITHIN)
        except subprocess.TimeoutExpired:
            return [f"{self.name} did not end"]
        return [f"{self.name} ended with {status}"] if status else []

    def close(self) -> None:
        """Ends it when something has gone wrong."""
        self._process.kill()
        self._process.wait()
