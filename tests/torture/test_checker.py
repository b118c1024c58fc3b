"""The checker finds what was lost, in histories made by hand, and nothing else."""

from __future__ import annotations

import json
import math
import pathlib
from typing import Any

import pytest
from checker import Checker, Violation
from history import GRACE, Document, Recorder, Sighting, Write, leaves, load

USER: Document = ("user_data", 1)


def write(value: Any, start: float, end: float = math.inf, *, path: str = "k", **fields: Any) -> Write:
    """An acknowledged write, if it has ended."""
    fields = {"actor": "bot0.1", "acknowledged": end < math.inf, **fields}
    keys = tuple(path.split(".")) if path else ()
    return Write(document=USER, path=keys, value=value, start=start, end=end, **fields)


def found(final: Any, *writes: Write) -> list[str]:
    """What the checker finds wrong about the data of the one user."""
    return [violation.kind for violation in Checker(writes).check({USER: final})]


def test_what_was_written_is_there() -> None:
    assert found({"k": "a", "d": {"x": "b"}}, write("a", 1, 2), write("b", 3, 4, path="d.x")) == []


def test_an_acknowledged_write_is_not_there() -> None:
    assert found({}, write("a", 1, 2)) == ["lost"]
    assert found({}, write("a", 1, 2, path="d.x"), write(None, 1, 9, path="d.y")) == ["lost"]


def test_an_unacknowledged_write_may_be_there_or_not() -> None:
    assert found({}, write("a", 1)) == []
    assert found({"k": "a"}, write("a", 1)) == []


def test_a_later_write_to_the_same_path_is_the_last() -> None:
    assert found({"k": "b"}, write("a", 1, 2), write("b", 3, 4)) == []
    assert found({}, write("a", 1, 2), write(None, 3, 4)) == []


def test_a_write_is_overwritten_by_an_older_one() -> None:
    assert found({"k": "a"}, write("a", 1, 2), write("b", 3, 4)) == ["lost"]


def test_of_two_at_the_same_time_either_may_be_the_last() -> None:
    writes = write("a", 1, 4), write("b", 3, 6)
    assert found({"k": "a"}, *writes) == []
    assert found({"k": "b"}, *writes) == []


def test_a_removed_value_is_there_again() -> None:
    assert found({"k": "a"}, write("a", 1, 2), write(None, 3, 4)) == ["resurrected"]
    assert found({"k": "a"}, write("a", 1, 2), write(None, 3)) == []
    assert found({"k": "a"}, write("a", 1, 2), write(None, 3, 4, path="", binding=False)) == []


def test_a_write_that_nobody_waits_for_may_happen_later() -> None:
    assert found({"k": "a"}, write("a", 1, 2 + GRACE, acknowledged=False), write("b", 3, 4)) == []
    assert found({"k": "a"}, write("a", 1, 2 + GRACE, acknowledged=False), write("b", 3 + GRACE, 40)) == ["lost"]


def test_a_value_that_nobody_wrote() -> None:
    assert found({"k": "a"}) == ["unknown value"]


def test_a_write_to_a_parent_overwrites_what_is_inside() -> None:
    inside = write("a", 1, 2, path="d.x")
    assert found({}, inside, write(None, 3, 4, path="d")) == []
    assert found({}, inside, write(None, 3, 4, path="")) == []
    assert found({"d": {"y": "b"}}, inside, write({"y": "b"}, 3, 4, path="d")) == []
    assert found({"d": {"y": "b"}}, write({"y": "b"}, 1, 2, path="d"), write("a", 3, 4, path="d.x")) == ["lost"]


def test_a_document_that_is_put_back_brings_old_values_with_it() -> None:
    writes = write("a", 1, 2), write("b", 3, 4)
    assert found({"k": "a"}, *writes, write({"k": "a"}, 2.5, 5, path="", actor="planter.0")) == []
    assert found({"k": "a"}, *writes, write({"k": "a"}, 2.5, 2.9, path="", actor="planter.0")) == ["lost"]


def test_a_bot_keeps_a_dict_that_others_remove_while_it_has_an_unsaved_change_inside() -> None:
    inside = write("a", 1, 2, path="d.x")
    removal = write(None, 3, 4, path="d", actor="planter.0")
    assert found({"d": {"x": "a"}}, inside, removal) == ["resurrected"]
    assert found({"d": {"x": "a", "y": "b"}}, inside, removal, write("b", 2.5, 5, path="d.y")) == []
    service = write("b", 2.5, 5, path="d.y", actor="service0.0")
    assert found({"d": {"x": "a", "y": "b"}}, inside, removal, service) == ["resurrected"]


def test_what_a_bot_keeps_of_a_dict_that_others_remove_may_be_older_than_what_was_there_last() -> None:
    older, newer = (
        write(value, time, time + 1, path="d.x", actor="service0.0") for value, time in (("a", 1), ("b", 3))
    )
    removal = write(None, 5, path="d", actor="planter.0")
    inside = write("c", 4.5, 6, path="d.y")
    assert found({"d": {"x": "a", "y": "c"}}, older, newer, removal, inside) == []
    assert found({"d": {"x": "a", "y": "c"}}, older, newer, inside) == ["lost"]
    assert found({"d": {"x": "a", "y": "c"}}, older, newer, write(None, 2, 2.5, path="d"), inside) == ["lost"]


def saw(*sightings: tuple[Any, float], writes: list[Write]) -> list[Violation]:
    """What the checker says of what a bot saw."""
    seen = [Sighting("bot0.1", USER, ("k",), value, time) for value, time in sightings]
    return Checker(writes).check_sightings(seen)


def test_memory_goes_back_to_what_was_overwritten_before() -> None:
    writes = [write("a", 1, 2, actor="service0.0"), write("b", 3, 4, actor="service0.0")]
    assert saw(("a", 2.5), ("b", 5), writes=writes) == []
    assert [violation.kind for violation in saw(("b", 5), ("a", 6), writes=writes)] == ["went back"]
    assert saw(("b", 5), ("a", 6), writes=[writes[0], write("b", 3, 40, actor="service0.0", acknowledged=False)]) == []


def test_memory_may_go_back_behind_what_others_have_written_while_that_is_not_acknowledged() -> None:
    writes = [write("a", 1, 2, actor="service0.0"), write("b", 3, 7, actor="service0.0")]

    assert saw(("b", 5), ("a", 6), writes=writes) == []
    assert [violation.kind for violation in saw(("b", 5), ("a", 8), writes=writes)] == ["went back"]


def test_memory_loses_what_the_bot_itself_has_written() -> None:
    assert [violation.kind for violation in saw((None, 3), writes=[write("a", 1, 2)])] == ["went back"]
    removal = write(None, 2, 3, actor="service0.0")
    assert saw((None, 3), writes=[write("a", 1, 2), removal]) == []


def test_a_report_tells_who_wrote_there() -> None:
    writes = [write("a", 1, 2, path="d.x"), write("b", 3, 4, path="d.x")]

    (violation,) = Checker(writes).check({USER: {"d": {"x": "a"}}})

    where, *story = str(violation).splitlines()
    assert where.startswith("LOST user_data 1 d.x: bot0.1 d.x: 'b' [3.000..4.000, acknowledged] is overwritten by")
    assert story == [
        "    bot0.1 d.x: 'a' [1.000..2.000, acknowledged]",
        "    bot0.1 d.x: 'b' [3.000..4.000, acknowledged]",
    ]


def test_a_conversation_is_a_document_of_one_value() -> None:
    talk: Document = ("conversations", 1)
    state = Write("bot0.1", talk, (), "a", 1, 2, acknowledged=True)
    assert Checker([state]).check({talk: "a"}) == []
    assert [violation.kind for violation in Checker([state]).check({})] == ["lost"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [("a", {(): "a"}), (None, {}), ({}, {}), ({"d": {"x": "a", "e": {}}}, {("d", "x"): "a"})],
)
def test_leaves(data: Any, expected: Any) -> None:
    assert dict(leaves(data)) == expected


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
