"""The display of swaps, pairs, configs and runs in a notebook."""

import html
import io
import json
import re
import shutil
import sys

import cagan
import numpy as np
import pytest
from helpers import read_png
from PIL import Image


@pytest.fixture(scope="module")
def swap(run, pairs):
    return run.swapper().swap(pairs[0].human, pairs[0].article, pairs[1].article)


def test_a_swap_shows_its_picture_mask_and_paint(swap):
    shown = read_png(swap._repr_png_())
    height, width = swap.mask.shape
    assert shown.shape == (height + 8, 3 * width + 16, 3)
    parts = [shown[4:-4, 4 + k * (width + 4) :][:, :width] for k in range(3)]
    assert np.array_equal(parts[0], swap.image)
    assert np.array_equal(parts[1], np.repeat(swap.mask[..., None], 3, 2))
    assert np.array_equal(parts[2], swap.paint)
    assert (shown[:4] == 255).all()


def test_a_pair_shows_its_pictures(pairs, tmp_path):
    shown = read_png(pairs[0]._repr_png_())
    assert shown.shape == (256 + 8, 2 * 192 + 12, 3)
    assert shown[:, :192].std() > 10 and shown[:, -192:].std() > 10
    (tmp_path / "broken.png").write_text("no picture")
    broken = cagan.Pair("broken", tmp_path / "broken.png", pairs[0].article)
    assert (read_png(broken._repr_png_())[:, :192] == 255).all()


@pytest.mark.parametrize(("size", "shown"), [((1000, 500), (384, 192)), ((3, 2000), (1, 384)), ((384, 10), (384, 10))])
def test_a_large_swap_is_shown_small(size, shown):
    swap = cagan.Swap(np.zeros((*size, 3), np.uint8), np.zeros(size, np.uint8), np.zeros((*size, 3), np.uint8))
    assert read_png(swap._repr_png_()).shape == (shown[0] + 8, 3 * shown[1] + 16, 3)


def test_pairs_show_a_contact_sheet(pairs, pairs_dir, tmp_path):
    shown = read_png(pairs._repr_png_())
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
    assert (read_png(broken._repr_png_())[4:100, 104:200] == 255).all(), "a picture that cannot be read is white"
    many = cagan.dolls(tmp_path / "many", count=40, size=16, swaps=0)
    assert read_png(many._repr_png_()).shape == (4 * 100 + 4, 8 * 100 + 4, 3)


def test_a_config_shows_a_table_with_overrides_marked():
    config = cagan.Config("smoke", width=24, init_from="a<b>&c")
    text = config._repr_html_()
    shown, folded = text.split("<details>")
    rows = [row for row in re.findall(r"<tr>(.*?)</tr>", text) if "<td>" in row]
    values, sources = config.to_dict(), config.sources()
    used = [row["name"] for row in cagan._cagan.settings() if config.architecture in row["used_by"]]
    used.sort(key=lambda name: name not in ("width", "init_from"))
    assert len(rows) == len(used) > 40
    assert "preset <b>smoke</b>, but" in shown and shown.count("<mark>") == 6 and "<mark>" not in folded
    assert "as it is" in cagan.Config("smoke")._repr_html_()
    for row, name in zip(rows, used):
        source = sources[name]
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
