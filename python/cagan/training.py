"""`cagan.train`: a run with its progress bar, its warnings and TensorBoard."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from . import _cagan
from .progress import TrainingBar, tell
from .runs import Run
from .signals import terminable
from .tensorboard import Board

__all__ = ["train"]


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
    """Train on pairs, or resume the run in `run_dir`.

    Ctrl-C, SIGTERM, SIGHUP and the kernel's interrupt button finish the step and write a checkpoint. The same call then
    resumes the run. On a CPU a run that was stopped or killed ends with the same bytes as one that was not.

    Files of later steps than the checkpoint are set aside in `run_dir`/old, and so is all that a run without
    checkpoints left, with a warning. If the folder is moved or removed while the run trains, it is made again. Warnings
    never end a run: under `-W error` they are shown.

    Args:
        pairs: The pairs, or their folder.
        run_dir: The run's folder, made if it is missing.
        config: A config, or a preset's name; defaults to the default preset.
        resume: "auto" (the default) resumes if `run_dir` holds a checkpoint and starts a run if not. "never" fails for
            a folder with checkpoints, "must" fails for one without. Like the settings and the folder it is checked
            before any picture is decoded.
        progress: Whether to show a progress bar; defaults to True in a terminal and in Jupyter.
        tensorboard: Whether to write TensorBoard's event files (curves and sample grids) to `run_dir`/tensorboard;
            needs `pip install 'cagan[tensorboard]'`.
        on_event: Called with an event's name and value: "load" (dict: how many pictures are checked, of how many, and
            their memory), "start" (dict), "step" (int), "report" (dict: a line of stats.jsonl), "look" (dict: a line of
            monitor.jsonl), "warning" (str), "sample", "snapshot", "checkpoint" (Path). An exception in it stops the run
            like Ctrl-C.
        **overrides: Settings that replace the config's.

    Returns:
        The run.

    Warns:
        UserWarning: Pairs were skipped, and `skipped.csv` in the run's folder lists them. A damaged checkpoint was
            skipped. A run without checkpoints was set aside. A file could not be written in the middle of the run,
            which goes on and tries again. The run's folder went away. The file system has no locks, or lacks another
            guarantee. The monitor sees a sign of collapse. An early stop ended the run before.

    Raises:
        FileNotFoundError: The pairs are missing.
        ValueError: A setting is out of its range, the pairs are too few or of several splits, a picture cannot be
            decoded, or `run_dir` holds a run with other settings.
        TypeError: A setting is unknown.
        RuntimeError: The device is missing, or another process trains in the folder.
        FloatingPointError: A loss is not finite; the message names the term and the step.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/first", "smoke", steps=4, progress=False)
        >>> run.stats[-1]["step"]
        4
    """
    if not isinstance(pairs, _cagan.Pairs):
        pairs = _cagan.Pairs(pairs)
    if "init_from" in overrides:
        overrides["init_from"] = os.fspath(overrides["init_from"])
    if not isinstance(config, _cagan.Config):
        config = _cagan.Config(config, **overrides)
    elif overrides:
        config = config.replace(**overrides)
    # The process may go to another folder while it trains.
    folder = Path(run_dir).absolute()
    bar = TrainingBar(progress)
    board = Board(folder / "tensorboard") if tensorboard else None

    def observe(event: str, value: Any) -> None:
        nonlocal board
        bar.show(event, value)
        if board is not None:
            try:
                board.show(event, value)
            # Its writers raise what they like, and no curve is worth a run.
            except Exception as error:
                tell(f"{folder / 'tensorboard'}: {error}; TensorBoard gets no more of this run", stacklevel=4)
                board = None
        if event == "start" and value["skipped"]:
            skipped, _, reason = value["skipped"][0]
            tell(
                f"{len(value['skipped'])} skipped, {value['pairs']} pairs left; the first: {skipped}: {reason}; "
                f"all are in {folder / 'skipped.csv'}",
                stacklevel=4,
            )
        if event == "warning":
            tell(value, stacklevel=4)
        if on_event is not None:
            on_event(event, value)

    try:
        with terminable():
            _cagan.run(pairs, folder, config, resume, observe)
    finally:
        bar.close()
        if board is not None:
            board.close()
    with contextlib.suppress(FileNotFoundError):  # the process's own folder may be gone
        if Path(run_dir).absolute() == folder:
            return Run(run_dir)
    return Run(folder)
