"""Classes of a bot that runs as a script: pickles and the database name their module `__main__`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["stand_in_for_main"]


def stand_in_for_main(path: Path) -> None:
    """Makes a script this process's module `__main__`, without running its `if __name__ == "__main__"` block.

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
