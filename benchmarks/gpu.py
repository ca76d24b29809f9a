"""Check cagan on a GPU machine, and time it against PyTorch.

    python benchmarks/gpu.py [--minutes N] [--steps N] [--rounds N] [--no-compile] [--json FILE] [--tiny]

1. Compares the device with the CPU: the swap, the scores, the gradients and the weights of one step, from equal weights
   and batches; then steps launched as a CUDA graph with the same steps one operation at a time, without noise, and with
   it: its draws must be fresh in each step, repeatable, and as large; then a run that is trained, interrupted, resumed
   and used for swaps. A preset with a difference above its bound is not timed, and the program ends with code 1.
2. Times a training step of the article's experiment (preset vasily, 256 x 256, batch 16), of kisekae's two sizes and of
   the paper's: cagan in every number format that its config offers, with and without a graph if it can have one; the
   twin eager, channels_last, in float32, TF32 and bfloat16, and compiled (max-autotune) in bfloat16, of the article's
   experiment (no twin of kisekae). They take turns. Then swaps of kisekae, one and sixteen at once.
3. Times four layers in bfloat16 with channels first and last, the norm in the layout that libtorch has it in.

Prints ms, images/s, the ratio to the fastest form of the twin in the same format, the share of the matrix rate measured
on this chip in that format, and the time of the whole experiment: 940 pairs, batch 16, 50 epochs, 2,950 steps. Prints
and keeps the rows after each case. What does not fit into the minutes is left out, compiling first. A machine with
torch of the build's version needs the checkout and its extension: `PYTHONPATH=python python3 benchmarks/gpu.py`.

Without a GPU, or with --tiny, it runs on toy sizes as a test: those figures mean nothing.
"""

import argparse
import contextlib
import functools
import itertools
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cagan
import common
import numpy as np
import torch

common.use_twin()
from reference import Twin  # noqa: E402  # found through the line above

# Largest differences between device and CPU in float32: of the networks' outputs, of gradients over the largest one,
# and of weights after a step in units of the learning rate. Adam's first step has that size for any gradient; rounding
# decides the sign of a gradient near zero, so the bound is on the median.
FORWARD, GRADIENT, STEP = 1e-4, 1e-3, 1e-2
# Of swaps on both devices in grey levels, the mean over a picture: a pixel at a mask's cut may fall to either side.
GREY = 0.1
# Of losses with noise: in standard errors of their mean, and the factor between their deviations.
ERRORS, SPREAD = 5, 2
ALL = {"place_after": 0, "judge_after": 0}
CASES = {
    "vasily 256 x 256, batch 16": ("vasily", {"image_size": 256, "batch_size": 16}),
    "kisekae 256 x 192, batch 8": ("kisekae", {"image_size": (256, 192), "batch_size": 8, **ALL}),
    "kisekae 64 x 48, batch 16": ("kisekae", {"image_size": (64, 48), "batch_size": 16, **ALL}),
    "paper 128 x 96, batch 16": ("paper", {"batch_size": 16}),
}
TINY = {
    "vasily, toy size": ("vasily", {"image_size": 64, "batch_size": 2, "width": 16}),
    "paper, toy size": ("paper", {"image_size": 32, "batch_size": 2, "width": 16}),
    "kisekae, toy size": ("kisekae", {"image_size": 32, "batch_size": 2, "width": 32, **ALL}),
}
SIDES = ("human", "article")
# The article's experiment.
STEPS = 2950
COMPILED = "vasily"


class Clock:
    """Know what is left of the minutes."""

    def __init__(self, minutes):
        self.end = time.monotonic() + 60 * minutes

    def left(self):
        """Return the seconds that are left, at least 0."""
        return max(0.0, self.end - time.monotonic())

    @contextlib.contextmanager
    def limit(self, share=1.0):
        """Raise RuntimeError in the block once its share of what is left is over."""

        def stop(*_):
            raise RuntimeError("out of time")

        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, max(share * self.left(), 1e-3))
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)


def precisions():
    """Return the number formats that the config offers."""
    (setting,) = (setting for setting in cagan._cagan.settings() if setting["name"] == "precision")
    return list(setting["choices"])


@contextlib.contextmanager
def arithmetic(precision):
    """Set TF32 for a format, and let cuDNN try: cagan shares libtorch and these switches with this process."""
    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    tried = torch.backends.cudnn.benchmark
    for switch in switches:
        switch.allow_tf32 = precision != "fp32"
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = tried
        for switch, value in zip(switches, before):
            switch.allow_tf32 = value


def synchronise(device):
    if device.type == "cuda":
        torch.cuda.synchronize()


def quiet(preset, settings):
    """Take away the discriminator's noise, which differs between devices."""
    noise = {} if preset == "kisekae" else {"discriminator_noise": 0}
    return {**settings, **noise, "precision": "fp32", "seed": 3}


def check(preset, settings, pairs, device):
    """Return (name, difference, bound) of the device against the CPU, both from one set of weights."""
    plain = quiet(preset, settings)
    there, here = (cagan.Trainer(pairs, cagan.Config(preset, device=d, **plain)) for d in (str(device), "cpu"))
    for network in ("generator", "discriminator"):
        there.load_state(network, here.state(network))
    batch = here.triplet(0)
    found = [("batch", max(np.abs(a - b).max() for a, b in zip(there.triplet(0), batch)), 1e-6)]
    found.append(("swap", max(np.abs(a - b).max() for a, b in zip(there.swap(*batch), here.swap(*batch))), FORWARD))
    scores = [trainer.score(batch[0], batch[1]) for trainer in (there, here)]
    found.append(("score", np.abs(scores[0] - scores[1]).max() / max(1.0, np.abs(scores[1]).max()), FORWARD))
    for trainer in (there, here):
        trainer.run(1)
    for network in ("generator", "discriminator"):
        for what, bound in (("gradients", GRADIENT), ("weights", STEP)):
            sides = [t.gradients(network) if what == "gradients" else t.state(network) for t in (there, here)]
            found.append((f"{network}'s {what}", apart(what, *sides, here.config.learning_rate), bound))
    return found


def check_graph(preset, settings, pairs, device, steps=8):
    """Return the same of steps launched as a graph against steps of single operations, both on the device."""
    plain = quiet(preset, settings)
    one, other = (
        cagan.Trainer(pairs, cagan.Config(preset, device=str(device), cuda_graph=graph, **plain))
        for graph in (True, False)
    )
    terms = [trainer.run(steps) for trainer in (one, other)]
    # The bounds of one step, for each of them.
    losses = max(abs(terms[0][name] - terms[1][name]) / max(1.0, abs(terms[1][name])) for name in terms[1])
    yield f"terms after {steps} steps as a graph", losses, steps * GRADIENT
    for network in ("generator", "discriminator"):
        difference = apart("weights", one.state(network), other.state(network), one.config.learning_rate)
        yield f"{network}'s weights after {steps} steps as a graph", difference, steps * STEP


def check_noise(preset, settings, pairs, device, steps=48):
    """Return the same of steps with the discriminator's noise, whose draws differ with and without a graph.

    Two pairs that fill the batch, no flip, no crop, and weights that stand still: a step's loss is then a function of
    its noise alone. A noise that the graph repeats gives one loss again and again; one of another size another mean.
    """
    still = {"batch_size": 2, "flip": False, "crop_margin": 0, "learning_rate": 1e-30, "seed": 3}
    still |= {"discriminator_learning_rate": 1e-30, "discriminator_noise": 0.5, "precision": "fp32"}

    def losses(graph):
        config = cagan.Config(preset, device=str(device), **{**settings, **still, "cuda_graph": graph})
        trainer = cagan.Trainer(pairs, config)
        # A graph is recorded after its third step.
        return [trainer.run(1)["loss/discriminator"] for _ in range(3 + steps)][3:]

    graph = device.type == "cuda" and graphs(preset, device)
    one, again, plain = losses(graph), losses(graph), losses(False)
    yield "draws that repeat an earlier one's loss", float(steps - len(set(one))), 0
    yield "losses of two runs of a graph", max(abs(a - b) / max(1.0, abs(b)) for a, b in zip(one, again)), GRADIENT
    spreads = statistics.stdev(one), statistics.stdev(plain)
    error = (sum(spread**2 for spread in spreads) / steps) ** 0.5
    yield "mean loss, in standard errors", abs(statistics.mean(one) - statistics.mean(plain)) / error, ERRORS
    yield "factor of the losses' deviations", max(spreads) / max(min(spreads), 1e-12), SPREAD


def check_run(preset, settings, pairs, device, folder):
    """Train and resume a run on the device, and compare its swaps with those of the same snapshot on the CPU."""
    often = {"log_every": 1, "sample_every": 4, "snapshot_every": 4, "checkpoint_every": 2, "monitor_every": 0}
    for steps in (4, 8):
        config = cagan.Config(preset, device=str(device), steps=steps, **often, **settings)
        run = cagan.train(pairs, folder, config, progress=False)
    yield "steps that a run with a pause lacks", abs(8 - run.stats[-1]["step"]), 0
    people = [np.asarray(pairs[k].human) for k in range(4)]
    articles = [np.asarray(pairs[k].article) for k in range(5)]
    sides = [cagan.Swapper(folder, device=d).swap(people, articles[:4], articles[1:]) for d in (str(device), "cpu")]
    grey = max(np.abs(a.image.astype(int) - b.image.astype(int)).mean() for a, b in zip(*sides))
    yield "swaps, grey levels", float(grey), GREY


def apart(what, a, b, rate):
    assert list(a) == list(b)
    if what == "weights":
        return float(np.median(np.concatenate([np.abs(a[name] - b[name]).ravel() for name in b]))) / rate
    # The gradient of a bias before a norm is rounding only, so the largest of all gradients is the measure.
    whole = max(np.abs(value).max() for value in b.values())
    return max(np.abs(a[name] - b[name]).max() for name in b) / whole


class DeviceTwin(Twin):
    """Hold the twin on a device, in a number format, in a form that makes PyTorch fast there."""

    def __init__(self, config, device, precision, *, compiled):
        super().__init__(config.to_dict(), channels_last=True, fused=True)
        self.device = device
        for network in (self.generator, self.discriminator):
            network.to(device)
        self.adam_g = torch.optim.Adam(self.generator.parameters(), **self.adam_g.defaults)
        self.adam_d = torch.optim.Adam(self.discriminator.parameters(), **self.adam_d.defaults)
        if precision == "bf16":
            self.autocast = lambda: torch.autocast(device.type, torch.bfloat16)
        if compiled:
            # With CUDA graphs, a pass would overwrite outputs of the pass before that the step still needs.
            mode = "max-autotune-no-cudagraphs"
            self.loss_d, self.loss_g, self.swap = (
                torch.compile(f, dynamic=False, mode=mode) for f in (self._loss_d, self._loss_g, self._swap)
            )

    def draw_noise(self, count):
        """Draw on the networks' device."""
        with torch.device(self.device):
            return super().draw_noise(count)


def graphs(preset, device):
    """Return whether a preset's step can be recorded on the device."""
    return device.type == "cuda" and preset != "kisekae"


def contenders(preset, settings, pairs, device, graph):
    """Return name -> (format, function of a number of steps), the compiled form last."""
    found = {}
    for precision in precisions():
        for recorded in (False, True) if graph else (False,):
            config = cagan.Config(preset, device=str(device), precision=precision, cuda_graph=recorded, **settings)
            # The trainer's return reads the losses, so all of it is done by then.
            name = f"cagan {'graph ' if recorded else ''}{precision}"
            found[name] = (precision, cagan.Trainer(pairs, config).run)
    if preset == "kisekae":
        return found
    for precision in ("fp32", "tf32", "bf16"):
        found[f"PyTorch eager {precision}"] = (precision, twin(preset, settings, device, precision, compiled=False))
    return found


def twin(preset, settings, device, precision, *, compiled):
    """Return a function that takes a number of the twin's steps."""
    config = cagan.Config(preset, **settings)
    batch = [torch.rand(config.batch_size, 3, *config.image_size, device=device) for _ in range(3)]
    network = DeviceTwin(config, device, precision, compiled=compiled)

    def run(steps):
        for _ in range(steps):
            network.step(*batch)
        synchronise(device)

    return run


def operations(preset, settings, device):
    """Count the floating-point operations of a step's convolutions and products, by the twin."""
    from torch.utils.flop_counter import FlopCounterMode

    config = cagan.Config(preset, **settings)
    twin = DeviceTwin(config, device, "fp32", compiled=False)
    batch = [torch.rand(config.batch_size, 3, *config.image_size, device=device) for _ in range(3)]
    with FlopCounterMode(display=False) as counter:
        twin.step(*batch)
    return counter.get_total_flops()


def matrix_rate(device, precision, side):
    """Measure the operations per second of a large product of matrices, the rate that the chip reaches in practice."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.rand(side, side, device=device, dtype=kind) for _ in range(2))

    def product():
        for _ in range(5):
            a @ b
        synchronise(device)

    with arithmetic(precision):
        product()
        return 5 * 2 * side**3 / min(common.seconds(product) for _ in range(5))


def passes(case, checks):
    """Return whether all differences are within their bounds; a check that fails is not."""
    good = True
    try:
        for what, difference, bound in checks:
            fine = difference <= bound
            good &= fine
            print(f"{'ok ' if fine else 'BAD'} {case}: {what}: {difference:.1e}, bound {bound:.0e}")
    except RuntimeError as error:
        good = False
        print(f"BAD {case}: {str(error).strip().splitlines()[0]}")
    return good


def ready(case, runs, clock):
    """Take the first steps of each form, and return those that can."""
    found = {}
    for name, (precision, run) in runs.items():
        try:
            # A graph is recorded after its third step.
            with arithmetic(precision), clock.limit():
                run(5)
        except (RuntimeError, torch._dynamo.exc.TorchDynamoException) as error:
            # A form that fails here leaves the others in the table.
            print(f"{case}: {name}: left out: {str(error).strip().splitlines()[0]}", file=sys.stderr)
            continue
        found[name] = (precision, run)
    return found


def measure(case, preset, settings, runs, device, arguments, rates, clock):
    """Time forms that take turns, and return their rows."""
    turns = {name: [] for name in runs}
    for k in range(arguments.rounds):
        # Each round is whole, and there is at least one.
        if k and clock.left() == 0:
            break
        for name, found in turns.items():
            precision, run = runs[name]
            with arithmetic(precision):
                found.append(common.seconds(lambda run=run: run(arguments.steps)) / arguments.steps)
    medians = {name: statistics.median(found) for name, found in turns.items()}
    batch = settings["batch_size"]
    work = None if preset == "kisekae" else operations(preset, settings, device)
    rows = []
    for name, found in turns.items():
        precision = runs[name][0]
        others = {n: m for n, m in medians.items() if n.startswith("PyTorch") and runs[n][0] == precision}
        best = min(others, key=others.get) if others else None
        ratios = sorted(b / a for a, b in zip(found, turns[best])) if best else []
        rows.append(
            {
                "case": case,
                "form": name,
                "ms": medians[name] * 1e3,
                "images_per_s": batch / medians[name],
                "rounds": len(found),
                "against": best,
                "ratio": statistics.median(ratios) if ratios else None,
                "low": ratios[len(ratios) // 10] if ratios else None,
                "high": ratios[-1 - len(ratios) // 10] if ratios else None,
                "share_of_matrix_rate": work and work / medians[name] / rates[precision],
                "experiment_s": STEPS * medians[name],
            }
        )
    return rows


def measure_swaps(case, settings, pairs, device, arguments, folder):
    """Time swaps by a network that has hardly learnt, and return their rows: the time is the same."""
    rows = []
    for precision in precisions():
        few = {"steps": 1, "monitor_every": 0, "precision": precision, "device": str(device)}
        cagan.train(pairs, folder / precision, cagan.Config("kisekae", **settings, **few), progress=False)
        swapper = cagan.Swapper(folder / precision, device=str(device))
        for count in (1, 16):
            people, articles = ([np.asarray(getattr(pairs[k], side)) for k in range(count + 1)] for side in SIDES)
            given = people[:count], articles[:count], articles[1:]
            swap = functools.partial(swapper.swap, *given)
            swap()
            times = [common.seconds(swap) for _ in range(3 * arguments.rounds)]
            row = {"case": f"{case}, {count} at once", "form": f"cagan {precision}", "against": None, "ratio": None}
            row |= {"ms": statistics.median(times) * 1e3, "images_per_s": count / statistics.median(times)}
            rows.append({**row, "rounds": len(times), "share_of_matrix_rate": None, "experiment_s": None})
    return rows


def measure_layouts(device, tiny):
    """Time four layers in bfloat16, forward and back, and return rows. The norm has its channels first in both."""
    side, width = (32, 8) if tiny else (256, 64)
    channels = [6, width, 2 * width, 4 * width, 8 * width]
    rows = []
    for last in (False, True):
        layout = torch.channels_last if last else torch.contiguous_format
        given = {"device": device, "dtype": torch.bfloat16}
        weights = [torch.randn(b, a, 4, 4, **given).mul_(0.02) for a, b in itertools.pairwise(channels)]
        weights = [weight.to(memory_format=layout).requires_grad_() for weight in weights]
        pictures = torch.rand(2 if tiny else 16, channels[0], side, side, **given).to(memory_format=layout)

        def layers(weights=weights, pictures=pictures, layout=layout):
            xs = pictures
            for weight in weights:
                ys = torch.nn.functional.conv2d(xs, weight, stride=2, padding=1).contiguous()
                n, c, h, w = ys.shape
                scale, shift = torch.ones(n * c, device=ys.device), torch.zeros(n * c, device=ys.device)
                ys = torch.native_batch_norm(
                    ys.view(1, n * c, h, w), scale, shift, None, None, training=True, momentum=0.0, eps=1e-5
                )[0]
                xs = torch.nn.functional.leaky_relu(ys.view(n, c, h, w).contiguous(memory_format=layout), 0.2)
            torch.autograd.grad(xs.float().sum(), weights)

        def several(layers=layers):
            for _ in range(10):
                layers()
            synchronise(device)

        with arithmetic("bf16"):
            several()
            ms = statistics.median(common.seconds(several) for _ in range(5)) * 100
        row = {"case": "four layers, bf16", "form": f"channels {'last' if last else 'first'}", "ms": ms, "rounds": 5}
        row |= {"images_per_s": len(pictures) / ms * 1e3, "against": None, "ratio": None}
        rows.append({**row, "share_of_matrix_rate": None, "experiment_s": None})
    return rows


def table(rows):
    lines = [
        "| case | form | ms a step | images/s | ratio to PyTorch's best | of matrix rate | 2,950 steps |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        ratio = "-" if r["ratio"] is None else f"{r['ratio']:.2f} ({r['low']:.2f} .. {r['high']:.2f})"
        minutes = "-" if r["experiment_s"] is None else f"{r['experiment_s'] / 60:.1f} min"
        share = "-" if r["share_of_matrix_rate"] is None else f"{r['share_of_matrix_rate']:.0%}"
        lines.append(
            f"| {r['case']} | {r['form']} | {r['ms']:.2f} | {r['images_per_s']:,.0f} | {ratio} | {share} | {minutes} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5.5, help="what does not fit is left out [default: 5.5]")
    parser.add_argument("--steps", type=int, default=20, help="in a turn [default: 20]")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each form [default: 9]")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave torch.compile out")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, to see that it works")
    parser.add_argument("--json", type=Path, help="write the results here, not to benchmarks/results")
    arguments = parser.parse_args()
    clock = Clock(arguments.minutes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tiny = arguments.tiny or device.type == "cpu"
    name = torch.cuda.get_device_name() if device.type == "cuda" else common.processor()
    print(f"{name}, torch {torch.__version__}{', toy sizes: no figure means anything' if tiny else ''}")
    rows, path = [], arguments.json

    def show(new):
        nonlocal path
        if new:
            rows.extend(new)
            path = common.keep("gpu", rows, path)
            print(f"\n{table(new)}\n", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        side = 64 if tiny else 256
        pairs, two = (cagan.dolls(folder / f"dolls{count}", count=count, size=side, swaps=0) for count in (32, 2))
        wrong, without_graph = set(), set()
        for case, (preset, settings) in TINY.items():
            given = (preset, settings, pairs, device)
            with arithmetic("fp32"):
                if not passes(case, itertools.chain(check(*given), check_run(*given, folder / f"run_{preset}"))):
                    wrong.add(preset)
                if preset != "kisekae" and not passes(f"{case}, noise", check_noise(preset, settings, two, device)):
                    without_graph.add(preset)
                if graphs(preset, device) and not passes(f"{case}, graph", check_graph(*given)):
                    without_graph.add(preset)
        cases = {case: given for case, given in (TINY if tiny else CASES).items() if given[0] not in wrong}
        side = 512 if tiny else 8192
        rates = {precision: matrix_rate(device, precision, side) for precision in ("fp32", "tf32", "bf16")}
        print("matrix rate, TFLOP/s:", {name: round(rate / 1e12, 2) for name, rate in rates.items()}, flush=True)
        kept = {}
        for case, (preset, settings) in cases.items():
            graph = graphs(preset, device) and preset not in without_graph
            kept[case] = ready(case, contenders(preset, settings, pairs, device, graph), clock)
            if any(form.startswith("cagan") for form in kept[case]):
                show(measure(case, preset, settings, kept[case], device, arguments, rates, clock))
            elif clock.left():
                raise SystemExit(f"{case}: cagan did not run")
        for number, (case, (preset, settings)) in enumerate(cases.items()):
            if preset == "kisekae" and clock.left():
                show(measure_swaps(f"swaps: {case}", settings, pairs, device, arguments, folder / f"swaps{number}"))
        if cases and clock.left():
            show(measure_layouts(device, tiny))
        for case, (preset, settings) in cases.items():
            if preset == COMPILED and arguments.compile and clock.left():
                run = twin(preset, settings, device, "bf16", compiled=True)
                compiled = ready(case, {"PyTorch compiled bf16": ("bf16", run)}, clock)
                # Beside cagan's forms, in turns with them.
                ours = {form: given for form, given in kept[case].items() if given[0] == "bf16"}
                if compiled:
                    case = f"{case}, beside compiled"
                    show(measure(case, preset, settings, {**ours, **compiled}, device, arguments, rates, clock))
    print(path)
    if wrong or without_graph:
        names = [*sorted(wrong), *(f"graphs of {preset}" for preset in sorted(without_graph))]
        raise SystemExit(f"above their bounds and not timed: {', '.join(names)}")


if __name__ == "__main__":
    main()
