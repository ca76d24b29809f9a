"""The monitor: its numbers, its best generator, and its warning when a run collapses and only then."""

import warnings

import cagan
import numpy as np
import pytest
from helpers import checkpoints, read_tensors, same_tensors, write_tensors

SETTINGS = {"threads": 1, "progress": False}
# No weight moves at this rate.
STILL = {"learning_rate": 1e-30}


@pytest.fixture
def dyer(run, tmp_path):
    """A snapshot by hand: a mask of 0.75, and paint made of the first layer's view of the target."""
    entries, arrays = read_tensors(run.snapshots[-1])
    for array in arrays.values():
        array[:] = 0
    # The first layer averages the target's red and blue over 2 x 2 pixels; the last layer paints them with that.
    for channel, colour in ((0, 6), (1, 8)):
        arrays["down.0.conv.weight"][channel, colour, 1:3, 1:3] = 0.25
    arrays["up.3.conv.weight"][0, :2] = arrays["up.3.conv.weight"][1, 2] = 1
    # Four taps add up in a pixel: sigmoid(4 x - 2).
    arrays["up.3.conv.bias"][:] = -2, -2, -2, np.log(3)
    write_tensors(tmp_path / "dyer.safetensors", entries, arrays)
    return str(tmp_path / "dyer.safetensors")


def test_the_monitors_numbers(pairs, dyer, tmp_path):
    run = cagan.train(pairs, tmp_path / "run", "smoke", steps=3, monitor_every=3, init_from=dyer, **STILL, **SETTINGS)
    (look,) = run.looks
    assert look["step"] == 3
    assert look["monitor/mask_area"] == pytest.approx(0.75, abs=1e-3)
    assert 0 < look["monitor/paint_spread"] < 2
    # The sigmoid has slope 1 in the middle and less elsewhere; the mask takes a quarter, and the
    # articles' background, which is the same for all, more.
    assert 0.2 < look["monitor/colour_follows"] < 0.75
    expected = 1 - look["monitor/colour_follows"] + 0.1 * max(look["monitor/patch_distance"] - 1, 0)
    assert look["monitor/score"] == pytest.approx(expected, rel=1e-4)
    assert look["monitor/score"] < 1
    assert cagan.Swapper(run.best).step == look["monitor/best_step"] == 3


def test_a_generator_that_does_nothing_is_not_the_best(pairs, dyer, tmp_path):
    """The same generator with a closed mask, and with paint that ignores the target."""
    for name, change in (("closed", ("up.3.conv.bias", 3, -9)), ("deaf", ("up.3.conv.weight", slice(None), 0))):
        entries, arrays = read_tensors(dyer)
        array, at, value = change
        arrays[array][at] = value
        path = tmp_path / f"{name}.safetensors"
        write_tensors(path, entries, arrays)
        run = cagan.train(
            pairs, tmp_path / name, "smoke", steps=4, monitor_every=2, init_from=str(path), **STILL, **SETTINGS
        )
        for look in run.looks:
            assert look["monitor/colour_follows"] == pytest.approx(0, abs=1e-3)
            # A closed mask leaves a photo; flat paint behind half a mask does not.
            assert (look["monitor/patch_distance"] == pytest.approx(1, abs=1e-2)) == (name == "closed")
            assert look["monitor/best_step"] == 0
        assert run.best is None


def test_the_monitors_state_survives_a_stop(pairs, dyer, tmp_path):
    settings = {"monitor_every": 3, "snapshot_every": 10**6, "init_from": dyer}
    whole = cagan.train(pairs, tmp_path / "whole", "smoke", steps=14, **settings, **SETTINGS)
    for steps in (4, 7, 14):
        parts = cagan.train(pairs, tmp_path / "parts", "smoke", steps=steps, **settings, **SETTINGS)
    assert parts.looks == whole.looks
    assert len(parts.looks) == 4
    assert same_tensors(whole.best, parts.best)
    newest = [checkpoints(run.path)[-1] for run in (whole, parts)]
    assert read_tensors(newest[0])[0]["monitor"] == read_tensors(newest[1])[0]["monitor"]


def test_a_finished_run_is_not_looked_at_at_other_steps(pairs, dyer, tmp_path):
    """No checkpoint would hold the look, so that each call would make it again."""
    for every in (3, 2, 4, 4):
        events = []
        settings = {**SETTINGS, "init_from": dyer, "steps": 4, "monitor_every": every}
        settings["on_event"] = lambda event, _, events=events: events.append(event)
        run = cagan.train(pairs, tmp_path, "smoke", **settings)
        assert [line["step"] for line in run.looks] == [3]
        assert every == 3 or not {"look", "warning", "step"} & set(events)


@pytest.mark.parametrize("kept", [True, False], ids=["kept", "gone"])
def test_the_best_snapshot_goes_back_with_the_checkpoint(pairs, dyer, tmp_path, kept):
    settings = {"monitor_every": 2, "checkpoint_every": 2, "keep_checkpoints": 9, "init_from": dyer, "steps": 8}
    settings |= {"snapshot_every": 2 if kept else 10**6}
    run = cagan.train(pairs, tmp_path / "run", "smoke", **settings, **STILL, **SETTINGS)
    assert [look["monitor/best_step"] for look in run.looks] == [2] * 4
    before = run.best.read_bytes()
    # A later look of a branch that is gone displaced it.
    entries, arrays = read_tensors(run.best)
    write_tensors(run.best, entries | {"step": "8"}, arrays)
    for path in checkpoints(run.path)[-2:]:
        path.unlink()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = cagan.train(pairs, run.path, "smoke", **settings, **STILL, **SETTINGS)
    said = [str(one.message) for one in caught]
    gone = f"{run.path}/snapshots/best.safetensors: the best look was at step 2, whose generator is gone"
    assert said == ([] if kept else [gone])
    assert (run.best.read_bytes() == before) if kept else run.best is None


def test_a_run_that_gets_no_better_ends(pairs, dyer, tmp_path):
    """Nothing learns at this rate, so the first look stays the best one."""
    warned = []
    note = lambda name, value: warned.append(value) if name == "warning" else None  # noqa: E731
    settings = {"monitor_every": 2, "early_stop": 3, "steps": 100, "init_from": dyer}
    with pytest.warns(UserWarning, match="no better score for 3 looks"):
        run = cagan.train(pairs, tmp_path / "run", "smoke", on_event=note, **settings, **STILL, **SETTINGS)
    assert [look["step"] for look in run.looks] == [2, 4, 6, 8]
    assert run.stats[-1]["step"] == 8
    assert cagan.Swapper(run.best).step == 2
    assert len(warned) == 1


def warned(pairs, run_dir, steps, **settings):
    """Returns the monitor's warnings of a run. Without norms in the discriminator its rate matters."""
    said = []
    config = cagan.Config(
        "paper",
        image_size=[64, 32],
        width=32,
        batch_size=8,
        crop_margin=2,
        identity_weight=0.02,
        learning_rate=5e-4,
        ema_images=1000,
        discriminator_norm="none",
        steps=steps,
        monitor_every=steps // 8,
        sample_every=10**6,
        threads=1,
        **settings,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        note = lambda name, value: said.append(value) if name == "warning" else None  # noqa: E731
        run = cagan.train(pairs, run_dir, config, progress=False, on_event=note)
    return said, run


def collapses_and_does_not(folder, steps, seed):
    """Trains the same run twice, once with fifty times the discriminator's rate."""
    pairs = cagan.dolls(folder / "dolls", count=600, size=(64, 32))
    said, run = warned(pairs, folder / "healthy", steps, seed=seed)
    assert not said
    assert run.looks[-1]["monitor/colour_follows"] > 0.2
    assert run.best is not None
    said, run = warned(pairs, folder / "collapsed", steps, seed=seed, discriminator_learning_rate=50 * 5e-4)
    assert said
    assert run.looks[-1]["monitor/colour_follows"] < 0.1


def test_the_monitor_warns_when_a_run_collapses_and_only_then(tmp_path):
    collapses_and_does_not(tmp_path, steps=480, seed=1)


@pytest.mark.speed
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_monitor_warns_when_a_longer_run_collapses_and_only_then(tmp_path, seed):
    """Takes a minute each: `pytest -m speed -k collapses`."""
    collapses_and_does_not(tmp_path, steps=800, seed=seed)
