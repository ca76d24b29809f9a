"""The run folder: its files, log, sample grids and TensorBoard events, and the table of runs."""

import datetime
import json
import os

import cagan
import numpy as np
import pytest
from helpers import LOG_KEYS, RARELY, contents, only, read_tensors, train
from PIL import Image

SETTINGS = {"threads": 1, "log_every": 1, "progress": False}


def test_the_folder_of_a_run(run):
    names = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
    # Another test may have scored it.
    names -= {"evaluation.json"}
    assert names == {
        ".lock",
        "config.json",
        "monitor.jsonl",
        "stats.jsonl",
        "samples/step_00000000.png",
        "samples/step_00000004.png",
        "snapshots/step_00000004.safetensors",
        "checkpoints/step_00000004.safetensors",
    }
    assert run.config == cagan.Config("smoke", steps=4, threads=1)
    assert [path.name for path in run.samples] == ["step_00000000.png", "step_00000004.png"]
    assert [path.name for path in run.snapshots] == ["step_00000004.safetensors"]
    assert run.swapper().step == 4
    assert repr(run) == f"Run({str(run.path)!r})"
    assert cagan.Run(run.path).stats == run.stats


def test_files_are_as_readable_as_any_other(run):
    for name in contents(run.path):
        if os.name == "posix":
            assert (run.path / name).stat().st_mode & 0o777 == 0o644


def test_every_line_of_the_log_has_every_key(run):
    assert len(run.stats) == 2
    for line in run.stats:
        assert list(line) == LOG_KEYS
        assert line["images_seen"] == 4 * line["step"]
        assert line["epoch"] == line["images_seen"] / 8
        assert 0 <= line["mask/area"] <= 1
        assert line["loss/generator/identity"] == pytest.approx(line["mask/area"], abs=1e-5)
        terms = [line[f"loss/generator/{name}"] for name in ("adversarial", "identity", "cycle")]
        assert line["loss/generator"] == pytest.approx(terms[0] + 0.1 * terms[1] + terms[2], rel=1e-4)
        assert line["time/images_per_s"] == pytest.approx(4 / line["time/step_s"], rel=1e-3)


def test_an_objective_that_is_on_has_its_own_key(pairs, tmp_path):
    weights = {"self_swap": 2.0, "mask_tv": 3.0, "mask_binary": 0.5, "feature": 4.0, "perceptual": 5.0}
    settings = {f"{name}_weight": weight for name, weight in weights.items()}
    made = train(pairs, tmp_path, steps=3, r1_weight=0.5, r1_every=2, **RARELY | {"log_every": 1} | settings)
    extra = [f"loss/generator/{name}" for name in weights]
    keys = LOG_KEYS.copy()
    at = keys.index("loss/generator/cycle") + 1
    keys[at:at] = extra
    keys.insert(keys.index("loss/discriminator") + 1, "loss/discriminator/r1")
    weights |= {"adversarial": 1, "identity": 0.1, "cycle": 1}
    assert len(made.stats) == 3
    for line in made.stats:
        assert list(line) == keys
        assert all(line[key] > 0 for key in extra)
        total = sum(weight * line[f"loss/generator/{name}"] for name, weight in weights.items())
        assert line["loss/generator"] == pytest.approx(total, rel=1e-4)
    # In the first step and every second one after it.
    assert [line["loss/discriminator/r1"] > 0 for line in made.stats] == [True, False, True]


def test_a_sample_grid_is_as_large_as_its_layout_says(pairs, tmp_path):
    # Above: an empty corner, then each human with the article it wears. Below: a target, then each swap with its mask.
    # Gaps of two pixels lie around all of them.
    for humans, articles, size in ((3, 2, 64), (1, 1, 32 * 3), (20, 20, 64)):
        folder = tmp_path / f"{humans}"
        options = {"sample_humans": humans, "sample_articles": articles, "image_size": (64, size)}
        made = train(pairs, folder, steps=1, **options)
        columns, rows = 1 + 2 * min(humans, len(pairs)), 1 + min(articles, len(pairs))
        for path in made.samples:
            with Image.open(path) as picture:
                assert (picture.width, picture.height) == (columns * (size + 2) + 2, rows * (64 + 2) + 2)
                assert picture.mode == "RGB"
                # The empty corner and the gaps are white.
                assert picture.crop((0, 0, size + 4, 66)).getextrema() == ((255, 255),) * 3
                assert picture.crop((0, 0, picture.width, 2)).getextrema() == ((255, 255),) * 3


def test_a_sample_grid_shows_the_pairs_on_its_edges(pairs, tmp_path):
    made = train(pairs, tmp_path, steps=1, sample_humans=3, sample_articles=2)
    humans, articles = ([getattr(pair, side).tobytes() for pair in pairs] for side in ("human", "article"))
    with Image.open(made.samples[0]) as picture:

        def cell(row, column):
            left, top = 2 + column * 66, 2 + row * 66
            return picture.crop((left, top, left + 64, top + 64)).tobytes()

        people = [humans.index(cell(0, 1 + 2 * k)) for k in range(3)]
        assert [articles.index(cell(0, 2 + 2 * k)) for k in range(3)] == people
        targets = [articles.index(cell(row, 0)) for row in (1, 2)]
    assert len({*people, *targets}) == 5, "the targets are articles of others"


def test_the_entries_and_tensors_of_a_checkpoint(run):
    entries, arrays = read_tensors(only(run.path / "checkpoints"))
    assert all(len(entries.pop(name)) == 32 for name in ("checksum", "data"))
    assert json.loads(entries.pop("monitor"))["best"] is None
    assert cagan.Config.from_json(entries.pop("config")) == run.config
    assert entries == {
        "format": "cagan.checkpoint",
        "format_version": "3",
        "step": "4",
        "pairs": "8",
        "slowdown": "1",
    } | {f"{network}_adam.steps": "4" for network in ("generator", "discriminator")}
    parts = {"generator", "discriminator", "generator_adam", "discriminator_adam"}
    assert {name.split(".")[0] for name in arrays} == parts
    _, generator = read_tensors(run.snapshots[-1])
    assert all((arrays[f"generator.{name}"] == array).all() for name, array in generator.items())
    assert generator


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_has_the_curves_and_the_samples_without_doubles(pairs, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in (3, 6):
        run = cagan.train(pairs, tmp_path, "smoke", steps=steps, tensorboard=True, sample_every=3, **SETTINGS)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    tags = board.Tags()
    assert set(tags["scalars"]) == set(run.stats[0]) - {"step"}
    for key in tags["scalars"]:
        curve = [(event.step, event.value) for event in board.Scalars(key)]
        assert [step for step, _ in curve] == [1, 2, 3, 4, 5, 6]
        assert np.allclose([value for _, value in curve], [line[key] for line in run.stats], rtol=1e-6)
    assert [event.step for event in board.Images("samples")] == [0, 3, 6]


def test_the_table_of_runs(pairs, tmp_path, call):
    for name, steps in (("b", 2), ("deep/a", 4)):
        cagan.train(pairs, tmp_path / name, "smoke", steps=steps, **SETTINGS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    assert [run.path.name for run in cagan.runs(tmp_path)] == ["b", "a"]
    code, out, _ = call("runs", tmp_path)
    head, first, second = out.splitlines()
    assert (code, head.split()[:5]) == (0, ["run", "preset", "state", "step", "of"])
    assert first.split()[:6] == [str(tmp_path / "b"), "smoke", "finished", "2", "2", "-"]
    assert second.split()[:5] == [str(tmp_path / "deep" / "a"), "smoke", "finished", "4", "4"]
    _, out, _ = call("runs", tmp_path, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    last = cagan.Run(tmp_path / "b").stats[-1]
    own = {"run": str(tmp_path / "b"), "preset": "smoke", "state": "finished", "steps": 2, "snapshots": 1}
    own |= {"score": None, "best_step": None, "verdict": None}
    date = datetime.datetime.fromisoformat(rows[0].pop("date"))
    assert datetime.datetime.now() - date < datetime.timedelta(hours=1)
    assert rows[0] == own | last
    code, _, err = call("runs", tmp_path / "nowhere")
    assert code == 1
    assert str(tmp_path / "nowhere") in err
