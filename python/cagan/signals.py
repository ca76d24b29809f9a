"""SIGTERM and SIGHUP as exceptions, so that work ends in order."""

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator

__all__ = ["EXIT_CODES", "terminable"]

# Windows has no SIGHUP.
_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
# Those of `terminable`.
EXIT_CODES = tuple(128 + number for number in _SIGNALS)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Raises SystemExit with the usual exit code at SIGTERM and SIGHUP, unless another handler is set.

    SIGHUP comes when a terminal is closed or an ssh connection drops; under `nohup` it is ignored as before.
    """

    def stop(number: int, _: object) -> None:
        sys.exit(128 + number)

    here = threading.current_thread() is threading.main_thread()
    ours = [number for number in _SIGNALS if here and signal.getsignal(number) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
