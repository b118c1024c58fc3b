"""Names that only an attack contains: the functions that run commands or code, change files, or load more code.

The function decides, not its module. A bot's data may well name `asyncio.Lock`, `signal.SIGINT` or
`subprocess.CompletedProcess`: those are refused like any other class that is not trusted, without accusing anybody.
"""

from __future__ import annotations

import importlib.util
import re
import sys
import sysconfig
from pathlib import Path
from typing import Final

__all__ = ["is_of_python", "is_weapon", "takes_a_name"]

_SYSTEM: Final = (
    r"system|popen\w*|exec[lv]\w*|spawn[lv]\w*|posix_spawnp?|startfile|fork\w*|kill|killpg|abort|_exit|open|write|dup2|"
    r"remove|removedirs|unlink|rmdir|truncate|ch(mod|own|root)|symlink|link|renames?|replace|putenv|unsetenv"
)
_LOADING: Final = r"loads?|_?Unpickler|_loads?"
_WEAPONS: Final = {
    "builtins": r"eval|exec|execfile|compile|__import__|open|input|breakpoint|globals|locals|vars|[sd]e[tl]attr|"
    r"exit|quit|help|apply",
    "os": _SYSTEM,
    "subprocess": r"Popen|call|run|check_call|check_output|getoutput|getstatusoutput",
    "importlib": r"import_module|__import__|reload|_\w+|machinery",
    "runpy": r"\w+",
    "pty": r"\w+",
    "shutil": r"rmtree|move|copy\w*|chown|unpack_archive|make_archive",
    "ctypes": r"\w+",
    "code": r"interact|Interactive\w+|compile_command",
    "codeop": r"\w+",
    "pdb": r"\w+",
    "bdb": r"\w+",
    "marshal": r"loads?",
    "pickle": _LOADING,
    "dill": _LOADING,
    "cloudpickle": _LOADING,
    "webbrowser": r"open\w*|get",
    "timeit": r"timeit|repeat|main|Timer",
    "profile": r"run|runctx|Profile",
    "trace": r"Trace|main",
    "asyncio": r"create_subprocess_\w+|subprocess",
    "multiprocessing": r"popen_\w+",
    "_thread": r"start_new(_thread)?|interrupt_main",
    "socket": r"create_connection|create_server",
    "platform": r"popen|_syscmd\w*",
    "sys": r"modules|settrace|setprofile|breakpointhook|exit",
    "site": r"addsitedir|addpackage|exec\w+|main",
    "commands": r"getoutput|getstatusoutput|getstatus",  # of Python 2
}
_SAME: Final = {
    **dict.fromkeys(("posix", "nt", "posixpath", "ntpath"), "os"),
    **dict.fromkeys(("_pickle", "cPickle"), "pickle"),
    "_frozen_importlib": "importlib",
    "cProfile": "profile",
    "_posixsubprocess": "runpy",
    "__builtin__": "builtins",
}
_LIBRARIES: Final = ("stdlib", "platstdlib")
_PATTERNS: Final = {module: re.compile(names) for module, names in _WEAPONS.items()}


def is_weapon(module: str, name: str) -> bool:
    """Whether a pickle that names this was crafted for an attack."""
    root, _, rest = module.partition(".")
    pattern = _PATTERNS.get(_SAME.get(root, root))
    if pattern is None:
        return False
    # The name inside the package: `asyncio.subprocess` is one of a package's own modules.
    places = (name.partition(".")[0], rest.partition(".")[0])
    return any(place and pattern.fullmatch(place) for place in places)


def takes_a_name(module: str) -> bool:
    """Whether an importable module has the name of a standard library module but is not that module."""
    return module.partition(".")[0] in sys.stdlib_module_names and not is_of_python(module)


def is_of_python(module: str) -> bool:
    """Whether a module belongs to the standard library, rather than being another module of the same name."""
    root = module.partition(".")[0]
    if root not in sys.stdlib_module_names:
        return False
    spec = getattr(sys.modules.get(root), "__spec__", None) or importlib.util.find_spec(root)  # imports nothing
    if spec is None or not spec.has_location or spec.origin is None:
        return True  # built in, frozen, or only on another system
    origin = Path(spec.origin)
    return "site-packages" not in origin.parts and any(
        origin.is_relative_to(sysconfig.get_path(library)) for library in _LIBRARIES
    )
