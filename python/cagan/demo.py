"""`cagan demo`: swaps by the package's weights, a run of one's own, and a page that shows both."""

import base64
import csv
import io
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import _cagan
from .evaluation import Scores, evaluate
from .evaluation.verdict import better
from .following import Following
from .panel import environment, html_of
from .runs import Run
from .settings import Settings
from .training import train

__all__ = ["LEARN", "SETTINGS", "SHOW", "demo", "shown"]

# Found by trial: what two CPU cores learn in two to three minutes.
SETTINGS: Settings = {
    "image_size": (64, 48),
    "width": 64,
    "images": 4000,
    "log_every": 10,
    "sample_every": 10**9,
    "monitor_every": 0,
}
# Seeds of the dolls: to learn from, to show, to score.
LEARN, SHOW, SCORE = 0, 7, 1
_COUNT, _TESTED = 1000, 24
# Height and width: as photos are to look at, and as networks see them.
_LARGE, _SMALL = (256, 192), (128, 96)
_ROWS, _PEOPLE, _COLUMNS = 5, 4, 6
# Seconds between two drawings of the page.
_EVERY_S = 2.0
_TITLES = ("person", "worn", "put on", "swap", "true swap")
_SCORES = (
    ("true/located_iou", "finds the garment: overlap of its mask with the true one"),
    ("true/error", "comes near the true swap: difference in grey levels of 255"),
    ("true/keep", "leaves the rest alone: change outside, in grey levels"),
    ("true/ssim", "looks like the true swap: structural similarity"),
)


def demo(
    folder: Path, *, images: int | None = None, seen: Callable[[Path], object] = lambda _: None
) -> tuple[Path, Scores]:
    """Shows swaps at once, then trains in `folder`, with a page that follows, and scores both on other dolls.

    Args:
        folder: Receives dolls, run and page. A run that was stopped goes on.
        images: The length of the run in pictures; the other settings are fixed.
        seen: Called with the page as soon as it shows the first swaps.

    Returns:
        The page, and the scores of the run.

    Raises:
        OSError: The folder cannot be written.
    """
    page = _Page(folder, images or int(SETTINGS["images"] or 0))
    page.first(_cagan.dolls(folder / "show", count=8, seed=SHOW, size=_LARGE, swaps=1))
    seen(page.path)
    pairs = _cagan.dolls(folder / "dolls", count=_COUNT, seed=LEARN, size=_SMALL, swaps=0)
    config = _cagan.Config("kisekae", **SETTINGS).replace(images=page.images)
    every = -(-config.total_steps(_COUNT) // _COLUMNS)
    config = config.replace(snapshot_every=every, checkpoint_every=every)
    run = train(pairs, folder / "run", config, on_event=page.take)
    test = _cagan.dolls(folder / "test", count=_TESTED, seed=SCORE, size=_SMALL, swaps=1)
    scores = {"your run": evaluate(run, test), "the package's weights": evaluate("dolls", test)}
    page.end(run, scores)
    return page.path, scores["your run"]


def shown(pairs: _cagan.Pairs) -> list[tuple[_cagan.Pair, _cagan.Pair]]:
    """The swaps that the demo shows: the first true swap of each of these dolls."""
    assert pairs.folder is not None, "dolls are files"
    with (pairs.folder / "swaps" / "list.csv").open(newline="", encoding="utf-8") as file:
        rows = [(pairs[row["human"]], pairs[row["target"]]) for row in csv.DictReader(file)]
    return list({human.id: (human, target) for human, target in reversed(rows)}.values())[::-1]


class _Page:
    """The page, as far as the demo is."""

    def __init__(self, folder: Path, images: int) -> None:
        self.path, self.images = folder / "index.html", images
        self._began_s = self._drawn_s = time.monotonic()
        self._following = Following()
        self._rows: list[tuple[_cagan.Pair, _cagan.Pair]] = []
        self._state: dict[str, Any] = {
            "ended": False,
            "first": [],
            "first_s": 0.0,
            "titles": _TITLES,
            "dolls": _COUNT,
            "pictures": images,
            "panel": None,
            "people": [],
            "columns": [],
            "missing": _COLUMNS,
            "past": _past(),
        }

    def first(self, pairs: _cagan.Pairs) -> None:
        """Swaps by the package's weights."""
        self._rows = shown(pairs)
        swapper = _cagan.Swapper("dolls", "cpu")
        assert pairs.folder is not None, "dolls are files"
        for human, target in self._rows[:_ROWS]:
            true = _cagan.read_picture(pairs.folder / "swaps" / f"{human.id}__{target.id}.png")
            swap = swapper.swap(human, target=target)
            cells = (human.human, human.article, target.article, swap.image, true)
            self._state["first"].append([_address(cell) for cell in cells])
        people = self._rows[:_PEOPLE]
        self._state["people"] = [[_address(human.human), _address(target.article)] for human, target in people]
        self._state["first_s"] = time.monotonic() - self._began_s
        self._draw()

    def take(self, event: str, value: Any) -> None:
        """Takes an event of the run."""
        self._following.take(event, value)
        if event == "start":
            # A run that goes on has columns already.
            for path in Run(self.path.parent / "run").snapshots:
                self._column(path)
        if event == "snapshot":
            self._column(value)
        if event == "snapshot" or time.monotonic() - self._drawn_s > _EVERY_S:
            self._state["panel"] = _safe(html_of(self._following, grid=""))
            self._draw()

    def _column(self, snapshot: Path) -> None:
        """Adds the people as a snapshot swaps them."""
        if snapshot.stem == "best":
            return
        swapper = _cagan.Swapper(snapshot, "cpu")
        title = f"{swapper.step * int(swapper.config.batch_size)}"
        swaps = [swapper.swap(human, target=target).image for human, target in self._rows[:_PEOPLE]]
        columns = self._state["columns"]
        columns[:] = [column for column in columns if column["title"] != title]
        columns.append({"title": title, "cells": [_address(swap) for swap in swaps]})
        self._state["missing"] = max(0, _COLUMNS - len(columns))

    def end(self, run: Run, scores: dict[str, Scores]) -> None:
        """Shows verdict, scores and what comes next."""
        names, untouched = list(scores), scores["your run"]["true/error_untouched"]
        rows: list[dict[str, Any]] = []
        for name, words in _SCORES:
            values = [f"{found[name]:.2f}" for found in scores.values()]
            rows.append({"name": name, "words": words, "better": better(name), "values": values})
        rows[1]["words"] += f"; {untouched:.0f} if the photo is left alone"
        folder = self.path.parent
        self._state |= {
            "ended": True,
            "panel": _safe(html_of(self._following, grid="", ended=True)) if self._following.start else None,
            "verdict": scores["your run"].verdict,
            "names": names,
            "scores": rows,
            "missing": 0,
            "commands": [
                (f"cagan app {run.path} --pairs {folder / 'test'}", "try your run on a page of its own"),
                ("cagan app dolls", "the same with the package's weights"),
                (
                    "cagan train PAIRS runs/mine --init-from dolls",
                    "train on your own pairs, from the package's weights",
                ),
            ],
        }
        self._draw()

    @property
    def commands(self) -> list[tuple[str, str]]:
        """The next commands with what they do."""
        return list(self._state.get("commands", []))

    def _draw(self) -> None:
        self._drawn_s = time.monotonic()
        page = environment().get_template("demo.html").render(**self._state)
        _cagan.write_atomically(self.path, page.encode("utf-8", errors="replace"))


def _safe(html: str) -> Any:
    """Marks HTML of an own template."""
    from markupsafe import Markup

    return Markup(html)  # its values are escaped there


def _address(picture: Any) -> str:
    """A picture as an address that holds it."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _past() -> dict[str, str] | None:
    """The article's method on the demo's own people, made beforehand by tools/doll_weights.py."""
    folder = Path(__file__).parent / "weights"
    picture, text = folder / "vasily.jpg", folder / "vasily.json"
    if not picture.is_file() or not text.is_file():
        return None
    content = base64.b64encode(picture.read_bytes()).decode("ascii")
    words = json.loads(text.read_text(encoding="utf-8"))["words"]
    return {"picture": f"data:image/jpeg;base64,{content}", "text": str(words)}
