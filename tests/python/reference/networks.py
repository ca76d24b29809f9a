"""The networks of the article (A, the 2017 swimwear write-up) and of the paper (P, arXiv 1709.04695)."""

import torch
import torch.nn.functional as F
from torch import nn


def iterated(weight, left):
    """Miyato et al. 2018, arXiv 1802.05957, algorithm 1: one power iteration gives the left and the right vector."""
    with torch.no_grad():
        right = F.normalize(weight.flatten(1).t() @ left, dim=0)
        return F.normalize(weight.flatten(1) @ right, dim=0), right


def spectral(layer, xs):
    """The layer with its weight divided by its spectral norm, if it was given a vector `left`."""
    left = getattr(layer, "left", None)
    if left is None:
        return layer(xs)
    left, right = iterated(layer.weight, left)
    weight = layer.weight / torch.einsum("o,oi,i->", left, layer.weight.flatten(1), right)
    return torch.func.functional_call(layer, {"weight": weight}, (xs,))


class Block(nn.Module):
    """A convolution (or its transpose) of kernel 4, stride 2, padding 1, and an optional instance norm."""

    def __init__(self, c_in, c_out, *, transposed=False, norm=True):
        super().__init__()
        conv = nn.ConvTranspose2d if transposed else nn.Conv2d
        self.conv = conv(c_in, c_out, 4, 2, 1)
        if norm:
            self.norm = nn.InstanceNorm2d(c_out, eps=2e-5, affine=True)

    def forward(self, xs):
        ys = spectral(self.conv, xs)
        return self.norm(ys) if hasattr(self, "norm") else ys


def composite(human, paint, mask):
    return mask * paint + (1 - mask) * human


class VasilyGenerator(nn.Module):
    """A: four convolutions down, four up, skips are added, sigmoid on all four channels."""

    def __init__(self, width):
        super().__init__()
        c = [width // 8, width // 4, width // 2, width]
        self.down = nn.ModuleList(Block(i, o, norm=k > 0) for k, (i, o) in enumerate(zip([9, *c[:3]], c)))
        self.up = nn.ModuleList(
            Block(i, o, transposed=True, norm=k < 3) for k, (i, o) in enumerate(zip(c[::-1], [*c[2::-1], 4]))
        )

    def forward(self, human, worn, target):
        xs, skips = torch.cat([human, worn, target], 1), []
        for block in self.down:
            xs = F.relu(block(xs))
            skips.append(xs)
        for block, skip in zip(self.up[:3], skips[2::-1]):
            xs = F.relu(block(xs)) + skip
        ys = torch.sigmoid(self.up[3](xs))
        return ys[:, :3], ys[:, 3:]


class VasilyDiscriminator(nn.Module):
    """A: noise on the input and before each activation (training only), five convolutions, a linear head.

    `features`, a list, takes what each layer gives.
    """

    def __init__(self, width, height, breadth, norm=True):
        super().__init__()
        c = [6, width // 8, width // 4, width // 2, width, width]
        self.down = nn.ModuleList(Block(i, o, norm=norm and k > 0) for k, (i, o) in enumerate(zip(c, c[1:])))
        self.head = nn.Linear(width * (height // 32) * (breadth // 32), 1)

    def forward(self, human, article, noise=None, features=None):
        xs = torch.cat([human, article], 1)
        noise = noise or [0.0] * 6
        xs = xs + noise[0]
        for block, layer_noise in zip(self.down, noise[1:]):
            xs = F.leaky_relu(block(xs) + layer_noise, 0.2)
            if features is not None:
                features.append(xs)
        return spectral(self.head, xs.flatten(1))


def copies(pictures, like):
    return F.avg_pool2d(pictures, pictures.shape[-1] // like.shape[-1])


class PaperGenerator(nn.Module):
    """P: concatenated skips, and averaged copies of two of its inputs at every intermediate layer."""

    def __init__(self, width, generator_copies="worn"):
        super().__init__()
        self.copies = generator_copies
        k = 0 if generator_copies == "none" else 6
        c = [width // 8, width // 4, width // 2, width]
        self.down = nn.ModuleList(
            Block(i, o, norm=n > 0) for n, (i, o) in enumerate(zip([9, c[0] + k, c[1] + k, c[2] + k], c))
        )
        c_in = [c[3] + k, 2 * c[2] + k, 2 * c[1] + k, 2 * c[0] + k]
        self.up = nn.ModuleList(
            Block(i, o, transposed=True, norm=n < 3) for n, (i, o) in enumerate(zip(c_in, [c[2], c[1], c[0], 4]))
        )

    def forward(self, human, worn, target):
        pair = {"none": None, "worn": [human, worn], "target": [human, target]}[self.copies]
        pair = None if pair is None else torch.cat(pair, 1)

        def with_copies(xs):
            return xs if pair is None else torch.cat([xs, copies(pair, xs)], 1)

        xs, skips = torch.cat([human, worn, target], 1), []
        for block in self.down:
            features = F.leaky_relu(block(xs), 0.2)
            skips.append(features)
            xs = with_copies(features)
        for block, skip in zip(self.up[:3], skips[2::-1]):
            xs = with_copies(torch.cat([F.relu(block(xs)), skip], 1))
        ys = self.up[3](xs)
        return torch.tanh(ys[:, :3]), torch.sigmoid(ys[:, 3:])


class PaperDiscriminator(nn.Module):
    """P: four convolutions and a map of logits; the copies of its input are an option.

    `features`, a list, takes what each layer gives.
    """

    def __init__(self, width, discriminator_copies=False, norm=True):
        super().__init__()
        self.copies = discriminator_copies
        k = 6 if discriminator_copies else 0
        c = [width // 8, width // 4, width // 2, width]
        self.down = nn.ModuleList(
            Block(i, o, norm=norm and n > 0) for n, (i, o) in enumerate(zip([6, c[0] + k, c[1] + k, c[2] + k], c))
        )
        self.head = nn.Conv2d(c[3] + k, 1, 3, 1, 1)

    def forward(self, human, article, noise=None, features=None):
        pair = torch.cat([human, article], 1)
        noise = noise or [0.0] * 5
        xs = pair + noise[0]
        for block, layer_noise in zip(self.down, noise[1:]):
            xs = F.leaky_relu(block(xs) + layer_noise, 0.2)
            if features is not None:
                features.append(xs)
            if self.copies:
                xs = torch.cat([xs, copies(pair, xs)], 1)
        return spectral(self.head, xs)


class MultiScale(nn.Module):
    """Wang et al. 2018, arXiv 1711.11585, section 3.2: further discriminators see averaged pictures."""

    def __init__(self, scales):
        super().__init__()
        self.scale = nn.ModuleList(scales)

    def forward(self, human, article, noise=None, features=None):
        logits, layers = [], len(noise or []) // len(self.scale)
        for k, scale in enumerate(self.scale):
            part = noise and noise[k * layers : (k + 1) * layers]
            logits.append(scale(human, article, part, features).flatten(1))
            human, article = (F.avg_pool2d(x, 3, 2, 1, count_include_pad=False) for x in (human, article))
        return torch.cat(logits, 1)
