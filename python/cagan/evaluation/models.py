"""Models to score: a trained generator or any function that swaps, and three baselines without training."""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import _cagan
from ..settings import Which
from .truth import Truth

__all__ = ["Model", "Swapped", "arrays", "baselines", "made", "opened"]

_Array = NDArray[Any]

# A swapper, a path that one is loaded from, or a function of human, worn and target as uint8 [H, W, 3]. The function
# returns the picture, or an object with `image` and optionally `mask`, `located` and `flow`, as a Swap has them.
Model: TypeAlias = "_cagan.Swapper | str | os.PathLike[str] | Callable[[_Array, _Array, _Array], Any]"


@dataclass(frozen=True)
class Swapped:
    """One swap.

    Attributes:
        image: The picture, uint8 [H, W, 3].
        mask: The repainted region, uint8 [H, W]; None for a function without masks.
        located: The region where the worn garment was found, uint8 [H, W]; None if the model has no such region apart
            from the mask.
        flow: The places in the target's picture that the swap shows, float32 [h, w, 2] over the whole photo at any
            size: x and y from -1 to 1 between the picture's outer edges. None if the model has no flow.
    """

    image: _Array
    mask: _Array | None = None
    located: _Array | None = None
    flow: _Array | None = None

    @property
    def found(self) -> _Array | None:
        """The region where the model finds the garment: `located`, else `mask`."""
        return self.mask if self.located is None else self.located


def opened(
    model: Model, device: str | None, which: Which | None = None
) -> "_cagan.Swapper | Callable[[_Array, _Array, _Array], Any]":
    """Returns the model, loaded if it is a path or a run.

    Raises:
        TypeError: The model is of another type.
        ValueError: A run has no snapshot `which`, or that comes with another model.
    """
    if isinstance(model, _cagan.Swapper) or callable(model):
        if which is not None:
            raise ValueError(f"which: expected a run's folder to choose from, got {type(model).__name__}")
        return model
    if isinstance(model, (str, os.PathLike)):
        return _cagan.Swapper(model, device, which=which)
    if isinstance(path := getattr(model, "path", None), Path):
        return _cagan.Swapper(path, device, which=which)
    raise TypeError(f"model: expected a Swapper, a run, a path or a function, got {type(model).__name__}")


def made(
    model: Any,
    humans: "Iterable[Path | bytes | _Array]",
    worn: "Iterable[Path | bytes | _Array] | None",
    targets: "Iterable[Path | bytes | _Array]",
    *,
    skip: bool = False,
) -> "Iterator[Swapped | _cagan.Swap | Exception]":
    """Swaps each human into the target at the same index; a few are in memory at once.

    A swapper's swaps make their arrays when they are asked for them: see `arrays`.

    Args:
        model: A swapper or a function.
        humans: Photos: paths, files' bytes or arrays.
        worn: The worn articles; None withholds them from a swapper that does not need them.
        targets: The articles to put on.
        skip: Whether the exception of a picture that cannot be read stands in the place of its swap.

    Raises:
        ValueError: A function returned pictures of another shape or type.
    """
    if isinstance(model, _cagan.Swapper):
        sides = (None if side is None else iter(side) for side in (humans, worn, targets))
        yield from model.stream(*sides, on_error="return" if skip else "raise")
        return
    assert worn is not None, "functions take the worn article"
    for pictures in zip(humans, worn, targets):
        try:
            arrays = [p if isinstance(p, np.ndarray) else _cagan.read_picture(p) for p in pictures]
        except (OSError, ValueError) as error:
            if not skip:
                raise
            yield error
            continue
        yield _checked(model(*arrays), arrays[0].shape)


def arrays(swap: "Swapped | _cagan.Swap") -> Swapped:
    """Returns all parts of a swap."""
    return swap if isinstance(swap, Swapped) else Swapped(swap.image, swap.mask, swap.located, swap.flow)


def _checked(swap: Any, shape: tuple[int, ...]) -> Swapped:
    given = (
        {"image": swap}
        if isinstance(swap, np.ndarray)
        else {name: getattr(swap, name, None) for name in ("image", "mask", "located", "flow")}
    )
    flow = given.get("flow")
    if flow is not None:
        _check_flow(flow)
    for name, array in given.items():
        if name == "flow":
            continue
        wanted = list(shape if name == "image" else shape[:2])
        if array is None and name != "image":
            continue
        if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or list(array.shape) != wanted:
            got = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
            raise ValueError(f"the swap's {name}: expected uint8 {wanted}, got {got}")
    return Swapped(**given)


def _check_flow(flow: Any) -> None:
    wanted = "the swap's flow: expected finite float32 [h, w, 2]"
    if not isinstance(flow, np.ndarray):
        raise ValueError(f"{wanted}, got {type(flow).__name__}")
    if flow.dtype != np.float32 or flow.ndim != 3 or flow.shape[2] != 2 or not flow.size:
        raise ValueError(f"{wanted}, got {flow.dtype} {list(flow.shape)}")
    if not np.isfinite(flow).all():
        raise ValueError(f"{wanted}, got {np.count_nonzero(~np.isfinite(flow))} that are not finite")


class _Painter:
    """Repaints the true region, which no model knows: it marks the ends of the scales."""

    def __init__(self, truth: Truth, pairs: _cagan.Pairs, paint: Callable[[_Array, _Array], _Array]) -> None:
        self._paint = paint
        # Packed: the regions of a large set would fill the memory.
        self._regions = {}
        for pair in (pairs[k] for k in range(len(pairs))):
            try:
                region, photo = truth.region(pair), pair.human
            except (OSError, ValueError):
                if pairs.on_error == "raise":
                    raise
                continue
            if region is None:
                raise FileNotFoundError(
                    f"{pairs.folder or 'pairs'}: expected a folder mask/ with the worn garments' regions, got none"
                )
            self._regions[_key(photo)] = region.shape, zlib.compress(region.tobytes(), 1)

    def __call__(self, human: _Array, worn: _Array, target: _Array) -> Swapped:  # noqa: ARG002  # `evaluate` passes it
        packed = self._regions[_key(human)]
        region = np.frombuffer(zlib.decompress(packed[1]), np.uint8).reshape(packed[0])
        image = np.where(region[..., None] > 127, self._paint(region, target), human).astype(np.uint8)
        # The swap back takes this picture as its human.
        self._regions[_key(image)] = packed
        return Swapped(image, region)


def baselines(pairs: "_cagan.Pairs | str | os.PathLike[str]") -> dict[str, Callable[[_Array, _Array, _Array], Swapped]]:
    """Returns functions for `cagan.evaluate` that need no training and mark the ends of its scales.

    Args:
        pairs: Pairs with a folder mask/ of the worn garments' true regions.

    Returns:
        `untouched` returns the photo. `mean_colour` fills the true region with the target's mean colour. `pasted` cuts
        the target to its bounds and stretches it over the true region's bounds.

    Raises:
        FileNotFoundError: A pair has no region.

    Example:
        >>> import cagan
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> pairs = cagan.dolls("data/worn", count=4)
        >>> Path("data/worn/mask").mkdir()
        >>> for pair in pairs:
        ...     Image.new("L", (96, 128), 255).save(f"data/worn/mask/{pair.id}.png")
        >>> untouched = cagan.evaluation.baselines(pairs)["untouched"]
        >>> cagan.evaluate(untouched, pairs, targets=1)["region/colour"]
        1.0
    """
    found = pairs if isinstance(pairs, _cagan.Pairs) else _cagan.Pairs(pairs)
    truth = Truth(found)
    return {
        "untouched": lambda human, worn, target: Swapped(human, np.zeros(human.shape[:2], np.uint8)),  # noqa: ARG005
        "mean_colour": _Painter(truth, found, _mean_colour),
        "pasted": _Painter(truth, found, _pasted),
    }


def _key(picture: _Array) -> bytes:
    return hashlib.sha256(repr(picture.shape).encode() + picture.tobytes()).digest()


def _ground(article: _Array) -> _Array:
    """Returns the article's pixels, darker than its white ground; all pixels if none is darker."""
    where = np.asarray(article.min(-1) < 235)
    return where if where.any() else np.ones_like(where)


def _mean_colour(region: _Array, target: _Array) -> _Array:
    return np.broadcast_to(np.rint(target[_ground(target)].mean(0)), (*region.shape, 3))


def _pasted(region: _Array, target: _Array) -> _Array:
    from PIL import Image

    top, bottom, left, right = _bounds(_ground(target))
    article = Image.fromarray(np.ascontiguousarray(target[top:bottom, left:right]))
    image = np.zeros((*region.shape, 3), np.uint8)
    top, bottom, left, right = _bounds(region > 127)
    image[top:bottom, left:right] = np.asarray(article.resize((right - left, bottom - top), Image.Resampling.BILINEAR))
    return image


def _bounds(where: _Array) -> tuple[int, int, int, int]:
    ys, xs = np.nonzero(where)
    return int(ys.min()), int(ys.max()) + 1, int(xs.min()), int(xs.max()) + 1
