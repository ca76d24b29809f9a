"""What a config may add to the losses of both sources, each from its own source, in plain PyTorch."""

import torch
import torch.nn.functional as F


def per_picture(values):
    """Summed over a picture's output positions, averaged over the batch, as the paper's L_cGAN."""
    return values.flatten(1).sum(1).mean()


# Form -> what a logit costs that should be real, one that should be fake, and the generator's own.
ADVERSARIAL = {
    # A, P, with the non-saturating generator.
    "logistic": (lambda x: F.softplus(-x), F.softplus, lambda x: F.softplus(-x)),
    # Lim & Ye 2017, arXiv 1705.02894.
    "hinge": (lambda x: F.relu(1 - x), lambda x: F.relu(1 + x), lambda x: -x),
    # Mao et al. 2017, arXiv 1611.04076, with the targets 0 and 1.
    "least_squares": (lambda x: F.mse_loss(x, torch.ones_like(x), reduction="none") / 2, lambda x: x**2 / 2, None),
}
ADVERSARIAL["least_squares"] = (*ADVERSARIAL["least_squares"][:2], ADVERSARIAL["least_squares"][0])


def discriminator_loss(form, matched, swapped, mismatched):
    real, fake, _ = ADVERSARIAL[form]
    return per_picture(real(matched)) + per_picture(fake(swapped)) + per_picture(fake(mismatched))


def generator_loss(form, swapped):
    return per_picture(ADVERSARIAL[form][2](swapped))


def total_variation(mask):
    """Rudin, Osher & Fatemi 1992, anisotropic: means over the vertical and over the horizontal differences."""
    return torch.diff(mask, dim=2).abs().mean() + torch.diff(mask, dim=3).abs().mean()


def binary(mask):
    return (4 * mask * (1 - mask)).mean()


def features(wanted, got):
    """Wang et al. 2018, arXiv 1711.11585, section 3.3, averaged over the layers."""
    return torch.stack([F.l1_loss(b, a.detach()) for a, b in zip(wanted, got, strict=True)]).mean()


def pyramid(weights, pictures):
    """The layers of the fixed random network for pictures in [-1, 1]."""
    layers, xs = [], pictures
    for number, weight in enumerate(weights):
        xs = F.relu(F.conv2d(xs if number == 0 else F.avg_pool2d(xs, 2), weight, padding=1))
        layers.append(xs)
    return layers
