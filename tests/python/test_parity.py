"""The core against the plain PyTorch twin: same weights, same triplets, same noise."""

import cagan
import numpy as np
import pytest
import torch
from conftest import FORWARD, GRADIENT
from reference import Twin
from twins import close, distance, draws, move_weights, tensors, vectors

torch.set_num_threads(1)

CASES = {
    "vasily": ("vasily", {"width": 32, "image_size": 64, "batch_size": 3}),
    "vasily, not square, odd batch": ("vasily", {"width": 16, "image_size": (64, 96), "batch_size": 5}),
    "vasily without noise": ("vasily", {"width": 16, "image_size": 64, "batch_size": 1, "discriminator_noise": 0.0}),
    "paper": ("paper", {"width": 32, "image_size": (64, 48), "batch_size": 3}),
    "paper, copies of the target": (
        "paper",
        {"width": 16, "image_size": 32, "batch_size": 5, "generator_copies": "target"},
    ),
    "paper, no copies, noise": (
        "paper",
        {"width": 16, "image_size": (32, 48), "batch_size": 2, "generator_copies": "none", "discriminator_noise": 0.2},
    ),
    "paper, copies in D": ("paper", {"width": 16, "image_size": 48, "batch_size": 3, "discriminator_copies": True}),
}

# Each objective alone, and all of them together in both presets.
SMALL = {"vasily": {"width": 16, "image_size": 64}, "paper": {"width": 16, "image_size": (32, 48)}}
OBJECTIVES = {
    "hinge": ("paper", {"adversarial_loss": "hinge"}),
    "hinge with a linear head": ("vasily", {"adversarial_loss": "hinge"}),
    "least squares": ("paper", {"adversarial_loss": "least_squares"}),
    "least squares with a linear head": ("vasily", {"adversarial_loss": "least_squares"}),
    "detached": ("paper", {"reverse": "detached"}),
    "detached, noise": ("paper", {"reverse": "detached", "reverse_noise": 0.1}),
    "detached, noise, values in [0, 1]": ("vasily", {"reverse": "detached", "reverse_noise": 0.1}),
    "self-swap": ("paper", {"self_swap_weight": 3.0}),
    "total variation": ("paper", {"mask_tv_weight": 20.0}),
    "binary": ("vasily", {"mask_binary_weight": 20.0}),
    "feature matching": ("paper", {"feature_weight": 10.0}),
    "feature matching under noise": ("vasily", {"feature_weight": 10.0}),
    "perceptual": ("paper", {"perceptual_weight": 10.0}),
    "perceptual, values in [0, 1], self-swap": ("vasily", {"perceptual_weight": 10.0, "self_swap_weight": 3.0}),
    "R1": ("paper", {"r1_weight": 3.0, "r1_every": 2}),
    "R1 under noise, with a linear head": ("vasily", {"r1_weight": 3.0, "r1_every": 3}),
    "colours": ("paper", {"augment_colour": True}),
    "colours in [0, 1]": ("vasily", {"augment_colour": True}),
    "translation": ("paper", {"augment_translation": True}),
    "cutout": ("vasily", {"augment_cutout": True}),
    "no norm in D": ("paper", {"discriminator_norm": "none"}),
    "no norm in D, linear head": ("vasily", {"discriminator_norm": "none"}),
    "spectral norm": ("paper", {"discriminator_spectral_norm": True}),
    "spectral norm, linear head, no other": (
        "vasily",
        {"discriminator_spectral_norm": True, "discriminator_norm": "none"},
    ),
    "two scales": ("paper", {"discriminator_scales": 2, "image_size": (64, 32), "feature_weight": 10.0}),
    "two scales, copies, noise": (
        "paper",
        {"discriminator_scales": 2, "image_size": 64, "discriminator_noise": 0.1, "discriminator_copies": True},
    ),
    "two linear heads": ("vasily", {"discriminator_scales": 2, "image_size": (64, 128), "r1_weight": 1.0}),
}
ALL = {"adversarial_loss": "least_squares", "reverse": "detached", "reverse_noise": 0.05, "self_swap_weight": 1.0}
ALL |= {"mask_tv_weight": 2.0, "mask_binary_weight": 0.5, "feature_weight": 4.0, "perceptual_weight": 3.0}
ALL |= {"r1_weight": 0.3, "r1_every": 2, "augment_colour": True, "augment_translation": True, "augment_cutout": True}
ALL |= {"discriminator_spectral_norm": True, "discriminator_scales": 2, "image_size": (128, 64)}
OBJECTIVES |= {f"all, {preset}": (preset, ALL) for preset in SMALL}
CASES |= {name: (preset, {"batch_size": 3} | SMALL[preset] | more) for name, (preset, more) in OBJECTIVES.items()}


@pytest.fixture(params=CASES)
def both(request, tmp_path):
    preset, overrides = CASES[request.param]
    config = cagan.Config(preset, seed=4, **overrides)
    trainer = cagan.Trainer(cagan.dolls(tmp_path, count=9, size=(64, 64)), config)
    twin = Twin(config.to_dict())
    twin.pyramid = tensors(trainer.perceptual().values())
    move_weights(trainer, twin)
    return trainer, twin


def take(trainer, twin, step):
    """Takes one step of both and returns the losses of each."""
    triplet = tensors(trainer.triplet(step))
    noise_d, noise_g = (tensors(noise) or None for noise in trainer.noise(step))
    return trainer.run(1), twin.step(*triplet, noise_d, noise_g, draws(trainer, step))


def test_forward(both):
    trainer, twin = both
    triplet = trainer.triplet(0)
    composite, paint, mask = trainer.swap(*triplet)
    twin_paint, twin_mask = twin.generator(*tensors(triplet))
    twin_composite = twin_mask * twin_paint + (1 - twin_mask) * torch.from_numpy(triplet[0])
    close(paint, twin_paint, FORWARD, "paint")
    close(mask, twin_mask, FORWARD, "mask")
    close(composite, twin_composite, FORWARD, "composite")
    assert mask.std() > 1e-3, "a constant mask would agree with anything"
    logits = trainer.score(triplet[0], triplet[2])
    close(logits, twin.discriminator(*tensors([triplet[0], triplet[2]])), FORWARD, "logits")


def in_double(trainer, twin):
    """Copies the twin in float64."""
    exact = Twin(twin.config)
    for name in ("generator", "discriminator"):
        getattr(exact, name).load_state_dict(getattr(twin, name).state_dict())
        getattr(exact, name).double()
    exact.pyramid = [weight.double() for weight in twin.pyramid]
    exact.load_vectors({name: vector.double() for name, vector in vectors(trainer).items()})
    return exact


def take_in_double(trainer, exact, step):
    triplet = [t.double() for t in tensors(trainer.triplet(step))]
    noise = [[t.double() for t in tensors(noise)] or None for noise in trainer.noise(step)]
    exact.step(*triplet, *noise, {name: t.double() for name, t in draws(trainer, step).items()})


def test_one_step_has_the_same_losses_gradients_and_update(both):
    trainer, twin = both
    exact = in_double(trainer, twin)
    take_in_double(trainer, exact, 0)
    mine, other = take(trainer, twin, 0)
    assert set(other) == {key for key in mine if key.startswith("loss/")}
    for key, value in other.items():
        close(mine[key], value, GRADIENT, key)
    for name in ("generator", "discriminator"):
        network = getattr(twin, name)
        gradients, state = trainer.gradients(name), trainer.state(name)
        assert set(gradients) == {key for key, _ in network.named_parameters()}
        for key, parameter in network.named_parameters():
            # The gradient of a bias before a norm is rounding: it is compared at the scale of its convolution's.
            neighbour = dict(network.named_parameters())[key.replace("bias", "weight")]
            error = np.abs(gradients[key] - parameter.grad.numpy()).max()
            scale = max(float(p.grad.abs().max()) for p in (parameter, neighbour))
            # Where gradients of gradients cancel, the twin's own rounding may exceed the tolerance.
            truth = getattr(exact, name).get_parameter(key).grad
            rounding = float((parameter.grad - truth).abs().max())
            assert error < GRADIENT * scale + 2 * rounding, f"{name}.{key}: {error / scale}, {rounding / scale}"
            assert rounding < 10 * GRADIENT * scale, f"{name}.{key}: {rounding / scale}"
        # Adam's first step is the rate times the gradient's sign, also where the gradient is only rounding.
        before_norm = {key.replace("norm.weight", "conv.bias") for key in state if key.endswith("norm.weight")}
        compared = [(key, p) for key, p in network.named_parameters() if key not in before_norm]
        moved = [np.abs(state[key] - p.detach().numpy()).mean() for key, p in compared]
        assert np.mean(moved) < 0.02 * trainer.config.learning_rate, name


def test_ten_steps_stay_as_near_to_float64_as_the_twin(both):
    """Adam turns the rounding of near-zero gradients into steps, so float32 runs part; a float64 run says how far."""
    trainer, twin = both
    exact = in_double(trainer, twin)
    names = ("generator", "discriminator")
    start = {name: trainer.state(name) for name in names}
    for step in range(10):
        take_in_double(trainer, exact, step)
        mine, other = take(trainer, twin, step)
        for key, value in other.items():
            close(mine[key], value, 5e-3, f"step {step} {key}")
    for name in names:
        state, truth = trainer.state(name), getattr(exact, name).state_dict()
        moved = distance(state, start[name])
        mine, other = (distance(s, truth) / moved for s in (state, getattr(twin, name).state_dict()))
        assert moved > 0.02
        assert mine < 3 * other + 0.03, f"{name}: {mine}, the twin {other}"


def test_adam_equals_torch_adam_over_ten_steps(tmp_path):
    """Compares the core's parameters with those of torch.optim.Adam under the core's gradients."""
    config = cagan.Config("paper", width=16, image_size=32, batch_size=2, learning_rate=3e-3, adam_epsilon=1e-6)
    for name in ("generator", "discriminator"):
        trainer = cagan.Trainer(cagan.dolls(tmp_path, count=4, size=(32, 48)), config)
        parameters = {k: torch.nn.Parameter(torch.from_numpy(v)) for k, v in trainer.state(name).items()}
        adam = torch.optim.Adam(parameters.values(), lr=3e-3, betas=(0.5, 0.999), eps=1e-6)
        for _ in range(10):
            trainer.run(1)
            for key, gradient in trainer.gradients(name).items():
                parameters[key].grad = torch.from_numpy(gradient)
            adam.step()
        for key, value in trainer.state(name).items():
            np.testing.assert_allclose(value, parameters[key].detach().numpy(), rtol=1e-5, atol=1e-6, err_msg=key)


def test_parameter_counts_of_the_article(tmp_path):
    pairs = cagan.dolls(tmp_path, count=2, size=(16, 16))
    trainer = cagan.Trainer(pairs, cagan.Config("vasily", batch_size=1))
    count = {name: sum(v.size for v in trainer.state(name).values()) for name in ("generator", "discriminator")}
    assert count == {"generator": 5_522_436, "discriminator": 6_990_017}


@pytest.mark.parametrize("preset", ["vasily", "paper"])
def test_bfloat16_is_the_same_step_rounded(preset, tmp_path):
    pairs = cagan.dolls(tmp_path, count=6, size=(64, 64))
    config = cagan.Config(preset, width=32, image_size=64, batch_size=3)
    exact, rounded = (cagan.Trainer(pairs, config.replace(precision=p)) for p in ("fp32", "bf16"))
    mine, other = exact.run(1), rounded.run(1)
    for key in mine:
        assert abs(mine[key] - other[key]) < 0.05 * max(1, abs(mine[key])), key
    for name in ("generator", "discriminator"):
        a, b = (np.concatenate([v.ravel() for v in t.gradients(name).values()]) for t in (exact, rounded))
        assert np.dot(a, b) / np.linalg.norm(a) / np.linalg.norm(b) > 0.95, name
        assert all(v.dtype == np.float32 for v in rounded.state(name).values())


def test_tf32_on_a_cpu_is_fp32(pairs):
    exact, rounded = (cagan.Trainer(pairs, cagan.Config("smoke", precision=p, threads=1)) for p in ("fp32", "tf32"))
    for trainer in (exact, rounded):
        trainer.run(2)
    one, other = exact.state("generator"), rounded.state("generator")
    assert one
    assert all(np.array_equal(one[name], other[name]) for name in one)
