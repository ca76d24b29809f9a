"""What a program has set in torch stays out of the core, and is as it was afterwards."""

import contextlib

import cagan
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from walk import Walk, bindings, config, frozen


@contextlib.contextmanager
def set_by(setter, getter, value):
    """Sets something for a time."""
    before = getter()
    setter(value)
    try:
        yield
    finally:
        setter(before)


@contextlib.contextmanager
def both(*contexts):
    with contextlib.ExitStack() as stack:
        for context in contexts:
            stack.enter_context(context)
        yield


STATES = {
    "no_grad": torch.no_grad,
    "set_grad_enabled": lambda: set_by(torch.set_grad_enabled, torch.is_grad_enabled, False),
    "inference_mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "autocast and inference_mode": lambda: both(torch.autocast("cpu", torch.float16), torch.inference_mode()),
    "float64": lambda: set_by(torch.set_default_dtype, torch.get_default_dtype, torch.float64),
    "bfloat16": lambda: set_by(torch.set_default_dtype, torch.get_default_dtype, torch.bfloat16),
    "meta": lambda: torch.device("meta"),
    "matmul precision": lambda: set_by(
        torch.set_float32_matmul_precision, torch.get_float32_matmul_precision, "medium"
    ),
    "deterministic": lambda: set_by(
        torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled, True
    ),
    "saved tensors": lambda: torch.autograd.graph.save_on_cpu(),
    "dispatch mode": lambda: FlopCounterMode(display=False),
}


def state():
    """Returns what a program can set, and the place of its random sequence."""
    return [
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.get_default_dtype(),
        torch.empty(0).device,
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
        torch.are_deterministic_algorithms_enabled(),
        torch.get_num_threads(),
        frozen(torch.get_rng_state().numpy()),
    ]


@pytest.fixture(scope="module")
def walk(tmp_path_factory, pairs_dir):
    return Walk(tmp_path_factory.mktemp("walk"), pairs_dir)


@pytest.fixture(scope="module")
def expected(walk):
    return walk()


def test_the_walk_calls_every_binding(expected):
    """A new method, attribute or function fails here until the walk has it."""
    walked = {name.split(",")[0] for name in expected}
    assert len(bindings()) > 120
    assert [name for name in bindings() if name not in walked] == []


def test_the_walk_repeats_itself(walk, expected):
    assert walk() == expected


@pytest.mark.parametrize("name", STATES)
def test_no_state_reaches_the_core(walk, expected, name):
    with STATES[name]():
        before = state()
        found = walk()
        assert state() == before
    assert [key for key, value in found.items() if value != expected[key]] == []


def test_an_observer_has_the_programs_state(walk, pairs):
    seen = []

    def observe(*_):
        seen.append((torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu")))

    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        cagan._cagan.run(pairs, walk.new_folder(), config("paper", steps=2), None, observe)
    assert len(seen) > 4
    assert set(seen) == {(False, True, True)}


def test_a_failure_restores_the_state(pairs):
    trainer = cagan.Trainer(pairs, config("paper"))
    human, worn, _ = trainer.triplet(0)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        before = state()
        with pytest.raises(ValueError, match="article: expected shape"):
            trainer.score(human, worn[:, :, :5])
        with pytest.raises(ValueError, match="steps"):
            trainer.run(0)
        assert state() == before
    assert trainer.run(1)


@pytest.mark.parametrize("name", ["autocast and inference_mode", "float64", "bfloat16", "meta"])
@pytest.mark.filterwarnings("ignore")
def test_no_state_reaches_an_export(run, tmp_path, name):
    pictures = torch.rand(3, 1, 3, 64, 64)

    def export(folder):
        folder.mkdir()
        return [cagan.export(run.path, folder / f"generator{ending}") for ending in (".pt", ".pt2")]

    def results(traced, exported):
        modules = torch.jit.load(traced), torch.export.load(exported).module()
        return [part.detach() for module in modules for part in module(*pictures)]

    expected = results(*export(tmp_path / "expected"))
    with STATES[name]():
        before = state()
        paths = export(tmp_path / "found")
        assert state() == before
    for got, wanted in zip(results(*paths), expected, strict=True):
        assert got.dtype == wanted.dtype
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("name", STATES)
def test_no_state_reaches_the_scores(walk, pairs, name):
    swapper = cagan.Swapper(walk.runs["kisekae"])
    expected = dict(cagan.evaluate(swapper, pairs, targets=1))
    with STATES[name]():
        before = state()
        found = dict(cagan.evaluate(swapper, pairs, targets=1))
        assert state() == before
    assert frozen(found) == frozen(expected)
