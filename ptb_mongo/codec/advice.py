"""What to store instead of values that have no form: for each kind something that works.

Only kinds for which `trusted` would not help are here: types of the standard library, and of libraries that are not
written in Python alone.
"""

from __future__ import annotations

import sys
from typing import Final

__all__ = ["advice"]

_OUTSIDE: Final = "keep it outside of the data (`exclude` leaves out what PTB can copy)"
_BY_NAME: Final = {
    "builtins.generator": "store what it yields: list(generator)",
    "builtins.async_generator": "store what it yields, as a list",
    "builtins.coroutine": "await it, and store its result",
    "builtins.map": "store what is left of it: list(iterator)",
    "builtins.filter": "store what is left of it: list(iterator)",
    "builtins.callable_iterator": "store what it has given, as a list",
    "builtins.dict_keys": "store list(keys)",
    "builtins.dict_values": "store list(values)",
    "builtins.dict_items": "store list(items)",
    "builtins.mappingproxy": "store dict(proxy)",
    "builtins.memoryview": "store bytes(view)",
    "builtins.function": "store its name, or the data it works on",
    "builtins.builtin_function_or_method": "store its name, or the data it works on",
    "builtins.method": "store its name, or the data it works on",
    "builtins.module": "store its name",
    "functools.partial": "store the name of its function, and its arguments: partial.args, partial.keywords",
    "itertools.count": "store the number that comes next",
    "collections.ChainMap": "store dict(chain)",
    "collections.UserDict": "store its data: value.data",
    "collections.UserList": "store its data: value.data",
    "collections.UserString": "store its data: value.data",
    "random.Random": "store its state: random.getstate()",
    "_io.BytesIO": "store its content: file.getvalue()",
    "_io.StringIO": "store its content: file.getvalue()",
    "pandas.Timestamp": "store value.to_pydatetime()",
    "pandas.DataFrame": 'store frame.to_dict("records")',
    "pandas.Series": "store series.to_dict()",
}
_LIVE: Final = (
    *("_asyncio", "_contextvars", "_io", "_queue", "_socket", "_sqlite3", "_ssl", "_thread", "_weakref", "asyncio"),
    *("concurrent", "contextvars", "io", "logging", "multiprocessing", "queue", "sched", "selectors", "socket"),
    *("sqlite3", "ssl", "subprocess", "tempfile", "threading", "weakref"),
)
"""Modules whose objects belong to this process alone."""

_BY_MODULE: Final = {
    **dict.fromkeys(_LIVE, _OUTSIDE),
    "itertools": "store what is left of it: list(iterator)",
    "numpy": "store value.tolist()",
    "numpy.random": "store the state of its source: generator.bit_generator.state",
    "pytz": "use a zone that has a name, or datetime.timezone",
    "dateutil.tz": "use a zone that has a name, or datetime.timezone",
}
_BY_BASE: Final[tuple[tuple[type, str], ...]] = (
    (BaseException, "store its text: str(error)"),
    (tuple, "store tuple(value)"),
    (dict, "store dict(value)"),
    (list, "store list(value)"),
    (set, "store set(value)"),
    (str, "store str(value)"),
    (int, "store int(value)"),
)


def advice(cls: type) -> str | None:
    """What to do about an object of a class that cannot be stored; `None` where trusting the class may help."""
    module, name = cls.__module__, cls.__qualname__
    root = module.partition(".")[0]
    if found := _BY_NAME.get(f"{root if root == 'pandas' else module}.{name}"):
        return found
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        if found := _BY_MODULE.get(".".join(parts[:length])):
            return found
    if root not in sys.stdlib_module_names:
        return None
    return next((found for base, found in _BY_BASE if issubclass(cls, base)), "store the data it stands for")
