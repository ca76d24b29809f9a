"""`cagan demo`: draws dolls, trains on them, shows and scores swaps."""

from pathlib import Path

from . import _cagan
from .evaluation import Scores, evaluate
from .training import train

__all__ = ["demo"]

# Tuned by hand. With the article's noise and rates, the discriminator takes most of these steps to tell matched from
# mismatched pairs, and the mask stays closed until it does.
_SETTINGS = {
    "image_size": 64,
    "width": 64,
    "batch_size": 8,
    "identity_weight": 0.02,
    "discriminator_noise": 0.05,
    "learning_rate": 5e-4,
    "ema_images": 1000,
}


def demo(folder: Path, steps: int = 3500) -> tuple[Path, Scores]:
    """Train a small model on dolls in `folder`, and score it on other dolls.

    Args:
        folder: Receives the dolls and the run.
        steps: The run's length; the other settings are fixed.

    Returns:
        The last grid of swaps (people along the top, articles down the left, each swap beside its mask), and the scores
        of `cagan.evaluate` on dolls that the model was not trained on.
    """
    pairs = _cagan.dolls(folder / "dolls", count=1200, size=64, swaps=0)
    _cagan.dolls(folder / "test", count=64, seed=1, size=64, swaps=1)
    config = _cagan.Config("vasily", steps=steps, sample_every=500, snapshot_every=1000, **_SETTINGS)
    run = train(pairs, folder / "run", config)
    return run.samples[-1], evaluate(run.path, folder / "test")
