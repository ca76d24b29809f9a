"""The demo: draw dolls, train on them, show swaps."""

from pathlib import Path

from . import _cagan
from .runs import train

__all__ = ["demo"]


def demo(folder: Path) -> Path:
    """Train a small model on dolls in `folder`.

    Args:
        folder: Where the dolls and the run go.

    Returns:
        The last grid of swaps: people along the top, articles down the left, beside each swap its mask.
    """
    pairs = _cagan.dolls(folder / "dolls", count=600, size=64, swaps=0)
    config = _cagan.Config("vasily", image_size=64, width=128, steps=3000, sample_every=500, snapshot_every=1000)
    run = train(pairs, folder / "run", config)
    return run.samples[-1]
