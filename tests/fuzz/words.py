"""Texts and numbers that mean something to somebody: to the codec, to constructors, to Python, or to MongoDB."""

from __future__ import annotations

import zoneinfo
from typing import Final

from ptb_mongo.codec.pickling import FOREIGN_BOT, OWN_BOT

__all__ = ["DECIMALS", "DIGITS", "FLAGS", "ISO", "KEYS", "NUMBERS", "PATTERNS", "WORDS", "ZONES"]

WORDS: Final = (
    *("", "a", "x", "int", "value", "_value", "flags", "pattern", "_Code__scope", "_Binary__subtype", "state"),
    *("\0", "\ud800", "__class__", "__dict__", "__deepcopy__", "__reduce_ex__", "args", "1.5", "0.0.0.0/0", "::/0"),
    *("10.0.0.0/8", "object", "telegram", "set", "frozenset", OWN_BOT, FOREIGN_BOT, "x" * 300, "9" * 1001, "é\u202e"),
    *("UTC", "Europe/Berlin", "../../etc/passwd", "[\u0400-\uffff]", "(a|b)*" * 9, "(", "RED", "$set", "a.b", "_py"),
)
NUMBERS: Final = (
    0,
    1,
    -1,
    5,
    2**31,
    -(2**31) - 1,
    2**61 - 1,
    2**63 - 1,
    -(2**63),
    2**63,
    2**64 - 1,
    2**70,
    -(10**1001),
)
ZONES: Final = ("UTC", "Europe/Berlin", "Africa/Monrovia", *sorted(zoneinfo.available_timezones()), "../x", "", "\0")
ISO: Final = (
    *("2024-01-01T00:00:00", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.999999-23:59", "2024-01-01", ""),
    *("2024-10-27T02:30:00.123456", "12:30:00", "12:30:00.5+01:00", "24:00", "2024-01-01T00:00:00+00:00:00.000001"),
)
DIGITS: Final = ("5", "-7", "0x" + "f" * 300, "0b1", "1_000", " 5", "\u0663", "9" * 1000, "9" * 5000, "0x", "-", "1e5")
DECIMALS: Final = ("1.5", "NaN123", "-sNaN", "1e999999999", "9" * 600, "1e-5", "x", "Infinity", "0E+7000")
PATTERNS: Final = ("a", "(", "[\u0400-\uffff]", "(?i)[\\w-\\U0010ffff]", "(a*)*b", "()" * 90, "(?P<a>x)(?(a)y|z)")
FLAGS: Final = (32, 0, 34, 2, 64, 128, 256, 4, 8, 16, 1, -1, 2**40)
KEYS: Final = (
    *("a", "b", "", "%i5", "%i05", "%i-0", "%none", "%btrue", "%empty", "%5Fpy", "_py", "v", "cls", "%25", "%", "50%"),
    *("$set", "a.b", "%2E", "%uD800", "%ud800", "__deepcopy__", "__class__", "x" * 300, "é\u202e", "%i" + "9" * 1001),
    *("a\x1b[31m", "\udcff", "%00", "%i1"),
)
