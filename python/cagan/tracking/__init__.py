"""Trackers of experiments: `cagan.train(..., on_event=cagan.tracking.wandb(project="dress"))`."""

from .boards import tensorboard
from .projects import mlflow, trackio, wandb
from .tracker import Tracker

__all__ = ["Tracker", "mlflow", "tensorboard", "trackio", "wandb"]
