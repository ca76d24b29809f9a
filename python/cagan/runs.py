"""Training runs from Python: `train` with its progress bar, and a run folder read back."""

import contextlib
import json
import os
import platform
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from tqdm import TqdmWarning

from . import _cagan

with warnings.catch_warnings():
    # Jupyter without ipywidgets gets a text bar, which is worth no warning at each import.
    warnings.simplefilter("ignore", TqdmWarning)
    from tqdm.auto import tqdm

__all__ = ["Run", "info", "runs", "train"]


class Run:
    """A run folder: its config, its log, its pictures and its snapshots. It is a path: `cagan.Swapper(run)` will do.

    Args:
        path: The folder that `cagan.train` wrote.

    Raises:
        FileNotFoundError: The folder is not there, or no run has been in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:  # noqa: D107  # the class says it
        self.path = Path(path)
        if not (self.path / "config.json").is_file():
            raise FileNotFoundError(f"{self.path}: expected a run folder with config.json, got none")

    @property
    def config(self) -> _cagan.Config:
        """The resolved config."""
        return _cagan.Config.from_json((self.path / "config.json").read_text(encoding="utf-8"))

    @property
    def stats(self) -> list[dict[str, float]]:
        """The lines of stats.jsonl: means over each interval, by log key."""
        with (self.path / "stats.jsonl").open(encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    @property
    def looks(self) -> list[dict[str, float]]:
        """The lines of monitor.jsonl: what the monitor measured, by log key."""
        path = self.path / "monitor.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.is_file() else []

    @property
    def resumes(self) -> list[int]:
        """The steps that the run was taken up again at, in the order of time."""
        path = self.path / "resumes.jsonl"
        return [json.loads(line)["step"] for line in path.read_text("utf-8").splitlines()] if path.is_file() else []

    @property
    def best(self) -> Path | None:
        """The snapshot of the monitor's lowest score, None before there is one."""
        path = self.path / "snapshots" / "best.safetensors"
        return path if path.is_file() else None

    @property
    def samples(self) -> list[Path]:
        """The sample grids, oldest first."""
        return sorted((self.path / "samples").glob("step_*.png"))

    @property
    def snapshots(self) -> list[Path]:
        """The snapshots, oldest first."""
        return sorted((self.path / "snapshots").glob("step_*.safetensors"))

    def swapper(self, device: str | None = None) -> _cagan.Swapper:
        """The newest snapshot in use."""
        return _cagan.Swapper(self.path, device)

    def __fspath__(self) -> str:
        """The folder."""
        return str(self.path)

    def __repr__(self) -> str:
        """The folder."""
        return f"Run({str(self.path)!r})"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, bytes]:
        """Curves and the newest grid; without matplotlib the grid, and nothing where there is none."""
        if not (self.path / "stats.jsonl").is_file():
            return {}
        try:
            from .plots import overview
        except ImportError:
            samples = self.samples
            return {"image/png": samples[-1].read_bytes()} if samples else {}
        return overview(self)._repr_mimebundle_()


def train(
    pairs: _cagan.Pairs | str | os.PathLike[str],
    run_dir: str | os.PathLike[str],
    config: _cagan.Config | str | None = None,
    *,
    resume: Literal["auto", "never", "must"] | None = None,
    progress: bool | None = None,
    tensorboard: bool = False,
    on_event: Callable[[str, Any], None] | None = None,
    **overrides: Any,
) -> Run:
    """Train on pairs, or go on with the run in `run_dir`.

    Ctrl-C, SIGTERM and the kernel's interrupt button finish the step and write a checkpoint; the same call then goes on
    from there. On a CPU a run that was stopped or killed ends with the same bytes as one that was not.

    Args:
        pairs: The pairs, or their folder.
        run_dir: The run's folder, made where it is not there.
        config: A config, or a preset's name.
        resume: "auto" (where none is given) goes on where `run_dir` holds a checkpoint and begins where not; "never"
            refuses a folder with checkpoints, "must" one without.
        progress: Whether to show a progress bar; where it is not given, in a terminal and in Jupyter.
        tensorboard: Whether to write TensorBoard's event files, curves and sample grids, to `run_dir`/tensorboard;
            needs `pip install cagan[tensorboard]`.
        on_event: Called with an event's name and value: "load" (dict: what the pictures will take, and how many are
            looked at), "start" (dict), "step" (int), "report" (dict: a line of stats.jsonl), "look" (dict: a line of
            monitor.jsonl), "warning" (str), "sample", "snapshot", "checkpoint" (Path). An exception in it stops the run
            like Ctrl-C.
        **overrides: Settings in place of the config's.

    Returns:
        The run.

    Warns:
        UserWarning: Pairs were skipped; `skipped.csv` in the run's folder lists them. A damaged checkpoint was passed
            over. A file could not be written in the middle of the run, which goes on and tries again. The monitor
            sees a sign of collapse.

    Raises:
        FileNotFoundError: For pairs that are not there.
        ValueError: For bad settings, too few pairs, pairs of several splits, a picture that cannot be decoded, or a run
            with other settings in `run_dir`.
        TypeError: For a name that is no setting.
        RuntimeError: For a device that is not there, and for a folder that another process is training in.
        FloatingPointError: For a loss that stopped being a number; the message names the term and the step.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/first", "smoke", steps=4, progress=False)
        >>> run.stats[-1]["step"]
        4
    """
    if not isinstance(pairs, _cagan.Pairs):
        pairs = _cagan.Pairs(pairs)
    if not isinstance(config, _cagan.Config):
        config = _cagan.Config(config, **overrides)
    elif overrides:
        config = config.replace(**overrides)
    bar = _Bar(progress)
    board = _Board(Path(run_dir) / "tensorboard") if tensorboard else None

    def observe(event: str, value: Any) -> None:
        bar.show(event, value)
        if board is not None:
            board.show(event, value)
        if event == "start" and value["skipped"]:
            skipped, _, reason = value["skipped"][0]
            warnings.warn(
                f"{len(value['skipped'])} skipped, {value['pairs']} pairs left; the first: {skipped}: {reason}; "
                f"all are in {Path(run_dir) / 'skipped.csv'}",
                stacklevel=3,
            )
        if event == "warning":
            warnings.warn(value, stacklevel=3)
        if on_event is not None:
            on_event(event, value)

    try:
        with _terminable():
            _cagan.run(pairs, Path(run_dir), config, resume, observe)
    finally:
        bar.close()
        if board is not None:
            board.close()
    return Run(run_dir)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM raises SystemExit, with the usual exit code, in place of killing; where nobody else handles it."""
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


class _Bar:
    """Images, images/s, the time left and the losses."""

    _shown = (
        ("D", "loss/discriminator"),
        ("G", "loss/generator"),
        ("cycle", "loss/generator/cycle"),
        ("restored", "loss/generator/restored"),
        ("mask", "mask/area"),
    )

    def __init__(self, progress: bool | None) -> None:
        # A Jupyter kernel's streams are no terminals, and still show bars.
        shows = sys.stderr.isatty() or "ipykernel" in sys.modules
        self._disable = not (shows if progress is None else progress)
        self._bar: tqdm[Any] | None = None
        self._batch = 1

    def show(self, event: str, value: Any) -> None:
        if event == "load":
            if self._bar is None:
                self._bar = tqdm(total=value["files"], disable=self._disable, unit=" pictures", dynamic_ncols=True)
                if not self._disable:
                    where = "kept on the device" if value["loader"] == "resident" else "streamed, ahead"
                    self._bar.write(f"{value['pairs']} pairs, pictures {where}: {value['bytes'] / 2**20:.0f} MiB")
            self._bar.update(value["done"] - self._bar.n)
        elif event == "start":
            self.close()
            self._batch = value["batch_size"]
            self._bar = tqdm(
                total=value["total"] * self._batch,
                initial=value["step"] * self._batch,
                disable=self._disable,
                unit=" images",
                dynamic_ncols=True,
            )
        elif self._bar is not None and event == "step":
            self._bar.update(self._batch)
        elif self._bar is not None and event == "report":
            shown = {name: f"{value[key]:.3f}" for name, key in self._shown if key in value}
            self._bar.set_postfix(shown, refresh=False)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Board:
    """The log as TensorBoard's event files: each key a curve over the steps, the sample grids as images."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise ImportError("tensorboard: expected it to be installed; pip install 'cagan[tensorboard]'") from None
        # torch leaves it untyped.
        self._open: Any = lambda step: SummaryWriter(str(folder), purge_step=step)
        self._writer: Any = None

    def show(self, event: str, value: Any) -> None:
        if event == "start":
            # What a killed run wrote after its last checkpoint comes again.
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
        if self._writer is not None:
            self._writer.close()


def runs(folder: str | os.PathLike[str]) -> list[Run]:
    """The runs in a folder and below it, by path.

    Raises:
        FileNotFoundError: For a folder that is not there.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/first", "smoke", steps=4, progress=False)
        >>> cagan.runs("runs")
        [Run('runs/first')]
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    # A run's log lies beside its config: other folders have files of that name too.
    found = (path.parent for path in root.rglob("config.json") if (path.parent / "stats.jsonl").is_file())
    return [Run(path) for path in sorted(found)]


def info() -> dict[str, Any]:
    """Versions, devices, threads and presets.

    Example:
        >>> import cagan
        >>> cagan.info()["presets"]
        ['kisekae', 'vasily', 'paper', 'smoke']
    """
    system: dict[str, Any] = _cagan.system()
    return {
        "cagan": system.pop("cagan"),
        "torch": metadata.version("torch"),
        "python": platform.python_version(),
        **system,
        "presets": _cagan.presets(),
    }
