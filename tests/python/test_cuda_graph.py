"""A step as a CUDA graph: the tests that need no GPU. `training/graph.rs` has tests with a stand-in."""

import inspect

import cagan
import pytest
import torch

CASES = {
    "vasily": {"image_size": 64},
    "paper": {"image_size": 32},
    "paper, everything that a graph takes": {
        "image_size": 32,
        "self_swap_weight": 1,
        "feature_weight": 1,
        "perceptual_weight": 1,
        "mask_tv_weight": 0.1,
        "mask_binary_weight": 0.1,
        "gradient_clip": 1,
        "discriminator_spectral_norm": True,
        "discriminator_noise": 0.1,
        "precision": "bf16",
    },
}


def reads(trainer, steps):
    """Counts how often the host reads a number from a tensor during these steps."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        trainer.run(steps)
    return sum(event.name == "aten::_local_scalar_dense" for event in profile.events())


@pytest.mark.filterwarnings("ignore:.*Profiler clears events")
@pytest.mark.parametrize("case", CASES)
def test_a_step_reads_nothing_back(pairs, case):
    """A recording fails where the host waits for the device. On a CPU Adam reads its counter, once for each network."""
    config = cagan.Config(case.split(",")[0], device="cpu", width=16, batch_size=2, **CASES[case])
    trainer = cagan.Trainer(pairs, config)
    assert reads(trainer, 3) - reads(trainer, 1) == 2 * 2


def test_torch_has_the_functions_that_record_a_step():
    assert "capture_error_mode" in inspect.signature(torch.cuda.graph.__init__).parameters
    assert {"__enter__", "__exit__"} <= set(dir(torch.cuda.graph))
    assert callable(torch.cuda.CUDAGraph.replay)


def test_a_graph_without_cuda_fails(pairs, tmp_path):
    settings = {"device": "cpu", "steps": 1, "cuda_graph": True}
    with pytest.raises(ValueError, match="cuda_graph: expected false on a CPU, got true"):
        cagan.train(pairs, tmp_path / "run", "paper", progress=False, image_size=32, **settings)
    assert not (tmp_path / "run").exists()
