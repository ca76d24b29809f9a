"""Train rungs from the published method to kisekae on the same pairs, and score them on other people and articles.

python benchmarks/ladder.py PAIRS OUT [RUNG ...]

PAIRS is `dolls`, which are drawn in OUT, or a folder with train/ and val/, of human/ and article/ each, and val/mask/
with the worn garments' true regions, which are used for scoring only. OUT takes a run for each rung; a run that is
there goes on. Prints one line of a table for each rung, and draws RUNG.jpg of the first people and articles of dolls.
"""

import argparse
import time
from pathlib import Path

import cagan

from dolls import draw

# All at the size that two CPU cores learn. The published networks get as many steps, of twice as many pictures.
PUBLISHED = {"image_size": (64, 48), "width": 128, "steps": 4000, "batch_size": 16}
EXTRA = {"discriminator_spectral_norm": True, "discriminator_norm": "none", "feature_weight": 5.0}
PEOPLE = {
    "paper": ("paper", PUBLISHED),
    "paper, spectral norm, feature matching": ("paper", PUBLISHED | EXTRA),
    "kisekae before the discriminator": ("kisekae", {"steps": 2500}),
    "kisekae, worn articles always shown": ("kisekae", {"withhold_worn": 0.0}),
    "kisekae": ("kisekae", {}),
}
# The same pictures for all. Paper's own weight and rate leave its mask closed on this few pictures.
SHORT = {"image_size": (64, 48), "width": 64, "steps": 2000, "batch_size": 8, "identity_weight": 0.02}
SHORT |= {"learning_rate": 5e-4, "ema_images": 1000}
PHASES = {"place_after": 4000, "judge_after": 8000, "schedule_start": 8000, "schedule_end": 16_000, "ema_images": 1500}
DOLLS = {
    "paper": ("paper", SHORT),
    "paper, spectral norm, feature matching": ("paper", SHORT | EXTRA),
    "kisekae before the discriminator": ("kisekae", {"images": 8000, **PHASES}),
    "kisekae": ("kisekae", {"images": 16_000, **PHASES}),
}
FIGURES = {
    "region": ("mask_auc", "mask_iou", "keep", "colour", "texture", "residual", "realism"),
    "true": ("mask_auc", "mask_iou", "keep", "error", "ssim", "ssim_inside"),
}


def main() -> None:
    """Train and score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs")
    parser.add_argument("out", type=Path)
    parser.add_argument("rungs", nargs="*", metavar="RUNG", help=", ".join(PEOPLE))
    parser.add_argument("--height", type=int, default=64, help="what regions are judged at")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = as libtorch likes")
    arguments = parser.parse_args()
    dolls = arguments.pairs == "dolls"
    rungs = DOLLS if dolls else PEOPLE
    unknown = [rung for rung in arguments.rungs if rung not in rungs]
    if unknown:
        parser.error(f"RUNG: expected {', '.join(rungs)}, got {', '.join(unknown)}")
    if dolls:
        train = cagan.dolls(arguments.out / "train", count=800, size=(64, 48), swaps=0)
        val = cagan.dolls(arguments.out / "val", count=48, seed=1, size=(64, 48), swaps=2)
    else:
        train, val = (cagan.Pairs(Path(arguments.pairs) / part) for part in ("train", "val"))
    kind = "true" if dolls else "region"
    print("| rung | minutes |", " | ".join(FIGURES[kind]), "|")
    print("| --- |" + " --- |" * (1 + len(FIGURES[kind])))
    for rung in arguments.rungs or rungs:
        preset, settings = rungs[rung]
        config = cagan.Config(preset, threads=arguments.threads, monitor_every=0, **settings)
        folder = arguments.out / rung.replace(" ", "_").replace(",", "")
        start = time.perf_counter()
        run = cagan.train(train, folder, config, progress=False)
        minutes = (time.perf_counter() - start) / 60
        scores = cagan.evaluate(run, val, targets=None if dolls else 3, height=arguments.height)
        figures = (f"{scores[f'{kind}/{name}']:.3f}" for name in FIGURES[kind])
        print(f"| {rung} | {minutes:.0f} |", " | ".join(figures), "|", flush=True)
        if dolls:
            people, articles = [val[k] for k in (1, 4, 5, 7, 10, 12, 14)], [val[k] for k in (20, 24)]
            draw(run.swapper(), people, articles).save(folder.with_suffix(".jpg"), quality=88)


if __name__ == "__main__":
    main()
