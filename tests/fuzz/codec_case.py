"""One planted document and the codec: it is refused, or can be copied, stored and restored, at little cost.

The factors are those of SECURITY.md, with room for what else a machine does. PTB copies from within tasks and handlers,
so that fewer levels of Python's stack are left than here.
"""

from __future__ import annotations

import contextlib
import copy
import io
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import samples
import telegram
from choices import Choices
from honest_documents import stored
from hostile_plain import HostileValues
from judging import Finding, Timed, cost, of_error
from odd_values import encoded
from walking import holds

from ptb_mongo.codec import MAX_SIZE, Codec, Nature, dump, fingerprint, load
from ptb_mongo.errors import DecodeError, EncodeError

__all__ = ["CodecLayer", "judge", "make"]

BOT: Final = telegram.Bot("1:TOKEN")
CODECS: Final = (Codec(samples.TRUSTED, lambda: BOT), Codec(bot=lambda: BOT))
_DISTRUSTFUL: Final = CODECS[1]
_FRAMES: Final = 60
_TO_DECODE: Final = 0.6, 25e-6  # seconds, and seconds for a byte
_TO_USE: Final = 1.2, 200e-6
_MEMORY: Final = 8_000_000, 550  # bytes, and bytes for a byte
_MEASURED: Final = 50_000  # larger ones take too long if their memory is traced
_AGAIN: Final = 2
_LONGEST_ERROR: Final = 1000
_HONEST: Final = "honest"  # what only a document has that the codec itself has made
_ALLOWED: Final = ("reduced",)  # what a trusted class does by itself when it is copied


def make(choices: Choices) -> bytes:
    """The bytes of a document."""
    if choices.percent(8):
        return encoded({_HONEST: True, "data": stored(choices, CODECS[0])})
    large = choices.percent(4)
    values = HostileValues(choices, large=large)
    data = values.plain() if choices.percent(80) else {"a": values.plain(), "b": values.plain()}
    choices.label = choices.label or "plain"
    return encoded({"data": data})


def judge(raw: bytes, *, trusting: bool = True, traces_memory: bool = False) -> Finding | None:
    """What is wrong with how a document is treated.

    Args:
        raw: The document.
        trusting: Whether the classes of the tests are trusted.
        traces_memory: Whether its memory is measured, which takes long.
    """
    codec = CODECS[not trusting]
    samples.FIRED.clear()
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of patterns that are deprecated, and of PTB
        found = _judge(codec, raw) or (_memory(codec, raw) if traces_memory and len(raw) < _MEASURED else None)
    if any(call != _ALLOWED for call in samples.FIRED):
        return Finding("code was run", repr(samples.FIRED))
    if printed.getvalue():
        return Finding("something was printed", printed.getvalue()[:2000])
    return found


def _decoded(codec: Codec, raw: bytes) -> Any:
    """The value of a document, or the error that says why it is refused."""
    try:
        value = codec.decode_body(raw, load(raw))
        if codec.doubtful:
            codec.check_usable(value, copied=True)
    except DecodeError as error:
        return error
    return value


def _judge(codec: Codec, raw: bytes) -> Finding | None:
    try:
        took = cost(lambda: _decoded(codec, raw))
    except BaseException as error:  # noqa: BLE001  (that is what we look for)
        return of_error("decoding", error)
    if found := _slow("decoding", took, _TO_DECODE, raw, lambda: _decoded(codec, raw)):
        return found
    value = took.result
    if isinstance(value, DecodeError):
        if codec is CODECS[0] and _is_honest(raw):
            return Finding("an honest value is refused", str(value)[:2000])
        return Finding("a long error", str(value)[:2000]) if len(str(value)) > _LONGEST_ERROR else None
    if holds(value, telegram.Bot):
        return Finding("the bot is among the data", repr(raw)[:2000])
    try:
        used = cost(lambda: _used(codec, value))
    except BaseException as error:  # noqa: BLE001  (likewise)
        return of_error("using what was let in", error)
    if not used.result:
        return Finding("what is stored again differs", repr(raw)[:2000])
    return _slow("using what was let in", used, _TO_USE, raw, lambda: _used(codec, value))


def _is_honest(raw: bytes) -> bool:
    try:
        return len(raw) <= MAX_SIZE and _HONEST in load(raw)
    except DecodeError:
        return False


def _slow(what: str, took: Timed, limits: tuple[float, float], raw: bytes, again: Any) -> Finding | None:
    """Whether something takes too long each time; once may be chance."""
    fixed, each = limits
    for _ in range(_AGAIN):
        if took.seconds < fixed + each * len(raw):
            return None
        took = cost(again)
    return Finding(f"{what} is slow", f"{took.seconds:.2f} s for {len(raw):,} bytes")


def _used(codec: Codec, value: Any) -> bool:
    """Whether it can be copied, stored and restored, to the same bytes each time."""
    copied = _below(_FRAMES, lambda: copy.deepcopy(value))
    if not _is_known_by_its_fingerprint(codec, copied):
        return False
    again = dump(codec.encode(copied))
    if again != dump(codec.encode(value)) and not _copied_otherwise(codec, copied, again):
        return False
    # Which texts deep inside a pickle are one and the same, as Python chooses, may differ once.
    once = _stored_again(codec, again)
    return once == again or _stored_again(codec, once) == once


def _is_known_by_its_fingerprint(codec: Codec, copied: Any) -> bool:
    """Whether what a save asks of a copy, before anything is encoded, is answered, and rightly."""
    if fingerprint(copied) is None or codec.nature(copied) is not Nature.NATIVE:
        return True
    try:
        raw = dump({"data": copied})
    except EncodeError:
        return True
    return raw == dump({"data": codec.encode(copied)})


def _copied_otherwise(codec: Codec, copied: Any, again: bytes) -> bool:
    """Whether a trusted class copies its objects into others, of which the next copy is the same.

    Whoever trusts a class lets a stranger make objects of it that its own `__init__` does not make, and that its own
    `__reduce__` may not know how to copy: an error whose state was never set has one, `None`, in its copy. The copy is
    what is stored.
    """
    if codec is _DISTRUSTFUL or dump(codec.encode(copy.deepcopy(copied))) != again:
        return False
    try:
        _DISTRUSTFUL.decode_body(again, load(again))
    except DecodeError:
        return True
    return False


def _stored_again(codec: Codec, raw: bytes) -> bytes:
    restored = codec.decode_body(raw, load(raw))
    if codec.doubtful:
        codec.check_usable(restored, copied=True)
    return dump(codec.encode(restored))


def _below(frames: int, function: Any) -> Any:
    return _below(frames - 1, function) if frames else function()


def _memory(codec: Codec, raw: bytes) -> Finding | None:
    fixed, each = _MEMORY
    tracemalloc.start()
    try:
        _decoded(codec, raw)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    if peak < fixed + each * len(raw):
        return None
    return Finding("decoding takes much memory", f"{peak:,} bytes for {len(raw):,}")


class CodecLayer:
    """See `hunting.Layer`."""

    name = "codec"

    def make(self, choices: Choices) -> bytes:
        """See `Layer.make`."""
        return make(choices)

    def size(self, made: bytes) -> int:
        """See `Layer.size`."""
        return len(made)

    @contextlib.contextmanager
    def open(self) -> Iterator[Callable[[bytes, int], Finding | None]]:
        """See `Layer.open`; the memory of a few is measured, and some are read without trusted classes."""
        yield lambda made, number: judge(made, trusting=bool(number % 5 != 1), traces_memory=number % 10 == 0)

    def shown(self, made: bytes) -> str:
        """See `Layer.shown`."""
        try:
            return f"{len(made):,} bytes: {load(made)!r:.3000}"
        except DecodeError:
            return f"{len(made):,} bytes: {made!r:.3000}"
