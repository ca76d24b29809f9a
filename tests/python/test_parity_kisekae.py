"""The core's preset kisekae against plain PyTorch: same weights, same triplets, same draws, in each of its phases."""

import numpy as np
import pytest
import torch
from conftest import FORWARD, GRADIENT
from reference.kisekae import KisekaeTwin
from twins import NETWORKS, close, distance, draws, kisekae_twins, tensors, vectors

torch.set_num_threads(1)

NEVER = 10**6
# The number of images at which each phase begins: never, or with the first step.
BLOBS, MASKS, JUDGED = (
    {"place_after": place, "judge_after": judge} for place, judge in ((NEVER, NEVER), (0, NEVER), (0, 0))
)
CASES = {
    "blobs": BLOBS,
    "masks": MASKS,
    "judged": JUDGED,
    "blobs, not square": BLOBS | {"image_size": (64, 48), "batch_size": 4},
    "masks, not square": MASKS | {"image_size": (48, 64), "batch_size": 4},
    "judged, not square": JUDGED | {"image_size": (64, 48), "batch_size": 4},
    "masks, the worn article withheld": MASKS | {"withhold_worn": 1.0},
    "masks, sure registrations": MASKS | {"flat": True},
    "judged, larger": JUDGED | {"image_size": (96, 96), "full_size_after": 0, "batch_size": 2},
    "judged by the logistic loss, perceptual": JUDGED | {"adversarial_loss": "logistic", "perceptual_weight": 2.0},
    "judged by least squares, no spectral norm, shortened gradients": JUDGED
    | {"adversarial_loss": "least_squares", "discriminator_spectral_norm": False, "gradient_clip": 0.5},
}


def in_double(trainer, twin):
    """Copies the twin in float64."""
    exact = KisekaeTwin(twin.config, [weight.double() for weight in twin.pyramid])
    for name in NETWORKS:
        getattr(exact, name).load_state_dict(getattr(twin, name).state_dict())
        getattr(exact, name).double()
    exact.load_vectors({name: vector.double() for name, vector in vectors(trainer).items()})
    return exact


def take(trainer, step, twin, kind=torch.float32):
    """Takes one step of a twin with the core's draws."""
    triplet = [picture.to(kind) for picture in tensors(trainer.triplet(step))]
    return twin.step(*triplet, {name: values.to(kind) for name, values in draws(trainer, step).items()})


def swapped(generator, human, worn, target):
    """Returns a twin's swap as arrays, by their names."""
    paint, mask = generator.generate(human, worn, target)
    parts = {"image": mask * paint + (1 - mask) * human, "mask": mask, "paint": paint}
    return {name: part.numpy() for name, part in parts.items()}


@pytest.fixture(params=CASES)
def both(request, tmp_path):
    trainer, twin = kisekae_twins(tmp_path, **CASES[request.param])
    # Only a sure registration makes the votes count.
    assert "sure" not in request.param or (draws(trainer, 0)["confidence"] > 0.5).any()
    return trainer, twin


@pytest.mark.parametrize("size", [32, (64, 48), (48, 96), (192, 192)])
def test_forward(tmp_path, size):
    trainer, twin = kisekae_twins(tmp_path, image_size=size, full_size_after=0)
    triplet = trainer.triplet(0)
    human, worn, target = tensors(triplet)
    # The last worn article is not known. The tensors share the arrays' memory.
    triplet[1][-1] = -0.3
    composite, paint, mask = trainer.swap(*triplet)
    double = in_double(trainer, twin)
    with torch.no_grad():
        got, exact = (
            swapped(net, *(xs.to(kind) for xs in (human, worn, target)))
            for net, kind in ((twin.generator, torch.float32), (double.generator, torch.float64))
        )
        logits, exact_logits = twin.score(human, target), double.score(human.double(), target.double())
    assert 0.1 < exact["mask"].mean() < 0.9, "an empty mask would agree with anything"
    assert np.mean(np.abs(mask - exact["mask"]) < 10 * FORWARD) > 0.95
    found = trainer.score(triplet[0], triplet[2])
    assert (found.std(1) > 1e-3).all()
    got["logits"], exact["logits"] = (xs.numpy() / exact_logits.abs().max().item() for xs in (logits, exact_logits))
    mine = {"image": composite, "mask": mask, "paint": paint, "logits": found / exact_logits.abs().max().item()}
    for name, wanted in exact.items():
        apart, rounding = (np.abs(xs[name] - wanted).reshape(len(wanted), -1).max(1) for xs in (mine, got))
        # By picture, since masks may flip. Maps of random frames, and their correction, enlarge rounding.
        assert np.mean(apart < 5 * rounding + 10 * FORWARD) > 0.5, (name, apart, rounding)


def test_one_step_has_the_same_losses_gradients_and_update(both):
    trainer, twin = both
    exact = in_double(trainer, twin)
    truth = take(trainer, 0, exact, torch.float64)
    other = take(trainer, 0, twin)
    mine = trainer.run(1)
    assert set(other) == set(mine)
    assert (exact.located - exact.generator.begins).abs().min() > (exact.located - twin.located).abs().max()
    assert mine["mask/area"] == pytest.approx(float(truth["mask/area"]), abs=1e-7)
    for key, value in other.items():
        close(mine[key], value, GRADIENT, key)
    judged = trainer.config.judge_after == 0
    for name in NETWORKS:
        network = getattr(twin, name)
        gradients, state = trainer.gradients(name), trainer.state(name)
        assert set(gradients) == {key for key, _ in network.named_parameters()}
        if name == "discriminator" and not judged:
            assert not any(gradient.any() for gradient in gradients.values())
            assert all(np.array_equal(state[key], p.detach().numpy()) for key, p in network.named_parameters())
            continue
        moved, errors = [], []
        for key, parameter in network.named_parameters():
            if key.startswith(("placer.", "frames.")) and trainer.config.place_after > 0:
                # They begin to learn with the locator's masks.
                assert not gradients[key].any() and not parameter.grad.any(), key
                assert np.array_equal(state[key], parameter.detach().numpy()), key
                continue
            # The gradient of a bias before a norm of single channels is rounding: it is compared at its weight's scale.
            truths = {k: getattr(exact, name).get_parameter(k).grad for k in (key, key.replace("bias", "weight"))}
            scale = max(float(slope.abs().max()) for slope in truths.values())
            assert scale > 0, f"{name}.{key}"
            error, rounding = (
                np.abs(slope - truths[key].numpy()).max() / scale for slope in (gradients[key], parameter.grad.numpy())
            )
            errors.append(error)
            # Rounding may bring a value to the other side of the edge of a ReLU, of |x| or of a hinge, or of a
            # pixel that a flow reads: then the gradients of a few pixels jump.
            assert error < 50 * GRADIENT, f"{name}.{key}: {error}, {rounding}"
            # libtorch's float32 norms of nearly constant channels round coarsely; the core's are compared above.
            assert rounding < 1000 * GRADIENT, f"{name}.{key}: {rounding}"
            if not (key.endswith("conv.bias") and len(parameter) == 8):
                moved.append(np.abs(state[key] - parameter.detach().numpy()).mean())
        assert np.median(errors) < GRADIENT, name
        assert np.mean(moved) < 0.02 * trainer.config.learning_rate, name
    for name, vector in trainer.vectors().items():
        close(vector, twin.discriminator.get_submodule(name.removesuffix(".left")).left, GRADIENT, name)


def test_the_phases_follow_each_other(tmp_path):
    """One step in each phase with the same optimisers; the discriminator's begins in the third."""
    phases = {"batch_size": 4, "place_after": 4, "judge_after": 8, "schedule_start": 4, "schedule_end": 20}
    trainer, twin = kisekae_twins(tmp_path, **phases, learning_rate=1e-4)
    exact = in_double(trainer, twin)
    start = {name: trainer.state(name) for name in NETWORKS}
    for step in range(4):
        take(trainer, step, exact, torch.float64)
        other, mine = take(trainer, step, twin), trainer.run(1)
        assert (mine["loss/discriminator"] > 0) == (step >= 2)
        for key, value in other.items():
            close(mine[key], value, 1e-2 if key == "mask/area" else 5e-3, f"step {step} {key}")
    for name in NETWORKS:
        state, truth = trainer.state(name), getattr(exact, name).state_dict()
        moved = distance(state, start[name])
        mine, other = (distance(s, truth) / moved for s in (state, getattr(twin, name).state_dict()))
        assert mine < 3 * other + 0.03, f"{name}: {mine}, the twin {other}"
