"""Damaged checkpoints, full and read-only disks: good files stay, and the run goes on."""

import json
import os
import random
import resource
import shutil
import subprocess

import cagan
import helpers
import pytest
from helpers import checkpoints, contents, lasting, read_tensors, refusal, same_tensors, train_often, write_tensors

# Checkpoints


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_checkpoint_is_skipped(pairs, tmp_path, damage):
    whole = train_often(pairs, tmp_path / "whole", steps=8)
    run_dir = train_often(pairs, tmp_path / "run", steps=6).path
    newest = checkpoints(run_dir)[-1]
    data = bytearray(newest.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 4
    newest.write_bytes({"truncated": data[:-100], "flipped": data, "empty": b""}[damage])
    with pytest.warns(UserWarning, match=rf"{newest.name}: expected .*going on from step 4") as caught:
        end = train_often(pairs, run_dir, steps=8)
    assert caught[0].filename == helpers.__file__, "the caller of `cagan.train`"
    assert same_tensors(whole.snapshots[-1], end.snapshots[-1])
    assert [line["step"] for line in end.stats] == list(range(1, 9))
    # With all checkpoints damaged the call fails and overwrites nothing.
    for path in checkpoints(run_dir):
        path.write_bytes(path.read_bytes()[:50])
    before = contents(run_dir)
    refusal(
        ValueError, lambda: train_often(pairs, run_dir, steps=10), checkpoints(run_dir)[-1], "whole safetensors file"
    )
    assert contents(run_dir) == before


@pytest.mark.parametrize("damage", ["flipped", "truncated"])
def test_damage_at_any_place_is_detected(pairs, tmp_path, damage):
    """At random places: the run goes on from the previous checkpoint and writes the same bytes again."""
    run = cagan.train(pairs, tmp_path / "run", "smoke", steps=2, width=8, checkpoint_every=1, threads=1, progress=False)
    newest = checkpoints(run.path)[-1]
    whole = newest.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    rng = random.Random(damage)
    # Half of the places are in the header, which is short.
    places = [rng.randrange(header) for _ in range(20)] + [rng.randrange(len(whole)) for _ in range(20)]
    noticed = 0
    for place in places:
        if damage == "flipped":
            damaged = bytearray(whole)
            damaged[place] ^= 1 << rng.randrange(8)
        else:
            damaged = whole[:place]
        newest.write_bytes(damaged)
        with pytest.warns(UserWarning, match=rf"{newest.name}: .*; going on from step 1$") as caught:
            cagan.train(pairs, run.path, "smoke", steps=2, width=8, checkpoint_every=1, threads=1, progress=False)
        assert newest.read_bytes() == whole
        noticed += len(caught)
    assert noticed == len(places)
    shutil.rmtree(run.path)


def test_a_checkpoint_without_its_checksum_fails(pairs, tmp_path):
    run = cagan.train(pairs, tmp_path / "run", "smoke", steps=2, threads=1, progress=False)
    (checkpoint,) = (run.path / "checkpoints").iterdir()
    write_tensors(checkpoint, *read_tensors(checkpoint))
    with pytest.raises(ValueError, match="expected `checksum` in the header"):
        cagan.train(pairs, run.path, "smoke", steps=3, threads=1, progress=False)


# Disks


def mounted(folder, *options):
    return subprocess.run(["mount", *options, "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a small file system of its own. Skips where this process may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not mounted(folder, "-o", "size=4m"):
        pytest.skip("needs the right to mount")
    yield folder
    subprocess.run(["umount", folder], check=True)


def no_leftovers(run_dir):
    return not list(run_dir.rglob(".writing-*"))


def test_a_disk_that_is_full_for_a_while(pairs, small_disk, tmp_path):
    """Nothing fits from step 3 to step 15: checkpoint, snapshot, sample and log are tried again later."""
    run_dir, ballast = small_disk / "run", small_disk / "ballast"

    def fill(name, value):
        if (name, value) == ("step", 3):
            with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(4096))
        elif (name, value) == ("step", 15):
            assert [path.stem for path in checkpoints(run_dir)] == ["step_00000002"]
            assert no_leftovers(run_dir)
            ballast.unlink()

    with pytest.warns(UserWarning, match="No space left on device") as caught:
        run = train_often(pairs, run_dir, steps=18, on_event=fill)
    refused = {str(warning.message).split(":")[0].split("/")[-1] for warning in caught}
    # The log's last block has room for a few lines, not for twelve.
    assert refused >= {"step_00000003.safetensors", "step_00000004.safetensors", "step_00000005.png", "stats.jsonl"}
    whole = train_often(pairs, tmp_path / "whole", steps=18)
    assert same_tensors(whole.snapshots[-1], run.snapshots[-1])
    assert same_tensors(checkpoints(whole.path)[-1], checkpoints(run_dir)[-1])
    # The values of a log line that did not fit go into the next line; no line is torn.
    lines = (run_dir / "stats.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(set(steps))
    assert (steps[-1], len(steps) < 18) == (18, True)


def test_a_write_that_fails_in_the_middle_is_a_warning(pairs, tmp_path):
    """A folder in a file's place makes the write fail: saved files stay, and the run goes on."""
    run_dir = tmp_path / "run"

    def block(name, value):
        if (name, value) == ("step", 3):
            (run_dir / "checkpoints" / "step_00000004.safetensors" / "x").mkdir(parents=True)

    with pytest.warns(UserWarning, match=r"step_00000004\.safetensors"):
        run = train_often(pairs, run_dir, steps=6, on_event=block)
    assert run.stats[-1]["step"] == 6
    whole = train_often(pairs, tmp_path / "whole", steps=6)
    assert same_tensors(whole.snapshots[-1], run.snapshots[-1])


def test_files_that_may_not_grow(pairs, tmp_path):
    """A limit on the size of files from step 5 to the end: the end is an error, and the same call goes on."""
    run_dir = tmp_path / "run"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(name, value):
        if (name, value) == ("step", 5):
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))

    try:
        with pytest.warns(UserWarning, match="File too large"):
            refusal(OSError, lambda: train_often(pairs, run_dir, steps=7, on_event=limit), "File too large", run_dir)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert checkpoints(run_dir)[-1].stem == "step_00000004"
    assert no_leftovers(run_dir)
    whole = train_often(pairs, tmp_path / "whole", steps=7)
    end = train_often(pairs, run_dir, steps=7)
    assert lasting(whole.path) == lasting(end.path)


def read_only(folder, on):
    """Makes a folder read-only or writable. For the superuser, who ignores permissions, by a read-only mount."""
    if os.geteuid() == 0:
        if not on:
            subprocess.run(["umount", folder], check=True)
        elif subprocess.run(["mount", "--bind", folder, folder], capture_output=True).returncode != 0:
            pytest.skip("needs the right to mount")
        else:
            subprocess.run(["mount", "-o", "remount,bind,ro", folder], check=True)
    else:
        for path in (folder, *folder.rglob("*")):
            path.chmod((0o555 if path.is_dir() else 0o444) if on else (0o755 if path.is_dir() else 0o644))


def test_a_disk_that_becomes_read_only(pairs, tmp_path):
    lockable = tmp_path / "disk"
    run_dir = lockable / "run"
    run_dir.mkdir(parents=True)
    read_only(lockable, True)
    with pytest.raises(OSError, match=str(run_dir)):
        train_often(pairs, run_dir)
    read_only(lockable, False)

    def lock(name, value):
        if (name, value) == ("step", 5):
            read_only(lockable, True)

    with pytest.warns(UserWarning, match="Read-only|Permission denied"), pytest.raises(OSError, match=str(run_dir)):
        train_often(pairs, run_dir, steps=7, on_event=lock)
    before = contents(run_dir)
    with pytest.raises(OSError, match=str(run_dir)):
        train_often(pairs, run_dir, steps=7)
    assert contents(run_dir) == before
    read_only(lockable, False)
    assert checkpoints(run_dir)[-1].stem == "step_00000004"
    assert lasting(train_often(pairs, tmp_path / "whole", steps=7).path) == lasting(
        train_often(pairs, run_dir, steps=7).path
    )
