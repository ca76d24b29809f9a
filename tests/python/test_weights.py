"""The weights that the package brings: their names, their use, their file of half the size."""

import pickle
import re
from pathlib import Path

import cagan
import numpy as np
import pytest
from cagan.names import swap_name
from helpers import refusal

WEIGHTS = Path(cagan.__file__).parent / "weights"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    return cagan.dolls(tmp_path_factory.mktemp("drawn"), count=6, seed=77, size=(64, 48), swaps=1)


def test_dolls_swaps_dolls(drawn):
    swapper = cagan.Swapper("dolls")
    assert (swapper.config.preset, swapper.needs_worn) == ("kisekae", False)
    assert swapper.path == WEIGHTS / "dolls.safetensors"
    ours, untouched = [], []
    listing = (drawn.folder / "swaps" / "list.csv").read_text().split()[1:]
    for line in listing:
        human, target = (drawn[name] for name in line.split(",")[:2])
        true = cagan._cagan.read_picture(drawn.folder / "swaps" / f"{swap_name(human.id, target.id)}.png").astype(int)
        swap = swapper.swap(human, target=target)
        where = np.abs(human.human.astype(int) - true).max(-1) > 30
        ours.append(np.abs(swap.image.astype(int) - true)[where].mean())
        untouched.append(np.abs(human.human.astype(int) - true)[where].mean())
    assert np.mean(ours) < 0.8 * np.mean(untouched)


def test_ones_own_run_or_snapshot_of_that_name_comes_first(run, drawn, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cagan.dolls("dolls", count=2, size=32)
    assert cagan.Swapper("dolls").path == WEIGHTS / "dolls.safetensors", "a folder of pairs is no model"
    assert cagan.Swapper(Path("dolls")).path == WEIGHTS / "dolls.safetensors"
    refusal(ValueError, lambda: cagan.Swapper("./dolls"), "dolls", "expected a run folder")
    Path("dolls").rename("pairs")
    Path("dolls").write_bytes(run.swapper().snapshot())
    assert cagan.Swapper("dolls").path == Path("dolls")
    Path("dolls").rename("snapshot")
    Path("dolls").symlink_to(run.path)
    assert cagan.Swapper("dolls").step == run.swapper().step
    assert len(drawn) == 6


def test_they_are_pickled_and_a_start_to_learn_from(drawn, tmp_path):
    swapper = cagan.Swapper("dolls", "cpu")
    again = pickle.loads(pickle.dumps(swapper))
    assert (again.path, again.step) == (swapper.path, swapper.step)
    settings = {"batch_size": 2, "threads": 1, "init_from": "dolls", "learning_rate": 1e-9, "ema_images": 0}
    run = cagan.train(drawn, tmp_path, steps=1, progress=False, **settings)
    assert run.config.init_from == "dolls"
    pictures = (drawn[0].human, drawn[0].article, drawn[1].article)
    begun, brought = run.swapper().swap(*pictures), swapper.swap(*pictures)
    assert np.abs(begun.image.astype(int) - brought.image.astype(int)).mean() < 1


def test_half_the_bytes_hold_nearly_the_same_weights(run, pairs, tmp_path):
    swapper = run.swapper()
    half = tmp_path / "half.safetensors"
    half.write_bytes(swapper.snapshot(half=True))
    whole = swapper.snapshot()
    header = len(swapper.config.to_json()) + 8000
    assert half.stat().st_size < len(whole) / 2 + header
    rounded = cagan.Swapper(half)
    assert (rounded.step, rounded.config) == (swapper.step, swapper.config)
    swaps = [model.swap(pairs[0], target=pairs[1]).image.astype(int) for model in (swapper, rounded)]
    assert 0 <= np.abs(swaps[0] - swaps[1]).max() < 8
    # Rounding what is rounded changes nothing; the plain networks read it too.
    assert rounded.snapshot(half=True) == half.read_bytes()
    module = cagan.torch_module.load(half)
    assert {str(parameter.dtype) for parameter in module.parameters()} == {"torch.float32"}
    damaged = bytearray(half.read_bytes())
    damaged[-5] ^= 1
    half.write_bytes(damaged)
    refusal(ValueError, lambda: cagan.Swapper(half), half, "damaged")


def test_the_card_has_the_scores():
    card = (WEIGHTS / "dolls.md").read_text()
    scores = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|$", card, re.MULTILINE))
    assert float(scores["mask_iou"]) > 0.5
    assert float(scores["error"]) < 0.8 * float(scores["error_untouched"])
    assert f"step {cagan.Swapper('dolls').step}," in " ".join(card.split())
