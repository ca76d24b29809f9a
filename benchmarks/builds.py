"""Compare the CPU time of the training step in two builds of the package, in turns.

    python benchmarks/builds.py OLD/python NEW/python [--turns 30] [--steps 2] [--cases vasily paper kisekae]

Each argument is a folder that holds the package `cagan`. Each build trains in a process of its own, on one thread; one
waits while the other works. Prints the medians of the turns, the median of new / old and its spread. CPU time leaves
out waiting, not the other load's hold on caches: more turns help.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

CASES = {
    "vasily": ("vasily", {"width": 128, "image_size": 64, "batch_size": 16}),
    "paper": ("paper", {"width": 128, "image_size": (64, 48), "batch_size": 16}),
    "kisekae": ("kisekae", {"place_after": 0, "judge_after": 0, "batch_size": 8}),
}
WORKER = """
import json, sys, time, cagan
preset, overrides, folder = json.loads(sys.argv[1])
config = cagan.Config(preset, threads=1, device="cpu", **overrides)
trainer = cagan.Trainer(cagan.dolls(folder, count=32, size=config.image_size), config)
trainer.run(2)
print("ready", flush=True)
for line in sys.stdin:
    began = time.process_time()
    trainer.run(int(line))
    print((time.process_time() - began) / int(line), flush=True)
"""


def start(package, case, folder):
    """Start a process that trains with a build, and wait until it has trained."""
    environment = {**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": "1", "RAYON_NUM_THREADS": "1"}
    command = [sys.executable, "-c", WORKER, json.dumps([*CASES[case], folder])]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    worker = subprocess.Popen(command, env=environment, text=True, **pipes)
    if worker.stdout.readline() != "ready\n":
        raise SystemExit(f"{package}: the build does not train")
    return worker


def seconds(worker, steps):
    worker.stdin.write(f"{steps}\n")
    worker.stdin.flush()
    return float(worker.stdout.readline())


def compare(packages, case, turns, steps):
    with tempfile.TemporaryDirectory() as folder:
        workers = [start(package, case, f"{folder}/{k}") for k, package in enumerate(packages)]
        times = []
        for turn in range(turns):
            order = (0, 1) if turn % 2 else (1, 0)
            found = {k: seconds(workers[k], steps) for k in order}
            times.append((found[0], found[1]))
        for worker in workers:
            worker.stdin.close()
            worker.wait()
    ratios = sorted(new / old for old, new in times)
    old, new = (statistics.median(column) * 1e3 for column in zip(*times))
    low, high = ratios[len(ratios) // 10], ratios[-1 - len(ratios) // 10]
    print(
        f"{case:8} old {old:8.1f} ms, new {new:8.1f} ms, new / old {statistics.median(ratios):.4f} "
        f"({low:.3f} .. {high:.3f}), least {min(n for _, n in times) / min(o for o, _ in times):.4f}",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packages", nargs=2, metavar="FOLDER", help="the old and the new build")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--steps", type=int, default=2, help="steps of each turn")
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    arguments = parser.parse_args()
    for case in arguments.cases:
        compare(arguments.packages, case, arguments.turns, arguments.steps)


if __name__ == "__main__":
    main()
