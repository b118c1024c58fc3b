"""APScheduler is optional, and imported only if `MongoJobQueue` is used."""

from __future__ import annotations

import subprocess
import sys


def says(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60)
    return (done.stdout + done.stderr).strip()


def test_an_import_of_ptb_mongo_imports_nothing_of_jobs() -> None:
    # PTB itself imports APScheduler, where it is installed.
    assert says("import ptb_mongo, sys; print([m for m in sys.modules if m.startswith('ptb_mongo.jobs')])") == "[]"


def test_without_apscheduler_all_but_the_queue_works_and_that_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['apscheduler'] = None\n"
        "import ptb_mongo; ptb_mongo.MongoPersistence('mongodb://localhost')\n"
        "print('fine')\n"
        "ptb_mongo.MongoJobQueue"
    )
    found = says(program)

    assert found.startswith("fine")
    assert 'pip install "python-telegram-bot[job-queue]"' in found.splitlines()[-1]


def test_all_public_names_are_there() -> None:
    assert says("from ptb_mongo import *; print(MongoJobQueue.__name__)") == "MongoJobQueue"
