"""Train cagan or the plain PyTorch twin on the same pairs in the same order, and write swaps of other people.

    python benchmarks/swaps.py TRAIN_PAIRS USE_PAIRS OUT [--preset vasily] [--twin] [--set width=128 ...]
                               [--steps N] [--seed N]

Writes OUT/swaps/<human>__<target>.png and .alpha.png, each human with three other articles, and OUT/grid.png.
Needs Pillow.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import cagan
import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "python"))


def setting(text):
    name, value = text.split("=", 1)
    return name, json.loads(value)


def train_twin(trainer, steps):
    """Train the twin on the core's batches, and copy its weights into the core's generator."""
    import torch
    from reference import Twin

    torch.manual_seed(trainer.config.seed)
    twin = Twin(trainer.config.to_dict())
    for step in range(steps):
        terms = twin.step(*(torch.from_numpy(pictures) for pictures in trainer.triplet(step)))
    trainer.load_state("generator", {k: v.numpy() for k, v in twin.generator.state_dict().items()})
    return {key: float(value) for key, value in terms.items()}


def batch(pictures, size, symmetric):
    height, width = size
    arrays = [np.asarray(Image.fromarray(p).resize((width, height), Image.BILINEAR)) for p in pictures]
    values = np.stack(arrays).transpose(0, 3, 1, 2).astype(np.float32) / 255
    return np.ascontiguousarray(values * 2 - 1 if symmetric else values)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("use", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--preset", default="vasily")
    parser.add_argument("--twin", action="store_true")
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", type=setting, nargs="*", default=[])
    arguments = parser.parse_args()
    config = cagan.Config(arguments.preset, seed=arguments.seed, **dict(arguments.set))
    trainer = cagan.Trainer(cagan.Pairs(arguments.train), config)
    began = time.perf_counter()
    terms = train_twin(trainer, arguments.steps) if arguments.twin else trainer.run(arguments.steps)
    took = time.perf_counter() - began
    print(f"{'twin' if arguments.twin else 'cagan'}: {arguments.steps} steps in {took:.0f} s, last {terms}", flush=True)

    pairs = cagan.Pairs(arguments.use)
    swaps = arguments.out / "swaps"
    swaps.mkdir(parents=True, exist_ok=True)
    symmetric = config.architecture == "paper"
    people = [pair.human for pair in pairs]
    articles = [pair.article for pair in pairs]
    human, article = (batch(p, config.image_size, symmetric) for p in (people, articles))
    to_bytes = (lambda v: v * 127.5 + 127.5) if symmetric else (lambda v: v * 255)
    rows = [human[:8], article[:8]]
    for shift in (37, 59, 83):
        target = np.roll(article, -shift % len(pairs), axis=0)
        composite, _, mask = trainer.swap(human, article, target)
        rows += [target[:8], composite[:8], np.repeat(mask[:8], 3, 1) * (2 if symmetric else 1) - symmetric]
        for i, picture in enumerate(to_bytes(composite).clip(0, 255).round().astype(np.uint8)):
            name = f"{pairs[i].id}__{pairs[(i + shift) % len(pairs)].id}"
            Image.fromarray(picture.transpose(1, 2, 0)).save(swaps / f"{name}.png")
            Image.fromarray((mask[i, 0] * 255).round().astype(np.uint8)).save(swaps / f"{name}.alpha.png")
    grid = np.concatenate([np.concatenate(list(row.transpose(0, 2, 3, 1)), 1) for row in rows])
    grid = Image.fromarray(to_bytes(grid).clip(0, 255).astype(np.uint8))
    grid.resize((grid.width * 2, grid.height * 2), Image.NEAREST).save(arguments.out / "grid.png")


if __name__ == "__main__":
    main()
