"""Pictures of a swap for people: in a notebook, in a viewer, beside the photo."""

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _cagan

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["before_after", "results", "show"]

# White between two pictures.
_GAP = 8
# Width and height of a picture among results.
_CELL = (192, 256)


def show(picture: "Image") -> None:
    """Shows a picture, in a notebook below the cell, elsewhere in the system's viewer."""
    if "ipykernel" in sys.modules:
        from IPython.display import display

        display(picture)  # type: ignore[no-untyped-call]  # IPython's
        return
    picture.show()


def before_after(swap: _cagan.Swap, human: Any) -> "Image":
    """Lays the photo and its swap side by side.

    Raises:
        ValueError: The photo has another size, or is no picture.
        FileNotFoundError: The photo is missing.
    """
    from PIL import Image

    # A pair decodes whatever a picture may be.
    pair = human if isinstance(human, _cagan.Pair) else _cagan.Pair("human", human, human)
    photo, image = pair.human, swap.image
    if photo.shape != image.shape:
        sizes = [" x ".join(map(str, array.shape[:2])) for array in (image, photo)]
        raise ValueError(f"human: expected the photo of the swap, {sizes[0]}, got one of {sizes[1]}")
    gap = np.full((image.shape[0], _GAP, 3), 255, np.uint8)
    return Image.fromarray(np.hstack([photo, gap, image]))


def results(swapper: _cagan.Swapper, people: list[_cagan.Pair], count: int) -> "Image":
    """Draws people before and after: a row each of photo, worn article, target, swap and mask.

    Raises:
        ValueError: There are fewer than two people, or the count is below 1.
    """
    from PIL import Image, ImageOps

    if len(people) < 2:
        raise ValueError(f"pairs: expected 2 or more, one for the other's article, got {len(people)}")
    if count < 1:
        raise ValueError(f"count: expected 1 or more, got {count}")
    rows = list(zip(people, people[1:] + people[:1]))[:count]
    width, height = _CELL
    sheet = Image.new("RGB", (5 * (width + _GAP) - _GAP, len(rows) * (height + _GAP) - _GAP), "white")
    for row, (person, other) in enumerate(rows):
        swap = swapper.swap(person, target=other)
        cells = (person.human, person.article, other.article, swap.image, swap.mask)
        for column, cell in enumerate(cells):
            small = ImageOps.contain(Image.fromarray(cell).convert("RGB"), _CELL)
            left = column * (width + _GAP) + (width - small.width) // 2
            sheet.paste(small, (left, row * (height + _GAP) + (height - small.height) // 2))
    return sheet
