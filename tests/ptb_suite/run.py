"""PTB's own tests of persistence, with `MongoPersistence` in place of PTB's persistence classes.

    python tests/ptb_suite/run.py                     # all of them, about a minute
    python tests/ptb_suite/run.py -k context_types    # some of them

Needs `pip install -e ".[ptb-suite]"`. The tests come from the source distribution of the PTB that is installed, which
pip fetches from the package index into a temporary folder; `--sdist` names one that is there already. MongoDB is that
of MONGODB_URI, else an embedded server. Nothing else is reached: a test that tries to call Telegram fails.

What runs: all of PTB's tests of `PicklePersistence`, `DictPersistence`, `BasePersistence`, `CallbackDataCache` and
`JobQueue`, and those of `Application` and `ConversationHandler` that use PTB's fixture `app`, which becomes persistent.
`files.py`, `tracking.py` and `applications.py` say how each class is replaced. The run fails if a test fails that is
not in `left_out.txt`, if one is listed there that does not exist, or if fewer tests hold than `plugin.AT_LEAST`; it
names listed tests that hold. Exit status: 0 good, 77 if there is no package index, anything else a failure.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import pathlib
import subprocess
import sys
import tarfile
import tempfile
from typing import Final

from ptb_mongo.embedded import mongodb_uri

PACKAGE: Final = "python-telegram-bot"
SKIPPED: Final = 77  # what automake's test driver takes for "skipped"
MODULES: Final = (
    "test_picklepersistence",
    "test_dictpersistence",
    "test_basepersistence",
    "test_callbackdatacache",
    "test_conversationhandler",
    "test_application",
    "test_jobqueue",
)

_TESTS: Final = pathlib.Path(__file__).resolve().parents[1]
_OPTIONS: Final = {
    "pythonpath": "",  # PTB as it is installed, not as it lies beside its tests
    "asyncio_default_fixture_loop_scope": "session",  # PTB's bots live as long, with the older pytest-asyncio it uses
    "asyncio_default_test_loop_scope": "session",
}
_UNSET: Final = ("BOTS", "JOB_INDEX", "PTB_TIMEDELTA", "PYTEST_ADDOPTS")
_SET: Final = {"GITHUB_ACTIONS": "false", "TEST_WITH_OPT_DEPS": "true"}  # PTB's tests skip what this machine has, else


class NoIndexError(Exception):
    """The package index cannot be reached."""


def fetch(folder: pathlib.Path) -> pathlib.Path:
    """Downloads the source distribution of the PTB that is installed.

    Raises:
        NoIndexError: If there is no package index.
        RuntimeError: If pip fails for another reason.
    """
    wanted = f"{PACKAGE}=={importlib.metadata.version(PACKAGE)}"
    pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--dest", str(folder)]
    done = subprocess.run([*pip, "--no-binary", PACKAGE, wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        if "connection broken by" in done.stdout + done.stderr:
            raise NoIndexError(f"pip reaches no package index to fetch {wanted} from")
        raise RuntimeError(f"pip does not fetch {wanted}:\n{done.stderr}")
    (sdist,) = folder.glob("*.tar.gz")
    return sdist


def unpack(sdist: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """Unpacks a source distribution; returns the folder in which its `tests` are."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter="data")
    (tests,) = folder.glob("*/tests")
    return tests.parent


def run(suite: pathlib.Path, uri: str, arguments: list[str]) -> int:
    """Runs the tests; returns pytest's exit status."""
    environment = {name: value for name, value in os.environ.items() if name not in _UNSET}
    path = [str(_TESTS), str(_TESTS.parent), environment.get("PYTHONPATH", "")]
    environment |= {**_SET, "MONGODB_URI": uri, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    command = [sys.executable, "-m", "pytest", "-q", "--tb=short", "-p", "ptb_suite.plugin", "-p", "no:cacheprovider"]
    command += [f"--override-ini={name}={value}" for name, value in _OPTIONS.items()]
    command += [f"--basetemp={suite.parent / 'tmp'}", *arguments, *(f"tests/ext/{module}.py" for module in MODULES)]
    return subprocess.run(command, cwd=suite, env=environment, stdin=subprocess.DEVNULL, check=False).returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sdist", type=pathlib.Path, help="PTB's source distribution, instead of one from the index")
    parser.add_argument("-n", type=int, default=2, help="how many processes (default: %(default)s)")
    parser.add_argument("-k", metavar="EXPRESSION", help="only some tests, as for pytest")
    given = parser.parse_args()
    arguments = ["-n", str(given.n), "--dist=worksteal", *(["-k", given.k] if given.k else [])]
    with tempfile.TemporaryDirectory(prefix="ptb-suite-") as name:
        folder = pathlib.Path(name)
        try:
            suite = unpack(given.sdist or fetch(folder), folder)
        except NoIndexError as error:
            sys.stderr.write(f"Skipped: {error}\n")
            return SKIPPED
        with mongodb_uri() as uri:
            return run(suite, uri, arguments)


if __name__ == "__main__":
    sys.exit(main())
