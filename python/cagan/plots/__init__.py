"""Pictures of swaps and curves of runs, as matplotlib figures; needs `pip install 'cagan[plots]'`.

Wherever a picture is asked for, a path, a PIL picture, an array (uint8, [H, W, 3], or [H, W] for a mask) or a `Swap`
will do, and wherever a run is, its folder. No function touches pyplot's state: a figure is shown where a cell returns
it, and saved by its `savefig`.
"""

try:
    import matplotlib  # noqa: F401  # its absence is told here
except ImportError as error:
    raise ImportError("matplotlib: expected for cagan.plots, found none; pip install 'cagan[plots]'") from error

from .curves import Live, compare, losses, monitor, overview
from .pictures import before_after, film, mask_overlay, swap_grid, triplet_sheet

__all__ = [
    "Live",
    "before_after",
    "compare",
    "film",
    "losses",
    "mask_overlay",
    "monitor",
    "overview",
    "swap_grid",
    "triplet_sheet",
]
