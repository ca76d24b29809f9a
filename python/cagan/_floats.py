"""Pictures as floats of 0 to 1, in either layout, as bytes. The core calls this."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["batch", "pixels", "tensor"]

# What rounds to the same level as the ends.
_SLACK = 0.5 / 255


def pixels(name: str, value: Any) -> NDArray[np.uint8]:
    """Returns the bytes, [H, W, 3], of one picture.

    Raises:
        ValueError: The shape or a value is none of a picture's.
    """
    array = _array(value)
    if array.ndim != 3:
        raise ValueError(f"{name}: expected floats of shape [H, W, 3] or [3, H, W], got shape {list(array.shape)}")
    return _bytes(name, _channels_last(name, array))


def batch(name: str, value: Any) -> list[NDArray[np.uint8]]:
    """Returns the bytes of each picture of a batch.

    Raises:
        ValueError: The shape or a value is none of pictures'.
    """
    array = _channels_last(name, _array(value))
    return [_bytes(f"{name}[{k}]", picture) for k, picture in enumerate(array)]


def tensor(array: NDArray[np.uint8]) -> Any:
    """Returns bytes as a torch tensor of 0 to 1, in the same layout."""
    import torch

    return torch.from_numpy(array).to(torch.float32) / 255


def _array(value: Any) -> NDArray[Any]:
    if hasattr(value, "detach"):
        # torch's, on any device; numpy has no bfloat16.
        value = value.detach().cpu().float().numpy()
    elif hasattr(value, "__dlpack__") and not hasattr(value, "__array_interface__"):
        value = np.from_dlpack(value)
    return np.asarray(value)


def _channels_last(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Returns the array with its channels last.

    Raises:
        ValueError: No axis has three channels, or both could be them.
    """
    n = "N, " if array.ndim == 4 else ""
    layouts = f"[{n}H, W, 3] or [{n}3, H, W]"
    first, last = array.shape[-3] == 3, array.shape[-1] == 3
    if first and last:
        raise ValueError(f"{name}: expected floats of shape {layouts}, got {list(array.shape)}, which may be either")
    if not (first or last) or 0 in array.shape:
        raise ValueError(f"{name}: expected floats of shape {layouts}, got shape {list(array.shape)}")
    return array if last else np.moveaxis(array, -3, -1)


def _bytes(name: str, array: NDArray[Any]) -> NDArray[np.uint8]:
    low, high = float(array.min()), float(array.max())
    # A NaN is in no range.
    if not (low >= -_SLACK and high <= 1 + _SLACK):
        raise ValueError(f"{name}: expected floats of 0 to 1, got {low:.4g} to {high:.4g}")
    levels: NDArray[np.uint8] = np.rint(array * 255).clip(0, 255).astype(np.uint8, order="C")
    return levels
