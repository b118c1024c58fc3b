"""Values of libraries that a bot may use, as far as they are installed here; and rarer ones of the standard library."""

from __future__ import annotations

import array
import datetime as dtm
import http
import importlib.util
import ipaddress
import pathlib
import sys
from typing import Any, Final

from bson import tz_util

__all__ = ["INSTALLED", "LIBRARY_VALUES", "STANDARD_VALUES", "ZONES"]

INSTALLED: Final = frozenset(
    name for name in ("pytz", "dateutil", "pendulum", "numpy") if importlib.util.find_spec(name) is not None
)
ZONES: Final[list[Any]] = [tz_util.utc, tz_util.FixedOffset(90, "x")]
"""Time zones of other libraries than the standard one."""

LIBRARY_VALUES: Final[list[Any]] = []
"""Values of libraries, zones included."""

KEEPS_SCOPES = sys.version_info >= (3, 11)
"""Whether copies of an address keep its scope: those of Python 3.10 do not."""

STANDARD_VALUES: Final[list[Any]] = [
    *(pathlib.Path("/srv/a b"), pathlib.PurePosixPath("a/../b"), pathlib.PureWindowsPath("c:/a"), pathlib.Path()),
    *(
        ipaddress.ip_address("10.0.0.1"),
        ipaddress.ip_address("fe80::1%eth0" if KEEPS_SCOPES else "fe80::1"),
        ipaddress.ip_network("10.0.0.0/8"),
    ),
    *(ipaddress.ip_network("fe80::/10"), ipaddress.ip_interface("10.0.0.1/8"), ipaddress.ip_interface("::1/64")),
    *(complex(1.5, -0.0), complex(float("nan"), 1), slice(1, "x", (None, 2.5)), slice(2**70)),
    *(array.array("d", [1.5, float("nan")]), array.array("Q", [2**64 - 1]), array.array("i", range(5000))),
    *(http.HTTPStatus.NOT_FOUND, array.array("b")),
]
"""Values of the standard library."""

if "pytz" in INSTALLED:
    import pytz

    _BERLIN = pytz.timezone("Europe/Berlin")
    _SUMMER = _BERLIN.localize(dtm.datetime(2024, 7, 1)).tzinfo  # noqa: DTZ001
    ZONES += [pytz.utc, _BERLIN, _SUMMER, pytz.timezone("Etc/GMT+5"), pytz.FixedOffset(-90)]
if "dateutil" in INSTALLED:
    from dateutil import tz

    ZONES += [tz.tzutc(), tz.tzoffset("x", 3600), tz.tzoffset(None, -5400), tz.gettz("Europe/Berlin"), tz.tzlocal()]
if "pendulum" in INSTALLED:
    import pendulum

    ZONES += [pendulum.timezone("Europe/Berlin"), pendulum.UTC, pendulum.FixedTimezone(3600, "x")]
    LIBRARY_VALUES += [
        pendulum.datetime(2024, 10, 27, 2, 30, tz="Europe/Berlin", fold=1),
        *(pendulum.naive(2024, 1, 2), pendulum.date(2024, 2, 29), pendulum.time(1, 2, 3, 4)),
        *(pendulum.duration(years=1, months=2, days=3, seconds=4.5), pendulum.duration(days=-3, microseconds=1)),
    ]
if "numpy" in INSTALLED:
    import numpy as np

    LIBRARY_VALUES += [
        *(np.float64(1.5), np.float32(0.1), np.float16(2), np.int8(-3), np.uint64(2**64 - 1), np.bool_(True)),
        *(np.str_("é"), np.bytes_(b"x"), np.complex64(1j), np.timedelta64(5, "s"), np.datetime64("NaT", "s")),
        *(np.datetime64("2024-01-02T03:04:05.000000006"), np.arange(6.0).reshape(2, 3), np.arange(6).reshape(2, 3).T),
        *(np.arange(5000, dtype="f4"), np.array([True, False]), np.array(5, ">i4"), np.zeros((0, 3))),
        *(np.array(["a", "é", ""]), np.array(["x", "x" * 3000]), np.array([1j]), np.array(["2024-01-01"], "M8[D]")),
        np.array([float("nan"), -0.0]),
    ]
LIBRARY_VALUES += ZONES
LIBRARY_VALUES += [dtm.datetime(2024, 7, 1, 2, 3, 4, 5, tzinfo=zone) for zone in ZONES]
LIBRARY_VALUES += [dtm.time(1, 2, tzinfo=zone) for zone in ZONES]
