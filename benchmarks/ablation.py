"""Compare each extra objective with the base, on dolls at small scale: does it move the measure that it claims to move?

    python benchmarks/ablation.py OUT [--steps 800] [--seeds 3] [--only hinge tv ...]

Trains `paper` at 64 x 32 for every variant and seed, writes a line for each run into OUT/results.jsonl (a run that has
a line is not trained again), and prints the table of means and standard deviations. `follows` and `realism` are of
people in the training data, `gap` is of the training's last steps; the rest is of dolls outside the training data:

    iou, error, keep   of cagan.evaluate: mask; difference to the true swap inside the true mask; change outside
    follows, realism   of the monitor's last look: `colour_follows`, `patch_distance`
    gap                the discriminator's mean logit for matched pairs less that for mismatched ones
    overfit            share of that gap that is lost on new pairs
    tv, grey           the mask's total variation; its half-tones, mean 4 mask (1 - mask)
    self               mean |human - swap to the worn article|, in grey levels
    hides              the error of dressing back that noise (6 grey levels) on the composite adds: the hidden part
    detail             the paint's steps between neighbouring pixels, where the mask is, over those of the photos there
"""

import argparse
import json
import shutil
import statistics
import sys
import time
import warnings
from pathlib import Path

import cagan
import numpy as np
from cagan.evaluation import listed

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "python"))
from helpers import read_tensors

SIZE = [64, 32]
BASE = {
    "image_size": SIZE,
    "width": 32,
    "batch_size": 8,
    "crop_margin": 2,
    "identity_weight": 0.02,
    "learning_rate": 5e-4,
    "ema_images": 1000,
    "threads": 1,
}
# The change, and the measure that it claims to move, with the direction: -1 = down.
VARIANTS = {
    "base": ({}, None, 0),
    "hinge": ({"adversarial_loss": "hinge"}, "realism", -1),
    "least squares": ({"adversarial_loss": "least_squares"}, "realism", -1),
    "lazy R1": ({"r1_weight": 1.0}, "gap", -1),
    "DiffAugment": ({"augment_colour": True, "augment_translation": True, "augment_cutout": True}, "overfit", -1),
    "mask TV": ({"mask_tv_weight": 0.2}, "tv", -1),
    "mask binary": ({"mask_binary_weight": 0.1}, "grey", -1),
    "self-swap": ({"self_swap_weight": 1.0}, "self", -1),
    "detached reverse": ({"reverse": "detached", "reverse_noise": 0.05}, "hides", -1),
    "feature matching": ({"feature_weight": 1.0}, "realism", -1),
    "perceptual": ({"perceptual_weight": 1.0}, "detail", 1),
    "two scales": ({"discriminator_scales": 2}, "realism", -1),
    "spectral norm": ({"discriminator_spectral_norm": True}, "gap", -1),
    "no norm in D": ({"discriminator_norm": "none"}, "follows", 1),
}
MEASURES = ["iou", "error", "keep", "follows", "realism", "gap", "overfit", "tv", "grey", "self", "hides", "detail"]


def values(pictures):
    """Return bytes of N pictures as the paper's networks see them, `[N, 3, H, W]`."""
    return np.ascontiguousarray(np.stack(pictures).transpose(0, 3, 1, 2).astype(np.float32) / 127.5 - 1)


def logits(trainer, pairs, shift):
    """Return the discriminator's mean for people with the article of the pair `shift` further: 0 = the worn one."""
    people, articles = [pair.human for pair in pairs], [pair.article for pair in pairs]
    return float(trainer.score(values(people), values(articles[shift:] + articles[:shift])).mean())


def overfit(run, train, test):
    (checkpoint,) = (run.path / "checkpoints").iterdir()
    _, arrays = read_tensors(checkpoint)
    prefix = "discriminator."
    state = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    trainer = cagan.Trainer(train, run.config)
    trainer.load_state("discriminator", state)
    seen, new = ([pairs[i] for i in range(64)] for pairs in (train, test))
    gaps = [logits(trainer, pairs, 0) - logits(trainer, pairs, 1) for pairs in (seen, new)]
    return 1 - gaps[1] / gaps[0]


def differences(pictures):
    """Return the mean |step| between neighbours, down plus across, `[N]`."""
    xs = pictures.astype(float)
    return np.abs(np.diff(xs, axis=1)).mean((1, 2, 3)) + np.abs(np.diff(xs, axis=2)).mean((1, 2, 3))


def inner_steps(pictures, masks):
    """Return the mean |step| down and across, inside the mask."""
    xs, weights = pictures.astype(float), masks[..., None] / 255
    down, across = np.abs(np.diff(xs, axis=1)), np.abs(np.diff(xs, axis=2))
    return (down * weights[:, 1:]).sum() + (across * weights[:, :, 1:]).sum()


def measures(run, train, folder):
    test = cagan.Pairs(folder)
    swapper = run.swapper()
    scores = cagan.evaluate(swapper, folder)
    rows = listed(folder / "swaps" / "list.csv", test)
    people, targets = ([row[k] for row in rows] for k in (0, 1))
    humans, worn = [p.human for p in people], [p.article for p in people]
    swaps = swapper.swap(humans, worn, [p.article for p in targets])
    photos, masks = np.stack(humans), np.stack([swap.mask for swap in swaps])
    images, paints = (np.stack([getattr(swap, name) for swap in swaps]) for name in ("image", "paint"))

    def error(given):
        back = swapper.swap(list(given), [p.article for p in targets], worn)
        return float(np.abs(np.stack([swap.image for swap in back]).astype(float) - photos).mean())

    noise = np.random.default_rng(0).normal(0, 6, images.shape)
    noisy = (images + noise).round().clip(0, 255).astype(np.uint8)
    mask = masks / 255
    own = np.stack([swap.image for swap in swapper.swap(humans, worn, worn)])
    look, logs = run.looks[-1], run.stats[-4:]
    return {
        "iou": scores["true/mask_iou"],
        "error": scores["true/error"],
        "keep": scores["true/keep"],
        "follows": look["monitor/colour_follows"],
        "realism": look["monitor/patch_distance"],
        "gap": statistics.mean(line["logits/matched"] - line["logits/mismatched"] for line in logs),
        "overfit": overfit(run, train, test),
        "tv": float(differences(mask[..., None]).mean()),
        "grey": float((4 * mask * (1 - mask)).mean()),
        "self": float(np.abs(own.astype(float) - photos).mean()),
        "hides": error(noisy) - error(images),
        "detail": float(inner_steps(paints, masks) / inner_steps(photos, masks)),
    }


def table(results, seeds):
    found = {}
    for row in results:
        found.setdefault(row["variant"], []).append(row)
    print("| variant | " + " | ".join(MEASURES) + " | claims | moved |")
    print("| --- |" + " --- |" * (len(MEASURES) + 2))
    mean = {name: {m: statistics.mean(r[m] for r in rows) for m in MEASURES} for name, rows in found.items()}
    spread = {name: {m: statistics.pstdev([r[m] for r in rows]) for m in MEASURES} for name, rows in found.items()}
    for name, (_, claim, direction) in VARIANTS.items():
        if len(found.get(name, [])) != seeds:
            continue
        cells = [f"{mean[name][m]:.3g} ± {spread[name][m]:.2g}" for m in MEASURES]
        verdict = ""
        if claim:
            change = direction * (mean[name][claim] - mean["base"][claim])
            beyond = abs(change) > spread[name][claim] + spread["base"][claim]
            verdict = ("yes" if change > 0 else "the other way") if beyond else "within the spread"
        sign = {-1: "down", 0: "", 1: "up"}[direction]
        print(f"| {name} | " + " | ".join(cells) + f" | {claim or ''} {sign} | {verdict} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=list(VARIANTS), default=list(VARIANTS))
    arguments = parser.parse_args()
    out = arguments.out
    for name, settings in (("train", {"count": 600, "swaps": 0}), ("test", {"count": 64, "seed": 1, "swaps": 1})):
        if not (out / name).is_dir():
            cagan.dolls(out / name, size=tuple(SIZE), **settings)
    train = cagan.Pairs(out / "train")
    path = out / "results.jsonl"
    results = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    done = {(row["variant"], row["seed"]) for row in results}
    logs = {"log_every": 50, "monitor_every": arguments.steps, "sample_every": 10**6, "snapshot_every": 10**6}
    for seed in range(arguments.seeds):
        for name in arguments.only:
            if (name, seed) in done:
                continue
            config = cagan.Config(
                "paper", seed=seed, steps=arguments.steps, checkpoint_every=10**6, **logs, **BASE, **VARIANTS[name][0]
            )
            folder = out / f"{name.replace(' ', '_')}_{seed}"
            shutil.rmtree(folder, ignore_errors=True)
            began = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run = cagan.train(train, folder, config, progress=False)
            row = {"variant": name, "seed": seed, "seconds": round(time.perf_counter() - began, 1)}
            row |= measures(run, train, out / "test")
            results.append(row)
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(
                {key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()}, flush=True
            )
    table(results, arguments.seeds)


if __name__ == "__main__":
    main()
