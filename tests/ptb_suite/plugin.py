"""A pytest plugin: PTB's tests use `MongoPersistence` for its persistence classes, and no network but loopback.

`run.py` gives it to pytest. At the end it says how many tests hold and fails the run where `verdict.py` says so.
"""

from __future__ import annotations

import ipaddress
import pathlib
import sys
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any, Final

import pytest
import pytest_asyncio
import telegram
from ptb_suite import applications, files, jobs, tracking
from ptb_suite.databases import OwnDatabase
from ptb_suite.ours import Ours
from ptb_suite.verdict import Outcome, Verdict, judge, read_left_out
from telegram.ext import ApplicationBuilder

AT_LEAST: Final = 415
"""So many tests must hold; of PTB 22.8, 417 do."""
LEFT_OUT: Final = read_left_out(pathlib.Path(__file__).with_name("left_out.txt").read_text(encoding="utf-8"))

_WHOLE: Final = {"test_picklepersistence", "test_dictpersistence", "test_basepersistence", "test_callbackdatacache"}
"""Modules that run as a whole."""
_MADE_PERSISTENT: Final = {"test_application", "test_conversationhandler", "test_jobqueue"}
"""Modules whose fixture `app` is made persistent; the tests without it do not run."""
_WITHOUT_APP: Final = {"test_init", "test_init_persistent_no_name"}
"""What of these modules has to do with persistence and needs no `app`."""
_TIMED: Final = {"test_add_conversation_handler_after_init"}
"""Gives a persistence 50 ms to load a conversation, which a busy machine may not grant: such a test has three tries."""

_HELPERS: Final = ("auxil.files", "auxil.pytest_classes", "conftest", "ext.conftest")

_outcomes: Final[dict[str, Outcome]] = {}
_stored: Final[set[str]] = set()


def _module(module: ModuleType) -> str:
    return module.__name__.rpartition(".")[2]


def _test(node_id: str) -> str:
    return node_id.removeprefix("tests/ext/")


# -- ours in place of PTB's -------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_collection() -> None:
    """Before PTB's tests are imported: changes what they take from their helpers."""
    helpers: dict[str, Any] = {name: sys.modules[f"tests.{name}"] for name in _HELPERS}
    helpers["auxil.files"].SOURCE_ROOT_PATH = pathlib.Path(telegram.__file__).parent  # they test what is installed
    for helper in helpers.values():
        if hasattr(helper, "PRIVATE_KEY"):
            helper.PRIVATE_KEY = None  # to read the key of Telegram Passport costs each bot more than all else


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Replaces the classes, and chooses and marks the tests."""
    for module in {item.module for item in items}:
        _replace(module)
    chosen = [item for item in items if _has_to_do_with_us(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
    for item in items:
        if reason := LEFT_OUT.get(_test(item.nodeid)):
            item.add_marker(pytest.mark.xfail(reason=reason, strict=False))
        if item.originalname in _TIMED:
            item.add_marker(pytest.mark.flaky(3, 1))


def _has_to_do_with_us(item: Any) -> bool:
    return _module(item.module) in _WHOLE or "app" in item.fixturenames or item.originalname in _WITHOUT_APP


def _replace(module: Any) -> None:
    if hasattr(module, "PicklePersistence"):
        module.PicklePersistence = files.PickleStandIn
    if hasattr(module, "DictPersistence"):
        module.DictPersistence = files.DictStandIn
    match _module(module):
        case "test_basepersistence":
            module.TrackingPersistence = tracking.tracking_stand_in(module.TrackingPersistence)
        case "test_callbackdatacache":
            module.CallbackDataCache = applications.StoredCallbackDataCache
        case "test_jobqueue":
            module.ApplicationBuilder = jobs.StoredQueueBuilder
            module.JobQueue = jobs.StoredJobQueue
        case "test_conversationhandler":
            module.ApplicationBuilder = applications.PersistentBuilder
            module.ConversationHandler = applications.PersistentConversationHandler


@pytest_asyncio.fixture(autouse=True, loop_scope="session")
async def _database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Makes `app` persistent; in the end closes what is open, checks what is stored, and drops it."""
    builder = applications.PersistentBuilder if _module(request.module) in _MADE_PERSISTENT else ApplicationBuilder
    monkeypatch.setattr("tests.ext.conftest.ApplicationBuilder", builder)
    yield
    try:
        for persistence in Ours.made:
            await persistence.close()
            persistence.check()
        if any(one.has_stored for one in Ours.made) or any(any(one.documents().values()) for one in OwnDatabase.made):
            request.node.user_properties.append(("stored", True))
    finally:
        Ours.made.clear()
        OwnDatabase.drop_all()


# -- no network -------------------------------------------------------------------------------------------


def _refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """Lets nobody reach anything but this machine, whatever PTB's tests do with their bots."""
    match event, arguments:
        case ("socket.getaddrinfo", (host, *_)) | ("socket.connect", (_, (host, *_))):
            name = host.decode() if isinstance(host, bytes) else host
        case _:
            return
    if name in {None, "", "localhost"} or _is_loopback(name):
        return
    raise RuntimeError(f"a test of PTB wants to reach {name}, and there is no network for it")


def _is_loopback(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


sys.addaudithook(_refuse_network)


# -- the verdict ------------------------------------------------------------------------------------------


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Notes what came of a test; with pytest-xdist, in the process that starts the others."""
    test = _test(report.nodeid)
    if ("stored", True) in report.user_properties:
        _stored.add(test)
    expected = hasattr(report, "wasxfail")
    if report.failed:
        _outcomes[test] = "failed"
    elif _outcomes.get(test) in {"failed", "xfailed"}:
        return  # in an earlier phase
    elif report.skipped:
        _outcomes[test] = "xfailed" if expected else "skipped"
    elif report.when == "call":
        _outcomes[test] = "xpassed" if expected else "passed"


def _verdict(config: pytest.Config) -> Verdict:
    if config.getoption("keyword"):  # a part of the tests, by hand
        return judge(_outcomes, {test: LEFT_OUT[test] for test in LEFT_OUT if test in _outcomes}, 0)
    return judge(_outcomes, LEFT_OUT, AT_LEAST)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the run where pytest would not; a run that broke off stays one that failed."""
    ended = {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED}
    if not hasattr(session.config, "workerinput") and session.exitstatus in ended:
        problems = _verdict(session.config).problems
        session.exitstatus = pytest.ExitCode.TESTS_FAILED if problems else pytest.ExitCode.OK


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Says how the run went."""
    verdict = _verdict(config)
    terminalreporter.section("PTB's tests on MongoPersistence")
    for line in (*verdict.hints, *verdict.problems):
        terminalreporter.write_line(line)
    if verdict.problems:
        terminalreporter.write_line("What need not hold stands in left_out.txt, each test below its reason.")
    stored = verdict.held & _stored
    terminalreporter.write_line(
        f"PTB {telegram.__version__}: {len(verdict.held)} of its tests hold, {len(stored)} of them store something; "
        f"{len(LEFT_OUT)} are left out by name."
    )
