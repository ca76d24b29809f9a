"""The preset kisekae in plain PyTorch: its discriminator and one training step.

The networks that swap are those of `cagan.torch_module`, which is written apart from the core too.
"""

import math

import torch
import torch.nn.functional as F
from cagan.torch_module import (
    Kisekae,
    affine,
    article_region,
    enclosed,
    filled,
    flow_of,
    moved,
    pixels,
    smoothed,
    square,
    warped_inside,
    widened,
)
from torch import nn

from . import objectives
from .networks import composite, iterated, spectral


class Scale(nn.Module):
    """Convolutions with leaky ReLUs and a map of logits; kernel 4 where a layer halves, 3 where it does not."""

    def __init__(self, c, strides):
        super().__init__()
        self.down = nn.ModuleList(nn.Conv2d(i, o, 4 if s == 2 else 3, s, 1) for i, o, s in zip(c, c[1:], strides))
        self.head = nn.Conv2d(c[-1], 1, 3, 1, 1)

    def forward(self, xs):
        layers = []
        for layer in self.down:
            xs = F.leaky_relu(spectral(layer, xs), 0.2)
            layers.append(xs)
        return spectral(self.head, xs), layers


class Judge(nn.Module):
    """Judges large patches and small ones of picture, warped article and erasure."""

    def __init__(self, width):
        super().__init__()
        c = width // 2
        self.large, self.small = Scale([7, c, 2 * c, 4 * c], [2, 2, 2]), Scale([7, c, 2 * c], [1, 2])

    def forward(self, picture, warped, erasure):
        seen = torch.cat([picture, warped, erasure], 1)
        (large, features), (small, more) = self.large(seen), self.small(seen)
        # Both give the same number of logits.
        times = small.shape[2] // large.shape[2]
        large = large.repeat_interleave(times, 2).repeat_interleave(times, 3)
        return torch.cat([large.flatten(1), small.flatten(1)], 1), features + more


def within(wanted, got, region):
    """Returns the mean distance of all channels over a region."""
    return ((wanted - got).abs() * region).sum() / (wanted.shape[1] * region.sum() + 1e-6)


def bending(flow):
    return sum(torch.diff(flow, dim=dim).abs().mean() for dim in (2, 3))


def framed(got, wanted, mask, confidence):
    """Distance of two flows inside each picture's mask, weighted by the picture's confidence."""
    apart = ((got - wanted).abs().sum(1, keepdim=True) * mask).sum((1, 2, 3)) / (mask.sum((1, 2, 3)) + 1)
    return (confidence * apart).mean()


def edge(outline, first, mask, erasure):
    """Distance of outline and mask within two pixels of where the outline was first."""
    near = widened(first, 2) - (1 - widened(1 - first, 2))
    return within(mask, outline, near.detach() * erasure)


def agreed(human, warped, outline, mask):
    """Returns the pixels for which two speak of: the mask, the outline, a colour of the article within two pixels."""
    inside = (outline > 0.5).to(human.dtype)
    both = inside * mask
    light = ((human - warped) * both).sum((2, 3), keepdim=True) / (both.sum((2, 3), keepdim=True) + 1)
    n, _, height, width = human.shape
    step = pixels(1, height)
    spread = {"kernel_size": 5, "dilation": step, "padding": 2 * step}
    near = F.unfold(warped + light, **spread).reshape(n, 3, 25, height, width)
    there = F.unfold(inside, **spread).reshape(n, 1, 25, height, width)
    apart = (near - human[:, :, None]).abs().mean(1, keepdim=True).masked_fill(there == 0, 9).amin(2)
    votes = mask + inside + (apart < 0.08)
    return (F.avg_pool2d((votes >= 2).to(human.dtype), 3, 1, 1) > 0.5).to(human.dtype)


def location(logits, human, with_worn, with_other, trust):
    """Cross-entropy of where knowing the article lowers the error by 0.04; the weight is full at 0.1 beyond."""
    gain = ((human - with_other).abs() - (human - with_worn).abs()).mean(1, keepdim=True)
    apart = F.avg_pool2d(gain, 3, 1, 1, count_include_pad=False).detach() - 0.04
    weight = ((apart.abs() / 0.1).clamp(max=1) + 0.02) * trust
    entropy = F.binary_cross_entropy_with_logits(logits, torch.sigmoid(apart / 0.04), reduction="none")
    return (weight * entropy).sum() / (weight.sum() + 1e-6)


def aligned(mask, like):
    """Moves each mask up or down, so that it begins in the row in which `like` begins."""
    moved = torch.zeros_like(mask)
    for i, (ours, theirs) in enumerate(zip(mask[:, 0], like[:, 0], strict=True)):
        if ours.any() and theirs.any():
            tops = [int(rows.any(1).nonzero()[0]) for rows in (ours, theirs)]
            height, shift = len(ours), tops[1] - tops[0]
            for row in range(height):
                if 0 <= row - shift < height:
                    moved[i, 0, row] = ours[row - shift]
    return moved


def boxed(mask, shares):
    """Draws the bounding box of each mask, its sides moved out by shares of the box; nothing for shares below 0."""
    boxes = torch.zeros_like(mask)
    for i, (ours, (up, down, left, right)) in enumerate(zip(mask[:, 0], shares[:, :, 0, 0].tolist(), strict=True)):
        if ours.any() and up >= 0:
            (top, bottom), (first, last) = ((int(k.min()), int(k.max())) for k in ours.nonzero().unbind(1))
            high, wide = bottom - top + 1, last - first + 1
            for y in range(len(ours)):
                for x in range(len(ours[0])):
                    rows = top - up * high <= y <= bottom + down * high
                    boxes[i, 0, y, x] = float(rows and first - left * wide <= x <= last + right * wide)
    return boxes


def rate_factor(config, images_seen):
    start, end = config["schedule_start"], config["schedule_end"]
    done = min(max(images_seen - start, 0) / max(end - start, 1), 1)
    return {"constant": 1.0, "linear": 1 - done, "cosine": (1 + math.cos(math.pi * done)) / 2}[config["schedule"]]


class KisekaeTwin:
    """The networks, their optimisers and `step`."""

    def __init__(self, config, pyramid=(), *, fused=False):
        self.config, self.pyramid, self.steps = config, list(pyramid), 0
        self.generator, self.discriminator = Kisekae(config), Judge(config["width"])
        rate = config["learning_rate"]
        adam = {"betas": (config["adam_beta1"], config["adam_beta2"]), "eps": config["adam_epsilon"]}
        adam["fused"] = fused
        self.adam_g = torch.optim.Adam(self.generator.parameters(), lr=rate, **adam)
        rates = rate, config["discriminator_learning_rate"] or rate
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), lr=rates[1], **adam)
        self.rates = dict(zip((self.adam_g, self.adam_d), rates))

    def load_vectors(self, vectors):
        for name, vector in vectors.items():
            self.discriminator.get_submodule(name.removesuffix(".left")).left = vector

    def score(self, human, article):
        """Returns the logits of whether the article is worn, located and warped by the generator."""
        left, erasure, placement, flow = self.generator.sight(human, article, article)
        warped = self.generator.painter(left, erasure, article, placement, flow)["warped"]
        return self.discriminator(human, warped, erasure)[0]

    def step(self, human, worn, target, draws):
        config, generator = self.config, self.generator
        seen = self.steps * config["batch_size"]
        placing, judging = seen >= config["place_after"], seen >= config["judge_after"]
        self.rate = rate_factor(config, seen)
        self.steps += 1

        # Locate; a white article in place of one that is withheld.
        shown = torch.where(draws["withheld"] == 1, torch.ones_like(worn), worn)
        located = generator.locate(human, shown)
        self.located = located.detach()
        mask = (self.located > generator.begins).to(human.dtype)

        # Erase.
        erasure, trust = draws["blobs"], draws["blobs"]
        if placing:
            joined = torch.maximum(mask, aligned(mask.roll(1, 0), mask) * draws["joined"])
            wide = torch.maximum(widened(joined, int(draws["widen"])), boxed(mask, draws["boxes"]))
            wide = torch.maximum(wide, draws["blobs"] * draws["beside"])
            erasure = torch.where(draws["masked"] == 1, wide, draws["blobs"])
        left = human * (1 - erasure)

        # Place: the erasure itself at first; then the registered outline, and the placer's map, at times the locator's.
        if placing:
            with torch.no_grad():
                body = generator.frames.of_person(human, mask)
                maps, other_maps = (generator.framed(article) @ body for article in (worn, target))
            found = square(draws["registered"])
            sure = draws["confidence"] > 0.5
            outline, base = generator.outlined(worn, draws["jitter"] @ torch.where(sure[:, None, None], found, maps))
            flow = flow_of(found, human)
            colours = warped_inside(worn, filled(article_region(worn)), flow)
            voted = agreed(human, colours, moved(filled(article_region(worn)), flow), mask)
            garment = torch.where(sure[:, None, None, None], voted, mask)
            free = 1 - enclosed(erasure, pixels(2, human.shape[2]))
            erasure = torch.maximum(erasure, (outline > 0.5) * free * draws["masked"])
            left = human * (1 - erasure)
            trust = torch.where(draws["masked"] == 1, 0.25 * erasure, erasure)
            with torch.no_grad():
                other_outline, other_base = generator.outlined(target, other_maps)
                other = torch.sigmoid(generator.place(left, erasure, other_outline, target)) * erasure
            placed = generator.place(left, erasure, outline, worn)
            placement = garment * erasure if draws["sharp"] else torch.sigmoid(placed.detach()) * erasure
        else:
            base, other_base = (affine(erasure, filled(article_region(article))) for article in (worn, target))
            placement = other = erasure

        # Paint.
        restored = generator.painter(left, erasure, worn, placement, base)
        swapped = generator.painter(left, erasure, target, other, other_base)
        pictures = [composite(human, painting["paint"], erasure) for painting in (restored, swapped)]
        own, foreign = restored["warped"].detach(), swapped["warped"].detach()

        # Judge: the discriminator's update.
        loss_d = torch.zeros(())
        real, fake, fooled = objectives.ADVERSARIAL[config["adversarial_loss"]]
        if judging:
            self._iterate()

            def logits(picture, warped):
                return self.discriminator(picture.detach(), warped, erasure)[0]

            loss_d = (
                2 * real(logits(human, own)).mean()
                + fake(logits(pictures[0], own)).mean()
                + fake(logits(pictures[1], foreign)).mean()
                + 0.5 * fake(logits(human, foreign)).mean()
            )
            self._update(self.adam_d, loss_d)

        # The generator's.
        region = garment * erasure if placing else erasure
        terms = {
            "restored": (1, within(human, restored["paint"], erasure)),
            "surroundings": (0.1, (human - restored["paint"]).abs().mean()),
            "warped": (config["warp_weight"], within(human, restored["warped"], region)),
            "bending": (
                config["bending_weight"],
                bending(restored["residual"]) + (bending(swapped["residual"]) if judging else 0),
            ),
            "located": (1, location(located, human, restored["paint"], swapped["paint"], trust)),
            "agreed": (1, torch.zeros(())),
            "placed": (1, torch.zeros(())),
            "framed": (5, torch.zeros(())),
            "fitted": (5, torch.zeros(())),
            "beside": (1, within(human, restored["paint"], erasure - region)),
            "edge": (1, torch.zeros(())),
            "adversarial": (config["adversarial_weight"], torch.zeros(())),
            "feature": (config["feature_weight"], torch.zeros(())),
        }
        if placing:
            entropy = F.binary_cross_entropy_with_logits(placed, garment, reduction="none")
            doubt = F.binary_cross_entropy_with_logits(located, garment, reduction="none")
            terms["agreed"] = 1, (doubt * sure[:, None, None, None]).mean()
            terms["placed"] = 1, ((erasure + 0.1) * entropy).mean()
            # The frames learn from people whom the networks dressed in the other article, and from their mirror images.
            with torch.no_grad():
                rest, hole, seen, flow = generator.regions(human, garment, body, target)
                paint = generator.painter(rest, hole, target, seen, flow)["paint"]
                dressed, shown = composite(human, paint, smoothed(hole, 1)), (seen > 0.5).to(human.dtype)
            maps_on = flow_of(generator.mapped(dressed, shown, worn), human)
            eye = torch.diag(torch.tensor([-1.0, 1, 1], dtype=human.dtype))
            flipped = flow_of(generator.mapped(dressed.flip(3), shown.flip(3), worn.flip(3)), human)
            terms["framed"] = (
                5,
                0.5
                * sum(
                    framed(got, flow_of(wanted, human), region, draws["confidence"])
                    for got, wanted, region in (
                        (maps_on, found, garment),
                        (flipped, eye @ found @ eye, garment.flip(3)),
                    )
                ),
            )
            # Where the worn article is withheld, one that is not worn corrects, to nothing.
            swapped_in = draws["withheld"] == 1
            article = torch.where(swapped_in, target, worn)
            start = torch.where(swapped_in[:, 0], other_maps, maps)
            fit = generator.fit(human, article, mask, start)
            wanted = torch.where(swapped_in[:, 0], start, found)
            certain = torch.where(swapped_in[:, 0, 0, 0], 1.0, draws["confidence"])
            terms["fitted"] = 5, framed(flow_of(start @ fit, human), flow_of(wanted, human), garment, certain)
            terms["edge"] = 1, edge(restored["outline"], outline, garment, erasure)
        if judging:
            _, wanted = self.discriminator(human, own, erasure)
            judged, got = self.discriminator(pictures[0], own, erasure)
            cost = fooled(judged).mean() + fooled(self.discriminator(pictures[1], foreign, erasure)[0]).mean()
            terms["adversarial"] = config["adversarial_weight"], cost
            terms["feature"] = config["feature_weight"], objectives.features(wanted, got)
        if config["perceptual_weight"]:
            layers = [objectives.pyramid(self.pyramid, picture) for picture in (human, pictures[0])]
            terms["perceptual"] = config["perceptual_weight"], objectives.features(*layers)
        loss_g = sum(weight * term for weight, term in terms.values())
        self._update(self.adam_g, loss_g)
        return {
            "loss/discriminator": loss_d.detach(),
            "loss/generator": loss_g.detach(),
            **{f"loss/generator/{name}": term.detach() for name, (_, term) in terms.items()},
            "mask/area": mask.mean(),
            "registration/confidence": draws["confidence"].mean() if placing else torch.zeros(()),
        }

    def _iterate(self):
        for layer in self.discriminator.modules():
            if getattr(layer, "left", None) is not None:
                layer.left, _ = iterated(layer.weight, layer.left)

    def _update(self, adam, loss):
        """Updates one network; the other gets no gradient."""
        parameters = [parameter for group in adam.param_groups for parameter in group["params"]]
        slopes = torch.autograd.grad(loss, parameters, allow_unused=True)
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter.grad = torch.zeros_like(parameter) if slope is None else slope
        if self.config["gradient_clip"]:
            torch.nn.utils.clip_grad_norm_(parameters, self.config["gradient_clip"])
        for group in adam.param_groups:
            group["lr"] = self.rates[adam] * self.rate
        adam.step()
