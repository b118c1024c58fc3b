"""What one version of python-telegram-bot has stored, loaded by another: every kind of object, every pair of versions.

    python tests/ptb_versions/run.py                           # all five versions, about a minute
    python tests/ptb_versions/run.py --ci                      # three of them
    python tests/ptb_versions/run.py --versions 21.5 22.8

Each version is installed by pip into a temporary folder (`--folder` keeps it) and used with the dependencies that are
there already. What is loaded is compared with what the loading version makes of the same API JSON: types, attributes,
properties, equality, and that neither a copy of it nor what is stored again differs. Then two bots of different
versions share one database, as in a rolling update: neither may write what it has not changed, nor bring back what the
other one has deleted. MongoDB is that of MONGODB_URI, else an embedded server.

Exit status: 0 if nothing is quarantined or wrong, 77 if there is no package index, anything else a failure.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from pymongo import MongoClient

from ptb_mongo.embedded import mongodb_uri

VERSIONS: Final = ("21.0", "21.5", "21.11", "22.0", "22.8")
IN_CI: Final = ("21.0", "22.0", "22.8")
SKIPPED: Final = 77  # what automake's test driver takes for "skipped"
AT_LEAST: Final = 36  # kinds that each version stores
AT_ONCE: Final = 2
ARRIVES_WITHIN: Final = 15  # seconds

_HERE: Final = pathlib.Path(__file__).resolve().parent
_ROOT: Final = _HERE.parents[1]
_USER: Final = {"_id": 7}


class NoIndexError(Exception):
    """The package index cannot be reached."""


def install(version: str, folder: pathlib.Path) -> None:
    """Installs PTB alone into a folder of its own.

    Raises:
        NoIndexError: If there is no package index.
        RuntimeError: If pip fails for another reason.
    """
    if (folder / version).is_dir():
        return
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--no-compile",
    ]
    command = [*pip, "--target", str(folder / version), f"python-telegram-bot=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        if "connection broken by" in done.stdout + done.stderr:
            raise NoIndexError(f"pip reaches no package index to fetch PTB {version} from")
        raise RuntimeError(f"pip does not install PTB {version}:\n{done.stderr}")


def environment(version: str, folder: pathlib.Path) -> dict[str, str]:
    """The environment of a process that imports this version."""
    path = os.pathsep.join((str(folder / version), str(_ROOT)))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PTB_TIMEDELTA": "0"}


def worked(version: str, action: str, folder: pathlib.Path) -> str:
    """What a worker with this version says."""
    command = [sys.executable, str(_HERE / "worker.py"), action, str(folder / "stored")]
    return subprocess.run(
        command, env=environment(version, folder), stdout=subprocess.PIPE, text=True, check=True, timeout=300
    ).stdout


def matrix(versions: list[str], folder: pathlib.Path) -> Iterator[tuple[str, str, str, str]]:
    """Each object that was loaded: who stored and who loaded it, its kind, and what is wrong with it."""
    shutil.rmtree(folder / "stored", ignore_errors=True)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda version: worked(version, "write", folder), versions))
        for loader, found in zip(versions, pool.map(lambda one: worked(one, "load", folder), versions), strict=True):
            for writer, kinds in json.loads(found).items():
                if len(kinds) < AT_LEAST:
                    raise RuntimeError(f"PTB {writer} has stored {len(kinds)} kinds of objects alone")
                for kind, wrong in kinds.items():
                    yield writer, loader, kind, wrong


class LiveBot:
    """A process of a bot.

    Args:
        version: Its version of PTB.
        folder: Where that is installed.
        uri: MongoDB.
        database: The bot's database.
    """

    def __init__(self, version: str, folder: pathlib.Path, uri: str, database: str) -> None:
        command = [sys.executable, str(_HERE / "live.py"), uri, database]
        self.process = subprocess.Popen(
            command, env=environment(version, folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def said(self) -> Any:
        """What it says next.

        Raises:
            RuntimeError: If it has ended instead.
        """
        assert self.process.stdout
        if line := self.process.stdout.readline():
            return json.loads(line)
        raise RuntimeError("a bot has ended early")

    def does(self, **orders: Any) -> Any:
        """Handles an update, saves, and says what it holds."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"updates": 1, **orders}) + "\n")
        self.process.stdin.flush()
        return self.said()

    def ends(self) -> None:
        """Stops it as a bot is stopped."""
        assert self.process.stdin
        self.process.stdin.close()
        if self.process.wait(30):
            raise RuntimeError(f"a bot has ended with the status {self.process.returncode}")


def live(first: str, second: str, kinds: list[str], folder: pathlib.Path, uri: str) -> Iterator[str]:
    """What goes wrong between two bots of different versions that share one database."""
    database = f"ptb_versions_{first}_{second}".replace(".", "_")
    with MongoClient[Any](uri) as client:
        client.drop_database(database)
        stored = client[database]["user_data"]
        one = LiveBot(first, folder, uri, database)
        other = None
        try:
            one.said()
            one.does(put=kinds)
            before = stored.find_one(_USER)["data"]
            other = LiveBot(second, folder, uri, database)
            other.said()

            yield from _lacking("after the second bot's start", other, kinds)
            yield from _rewritten(before, stored.find_one(_USER)["data"])
            gone, kept = kinds[::2], kinds[1::2]
            one.does(delete=gone)
            yield from _lacking("after the first bot has deleted", other, kept)
            yield from _lacking("after the second bot has saved", one, kept)
            other.does(delete=kept)
            yield from _lacking("after the second bot has deleted", one, [])
            other.does(put=gone)
            yield from _lacking("after the second bot has stored", one, gone)
            one.does(delete=gone)
            yield from _lacking("after the first bot has deleted again", other, [])
            one.does()
            yield from _lacking("in the end", other, [])
            if left := set(stored.find_one(_USER)["data"]) - {"all", "updates"}:
                yield f"still stored in the end: {sorted(left)}"
            one.ends()
            other.ends()
            client.drop_database(database)
        finally:
            for bot in (one, other):
                if bot is not None and bot.process.poll() is None:
                    bot.process.kill()


def _lacking(when: str, bot: LiveBot, kinds: list[str]) -> Iterator[str]:
    """What a bot holds too much or too little of, once the other one's change has had time to arrive."""
    until = time.monotonic() + ARRIVES_WITHIN
    while True:
        answer = bot.does()
        holds = set(answer["holds"]) - {"updates"}
        if holds == set(kinds) and answer["all"] == len(kinds):
            return
        if time.monotonic() > until:
            break
    yield f"{when}, too much is {sorted(holds - set(kinds))}, and missing is {sorted(set(kinds) - holds)}"
    if answer["all"] != len(kinds):
        yield f"{when}, the list has {answer['all']} elements, not {len(kinds)}"


def _rewritten(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    for key, value in before.items():
        if key != "updates" and after.get(key) != value:
            yield f"{key!r} was stored again, though nobody has changed it"


def main() -> int:
    """Runs all, and says what was found."""
    parser = argparse.ArgumentParser(description="Loads what other versions of PTB have stored.")
    parser.add_argument("--versions", nargs="+", default=list(VERSIONS), metavar="VERSION")
    parser.add_argument("--ci", action="store_true", help=f"the versions {', '.join(IN_CI)}")
    parser.add_argument("--folder", type=pathlib.Path, help="where the versions are installed, and stay")
    arguments = parser.parse_args()
    versions = list(IN_CI) if arguments.ci else arguments.versions
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or pathlib.Path(temporary)
        try:
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda version: install(version, folder), versions))
        except NoIndexError as error:
            say(f"Skipped: {error}")
            return SKIPPED
        found = list(matrix(versions, folder))
        wrong = [one for one in found if one[3]]
        for writer, loader, kind, what in wrong:
            say(f"{writer} -> {loader}, {kind}: {what:.300}")
        quarantined = sum(what.startswith("quarantined") for *_, what in wrong)
        say(f"{len(found)} loads: {quarantined} quarantined, {len(wrong) - quarantined} wrong")
        kinds = sorted({kind for _, _, kind, _ in found if all(kind in kinds_of(found, one) for one in versions)})
        trouble = []
        with mongodb_uri() as uri:
            for first, second in itertools.pairwise(versions):
                for what in live(first, second, kinds, folder, uri):
                    trouble.append(what)
                    say(f"{first} beside {second}: {what:.300}")
        say(f"{len(versions) - 1} pairs of bots on one database, {len(kinds)} kinds: {len(trouble)} things wrong")
        return 1 if wrong or trouble or not found else 0


def kinds_of(found: list[tuple[str, str, str, str]], version: str) -> set[str]:
    """The kinds that a version has stored."""
    return {kind for writer, _, kind, _ in found if writer == version}


def say(text: str) -> None:
    """Prints."""
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
