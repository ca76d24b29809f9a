"""Rungs from the published method to kisekae: trained on the same pairs, scored on people and articles not seen.

python benchmarks/ladder.py PAIRS OUT [RUNG ...]

PAIRS holds train/ and val/ with human/ and article/, and val/mask/ with the worn garments' true regions, which are
used for scoring alone. OUT takes a run for each rung; what is there goes on. Prints one line of a table for each rung.
"""

import argparse
import time
from pathlib import Path

import cagan

# All at the size that two CPU cores learn. The published networks get as many steps, of twice as many pictures.
PUBLISHED = {"image_size": (64, 48), "width": 128, "steps": 4000, "batch_size": 16}
RUNGS = {
    "paper": ("paper", PUBLISHED),
    "paper, spectral norm, feature matching": (
        "paper",
        PUBLISHED | {"discriminator_spectral_norm": True, "discriminator_norm": "none", "feature_weight": 5.0},
    ),
    "kisekae before the discriminator": ("kisekae", {"steps": 2500}),
    "kisekae, worn articles always shown": ("kisekae", {"withhold_worn": 0.0}),
    "kisekae": ("kisekae", {}),
}
FIGURES = ("mask_auc", "mask_iou", "keep", "colour", "texture", "residual", "realism")


def main() -> None:
    """Train and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("rungs", nargs="*", default=list(RUNGS), metavar="RUNG", help=", ".join(RUNGS))
    parser.add_argument("--height", type=int, default=64, help="what regions are judged at")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = as libtorch likes")
    arguments = parser.parse_args()
    unknown = [rung for rung in arguments.rungs if rung not in RUNGS]
    if unknown:
        parser.error(f"RUNG: expected {', '.join(RUNGS)}, got {', '.join(unknown)}")
    train, val = (cagan.Pairs(arguments.pairs / part) for part in ("train", "val"))
    print("| rung | minutes |", " | ".join(FIGURES), "|")
    print("| --- |" + " --- |" * (1 + len(FIGURES)))
    for rung in arguments.rungs:
        preset, settings = RUNGS[rung]
        config = cagan.Config(preset, threads=arguments.threads, monitor_every=0, **settings)
        folder = arguments.out / rung.replace(" ", "_").replace(",", "")
        start = time.perf_counter()
        run = cagan.train(train, folder, config, progress=False)
        minutes = (time.perf_counter() - start) / 60
        scores = cagan.evaluate(run, val, targets=3, height=arguments.height)
        figures = (f"{scores[f'region/{name}']:.3f}" for name in FIGURES)
        print(f"| {rung} | {minutes:.0f} |", " | ".join(figures), "|", flush=True)


if __name__ == "__main__":
    main()
