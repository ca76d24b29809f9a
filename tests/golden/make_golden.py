"""Records values of the PyTorch twin for weights and pictures that a formula gives: `make golden`."""

import json
import sys
from pathlib import Path

import cagan
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "python"))

from reference import Twin  # noqa: E402  # the path comes first
from reference.networks import composite  # noqa: E402

PRESETS = {"vasily": {"width": 8, "image_size": [64, 32]}, "paper": {"width": 8, "image_size": [32, 16]}}


def wave(shape, scale, shift):
    """Returns scale * sin(0.37 * k + shift) for k = 0, 1, ..., as in tests/core/golden.rs."""
    k = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (scale * torch.sin(0.37 * k + shift)).float().reshape(shape)


def fill(network):
    """Fills every parameter by the formula, numbered in the order of the names."""
    with torch.no_grad():
        for n, (name, parameter) in enumerate(sorted(network.named_parameters())):
            parameter.copy_(wave(parameter.shape, 0.3, n) + float(name.endswith("norm.weight")))


def record(preset, overrides):
    """Returns every 97th value of the twin's outputs, computed in float64."""
    config = cagan.Config(preset, **overrides).to_dict()
    twin = Twin(config)
    fill(twin.generator)
    fill(twin.discriminator)
    twin.generator.double()
    twin.discriminator.double()
    height, width = config["image_size"]
    human, worn, target = (wave((2, 3, height, width), 0.5, shift).double() + 0.5 for shift in (1, 2, 3))
    with torch.no_grad():
        paint, mask = twin.generator(human, worn, target)
        swapped = composite(human, paint, mask)
        generator, terms = twin.loss_g(human, worn, target, swapped, mask, None)
        values = {
            "mask": mask,
            "paint": paint,
            "matched": twin.discriminator(human, worn),
            "discriminator": twin.loss_d(human, worn, target, swapped, None),
            "generator": generator,
            "cycle": terms["cycle"],
        }
    return {
        "overrides": overrides,
        **{k: [round(x, 7) for x in v.reshape(-1)[::97].tolist()] for k, v in values.items()},
    }


def main():
    """Writes values.json."""
    recorded = {
        "torch": torch.__version__,
        "presets": {preset: record(preset, overrides) for preset, overrides in PRESETS.items()},
    }
    (HERE / "values.json").write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
