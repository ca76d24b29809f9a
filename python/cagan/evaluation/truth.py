"""True swaps of dolls, and true regions of worn garments."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _cagan
from ..names import file_name, swap_name

__all__ = ["Truth"]

_Array = NDArray[Any]


class Truth:
    """Reads what is known of pairs: true swaps, worn articles and flows of dolls, true regions (mask/<id>.png)."""

    def __init__(self, pairs: _cagan.Pairs) -> None:  # noqa: D107  # the class says it
        self.pairs = pairs
        self.listing = None if pairs.folder is None else pairs.folder / "swaps" / "list.csv"

    def swap(self, human: _cagan.Pair, target: _cagan.Pair, photo: _Array) -> tuple[_Array, _Array]:
        """Returns the true swap, uint8 [H, W, 3], and each pixel's share of worn and new article, uint8 [H, W].

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
        mask = _cagan.read_picture(path.with_suffix(".alpha.png"))[:, :, 0]
        for file, array in ((path, true), (path.with_suffix(".alpha.png"), mask)):
            _expect_size(file, array, photo)
        return true, mask

    def worn(self, human: _cagan.Pair, photo: _Array) -> _Array | None:
        """Returns each pixel's share of the worn article, uint8 [H, W], or None if the true swaps have no folder worn/.

        Args:
            human: The person.
            photo: The person's photo.

        Raises:
            FileNotFoundError: The folder lacks the pair's file.
            ValueError: The file has another size than the photo.
        """
        path = self._beside_swaps("worn") / f"{file_name(human.id)}.png"
        if not path.parent.is_dir():
            return None
        worn = _cagan.read_picture(path)[:, :, 0]
        _expect_size(path, worn, photo)
        return worn

    def flow(self, human: _cagan.Pair, target: _cagan.Pair, photo: _Array) -> _Array | None:
        """Returns the true flow of a swap, float32 [H, W, 2], or None if the true swaps have no folder flow/.

        The flow is the place in the target's picture that a pixel shows: x and y from -1 to 1 between the picture's
        outer edges. Pixels without a place are NaN.

        Args:
            human: The person.
            target: The pair whose article the person puts on.
            photo: The person's photo.

        Raises:
            FileNotFoundError: The folder lacks the swap's file.
            ValueError: The file is no 16-bit grey picture, or it is not of the photo's width and twice its height.
        """
        from PIL import Image

        path = self._beside_swaps("flow") / f"{swap_name(human.id, target.id)}.png"
        if not path.parent.is_dir():
            return None
        height, width = photo.shape[:2]
        wanted = f"expected a 16-bit grey PNG of {2 * height} x {width}"
        try:
            with Image.open(path) as image:
                mode, size = image.mode, (image.height, image.width)
                if not mode.startswith("I") or size != (2 * height, width):
                    raise ValueError(f"{path}: {wanted}, got {size[0]} x {size[1]} in the mode {mode}")
                stacked = np.asarray(image).astype(np.float64)
        except FileNotFoundError:
            raise FileNotFoundError(f"{path}: expected the true flow of a swap, got no such file") from None
        except (OSError, SyntaxError, Image.DecompressionBombError) as error:
            raise ValueError(f"{path}: {wanted}, got a file that cannot be decoded: {error}") from None
        codes = np.stack([stacked[:height], stacked[height:]], -1)
        known = (codes > 0).all(-1, keepdims=True)
        return np.where(known, (codes - 1) / 32767 - 1, np.nan).astype(np.float32)

    def _beside_swaps(self, name: str) -> Path:
        assert self.listing is not None, "only listed swaps have a truth"
        return self.listing.parent.parent / name

    def has_region(self, human: _cagan.Pair) -> bool:
        """Whether the pairs have a folder of regions for the person."""
        return self._region_file(human) is not None

    def region(self, human: _cagan.Pair, photo: _Array | None = None) -> _Array | None:
        """Returns the worn garment's true region, uint8 [H, W], or None if the pairs have no folder of regions.

        Args:
            human: The person.
            photo: The person's photo; None reads it.

        Raises:
            FileNotFoundError: The folder lacks the pair's file.
            ValueError: The file has another size than the photo.
        """
        path = self._region_file(human)
        if path is None:
            return None
        region = _cagan.read_picture(path)[:, :, 0]
        _expect_size(path, region, human.human if photo is None else photo)
        return region

    def _region_file(self, human: _cagan.Pair) -> Path | None:
        files = []
        if self.pairs.folder is not None:
            files.append(self.pairs.folder / "mask" / f"{file_name(human.id)}.png")
        if human.human_path is not None:
            # Pairs with one folder for each split have the regions beside the photos' folder.
            files.append(human.human_path.parent.parent / "mask" / f"{human.human_path.stem}.png")
        return next((path for path in files if path.parent.is_dir()), None)


def _expect_size(path: Path, array: _Array, photo: _Array) -> None:
    if array.shape[:2] != photo.shape[:2]:
        wanted, got = (" x ".join(map(str, x.shape[:2])) for x in (photo, array))
        raise ValueError(f"{path}: expected the photo's size {wanted}, got {got}")
