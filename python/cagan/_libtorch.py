"""Finds torch and loads its libraries, which the core needs: the package imports this first."""

import ctypes
import importlib
import importlib.util
import re
import sys
from pathlib import Path

_HERE = Path(__file__).parent
# For each build of the core its folder in the package, and the versions of torch that it was tested with. It is built
# against the first, and uses nothing that the others lack: `tools/torch_bands.py` compares. The first build is always
# there, and the others are where `make wheel` found their torch.
BANDS = {"": ("2.11", "2.12"), "torch_2_13": ("2.13", "2.14", "2.15")}
_BUILT = [folder for folder in BANDS if not folder or any(_HERE.joinpath(folder).glob("_cagan*.so"))]
TESTED = tuple(version for folder in _BUILT for version in BANDS[folder])
_WANTED = f"torch>={TESTED[0]},<2.{int(TESTED[-1].split('.')[1]) + 1}"


def find_torch() -> tuple[Path, str]:
    """Returns torch's folder, without importing torch, and the folder of the core for it.

    Raises:
        ImportError: torch is missing, or has a version that the core was not tested with.
    """
    expected = f"{', '.join(TESTED[:-1])} or {TESTED[-1]}"
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise ImportError(f"torch: expected {expected}, found none; pip install '{_WANTED}'")
    folder = Path(spec.origin).parent
    version = folder / "version.py"
    text = version.read_text(encoding="utf-8") if version.is_file() else ""
    match = re.search(r"^__version__ = ['\"](.+)['\"]", text, re.MULTILINE)
    found = match[1] if match else "an unknown version"
    for band in _BUILT:
        if found.startswith(tuple(f"{tested}." for tested in BANDS[band])):
            return folder, band
    raise ImportError(f"torch: expected {expected}, found {found} in {folder}; pip install '{_WANTED}'")


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


_TORCH, _BAND = find_torch()
load_libtorch(_TORCH)
if _BAND:
    # `cagan._cagan` is then that folder's, under the same name.
    sys.modules[__package__].__path__.insert(0, str(_HERE / _BAND))
