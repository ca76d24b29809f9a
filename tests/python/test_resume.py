"""Stopping and going on: after an exception, a signal or a kill a run ends with the bytes of one without a stop."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import cagan
import pytest
from helpers import (
    LOG_KEYS,
    OFTEN,
    RARELY,
    StopError,
    another,
    assert_same_end,
    checkpoints,
    contents,
    lasting,
    only,
    read_tensors,
    refusal,
    same_tensors,
    steps,
    stop_at,
    train,
    train_often,
)
from PIL import Image

# Stopped


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
    _, arrays = read_tensors(checkpoints(tmp_path / "whole")[-1])
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
    assert "the same command resumes it" in errors

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


def test_resumable_settings_may_change(pairs, run, tmp_path):
    used = shutil.copytree(run.path, tmp_path / "used")
    resumable = {setting["name"] for setting in cagan._cagan.settings() if setting["resumable"]}
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
    assert set(changed) <= resumable
    config = cagan.Config("smoke", **changed)
    assert train(pairs, used, **changed).config == config
    assert steps(used) == [2, 4, 5]


def test_every_setting_that_is_not_resumable_is_refused(pairs, run, tmp_path):
    used = shutil.copytree(run.path, tmp_path / "used")
    schedule = {"schedule": "linear", "schedule_start": 0, "schedule_end": 50}
    # Values that must fit each other, and settings that are not at their default in the run.
    other = schedule | {"image_size": 96, "width": 24, "batch_size": 5, "adam_beta2": 0.5}
    together = {
        # Only the paper's architecture has copies.
        "generator_copies": {"architecture": "paper", "generator_copies": "worn"},
        "discriminator_copies": {"architecture": "paper"},
        "schedule": schedule,
        "schedule_start": schedule | {"schedule_start": 5},
        "schedule_end": schedule,
        # Only the detached way back takes noise.
        "reverse_noise": {"reverse": "detached"},
        # Two scales need a second halving.
        "discriminator_scales": {"image_size": 128},
    }
    run_config = run.config.to_dict()
    checked = 0
    for setting in cagan._cagan.settings():
        name = setting["name"]
        if setting["resumable"] or ("vasily" not in setting["used_by"] and "copies" not in name):
            continue
        value = other[name] if name in other else another(setting)
        if value == run_config[name]:
            value = setting["default"]
        changes = {name: value} | together.get(name, {})
        with pytest.raises(ValueError, match=rf"\b{name} \(\S+ there, \S+ here\)"):
            train(pairs, used, steps=6, **changes)
        checked += 1
    assert checked > 12
    assert contents(used) == contents(run.path)


def test_lines_and_pictures_of_a_crash_are_not_doubled(pairs, tmp_path):
    """Steps after the last checkpoint are done again, and each is in the log once."""
    train(pairs, tmp_path, steps=2, log_every=1)
    lines = (tmp_path / "stats.jsonl").read_text()
    late = [json.dumps({"step": step, "loss/generator": 1.0}) for step in (3, 4)]
    (tmp_path / "stats.jsonl").write_text(lines + "\n".join(late) + '\n{"step": 5, "loss/gen')
    train(pairs, tmp_path, steps=5, log_every=1)
    assert steps(tmp_path) == [1, 2, 3, 4, 5]
    assert (tmp_path / "stats.jsonl").read_text().startswith(lines)
    assert all(list(line) == LOG_KEYS for line in cagan.Run(tmp_path).stats)


def test_a_finished_run_is_left_alone(pairs, run, tmp_path):
    used = shutil.copytree(run.path, tmp_path / "used")
    events = []
    again = train(pairs, used, steps=4, on_event=lambda name, _: events.append(name))
    assert events == ["load", "load", "start"]
    assert again.stats == run.stats
    assert contents(used) == contents(run.path)
    # With fewer steps than were done the call does nothing either.
    assert train(pairs, used, steps=2).stats == run.stats
    assert only(used / "checkpoints").read_bytes() == only(run.path / "checkpoints").read_bytes()


# Killed

# Trains in a process of its own and prints each step and each write.
TRAIN = """
    import sys, cagan
    def say(name, value):
        print(name, value if name == "step" else "", flush=True)
    cagan.train(sys.argv[1], sys.argv[2], "smoke", progress=False, on_event=say, **eval(sys.argv[3]))
"""


def begun(pairs_dir, run_dir, steps):
    arguments = [pairs_dir, run_dir, repr(OFTEN | {"threads": 1} | {"steps": steps})]
    code = textwrap.dedent(TRAIN)
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def killed_again_and_again(pairs_dir, tmp_path, steps, kills, seed):
    whole = train_often(pairs_dir, tmp_path / "whole", steps=steps)
    parts = tmp_path / "parts"
    rng = random.Random(seed)
    alive = reached = 0
    while alive < kills:
        # At any time: while it loads, in a step, in a write; each life gets a little further than the last checkpoint.
        wanted = rng.randrange(1, 25)
        with begun(pairs_dir, parts, steps) as process:
            for number, line in enumerate(process.stdout, 1):
                if line.startswith("step "):
                    reached = int(line.split()[1])
                if number == wanted:
                    time.sleep(rng.random() * 0.02)
                    break
            process.kill()
        alive += 1
        # The settings promise a whole checkpoint every two steps; that of the last step may be on its way.
        kept = [int(read_tensors(path)[0]["step"]) for path in parts.glob("checkpoints/step_*")]
        assert max(kept, default=0) >= (reached - 1) // 2 * 2
        if process.returncode == 0:
            shutil.rmtree(parts)
            reached = 0
    end = train_often(pairs_dir, parts, steps=steps)
    assert same_tensors(whole.snapshots[-1], end.snapshots[-1])
    assert lasting(whole.path) == lasting(end.path)
    assert not list(parts.rglob(".writing-*"))


def test_a_run_that_is_killed_ends_with_the_same_bytes(pairs_dir, tmp_path):
    killed_again_and_again(pairs_dir, tmp_path, steps=16, kills=4, seed=0)


@pytest.mark.speed
def test_a_run_that_is_killed_a_hundred_times(pairs_dir, tmp_path):
    """Takes some minutes: `pytest -m speed -k hundred`."""
    killed_again_and_again(pairs_dir, tmp_path, steps=200, kills=100, seed=1)


def test_it_goes_on_in_another_folder(pairs, tmp_path):
    whole = train_often(pairs, tmp_path / "whole")
    train_often(pairs, tmp_path / "here", steps=4)
    moved = shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert same_tensors(whole.snapshots[-1], train_often(pairs, moved).snapshots[-1])


def test_other_pictures_are_detected(pairs_dir, tmp_path):
    folder = shutil.copytree(pairs_dir, tmp_path / "pairs")
    run_dir = train_often(folder, tmp_path / "run", steps=2).path
    shutil.copy(folder / "human" / "00001.png", folder / "human" / "00002.png")
    before = contents(run_dir)
    refusal(ValueError, lambda: train_often(folder, run_dir), "pairs (other pictures or groups than there)")
    assert contents(run_dir) == before
    shutil.copy(pairs_dir / "human" / "00002.png", folder / "human" / "00002.png")
    # The same pictures under other names and formats are the same set.

    Image.open(folder / "human" / "00002.png").save(folder / "human" / "00002.bmp")
    (folder / "human" / "00002.png").unlink()
    assert train_often(folder, run_dir).stats[-1]["step"] == 6


def test_resume_modes(pairs, tmp_path):
    refusal(
        ValueError,
        lambda: train_often(pairs, tmp_path / "run", resume="must"),
        "expected a checkpoint",
        "resume is must",
    )
    train_often(pairs, tmp_path / "run", steps=2, resume="never")
    refusal(ValueError, lambda: train_often(pairs, tmp_path / "run", resume="never"), "expected no checkpoint")
    assert train_often(pairs, tmp_path / "run", steps=4, resume="must").stats[-1]["step"] == 4
    refusal(
        ValueError, lambda: train_often(pairs, tmp_path / "run", resume="maybe"), "resume: expected auto, never or must"
    )


def test_a_second_process_fails(pairs, pairs_dir, tmp_path):
    with begun(pairs_dir, tmp_path / "run", 100_000) as process:
        assert any(line.startswith("step 2") for line in process.stdout)
        before = (tmp_path / "run" / "config.json").read_bytes()
        text = refusal(
            RuntimeError, lambda: train_often(pairs, tmp_path / "run", steps=5), tmp_path / "run", "another process"
        )
        assert "training in this folder" in text
        assert (tmp_path / "run" / "config.json").read_bytes() == before
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
    assert process.returncode == 128 + signal.SIGTERM
    # The step was finished and saved, and the lock is free.
    (newest,) = checkpoints(tmp_path / "run")[-1:]
    reached = int(newest.stem.split("_")[1])
    assert reached >= 2
    assert train_often(pairs, tmp_path / "run", steps=reached + 2).stats[-1]["step"] == reached + 2


def test_a_run_that_goes_on_takes_its_own_settings(pairs, run, tmp_path):
    used = shutil.copytree(run.path, tmp_path / "used")
    # Neither preset nor length: the run is done.
    assert cagan.train(pairs, used, progress=False).config == run.config
    longer = cagan.train(pairs, used, steps=6, progress=False)
    assert longer.config == run.config.replace(steps=6)
    assert steps(used)[-2:] == [4, 6]
    # The length of one call is no setting of the run.
    cut = cagan.train(pairs, used, steps=8, time_limit_s=1e-9, progress=False)
    assert cut.stats[-1]["step"] < 8
    assert cagan.train(pairs, used, progress=False).stats[-1]["step"] == 8
    # Another preset is refused, and the message names three of the many differences.
    with pytest.raises(ValueError, match=r"got other ones: .* and \d+ more; take the old settings") as caught:
        cagan.train(pairs, used, preset="paper", progress=False)
    assert str(caught.value).count(" there, ") == 3
    with pytest.raises(TypeError, match="preset: expected a config or a preset, got both"):
        cagan.train(pairs, used, "smoke", preset="smoke")
