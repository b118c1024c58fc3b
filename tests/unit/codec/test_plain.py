"""A document's bytes show whether there is anything in it to restore.

The kind of fault: the check of the bytes misses a form or an escaped key, so that the bot would get the stored form
instead of the value.
"""

from __future__ import annotations

from typing import Any

import pytest
import samples
from bson import encode
from hypothesis import given
from hypothesis import strategies as st
from roundtrip import portrait
from strategies import garbage, values

from ptb_mongo.codec import TAG, Codec, dump, escape, is_plain, load, load_plain, unescape
from ptb_mongo.errors import EncodeError

CODEC = Codec(samples.TRUSTED)


@given(key=st.one_of(st.text(), st.integers(), st.booleans(), st.none(), st.sampled_from([TAG, "", "$x", "a.b", "%"])))
def test_a_key_that_is_stored_in_another_form_is_seen(key: Any) -> None:
    stored = escape(key)
    assert stored is not None

    if stored != key:
        assert not is_plain(encode({"data": {"a": [{stored: 1}]}}))


@given(stored=st.text(alphabet="%i0123456789-uD8AFEempty nonebtruefals25Fpy$.", max_size=8))
def test_a_name_that_stands_for_another_key_is_seen(stored: str) -> None:
    assert unescape(stored) == stored or not is_plain(encode({stored: 1}))


@pytest.mark.parametrize("tag", ["tuple", 1, None, {}, b"x"])
def test_a_tag_is_seen_whatever_its_type(tag: Any) -> None:
    assert not is_plain(encode({"data": {TAG: tag}}))


@pytest.mark.parametrize("text", ["100%", "50% off", "%", "%i", "%x", "%20", "_py.", "a_py%", "%empt"])
def test_texts_that_only_look_like_it_are_plain(text: str) -> None:
    assert is_plain(encode({"data": {"a": text, "b": 1}}))


@given(value=st.one_of(values.map(CODEC.encode), garbage))
def test_what_is_plain_is_decoded_as_the_full_decoder_does_it(value: Any) -> None:
    try:
        raw = dump({"data": value})
    except EncodeError:  # what BSON does not hold
        return
    plain = load_plain([raw, raw])

    if plain is not None:
        assert portrait(plain[1]["data"]) == portrait(CODEC.decode(load(raw))["data"])


def test_damaged_documents_are_not_plain() -> None:
    assert load_plain([encode({"a": 1}), b"\x0c\x00\x00\x00\x10a\x00\x01\x00"]) is None
    assert load_plain([encode({"a": "\x00"}).replace(b"\x02\x00\x00\x00\x00", b"\x02\x00\x00\x00\xff")]) is None
