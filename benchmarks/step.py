"""Time the training step against the plain PyTorch twin, alternated in one process; `make bench` runs it.

    python benchmarks/step.py [--rounds N] [--quick]

The twin (tests/python/reference) runs in every form that makes PyTorch fast on a CPU: eager or compiled, contiguous or
channels_last, float32 or bfloat16, with fused Adam. A short race picks the fastest of each number format; then cagan
and that form take turns. Prints medians of the turns' times, their spread, and the ratio twin / cagan.
The shares are the operations of the step's convolutions in its time, of what the machine's fastest matrix product does
meanwhile: cagan's and the twin's. Both draw their own noise, and both take their batch from memory; cagan's also
gathers, crops and mirrors it.

Peak memory is that of a fresh process for each side that takes five steps, minus that after importing.
"""

import argparse
import itertools
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cagan
import common

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "python"))

CASES = {
    "vasily width 128, 64 x 64, batch 16": ("vasily", {"width": 128, "image_size": 64, "batch_size": 16}),
    "vasily width 512, 128 x 128, batch 4": ("vasily", {"width": 512, "image_size": 128, "batch_size": 4}),
    "paper width 128, 64 x 48, batch 16": ("paper", {"width": 128, "image_size": (64, 48), "batch_size": 16}),
    "paper width 512, 128 x 96, batch 4": ("paper", {"width": 512, "batch_size": 4}),
    "kisekae, 64 x 48, batch 8, discriminator included": ("kisekae", {"place_after": 0, "judge_after": 0}),
}
FORMS = [
    {"channels_last": last, "bf16": bf16, "compiled": compiled}
    for bf16, last, compiled in itertools.product((False, True), repeat=3)
]


def name(form):
    words = [word for word, on in form.items() if on]
    return " + ".join(words) or "eager float32"


def trainer(case, precision, folder):
    preset, overrides = CASES[case]
    config = cagan.Config(preset, precision=precision, **overrides)
    return cagan.Trainer(cagan.dolls(folder, count=32, size=config.image_size), config)


def twin(case, form):
    import torch
    from reference import Twin

    preset, overrides = CASES[case]
    config = cagan.Config(preset, **overrides)
    if preset == "kisekae":
        return kisekae_twin(case, form)
    batch = [torch.rand(config.batch_size, 3, *config.image_size) for _ in range(3)]
    network = Twin(config.to_dict(), fused=True, **form)
    return lambda steps: [network.step(*batch) for _ in range(steps)]


def kisekae_twin(case, form):
    """Make kisekae's twin, not compiled: its step asks the host between its parts. One step's draws serve for all."""
    import contextlib

    import torch
    from reference.kisekae import KisekaeTwin

    with tempfile.TemporaryDirectory() as folder:
        ours = trainer(case, "fp32", folder)
        draws = {name: torch.from_numpy(values) for name, values in ours.draws(0).items()}
        batch = [torch.from_numpy(picture) for picture in ours.triplet(0)]
        vectors = {name: torch.from_numpy(values) for name, values in ours.vectors().items()}
    network = KisekaeTwin(ours.config.to_dict(), fused=True)
    network.load_vectors(vectors)
    if form["channels_last"]:
        for part in (network.generator, network.discriminator):
            part.to(memory_format=torch.channels_last)
        batch = [picture.contiguous(memory_format=torch.channels_last) for picture in batch]

    def run(steps):
        with torch.autocast("cpu", torch.bfloat16) if form["bf16"] else contextlib.nullcontext():
            for _ in range(steps):
                network.step(*batch, draws)

    return run


def seconds(run, steps):
    began = time.perf_counter()
    run(steps)
    return (time.perf_counter() - began) / steps


def operations(run):
    """Count the operations of the convolutions in a step of the twin: a multiplication and an addition are two."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    aten = torch.ops.aten
    with FlopCounterMode(display=False) as counter:
        run(1)
    counts = counter.get_flop_counts()["Global"]
    return sum(counts.get(way, 0) for way in (aten.convolution, aten.convolution_backward))


def race(case, folder, rounds, quick):
    """Make rows of the table: for each number format cagan against the twin's fastest form."""
    import torch

    # All cases share their code: without it the later ones would pass torch's limit of compiled forms, and run eager.
    torch._dynamo.reset()
    torch._dynamo.config.recompile_limit = 64
    without = quick or CASES[case][0] == "kisekae"
    forms = [form for form in FORMS if not (without and form["compiled"])]
    runs = {name(form): twin(case, form) for form in forms}
    for run in runs.values():
        run(3)
    first = {form: statistics.median(seconds(run, 3) for _ in range(3)) for form, run in runs.items()}
    fastest = {
        precision: min((f for f in first if ("bf16" in f) == (precision == "bf16")), key=first.get)
        for precision in ("fp32", "bf16")
    }
    ours = {precision: trainer(case, precision, folder).run for precision in ("fp32", "bf16")}
    for run in ours.values():
        run(3)
    turns = {("cagan", p): [] for p in ours} | {("twin", p): [] for p in ours}
    for _ in range(rounds):
        for precision, run in ours.items():
            turns["cagan", precision].append(seconds(run, 3))
            turns["twin", precision].append(seconds(runs[fastest[precision]], 3))
    work = operations(runs["eager float32"])
    rows = []
    for precision in ours:
        possible = work / common.matrix_rate(precision)
        mine, other = turns["cagan", precision], turns["twin", precision]
        ratios = sorted(b / a for a, b in zip(mine, other))
        rows.append(
            {
                "case": case,
                "precision": precision,
                "twin": fastest[precision],
                "cagan_ms": statistics.median(mine) * 1e3,
                "twin_ms": statistics.median(other) * 1e3,
                "cagan_share": possible / statistics.median(mine),
                "twin_share": possible / statistics.median(other),
                "ratio": statistics.median(ratios),
                "ratio_low": ratios[len(ratios) // 10],
                "ratio_high": ratios[-1 - len(ratios) // 10],
                "cagan_turns": mine,
                "twin_turns": other,
                "race_ms": {form: round(value * 1e3, 1) for form, value in first.items()},
            }
        )
    return rows


def peak(kind, case, precision, form):
    """Return the peak bytes of a fresh process that takes five steps, minus those after importing."""
    command = [sys.executable, __file__, "--peak", json.dumps([kind, case, precision, form])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def measure_peak(kind, case, precision, form):
    import torch  # noqa: F401  # both sides start from the same imports

    def kilobytes():
        # Not getrusage: its maximum begins with that of the process that started this one.
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0])

    before = kilobytes()
    with tempfile.TemporaryDirectory() as folder:
        run = trainer(case, precision, folder).run if kind == "cagan" else twin(case, form)
        run(5)
    print((kilobytes() - before) * 1024)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="turns of three steps each")
    parser.add_argument("--quick", action="store_true", help="leave torch.compile out")
    parser.add_argument("--json", type=Path, help="write the rows here too")
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        measure_peak(*json.loads(arguments.peak))
        return
    rows = []
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            rows += race(case, folder, arguments.rounds, arguments.quick)
    head = f"{'case':36} {'format':6} {'cagan ms':>9} {'twin ms':>9} {'ratio':>6} {'10 % .. 90 %':>14}"
    print(f"{head} {'shares':>12}  twin's form")
    for row in rows:
        spread = f"{row['ratio_low']:.2f} .. {row['ratio_high']:.2f}"
        print(
            f"{row['case']:36} {row['precision']:6} {row['cagan_ms']:9.1f} {row['twin_ms']:9.1f} {row['ratio']:6.2f} "
            f"{spread:>14} {row['cagan_share']:6.0%} {row['twin_share']:5.0%}  {row['twin']}"
        )
    for row in rows:
        form = {word: word in row["twin"].split(" + ") for word in FORMS[0]}
        memory = [peak(kind, row["case"], row["precision"], form) for kind in ("cagan", "twin")]
        row["cagan_peak_bytes"], row["twin_peak_bytes"] = memory
        print(f"{row['case']:36} {row['precision']:6} peak MB: cagan {memory[0] / 1e6:.0f}, twin {memory[1] / 1e6:.0f}")
    if arguments.json:
        system = {
            "machine": platform.processor() or platform.machine(),
            "date": time.strftime("%Y-%m-%d"),
            **cagan.info(),
        }
        arguments.json.write_text(json.dumps({"system": system, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
