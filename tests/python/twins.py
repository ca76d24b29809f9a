"""Functions that compare the core with its PyTorch twins: tensors of what the core draws, moved weights, distances."""

import cagan
import numpy as np
import torch
from reference.kisekae import KisekaeTwin

NETWORKS = ("generator", "discriminator")


def tensors(arrays):
    """Turns arrays into tensors that share their memory."""
    return [torch.from_numpy(array) for array in arrays]


def vectors(trainer):
    """Returns the power iteration's vectors of the core as tensors."""
    return {name: torch.from_numpy(array) for name, array in trainer.vectors().items()}


def draws(trainer, step):
    """Returns what the core draws for a step, as tensors."""
    return {name: torch.from_numpy(array) for name, array in trainer.draws(step).items()}


def move_weights(trainer, twin):
    """Moves all weights from where they begin, so that no bias, norm or flow is trivial, and gives them to the twin."""
    noise = np.random.default_rng(5)
    for name in NETWORKS:
        state = trainer.state(name)
        state = {k: v + noise.normal(0, 0.05, v.shape).astype(np.float32) for k, v in state.items()}
        trainer.load_state(name, state)
        getattr(twin, name).load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    twin.load_vectors(vectors(trainer))


def kisekae_twins(folder, *, flat=False, **overrides):
    """Makes a trainer of the preset kisekae and its twin, with the same weights.

    With `flat` the photos are the product pictures: their registration is sure, whatever the weights are.
    """
    settings = {"width": 32, "image_size": 32, "batch_size": 4, "seed": 4, "threads": 1}
    config = cagan.Config("kisekae", **settings | overrides)
    pairs = cagan.dolls(folder, count=9, size=(64, 64))
    if flat:
        pairs = cagan.Pairs.from_rows(
            [{"id": pair.id, "human": pair.article, "article": pair.article} for pair in pairs]
        )
    trainer = cagan.Trainer(pairs, config)
    twin = KisekaeTwin(trainer.config.to_dict(), tensors(trainer.perceptual().values()))
    move_weights(trainer, twin)
    generator = twin.generator
    # Spreads the locator's logits and puts the cut into the widest gap between them: no logit flips by rounding.
    human, worn, _ = tensors(trainer.triplet(0))
    with torch.no_grad():
        generator.locator.out.weight *= 8
        shown = torch.where(draws(trainer, 0)["withheld"] == 1, torch.ones_like(worn), worn)
        logits = generator.locate(human, shown).flatten().sort().values
        low, high = (int(share * len(logits)) for share in (0.4, 0.8))
        widest = low + int(logits[low:high].diff().argmax())
        generator.locator.out.bias += generator.begins - logits[widest : widest + 2].mean()
    trainer.load_state("generator", {k: v.numpy() for k, v in generator.state_dict().items()})
    return trainer, twin


def close(mine, other, tolerance, name):
    """Asserts that the largest difference, relative to the largest value, is below the tolerance."""
    mine, other = np.asarray(mine), np.asarray(other.detach())
    assert mine.shape == other.shape, name
    worst = np.abs(mine - other).max() / max(np.abs(other).max(), 0.1)
    assert worst < tolerance, f"{name}: {worst}"


def distance(state, other):
    """Returns the Euclidean distance over all parameters of a network."""
    squares = (np.square(np.asarray(state[k], np.float64) - np.asarray(other[k], np.float64)).sum() for k in state)
    return sum(squares) ** 0.5


def compare_swaps(got, expected, tolerance):
    """Compares image, mask and paint. A logit at a cut may flip by rounding, which moves all of that picture's map."""
    masks = [np.asarray(swap[1]) for swap in (got, expected)]
    assert 0.1 < masks[1].mean() < 0.9, "an empty mask would agree with anything"
    agree = np.abs(masks[0] - masks[1]) < tolerance
    assert agree.mean() > 0.995
    whole = agree.all((1, 2, 3))
    assert whole.mean() > 0.5
    for name, one, other in zip(("image", "mask", "paint"), got, expected, strict=True):
        assert np.abs(np.asarray(one) - np.asarray(other))[whole].max() < tolerance, name
    return whole
