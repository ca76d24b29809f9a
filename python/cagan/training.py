"""`cagan.train`: a run with its progress, its warnings and TensorBoard, in one process or in several."""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from . import _cagan
from .following import Following, duration
from .progress import TrainingBar, tell
from .runs import Run, saved_config
from .settings import Preset, Settings
from .signals import terminable
from .teaming import Team, team
from .tracking import Tracker
from .tracking import tensorboard as make_board

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["train"]

Observer: TypeAlias = Callable[[str, Any], None]


def train(
    pairs: _cagan.Pairs | str | os.PathLike[str],
    run_dir: str | os.PathLike[str],
    config: _cagan.Config | Preset | None = None,
    *,
    preset: Preset | None = None,
    resume: Literal["auto", "never", "must"] | None = None,
    progress: bool | None = None,
    tensorboard: bool = False,
    on_event: Observer | Iterable[Observer] | None = None,
    distributed: bool | None = None,
    **overrides: "Unpack[Settings]",
) -> Run:
    """Train on pairs, or resume the run in `run_dir`.

    Ctrl-C, SIGTERM, SIGHUP and the kernel's interrupt button finish the step and write a checkpoint. The same call then
    resumes the run. On a CPU a run that was stopped or killed ends with the same bytes as one that was not.

    Files of later steps than the checkpoint are set aside in `run_dir`/old, and so is all that a run without
    checkpoints left, with a warning. If the folder is moved or removed while the run trains, it is made again. Warnings
    never end a run: under `-W error` they are shown.

    Several processes that make the same call train one run, each on its part of every batch, as `cagan.team` joins
    them: under torchrun, SLURM or Ray Train, or with `cagan train --gpus N`. `batch_size` is that of all together. The
    first process alone writes, shows and warns, and its settings stand. All end at the same step, and what ends one of
    them is the others' RuntimeError. A run goes on in any number of processes.

    Args:
        pairs: The pairs, or their folder.
        run_dir: The run's folder, made if it is missing.
        config: A config, or a preset's name; defaults to the default preset. For a run that is resumed, a config stands
            for all settings. Without one, the run's own settings stand where none is given here, but for
            `time_limit_s`, which is of one call.
        preset: A preset's name, in place of `config`.
        resume: "auto" (the default) resumes if `run_dir` holds a checkpoint and starts a run if not. "never" fails for
            a folder with checkpoints, "must" fails for one without. Like the settings and the folder it is checked
            before any picture is decoded.
        progress: Whether to show what happens. By default that is a bar in a terminal, one display with curves and
            the newest grid in Jupyter, and elsewhere a line at most every 30 s on standard error. True shows a bar also
            elsewhere, False nothing.
        tensorboard: Whether to write TensorBoard's event files (curves and sample grids) to `run_dir`/tensorboard;
            needs `pip install 'cagan[tensorboard]'`.
        on_event: One or a list of trackers (`cagan.tracking.wandb()`) and functions. Each function is called with an
            event's name and value: "load" (dict: how many pictures are checked, of how many, and
            their memory), "start" (dict), "step" (int), "report" (dict: a line of stats.jsonl), "look" (dict: a line of
            monitor.jsonl), "warning" (str), "sample", "snapshot", "checkpoint" (Path). An exception in a function stops
            the run like Ctrl-C, one in a tracker only if it cannot begin. "start" holds the resolved "config", "stages"
            (each a name and the pictures seen when it begins) and "parameters". Of several processes the first alone
            calls them.
        distributed: Whether to train together with other processes; by default, if there are any. False stays alone,
            True fails without others.
        **overrides: Settings that replace the config's, as `steps=500`.

    Returns:
        The run. On another machine than the first process's, its folder may not be there.

    Warns:
        UserWarning: Pairs were skipped, and `skipped.csv` in the run's folder lists them. A damaged checkpoint was
            skipped. A run without checkpoints was set aside. A file could not be written in the middle of the run,
            which goes on and tries again. A stage was given in pictures and begins at or beyond the end. The run's
            folder went away. The file system has no locks, or lacks another
            guarantee. The monitor sees a sign of collapse. An early stop ended the run before.

    Raises:
        FileNotFoundError: The pairs are missing.
        ValueError: A setting is out of its range, the pairs are too few or of several splits, a picture cannot be
            decoded, or `run_dir` holds a run with other settings.
        TypeError: A setting is unknown, `config` and `preset` are both given, or `on_event` cannot be called.
        RuntimeError: The device is missing, another process trains in the folder, or a process that trains together
            with this one stopped, failed, or is gone. The first process then saves the state of its last step.
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
    if preset is not None:
        if config is not None:
            raise TypeError(f"preset: expected a config or a preset, got both {config!r} and {preset!r}")
        config = preset
    # The process may go to another folder while it trains.
    folder = Path(run_dir).absolute()
    if not isinstance(config, _cagan.Config):
        config = _settled(folder, config, overrides, resume)
    elif overrides:
        config = config.replace(**overrides)
    with team(distributed) as crew:
        if crew is not None and crew.rank > 0:
            return _follow(pairs, folder, config, resume, crew)
        return _lead(pairs, run_dir, config, resume, progress, tensorboard, on_event, crew)


def _follow(pairs: _cagan.Pairs, folder: Path, config: _cagan.Config, resume: str | None, crew: Team) -> Run:
    """Trains with the first process, silently."""
    with terminable():
        _cagan.run(pairs, folder, config, resume, lambda *_: None, crew)
    return Run.elsewhere(folder)


def _lead(
    pairs: _cagan.Pairs,
    run_dir: str | os.PathLike[str],
    config: _cagan.Config,
    resume: str | None,
    progress: bool | None,
    tensorboard: bool,
    on_event: Observer | Iterable[Observer] | None,
    crew: Team | None,
) -> Run:
    """Trains and reports."""
    folder = Path(run_dir).absolute()
    bar = TrainingBar(progress)
    observers = _observers(on_event, folder)
    if tensorboard:
        observers = _observers([make_board(), *observers], folder)

    def observe(event: str, value: Any) -> None:
        bar.show(event, value)
        if event == "start" and value["skipped"]:
            skipped, _, reason = value["skipped"][0]
            tell(
                f"{len(value['skipped'])} skipped, {value['pairs']} pairs left; the first: {skipped}: {reason}; "
                f"all are in {folder / 'skipped.csv'}",
                stacklevel=5,
            )
        if event == "warning":
            tell(value, stacklevel=5)
        for observer in observers.copy():
            try:
                observer(event, value)
            # Its library raises what it likes, and no curve is worth a run.
            except Exception as error:
                if not isinstance(observer, Tracker) or event == "start":
                    raise
                tell(f"{error}; {observer.name} gets no more of this run", stacklevel=5)
                observers.remove(observer)
                with contextlib.suppress(Exception):
                    observer.close(error)

    ended: BaseException | None = None
    try:
        with terminable():
            _cagan.run(pairs, folder, config, resume, observe, crew)
        run = Run(folder)
        with contextlib.suppress(FileNotFoundError):  # the process's own folder may be gone
            if Path(run_dir).absolute() == folder:
                run = Run(run_dir)
        bar.end(_summary(run, bar.following))
    except BaseException as error:
        ended = error
        raise
    finally:
        bar.close()
        for observer in observers:
            if isinstance(observer, Tracker):
                try:
                    observer.close(ended)
                except Exception as error:
                    tell(f"{error}; {observer.name} did not end in order", stacklevel=4)
    return run


def _observers(given: Observer | Iterable[Observer] | None, folder: Path) -> list[Observer]:
    """Lists what observes a run, and tells the trackers its folder.

    Raises:
        TypeError: One cannot be called.
    """
    if given is not None and not callable(given) and not isinstance(given, Iterable):
        given = [given]
    observers: list[Observer] = [] if given is None else [given] if callable(given) else list(given)
    for observer in observers:
        if not callable(observer):
            raise TypeError(f"on_event: expected a function, a tracker or a list of them, got {observer!r}")
        if isinstance(observer, Tracker):
            observer.run_dir = folder
    return observers


def _settled(
    folder: Path, preset: Preset | None, given: Settings, resume: Literal["auto", "never", "must"] | None
) -> _cagan.Config:
    """Returns the config of a new run; or that of the run in the folder, with what is given.

    Raises:
        TypeError: A setting is unknown.
        ValueError: A setting is out of its range, or the preset is unknown.
    """
    own = None if resume == "never" else saved_config(folder)
    if own is None or preset not in (None, own.preset):
        return _cagan.Config(preset, **given)
    # A limit is of one call.
    return own.replace(time_limit_s=None).replace(**given)


def _summary(run: Run, following: Following) -> list[str]:
    """How a run ended: time and speed, the best, the snapshot in use, and what comes next."""
    if not following.start:
        return []
    done, seconds = following.step - following.start["step"], following.elapsed_s
    if done == 0:
        return [f"step {following.step} of {following.total}: nothing was left to do"]
    rate = done * following.start["batch_size"] / max(seconds, 1e-9)
    lines = [f"{done} steps in {duration(seconds)}, {rate:.1f} images/s: {run.path}"]
    best, newest = run.best_step, run.snapshots[-1:]
    if best is not None and run.score is not None:
        lines.append(f"best look: step {best}, score {run.score:.3f} (lower is better)")
    if newest:
        used = _cagan.chosen(run.path)
        why = "" if used == newest[0] else ": the monitor saw the run get worse after it"
        lines.append(f"swaps use {used.name}{why}")
    if following.step < following.total:
        lines.append(f"stopped at step {following.step} of {following.total}; the same command goes on")
    elif newest:
        lines.append(
            f"next: cagan evaluate {run.path} PAIRS, cagan swap {run.path} PERSON ARTICLE, or cagan app {run.path}"
        )
    return lines
