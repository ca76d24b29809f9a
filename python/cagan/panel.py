"""A run under way as HTML: bar, stage, curves, and the newest grid; in Jupyter one display that is updated."""

import base64
import contextlib
import math
import time
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from .following import Following, duration

__all__ = ["Panel", "environment", "html_of"]

# Seconds between two updates.
_EVERY_S = 1.0
# Points of a curve.
_POINTS = 200
_CURVES = ("loss/generator", "loss/generator/restored", "loss/generator/cycle", "mask/area")


def environment() -> Environment:
    """The templates of the package's pages."""
    return Environment(
        loader=PackageLoader("cagan"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def html_of(following: Following, notes: Sequence[str] = (), *, ended: bool = False, grid: str | None = None) -> str:
    """Draws a run as it stands.

    Args:
        following: The run.
        notes: Lines below.
        ended: Whether it is over.
        grid: The grid's address in place of the newest sample itself.
    """
    images = max(1, following.total * int(following.start.get("batch_size", 1)))
    stages = [
        {"name": name, "left": round(100 * first / images, 2), "width": round(100 * (last - first) / images, 2)}
        for name, first, last in following.stages
    ]
    rate = following.images_per_s
    return (
        environment()
        .get_template("panel.html")
        .render(
            following=following,
            images=images,
            share=round(100 * following.images / images, 1),
            elapsed=duration(following.elapsed_s),
            left=duration(following.left_s),
            rate="?" if math.isnan(rate) else f"{rate:.0f}",
            stages=stages,
            curves=[curve for key in _CURVES if (curve := _curve(following, key))],
            grid=_sample(following) if grid is None else grid,
            notes=list(notes),
            ended=ended,
        )
    )


def _curve(following: Following, key: str) -> dict[str, str] | None:
    """A key's values as points of an SVG of 200 x 60, over the whole run."""
    found = [(line["step"], line[key]) for line in following.lines if math.isfinite(line.get(key, math.nan))]
    if len(found) < 2:
        return None
    found = found[:: max(1, len(found) // _POINTS)]
    low, high = min(value for _, value in found), max(value for _, value in found)
    span, total = (high - low) or 1.0, max(1, following.total)
    points = (f"{200 * step / total:.1f},{57 - 54 * (value - low) / span:.1f}" for step, value in found)
    return {"name": key.split("/")[-1], "last": f"{found[-1][1]:.3f}", "points": " ".join(points)}


def _sample(following: Following) -> str | None:
    """The newest grid as an address that holds it."""
    if following.sample is None:
        return None
    with contextlib.suppress(OSError):
        return "data:image/png;base64," + base64.b64encode(following.sample.read_bytes()).decode("ascii")
    return None


class Panel:
    """A run in a notebook: one display of HTML, without widgets.

    Args:
        following: The run, which takes each event first.
    """

    def __init__(self, following: Following) -> None:  # noqa: D107  # the class says it
        from IPython import display

        # IPython does not type it.
        show: Any = display.display
        self._html: Any = getattr(display, "HTML")  # noqa: B009  # untyped
        self._following = following
        self._shown_s = time.monotonic()
        self._handle: Any = None
        # Standard output may be gone, and no display is worth a run.
        with contextlib.suppress(Exception):
            self._handle = show(self._html(html_of(following, following.summary())), display_id=True)

    def update(self, event: str) -> None:
        """Draws anew after an event, at most every second."""
        if event == "step" and time.monotonic() - self._shown_s < _EVERY_S:
            return
        if event in ("step", "sample"):
            self._draw(self._following.summary(), ended=False)

    def end(self, notes: Sequence[str]) -> None:
        """Draws the last time."""
        self._draw(notes, ended=True)

    def _draw(self, notes: Sequence[str], *, ended: bool) -> None:
        self._shown_s = time.monotonic()
        # Without a frontend there is no handle, and no display is worth a run.
        with contextlib.suppress(Exception):
            self._handle.update(self._html(html_of(self._following, notes, ended=ended)))
