"""`cagan demo`: a page of swaps before any training, then the run as it learns, and a verdict."""

import re

import cagan
import numpy as np
import pytest


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A demo of a few pictures: its folder, the page before and after, its scores."""
    from cagan import demo

    folder = tmp_path_factory.mktemp("demo")
    patch = pytest.MonkeyPatch()
    for name, value in {"_COUNT": 16, "_TESTED": 3, "_LARGE": (64, 48), "_SMALL": (64, 48), "_EVERY_S": 0.0}.items():
        assert hasattr(demo, name)
        patch.setattr(demo, name, value)
    patch.setitem(demo.SETTINGS, "threads", 1)
    patch.setitem(demo.SETTINGS, "width", 32)
    early = []
    page, scores = demo.demo(folder, images=48, seen=lambda path: early.append(path.read_text()))
    patch.undo()
    return folder, early[0], page.read_text(), scores


def test_swaps_come_before_any_training(small):
    _, early, _, _ = small
    # Rows of person, worn, put on, swap, true swap.
    assert early.count('<img class="cell"') == 25
    assert "It begins in a moment" in early and 'http-equiv="refresh"' in early
    assert "How good it is" not in early


def test_the_page_ends_with_columns_scores_and_commands(small):
    folder, _, page, scores = small
    run = cagan.Run(folder / "run")
    assert run.config.total_steps(1) == 6 == len(run.snapshots)
    for step in (1, 6):
        assert f"<th>{8 * step}</th>" in page
    assert page.count('<img class="small"') == 4 * (2 + 6)
    assert 'http-equiv="refresh"' not in page
    assert "3/3 judge" in page and "48 of 48 pictures" in page
    assert scores.verdict in page.replace("&#39;", "'")
    assert scores.figures["true/error"].count == 3
    assert f"{scores['true/error']:.2f}" in page
    commands = re.findall(r"<li><code>(cagan .*?)</code>", page)
    assert len(commands) == 3 and str(run.path) in commands[0]


def test_the_page_needs_no_network(small):
    _, early, page, _ = small
    for text in (early, page):
        assert "default-src 'none'" in text and "<script" not in text
        assert all(address.startswith("data:image/") for address in re.findall(r'src="(.*?)"', text))


def test_it_is_scored_on_dolls_that_it_was_not_trained_on(small):
    folder = small[0]
    photos = [cagan.Pairs(folder / name)[0].human for name in ("dolls", "test", "show")]
    assert not any(np.array_equal(one, other) for one, other in ((photos[0], photos[1]), (photos[0], photos[2])))


@pytest.mark.parametrize("width", [1400, 390])
def test_the_page_fits_screens(small, browser, width):
    view = browser.new_page(viewport={"width": width, "height": 900})
    view.goto((small[0] / "index.html").as_uri())
    assert view.evaluate("document.documentElement.scrollWidth") <= width
    assert view.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    view.close()
