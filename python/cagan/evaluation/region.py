"""Figures of swaps without a true swap, from the true region of the worn garment."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .pictures import difference, iou, lab, roc_area, ssim_map

__all__ = ["RegionScorer"]

_Array = NDArray[Any]

# Pixels that a patch reaches to each side.
_REACH = 3
_SIDE = 2 * _REACH + 1
# Quantiles at which two distributions are compared.
_QUANTILES = np.linspace(0.02, 0.98, 49)
# Patches of a region, and patches of one picture at one of the scales of `realism`.
_REGION_PATCHES, _SCENE_PATCHES, _SCALES = 1500, 128, 3
# Articles kept for the next swap.
_KEPT = 64
# Below these distances between worn and target, colour and texture do not measure a transfer.
_LEAST_COLOUR, _LEAST_TEXTURE = 6.0, 1.0


class RegionScorer:
    """Scores swaps in the order of their names, then `realism` of all of them.

    Resizes every picture to `height` x 3/4 `height`. All draws come from one stream, so the figures depend on the
    order.

    Args:
        height: The height of the comparison. Figures at different heights do not compare.
    """

    def __init__(self, height: int) -> None:  # noqa: D107  # the class says it
        self.size = (height * 3 // 4, height)
        self._draw = np.random.default_rng(0)
        self._colours = _directions(self._draw, 24, 3)
        self._textures = _directions(self._draw, 64, _SIDE**2)
        self._seen: list[list[_Array]] = []
        # The last articles, in the common size: a set may have any number.
        self._articles: dict[str, tuple[_Array, _Array]] = {}

    def score(
        self,
        human: _Array,
        worn: tuple[str, _Array],
        target: tuple[str, _Array],
        image: _Array,
        mask: _Array | None,
        region: _Array,
        painted: tuple[_Array, _Array] | None = None,
    ) -> dict[str, tuple[float, float]]:
        """Returns a swap's figures as (numerator, denominator). A mean over swaps divides the sums of both.

        Args:
            human: The photo, uint8 [H, W, 3].
            worn: Id and picture of the worn article.
            target: Id and picture of the target article.
            image: The swap, uint8 [H, W, 3].
            mask: The region where the garment was found, uint8 [H, W]; None takes the change of the picture instead.
            region: The worn garment's true region, uint8 [H, W], 255 = garment.
            painted: The mask of what is repainted, and the region where the worn garment was located, both uint8
                [H, W]; None if the model does not tell them apart.

        Raises:
            ValueError: The region is empty.
        """
        out, photo = self._fitted(image), self._fitted(human)
        self._seen.append(self._scene(out, len(self._seen)))
        true, wide = self._region(region)
        if not true.any():
            raise ValueError("expected a region above 127 somewhere, got none")
        change = np.abs(out - photo).mean(-1)
        found = (change if mask is None else self._fitted(mask)) / np.float32(255)
        figures = {
            "mask_auc": (roc_area(found, true), 1.0),
            "mask_iou": (iou(found > 0.5, true), 1.0),
            "keep": (_mean(change, ~wide), 1.0),
            "keep_free": (_mean(change, ~wide & ~self._for_target(painted, true.shape)), 1.0),
        }
        inner = self._shrunk(true, 7)
        goal, goal_where = self._article(*target)
        old, old_where = self._article(*worn)
        if not goal_where.any() or not old_where.any():
            return figures
        ours, theirs, new, before = lab(out)[inner], lab(photo)[inner], lab(goal)[goal_where], lab(old)[old_where]
        untouched = _distance(theirs, new, self._colours)
        if untouched > _LEAST_COLOUR:
            figures["colour"] = _distance(ours, new, self._colours), untouched
            picks = self._draw.integers(0, 1 << 30, 400)
            points = ours[picks % len(ours)]
            to_old, to_new = (_nearest(points, palette[picks % len(palette)]) for palette in (before, new))
            figures["residual"] = float((to_old < to_new).mean()), 1.0
        textures = [
            _patches(picture.mean(-1), where) for picture, where in ((out, inner), (photo, inner), (goal, goal_where))
        ]
        if all(found is not None for found in textures):
            untouched = _distance(textures[1], textures[2], self._textures)
            if untouched > _LEAST_TEXTURE:
                figures["texture"] = _distance(textures[0], textures[2], self._textures), untouched
        return figures

    def sees(self, region: _Array) -> bool:
        """Whether any of a region is left in the common size."""
        return bool(self._region(region)[0].any())

    def inside(self, human: _Array, image: _Array, region: _Array) -> dict[str, float]:
        """Compares a picture with the photo inside the worn garment's region.

        Args:
            human: The photo, uint8 [H, W, 3].
            image: The picture, uint8 [H, W, 3].
            region: The region, uint8 [H, W], 255 = garment, which the scorer `sees`.
        """
        photo, out = self._fitted(human), self._fitted(image)
        true, _ = self._region(region)
        # Colours are in the difference; the similarity of grey pictures takes a small part of the time.
        similarity = ssim_map(*(picture.mean(-1, keepdims=True) for picture in (out, photo)))
        return {"ssim_inside": float(similarity[true].mean()), "error_inside": difference(out, photo, true)}

    def realism(self, photos: Iterable[_Array], leave_out: "list[_Array]") -> tuple[float, list[float]]:
        """Distance between the scored swaps and the photos, divided by the distance between two halves of the photos.

        Args:
            photos: uint8 [H, W, 3] each, in the order of their names. One at a time is held.
            leave_out: Boolean arrays over the swaps. Each gives a figure without the swaps that it marks.

        Returns:
            The figure of all swaps, and the figure for each of `leave_out`.
        """
        scenes = [self._scene(self._fitted(photo), 100_000 + k) for k, photo in enumerate(photos)]
        directions = _directions(self._draw, 64, 3 * _SIDE**2)
        ours, theirs = _projected(self._seen, directions), _projected(scenes, directions)
        base = _unlike([level[::2] for level in theirs], [level[1::2] for level in theirs])
        found = [_unlike(ours, theirs) / base]
        found += [_unlike([level[~out] for level in ours], theirs) / base for out in leave_out]
        return found[0], found[1:]

    def _fitted(self, picture: _Array) -> _Array:
        """Resizes the picture to the common size: averaged if it shrinks, bilinear if it grows."""
        from PIL import Image

        shrinks = picture.shape[0] > self.size[1]
        filtering = Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
        return np.asarray(Image.fromarray(picture).resize(self.size, filtering), dtype=np.float32)

    def _region(self, region: _Array) -> tuple[_Array, _Array]:
        """Returns the region in the common size, and the same widened by 8 pixels of 256."""
        from PIL import Image, ImageFilter

        small = Image.fromarray(region).resize(self.size, Image.Resampling.NEAREST)
        wide = small.filter(ImageFilter.MaxFilter(self._odd(17)))
        return np.asarray(small) > 127, np.asarray(wide) > 127

    def _for_target(self, painted: tuple[_Array, _Array] | None, shape: tuple[int, ...]) -> _Array:
        """Returns what is repainted for the target: the mask without the located region, widened by 8 pixels of 256."""
        from PIL import Image, ImageFilter

        if painted is None:
            return np.zeros(shape, bool)
        mask, located = (self._fitted(one) > 127 for one in painted)
        wide = Image.fromarray((located * 255).astype(np.uint8)).filter(ImageFilter.MaxFilter(self._odd(17)))
        return np.asarray(mask & (np.asarray(wide) < 128))

    def _odd(self, pixels: int) -> int:
        """Scales a size from a height of 256 to this height, to an odd number of at least 3."""
        return max(3, round(pixels * self.size[1] / 256) // 2 * 2 + 1)

    def _shrunk(self, region: _Array, pixels: int) -> _Array:
        """Returns the region without its rim, or the whole region if too little would be left."""
        from PIL import Image, ImageFilter

        small = Image.fromarray((region * 255).astype(np.uint8)).filter(ImageFilter.MinFilter(self._odd(pixels)))
        inner = np.asarray(small) > 127
        return inner if inner.sum() > 200 * (self.size[1] / 256) ** 2 else region

    def _article(self, name: str, picture: _Array) -> tuple[_Array, _Array]:
        """Returns the article in the common size, and its pixels, which are darker than its white ground."""
        if name not in self._articles:
            if len(self._articles) >= _KEPT:
                self._articles.pop(next(iter(self._articles)))
            fitted = self._fitted(picture)
            self._articles[name] = fitted, self._shrunk(fitted.min(-1) < 235, 5)
        return self._articles[name]

    def _scene(self, picture: _Array, seed: int) -> list[_Array]:
        """Draws 7 x 7 patches of one picture at three scales, as bytes: each [128, 7, 7, 3]."""
        from PIL import Image

        draw, levels = np.random.default_rng(seed), []
        for k in range(_SCALES):
            size = (self.size[0] >> k, self.size[1] >> k)
            level = np.asarray(Image.fromarray(picture.astype(np.uint8)).resize(size, Image.Resampling.BOX))
            ys = draw.integers(_REACH, level.shape[0] - _REACH, _SCENE_PATCHES)
            xs = draw.integers(_REACH, level.shape[1] - _REACH, _SCENE_PATCHES)
            windows = np.lib.stride_tricks.sliding_window_view(level, (_SIDE, _SIDE), axis=(0, 1))
            levels.append(windows[ys - _REACH, xs - _REACH].transpose(0, 2, 3, 1))
        return levels


def _mean(values: _Array, where: _Array) -> float:
    return float(values[where].mean()) if where.any() else float("nan")


def _directions(draw: np.random.Generator, count: int, dimension: int) -> _Array:
    vectors = draw.normal(size=(count, dimension))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def _distance(a: _Array, b: _Array, directions: _Array) -> float:
    """Sliced 1-Wasserstein distance of two sets of points [N, D] along unit directions [K, D]."""
    return _apart(a @ directions.T, b @ directions.T)


def _apart(a: _Array, b: _Array) -> float:
    """Mean 1-Wasserstein distance, column by column, by quantiles."""
    return float(np.abs(np.quantile(a, _QUANTILES, axis=0) - np.quantile(b, _QUANTILES, axis=0)).mean())


def _nearest(points: _Array, palette: _Array) -> _Array:
    """Distance of each point to the nearest colour of the palette."""
    return np.asarray(np.sqrt(((points[:, None] - palette[None]) ** 2).sum(-1)).min(1))


def _patches(grey: _Array, region: _Array) -> Any:
    """Draws 7 x 7 patches around pixels of the region, without their means: [1500, 49]; None for a small region."""
    ys, xs = np.nonzero(region[_REACH:-_REACH, _REACH:-_REACH])
    if len(ys) < 30:
        return None
    picks = np.random.default_rng(1).integers(0, len(ys), _REGION_PATCHES)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (_SIDE, _SIDE))
    found = windows[ys[picks], xs[picks]].reshape(_REGION_PATCHES, -1)
    return found - found.mean(1, keepdims=True)


def _projected(scenes: list[list[_Array]], directions: _Array) -> list[_Array]:
    """Projects the patches of all pictures onto the directions, scale by scale: [pictures, patches, directions]."""
    levels = []
    for k in range(_SCALES):
        rows = []
        for scene in scenes:
            patches = scene[k] / 255.0
            rows.append((patches - patches.mean((1, 2), keepdims=True)).reshape(len(patches), -1) @ directions.T)
        levels.append(np.stack(rows))
    return levels


def _unlike(a: list[_Array], b: list[_Array]) -> float:
    """Mean distance over the scales."""
    flat = [(x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])) for x, y in zip(a, b)]
    return float(np.mean([_apart(x, y) for x, y in flat]))
