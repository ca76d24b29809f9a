"""The generators in plain PyTorch, for export and for reading a snapshot with torch and safetensors alone.

This file imports nothing of the package. Its parameters have the snapshot's names.
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
    """A convolution (or its transpose) of kernel 4, stride 2, padding 1, and an instance norm unless `norm` is False.

    Shapes:
        [N, c_in, H, W] to [N, c_out, H / 2, W / 2], transposed to [N, c_out, 2 H, 2 W].
    """

    def __init__(self, c_in: int, c_out: int, *, transposed: bool = False, norm: bool = True) -> None:
        super().__init__()
        self.conv = (nn.ConvTranspose2d if transposed else nn.Conv2d)(c_in, c_out, 4, 2, 1)
        self.norm = nn.InstanceNorm2d(c_out, eps=2e-5, affine=True) if norm else nn.Identity()

    def forward(self, xs: Tensor) -> Tensor:
        """Applies the layer."""
        ys: Tensor = self.norm(self.conv(xs))
        return ys


class Generator(nn.Module):
    """A generator that takes and returns values of 0 to 1, and composites the swap.

    Shapes:
        human, worn, target: [N, 3, H, W], H and W multiples of `multiple`. Returns image [N, 3, H, W], mask
        [N, 1, H, W], 1 = repainted, and paint [N, 3, H, W].
    """

    # Heights and widths are multiples of this.
    multiple = 16
    # Whether heights and widths may differ from the trained ones.
    resizable = True
    # The networks' values for 0 and 1.
    low, high = 0.0, 1.0

    def generate(self, human: Tensor, worn: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Returns paint and mask for pictures in the networks' range."""
        raise NotImplementedError

    def forward(self, human: Tensor, worn: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns image, mask and paint."""
        span = self.high - self.low
        paint, mask = self.generate(*(xs * span + self.low for xs in (human, worn, target)))
        paint = (paint - self.low) / span
        return mask * paint + (1 - mask) * human, mask, paint


class Vasily(Generator):
    """The 2017 article's generator: four convolutions down, four up, added skips, sigmoid on all four channels."""

    def __init__(self, config: Mapping[str, Any]) -> None:  # noqa: D107
        super().__init__()
        c = [config["width"] // part for part in (8, 4, 2, 1)]
        self.down = nn.ModuleList(Block(i, o, norm=k > 0) for k, (i, o) in enumerate(zip([9, *c[:3]], c)))
        self.up = nn.ModuleList(
            Block(i, o, transposed=True, norm=k < 3) for k, (i, o) in enumerate(zip(c[::-1], [*c[2::-1], 4]))
        )

    def generate(self, human: Tensor, worn: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Returns paint and mask, both in [0, 1]."""
        xs, skips = torch.cat([human, worn, target], 1), []
        for block in self.down:
            xs = F.relu(block(xs))
            skips.append(xs)
        for k in range(3):
            xs = F.relu(self.up[k](xs)) + skips[2 - k]
        ys = torch.sigmoid(self.up[3](xs))
        return ys[:, :3], ys[:, 3:]


class Paper(Generator):
    """The paper's generator: concatenated skips, and averaged copies of two inputs at every intermediate layer."""

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
        """Returns paint in [-1, 1] and mask in [0, 1]."""
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


# The parts of kisekae.


class Normed(nn.Module):
    """A convolution of kernel 3 that keeps or halves the size, a group norm, a leaky ReLU.

    Shapes:
        [N, c_in, H, W] to [N, c_out, H / stride, W / stride].
    """

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, 3, stride, 1)
        self.norm = nn.GroupNorm(8, c_out)

    def forward(self, xs: Tensor) -> Tensor:
        """Applies the layer."""
        return F.leaky_relu(self.norm(self.conv(xs)), 0.2)


class Encoder(nn.Module):
    """One layer at the picture's size, then two layers for each halving, of `c` channels."""

    def __init__(self, c_in: int, c: list[int]) -> None:
        super().__init__()
        self.first = Normed(c_in, c[0])
        self.down = nn.ModuleList(nn.Sequential(Normed(i, o, 2), Normed(o, o)) for i, o in zip(c, c[1:]))

    def forward(self, *seen: Tensor) -> list[Tensor]:
        """Returns each level's features, the largest first, of all inputs and the pixels' places."""
        layers = [self.first(torch.cat([*seen, places(seen[0])], 1))]
        for level in self.down:
            layers.append(level(layers[-1]))
        return layers


def places(like: Tensor) -> Tensor:
    """Centres of the pixels, x then y, with -1 and 1 at the picture's edges: [N, 2, H, W]."""
    n, _, h, w = like.shape
    y, x = (2 * (torch.arange(side, dtype=like.dtype, device=like.device) + 0.5) / side - 1 for side in (h, w))
    return torch.stack([x.expand(h, w), y[:, None].expand(h, w)]).expand(n, 2, h, w)


def doubled(xs: Tensor) -> Tensor:
    """Doubles the size."""
    return F.interpolate(xs, scale_factor=2.0, mode="bilinear", align_corners=False)


def widened(mask: Tensor, reach: int) -> Tensor:
    """Maximum within `reach` pixels to all sides."""
    return F.max_pool2d(mask, 2 * reach + 1, 1, reach)


def enclosed(mask: Tensor, reach: int) -> Tensor:
    """Pixels outside a mask of 0 and 1 in gaps of up to twice `reach` pixels."""
    closed = 1 - widened(1 - widened(mask, reach), reach)
    return (closed - mask).clamp(0, 1)


def smoothed(xs: Tensor, reach: int) -> Tensor:
    """Mean within `reach` pixels to all sides, of pixels inside the picture."""
    length = 2 * reach + 1
    # Of columns, then of rows: fewer additions.
    columns = F.avg_pool2d(xs, (length, 1), 1, (reach, 0), count_include_pad=False)
    return F.avg_pool2d(columns, (1, length), 1, (0, reach), count_include_pad=False)


def pixels(at_64: float, height: int) -> int:
    """Scales a reach from height 64 to this height."""
    return max(1, math.floor(at_64 * height / 64 + 0.5))


def article_region(article: Tensor) -> Tensor:
    """The article's region: 0 up to a difference of 3 % from the border's median colour, in any channel, 1 from 8 %."""
    border = torch.cat([article[..., 0, :], article[..., -1, :], article[..., 0], article[..., -1]], 2)
    # The lower of two medians.
    background = border.sort(2).values[:, :, (border.shape[2] - 1) // 2]
    apart = (article - background[..., None, None]).abs().amax(1, keepdim=True) / 2
    return ((apart - 0.03) / 0.05).clamp(0, 1)


def running_max(xs: Tensor) -> Tensor:
    """Running maximum along the columns, of values of 0 or more. ONNX has no operator for it."""
    width, step = xs.shape[-1], 1
    while step < width:
        xs = torch.maximum(xs, F.pad(xs, (step, 0))[..., :width])
        step *= 2
    return xs


def filled(region: Tensor) -> Tensor:
    """Fills holes: adds pixels that have the region on their left and right, and above and below."""

    def between(xs: Tensor) -> Tensor:
        return torch.minimum(running_max(xs), running_max(xs.flip(3)).flip(3))

    held = torch.minimum(between(region), between(region.transpose(2, 3)).transpose(2, 3))
    return torch.maximum(region, held)


def palette_distance(human: Tensor, article: Tensor, region: Tensor) -> Tensor:
    """Distance of each pixel, and of each 3 x 3 patch, to the article's nearest one, from -1 (equal) to 1 (far).

    Distances are root mean squares, clamped to one grey level. At most 768 places of the article are compared.
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
        # All places at once would fill the memory.
        parts = zip(torch.split(own, 96, 1), torch.split(ys, 96, 2))
        nearest = [(a[:, :, None] - 2 * b.transpose(1, 2) @ xs).amin(1, keepdim=True) for a, b in parts]
        squares = torch.cat(nearest, 1).amin(1, keepdim=True) + xs.square().sum(1, keepdim=True)
        distance = (squares / (4 * xs.shape[1])).clamp(min=255**-2).sqrt()
        maps.append(4 * distance.clamp(max=0.5) - 1)
    return torch.cat(maps, 1).reshape(n, 2, h, w).detach()


def guided(mask: Tensor, photo: Tensor, reach: int, eps: float) -> Tensor:
    """Guided filter (He, Sun & Tang 2010, algorithm 1): fits the mask linearly to the photo's grey in each window."""
    grey = (photo.mean(1, keepdim=True) + 1) / 2
    mean_grey, mean_mask = smoothed(grey, reach), smoothed(mask, reach)
    covariance = smoothed(grey * mask, reach) - mean_grey * mean_mask
    a = covariance / (smoothed(grey * grey, reach) - mean_grey**2 + eps)
    b = mean_mask - a * mean_grey
    return (smoothed(a, reach) * grey + smoothed(b, reach)).clamp(0, 1)


def moments(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of a mask along x and y, each [N, 2, 1, 1]."""
    share, where = mask + 1e-6, places(mask)
    share = share / share.sum((2, 3), keepdim=True)
    middle = (share * where).sum((2, 3), keepdim=True)
    deviation = (share * (where - middle) ** 2).sum((2, 3), keepdim=True).sqrt()
    return middle, deviation.clamp(min=0.03)


def affine(placement: Tensor, region: Tensor) -> Tensor:
    """Flow that maps the region's moments onto the placement's: for each pixel, its place in the article."""
    (to, to_spread), (of, of_spread) = moments(placement), moments(region)
    return of + (places(placement) - to) * of_spread / to_spread


def flow_of(maps: Tensor, like: Tensor) -> Tensor:
    """Flow of maps, [N, 2 or 3, 3], that act on a pixel's place (x, y, 1)."""
    n, _, h, w = like.shape
    return (maps[:, :2, :2] @ places(like).flatten(2) + maps[:, :2, 2:]).reshape(n, 2, h, w)


def warped(xs: Tensor, flow: Tensor) -> Tensor:
    """Samples `xs` at the flow's places; places beyond the border take the border's value."""
    return F.grid_sample(xs, flow.permute(0, 2, 3, 1), "bilinear", "border", align_corners=False)


def warped_inside(article: Tensor, region: Tensor, flow: Tensor) -> Tensor:
    """Samples an article at the flow's places, as a mean weighted by its region: its background is no fringe."""
    share = 0.99 * region + 0.01
    return warped(article * share, flow) / warped(share, flow)


def moved(region: Tensor, flow: Tensor) -> Tensor:
    """Samples a region at the flow's places; places beyond the border are outside."""
    return F.grid_sample(region, flow.permute(0, 2, 3, 1), "bilinear", "zeros", align_corners=False)


class Numbers(nn.Module):
    """Encodes a picture to a few numbers: halving layers of `c` channels, all but one with another; two linear."""

    def __init__(self, c_in: int, c: list[int], cells: int, count: int, finer: int = 0) -> None:
        super().__init__()
        self.finer = finer
        self.down = nn.ModuleList(Normed(i, o, 2) for i, o in zip([c_in + 2, *c], c))
        self.keep = nn.ModuleDict({str(k): Normed(c[k], c[k]) for k in range(1, len(c))})
        self.hidden, self.out = nn.Linear(c[-1] * cells, 64), nn.Linear(64, count)

    def forward(self, *seen: Tensor) -> Tensor:
        """Returns the numbers, [N, count], of pictures averaged down to the coarsest size."""
        seen = tuple(sizes(self.finer, *seen)[0])
        xs = torch.cat([*seen, places(seen[0])], 1)
        for k, layer in enumerate(self.down):
            xs = layer(xs)
            if k:
                xs = self.keep[str(k)](xs)
        numbers: Tensor = self.out(F.leaky_relu(self.hidden(xs.flatten(1)), 0.2))
        return numbers


class Frames(nn.Module):
    """Where an article lies in its picture, and where garments sit on a person. The product maps person to article.

    The worn article corrects the person's frame.
    """

    def __init__(self, c: list[int], cells: int, finer: int = 0) -> None:
        super().__init__()
        self.article, self.person = Numbers(3 + 1, c, cells, 4, finer), Numbers(3 + 1, c, cells, 6, finer)
        self.fit = Numbers(3 + 3 + 1 + 1, c, cells, 6, finer)

    def of_article(self, article: Tensor, region: Tensor) -> Tensor:
        """Returns a similarity, [N, 3, 3], from the garments' common frame to the article's picture."""
        size, turn, x, y = self.article(article, region).unbind(1)
        aspect = article.shape[2] / article.shape[3]
        cos, sin = size.exp() * (0.3 * turn).cos(), size.exp() * (0.3 * turn).sin()
        return square(torch.stack([cos, -aspect * sin, x, sin / aspect, cos, y], 1).reshape(-1, 2, 3))

    def of_person(self, human: Tensor, mask: Tensor) -> Tensor:
        """Returns an affine map, [N, 3, 3], from the photo of a person, dressed in a mask, to the common frame."""
        return near_identity(self.person(human, mask))

    def of_fit(self, human: Tensor, warped: Tensor, outline: Tensor, mask: Tensor) -> Tensor:
        """Returns a correction, [N, 3, 3], of the photo's places, after which the worn article lies better."""
        return near_identity(self.fit(human, warped, outline, mask))


def near_identity(numbers: Tensor) -> Tensor:
    """Turns [N, 6] into maps, [N, 3, 3]; 0 is the identity."""
    return square(numbers.reshape(-1, 2, 3) + torch.eye(3, dtype=numbers.dtype, device=numbers.device)[:2])


def square(maps: Tensor) -> Tensor:
    """Adds the row (0, 0, 1) to [N, 2, 3]."""
    row = torch.tensor([0.0, 0.0, 1.0], dtype=maps.dtype, device=maps.device)
    return torch.cat([maps, row.expand(maps.shape[0], 1, 3)], 1)


class Finer(nn.Module):
    """A level for pictures twice as large: adds to the doubled output of the coarser levels."""

    def __init__(self, c_seen: int, c_joined: int, c: int, c_out: int) -> None:
        super().__init__()
        self.first, self.up = Normed(c_seen + 2, c), Normed(2 * c + c_joined, c)
        self.out = nn.Conv2d(c, c_out, 3, 1, 1)

    def forward(self, hidden: Tensor, ys: Tensor, seen: list[Tensor], joined: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Returns the level's features and output for those of the coarser level and the pictures at its own size."""
        first = self.first(torch.cat([*seen, places(seen[0])], 1))
        hidden = self.up(torch.cat([doubled(hidden), first, *joined], 1))
        return hidden, doubled(ys) + self.out(hidden)


def sizes(finer: int, *pictures: Tensor) -> list[list[Tensor]]:
    """Pictures at each size of a network with that many finer levels, averaged, the coarsest first."""
    return [[F.avg_pool2d(xs, 2**k) if k else xs for xs in pictures] for k in range(finer, -1, -1)]


class Painter(nn.Module):
    """Restores an erased part of a person: mixes the warped article with rendered colours."""

    def __init__(self, c: list[int], finer: int = 0) -> None:
        super().__init__()
        last = len(c) - 1
        self.person, self.article = Encoder(3 + 1 + 1 + 2, c), Encoder(3 + 1 + 2, c)
        up = [c[k + 1] + 2 * c[k] + 3 for k in range(last)]
        # The full-size level takes the article's colours and region instead of features; the coarsest takes no colours.
        up[0], up[last - 1] = c[1] + c[0] + 3 + 1, up[last - 1] - 3
        self.up = nn.ModuleList(Normed(i, o) for i, o in zip([*up, 3 * c[last]], c))
        self.flow = nn.ModuleList(nn.Conv2d(c[k], 2, 3, 1, 1) for k in range(last - 1, max(last - 4, 0), -1))
        self.out = nn.Conv2d(c[0], 4, 3, 1, 1)
        self.finer = nn.ModuleList(Finer(3 + 1 + 1, 3 + 1, c[0], 4) for _ in range(finer))

    def forward(
        self, erased: Tensor, erasure: Tensor, article: Tensor, placement: Tensor, base: Tensor
    ) -> dict[str, Tensor]:
        """Returns `paint`, `warped`, `outline`, the article's at its place, and `residual`, the flow without `base`."""
        coarsest, *larger = sizes(len(self.finer), erased, erasure, article, placement, base)
        hidden, out, flow, colours, outline = self.coarsest(*coarsest)
        under = coarsest[4]
        for level, (left, hole, worn, placed, over) in zip(self.finer, larger):
            flow, under = doubled(flow - under) + over, over
            region = article_region(worn)
            outline = filled(region)
            colours = warped_inside(worn, outline, flow)
            hidden, out = level(hidden, out, [left, hole, placed], [colours, warped(region, flow)])
        rendered, mix = torch.tanh(out[:, :3]), torch.sigmoid(out[:, 3:])
        outline = moved(outline, flow)
        paint = mix * outline * colours + (1 - mix * outline) * rendered
        return {"paint": paint, "warped": colours, "outline": outline, "residual": flow - base}

    def coarsest(
        self, erased: Tensor, erasure: Tensor, article: Tensor, placement: Tensor, base: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Returns features, output, flow, the warped article's colours and its outline before, at the coarsest size."""
        region = article_region(article)
        outline = filled(region)
        xs, ys = self.person(erased, erasure, placement), self.article(article, region)
        last = len(xs) - 1
        hidden = self.up[last](torch.cat([xs[last], ys[last], warped(ys[last], F.avg_pool2d(base, 2**last))], 1))
        flow = F.avg_pool2d(base, 2 ** (last - 1))
        for number, k in enumerate(range(last - 1, 0, -1)):
            seen = [doubled(hidden), xs[k], warped(ys[k], flow)]
            if number > 0:
                seen.append(warped(F.avg_pool2d(article, 2**k), flow))
            hidden = self.up[k](torch.cat(seen, 1))
            if number < len(self.flow):
                flow = flow + (0.03, 0.02, 0.01)[number] * self.flow[number](hidden)
            flow = doubled(flow)
        colours = warped_inside(article, outline, flow)
        hidden = self.up[0](torch.cat([doubled(hidden), xs[0], colours, warped(region, flow)], 1))
        return hidden, self.out(hidden), flow, colours, outline


class Matcher(nn.Module):
    """Logits of where an article is, or would be, on a person."""

    def __init__(self, c_person: int, c_article: int, c: list[int], finer: int = 0, c_finer: int = 0) -> None:
        super().__init__()
        last = len(c) - 1
        # The level at which every place of the person attends to every place of the article.
        self.met = last - 2
        self.person, self.article = Encoder(c_person + 2, c), Encoder(c_article + 2, c)
        self.query, self.key = (nn.Conv2d(c[self.met], c[self.met], 1) for _ in range(2))
        up = [c[k + 1] + (2 if k >= self.met else 1) * c[k] for k in range(last)]
        self.up = nn.ModuleList(Normed(i, o) for i, o in zip([*up, 3 * c[last]], c))
        self.out = nn.Conv2d(c[0], 1, 3, 1, 1)
        self.finer = nn.ModuleList(Finer(c_finer, 0, c[0], 1) for _ in range(finer))

    def forward(self, person: list[Tensor], article: list[Tensor], larger: list[list[Tensor]]) -> Tensor:
        """Returns logits, [N, 1, H, W], for the coarsest inputs of person and article, and those of finer levels."""
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
        for level, seen in zip(self.finer, larger):
            hidden, logits = level(hidden, logits, seen, [])
        return logits

    def attended(self, xs: Tensor, ys: Tensor) -> Tensor:
        """Attention: for each place of the person, the article's features."""
        query, key = self.query(xs).flatten(2), self.key(ys).flatten(2)
        share = (query.transpose(1, 2) @ key / math.sqrt(xs.shape[1])).softmax(2)  # [N, places of xs, places of ys]
        found: Tensor = ys.flatten(2) @ share.transpose(1, 2)
        return found.reshape(xs.shape)


class Kisekae(Generator):
    """Our generator: locates the worn article, places the target, erases both regions, paints.

    A `worn` of one colour means that the worn article is unknown. Pictures must have the trained size: the reach of the
    masks and the compared places depend on it.
    """

    low, high = -1.0, 1.0
    resizable = False

    def __init__(self, config: Mapping[str, Any]) -> None:  # noqa: D107
        super().__init__()
        levels = 3
        while min(config["image_size"]) >> (levels + 1) >= 3:
            levels += 1
        self.multiple = 2**levels
        # Halvings beyond the fourth are those from larger pictures to the coarsest.
        finer = self.finer = max(levels - 4, 0)
        levels -= finer
        c = [config["width"] // 4 * part for part in (1, 2, *[4] * (levels - 1))]
        # The locator's mask begins above this logit.
        self.begins = math.log(config["mask_cut"] / (1 - config["mask_cut"]))
        self.painter = Painter(c, finer)
        self.locator, self.placer = Matcher(3 + 2, 3 + 1, c, finer, 3), Matcher(3 + 2, 3 + 1, c, finer, 5)
        cells = math.prod(side >> (levels + finer) for side in config["image_size"])
        self.frames = Frames([min(c[0] << k, 64) for k in range(levels)], cells, finer)

    def locate(self, human: Tensor, worn: Tensor) -> Tensor:
        """Returns logits of where the worn article is."""
        (small, worn), *larger = sizes(self.finer, human, worn)
        region = article_region(worn)
        seen = [small, palette_distance(small, worn, region)]
        logits: Tensor = self.locator(seen, [worn * region, region], [[photo] for photo, _ in larger])
        return logits

    def place(self, left: Tensor, erasure: Tensor, outline: Tensor, target: Tensor) -> Tensor:
        """Returns logits of where the target would be seen on the rest of the person, given its outline there."""
        coarsest, *larger = sizes(self.finer, left, erasure, outline)
        target = sizes(self.finer, target)[0][0]
        logits: Tensor = self.placer(coarsest, [target, article_region(target)], larger)
        return logits

    def outlined(self, article: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Returns an article's outline as moved by maps from person to article, and the flow."""
        flow = flow_of(maps, article)
        return moved(filled(article_region(article)), flow), flow

    def framed(self, article: Tensor) -> Tensor:
        """Returns an article's frame, [N, 3, 3]."""
        frame: Tensor = self.frames.of_article(article, article_region(article))
        return frame

    def mapped(self, human: Tensor, mask: Tensor, article: Tensor) -> Tensor:
        """Returns the map to an article from a person who wears another in the mask: both frames' product."""
        return self.framed(article) @ self.frames.of_person(human, mask)

    def fit(self, human: Tensor, article: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        """Returns the correction of a person's frame by an article that may be worn in the mask, [N, 3, 3]."""
        outline, flow = self.outlined(article, maps)
        colours = warped_inside(article, filled(article_region(article)), flow)
        fit: Tensor = self.frames.of_fit(human, colours, outline, mask)
        return fit

    def located(self, human: Tensor, worn: Tensor) -> Tensor:
        """Soft mask of the worn article, 0.5 at its edge: the mean with the mirror image's, guided by the photo."""
        mirrored = self.locate(human.flip(3), worn.flip(3)).flip(3)
        logits = (self.locate(human, worn) + mirrored) / 2
        return guided(torch.sigmoid(logits - self.begins), human, pixels(4, human.shape[2]), 1e-4)

    def agreed(self, human: Tensor, worn: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        """Returns the pixels for which two of three speak: the mask, the article's outline, its colours near by."""
        outline, flow = self.outlined(worn, maps)
        inside = (outline > 0.5).to(human.dtype)
        both = inside * mask
        colours = warped_inside(worn, filled(article_region(worn)), flow)
        light = ((human - colours) * both).sum((2, 3), keepdim=True) / (both.sum((2, 3), keepdim=True) + 1)
        height, width = human.shape[2:]
        step = pixels(1, height)
        there = F.pad((colours + light) * inside + 9 * (1 - inside), [2 * step] * 4, value=9.0)
        apart = torch.full_like(inside, 9)
        for down in range(0, 5 * step, step):
            for right in range(0, 5 * step, step):
                near = there[:, :, down : down + height, right : right + width]
                apart = torch.minimum(apart, (human - near).abs().mean(1, keepdim=True))
        votes = mask + inside + (apart < 0.08).to(human.dtype)
        return (F.avg_pool2d((votes > 1.5).to(human.dtype), 3, 1, 1) > 0.5).to(human.dtype)

    def look(self, human: Tensor, worn: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the soft mask of the worn article, which votes correct if it is known, and the person's frame."""
        located = self.located(human, worn)
        mask = (located > 0.5).to(human.dtype)
        body: Tensor = self.frames.of_person(human, mask)
        known = (article_region(worn).amax((1, 2, 3), keepdim=True) > 0).to(body.dtype)
        maps = self.framed(worn) @ body
        fit = self.fit(human, worn, mask, maps)
        change = (self.agreed(human, worn, mask, maps @ fit) - mask) * known
        same = torch.eye(3, dtype=body.dtype, device=body.device)
        # The frame takes half of the correction.
        return located + change * (2 * located - 1).abs(), body @ (same + 0.5 * known[:, :, :, 0] * (fit - same))

    def sight(self, human: Tensor, worn: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the rest of the person, the erasure, where the target is seen in it, and the target's flow."""
        located, body = self.look(human, worn)
        return self.regions(human, (located > 0.5).to(human.dtype), body, target)

    def regions(
        self, human: Tensor, mask: Tensor, body: Tensor, target: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the same for a person of a known frame, who wears something in the mask."""
        height = human.shape[2]
        old = widened(mask, pixels(1, height))
        outline, flow = self.outlined(target, self.framed(target) @ body)
        # What the worn article encloses stands before it, and may stand before the target.
        hole = torch.maximum(old, (outline > 0.5) * (1 - enclosed(old, pixels(2, height))))
        seen = torch.sigmoid(self.place(human * (1 - hole), hole, outline, target)) * hole
        erasure = torch.maximum(old, (seen > 0.35).to(human.dtype))
        return human * (1 - erasure), erasure, seen * erasure, flow

    def generate(self, human: Tensor, worn: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Returns paint in [-1, 1], and the erasure with a soft edge."""
        left, erasure, placement, flow = self.sight(human, worn, target)
        paint: Tensor = self.painter(left, erasure, target, placement, flow)["paint"]
        return paint, smoothed(erasure, 1)


# The class of each architecture, by the config's name.
GENERATORS: dict[str, type[Generator]] = {"vasily": Vasily, "paper": Paper, "kisekae": Kisekae}


def load(path: str | os.PathLike[str]) -> Generator:
    """Loads a snapshot as a module in evaluation mode, on the CPU, in float32.

    Raises:
        FileNotFoundError: The file is missing.
        ValueError: The architecture is unknown, or the snapshot is of an earlier design of kisekae.
    """
    from safetensors import safe_open

    with safe_open(str(path), "pt") as file:
        config = json.loads(json.loads(file.metadata()["cagan"])["config"])
        if config["architecture"] not in GENERATORS:
            raise ValueError(
                f"{path}: architecture: expected one of {', '.join(GENERATORS)}, got {config['architecture']}"
            )
        module = GENERATORS[config["architecture"]](config)
        if isinstance(module, Kisekae):
            for tensors in ("frames.person.", *(["painter.finer."] if module.finer else [])):
                if not any(name.startswith(tensors) for name in file.keys()):  # noqa: SIM118
                    raise ValueError(
                        f"{path}: expected a generator with tensors {tensors}*, got one of an earlier design of "
                        "kisekae: the version that wrote it reads it"
                    )
        module.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118  # not a mapping
    return module.eval()
