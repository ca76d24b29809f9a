"""The package's attributes: its public names, and modules that are imported at their first use."""

import importlib
import sys
from types import ModuleType

# `plots` needs matplotlib and `torch_module` needs torch, so that nothing imports them early.
_MODULES = ("evaluation", "plots", "torch_module", "tracking")


def attribute(name: str) -> ModuleType:
    """Imports a module of the package; the package's `__getattr__`.

    Raises:
        AttributeError: The package has no such name.
    """
    if name in _MODULES:
        return importlib.import_module(f"cagan.{name}")
    raise AttributeError(f"module 'cagan' has no attribute {name!r}")


def names() -> list[str]:
    """Lists the public names; the package's `__dir__`."""
    package = sys.modules["cagan"]
    special = (name for name in vars(package) if name.startswith("__") and name.endswith("__"))
    return sorted({*special, *_MODULES, *package.__all__})
