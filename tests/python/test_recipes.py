"""The guide's recipes for other servers, where these are installed: each serves swaps as it is written."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from cagan.cli import cli
from helpers import REPOSITORY
from PIL import Image

httpx = pytest.importorskip("httpx")
BLOCKS = re.findall(
    r"^```py\n(.*?)^```$", (REPOSITORY / "docs" / "guide" / "deploy.md").read_text(), re.MULTILINE | re.DOTALL
)


def recipe(library):
    """The one block that imports a library."""
    (found,) = [block for block in BLOCKS if re.search(rf"^(import|from) {library}\b", block, re.MULTILINE)]
    assert len(found.splitlines()) <= 30
    return found


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.fixture
def served(tmp_path, used):
    """Runs a recipe as `mine.py`, beside a folder runs/first, until it answers."""
    processes = []

    def served(block, command, address):
        (tmp_path / "runs").mkdir()
        used.rename(tmp_path / "runs" / "first")
        (tmp_path / "mine.py").write_text(block.replace("/path/to/runs", str(tmp_path / "runs")))
        with (tmp_path / "log.txt").open("w") as log:
            # A session of its own, so that all of its workers end with it.
            process = subprocess.Popen(
                command,
                cwd=tmp_path,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=os.environ | {"BENTOML_DO_NOT_TRACK": "1", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"},
            )
        processes.append(process)
        for _ in range(1800):
            assert process.poll() is None, (tmp_path / "log.txt").read_text()[-3000:]
            try:
                urllib.request.urlopen(address, timeout=5).close()
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
            else:
                break

    yield served
    for process in processes:
        os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def encoded(pairs):
    """The files of a swap, and the swap's picture."""
    files = {}
    for name, array in zip(("human", "worn", "target"), (pairs[0].human, pairs[0].article, pairs[1].article)):
        file = io.BytesIO()
        Image.fromarray(array).save(file, "PNG")
        files[name] = file.getvalue()
    return files


def assert_swapped(content, pairs, run):
    swap = run.swapper("cpu").swap(pairs[0].human, pairs[0].article, pairs[1].article)
    with Image.open(io.BytesIO(content)) as picture:
        assert np.array_equal(np.asarray(picture.convert("RGB")), swap.image)


def test_the_recipes_are_there():
    assert len(BLOCKS) >= 4
    assert "Dockerfile" in (REPOSITORY / "docs" / "guide" / "deploy.md").read_text()
    dockerfile = (REPOSITORY / "Dockerfile").read_text()
    (extra,) = re.findall(r"\.whl\)\[(\w+)\]", dockerfile)
    assert f"\n{extra} = [" in (REPOSITORY / "pyproject.toml").read_text()
    command = json.loads(re.search(r"^CMD (.+)$", dockerfile, re.MULTILINE)[1])
    assert command[0] in cli.commands


def test_litserve(served, free_port, pairs, run):
    pytest.importorskip("litserve")
    block = recipe("litserve").replace("port=8000", f"port={free_port}")
    address = f"http://127.0.0.1:{free_port}"
    served(block, [sys.executable, "mine.py"], f"{address}/health")
    texts = {name: base64.b64encode(content).decode() for name, content in encoded(pairs).items()}
    answer = httpx.post(f"{address}/predict", json=texts, timeout=60)
    assert answer.status_code == 200, answer.text
    assert_swapped(base64.b64decode(answer.json()["image"]), pairs, run)


def test_bentoml(served, free_port, pairs, run):
    pytest.importorskip("bentoml")
    command = [sys.executable, "-m", "bentoml", "serve", "mine:Swaps", "--port", str(free_port), "--host", "127.0.0.1"]
    address = f"http://127.0.0.1:{free_port}"
    served(recipe("bentoml"), command, f"{address}/readyz")
    files = {name: (f"{name}.png", content, "image/png") for name, content in encoded(pairs).items()}
    answer = httpx.post(f"{address}/swap", files=files, timeout=60)
    assert answer.status_code == 200, answer.text
    assert_swapped(answer.content, pairs, run)


def test_ray_serve(served, free_port, pairs, run):
    pytest.importorskip("ray.serve")
    runner = f"from mine import app\nfrom ray import serve\nserve.start(http_options={{'port': {free_port}}})\n"
    start = [sys.executable, "-c", f"{runner}serve.run(app, blocking=True)"]
    address = f"http://127.0.0.1:{free_port}"
    served(recipe("ray"), start, f"{address}/-/healthz")
    # The proxy answers before the application is there.
    for _ in range(600):
        answer = httpx.post(f"{address}/", files=encoded(pairs), timeout=60)
        if answer.status_code != 404:
            break
        time.sleep(0.1)
    assert answer.status_code == 200, answer.text
    assert_swapped(answer.content, pairs, run)
