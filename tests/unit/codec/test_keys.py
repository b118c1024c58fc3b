"""The stored form of keys: a contract with other services, and the barrier between users' text and update paths."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from roundtrip import CODEC, restored, stored
from strategies import AWKWARD_TEXTS, texts

from ptb_mongo.codec import escape, unescape

addressable_keys = st.one_of(texts, st.text(), st.integers(), st.booleans(), st.none())

CONTRACT: dict[str, Any] = {
    "name": "name",
    "two words": "two words",
    "naïve": "naïve",
    "a$b": "a$b",
    "_id": "_id",
    "%24set": "$set",
    "%24": "$",
    "a%2Eb": "a.b",
    "%2E": ".",
    "50%25": "50%",
    "%2525": "%25",
    "%25i5": "%i5",
    "%25empty": "%empty",
    "a%00b": "a\0b",
    "x%uD800": "x\ud800",
    "%empty": "",
    "%5Fpy": "_py",
    "%i0": 0,
    "%i5": 5,
    "%i-12": -12,
    "%i123456789012345678901234567890": 123456789012345678901234567890,
    "%btrue": True,
    "%bfalse": False,
    "%none": None,
}


@pytest.mark.parametrize(("name", "key"), CONTRACT.items())
def test_the_stored_form_is_pinned(name: str, key: object) -> None:
    assert escape(key) == name


@pytest.mark.parametrize(("name", "key"), CONTRACT.items())
def test_the_pinned_form_is_read(name: str, key: object) -> None:
    assert (unescape(name), type(unescape(name))) == (key, type(key))


@given(addressable_keys)
def test_a_key_comes_back_with_its_type(key: object) -> None:
    name = escape(key)

    assert name is not None
    assert (unescape(name), type(unescape(name))) == (key, type(key))


@given(st.lists(addressable_keys, min_size=2, unique_by=lambda key: (type(key), key)))
def test_two_keys_never_share_a_name(some: list[object]) -> None:
    assert len({escape(key) for key in some}) == len(some)


@given(addressable_keys)
def test_a_name_addresses_one_field_and_nothing_else(key: object) -> None:
    name = escape(key)

    assert name
    assert not name.startswith("$")
    assert "." not in name
    assert "\0" not in name
    assert name != "_py"
    assert name.encode().decode() == name


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1))
@example("50%")
@example("100%25x")
@example("%i")
@example("%i05")
@example("%uD8")
@example("%2e")
@example("%i" + "9" * 5000)
def test_a_name_that_another_service_wrote_is_read_without_error(name: str) -> None:
    unescape(name)


@pytest.mark.parametrize("name", ["50%", "%", "%i", "%i05", "%i-0", "%i 5", "%i\u0665", "%btru", "%2e", "%uD7FF"])
def test_what_is_no_escape_is_read_as_it_stands(name: str) -> None:
    assert unescape(name) == name


def test_an_escape_in_a_name_of_another_service_is_read_as_an_escape() -> None:
    assert unescape("100%25x") == "100%x"


@pytest.mark.parametrize("key", [1.5, (1,), b"x", frozenset(), 10**1000, -(10**1000)], ids=lambda key: str(type(key)))
def test_a_key_that_no_name_can_hold_has_none(key: object) -> None:
    assert escape(key) is None


def test_integers_of_up_to_a_thousand_digits_are_names() -> None:
    longest = 10**1000 - 1

    assert unescape(escape(longest) or "") == longest
    assert unescape(escape(-longest) or "") == -longest


def test_equal_keys_of_different_types_are_told_apart() -> None:
    assert escape(1) != escape(True) != escape("1")


def test_awkward_texts_are_keys_at_every_level() -> None:
    value = {text: {text: text} for text in AWKWARD_TEXTS}

    assert len(value) > 20
    assert list(restored(stored(value)).items()) == list(value.items())


@given(st.dictionaries(addressable_keys, addressable_keys))
def test_a_document_has_one_field_for_each_key_in_their_order(value: dict[Any, Any]) -> None:
    assert list(CODEC.encode(value)) == [escape(key) for key in value]


def test_two_fields_for_one_key_are_an_error_not_a_loss() -> None:
    with pytest.raises(ValueError, match="same key"):
        CODEC.decode({"50%": 1, "50%25": 2})
