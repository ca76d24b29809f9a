"""Progress and warnings, in a terminal, in Jupyter, and without either."""

import contextlib
import sys
import time
import warnings
from typing import TYPE_CHECKING, Any

from .following import Following, duration

if TYPE_CHECKING:
    from tqdm.auto import tqdm

__all__ = ["Plain", "Stream", "TrainingBar", "is_notebook", "new_bar", "tell", "work_bar"]

# Seconds of training behind the first estimate of the time.
_ESTIMATE_S = 3.0


class Stream:
    """A stream whose trouble is nobody's: one that is missing, closed, or a pipe without a reader takes text silently.

    Args:
        stream: Any object with `write`, or None.
    """

    def __init__(self, stream: Any) -> None:  # noqa: D107  # the class says it
        self._stream = stream

    def write(self, text: str) -> int:
        """Writes, or does nothing."""
        try:
            self._stream.write(text)
        # A logger's object in the stream's place may raise anything.
        except Exception:
            self._stream = None
        return len(text)

    def flush(self) -> None:
        """Flushes, or does nothing."""
        with contextlib.suppress(Exception):  # as above
            self._stream.flush()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        try:
            return bool(self._stream.isatty())
        except Exception:  # as above
            return False

    def __getattr__(self, name: str) -> Any:
        """Returns the stream's own attribute, as `encoding` and `fileno`."""
        return getattr(self._stream, name)


def tell(text: str, stacklevel: int) -> None:
    """Warns. Where warnings are errors the text is shown instead: a word about a run must not end it.

    Args:
        text: The warning.
        stacklevel: That of `warnings.warn`, counted from here.
    """
    try:
        warnings.warn(text, stacklevel=stacklevel)
    except UserWarning as warning:
        line = warnings.formatwarning(warning, UserWarning, __file__, 0, "")
        Stream(sys.stderr).write(line)
    # The stream is closed, or an object of another kind.
    except (OSError, ValueError, AttributeError, TypeError):
        pass


class Plain:
    """Says in plain lines how far some work is: one line at most every 30 s.

    Args:
        unit: What is counted.
        total: How many there are.
        initial: How many are done already.
    """

    EVERY_S = 30.0

    def __init__(self, unit: str, total: int, initial: int = 0) -> None:  # noqa: D107  # the class says it
        self.n, self.total, self._unit = initial, total, unit.strip()
        self._began_s = self._said_s = time.monotonic()
        self._first = initial

    def update(self, count: int = 1) -> None:
        """Counts, and says it if it is time, with the time that is left."""
        self.n += count
        each_s = (time.monotonic() - self._began_s) / max(self.n - self._first, 1)
        left = f", {duration(each_s * (self.total - self.n))} left" if self.n < self.total else ""
        self.say(f"{self.n} of {self.total} {self._unit}{left}")

    def say(self, text: str, now: bool = False) -> None:
        """Writes a line if the last one is long ago, or `now`."""
        if now or time.monotonic() - self._said_s >= self.EVERY_S:
            self._said_s = time.monotonic()
            Stream(sys.stderr).write(text + "\n")

    def close(self) -> None:
        """Does nothing."""

    def __enter__(self) -> "Plain":
        """Returns itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""


def is_notebook() -> bool:
    """Whether this process is a kernel of Jupyter."""
    return "ipykernel" in sys.modules


def work_bar(progress: bool | None, total: int, unit: str, initial: int = 0) -> "tqdm[Any] | Plain":
    """Returns a bar in a terminal and in Jupyter, plain lines elsewhere; shows nothing if `progress` is False."""
    seen = is_notebook() or Stream(sys.stderr).isatty()
    if progress is None and not seen:
        return Plain(unit, total, initial)
    return new_bar(progress, total=total, unit=unit, initial=initial)


def new_bar(progress: bool | None, **options: Any) -> "tqdm[Any]":
    """Returns a bar of tqdm.

    Args:
        progress: Whether the bar shows; None shows it in a terminal and in Jupyter.
        **options: tqdm's own.
    """
    # Its import takes 40 ms.
    from tqdm import TqdmWarning

    with warnings.catch_warnings():
        # In Jupyter without ipywidgets tqdm warns, and shows a text bar.
        warnings.simplefilter("ignore", TqdmWarning)
        from tqdm.auto import tqdm
    # A Jupyter kernel's streams are not terminals; its standard error is red.
    notebook = is_notebook()
    stream = Stream(sys.stdout if notebook else sys.stderr)
    shown = (stream.isatty() or notebook) if progress is None else progress
    return tqdm(disable=not shown, dynamic_ncols=True, file=stream, **options)


class TrainingBar:
    """Shows a run: its pictures while they load, a summary, then stage, speed, time left and losses, and how it ended.

    In a terminal that is a bar, in Jupyter one display that is updated, elsewhere a plain line at most every 30 s.

    Args:
        progress: Whether anything shows; None as above, True a bar everywhere but in Jupyter.
    """

    def __init__(self, progress: bool | None) -> None:  # noqa: D107  # the class says it
        self._progress = progress
        self.following = Following()
        self._bar: tqdm[Any] | Plain | None = None
        self._panel: Any = None
        self._estimated = False

    def show(self, event: str, value: Any) -> None:
        """Takes an event of `cagan.train`."""
        self.following.take(event, value)
        if event == "load":
            self._load(value)
        elif event == "start":
            self.close()
            self._begin()
        elif self._panel is not None:
            self._panel.update(event)
        elif event == "step":
            self._step()

    def _load(self, value: dict[str, Any]) -> None:
        if self._bar is None:
            self._bar = work_bar(self._progress, value["files"], " pictures")
            where = "kept on the device" if value["loader"] == "resident" else "streamed, ahead"
            self._say(f"{value['pairs']} pairs, pictures {where}: {value['bytes'] / 2**20:.0f} MiB")
        self._bar.update(value["done"] - self._bar.n)

    def _begin(self) -> None:
        start, following = self.following.start, self.following
        if is_notebook() and self._progress is not False:
            from .panel import Panel

            self._panel = Panel(following)
            return
        batch = start["batch_size"]
        self._bar = work_bar(self._progress, start["total"] * batch, " images", start["step"] * batch)
        for line in following.summary():
            self._say(line)

    def _step(self) -> None:
        following, bar = self.following, self._bar
        if bar is None:
            return
        if not self._estimated and following.elapsed_s > _ESTIMATE_S:
            self._estimated = True
            self._say(f"about {duration(following.left_s)} at {following.images_per_s:.1f} images/s")
        if isinstance(bar, Plain):
            bar.n = following.images
            bar.say(following.line())
            return
        if not bar.disable:
            bar.set_description_str(following.stage, refresh=False)
            bar.set_postfix(following.values(), refresh=False)
        bar.update(following.start["batch_size"])

    def _say(self, text: str) -> None:
        """Writes a line above the bar."""
        if isinstance(self._bar, Plain):
            self._bar.say(text, now=True)
        elif self._bar is not None and not self._bar.disable:
            self._bar.write(text, file=self._bar.fp)

    def end(self, lines: list[str]) -> None:
        """Shows how the run ended."""
        if self._panel is not None:
            self._panel.end(lines)
            return
        self.close()
        if self._progress is not False:
            Stream(sys.stderr).write("".join(f"{line}\n" for line in lines))

    def close(self) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()
