"""Dolls in Python: pairs, true swaps, masks, and the same bytes from the same seed."""

import csv
import os
import subprocess
import sys
from itertools import product

import cagan
import numpy as np
import pytest
import torch
from cagan.evaluation import listed, pictures
from helpers import contents
from PIL import Image

SIZE = (48, 32)


def picture(path, mode):
    with Image.open(path) as image:
        assert image.mode == mode
        return np.asarray(image).astype(int)


@pytest.fixture(scope="module")
def dolls(tmp_path_factory):
    """8 pairs with 3 true swaps of each person; not to be changed."""
    folder = tmp_path_factory.mktemp("dolls") / "set"
    cagan.dolls(folder, count=8, seed=3, size=SIZE, swaps=3)
    return folder


def test_a_set_holds_pairs_swaps_masks_and_a_list(dolls):
    ids = [f"{number:05}" for number in range(8)]
    pairs = cagan.Pairs(dolls)
    assert pairs.ids == ids
    with (dolls / "swaps" / "list.csv").open(newline="") as file:
        rows = [(row["human"], row["target"]) for row in csv.DictReader(file)]
    assert [human for human, _ in rows] == [name for name in ids for _ in range(3)]
    assert len(set(rows)) == 24
    assert set(rows) < set(product(ids, ids)) - set(zip(ids, ids))
    swaps = {f"{human}__{target}{end}" for human, target in rows for end in (".png", ".alpha.png")}
    assert {path.name for path in (dolls / "swaps").iterdir()} == swaps | {"list.csv"}
    # `cagan swap --list` reads the same rows.
    found = listed(dolls / "swaps" / "list.csv", pairs)
    assert [(human.id, target.id) for human, target in found] == rows


def test_a_swap_changes_the_mask_and_nothing_else(dolls):
    pairs = cagan.Pairs(dolls)
    names = [path.stem for path in (dolls / "swaps").glob("*__*.png") if not path.stem.endswith(".alpha")]
    assert len(names) == 24
    for name in names:
        human, swap = pairs[name[:5]].human.astype(int), picture(dolls / "swaps" / f"{name}.png", "RGB")
        mask = picture(dolls / "swaps" / f"{name}.alpha.png", "L")
        assert human.shape == swap.shape == (*SIZE, 3)
        assert mask.shape == SIZE
        changed = (human != swap).any(axis=2)
        assert not (changed & (mask == 0)).any()
        # Different articles: most of their pixels differ, and neither covers the whole picture.
        assert changed[mask == 255].mean() > 0.6
        assert 0.02 < (mask == 255).mean() < 0.6


def test_a_worn_article_has_a_mask_of_its_own(dolls):
    ids = cagan.Pairs(dolls).ids
    assert {path.name for path in (dolls / "worn").iterdir()} == {f"{name}.png" for name in ids}
    for name in ids:
        worn = picture(dolls / "worn" / f"{name}.png", "L")
        assert worn.shape == SIZE
        assert 0.01 < (worn == 255).mean() < 0.6
        for path in (dolls / "swaps").glob(f"{name}__*.alpha.png"):
            assert (worn <= picture(path, "L")).all()


def test_the_true_flow_leads_to_the_article(tmp_path):
    """The article's picture, warped by PyTorch, is the swap but for folds, shadows and the edges of the drawing."""
    pairs = cagan.dolls(tmp_path, count=24, seed=1, size=(128, 96), swaps=1)
    rows = listed(tmp_path / "swaps" / "list.csv", pairs)
    assert {path.name for path in (tmp_path / "flow").iterdir()} == {f"{a.id}__{b.id}.png" for a, b in rows}
    similar, errors, away, new = [], [], [], []
    for human, target in rows:
        name = f"{human.id}__{target.id}.png"
        x, y = np.split(picture(tmp_path / "flow" / name, "I;16"), 2)
        assert x.shape == y.shape == human.human.shape[:2]
        shown = x > 0
        assert ((x > 0) == (y > 0)).all()
        alpha = picture(tmp_path / "swaps" / name.replace(".png", ".alpha.png"), "L")
        assert (alpha[shown] > 127).all()
        # The worn article takes less than half of the other pixels that either article covers.
        worn = picture(tmp_path / "worn" / f"{human.id}.png", "L")
        new += shown[(alpha > 127) & (worn <= 127)].tolist()
        places = torch.from_numpy(np.stack([x, y], -1)).double() / 32767 - 32768 / 32767
        article = torch.from_numpy(target.article.astype(float)).permute(2, 0, 1)[None]
        moved = torch.nn.functional.grid_sample(article, places[None], align_corners=False)[0].permute(1, 2, 0).numpy()
        true = picture(tmp_path / "swaps" / name, "RGB")
        made = np.where(shown[..., None], moved, true)
        similar.append(pictures.ssim_map(made, true)[shown].mean())
        errors.append(np.abs(made - true)[shown].mean())
        away.append(np.abs(target.article - true)[shown].mean())
    assert np.mean(new) > 0.97
    assert np.mean(similar) > 0.93 and min(similar) > 0.75
    assert np.mean(errors) < 6
    # Without the flow the article is far from it.
    assert np.mean(away) > 30


def test_swaps_of_one_person_share_what_both_masks_leave(dolls):
    for human in cagan.Pairs(dolls).ids:
        swaps = [path for path in (dolls / "swaps").glob(f"{human}__*.png") if ".alpha" not in path.name]
        masks = [picture(path.with_suffix(".alpha.png"), "L") for path in swaps]
        pictures = [picture(path, "RGB") for path in swaps]
        assert len(swaps) == 3
        same = (masks[0] == 0) & (masks[1] == 0)
        assert np.array_equal(pictures[0][same], pictures[1][same])
        assert not np.array_equal(pictures[0], pictures[1])


def test_the_same_bytes_again_and_on_any_number_of_threads(dolls, tmp_path):
    cagan.dolls(tmp_path / "again", count=8, seed=3, size=SIZE, swaps=3)
    assert contents(tmp_path / "again") == contents(dolls)
    for threads in ("1", "3"):
        out = tmp_path / threads
        code = f"import cagan; cagan.dolls({str(out)!r}, count=8, seed=3, size={SIZE}, swaps=3)"
        subprocess.run([sys.executable, "-c", code], check=True, env=os.environ | {"RAYON_NUM_THREADS": threads})
        assert contents(out) == contents(dolls)
    cagan.dolls(tmp_path / "other", count=8, seed=4, size=SIZE, swaps=3)
    assert not set(contents(tmp_path / "other").values()) & set(contents(dolls).values())


def test_the_number_of_swaps(tmp_path):
    def swaps(name, **settings):
        cagan.dolls(tmp_path / name, size=16, **settings)
        return len(list((tmp_path / name / "swaps").glob("*.alpha.png")))

    assert swaps("default", count=3) == swaps("one", count=3, swaps=1) == 3
    assert contents(tmp_path / "default") == contents(tmp_path / "one")
    assert swaps("all", count=3, swaps=2) == 6
    assert swaps("single", count=1) == swaps("none", count=3, swaps=0) == 0
    # Without swaps there is no folder `swaps` and no list.
    assert {path.name for path in (tmp_path / "none").iterdir()} == {"human", "article"}
    assert contents(tmp_path / "none").items() < contents(tmp_path / "one").items()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"count": 3, "swaps": -1}, "swaps: expected zero or more, got -1"),
        ({"count": 3, "swaps": 3}, "swaps: expected at most 2, the other articles of 3 pairs, got 3"),
        ({"count": 1, "swaps": 1}, "swaps: expected 0, there being no other article, got 1"),
        ({"count": 3, "swaps": 10**9}, "swaps: expected at most 2, the other articles of 3 pairs, got 1000000000"),
    ],
)
def test_impossible_numbers_of_swaps(tmp_path, arguments, text):
    with pytest.raises(ValueError) as caught:
        cagan.dolls(tmp_path / "dolls", **arguments)
    assert str(caught.value) == text
    assert not (tmp_path / "dolls").exists()


def test_dolls_depend_on_their_seed(tmp_path):
    sets = {
        name: cagan.dolls(tmp_path / name, count=count, seed=seed, size=(48, 32))
        for name, count, seed in (("a", 3, 7), ("b", 5, 7), ("c", 3, 8), ("d", 3, None), ("e", 3, 0))
    }
    assert [len(pairs) for pairs in sets.values()] == [3, 5, 3, 3, 3]
    assert sets["a"][0].human.shape == sets["a"][0].article.shape == (48, 32, 3)

    def pictures(name):
        return [pair.human.tobytes() + pair.article.tobytes() for pair in sets[name]][:3]

    assert pictures("a") == pictures("b")
    assert pictures("d") == pictures("e")
    assert not set(pictures("a")) & set(pictures("c"))
    assert len(set(pictures("a"))) == 3
    assert cagan.dolls(tmp_path / "f", count=1)[0].human.shape == (128, 96, 3)
