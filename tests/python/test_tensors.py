"""`Trainer.tensors`: torch tensors in the core's own memory."""

import gc

import cagan
import numpy as np
import pytest
import torch
from helpers import refusal

SMALL = {"image_size": 32, "width": 16, "batch_size": 2, "threads": 1, "device": "cpu"}


@pytest.fixture(params=["fp32", "bf16"])
def trainer(pairs, request):
    return cagan.Trainer(pairs, cagan.Config("paper", precision=request.param, **SMALL))


@pytest.mark.parametrize("network", ["generator", "discriminator"])
def test_they_are_the_copies_and_follow_a_step(trainer, network):
    values, gradient = (trainer.tensors(network, part) for part in ("values", "gradient"))
    before = {name: tensor.clone() for name, tensor in values.items()}
    trainer.run(1)
    for tensors, copies in ((values, trainer.state(network)), (gradient, trainer.gradients(network))):
        assert list(tensors) == list(copies)
        for name, tensor in tensors.items():
            assert np.array_equal(tensor.numpy(), copies[name]), name
    assert not all(torch.equal(values[name], before[name]) for name in values)
    again = trainer.tensors(network, "values")
    assert all(again[name].data_ptr() == tensor.data_ptr() for name, tensor in values.items())


def test_what_is_written_is_what_the_networks_compute_with(trainer):
    human, worn, target = trainer.triplet(0)
    for tensor in trainer.tensors("generator", "values").values():
        tensor.zero_()
    trainer.changed("generator")
    _, paint, mask = trainer.swap(human, worn, target)
    assert np.ptp(paint) == np.ptp(mask) == 0
    assert not any(array.any() for array in trainer.state("generator").values())


def test_they_outlive_their_trainer(pairs):
    trainer = cagan.Trainer(pairs, cagan.Config("paper", **SMALL))
    values, copies = trainer.tensors("generator", "values"), trainer.state("generator")
    del trainer
    gc.collect()
    assert all(np.array_equal(tensor.numpy(), copies[name]) for name, tensor in values.items())


def test_unknown_networks_and_parts_are_refused(pairs):
    trainer = cagan.Trainer(pairs, cagan.Config("paper", **SMALL))
    refusal(ValueError, lambda: trainer.tensors("locator", "values"), "unknown network `locator`")
    refusal(ValueError, lambda: trainer.tensors("generator", "grad"), "part: expected values or gradient, got grad")
    refusal(ValueError, lambda: trainer.changed("locator"), "unknown network `locator`")
