"""Scores of swaps on dolls, whose true swaps are known."""

import csv
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _cagan

__all__ = ["evaluate"]

# Swaps at once: bounds what is in memory.
_PART = 64


def evaluate(
    model: _cagan.Swapper | str | os.PathLike[str], dolls: str | os.PathLike[str], device: str | None = None
) -> dict[str, float]:
    """Score a generator's swaps of dolls against the true ones.

    Every row of the dolls' `swaps/list.csv` is swapped. Differences are means over all channels of the pixels in
    question, in grey levels of 255, averaged over the rows.

    Args:
        model: A swapper, a run, a run's folder or a snapshot.
        dolls: A folder that `cagan.dolls` drew with swaps; dolls that were not trained on tell more.
        device: "auto" (where none is given), "cpu", "cuda" or "cuda:N", for a model that is not loaded yet.

    Returns:
        `swaps`: how many there were; `error`: the difference to the true swap inside the true mask;
        `error_untouched`: the same of the photo left alone; `keep`: the difference to the photo outside the mask;
        `psnr`: of the whole swap, in dB; `psnr_untouched`: of the photo left alone; `mask_iou`: of the mask above one
        half with the true mask.

    Raises:
        FileNotFoundError: For a folder without `swaps/list.csv`, and a true swap that is not there.
        ValueError: For a broken list, and a true swap of another size than its photo.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/first", "smoke", steps=2, progress=False)
        >>> scores = cagan.evaluate(run, "data/dolls")
        >>> scores["swaps"], scores["error"] > 0
        (8, True)
    """
    swapper = model if isinstance(model, _cagan.Swapper) else _cagan.Swapper(model, device)
    folder = Path(dolls)
    rows = listed(folder / "swaps" / "list.csv", _cagan.Pairs(folder))
    found = [_scores(folder / "swaps", *row) for row in swapped(swapper, rows)]
    means = {name: float(np.mean([row[name] for row in found])) for name in found[0]}
    return {"swaps": len(found), **means}


def swapped(
    swapper: _cagan.Swapper, rows: list[tuple[_cagan.Pair, _cagan.Pair]]
) -> Iterator[tuple[_cagan.Pair, _cagan.Pair, _cagan.Swap]]:
    """Each person in the article of the other pair, a part of the rows at a time."""
    for start in range(0, len(rows), _PART):
        people, articles = zip(*rows[start : start + _PART])
        swaps = swapper.swap(
            [person.human_path for person in people],
            [person.article_path for person in people],
            [article.article_path for article in articles],
        )
        yield from zip(people, articles, swaps)


def _scores(folder: Path, person: _cagan.Pair, article: _cagan.Pair, swap: _cagan.Swap) -> dict[str, float]:
    name = f"{person.id}__{article.id}"
    true = _cagan.read_picture(folder / f"{name}.png").astype(float)
    mask = _cagan.read_picture(folder / f"{name}.alpha.png")[:, :, 0] > 0
    human, image = person.human.astype(float), swap.image.astype(float)
    for got in (true, mask):
        if got.shape[:2] != human.shape[:2]:
            size = " x ".join(map(str, human.shape[:2]))
            raise ValueError(f"{folder / name}: expected the photo's size {size}, got {got.shape[0]} x {got.shape[1]}")
    ours = swap.mask > 127
    return {
        "error": _difference(image, true, mask),
        "error_untouched": _difference(human, true, mask),
        "keep": _difference(image, human, ~mask),
        "psnr": _psnr(image, true),
        "psnr_untouched": _psnr(human, true),
        "mask_iou": float((ours & mask).sum() / max(1, (ours | mask).sum())),
    }


def _difference(a: NDArray[Any], b: NDArray[Any], where: NDArray[Any]) -> float:
    return float(np.abs(a - b)[where].mean()) if where.any() else 0.0


def _psnr(a: NDArray[Any], b: NDArray[Any]) -> float:
    # Equal pictures get what a single byte's rounding would leave, not infinity, which no mean survives.
    return float(10 * np.log10(255**2 / max(float(np.mean((a - b) ** 2)), 1 / a.size)))


def listed(listing: Path, pairs: _cagan.Pairs) -> list[tuple[_cagan.Pair, _cagan.Pair]]:
    """The people and the articles of a CSV with the columns human, target, all of them looked up."""
    with listing.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = {"human", "target"} - set(rows.fieldnames or ())
        if missing:
            got = ", ".join(rows.fieldnames or ()) or "none"
            raise ValueError(f"{listing}: expected the columns human, target, got {got}")
        found = []
        for row in rows:
            for name in ("human", "target"):
                if not row[name]:
                    raise ValueError(f"{listing}: line {rows.line_num}: expected a value for {name}, got none")
            try:
                found.append((pairs[row["human"]], pairs[row["target"]]))
            except KeyError as error:
                raise ValueError(f"{listing}: line {rows.line_num}: {error.args[0]}") from None
    if not found:
        raise ValueError(f"{listing}: expected rows under the header, got none")
    return found
