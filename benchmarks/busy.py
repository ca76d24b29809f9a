"""Time cagan and its plain PyTorch twin on a machine that others use: alone, beside busy processes, within a quota.

    python benchmarks/busy.py [--cases NAME ...] [--loads NAME ...] [--turns N] [--priority N] [--json FILE]

    alone       nothing else works
    one, two    so many processes count beside it, each in a session of its own
    quota       a control group of 1.5 CPUs, with both sides started inside; skipped where no group can be made

Each side works in a process of its own, since both count the cores when they are imported; cagan's imports torch after
cagan. The processes take turns, so that only one works. A swap takes and gives uint8 arrays; streaming gives triplets
from JPEG files. The twin runs eager in the faster layout, and streams by a DataLoader with two workers.

Prints medians and their ratio to the same side's median alone. Rows, machine, versions and date are kept in
benchmarks/results, or in FILE. `--priority -8` raises all processes, and their sessions, above other load; it needs the
right to do so. `--tiny` runs all of it on toy sizes, as a test.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STEPS = {
    "kisekae step": "kisekae, 64 x 48, batch 8, discriminator included",
    "vasily step": "vasily width 128, 64 x 64, batch 16",
}
SWAPS = {"swap": 1, "swap of 16": 16}
CASES = {
    "kisekae step": "a step of kisekae, 64 x 48, batch 8",
    "vasily step": "a step of vasily, width 128, 64 x 64, batch 16",
    "swap": "a swap of vasily, 256 x 192",
    "swap of 16": "sixteen swaps of vasily, 256 x 192",
    "streaming": "sixteen triplets, 128 x 96, from files",
}
LOADS = {"alone": 0, "one": 1, "two": 2, "quota": 0}
QUOTA = 1.5
# The machine and the sides settle before turns count.
SETTLING_S = 2
# Turns of a side in a row end after so many seconds.
LONGEST_S = 10


def step_turn(side, case, folder, tiny):
    """Return a function that takes a step and returns its seconds."""
    import step

    if tiny:
        size = {"image_size": 64, "batch_size": 2, "width": 32}
        step.CASES = {name: (preset, {**settings, **size}) for name, (preset, settings) in step.CASES.items()}
    if side == "cagan":
        run = step.trainer(STEPS[case], "fp32", folder).run
    else:
        forms = [{"channels_last": last, "bf16": False, "compiled": False} for last in (False, True)]
        runs = [step.twin(STEPS[case], form) for form in forms]
        run = min(runs, key=lambda run: min(step.seconds(run, 2) for _ in range(3)))
    run(2)
    return lambda: step.seconds(run, 1)


def swap_turn(side, case, folder, tiny):
    import cagan
    import common

    size = (64, 64) if tiny else (256, 192)
    pairs = cagan.dolls(folder / "dolls", count=16, size=size, swaps=0)
    people, articles = [p.human for p in pairs], [p.article for p in pairs]
    settings = {"image_size": size, "batch_size": 1, **({"width": 16} if tiny else {})}
    run = cagan.train(pairs, folder / "run", "vasily", steps=1, progress=False, sample_every=10**6, **settings)
    swapper = run.swapper()
    given = [part[: SWAPS[case]] for part in (people, articles, articles[1:] + articles[:1])]
    if side == "cagan":

        def swap():
            # A swap's bytes are copied into arrays when they are asked for.
            return [(swap.image, swap.mask, swap.paint) for swap in swapper.swap(*given)]
    else:
        from run import torch_swapper

        common.use_twin()
        theirs = torch_swapper(swapper, people[:2])

        def swap():
            return theirs(*given)

    swap()
    return lambda: common.seconds(swap)


def streaming_turn(side, case, folder, tiny):  # noqa: ARG001  # each case is made alike
    import cagan
    import data

    pairs = cagan.Pairs(data.jpeg_dolls(folder, 32 if tiny else 400))
    if side == "cagan":
        settings = {"loader": "streaming", "loader_workers": 2, "loader_prefetch": 8}
        source = data.batches(cagan.Trainer(pairs, cagan.Config("paper", **data.CONFIG, **settings)))
    else:
        source = data.torch_batches(pairs)
    data.rate(source, 10)

    def turn():
        # The first triplets were decoded before.
        data.rate(source, 9)
        return data.BATCH / data.rate(source, 12)

    return turn


def work(side, case, tiny):
    """Obey the program that started this process: take as many turns as it says, and print their seconds."""
    if side == "twin":
        import torch  # what a user of torch has: its own settings
    import cagan  # noqa: F401  # before torch on its own side

    kind = step_turn if case in STEPS else swap_turn if case in SWAPS else streaming_turn
    with tempfile.TemporaryDirectory() as folder:
        turn = kind(side, case, Path(folder), tiny)
        import torch

        print(json.dumps({"threads": torch.get_num_threads()}), flush=True)
        for line in sys.stdin:
            began, turns = time.monotonic(), []
            while time.monotonic() < began + SETTLING_S:
                turn()
            began = time.monotonic()
            while len(turns) < int(line) and time.monotonic() < began + LONGEST_S:
                turns.append(turn())
            print(json.dumps(turns), flush=True)


class Worker:
    """A process that works for one side."""

    def __init__(self, side, case, arguments, group):
        command = [sys.executable, __file__, "--work", side, case, *(["--tiny"] if arguments.tiny else [])]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}

        def begin():
            prioritise(arguments.priority)
            if group:
                (group / "cgroup.procs").write_text(str(os.getpid()))

        self.process = subprocess.Popen(command, text=True, start_new_session=True, preexec_fn=begin, **pipes)
        self.threads = self.read()["threads"]

    def read(self):
        """Wait for what it says."""
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a process ended with code {self.process.wait()}")
        return json.loads(line)

    def turns(self, count):
        """Let it take turns, and return their seconds."""
        print(count, file=self.process.stdin, flush=True)
        return self.read()

    def close(self):
        """Let it end."""
        self.process.stdin.close()
        self.process.wait()


def prioritise(priority):
    if priority:
        os.setpriority(os.PRIO_PROCESS, 0, priority)
        group = Path("/proc/self/autogroup")
        if group.exists():
            group.write_text(str(priority))


@contextlib.contextmanager
def busy(count, priority):
    """Let so many processes count meanwhile."""
    command = [sys.executable, "-c", "while True: pass"]
    others = [
        subprocess.Popen(command, start_new_session=True, preexec_fn=lambda: prioritise(priority)) for _ in range(count)
    ]
    try:
        time.sleep(1 if count else 0)
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@contextlib.contextmanager
def quota(cpus, priority):
    """Make a control group of so many CPUs, and give its folder; None where none can be made."""
    period = 100_000
    name = f"cagan_busy_{os.getpid()}"
    amount = str(int(cpus * period))
    # A step of priority is worth a quarter of the weight.
    shares = str(int(1024 * 1.25**-priority))
    for root, files in (
        (Path("/sys/fs/cgroup"), {"cpu.max": f"{amount} {period}", "cpu.weight.nice": str(priority)}),
        (
            Path("/sys/fs/cgroup/cpu"),
            {"cpu.cfs_period_us": str(period), "cpu.cfs_quota_us": amount, "cpu.shares": shares},
        ),
    ):
        if not (root / "cgroup.procs").exists():
            continue  # a new folder there would be a plain one
        group = root / name
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            for file, text in files.items():
                (group / file).write_text(text)
        except OSError:
            group.rmdir()
            continue
        try:
            yield group
        finally:
            group.rmdir()
        return
    yield None


def measure(case, arguments):
    """Return rows of one case: for each load and side the seconds of all turns."""
    loads = [load for load in LOADS if load in arguments.loads]
    rows = []
    for inside in (False, True):
        here = [load for load in loads if (load == "quota") == inside]
        if not here:
            continue
        with quota(QUOTA, arguments.priority) if inside else contextlib.nullcontext() as group:
            if inside and group is None:
                print("quota: skipped, no control group can be made here", file=sys.stderr)
                continue
            workers = {side: Worker(side, case, arguments, group) for side in ("cagan", "twin")}
            turns = {(load, side): [] for load in here for side in workers}
            for part in split(arguments.turns):
                for load in here:
                    with busy(LOADS[load], arguments.priority):
                        for side, worker in workers.items():
                            turns[load, side] += worker.turns(part)
            for (load, side), seconds in turns.items():
                threads = workers[side].threads
                rows.append({"case": case, "load": load, "side": side, "threads": threads, "seconds": seconds})
            for worker in workers.values():
                worker.close()
    return rows


def split(turns, most=10):
    """Cut the turns into parts, so that the loads take turns too."""
    return [min(most, turns - begun) for begun in range(0, turns, most)]


def table(rows):
    loads = [load for load in LOADS if any(row["load"] == load for row in rows)]
    lines = [f"| case | | {' | '.join(loads)} |", f"| --- | --- |{' --- |' * len(loads)}"]
    medians = {(r["case"], r["side"], r["load"]): statistics.median(r["seconds"]) * 1e3 for r in rows}
    for case, words in CASES.items():
        for side in ("cagan", "twin"):
            cells = []
            for load in loads:
                found = medians.get((case, side, load))
                quiet = medians.get((case, side, "alone"))
                ratio = f" ({found / quiet:.2f})" if found and quiet and load != "alone" else ""
                cells.append(f"{found:.3g}{ratio}" if found else "")
            if any(cells):
                lines.append(f"| {words if side == 'cagan' else ''} | {side} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--loads", nargs="+", choices=LOADS, default=list(LOADS))
    parser.add_argument("--turns", type=int, default=20, help="turns of each side under each load [default: 20]")
    parser.add_argument("--priority", type=int, default=0, help="nice value of all processes [default: 0]")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that it works")
    parser.add_argument("--json", type=Path, help="write the results here, not to benchmarks/results")
    parser.add_argument("--work", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(*arguments.work, arguments.tiny)
        return
    rows = []
    for case in arguments.cases:
        rows += measure(case, arguments)
        print(table([row for row in rows if row["case"] == case]), file=sys.stderr, flush=True)
    import common

    print(table(rows))
    print(f"\n{common.keep('busy', rows, arguments.json)}")


if __name__ == "__main__":
    main()
