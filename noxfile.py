"""The tasks of this repository: `nox -l` lists them, `nox -s NAME` runs one in its own environment.

Arguments after `--` are passed to the program that a task runs: `nox -s unit -- -k merge`.
"""

from __future__ import annotations

import pathlib
import sys

import nox

nox.needs_version = ">=2025.2"
nox.options.sessions = ["lint", "unit"]
nox.options.reuse_existing_virtualenvs = True

PYPROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.10", "3.11", "3.12", "3.13"]
LOWEST = "tests/lowest.txt"
"""The oldest versions of the dependencies that pyproject.toml allows."""
FAST = ["tests/unit", "tests/contract", "tests/simulation"]


def _install(session: nox.Session, *groups: str, constraints: str | None = None) -> None:
    """Installs this package and dependency groups of pyproject.toml; works with any pip, as nox reads the groups.

    With `--no-venv`, everything must be installed already: `pip install -e . --group dev`.
    """
    if session.venv_backend == "none":
        return
    wanted = nox.project.dependency_groups(PYPROJECT, *groups)
    session.install("-e", ".", *wanted, *(["--constraint", constraints] if constraints else []))


@nox.session
def lint(session: nox.Session) -> None:
    """Checks style and types."""
    _install(session, "dev")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")


@nox.session
def fix(session: nox.Session) -> None:
    """Formats the code, and fixes what ruff can fix."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check", "--fix", ".")
    session.run("ruff", "format", ".")


@nox.session
def unit(session: nox.Session) -> None:
    """Runs the tests that need no server: two minutes."""
    _install(session, "test")
    session.run("pytest", "-n", "auto", "tests/unit", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Runs all tests on a real server: ten minutes on two cores."""
    _install(session, "dev")
    session.run("pytest", "-n", "4", *session.posargs)
    if not session.posargs:
        session.run("pytest", "-n", "3", "tests/simulation")  # its modules share names with the torture test's
        session.run("python", "tests/ptb_suite/run.py", "-n", "3")
        session.run("python", "tests/ptb_versions/run.py", "--ci")


@nox.session(python=PYTHONS)
@nox.parametrize("dependencies", ["newest", "lowest"])
def matrix(session: nox.Session, dependencies: str) -> None:
    """Runs unit tests, contract and simulation on each Python, with the newest and the oldest dependencies."""
    _install(session, "test", constraints=LOWEST if dependencies == "lowest" else None)
    session.run("pip", "list", silent=False)
    session.run("pytest", "-n", "auto", *(session.posargs or FAST))


@nox.session
def without_motor(session: nox.Session) -> None:
    """Runs the same tests with only PyMongo installed, as support for Motor will end."""
    _install(session, "test")
    session.run("pip", "uninstall", "--yes", "motor", "mongomock-motor")
    session.run("pytest", "-n", "auto", *(session.posargs or FAST))


@nox.session
def fuzz(session: nox.Session) -> None:
    """Plants random documents in a database for two minutes; `-- --minutes 60` for an hour."""
    _install(session, "test")
    session.run("python", "tests/fuzz/run.py", *session.posargs)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measures everything, in twenty minutes; `-- --small` in one."""
    _install(session, "benchmarks")
    session.run("python", "benchmarks/run.py", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Builds the documentation; warnings, such as broken links, are errors. `-- serve` shows it while you write."""
    _install(session, "docs")
    session.run("zensical", *(session.posargs or ["build", "--strict", "--clean"]))


@nox.session
def build(session: nox.Session) -> None:
    """Builds the package, and checks what an index would show of it."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "build"))
    target = pathlib.Path(session.create_tmp()) / "dist"
    session.run("python", "-m", "build", "--outdir", str(target), ".")
    session.run("twine", "check", "--strict", *map(str, target.iterdir()))
    session.log("built for %s: %s", sys.platform, target)
