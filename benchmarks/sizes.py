"""Measure what a step of kisekae costs at each size: CPU seconds on one thread, and the peak of memory.

    python benchmarks/sizes.py [--sizes 64x48 128x96] [--steps 4]

Each size runs in a process of its own, with batches of 8 dolls of that size, once before the discriminator joins and
once with it. CPU seconds do not grow while others use the machine as much as times on the clock do.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cagan

SIZES = ["64x48", "128x96", "192x128", "256x192"]
# Steps before the clock starts: the first ones take the memory.
WARM = 2


def seconds(pairs, folder, size, steps, judged):
    """Trains for some steps and returns CPU seconds a step."""
    began = []

    def note(name, value):
        if name == "step" and value in (WARM, WARM + steps):
            began.append(time.process_time())

    stage = {"place_after": 0, "judge_after": 0 if judged else 10**9, "full_size_after": 0}
    never = dict.fromkeys(("log_every", "sample_every", "snapshot_every", "checkpoint_every"), 10**6)
    config = cagan.Config("kisekae", image_size=size, steps=WARM + steps, threads=1, monitor_every=0, **stage, **never)
    cagan.train(pairs, folder / f"run{judged}", config, progress=False, on_event=note)
    return (began[1] - began[0]) / steps


def one(size, steps):
    """Prints the row of one size as JSON."""
    with tempfile.TemporaryDirectory() as name:
        pairs = cagan.dolls(Path(name) / "dolls", count=16, size=size, swaps=0)
        without, judged = (seconds(pairs, Path(name), size, steps, judged) for judged in (False, True))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"without": without, "judged": judged, "peak_mib": peak}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", default=SIZES, metavar="HEIGHTxWIDTH")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = [tuple(map(int, size.split("x"))) for size in options.sizes]
    if options.one:
        one(sizes[0], options.steps)
        return
    print("| height x width | CPU s a step, before the discriminator | with it | peak MiB |")
    print("| --- | --- | --- | --- |")
    for name in options.sizes:
        command = [sys.executable, __file__, "--one", "--sizes", name, "--steps", str(options.steps)]
        row = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        print(f"| {name} | {row['without']:.2f} | {row['judged']:.2f} | {row['peak_mib']:.0f} |", flush=True)


if __name__ == "__main__":
    main()
