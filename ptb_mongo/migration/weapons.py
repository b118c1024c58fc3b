"""What only an attack names: the functions that run commands or code, change files, or load more code.

That is told by the function, not by its module. A bot's data may well name `asyncio.Lock`, `signal.SIGINT` or
`subprocess.CompletedProcess`: those are refused like every other class that is not trusted, and accuse nobody.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_weapon"]

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
    "code": r"\w+",
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
    "site": r"\w+",
}
_SAME: Final = {
    **dict.fromkeys(("posix", "nt", "posixpath", "ntpath"), "os"),
    **dict.fromkeys(("_pickle", "cPickle"), "pickle"),
    "_frozen_importlib": "importlib",
    "cProfile": "profile",
    **dict.fromkeys(("_posixsubprocess", "commands"), "runpy"),
    "__builtin__": "builtins",
}
_PATTERNS: Final = {module: re.compile(names) for module, names in _WEAPONS.items()}


def is_weapon(module: str, name: str) -> bool:
    """Whether a pickle that names this was made to attack."""
    root, _, rest = module.partition(".")
    pattern = _PATTERNS.get(_SAME.get(root, root))
    if pattern is None:
        return False
    # What it names in the package: `asyncio.subprocess` is one of a package's own modules.
    places = (name.partition(".")[0], rest.partition(".")[0])
    return any(place and pattern.fullmatch(place) for place in places)
