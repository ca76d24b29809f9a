"""SIGTERM as an exception, so that work ends in order."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

__all__ = ["terminable"]


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raises SystemExit with the usual exit code at SIGTERM, unless another handler is set."""
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    def stop(number: int, _: object) -> None:
        sys.exit(128 + number)

    if ours:
        signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
