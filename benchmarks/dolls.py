"""Train kisekae on dolls, whose true swaps are known, score it, and draw a grid.

    python benchmarks/dolls.py OUT [--steps N] [--threads N] [--model MODEL]

OUT takes the dolls and the run; a run that is there goes on. OUT/grid.jpg shows people and articles outside the
training data. With MODEL nothing is trained, and the grid is the model's: the README's is that of "dolls".
"""

import argparse
from pathlib import Path

import cagan
import numpy as np
from PIL import Image

SIZE = (128, 96)
PEOPLE = (1, 4, 5, 7, 10, 12, 14)
FIGURES = ("mask_auc", "mask_iou", "keep", "error", "error_untouched", "ssim", "ssim_inside")


def main() -> None:
    """Draws, trains, scores, shows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0 = libtorch's default")
    parser.add_argument("--model", help="a snapshot, a run, or dolls: draw its grid alone")
    arguments = parser.parse_args()
    if arguments.model:
        test = cagan.dolls(arguments.out / "large", count=60, seed=1, size=(256, 192), swaps=0)
        people, articles = [test[k] for k in PEOPLE], [test[k] for k in (20, 22, 26, 38)]
        draw(cagan.Swapper(arguments.model), people, articles).save(arguments.out / "grid.jpg", quality=88)
        return
    train = cagan.dolls(arguments.out / "train", count=1000, size=SIZE, swaps=0)
    test = cagan.dolls(arguments.out / "test", count=48, seed=1, size=SIZE, swaps=2)
    images = 8 * arguments.steps
    config = cagan.Config(
        "kisekae",
        image_size=SIZE,
        images=images,
        place_after=images // 5,
        judge_after=images // 2,
        schedule_start=images // 2,
        schedule_end=images * 17 // 16,
        mask_cut=0.65,
        ema_images=1500,
        threads=arguments.threads,
        snapshot_every=100,
        monitor_every=0,
    )
    run = cagan.train(train, arguments.out / "run", config, progress=False)
    scores = cagan.evaluate(run, test)
    print({name: round(scores[f"true/{name}"], 3) for name in FIGURES})
    people, articles = [test[k] for k in PEOPLE], [test[k] for k in (20, 22, 24, 26)]
    draw(run.swapper(), people, articles).save(arguments.out / "grid.jpg", quality=88)


def draw(swapper: cagan.Swapper, people: list[cagan.Pair], articles: list[cagan.Pair]) -> Image.Image:
    """Draw people along the top, articles down the left."""
    height, width, gap = 160, 120, 4
    grid = Image.new("RGB", ((len(people) + 1) * (width + gap), (len(articles) + 1) * (height + gap)), "white")

    def lay(picture: np.ndarray, column: int, row: int) -> None:
        small = Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS)
        grid.paste(small, (column * (width + gap), row * (height + gap)))

    for column, person in enumerate(people, 1):
        lay(person.human, column, 0)
    for row, article in enumerate(articles, 1):
        lay(article.article, 0, row)
        for column, person in enumerate(people, 1):
            lay(swapper.swap(person.human, person.article, article.article).image, column, row)
    return grid


if __name__ == "__main__":
    main()
