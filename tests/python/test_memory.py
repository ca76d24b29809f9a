"""An allocation that fails is a MemoryError, the object goes on as if nothing had been, and a run saves its steps."""

import collections
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# The bindings that allocate tensors. A new one fails the test until the walk starves it.
STARVED = {
    "Loader.__iter__",
    "Loader.__new__",
    "Look.__copy__",
    "Look.__deepcopy__",
    "Look._restored",
    "SwapStream.__iter__",
    "SwapStream.__next__",
    "Swapper.__new__",
    "Swapper.look",
    "Swapper.swap",
    "Swapper._restored",
    "Swapper.snapshot",
    "Swapper.stream",
    "Swapper.swap, a list",
    "Swapper.swap, a look",
    "Trainer.__new__",
    "Trainer.draws",
    "Trainer.gradients",
    "Trainer.load_state",
    "Trainer.noise",
    "Trainer.perceptual",
    "Trainer.run",
    "Trainer.score",
    "Trainer.state",
    "Trainer.swap",
    "Trainer.triplet",
    "Trainer.vectors",
    "run",
}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the library is preloaded as on Linux")
def test_every_binding_outlives_a_failing_allocation(tmp_path):
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("there is no C compiler on this machine")
    library = tmp_path / "starved.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, HERE / "starved.c", "-ldl"], check=True)
    environment = os.environ | {"LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, HERE / "starved.py", library, tmp_path / "walk"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    counts = collections.Counter()
    for line in done.stdout.splitlines():
        name, count = line.split("\t")
        counts[name] += int(count)
    # A copy of a swapper allocates nothing.
    counts = +counts
    assert set(counts) == STARVED
    assert min(counts.values()) >= 2, counts
    assert counts["Trainer.run"] > 100
    assert counts["run"] > 20
