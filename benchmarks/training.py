"""Measure the costs of a run beside its steps: memory over 10,000 of them, the guards, a checkpoint.

    python benchmarks/training.py [memory] [guards] [checkpoint]

memory: `smoke` with every guard; the resident memory after 1,000 and after 10,000 steps.
guards: a run with every guard (monitor, average, clipping, logs, samples, checkpoints at their default intervals) and
one with none take turns of 500 steps, each in a process of its own. Prints the median ratio with / without of the
turns' pairs, of wall time and of CPU time.
checkpoint: `paper` at full width; the time to write one, whole and synced, and its size.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cagan

TURN, TURNS = 500, 7
CASE = {"image_size": [64, 48], "width": 32, "threads": 1, "crop_margin": 2}
NEVER = 10**6
GUARDS = {
    True: {"ema_images": 1000, "gradient_clip": 10.0},
    False: {"monitor_every": 0, "log_every": NEVER, "sample_every": NEVER, "checkpoint_every": NEVER},
}


def memory(folder):
    def resident():
        return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024

    found = {}

    def note(name, value):
        if name == "step" and value in (1000, 2000, 5000, 10_000):
            found[value] = resident()

    pairs = cagan.dolls(folder / "dolls", count=64, size=64)
    settings = {"ema_images": 1000, "gradient_clip": 10.0, "monitor_every": 100, "threads": 1}
    cagan.train(pairs, folder / "run", "smoke", steps=10_000, progress=False, on_event=note, **settings)
    print("resident MiB after steps:", ", ".join(f"{step}: {value:.1f}" for step, value in found.items()))


def one_side(folder, guarded):
    """Print the seconds of each turn, then wait for a word. A turn goes from middle to middle between two saves."""
    began = []

    def note(name, value):
        if name != "step" or value % TURN != TURN // 2:
            return
        if began:
            print(json.dumps([time.perf_counter() - began[0], time.process_time() - began[1]]), flush=True)
        sys.stdin.readline()
        began[:] = time.perf_counter(), time.process_time()

    length = TURN * TURNS + TURN // 2
    config = cagan.Config("paper", steps=length, **CASE, **GUARDS[guarded])
    cagan.train(folder / "dolls", folder / f"guarded_{guarded}", config, progress=False, on_event=note)


def guards(folder):
    cagan.dolls(folder / "dolls", count=64, size=tuple(CASE["image_size"]))
    command = [sys.executable, __file__, "--side", str(folder)]
    sides = {
        guarded: subprocess.Popen([*command, str(guarded)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for guarded in GUARDS
    }
    turns = {guarded: [] for guarded in GUARDS}
    for _ in range(TURNS):
        for guarded, side in sides.items():
            side.stdin.write("go\n")
            side.stdin.flush()
            turns[guarded].append(json.loads(side.stdout.readline()))
    for side in sides.values():
        side.communicate("go\n")
    for k, kind in enumerate(("wall", "CPU")):
        ratios = sorted(with_[k] / without[k] for with_, without in zip(turns[True], turns[False]))
        step = statistics.median(turn[k] for turn in turns[False]) / TURN * 1e3
        print(
            f"guards, {kind} time: ratio {statistics.median(ratios):.3f} ({ratios[0]:.3f} .. {ratios[-1]:.3f}), "
            f"a step without them {step:.1f} ms"
        )


def checkpoint(folder):
    pairs = cagan.dolls(folder / "dolls", count=8, size=(128, 96))
    seconds, last = [], [0.0]

    def note(name, value):
        if name == "checkpoint":
            seconds.append(time.perf_counter() - last[0])
            size = Path(value).stat().st_size
            print(f"checkpoint: {size / 1e6:.0f} MB in {seconds[-1]:.2f} s")
        last[0] = time.perf_counter()

    # A snapshot comes right before each checkpoint and ends when its event does.
    settings = {"batch_size": 1, "checkpoint_every": 1, "snapshot_every": 1, "sample_every": NEVER, "monitor_every": 0}
    cagan.train(pairs, folder / "run", "paper", steps=5, progress=False, on_event=note, **settings)


def main():
    parts = {"memory": memory, "guards": guards, "checkpoint": checkpoint}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="|".join(parts))
    parser.add_argument("--side", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        folder, guarded = arguments.side
        one_side(Path(folder), guarded == "True")
        return
    if unknown := set(arguments.parts) - set(parts):
        parser.error(f"expected {', '.join(parts)}, got {', '.join(unknown)}")
    for name in arguments.parts or parts:
        with tempfile.TemporaryDirectory() as folder:
            parts[name](Path(folder))


if __name__ == "__main__":
    main()
