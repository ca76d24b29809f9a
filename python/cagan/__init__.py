"""Swap fashion articles on photos of people: the Conditional Analogy GAN, trained on your own pairs."""

import ctypes
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any


def _find_torch() -> Path:
    """The folder of a torch that the core can use, found without importing it.

    Raises:
        ImportError: torch is missing, or of a version other than the one that the core was built for.
    """
    needed = "2.11"
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise ImportError(f"torch: expected {needed}, found none; pip install 'torch=={needed}.*'")
    folder = Path(spec.origin).parent
    version = folder / "version.py"
    text = version.read_text(encoding="utf-8") if version.is_file() else ""
    match = re.search(r"^__version__ = ['\"](.+)['\"]", text, re.MULTILINE)
    found = match[1] if match else "an unknown version"
    if not found.startswith(f"{needed}."):
        raise ImportError(f"torch: expected {needed}, found {found} in {folder}; pip install 'torch=={needed}.*'")
    return folder


def _load_libtorch(torch: Path) -> None:
    """Bring torch's libraries, CUDA's included, into the process: the core needs them and does not know their folder.

    Alone they load in a third of the time of `import torch`, which may come before or after this and shares them.
    """
    libtorch = torch / "lib" / "libtorch.so"
    if "torch" in sys.modules:
        return
    try:
        # What torch does, in its order: by full path, so that LD_LIBRARY_PATH cannot bring in another CUDA, and with
        # NVRTC, which cuDNN opens by name without knowing its folder.
        ctypes.CDLL(str(libtorch.with_name("libtorch_global_deps.so")), mode=ctypes.RTLD_GLOBAL)
        if libtorch.with_name("libtorch_cuda.so").is_file():
            for name in (
                *("cublasLt", "cublas", "cudnn", "nvrtc", "nvrtc-builtins", "cudart", "cupti", "cufft", "curand"),
                *("nvJitLink", "cusparse", "cusparseLt", "cusolver", "nccl", "nvshmem_host", "cufile"),
            ):
                for library in torch.parent.glob(f"nvidia/*/lib/lib{name}.so.*[0-9]"):
                    ctypes.CDLL(str(library))
        ctypes.CDLL(str(libtorch))
    except OSError:
        # Other systems and other layouts: torch knows them all.
        importlib.import_module("torch")


_load_libtorch(_find_torch())

# ruff: noqa: E402  # libtorch comes first
from ._cagan import Config, Pair, Pairs, Swap, Swapper, Trainer, dolls, presets
from .curation import Curation, curate, review
from .evaluation import Scores, evaluate
from .exporting import export
from .runs import Run, info, runs, train
from .serving import app

if TYPE_CHECKING:
    from . import plots as plots
    from . import torch_module as torch_module

__version__: str = info()["cagan"]

__all__ = [
    "Config",
    "Curation",
    "Pair",
    "Pairs",
    "Run",
    "Scores",
    "Swap",
    "Swapper",
    "Trainer",
    "app",
    "curate",
    "dolls",
    "evaluate",
    "export",
    "info",
    "presets",
    "review",
    "runs",
    "train",
]


_LATER = ("plots", "torch_module")


def __getattr__(name: str) -> Any:
    """The modules that import much, when they are first asked for."""
    if name in _LATER:
        return importlib.import_module(f"cagan.{name}")
    raise AttributeError(f"module 'cagan' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER})
