"""maturin as the build backend, told which Python's torch to compile against.

torch-sys asks the `python3` on PATH where torch is. Under `some/venv/bin/pip install .` that would be another Python
than the one that runs this.
"""

import importlib.util
import os
import sys
from pathlib import Path

from maturin import *  # noqa: F403

os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
# With it set, torch-sys would ask `python`, which need not exist beside `python3`.
os.environ.pop("VIRTUAL_ENV", None)

# pip's build isolation deletes its torch when the build is done. A folder of its own keeps that torch out of the
# checkout's builds; a value that names the torch makes cargo rebuild torch-sys when it is another one.
os.environ.setdefault("CARGO_TARGET_DIR", str(Path("target", "pip").resolve()))
if torch := importlib.util.find_spec("torch"):
    os.environ["LIBTORCH_USE_PYTORCH"] = str(torch.origin)
