"""Coarse to fine: kisekae begins with small pictures and goes over to larger ones inside a run."""

import json
from pathlib import Path

import cagan
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from cagan import torch_module
from conftest import FORWARD
from helpers import StopError, assert_same_end, checkpoints, read_tensors, refusal, stop_at, write_tensors
from reference.kisekae import KisekaeTwin
from twins import NETWORKS, close, draws, move_weights, tensors, vectors

STAGES = {"place_after": 0, "judge_after": 0}
SMALL = {"width": 32, "batch_size": 2, "threads": 1, "monitor_every": 0, "place_after": 2, "judge_after": 2}
TRAIN = SMALL | {
    "preset": "kisekae",
    "progress": False,
    "sample_humans": 2,
    "sample_articles": 1,
    "schedule": "constant",
}
OFTEN = {"checkpoint_every": 1, "snapshot_every": 1, "log_every": 1, "keep_checkpoints": 9}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return cagan.dolls(tmp_path_factory.mktemp("dolls"), count=6, size=(96, 96), swaps=0)


@pytest.fixture(scope="module")
def whole(pairs, tmp_path_factory):
    """Returns a run with one step of each size but the last, and two of that."""
    folder = tmp_path_factory.mktemp("whole")
    return cagan.train(pairs, folder, image_size=192, steps=4, full_size_after=4, **OFTEN, **TRAIN)


# Settings


def test_sizes_are_stages():
    config = cagan.Config(image_size=(256, 192), images=41_600)
    assert config.stages(779)[-2:] == [("128 x 96", 20_800), ("256 x 192", 31_200)]
    # 4/7, 6/7 and all of 7,000 images: 4,000, 2,000 and 1,000 of them.
    config = cagan.Config(image_size=(512, 384), full_size_after=7000)
    assert [first for name, first in config.stages(9) if "x" in name] == [4000, 6000, 7000]
    assert cagan.Config(image_size=(256, 192), images=41_600, full_size_after=0).stages(9)[-1] == ("judge", 20_000)
    assert [name for name, _ in cagan.Config().stages(779)] == ["locate", "place", "judge"]
    # The shortest runs reach it too.
    assert [cagan.Config(image_size=96, steps=n).resolved(9).full_size_after for n in (1, 2, 3)] == [0, 8, 16]
    refusal(ValueError, lambda: cagan.Config("paper", full_size_after=5), "full_size_after", "no use for it")


def test_a_size_beyond_the_end_is_a_warning(pairs, tmp_path):
    with pytest.warns(UserWarning, match="full_size_after: 40 images, but the run ends at 2: no picture is as large"):
        cagan.train(pairs, tmp_path, image_size=96, steps=1, full_size_after=40, **TRAIN | STAGES)


# The run


def test_a_run_tells_its_sizes(whole):
    assert [line["height"] for line in whole.stats] == [48, 96, 192, 192]
    assert whole.config.image_size == (192, 192)
    assert whole.stages[-2:] == [("96 x 96", 1), ("192 x 192", 2)]
    sizes = [cagan.Swapper(path).config.image_size[0] for path in whole.snapshots]
    assert sizes == [96, 192, 192, 192], "networks grow after the last step of a size"


@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_stop_in_any_stage_changes_nothing(pairs, whole, tmp_path, step):
    settings = {"image_size": 192, "steps": 4, "full_size_after": 4, **OFTEN, **TRAIN}
    with pytest.raises(StopError):
        cagan.train(pairs, tmp_path, on_event=stop_at(step), **settings)
    assert_same_end(cagan.train(pairs, tmp_path, **settings).path, whole.path)


def test_a_run_goes_on_from_an_earlier_stage(pairs, whole, tmp_path):
    """A longer run that ended before larger pictures goes over to them; so does one whose last checkpoint is lost."""
    settings = {"image_size": 192, "full_size_after": 4, **OFTEN, **TRAIN}
    short = cagan.train(pairs, tmp_path, steps=2, **settings)
    assert cagan.Swapper(short.snapshots[-1]).config.image_size == (96, 96)
    checkpoints(tmp_path)[-1].write_bytes(b"damaged")
    with pytest.warns(UserWarning, match="going on from step 1"):
        longer = cagan.train(pairs, tmp_path, steps=4, **settings)
    assert_same_end(longer.path, whole.path)


def test_pictures_of_an_early_stage_are_means(pairs):
    config = cagan.Config("kisekae", **SMALL, image_size=192)
    small, large = (cagan.Trainer(pairs, config.replace(full_size_after=first)) for first in (100, 0))
    for mine, whole in zip(small.triplet(3), large.triplet(3), strict=True):
        assert np.abs(mine - F.avg_pool2d(torch.from_numpy(whole), 4).numpy()).max() < 1e-6


# Growth


def test_growth_keeps_tensors_and_moments_and_adds_nothing(pairs, tmp_path):
    """A run that stops before the enlargement has the same tensors as one that stops after it."""
    settings = TRAIN | {"image_size": 96, "checkpoint_every": 2, "ema_images": 50, "monitor_every": 1}
    cagan.train(pairs, tmp_path / "before", steps=2, full_size_after=4, **settings)
    with pytest.raises(StopError):
        cagan.train(pairs, tmp_path / "after", steps=3, full_size_after=4, on_event=stop_at(2), **settings)
    (header, before), (grown, after) = (read_tensors(checkpoints(tmp_path / name)[-1]) for name in ("before", "after"))
    assert [json.loads(entries["image_size"]) for entries in (header, grown)] == [[48, 48], [96, 96]]
    # Scores of other sizes do not compare.
    assert [json.loads(entries["monitor"])["height"] for entries in (header, grown)] == [48, 96]
    assert all(np.array_equal(after[name], array) for name, array in before.items())
    new = {name: array for name, array in after.items() if name not in before}
    assert {name.split(".")[0] for name in new} == {
        "generator", "generator_ema", "generator_adam"
    }, "the discriminator has no size"  # fmt: skip
    for name, array in new.items():
        assert ".finer.0." in name
        if name.startswith("generator_adam.") or ".out." in name:
            assert not array.any(), name
        elif name.startswith("generator_ema."):
            assert np.array_equal(array, after[name.replace("generator_ema.", "generator.")])


def grown(twin, trainer):
    """Makes the larger twin: the smaller one's weights and moments by name, and the core's for what is new."""
    larger = KisekaeTwin(trainer.config.to_dict())
    larger.steps = twin.steps
    larger.load_vectors(vectors(trainer))
    for name, adam in (("generator", "adam_g"), ("discriminator", "adam_d")):
        own, net, old = trainer.state(name), getattr(larger, name), getattr(twin, name)
        kept = dict(old.named_parameters())
        net.load_state_dict({key: kept.get(key, torch.from_numpy(array)) for key, array in own.items()})
        moments = getattr(twin, adam).state
        count = next((state["step"] for state in moments.values()), torch.zeros(()))
        for key, parameter in net.named_parameters():
            state = moments[kept[key]] if key in kept else {}
            getattr(larger, adam).state[parameter] = {
                "step": count.clone(),
                **{k: state.get(k, torch.zeros_like(parameter)).clone() for k in ("exp_avg", "exp_avg_sq")},
            }
    return larger


def test_a_step_after_the_enlargement_is_the_twins(pairs):
    settings = {"batch_size": 4, "place_after": 0, "judge_after": 0, "learning_rate": 1e-4, "seed": 4}
    trainer = cagan.Trainer(pairs, cagan.Config("kisekae", **SMALL | settings, image_size=96, full_size_after=4))
    twin = KisekaeTwin(trainer.config.to_dict() | {"image_size": (48, 48)})
    move_weights(trainer, twin)
    for step, height in enumerate((48, 96)):
        triplet, drawn = tensors(trainer.triplet(step)), draws(trainer, step)
        assert triplet[0].shape == (4, 3, height, height)
        start = {name: trainer.state(name) for name in NETWORKS}
        if step == 1:
            twin = grown(twin, trainer)
        other, mine = twin.step(*triplet, drawn), trainer.run(1)
        for key, value in other.items():
            close(mine[key], value, 1e-2 if key == "mask/area" else 5e-3, f"step {step} {key}")
    for name in NETWORKS:
        moved = {key: array - start[name][key] for key, array in trainer.state(name).items()}
        apart = [
            np.abs(moved[key] - (parameter.detach().numpy() - start[name][key])).mean() / np.abs(moved[key]).mean()
            for key, parameter in getattr(twin, name).named_parameters()
            if moved[key].any()
        ]
        assert len(apart) > 10
        assert np.median(apart) < 0.05, (name, np.median(apart))


def test_a_grown_network_is_the_small_one_doubled():
    config = {"width": 32, "mask_cut": 0.5}
    torch.manual_seed(0)
    small, large = (torch_module.Kisekae(config | {"image_size": (side, side)}) for side in (48, 192))
    state = large.state_dict() | small.state_dict()
    large.load_state_dict({k: v * 0 if ".finer." in k and ".out." in k else v for k, v in state.items()})
    human, worn = torch.rand(2, 3, 192, 192) * 2 - 1, torch.rand(2, 3, 192, 192) * 2 - 1
    with torch.no_grad():
        logits = small.locate(F.avg_pool2d(human, 4), F.avg_pool2d(worn, 4))
        for _ in range(2):
            logits = F.interpolate(logits, scale_factor=2, mode="bilinear")
        assert (large.locate(human, worn) - logits).abs().max() < 1e-4
        # Frames need no detail.
        region = torch.rand(2, 1, 192, 192)
        frame = small.frames.of_article(F.avg_pool2d(worn, 4), F.avg_pool2d(region, 4))
        assert (large.frames.of_article(worn, region) - frame).abs().max() < 1e-4


# Snapshots


def test_a_snapshot_of_large_pictures_is_the_modules(whole, pairs):
    swapper, module = cagan.Swapper(whole.snapshots[-1]), torch_module.load(whole.snapshots[-1])
    trainer = cagan.Trainer(pairs, whole.config.replace(full_size_after=0))
    trainer.load_state("generator", {k: v.numpy() for k, v in module.state_dict().items()})
    triplet = trainer.triplet(0)
    composite, paint, mask = trainer.swap(*triplet)
    with torch.no_grad():
        other, soft = module.generate(*tensors(triplet))
    assert np.mean(np.abs(mask - soft.numpy()) < 10 * FORWARD) > 0.9
    assert np.mean(np.abs(paint - other.numpy()) < 0.01) > 0.9
    assert composite.shape == (2, 3, 192, 192)
    assert swapper.config.image_size == (192, 192)


def test_a_large_snapshot_of_an_earlier_design_is_refused(whole, tmp_path):
    entries, arrays = read_tensors(whole.snapshots[-1])
    write_tensors(tmp_path / "old.safetensors", entries, {k: v for k, v in arrays.items() if ".finer." not in k})
    for load in (cagan.Swapper, torch_module.load):
        refusal(ValueError, lambda load=load: load(tmp_path / "old.safetensors"), "painter.finer.", "earlier design")


def test_a_run_begins_with_networks_of_smaller_pictures(pairs, whole, tmp_path):
    small, _, large, _ = whole.snapshots
    still = TRAIN | {"steps": 1, "learning_rate": 1e-30, "place_after": "100%", "judge_after": "100%"}
    begun = cagan.train(pairs, tmp_path / "a", image_size=192, full_size_after=0, init_from=str(small), **still)
    (_, theirs), (_, mine) = read_tensors(small), read_tensors(begun.snapshots[-1])
    assert any(".finer.0." in name for name in theirs)
    assert all(np.abs(mine[name] - array).max() < 1e-20 for name, array in theirs.items())
    assert all(np.abs(array).max() < 1e-20 for name, array in mine.items() if ".finer.1.out." in name)
    refusal(
        ValueError,
        lambda: cagan.train(
            pairs, tmp_path / "b", image_size=192, full_size_after="100%", init_from=str(large), **still
        ),
        "pictures up to 48 x 48",
        "4 times as large",
        "full_size_after=0",
    )


def test_the_weights_of_the_package_begin_large_pictures(pairs):
    packaged = cagan.Swapper("dolls").config
    height, width = packaged.image_size
    config = packaged.replace(image_size=(2 * height, 2 * width), init_from="dolls", full_size_after=0, batch_size=2)
    trainer = cagan.Trainer(pairs, config)
    module = torch_module.load(Path(cagan.__file__).parent / "weights" / "dolls.safetensors")
    state = trainer.state("generator")
    assert all(np.array_equal(state[name], values.numpy()) for name, values in module.state_dict().items())
    assert np.isfinite(trainer.run(1)["loss/generator"])
