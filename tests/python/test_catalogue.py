"""Catalogues: tables of rows in any form become files, lists are made in shards, and nothing is lost or made twice."""

import csv
import json
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path

import cagan
import numpy as np
import pytest
from cagan.catalogue import manifest, rows, table
from helpers import REPOSITORY, contents, refusal
from PIL import Image

HOSTILE = ["../../up", "/etc/passwd", "a/b", ".", "..", "con:", "x" * 300, "é\n", "A b%20"]


@pytest.fixture(scope="module")
def swapper(run):
    return cagan.Swapper(run.path, threads=1)


@pytest.fixture
def without_pyarrow(monkeypatch):
    """Manifests are JSON lines, whether pyarrow is installed or not."""
    monkeypatch.setattr(manifest, "_pyarrow", lambda: None)


def dicts(pairs, count, first=0):
    """Rows of every person in every article, by article."""
    people = [(human, target) for target in range(8) for human in range(8)]
    return [
        {
            "id": f"{first + k}",
            "human": str(pairs[human].human_path),
            "worn": str(pairs[human].article_path),
            "target": str(pairs[target].article_path),
        }
        for k, (human, target) in enumerate(people[:count])
    ]


def write_list(path, found):
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["id", "human", "worn", "target"])
        writer.writeheader()
        writer.writerows(found)
    return path


def pictures(folder):
    """The pictures of a catalogue: name -> bytes."""
    return {name: data for name, data in contents(folder).items() if name.endswith((".webp", ".jpg", ".png"))}


# Tables


def test_any_form_of_a_table_gives_the_bytes_of_single_swaps(swapper, pairs, tmp_path):
    found = dicts(pairs, 12)
    expected = [swapper.swap(row["human"], row["worn"], row["target"]) for row in found]
    columns = {name: [row[name] for row in found] for name in found[0]}
    encoded = [row | {"human": Path(row["human"]).read_bytes()} for row in found]
    arrays = {name: np.array(column) for name, column in columns.items()} | {"id": np.arange(12)}
    forms = {"dicts": found, "columns": columns, "encoded": encoded, "arrays": arrays, "iterator": iter(found)}
    try:
        import pandas

        forms["pandas"] = pandas.DataFrame(columns)
    except ImportError:
        pass
    try:
        import pyarrow

        forms["arrow"] = pyarrow.table(columns)
        forms["arrow's columns"] = {name: pyarrow.array(column) for name, column in columns.items()}
    except ImportError:
        pass
    for name, form in forms.items():
        out = tmp_path / name
        done = cagan.swap_table(swapper, form, out, format="png", masks=True, batch=5 if name == "iterator" else None)
        assert [row["id"] for row in done] == [str(k) for k in range(12)], name
        for row, swap in zip(done, expected):
            assert row["error"] is None and row["seconds"] > 0
            assert (out / row["image"]).read_bytes() == swap.encoded("png"), name
            assert (out / row["mask"]).read_bytes() == swap.encoded("png", "mask")
        assert len(pictures(out)) == 24
    kept = cagan.swap_table(swapper, found[:2], None, format="jpg", quality=50, max_side=20)
    assert [row["image"] for row in kept] == [s.encoded("jpg", quality=50, max_side=20) for s in expected[:2]]


def test_rows_that_fail_are_rows(swapper, pairs, tmp_path):
    found = dicts(pairs, 6)
    found[1]["human"] = str(tmp_path / "gone.png")
    found[3]["target"] = b"a letter"
    found[4]["worn"] = None
    found[5]["human"] = ""
    done = cagan.swap_table(swapper, found, tmp_path / "out")
    assert [row["error"] is None for row in done] == [True, False, True, False, False, False]
    assert done[1]["error"].startswith("FileNotFoundError: ") and "gone.png" in done[1]["error"]
    assert done[3]["error"].startswith("ValueError: target: cannot be decoded")
    assert done[4]["error"].startswith("ValueError: worn: expected a picture")
    assert done[5]["error"] == "ValueError: human: expected a picture, got none"
    assert all(row["image"] is None for row in done if row["error"])
    assert [row["id"] for row in cagan.swap_table(swapper, found, tmp_path / "out", on_error="skip")] == ["0", "2"]
    with pytest.raises(FileNotFoundError, match="gone"):
        cagan.swap_table(swapper, found[:5], tmp_path / "out", on_error="raise")
    assert cagan.swap_table(swapper, [], tmp_path / "out") == []


def test_an_id_is_no_path(swapper, pairs, tmp_path):
    (row,) = dicts(pairs, 1)
    done = cagan.swap_table(swapper, [row | {"id": name} for name in HOSTILE], tmp_path / "deep" / "out")
    places = [row["image"] for row in done]
    assert len(set(places)) == len(HOSTILE) == len(pictures(tmp_path / "deep" / "out"))
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    for place in places:
        folder, name = place.split("/")
        assert len(folder) == 2 and len(name.encode()) < 200 and not name.startswith(".")
    # Numbers that differ as text are different; so is the same number as text.
    assert rows.place_of("1", ".png") != rows.place_of("01", ".png")


def test_a_tables_mistakes(swapper, pairs, tmp_path):
    found = dicts(pairs, 2)
    out = tmp_path / "out"
    for wrong, kind, *parts in (
        ([found[0], found[0]], ValueError, "id: expected each one once, got 0 twice"),
        ([found[0], {"human": "a"}], ValueError, "rows[1]: expected a value for id"),
        ({"id": [1], "human": ["a"]}, ValueError, "expected the columns id, human, target, got id, human"),
        ({"id": [1, 2], "human": ["a"], "target": ["b"]}, ValueError, "columns of one length", "id 2"),
        ("list.csv", TypeError, "rows: expected columns", "str"),
        ([("a", "b")], TypeError, "rows[0]: expected a dict"),
        (5, TypeError, "rows: expected columns", "int"),
    ):
        refusal(kind, lambda wrong=wrong: cagan.swap_table(swapper, wrong, out), *parts)
    for option, parts in (
        ({"format": "gif"}, ["format: expected png, webp, jpg, got gif"]),
        ({"format": "png", "quality": 80}, ["quality: expected none"]),
        ({"quality": 0}, ["quality: expected 1 to 100, got 0"]),
        ({"max_side": 0}, ["max_side: expected 1 or more"]),
        ({"batch": 0}, ["batch: expected 1 or more"]),
        ({"on_error": "drop"}, ["on_error: expected return, raise or skip"]),
    ):
        refusal(ValueError, lambda option=option: cagan.swap_table(swapper, found, out, **option), *parts)
    assert not out.exists()


def test_unfinished_files_of_killed_processes_are_removed(swapper, pairs, tmp_path):
    folder = tmp_path / table._UNFINISHED
    folder.mkdir()
    old, new = folder / "old", folder / "new"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    cagan.swap_table(swapper, dicts(pairs, 1), tmp_path)
    # The other one may be of a process that is at work.
    assert list(folder.iterdir()) == [new]


# Shards


@pytest.mark.usefixtures("without_pyarrow")
def test_shards_are_shared_resumed_and_the_same(swapper, pairs, tmp_path):
    lists = [write_list(tmp_path / f"part-{k}.csv", dicts(pairs, count, 100 * k)) for k, count in enumerate((7, 0, 4))]
    whole = cagan.Catalogue(str(tmp_path / "part-*.csv"), tmp_path / "whole", shard_rows=3)
    assert (len(whole), whole.rows) == (5, 11)
    assert [whole.size(k) for k in range(5)] == [3, 3, 1, 3, 1]
    assert [whole.swap(swapper, k).made for k in whole.todo()] == [3, 3, 1, 3, 1]
    assert whole.todo() == []
    out = tmp_path / "shared"
    again = cagan.Catalogue(lists, out, shard_rows=3)
    again = pickle.loads(pickle.dumps(again))
    assert (again.todo(0, 2), again.todo(1, 2)) == ([0, 2, 4], [1, 3])

    class StoppedError(Exception):
        pass

    def stop(_):
        raise StoppedError

    with pytest.raises(StoppedError):
        again.swap(swapper, 1, tell=stop)
    assert again.todo(1, 2) == [1, 3]
    for index in (1, 0):
        for shard in again.todo(index, 2):
            again.swap(swapper, shard)
    assert pictures(out) == pictures(tmp_path / "whole") and len(pictures(out)) == 11
    found = [row.id for row in again.results()]
    assert sorted(found) == sorted({str(k) for k in range(7)} | {str(200 + k) for k in range(4)})
    # What is done stays untouched.
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    assert again.swap(swapper, 0) == cagan.catalogue.Done(0, 3, 3, [])
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}


@pytest.mark.usefixtures("without_pyarrow")
def test_a_folder_belongs_to_one_catalogue(swapper, pairs, tmp_path):
    listing, out = write_list(tmp_path / "list.csv", dicts(pairs, 4)), tmp_path / "out"
    cagan.Catalogue(listing, out, shard_rows=2).swap(swapper, 0)
    for options, part in (({"shard_rows": 3}, "shard_rows 2"), ({"shard_rows": 2, "format": "jpg"}, "format webp")):
        other = cagan.Catalogue(listing, out, **options)
        refusal(ValueError, lambda other=other: other.swap(swapper, 0), "catalogue.json", part, "folder of its own")
    other = cagan.Catalogue(listing, out, shard_rows=2)
    refusal(ValueError, lambda: other.swap("dolls", 1), "weights")
    refusal(ValueError, lambda: other.swap(swapper, 2), "shard: expected 0 to 1, got 2")
    refusal(ValueError, lambda: other.todo(2, 2), "shard: expected 0 to 1 of 2, got 2")
    refusal(FileNotFoundError, lambda: cagan.Catalogue(tmp_path / "no.csv", out), "no.csv: no such list")
    refusal(FileNotFoundError, lambda: cagan.Catalogue(str(tmp_path / "no-*.csv"), out), "found none")
    (tmp_path / "list.txt").write_text("id\n")
    refusal(ValueError, lambda: cagan.Catalogue(tmp_path / "list.txt", out), ".parquet, .csv or .jsonl")
    (tmp_path / "bare.csv").write_text("human,target\na,b\n")
    refusal(ValueError, lambda: cagan.Catalogue(tmp_path / "bare.csv", out), "bare.csv", "id, human, target")
    refusal(ValueError, lambda: cagan.Catalogue(listing, out, shard_rows=0), "shard_rows: expected 1 or more")


@pytest.mark.usefixtures("without_pyarrow")
def test_failed_rows_are_tried_again(swapper, pairs, tmp_path):
    found, late = dicts(pairs, 4), tmp_path / "late.png"
    found[2]["human"] = "late.png"
    catalogue = cagan.Catalogue(write_list(tmp_path / "list.csv", found), tmp_path / "out", shard_rows=4)
    done = catalogue.swap(swapper, 0)
    assert (done.made, [name for name, _ in done.failed]) == (3, ["2"])
    assert catalogue.todo() == [] and catalogue.todo(retry_failed=True) == [0]
    late.write_bytes(pairs[2].human_path.read_bytes())
    before = {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in pictures(tmp_path / "out")}
    assert catalogue.swap(swapper, 0, retry_failed=True) == cagan.catalogue.Done(0, 4, 3, [])
    assert all((tmp_path / "out" / name).stat().st_mtime_ns == at for name, at in before.items())
    assert [row.id for row in catalogue.results()] == ["0", "1", "2", "3"]
    assert catalogue.todo(retry_failed=True) == []


def test_parquet_in_and_out(swapper, pairs, tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    found = [row | {"human": Path(row["human"]).read_bytes()} for row in dicts(pairs, 10)]
    parquet.write_table(pyarrow.Table.from_pylist(found), tmp_path / "list.parquet", row_group_size=4)
    catalogue = cagan.Catalogue(tmp_path / "list.parquet", tmp_path / "out", shard_rows=3, format="png")
    assert [catalogue.swap(swapper, shard).made for shard in catalogue.todo()] == [3, 3, 3, 1]
    results = parquet.read_table(tmp_path / "out" / "manifest").to_pylist()
    assert sorted(row["id"] for row in results) == [str(k) for k in range(10)]
    for row in results:
        given = found[int(row["id"])]
        made = swapper.swap(given["human"], given["worn"], given["target"]).encoded("png")
        assert (tmp_path / "out" / row["image"]).read_bytes() == made
    (tmp_path / "no.parquet").write_text("a letter")
    refusal(ValueError, lambda: cagan.Catalogue(tmp_path / "no.parquet", tmp_path / "out"), "no.parquet")


# A process of its own, which ends at once after some rows; pyarrow's import would take longer than the rest.
KILLED = """
import os, sys
import cagan
from cagan.catalogue import manifest
manifest._pyarrow = lambda: None
catalogue, left = cagan.Catalogue(sys.argv[1], sys.argv[2], shard_rows=4), int(sys.argv[4])
def tell(count):
    global left
    left -= count
    if left <= 0:
        os._exit(9)
for shard in catalogue.todo():
    catalogue.swap(sys.argv[3], shard, tell=tell)
"""


@pytest.mark.usefixtures("without_pyarrow")
def test_killed_jobs_lose_nothing_and_make_nothing_twice(swapper, run, pairs, tmp_path):
    listing = write_list(tmp_path / "list.csv", dicts(pairs, 14))
    whole, out = cagan.Catalogue(listing, tmp_path / "whole", shard_rows=4), tmp_path / "out"
    [whole.swap(swapper, shard) for shard in whole.todo()]
    for left in (6, 3, 100):
        arguments = [sys.executable, "-c", KILLED, listing, out, run.path, left]
        done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True, timeout=300)
        assert done.returncode == (0 if left == 100 else 9), done.stderr
    assert cagan.Catalogue(listing, out, shard_rows=4).todo() == []
    assert pictures(out) == pictures(tmp_path / "whole")
    assert [row.id for row in cagan.Catalogue(listing, out, shard_rows=4).results()] == [str(k) for k in range(14)]


# The command


@pytest.mark.usefixtures("without_pyarrow")
def test_the_command_makes_a_catalogue(call, run, pairs, tmp_path):
    found = dicts(pairs, 9)
    found[4]["human"] = "late.png"
    lists = [write_list(tmp_path / f"part-{k}.csv", part) for k, part in enumerate((found[:5], found[5:]))]
    command = ("swap", run.path, "--list", *lists, "--out", tmp_path / "out", "--shard-rows", 2, "--threads", 1)
    code, out, _ = call(*command, "--shard", "1/2", "--json")
    said = json.loads(out)
    assert (code, said["shards"], said["swaps"], said["kept"], said["failed"]) == (0, 2, 4, 0, [])
    code, out, err = call(*command, "--report", tmp_path / "report.csv")
    assert (code, out) == (1, f"8 swaps in {tmp_path / 'out'}, 4 of them from before\n")
    assert "1 swaps not made; the first: 4: FileNotFoundError: " in err
    with (tmp_path / "report.csv").open() as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["4"]
    (tmp_path / "late.png").write_bytes(pairs[4].human_path.read_bytes())
    assert call(*command)[0] == 1
    assert call(*command, "--retry-failed")[:2] == (0, f"9 swaps in {tmp_path / 'out'}, 8 of them from before\n")
    made = pictures(tmp_path / "out")
    swap = cagan.Swapper(run.path).swap(tmp_path / "late.png", found[4]["worn"], found[4]["target"])
    assert made[rows.place_of("4", ".webp")] == swap.encoded("webp")
    # A shard whose list is at fault costs itself alone.
    write_list(tmp_path / "twice.csv", [*found[:2], found[0], found[0], *found[2:4]])
    code, out, err = call("swap", run.path, "--list", tmp_path / "twice.csv", "-o", tmp_path / "b", "--shard-rows", 2)
    assert code == 1 and out.startswith("4 swaps") and "1 shards not made; the first: 1: id: expected" in err


@pytest.mark.usefixtures("without_pyarrow")
def test_a_list_of_pairs_is_made_in_shards_too(call, run, pairs, pairs_dir, tmp_path):
    (tmp_path / "list.csv").write_text("human,target\n00001,00002\n00001,nobody\n00003,00002\n")
    command = ("swap", run.path, "--pairs", pairs_dir, "--list", tmp_path / "list.csv", "--out", tmp_path / "out")
    code, out, err = call(*command, "--shard", "0/1", "--shard-rows", 2, "--format", "png")
    assert code == 1 and out.startswith("2 swaps") and "the first: 00001__nobody: KeyError: " in err
    swapper = cagan.Swapper(run.path)
    for human in ("00001", "00003"):
        place = tmp_path / "out" / rows.place_of(f"{human}__00002", ".png")
        swap = swapper.swap(pairs[human], target=pairs["00002"])
        assert place.read_bytes() == swap.encoded("png")


def test_the_commands_mistakes(call, run, pairs, tmp_path):
    listing = write_list(tmp_path / "list.csv", dicts(pairs, 2))
    for arguments, text in (
        (["--list", listing], "--out: expected a folder"),
        (["--list", listing, "--out", tmp_path, "--shard", "4/4"], "expected a worker of several"),
        (["--list", listing, "--out", tmp_path, "--worn", listing], "--worn: expected the column worn"),
        ([pairs[0].human_path, pairs[1].article_path, "--shard", "0/2"], "--shard: expected a --list of a catalogue"),
        ([pairs[0].human_path], "expected HUMAN and TARGET, or --pairs and --list"),
    ):
        code, _, err = call("swap", run.path, *arguments)
        assert code == 2 and text in err, err


def test_one_photo_of_a_quality_and_a_size(call, run, pairs, tmp_path):
    one = (pairs[0].human_path, pairs[1].article_path, "--worn", pairs[0].article_path)
    code, _, err = call("swap", run.path, *one, "-o", tmp_path / "a.webp", "--quality", 30, "--max-side", 32)
    assert code == 0, err
    with Image.open(tmp_path / "a.webp") as picture, Image.open(tmp_path / "a.alpha.png") as mask:
        assert picture.format == "WEBP" and max(picture.size) == 32 == max(mask.size)


def test_the_catalogue_on_ray(run, pairs, tmp_path):
    """The script of the documentation, in a process of its own: two actors, a broken row, and a second call."""
    pytest.importorskip("ray")
    found = dicts(pairs, 20)
    found[7]["human"] = "missing.png"
    listing = write_list(tmp_path / "list.csv", found)
    command = [sys.executable, REPOSITORY / "examples" / "ray_catalogue.py", run.path, listing, tmp_path / "out"]
    command += ["--actors", "2", "--shard-rows", "5"]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0"}
    for made in (19, 0):
        done = subprocess.run(
            [str(word) for word in command], env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert f"{made} swaps made, 0 shards left" in done.stdout
    results = list(cagan.Catalogue(listing, tmp_path / "out", shard_rows=5).results())
    assert [row.id for row in results] == [str(k) for k in range(20)]
    assert [row.id for row in results if row.error] == ["7"]
    assert len(pictures(tmp_path / "out")) == 19
