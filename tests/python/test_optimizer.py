"""The average of the generator, rates and their schedules, clipping, and runs that go back when they diverge."""

import re

import cagan
import numpy as np
import pytest
from conftest import is_finite, read_tensors, refusal, write_tensors
from test_training import DIVERGING


def states(pairs, steps, network="generator", **settings):
    """The weights at the start and after each step."""
    trainer = cagan.Trainer(pairs, cagan.Config("smoke", threads=1, **settings))
    found = [trainer.state(network)]
    for _ in range(steps):
        trainer.run(1)
        found.append(trainer.state(network))
    return found


def test_snapshots_are_of_the_average(pairs, tmp_path):
    """Against the average written out: a half-life that grows with the images, at each eighth step and at the end."""
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
    # The average watches: the weights themselves are those of a run without it.
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


def test_a_run_that_diverges_goes_back_at_half_the_rate(pairs, tmp_path):
    """Three times at the most; then it stops as it would have, with the last good checkpoint in place."""
    warned = []
    note = lambda name, value: warned.append(value) if name == "warning" else None  # noqa: E731
    settings = DIVERGING | {"steps": 300, "log_every": 1, "checkpoint_every": 1, "threads": 1, "progress": False}
    with pytest.warns(UserWarning, match="going back to step"), pytest.raises(FloatingPointError, match="diverged"):
        cagan.train(pairs, tmp_path, "smoke", on_non_finite="rollback", on_event=note, **settings)
    found = [re.search(r"at step (\d+).* going back to step (\d+) and on at ([\d.]+) of", text) for text in warned]
    assert [float(match[3]) for match in found] == [0.5, 0.25, 0.125]
    assert all(int(match[2]) < int(match[1]) <= int(match[2]) + 1 for match in found)
    assert not is_finite(tmp_path / "failed.safetensors")
    newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
    assert is_finite(newest)
    # The slower rate is part of the state: the same call again gives up where this one did.
    assert read_tensors(newest)[0]["slowdown"] in ("0.125", "0.25")
    # The log has each step once.
    steps = [line["step"] for line in cagan.Run(tmp_path).stats]
    assert steps == list(range(1, len(steps) + 1))


def test_a_checkpoint_without_its_sum_is_not_believed(pairs, tmp_path):
    run = cagan.train(pairs, tmp_path / "run", "smoke", steps=2, threads=1, progress=False)
    (checkpoint,) = (run.path / "checkpoints").iterdir()
    write_tensors(checkpoint, *read_tensors(checkpoint))
    with pytest.raises(ValueError, match="expected `checksum` in the header"):
        cagan.train(pairs, run.path, "smoke", steps=3, threads=1, progress=False)


def weights(path, prefix=""):
    _, arrays = read_tensors(path)
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def equal(some, others):
    return list(some) == list(others) and all(np.abs(some[name] - others[name]).max() < 1e-20 for name in some)


def test_a_run_begins_with_the_networks_of_another(pairs, run, tmp_path):
    """From a snapshot the generator, from a checkpoint both; what is fresh is as in a run of its own."""
    (checkpoint,) = (run.path / "checkpoints").iterdir()
    # Rates so small that a step moves nothing but a zero, and that by next to nothing.
    still = {"steps": 1, "learning_rate": 1e-30, "threads": 1, "progress": False}
    fresh = cagan.train(pairs, tmp_path / "fresh", "smoke", **still)
    for name, source in (("snapshot", run.snapshots[-1]), ("checkpoint", checkpoint)):
        begun = cagan.train(pairs, tmp_path / name, "smoke", init_from=str(source), ema_images=50, **still)
        assert begun.config.init_from == str(source)
        (saved,) = (begun.path / "checkpoints").iterdir()
        (other,) = (fresh.path / "checkpoints").iterdir()
        for prefix in ("generator.", "generator_ema."):
            assert equal(weights(saved, prefix), weights(checkpoint, "generator."))
        assert not equal(weights(saved, "generator."), weights(other, "generator."))
        expected = checkpoint if name == "checkpoint" else other
        assert equal(weights(saved, "discriminator."), weights(expected, "discriminator."))
    # It is where the run begins, not where it goes on.
    again = cagan.train(pairs, tmp_path / "snapshot", "smoke", init_from="gone", ema_images=50, **still | {"steps": 2})
    assert again.stats[-1]["step"] == 2


def test_other_networks_are_no_beginning(pairs, run, tmp_path):
    begin = {"steps": 1, "threads": 1, "progress": False}
    parts = (run.snapshots[-1], "expected a tensor of shape")
    refusal(
        ValueError,
        lambda: cagan.train(pairs, tmp_path, "smoke", width=32, init_from=str(run.snapshots[-1]), **begin),
        *parts,
    )
    gone = str(tmp_path / "gone")
    refusal(FileNotFoundError, lambda: cagan.train(pairs, tmp_path, "smoke", init_from=gone, **begin), gone)
    (tmp_path / "text").write_text("no weights")
    path = str(tmp_path / "text")
    refusal(ValueError, lambda: cagan.train(pairs, tmp_path, "smoke", init_from=path, **begin), path, "safetensors")


@pytest.mark.parametrize("settings", [{}, {"architecture": "paper"}, {"discriminator_scales": 2, "image_size": 128}])
def test_frozen_layers_stay(pairs, settings):
    frozen = states(pairs, 3, "discriminator", **settings, freeze_discriminator=2)
    moved = {name for name, value in frozen[0].items() if not np.array_equal(value, frozen[3][name])}
    stays = {name for name in frozen[0] if re.match(r"(scale\.\d\.)?down\.[01]\.", name)}
    assert len(stays) >= 4 * settings.get("discriminator_scales", 1)
    # A bias before a norm has no gradient but noise, and may stay as well.
    assert not moved & stays
    assert {name for name in frozen[0] if name.endswith("weight")} - stays <= moved
