"""What a notebook shows, and what comes back from pickle."""

import copy
import html
import io
import json
import pickle
import re
import shutil
import sys

import cagan
import numpy as np
import pytest
from conftest import refusal
from PIL import Image


def read(content):
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


@pytest.fixture(scope="module")
def swap(run, pairs):
    return run.swapper().swap(pairs[0].human, pairs[0].article, pairs[1].article)


# Shown


def test_a_swap_shows_its_picture_mask_and_paint(swap):
    shown = read(swap._repr_png_())
    height, width = swap.mask.shape
    assert shown.shape == (height + 8, 3 * width + 16, 3)
    parts = [shown[4:-4, 4 + k * (width + 4) :][:, :width] for k in range(3)]
    assert np.array_equal(parts[0], swap.image)
    assert np.array_equal(parts[1], np.repeat(swap.mask[..., None], 3, 2))
    assert np.array_equal(parts[2], swap.paint)
    assert (shown[:4] == 255).all()


@pytest.mark.parametrize(("size", "shown"), [((1000, 500), (384, 192)), ((3, 2000), (1, 384)), ((384, 10), (384, 10))])
def test_a_large_swap_is_shown_small(size, shown):
    swap = cagan.Swap(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8), np.zeros((*size, 3), np.uint8))
    assert read(swap._repr_png_()).shape == (shown[0] + 8, 3 * shown[1] + 16, 3)


def test_pairs_show_a_contact_sheet(pairs, pairs_dir, tmp_path):
    shown = read(pairs._repr_png_())
    # Eight pairs in a row, each human above its article, in cells of 96 with gaps of 4.
    assert shown.shape == (2 * 100 + 4, 8 * 100 + 4, 3)
    for k, pair in enumerate(pairs):
        for row, picture in enumerate((pair.human, pair.article)):
            cell = shown[4 + 100 * row :, 4 + 100 * k :][:96, :96].astype(int)
            expected = np.asarray(Image.fromarray(picture).resize((96, 96), Image.Resampling.BILINEAR))
            assert np.abs(cell - expected).mean() < 3
    copied = shutil.copytree(pairs_dir, tmp_path / "copy")
    broken = cagan.Pairs(copied)
    broken[1].human_path.write_bytes(b"no picture")
    assert (read(broken._repr_png_())[4:100, 104:200] == 255).all(), "a picture that cannot be read is white"
    many = cagan.dolls(tmp_path / "many", count=40, size=16, swaps=0)
    assert read(many._repr_png_()).shape == (4 * 100 + 4, 8 * 100 + 4, 3)


def test_a_config_shows_a_table_with_what_is_yours_marked():
    config = cagan.Config("smoke", width=24, init_from="a<b>&c")
    text = config._repr_html_()
    rows = re.findall(r"<tr>(.*?)</tr>", text)[1:]
    values, sources = config.to_dict(), config.sources()
    assert len(rows) == len(sources) > 40
    assert "preset smoke" in text
    for row, (name, source) in zip(rows, sources.items()):
        cells = [html.unescape(re.sub("<.*?>", "", cell)) for cell in re.findall(r"<td>(.*?)</td>", row)]
        assert (cells[0], cells[2]) == (name, source)
        assert values[name] == (cells[1] if isinstance(values[name], str) else json.loads(cells[1]))
        assert ("<mark>" in row) == (name in ("width", "init_from"))
    assert "a&lt;b&gt;&amp;c" in text
    assert "<b>&c" not in text


def test_a_run_shows_its_curves_and_its_last_grid(run, tmp_path, monkeypatch):
    (shown,) = run._repr_mimebundle_().items()
    assert shown[0] == "image/jpeg"
    with Image.open(io.BytesIO(shown[1])) as picture:
        assert picture.format == "JPEG"
        assert picture.width > 600
        assert np.asarray(picture.convert("L")).std() > 5
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.startswith("cagan.plots")]:
            patch.delitem(sys.modules, name)
        patch.setitem(sys.modules, "matplotlib", None)
        assert run._repr_mimebundle_() == {"image/png": run.samples[-1].read_bytes()}, "without matplotlib"
    (tmp_path / "config.json").write_text(run.config.to_json())
    assert cagan.Run(tmp_path)._repr_mimebundle_() == {}, "nothing to show yet"


# Pickled


def again(thing):
    return [pickle.loads(pickle.dumps(thing)), copy.copy(thing), copy.deepcopy(thing)]


def test_swaps_come_back(swap):
    for one in again(swap):
        assert one == swap
        assert all(np.array_equal(getattr(one, name), getattr(swap, name)) for name in ("image", "mask", "paint"))
    other = cagan.Swap(swap.image, swap.mask, swap.image)
    assert other != swap
    assert swap != "swap"


def test_runs_and_pairs_come_back(run, pairs, tmp_path):
    for one in again(run):
        assert (one.path, one.config, one.stats) == (run.path, run.config, run.stats)
    full = cagan.Pair("a", "h.png", tmp_path / "a.png", group="g", split="train")
    for pair in (pairs[3], full):
        for one in again(pair):
            assert one == pair
            assert (one.group, one.split, one.human_path) == (pair.group, pair.split, pair.human_path)
    assert full != cagan.Pair("a", "h.png", tmp_path / "a.png", group="g")


def test_a_set_of_pairs_comes_back_as_it_was_read(pairs_dir, tmp_path):
    folder = shutil.copytree(pairs_dir, tmp_path / "copy")
    (folder / "article" / "00001.png").unlink()
    (folder / "human" / "00002.png").unlink()
    lines = ["id,human,article,group,split,exclude,reason"]
    for k in range(8):
        human = "" if k == 2 else f"human/0000{k}.png"
        lines.append(f"0000{k},{human},article/0000{k}.png,g{k // 2},train,{int(k == 5)},{'other' * (k == 5)}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    pairs = cagan.Pairs(folder, on_error="skip", extra_articles=True)
    assert pairs.skipped
    assert pairs.excluded
    assert pairs.extra_articles
    rest, share = pairs.split(0.4, seed=3)
    shutil.rmtree(folder)
    for whole in (pairs, rest, share):
        for one in again(whole):
            assert repr(one) == repr(whole)
            assert [*one] == [*whole]
            for name in ("folder", "ids", "splits", "extra_articles", "excluded", "skipped"):
                assert getattr(one, name) == getattr(whole, name)
            # What decides what happens to broken files comes along.
            assert one.__reduce__()[1] == whole.__reduce__()[1]


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"image": np.zeros((4, 5), np.uint8)}, ["image", "[H, W, 3]", "shape [4, 5]"]),
        ({"image": np.zeros((0, 5, 3), np.uint8)}, ["image", "shape [0, 5, 3]"]),
        ({"image": np.zeros((4, 5, 3))}, ["image", "uint8", "float64"]),
        ({"mask": np.zeros((4, 5, 1), np.uint8)}, ["mask", "[4, 5]", "shape [4, 5, 1]"]),
        ({"mask": "m"}, ["mask", "[4, 5]", "str"]),
        ({"paint": np.zeros((5, 4, 3), np.uint8)}, ["paint", "[4, 5, 3]", "shape [5, 4, 3]"]),
    ],
)
def test_swaps_of_the_wrong_shape(parts, text):
    whole = {"image": np.zeros((4, 5, 3), np.uint8), "mask": np.zeros((4, 5), np.uint8)}
    whole["paint"] = whole["image"]
    refusal(ValueError, lambda: cagan.Swap(**(whole | parts)), *text)
