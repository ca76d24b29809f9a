"""Torch's own tensors: batches of a training without networks, float pictures in, tensors of a swap out."""

import os
import pickle
import warnings

import cagan
import numpy as np
import pytest
import torch
from helpers import refusal, same_swap
from torch.utils.data import DataLoader

# Batches of the loader


def config(**settings):
    return cagan.Config("smoke", **{"steps": 5, "batch_size": 4, "threads": 1, "crop_margin": 3} | settings)


@pytest.mark.parametrize("settings", [{"loader": "resident"}, {"loader": "streaming", "loader_workers": 2}])
def test_the_steps_are_those_of_a_training(pairs, settings):
    settings = config(colour_jitter=0.2, **settings)
    loader, trainer = cagan.Loader(pairs, settings), cagan.Trainer(pairs, settings)
    assert (len(loader), len(list(loader))) == (5, 5)
    for step, batch in enumerate(loader):
        assert isinstance(batch, tuple)
        for tensor, array in zip(batch, trainer.triplet(step), strict=True):
            assert (tensor.dtype, tensor.device.type) == (torch.float32, "cpu")
            assert tensor.shape == (4, 3, 64, 64)
            assert np.array_equal(tensor.numpy(), array)
    # Any step, more than once, from the end, and past it.
    for step in (3, 1, -1, 4, 0):
        assert all(np.array_equal(a, b) for a, b in zip(loader[step], trainer.triplet(step % 5)))
    for step in (5, -6, 2**40):
        refusal(IndexError, lambda step=step: loader[step], str(step))
    refusal(TypeError, lambda: loader["first"], "step: expected a number, got 'first'")
    assert loader.config == trainer.config


def test_a_tensor_is_the_receivers_own(pairs):
    loader = cagan.Loader(pairs, config())
    human, worn, target = loader[0]
    before = human.clone()
    human.zero_()
    worn.add_(target)
    again = loader[0]
    del loader
    assert torch.equal(again[0], before)
    assert before.abs().sum() > 0


def test_a_dataloader_takes_it_whole(pairs):
    loader = cagan.Loader(pairs, config())
    batches = list(DataLoader(loader, batch_size=None))
    assert len(batches) == 5
    assert all(torch.equal(a, b) for batch, mine in zip(batches, loader) for a, b in zip(batch, mine))
    shuffled = list(DataLoader(loader, batch_size=None, shuffle=True))
    sums = lambda found: sorted(float(batch[0].double().sum()) for batch in found)  # noqa: E731
    assert sums(shuffled) == sums(batches)


def test_another_process_is_told_that_it_has_no_threads(pairs):
    loader = cagan.Loader(pairs, config(loader="streaming"))
    refusal(TypeError, lambda: pickle.dumps(loader), "num_workers=0")
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            loader[0]
            os.write(theirs, b"no error")
        except RuntimeError as error:
            os.write(theirs, str(error).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as told:
        assert "expected num_workers=0" in told.read().decode()
    os.waitpid(child, 0)


def test_pairs_that_cannot_be_read(copied):
    (copied / "human" / "00001.png").write_bytes(b"no picture")
    refusal(ValueError, lambda: cagan.Loader(cagan.Pairs(copied), config()), "00001.png", "cannot be decoded")
    loader = cagan.Loader(cagan.Pairs(copied, on_error="skip"), config())
    assert [(name, path.name) for name, path, _ in loader.skipped] == [("00001", "00001.png")]
    refusal(ValueError, lambda: cagan.Loader(cagan.Pairs(copied)[:1], config()), "pairs: expected at least 2")
    assert repr(loader) == "Loader(5 steps of 4)"


# Float pictures


@pytest.fixture
def three(pairs):
    return pairs[0].human, pairs[0].article, pairs[1].article


FORMS = {
    "torch, channels last": lambda levels: torch.from_numpy(levels).float() / 255,
    "torch, channels first": lambda levels: (torch.from_numpy(levels).float() / 255).movedim(-1, -3),
    "torch, a part of a graph": lambda levels: (torch.from_numpy(levels).double() / 255).requires_grad_() * 1,
    "numpy": lambda levels: levels / 255,
    "numpy, channels first": lambda levels: np.moveaxis(levels.astype(np.float32) / 255, -1, -3),
    "a little outside": lambda levels: levels / 255 * 1.002 - 0.001,
}


@pytest.mark.parametrize("form", FORMS)
def test_floats_are_the_same_pictures(swapper, three, form):
    made = swapper.swap(*map(FORMS[form], three))
    expected = swapper.swap(*three)
    assert isinstance(made, cagan.Swap)
    assert same_swap(made, expected)
    # Lists of them, and beside other kinds.
    mixed = swapper.swap([FORMS[form](three[0]), three[0]], three[1], FORMS[form](three[2]))
    assert all(same_swap(swap, expected) for swap in mixed)


def test_half_precision_is_read(swapper, three):
    for kind in (torch.float16, torch.bfloat16):
        made = swapper.swap(*((torch.from_numpy(array) / 255).to(kind) for array in three))
        assert made.image.shape == three[0].shape


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_is_a_list(swapper, pairs, form):
    people = np.stack([pair.human for pair in pairs[:3]])
    worn = np.stack([pair.article for pair in pairs[:3]])
    target = pairs[3].article
    expected = swapper.swap(list(people), list(worn), target)
    made = swapper.swap(FORMS[form](people), FORMS[form](worn), target)
    assert isinstance(made, list)
    assert len(made) == 3
    assert all(same_swap(a, b) for a, b in zip(made, expected))
    assert all(
        same_swap(a, b) for a, b in zip(swapper.stream(FORMS[form](people), FORMS[form](worn), target), expected)
    )
    assert len(swapper.swap(FORMS[form](people[:1]), worn[0], target)) == 1


def test_shapes_and_ranges_that_may_mean_something_else_are_errors(swapper, three):
    good, floats = three[0], three[0] / 255

    def wrong(human, *parts):
        refusal(ValueError, lambda: swapper.swap(human, good, good), "human", *parts)

    wrong(np.zeros((3, 8, 3)), "[H, W, 3] or [3, H, W]", "got [3, 8, 3], which may be either")
    wrong(np.zeros((2, 3, 8, 3)), "[N, H, W, 3] or [N, 3, H, W]", "got [2, 3, 8, 3], which may be either")
    wrong(torch.zeros(8, 8, 4), "got shape [8, 8, 4]")
    wrong(torch.zeros(2, 1, 8, 8), "got shape [2, 1, 8, 8]")
    wrong(torch.zeros(8, 8), "got shape [8, 8]")
    wrong(torch.zeros(0, 3, 8, 8), "got shape [0, 3, 8, 8]")
    wrong(np.float32(0.5), "got shape []")
    wrong(floats * 255, "expected floats of 0 to 1", "to 2")
    wrong(floats * 2 - 1, "expected floats of 0 to 1, got -")
    wrong(np.where(floats > 0.5, np.nan, floats), "expected floats of 0 to 1, got nan to nan")
    two = np.stack([floats, floats * 3])
    wrong(two, "human[1]: expected floats of 0 to 1")
    refusal(
        ValueError,
        lambda: swapper.swap(two[:1], good, [good, good]),
        "target: expected as many pictures as human (1)",
    )


def test_a_swap_gives_tensors(swapper, three):
    swap = swapper.swap(*three)
    for part in ("image", "paint", "mask"):
        tensor, array = swap.to_tensor(part), getattr(swap, part)
        assert tensor.dtype == torch.float32
        assert torch.equal((tensor * 255).round().to(torch.uint8), torch.from_numpy(array))
        assert tensor.max() <= 1
    assert swap.to_tensor().shape == three[0].shape
    refusal(ValueError, lambda: swap.to_tensor("located"), "part: expected")
    refusal(ValueError, lambda: swap.to_tensor("hat"), "part: expected")


def test_pairs_may_hold_floats(three):
    pair = cagan.Pair("a", three[0] / 255, torch.from_numpy(three[1]).movedim(-1, 0) / 255)
    assert np.array_equal(pair.human, three[0])
    assert np.array_equal(pair.article, three[1])
