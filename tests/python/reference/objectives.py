"""Losses that a config may add to those of both sources, each from its own source, in plain PyTorch."""

import torch
import torch.nn.functional as F


def per_picture(values):
    """Summed over a picture's output positions, averaged over the batch, as the paper's L_cGAN."""
    return values.flatten(1).sum(1).mean()


# Form -> the loss of a logit that should be real, of one that should be fake, and of the generator's.
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
    """Wang et al. 2018, arXiv 1711.11585, section 3.2, averaged over the layers."""
    return torch.stack([F.l1_loss(b, a.detach()) for a, b in zip(wanted, got, strict=True)]).mean()


def pyramid(weights, pictures):
    """The layers of the fixed random network for pictures in [-1, 1]."""
    layers, xs = [], pictures
    for number, weight in enumerate(weights):
        xs = F.relu(F.conv2d(xs if number == 0 else F.avg_pool2d(xs, 2), weight, padding=1))
        layers.append(xs)
    return layers


def r1(logits, human, article):
    """Mescheder et al. 2018, arXiv 1801.04406, by both pictures of a pair whose logits are summed."""
    grads = torch.autograd.grad(logits.sum(), [human, article], create_graph=True)
    return sum(0.5 * g.flatten(1).square().sum(1).mean() for g in grads)


def augmented(pictures, draws, side, config):
    """DiffAugment (Zhao et al. 2020, arXiv 2006.10738), one picture at a time; `side`: 0 for humans, 1 for articles."""
    if draws is None:
        return pictures
    signed = config["architecture"] == "vasily"
    done = []
    for xs, row in zip(2 * pictures - 1 if signed else pictures, draws):
        brightness, saturation, contrast = row[:3]
        down, right = (int(v) for v in row[3 + 2 * side : 5 + 2 * side])
        top, left = (int(v) for v in row[7 + 2 * side : 9 + 2 * side])
        height, width = xs.shape[1:]
        if config["augment_colour"]:
            xs = xs + brightness
            xs = (xs - xs.mean(0)) * saturation + xs.mean(0)
            xs = xs * contrast
        if config["augment_translation"]:
            wide = F.pad(xs, (width, width, height, height))
            xs = wide[:, height + down : 2 * height + down, width + right : 2 * width + right]
        if config["augment_cutout"]:
            keep = torch.ones_like(xs)
            keep[:, max(0, top) : top + height // 2, max(0, left) : left + width // 2] = 0
            xs = xs * keep
        done.append(xs)
    done = torch.stack(done)
    return (done + 1) / 2 if signed else done
