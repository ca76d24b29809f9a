"""Measures of two pictures, or of a picture and a mask."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "difference",
    "entropy",
    "flow_errors",
    "inside",
    "iou",
    "lab",
    "ms_ssim",
    "psnr",
    "residual",
    "roc_area",
    "ssim_map",
]

_Array = NDArray[Any]

# Wang et al. 2004, section III.B: the constants, and a gaussian of sigma 1.5 pixels cut off at 5.
_K1, _K2, _SIGMA, _REACH = 0.01, 0.03, 1.5, 5
# Wang et al. 2003, "Multi-scale structural similarity", section 3.2.
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
# Rows of a picture at once.
_ROWS = 256
# The eye hardly tells two colours apart that are nearer than this in Lab.
VISIBLE = 6.0


def difference(a: _Array, b: _Array, where: _Array | None = None) -> float:
    """Mean absolute difference of two uint8 pictures [H, W, 3] where the mask [H, W] is true; 0 if it is true nowhere.

    None takes all pixels.
    """
    total, count = 0.0, 0
    # Sums of whole numbers are exact in any order: some rows after the others take little memory.
    for first in range(0, len(a), _ROWS):
        rows = slice(first, first + _ROWS)
        apart = np.abs(a[rows].astype(np.int16) - b[rows])
        if where is not None:
            apart = apart[where[rows]]
        total, count = total + float(apart.sum(dtype=np.float64)), count + apart.size
    return total / count if count else 0.0


def psnr(a: _Array, b: _Array) -> float:
    """Peak signal-to-noise ratio in dB of two uint8 pictures.

    Equal pictures get the value of one byte that differs by 1, because infinity would spoil any mean.
    """
    error = float(np.mean((a.astype(np.int32) - b) ** 2, dtype=np.float64))
    return float(10 * np.log10(255**2 / max(error, 1 / a.size)))


def ssim_map(a: _Array, b: _Array) -> _Array:
    """Structural similarity around each pixel (Wang et al. 2004, equation 13), mirrored at the edges: [H, W, C]."""
    return _similarity(a, b)[0]


def inside(similarity: _Array) -> _Array:
    """Cuts a similarity map to the windows that do not cross an edge; sides under 11 pixels keep the whole map."""
    return similarity[_REACH:-_REACH, _REACH:-_REACH] if min(similarity.shape[:2]) > 2 * _REACH else similarity


def ms_ssim(a: _Array, b: _Array) -> float:
    """Multi-scale structural similarity of two uint8 pictures (Wang et al. 2003, equation 7), negative factors as 0.

    Pictures under 176 pixels get fewer than five scales: those that hold a whole window, with weights scaled to the
    same sum.
    """
    side = min(a.shape[:2])
    count = sum(1 for k in range(len(_SCALES)) if k == 0 or side >> k >= 2 * _REACH + 1)
    weights = np.array(_SCALES[:count]) / sum(_SCALES[:count]) * sum(_SCALES)
    a, b, product = a.astype(np.float64), b.astype(np.float64), 1.0
    for k, weight in enumerate(weights):
        whole, contrast = _similarity(a, b)
        last = k == count - 1
        product *= max(0.0, float(inside(whole if last else contrast).mean())) ** weight
        a, b = _halved(a), _halved(b)
    return product


def _similarity(a: _Array, b: _Array) -> tuple[_Array, _Array]:
    """Structural similarity and its contrast-structure part, each [H, W, C]."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    mean_a, mean_b = _blurred(a), _blurred(b)
    variance_a = _blurred(a * a) - mean_a**2
    variance_b = _blurred(b * b) - mean_b**2
    covariance = _blurred(a * b) - mean_a * mean_b
    c1, c2 = (_K1 * 255) ** 2, (_K2 * 255) ** 2
    contrast = (2 * covariance + c2) / (variance_a + variance_b + c2)
    return contrast * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1), contrast


def _blurred(x: _Array) -> _Array:
    taps = np.exp(-(np.arange(-_REACH, _REACH + 1) ** 2) / (2 * _SIGMA**2))
    taps /= taps.sum()
    for axis in (0, 1):
        widths = [(_REACH, _REACH) if k == axis else (0, 0) for k in range(x.ndim)]
        padded, length = np.pad(x, widths, mode="symmetric"), x.shape[axis]
        # One by one: eleven pictures at once would take the memory of eleven.
        x = taps[0] * padded.take(range(length), axis)
        for k, tap in enumerate(taps[1:], 1):
            x += tap * padded.take(range(k, k + length), axis)
    return x


def _halved(x: _Array) -> _Array:
    height, width = x.shape[0] // 2 * 2, x.shape[1] // 2 * 2
    even = x[:height, :width]
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def iou(a: _Array, b: _Array) -> float:
    """Intersection over union of two boolean masks; 0 if both are empty."""
    return float((a & b).sum() / max(1, (a | b).sum()))


def roc_area(score: _Array, truth: _Array) -> float:
    """Area under the ROC curve of a score for a boolean truth: 0.5 is chance; NaN if the truth is constant.

    Computed as the Mann-Whitney statistic: the share of (true, false) pairs of pixels that the score orders correctly,
    where ties count half.
    """
    _, inverse, counts = np.unique(score.ravel(), return_inverse=True, return_counts=True)
    # A pixel's mean rank: the number of lower pixels, half of the equal ones, and half for itself.
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse.ravel()]
    chosen = truth.ravel()
    positive = int(chosen.sum())
    negative = chosen.size - positive
    if not positive or not negative:
        return float("nan")
    return float((ranks[chosen].sum() - positive * (positive + 1) / 2) / (positive * negative))


def entropy(mask: _Array) -> float:
    """Mean entropy in bits of a uint8 mask's pixels as probabilities: 0 = all decided, 1 = one half everywhere."""
    levels = np.arange(256)
    p = np.clip(levels / 255.0, 1e-12, 1 - 1e-12)
    found = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
    return float(np.where((levels == 0) | (levels == 255), 0.0, found)[mask].mean())


def residual(image: _Array, human: _Array, true: _Array, where: _Array) -> float:
    """Share of the pixels whose colour is nearer to the photo's than to the true swap's, in Lab.

    Counts pixels inside the mask where photo and true swap visibly differ; NaN if there are none. Ties count half.
    """
    swap, old, new = (lab(x.astype(np.float64)) for x in (image, human, true))
    seen = where & (np.linalg.norm(old - new, axis=-1) > VISIBLE)
    if not seen.any():
        return float("nan")
    to_old, to_new = np.linalg.norm(swap - old, axis=-1)[seen], np.linalg.norm(swap - new, axis=-1)[seen]
    return float(((to_old < to_new) + 0.5 * (to_old == to_new)).mean())


def flow_errors(flow: _Array, true: _Array, article: tuple[int, int]) -> _Array:
    """Distances between places in the article, in pixels of its picture at height 64, where the true flow has a place.

    Args:
        flow: Places from -1 to 1, [h, w, 2], over the same photo as `true` at any size. Between its pixels the places
            are bilinear.
        true: The true places, [H, W, 2], NaN where there is none.
        article: Height and width of the article's picture.
    """
    rows, columns = np.nonzero(~np.isnan(true[..., 0]))
    ours = _bilinear(flow.astype(np.float64), (rows + 0.5) / true.shape[0], (columns + 0.5) / true.shape[1])
    apart = (ours - true[rows, columns]) / 2 * (64 * article[1] / article[0], 64)
    return np.asarray(np.hypot(apart[:, 0], apart[:, 1]))


def _bilinear(values: _Array, ys: _Array, xs: _Array) -> _Array:
    """Samples [h, w, C] at shares of height and width; beyond the outer pixels' middles their values continue."""
    found = []
    for shares, side in ((ys, values.shape[0]), (xs, values.shape[1])):
        place = np.clip(shares * side - 0.5, 0, side - 1)
        low = np.floor(place).astype(int)
        found.append((low, np.minimum(low + 1, side - 1), (place - low)[:, None]))
    (top, bottom, down), (left, right, across) = found
    upper = values[top, left] * (1 - across) + values[top, right] * across
    lower = values[bottom, left] * (1 - across) + values[bottom, right] * across
    return np.asarray(upper * (1 - down) + lower * down)


def lab(rgb: _Array) -> _Array:
    """CIE L*a*b* (D65) of sRGB values 0 to 255, [..., 3]."""
    unit = rgb / 255.0
    linear = np.where(unit > 0.04045, ((unit + 0.055) / 1.055) ** 2.4, unit / 12.92)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    x, y, z = np.moveaxis(np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116), -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)
