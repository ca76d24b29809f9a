"""What figures mean: which way is better, and one sentence on the whole."""

from collections.abc import Mapping
from typing import Protocol

__all__ = ["better", "verdict"]

_HIGHER = ("ssim", "ms_ssim", "ssim_inside", "psnr", "mask_iou", "mask_auc", "located_iou")
# Of these no direction is better: they describe, or are of the photo left alone.
_NEITHER = ("area", "entropy", "error_untouched", "psnr_untouched")
# The share of the way that is left, from the photo left alone to the true swap, and the word for less than that.
_GRADES = ((0.4, "Good"), (0.7, "Fair"), (0.95, "Weak"))
# A mean mask below this leaves photos alone.
_CLOSED = 0.01


class _Valued(Protocol):
    @property
    def value(self) -> float: ...


def better(name: str) -> str:
    """Whether a higher or a lower figure is better; empty if neither is.

    Example:
        >>> from cagan.evaluation.verdict import better
        >>> better("true/ssim"), better("region/keep"), better("mask/area")
        ('higher', 'lower', '')
    """
    last = name.rsplit("/", 1)[-1]
    return "higher" if last in _HIGHER else "" if last in _NEITHER else "lower"


def verdict(figures: Mapping[str, _Valued]) -> str:
    """Says in one sentence how good the swaps are.

    Args:
        figures: Figures of `cagan.evaluate` by name.
    """
    value = {name: figure.value for name, figure in figures.items()}
    area = value.get("mask/area")
    if area is not None and area < _CLOSED:
        return "Failed: the mask is closed, so the photos are left alone."
    found = next((value[name] for name in ("true/located_iou", "true/mask_iou", "region/mask_iou") if name in value), 0)
    finds = f"the mask overlaps the garment by {found:.2f} of 1" if found else "no mask is known"
    if value.get("true/error_untouched", 0) > 0:
        left = value["true/error"] / value["true/error_untouched"]
        return f"{_grade(left)}: {100 * left:.0f} % of the way from the photo to the true swap is left, and {finds}."
    if "region/colour" in value:
        left = value["region/colour"]
        return f"{_grade(left)}: {100 * left:.0f} % of the way to the target's colours is left, and {finds}."
    back = value.get("restored/error")
    measured = "" if back is None else f", and swapped there and back photos differ by {back:.0f} grey levels of 255"
    return f"No truth is known of these pairs{measured}: look at the sheet of the worst swaps."


def _grade(left: float) -> str:
    return next((word for most, word in _GRADES if left < most), "Failed")
