"""Progress bars and warnings, in a terminal and in Jupyter, and without either."""

import contextlib
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm.auto import tqdm

__all__ = ["Stream", "TrainingBar", "new_bar", "tell"]


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
    notebook = "ipykernel" in sys.modules
    stream = Stream(sys.stdout if notebook else sys.stderr)
    shown = (stream.isatty() or notebook) if progress is None else progress
    return tqdm(disable=not shown, dynamic_ncols=True, file=stream, **options)


class TrainingBar:
    """Shows a run's pictures while they load, then images, images/s, the time left and the losses.

    Args:
        progress: Whether the bar shows; None shows it in a terminal and in Jupyter.
    """

    _SHOWN = (
        ("D", "loss/discriminator"),
        ("G", "loss/generator"),
        ("cycle", "loss/generator/cycle"),
        ("restored", "loss/generator/restored"),
        ("mask", "mask/area"),
    )

    def __init__(self, progress: bool | None) -> None:  # noqa: D107  # the class says it
        self._progress = progress
        self._bar: tqdm[Any] | None = None
        self._batch = 1

    def show(self, event: str, value: Any) -> None:
        """Takes an event of `cagan.train`."""
        if event == "load":
            if self._bar is None:
                self._bar = new_bar(self._progress, total=value["files"], unit=" pictures")
                if not self._bar.disable:
                    where = "kept on the device" if value["loader"] == "resident" else "streamed, ahead"
                    self._bar.write(
                        f"{value['pairs']} pairs, pictures {where}: {value['bytes'] / 2**20:.0f} MiB",
                        file=self._bar.fp,
                    )
            self._bar.update(value["done"] - self._bar.n)
        elif event == "start":
            self.close()
            self._batch = value["batch_size"]
            total, initial = (value[name] * self._batch for name in ("total", "step"))
            self._bar = new_bar(self._progress, total=total, initial=initial, unit=" images")
        elif self._bar is not None and event == "step":
            self._bar.update(self._batch)
        elif self._bar is not None and event == "report":
            shown = {name: f"{value[key]:.3f}" for name, key in self._SHOWN if key in value}
            self._bar.set_postfix(shown, refresh=False)

    def close(self) -> None:
        """Closes the bar."""
        if self._bar is not None:
            self._bar.close()
