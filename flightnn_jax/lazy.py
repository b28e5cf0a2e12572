"""Names of a package that are imported when they are first used."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def getter(package: str, table: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package whose names are in modules of it.

    Args:
      package: its full name.
      table: {name: the module that has it}; a module's own name stands for the module.
    """

    def get(name: str) -> Any:
        if name not in table:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module = importlib.import_module(f"{package}.{table[name]}")
        return module if name == table[name] else getattr(module, name)

    return get
