"""Measure and check training in several processes of gloo on this machine.

    python benchmarks/processes.py [kills] [speed] [--count 20] [--rounds 5]

kills: short runs of two processes under torchrun. At a random moment one of them, a random one, is killed; torchrun
starts both again. Each run must end with the bytes of one without a kill: checkpoint, snapshot and sample grid.
speed: steps of one process with one thread, of one with two threads, and of two processes with one thread each, the
same batches, in turns, each in new processes. Prints the milliseconds of a step, wall and CPU of all processes (medians
of the turns), and the ratio of the wall times of one process with two threads and of two processes.
"""

import argparse
import os
import random
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cagan

WARM, STEPS = 3, 12
# Processes, and threads of each.
SIDES = [(1, 1), (1, 2), (2, 1)]
CASES = {
    "smoke, 64 x 64, batch 4": ("smoke", {}),
    "paper width 64, 64 x 48, batch 8": ("paper", {"image_size": [64, 48], "width": 64, "batch_size": 8}),
    "kisekae, 64 x 48, batch 8, discriminator included": (
        "kisekae",
        {"image_size": [64, 48], "batch_size": 8, "place_after": 0, "judge_after": 0},
    ),
}
RUN = {"steps": 24, "checkpoint_every": 4, "snapshot_every": 8, "sample_every": 8, "log_every": 1, "monitor_every": 6}


def torchrun(folder, run, restarts):
    """Start a run of two processes."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in RUN.items()]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [f"--max-restarts={restarts}", "-m", "cagan", "train", str(folder / "dolls"), str(run), "--preset=smoke"]
    command += ["--threads=1", "--device=cpu", "--quiet", *options]
    # Without the flag torch 2.11's restarts fail most times (pytorch/pytorch#135712).
    environment = os.environ | {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def workers(parent):
    """Return the processes that torchrun has started, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            fields = (path / "stat").read_text().rsplit(")", 1)[1].split()
            variables = dict(
                word.split(b"=", 1) for word in (path / "environ").read_bytes().split(b"\0") if b"=" in word
            )
        except (OSError, IndexError):
            continue
        if int(fields[1]) == parent and b"RANK" in variables:
            found[int(variables[b"RANK"])] = int(path.name)
    return found


def ends(run):
    """Return the bytes that a run ends with."""
    found = {}
    for name in ("checkpoints", "snapshots", "samples"):
        last = sorted(path for path in (run / name).iterdir() if path.name.startswith("step_"))[-1]
        found[f"{name}/{last.name}"] = last.read_bytes()
    return found


def kills(folder, count):
    draw = random.Random(count)
    cagan.dolls(folder / "dolls", count=8, size=64)
    began = time.perf_counter()
    whole = torchrun(folder, folder / "whole", 0)
    _, errors = whole.communicate()
    assert whole.returncode == 0, errors
    print(f"a run without a kill: {time.perf_counter() - began:.1f} s")
    expected, same, hit = ends(folder / "whole"), 0, {}
    for number in range(count):
        run, rank = folder / f"run{number}", draw.randrange(2)
        after, wait_s = draw.randrange(RUN["steps"]), draw.uniform(0, 0.3)
        process = torchrun(folder, run, 3)
        log = run / "stats.jsonl"
        while process.poll() is None and (not log.is_file() or len(log.read_bytes().splitlines()) < after):
            time.sleep(0.02)
        time.sleep(wait_s)
        pid = workers(process.pid).get(rank)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
        _, errors = process.communicate(timeout=600)
        equal = process.returncode == 0 and ends(run) == expected
        same += equal
        hit[rank] = hit.get(rank, 0) + (pid is not None)
        resumes = cagan.Run(run).resumes
        print(
            f"{number}: process {rank} killed after step {after}, resumed at {resumes}: {'same' if equal else errors}"
        )
    print(f"{same} of {count} runs ended with the same bytes; kills by process: {dict(sorted(hit.items()))}")


def side(folder, case, threads):
    """Print the median seconds of a step, and its mean seconds of CPU."""
    preset, settings = CASES[case]
    with cagan.team() as team:
        config = cagan.Config(preset, **settings, threads=threads, device="cpu")
        trainer = cagan.Trainer(cagan.Pairs(folder / "dolls"), config, team)
        trainer.run(WARM)
        turns, cpu = [], time.process_time()
        for _ in range(STEPS):
            began = time.perf_counter()
            trainer.run(1)
            turns.append(time.perf_counter() - began)
        print(statistics.median(turns), (time.process_time() - cpu) / STEPS)


def turn(folder, case, world, threads):
    """Return the median seconds of a step in so many processes, and the seconds of CPU of all."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": world, "LOCAL_WORLD_SIZE": world, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    shared |= {"OMP_NUM_THREADS": threads}
    command = [sys.executable, __file__, "--side", str(folder), case, str(threads)]
    processes = [
        subprocess.Popen(
            command,
            env=os.environ | {name: str(value) for name, value in (shared | {"RANK": k, "LOCAL_RANK": k}).items()},
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(world)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert not any(process.returncode for process in processes)
    numbers = [[float(number) for number in output.split()] for output in outputs]
    return numbers[0][0], sum(cpu for _, cpu in numbers)


def speed(folder, rounds):
    cagan.dolls(folder / "dolls", count=32, size=64)
    cores, load = len(os.sched_getaffinity(0)), os.getloadavg()[0]
    print(f"{cores} cores for this process, load {load:.1f}")
    print("| case | wall ms: 1 x 1 | 1 x 2 | 2 x 1 | CPU ms: 1 x 1 | 1 x 2 | 2 x 1 | wall 1 x 2 / 2 x 1 |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for case in CASES:
        turns = [[turn(folder, case, world, threads) for world, threads in SIDES] for _ in range(rounds)]
        each = [[statistics.median(times) * 1e3 for times in zip(*(t[k] for t in turns))] for k in range(len(SIDES))]
        ratios = sorted(t[1][0] / t[2][0] for t in turns)
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} .. {ratios[-1]:.2f})"
        numbers = [f"{each[k][kind]:.0f}" for kind in range(2) for k in range(len(SIDES))]
        print(f"| {case} | {' | '.join(numbers)} | {ratio} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="kills|speed")
    parser.add_argument("--count", type=int, default=20, help="runs with a kill")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each side")
    parser.add_argument("--side", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.side:
        folder, case, threads = arguments.side
        side(Path(folder), case, int(threads))
        return
    parts = {"kills": (kills, arguments.count), "speed": (speed, arguments.rounds)}
    if unknown := set(arguments.parts) - set(parts):
        parser.error(f"expected {', '.join(parts)}, got {', '.join(unknown)}")
    for name in arguments.parts or parts:
        with tempfile.TemporaryDirectory() as folder:
            part, count = parts[name]
            part(Path(folder), count)


if __name__ == "__main__":
    main()
