"""Finds torch and loads its libraries, which the core needs: the package imports this first."""

import ctypes
import importlib
import importlib.util
import re
import sys
from pathlib import Path

# The versions that the core was tested with: it is built against the first, and uses nothing that the others lack.
# `tools/torch_bands.py` compares. pyproject.toml asks for the same.
TESTED = ("2.11", "2.12")
_WANTED = f"torch>={TESTED[0]},<2.{int(TESTED[-1].split('.')[1]) + 1}"


def find_torch() -> Path:
    """Returns torch's folder without importing torch.

    Raises:
        ImportError: torch is missing, or has a version that the core was not tested with.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise ImportError(f"torch: expected {' or '.join(TESTED)}, found none; pip install '{_WANTED}'")
    folder = Path(spec.origin).parent
    version = folder / "version.py"
    text = version.read_text(encoding="utf-8") if version.is_file() else ""
    match = re.search(r"^__version__ = ['\"](.+)['\"]", text, re.MULTILINE)
    found = match[1] if match else "an unknown version"
    if not found.startswith(tuple(f"{version}." for version in TESTED)):
        expected = " or ".join(TESTED)
        raise ImportError(f"torch: expected {expected}, found {found} in {folder}; pip install '{_WANTED}'")
    return folder


def load_libtorch(torch: Path) -> None:
    """Loads torch's libraries, CUDA's included, from torch's folder.

    This takes a third of the time of `import torch`, which may come before or after it and shares the libraries.
    """
    if "torch" in sys.modules:
        return
    libtorch = torch / "lib" / "libtorch.so"
    try:
        # torch's own order. Full paths keep LD_LIBRARY_PATH from bringing another CUDA. cuDNN opens NVRTC by name and
        # does not know its folder, so NVRTC is loaded here.
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
        # torch itself knows the layouts of other systems.
        importlib.import_module("torch")


load_libtorch(find_torch())
