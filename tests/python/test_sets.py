"""Large sets: little memory for each pair, the same content as the list, ids and names in no time."""

import csv
import pickle
import random
import subprocess
import sys

import cagan

ROWS = 200_000
BYTES = 150


def written(folder, rows, columns):
    path = folder / "large.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def test_a_large_list_has_the_content_that_csv_reads(pairs_dir):
    draw = random.Random(3)
    humans = sorted((pairs_dir / "human").iterdir())
    articles = sorted((pairs_dir / "article").iterdir())
    rows = [
        [
            f'{k}, "{"é" * draw.randrange(3)}"',
            f"human/{draw.choice(humans).name}",
            f"article/{draw.choice(articles).name}",
            draw.choice(["", "train", "test"]),
            f"g{draw.randrange(7)}",
            draw.choice(["", "", "1"]),
        ]
        for k in range(5000)
    ]
    path = written(pairs_dir, rows, ["id", "human", "article", "split", "group", "exclude"])
    try:
        pairs = cagan.Pairs(path)
        with path.open(newline="", encoding="utf-8") as file:
            truth = list(csv.DictReader(file))
    finally:
        path.unlink()
    kept = [row for row in truth if not row["exclude"]]
    assert pairs.ids == [row["id"] for row in kept]
    assert [name for name, _, _ in pairs.excluded] == [row["id"] for row in truth if row["exclude"]]
    for pair, row in zip(pairs, kept):
        assert (pair.human_path, pair.article_path) == (pairs_dir / row["human"], pairs_dir / row["article"])
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


def test_rows_without_ids_are_named_in_no_time(pairs_dir):
    """Each name was looked for from the first number on: minutes for these rows."""
    names = sorted(path.stem for path in (pairs_dir / "human").iterdir())[:2]
    rows = [[f"human/{names[k % 2]}.png", f"article/{names[k // 2 % 2]}.png"] for k in range(ROWS // 2)]
    path = written(pairs_dir, rows, ["human", "article"])
    try:
        listed = cagan.Pairs(path)
    finally:
        path.unlink()
    made = cagan.Pairs.from_rows(rows, folder=pairs_dir)
    expected = [names[k % 2] + (f"_{k // 2 + 1}" if k > 1 else "") for k in range(len(rows))]
    assert listed.ids == made.ids == expected
