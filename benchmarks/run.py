"""Time cagan and its plain PyTorch twin in turns, in one table of ratios: `make bench`.

    python benchmarks/run.py [--parts step data swap import checkpoint] [--rounds N] [--quick] [--json FILE]

    step        a training step, per preset, size and number format (step.py: the twin in its fastest form)
    data        triplets from JPEG files (data.py: a torch DataLoader with two workers)
    swap        one photo, and sixteen: uint8 arrays in, uint8 arrays of the photo's size out, per preset and size
    import      `import cagan` and `import torch`, each in a fresh process
    checkpoint  writing a run's state safely: to a file beside, flushed to disk, then renamed

Ratio = PyTorch / cagan, above 1 = cagan is faster; the spread is that of single turns. The shares of a step are the
operations of its convolutions in its time, of what the machine's fastest matrix product does meanwhile: cagan, PyTorch.
Rows, machine, versions and date are kept in benchmarks/results, or in FILE. `--tiny` runs all of it on toy sizes, as a
test.
"""

import argparse
import functools
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import cagan
import common
import data
import numpy as np
import step

TINY = {"width": 16, "image_size": (64, 64), "batch_size": 2}


def steps(arguments, folder):
    cases = {"paper, toy size": ("paper", TINY)} if arguments.tiny else step.CASES
    step.CASES = cases
    for number, case in enumerate(cases):
        for r in step.race(case, folder / str(number), arguments.rounds, arguments.quick or arguments.tiny):
            row = common.row("step", f"{case}, {r['precision']}", r["cagan_turns"], r["twin_turns"], form=r["twin"])
            yield row | {side: r[side] for side in ("cagan_share", "twin_share")}


def loading(arguments, folder):
    pairs = cagan.Pairs(data.jpeg_dolls(folder))
    rates = data.measure(pairs, arguments.rounds)
    base, *others = rates
    for name in others:
        # Seconds for a triplet.
        ours, theirs = ([1 / rate for rate in rates[who]] for who in (name, base))
        yield common.row("data", name.removeprefix("cagan "), ours, theirs, scale=1e6, unit="us", form=base)


def torch_swapper(swapper, photos, *, channels_last=False, compiled=False):
    """Let a PyTorch network do the work of a Swapper: bytes of the photo's size in and out."""
    import torch
    from cagan import torch_module
    from reference.step import build
    from torch.nn import functional as F

    config = swapper.config
    kisekae = config.architecture == "kisekae"
    # kisekae's twin is the exported module, whose pictures hold 0 to 1.
    generator = (torch_module.Kisekae if kisekae else lambda config: build(config)[0])(config.to_dict()).eval()
    signed = config.architecture == "paper"
    to_float = (lambda x: x / 127.5 - 1) if signed else (lambda x: x / 255)
    to_bytes = (lambda x: (x + 1) * 127.5) if signed else (lambda x: x * 255)
    if channels_last:
        generator = generator.to(memory_format=torch.channels_last)
    network = torch.compile(generator) if compiled else generator

    def fitted(pictures):
        batch = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float()
        if list(batch.shape[2:]) != list(config.image_size):
            batch = F.interpolate(batch, config.image_size, mode="bilinear", antialias=True)
        return to_float(batch)

    def swap(humans, worn, targets):
        with torch.inference_mode():
            human = torch.from_numpy(np.stack(humans)).permute(0, 3, 1, 2).float()
            found = network(fitted(humans), fitted(worn), fitted(targets))
            paint, mask = (found[2], found[1]) if kisekae else found
            paint = to_bytes(paint)
            if human.shape[2:] != paint.shape[2:]:
                paint, mask = (F.interpolate(x, human.shape[2:], mode="bilinear") for x in (paint, mask))
            images = mask * paint + (1 - mask) * human
            return [x.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy() for x in (images, mask * 255, paint)]

    assert swap(photos, photos, photos)[0].shape == (len(photos), *photos[0].shape)
    return swap


def fastest_torch(swapper, given, *, quick):
    """Return the PyTorch network in its fastest form for these pictures, and the form's name."""
    import torch

    torch._dynamo.reset()
    forms = {"eager": {}, "channels_last": {"channels_last": True}}
    # kisekae's module would take minutes to compile at each size.
    if not quick and swapper.config.architecture != "kisekae":
        forms |= {"compiled": {"compiled": True}}
    runs = {name: torch_swapper(swapper, given[0], **form) for name, form in forms.items()}
    first = {name: min(common.seconds(functools.partial(run, *given)) for _ in range(4)) for name, run in runs.items()}
    name = min(first, key=first.get)
    return runs[name], name


# The preset, the networks' size, which is also the photos'.
SWAPS = [("paper", (256, 192)), ("vasily", (256, 192)), *(("kisekae", (h, h * 3 // 4)) for h in (64, 128, 256))]


def swaps(arguments, folder):
    cases = [("paper", (64, 64)), ("kisekae", (32, 32))] if arguments.tiny else SWAPS
    for number, (preset, size) in enumerate(cases):
        pairs = cagan.dolls(folder / f"{number}_dolls", count=16, size=size, swaps=0)
        people, articles = [p.human for p in pairs], [p.article for p in pairs]
        targets = articles[1:] + articles[:1]
        settings = {"image_size": size, "batch_size": 1, **({"width": 32} if arguments.tiny else {})}
        still = {"sample_every": 10**6, "monitor_every": 0}
        still |= {"full_size_after": 0} if preset == "kisekae" else {}
        run = cagan.train(pairs, folder / str(number), preset, steps=1, progress=False, **still, **settings)
        swapper = run.swapper()
        for count in (1, 16):
            given = [side[:count] for side in (people, articles, targets)]

            # A swap's bytes are copied into arrays when they are asked for.
            def ours(swapper=swapper, given=given):
                return [(swap.image, swap.mask, swap.paint) for swap in swapper.swap(*given)]

            theirs, form = fastest_torch(swapper, given, quick=arguments.quick or arguments.tiny)
            times = common.alternate(ours, functools.partial(theirs, *given), arguments.rounds)
            each = [[turn / count for turn in side] for side in times]
            case = f"{preset}, {size[0]} x {size[1]}, batch {count}"
            yield common.row("swap", case, *each, unit="ms a swap", form=form)


def imports(arguments, folder):  # noqa: ARG001  # each part is called alike
    def importing(module):
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)

    times = common.alternate(lambda: importing("cagan"), lambda: importing("torch"), arguments.rounds)
    yield common.row("import", "a fresh process", *times, form="import torch")


def cagan_checkpoints(pairs, folder, config, count):
    """Measure the seconds from the end of a step until the checkpoint is on disk."""
    import time

    marks, found = {}, []

    def note(event, value):  # noqa: ARG001  # an observer's face
        if event == "checkpoint" and "step" in marks:
            found.append(time.perf_counter() - marks.pop("step"))
        elif event == "step":
            marks["step"] = time.perf_counter()

    cagan.train(pairs, folder, config.replace(steps=count + 1), progress=False, on_event=note)
    # The last step writes samples and a snapshot too.
    return found[:count]


def torch_checkpoint(twin, path):
    """Write the twin's state as safely as cagan does."""
    import torch

    state = {
        "generator": twin.generator.state_dict(),
        "discriminator": twin.discriminator.state_dict(),
        "adam_g": twin.adam_g.state_dict(),
        "adam_d": twin.adam_d.state_dict(),
        "torch": torch.get_rng_state(),
    }
    beside = path.with_suffix(".part")
    with beside.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def checkpoints(arguments, folder):
    import torch
    from reference import Twin

    settings = TINY if arguments.tiny else {"batch_size": 1, "image_size": 64}
    for preset in ("paper", "vasily"):
        never = {"sample_every": 10**6, "snapshot_every": 10**6, "log_every": 10**6, "monitor_every": 0}
        config = cagan.Config(preset, **{**settings, **never}, checkpoint_every=1)
        pairs = cagan.dolls(folder / f"{preset}_dolls", count=4, size=config.image_size, swaps=0)
        twin = Twin(config.to_dict(), fused=True)
        twin.step(*(torch.rand(config.batch_size, 3, *config.image_size) for _ in range(3)))
        ours, theirs = [], []
        for number in range(arguments.rounds):
            ours += cagan_checkpoints(pairs, folder / f"{preset}_{number}", config, 1)
            theirs.append(common.seconds(lambda twin=twin: torch_checkpoint(twin, folder / "twin.pt")))
        yield common.row(
            "checkpoint", f"{preset}, width {config.width}", ours, theirs, form="torch.save, fsync, rename"
        )


PARTS = {"step": steps, "data": loading, "swap": swaps, "import": imports, "checkpoint": checkpoints}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=11, help="turns of each [default: 11]")
    parser.add_argument("--quick", action="store_true", help="leave torch.compile out")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that it works")
    parser.add_argument("--json", type=Path, help="write the results here, not to benchmarks/results")
    arguments = parser.parse_args()
    common.use_twin()
    rows, path = [], arguments.json
    for part in arguments.parts:
        with tempfile.TemporaryDirectory() as folder:
            for r in PARTS[part](arguments, Path(folder)):
                rows.append(r)
                print(f"{part}: {r['case']}: {r['ratio']:.2f}", file=sys.stderr, flush=True)
                # After each, so that a run that is stopped keeps what it found.
                path = common.keep("bench", rows, path)
    print(common.table(rows))
    print(f"\n{path}")


if __name__ == "__main__":
    main()
