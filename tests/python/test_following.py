"""What a run says: stage, speed, time left, losses, in a terminal, in plain lines and in a notebook."""

import io
import re
import sys

import cagan
from cagan.following import Following, duration
from cagan.panel import html_of
from cagan.progress import Plain, TrainingBar, work_bar

START = {
    "step": 0,
    "total": 10,
    "batch_size": 2,
    "pairs": 5,
    "articles": 7,
    "skipped": [],
    "checkpoint_bytes": 1,
    "config": {"preset": "kisekae", "image_size": [64, 48]},
    "stages": [["locate", 0], ["place", 6], ["judge", 12]],
    "parameters": {"generator": 2_700_000, "discriminator": 900_000},
    "device": "cpu",
}
LINE = {
    "step": 1,
    "loss/discriminator": 0.0,
    "loss/generator": 0.5,
    "loss/generator/restored": 0.25,
    "mask/area": 0.125,
}


def followed(step):
    following = Following()
    following.take("start", START)
    for k in range(1, step + 1):
        following.take("step", k)
        following.take("report", LINE | {"step": k, "loss/generator": 1 / k})
    return following


def test_durations_are_for_people():
    assert [duration(s) for s in (0, 0.4, 59.6, 3600, float("nan"))] == ["0 s", "0 s", "1 min", "1 h", "?"]


def test_the_stage_stands_in_the_place_of_a_loss_that_is_not_yet():
    assert [followed(step).stage for step in (0, 2, 3, 5, 6, 10)] == [
        *("1/3 locate", "1/3 locate", "2/3 place", "2/3 place", "3/3 judge", "3/3 judge")
    ]
    assert "D" not in followed(5).values()
    assert followed(6).values()["D"] == "0.000"
    # A run that ends before has no such stage; the published networks have one stage and their losses.
    short = Following()
    short.take("start", START | {"total": 4})
    short.take("report", LINE)
    assert [name for name, _, _ in short.stages] == ["locate", "place"]
    assert "D" not in short.values()
    published = Following()
    published.take("start", START | {"stages": [["train", 0]]})
    published.take("report", LINE)
    assert (published.stage, published.values()["D"]) == ("", "0.000")


def test_a_line_and_a_summary_say_what_happens():
    following = followed(7)
    line = following.line()
    assert line.startswith("step 7 of 10 (70 %), 3/3 judge, D 0.000 G 0.143 restored 0.250 mask 0.125, ")
    assert re.search(r"images/s, .* left$", line)
    assert following.summary() == [
        "kisekae: 64 x 48 pixels, 2.7 M + 0.9 M parameters on cpu",
        "5 pairs, 7 articles",
        "10 steps of 2 = 20 pictures",
        "stages: locate 0-6, place 6-12, judge 12-20",
    ]


def test_without_a_terminal_a_line_comes_at_most_every_half_minute(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    clock = [0.0]
    monkeypatch.setattr("cagan.progress.time.monotonic", lambda: clock[0])
    bar = TrainingBar(None)
    bar.show("load", {"files": 10, "done": 0, "loader": "resident", "bytes": 2**20, "pairs": 5})
    bar.show("start", START)
    assert said.getvalue().count("\n") == 5
    for step in range(1, 11):
        clock[0] += 10
        bar.show("step", step)
        if step == 1:
            bar.show("report", LINE)
    lines = [line for line in said.getvalue().splitlines() if line.startswith("step ")]
    assert [line.split()[1] for line in lines] == ["4", "7", "10"]
    bar.end(["done"])
    assert said.getvalue().endswith("done\n")


def test_other_work_says_how_far_it_is(monkeypatch):
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(Plain, "EVERY_S", 0.0)
    with work_bar(None, 3, " swaps") as bar:
        bar.update(1)
        bar.update(2)
    assert re.fullmatch(r"1 of 3 swaps, \d+ s left\n3 of 3 swaps\n", said.getvalue())
    with work_bar(False, 3, " swaps") as bar:
        bar.update(1)
    assert said.getvalue().count("\n") == 2


def test_a_run_without_progress_is_silent(pairs, tmp_path, capfd):
    cagan.train(pairs, tmp_path, "smoke", steps=1, threads=1, progress=False)
    assert capfd.readouterr() == ("", "")


def test_a_run_ends_with_a_summary(pairs, tmp_path, capfd):
    run = cagan.train(pairs, tmp_path, "smoke", steps=2, monitor_every=1, threads=1)
    err = capfd.readouterr().err
    assert re.search(rf"2 steps in .*, [\d.]+ images/s: {re.escape(str(run.path))}\n", err)
    assert ("best look: step" in err) == (run.best is not None)
    assert "swaps use step_00000002.safetensors\n" in err
    assert f"next: cagan evaluate {run.path} PAIRS" in err
    cagan.train(pairs, tmp_path, "smoke", steps=2, monitor_every=1, threads=1)
    assert "nothing was left to do" in capfd.readouterr().err


def test_a_panel_shows_bar_stage_curves_and_grid(run):
    following = followed(7)
    following.take("sample", run.samples[-1])
    page = html_of(following, ["a < b"])
    assert "3/3 judge" in page and "14 of 20 pictures" in page and "width:70.0%" in page
    assert page.count("<polyline") == 3 and page.count("data:image/png;base64,") == 1
    assert "a &lt; b" in page and "left</span>" in page
    assert "in all</span>" in html_of(following, ended=True)
    # Nothing to show yet.
    assert "<polyline" not in html_of(followed(0)) and "<img" not in html_of(followed(0))


def test_a_notebook_gets_one_display(pairs, tmp_path, monkeypatch, capfd):
    from IPython import display

    shown = []

    class Handle:
        def update(self, html):
            shown.append(html.data)

    def show(html, display_id):
        assert display_id
        shown.append(html.data)
        return Handle()

    monkeypatch.setitem(sys.modules, "ipykernel", None)
    monkeypatch.setattr(display, "display", show)
    cagan.train(pairs, tmp_path, "smoke", steps=2, log_every=1, threads=1)
    assert len(shown) >= 3
    assert "2 of 2 steps" not in shown[0] and "smoke: 64 x 64 pixels" in shown[0]
    assert "8 of 8 pictures" in shown[-1] and "next: cagan evaluate" in shown[-1] and "<img" in shown[-1]
    assert "steps" not in capfd.readouterr().err, "nothing red beside it"
