"""Progress bars, in a terminal and in Jupyter."""

import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tqdm.auto import tqdm

__all__ = ["TrainingBar", "new_bar"]


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
    # A Jupyter kernel's streams are not terminals.
    shown = (sys.stderr.isatty() or "ipykernel" in sys.modules) if progress is None else progress
    return tqdm(disable=not shown, dynamic_ncols=True, **options)


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
                    self._bar.write(f"{value['pairs']} pairs, pictures {where}: {value['bytes'] / 2**20:.0f} MiB")
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
