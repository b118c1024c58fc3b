"""Classes of a bot that is started as a script: there they are named `__main__`, in pickles and in the database."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["stand_in_for_main"]


def stand_in_for_main(path: Path) -> None:
    """Makes a script the module `__main__` of this process, without running what it does only as a script.

    Raises:
        ImportError: If it cannot be loaded.
    """
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python script")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.append(str(path.absolute().parent))
    spec.loader.exec_module(module)
    _rename(module, path.stem)
    module.__name__ = "__main__"
    sys.modules["__main__"] = module


def _rename(owner: type | ModuleType, name: str) -> None:
    for value in list(vars(owner).values()):
        if isinstance(value, type) and value.__module__ == name:
            value.__module__ = "__main__"
            _rename(value, name)
