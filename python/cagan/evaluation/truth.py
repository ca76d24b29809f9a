"""True swaps of dolls, and true regions of worn garments."""

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from .. import _cagan
from ..names import file_name, swap_name

__all__ = ["Truth"]

_Array = NDArray[Any]


class Truth:
    """Reads the true swaps (swaps/list.csv, as `cagan.dolls` writes it) and true regions (mask/<id>.png) of pairs."""

    def __init__(self, pairs: _cagan.Pairs) -> None:  # noqa: D107  # the class says it
        self.pairs = pairs
        self.listing = None if pairs.folder is None else pairs.folder / "swaps" / "list.csv"

    def swap(self, human: _cagan.Pair, target: _cagan.Pair, photo: _Array) -> tuple[_Array, _Array]:
        """Returns the true swap, uint8 [H, W, 3], and the mask of its changes, boolean [H, W].

        Args:
            human: The person.
            target: The pair whose article the person puts on.
            photo: The person's photo.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: A file has another size than the photo.
        """
        assert self.listing is not None, "only listed swaps have a truth"
        path = self.listing.parent / f"{swap_name(human.id, target.id)}.png"
        true = _cagan.read_picture(path)
        mask = _cagan.read_picture(path.with_suffix(".alpha.png"))[:, :, 0] > 0
        for file, array in ((path, true), (path.with_suffix(".alpha.png"), mask)):
            _expect_size(file, array, photo)
        return true, mask

    def region(self, human: _cagan.Pair, photo: _Array | None = None) -> _Array | None:
        """Returns the worn garment's true region, uint8 [H, W], or None if the pairs have no folder of regions.

        Args:
            human: The person.
            photo: The person's photo; None reads it.

        Raises:
            FileNotFoundError: The folder lacks the pair's file.
            ValueError: The file has another size than the photo.
        """
        files = []
        if self.pairs.folder is not None:
            files.append(self.pairs.folder / "mask" / f"{file_name(human.id)}.png")
        if human.human_path is not None:
            # Pairs with one folder for each split have the regions beside the photos' folder.
            files.append(human.human_path.parent.parent / "mask" / f"{human.human_path.stem}.png")
        for path in files:
            if path.parent.is_dir():
                region = _cagan.read_picture(path)[:, :, 0]
                _expect_size(path, region, human.human if photo is None else photo)
                return region
        return None


def _expect_size(path: Path, array: _Array, photo: _Array) -> None:
    if array.shape[:2] != photo.shape[:2]:
        wanted, got = (" x ".join(map(str, x.shape[:2])) for x in (photo, array))
        raise ValueError(f"{path}: expected the photo's size {wanted}, got {got}")
