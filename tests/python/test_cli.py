"""The command line: it gives the results of the Python functions, and a mistake is one line, not a traceback."""

import contextlib
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
import numpy as np
import pytest
from cagan.cli import cli, main
from helpers import another, command, contents, read_png
from PIL import Image


def assert_saved(swap, path):
    assert np.array_equal(read_png(path), swap.image)
    assert np.array_equal(read_png(path.with_suffix(".alpha.png")), swap.mask)


def test_the_installed_script(tmp_path):
    script = Path(sys.executable).with_name("cagan")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout.strip().split()[-1]) == (0, cagan.__version__)
    done = subprocess.run([script, "swap", tmp_path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


# train


def test_train(call, pairs_dir, run, tmp_path):
    arguments = ("train", pairs_dir, tmp_path, "--preset", "smoke", "--steps", "4", "--threads", "1", "--quiet")
    code, out, _ = call(*arguments)
    assert code == 0
    made = cagan.Run(tmp_path)
    assert out.split() == [str(made.snapshots[-1]), str(made.samples[-1])]
    assert made.config == run.config
    assert [line["loss/generator"] for line in made.stats] == [line["loss/generator"] for line in run.stats]
    # The same call again does nothing.
    before = contents(tmp_path)
    assert call(*arguments) == (0, out, "")
    assert contents(tmp_path) == before


def test_train_takes_every_setting(call, pairs_dir, tmp_path):
    rows = {setting["name"]: setting for setting in cagan._cagan.settings()}
    # Values that must fit each other; the rest is any value but the default.
    settings = {"architecture": "paper", "image_size": (64, 96), "width": 16, "reverse_noise": 0.0625}
    settings |= {"norm_gradient": "picture", "schedule": "linear", "schedule_start": 8, "schedule_end": 80}
    settings |= {"batch_size": 2, "steps": 1, "images": None, "time_limit_s": 1000.0, "init_from": ""}
    settings |= {"device": "cpu", "threads": 1, "precision": "fp32", "cuda_graph": False}
    settings |= {name: another(row) for name, row in rows.items() if name not in settings and "paper" in row["used_by"]}
    ours = {name: another(row) for name, row in rows.items() if row["used_by"] == ["kisekae"]}
    assert len(settings) > 60 and len(ours) > 5 and sorted([*settings, *ours]) == sorted(rows)

    def options(given):
        given = {"--" + name.replace("_", "-"): value for name, value in given.items() if value is not None}

        def text(value):
            return "x".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()

        return [part for name, value in given.items() for part in (name, text(value))]

    code, _, err = call(
        "train", pairs_dir, tmp_path / "ours", "--quiet", "--steps", 1, "--batch-size", 4, *options(ours)
    )
    assert code == 0, err
    assert cagan.Run(tmp_path / "ours").config == cagan.Config("kisekae", steps=1, batch_size=4, **ours).resolved(8)
    tmp_path /= "run"
    code, _, err = call("train", pairs_dir, tmp_path, "--preset", "smoke", "--quiet", *options(settings))
    assert code == 0, err
    assert cagan.Run(tmp_path).config == cagan.Config("smoke", **settings)


def test_a_size_may_be_one_number(call, pairs_dir, tmp_path):
    options = ("--preset", "smoke", "--steps", "1", "--quiet", "--image-size", "96")
    assert call("train", pairs_dir, tmp_path, *options)[0] == 0
    assert cagan.Run(tmp_path).config.image_size == (96, 96)


# swap


def test_swap_one_photo(call, run, pairs, tmp_path):
    person, other = pairs[0], pairs[3]
    pictures = (person.human_path, person.article_path, other.article_path)
    options = (person.human_path, other.article_path, "--worn", person.article_path)
    code, out, _ = call("swap", run.path, *options, "--out", tmp_path / "a.png")
    assert (code, out.strip()) == (0, str(tmp_path / "a.png"))
    assert_saved(cagan.Swapper(run.path).swap(*pictures), tmp_path / "a.png")
    # A snapshot is a model too.
    assert call("swap", run.snapshots[-1], *options, "--out", tmp_path / "b.png", "--device", "cpu")[0] == 0
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    # A folder, a name of its own, and JSON.
    (tmp_path / "out").mkdir()
    code, out, _ = call("swap", run.path, *options, "-o", tmp_path / "out", "--which", "newest", "--json")
    assert json.loads(out)["image"] == str(tmp_path / "out" / "00000__00003.png")
    assert (tmp_path / "out" / "00000__00003.png").read_bytes() == (tmp_path / "a.png").read_bytes()


def test_swap_reads_and_writes_pipes(run, pairs, tmp_path):
    person, other = pairs[0], pairs[3]
    words = command("swap", run.path, "-", other.article_path, "-w", person.article_path, "-o", "-")
    done = subprocess.run(words, input=person.human_path.read_bytes(), capture_output=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    swap = cagan.Swapper(run.path).swap(person, target=other)
    assert done.stdout == swap.encoded("png")
    assert not list(tmp_path.iterdir())


def test_swap_whole_folders(call, run, pairs_dir, tmp_path):
    people, articles = tmp_path / "people", tmp_path / "articles"
    for folder, kind, count in ((people, "human", 3), (articles, "article", 2)):
        folder.mkdir()
        for k in range(count):
            shutil.copy(pairs_dir / kind / f"{k:05}.png", folder)
    (people / "notes.txt").write_text("no picture")
    words = ("swap", run.path, people, articles, "--worn", pairs_dir / "article", "--out", tmp_path / "out")
    assert call(*words) == (0, f"6 swaps in {tmp_path / 'out'}\n", "")
    pairs, swapper = cagan.Pairs(pairs_dir), cagan.Swapper(run.path)
    for human in range(3):
        for target in range(2):
            swap = swapper.swap(pairs[human], target=pairs[target])
            assert_saved(swap, tmp_path / "out" / f"{human:05}__{target:05}.png")
    assert call(*words)[1] == f"6 swaps in {tmp_path / 'out'}, 6 of them from before\n"
    # These networks need the worn articles.
    code, _, err = call("swap", run.path, people, articles, "--out", tmp_path / "other")
    assert code == 1 and one_line(err, "worn: expected the worn articles")
    (tmp_path / "empty").mkdir()
    code, _, err = call("swap", run.path, tmp_path / "empty", articles, "--out", tmp_path / "other")
    assert code == 1 and one_line(err, tmp_path / "empty", "expected pictures")
    code, _, err = call("swap", run.path, people, articles, "--worn", articles, "--out", tmp_path / "other")
    assert code == 1 and one_line(err, articles, "expected a picture called 00002")
    assert not (tmp_path / "other").exists()


def test_swap_folders_by_the_packages_weights(call, pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dolls").mkdir()
    human, target = pairs[0].human_path, pairs[3].article_path
    assert call("swap", "dolls", human, target, "-o", "one.png") == (0, "one.png\n", "")
    (tmp_path / "articles").mkdir()
    shutil.copy(target, tmp_path / "articles")
    assert call("swap", "dolls", human, "articles") == (0, "1 swaps in swaps\n", "")
    swap = cagan.Swapper("dolls").swap(human, target=target)
    assert_saved(swap, tmp_path / "one.png")
    assert_saved(swap, tmp_path / "swaps" / "00000__00003.png")
    assert np.array_equal(read_png(tmp_path / "one.located.png"), swap.located)


def test_swap_a_list(call, run, pairs, pairs_dir, tmp_path):
    wanted = [("00000", "00003"), ("00002", "00002"), ("00007", "00001")]
    listing = tmp_path / "list.csv"
    listing.write_text("\ufefftarget,note,human\n" + "".join(f"{target},x,{human}\n" for human, target in wanted))
    code, out, _ = call("swap", run.path, "--pairs", pairs_dir, "--list", listing, "--out", tmp_path / "new" / "out")
    assert (code, out.strip()) == (0, f"3 swaps in {tmp_path / 'new' / 'out'}")
    names = [f"{human}__{target}" for human, target in wanted]
    files = sorted(path.name for path in (tmp_path / "new" / "out").iterdir())
    assert files == sorted(name + ending for name in names for ending in (".png", ".alpha.png"))
    swapper = cagan.Swapper(run.path)
    for (human, target), name in zip(wanted, names):
        swap = swapper.swap(pairs[human].human, pairs[human].article, pairs[target].article)
        assert_saved(swap, tmp_path / "new" / "out" / f"{name}.png")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("human,target\n00000,00003\n00000,0003\n", ["line 3", "unknown id `0003`", "`00003`"]),
        ("human,target\n00000\n", ["line 2", "target", "got none"]),
        ("human,target\n,00001\n", ["line 2", "human", "got none"]),
        ("human\n00000\n", ["expected the columns human, target", "got human"]),
        ("", ["expected the columns human, target", "got none"]),
        ("human,target\n", ["expected rows", "got none"]),
    ],
    ids=["unknown id", "short row", "empty cell", "no column", "empty", "no rows"],
)
def test_a_broken_list(call, run, pairs_dir, tmp_path, text, parts):
    listing = tmp_path / "list.csv"
    listing.write_text(text)
    code, out, err = call("swap", run.path, "--pairs", pairs_dir, "--list", listing, "--out", tmp_path / "out")
    assert (code, out) == (1, "")
    assert one_line(err, listing, *parts)
    assert not (tmp_path / "out").exists(), "everything is looked up before anything is written"


@pytest.mark.parametrize(
    "given", [("h",), ("h", "--pairs", "p"), ("--pairs", "p"), ("--list", "l"), ("h", "--worn", "w")]
)
def test_swap_wants_one_photo_or_a_list(call, run, tmp_path, given):
    code, _, err = call("swap", run.path, *given, "--out", tmp_path / "out")
    assert code == 2
    assert err.strip().splitlines()[-1] == "Error: expected HUMAN and TARGET, or --pairs and --list"


def listed(folder, rows, wanted, name="list.csv"):
    """Writes pairs.csv with these ids for the first dolls, and a list of swaps. Returns the list."""
    with (folder / "pairs.csv").open("w", newline="") as file:
        lines = [(name, f"human/{k:05}.png", f"article/{k:05}.png") for k, name in enumerate(rows)]
        csv.writer(file).writerows([("id", "human", "article"), *lines])
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([("human", "target"), *wanted])
    return folder / name


def test_no_id_leaves_the_folder_of_swaps(call, run, copied, tmp_path):
    ids = ["../../evil", str(tmp_path / "abs"), "shop/1", "..", "a__b", "a", "b__c", "c" * 300]
    wanted = [(one, other) for one in ids for other in (ids[5], ids[6]) if one != other]
    wanted += [("a", "b__c"), ("a__b", "c" * 300)]
    listing = listed(copied, ids, wanted)
    before = set(tmp_path.rglob("*"))
    out = tmp_path / "deep" / "out"
    code, text, err = call("swap", run.path, "--pairs", copied, "--list", listing, "--out", out)
    assert (code, err) == (0, "")
    count = len(set(wanted))
    assert text == f"{count} swaps in {out}\n"
    made = {path for path in tmp_path.rglob("*") if path.is_file()} - before
    assert {path.parent for path in made} == {out}
    assert len(made) == 2 * count, "each has its own name"
    assert (out / "shop%2F1__a.png").is_file()


def test_a_list_goes_on_where_it_stopped(call, run, copied, tmp_path):
    ids = [str(k) for k in range(8)]
    listing = listed(copied, ids, [(one, other) for one in ids for other in ids[:3]])
    out = tmp_path / "out"
    words = ("swap", run.path, "--pairs", copied, "--list", listing, "--out", out)
    assert call(*words) == (0, f"24 swaps in {out}\n", "")
    whole = contents(out)
    times = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert call(*words) == (0, f"24 swaps in {out}, 24 of them from before\n", "")
    assert times == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    # A missing mask, a picture of another program, and a photo that is newer.
    (out / "0__1.alpha.png").unlink()
    (out / "1__1.png").write_bytes((copied / "human" / "00001.png").read_bytes())
    os.utime(copied / "human" / "00002.png")
    assert call(*words)[1] == f"24 swaps in {out}, 19 of them from before\n"
    assert contents(out) == whole
    # Another model makes all of them anew.
    other = cagan.train(copied, tmp_path / "other", "smoke", steps=2, seed=5, threads=1, progress=False)
    assert call("swap", other.path, *words[2:])[1] == f"24 swaps in {out}\n"
    assert contents(out) != whole


def test_a_broken_picture_costs_its_own_rows(call, run, copied, tmp_path):
    ids = [str(k) for k in range(8)]
    listing = listed(copied, ids, [(one, ids[0]) for one in ids])
    os.truncate(copied / "human" / "00003.png", 30)
    (copied / "human" / "00005.png").unlink()
    out, report = tmp_path / "out", tmp_path / "report.csv"
    words = ("swap", run.path, "--pairs", copied, "--list", listing, "--out", out, "--report", report)
    for before in ("", ", 6 of them from before"):
        code, text, err = call(*words)
        assert (code, text) == (1, f"6 swaps in {out}{before}\n")
        assert one_line(err, "2 swaps not made; the first: 3 in 0", "00003.png: cannot be decoded")
        with report.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(row["human"], row["target"]) for row in rows] == [("3", "0"), ("5", "0")]
        assert "no such file" in rows[1]["reason"]
    assert len(list(out.iterdir())) == 12


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_keeps_what_was_done_of_a_list(run, copied, tmp_path, how):
    ids = [str(k) for k in range(8)]
    for path in (copied / "human").iterdir():
        with Image.open(path) as picture:
            picture.resize((1500, 1500)).save(path)
    wanted = [(one, other) for one in ids for other in ids]
    words = ("swap", run.path, "--pairs", copied, "--list", listed(copied, ids, wanted), "--out", tmp_path / "out")
    # Under nohup the tests themselves inherit a signal that is ignored.
    inherited = signal.signal(how, signal.default_int_handler if how == signal.SIGINT else signal.SIG_DFL)
    process = subprocess.Popen(command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(how, inherited)
    deadline = time.monotonic() + 60
    while not (tmp_path / "out").is_dir() or not list((tmp_path / "out").iterdir()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(how)
    start = time.monotonic()
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - start < 4
    assert (process.returncode, out) == (128 + how, "")
    last = "stopped; finished swaps of a list are saved, and the same command goes on with the rest\n"
    assert err.lstrip("\n") == last
    made = [path for path in (tmp_path / "out").iterdir() if "alpha" not in path.name]
    assert 0 < len(made) < 64
    assert not list((tmp_path / "out").glob(".*")), "no file is left unfinished"
    done = subprocess.run(command(*words), capture_output=True, text=True, timeout=60)
    assert done.stdout == f"64 swaps in {tmp_path / 'out'}, {len(made)} of them from before\n"


def test_a_swap_is_written_as_its_ending_says(call, run, pairs, tmp_path):
    person, other = pairs[0], pairs[3]
    photo = shutil.copy(person.human_path, tmp_path / "photo.png")
    options = (photo, other.article_path, "--worn", person.article_path)
    for name, kind in (("a.jpg", "JPEG"), ("b.webp", "WEBP"), ("c.PNG", "PNG")):
        assert call("swap", run.path, *options, "--out", tmp_path / name)[0] == 0
        with Image.open(tmp_path / name) as picture:
            assert picture.format == kind
        assert read_png((tmp_path / name).with_suffix(".alpha.png")).ndim == 2
    before = contents(tmp_path)
    for name, part in (("a.gif", ".png, .jpg, .jpeg, .webp"), ("a", ".png"), ("photo.png", "another file")):
        code, out, err = call("swap", run.path, *options, "--out", tmp_path / name)
        assert (code, out) == (1, "")
        assert one_line(err, tmp_path / name, part)
    assert contents(tmp_path) == before


# Ctrl-C


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("evaluate", "{run}", "{dolls}", "--out", "{out}"), "no score was kept, and the same command begins anew"),
        (("curate", "{dolls}", "--report", "{out}"), "no file was changed, and the same command begins anew"),
        (
            ("dolls", "{out}", "--count", "100000"),
            "the pictures so far stay, and the same command draws all of them again",
        ),
    ],
)
def test_ctrl_c_is_heard_soon_and_what_it_says_is_true(run, many_dolls, tmp_path, words, left):
    names = {"run": run.path, "dolls": many_dolls, "out": tmp_path / "out"}
    before = contents(many_dolls)
    process = subprocess.Popen(
        command(*(word.format(**names) for word in words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until_it_works(process, many_dolls, tmp_path / "out")
    start = time.monotonic()
    for _ in range(3):
        process.send_signal(signal.SIGINT)
        time.sleep(0.02)
    out, err = process.communicate(timeout=30)
    assert time.monotonic() - start < 4, "seconds, with the interpreter's end on a busy machine"
    assert "Traceback" not in err
    assert (process.returncode, out, err) == (130, "", f"\nstopped; {left}\n")
    assert contents(many_dolls) == before
    assert (tmp_path / "out").exists() == (words[0] == "dolls")


@pytest.mark.parametrize("ending", [".onnx", ".pt2", ".pt"])
def test_ctrl_c_during_export(run, tmp_path, ending):
    """The signal comes while a library of the export works."""
    code = """
import os, sys
from pathlib import Path
import torch
from cagan.cli import main

def begun(function):
    def call(*arguments, **options):
        Path("begun").touch()
        return function(*arguments, **options)
    return call

torch.export.export, torch.jit.trace = begun(torch.export.export), begun(torch.jit.trace)
main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, "export", run.path, f"model{ending}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    until = time.monotonic() + 120
    while not (tmp_path / "begun").exists() and time.monotonic() < until and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    made = [path.name for path in tmp_path.iterdir() if path.name != "begun"]
    if process.returncode == 0:
        assert f"model{ending}" in made, "it was done before"
        return
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "stopped; no model was written, and the same command begins anew"
    assert made == []


def wait_until_it_works(process, reads, writes):
    """Return once the process holds a file of the one folder open or has made the other."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, "it works longer"
        with contextlib.suppress(FileNotFoundError):
            opened = [os.path.realpath(file) for file in Path(f"/proc/{process.pid}/fd").iterdir()]
            if any(file.startswith(f"{reads}/") for file in opened) or writes.exists():
                return
    raise AssertionError("it never began")


@pytest.fixture(scope="module")
def many_dolls(tmp_path_factory):
    """Dolls that take a while to read and to swap."""
    folder = tmp_path_factory.mktemp("many")
    cagan.dolls(folder, count=60, size=512, swaps=0)
    for kind in ("human", "article"):
        for k in range(60, 1500):
            (folder / kind / f"{k:05}.png").hardlink_to(folder / kind / f"{k % 60:05}.png")
    return folder


# dolls and info


def test_dolls(call, tmp_path):
    code, out, _ = call("dolls", tmp_path / "a", "--count", 3, "--seed", 4, "--size", "48x32")
    assert (code, out.strip()) == (0, f'Pairs("{tmp_path / "a"}", 3 pairs)')
    cagan.dolls(tmp_path / "b", count=3, seed=4, size=(48, 32))
    assert contents(tmp_path / "a") == contents(tmp_path / "b") != {}
    assert call("dolls", tmp_path / "c", "--count", 1, "--size", "48")[0] == 0
    assert cagan.Pairs(tmp_path / "c")[0].human.shape == (48, 48, 3)


def test_info(call):
    code, out, _ = call("info")
    assert code == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert lines == {k: ", ".join(v) if isinstance(v, list) else str(v) for k, v in cagan.info().items()}
    assert {"cagan", "torch", "python", "cuda_devices", "threads", "presets"} <= set(lines)


@pytest.mark.parametrize("preset", cagan.presets())
def test_info_of_a_preset(call, preset):
    code, out, _ = call("info", preset)
    assert (code, out) == (0, f"{cagan.Config(preset)}\n")


# For scripts


def test_json_is_one_line_that_a_script_can_read(call, pairs_dir, tmp_path):
    options = ("--preset", "smoke", "--steps", "2", "--threads", "1")
    code, out, err = call("train", pairs_dir, tmp_path, *options, "--json")
    made = cagan.Run(tmp_path)
    assert code == 0
    assert re.search(
        r"smoke: 64 x 64 pixels.*2 steps of 4 = 8 pictures.*2 steps in .*next: cagan evaluate", err, re.DOTALL
    )
    files = {"snapshot": str(made.snapshots[-1]), "sample": str(made.samples[-1])}
    assert json.loads(out) == {"run": str(tmp_path), **files, **made.stats[-1]}
    assert json.loads(call("info", "--json")[1]) == cagan.info()
    assert json.loads(call("info", "paper", "--json")[1]) == cagan.Config("paper").to_dict()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_words(shell):
    script = Path(sys.executable).with_name("cagan")

    def ask(**more):
        done = subprocess.run([script], env={**os.environ, **more}, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert "_CAGAN_COMPLETE" in ask(_CAGAN_COMPLETE=f"{shell}_source")
    words = {"COMP_WORDS": "cagan info pa", "COMP_CWORD": "pa" if shell == "fish" else "2"}
    assert "paper" in ask(_CAGAN_COMPLETE=f"{shell}_complete", **words)


def test_a_stopped_command_exits_with_the_signals_code(pairs_dir, tmp_path):
    script = Path(sys.executable).with_name("cagan")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        run_dir = tmp_path / str(code)
        arguments = [script, "train", pairs_dir, run_dir, "--preset", "smoke", "--steps", "100000", "--log-every", "1"]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 60
        while not (run_dir / "stats.jsonl").is_file() or not (run_dir / "stats.jsonl").stat().st_size:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out) == (code, "")
        assert "Traceback" not in err
        assert list((run_dir / "checkpoints").iterdir())


def test_the_last_words_of_a_run_without_a_step_are_true(many_dolls, tmp_path):
    # Decoding takes much longer than the start.
    words = ("train", many_dolls, tmp_path / "run", "--preset", "smoke", "--loader", "resident")
    process = subprocess.Popen(command(*words), stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "run").is_dir():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    assert err.splitlines()[-1] == "stopped; no step was made, and the same command begins anew"
    assert not (tmp_path / "run").exists()


def test_last_words_are_the_commands_own(monkeypatch, capsys):
    """A model in a folder called train does not make an app a training."""

    def stopped(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "main", stopped)
    before = signal.getsignal(signal.SIGINT)
    try:
        monkeypatch.setattr(sys, "argv", ["cagan", "app", "train"])
        with pytest.raises(SystemExit):
            main()
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "stopped\n"


@pytest.mark.parametrize("words", [("dolls", "{}/dolls", "--count", "2"), ("info",), ("info", "paper"), ("runs", "{}")])
def test_a_reader_who_went_away_fails_no_command(tmp_path, words):
    reader, writer = os.pipe()
    os.close(reader)
    arguments = command(*(word.format(tmp_path) for word in words))
    done = subprocess.run(arguments, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


# Help


def flat(text):
    return " ".join(text.split())


@pytest.mark.parametrize("command", [None, *sorted(cli.commands)])
def test_help(call, command):
    code, out, err = call(*filter(None, [command]), "--help")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: cagan")
    assert call(*filter(None, [command]), "-h") == (code, out, err)
    if command:
        assert flat(cli.commands[command].help).split(".")[0] in flat(out)
    else:
        assert all(name in out for name in cli.commands)
        assert {"train", "swap", "dolls", "info"} <= set(cli.commands)


def test_the_short_help_of_train_has_the_usual_options(call):
    short, whole = (call("train", option)[1] for option in ("--help", "--help-all"))
    names = re.findall(r"^  (?:-\w, )?--([a-z0-9-]+)", short, re.MULTILINE)
    assert 15 <= len(names) <= 20 and {"preset", "images", "resume", "seed", "device", "help-all"} <= set(names)
    left_out = len(re.findall(r"^  (?:-\w, )?--([a-z0-9-]+)", whole, re.MULTILINE)) - len(names)
    assert f"{left_out} more options: cagan train --help-all" in short and left_out > 50
    assert "more options" not in whole


def test_help_of_train_shows_the_cores_defaults(call):
    text = flat(call("train", "--help-all")[1])
    shown = dict(re.findall(r"--([a-z0-9-]+) (?:(?!--[a-z]).)*?\[default: (\S+?)\]", text))
    config = cagan.Config()
    expected = {}
    for setting in cagan._cagan.settings():
        value = getattr(config, setting["name"])
        value = "none" if value in (None, "") else "x".join(map(str, value)) if isinstance(value, tuple) else str(value)
        expected[setting["name"].replace("_", "-")] = value
        assert flat(setting["help"]) in text
    assert shown == expected | {"preset": config.preset, "on-error": "raise", "resume": "auto"}
    assert len(expected) > 20


def test_help_of_train_groups_the_settings(call):
    sections, found = re.split(r"^(\w.*):$", call("train", "--help-all")[1], flags=re.MULTILINE)[1:], {}
    for group, text in zip(sections[::2], sections[1::2]):
        found[group] = re.findall(r"^  (?:-\w, )?--([a-z0-9-]+)", text, re.MULTILINE)
    assert found.pop("Options")[-1] == "help"
    groups = {}
    for setting in cagan._cagan.settings():
        groups.setdefault(setting["group"], []).append(setting["name"].replace("_", "-"))
    assert found == groups
    assert len(groups) > 5


def test_help_of_the_others_shows_the_cores_defaults(call, tmp_path):
    assert f"[default: {cagan.Config().device}]" in flat(call("swap", "--help")[1])
    text = flat(call("dolls", "--help")[1])
    size, seed = re.search(r"\[default: (\d+x\d+)\]", text)[1], re.search(r"\[default: (\d+)\]", text)[1]
    height, width = map(int, size.split("x"))
    cagan.dolls(tmp_path / "default", count=1)
    cagan.dolls(tmp_path / "shown", count=1, seed=int(seed), size=(height, width))
    assert contents(tmp_path / "default") == contents(tmp_path / "shown")


# Mistakes


def one_line(err, *parts):
    """Checks that the errors are one line that begins with `error: ` and contains all parts."""
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert str(part) in err, f"{part!r} is not in {err!r}"
    return True


def test_mistakes_in_train(call, pairs_dir, run, tmp_path):
    out = tmp_path / "run"
    before = contents(run.path)
    missing, train = tmp_path / "none", ("train", pairs_dir, out, "--preset", "smoke", "--quiet")
    (tmp_path / "file").write_text("mine")
    for arguments, parts in (
        (("train", missing, out), [missing, "no such folder"]),
        ((*train, "--image-size", "70"), ["image_size: expected multiples of 32", "64 and 96", "got 70"]),
        ((*train, "--learning-rate", "nan"), ["learning_rate: expected", "nan"]),
        ((*train, "--learning-rate=-1"), ["learning_rate: expected above 0", "got -1"]),
        ((*train, "--batch-size", "9"), ["batch_size: expected at most the number of pairs (8)", "got 9"]),
        ((*train, "--device", "gpu"), ["device: expected", "`gpu`"]),
        ((*train, "--device", "cuda:64"), ["device: expected a CUDA device"]),
        (("train", pairs_dir, tmp_path / "file", "--preset", "smoke", "--quiet"), [tmp_path / "file"]),
        (("train", pairs_dir, run.path, "--preset", "smoke", "--width", "32"), ["width (16 there, 32 here)"]),
    ):
        code, output, err = call(*arguments)
        assert (code, output) == (1, "")
        assert one_line(err, *parts)
    assert not out.exists()
    assert contents(run.path) == before


def test_mistakes_in_other_commands(call, run, pairs, tmp_path):
    photo, missing = pairs[0].human_path, tmp_path / "none.jpg"
    text = tmp_path / "text.jpg"
    text.write_text("no picture")

    def swap(model, human, out):
        return ("swap", model, human, photo, "--worn", photo, "--out", out)

    listed = ("swap", run.path, "--pairs", pairs.folder, "--out", tmp_path / "out", "--list")
    for arguments, parts in (
        (swap(tmp_path / "none", photo, tmp_path / "a.png"), [tmp_path / "none", "no such file"]),
        (swap(tmp_path, photo, tmp_path / "a.png"), [tmp_path, "expected a run folder with snapshots"]),
        (swap(text, photo, tmp_path / "a.png"), [text, "expected a whole safetensors file"]),
        (swap(run.path, missing, tmp_path / "a.png"), [missing, "no such file"]),
        (swap(run.path, text, tmp_path / "a.png"), [text, "cannot be decoded"]),
        (swap(run.path, photo, tmp_path / "nowhere" / "a.png"), [tmp_path / "nowhere"]),
        ((*listed, tmp_path / "none.csv"), [tmp_path / "none.csv"]),
        (("dolls", tmp_path / "d", "--count", "0"), ["count: expected 1 to 1000000", "got 0"]),
        (("dolls", tmp_path / "d", "--count=-1"), ["count: expected zero or more", "got -1"]),
        (("dolls", tmp_path / "d", "--count", "1", "--size", "8"), ["size: expected sides of 16 to 1024", "got 8"]),
        (("dolls", text, "--count", "1"), [text]),
    ):
        code, output, err = call(*arguments)
        assert (code, output) == (1, "")
        assert one_line(err, *parts)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["text.jpg"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["train", "p", "r", "--lerning-rate", "3"], ["--lerning-rate", "--learning-rate"]),
        (["train", "p", "r", "--preset", "papr"], ["papr", "paper"]),
        (["train", "p", "r", "--precision", "fp16"], ["fp16", "fp32"]),
        (["train", "p", "r", "--epochs", "many"], ["--epochs", "many"]),
        (["train", "p", "r", "--image-size", "64x"], ["128x96", "got 64x"]),
        (["train", "p", "r", "--image-size", "1x2x3"], ["128x96", "got 1x2x3"]),
        (["train", "p"], ["RUN_DIR"]),
        (["swap", "m"], ["HUMAN and TARGET"]),
        (["train", "p", "r", "--resume", "allways"], ["allways", "expected auto, never, must"]),
        (["train", "p", "r", "--judge-after", "half"], ["half", "50%"]),
        (["swap", "m", "h", "t", "--which", "bets"], ["bets", "did you mean best?"]),
        (["evalute", "m"], ["evalute", "did you mean evaluate?"]),
        (["dolls", "d"], ["--count"]),
        (["info", "papr"], ["papr", "paper"]),
        (["tarin"], ["tarin"]),
    ],
)
def test_mistakes_in_words_and_options(call, arguments, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    last = err.strip().splitlines()[-1]
    assert last.startswith("Error: ")
    for part in parts:
        assert part in last
    assert not list(tmp_path.iterdir())


def test_a_diverging_run_is_one_line(call, pairs_dir, tmp_path):
    options = ("--learning-rate", 1, "--adam-beta1", 0.99, "--adam-beta2", 0, "--adam-epsilon", 2.0**-100)
    options = (*options, "--steps", 40, "--log-every", 1)
    code, _, err = call("train", pairs_dir, tmp_path, "--preset", "smoke", "--quiet", *options)
    assert code == 1
    assert one_line(err, " at step ")
