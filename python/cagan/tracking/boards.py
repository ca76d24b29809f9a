"""TensorBoard's event files."""

import contextlib
import os
from pathlib import Path
from typing import Any

from .. import _cagan
from .tracker import Tracker

__all__ = ["Board", "tensorboard"]


class Board(Tracker):
    """Writes each log key as a curve over the steps, and the sample grids as images."""

    name = "TensorBoard"

    def __init__(self, folder: Path | None = None) -> None:  # noqa: D107  # the class says it
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ImportError("tensorboard: expected it to be installed; pip install 'cagan[tensorboard]'") from None
        self._folder = folder
        # torch does not type it.
        self._kind: Any = SummaryWriter
        self._writer: Any = None

    def start(self, config: dict[str, Any], about: dict[str, Any]) -> None:  # noqa: ARG002  # the config has a file
        """Opens the event file."""
        # Purges the lines that a killed run wrote after its last checkpoint: they come again.
        self._writer = self._kind(str(self._folder or self.run_dir / "tensorboard"), purge_step=about["step"] + 1)

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Writes points of curves."""
        for key, number in values.items():
            self._writer.add_scalar(key, number, step)
        self._writer.flush()

    def picture(self, name: str, path: Path, step: int) -> None:
        """Writes an image."""
        self._writer.add_image(name, _cagan.read_picture(path), step, dataformats="HWC")

    def close(self, error: BaseException | None) -> None:  # noqa: ARG002  # event files have no end
        """Closes the files, if they are still there."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.close()


def tensorboard(folder: str | os.PathLike[str] | None = None) -> Tracker:
    """Writes TensorBoard's event files: curves and sample grids. `tensorboard=True` of `cagan.train` is the same.

    Args:
        folder: The folder of the files. Defaults to `tensorboard` in the run's folder.

    Raises:
        ImportError: TensorBoard is missing; `pip install 'cagan[tensorboard]'`.
    """
    return Board(None if folder is None else Path(folder))
