"""Rebuild the weights that the package brings: kisekae on dolls, as float16, with their scores.

    python tools/doll_weights.py [--images N] [--out FOLDER] [--threads N] [--work FOLDER]

Every seed is fixed. A run that was stopped goes on. OUT gets dolls.safetensors and its card dolls.md. The snapshot is
the one whose swaps of other dolls come closest to the true ones; the scores are of dolls that neither the training nor
this choice has seen. For the page of `cagan demo` OUT gets vasily.jpg too, the demo's people as the article's method
swaps them after a small budget, and vasily.json, which tells its budget.
"""

import argparse
import json
from pathlib import Path

import cagan
from cagan.demo import SHOW, shown
from cagan.settings import Settings
from PIL import Image

# Seeds of the dolls to learn from, to choose a snapshot by, and to score.
LEARN, CHOOSE, SCORE = 100, 101, 102
# As many as the full length sees ten times; larger than the networks' pictures, as photos are.
COUNT, SIZE = 4000, (128, 96)
SNAPSHOTS = 10
FIGURES = ("mask_auc", "mask_iou", "keep", "error", "error_untouched", "ssim", "ssim_inside", "residual")
# The article's method with the settings that were found for dolls.
PAST: Settings = {
    "image_size": 64,
    "width": 64,
    "batch_size": 8,
    "steps": 3500,
    "identity_weight": 0.02,
    "discriminator_noise": 0.05,
    "learning_rate": 5e-4,
    "ema_images": 1000,
}
WEIGHTS = Path(__file__).parents[1] / "python/cagan/weights"


def main() -> None:
    """Train, choose, convert, score, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=cagan.Config().images, help="the run's length [%(default)s]")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="where the weights go [%(default)s]")
    parser.add_argument("--work", type=Path, default=Path("runs/doll_weights"), help="dolls and the run [%(default)s]")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads; the bytes are those of one [%(default)s]")
    arguments = parser.parse_args()
    run = learn(arguments.work, arguments.images, arguments.threads)
    snapshot = best(run, arguments.work)
    arguments.out.mkdir(parents=True, exist_ok=True)
    weights = arguments.out / "dolls.safetensors"
    weights.write_bytes(cagan.Swapper(snapshot).snapshot(half=True))
    pairs = cagan.dolls(arguments.work / "score", count=96, seed=SCORE, size=SIZE, swaps=2)
    found = cagan.evaluate(weights, pairs)
    scores = {name: found[f"true/{name}"] for name in FIGURES}
    text = card(cagan.Swapper(weights), arguments.images, scores, found.verdict)
    (arguments.out / "dolls.md").write_text(text, encoding="utf-8")
    print(json.dumps(scores))
    past(arguments.work, arguments.out, pairs, arguments.threads)


def learn(work: Path, images: int, threads: int) -> cagan.Run:
    """Trains, or goes on."""
    pairs = cagan.dolls(work / "learn", count=COUNT, seed=LEARN, size=SIZE, swaps=0)
    config = cagan.Config("kisekae", images=images, threads=threads, device="cpu", monitor_every=0)
    every = max(1, config.total_steps(len(pairs)) // (2 * SNAPSHOTS))
    config = config.replace(snapshot_every=every, sample_every=4 * every, checkpoint_every=every)
    return cagan.train(pairs, work / "run", config)


def best(run: cagan.Run, work: Path) -> Path:
    """The snapshot of the second half whose swaps come closest to the true ones."""
    pairs = cagan.dolls(work / "choose", count=48, seed=CHOOSE, size=SIZE, swaps=2)
    errors = {path: cagan.evaluate(path, pairs)["true/error"] for path in run.snapshots[-SNAPSHOTS:]}
    for path, error in errors.items():
        print(f"{path.stem}: {error:.2f}", flush=True)
    return min(errors, key=lambda path: errors[path])


def past(work: Path, out: Path, test: cagan.Pairs, threads: int) -> None:
    """Trains the article's method, and swaps the people of the demo."""
    pairs = cagan.dolls(work / "learn", count=COUNT, seed=LEARN, size=SIZE, swaps=0)
    config = cagan.Config("vasily", threads=threads, device="cpu", monitor_every=0, **PAST)
    run = cagan.train(pairs, work / "vasily", config)
    scores = cagan.evaluate(run, test)
    rows = shown(cagan.dolls(work / "show", count=8, seed=SHOW, size=(256, 192), swaps=1))[:6]
    width, height, gap = 144, 192, 4
    strip = Image.new("RGB", (len(rows) * (width + gap) - gap, 3 * (height + gap) - gap), "white")
    for column, (human, target) in enumerate(rows):
        swap = run.swapper(which="newest").swap(human, target=target)
        for row, picture in enumerate((human.human, target.article, swap.image)):
            small = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
            strip.paste(small, (column * (width + gap), row * (height + gap)))
    strip.save(out / "vasily.jpg", quality=85)
    figures = {name: scores[f"true/{name}"] for name in ("mask_iou", "error", "keep", "ssim")}
    words = (
        f"{run.stats[-1]['step']} steps of {config.batch_size} pictures. From top to bottom: people, what they put on, "
        f"swaps. The mask overlaps the true change by {figures['mask_iou']:.2f} of 1, and all that should stay changes "
        f"by {figures['keep']:.0f} grey levels of 255."
    )
    (out / "vasily.json").write_text(json.dumps({"words": words, **figures}), encoding="utf-8")
    print(words)


def card(swapper: cagan.Swapper, images: int, scores: dict[str, float], verdict: str) -> str:
    """What the weights are, and how good."""
    rows = "\n".join(f"| `{name}` | {value:.3f} |" for name, value in scores.items())
    return f"""# dolls.safetensors

`kisekae` of cagan {cagan.__version__}, trained from nothing on {COUNT} pairs of dolls, {images} pictures in all; the
snapshot of step {swapper.step}, as float16. The package draws the dolls itself: no photo of anybody is in them, and the
weights have the package's licence. `make weights` rebuilds them.

{verdict}

Scores of `cagan.evaluate` on 96 other dolls of {SIZE[0]} x {SIZE[1]}, two articles each:

| score | value |
| --- | --- |
{rows}
"""


if __name__ == "__main__":
    main()
