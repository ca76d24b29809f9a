"""The generators in plain PyTorch: for export, and for reading a snapshot where only torch and safetensors are.

This file needs nothing of the package. Its parameters have the snapshot's names.
"""

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GENERATORS", "Generator", "Paper", "Vasily", "load"]


class Block(nn.Module):
    """A convolution (or its transpose) of kernel 4, stride 2, padding 1, and its instance norm if it has one.

    Shapes:
        [N, c_in, H, W] to [N, c_out, H / 2, W / 2], transposed to [N, c_out, 2 H, 2 W].
    """

    def __init__(self, c_in: int, c_out: int, *, transposed: bool = False, norm: bool = True) -> None:
        super().__init__()
        self.conv = (nn.ConvTranspose2d if transposed else nn.Conv2d)(c_in, c_out, 4, 2, 1)
        self.norm = nn.InstanceNorm2d(c_out, eps=2e-5, affine=True) if norm else nn.Identity()

    def forward(self, xs: Tensor) -> Tensor:
        """The layer."""
        ys: Tensor = self.norm(self.conv(xs))
        return ys


class Generator(nn.Module):
    """A generator with what stands around it: values of 0 to 1 go in and come out, and the swap is composited.

    Shapes:
        human, worn, target: [N, 3, H, W], H and W multiples of `multiple`. Returns image [N, 3, H, W], mask
        [N, 1, H, W], 1 = repainted, and paint [N, 3, H, W].
    """

    # What heights and widths must be multiples of.
    multiple = 16
    # The values that the networks take 0 and 1 for.
    low, high = 0.0, 1.0

    def generate(self, human: Tensor, worn: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Paint and mask, pictures in the networks' own range."""
        raise NotImplementedError

    def forward(self, human: Tensor, worn: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The swap: image, mask and paint."""
        span = self.high - self.low
        paint, mask = self.generate(*(xs * span + self.low for xs in (human, worn, target)))
        paint = (paint - self.low) / span
        return mask * paint + (1 - mask) * human, mask, paint


class Vasily(Generator):
    """The 2017 article's: four convolutions down, four up, skips are added, sigmoid on all four channels."""

    def __init__(self, config: Mapping[str, Any]) -> None:  # noqa: D107
        super().__init__()
        c = [config["width"] // part for part in (8, 4, 2, 1)]
        self.down = nn.ModuleList(Block(i, o, norm=k > 0) for k, (i, o) in enumerate(zip([9, *c[:3]], c)))
        self.up = nn.ModuleList(
            Block(i, o, transposed=True, norm=k < 3) for k, (i, o) in enumerate(zip(c[::-1], [*c[2::-1], 4]))
        )

    def generate(self, human: Tensor, worn: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Paint and mask, all in [0, 1]."""
        xs, skips = torch.cat([human, worn, target], 1), []
        for block in self.down:
            xs = F.relu(block(xs))
            skips.append(xs)
        for k in range(3):
            xs = F.relu(self.up[k](xs)) + skips[2 - k]
        ys = torch.sigmoid(self.up[3](xs))
        return ys[:, :3], ys[:, 3:]


class Paper(Generator):
    """The paper's: concatenated skips, and averaged copies of two of its inputs at every intermediate layer."""

    low, high = -1.0, 1.0

    def __init__(self, config: Mapping[str, Any]) -> None:  # noqa: D107
        super().__init__()
        self.copies = config["generator_copies"]
        extra = 0 if self.copies == "none" else 6
        c = [config["width"] // part for part in (8, 4, 2, 1)]
        down_in = [9, *(channels + extra for channels in c[:3])]
        up_in = [c[3] + extra, *(2 * channels + extra for channels in c[2::-1])]
        self.down = nn.ModuleList(Block(i, o, norm=k > 0) for k, (i, o) in enumerate(zip(down_in, c)))
        self.up = nn.ModuleList(
            Block(i, o, transposed=True, norm=k < 3) for k, (i, o) in enumerate(zip(up_in, [*c[2::-1], 4]))
        )

    def generate(self, human: Tensor, worn: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Paint in [-1, 1] and mask in [0, 1]."""
        other = target if self.copies == "target" else worn
        pair = torch.cat([human, other], 1)

        def with_copies(xs: Tensor, halvings: int) -> Tensor:
            return xs if self.copies == "none" else torch.cat([xs, F.avg_pool2d(pair, 2**halvings)], 1)

        xs, skips = torch.cat([human, worn, target], 1), []
        for k, block in enumerate(self.down):
            features = F.leaky_relu(block(xs), 0.2)
            skips.append(features)
            xs = with_copies(features, k + 1)
        for k in range(3):
            xs = with_copies(torch.cat([F.relu(self.up[k](xs)), skips[2 - k]], 1), 3 - k)
        ys = self.up[3](xs)
        return torch.tanh(ys[:, :3]), torch.sigmoid(ys[:, 3:])


# One class for each architecture, by the config's name for it.
GENERATORS: dict[str, type[Generator]] = {"vasily": Vasily, "paper": Paper}


def load(path: str | os.PathLike[str]) -> Generator:
    """A snapshot as a module in evaluation mode, on the CPU, in float32.

    Raises:
        FileNotFoundError: For a file that is not there.
        ValueError: For an architecture that this file does not know.
    """
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        config = json.loads(json.loads(file.metadata()["cagan"])["config"])
        if config["architecture"] not in GENERATORS:
            raise ValueError(
                f"{path}: architecture: expected one of {', '.join(GENERATORS)}, got {config['architecture']}"
            )
        module = GENERATORS[config["architecture"]](config)
        module.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118  # no mapping
    return module.eval()
