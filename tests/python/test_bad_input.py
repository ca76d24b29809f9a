"""Wrong arguments and files: the exception, the value expected, the value given, the place; no saved file is lost."""

import json
import os
import re
import shutil
import struct
from functools import partial
from pathlib import Path

import cagan
import numpy as np
import pytest
from helpers import contents, read_tensors, refusal, write_tensors


@pytest.fixture
def snapshot(run, tmp_path):
    """A snapshot that a test may change."""
    return Path(shutil.copy(run.snapshots[-1], tmp_path / "snapshot.safetensors"))


# Settings

NUMBERS = ("identity_weight", "cycle_weight", "learning_rate", "adam_beta1", "adam_beta2", "adam_epsilon")
WRONG = (-1, -1e-9, float("nan"), float("inf"), -float("inf"), 1e9, 10**400, "fast", True, None, [1])


@pytest.mark.parametrize("name", [*NUMBERS, "discriminator_noise"])
@pytest.mark.parametrize("value", WRONG, ids=[str(value)[:9] for value in WRONG])
def test_numbers(name, value):
    refusal(ValueError, lambda: cagan.Config("smoke", **{name: value}), f"{name}: expected ", "got ")


@pytest.mark.parametrize("name", ["learning_rate", "adam_epsilon"])
def test_numbers_above_zero(name):
    refusal(ValueError, lambda: cagan.Config("smoke", **{name: 0}), f"{name}: expected above 0", "got 0")


COUNTS = ("batch_size", "epochs", "steps", "log_every", "sample_every", "snapshot_every", "checkpoint_every")


@pytest.mark.parametrize("name", [*COUNTS, "sample_humans", "sample_articles", "width"])
@pytest.mark.parametrize("value", [0, -1, 2.5, "4", float("nan"), 2**70])
def test_counts(name, value):
    refusal(ValueError, lambda: cagan.Config("smoke", **{name: value}), f"{name}: expected ", "got ")


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"image_size": 100}, ["multiples of 32", "96 and 128", "got 100"]),
        ({"image_size": (64, 70)}, ["multiples of 32", "64 and 96", "got 70"]),
        ({"image_size": 31}, ["multiples of 32", "nearest: 32", "got 31"]),
        ({"image_size": (0, 64)}, ["multiples of 32", "got 0"]),
        ({"image_size": 1 << 40}, ["up to 4096", "nearest: 4096"]),
        ({"image_size": (64, 64, 64)}, ["[height, width]", "got [64,64,64]"]),
        ({"image_size": "64x64"}, ["[height, width]"]),
        ({"architecture": "paper", "image_size": 100}, ["multiples of 16", "96 and 112", "got 100"]),
    ],
)
def test_sizes_name_the_nearest_ones(overrides, parts):
    refusal(ValueError, lambda: cagan.Config("smoke", **overrides), "image_size: expected ", *parts)


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        ({"device": "gpu"}, ["device: expected", "`cuda:N`", "`gpu`"]),
        ({"device": "cuda:x"}, ["device: expected", "`cuda:x`"]),
        ({"device": 0}, ["device: expected"]),
        ({"precision": "fp16"}, ["precision: expected one of fp32, tf32, bf16", "fp16"]),
        ({"architecture": "unet"}, ["architecture: expected one of vasily, paper", "unet"]),
        ({"flip": "yes"}, ["flip: expected true or false", "yes"]),
        ({"flip": 1}, ["flip: expected true or false", "1"]),
        ({"generator_copies": "worn"}, ["generator_copies: expected", "worn"]),
        ({"crop_margin": 257}, ["crop_margin: expected 0 to 256", "257"]),
        ({"threads": 5000}, ["threads: expected 0 to 1024", "5000"]),
        ({"seed": -1}, ["seed: expected", "-1"]),
        ({"width": 12}, ["width: expected a multiple of 8", "12"]),
        ({"width": object()}, ["width: expected"]),
        ({"width": {"a": 1}}, ["width: expected"]),
    ],
)
def test_other_settings(overrides, parts):
    refusal(ValueError, lambda: cagan.Config("smoke", **overrides), *parts)


def test_unknown_names_bring_the_nearest():
    refusal(TypeError, lambda: cagan.Config("smoke", lerning_rate=1), "`lerning_rate`", "did you mean `learning_rate`?")
    refusal(TypeError, lambda: cagan.Config("smoke").replace(epoch=1), "`epoch`", "did you mean `epochs`?")
    refusal(ValueError, lambda: cagan.Config("papr"), "unknown preset `papr`", "did you mean `paper`?")
    refusal(TypeError, lambda: cagan.Config(3), "int")
    refusal(TypeError, lambda: cagan.Config.from_json('{"widht": 8}'), "`widht`", "did you mean `width`?")
    for text in ("", "{", "[]", "3", '{"preset": 3}', '{"width": NaN}'):
        refusal(ValueError, lambda text=text: cagan.Config.from_json(text), "expected ", "got ")


def test_unknown_devices(pairs, run, tmp_path):
    devices = cagan.info()["cuda_devices"]
    device = f"cuda:{devices}"
    parts = ("device: expected a CUDA device", f"`{device}`", f"finds {devices}")
    # A config may name a device of another machine; only its use fails.
    config = cagan.Config("smoke", device=device)
    refusal(RuntimeError, lambda: cagan.train(pairs, tmp_path / "run", config, progress=False), *parts)
    refusal(RuntimeError, lambda: cagan.Swapper(run.path, device), *parts)
    refusal(ValueError, lambda: cagan.Swapper(run.path, "gpu"), "device: expected", "`gpu`")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(cagan.info()["cuda_devices"] > 0, reason="there is CUDA here")
def test_cuda_without_a_gpu(pairs, tmp_path):
    call = partial(cagan.train, pairs, tmp_path / "run", "smoke", device="cuda", progress=False)
    refusal(RuntimeError, call, "device: expected a CUDA device for `cuda`", "finds 0")


# Training into a folder that is in use


@pytest.mark.parametrize(
    ("kind", "overrides", "parts"),
    [
        (ValueError, {"batch_size": 9}, ["batch_size (4 there, 9 here)"]),
        (ValueError, {"learning_rate": float("nan")}, ["learning_rate"]),
        (TypeError, {"lerning_rate": 1}, ["`learning_rate`"]),
        (ValueError, {"width": 32, "seed": 3}, ["width (16 there, 32 here)", "seed (0 there, 3 here)"]),
        (ValueError, {"batch_size": 2}, ["batch_size (4 there, 2 here)"]),
        (ValueError, {"architecture": "paper"}, ['architecture ("vasily" there, "paper" here)']),
        (ValueError, {"precision": "bf16"}, ['precision ("fp32" there, "bf16" here)']),
    ],
)
def test_a_call_that_fails_leaves_the_run_as_it_was(pairs, used, kind, overrides, parts):
    before = contents(used)
    refusal(kind, lambda: cagan.train(pairs, used, "smoke", steps=6, progress=False, **overrides), *parts)
    assert contents(used) == before
    assert cagan.Swapper(used).step == 4
    assert cagan.train(pairs, used, "smoke", steps=6, progress=False).stats[-1]["step"] == 6


def test_other_settings_are_listed_with_the_checkpoint_and_a_way_out(pairs, used):
    path = next((used / "checkpoints").iterdir())
    call = partial(cagan.train, pairs, used, "smoke", steps=6, width=32, progress=False)
    text = refusal(ValueError, call, path, "another run folder")
    assert "steps" not in text, "another length is no obstacle"


def test_other_pairs_in_a_run(pairs, used):
    fewer, _ = pairs.split(0.25)
    before = contents(used)
    call = partial(cagan.train, fewer, used, "smoke", steps=6, progress=False)
    refusal(ValueError, call, "pairs (8 there, 6 here)")
    assert contents(used) == before


def test_a_truncated_checkpoint_is_named_and_not_overwritten(pairs, used):
    path = next((used / "checkpoints").iterdir())
    path.write_bytes(path.read_bytes()[:-10])
    before = contents(used)
    call = partial(cagan.train, pairs, used, "smoke", steps=6, progress=False)
    refusal(ValueError, call, path, "expected a whole safetensors file")
    assert contents(used) == before


def test_a_file_in_the_way(pairs, tmp_path):
    (tmp_path / "file").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "samples").write_text("mine")
    for run_dir in (tmp_path / "file", tmp_path / "file" / "below", tmp_path / "run"):
        with pytest.raises(OSError) as caught:
            cagan.train(pairs, run_dir, "smoke", steps=1, progress=False)
        assert str(caught.value.filename).startswith(str(run_dir))
        # Python's own message: `[Errno 20] Not a directory: 'file/samples'`.
        assert f"'{caught.value.filename}'" in str(caught.value)
        assert "PosixPath" not in str(caught.value)
        assert "os error" not in str(caught.value)
    assert (tmp_path / "file").read_text() == (tmp_path / "run" / "samples").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(pairs, used):
    before = contents(used)
    for folder in (used, *(path for path in used.iterdir() if path.is_dir())):
        folder.chmod(0o555)
    try:
        with pytest.raises(PermissionError, match=re.escape(str(used))):
            cagan.train(pairs, used, "smoke", steps=6, progress=False)
    finally:
        for folder in (used, *(path for path in used.iterdir() if path.is_dir())):
            folder.chmod(0o755)
    assert contents(used) == before


def test_a_folder_that_is_no_run(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        refusal(FileNotFoundError, lambda folder=folder: cagan.Run(folder), folder, "expected a run folder", "got none")


# Snapshots


def test_snapshots_that_are_not_there(tmp_path):
    refusal(FileNotFoundError, lambda: cagan.Swapper(tmp_path / "nowhere"), tmp_path / "nowhere", "no such file")
    refusal(ValueError, lambda: cagan.Swapper(tmp_path), tmp_path, "expected a run folder with snapshots", "got none")
    (tmp_path / "snapshots").mkdir()
    refusal(ValueError, lambda: cagan.Swapper(tmp_path), tmp_path, "expected a run folder with snapshots", "got none")


@pytest.mark.parametrize("share", [0, 0.0001, 0.01, 0.3, 0.9, 1])
def test_a_truncated_snapshot(snapshot, share):
    whole = snapshot.read_bytes()
    snapshot.write_bytes(whole[: min(int(len(whole) * share), len(whole) - 1)])
    refusal(ValueError, lambda: cagan.Swapper(snapshot), snapshot, "expected a whole safetensors file")


def test_a_snapshot_with_more_at_its_end(snapshot):
    snapshot.write_bytes(snapshot.read_bytes() + b"more")
    refusal(ValueError, lambda: cagan.Swapper(snapshot), snapshot, "expected a whole safetensors file")


@pytest.mark.parametrize("place", [0, 5, 7, 8, 9, 12])
def test_a_flipped_header(snapshot, place):
    whole = bytearray(snapshot.read_bytes())
    whole[place] ^= 0xFF
    snapshot.write_bytes(whole)
    refusal(ValueError, lambda: cagan.Swapper(snapshot), snapshot)


def test_a_header_with_huge_shapes(snapshot):
    snapshot.write_bytes(struct.pack("<Q", 2**63) + snapshot.read_bytes()[8:])
    refusal(ValueError, lambda: cagan.Swapper(snapshot), snapshot, "expected a whole safetensors file")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"format_version": "999"}, ["format_version: expected 2", "got 999"]),
        ({"format_version": None}, ["format_version: expected 2", "got none"]),
        ({"format": "pt"}, ["format: expected cagan.snapshot", "got pt"]),
        ({"format": None}, ["format: expected cagan.snapshot", "got none"]),
        ({"step": "soon"}, ["step: expected a whole number", "got soon"]),
        ({"step": None}, ["`step`", "none"]),
        ({"config": None}, ["`config`", "none"]),
        ({"config": "{"}, ["expected a JSON object"]),
        ({"config": '{"preset": "smoke", "widht": 16}'}, ["`widht`", "`width`"]),
        ({"config": '{"preset": "smoke", "width": 15}'}, ["width: expected a multiple of 8", "got 15"]),
        ({"config": '{"preset": "smoke", "width": 32}'}, ["expected a tensor of shape", "got ["]),
    ],
)
def test_a_snapshot_with_another_header(snapshot, changes, parts):
    entries, arrays = read_tensors(snapshot)
    for key, value in changes.items():
        entries[key] = value
        if value is None:
            del entries[key]
    write_tensors(snapshot, entries, arrays)
    refusal(ValueError, lambda: cagan.Swapper(snapshot), snapshot, *parts)


def test_a_snapshot_written_by_the_helpers_is_valid(snapshot):
    """Checks that the tests above fail because of the changed entry, not because of the helper."""
    entries, arrays = read_tensors(snapshot)
    write_tensors(snapshot, entries, arrays)
    assert cagan.Swapper(snapshot).step == 4


def test_a_snapshot_with_other_tensors(snapshot):
    entries, arrays = read_tensors(snapshot)
    name = sorted(arrays)[-1]
    shape = ", ".join(map(str, arrays[name].shape))
    without = {key: value for key, value in arrays.items() if key != name}
    cases = [
        (without, [name, f"expected a tensor of shape [{shape}]", "got none"]),
        (arrays | {name: arrays[name].reshape(-1, 1)}, [name, f"[{shape}]", f"got [{arrays[name].size}, 1]"]),
        (arrays | {"head.weight": np.ones(3, np.float32)}, ["unknown parameter `head.weight`"]),
        ({}, ["expected a tensor of shape", "got none"]),
    ]
    for tensors, parts in cases:
        write_tensors(snapshot, entries, tensors)
        refusal(ValueError, lambda: cagan.Swapper(snapshot), snapshot, *parts)


def test_a_snapshot_of_whole_numbers(snapshot):
    data = snapshot.read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    names = [name for name in header if name != "__metadata__"]
    for name in names:
        header[name]["dtype"] = "I16"
        header[name]["shape"] = [*header[name]["shape"], 2]
    text = json.dumps(header).encode()
    snapshot.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])
    refusal(ValueError, lambda: cagan.Swapper(snapshot), snapshot, "expected float32 or float16", "I16")


def test_a_checkpoint_is_no_snapshot(run):
    path = next((run.path / "checkpoints").iterdir())
    refusal(ValueError, lambda: cagan.Swapper(path), path, "expected cagan.snapshot", "got cagan.checkpoint")


# Swapping


@pytest.mark.parametrize("side", [0, 1, 2])
@pytest.mark.parametrize(
    ("wrong", "got"),
    [
        (np.zeros((5, 7, 3), complex), "complex128"),
        (np.zeros((5, 7, 3), np.int64), "int64"),
        (np.zeros((5, 7), np.uint8), "shape [5, 7]"),
        (np.zeros((3, 5, 7), np.uint8), "shape [3, 5, 7]"),
        (np.zeros((5, 7, 4), np.uint8), "shape [5, 7, 4]"),
        (np.zeros((1, 5, 7, 3), np.uint8), "shape [1, 5, 7, 3]"),
        (np.zeros((0, 7, 3), np.uint8), "shape [0, 7, 3]"),
        (3, "int"),
    ],
)
def test_swap_arguments(run, side, wrong, got):
    swapper, good = cagan.Swapper(run.path), np.zeros((5, 7, 3), np.uint8)
    name = ("human", "worn", "target")[side]
    arguments = [good, good, good]
    arguments[side] = wrong
    refusal(ValueError, lambda: swapper.swap(*arguments), f"{name}: expected a path", "[H, W, 3]", f"got {got}")
    arguments[side] = [good, wrong]
    refusal(ValueError, lambda: swapper.swap(*arguments), f"{name}[1]: expected a path", f"got {got}")


def test_swap_without(run):
    swapper, good = cagan.Swapper(run.path), np.zeros((5, 7, 3), np.uint8)
    refusal(ValueError, lambda: swapper.swap(None, good, good), "human: expected a path", "got NoneType")
    refusal(ValueError, lambda: swapper.swap(good, None, good), "worn: expected a picture", "got none")
    refusal(TypeError, lambda: swapper.swap(good, good), "target: expected the picture", "got none")
    for side, name in enumerate(("human", "worn", "target")):
        arguments = [[good, good] for _ in range(3)]
        arguments[side] = [good, None]
        # In a list of worn articles None is an unknown one, which these networks cannot do without.
        expected = ("a picture", "got none") if name == "worn" else ("a path", "got NoneType")
        refusal(ValueError, partial(swapper.swap, *arguments), f"{name}[1]: expected {expected[0]}", expected[1])


def test_swap_lists_and_files(run, pairs, tmp_path):
    swapper, good = cagan.Swapper(run.path), np.zeros((5, 7, 3), np.uint8)
    lengths = partial(swapper.swap, [good] * 3, good, [good] * 2)
    refusal(ValueError, lengths, "target: expected as many pictures as human (3)", "got 2")
    missing = tmp_path / "none.jpg"
    refusal(FileNotFoundError, lambda: swapper.swap(good, missing, good), missing)
    refusal(FileNotFoundError, lambda: swapper.swap([good, good], good, [good, missing]), missing)
    text = tmp_path / "text.jpg"
    text.write_text("no picture")
    refusal(ValueError, lambda: swapper.swap(text, good, good), text, "cannot be decoded")
    with pytest.raises(OSError, match=re.escape(str(tmp_path))):
        swapper.swap(good, good, good).save(tmp_path / "nowhere" / "a.png")
    with pytest.raises(TypeError):
        swapper.swap(good, good)
    # After all that the swapper still works.
    assert swapper.swap(pairs[0].human, good, good).image.shape == (64, 64, 3)


def test_floats_at_any_place_are_read(pairs):
    """A field of records lies at any byte, with strides that are no multiple of four."""
    trainer = cagan.Trainer(pairs, cagan.Config("smoke", threads=1))
    human, worn, target = trainer.triplet(0)
    expected = trainer.swap(human, worn, target)
    packed = np.zeros(human.shape, [("byte", "u1"), ("value", "<f4")])
    packed["value"] = human
    assert packed["value"].strides[-1] == 5
    shifted = np.frombuffer(b"x" + human.tobytes(), np.uint8)[1:].view(np.float32).reshape(human.shape)
    assert not shifted.flags.aligned
    turned = np.ascontiguousarray(human[..., ::-1])[..., ::-1]
    for array in (packed["value"], shifted, turned, human.transpose(3, 2, 1, 0).copy().transpose(3, 2, 1, 0)):
        for got, wanted in zip(trainer.swap(array, worn, target), expected, strict=True):
            np.testing.assert_array_equal(got, wanted)
    refusal(ValueError, lambda: trainer.swap(human.astype(">f4"), worn, target), "human: expected a float32", ">f4")


# Dolls


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"count": 0}, ["count: expected 1 to 1000000", "got 0"]),
        ({"count": 10**12}, ["count: expected 1 to 1000000", "got 1000000000000"]),
        ({"count": -3}, ["count: expected zero or more", "got -3"]),
        ({"count": 2, "seed": -1}, ["seed: expected", "got -1"]),
        ({"count": 2, "size": (8, 64)}, ["size: expected sides of 16 to 1024", "got 8"]),
        ({"count": 2, "size": (64, 5000)}, ["size: expected sides of 16 to 1024", "got 5000"]),
        ({"count": 2, "size": (-64, 64)}, ["size: expected sides of 16 to 1024", "got -64"]),
    ],
)
def test_dolls_arguments(tmp_path, arguments, parts):
    refusal(ValueError, lambda: cagan.dolls(tmp_path / "dolls", **arguments), *parts)
    assert not (tmp_path / "dolls").exists()


@pytest.mark.parametrize("arguments", [{"count": 2.5}, {"count": "2"}, {}, {"count": 2, "size": "64x64"}])
def test_dolls_types(tmp_path, arguments):
    with pytest.raises(TypeError):
        cagan.dolls(tmp_path / "dolls", **arguments)
    assert not (tmp_path / "dolls").exists()


def test_dolls_into_a_file(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="file"):
        cagan.dolls(tmp_path / "file", count=2)
    assert (tmp_path / "file").read_text() == "mine"


# The trainer


def test_trainer_arguments(pairs):
    trainer = cagan.Trainer(pairs, cagan.Config("smoke"))
    good = np.zeros((2, 3, 64, 64), np.float32)
    refusal(ValueError, lambda: trainer.state("critic"), "unknown network `critic`")
    refusal(ValueError, lambda: trainer.run(0), "steps: expected at least 1", "got 0")
    refusal(ValueError, lambda: trainer.swap(good, good, good[:1]), "target: expected as many", "(2)", "got 1")
    refusal(ValueError, lambda: trainer.score(good, good[:, :, :32]), "article: expected shape", "got [2, 3, 32, 64]")
    refusal(ValueError, lambda: trainer.swap(good.astype(float), good, good), "human: expected a float32 array")
    state = trainer.state("generator")
    name = next(iter(state))
    refusal(ValueError, lambda: trainer.load_state("generator", {}), "expected a tensor of shape", "got none")
    wrong = state | {name: state[name].ravel()}
    refusal(ValueError, lambda: trainer.load_state("generator", wrong), name, f"got [{state[name].size}]")
    after = trainer.state("generator")
    assert all(np.array_equal(after[key], state[key]) for key in state)
    with pytest.raises(KeyError, match="did you mean `00001`"):
        pairs["0001"]
