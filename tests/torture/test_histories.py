"""What the torture test notes and compares: the histories of processes, the memory of a bot, what is stored."""

from __future__ import annotations

import json
import logging
import math
import pathlib
from collections.abc import Callable
from typing import Any

import bson
import pytest
from edits import Edit
from history import GRACE, Document, LogNotes, Recorder, load
from memory import Memory
from values import (
    CONTAINERS,
    CUT_ABOVE,
    CUT_TO,
    EXCLUDED,
    FORMS,
    SECRET,
    TRUSTED,
    Thing,
    exact,
    excluded_in,
    leaves,
    seed,
    tree,
    without_excluded,
)
from verdict import Stored, differences

from ptb_mongo.codec import Codec

USER: Document = ("user_data", 1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [("a", {(): "a"}), (None, {}), ({}, {}), ({"d": {"x": "a", "e": {}}}, {("d", "x"): "a"})],
)
def test_leaves(data: Any, expected: Any) -> None:
    assert dict(leaves(data)) == expected


@pytest.mark.parametrize(
    ("text", "refused", "problems"),
    [
        ("MongoDB refuses to save user_data", True, 0),
        ("MongoDB refuses to save user_data", False, 1),
        ("Not saved: MongoDB refuses: no", True, 0),
        ("Not saved: user_data, _id 1: MongoDB refuses: no", True, 1),
    ],
)
def test_a_refusal_is_a_problem_if_nobody_refuses_or_if_a_document_is_blamed(
    tmp_path: pathlib.Path, text: str, refused: bool, problems: int
) -> None:
    recorder = Recorder(tmp_path, "bot0.1")
    record = logging.LogRecord("ptb_mongo", logging.ERROR, "", 0, text, None, None)

    LogNotes(recorder, refused=refused).emit(record)

    recorder.close()
    history = load(tmp_path)
    assert len(history.problems) == problems
    assert history.counts["refusal"] == 1 - problems


def test_histories_of_processes_that_were_killed(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path, "bot0.1")
    numbers = [recorder.write(USER, ("k",), recorder.value()) for _ in range(3)]
    recorder.acknowledged(numbers[:1])
    recorder.note("failed", number=numbers[1])
    recorder.note("saw", document=USER, values=[(("x",), "service0.0:1"), (("y",), None)])
    recorder.note("problem", text="something")
    recorder.close()
    with (tmp_path / "bot0.1.jsonl").open("a") as file:
        file.write('{"event":"wri')
    runner = Recorder(tmp_path, "runner.0")
    runner.note("ended", actor="bot0.1", status=-9)
    runner.close()

    history = load(tmp_path)

    events = [json.loads(line) for line in (tmp_path / "bot0.1.jsonl").read_text().splitlines()[:-1]]
    ended = json.loads((tmp_path / "runner.0.jsonl").read_text())["time"]
    assert [one.acknowledged for one in history.writes] == [True, False, False]
    assert [one.end for one in history.writes] == [events[3]["time"], events[4]["time"] + GRACE, ended + GRACE]
    assert len({one.value for one in history.writes}) == 3
    assert [(one.path, one.value) for one in history.sightings] == [(("x",), "service0.0:1"), (("y",), None)]
    assert history.problems == ["bot0.1: something"]


def test_what_a_bot_had_spilled_is_taken_in_by_its_next_process(tmp_path: pathlib.Path) -> None:
    recorder = Recorder(tmp_path, "bot0.1")
    number = recorder.write(USER, ("k",), "a")
    recorder.note("spilled", numbers=[number], text="the server is away")
    recorder.close()
    successor = Recorder(tmp_path, "bot0.2")
    successor.note("begun")
    successor.close()

    (spilled,) = load(tmp_path).writes

    spilled_at, begun = (
        json.loads((tmp_path / f"bot0.{run}.jsonl").read_text().splitlines()[-1])["time"] for run in (1, 2)
    )
    assert (spilled.acknowledged, spilled.spilled, spilled.end, spilled.taken) == (True, spilled_at, math.inf, begun)


# -- values and memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_a_form_that_services_write_is_what_the_histories_say(form: Callable[[str], tuple[Any, Any]]) -> None:
    stored, expected = form("service0.0:123")
    assert tree(Codec().decode(stored)) == expected
    assert bson.encode({"": Codec().encode(Codec().decode(stored))}) != bson.encode({"": stored}), "it is ours"


def test_what_is_in_memory_is_compared_with_types_and_order() -> None:
    data = Codec(TRUSTED).decode(seed())
    assert isinstance(data["o"], Thing)
    for other in (["a"], {"a"}, ("a",), {"a": 1}):
        assert exact({"k": ["a", "b"]}) != exact({"k": other})
    assert exact(["a", "b"]) != exact(["b", "a"])
    assert exact(Thing(bot0="a")) != exact(Thing())
    assert exact(Thing()) != exact(vars(Thing()))
    assert exact({"k": {"a", "b"}}) == exact({"k": {"b", "a"}})


class Bot:
    """The memory of a bot, and what it notes."""

    def __init__(self, folder: pathlib.Path, data: Any) -> None:
        self.data = data
        self._folder = folder
        self._recorder = Recorder(folder, "bot0.1")
        self.memory = Memory("bot0", self._recorder, lambda _: self.data)

    def noted(self, event: str) -> list[Any]:
        self._recorder.close()
        lines = (self._folder / "bot0.1.jsonl").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["event"] == event]


def test_what_is_cut_off_a_list_is_removed_by_the_bot(tmp_path: pathlib.Path) -> None:
    (container,) = (container for container in CONTAINERS if container.path == ("l0",))
    bot = Bot(tmp_path, {"l0": [f"e{number}" for number in range(CUT_ABOVE + 1)]})

    bot.memory.change(USER, Edit(container.path, 1, container))

    assert len(bot.data["l0"]) == CUT_TO
    removed = [tuple(write["path"]) for write in bot.noted("write") if write["value"] is None]
    assert removed == [("l0", f"e{number}") for number in range(CUT_ABOVE + 1 - CUT_TO)]


def test_changes_of_elements_that_change_nothing_are_no_writes(tmp_path: pathlib.Path) -> None:
    (container,) = (container for container in CONTAINERS if container.path == ("t0",))
    bot = Bot(tmp_path, {"t0": {"a"}})
    for element, value in (("a", 1), ("b", None), ("c", 1), ("a", None)):
        bot.memory.change(USER, Edit(("t0", element), value, container))

    assert bot.data == {"t0": {"c"}}
    assert [(write["path"], write["value"]) for write in bot.noted("write")] == [(["t0", "c"], 1), (["t0", "a"], None)]


def test_what_is_never_stored_is_gone_from_memory(tmp_path: pathlib.Path) -> None:
    bot = Bot(tmp_path, {})
    bot.memory.exclude(USER)
    bot.memory.look(USER)
    assert without_excluded(bot.data) == {}
    del bot.data[EXCLUDED]

    bot.memory.look(USER)

    (problem,) = bot.noted("problem")
    assert "without the bot having done it" in problem["text"]
    assert bot.noted("saw") == []


def test_what_is_never_stored_is_stored() -> None:
    assert excluded_in([b"some", f"data.cache.text\x00{SECRET}bot0.1:5".encode()]) == 1


class OneDocument(Stored):
    """A database with one document."""

    def __init__(self, data: Any) -> None:
        self.data = {USER: data}


def test_a_bot_has_something_else_in_memory_than_what_is_stored(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "bot0.memory"
    assert differences(OneDocument({}), "bot0", [USER], file) == ["bot0 has said nothing"]
    file.write_text(json.dumps({"waiting": 0, "memory": {"user_data 1": exact({"l": ["a", "b"]})}}))
    assert differences(OneDocument({"l": ["a", "b"]}), "bot0", [USER], file) == []
    (difference,) = differences(OneDocument({"l": ["b", "a"]}), "bot0", [USER], file)
    assert "1 keys differ: l" in difference
    file.write_text(json.dumps({"waiting": 2, "memory": {"user_data 1": {}}}))
    assert differences(OneDocument({}), "bot0", [USER], file) == ["bot0 has 2 changes that are not saved"]
