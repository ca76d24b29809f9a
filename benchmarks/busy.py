"""Time training steps beside busy processes: cagan, cagan with libgomp's own waits, and the plain PyTorch twin.

    python benchmarks/busy.py [--busy 0 1 2] [--steps 15] [--rounds 3] [--cases ...]

Each turn is a fresh process, since libgomp reads how long its threads spin when it is loaded. cagan shortens that
unless the environment says otherwise; where torch was imported first, libgomp's own waits stand. The twin is eager
float32.
Prints medians over the rounds of a process's median step, its slowest step, and its CPU time a step.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

SIDES = {"cagan": "cagan", "cagan, libgomp's own waits": "own", "PyTorch": "twin"}
CASES = ["kisekae, 64 x 48, batch 8, discriminator included", "vasily width 128, 64 x 64, batch 16"]
SPIN = "while True: pass"


def child(side, case, steps):
    """Print the median and the largest time of a step, and the CPU time of a step."""
    if side != "cagan":
        import torch  # noqa: F401  # first, so that libgomp's own waits stand
    import tempfile

    from step import FORMS, trainer, twin

    with tempfile.TemporaryDirectory() as folder:
        run = twin(case, FORMS[0]) if side == "twin" else trainer(case, "fp32", folder).run
        run(2)
        times, began = [], time.process_time()
        for _ in range(steps):
            start = time.perf_counter()
            run(1)
            times.append(time.perf_counter() - start)
        print(statistics.median(times), max(times), (time.process_time() - began) / steps)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=CASES)
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child, arguments.steps)
        return
    print("| case | busy processes | side | step, ms | slowest, ms | CPU, ms |\n| --- | --- | --- | --- | --- | --- |")
    for case in arguments.cases:
        for busy in arguments.busy:
            beside = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(busy)]
            try:
                seen = {side: [] for side in SIDES}
                for _ in range(arguments.rounds):
                    for side, how in SIDES.items():
                        command = [sys.executable, __file__, "--steps", str(arguments.steps), "--child", how, case]
                        done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path.cwd())
                        seen[side].append([float(word) for word in done.stdout.split()])
            finally:
                for process in beside:
                    process.kill()
                    process.wait()
            for side, turns in seen.items():
                numbers = (statistics.median(turn[k] for turn in turns) * 1e3 for k in range(3))
                print(f"| {case} | {busy} | {side} | {' | '.join(f'{number:.0f}' for number in numbers)} |", flush=True)


if __name__ == "__main__":
    main()
