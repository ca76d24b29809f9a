"""One training step in plain PyTorch: the discriminator's update, then the generator's (A and P, their losses)."""

import contextlib

import torch
import torch.nn.functional as F

from .networks import (
    PaperDiscriminator,
    PaperGenerator,
    VasilyDiscriminator,
    VasilyGenerator,
    composite,
)


def build(config):
    """Generator and discriminator for a config given as a dictionary."""
    height, breadth = config["image_size"]
    if config["architecture"] == "vasily":
        return VasilyGenerator(config["width"]), VasilyDiscriminator(config["width"], height, breadth)
    return (
        PaperGenerator(config["width"], config["generator_copies"]),
        PaperDiscriminator(config["width"], config["discriminator_copies"]),
    )


def initialise(network, generator=None):
    for name, parameter in network.named_parameters():
        if name.endswith("norm.weight"):
            torch.nn.init.ones_(parameter)
        elif name.endswith("bias"):
            torch.nn.init.zeros_(parameter)
        else:
            torch.nn.init.normal_(parameter, 0, 0.02, generator=generator)


class Twin:
    """Both networks, both optimisers and `step`, in any of the forms that make PyTorch fast on a CPU."""

    def __init__(self, config, *, channels_last=False, bf16=False, compiled=False, fused=False):
        self.config = config
        self.generator, self.discriminator = build(config)
        initialise(self.generator)
        initialise(self.discriminator)
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        for network in (self.generator, self.discriminator):
            network.to(memory_format=self.format)
        self.autocast = (lambda: torch.autocast("cpu", torch.bfloat16)) if bf16 else contextlib.nullcontext
        adam = {
            "lr": config["learning_rate"],
            "betas": (config["adam_beta1"], config["adam_beta2"]),
            "eps": config["adam_epsilon"],
            "fused": fused,
        }
        self.adam_g = torch.optim.Adam(self.generator.parameters(), **adam)
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), **adam)
        self.loss_d, self.loss_g = self._loss_d, self._loss_g
        self.swap = self._swap
        if compiled:
            self.loss_d, self.loss_g, self.swap = (
                torch.compile(f, dynamic=False) for f in (self._loss_d, self._loss_g, self._swap)
            )

    def draw_noise(self, count):
        """Fresh noise for one discriminator pass over `count` pairs, or None where the config has none."""
        sigma = self.config["discriminator_noise"]
        if not sigma:
            return None
        height, breadth = self.config["image_size"]
        width = self.config["width"]
        channels = [6, width // 8, width // 4, width // 2, width]
        if self.config["architecture"] == "vasily":
            channels.append(width)
        return [
            (torch.randn(count, c, height >> k, breadth >> k) * sigma).to(memory_format=self.format)
            for k, c in enumerate(channels)
        ]

    def _swap(self, human, worn, target):
        paint, mask = self.generator(human, worn, target)
        return composite(human, paint, mask), mask

    def _loss_d(self, human, worn, target, swapped, noise):
        logits = self.discriminator(
            torch.cat([human, swapped, human]), torch.cat([worn, target, target]), noise
        ).float()
        batch = len(human)
        matched, swapped, mismatched = logits[:batch], logits[batch : 2 * batch], logits[2 * batch :]
        real = F.softplus(-matched).sum() / batch
        return real + F.softplus(swapped).sum() / batch + F.softplus(mismatched).sum() / batch

    def _loss_g(self, human, worn, target, swapped, mask, noise):
        restored, _ = self._swap(swapped, target, worn)
        logits = self.discriminator(swapped, target, noise).float()
        adversarial = F.softplus(-logits).sum() / len(human)
        identity = mask.abs().mean()
        cycle = (human - restored).abs().mean()
        weights = self.config["identity_weight"], self.config["cycle_weight"]
        return adversarial + weights[0] * identity + weights[1] * cycle, (adversarial, identity, cycle)

    def step(self, human, worn, target, noise_d=None, noise_g=None):
        human, worn, target = (x.contiguous(memory_format=self.format) for x in (human, worn, target))
        if noise_d is None:
            noise_d, noise_g = self.draw_noise(3 * len(human)), self.draw_noise(len(human))
        with self.autocast():
            swapped, mask = self.swap(human, worn, target)
            swapped, mask = swapped.float(), mask.float()
            loss_d = self.loss_d(human, worn, target, swapped.detach(), noise_d)
        self.adam_d.zero_grad()
        loss_d.backward()
        self.adam_d.step()

        self.discriminator.requires_grad_(False)
        with self.autocast():
            loss_g, (adversarial, identity, cycle) = self.loss_g(human, worn, target, swapped, mask, noise_g)
        self.adam_g.zero_grad()
        loss_g.backward()
        self.adam_g.step()
        self.discriminator.requires_grad_(True)
        return {
            "loss/discriminator": loss_d.detach(),
            "loss/generator": loss_g.detach(),
            "loss/generator/adversarial": adversarial.detach(),
            "loss/generator/identity": identity.detach(),
            "loss/generator/cycle": cycle.detach(),
        }
