"""Large sets: little memory for each pair, the content of the list, names in no time, one look at the pictures."""

import csv
import os
import pickle
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import cagan
import pytest
import torch

ROWS = 200_000
BYTES = 150


def written(folder, rows, columns):
    path = folder / "large.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def test_a_large_list_has_the_content_that_csv_reads(pairs_dir, tmp_path):
    draw = random.Random(3)
    humans = sorted((pairs_dir / "human").iterdir())
    articles = sorted((pairs_dir / "article").iterdir())
    rows = [
        [
            f'{k}, "{"é" * draw.randrange(3)}"',
            draw.choice(humans),
            draw.choice(articles),
            draw.choice(["", "train", "test"]),
            f"g{draw.randrange(7)}",
            draw.choice(["", "", "1"]),
        ]
        for k in range(5000)
    ]
    path = written(tmp_path, rows, ["id", "human", "article", "split", "group", "exclude"])
    pairs = cagan.Pairs(path)
    with path.open(newline="", encoding="utf-8") as file:
        truth = list(csv.DictReader(file))
    kept = [row for row in truth if not row["exclude"]]
    assert pairs.ids == [row["id"] for row in kept]
    assert [name for name, _, _ in pairs.excluded] == [row["id"] for row in truth if row["exclude"]]
    for pair, row in zip(pairs, kept):
        assert (pair.human_path, pair.article_path) == (Path(row["human"]), Path(row["article"]))
        assert (pair.group, pair.split) == (row["group"], row["split"] or None)
    assert pairs.splits == {name: sum(row["split"] == name for row in kept) for name in ["train", "test"]}
    part = pairs.of_split("test")
    for some in [part, pickle.loads(pickle.dumps(part)), pairs.filter(lambda pair: pair.split == "test")]:
        assert some.ids == [row["id"] for row in kept if row["split"] == "test"]
        assert some[some.ids[-1]] == part[-1] == pairs[part.ids[-1]]
    backwards = pairs[::-1]
    assert backwards[0] == pairs[-1]
    assert [backwards.index(backwards[pair_id]) for pair_id in pairs.ids[:3]] == [len(pairs) - k for k in (1, 2, 3)]


def test_a_pair_takes_few_bytes(pairs_dir, tmp_path):
    """A pair took 540 bytes, and 760 while the list was read."""
    names = sorted(path.name for path in (pairs_dir / "human").iterdir())
    rows = ([f"{k:07d}", pairs_dir / "human" / names[k % 4], pairs_dir / "article" / names[k % 3]] for k in range(ROWS))
    path = written(tmp_path, rows, ["id", "human", "article"])
    code = f"""
import re, sys
from pathlib import Path
import cagan

def bytes_now(name):
    return 1024 * int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

pairs = cagan.Pairs({str(path)!r})  # What the first reading starts stays.
del pairs
before = bytes_now("VmRSS")
pairs = [cagan.Pairs({str(path)!r}) for _ in range(4)]
pairs[3]["0000007"]
print((bytes_now("VmRSS") - before) / (4 * {ROWS}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < BYTES


def test_rows_without_ids_are_named_in_no_time(pairs_dir, tmp_path):
    """Each name was looked for from the first number on: minutes for these rows."""
    names = sorted(path.stem for path in (pairs_dir / "human").iterdir())[:2]
    sides = [pairs_dir / "human", pairs_dir / "article"]
    rows = [[side / f"{names[k % 2]}.png" for side in sides] for k in range(ROWS // 2)]
    listed = cagan.Pairs(written(tmp_path, rows, ["human", "article"]))
    made = cagan.Pairs.from_rows(rows)
    expected = [names[k % 2] + (f"_{k // 2 + 1}" if k > 1 else "") for k in range(len(rows))]
    assert listed.ids == made.ids == expected


@pytest.fixture(scope="module")
def old_dolls(tmp_path_factory):
    """More files than the least for which hashes are kept. They are an hour old."""
    folder = tmp_path_factory.mktemp("dolls")
    cagan.dolls(folder, count=520, size=16, swaps=0)
    age(folder)
    return folder


def age(folder, seconds=3600):
    for path in folder.rglob("*.png"):
        os.utime(path, (path.stat().st_atime, time.time() - seconds))


def config(**other):
    settings = {"image_size": 64, "batch_size": 8, "steps": 3, "loader": "streaming", "seed": 2}
    return cagan.Config("smoke", **{**settings, **other})


def batches(pairs, **other):
    return [side for triplet in cagan.Loader(pairs, config(**other)) for side in triplet]


def same(one, other):
    return len(one) == len(other) and all(map(torch.equal, one, other))


def break_quietly(path):
    """Make a picture unreadable, of the same length and time."""
    about = path.stat()
    path.write_bytes(b"x" * about.st_size)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def test_a_second_start_decodes_what_has_changed_alone(old_dolls, tmp_path):
    folder = tmp_path / "dolls"
    shutil.copytree(old_dolls, folder)
    kept = folder / ".cagan-sums"
    pairs = cagan.Pairs(folder)
    photo = pairs[7].human_path
    first = batches(pairs)
    assert kept.stat().st_size == len(b"cagan sums 1\n") + 32 * 1040 + 8
    assert same(batches(pairs), first)
    break_quietly(photo)
    cagan.Loader(pairs, config())
    # Another size is another reading, a file of another time is another file.
    with pytest.raises(ValueError, match=photo.name):
        cagan.Loader(pairs, config(image_size=96))
    os.utime(photo, (time.time() - 60,) * 2)
    with pytest.raises(ValueError, match=photo.name):
        cagan.Loader(pairs, config())
    # The others were looked at once more, for the other size; the hashes go with the folder.
    shutil.copy2(old_dolls / "human" / photo.name, photo)
    moved = folder.rename(tmp_path / "moved")
    assert same(batches(cagan.Pairs(moved)), first)
    break_quietly(moved / "human" / photo.name)
    cagan.Loader(cagan.Pairs(moved), config())


@pytest.mark.parametrize("broken", ["text", "cut", "folder", "changed"])
def test_hashes_that_cannot_be_read_are_as_none(old_dolls, tmp_path, broken):
    folder = tmp_path / "dolls"
    shutil.copytree(old_dolls, folder)
    kept = folder / ".cagan-sums"
    first = batches(cagan.Pairs(folder))
    good = kept.read_bytes()
    kept.unlink()
    if broken == "folder":
        kept.mkdir()
    else:
        flipped = good[:40] + bytes([good[40] ^ 1]) + good[41:]
        kept.write_bytes({"text": b"no hashes", "cut": good[:-32], "changed": flipped}[broken])
    assert same(batches(cagan.Pairs(folder)), first)
    assert kept.is_dir() if broken == "folder" else kept.read_bytes() == good


def test_a_file_that_was_just_written_is_not_trusted(old_dolls, tmp_path):
    folder = tmp_path / "dolls"
    shutil.copytree(old_dolls, folder)
    for path in (folder / "human").iterdir():
        os.utime(path)
    batches(cagan.Pairs(folder))
    assert (folder / ".cagan-sums").stat().st_size == len(b"cagan sums 1\n") + 32 * 520 + 8


def test_a_small_set_and_resident_pictures_keep_no_hashes(old_dolls):
    batches(cagan.Pairs(old_dolls)[:100])
    batches(cagan.Pairs(old_dolls), loader="resident")
    assert not (old_dolls / ".cagan-sums").exists()
