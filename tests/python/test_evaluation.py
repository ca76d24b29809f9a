"""Scores of swaps on dolls against what can be said of them without a model, and the demo that ends with them."""

import json
import subprocess
import sys

import cagan
import numpy as np
import pytest
from cagan.demo import demo
from conftest import refusal
from PIL import Image
from test_face import with_mask


@pytest.fixture(scope="module")
def dolls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    cagan.dolls(folder, count=5, seed=4, size=64, swaps=2)
    return folder


def true_swaps(dolls):
    """Human, true swap and where they may differ, of each row, by Pillow alone."""
    for line in (dolls / "swaps" / "list.csv").read_text().splitlines()[1:]:
        name = "__".join(line.split(","))
        human = np.asarray(Image.open(dolls / "human" / f"{name.split('__')[0]}.png"), float)
        swap = np.asarray(Image.open(dolls / "swaps" / f"{name}.png").convert("RGB"), float)
        mask = np.asarray(Image.open(dolls / "swaps" / f"{name}.alpha.png")) > 0
        yield human, swap, mask


def test_a_photo_left_alone_scores_as_such(run, dolls, tmp_path):
    scores = cagan.evaluate(with_mask(run, tmp_path / "nothing.safetensors", -1e4), dolls)
    rows = list(true_swaps(dolls))
    assert scores["swaps"] == len(rows) == 10
    untouched = np.mean([np.abs(human - swap)[mask].mean() for human, swap, mask in rows])
    assert scores["error"] == scores["error_untouched"] == pytest.approx(untouched)
    psnr = np.mean([10 * np.log10(255**2 / ((human - swap) ** 2).mean()) for human, swap, _ in rows])
    assert scores["psnr"] == scores["psnr_untouched"] == pytest.approx(psnr)
    assert scores["keep"] == scores["mask_iou"] == 0


def test_a_photo_repainted_whole_scores_as_such(run, dolls, tmp_path):
    swapper = with_mask(run, tmp_path / "everything.safetensors", 1e4)
    scores = cagan.evaluate(swapper, dolls)
    rows = list(true_swaps(dolls))
    assert scores["mask_iou"] == pytest.approx(np.mean([mask.mean() for *_, mask in rows]))
    pairs = cagan.Pairs(dolls)
    keep, error = [], []
    for line, (human, swap, mask) in zip((dolls / "swaps" / "list.csv").read_text().splitlines()[1:], rows):
        person, target = (pairs[name] for name in line.split(","))
        image = swapper.swap(person.human_path, person.article_path, target.article_path).image.astype(float)
        keep.append(np.abs(image - human)[~mask].mean())
        error.append(np.abs(image - swap)[mask].mean())
    assert (scores["keep"], scores["error"]) == (pytest.approx(np.mean(keep)), pytest.approx(np.mean(error)))


def test_what_is_missing_or_of_another_size_is_named(run, tmp_path):
    refusal(FileNotFoundError, lambda: cagan.evaluate(run.path, tmp_path), tmp_path)
    cagan.dolls(tmp_path / "plain", count=3, swaps=0)
    refusal_path = tmp_path / "plain" / "swaps" / "list.csv"
    with pytest.raises(FileNotFoundError, match=r"list\.csv") as caught:
        cagan.evaluate(run.path, tmp_path / "plain")
    assert caught.value.filename == str(refusal_path)
    cagan.dolls(tmp_path / "spoilt", count=2, size=64, swaps=1)
    path = next((tmp_path / "spoilt" / "swaps").glob("*.alpha.png"))
    Image.new("L", (32, 48)).save(path)
    refusal(
        ValueError,
        lambda: cagan.evaluate(run.path, tmp_path / "spoilt"),
        "expected the photo's size 64 x 64, got 48 x 32",
    )
    path.unlink()
    refusal(FileNotFoundError, lambda: cagan.evaluate(run.path, tmp_path / "spoilt"), path)


def test_the_command_line(run, dolls):
    def call(*arguments):
        command = [sys.executable, "-c", "from cagan.cli import main; main()", "evaluate", run.path, dolls, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    scores = cagan.evaluate(run.path, dolls)
    assert json.loads(call("--json")) == pytest.approx(scores)
    assert [line.split()[0] for line in call().splitlines()] == list(scores)


def test_the_demo(tmp_path):
    grid, scores = demo(tmp_path, steps=2)
    assert grid.name == "step_00000002.png"
    with Image.open(grid) as picture:
        assert picture.size[0] > 1000
    assert scores["swaps"] == 64
    ours, others = (cagan.Pairs(tmp_path / name)[0].human for name in ("dolls", "test"))
    assert not np.array_equal(ours, others), "it is scored on dolls that it was not trained on"
