"""What goes away around a run that trains: its folder, parts of it, its pictures, the process's own folder."""

import os
import shutil
import sys
import warnings
from pathlib import Path

import cagan
import pytest
from helpers import RARELY, StopError, checkpoints, contents, refusal, same_tensors, steps, train

END = 8
AT = 5


def move(run):
    run.rename(run.with_name("moved"))


def remove(run):
    shutil.rmtree(run)


def replace_by_nothing(run):
    move(run)
    run.mkdir()


def replace_by_its_copy(run):
    move(run)
    shutil.copytree(run.with_name("moved"), run)


def replace_by_another_run(run):
    move(run)
    shutil.copytree(run.with_name("another"), run)


def replace_by_a_file(run):
    move(run)
    run.write_text("a file")


def remove_the_parent(run):
    shutil.rmtree(run.parent)


def empty(run):
    for path in run.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def remove_the_folders_below(run):
    for name in ("samples", "snapshots", "checkpoints"):
        shutil.rmtree(run / name)


def remove_the_logs(run):
    for path in run.glob("*.jsonl"):
        path.unlink()


def spoil_the_logs(run):
    for path in run.glob("*.jsonl"):
        path.write_bytes(b'\0\xff{"step": \n\n{"st')


def put_folders_in_place_of_the_logs(run):
    remove_the_logs(run)
    for name in ("stats.jsonl", "monitor.jsonl"):
        (run / name / "in the way").mkdir(parents=True)


def remove_the_config(run):
    (run / "config.json").unlink()


def replace_by_a_loop(run):
    move(run)
    run.symlink_to(run.name)


def spoil_the_lock(run):
    (run / ".lock").write_bytes(b"\xff\0")


def put_a_pipe_in_place_of_the_lock(run):
    remove_the_lock(run)
    os.mkfifo(run / ".lock")


def remove_the_lock(run):
    (run / ".lock").unlink()


def go_elsewhere(run):
    elsewhere = run.parent / "elsewhere"
    elsewhere.mkdir()
    os.chdir(elsewhere)


WAYS = [
    move,
    remove,
    replace_by_nothing,
    replace_by_its_copy,
    replace_by_another_run,
    replace_by_a_file,
    remove_the_parent,
    empty,
    remove_the_folders_below,
    remove_the_logs,
    spoil_the_logs,
    put_folders_in_place_of_the_logs,
    remove_the_config,
    replace_by_a_loop,
    spoil_the_lock,
    put_a_pipe_in_place_of_the_lock,
    remove_the_lock,
    go_elsewhere,
]
# The step at which it goes away, the step at which the run is stopped, and the settings.
MOMENTS = {
    "in the middle": (AT, None, RARELY),
    "just before a stop": (AT, AT, RARELY),
    "at the end": (END, None, RARELY),
    "after a checkpoint and before a look": (AT, None, RARELY | {"checkpoint_every": 2, "monitor_every": 3}),
}


@pytest.fixture(scope="module")
def whole(pairs, tmp_path_factory):
    """The same run without trouble: its checkpoints at each step."""
    run = train(
        pairs, tmp_path_factory.mktemp("whole"), steps=END, **RARELY | {"checkpoint_every": 1, "keep_checkpoints": 99}
    )
    return {int(path.stem.removeprefix("step_")): path for path in checkpoints(run.path)}


@pytest.fixture(scope="module")
def another(pairs, tmp_path_factory):
    return train(pairs, tmp_path_factory.mktemp("other") / "run", steps=2, seed=9).path


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not let go of open files")
@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_no_way_to_go_away_costs_the_state(pairs, whole, another, tmp_path, monkeypatch, way, moment):
    at, stopped, settings = MOMENTS[moment]
    place = tmp_path / "runs"
    place.mkdir()
    shutil.copytree(another, place / "another")
    foreign = contents(place / "another")
    monkeypatch.chdir(place)
    rescue = tmp_path / "temporary"
    rescue.mkdir()
    monkeypatch.setenv("TMPDIR", str(rescue))

    def event(name, value):
        if (name, value) == ("step", at):
            way(place / "r")
        if (name, value) == ("step", stopped):
            raise StopError

    told, error = [], None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            run = train(pairs, "r", steps=END, on_event=event, **settings)
        except StopError:
            run = None
        except OSError as raised:
            error, run = str(raised), None
    told = [str(warning.message) for warning in caught] + [error or ""]
    # The newest checkpoint, in the folder or where the error says.
    found = [
        path for path in tmp_path.rglob("checkpoints/step_*") if "another" not in path.parts and "r" in path.parts[-3:]
    ]
    if way is replace_by_a_loop:
        (rescued,) = rescue.glob("r-rescued-*")
        assert f"the state of step {stopped or END} is in {rescued}" in error
        found, reached = list(rescued.rglob("checkpoints/step_*")), stopped or END
    elif way in (replace_by_another_run, replace_by_a_file, put_a_pipe_in_place_of_the_lock):
        (rescued,) = place.glob("r-rescued-*")
        assert str(rescued) in error
        assert run is None
        found = list(rescued.rglob("checkpoints/step_*"))
        if way is replace_by_another_run:
            assert {k: v for k, v in contents(place / "r").items() if k != ".lock"} == {
                k: v for k, v in foreign.items() if k != ".lock"
            }
        # It is found at the next file that is due: a line of the log.
        reached = stopped or at + at % 2
    else:
        reached = stopped or END
        assert error is None or way is put_folders_in_place_of_the_logs
        assert run is None or run.snapshots[-1].stem == f"step_{END:08}"
    newest = max(found, key=lambda path: path.name)
    assert newest.stem == f"step_{reached:08}", told
    # The settings differ, but not the weights.
    assert same_tensors(newest, whole[reached])
    gone = way in (move, remove, replace_by_nothing, remove_the_parent, empty, replace_by_its_copy)
    if gone and way is not replace_by_its_copy:
        assert any("the run's folder was" in text for text in told)
    if way in (move, replace_by_nothing):
        assert any(f"moved to {place / 'moved'}" in text for text in told)
    if way is remove_the_config:
        assert (place / "r/config.json").is_file()
    # The same call goes on.
    home = newest.parents[1]
    if way is put_folders_in_place_of_the_logs:
        for name in ("stats.jsonl", "monitor.jsonl"):
            shutil.rmtree(home / name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = train(pairs, home, steps=END, **settings)
    assert same_tensors(checkpoints(home)[-1], whole[END])
    assert again.swapper().step == END


def test_a_busy_folder_in_its_place_is_not_touched(pairs, tmp_path):
    """Somebody moved the folder, and another run trains there now."""
    run, seen = tmp_path / "r", []

    def inner(name, value):
        if (name, value) == ("step", 1):
            seen.append(contents(run))

    def event(name, value):
        if (name, value) == ("step", 3):
            run.rename(tmp_path / "moved")
            train(pairs, run, steps=2, seed=4, on_event=inner)
            seen.append(contents(run))

    text = refusal(OSError, lambda: train(pairs, run, steps=9, on_event=event, **RARELY), "another run is there now")
    assert contents(run) == seen[-1]
    (rescued,) = tmp_path.glob("r-rescued-*")
    assert f"the run ends at step 4, in {rescued}" in text
    assert checkpoints(rescued)[-1].stem == "step_00000004"


def test_tensorboard_that_fails_costs_no_steps(pairs, tmp_path, monkeypatch):
    from cagan.tracking.boards import Board

    def fail(*_):
        raise ValueError("no room for curves")

    monkeypatch.setattr(Board, "numbers", fail)
    with pytest.warns(UserWarning, match="no room for curves") as caught:
        run = train(pairs, tmp_path, steps=4, tensorboard=True)
    assert steps(run.path)[-1] == 4
    assert len(caught) == 1


def test_a_child_of_fork_leaves_the_run_to_its_parent(pairs, tmp_path):
    """The child inherits the lock's file. It must neither hold the lock nor save or unlock."""
    ready, go = os.pipe()

    def event(name, value):
        if (name, value) == ("step", 2) and os.fork() == 0:
            os.close(go)
            os.read(ready, 1)
            os._exit(0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        train(pairs, tmp_path / "run", steps=4, on_event=event, **RARELY)
    # The child lives.
    assert train(pairs, tmp_path / "run", steps=6, **RARELY).stats[-1]["step"] == 6
    os.close(go)
    os.wait()


def test_a_child_that_comes_back_ends_without_saving(pairs, tmp_path):
    parent = os.getpid()

    def event(name, value):
        if (name, value) == ("step", 2):
            os.fork()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            run = train(pairs, tmp_path / "run", steps=9, on_event=event, **RARELY)
        finally:
            if os.getpid() != parent:
                saved = list(Path(tmp_path, "run", "checkpoints").iterdir())
                os._exit(3 if saved and saved[0].stem == "step_00000002" else 0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
    assert run.swapper().step == 9
    assert [path.stem for path in checkpoints(run.path)] == ["step_00000009"]
    assert cagan.Run(run.path).resumes == []
