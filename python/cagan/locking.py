"""A lock on a folder of pairs between processes."""

import contextlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

__all__ = ["locked"]


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str]) -> Iterator[None]:
    """Waits for the other processes that write the folder's list, and keeps them waiting. No file is made for it.

    Warns:
        UserWarning: The file system has no locks. The block runs without one.
    """
    # Windows has no such module.
    try:
        import fcntl
    except ImportError:
        yield
        return
    place = os.open(Path(folder), os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX)
        except OSError as error:
            warnings.warn(
                f"{folder}: cannot be locked ({error.strerror}); let one program at a time write its list", stacklevel=4
            )
        yield
    finally:
        os.close(place)
