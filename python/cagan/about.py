"""Versions, devices, threads and presets."""

import platform
from typing import Any

from . import _cagan

__all__ = ["__version__", "info"]

__version__: str = _cagan.system()["cagan"]


def info() -> dict[str, Any]:
    """Returns versions, devices, threads and presets.

    Example:
        >>> import cagan
        >>> cagan.info()["presets"]
        ['kisekae', 'vasily', 'paper', 'smoke']
    """
    # Its import takes 25 ms.
    from importlib import metadata

    system: dict[str, Any] = _cagan.system()
    return {
        "cagan": system.pop("cagan"),
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
        **system,
        "presets": _cagan.presets(),
    }
