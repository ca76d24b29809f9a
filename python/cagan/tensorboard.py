"""A run's log as TensorBoard's event files."""

import contextlib
from pathlib import Path
from typing import Any

from . import _cagan

__all__ = ["Board"]


class Board:
    """Writes each log key as a curve over the steps, and the sample grids as images.

    Args:
        folder: The folder of the event files.

    Raises:
        ImportError: TensorBoard is missing.
    """

    def __init__(self, folder: Path) -> None:  # noqa: D107  # the class says it
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ImportError("tensorboard: expected it to be installed; pip install 'cagan[tensorboard]'") from None
        # torch does not type it.
        self._open: Any = lambda step: SummaryWriter(str(folder), purge_step=step)
        self._writer: Any = None

    def show(self, event: str, value: Any) -> None:
        """Takes an event of `cagan.train`."""
        if event == "start":
            # Purges the lines that a killed run wrote after its last checkpoint: they come again.
            self._writer = self._open(value["step"] + 1)
        elif event in ("report", "look"):
            for key, number in value.items():
                if key != "step":
                    self._writer.add_scalar(key, number, value["step"])
            self._writer.flush()
        elif event == "sample":
            step = int(value.stem.split("_")[1])
            self._writer.add_image("samples", _cagan.read_picture(value), step, dataformats="HWC")

    def close(self) -> None:
        """Closes the files, if they are still there."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()
