"""Export: each format gives the Swapper's values, at any batch and size, and describes itself."""

import functools
import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import cagan
import numpy as np
import pytest
import torch
from cagan import exporting, torch_module
from conftest import FORWARD
from helpers import checkpoints, read_tensors, refusal, write_tensors
from PIL import Image
from twins import compare_swaps, kisekae_twins

# Largest difference between an exported file and the core, of values of 0 to 1.
DIFFERENCE = 1e-4
CONFIGS = {
    "vasily": {},
    "paper": {"architecture": "paper", "width": 32},
    "paper, none": {"architecture": "paper", "generator_copies": "none"},
    "paper, target": {"architecture": "paper", "generator_copies": "target"},
}


@pytest.fixture(scope="module")
def made(pairs, tmp_path_factory):
    """Makes a run of each architecture and option and its exported files, each once."""

    @functools.cache
    def made(name, ending=None):
        if ending is None:
            config = cagan.Config("smoke", steps=6, threads=1, image_size=(64, 96), **CONFIGS[name])
            return cagan.train(pairs, tmp_path_factory.mktemp("run"), config, progress=False)
        return cagan.export(made(name), tmp_path_factory.mktemp("out") / f"model{ending}")

    return made


@pytest.fixture(scope="module")
def small(pairs, tmp_path_factory):
    """A run of the article's networks, for tests that hold for all networks."""
    return cagan.train(pairs, tmp_path_factory.mktemp("small"), "smoke", steps=2, threads=1, progress=False)


def inputs(batch, height, width):
    levels = np.random.default_rng(batch).integers(0, 256, (3, batch, 3, height, width))
    return [*(levels / 255).astype(np.float32)]


def ours(run, pairs, given):
    """Returns image, mask and paint of the core, in floats of 0 to 1."""
    trainer = cagan.Trainer(pairs, run.config.replace(image_size=given[0].shape[2:], batch_size=1))
    trainer.load_state("generator", read_tensors(run.snapshots[-1])[1])
    symmetric = run.config.architecture == "paper"
    image, paint, mask = trainer.swap(*(2 * xs - 1 if symmetric else xs for xs in given))
    return [(image + 1) / 2, mask, (paint + 1) / 2] if symmetric else [image, mask, paint]


def onnx_session(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    # Triton is told the file's own inputs and outputs, without the batch; a free side is -1.
    text = path.with_name("config.pbtxt").read_text()
    rows = re.findall(r'name: "(\w+)", data_type: TYPE_FP32, dims: \[ (-?\d+), (-?\d+), (-?\d+) \]', text)
    values = [*session.get_inputs(), *session.get_outputs()]
    shapes = [[side if isinstance(side, int) else -1 for side in value.shape[1:]] for value in values]
    assert [(name, [int(side) for side in sides]) for name, *sides in rows] == [
        (value.name, shape) for value, shape in zip(values, shapes)
    ]
    return session


def opened(path):
    """Returns a function that calls an exported file with numpy arrays, and the file's description of itself."""
    names = ("human", "worn", "target")
    if path.suffix == ".onnx":
        session = onnx_session(path)
        told = session.get_modelmeta().custom_metadata_map["cagan.json"]
        assert [output.name for output in session.get_outputs()] == ["image", "mask", "paint"]
        return lambda given: session.run(None, dict(zip(names, given))), json.loads(told)
    extra = {"cagan.json": ""}
    if path.suffix == ".pt2":
        with warnings.catch_warnings():
            # torch warns about its own buffers.
            warnings.simplefilter("ignore")
            module = torch.export.load(path, extra_files=extra).module()
    elif path.suffix == ".pt":
        with warnings.catch_warnings():
            # torch warns about the end of TorchScript.
            warnings.simplefilter("ignore")
            module = torch.jit.load(path, _extra_files=extra)
    else:
        module, extra = torch_module.load(path), {"cagan.json": "null"}
    return lambda given: [ys.detach().numpy() for ys in module(*map(torch.from_numpy, given))], json.loads(
        extra["cagan.json"]
    )


# The slow formats for the two architectures, the quick ones for each option.
@pytest.mark.parametrize(
    ("name", "ending"),
    [*((name, ending) for name in ("vasily", "paper") for ending in (".onnx", ".pt2"))]
    + [(name, ending) for name in CONFIGS for ending in (".pt", ".safetensors")],
)
def test_an_exported_file_gives_the_swappers_values(made, pairs, name, ending):
    run, path = made(name), made(name, ending)
    swap, told = opened(path)
    height, width = run.config.image_size
    for batch, size in ((1, (height, width)), (3, (height, width)), (2, (128, 64)), (1, (96, 32))):
        given = inputs(batch, *size)
        for name, got, expected in zip(("image", "mask", "paint"), swap(given), ours(run, pairs, given), strict=True):
            assert got.shape == expected.shape
            assert np.abs(got - expected).max() < DIFFERENCE, (name, batch, size)
            assert got.min() >= 0
            assert got.max() <= 1
    if ending == ".safetensors":
        assert path.read_bytes() == run.snapshots[-1].read_bytes()
        return
    assert told["config"] == run.config.to_dict()
    assert (told["cagan"], told["step"]) == (cagan.__version__, 6)
    assert told["preprocessing"] | {"image_size": [64, 96], "multiple": 16, "range": [0, 1]} == told["preprocessing"]
    assert told["preprocessing"]["human_fit"] == run.config.human_fit


@pytest.mark.parametrize("name", ["vasily", "paper"])
def test_an_onnx_file_swaps_like_the_swapper(made, pairs, name):
    """Pictures of the networks' size, so that nothing is resized: our bytes are the file's values, rounded."""
    session = onnx_session(made(name, ".onnx"))
    photo, worn, target = (
        np.asarray(Image.fromarray(picture).resize((96, 64)))
        for picture in (pairs[0].human, pairs[0].article, pairs[1].article)
    )
    values = [xs.transpose(2, 0, 1)[None].astype(np.float32) / 255 for xs in (photo, worn, target)]
    image, mask, paint = session.run(None, dict(zip(("human", "worn", "target"), values)))
    swap = cagan.Swapper(made(name).path).swap(photo, worn, target)
    for got, expected, most in (
        (mask[0, 0], swap.mask, 0.5),
        (paint[0].transpose(1, 2, 0), swap.paint, 0.5),
        # The Swapper composites rounded masks and paints.
        (image[0].transpose(1, 2, 0), swap.image, 2),
    ):
        assert np.abs(255 * got - expected).max() < most + 255 * DIFFERENCE


@pytest.mark.parametrize("name", CONFIGS)
def test_the_plain_module_gives_the_swappers_values(made, pairs, name):
    run = made(name)
    module = torch_module.load(run.snapshots[-1])
    assert list(dict(module.named_parameters())) != []
    assert sorted(module.state_dict()) == sorted(read_tensors(run.snapshots[-1])[1])
    given = inputs(2, 64, 96)
    with torch.no_grad():
        got = module(*map(torch.from_numpy, given))
    for a, b in zip(got, ours(run, pairs, given), strict=True):
        assert np.abs(a.numpy() - b).max() < FORWARD


@pytest.fixture(scope="module")
def kisekae(pairs, tmp_path_factory):
    """Makes a trainer and a snapshot of its weights, whose masks are neither empty nor full, each size once."""

    @functools.cache
    def made(*size):
        trainer, _ = kisekae_twins(tmp_path_factory.mktemp("pairs"), image_size=size, full_size_after=0)
        run = cagan.train(pairs, tmp_path_factory.mktemp("run"), trainer.config, steps=1, progress=False)
        entries, _ = read_tensors(run.snapshots[-1])
        write_tensors(run.snapshots[-1], entries, trainer.state("generator"))
        return trainer, run

    return made


@pytest.mark.parametrize("size", [(64, 48), (128, 96)], ids="{0[0]}x{0[1]}".format)
@pytest.mark.parametrize("ending", [".onnx", ".pt2", ".pt", ".safetensors"])
def test_an_exported_kisekae_gives_the_swappers_values(kisekae, tmp_path, ending, size):
    trainer, run = kisekae(*size)
    swap, told = opened(cagan.export(run, tmp_path / f"model{ending}"))
    triplets = [[(xs + 1) / 2 for xs in trainer.triplet(step)] for step in range(2)]
    for batch in (8, 1, 3):
        given = [np.concatenate(xs)[:batch] for xs in zip(*triplets)]
        known = swap(given)
        whole = compare(trainer, given, known)
        # An article of one colour, any colour, means: not known.
        given[1] = np.full_like(given[1], 0.3)
        compare(trainer, given, unknown := swap(given))
        assert np.abs(known[1] - unknown[1])[whole].max() > 0.1
    assert (told or {"preprocessing": {"resizable": False}})["preprocessing"]["resizable"] is False
    assert "all of {} x {}".format(*size) in (tmp_path / "model.md").read_text() or ending == ".safetensors"


def compare(trainer, given, got):
    image, paint, mask = trainer.swap(*(2 * xs - 1 for xs in given))
    # Weights after one step bend the flows at random and magnify rounding, the more the larger the pictures are; a
    # trained model's export differs by 1e-5.
    most = 5 * DIFFERENCE * image.shape[2] / 64
    return compare_swaps(got, [(image + 1) / 2, mask, (paint + 1) / 2], most)


def test_an_exported_kisekae_is_of_one_size(kisekae, tmp_path):
    swap, _ = opened(cagan.export(kisekae(64, 48)[1], tmp_path / "model.onnx"))
    with pytest.raises(Exception, match="invalid dimensions"):
        swap(inputs(1, 64, 64))


def test_a_foreign_configuration_of_triton_stays(small, tmp_path):
    file, swapper = tmp_path / "config.pbtxt", small.swapper("cpu")
    beside = {file: exporting._triton(swapper)}
    file.write_bytes(beside[file])
    exporting._keep_foreign(beside)
    # Another model's may be replaced.
    exporting._keep_foreign({file: beside[file].replace(b"16", b"8")})
    for old in (beside[file] + b"# mine\n", b"", b'name: "other"\n'):
        file.write_bytes(old)
        refusal(FileExistsError, lambda: exporting._keep_foreign(beside), file, "overwrite=True")


def test_the_plain_module_needs_nothing_of_the_package(small):
    program = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("alone", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
import torch
print(*module.load(sys.argv[2])(*torch.rand(3, 1, 3, 64, 64))[1].shape, "cagan" in sys.modules)
"""
    arguments = [sys.executable, "-c", program, torch_module.__file__, str(small.snapshots[-1])]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert done.stdout == "1 1 64 64 False\n", done.stderr


# The card


def test_the_card_describes_the_model(small, tmp_path):
    run = cagan.Run(shutil.copytree(small.path, tmp_path / "run"))
    (out := tmp_path / "out").mkdir()
    cagan.export(run, out / "doll.pt")
    assert sorted(path.name for path in out.iterdir()) == ["doll.md", "doll.png", "doll.pt"]
    card = (out / "doll.md").read_text()
    assert (out / "doll.png").read_bytes() == run.samples[-1].read_bytes()
    assert "](doll.png)" in card
    entries = read_tensors(checkpoints(run.path)[-1])[0]
    for part in (
        "# doll\n",
        f"| data fingerprint | `{entries['data']}` |",
        "| pairs | 8 |",
        "| step | 2 |",
        'torch.jit.load("doll.pt")',
        f"`{run.config!r}`",
    ):
        assert part in card, part
    rows = dict(re.findall(r"^\| (\w+) \| `(.*)` \|", card, re.MULTILINE))
    settings = [setting["name"] for setting in cagan._cagan.settings()]
    assert {name: json.loads(rows[name]) for name in settings} | {"preset": "smoke"} == run.config.to_dict()


def test_the_card_has_the_figures_that_evaluate_wrote(call, small, pairs_dir, tmp_path):
    run = shutil.copytree(small.path, tmp_path / "run")
    scored = call("evaluate", run, pairs_dir, "--height", 64)
    assert scored[0] == 0, scored
    assert call("export", run, tmp_path / "a.safetensors")[0] == 0
    card = (tmp_path / "a.md").read_text()
    *lines, verdict = scored[1].splitlines()
    assert len(lines) > 10
    assert lines[0].split() == ["figure", "value", "better", "95", "%", "n"]
    told = [re.sub("[| ]+", " ", line).strip() for line in card.splitlines()]
    for line in lines:
        assert " ".join(line.split()) in told
    assert verdict in card.splitlines()


def test_the_cards_code_runs(small, pairs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, pair in (("human", pairs[0].human), ("worn", pairs[0].article), ("target", pairs[1].article)):
        Image.fromarray(pair).save(f"{name}.jpg")
    for ending in (".onnx", ".pt2", ".pt", ".safetensors"):
        cagan.export(small.snapshots[-1], f"a{ending}")
        (code,) = re.findall(r"```python\n(.*?)```", Path("a.md").read_text(), re.DOTALL)
        given = inputs(1, 64, 64)
        values = given if ending == ".onnx" else [torch.from_numpy(xs) for xs in given]
        names = dict(zip(("human", "worn", "target"), values))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exec(code, names)
        assert ("swap" in names) if ending == ".safetensors" else names["mask"].shape == (1, 1, 64, 64)


def test_a_snapshot_alone_has_a_card_too(small, tmp_path):
    snapshot = shutil.copy(small.snapshots[-1], tmp_path / "s.safetensors")
    cagan.export(snapshot, tmp_path / "b.safetensors")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.md", "b.safetensors", "s.safetensors"]
    assert "fingerprint" not in (tmp_path / "b.md").read_text()
    assert cagan.Swapper(tmp_path / "b.safetensors").config == small.config
    assert cagan.export(cagan.Swapper(snapshot), tmp_path / "c.safetensors") == tmp_path / "c.safetensors"


def test_a_foreign_card_or_picture_stays(call, small, tmp_path):
    card, picture, out = tmp_path / "a.md", tmp_path / "a.png", tmp_path / "a.safetensors"
    for file in (card, picture):
        for old in (b"my notes\n", b""):
            file.write_bytes(old)
            refusal(FileExistsError, lambda: cagan.export(small, out), file, "overwrite=True")
            assert (file.read_bytes(), list(tmp_path.iterdir())) == (old, [file])
        code, _, err = call("export", small.path, out)
        assert (code, err.count("\n")) == (1, 1)
        cagan.export(small, out, overwrite=True)
        assert file.read_bytes() != b""
        # What an export wrote may be replaced, by another model's too.
        cagan.export(small, out)
        cagan.export(small.snapshots[-1], tmp_path / "a.pt")
        [path.unlink() for path in tmp_path.iterdir()]
    cagan.export(small, out)
    written = card.read_text()
    card.write_text(written.replace("# a", "# my article"))
    refusal(FileExistsError, lambda: cagan.export(small, out), card)
    card.write_text(written)
    Image.new("RGB", (3, 3)).save(picture)
    refusal(FileExistsError, lambda: cagan.export(small, out), picture)


def test_the_weights_are_those_of_the_swapper(small, tmp_path):
    """The file of the snapshot may hold another one by now, or be gone."""
    snapshot = shutil.copy(small.snapshots[-1], tmp_path / "best.safetensors")
    swapper, content = cagan.Swapper(snapshot), small.snapshots[-1].read_bytes()
    entries, arrays = read_tensors(snapshot)
    write_tensors(snapshot, entries | {"step": "9"}, {name: 2 * array for name, array in arrays.items()})
    assert swapper.snapshot() == content
    assert cagan.export(swapper, tmp_path / "a.safetensors").read_bytes() == content
    snapshot.unlink()
    cagan.export(swapper, tmp_path / "b.pt")
    assert "| step | 2 |" in (tmp_path / "b.md").read_text()


def test_a_snapshot_at_the_top_of_the_file_system_is_of_no_run():
    for snapshot in ("/s.safetensors", "/run/s.safetensors"):
        assert exporting._run_of(Path(snapshot)) is None


# Mistakes


def test_models_and_paths_that_cannot_be_exported(small, tmp_path, monkeypatch):
    run = cagan.Run(shutil.copytree(small.path, tmp_path / "run"))
    before = sorted(tmp_path.iterdir())
    endings = ".onnx, .pt2, .pt, .safetensors"
    for kind, export, parts in (
        (ValueError, lambda: cagan.export(run, tmp_path / "a.tflite"), ["path", endings, "a.tflite"]),
        (ValueError, lambda: cagan.export(run, tmp_path / "a"), ["path", endings]),
        (FileNotFoundError, lambda: cagan.export(run, tmp_path / "no" / "a.pt"), [tmp_path / "no"]),
        (FileNotFoundError, lambda: cagan.export(tmp_path / "none", tmp_path / "a.pt"), [tmp_path / "none"]),
        (ValueError, lambda: cagan.export(tmp_path, tmp_path / "a.pt"), [tmp_path, "snapshots"]),
    ):
        refusal(kind, export, *parts)
    monkeypatch.setattr(torch_module, "GENERATORS", {"paper": torch_module.Paper})
    text = ["architecture: expected one of paper, got vasily", run.snapshots[-1]]
    refusal(ValueError, lambda: cagan.export(run, tmp_path / "a.onnx"), *text)
    assert sorted(tmp_path.iterdir()) == before, "nothing is left behind"
    number = '{"value": "b", "low": null, "high": null, "count": 1}'
    evaluation = run.path / "evaluation.json"
    for wrong in ("no json", "[1]", '{"a": 1}', '{"figures": {"a": 1}}', f'{{"figures": {{"a": {number}}}}}'):
        evaluation.write_text(wrong)
        refusal(ValueError, lambda: cagan.export(run, tmp_path / "a.pt"), evaluation, "evaluate --json")
    entries, arrays = read_tensors(run.snapshots[-1])
    del entries["checksum"]
    arrays.pop("up.3.conv.bias")
    write_tensors(run.snapshots[-1], entries, arrays)
    refusal(ValueError, lambda: cagan.export(run, tmp_path / "a.pt"), run.snapshots[-1], "up.3.conv.bias")
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("ending", "module", "names"),
    [(".onnx", "onnxscript", "onnx and onnxscript"), (".pt", "safetensors", "safetensors")],
)
def test_errors_name_the_missing_package(small, tmp_path, monkeypatch, ending, module, names):
    monkeypatch.setitem(sys.modules, module, None)
    text = f"{names}: expected for cagan.export, found none; pip install 'cagan[export]'"
    refusal(ImportError, lambda: cagan.export(small, tmp_path / f"a{ending}"), text)


def test_the_command(call, small, tmp_path):
    code, out, err = call("export", small.path, tmp_path / "a.pt")
    assert (code, out, err) == (0, f"{tmp_path / 'a.pt'}\n", "")
    assert (tmp_path / "a.md").is_file()
    code, out, err = call("export", small.path, tmp_path / "a.bin")
    assert (code, out) == (1, "")
    assert err.startswith("error: path: expected a name that ends in .onnx")


def test_export_is_quiet(small, tmp_path):
    program = "import sys, cagan; cagan.export(sys.argv[1], sys.argv[2])"
    arguments = [sys.executable, "-W", "error", "-c", program, str(small.path), str(tmp_path / "a.onnx")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
