"""True swaps of dolls, and true regions of worn garments."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _cagan

__all__ = ["Truth"]

_Array = NDArray[Any]


class Truth:
    """Reads what is known of pairs: true swaps, worn articles and flows of dolls, true regions (mask/<id>.png)."""

    def __init__(self, pairs: _cagan.Pairs) -> None:  # noqa: D107  # the class says it
        self.pairs = pairs
        self.listing = pairs.folder / "swaps" / "list.csv"

    def swap(self, human: _cagan.Pair, target: _cagan.Pair) -> tuple[_Array, _Array]:
        """Returns the true swap, uint8 [H, W, 3], and each pixel's share of worn and new article, uint8 [H, W].

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: A file has another size than the photo.
        """
        path = self.listing.parent / f"{human.id}__{target.id}.png"
        true = _cagan.read_picture(path)
        mask = _cagan.read_picture(path.with_suffix(".alpha.png"))[:, :, 0]
        for file, array in ((path, true), (path.with_suffix(".alpha.png"), mask)):
            _expect_size(file, array, human.human)
        return true, mask

    def worn(self, human: _cagan.Pair) -> _Array | None:
        """Returns each pixel's share of the worn article, uint8 [H, W], or None if the pairs have no folder worn/.

        Raises:
            FileNotFoundError: The folder lacks the pair's file.
            ValueError: The file has another size than the photo.
        """
        path = self.pairs.folder / "worn" / f"{human.id}.png"
        if not path.parent.is_dir():
            return None
        worn = _cagan.read_picture(path)[:, :, 0]
        _expect_size(path, worn, human.human)
        return worn

    def flow(self, human: _cagan.Pair, target: _cagan.Pair) -> _Array | None:
        """Returns the true flow of a swap, float32 [H, W, 2], or None if the pairs have no folder flow/.

        The flow is the place in the target's picture that a pixel shows: x and y from -1 to 1 between the picture's
        outer edges. Pixels without a place are NaN.

        Raises:
            FileNotFoundError: The folder lacks the swap's file.
            ValueError: The file is no 16-bit grey picture, or it is not of the photo's width and twice its height.
        """
        from PIL import Image

        path = self.pairs.folder / "flow" / f"{human.id}__{target.id}.png"
        if not path.parent.is_dir():
            return None
        try:
            with Image.open(path) as image:
                mode, stacked = image.mode, np.asarray(image)
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: expected the true flow of a swap, got no such file") from None
        except (OSError, SyntaxError) as error:
            raise ValueError(f"{path}: expected a 16-bit grey PNG, got a file that is not a picture: {error}") from None
        height, width = human.human.shape[:2]
        if not mode.startswith("I") or stacked.shape != (2 * height, width):
            got = f"{' x '.join(map(str, stacked.shape[:2]))} in the mode {mode}"
            raise ValueError(f"{path}: expected a 16-bit grey PNG of {2 * height} x {width}, got {got}")
        codes = np.stack([stacked[:height], stacked[height:]], -1).astype(np.float64)
        return np.where(codes > 0, (codes - 1) / 32767 - 1, np.nan).astype(np.float32)

    def region(self, human: _cagan.Pair) -> _Array | None:
        """Returns the worn garment's true region, uint8 [H, W], or None if the pairs have no folder of regions.

        Raises:
            FileNotFoundError: The folder lacks the pair's file.
            ValueError: The file has another size than the photo.
        """
        # Pairs with one folder for each split have the regions beside the photos' folder.
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
