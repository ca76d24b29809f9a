"""Measure the peak memory of swaps, lists and evaluation of large photos, each in a process of its own.

    python benchmarks/memory.py [--only stream-48 thin ...] [--preset kisekae] [--fit stretch]

Prints a table: the growth over the process with a loaded model and one swap of a small photo. The guide states the
budget.
"""

import argparse
import multiprocessing
import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import cagan
import numpy as np
from PIL import Image

SMALL = (128, 96)
LARGE = (512, 384)


def peak():
    """The process's largest memory so far, in MiB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def stream(swapper, photos, pairs):
    found = (pair.human_path for pair in cagan.Pairs(photos))
    for _ in swapper.stream(found, pairs[0].article, pairs[1].article):
        pass


def listed(swapper, photos, pairs):
    found = [pair.human_path for pair in cagan.Pairs(photos)]
    swapper.swap(found, pairs[0].article, pairs[1].article)


def arrays(swapper, photos, pairs):
    """The photo itself, a copy of it and the last swap are the caller's."""
    one = cagan.Pairs(photos)[0].human
    for _ in swapper.stream((one.copy() for _ in cagan.Pairs(photos)), pairs[0].article, pairs[1].article):
        pass


def files(swapper, photos, _):
    from cagan.evaluation import listed
    from cagan.swapping import swap_list

    wanted = listed(photos / "list.csv", cagan.Pairs(photos))
    with tempfile.TemporaryDirectory() as out:
        swap_list(swapper, wanted, Path(out))


def evaluate(swapper, photos, _):
    cagan.evaluate(swapper, cagan.Pairs(photos), targets=1, height=128)


def thin(swapper, _, pairs):
    swapper.swap(np.zeros((6000, 10, 3), np.uint8), pairs[0].article, pairs[1].article)


# Name: what it is; work, megapixels, photos, the networks' size.
CASES = {
    "stream-12": ("`stream` of files", stream, 12, 24, SMALL),
    "stream-48": ("`stream` of files", stream, 48, 12, SMALL),
    "arrays-12": ("`stream` of arrays", arrays, 12, 24, SMALL),
    "arrays-48": ("`stream` of arrays", arrays, 48, 12, SMALL),
    "files-12": ("`cagan swap --list`", files, 12, 24, SMALL),
    "files-48": ("`cagan swap --list`", files, 48, 12, SMALL),
    "evaluate-12": ("`evaluate`", evaluate, 12, 24, SMALL),
    "evaluate-48": ("`evaluate`", evaluate, 48, 12, SMALL),
    "large-12": ("`stream` of files", stream, 12, 24, LARGE),
    "large-arrays-12": ("`stream` of arrays", arrays, 12, 24, LARGE),
    "thin": ("one photo of 6000 x 10", thin, 0.06, 1, SMALL),
    "large-thin": ("one photo of 6000 x 10", thin, 0.06, 1, LARGE),
    "thousand-stream": ("`stream` of files", stream, 0.48, 1000, SMALL),
    "thousand-list": ("`swap` of a list, with its results", listed, 0.48, 1000, SMALL),
    "thousand-files": ("`cagan swap --list`", files, 0.48, 1000, SMALL),
    "thousand-evaluate": ("`evaluate`", evaluate, 0.48, 1000, SMALL),
}


def measure(name, run, photos, dolls, found):
    work, pairs = CASES[name][1], cagan.Pairs(dolls)
    swapper = cagan.Swapper(run, "cpu")
    swapper.swap(pairs[0].human, pairs[0].article, pairs[1].article)
    before, start = peak(), time.perf_counter()
    work(swapper, photos, pairs)
    found.put((peak() - before, time.perf_counter() - start))


def photographed(folder, dolls, megapixels, count):
    """Writes pairs of one picture under many names, and a list of swaps."""
    height = round((megapixels * 1e6 * 4 / 3) ** 0.5)
    picture = Image.fromarray(dolls[0].human).resize((height * 3 // 4, height))
    for kind, shape in (("human", picture.size), ("article", (768, 1024))):
        (folder / kind).mkdir(parents=True)
        picture.resize(shape).save(folder / kind / "0.jpg", quality=90)
        for k in range(1, count):
            os.link(folder / kind / "0.jpg", folder / kind / f"{k}.jpg")
    lines = "".join(f"{k},{(k + 1) % count}\n" for k in range(count))
    (folder / "list.csv").write_text("human,target\n" + lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="kisekae")
    parser.add_argument("--fit", default=None)
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=list(CASES), metavar="CASE")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    context = multiprocessing.get_context("spawn")
    try:
        fit = {"human_fit": arguments.fit} if arguments.fit else {}
        dolls = cagan.dolls(folder / "dolls", count=16, size=64, swaps=0)
        print("| what | photos | networks | growth, MiB | s |\n| --- | --- | --- | --- | --- |", flush=True)
        for name in arguments.only:
            what, _, megapixels, count, size = CASES[name]
            run, photos = folder / f"run-{size[0]}", folder / f"{megapixels}-{count}"
            if not run.exists():
                config = cagan.Config(arguments.preset, image_size=size, batch_size=2, steps=1, device="cpu", **fit)
                cagan.train(dolls, run, config, progress=False)
            if not photos.exists():
                photographed(photos, dolls, megapixels, count)
            found = context.Queue()
            process = context.Process(target=measure, args=(name, run, photos, folder / "dolls", found))
            process.start()
            grown, took = found.get()
            process.join()
            of = "1" if count == 1 else f"{count:,} of {megapixels} MP"
            print(f"| {what} | {of} | {size[0]} x {size[1]} | {grown:.0f} | {took:.0f} |", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
