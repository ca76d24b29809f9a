"""Plots: pictures in their places, curves equal to the log, films with a frame for each snapshot."""

import io
import shutil
import subprocess
import sys

import cagan
import numpy as np
import pytest
from cagan import plots
from cagan.plots.curves import _shade as shade
from cagan.plots.curves import smoothed
from helpers import refusal, run_examples
from matplotlib.figure import Figure
from PIL import Image

SETTINGS = {"threads": 1, "log_every": 1, "progress": False}


@pytest.fixture(scope="module")
def long(pairs, tmp_path_factory):
    """A run of twelve steps with a monitor, resumed at the sixth, with a snapshot every four."""
    folder = tmp_path_factory.mktemp("long")
    for steps in (6, 12):
        made = cagan.train(pairs, folder, "smoke", steps=steps, snapshot_every=4, monitor_every=3, **SETTINGS)
    return made


def shown(axes):
    """Returns the picture in axes, or None."""
    return np.asarray(axes.images[0].get_array()) if axes.images else None


def same(a, b):
    return a is b is None or np.array_equal(a, b)


# Pictures


@pytest.mark.parametrize("masks", [False, True])
def test_a_grid_has_people_above_and_articles_at_the_left(run, swapper, pairs, masks):
    people, articles = [pairs[0], pairs[1]], [pairs[2], pairs[3].article_path, pairs[4].article]
    figure = plots.swap_grid(run, people, articles, masks=masks)
    cells = np.array([shown(axes) is not None for axes in figure.axes]).reshape(4, 5)
    assert cells.tolist() == [[False, True, True, True, True]] + [[True, True, masks, True, masks]] * 3
    places = np.array(figure.axes, dtype=object).reshape(4, 5)
    for k, pair in enumerate(people):
        assert same(shown(places[0, 1 + 2 * k]), pair.human)
        assert same(shown(places[0, 2 + 2 * k]), pair.article)
    for row, target in enumerate((pairs[2], pairs[3], pairs[4]), 1):
        assert same(shown(places[row, 0]), target.article)
        for k, pair in enumerate(people):
            swap = swapper.swap(pair.human, pair.article, target.article)
            assert same(shown(places[row, 1 + 2 * k]), swap.image)
            assert same(shown(places[row, 2 + 2 * k]), swap.mask if masks else None)
    assert len(plots.swap_grid(swapper, people, articles).axes) == 20
    assert len(plots.swap_grid(str(run.path), people, articles[:1]).axes) == 10
    refusal(ValueError, lambda: plots.swap_grid(run, [], articles), "people: expected one pair at least")
    refusal(ValueError, lambda: plots.swap_grid(run, people, []), "articles: expected one article at least")


def test_a_sheet_of_triplets(swapper, pairs):
    triplets = [(pairs[k].human_path, Image.fromarray(pairs[k].article), pairs[k + 1].article) for k in range(2)]
    swaps = [swapper.swap(*triplet) for triplet in triplets]
    assert len(plots.triplet_sheet(triplets).axes) == 6
    figure = plots.triplet_sheet(triplets, swaps)
    assert [axes.get_title() for axes in figure.axes[:6]] == ["human", "worn", "target", "swap", "mask", "paint"]
    second = [pairs[1].human, pairs[1].article, pairs[2].article, swaps[1].image, swaps[1].mask, swaps[1].paint]
    assert all(same(shown(axes), picture) for axes, picture in zip(figure.axes[6:], second, strict=True))
    refusal(ValueError, lambda: plots.triplet_sheet(triplets, swaps[:1]), "swaps", "as triplets (2)", "got 1")
    refusal(ValueError, lambda: plots.triplet_sheet([]), "triplets", "got none")


def test_a_mask_over_a_photo():
    photo, mask = np.full((2, 3, 3), 100, np.uint8), np.array([[0, 255, 51], [0, 0, 0]], np.uint8)
    (axes,) = plots.mask_overlay(photo, mask, colour="red", opacity=0.5).axes
    # Half of 255 and of 100; at 51 the share is .1: 25.5 + 90, and 90 in green and blue.
    assert shown(axes)[0].tolist() == [[100, 100, 100], [178, 50, 50], [116, 90, 90]]
    assert (shown(axes)[1] == 100).all()
    refusal(ValueError, lambda: plots.mask_overlay(photo, mask[:1]), "mask: expected the photo's size (2, 3)", "(1, 3)")
    refusal(ValueError, lambda: plots.mask_overlay(photo, mask, opacity=2), "opacity: expected 0 to 1, got 2")
    with pytest.raises(ValueError, match="reddish"):
        plots.mask_overlay(photo, mask, colour="reddish")


def test_before_and_after(swapper, pairs):
    swap = swapper.swap(pairs[0].human, pairs[0].article, pairs[1].article)
    masked = plots.before_after(pairs[0].human_path, swap, mask=True)
    assert [axes.get_title() for axes in masked.axes] == ["before", "after", "repainted"]
    laid = masked.axes[2].images[0].get_array()
    kept = swap.mask == 0
    assert np.array_equal(laid[kept], pairs[0].human[kept])
    assert not np.array_equal(laid[~kept], pairs[0].human[~kept])
    refusal(
        TypeError, lambda: plots.before_after(pairs[0].human, swap.image, mask=True), "swap: expected a Swap for mask"
    )
    figure = plots.before_after(pairs[0].human_path, swap, pairs[0].article, pairs[1].article)
    assert [axes.get_title() for axes in figure.axes] == ["worn", "before", "after", "target"]
    expected = (pairs[0].article, pairs[0].human, swap.image, pairs[1].article)
    assert all(same(shown(axes), picture) for axes, picture in zip(figure.axes, expected))
    (overlay,) = plots.mask_overlay(pairs[0].human, swap).axes
    assert not same(shown(overlay), pairs[0].human)


@pytest.mark.parametrize(
    ("picture", "kind", "got"),
    [
        (3, TypeError, "got int"),
        (np.zeros((4, 4, 3)), ValueError, "got float64 of [4, 4, 3]"),
        (np.zeros((4, 4, 4), np.uint8), ValueError, "got uint8 of [4, 4, 4]"),
        ("nowhere.png", FileNotFoundError, "nowhere.png"),
    ],
)
def test_arguments_that_are_no_picture(pairs, picture, kind, got):
    refusal(kind, lambda: plots.before_after(pairs[0].human, picture), got)


def test_a_film_has_a_frame_for_each_snapshot(long, pairs, tmp_path):
    triplet = (pairs[0].human, pairs[0].article, pairs[1].article)
    path = plots.film(long, *triplet, tmp_path / "a.gif", height=32, frame_s=0.2)
    assert len(long.snapshots) == 4
    with Image.open(path) as film:
        assert (film.format, film.size) == ("GIF", (32, 32))
        durations = []
        for frame in range(film.n_frames):
            film.seek(frame)
            durations.append(film.info["duration"])
        last = np.asarray(film.convert("RGB")).astype(int)
    # Equal frames are merged and their times added.
    assert sum(durations) == 200 * (len(long.snapshots) + 3)
    assert 2 <= len(durations) <= 4
    swap = cagan.Swapper(long.path).swap(*triplet).image
    assert np.abs(last - np.asarray(Image.fromarray(swap).resize((32, 32)))).mean() < 6
    with Image.open(plots.film(long, *triplet, tmp_path / "a.png", height=32)) as strip:
        assert strip.size == (4 * 32, 32)
        assert np.array_equal(np.asarray(strip)[:, -32:], np.asarray(Image.fromarray(swap).resize((32, 32))))
    (empty := tmp_path / "empty").mkdir()
    (empty / "config.json").write_text(cagan.Config("smoke").to_json())
    for kind, call, parts in (
        (ValueError, lambda: plots.film(long, *triplet, "a.jpg"), ["path: expected", ".gif or .png", "a.jpg"]),
        (ValueError, lambda: plots.film(long, *triplet, "a.gif", frame_s=0), ["frame_s: expected above 0, got 0"]),
        (ValueError, lambda: plots.film(empty, *triplet, "a.gif"), [empty, "expected a run with snapshots"]),
        (FileNotFoundError, lambda: plots.film(tmp_path / "no", *triplet, "a.gif"), [tmp_path / "no"]),
    ):
        refusal(kind, call, *parts)


# Curves


def test_the_curves_are_the_logs(long):
    assert long.resumes == [6]
    figure = plots.losses(long, smoothing=0)
    keys = [["loss/discriminator", "loss/generator"], ["loss/generator/cycle"], ["mask/area"]]
    keys.append(["logits/matched", "logits/swapped", "logits/mismatched"])
    steps = list(range(1, 13))
    for axes, names in zip(figure.axes, keys, strict=True):
        *lines, mark = axes.lines
        assert mark.get_xdata() == [6, 6], "a mark where the run was taken up again"
        assert [line.get_xdata().tolist() for line in lines] == [steps] * len(names)
        for line, name in zip(lines, names, strict=True):
            assert line.get_ydata().tolist() == [row[name] for row in long.stats]
    (axes,) = plots.losses(long.path, ["time/step_s"], smoothing=0.5).axes
    raw, smooth, _ = axes.lines
    assert raw.get_ydata().tolist() == [row["time/step_s"] for row in long.stats]
    assert smooth.get_ydata().tolist() == smoothed(raw.get_ydata(), 0.5).tolist()
    refusal(KeyError, lambda: plots.losses(long, ["loss/x"]), "unknown key 'loss/x'", "loss/generator/cycle")
    for wrong in (1, -0.1, float("nan")):
        refusal(ValueError, lambda wrong=wrong: plots.losses(long, smoothing=wrong), "smoothing: expected 0 to below 1")


@pytest.mark.parametrize("width", [3.0, 4.5])
@pytest.mark.parametrize("first", [2, 8, 30])
def test_names_of_stages_stand_apart_and_above_the_curves(width, first):
    figure = Figure(figsize=(width, 2.6), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 60], [3.0, 4.0])
    shade(axes, [("locate", 0), ("place", first), ("judge", first + 3)])
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 3
    assert not any(one.overlaps(other) for k, one in enumerate(boxes) for other in boxes[:k])
    assert min(box.y0 for box in boxes) >= axes.transData.transform((0, 4.0))[1]
    assert axes.get_xlim()[1] < 70


def test_smoothing():
    # 0.5 * 4 / 0.5 = 4; (0.25 * 4 + 0.5 * 8) / 0.75 = 6.67; a gap stays one.
    got = smoothed(np.array([4, 8, np.nan, 6]), 0.5)
    assert np.allclose(got, [4, 20 / 3, np.nan, (0.125 * 4 + 0.25 * 8 + 0.5 * 6) / 0.875], equal_nan=True)
    assert smoothed(np.array([3.0, 1.0]), 0).tolist() == [3, 1]


def test_the_monitors_curves_and_its_best(long, pairs, tmp_path):
    # Three curves and the line of the resume; the run is too short for a best snapshot.
    assert len(plots.monitor(long).axes[0].lines) == 4
    shutil.copy(long.snapshots[-1], long.path / "snapshots" / "best.safetensors")
    figure = plots.monitor(long)
    score, *_ = figure.axes
    looks = [line["monitor/score"] for line in long.looks]
    assert score.lines[0].get_ydata().tolist() == looks
    best = cagan.Swapper(long.best).step
    ring = score.lines[-1]
    assert ring.get_xdata() == [best]
    assert ring.get_ydata()[0] == next(line["monitor/score"] for line in long.looks if line["step"] == best)
    unwatched = cagan.train(pairs, tmp_path, "smoke", steps=1, monitor_every=0, **SETTINGS)
    refusal(ValueError, lambda: plots.monitor(unwatched), "monitor.jsonl", "got none yet")
    refusal(FileNotFoundError, lambda: plots.losses(tmp_path / "none"), tmp_path / "none")


def test_runs_in_one_plot(run, long):
    figure = plots.compare([run, long.path], ["mask/area", "monitor/score"], smoothing=0, names=["short", "long"])
    area, score = figure.axes
    assert [line.get_ydata().tolist() for line in area.lines] == [
        [row["mask/area"] for row in of.stats] for of in (run, long)
    ]
    assert {line.get_label() for line in score.lines} == {"long"} | ({"short"} if run.looks else set())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["short", "long"]
    assert 2 <= len(plots.compare([run, long]).axes) <= 3
    refusal(KeyError, lambda: plots.compare([run], ["mask/areal"]), "unknown key 'mask/areal'", "mask/area")
    refusal(ValueError, lambda: plots.compare([]), "runs: expected one run at least")
    refusal(ValueError, lambda: plots.compare([run], names=[]), "names", "(1)", "got 0")


# In a notebook


class Display:
    """A stand-in for IPython that keeps the figures shown and counts updates."""

    def __init__(self):
        self.shown, self.updates = [], 0

    def __call__(self, figure, display_id):
        assert display_id is True
        self.shown.append(figure)
        return self

    def update(self, figure):
        self.updates += 1
        self.shown.append(figure)


def test_a_plot_grows_while_a_run_trains(pairs, tmp_path, monkeypatch):
    display = Display()
    monkeypatch.setattr("IPython.display.display", display)
    for steps in (3, 5):
        live = plots.Live(every_s=0)
        cagan.train(pairs, tmp_path, "smoke", steps=steps, on_event=live, **SETTINGS)
    # One display, an update for each later step, and one when the end is saved.
    assert display.updates == len(display.shown) - 2 >= 3
    losses = display.shown[-1].axes[0]
    assert losses.lines[0].get_xdata().tolist() == [4, 5]
    assert losses.lines[-1].get_xdata() == [3, 3], "a mark where it went on"
    seldom = Display()
    monkeypatch.setattr("IPython.display.display", seldom)
    cagan.train(pairs, tmp_path / "b", "smoke", steps=4, on_event=plots.Live(every_s=1000), **SETTINGS)
    assert len(seldom.shown) == 2, "the first report and the end"
    assert seldom.shown[-1].axes[0].lines[0].get_xdata().tolist() == [1, 2, 3, 4]
    refusal(ValueError, lambda: plots.Live(every_s=-1), "every_s: expected 0 or more, got -1")


def test_a_figure_shows_itself_without_pyplot(run):
    for figure, kind in ((plots.losses(run), "image/png"), (plots.overview(run), "image/jpeg")):
        data, about = figure._repr_mimebundle_()
        ((got, content),) = data.items()
        assert got == kind
        # The words stand beside the picture, for who does not see it.
        words = about[kind]["alt"]
        assert all(axes.get_title() in words for axes in figure.axes)
        labels = [
            text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()
        ]
        assert len(labels) >= 2
        assert all(label in words for label in labels)
        with Image.open(io.BytesIO(content)) as picture:
            assert Image.MIME[picture.format] == kind
            assert np.asarray(picture.convert("L")).std() > 5
    program = (
        "import sys, cagan; assert 'matplotlib' not in sys.modules; cagan.plots.losses; "
        "assert 'matplotlib' in sys.modules and 'matplotlib.pyplot' not in sys.modules; assert 'plots' in dir(cagan)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=60)


def test_without_matplotlib_it_says_what_to_install():
    program = "import sys; sys.modules['matplotlib'] = None\nimport cagan\n"
    program += "try: cagan.plots\nexcept ImportError as error: print(error)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    expected = "matplotlib: expected for cagan.plots, found none; pip install 'cagan[plots]'\n"
    assert (done.stdout, done.stderr) == (expected, "")


def test_every_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in plots.__all__:
        assert run_examples(name, getattr(plots, name)) > 0, name
