"""The generators in plain PyTorch: for export, and for reading a snapshot where only torch and safetensors are.

This file needs nothing of the package. Its parameters have the snapshot's names.
"""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["GENERATORS", "Generator", "Kisekae", "Paper", "Vasily", "load"]


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
    # Whether they may be others than the trained ones.
    resizable = True
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


# Kisekae's, from here on.


class Normed(nn.Module):
    """A convolution of kernel 3 that keeps or halves the picture, a group norm, a leaky ReLU.

    Shapes:
        [N, c_in, H, W] to [N, c_out, H / stride, W / stride].
    """

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, stride, 1)
        self.norm = nn.GroupNorm(8, c_out)

    def forward(self, xs: Tensor) -> Tensor:
        """The layer."""
        return F.leaky_relu(self.norm(self.conv(xs)), 0.2)


class Encoder(nn.Module):
    """A layer at the picture's own size, then two for each halving, of `c` channels."""

    def __init__(self, c_in: int, c: list[int]) -> None:
        super().__init__()
        self.first = Normed(c_in, c[0])
        self.down = nn.ModuleList(nn.Sequential(Normed(i, o, 2), Normed(o, o)) for i, o in zip(c, c[1:]))

    def forward(self, *seen: Tensor) -> list[Tensor]:
        """Every level's layer, the largest first; all that is seen, and where each pixel lies."""
        layers = [self.first(torch.cat([*seen, places(seen[0])], 1))]
        for level in self.down:
            layers.append(level(layers[-1]))
        return layers


def places(like: Tensor) -> Tensor:
    """Pixels' middles, x then y, -1 and 1 at the picture's edges: [N, 2, H, W]."""
    n, _, h, w = like.shape
    y, x = (2 * (torch.arange(side, dtype=like.dtype, device=like.device) + 0.5) / side - 1 for side in (h, w))
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)]).expand(n, 2, h, w)


def doubled(xs: Tensor) -> Tensor:
    """Twice the size."""
    return F.interpolate(xs, scale_factor=2.0, mode="bilinear", align_corners=False)


def widened(mask: Tensor, reach: int) -> Tensor:
    """The largest value within `reach` pixels to all sides."""
    return F.max_pool2d(mask, 2 * reach + 1, 1, reach)


def smoothed(xs: Tensor, reach: int) -> Tensor:
    """The mean within `reach` pixels, of what lies in the picture."""
    return F.avg_pool2d(xs, 2 * reach + 1, 1, reach, count_include_pad=False)


def pixels(at_64: float, height: int) -> int:
    """A reach that is given for pictures of height 64."""
    return max(1, math.floor(at_64 * height / 64 + 0.5))


def article_region(article: Tensor) -> Tensor:
    """What differs from the border's median colour, in any channel, from 3 % of the range up to all of it at 8 %."""
    border = torch.cat([article[..., 0, :], article[..., -1, :], article[..., 0], article[..., -1]], 2)
    # The lower of two in the middle.
    background = border.sort(2).values[:, :, (border.shape[2] - 1) // 2]
    apart = (article - background[..., None, None]).abs().amax(1, keepdim=True) / 2
    return ((apart - 0.03) / 0.05).clamp(0, 1)


def running_max(xs: Tensor) -> Tensor:
    """The largest value up to each column, of values of 0 or more; ONNX has no operator for it."""
    width, step = xs.shape[-1], 1
    while step < width:
        xs = torch.maximum(xs, F.pad(xs, (step, 0))[..., :width])
        step *= 2
    return xs


def filled(region: Tensor) -> Tensor:
    """The region, and what has some of it on its left and right and above and below."""

    def between(xs: Tensor) -> Tensor:
        return torch.minimum(running_max(xs), running_max(xs.flip(3)).flip(3))

    held = torch.minimum(between(region), between(region.transpose(2, 3)).transpose(2, 3))
    return torch.maximum(region, held)


def palette_distance(human: Tensor, article: Tensor, region: Tensor) -> Tensor:
    """How far each pixel, and each 3 x 3 pixels, are from the nearest that the article shows: -1 for none, 1 for far.

    Root mean squares, of one grey level at the least; 768 of the article's places, or fewer, are compared with.
    """
    n, _, h, w = human.shape
    every = math.ceil(math.sqrt(int(h) * int(w) / 768))

    def sparse(xs: Tensor) -> Tensor:
        return xs[..., ::every, ::every].flatten(2)

    maps = []
    for side in (1, 3):

        def described(xs: Tensor, side: int = side) -> Tensor:
            wide = F.pad(xs, [side // 2] * 4, mode="replicate") if side > 1 else xs
            return torch.cat([wide[..., y : y + h, x : x + w] for y in range(side) for x in range(side)], 1)

        xs, ys = described(human).flatten(2), sparse(described(article))
        own = ys.square().sum(1) + 1000 * (1 - sparse(region)[:, 0])
        # All of the article's places at once would fill the memory.
        parts = zip(torch.split(own, 96, 1), torch.split(ys, 96, 2))
        nearest = [(a[:, :, None] - 2 * b.transpose(1, 2) @ xs).amin(1, keepdim=True) for a, b in parts]
        squares = torch.cat(nearest, 1).amin(1, keepdim=True) + xs.square().sum(1, keepdim=True)
        distance = (squares / (4 * xs.shape[1])).clamp(min=255**-2).sqrt()
        maps.append(4 * distance.clamp(max=0.5) - 1)
    return torch.cat(maps, 1).reshape(n, 2, h, w).detach()


def guided(mask: Tensor, photo: Tensor, reach: int, eps: float) -> Tensor:
    """He, Sun & Tang 2010, algorithm 1: the mask as a line in the photo's grey, window by window."""
    grey = (photo.mean(1, keepdim=True) + 1) / 2
    mean_grey, mean_mask = smoothed(grey, reach), smoothed(mask, reach)
    covariance = smoothed(grey * mask, reach) - mean_grey * mean_mask
    a = covariance / (smoothed(grey * grey, reach) - mean_grey**2 + eps)
    b = mean_mask - a * mean_grey
    return (smoothed(a, reach) * grey + smoothed(b, reach)).clamp(0, 1)


def moments(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Middle and deviation of a mask along x and y, each [N, 2, 1, 1]."""
    share, where = mask + 1e-6, places(mask)
    share = share / share.sum((2, 3), keepdim=True)
    middle = (share * where).sum((2, 3), keepdim=True)
    deviation = (share * (where - middle) ** 2).sum((2, 3), keepdim=True).sqrt()
    return middle, deviation.clamp(min=0.03)


def affine(placement: Tensor, region: Tensor) -> Tensor:
    """Where in the article each pixel's colour comes from, so that the region's moments become the placement's."""
    (to, to_spread), (of, of_spread) = moments(placement), moments(region)
    return of + (places(placement) - to) * of_spread / to_spread


def warped(xs: Tensor, flow: Tensor) -> Tensor:
    """What lies where the flow points to, or the border beyond it."""
    return F.grid_sample(xs, flow.permute(0, 2, 3, 1), "bilinear", "border", align_corners=False)


class Painter(nn.Module):
    """Restores an erased part of a person with an article: warped and rendered, mixed."""

    def __init__(self, c: list[int]) -> None:
        super().__init__()
        last = len(c) - 1
        self.person, self.article = Encoder(3 + 1 + 1 + 2, c), Encoder(3 + 1 + 2, c)
        up = [c[k + 1] + 2 * c[k] + 3 for k in range(last)]
        # The pixels' own level sees the article's colours and its region in place of a layer; the coarsest no colours.
        up[0], up[last - 1] = c[1] + c[0] + 3 + 1, up[last - 1] - 3
        self.up = nn.ModuleList(Normed(i, o) for i, o in zip([*up, 3 * c[last]], c))
        self.flow = nn.ModuleList(nn.Conv2d(c[k], 2, 3, 1, 1) for k in range(last - 1, max(last - 4, 0), -1))
        self.out = nn.Conv2d(c[0], 4, 3, 1, 1)

    def forward(self, erased: Tensor, erasure: Tensor, article: Tensor, placement: Tensor) -> dict[str, Tensor]:
        """`paint`, `warped`, and `residual`, the flow less its affine part."""
        region = article_region(article)
        xs, ys = self.person(erased, erasure, placement), self.article(article, region)
        base = affine(placement, filled(region))
        last = len(xs) - 1
        hidden = self.up[last](torch.cat([xs[last], ys[last], warped(ys[last], F.avg_pool2d(base, 2**last))], 1))
        flow = F.avg_pool2d(base, 2 ** (last - 1))
        for number, k in enumerate(range(last - 1, 0, -1)):
            seen = [doubled(hidden), xs[k], warped(ys[k], flow)]
            if number > 0:
                seen.append(warped(F.avg_pool2d(article, 2**k), flow))
            hidden = self.up[k](torch.cat(seen, 1))
            if number < len(self.flow):
                flow = flow + (0.3, 0.2, 0.1)[number] * self.flow[number](hidden)
            flow = doubled(flow)
        colours = warped(article, flow)
        hidden = self.up[0](torch.cat([doubled(hidden), xs[0], colours, warped(region, flow)], 1))
        out = self.out(hidden)
        rendered, mix = torch.tanh(out[:, :3]), torch.sigmoid(out[:, 3:])
        return {"paint": mix * colours + (1 - mix) * rendered, "warped": colours, "residual": flow - base}


class Matcher(nn.Module):
    """Where an article is, or would be, on a person: logits."""

    def __init__(self, c_person: int, c_article: int, c: list[int]) -> None:
        super().__init__()
        last = len(c) - 1
        # Where every place of the person looks at every place of the article.
        self.met = last - 2
        self.person, self.article = Encoder(c_person + 2, c), Encoder(c_article + 2, c)
        self.query, self.key = (nn.Conv2d(c[self.met], c[self.met], 1) for _ in range(2))
        up = [c[k + 1] + (2 if k >= self.met else 1) * c[k] for k in range(last)]
        self.up = nn.ModuleList(Normed(i, o) for i, o in zip([*up, 3 * c[last]], c))
        self.out = nn.Conv2d(c[0], 1, 3, 1, 1)

    def forward(self, person: list[Tensor], article: list[Tensor]) -> Tensor:
        """Logits, [N, 1, H, W], of what is seen of either."""
        xs, ys = self.person(*person), self.article(*article)
        last = len(xs) - 1
        mean = ys[last].mean((2, 3), keepdim=True).expand_as(xs[last])
        hidden = self.up[last](torch.cat([xs[last], ys[last], mean], 1))
        for k in range(last - 1, -1, -1):
            seen = [doubled(hidden), xs[k]]
            if k == self.met:
                seen.append(xs[k] * self.attended(xs[k], ys[k]))
            elif k > self.met:
                seen.append(ys[k])
            hidden = self.up[k](torch.cat(seen, 1))
        logits: Tensor = self.out(hidden)
        return logits

    def attended(self, xs: Tensor, ys: Tensor) -> Tensor:
        """What each place of the person finds in the article."""
        query, key = self.query(xs).flatten(2), self.key(ys).flatten(2)
        share = (query.transpose(1, 2) @ key / math.sqrt(xs.shape[1])).softmax(2)  # [N, places of xs, places of ys]
        found: Tensor = ys.flatten(2) @ share.transpose(1, 2)
        return found.reshape(xs.shape)


class Kisekae(Generator):
    """Ours: locate what is worn, place the other article, erase both regions, paint. `worn` of one colour: not known.

    For pictures of the trained size: how far masks grow and what is compared with depend on it.
    """

    low, high = -1.0, 1.0
    resizable = False

    def __init__(self, config: Mapping[str, Any]) -> None:  # noqa: D107
        super().__init__()
        levels = 3
        while min(config["image_size"]) >> (levels + 1) >= 3:
            levels += 1
        c = [config["width"] // 4 * part for part in (1, 2, *[4] * (levels - 1))]
        self.multiple = 2**levels
        # The logit where the locator's mask begins.
        self.begins = math.log(config["mask_cut"] / (1 - config["mask_cut"]))
        self.painter, self.locator, self.placer = Painter(c), Matcher(3 + 2, 3 + 1, c), Matcher(3 + 1, 3 + 1, c)

    def locate(self, human: Tensor, worn: Tensor) -> Tensor:
        """Logits of where the worn article is."""
        region = article_region(worn)
        logits: Tensor = self.locator([human, palette_distance(human, worn, region)], [worn * region, region])
        return logits

    def place(self, left: Tensor, erasure: Tensor, target: Tensor) -> Tensor:
        """Logits of where the target would sit on the person of whom the rest is left."""
        logits: Tensor = self.placer([left, erasure], [target, article_region(target)])
        return logits

    def located(self, human: Tensor, worn: Tensor) -> Tensor:
        """Where the worn article is, 0.5 at the mask's edge: the mean with the mirror image's, at the photo's edges."""
        mirrored = self.locate(human.flip(3), worn.flip(3)).flip(3)
        logits = (self.locate(human, worn) + mirrored) / 2
        return guided(torch.sigmoid(logits - self.begins), human, pixels(4, human.shape[2]), 1e-4)

    def sight(self, human: Tensor, worn: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What is left of the person, what is erased, and where in that the target is to sit."""
        height = human.shape[2]
        mask = (self.located(human, worn) > 0.5).to(human.dtype)
        generous = widened(mask, pixels(3, height))
        room = torch.sigmoid(self.place(human * (1 - generous), generous, target)) > 0.5
        erasure = torch.maximum(widened(mask, pixels(1, height)), room * generous)
        left = human * (1 - erasure)
        return left, erasure, torch.sigmoid(self.place(left, erasure, target)) * erasure

    def generate(self, human: Tensor, worn: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Paint in [-1, 1], and the erasure with a soft edge."""
        left, erasure, placement = self.sight(human, worn, target)
        paint: Tensor = self.painter(left, erasure, target, placement)["paint"]
        return paint, smoothed(erasure, 1)


# One class for each architecture, by the config's name for it.
GENERATORS: dict[str, type[Generator]] = {"vasily": Vasily, "paper": Paper, "kisekae": Kisekae}


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
