"""What is known beside the pairs: true swaps of dolls, and true regions of worn garments."""

import csv
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .. import _cagan

__all__ = ["Truth", "listed"]

_Array = NDArray[Any]


class Truth:
    """Finds true swaps (swaps/list.csv, as `cagan.dolls` writes it) and true regions (mask/<id>.png) of pairs."""

    def __init__(self, pairs: _cagan.Pairs) -> None:  # noqa: D107  # the class says it
        self.pairs = pairs
        self.listing = pairs.folder / "swaps" / "list.csv"

    def swap(self, human: _cagan.Pair, target: _cagan.Pair) -> tuple[_Array, _Array]:
        """The true swap, uint8 [H, W, 3], and the mask of what it changes, boolean [H, W].

        Raises:
            FileNotFoundError: For a file that is not there.
            ValueError: For one of another size than the photo.
        """
        path = self.listing.parent / f"{human.id}__{target.id}.png"
        true = _cagan.read_picture(path)
        mask = _cagan.read_picture(path.with_suffix(".alpha.png"))[:, :, 0] > 0
        for file, array in ((path, true), (path.with_suffix(".alpha.png"), mask)):
            _expect_size(file, array, human.human)
        return true, mask

    def region(self, human: _cagan.Pair) -> _Array | None:
        """The worn garment's true region, uint8 [H, W]; None for pairs without a folder of them.

        Raises:
            FileNotFoundError: For a file that is not there, in a folder that is.
            ValueError: For one of another size than the photo.
        """
        # Beside the photos' folder, where the pairs stand in one folder for each split.
        beside = human.human_path.parent.parent / "mask"
        for path in (self.pairs.folder / "mask" / f"{human.id}.png", beside / f"{human.human_path.stem}.png"):
            if path.parent.is_dir():
                region = _cagan.read_picture(path)[:, :, 0]
                _expect_size(path, region, human.human)
                return region
        return None


def _expect_size(path: Path, array: _Array, photo: _Array) -> None:
    if array.shape[:2] != photo.shape[:2]:
        wanted, got = (" x ".join(map(str, x.shape[:2])) for x in (photo, array))
        raise ValueError(f"{path}: expected the photo's size {wanted}, got {got}")


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
