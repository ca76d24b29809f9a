"""Time the data path against a torch DataLoader with Pillow and two workers, in turns in one process; for `make bench`.

    python benchmarks/data.py [PAIRS] [--rounds N] [--many N]

Both give triplets of float32 [16, 3, 128, 96] from JPEG files: decoded, fitted to 132 x 100, cropped, mirrored, in
[-1, 1]. PAIRS is a folder of pairs; without it, dolls are drawn and saved as JPEG. Prints medians of the turns'
triplets/s and the ratio to the DataLoader. Then a fresh process streams from `--many` pairs (the same files under other
names) and prints its peak memory on the way.
"""

import argparse
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cagan
import numpy as np

BATCH = 16
CONFIG = {"batch_size": BATCH, "width": 16}


def jpeg_dolls(folder, count=400):
    from PIL import Image

    pairs = cagan.dolls(folder / "drawn", count=count, size=(256, 192))
    for side in ("human", "article"):
        (folder / "jpeg" / side).mkdir(parents=True)
        for path in (folder / "drawn" / side).iterdir():
            Image.open(path).save(folder / "jpeg" / side / f"{path.stem}.jpg", quality=90)
    assert len(pairs) == count
    return folder / "jpeg"


def batches(trainer):
    step = 0
    while True:
        yield trainer.triplet(step)
        step += 1


def torch_batches(pairs):
    import torch
    from PIL import Image
    from torch.utils.data import DataLoader, Dataset

    files = [(str(pairs[i].human_path), str(pairs[i].article_path)) for i in range(len(pairs))]

    def picture(path, flip):
        image = Image.open(path).convert("RGB").resize((100, 132), Image.Resampling.BILINEAR)
        top, left = random.randrange(5), random.randrange(5)
        pixels = np.asarray(image)[top : top + 128, left : left + 96]
        pixels = pixels[:, ::-1] if flip else pixels
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1))).float() / 127.5 - 1

    class Triplets(Dataset):
        def __len__(self):
            return len(files)

        def __getitem__(self, index):
            flip, other = random.random() < 0.5, random.randrange(len(files) - 1)
            target = files[other + (other >= index)][1]
            human, worn = files[index]
            return picture(human, flip), picture(worn, flip), picture(target, random.random() < 0.5)

    loader = DataLoader(
        Triplets(), BATCH, shuffle=True, drop_last=True, num_workers=2, persistent_workers=True, prefetch_factor=4
    )
    while True:
        yield from loader


def rate(source, count):
    began = time.perf_counter()
    for _ in range(count):
        triplet = next(source)
        assert tuple(triplet[2].shape) == (BATCH, 3, 128, 96)
    return count * BATCH / (time.perf_counter() - began)


def measure(pairs, rounds):
    """Return the triplets/s of every turn: the DataLoader first."""
    from torch.utils.data import DataLoader

    def ours(**settings):
        return batches(cagan.Trainer(pairs, cagan.Config("paper", **CONFIG, **settings)))

    def in_torch(**settings):
        config = cagan.Config("paper", **CONFIG, steps=1_000_000, **settings)
        return iter(DataLoader(cagan.Loader(pairs, config), batch_size=None))

    contenders = {
        "DataLoader, 2 workers": (torch_batches(pairs), 40),
        "cagan streaming": (ours(loader="streaming", loader_workers=2, loader_prefetch=8), 24),
        "cagan resident": (ours(loader="resident"), 1000),
        "cagan.Loader in a DataLoader, streaming": (
            in_torch(loader="streaming", loader_workers=2, loader_prefetch=8),
            24,
        ),
        "cagan.Loader in a DataLoader, resident": (in_torch(loader="resident"), 1000),
    }
    for source, _ in contenders.values():
        rate(source, 10)
    rates = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, (source, count) in contenders.items():
            # Each side decodes ahead until its queue is full. Waiting for that keeps the others still in this turn; the
            # first triplets empty this side's queue, which is not this turn's work.
            time.sleep(0.5)
            rate(source, 9)
            rates[name].append(rate(source, count))
    return rates


def compare(pairs, rounds):
    rates = measure(pairs, rounds)
    base = rates["DataLoader, 2 workers"]
    for name, turns in rates.items():
        ratios = sorted(a / b for a, b in zip(turns, base))
        print(
            f"| {name} | {statistics.median(turns):,.0f} | {statistics.median(ratios):.1f} "
            f"| {ratios[0]:.1f} .. {ratios[-1]:.1f} |"
        )


def peak_mib():
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def memory(folder):
    """Print the peak memory of a fresh process that streams once through the pairs."""
    pairs = cagan.Pairs(folder)
    before = peak_mib()
    trainer = cagan.Trainer(pairs, cagan.Config("paper", **CONFIG, loader="streaming", loader_workers=2))
    steps = len(pairs) // BATCH
    marks = {0, steps // 8, steps // 4, steps // 2, steps - 1}
    print(f"peak MiB above that of importing ({before:.0f}), {len(pairs)} pairs checked: {peak_mib() - before:.0f}")
    for step in range(steps):
        trainer.triplet(step)
        if step in marks:
            print(f"  after {(step + 1) * BATCH} triplets: {peak_mib() - before:.0f}", flush=True)


def repeated(pairs, count, folder):
    """Repeat the pairs under other names, as links."""
    for side in ("human", "article"):
        (folder / side).mkdir(parents=True)
        for i in range(count):
            pair = pairs[i % len(pairs)]
            path = (pair.human_path if side == "human" else pair.article_path).resolve()
            (folder / side / f"{i:06}{path.suffix}").symlink_to(path)
    return folder


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--many", type=int, default=10_000)
    parser.add_argument("--memory", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        memory(arguments.memory)
        return
    with tempfile.TemporaryDirectory() as folder:
        pairs = cagan.Pairs(arguments.pairs or jpeg_dolls(Path(folder)))
        print(f"{len(pairs)} pairs; {os.cpu_count()} cores, {platform.machine()}\n")
        print("| | triplets/s | ratio to the DataLoader | least .. most |\n| --- | --- | --- | --- |")
        compare(pairs, arguments.rounds)
        print(flush=True)
        many = repeated(pairs, arguments.many, Path(folder) / "many")
        subprocess.run([sys.executable, __file__, "--memory", many], check=True)


if __name__ == "__main__":
    main()
