"""Measure large sets: time to open, memory, a step's draw, a second start; as a list, as files, and in tar shards.

    python benchmarks/sets.py list --pairs 1000000          # a list over the same 32 pairs of files
    python benchmarks/sets.py files --pairs 100000          # each pair its own files: hard links
    python benchmarks/sets.py shards --pairs 100000         # the same in tar files of 10,000 pairs

Bytes a pair are the growth of the process's memory: at the end of the reading, and at its peak. Each opening and each
start has a process of its own.
"""

import argparse
import io
import multiprocessing
import os
import re
import shutil
import tarfile
import tempfile
import time
from pathlib import Path

import cagan

SIZE = 64
# Distinct pictures of a side. A file system may allow 65,000 names of one file.
DOLLS = 32
SHARD = 10_000


def memory(name):
    """The process's memory in bytes: now (VmRSS) or at most so far (VmHWM)."""
    return 1024 * int(re.search(name + r":\s+(\d+)", Path("/proc/self/status").read_text())[1])


def opening(place):
    cagan.Pairs(place.parent / "dolls")
    before, start = memory("VmRSS"), time.perf_counter()
    pairs = cagan.Pairs(place)
    took = time.perf_counter() - start
    grown, most, count = memory("VmRSS") - before, memory("VmHWM") - before, len(pairs)
    yield "open", f"{took:.2f} s"
    yield "memory a pair, at the end", f"{grown / count:.0f} bytes"
    yield "memory a pair, at most", f"{most / count:.0f} bytes"
    last = pairs[-1].id
    start = time.perf_counter()
    pairs[last]
    yield "the first pair by its id", f"{time.perf_counter() - start:.2f} s"


def config(loader):
    return cagan.Config("smoke", image_size=SIZE, batch_size=16, steps=10**6, loader=loader, loader_workers=1)


def stepping(place, loader, steps):
    pairs = cagan.Pairs(place)
    before, start = memory("VmRSS"), time.perf_counter()
    loader = cagan.Loader(pairs, config(loader))
    yield "start of a training", f"{time.perf_counter() - start:.2f} s"
    yield "memory a pair of its loader", f"{(memory('VmRSS') - before) / len(pairs):.0f} bytes"
    times = []
    for step in range(steps):
        start = time.perf_counter()
        loader[step]
        times.append(time.perf_counter() - start)
    yield "a step's draw and batch of 16", f"{1e3 * sorted(times)[steps // 2]:.2f} ms"


def drawing(place):
    """From pictures in memory: the draw, and 48 copies of 12 KiB as float32."""
    return stepping(place, "resident", 500)


def starting(place):
    """From files that are decoded at each step."""
    return stepping(place, "streaming", 100)


def run(work, place, found):
    found.put(list(work(place)))


def measured(title, work, place):
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    process = context.Process(target=run, args=(work, place, found))
    process.start()
    for what, value in found.get():
        print(f"| {title} | {what} | {value} |", flush=True)
    process.join()


def listed(folder, count):
    """A list of that many pairs over the same files."""
    names = [f"{k:05d}.png" for k in range(DOLLS)]
    path = folder / "pairs.csv"
    with path.open("w") as file:
        file.write("id,human,article\n")
        for k in range(count):
            file.write(f"{k:07d},dolls/human/{names[k % DOLLS]},dolls/article/{names[(k // DOLLS + k) % DOLLS]}\n")
    return path


def linked(folder, count):
    """Folders `human` and `article` with that many names of the same files, and a list of them."""
    with (folder / "pairs.csv").open("w") as file:
        file.write("id,human,article\n")
        for k in range(count):
            cells = []
            for side in ("human", "article"):
                part = folder / side / f"{k // 1000:04d}"
                if k % 1000 == 0:
                    part.mkdir(parents=True)
                os.link(folder / "dolls" / side / f"{k % DOLLS:05d}.png", part / f"{k:07d}.png")
                cells.append(f"{side}/{part.name}/{k:07d}.png")
            file.write(f"{k:07d},{','.join(cells)}\n")
    return folder / "pairs.csv"


def packed(folder, count):
    """Tar files with that many pairs of the same bytes."""
    out = folder / "shards"
    out.mkdir()
    data = {
        side: [(folder / "dolls" / side / f"{k:05d}.png").read_bytes() for k in range(DOLLS)]
        for side in ("human", "article")
    }
    for first in range(0, count, SHARD):
        with tarfile.open(out / f"{first // SHARD:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as shard:
            for k in range(first, min(first + SHARD, count)):
                for side, pictures in data.items():
                    about = tarfile.TarInfo(f"{k:07d}.{side}.png")
                    about.size = len(pictures[k % DOLLS])
                    shard.addfile(about, io.BytesIO(pictures[k % DOLLS]))
    return out


def age(folder):
    """Make the files old: hashes of files that have just been written are not kept."""
    for path in [*folder.glob("dolls/*/*"), *folder.glob("shards/*")]:
        os.utime(path, (0, 1e9))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("form", choices=["list", "files", "shards"])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=SIZE, help="height and width of the stored pictures")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        cagan.dolls(folder / "dolls", count=DOLLS, size=arguments.size, swaps=0)
        make = {"list": listed, "files": linked, "shards": packed}[arguments.form]
        place = make(folder, arguments.pairs)
        age(folder)
        print(f"{arguments.pairs:,} pairs\n\n| set | what | |\n| --- | --- | --- |")
        form = arguments.form
        measured(form, opening, place)
        if form == "shards":
            measured(f"{form}, with its index", opening, place)
        if form == "list":
            measured(form, drawing, place)
        else:
            measured(form, starting, place)
            measured(f"{form}, second start", starting, place)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
