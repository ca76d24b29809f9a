"""Scores of swaps: against true swaps, inside true regions, and without either."""

from .models import Swapped, baselines
from .scores import Figure, Scores
from .session import evaluate
from .targets import listed

__all__ = ["Figure", "Scores", "Swapped", "baselines", "evaluate", "listed"]
