"""Curves of runs: losses, the monitor, several runs in one plot, and a plot that grows while a run trains."""

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from .. import _cagan
from .pictures import ShownFigure, run_of, show

__all__ = ["Live", "compare", "losses", "monitor", "overview"]

# A letter's width and a line's height in the names of stages, as shares of the axes.
_LETTER, _LINE = 0.022, 0.075

Line = dict[str, float]

# Keys of one axes share its scale. A plot shows the axes whose keys the log has: the terms depend on the networks.
_LOSSES = (
    ("losses", ("loss/discriminator", "loss/generator")),
    ("cycle", ("loss/generator/cycle",)),
    ("restored", ("loss/generator/restored", "loss/generator/warped")),
    ("located", ("loss/generator/located", "loss/generator/placed")),
    ("mask", ("mask/area",)),
    ("logits", ("logits/matched", "logits/swapped", "logits/mismatched")),
)
_COMPARED = ("loss/generator/cycle", "loss/generator/restored", "mask/area", "monitor/score")
_MONITOR = (
    ("score", ("monitor/score", "monitor/colour_follows", "monitor/patch_distance")),
    ("mask", ("monitor/mask_area",)),
    ("paint", ("monitor/paint_spread",)),
    ("discriminator", ("monitor/logit_gap",)),
)


def losses(run: str | os.PathLike[str], keys: Sequence[str] | None = None, *, smoothing: float = 0.6) -> Figure:
    """Plot `stats.jsonl` over the steps.

    Logged values are pale, smoothed ones strong. A dotted line marks a step at which the run was resumed, and every
    second stage of kisekae is shaded.

    Args:
        run: A run.
        keys: Log keys, each in axes of its own. Defaults to the losses, the terms that the networks are trained by (the
            cycle; for kisekae the restored and the located region), the mask and the logits.
        smoothing: The weight of past values in the moving average, 0 (none) to below 1.

    Raises:
        KeyError: The log does not have a key.
        ValueError: The smoothing is out of its range, or the log is empty.
        FileNotFoundError: The folder holds no run.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/first", "smoke", steps=4, progress=False)
        >>> [axes.get_title() for axes in cagan.plots.losses(run).axes]
        ['losses', 'cycle', 'mask', 'logits']
    """
    run = run_of(run)
    groups = _groups(keys, _LOSSES, run.stats)
    figure = _curves(run.stats, groups, run.resumes, smoothing, f"{run.path}/stats.jsonl")
    for axes in figure.axes:
        _shade(axes, run.stages)
    return figure


def monitor(run: str | os.PathLike[str], keys: Sequence[str] | None = None, *, smoothing: float = 0.0) -> Figure:
    """Plot `monitor.jsonl` over the steps, which shows whether the run collapses. Lower scores are better.

    A ring marks the lowest score, whose generator is `snapshots/best.safetensors`.

    Args:
        run: A run.
        keys: Log keys, each in axes of its own. Defaults to all, in four axes.
        smoothing: As for `losses`.

    Raises:
        KeyError: The monitor does not have a key.
        ValueError: The smoothing is out of its range, or the monitor has not looked at the run yet.
        FileNotFoundError: The folder holds no run.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/watched", "smoke", steps=4, monitor_every=2, progress=False)
        >>> [axes.get_title() for axes in cagan.plots.monitor(run).axes]
        ['score', 'mask', 'paint', 'discriminator']
    """
    run = run_of(run)
    groups = _groups(keys, _MONITOR, run.looks)
    figure = _curves(run.looks, groups, run.resumes, smoothing, f"{run.path}/monitor.jsonl")
    for axes in figure.axes:
        _shade(axes, run.stages)
    if run.best is not None:
        best = _cagan.Swapper(run.best, "cpu").step
        score = next(line["monitor/score"] for line in run.looks if line["step"] == best)
        for (_, names), axes in zip(groups, figure.axes):
            if "monitor/score" in names:
                axes.plot(best, score, "o", ms=9, mfc="none", color="black")
    return figure


def compare(
    runs: Sequence[str | os.PathLike[str]],
    keys: Sequence[str] | None = None,
    *,
    smoothing: float = 0.6,
    names: Sequence[str] | None = None,
) -> Figure:
    """Plot several runs together: a colour for each run, axes for each key.

    Args:
        runs: At least one run.
        keys: Keys of the logs or the monitors. Defaults to the cycle, the restored term, the mask and the score, those
            of them that a run has.
        smoothing: As for `losses`.
        names: The runs' names in the legend. Defaults to their folders' names.

    Raises:
        KeyError: No run has a key.
        ValueError: There are no runs, or the number of names differs from theirs.
        FileNotFoundError: A folder holds no run.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> runs = [cagan.train(pairs, f"runs/{k}", "smoke", steps=4, seed=k, progress=False) for k in (1, 2)]
        >>> figure = cagan.plots.compare(runs, ["mask/area"])
        >>> [text.get_text() for text in figure.legends[0].get_texts()]
        ['1', '2']
    """
    found = [run_of(run) for run in runs]
    if not found:
        raise ValueError("runs: expected one run at least, got none")
    labels = [run.path.name for run in found] if names is None else list(names)
    if len(labels) != len(found):
        raise ValueError(f"names: expected as many as runs ({len(found)}), got {len(labels)}")
    logs = [[*run.stats, *run.looks] for run in found]
    lines = [line for log in logs for line in log]
    shown = list(keys) if keys is not None else [key for key in _COMPARED if any(key in line for line in lines)]
    for key in shown:
        if not any(key in line for line in lines):
            raise KeyError(_unknown(key, lines))
    figure, places = _figure(len(shown))
    for key, axes in zip(shown, places):
        axes.set(title=key, xlabel="step")
        for number, log in enumerate(logs):
            if any(key in line for line in log):
                _draw(axes, *_series(log, key), smoothing, f"C{number}", labels[number])
    handles = {text: line for axes in places for line, text in zip(*axes.get_legend_handles_labels())}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def overview(run: str | os.PathLike[str]) -> ShownFigure:
    """Plot a run as a notebook shows it: losses, cycle and mask, and the newest sample grid.

    Raises:
        FileNotFoundError: The folder holds no run.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/first", "smoke", steps=4, progress=False)
        >>> len(cagan.plots.overview(run).axes)
        4
    """
    run = run_of(run)
    samples = run.samples
    return _overview(run.stats, run.resumes, samples[-1] if samples else None, run.stages)


class Live:
    """A plot that grows while a run trains, in a notebook: `cagan.train(..., on_event=cagan.plots.Live())`.

    It draws the figure of `overview` at the first report, and then at most every `every_s` seconds.

    Args:
        every_s: The least time between two drawings in seconds. A drawing takes a third of a second.

    Raises:
        ImportError: IPython is missing, which notebooks have.
        ValueError: The time is below 0.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> live = cagan.plots.Live(every_s=0)
        >>> run = cagan.train(pairs, "runs/live", "smoke", steps=4, progress=False, on_event=live)  # doctest: +ELLIPSIS
        Figure(...
        >>> len(live.figure.axes)
        4
    """

    def __init__(self, every_s: float = 5.0) -> None:  # noqa: D107  # the class says it
        try:
            import IPython  # noqa: F401  # fails here if it is missing
        except ImportError as error:
            raise ImportError("ipython: expected for cagan.plots.Live, found none; pip install ipykernel") from error
        if not every_s >= 0:
            raise ValueError(f"every_s: expected 0 or more, got {every_s}")
        self.figure: Figure | None = None
        self._every_s = every_s
        self._lines: list[Line] = []
        self._resumes: list[int] = []
        self._sample: Path | None = None
        self._total = 0
        self._stages: list[tuple[str, int]] = []
        self._handle: Any = None
        self._drawn_s = -math.inf

    def __call__(self, event: str, value: Any) -> None:
        """Takes an event of `cagan.train`."""
        if event == "start":
            self._total = value["total"]
            self._stages = [(name, images // value["batch_size"]) for name, images in value["stages"]]
            if value["step"]:
                self._resumes.append(value["step"])
        elif event == "sample":
            self._sample = value
        elif event == "report":
            self._lines.append(value)
        last = event == "checkpoint" and bool(self._lines) and self._lines[-1]["step"] >= self._total
        if self._lines and (last or (event == "report" and time.monotonic() - self._drawn_s >= self._every_s)):
            self._draw()

    def _draw(self) -> None:
        from IPython import display

        # IPython does not type it.
        show_in_cell: Any = display.display
        self.figure = _overview(self._lines, self._resumes, self._sample, self._stages)
        if self._handle is None:
            self._handle = show_in_cell(self.figure, display_id=True)
        else:
            self._handle.update(self.figure)
        self._drawn_s = time.monotonic()


def smoothed(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Exponential moving average, corrected for its start from zero. Skips values that are not finite."""
    if not 0 <= weight < 1:
        raise ValueError(f"smoothing: expected 0 to below 1, got {weight}")
    out, mean, share = np.full(len(values), np.nan), 0.0, 0.0
    for k, value in enumerate(values):
        if np.isfinite(value):
            mean, share = weight * mean + (1 - weight) * value, weight * share + (1 - weight)
            out[k] = mean / share
    return out


def _overview(
    lines: list[Line], resumes: Sequence[int], sample: Path | None, stages: Sequence[tuple[str, int]]
) -> ShownFigure:
    figure = ShownFigure(figsize=(10, 6 if sample else 2.6), layout="constrained")
    grid = figure.add_gridspec(2 if sample else 1, 3, height_ratios=(1, 1.6) if sample else None)
    for number, (title, names) in enumerate(_groups(None, _LOSSES, lines)[:3]):
        axes = figure.add_subplot(grid[0, number])
        _group(axes, title, names, lines, resumes, 0.6)
        _shade(axes, stages)
    if sample:
        show(figure.add_subplot(grid[1, :]), _cagan.read_picture(sample))
    return figure


def _groups(keys: Sequence[str] | None, default: Any, lines: list[Line]) -> Any:
    if keys is not None:
        return [(key, (key,)) for key in keys]
    logged = {key for line in lines for key in line}
    return [(title, names) for title, names in default if logged.issuperset(names)]


def _curves(lines: list[Line], groups: Any, resumes: Sequence[int], smoothing: float, file: str) -> Figure:
    if not lines:
        raise ValueError(f"{file}: expected a line at least, got none yet")
    for _, names in groups:
        for name in names:
            if not any(name in line for line in lines):
                raise KeyError(_unknown(name, lines))
    figure, places = _figure(len(groups))
    for (title, names), axes in zip(groups, places):
        _group(axes, title, names, lines, resumes, smoothing)
    return figure


def _group(
    axes: Axes, title: str, names: Sequence[str], lines: list[Line], resumes: Sequence[int], smoothing: float
) -> None:
    axes.set(title=title, xlabel="step")
    for number, name in enumerate(names):
        _draw(axes, *_series(lines, name), smoothing, f"C{number}", name.split("/")[-1])
    for step in resumes:
        axes.axvline(step, color="0.5", lw=1, ls=":")
    if len(names) > 1:
        axes.legend(fontsize=8, frameon=False)


def _shade(axes: Axes, stages: Sequence[tuple[str, int]]) -> None:
    """Shades every second stage that has begun, and names each at the top, on a line of its own if it is short."""
    if len(stages) < 2:
        return
    # The end of the last name on each line, as a share of the width.
    taken: list[float] = []
    low, high = axes.get_xlim()
    ends = [first for _, first in stages[1:]] + [high]
    for number, ((name, first), last) in enumerate(zip(stages, ends)):
        left, right = max(first, low), min(last, high)
        if left >= right:
            continue
        if number % 2:
            axes.axvspan(left, right, color="0.5", alpha=0.12, lw=0)
        place = axes.get_xaxis_transform()
        begin = (left - low) / (high - low) + 0.01
        line = next((k for k, end in enumerate(taken) if end < begin), len(taken))
        taken[line : line + 1] = [begin + _LETTER * len(name)]
        x, y = low + begin * (high - low), 0.98 - _LINE * line
        axes.text(x, y, name, transform=place, va="top", fontsize=7, color="0.4")
    axes.set_xlim(low, high)
    # The names stand above the curves.
    bottom, top = axes.get_ylim()
    axes.set_ylim(bottom, bottom + (top - bottom) / (1 - _LINE * len(taken)))


def _figure(count: int) -> tuple[Figure, list[Axes]]:
    """Returns a figure with `count` axes in rows of two."""
    if count == 0:
        raise ValueError("keys: expected one key at least, got none")
    columns = min(2, count)
    rows = math.ceil(count / columns)
    figure = ShownFigure(figsize=(4.5 * columns, 2.6 * rows), layout="constrained")
    return figure, [figure.add_subplot(rows, columns, k + 1) for k in range(count)]


def _series(lines: list[Line], key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns steps and values. None, as in the score of a collapsed mask, becomes NaN."""
    points = [(line["step"], line[key]) for line in lines if key in line]
    steps = np.array([step for step, _ in points], float)
    return steps, np.array([np.nan if value is None else value for _, value in points], float)


def _draw(
    axes: Axes,
    steps: NDArray[np.float64],
    values: NDArray[np.float64],
    smoothing: float,
    colour: str,
    label: str,
) -> None:
    if smoothing:
        axes.plot(steps, values, color=colour, alpha=0.25, lw=1)
    # A single line of the log is a point.
    axes.plot(steps, smoothed(values, smoothing), color=colour, marker="." if len(steps) < 2 else "", label=label)


def _unknown(name: str, lines: list[Line]) -> str:
    known = sorted({key for line in lines for key in line} - {"step"})
    return f"unknown key {name!r}: expected one of {', '.join(known)}"
