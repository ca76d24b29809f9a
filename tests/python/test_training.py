"""A run: what it leaves behind, and that stopping, going on and diverging lose nothing."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import cagan
import pytest
from conftest import contents, is_finite, read_tensors, same_tensors
from PIL import Image

# The keys of a line of stats.jsonl, in order.
KEYS = [
    "step",
    "images_seen",
    "epoch",
    "loss/discriminator",
    "loss/generator",
    "loss/generator/adversarial",
    "loss/generator/identity",
    "loss/generator/cycle",
    "logits/matched",
    "logits/swapped",
    "logits/mismatched",
    "mask/area",
    "time/step_s",
    "time/images_per_s",
]

# Adam without a memory of sizes, at the largest rate: infinite within a few steps, whatever the pictures are.
DIVERGING = {"learning_rate": 1, "adam_beta1": 0.99, "adam_beta2": 0, "adam_epsilon": 2.0**-100}

# Nothing but the final files, unless a test asks for more.
RARELY = {"sample_every": 1000, "snapshot_every": 1000, "checkpoint_every": 1000}


def train(pairs, run_dir, **settings):
    # On one thread, as the fixture `run`: sums over two differ in their last bits.
    settings = {"config": "smoke", "progress": False, "threads": 1} | settings
    return cagan.train(pairs, run_dir, **settings)


def only(folder):
    """The one file of a folder."""
    (path,) = Path(folder).iterdir()
    return path


def steps(run_dir):
    return [json.loads(line)["step"] for line in (Path(run_dir) / "stats.jsonl").read_text().splitlines()]


class StopError(Exception):
    """What a test raises in `on_event`."""


def stop_at(step):
    def on_event(event, value):
        if (event, value) == ("step", step):
            raise StopError

    return on_event


def assert_same_end(run_dir, whole):
    """The last checkpoint, the last snapshot and the last sample grid are those of the other run, bit for bit."""
    for folder in ("checkpoints", "snapshots", "samples"):
        mine, theirs = (sorted((Path(path) / folder).iterdir())[-1] for path in (run_dir, whole))
        assert mine.name == theirs.name
        if folder == "samples":
            assert mine.read_bytes() == theirs.read_bytes()
        else:
            assert same_tensors(mine, theirs)


# What a run leaves behind


def test_the_folder_of_a_run(run):
    names = {path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()}
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
        assert list(line) == KEYS
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
    keys = KEYS.copy()
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
    # In the first step and every second one from there.
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


def test_events_arrive_in_order(pairs, tmp_path):
    events = []
    train(
        pairs,
        tmp_path,
        steps=4,
        log_every=2,
        sample_every=3,
        snapshot_every=3,
        checkpoint_every=2,
        on_event=lambda *event: events.append(event),
    )
    assert [(name, value if name == "step" else None) for name, value in events if name in ("start", "step")] == [
        ("start", None),
        *(("step", k) for k in (1, 2, 3, 4)),
    ]
    assert [name for name, _ in events] == [
        *("load", "load", "start", "sample"),
        "step",
        *("step", "report", "checkpoint"),
        *("step", "sample", "snapshot"),
        *("step", "report", "sample", "snapshot", "checkpoint"),
    ]
    load = {"files": 16, "pairs": 8, "loader": "resident", "bytes": 16 * 3 * 64 * 64, "workers": os.cpu_count()}
    assert [value for name, value in events if name == "load"] == [load | {"done": 0}, load | {"done": 16}]
    start = {
        "step": 0,
        "total": 4,
        "batch_size": 4,
        "pairs": 8,
        "articles": 8,
        "skipped": [],
        "checkpoint_bytes": 157188,
    }
    assert events[2] == ("start", start)
    assert [list(value) for name, value in events if name == "report"] == [KEYS, KEYS]
    files = [value for name, value in events if name in ("sample", "snapshot", "checkpoint")]
    assert all(isinstance(path, Path) for path in files)
    assert [path.relative_to(tmp_path).as_posix() for path in files[-3:]] == [
        "samples/step_00000004.png",
        "snapshots/step_00000004.safetensors",
        "checkpoints/step_00000004.safetensors",
    ]
    # The two newest checkpoints are kept, and every snapshot.
    assert sorted((tmp_path / "checkpoints").iterdir()) == [files[1], files[-1]]
    assert len(cagan.Run(tmp_path).snapshots) == 2


def test_one_epoch_is_whole_batches(pairs, tmp_path):
    made = train(pairs, tmp_path, epochs=1, batch_size=3, **RARELY)
    assert made.stats[-1]["step"] == 3 == made.config.total_steps(8)


# The same again


def test_the_seed_is_all_that_matters(pairs, tmp_path):
    first, again, other = (
        train(pairs, tmp_path / name, steps=2, seed=seed) for name, seed in (("a", 5), ("b", 5), ("c", 6))
    )
    assert_same_end(first.path, again.path)
    assert first.snapshots[-1].read_bytes() == again.snapshots[-1].read_bytes()
    assert not same_tensors(first.snapshots[-1], other.snapshots[-1])
    assert first.samples[0].read_bytes() != other.samples[0].read_bytes()


def test_a_csv_gives_the_same_training_as_folders(pairs_dir, run, tmp_path):
    with (tmp_path / "pairs.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["human", "id", "article"])
        for number, pair in enumerate(cagan.Pairs(pairs_dir)):
            for side in ("human", "article"):
                shutil.copy(getattr(pair, f"{side}_path"), tmp_path / f"{side}_{number}.png")
            rows.writerow([f"human_{number}.png", pair.id, f"article_{number}.png"])
    assert_same_end(train(tmp_path, tmp_path / "run", steps=4).path, run.path)


def test_pairs_may_be_given_as_their_folder(pairs_dir, run, tmp_path):
    for name, given in (("path", pairs_dir), ("text", str(pairs_dir))):
        assert_same_end(train(given, str(tmp_path / name), config=cagan.Config("smoke"), steps=4).path, run.path)


# Stopping and going on


def test_two_and_two_steps_are_four(pairs, run, tmp_path):
    with pytest.raises(StopError):
        train(pairs, tmp_path, steps=4, on_event=stop_at(2))
    assert only(tmp_path / "checkpoints").name == "step_00000002.safetensors"
    assert cagan.Swapper(tmp_path).step == 2
    assert steps(tmp_path) == [2]

    starts = []
    train(pairs, tmp_path, steps=4, on_event=lambda *e: starts.append(e[1]) if e[0] == "start" else None)
    assert [start["step"] for start in starts] == [2]
    assert steps(tmp_path) == [2, 4]
    assert_same_end(tmp_path, run.path)
    stats = ({k: v for k, v in line.items() if "time/" not in k} for line in cagan.Run(tmp_path).stats)
    assert list(stats) == [{k: v for k, v in line.items() if "time/" not in k} for line in run.stats]


@pytest.mark.parametrize("preset", ["vasily", "paper"])
def test_one_and_two_steps_are_three_in_both_presets(pairs, tmp_path, preset):
    settings = {"config": preset, "image_size": 64, "width": 16, "batch_size": 3, "steps": 3, **RARELY}
    settings |= {"sample_humans": 2, "sample_articles": 1}
    train(pairs, tmp_path / "whole", **settings)
    with pytest.raises(StopError):
        train(pairs, tmp_path / "parts", on_event=stop_at(1), **settings)
    assert_same_end(train(pairs, tmp_path / "parts", **settings).path, tmp_path / "whole")


def test_every_objective_goes_on_where_it_stopped(pairs, tmp_path):
    weights = ("self_swap", "mask_tv", "mask_binary", "feature", "perceptual", "r1")
    settings = {f"{name}_weight": 1.0 for name in weights} | {
        "reverse": "detached",
        "reverse_noise": 0.1,
        "r1_every": 2,
    }
    settings |= dict.fromkeys(("augment_colour", "augment_translation", "augment_cutout"), True)
    settings |= {"discriminator_spectral_norm": True, "steps": 4, **RARELY}
    train(pairs, tmp_path / "whole", **settings)
    with pytest.raises(StopError):
        train(pairs, tmp_path / "parts", on_event=stop_at(1), **settings)
    assert_same_end(train(pairs, tmp_path / "parts", **settings).path, tmp_path / "whole")
    _, arrays = read_tensors(sorted((tmp_path / "whole" / "checkpoints").iterdir())[-1])
    vectors = [name for name in arrays if name.startswith("discriminator_vectors.")]
    assert len(vectors) == 6, "five convolutions and the head"


@pytest.mark.parametrize("event", ["start", "sample", "step", "report", "snapshot", "checkpoint"])
def test_an_exception_in_any_event_stops_and_saves(pairs, tmp_path, event):
    def on_event(name, _):
        if name == event:
            raise StopError(event)

    every = dict.fromkeys(("log_every", "sample_every", "snapshot_every", "checkpoint_every"), 1)
    with pytest.raises(StopError, match=event):
        train(pairs, tmp_path, steps=3, on_event=on_event, **every)
    before = {"start": 0, "sample": 0}.get(event, 1)
    assert steps(tmp_path) == list(range(1, before + 1))
    assert len(list((tmp_path / "checkpoints").iterdir())) == before
    train(pairs, tmp_path, steps=3, **every)
    assert steps(tmp_path) == [1, 2, 3]


def test_the_interrupt_button(pairs, tmp_path):
    def interrupt(event, value):
        if (event, value) == ("step", 2):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(pairs, tmp_path, steps=4, on_event=interrupt)
    assert only(tmp_path / "checkpoints").name == "step_00000002.safetensors"


def test_control_c_at_the_command_line(pairs_dir, tmp_path):
    total = 60
    arguments = (
        "train",
        str(pairs_dir),
        str(tmp_path / "run"),
        "--preset",
        "smoke",
        "--log-every",
        "1",
        "--threads",
        "1",
        "--quiet",
    )
    command = [sys.executable, "-c", "from cagan.cli import main; main()", *arguments, "--steps", str(total)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run" / "stats.jsonl"
    deadline = time.monotonic() + 60
    while not (log.is_file() and log.read_text()):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.strip().count("\n") == 0
    assert "the same command goes on" in errors

    stopped = int(only(tmp_path / "run" / "checkpoints").stem.removeprefix("step_"))
    assert 0 < stopped < total
    assert steps(tmp_path / "run") == list(range(1, stopped + 1))
    assert cagan.Swapper(tmp_path / "run").step == stopped

    end = stopped + 2
    again = subprocess.run([*command[:-1], str(end)], capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    assert again.stdout.split() == [
        str(tmp_path / "run" / "snapshots" / f"step_{end:08}.safetensors"),
        str(tmp_path / "run" / "samples" / f"step_{end:08}.png"),
    ]
    assert steps(tmp_path / "run") == list(range(1, end + 1))
    train(cagan.Pairs(pairs_dir), tmp_path / "whole", steps=end, log_every=1)
    assert_same_end(tmp_path / "run", tmp_path / "whole")


def test_harmless_settings_may_change(pairs, run, tmp_path):
    used = shutil.copytree(run.path, tmp_path / "used")
    harmless = {setting["name"] for setting in cagan._cagan.settings() if setting["harmless"]}
    changed = {
        "epochs": 7,
        "steps": 5,
        "log_every": 1,
        "sample_every": 3,
        "snapshot_every": 3,
        "checkpoint_every": 3,
        "sample_humans": 1,
        "sample_articles": 1,
        "device": "cpu",
        "threads": 2,
    }
    assert set(changed) <= harmless
    config = cagan.Config("smoke", **changed)
    assert train(pairs, used, **changed).config == config
    assert steps(used) == [2, 4, 5]


def test_every_setting_that_is_not_harmless_is_refused(pairs, run, tmp_path):
    used = shutil.copytree(run.path, tmp_path / "used")
    old = cagan.Config("smoke", steps=6).to_dict()
    other = {"architecture": "paper", "image_size": 96, "width": 24, "generator_copies": "worn", "flip": False}
    other |= {"discriminator_copies": True, "precision": "bf16", "adam_beta2": 0.5}
    other |= {"human_fit": "pad", "article_fit": "crop", "discriminator_learning_rate": 0.5}
    # A schedule's settings go together.
    schedule = {"schedule": "linear", "schedule_start": 0, "schedule_end": 50}
    other |= schedule
    other |= {name: True for name in old if name.startswith("augment_")}
    other |= {"human_fit": "pad", "article_fit": "crop", "adversarial_loss": "hinge", "reverse": "detached"}
    other |= {"norm_gradient": "batch", "discriminator_norm": "none", "discriminator_spectral_norm": True}
    # Of another preset, whose own tests look at them.
    ours = {"warp_weight", "bending_weight", "place_after", "judge_after", "withhold_worn", "mask_cut"}
    checked = 0
    for setting in cagan._cagan.settings():
        name = setting["name"]
        if setting["harmless"] or name in ours:
            continue
        value = other[name] if name in other else old[name] + (1 if setting["kind"] == "count" else 0.125)
        # Copies are the paper's alone, so the architecture changes with them.
        changes = {name: value} | ({"architecture": "paper"} if "copies" in name else {})
        if name in schedule:
            changes = schedule | ({"schedule_start": 5} if name == "schedule_start" else {})
        # Only the detached way back takes noise.
        changes |= {"reverse": "detached"} if name == "reverse_noise" else {}
        # Two scales need a second halving.
        changes |= {"image_size": 128} if name == "discriminator_scales" else {}
        with pytest.raises(ValueError, match=rf"\b{name} \(\S+ there, \S+ here\)"):
            train(pairs, used, steps=6, **changes)
        checked += 1
    assert checked > 12
    assert contents(used) == contents(run.path)


def test_lines_and_pictures_of_a_crash_are_not_doubled(pairs, tmp_path):
    """What came after the last checkpoint is done again, and stands in the log once."""
    train(pairs, tmp_path, steps=2, log_every=1)
    lines = (tmp_path / "stats.jsonl").read_text()
    late = [json.dumps({"step": step, "loss/generator": 1.0}) for step in (3, 4)]
    (tmp_path / "stats.jsonl").write_text(lines + "\n".join(late) + '\n{"step": 5, "loss/gen')
    train(pairs, tmp_path, steps=5, log_every=1)
    assert steps(tmp_path) == [1, 2, 3, 4, 5]
    assert (tmp_path / "stats.jsonl").read_text().startswith(lines)
    assert all(list(line) == KEYS for line in cagan.Run(tmp_path).stats)


def test_a_finished_run_is_left_alone(pairs, run, tmp_path):
    used = shutil.copytree(run.path, tmp_path / "used")
    events = []
    again = train(pairs, used, steps=4, on_event=lambda name, _: events.append(name))
    assert events == ["load", "load", "start"]
    assert again.stats == run.stats
    assert contents(used) == contents(run.path)
    # Fewer steps than were done: there is nothing to do either.
    assert train(pairs, used, steps=2).stats == run.stats
    assert only(used / "checkpoints").read_bytes() == only(run.path / "checkpoints").read_bytes()


# Diverging


def test_a_loss_that_is_no_number_stops_the_run(pairs, tmp_path):
    settings = {"log_every": 1, "checkpoint_every": 1, "keep_checkpoints": 1, **DIVERGING}
    with pytest.raises(FloatingPointError, match=r"^\S+ is (NaN|-?inf) at step \d+: ") as caught:
        train(pairs, tmp_path / "run", steps=40, **settings)
    term, step = re.match(r"(\S+) is \S+ at step (\d+)", str(caught.value)).groups()
    step = int(step)
    assert term in KEYS
    assert 1 < step < 40
    assert steps(tmp_path / "run") == list(range(1, step))
    path = only(tmp_path / "run" / "checkpoints")
    assert path.name == f"step_{step - 1:08}.safetensors"

    train(pairs, tmp_path / "before", steps=step - 1, **settings)
    assert_same_end(tmp_path / "before", tmp_path / "before")
    assert same_tensors(path, only(tmp_path / "before" / "checkpoints"))
    assert is_finite(path)


def test_a_rarely_read_log_does_not_hide_divergence(pairs, tmp_path):
    """No checkpoint or snapshot of what is no number is written, and the last good one stays."""
    messages = []
    for name, log_every in (("often", 1), ("rarely", 20)):
        with pytest.raises(FloatingPointError) as caught:
            train(
                pairs, tmp_path / name, steps=20, log_every=log_every, checkpoint_every=1, snapshot_every=1, **DIVERGING
            )
        messages.append(str(caught.value))
        failed = tmp_path / name / "failed.safetensors"
        assert not is_finite(failed), "the state is kept for inspection"
        files = [path for path in (tmp_path / name).rglob("*.safetensors") if path != failed]
        assert len(files) >= 2
        assert [path.relative_to(tmp_path).as_posix() for path in files if not is_finite(path)] == []
    assert messages[0] == messages[1]
    often, rarely = (sorted((tmp_path / name / "checkpoints").iterdir())[-1] for name in ("often", "rarely"))
    assert often.name == rarely.name
    assert same_tensors(often, rarely)


def test_what_diverged_can_be_called_again(pairs, tmp_path):
    """The saved settings are the given ones to the last bit, so the same call is not taken for another run."""
    with pytest.raises(FloatingPointError) as first:
        train(pairs, tmp_path, steps=40, log_every=1, checkpoint_every=1, **DIVERGING | {"adam_epsilon": 1e-30})
    with pytest.raises(FloatingPointError) as second:
        train(pairs, tmp_path, steps=40, log_every=1, checkpoint_every=1, **DIVERGING | {"adam_epsilon": 1e-30})
    assert str(first.value) == str(second.value)


def test_the_checkpoint_says_what_it_is_of(run):
    entries, arrays = read_tensors(only(run.path / "checkpoints"))
    assert all(len(entries.pop(name)) == 32 for name in ("checksum", "data"))
    assert json.loads(entries.pop("monitor"))["best"] is None
    assert cagan.Config.from_json(entries.pop("config")) == run.config
    assert entries == {"format": "cagan.checkpoint", "format_version": "2", "step": "4", "pairs": "8", "slowdown": "1"}
    parts = {"generator", "discriminator", "generator_adam", "discriminator_adam"}
    assert {name.split(".")[0] for name in arrays} == parts
    _, generator = read_tensors(run.snapshots[-1])
    assert all((arrays[f"generator.{name}"] == array).all() for name, array in generator.items())
    assert generator
