"""The optimizer: the generator's average, rates and their schedules, clipping, frozen layers."""

import re

import cagan
import numpy as np
import pytest
from helpers import read_tensors


def states(pairs, steps, network="generator", **settings):
    """Returns the weights at the start and after each step."""
    trainer = cagan.Trainer(pairs, cagan.Config("smoke", threads=1, **settings))
    found = [trainer.state(network)]
    for _ in range(steps):
        trainer.run(1)
        found.append(trainer.state(network))
    return found


def test_snapshots_are_of_the_average(pairs, tmp_path):
    """Repeats the average in numpy: its half-life grows with the images; it moves every eighth step and at the end."""
    settings = {"ema_images": 120, "ema_rampup": 0.5}
    steps, batch = 19, 4
    saves = {"snapshot_every": 1, "checkpoint_every": 19}
    run = cagan.train(pairs, tmp_path, "smoke", steps=steps, threads=1, progress=False, **settings, **saves)
    plain = states(pairs, steps)
    average, last = plain[0], 0
    for step in range(1, steps + 1):
        half_life = min(120, step * batch * 0.5)
        keep = 0.5 ** ((step - last) * batch / half_life)
        now = {name: keep * average[name] + (1 - keep) * value for name, value in plain[step].items()}
        if step % 8 == 0:
            average, last = now, step
        _, snapshot = read_tensors(tmp_path / "snapshots" / f"step_{step:08}.safetensors")
        assert all(np.abs(snapshot[name] - now[name]).max() < 1e-6 for name in now)
    # The average does not change the weights themselves.
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    _, arrays = read_tensors(checkpoint)
    assert all(np.array_equal(arrays[f"generator.{name}"], value) for name, value in plain[steps].items())
    apart = max(np.abs(arrays[f"generator.{name}"] - value).max() for name, value in now.items())
    assert apart > 1e-5
    assert run.swapper().step == steps


def test_the_average_goes_on_with_the_run(pairs, tmp_path):
    settings = {"ema_images": 60, "threads": 1, "progress": False}
    whole = cagan.train(pairs, tmp_path / "whole", "smoke", steps=12, **settings)
    for steps in (5, 9, 12):
        parts = cagan.train(pairs, tmp_path / "parts", "smoke", steps=steps, **settings)
    assert whole.snapshots[-1].read_bytes() == parts.snapshots[-1].read_bytes()


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_rates_by_network_and_schedule(pairs, network):
    """Adam's first step moves a weight by its rate, whatever its gradient; at the end of a schedule nothing moves."""
    rates = {"generator": 1e-3, "discriminator": 4e-3}
    settings = {"learning_rate": 1e-3, "discriminator_learning_rate": 4e-3, "adam_epsilon": 1e-12}
    first, second = states(pairs, 1, network, **settings)
    moved = np.concatenate([np.abs(second[name] - first[name]).ravel() for name in first])
    assert abs(np.median(moved[moved > 0]) / rates[network] - 1) < 1e-2
    # 4 images a step: full at 0, half at 4, nothing from 8 on.
    linear = states(pairs, 4, network, schedule="linear", schedule_end=8)
    constant = states(pairs, 4, network)

    def way(found, step):
        return sum(np.abs(found[step + 1][name] - found[step][name]).sum() for name in found[0])

    assert way(linear, 0) == way(constant, 0)
    assert 0.35 < way(linear, 1) / way(constant, 1) < 0.65
    assert way(linear, 2) == way(linear, 3) == 0


def test_long_gradients_are_shortened(pairs):
    def norms(**settings):
        trainer = cagan.Trainer(pairs, cagan.Config("smoke", threads=1, **settings))
        trainer.run(1)
        return [
            np.sqrt(sum((g.astype(np.float64) ** 2).sum() for g in trainer.gradients(network).values()))
            for network in ("generator", "discriminator")
        ]

    plain = norms()
    assert norms(gradient_clip=1e5) == plain
    short = norms(gradient_clip=min(plain) / 3)
    assert np.allclose(short, min(plain) / 3, rtol=1e-4)


@pytest.mark.parametrize("settings", [{}, {"architecture": "paper"}, {"discriminator_scales": 2, "image_size": 128}])
def test_frozen_layers_stay(pairs, settings):
    frozen = states(pairs, 3, "discriminator", **settings, freeze_discriminator=2)
    moved = {name for name, value in frozen[0].items() if not np.array_equal(value, frozen[3][name])}
    stays = {name for name in frozen[0] if re.match(r"(scale\.\d\.)?down\.[01]\.", name)}
    assert len(stays) >= 4 * settings.get("discriminator_scales", 1)
    # The gradient of a bias before a norm is rounding, so it may stay as well.
    assert not moved & stays
    assert {name for name in frozen[0] if name.endswith("weight")} - stays <= moved
