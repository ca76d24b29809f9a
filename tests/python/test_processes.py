"""Several processes train one run: as one process would, to one end, and again after any of them is gone."""

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import cagan
import crew
import numpy as np
import pytest
from helpers import (
    DIVERGING,
    OFTEN,
    assert_same_end,
    checkpoints,
    contents,
    read_tensors,
    refusal,
    run_examples,
    steps,
    train,
)
from PIL import Image

HERE = Path(__file__).parent


class Processes:
    """Processes of gloo on this machine, without a launcher.

    Args:
        folder: A folder for what they say.
        world: Their number.
        jobs: What each of them does, one after the other; see `crew.py`.
    """

    def __init__(self, folder, world, jobs):
        folder.mkdir()
        self.folder, self.jobs = folder, jobs
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        shared = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        shared |= {"OMP_NUM_THREADS": 1}
        command = [sys.executable, "-W", "error", HERE / "crew.py", folder, json.dumps(jobs)]
        environments = [shared | {"RANK": rank, "LOCAL_RANK": rank} for rank in range(world)]
        self.processes = [
            subprocess.Popen(
                command,
                env=os.environ | {name: str(value) for name, value in environment.items()},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for environment in environments
        ]

    def said(self):
        """Waits, and returns what each process said of each job; of a process that was killed, None."""
        outputs = [process.communicate(timeout=300)[0] for process in self.processes]
        for process, output in zip(self.processes, outputs):
            assert process.returncode in (0, -signal.SIGKILL), output

        def word(number, rank):
            path = self.folder / f"{number}.{rank}"
            return path.read_text() if path.exists() else None

        return [[word(number, rank) for rank in range(len(self.processes))] for number in range(len(self.jobs))]


def job(pairs_dir, run, steps=6, **more):
    """Trains with the preset smoke."""
    often = OFTEN | {"checkpoint_every": 3, "log_every": 2, "monitor_every": 3}
    settings = {"config": "smoke", "threads": 1, "device": "cpu", "steps": steps, **often, **more.pop("settings", {})}
    return {"do": "train", "pairs": str(pairs_dir), "run": str(run), "settings": settings, **more}


# One step


@pytest.fixture(scope="module")
def alone(pairs):
    """The gradients of one step in one process, by form."""
    return {form: crew.gradients(form, pairs) for form in crew.FORMS}


@pytest.mark.parametrize("world", [2, 3])
def test_the_gradients_are_those_of_one_process(pairs_dir, alone, tmp_path, world):
    forms = list(crew.FORMS)
    jobs = [{"do": "gradients", "form": form, "pairs": str(pairs_dir)} for form in forms]
    said = Processes(tmp_path / "out", world, jobs).said()
    assert said == [[None] * world] * len(forms)
    for number, form in enumerate(forms):
        each = [dict(np.load(tmp_path / f"out/{number}.{rank}.npz")) for rank in range(world)]
        for name in ("generator", "discriminator", "weights"):
            for other in each[1:]:
                assert np.array_equal(each[0][name], other[name]), "all processes hold the same numbers"
        apart = {
            name: np.linalg.norm(each[0][name] - values) / max(np.linalg.norm(values), 1e-30)
            for name, values in alone[form].items()
            if name != "terms"
        }
        assert apart["generator"] < 5e-6, (form, apart)
        # The hinge begins on its kink.
        assert apart["discriminator"] < 1e-3, (form, apart)


# Ends


@pytest.fixture(scope="module")
def whole(pairs_dir, tmp_path_factory):
    """A run of two processes without a stop; not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    said = Processes(folder / "out", 2, [job(pairs_dir, folder / "run")]).said()
    assert said == [["done: run"] * 2]
    return folder / "run"


def test_the_first_process_alone_writes_and_a_line_is_of_all(pairs, whole, tmp_path):
    settings = {**job("", "")["settings"], "progress": False}
    run = train(pairs, tmp_path / "one", **settings)
    assert sorted(contents(whole)) == sorted(contents(run.path))
    # The first lines are of weights that differ by rounding alone.
    for mine, theirs in zip(cagan.Run(whole).stats[:1], run.stats[:1], strict=True):
        assert {name for name in mine if not name.startswith("time/")} <= set(theirs)
        for name, value in mine.items():
            assert name.startswith("time/") or value == pytest.approx(theirs[name], rel=2e-4, abs=1e-5), name
    first, one = (read_tensors(checkpoints(path)[0])[1] for path in (whole, run.path))
    for name in (name for name in one if name.startswith("generator.")):
        assert np.abs(first[name] - one[name]).max() < 1e-3, name


def test_a_stop_or_an_error_of_any_process_ends_all_at_one_step_and_another_number_goes_on(pairs_dir, whole, tmp_path):
    """Both processes go through all jobs, so that none of them hangs."""
    jobs = [
        job(pairs_dir, tmp_path / "stopped", at=2, to=1, signal="SIGINT"),
        job(pairs_dir, tmp_path / "raised", at=4, to=1, signal="SIGUSR1"),
        job(pairs_dir, tmp_path / "first", at=4, to=0, signal="SIGUSR1"),
        job(pairs_dir, tmp_path / "late", settings={"time_limit_s": 1e-9}),
        job(pairs_dir, tmp_path / "many", settings={"batch_size": 1}),
        job(pairs_dir, tmp_path / "other", differ=True),
        job(pairs_dir, tmp_path / "stopped"),
        job(pairs_dir, tmp_path / "diverged", steps=40, settings=DIVERGING | {"on_non_finite": "rollback"}),
        {"do": "join"},
    ]
    said = Processes(tmp_path / "out", 2, jobs).said()
    stopped, raised, first, late, many, other, again, diverged, joined = said
    assert stopped == ["RuntimeError: process 1 of 2: KeyboardInterrupt", "KeyboardInterrupt: "]
    words = "CheckError: the check of this process"
    assert raised == [f"RuntimeError: process 1 of 2: {words}", words]
    assert first == [words, f"RuntimeError: process 0 of 2: {words}"]
    assert late[1] == "done: late"
    assert many == ["ValueError: batch_size: expected at least one picture for each of 2 processes, got 1"] * 2
    words = (
        "pairs: expected those of process 0 (8 pairs, 16 files) in all processes, got 7 pairs, 14 files, or other names"
    )
    assert other == [f"RuntimeError: process 1 of 2: {words}", f"ValueError: {words}"]
    assert not (tmp_path / "other").exists()
    assert again == ["done: stopped"] * 2
    assert diverged[0] == diverged[1]
    assert diverged[0].startswith("FloatingPointError: ")
    assert joined == ["[0, 2, 0, 2], True", "[1, 2, 1, 2], True"]
    at = steps(tmp_path / "raised")[-1]
    assert at in (4, 5)
    assert checkpoints(tmp_path / "raised")[-1].name == f"step_{at:08}.safetensors"
    assert_same_end(tmp_path / "stopped", whole)
    resumes = [json.loads(line) for line in (tmp_path / "stopped/resumes.jsonl").read_text().splitlines()]
    assert [line["world"] for line in resumes] == [2]
    assert resumes[0]["step"] in (2, 3)
    # One process goes on with what two began.
    run = cagan.train(pairs_dir, tmp_path / "raised", progress=False)
    assert steps(run.path)[-1] == 6
    assert json.loads((tmp_path / "raised/resumes.jsonl").read_text()) == {"step": at}


def test_a_killed_process_is_an_error_of_the_others_and_the_run_ends_with_the_same_bytes(pairs_dir, whole, tmp_path):
    run = tmp_path / "run"
    for number, killed in enumerate((1, 0)):
        processes = Processes(
            tmp_path / f"out{number}", 2, [job(pairs_dir, run, at=4 + number, to=killed, signal="SIGKILL")]
        )
        ((first, second),) = processes.said()
        survivor, dead = (first, second) if killed == 1 else (second, first)
        assert dead is None
        assert survivor.startswith("RuntimeError: a process of this run is gone or does not answer: ")
    said = Processes(tmp_path / "out", 2, [job(pairs_dir, run)]).said()
    assert said == [["done: run"] * 2]
    assert_same_end(run, whole)


# Pictures


def test_the_first_look_is_shared_out_and_streams_alike(copied, whole, tmp_path):
    """Broken pictures in the part of either process are left out by both."""
    streams = {"loader": "streaming", "loader_workers": 1}
    jobs = [job(copied, tmp_path / "streaming", settings=streams)]
    assert Processes(tmp_path / "out", 2, jobs).said() == [["done: streaming"] * 2]
    assert_same_end(tmp_path / "streaming", whole)
    for pair in cagan.Pairs(copied)[:2]:
        Path(pair.article_path).write_bytes(b"no picture")
    jobs = [job(copied, tmp_path / "resident", settings={"loader": "resident"})]
    assert Processes(tmp_path / "out2", 2, jobs).said() == [["done: resident"] * 2]
    with pytest.warns(UserWarning, match="2 skipped, 6 pairs left"):
        one = cagan.train(cagan.Pairs(copied, on_error="skip"), tmp_path / "one", **jobs[0]["settings"], progress=False)
    same = (tmp_path / "resident/skipped.csv").read_bytes()
    assert same == (one.path / "skipped.csv").read_bytes()
    entries = [read_tensors(checkpoints(path)[-1])[0] for path in (tmp_path / "resident", one.path)]
    assert entries[0]["data"] == entries[1]["data"]


def test_the_hashes_of_a_large_set_are_kept_by_any_number_of_processes(tmp_path):
    """A second start of either takes those of the other; what one of them reads anew is kept with them."""
    folder = tmp_path / "dolls"
    cagan.dolls(folder, count=520, size=16, swaps=0)
    for path in folder.rglob("*.png"):
        os.utime(path, (0, 1e9))
    streams = {"loader": "streaming", "loader_workers": 1, "image_size": 64, "monitor_every": 0}
    kept = folder / ".cagan-sums"
    jobs = [job(folder, tmp_path / "two", steps=2, settings=streams)]
    assert Processes(tmp_path / "out", 2, jobs).said() == [["done: two"] * 2]
    ours = kept.read_bytes()
    assert len(ours) > 32 * 1040
    kept.unlink()
    cagan.Loader(cagan.Pairs(folder), cagan.Config("smoke", **streams))
    assert kept.read_bytes() == ours
    # Other pictures of the same length and time, in the parts of both: nobody looks while the hashes are kept.
    small = io.BytesIO()
    Image.new("RGB", (16, 16), "red").save(small, "png")
    for path in sorted(folder.glob("human/*")):
        path.write_bytes(small.getvalue().ljust(path.stat().st_size, b"\0"))
        os.utime(path, (0, 1e9))
    jobs = [job(folder, tmp_path / name, steps=2, settings=streams) for name in ("again", "anew")]
    assert Processes(tmp_path / "out2", 2, jobs[:1]).said() == [["done: again"] * 2]
    kept.unlink()
    assert Processes(tmp_path / "out3", 2, jobs[1:]).said() == [["done: anew"] * 2]
    data = [read_tensors(checkpoints(tmp_path / name)[-1])[0]["data"] for name in ("two", "again", "anew")]
    assert data[0] == data[1] != data[2]


# The launcher


def test_the_launcher_passes_signals_on_and_the_first_process_prints(pairs_dir, whole, tmp_path):
    settings = job("", "")["settings"]
    options = [f"--{name.replace('_', '-')}={value}" for name, value in settings.items() if name != "config"]
    arguments = ["train", str(pairs_dir), str(tmp_path / "run"), "--preset=smoke", *options]
    program = "import sys; from cagan.launching import launch; sys.exit(launch(2, sys.argv[1:]))"
    command = [sys.executable, "-W", "error", "-c", program, *arguments]
    first = subprocess.Popen([*command, "--steps=1000"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    log = tmp_path / "run/stats.jsonl"
    while first.poll() is None and not (log.exists() and log.read_text()):
        time.sleep(0.05)
    first.send_signal(signal.SIGTERM)
    out, errors = first.communicate(timeout=120)
    assert first.returncode == 128 + signal.SIGTERM, errors
    assert "Traceback" not in out + errors
    at = steps(tmp_path / "run")[-1]
    assert checkpoints(tmp_path / "run")[-1].name == f"step_{at:08}.safetensors"
    shutil.rmtree(tmp_path / "run")
    bad = subprocess.run([*command, "--batch-size=1"], capture_output=True, text=True, timeout=120)
    assert bad.returncode == 1
    assert set(bad.stderr.splitlines()) == {
        "error: batch_size: expected at least one picture for each of 2 processes, got 1"
    }
    done = subprocess.run([*command, "-q"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        str(tmp_path / "run" / name) for name in ("snapshots/step_00000006.safetensors", "samples/step_00000006.png")
    ]
    assert_same_end(tmp_path / "run", whole)


def test_gpus_that_are_not_there_are_an_error(call, monkeypatch, pairs_dir, tmp_path):
    monkeypatch.setattr(cagan._cagan, "system", lambda: {"cuda_devices": 1})
    arguments = ["train", pairs_dir, tmp_path / "run"]
    code, _, errors = call(*arguments, "--gpus", "2")
    assert (code, errors) == (1, "error: --gpus: expected at most 1, the number of GPUs that libtorch finds, got 2\n")
    code, _, errors = call(*arguments, "--gpus", "1", "--device", "cpu")
    assert (code, errors) == (1, "error: --gpus: expected device auto or cuda, got cpu\n")
    monkeypatch.setenv("WORLD_SIZE", "2")
    code, _, errors = call(*arguments, "--gpus", "1")
    assert code == 1
    assert "torchrun did not start" in errors


def test_a_command_line_goes_on_without_its_gpus():
    import cagan.launching

    assert run_examples("without_gpus", cagan.launching.without_gpus) == 2


# A group of one's own


def test_who_opts_out_is_alone_and_who_insists_is_not(pairs, run, monkeypatch, tmp_path):
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    alone = train(pairs, tmp_path, steps=4, distributed=False)
    assert_same_end(alone.path, run.path)
    monkeypatch.setenv("WORLD_SIZE", "1")
    text = "distributed: expected a process group of torch.distributed"
    refusal(ValueError, lambda: train(pairs, tmp_path / "two", distributed=True), text)
    with cagan.team() as team:
        assert team is None
