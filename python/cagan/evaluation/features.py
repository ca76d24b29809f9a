"""Distances of two sets of pictures in the features of a network, and LPIPS if its weights are installed."""

import importlib
import importlib.util
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._torch_state import plain_torch

__all__ = ["FeatureNetwork", "Features", "frechet", "kernel", "lpips_metric"]

_Array = NDArray[Any]

# Pictures at once, and their values: large pictures come in smaller parts.
_PART, _VALUES = 32, 1 << 24
# Channels of the random network's layers.
_CHANNELS = (3, 32, 64, 128)


class FeatureNetwork:
    """A network that turns pictures into vectors: from a file, or a small one with fixed random weights.

    Args:
        file: TorchScript (.pt, .pth, .ts) or ONNX (.onnx, read by onnxruntime). It takes float32 [N, 3, H, W] of 0 to 1
            and returns [N, D], or [N, D, h, w], which is averaged over h and w. None takes the random network.
        size: Height and width that pictures are resized to. The fixed size of an ONNX file comes before it.

    Raises:
        FileNotFoundError: The file is missing.
        ImportError: The file is ONNX and onnxruntime is missing.
        ValueError: The file has another ending or cannot be loaded.
    """

    def __init__(self, file: str | os.PathLike[str] | None, size: tuple[int, int]) -> None:  # noqa: D107
        self.size, self.name = size, "random_features"
        if file is None:
            self._run = _random_network()
            return
        path = Path(file)
        if not path.is_file():
            raise FileNotFoundError(f"{path}: expected a network as TorchScript or ONNX, got no such file")
        self.name = path.stem
        if path.suffix == ".onnx":
            self._run, fixed = _onnx(path)
            self.size = fixed or size
        elif path.suffix in (".pt", ".pth", ".ts"):
            self._run = _torchscript(path)
        else:
            raise ValueError(
                f"{path}: expected a file that ends in .pt, .pth, .ts or .onnx, got {path.suffix or 'none'}"
            )

    @property
    def names(self) -> tuple[str, str]:
        """The names of the two distances: fid and kid for a file, frechet and kernel for the random network."""
        kinds = ("frechet", "kernel") if self.name == "random_features" else ("fid", "kid")
        return (f"{self.name}/{kinds[0]}", f"{self.name}/{kinds[1]}")

    def __call__(self, pictures: Iterable[_Array]) -> _Array:
        """Returns the features, float64 [N, D], of uint8 pictures [H, W, 3] of any sizes.

        Raises:
            ValueError: The network fails on the pictures, or does not return finite vectors.
        """
        gathered = Features(self)
        for picture in pictures:
            gathered.add(picture)
        return gathered.rows()

    def prepared(self, picture: _Array) -> _Array:
        """Resizes a picture to the network's size: float32 [3, h, w] of 0 to 1."""
        from PIL import Image

        # Pillow's bilinear filter averages when it shrinks, as clean FID requires (Parmar et al. 2022, arXiv
        # 2104.11222).
        fitted = Image.fromarray(picture).resize(self.size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(np.asarray(fitted, dtype=np.float32).transpose(2, 0, 1) / 255)

    @property
    def part(self) -> int:
        """The number of pictures at once."""
        return max(1, min(_PART, _VALUES // (3 * self.size[0] * self.size[1])))

    def run(self, batch: _Array) -> _Array:
        """Returns the features of prepared pictures.

        Raises:
            ValueError: As calling the network.
        """
        try:
            got = self._run(batch)
        except Exception as error:
            line = str(error).strip().splitlines()[-1]
            raise ValueError(f"{self.name}: failed on pictures of the shape {list(batch.shape)}: {line}") from error
        if got.ndim == 4:
            got = got.mean((2, 3))
        if got.ndim != 2 or len(got) != len(batch) or not np.isfinite(got).all():
            kind = "" if np.isfinite(got).all() else ", not all finite"
            raise ValueError(f"{self.name}: expected features [{len(batch)}, D], got {list(got.shape)}{kind}")
        return np.asarray(got.astype(np.float64))


class Features:
    """The features of pictures that come one by one. Only a part of the pictures is held, resized."""

    def __init__(self, network: FeatureNetwork) -> None:  # noqa: D107  # the class says it
        self._network = network
        self._waiting: list[_Array] = []
        self._done: list[_Array] = []

    def add(self, picture: _Array) -> None:
        """Takes a picture, uint8 [H, W, 3].

        Raises:
            ValueError: As calling the network.
        """
        self._waiting.append(self._network.prepared(picture))
        if len(self._waiting) >= self._network.part:
            self._flush()

    def rows(self) -> _Array:
        """Returns the features of all pictures, float64 [N, D].

        Raises:
            ValueError: As calling the network.
        """
        self._flush()
        return np.concatenate(self._done)

    def _flush(self) -> None:
        if self._waiting:
            self._done.append(self._network.run(np.stack(self._waiting)))
            self._waiting = []


def _random_network() -> Callable[[_Array], _Array]:
    """Three strided convolutions with weights of numpy's seed 0; returns the means of all layers, concatenated."""
    import torch
    from torch.nn import functional as F

    draw = np.random.default_rng(0)
    weights = []
    for c_in, c_out in zip(_CHANNELS, _CHANNELS[1:]):
        weight = draw.normal(size=(c_out, c_in, 3, 3)) * np.sqrt(2 / (9 * c_in))
        weights.append(torch.from_numpy(weight.astype(np.float32)))

    def run(batch: _Array) -> _Array:
        xs, found = 2 * torch.from_numpy(batch) - 1, []
        with plain_torch():
            for weight in weights:
                xs = F.relu(F.conv2d(xs, weight, stride=2, padding=1))
                found.append(xs.mean((2, 3)))
        return np.asarray(torch.cat(found, 1).numpy())

    return run


def _torchscript(path: Path) -> Callable[[_Array], _Array]:
    import torch

    try:
        with warnings.catch_warnings():
            # torch warns that TorchScript is deprecated, which concerns the file's author.
            warnings.simplefilter("ignore")
            load: Any = torch.jit.load
            with plain_torch():
                network = load(str(path), map_location="cpu").eval()
    except RuntimeError as error:
        line = str(error).strip().splitlines()[0]
        raise ValueError(f"{path}: expected a TorchScript network, got a file that torch cannot load: {line}") from None

    def run(batch: _Array) -> _Array:
        with plain_torch():
            got = network(torch.from_numpy(batch))
        return np.asarray(got.numpy())

    return run


def _onnx(path: Path) -> tuple[Callable[[_Array], _Array], tuple[int, int] | None]:
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError:
        raise ImportError("onnxruntime: expected it to be installed; pip install onnxruntime") from None
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    except Exception as error:
        # onnxruntime raises a class of its own for each reason, without a common base.
        line = str(error).strip().splitlines()[0]
        raise ValueError(f"{path}: expected an ONNX network, got a file that onnxruntime cannot load: {line}") from None
    given = session.get_inputs()[0]
    sides = tuple(given.shape[2:]) if len(given.shape) == 4 else ()
    fixed = (sides[0], sides[1]) if sides and all(isinstance(side, int) for side in sides) else None

    def run(batch: _Array) -> _Array:
        return np.asarray(session.run(None, {given.name: batch})[0])

    return run, fixed


def frechet(a: _Array, b: _Array) -> float:
    """Fréchet distance of gaussians fitted to two sets of features [N, D] (Heusel et al. 2017, arXiv 1706.08500).

    |mean_a - mean_b|^2 + tr(A + B - 2 (A B)^(1/2)), with unbiased covariances A and B.
    """
    apart = a.mean(0) - b.mean(0)
    scaled = [(x - x.mean(0)) / np.sqrt(len(x) - 1) for x in (a, b)]
    # numpy's stub lacks the modes.
    roots: list[Any] = [np.linalg.qr(x, mode="r") for x in scaled]
    # With A = R_a^T R_a and B = R_b^T R_b, the trace of (A B)^(1/2) is the sum of R_a R_b^T's singular values. This
    # avoids the square root of a matrix that rounding has made indefinite.
    shared = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return float(apart @ apart + sum((root**2).sum() for root in roots) - 2 * shared)


def kernel(a: _Array, b: _Array) -> float:
    """Unbiased squared MMD of two sets of features [N, D], by (x.y / D + 1)^3 (Binkowski et al. 2018, 1801.01401)."""
    within = []
    for x in (a, b):
        values = _cubic(x, x)
        within.append((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))
    return float(within[0] + within[1] - 2 * _cubic(a, b).mean())


def _cubic(a: _Array, b: _Array) -> _Array:
    return np.asarray((a @ b.T / a.shape[1] + 1) ** 3)


def lpips_metric() -> Callable[[_Array, _Array], float] | None:
    """Returns LPIPS (AlexNet) of two uint8 pictures, or None if `lpips`, torchvision or AlexNet's weights are missing.

    Downloads nothing: the weights must lie in the folder of torch's hub.
    """
    if importlib.util.find_spec("lpips") is None or importlib.util.find_spec("torchvision") is None:
        return None
    import torch

    # Both are untyped.
    torchvision, lpips = (importlib.import_module(name) for name in ("torchvision", "lpips"))
    url: str = torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url
    if not (Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]).is_file():
        return None
    with warnings.catch_warnings():
        # lpips uses a deprecated argument of torchvision.
        warnings.simplefilter("ignore")
        with plain_torch():
            network = lpips.LPIPS(net="alex", verbose=False).eval()

    def metric(a: _Array, b: _Array) -> float:
        pair = (torch.from_numpy(np.array(x.transpose(2, 0, 1)[None], dtype=np.float32)) / 127.5 - 1 for x in (a, b))
        with plain_torch():
            return float(network(*pair))

    return metric
