"""File systems that refuse locks, permissions or syncs, and disks whose writes fail; links, pipes and the umask."""

import json
import os
import shutil
import stat
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import cagan
import pytest
from helpers import read_png, train


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    """A library to preload, of `refusing_disk.c`."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler, and Linux's way to preload a library")
    library = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).parent / "refusing_disk.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def shimmed(shim, code, folder, *arguments):
    """Runs Python code behind the library, in a folder. Returns its standard output."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        cwd=folder,
        env=os.environ
        | {"LD_PRELOAD": str(shim), "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# Refusals

REFUSED = """
    import json, os, sys, warnings
    import cagan
    pairs = cagan.Pairs(sys.argv[1])
    warnings.simplefilter("always")
    told = {}
    for name in sys.argv[2:]:
        os.environ["REFUSE"] = name
        with warnings.catch_warnings(record=True) as caught:
            for steps in (2, 4):
                run = cagan.train(pairs, name, "smoke", steps=steps, threads=1, progress=False)
            swap = run.swapper().swap(pairs[0].human, pairs[0].article, pairs[1].article)
            with open(f"{name}/swap.png", "wb"):
                os.chmod(f"{name}/swap.png", 0o666)
                if os.geteuid() == 0:
                    os.chown(f"{name}/swap.png", 12345, 12345)
            swap.save(f"{name}/swap.png")
        told[name] = [str(warning.message) for warning in caught]
    print(json.dumps(told))
"""
WORDS = {
    "flock": "has no locks",
    "fchmod": "refuses permissions",
    "fchown": "refuses another owner",
    "fsync-folder": "cannot sync",
    "nothing": None,
}


def test_what_a_file_system_refuses_is_told_once_and_work_goes_on(shim, pairs_dir, tmp_path, run):
    told = json.loads(shimmed(shim, REFUSED, tmp_path, pairs_dir, *WORDS))
    for name, words in WORDS.items():
        end = cagan.Run(tmp_path / name)
        assert end.snapshots[-1].name == run.snapshots[-1].name, name
        assert read_png(tmp_path / name / "swap.png").shape == (64, 64, 3)
        if words is None or (name == "fchown" and os.geteuid() != 0):
            assert told[name] == []
        else:
            (text,) = told[name]
            assert words in text, name
    # All at once is one warning for what a run needs; the lock is what the others say nothing of.
    other = tmp_path / "at once"
    other.mkdir()
    told = json.loads(shimmed(shim, REFUSED, other, pairs_dir, " ".join(WORDS)))
    assert sum("has no locks" in text and "cannot sync" in text for text in next(iter(told.values()))) == 1


# Links, pipes, rights


@pytest.mark.skipif(os.name != "posix", reason="links, pipes and permissions of POSIX")
def test_saving_writes_through_links_and_into_pipes_and_keeps_rights(pairs, swapper, tmp_path):
    swap = swapper.swap(pairs[0].human, pairs[0].article, pairs[1].article)
    plain, link, dangling = (tmp_path / name for name in ("plain.png", "link.png", "dangling.png"))
    swap.save(plain)
    plain.chmod(0o604)
    if os.geteuid() == 0:
        os.chown(plain, 12345, 54321)
    before = plain.stat()
    link.symlink_to("plain.png")
    dangling.symlink_to("made.png")
    swap.save(link)
    swap.save(dangling)
    after = plain.stat()
    assert [getattr(after, name) == getattr(before, name) for name in ("st_mode", "st_uid", "st_gid")] == [True] * 3
    assert link.is_symlink()
    assert dangling.is_symlink()
    assert (tmp_path / "made.png").read_bytes() == plain.read_bytes()
    pipe, got = tmp_path / "pipe.png", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    swap.save(pipe)
    reader.join()
    assert got == [plain.read_bytes()]
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    # A folder in the file's place stays.
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(OSError, match=r"folder\.png"):
        swap.save(tmp_path / "folder.png")
    assert {path.name for path in tmp_path.iterdir()} >= {"folder.png", "made.png"}
    assert not list(tmp_path.glob(".writing-*"))


@pytest.mark.skipif(os.name != "posix", reason="the umask of POSIX")
@pytest.mark.parametrize("mask", [0o077, 0o027, 0o000])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_every_new_file_obeys_the_umask(tmp_path, mask):
    usual = os.umask(mask)
    try:
        pairs = cagan.dolls(tmp_path / "dolls", count=8, seed=1, size=(64, 64))
        often = {"log_every": 1, "checkpoint_every": 1, "snapshot_every": 1, "sample_every": 1, "monitor_every": 1}
        run = train(pairs, tmp_path / "run", steps=2, tensorboard=True, **often)
        train(pairs, run.path, steps=3, **often)
        run.swapper().swap(pairs[0].human, pairs[0].article, pairs[1].article).save(
            tmp_path / "a.png", tmp_path / "m.png"
        )
        cagan.export(run, tmp_path / "model.safetensors")
        cagan.curate(tmp_path / "dolls", progress=False)
        cagan.evaluate(run, pairs).sheet(tmp_path / "sheet.png")
    finally:
        os.umask(usual)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 40
    wrong = [(str(path), oct(path.stat().st_mode)) for path in files if path.stat().st_mode & 0o777 != 0o666 & ~mask]
    assert wrong == []


# Failures of writes

FAILING = """
    import errno, json, os, random, shutil, sys, warnings
    from pathlib import Path
    os.mkdir("temporary")
    os.environ["TMPDIR"] = os.path.abspath("temporary")
    import cagan
    from helpers import lasting, read_tensors

    warnings.simplefilter("always")
    EVERY = {"checkpoint_every": 2, "snapshot_every": 3, "sample_every": 4, "log_every": 1, "monitor_every": 3}
    KINDS = ["checkpoints/", "snapshots/", "samples/", "stats.jsonl", "monitor.jsonl"]
    ERRORS = [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EDQUOT]
    STEPS = 12
    pairs, count = cagan.Pairs(sys.argv[1]), int(sys.argv[2])

    def train(name, **more):
        return cagan.train(pairs, name, "smoke", steps=STEPS, width=8, threads=1, progress=False, **EVERY, **more)

    def newest(name):
        whole = []
        for path in Path(name, "checkpoints").glob("step_*"):
            read_tensors(path)
            whole.append(int(path.stem.removeprefix("step_")))
        return max(whole, default=0)

    wholes = {keep: lasting(train(f"whole {keep}", keep_checkpoints=keep).path) for keep in (1, 2, 3)}
    told = {"warned": 0, "raised": 0, "missed": 0}
    for seed in range(count):
        rng, name = random.Random(seed), f"run {seed}"
        kind, call = rng.choice(KINDS), rng.choice(["open", "write"] if seed % 3 else ["open", "write", "fsync"])
        begins, lasts = rng.randrange(1, STEPS + 1), rng.randrange(1, STEPS)
        keep = rng.randrange(1, 4)
        whole = wholes[keep]

        def event(event, value):
            if event != "step":
                return
            # Before the last step all that was due is written, but for what fails.
            fails = range(begins, begins + lasts) if kind == "checkpoints/" else ()
            promised = max(step for step in range(0, value, EVERY["checkpoint_every"]) if step not in fails)
            assert newest(name) >= promised, (seed, kind, call, begins, lasts, value, newest(name))
            if value == begins:
                os.environ["FAIL"] = f"{call}:{name}/{kind}:{rng.choice(ERRORS)}"
            if value == begins + lasts:
                os.environ.pop("FAIL", None)

        with warnings.catch_warnings(record=True) as caught:
            try:
                train(name, keep_checkpoints=keep, on_event=event)
                raised = None
            except OSError as error:
                raised = str(error)
        os.environ.pop("FAIL", None)
        words = [str(warning.message) for warning in caught] + ([raised] if raised else [])
        assert all(f"{name}/{kind}" in text for text in words), (seed, kind, words)
        # What fails at the end lies elsewhere, and the error names the place.
        ended = raised and kind == "checkpoints/"
        rescued = list(Path("temporary").rglob("step_*.safetensors"))
        assert len(rescued) == bool(ended), (seed, raised)
        for path in rescued:
            assert (str(path) in raised, path.stem) == (True, f"step_{STEPS:08}"), (seed, raised)
            resumed = lasting(train(path.parents[1], keep_checkpoints=keep, resume="must").path)
            assert resumed["snapshots/step_00000012.safetensors"] == whole["snapshots/step_00000012.safetensors"]
            if seed % 2:
                path.rename(Path(name, "checkpoints", path.name))
            shutil.rmtree("temporary")
            os.mkdir("temporary")
        told["raised" if raised else "warned" if words else "missed"] += 1
        assert not list(Path(name).rglob(".writing-*"))
        # The same call writes what is missing, and the run ends as any other.
        again = lasting(train(name, keep_checkpoints=keep).path)
        lost = {"stats.jsonl", "monitor.jsonl", "config.json"} if words else {"config.json"}
        if kind in ("snapshots/", "samples/"):
            # Those in the middle of a run are not made again.
            lost |= {name for name in whole if name.startswith(kind)} - {f"{kind}step_{STEPS:08}.png"}
        again, whole = ({k: v for k, v in files.items() if k not in lost} for files in (again, whole))
        assert again == whole, seed
    print(json.dumps(told))
"""


def failing_writes(shim, pairs_dir, tmp_path, count):
    told = json.loads(shimmed(shim, FAILING, tmp_path, pairs_dir, count))
    assert sum(told.values()) == count
    assert told["warned"] + told["raised"] > count / 2
    return told


def test_no_failing_write_costs_a_checkpoint(shim, pairs_dir, tmp_path):
    failing_writes(shim, pairs_dir, tmp_path, 8)


FULL_AT_THE_END = """
    import json, os, sys
    import cagan

    pairs, temporary = cagan.Pairs(sys.argv[1]), os.path.abspath("temporary")
    os.mkdir(temporary)
    os.environ["TMPDIR"] = temporary
    def full(event, value):
        if (event, value) == ("step", 4):
            os.environ["FAIL"] = "write:" + sys.argv[2] + ":28"
    try:
        cagan.train(pairs, "r", "smoke", steps=4, threads=1, progress=False, on_event=full)
    except OSError as error:
        text = [error.errno, str(error)]
    os.environ.pop("FAIL")
    print(json.dumps([*text, sorted(os.listdir()), os.listdir(temporary)]))
"""


@pytest.mark.parametrize("where", ["r/checkpoints", "/"], ids=["one disk", "all disks"])
def test_a_disk_that_is_full_at_the_end(shim, pairs_dir, tmp_path, where):
    number, text, here, rescued = json.loads(shimmed(shim, FULL_AT_THE_END, tmp_path, pairs_dir, where))
    assert number == 28
    assert "No space left on device" in text
    assert here == ["r", "temporary"]
    if where == "/":
        assert rescued == []
        return
    assert rescued == ["r-rescued-1"]
    file = tmp_path / "temporary" / "r-rescued-1" / "checkpoints" / "step_00000004.safetensors"
    assert f"the state of step 4 is in {file}, put it into the run's folder `checkpoints` to go on" in text
    shutil.copy(file, tmp_path / "r" / "checkpoints")
    run = train(cagan.Pairs(pairs_dir), tmp_path / "r", steps=4, resume="must")
    assert run.stats[-1]["step"] == 4


@pytest.mark.speed
def test_a_hundred_failing_writes_cost_no_checkpoint(shim, pairs_dir, tmp_path):
    """Takes two minutes: `pytest -m speed -k hundred`."""
    print(failing_writes(shim, pairs_dir, tmp_path, 100))
