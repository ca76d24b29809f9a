"""Functions that several test files use: for files of tensors, short runs, swaps, and commands in other processes."""

import atexit
import ctypes
import doctest
import http.server
import inspect
import io
import json
import math
import os
import re
import signal
import struct
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import cagan
import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).parents[2]

# A file name that a page must show as text.
HOSTILE = '"><img src=x onerror=alert(1)>'


# Files


def read_tensors(path):
    """Reads a safetensors file without its library: the header's text entries, and the arrays by name."""
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
    """Writes a safetensors file, without the entry `checksum`, which belongs to other contents."""
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
    """Compares two safetensors files: the same names in the same order, the same bits."""
    (_, a), (_, b) = read_tensors(one), read_tensors(other)
    assert a, f"{one} holds tensors"
    return list(a) == list(b) and all(
        a[n].shape == b[n].shape and np.array_equal(a[n].view(np.uint32), b[n].view(np.uint32)) for n in a
    )


def is_finite(path):
    """Checks that all numbers of a safetensors file are finite."""
    _, arrays = read_tensors(path)
    return all(math.isfinite(array.sum(dtype=np.float64)) for array in arrays.values())


def contents(folder):
    """Reads every file under a folder: name -> bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def only(folder):
    """Returns the path of a folder's one file."""
    (path,) = Path(folder).iterdir()
    return path


def read_png(content):
    """Reads a PNG from a path or from bytes."""
    with Image.open(io.BytesIO(content) if isinstance(content, bytes) else content) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture)


# Errors and examples


def refusal(kind, call, *parts):
    """Asserts that `call` raises exactly `kind`, with a message of one line that contains all parts."""
    with pytest.raises(kind) as caught:
        call()
    text = caught.value.args[0] if isinstance(caught.value, KeyError) else str(caught.value)
    assert caught.type is kind
    assert "\n" not in text
    assert "panic" not in text.lower()
    for part in parts:
        assert str(part) in text, f"{part!r} is not in {text!r}"
    return text


def run_examples(name, thing):
    """Runs the examples in a docstring and returns their number."""
    test = doctest.DocTestParser().get_doctest(inspect.getdoc(thing) or "", {}, name, None, None)
    report = io.StringIO()
    result = doctest.DocTestRunner(verbose=False).run(test, out=report.write)
    assert result.failed == 0, report.getvalue()
    return len(test.examples)


# Runs

# The keys of a line of stats.jsonl, in order.
LOG_KEYS = [
    "step",
    "images_seen",
    "epoch",
    "loss/discriminator",
    "loss/generator",
    "loss/generator/adversarial",
    "loss/generator/identity",
    "loss/generator/cycle",
    "logits/matched",
    "logits/swapped",
    "logits/mismatched",
    "mask/area",
    "time/step_s",
    "time/images_per_s",
]

# Adam at its largest rate and without its second moment: weights become infinite within a few steps on any pictures.
DIVERGING = {"learning_rate": 1, "adam_beta1": 0.99, "adam_beta2": 0, "adam_epsilon": 2.0**-100}

# Writes only the final files of a short run.
RARELY = {"sample_every": 1000, "snapshot_every": 1000, "checkpoint_every": 1000}

# Writes each kind of file at other steps.
OFTEN = {"checkpoint_every": 2, "snapshot_every": 3, "sample_every": 5, "log_every": 1}


def train(pairs, run_dir, **settings):
    """Trains with the preset smoke. On one thread, as the fixture `run`: sums over two differ in their last bits."""
    settings = {"config": "smoke", "progress": False, "threads": 1} | settings
    return cagan.train(pairs, run_dir, **settings)


def train_often(pairs, run_dir, steps=6, **settings):
    """Trains and writes files often."""
    return train(pairs, run_dir, steps=steps, **OFTEN, **settings)


def steps(run_dir):
    """Returns the steps of the log, read as text."""
    return [json.loads(line)["step"] for line in (Path(run_dir) / "stats.jsonl").read_text().splitlines()]


def checkpoints(run_dir):
    """Returns the paths of a run's checkpoints, oldest first."""
    return sorted((Path(run_dir) / "checkpoints").iterdir())


def lasting(run_dir):
    """Reads the files of a run that a stop must not change: without checkpoints, times and the record of resumes."""
    kept = {}
    for name, data in contents(run_dir).items():
        if name.startswith("checkpoints") or name in (".lock", "resumes.jsonl"):
            continue
        if name == "stats.jsonl":
            lines = data.decode().splitlines()
            data = "\n".join(line.split(', "time')[0].split(',"time')[0] for line in lines).encode()
        kept[name] = data
    return kept


def assert_same_end(run_dir, whole):
    """Compares the last checkpoint, snapshot and sample grid of two runs, bit for bit."""
    for folder in ("checkpoints", "snapshots", "samples"):
        mine, theirs = (sorted((Path(path) / folder).iterdir())[-1] for path in (run_dir, whole))
        assert mine.name == theirs.name
        if folder == "samples":
            assert mine.read_bytes() == theirs.read_bytes()
        else:
            assert same_tensors(mine, theirs)


class StopError(Exception):
    """Raised by a test's `on_event`."""


def stop_at(step):
    """Returns an `on_event` that raises `StopError` after that step."""

    def on_event(event, value):
        if (event, value) == ("step", step):
            raise StopError

    return on_event


# Swaps


def random_picture(height=24, width=40, channels=3):
    """Draws a picture of noise, the same at every call."""
    return np.random.default_rng(3).integers(0, 256, (height, width, channels), dtype=np.uint8)


def same_swap(one, other):
    """Compares two swaps: image, mask and paint, bit for bit."""
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in ("image", "mask", "paint"))


def with_mask(run, path, bias, gain=1.0):
    """Loads the run's generator with another last layer for the mask, which is the last of four channels."""
    entries, arrays = read_tensors(run.snapshots[-1])
    (name,) = [name for name in arrays if name.startswith("up.3.") and name.endswith("bias")]
    assert arrays[name].shape == (4,)
    weight = arrays[name.replace("bias", "weight")]
    assert weight.shape[1] == 4
    arrays[name][3] = bias
    weight[:, 3] *= gain
    write_tensors(path, entries, arrays)
    return cagan.Swapper(path)


# Commands


def command(*arguments):
    """Returns the argument list of `cagan` in a process of its own, with warnings as errors."""
    return [sys.executable, "-W", "error", "-c", "from cagan.cli import main; main()", *map(str, arguments)]


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent():
    """Lets the system kill this process when the one that started it ends, however that ends."""
    _LIBC.prctl(1, signal.SIGKILL)


class Server:
    """A command that serves on `address`, in a process of its own, which outlives no test run."""

    def __init__(self, arguments, browser=False, **options):
        self.process = subprocess.Popen(
            [*arguments, *([] if browser else ["--no-browser"])],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=die_with_parent if _LIBC else None,
            **options,
        )
        atexit.register(self.process.kill)
        self.address = self.process.stdout.readline().strip()
        assert self.address, self.process.stderr.read()

    def stop(self, how=signal.SIGINT):
        """Sends a signal, waits, and returns exit code, output and errors."""
        self.process.send_signal(how)
        out, err = self.process.communicate(timeout=30)
        return self.process.returncode, out, err

    def kill(self):
        """Ends the process at once."""
        self.process.kill()
        self.process.communicate()


def another(setting):
    """Returns a value of a setting other than its default, as a row of `_cagan.settings()` allows it."""
    default = setting["default"]
    if setting["kind"] == "flag":
        return not default
    if setting["kind"] == "choice":
        return next(choice for choice in setting["choices"] if choice != default)
    if setting["kind"] in ("count", "moment"):
        if isinstance(default, str):
            return 1
        return (default or 0) + 1
    assert setting["kind"] == "number", setting["name"]
    return 0.125 if default != 0.125 else 0.25


# Pages for one user


def status(address, body=None, **headers):
    """Asks for an address and returns the status of the answer."""
    request = urllib.request.Request(address, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


class _Empty(http.server.BaseHTTPRequestHandler):
    """Answers with an empty page, and prints nothing."""

    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


def assert_admits_its_user_alone(address, rebound):
    """Asserts that a page on this machine refuses strangers: other names, origins and tokens, and a rebound browser."""
    base, token = re.fullmatch(r"(http://127\.0\.0\.1:\d+)/([\w-]{32})/", address).groups()
    port = base.rsplit(":", 1)[1]
    assert status(address) == 200
    assert status(address, Host=f"localhost:{port}", Origin=f"http://localhost:{port}") == 200
    for path in ("/", f"/{token[:-1]}/", f"/{token}x/", "/config", "/state", "/favicon.ico", "/%C3%A9/"):
        assert status(base + path) == 403, path
    for host in (
        "evil.example",
        f"evil.example:{port}",
        f"127.0.0.1.evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:x",
        "",
    ):
        assert status(address, Host=host) == 403, host
    for origin in (
        "null",
        "http://evil.example",
        f"http://evil.example:{port}",
        "http://127.0.0.1:1",
        f"https://127.0.0.1:{port}",
    ):
        assert status(address, Origin=origin) == 403, origin
        assert status(address, b"{}", Origin=origin) == 403, origin
    page = rebound.new_page()
    assert page.goto(f"http://evil.example:{port}/{token}/").status == 403
    # A page of another server asks in its visitor's name.
    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Empty)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    page.goto(f"http://127.0.0.1:{other.server_port}/")
    with page.expect_response(address) as answer:
        page.evaluate("address => fetch(address, {method: 'POST', mode: 'no-cors', body: '1'})", address)
    assert answer.value.status == 403
    page.close()
    other.shutdown()
    other.server_close()


def handed_over(folder, arguments):
    """Runs a page's command with a browser that notes its word. Returns the server and the word."""
    words = folder / "words"
    script = folder / "browser"
    script.write_text(f'#!/bin/sh\nprintf %s "$1" > {words}.new && mv {words}.new {words}\n')
    script.chmod(0o755)
    server = Server(arguments, browser=True, env={**os.environ, "BROWSER": f"{script} %s"})
    deadline = time.monotonic() + 30
    while not words.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return server, words.read_text()


def assert_hands_the_address_over_unseen(folder, arguments):
    """Asserts that the browser's command line, which all users see, has no token, and leads to the page even so."""
    server, word = handed_over(folder, arguments)
    token = server.address.rstrip("/").rsplit("/", 1)[1]
    file = Path(urllib.request.url2pathname(urllib.parse.urlsplit(word).path))
    assert token not in word
    assert f'url={server.address}"' in file.read_text()
    assert (file.stat().st_mode & 0o077, file.parent.stat().st_mode & 0o077) == (0, 0)
    assert server.stop(signal.SIGTERM)[0] == 128 + signal.SIGTERM
    assert not file.exists()
