"""One training step in plain PyTorch: the discriminator's update, then the generator's (A and P, their losses)."""

import contextlib

import torch

from . import objectives
from .networks import (
    MultiScale,
    PaperDiscriminator,
    PaperGenerator,
    VasilyDiscriminator,
    VasilyGenerator,
    composite,
    iterated,
)


def build(config):
    """Generator and discriminator for a config given as a dictionary."""
    height, breadth = config["image_size"]
    width, norm = config["width"], config["discriminator_norm"] == "instance"
    if config["architecture"] == "vasily":
        generator = VasilyGenerator(width)
        scales = [
            VasilyDiscriminator(width, height >> k, breadth >> k, norm) for k in range(config["discriminator_scales"])
        ]
    else:
        generator = PaperGenerator(width, config["generator_copies"])
        scales = [
            PaperDiscriminator(width, config["discriminator_copies"], norm)
            for _ in range(config["discriminator_scales"])
        ]
    return generator, scales[0] if len(scales) == 1 else MultiScale(scales)


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
        # The core's weights of the perceptual loss, as a list of tensors.
        self.pyramid = None
        self.steps = 0
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

    def load_vectors(self, vectors):
        """The vectors of the discriminator's spectral norms, by the core's names, as `down.0.conv.left`."""
        for name, vector in vectors.items():
            self.discriminator.get_submodule(name.removesuffix(".left")).left = vector

    def iterate(self):
        """Does the power iteration of a step."""
        for layer in self.discriminator.modules():
            if getattr(layer, "left", None) is not None:
                layer.left, _ = iterated(layer.weight, layer.left)

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
            for scale in range(self.config["discriminator_scales"])
            for k, c in enumerate(channels, scale)
        ]

    def _swap(self, human, worn, target):
        paint, mask = self.generator(human, worn, target)
        return composite(human, paint, mask), mask

    def _judge(self, human, article, noise, draws, features=None):
        human, article = (objectives.augmented(x, draws, side, self.config) for side, x in enumerate((human, article)))
        return self.discriminator(human, article, noise, features).float()

    def _loss_d(self, human, worn, target, swapped, noise, draws=None):
        logits = self._judge(
            torch.cat([human, swapped, human]),
            torch.cat([worn, target, target]),
            noise,
            (draws or {}).get("augment/discriminator"),
        )
        batch = len(human)
        return objectives.discriminator_loss(self.config["adversarial_loss"], *logits.split(batch))

    def _r1(self, human, worn, noise, draws):
        """The penalty of one step of `r1_every`, in a pass of its own over the matched pairs."""
        human, worn = human.clone().requires_grad_(), worn.clone().requires_grad_()
        noise = noise and [layer[: len(human)] for layer in noise]
        draws = (draws or {}).get("augment/discriminator")
        logits = self._judge(human, worn, noise, draws if draws is None else draws[: len(human)])
        return objectives.r1(logits, human, worn) * self.config["r1_every"]

    def _restored(self, swapped, worn, target, draws):
        if self.config["reverse"] == "through":
            return self._swap(swapped, target, worn)[0]
        swapped = swapped.detach()
        paint, mask = self.generator(swapped + draws.get("reverse", 0.0), target, worn)
        return composite(swapped, paint, mask)

    def _seen(self, pictures):
        return objectives.pyramid(
            self.pyramid, 2 * pictures - 1 if self.config["architecture"] == "vasily" else pictures
        )

    def _loss_g(self, human, worn, target, swapped, mask, noise, draws=None):
        config, seen, draws = self.config, [], draws or {}
        augment = draws.get("augment/generator")
        restored = self._restored(swapped, worn, target, draws)
        logits = self._judge(swapped, target, noise, augment, seen)
        terms = {
            "adversarial": (1, objectives.generator_loss(config["adversarial_loss"], logits)),
            "identity": (config["identity_weight"], mask.abs().mean()),
            "cycle": (config["cycle_weight"], (human - restored).abs().mean()),
        }
        same = self._swap(human, worn, worn)[0] if config["self_swap_weight"] else None
        if config["self_swap_weight"]:
            terms["self_swap"] = config["self_swap_weight"], (human - same).abs().mean()
        if config["mask_tv_weight"]:
            terms["mask_tv"] = config["mask_tv_weight"], objectives.total_variation(mask)
        if config["mask_binary_weight"]:
            terms["mask_binary"] = config["mask_binary_weight"], objectives.binary(mask)
        if config["feature_weight"]:
            wanted = []
            self._judge(human, worn, noise, augment, wanted)
            terms["feature"] = config["feature_weight"], objectives.features(wanted, seen)
        if config["perceptual_weight"]:
            pictures = [restored] if same is None else [restored, same]
            apart = [objectives.features(self._seen(human), self._seen(picture)) for picture in pictures]
            terms["perceptual"] = config["perceptual_weight"], sum(apart) / len(apart)
        return sum(weight * term for weight, term in terms.values()), {name: term for name, (_, term) in terms.items()}

    def step(self, human, worn, target, noise_d=None, noise_g=None, draws=None):
        human, worn, target = (x.contiguous(memory_format=self.format) for x in (human, worn, target))
        if noise_d is None:
            noise_d, noise_g = self.draw_noise(3 * len(human)), self.draw_noise(len(human))
        self.iterate()
        with self.autocast():
            swapped, mask = self.swap(human, worn, target)
            swapped, mask = swapped.float(), mask.float()
            loss_d, r1 = self.loss_d(human, worn, target, swapped.detach(), noise_d, draws), {}
            if self.config["r1_weight"]:
                on = self.steps % self.config["r1_every"] == 0
                r1 = {"loss/discriminator/r1": self._r1(human, worn, noise_d, draws) if on else torch.zeros(())}
                loss_d = loss_d + self.config["r1_weight"] * r1["loss/discriminator/r1"]
        self.steps += 1
        self.adam_d.zero_grad()
        loss_d.backward()
        self.adam_d.step()

        self.discriminator.requires_grad_(False)
        with self.autocast():
            loss_g, terms = self.loss_g(human, worn, target, swapped, mask, noise_g, draws)
        self.adam_g.zero_grad()
        loss_g.backward()
        self.adam_g.step()
        self.discriminator.requires_grad_(True)
        return {
            "loss/discriminator": loss_d.detach(),
            **{name: term.detach() for name, term in r1.items()},
            "loss/generator": loss_g.detach(),
            **{f"loss/generator/{name}": term.detach() for name, term in terms.items()},
        }
