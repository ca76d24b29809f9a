"""Swap fashion articles on photos of people: train kisekae or the Conditional Analogy GAN on your own pairs."""

from typing import TYPE_CHECKING

from . import _libtorch  # noqa: F401  # the core needs it, first
from ._cagan import Config, Loader, Look, Pair, Pairs, Swap, Swapper, Trainer, dolls, presets
from .about import __version__ as __version__
from .about import info
from .catalogue import Catalogue, swap_table
from .curation import Curation, curate, review
from .evaluation import Scores, evaluate
from .exporting import export
from .failures import SwapError
from .runs import Run, runs
from .service import asgi, serve
from .serving import app
from .teaming import team
from .training import train

if TYPE_CHECKING:
    from . import plots as plots
    from . import torch_module as torch_module
    from . import tracking as tracking
else:
    from ._face import attribute as __getattr__  # noqa: F401  # PEP 562
    from ._face import names as __dir__  # noqa: F401  # PEP 562

__all__ = [
    "Catalogue",
    "Config",
    "Curation",
    "Loader",
    "Look",
    "Pair",
    "Pairs",
    "Run",
    "Scores",
    "Swap",
    "SwapError",
    "Swapper",
    "Trainer",
    "app",
    "asgi",
    "curate",
    "dolls",
    "evaluate",
    "export",
    "info",
    "presets",
    "review",
    "runs",
    "serve",
    "swap_table",
    "team",
    "train",
]
