"""The checker finds what was lost in handmade histories, and nothing else."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from checker import Checker, Violation
from history import GRACE, Document, Sighting, Write
from keyboards import CACHE, cache_tree
from values import Thing, tree

USER: Document = ("user_data", 1)


def write(value: Any, start: float, end: float = math.inf, *, path: str = "k", **fields: Any) -> Write:
    """An acknowledged write, if it has ended."""
    fields = {"actor": "bot0.1", "acknowledged": end < math.inf, **fields}
    keys = tuple(path.split(".")) if path else ()
    return Write(document=USER, path=keys, value=value, start=start, end=end, **fields)


def found(final: Any, *writes: Write) -> list[str]:
    """What the checker finds wrong about the data of the one user."""
    return [violation.kind for violation in Checker(writes).check({USER: tree(final)})]


def wrong(final: Any, *writes: Write) -> list[str]:
    """The paths at which the checker finds something wrong."""
    return [violation.where.split()[-1] for violation in Checker(writes).check({USER: tree(final)})]


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


def test_a_dict_in_the_place_of_a_text() -> None:
    writes = write("a", 1, 2, path="d"), write({"x": "b"}, 3, 4, path="d")
    assert found({"d": {"x": "b"}}, *writes) == []
    assert found({"d": "a"}, *writes) == ["lost", "lost"]


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


# -- elements of lists and sets, attributes of objects, keyboards ----------------------------------------


def test_a_bot_keeps_a_dict_also_over_what_others_write_there_before_it_is_saved() -> None:
    older, removal = write("a", 1, 2, path="d.k"), write(None, 5, 5.5, path="d", actor="planter.0")
    inside = write("c", 4.5, 8, path="d.x", actor="bot1.1")
    final = {"d": {"k": "a", "x": "c"}}
    for value in ({"d": {"y": "b"}}, {"d": {"k": "b", "y": "b"}}):  # the value may be gone already, or another one
        newer = write(value, 6, 7, path="", actor="planter.0")
        assert found({"d": {**final["d"], "y": "b"}}, older, removal, inside, newer) == []
        for other in (
            replace(inside, end=5.9),  # it was saved before
            replace(inside, start=5.7),  # it was made after the removal
            replace(inside, actor=newer.actor.replace("planter", "service")),  # it is no bot's
        ):
            assert "d.k" in wrong({"d": {**final["d"], "y": "b"}}, older, removal, other, newer)
    assert "d.k" in wrong(final, replace(older, start=5.6, end=5.8), removal, inside, write(None, 6, 7, path="d.k"))
    assert "d.k" in wrong(final, older, removal, inside, write("b", 6, 7, path="d.k", actor="bot1.1"))


def test_an_element_that_was_added_is_there_once() -> None:
    pushed = write(1, 1, 2, path="l.a"), write(1, 1, 2, path="l.b", actor="service0.0")
    assert found({"l": ["b", "a"]}, *pushed) == []
    assert found({"l": {"a", "b"}}, *pushed) == []
    assert found({"l": ["b"]}, *pushed) == ["lost"]
    assert found({"l": set()}, *pushed) == ["lost", "lost"]
    assert found({"l": ["b", "a", "b"]}, *pushed) == ["twice"]
    assert found({"l": ["b", "a", "c"]}, *pushed) == ["unknown value"]


def test_an_element_that_was_removed_does_not_come_back() -> None:
    writes = write(1, 1, 2, path="l.a"), write(None, 3, 4, path="l.a", actor="service0.0")
    assert found({"l": []}, *writes) == []
    assert found({"l": ["a"]}, *writes) == ["resurrected"]
    assert found({"l": ["a"]}, *writes, write(1, 5, path="l.a")) == []
    assert found({"l": ["a"]}, writes[0], write(None, 3, path="l.a")) == []


def test_an_element_that_is_added_again_is_there() -> None:
    writes = write(1, 1, 2, path="t.a"), write(None, 3, 4, path="t.a"), write(1, 5, 6, path="t.a")
    assert found({"t": {"a"}}, *writes) == []
    assert found({"t": set()}, *writes) == ["lost"]


def test_an_attribute_of_an_object_is_lost() -> None:
    writes = write("a", 1, 2, path="o.bot0"), write("b", 1, 2, path="o.service0", actor="service0.0")
    assert found({"o": Thing(bot0="a", service0="b")}, *writes) == []
    assert found({"o": Thing(bot0="a")}, *writes) == ["lost"]
    removed = write(None, 3, 4, path="o.bot0")
    assert found({"o": Thing(bot0="a", service0="b")}, *writes, removed) == ["resurrected"]


def ordered(*elements: str, writes: list[Write]) -> list[str]:
    """What the checker finds wrong about the order of a list."""
    return [violation.kind for violation in Checker(writes).check_orders({USER: {("l",): [*elements]}})]


def test_what_a_process_has_appended_later_stands_later() -> None:
    writes = [write(1, 1, 2, path="l.a"), write(1, 3, 4, path="l.b"), write(1, 1.5, 4, path="l.c")]
    assert ordered("a", "c", "b", writes=writes) == []
    assert ordered("c", "a", "b", writes=writes) == []
    assert ordered("b", "c", "a", writes=writes) == ["out of order"]
    assert ordered("b", "a", writes=[*writes[:1], write(1, 3, path="l.b")]) == []
    assert ordered("b", "a", writes=[*writes[:1], write(1, 3, 4, path="l.b", actor="service0.0")]) == []


def cached(keyboards: dict[str, Any], queries: dict[str, str], *writes: Write) -> list[str]:
    """What the checker finds wrong about the keyboards."""
    data = [(uuid, 1.0, buttons) for uuid, buttons in keyboards.items()], queries
    return [violation.kind for violation in Checker(writes).check({CACHE: cache_tree(data)})]


def test_keyboards_and_queries_are_there_until_they_are_dropped() -> None:
    made = replace(write({"button": {"text": "a"}}, 1, 2, path="keyboard"), document=CACHE)
    used = replace(write("keyboard", 1, 2, path="query:1"), document=CACHE)
    dropped = replace(write(None, 3, 4, path="keyboard"), document=CACHE)
    keyboards = {"keyboard": {"button": {"text": "a"}}}
    assert cached(keyboards, {"1": "keyboard"}, made, used) == []
    assert cached({}, {"1": "keyboard"}, made, used) == ["lost"]
    assert cached(keyboards, {}, made, used) == ["lost"]
    assert cached({"keyboard": {"button": {"text": "b"}}}, {}, made) == ["unknown value"]
    assert cached(keyboards, {}, made, dropped) == ["resurrected"]
    assert cached({}, {}, made, dropped) == []


# -- what was spilled ------------------------------------------------------------------------------------


def spilled(value: Any, start: float, at: float, **fields: Any) -> Write:
    return write(value, start, acknowledged=True, spilled=at, **fields)


def test_what_was_spilled_is_written_some_time() -> None:
    assert found({"k": "a"}, spilled("a", 1, 2)) == []
    assert found({}, spilled("a", 1, 2)) == ["lost"]
    assert found({"l": []}, spilled(1, 1, 2, path="l.a")) == ["lost"]
    assert found({"l": ["a"]}, write(1, 1, 2, path="l.a"), spilled(None, 3, 4, path="l.a")) == ["resurrected"]


def test_what_was_spilled_need_not_come_where_others_wrote_too() -> None:
    assert found({"k": "b"}, write("b", 1, 2, actor="service0.0"), spilled("a", 3, 4)) == []
    assert found({"k": "b"}, write("b", 1, 2), spilled("a", 3, 4, actor="bot0.2")) == ["lost"]


def test_what_was_spilled_does_not_undo_what_is_newer() -> None:
    newer = write("b", 3 + GRACE, 4 + GRACE, actor="service0.0")
    assert found({"k": "b"}, spilled("a", 1, 2), newer) == []
    assert found({"k": "a"}, spilled("a", 1, 2, taken=5 + GRACE), newer) == ["lost"]
    assert found({"k": "a"}, spilled("a", 1, 2, taken=3 + GRACE), newer) == []
    assert found({"k": "a"}, spilled("a", 1, 4, taken=5 + GRACE), newer) == []


# -- what bots saw on the way ----------------------------------------------------------------------------


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


def test_memory_may_go_back_to_what_a_bot_keeps_with_a_dict_that_others_have_removed() -> None:
    older, newer = write("a", 1, 2, path="d.k"), write("b", 3, 4, path="d.k")
    inside = write("c", 4.5, 6, path="d.x", actor="bot1.1")
    removal = write(None, 5, 5.5, path="d", actor="planter.0")
    back = [Sighting("bot0.1", USER, ("d", "k"), "a", 7)]
    assert Checker([older, newer, removal, inside]).check_sightings(back) == []
    for writes in ([older, newer, inside], [older, newer, removal]):
        assert [violation.kind for violation in Checker(writes).check_sightings(back)] == ["went back"]


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
