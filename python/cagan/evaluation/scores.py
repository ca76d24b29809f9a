"""Figures with intervals: as numbers, as a table, as JSON and back, and as a sheet of the worst swaps."""

import copy
import html
import json
import math
import os
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .verdict import better, verdict

__all__ = ["Figure", "Scores", "mean_figure", "read_figures", "set_figure", "table"]

_Array = NDArray[Any]

_RESAMPLES = 1000
_HEAD = ("figure", "value", "better", "95 %", "n")


@dataclass(frozen=True)
class Figure:
    """A number and its 95 % interval.

    Attributes:
        value: The figure.
        low: The interval's lower end, or None if the people are too few for an interval.
        high: Its upper end, or None.
        count: The number of swaps (or people) behind it.
    """

    value: float
    low: float | None
    high: float | None
    count: int


def mean_figure(values: list[tuple[str, float, float]], seed: int) -> Figure:
    """Divides the sum of numerators by that of denominators, with a bootstrap interval over the people.

    One person's swaps are drawn together: they resemble each other, and drawn apart they would make the interval too
    narrow.

    Args:
        values: (person, numerator, denominator) of each swap.
        seed: Seed of the bootstrap.
    """
    people = sorted({name for name, *_ in values})
    index = {name: k for k, name in enumerate(people)}
    numerators, denominators = np.zeros(len(people)), np.zeros(len(people))
    for name, a, b in values:
        numerators[index[name]] += a
        denominators[index[name]] += b
    value = float(numerators.sum() / denominators.sum())
    if len(people) < 2:
        return Figure(value, None, None, len(values))
    times = np.random.default_rng(seed).multinomial(len(people), np.full(len(people), 1 / len(people)), _RESAMPLES)
    low, high = np.quantile((times @ numerators) / (times @ denominators), [0.025, 0.975])
    return Figure(value, float(low), float(high), len(values))


def set_figure(value: float, without: list[float], count: int) -> Figure:
    """Gives a distance of sets its interval by the jackknife: 1.96 standard errors of the distances without a part.

    A bootstrap repeats pictures, which shrinks the sets and moves the distance itself.

    Args:
        value: The distance.
        without: The distances that leave out one part in turn.
        count: The number of swaps.
    """
    if len(without) < 2:
        return Figure(value, None, None, count)
    parts = np.array(without)
    error = math.sqrt((len(parts) - 1) / len(parts) * float(((parts - parts.mean()) ** 2).sum()))
    return Figure(value, value - 1.96 * error, value + 1.96 * error, count)


class Scores(Mapping[str, float]):
    """The figures of `cagan.evaluate`, by name: `scores["true/ssim"]` is a number.

    Attributes:
        figures: Name -> `Figure`, with interval and count.
        rows: A dict for each swap: the ids `human` and `target`, and the swap's figures by name.
        settings: The settings of the evaluation: the model, the pairs, heights, the feature network, versions.
        skipped: Swaps that pairs with `on_error="skip"` left out, as a picture could not be read: (human, target,
            reason).

    Scores can be copied and pickled. If the model was a function that cannot be pickled, a pickled copy draws no sheet.
    """

    def __init__(  # noqa: D107  # the class says it
        self,
        figures: dict[str, Figure],
        rows: list[dict[str, Any]],
        settings: dict[str, Any],
        show: Callable[[dict[str, Any]], list[_Array]] | None,
        skipped: list[tuple[str, str, str]] | None = None,
    ) -> None:
        self.figures, self.rows, self.settings = figures, rows, settings
        self.skipped = skipped or []
        self._show = show

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the model out if it cannot be pickled."""
        state = dict(self.__dict__)
        try:
            pickle.dumps(self._show)
        except (pickle.PicklingError, AttributeError, TypeError):
            state["_show"] = None
        return state

    def __copy__(self) -> "Scores":
        """Copies the scores, with the same model."""
        return Scores(self.figures, self.rows, self.settings, self._show, self.skipped)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Scores":
        """Copies the scores and their contents, with the same model."""
        own = copy.copy(self)
        own.figures, own.rows = copy.deepcopy(self.figures, memo), copy.deepcopy(self.rows, memo)
        own.settings, own.skipped = copy.deepcopy(self.settings, memo), copy.deepcopy(self.skipped, memo)
        return own

    def __getitem__(self, name: str) -> float:
        """Returns the figure's value."""
        return self.figures[name].value

    def __iter__(self) -> Iterator[str]:
        """Iterates over the figures' names."""
        return iter(self.figures)

    def __len__(self) -> int:
        """Counts the figures."""
        return len(self.figures)

    @property
    def verdict(self) -> str:
        """One sentence on how good the swaps are."""
        return verdict(self.figures)

    def to_json(self) -> str:
        """Returns verdict, settings, figures and rows as JSON; a number that is not finite becomes null."""
        figures = {name: asdict(figure) for name, figure in self.figures.items()}
        content: dict[str, Any] = {
            "verdict": self.verdict,
            "settings": self.settings,
            "figures": figures,
            "rows": self.rows,
        }
        if self.skipped:
            content["skipped"] = self.skipped
        return json.dumps(_finite(content), indent=2, allow_nan=False)

    def table(self, markdown: bool = False) -> str:
        """Returns the figures as text, or as a markdown table, with the direction that is better."""
        return table(self.figures, markdown)

    def sheet(self, path: str | os.PathLike[str], by: str | None = None, count: int = 8) -> Path:
        """Writes the worst swaps as a PNG: human, worn, target, swap, mask, and the truth if it is known.

        Args:
            path: The PNG.
            by: The figure that orders the swaps. Defaults to `true/error` for dolls, else to `region/colour` for pairs
                with regions, else to `restored/error`.
            count: The largest number of rows.

        Returns:
            The path.

        Raises:
            ValueError: Single swaps do not have the figure, the count is below 1, or the scores were pickled without
                their model.
            OSError: The path cannot be written.
        """
        from PIL import Image, ImageDraw, ImageOps

        if self._show is None:
            raise ValueError("scores: expected a model to swap with, got none: its function could not be pickled")
        known = sorted({name for row in self.rows for name, value in row.items() if "/" in name and _is_number(value)})
        by = by or next(name for name in ("true/error", "region/colour", "restored/error") if name in known)
        if by not in known:
            raise ValueError(f"by: expected one of {', '.join(known)}, got {by}")
        if count < 1:
            raise ValueError(f"count: expected 1 or more, got {count}")
        sign = 1 if better(by) == "higher" else -1
        judged = [row for row in self.rows if _is_number(row.get(by))]
        worst = sorted(judged, key=lambda row: (sign * row[by], row["human"], row["target"]))[:count]
        strips = []
        for row in worst:
            cells = [Image.fromarray(picture).convert("RGB") for picture in self._show(row)]
            height, width = 256, max(1, round(256 * cells[0].width / cells[0].height))
            strip = Image.new("RGB", (len(cells) * (width + 4), height + 18), "white")
            for k, cell in enumerate(cells):
                strip.paste(ImageOps.contain(cell, (width, height)), (k * (width + 4), 18))
            text = f"{row['human']} in {row['target']}: {by} {row[by]:.4g}"
            ImageDraw.Draw(strip).text((2, 2), text.encode("latin-1", "replace").decode("latin-1"), fill="black")
            strips.append(strip)
        size = (max(strip.width for strip in strips), sum(strip.height for strip in strips))
        sheet, top = Image.new("RGB", size, "white"), 0
        for strip in strips:
            sheet.paste(strip, (0, top))
            top += strip.height
        sheet.save(path, format="PNG")
        return Path(path)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{cell}</th>" for cell in _HEAD)
        rows = ("".join(f"<td>{html.escape(cell)}</td>" for cell in line) for line in _cells(self.figures))
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{html.escape(self.verdict)}</p>"

    def __repr__(self) -> str:
        """Returns the table and the verdict."""
        return f"{self.table()}\n{self.verdict}"


def table(figures: Mapping[str, Figure], markdown: bool = False) -> str:
    """Returns figures as text, or as a markdown table."""
    lines = [list(_HEAD), *_cells(figures)]
    if markdown:
        lines.insert(1, ["---"] * len(_HEAD))
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    widths = [max(len(line[k]) for line in lines) for k in range(len(_HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def _cells(figures: Mapping[str, Figure]) -> list[list[str]]:
    lines = []
    for name, figure in figures.items():
        span = "-" if figure.low is None else f"{figure.low:.4g} .. {figure.high:.4g}"
        lines.append([name, f"{figure.value:.4g}", better(name), span, str(figure.count)])
    return lines


def read_figures(path: Path) -> dict[str, Figure]:
    """Reads the figures back from a file with the JSON of `Scores.to_json`.

    Raises:
        ValueError: The file holds something else.
    """
    try:
        figures = {name: Figure(**figure) for name, figure in json.loads(path.read_text("utf-8"))["figures"].items()}
        # `to_json` wrote NaN as null.
        figures = {name: replace(f, value=math.nan) if f.value is None else f for name, f in figures.items()}
        # Fails for a value that is not a number.
        _cells(figures)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: expected the JSON of `cagan evaluate --json`, got something else") from error
    return figures


def _is_number(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _finite(value) for name, value in content.items()}
    if isinstance(content, list):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
