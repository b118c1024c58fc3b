"""What is logged about a server that is unreachable or refuses something: once at the beginning, once at the end.

The kind of fault: an answer to something else counts as the end of the problem, so that beginning and end alternate as
long as it lasts; or the end is never noticed.
"""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ptb_mongo.errors import RefusedError, UnavailableError
from ptb_mongo.health import Counters
from ptb_mongo.sync.availability import Availability, Request

AWAY = UnavailableError("no answer for 5 s")
NO = RefusedError("not authorized", 13)


def reading(*collections: str) -> Request:
    return Request("to read", frozenset(collections))


@pytest.fixture
def availability() -> Availability:
    return Availability(Counters())


def test_a_server_that_answers_but_does_no_writes_is_said_to_be_back_when_one_is_done(
    availability: Availability, caplog: pytest.LogCaptureFixture
) -> None:
    availability.waiting = lambda: 3
    for _ in range(5):
        availability.mark_unreachable(AWAY)
        availability.mark_reachable()
        assert not availability.is_unreachable

    availability.mark_reachable(writes=True)

    assert len(caplog.messages) == 2
    assert caplog.messages[0].startswith("MongoDB is unreachable")
    assert caplog.messages[1] == "MongoDB is back; 3 documents were waiting"


def test_with_nothing_to_be_written_any_answer_says_that_a_server_is_back(
    availability: Availability, caplog: pytest.LogCaptureFixture
) -> None:
    availability.mark_unreachable(AWAY)
    availability.mark_reachable()

    assert caplog.messages[1:] == ["MongoDB is back; 0 documents were waiting"]


def test_reads_of_others_do_not_end_the_refusal_of_one_collection(
    availability: Availability, caplog: pytest.LogCaptureFixture
) -> None:
    """A read of several collections is refused as a whole."""
    for _ in range(5):
        availability.mark_refused(reading("bot_data", "chat_data"), NO)
        availability.mark_accepted(reading("bot_data"))
        assert availability.reason == "MongoDB refuses to read chat_data: not authorized"

    availability.mark_accepted(reading("bot_data", "chat_data"))

    assert availability.reason is None
    assert len(caplog.messages) == 2


def test_a_refusal_is_over_when_each_of_its_collections_was_read(availability: Availability) -> None:
    availability.mark_refused(reading("chat_data", "user_data"), NO)
    availability.mark_accepted(reading("user_data"))
    availability.mark_accepted(reading("bot_data"))
    assert availability.reason is not None

    availability.mark_accepted(reading("bot_data", "chat_data", "user_data"))

    assert availability.reason is None


def test_saving_has_nothing_to_do_with_reading(availability: Availability) -> None:
    availability.mark_refused(Request("to save", frozenset({"user_data"})), NO)
    availability.mark_accepted(reading("user_data"))

    assert availability.reason == "MongoDB refuses to save user_data: not authorized"


NAMES = ("a", "b", "c")


@given(bad=st.sets(st.sampled_from(NAMES)), reads=st.lists(st.sets(st.sampled_from(NAMES), min_size=1), max_size=30))
def test_whatever_is_read_a_trouble_is_named_until_it_is_over_and_said_once(
    bad: set[str], reads: list[set[str]]
) -> None:
    """Some collections may not be read; then all may."""
    availability, lines = Availability(Counters()), _Lines()
    logger = logging.getLogger("ptb_mongo.sync.availability")
    logger.addHandler(lines)
    try:
        for read in reads:
            if bad & read:
                availability.mark_refused(reading(*read), NO)
                assert availability.reason is not None
            else:
                availability.mark_accepted(reading(*read))
        begun = len(lines.begun)
        availability.mark_accepted(reading(*NAMES))
    finally:
        logger.removeHandler(lines)

    assert availability.reason is None
    assert begun <= len(bad)
    assert len(lines.begun) == len(lines.ended)


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.begun: list[str] = []
        self.ended: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        (self.ended if "no longer" in record.getMessage() else self.begun).append(record.getMessage())
