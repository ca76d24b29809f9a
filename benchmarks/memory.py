"""Measure the peak memory of swaps, lists and evaluation of large photos, each in a process of its own.

    python benchmarks/memory.py [--megapixels 12] [--count 1000] [--preset kisekae] [--size 128x96]

Prints the growth over the process with a loaded model and one swap of a small photo. The guide states the budget.
"""

import argparse
import json
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


def peak():
    """The process's largest memory so far, in MiB."""
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def swap_list(run, photos, _):
    from cagan.evaluation import listed
    from cagan.swapping import swap_list

    wanted = listed(photos / "list.csv", cagan.Pairs(photos))
    with tempfile.TemporaryDirectory() as out:
        swap_list(cagan.Swapper(run, "cpu"), wanted, Path(out))


def stream(run, photos, pairs):
    found = [pair.human_path for pair in cagan.Pairs(photos)]
    for _ in cagan.Swapper(run, "cpu").stream(iter(found), pairs[0].article, pairs[1].article):
        pass


def small(run, _, pairs):
    found = [pairs[k % 16].human for k in range(64)]
    cagan.Swapper(run, "cpu").swap(found, pairs[0].article, pairs[1].article)


def arrays(run, photos, pairs):
    one = cagan.Pairs(photos)[0].human
    count = len(cagan.Pairs(photos))
    for _ in cagan.Swapper(run, "cpu").stream((one.copy() for _ in range(count)), pairs[0].article, pairs[1].article):
        pass


def evaluate(run, photos, _):
    cagan.evaluate(cagan.Swapper(run, "cpu"), cagan.Pairs(photos), targets=1, height=128)


def thin(run, _, pairs):
    cagan.Swapper(run, "cpu").swap(np.zeros((6000, 10, 3), np.uint8), pairs[0].article, pairs[1].article)


def measure(work, run, photos, dolls, found):
    pairs = cagan.Pairs(dolls)
    cagan.Swapper(run, "cpu").swap(pairs[0].human, pairs[0].article, pairs[1].article)
    before, start = peak(), time.perf_counter()
    work(run, photos, pairs)
    found.put((peak() - before, time.perf_counter() - start))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--preset", default="kisekae")
    parser.add_argument("--size", default="128x96")
    parser.add_argument("--fit", default=None)
    parser.add_argument("--only", nargs="*", default=["stream", "arrays", "swap_list", "evaluate", "thin"])
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        size = tuple(map(int, arguments.size.split("x")))
        fit = {"human_fit": arguments.fit} if arguments.fit else {}
        dolls = cagan.dolls(folder / "dolls", count=16, size=64, swaps=0)
        config = cagan.Config(arguments.preset, image_size=size, batch_size=2, steps=1, device="cpu", **fit)
        run = cagan.train(dolls, folder / "run", config, progress=False)
        height = round((arguments.megapixels * 1e6 * 4 / 3) ** 0.5)
        photos = folder / "photos"
        for kind in ("human", "article"):
            (photos / kind).mkdir(parents=True)
        picture = Image.fromarray(dolls[0].human).resize((height * 3 // 4, height))
        for kind, shape in (("human", picture.size), ("article", (768, 1024))):
            picture.resize(shape).save(photos / kind / "0.jpg", quality=90)
            for k in range(1, arguments.count):
                os.link(photos / kind / "0.jpg", photos / kind / f"{k}.jpg")
        lines = "".join(f"{k},{(k + 1) % arguments.count}\n" for k in range(arguments.count))
        (photos / "list.csv").write_text("human,target\n" + lines)
        context = multiprocessing.get_context("spawn")
        for work in (small, stream, arrays, swap_list, evaluate, thin):
            if work.__name__ not in arguments.only:
                continue
            found = context.Queue()
            process = context.Process(target=measure, args=(work, run.path, photos, folder / "dolls", found))
            process.start()
            grown, took = found.get()
            process.join()
            print(json.dumps({"work": work.__name__, "grown_mib": round(grown), "took_s": round(took, 1)}), flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
