"""A step as a CUDA graph: the tests that need no GPU. `training/graph.rs` has tests with a stand-in."""

import contextlib
import inspect

import cagan
import pytest
import torch
from cagan._step_graph import StepGraph

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
    assert {"stream", "capture_error_mode"} <= set(inspect.signature(torch.cuda.graph.__init__).parameters)
    assert {"__enter__", "__exit__"} <= set(dir(torch.cuda.graph))
    assert callable(torch.cuda.CUDAGraph.replay)


class FakeCuda:
    """As much of `torch.cuda` as a recording uses, without a GPU. `fails` names the call that raises."""

    def __init__(self, fails=None):
        self.now, self.current, self.fails, self.recorded_on = 0, "the program's stream", fails, []

    @contextlib.contextmanager
    def device(self, index):
        before, self.now = self.now, index
        try:
            yield
        finally:
            self.now = before

    def current_stream(self):
        return self.current

    def set_stream(self, stream):
        self.current = stream

    def Stream(self):  # noqa: N802  # torch's name
        return f"a stream of device {self.now}"

    def CUDAGraph(self):  # noqa: N802  # torch's name
        return self

    def replay(self):
        self.recorded_on.append(f"replayed on {self.now}")
        if self.fails == "replay":
            raise RuntimeError("CUDA error")

    def graph(self, graph, stream, capture_error_mode):
        assert graph is self
        assert capture_error_mode == "thread_local"
        return Capturing(self, stream)


class Capturing:
    """As `torch.cuda.graph`, which restores the stream only if the end of the capture succeeds."""

    def __init__(self, cuda, stream):
        self.cuda, self.stream = cuda, stream

    def __enter__(self):
        self.before, self.cuda.current = self.cuda.current, self.stream
        if self.cuda.fails == "begin":
            raise RuntimeError("capture_begin")

    def __exit__(self, *_):
        if self.cuda.fails == "end":
            raise RuntimeError("capture_end")
        self.cuda.current = self.before


def test_a_step_is_recorded_and_launched_on_its_own_device(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setattr(torch, "cuda", fake)
    graph = StepGraph(1)
    with graph.recording():
        assert (fake.now, fake.current) == (1, "a stream of device 1")
    assert (fake.now, fake.current) == (0, "the program's stream")
    graph.replay()
    assert fake.recorded_on == ["replayed on 1"]
    assert fake.now == 0


@pytest.mark.parametrize("fails", ["begin", "step", "end", "replay"])
def test_a_recording_that_fails_leaves_the_programs_device_and_stream(monkeypatch, fails):
    fake = FakeCuda(fails)
    monkeypatch.setattr(torch, "cuda", fake)
    graph = StepGraph(1)
    with pytest.raises(RuntimeError):  # the failure is in one of three places
        with graph.recording():
            if fails == "step":
                raise RuntimeError
        graph.replay()
    assert (fake.now, fake.current) == (0, "the program's stream")


def test_a_graph_without_cuda_fails(pairs, tmp_path):
    settings = {"device": "cpu", "steps": 1, "cuda_graph": True}
    with pytest.raises(ValueError, match="cuda_graph: expected false on a CPU, got true"):
        cagan.train(pairs, tmp_path / "run", "paper", progress=False, image_size=32, **settings)
    assert not (tmp_path / "run").exists()
