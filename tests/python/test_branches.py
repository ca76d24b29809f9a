"""One branch of history: what a run shows is its own, whatever was trained in the folder before."""

import shutil
import warnings

import cagan
import pytest
from helpers import (
    RARELY,
    StopError,
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

OFTEN = {"checkpoint_every": 2, "snapshot_every": 2, "sample_every": 2, "log_every": 1, "monitor_every": 2}


def shown(run):
    """The steps of all that a run shows."""
    numbers = [int(path.stem.removeprefix("step_")) for path in (*run.samples, *run.snapshots)]
    return {*numbers, *(line["step"] for line in (*run.stats, *run.looks)), run.swapper().step}


@pytest.mark.parametrize("back", [2, 4])
def test_gone_back_to_an_older_checkpoint(pairs, tmp_path, back):
    run = train(pairs, tmp_path / "run", steps=8, keep_checkpoints=9, **OFTEN)
    old = contents(run.path)
    for path in checkpoints(run.path):
        if int(path.stem.removeprefix("step_")) > back:
            path.unlink()
    run = train(pairs, run.path, steps=back + 1, keep_checkpoints=9, **OFTEN)
    assert max(shown(run)) == back + 1
    assert run.swapper().step == back + 1
    # Nothing is lost: what was saved is in the folder, or aside.
    aside = contents(run.path / "old" / "1")
    for name, data in old.items():
        if name.startswith(("samples", "snapshots")):
            assert data in (aside.get(name), contents(run.path).get(name)), name
    # On to the end, the files of the same steps are the same, and nothing is kept twice.
    end = train(pairs, run.path, steps=8, keep_checkpoints=9, **OFTEN)
    assert same_tensors(
        end.snapshots[-1], train(pairs, tmp_path / "whole", steps=8, keep_checkpoints=9, **OFTEN).snapshots[-1]
    )
    assert steps(end.path) == list(range(1, 9))
    assert [run.path.name for run in cagan.runs(tmp_path)] == ["run", "whole"]


def test_begun_anew_over_a_finished_run(pairs, tmp_path):
    first = train(pairs, tmp_path / "run", steps=6, tensorboard=True, **OFTEN)
    (first.path / "evaluation.json").write_text("{}")
    train(pairs, first.path, steps=8, **OFTEN)
    before = contents(first.path)
    shutil.rmtree(first.path / "checkpoints")
    with pytest.warns(UserWarning, match=r"reached step 8 and has no checkpoint.*old/1") as caught:
        run = train(pairs, first.path, steps=4, seed=5, **OFTEN)
    assert len(caught) == 1
    assert max(shown(run)) == 4
    assert run.swapper().config == run.config
    assert run.resumes == []
    assert not (run.path / "evaluation.json").exists()
    assert not (run.path / "tensorboard").exists()
    aside = cagan.Run(run.path / "old" / "1")
    assert aside.swapper().step == 8
    kept = {name: data for name, data in before.items() if not name.startswith(("checkpoints", ".lock"))}
    assert contents(aside.path) == kept
    assert [run.path for run in cagan.runs(tmp_path)] == [first.path]
    # With the same settings it is not trained over without a word either; `never` has no checkpoint to fail for.
    shutil.rmtree(run.path / "checkpoints")
    with pytest.warns(UserWarning, match=r"reached step 4 and has no checkpoint.*old/2"):
        train(pairs, first.path, steps=4, seed=5, resume="never", **OFTEN)
    assert cagan.Run(run.path / "old" / "2").stats[-1]["step"] == 4


@pytest.mark.parametrize("what", ["log", "snapshot", "best"])
def test_whatever_a_run_left_is_worth_a_word(pairs, run, tmp_path, what):
    used = shutil.copytree(run.path, tmp_path / "used")
    shutil.rmtree(used / "checkpoints")
    (snapshot,) = (used / "snapshots").iterdir()
    if what == "best":
        snapshot.rename(used / "snapshots" / "best.safetensors")
    elif what == "log":
        snapshot.unlink()
    if what != "log":
        (used / "stats.jsonl").write_bytes(b"\0")
    with pytest.warns(UserWarning, match="begins anew"):
        train(pairs, used, steps=2)


def test_a_run_that_was_killed_early_comes_again_without_a_word(pairs, tmp_path):
    """Before its first checkpoint a run has nothing that the next call does not write again."""
    settings = {"steps": 6, "log_every": 1, "sample_every": 1, "checkpoint_every": 4, "snapshot_every": 4}
    whole = train(pairs, tmp_path / "whole", **settings)

    def spoil(name, value):
        # As a kill: nothing more is written.
        if (name, value) == ("step", 3):
            shutil.copytree(tmp_path / "first", tmp_path / "killed")

    train(pairs, tmp_path / "first", on_event=spoil, **settings)
    end = train(pairs, tmp_path / "killed", **settings)
    assert lasting(end.path) == lasting(whole.path)


def test_damaged_checkpoints_are_set_aside_and_displace_no_whole_one(pairs, tmp_path):
    run = train(pairs, tmp_path, steps=6, checkpoint_every=2)
    newest = checkpoints(run.path)[-1]
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    with pytest.warns(UserWarning, match="going on from step 4"):
        run = train(pairs, tmp_path, steps=5, checkpoint_every=9)
    assert [path.stem for path in checkpoints(run.path)] == ["step_00000004", "step_00000005"]
    assert all(read_tensors(path) for path in checkpoints(run.path))
    # Written again, the damaged one is of no more use.
    assert (tmp_path / "old/1/checkpoints" / newest.name).read_bytes() == bytes(data)
    train(pairs, tmp_path, steps=6, checkpoint_every=9)
    assert not (tmp_path / "old/1/checkpoints").exists()


@pytest.mark.parametrize("damage", [b"", b"cut", None])
@pytest.mark.parametrize("kind", ["snapshots", "samples"])
def test_a_damaged_file_of_the_last_step_is_written_again(pairs, run, tmp_path, kind, damage):
    used = shutil.copytree(run.path, tmp_path / "used")
    path = sorted((used / kind).iterdir())[-1]
    whole = path.read_bytes()
    path.write_bytes(whole[:-20] if damage is None else damage)
    train(pairs, used, steps=4)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "garbage", [b"\0\xff\xfe", b"[1]\n", b'{"step": "x"}\n', b'{"step":', b"\n\n\n", bytes(range(256))]
)
def test_a_log_of_any_bytes_blocks_nothing(pairs, tmp_path, garbage):
    run = train_often(pairs, tmp_path, steps=4, monitor_every=2)
    looks = run.looks
    train_often(pairs, tmp_path, steps=5, monitor_every=2)
    for name in ("stats.jsonl", "monitor.jsonl", "resumes.jsonl"):
        path = tmp_path / name
        lines = path.read_bytes()
        path.write_bytes(garbage + b"\n" + lines + garbage)
    assert [line["step"] for line in cagan.Run(tmp_path).stats] == [1, 2, 3, 4, 5]
    run = train_often(pairs, tmp_path, steps=7, monitor_every=2)
    assert [line["step"] for line in run.stats] == [1, 2, 3, 4, 5, 6, 7]
    assert steps(tmp_path) == [1, 2, 3, 4, 5, 6, 7], "the garbage is gone"
    assert run.looks[:2] == looks
    assert run.resumes == [4, 5]


def test_mistakes_are_found_before_pictures_are_decoded(pairs, run, tmp_path):
    used = shutil.copytree(run.path, tmp_path / "used")
    before = contents(used)

    def refused(kind, folder, *parts, **more):
        loaded = []
        note = lambda name, value: loaded.append(value) if name == "load" else None  # noqa: E731
        refusal(kind, lambda: train(pairs, folder, on_event=note, **{"steps": 6} | more), *parts)
        assert loaded == []

    refused(
        ValueError,
        used,
        "learning_rate",
        "to begin there from this run's weights: init_from=",
        used,
        learning_rate=1e-3,
    )
    refused(ValueError, used, "resume is never", resume="never")
    refused(ValueError, tmp_path / "none", "resume is must", resume="must")
    assert not (tmp_path / "none").exists()
    refused(FileNotFoundError, "/proc/nothing/r", "/proc/nothing")
    refused(FileNotFoundError, tmp_path / "none", "gone", init_from=str(tmp_path / "gone"))
    assert not (tmp_path / "none").exists()
    assert contents(used) == before
    (tmp_path / "file").write_text("a file")
    refused(FileExistsError, tmp_path / "file", tmp_path / "file")

    def busy(name, value):
        if (name, value) == ("step", 1):
            refused(RuntimeError, tmp_path / "busy", "another process is training in this folder")

    train(pairs, tmp_path / "busy", steps=2, on_event=busy)


def test_a_run_that_never_began_leaves_no_folder(pairs, tmp_path):
    refusal(ValueError, lambda: train(pairs, tmp_path / "run", steps=2, batch_size=99), "batch_size")
    assert not (tmp_path / "run").exists()
    with pytest.raises(StopError):
        train(pairs, tmp_path / "run", steps=2, on_event=lambda *_: (_ for _ in ()).throw(StopError))
    assert not (tmp_path / "run").exists()


def test_a_run_begins_from_a_runs_folder(pairs, run, tmp_path):
    """From its newest whole checkpoint, both networks; without one from its newest snapshot, the generator."""
    still = {"steps": 1, "learning_rate": 1e-30}
    used = shutil.copytree(run.path, tmp_path / "used")
    for name, given in (("run", run), ("path", used), ("text", str(used))):
        begun = train(pairs, tmp_path / name, init_from=given, **still)
        _, arrays = read_tensors(only(begun.path / "checkpoints"))
        _, expected = read_tensors(only(used / "checkpoints"))
        for part in ("generator.", "discriminator."):
            names = [name for name in expected if name.startswith(part)]
            assert names
            assert all(abs(arrays[name] - expected[name]).max() < 1e-20 for name in names)
    only(used / "checkpoints").write_bytes(b"damaged")
    begun = train(pairs, tmp_path / "snapshot", init_from=used, **still)
    _, arrays = read_tensors(begun.snapshots[-1])
    _, expected = read_tensors(run.snapshots[-1])
    assert all(abs(arrays[name] - expected[name]).max() < 1e-20 for name in expected)
    shutil.rmtree(used / "snapshots")
    refusal(ValueError, lambda: train(pairs, tmp_path / "none", init_from=used, **still), used, "expected a checkpoint")


def test_an_early_stop_is_not_trained_on_silently(pairs, run, tmp_path):
    settings = {"monitor_every": 2, "early_stop": 2, "learning_rate": 1e-30, "log_every": 1} | RARELY
    # A generator that dyes gives a best look, and nothing learns at this rate.
    entries, arrays = read_tensors(run.snapshots[-1])
    for array in arrays.values():
        array[:] = 0
    for channel, colour in ((0, 6), (1, 8)):
        arrays["down.0.conv.weight"][channel, colour, 1:3, 1:3] = 0.25
    arrays["up.3.conv.weight"][0, :2] = arrays["up.3.conv.weight"][1, 2] = 1
    arrays["up.3.conv.bias"][:] = -2, -2, -2, 1.1
    from helpers import write_tensors

    write_tensors(tmp_path / "dyer.safetensors", entries, arrays)
    settings["init_from"] = str(tmp_path / "dyer.safetensors")
    with pytest.warns(UserWarning, match="no better score for 2 looks"):
        first = train(pairs, tmp_path / "run", steps=40, **settings)
    ended = first.stats[-1]["step"]
    assert ended < 40
    before = lasting(first.path)
    for _ in range(2):
        with pytest.warns(UserWarning, match=rf"step {ended}: the run has ended, .* larger early_stop, or 0, goes on"):
            again = train(pairs, tmp_path / "run", steps=40, **settings)
        assert lasting(again.path) == before
    on = train(pairs, tmp_path / "run", steps=ended + 2, **settings | {"early_stop": 0})
    assert on.stats[-1]["step"] == ended + 2


def test_a_time_limit_before_the_first_step(pairs_dir, tmp_path, call):
    arguments = ("train", pairs_dir, tmp_path / "run", "--preset", "smoke", "--time-limit-s", "0.0001", "--quiet")
    code, out, err = call(*arguments)
    assert (code, out.split()) == (0, [str(tmp_path / "run/samples/step_00000000.png")])
    assert "time_limit_s: 0.0001 s were over before the first step" in err
    code, out, _ = call(*arguments, "--json")
    assert code == 0
    assert '"snapshot": null' in out


def test_a_torn_last_line_is_passed_over(run, tmp_path):
    used = shutil.copytree(run.path, tmp_path / "used")
    with (used / "stats.jsonl").open("ab") as file:
        file.write(b'{"step": 6, "loss/gene')
    assert cagan.Run(used).stats == run.stats


@pytest.mark.parametrize("loader", ["resident", "streaming"])
def test_a_step_that_no_run_reaches(pairs, loader):
    trainer = cagan.Trainer(pairs, cagan.Config("smoke", loader=loader, threads=1))
    for step in (2**64 - 1, 2**63, 2**41):
        refusal(ValueError, lambda step=step: trainer.triplet(step), "step: expected at most")
    assert trainer.triplet(2**40)[0].shape == (4, 3, 64, 64)
    assert trainer.run(1)


def test_a_stop_and_another_length_share_one_history(pairs, tmp_path):
    """Stopped between two intervals and called with other intervals: no file of a later step is shown."""
    with pytest.raises(StopError):
        train(pairs, tmp_path, steps=9, on_event=stop_at(5), **OFTEN)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = train(pairs, tmp_path, steps=7, **OFTEN | {"snapshot_every": 3})
    assert max(shown(run)) == 7
    assert not (tmp_path / "old").exists()
