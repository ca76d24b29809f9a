"""A run is killed, its files are damaged, its disk refuses, a second process comes: it goes on as if nothing was."""

import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import cagan
import pytest
from conftest import contents, refusal, same_tensors

SETTINGS = {"threads": 1, "checkpoint_every": 2, "snapshot_every": 3, "sample_every": 5, "log_every": 1}


def train(pairs, run_dir, steps=6, **options):
    return cagan.train(pairs, run_dir, "smoke", steps=steps, progress=False, **SETTINGS, **options)


def lasting(run_dir):
    """What a run leaves, but for times, temporary names and stops: each file of numbers by its content."""
    kept = {}
    for name, data in contents(run_dir).items():
        if name.startswith("checkpoints") or name in (".lock", "resumes.jsonl"):
            continue
        if name == "stats.jsonl":
            lines = data.decode().splitlines()
            data = "\n".join(line.split(', "time')[0].split(',"time')[0] for line in lines).encode()
        kept[name] = data
    return kept


# Trains in a process of its own, which says each step and each write.
TRAIN = """
    import sys, cagan
    def say(name, value):
        print(name, value if name == "step" else "", flush=True)
    cagan.train(sys.argv[1], sys.argv[2], "smoke", progress=False, on_event=say, **eval(sys.argv[3]))
"""


def begun(pairs_dir, run_dir, steps):
    arguments = [pairs_dir, run_dir, repr(SETTINGS | {"steps": steps})]
    code = textwrap.dedent(TRAIN)
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True)


def killed_again_and_again(pairs_dir, tmp_path, steps, kills, seed):
    whole = train(pairs_dir, tmp_path / "whole", steps=steps)
    parts = tmp_path / "parts"
    rng = random.Random(seed)
    alive = 0
    while alive < kills:
        # Anywhere: while it loads, in a step, in a write; each life gets a little further than the last checkpoint.
        wanted = rng.randrange(1, 25)
        with begun(pairs_dir, parts, steps) as process:
            for number, _ in enumerate(process.stdout, 1):
                if number == wanted:
                    time.sleep(rng.random() * 0.02)
                    break
            process.kill()
        alive += 1
        if process.returncode == 0:
            shutil.rmtree(parts)
    end = train(pairs_dir, parts, steps=steps)
    assert same_tensors(whole.snapshots[-1], end.snapshots[-1])
    assert lasting(whole.path) == lasting(end.path)
    assert not list(parts.rglob(".writing-*"))


def test_a_run_that_is_killed_ends_with_the_same_bytes(pairs_dir, tmp_path):
    killed_again_and_again(pairs_dir, tmp_path, steps=16, kills=4, seed=0)


@pytest.mark.speed
def test_a_run_that_is_killed_thirty_times(pairs_dir, tmp_path):
    """Takes some minutes: `pytest -m speed -k thirty`."""
    killed_again_and_again(pairs_dir, tmp_path, steps=60, kills=30, seed=1)


def test_it_goes_on_in_another_folder(pairs, tmp_path):
    whole = train(pairs, tmp_path / "whole")
    train(pairs, tmp_path / "here", steps=4)
    moved = shutil.copytree(tmp_path / "here", tmp_path / "there")
    assert same_tensors(whole.snapshots[-1], train(pairs, moved).snapshots[-1])


def checkpoints(run_dir):
    return sorted((run_dir / "checkpoints").iterdir())


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_passed_over(pairs, tmp_path, damage):
    whole = train(pairs, tmp_path / "whole", steps=8)
    run_dir = train(pairs, tmp_path / "run", steps=6).path
    newest = checkpoints(run_dir)[-1]
    data = bytearray(newest.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 4
    newest.write_bytes({"truncated": data[:-100], "flipped": data, "empty": b""}[damage])
    with pytest.warns(UserWarning, match=rf"{newest.name}: expected .*going on from step 4") as caught:
        end = train(pairs, run_dir, steps=8)
    assert caught[0].filename == __file__
    assert same_tensors(whole.snapshots[-1], end.snapshots[-1])
    assert [line["step"] for line in end.stats] == list(range(1, 9))
    # With all of them damaged nothing is begun anew over them.
    for path in checkpoints(run_dir):
        path.write_bytes(path.read_bytes()[:50])
    before = contents(run_dir)
    refusal(ValueError, lambda: train(pairs, run_dir, steps=10), checkpoints(run_dir)[-1], "whole safetensors file")
    assert contents(run_dir) == before


def test_other_pictures_are_noticed(pairs_dir, tmp_path):
    folder = shutil.copytree(pairs_dir, tmp_path / "pairs")
    run_dir = train(folder, tmp_path / "run", steps=2).path
    shutil.copy(folder / "human" / "00001.png", folder / "human" / "00002.png")
    before = contents(run_dir)
    refusal(ValueError, lambda: train(folder, run_dir), "pairs (other pictures or groups than there)")
    assert contents(run_dir) == before
    shutil.copy(pairs_dir / "human" / "00002.png", folder / "human" / "00002.png")
    # Other names and formats of the same pictures are the same set.
    from PIL import Image

    Image.open(folder / "human" / "00002.png").save(folder / "human" / "00002.bmp")
    (folder / "human" / "00002.png").unlink()
    assert train(folder, run_dir).stats[-1]["step"] == 6


def test_resume_modes(pairs, tmp_path):
    refusal(
        ValueError, lambda: train(pairs, tmp_path / "run", resume="must"), "expected a checkpoint", "resume is must"
    )
    train(pairs, tmp_path / "run", steps=2, resume="never")
    refusal(ValueError, lambda: train(pairs, tmp_path / "run", resume="never"), "expected no checkpoint")
    assert train(pairs, tmp_path / "run", steps=4, resume="must").stats[-1]["step"] == 4
    refusal(ValueError, lambda: train(pairs, tmp_path / "run", resume="maybe"), "resume: expected auto, never or must")


def test_a_second_process_is_refused(pairs, pairs_dir, tmp_path):
    with begun(pairs_dir, tmp_path / "run", 100_000) as process:
        assert any(line.startswith("step 2") for line in process.stdout)
        before = (tmp_path / "run" / "config.json").read_bytes()
        text = refusal(
            RuntimeError, lambda: train(pairs, tmp_path / "run", steps=5), tmp_path / "run", "another process"
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
    assert train(pairs, tmp_path / "run", steps=reached + 2).stats[-1]["step"] == reached + 2


def test_lengths(pairs, tmp_path):
    by_images = train(pairs, tmp_path / "images", steps=None, images=18)
    assert by_images.stats[-1]["step"] == 5
    run = cagan.train(
        pairs, tmp_path / "time", "smoke", steps=10**9, time_limit_s=1.0, threads=1, progress=False, log_every=1
    )
    reached = run.stats[-1]["step"]
    assert 1 < reached < 10**6
    assert checkpoints(run.path)[-1].stem == f"step_{reached:08}"
    assert run.snapshots[-1].stem == f"step_{reached:08}"


def test_a_disk_that_refuses_in_the_middle_is_a_warning(pairs, tmp_path):
    """A folder in a file's place stands for the full disk: what is there stays, and the run goes on."""
    run_dir = tmp_path / "run"

    def block(name, value):
        if (name, value) == ("step", 3):
            (run_dir / "checkpoints" / "step_00000004.safetensors" / "x").mkdir(parents=True)

    with pytest.warns(UserWarning, match=r"step_00000004\.safetensors"):
        run = train(pairs, run_dir, steps=6, on_event=block)
    assert run.stats[-1]["step"] == 6
    whole = train(pairs, tmp_path / "whole", steps=6)
    assert same_tensors(whole.snapshots[-1], run.snapshots[-1])
