"""What the tests share: tolerances, a set of pairs, a short run, and files taken apart and put together by hand."""

import json
import math
import os
import shutil
import signal
import struct
from pathlib import Path

# Networks this small lose more time to waiting for each other's threads than they gain, tenfold on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# After that: the threads are counted when libtorch is loaded.
import cagan
import numpy as np
import pytest

# A job in the background starts with SIGINT ignored, and its children inherit that: the tests send it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Largest differences between the core and its PyTorch twin: of what the networks return, and of gradients.
FORWARD = 1e-5
GRADIENT = 1e-4


def read_tensors(path):
    """A safetensors file without its library: the header's text entries, and the arrays by name."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + length])
    # One metadata entry, since safetensors writes several in no fixed order.
    entries = json.loads(header.pop("__metadata__")["cagan"])
    arrays = {}
    for name, about in header.items():
        assert about["dtype"] == "F32"
        start, end = about["data_offsets"]
        values = np.frombuffer(data[8 + length + start : 8 + length + end], np.float32)
        arrays[name] = values.reshape(about["shape"]).copy()
    return entries, arrays


def write_tensors(path, entries, arrays):
    """The counterpart of `read_tensors`, for other contents than the checksum is of."""
    entries = {key: value for key, value in entries.items() if key != "checksum"}
    header, start = {"__metadata__": {"cagan": json.dumps(entries)}}, 0
    for name, array in arrays.items():
        end = start + array.nbytes
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(a.tobytes() for a in arrays.values()))


def same_tensors(one, other):
    """Whether two safetensors files hold the same bits under the same names."""
    (_, a), (_, b) = read_tensors(one), read_tensors(other)
    assert a, f"{one} holds tensors"
    return list(a) == list(b) and all(
        a[n].shape == b[n].shape and np.array_equal(a[n].view(np.uint32), b[n].view(np.uint32)) for n in a
    )


def contents(folder):
    """Every file under a folder with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def is_finite(path):
    """Whether all numbers of a safetensors file are finite."""
    _, arrays = read_tensors(path)
    return all(math.isfinite(array.sum(dtype=np.float64)) for array in arrays.values())


def refusal(kind, call, *parts):
    """Asserts that `call` raises exactly `kind` with all parts in one line of message."""
    with pytest.raises(kind) as caught:
        call()
    text = caught.value.args[0] if isinstance(caught.value, KeyError) else str(caught.value)
    assert caught.type is kind
    assert "\n" not in text
    assert "panic" not in text.lower()
    for part in parts:
        assert str(part) in text, f"{part!r} is not in {text!r}"
    return text


@pytest.fixture
def copied(pairs_dir, tmp_path):
    """The pairs, to be spoilt."""
    return shutil.copytree(pairs_dir, tmp_path / "pairs")


@pytest.fixture
def used(run, tmp_path):
    """A run folder, to be trained into."""
    return shutil.copytree(run.path, tmp_path / "used")


@pytest.fixture(scope="session")
def pairs_dir(tmp_path_factory):
    """A folder of 8 pairs of dolls; not to be changed."""
    folder = tmp_path_factory.mktemp("dolls")
    cagan.dolls(folder, count=8, seed=1, size=(64, 64))
    return folder


@pytest.fixture(scope="session")
def pairs(pairs_dir):
    return cagan.Pairs(pairs_dir)


@pytest.fixture(scope="session")
def run(pairs, tmp_path_factory):
    """A run of four steps; not to be changed. On one thread: sums over two differ in their last bits."""
    return cagan.train(pairs, tmp_path_factory.mktemp("run"), "smoke", steps=4, threads=1, progress=False)
