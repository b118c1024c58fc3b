"""Other forms of stored values, which another service or an older version may have written for the same value."""

from __future__ import annotations

from typing import Any

from bson.decimal128 import Decimal128
from hypothesis import strategies as st

from ptb_mongo.codec import TAG, escape, unescape

_INNER = {
    **dict.fromkeys(["tuple", "set", "frozenset", "deque", "list", "dict"], "v"),
    "object": "state",
}  # what holds any values


@st.composite
def in_another_form(draw: st.DrawFn, plain: Any) -> Any:
    """The same value, in a form that may not be the one that we store."""
    if type(plain) is list:
        return [draw(in_another_form(item)) for item in plain]
    if type(plain) is int and -(2**63) <= plain < 2**63 and draw(st.integers(0, 9)) == 0:
        return {TAG: "int", "v": str(plain)}
    if type(plain) is not dict:
        return plain
    if TAG not in plain:
        return draw(_a_dict(plain))
    tag = plain[TAG]
    inner = _INNER.get(tag)
    fields = {name: draw(in_another_form(value)) if name == inner else value for name, value in plain.items()}
    if tag in {"set", "frozenset"}:
        fields["v"] = draw(st.permutations(fields["v"]))
    elif tag == "deque" and plain.get("maxlen") == len(plain["v"]) and draw(st.booleans()):
        fields["v"] = ["too long", *fields["v"]]
    elif tag == "decimal" and isinstance(plain["v"], Decimal128):
        fields["v"] = str(plain["v"])
    elif tag == "timedelta":
        fields["v"] = int(plain["v"])
    if draw(st.booleans()):
        fields = dict(reversed(fields.items()))
    return fields


@st.composite
def _a_dict(draw: st.DrawFn, plain: dict[str, Any]) -> dict[str, Any]:
    inside = {name: draw(in_another_form(value)) for name, value in plain.items()}
    if draw(st.integers(0, 4)) == 0:
        return {TAG: "dict", "v": [[unescape(name), value] for name, value in inside.items()]}
    plainly = {unescape(name) if "%" in name else name: value for name, value in inside.items()}
    usable = all(isinstance(key, str) and key and "\0" not in key for key in plainly) and TAG not in plainly
    # A text like "%i5" would be read as another key.
    if usable and all(escape(unescape(str(key))) == name for key, name in zip(plainly, inside, strict=True)):
        return {str(key): value for key, value in plainly.items()}
    return inside
