"""Pictures of swaps and curves of runs, as matplotlib figures; needs `pip install 'cagan[plots]'`.

A picture is a path, a PIL picture, an array (uint8, [H, W, 3], or [H, W] for a mask) or a `Swap`. A run is a `Run` or
its folder. No function touches pyplot's state: a notebook shows the figure that a cell returns, and `savefig` saves it.
"""

try:
    import matplotlib  # noqa: F401  # fails here if it is missing
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
