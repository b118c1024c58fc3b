"""Plain documents as hypothesis makes them: at random, and as somebody has edited them."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

from ptb_mongo.codec import sort_elements
from ptb_mongo.codec.keys import escape
from ptb_mongo.replica.values import Keys, elements_inside, fields_inside, fingerprints

KEYS = ["a", "b", "c", "0", "1", "10", "a.b", "$set", "", "é", "%", "_py", 5, -1, True, None]
names = st.sampled_from([str(escape(key)) for key in KEYS])
scalars = st.sampled_from([0, 1, 1.0, True, None, "", "x", -0.0, 0.0, float("nan"), 2**40, b"x"])
# Elements of a set: no two of them are equal in Python.
elements = st.sampled_from([0, 1, 2, 3, "", "x", "y", None, b"x", 2.5, 2**40])


def a_set(items: list[Any], kind: str = "set") -> dict[str, Any]:
    """The plain form of a set."""
    sort_elements(items)
    return {"_py": kind, "v": items}


def a_deque(items: list[Any], maxlen: int | None = None) -> dict[str, Any]:
    """The plain form of a deque."""
    return {"_py": "deque", **({} if maxlen is None else {"maxlen": maxlen}), "v": items}


def in_our_form(value: Any) -> Any:
    """The same value with its sets sorted: what is added to a stored set stands at the end of it."""
    if isinstance(value, list):
        return [in_our_form(item) for item in value]
    if not isinstance(value, dict):
        return value
    fields = {name: in_our_form(item) for name, item in value.items()}
    return a_set(fields["v"], fields["_py"]) if fields.get("_py") in {"set", "frozenset"} else fields


def without_repetition(items: list[Any]) -> list[Any]:
    """The elements, each once."""
    return list(dict(zip(fingerprints(items), items, strict=True)).values())


sets = st.builds(a_set, st.lists(elements, max_size=5, unique=True), st.sampled_from(["set", "frozenset"]))
deques = st.builds(
    lambda items, maxlen: a_deque(items[-maxlen:] if maxlen else items, maxlen),
    st.lists(scalars, max_size=5),
    st.sampled_from([None, 2, 4]),
)
tagged = st.one_of(
    st.builds(lambda v: {"_py": "tuple", "v": v}, st.lists(scalars, max_size=2)),
    st.builds(
        lambda fields: {"_py": "object", "cls": "m.C", "state": fields}, st.dictionaries(names, scalars, max_size=3)
    ),
    st.builds(lambda fields: {"_py": "Counter", "v": fields}, st.dictionaries(names, scalars, max_size=3)),
    sets,
    deques,
)
values = st.recursive(
    scalars | tagged,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=8,
)
documents = st.dictionaries(names, values, max_size=5)


@st.composite
def edited(draw: st.DrawFn, base: dict[str, Any]) -> dict[str, Any]:
    """A version of a document that somebody has edited in a few places."""
    result = copy.deepcopy(base)
    for _ in range(draw(st.integers(0, 3))):
        target = result
        while (inner := [v for v in map(fields_inside, target.values()) if v is not None]) and draw(st.booleans()):
            target = draw(st.sampled_from(inner))[1]
        key = draw(names)
        if (found := [name for name, value in target.items() if elements_inside(value)]) and draw(st.booleans()):
            key = draw(st.sampled_from(found))
            target[key] = draw(edited_elements(target[key]))
        elif key in target and draw(st.booleans()):
            del target[key]
        else:
            target[key] = draw(values)
    return result


@st.composite
def edited_elements(draw: st.DrawFn, value: Any) -> Any:
    """A list, deque or set to which something was added, or from which something was removed."""
    found = elements_inside(value)
    assert found is not None
    items = list(found.items)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(items)))
        if at < len(items) and draw(st.booleans()):
            del items[at]
        else:
            items.insert(at, draw(elements if found.is_set else scalars))
    if found.is_set:
        return a_set(without_repetition(items), found.kind)
    return {**value, "v": items[-found.maxlen :] if found.maxlen else items} if found.inner else items


@st.composite
def triples(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """A document, and two versions of it."""
    base = draw(documents)
    return base, draw(edited(base)), draw(edited(base))


def leaves(document: Any, keys: Keys = ()) -> dict[Keys, Any]:
    """Every value that is not merged field by field, by its keys; empty documents count as values."""
    inside = fields_inside(document)
    if inside is None or not inside[1]:
        return {keys: document}
    found: dict[Keys, Any] = {}
    for key, value in inside[1].items():
        found |= leaves(value, (*keys, key))
    return found


def never(*conflict: Any) -> Any:
    """Decides no conflict."""
    raise AssertionError(f"no conflict expected: {conflict}")
