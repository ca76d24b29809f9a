"""Compare what the extension modules take from libtorch with what the libraries of each torch have.

    python tools/torch_bands.py EXTENSION TORCH...

EXTENSION is a wheel, whose builds of the core are compared one by one, or a `_cagan*.so`; each TORCH is a folder of
torch (`.../site-packages/torch`), a wheel of torch, or python for the one that this interpreter finds. Prints a row for
each torch: the version, and the symbols that it lacks for each build. Exits with 1 if a torch lacks some for all of
them. A torch that fits a build may be tried, and tests/python decide: the symbols say nothing of the layout of classes
whose code headers put into the extension (`tools/torch_classes.py`).
"""

import argparse
import importlib.util
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# The libraries that the extension is linked to, and what these bring.
LIBRARIES = ("libc10.so", "libtorch_cpu.so", "libtorch.so")
# What the C and C++ runtimes have.
OWN = re.compile(r"c10|torch|caffe2|2at|at::")


def symbols(library, option):
    """The dynamic symbols of a library without their versions, and without the undefined ones that may be missing."""
    text = subprocess.run(["nm", "-D", option, str(library)], capture_output=True, text=True, check=True).stdout
    lines = (line.split() for line in text.splitlines())
    return {line[-1].split("@")[0] for line in lines if len(line) > 1 and line[-2] not in "wv"}


def taken(extension):
    """The symbols of libtorch that an extension needs."""
    needed = {name for name in symbols(extension, "--undefined-only") if OWN.search(name)}
    assert needed, f"{extension}: needs nothing of libtorch"
    return needed


def unpacked(path, folder, pattern):
    """The files of a wheel that fit a pattern, or the path itself if it is none."""
    if path.suffix != ".whl":
        return [path]
    with zipfile.ZipFile(path) as wheel:
        names = [name for name in wheel.namelist() if re.search(pattern, name)]
        assert names, f"{path}: nothing fits {pattern}"
        return [Path(wheel.extract(name, folder)) for name in names]


def libraries_of(torch, folder):
    """The version of a torch and the paths of its libraries."""
    if str(torch) == "python":
        torch = Path(importlib.util.find_spec("torch").origin).parent
    if torch.suffix == ".whl":
        names = "|".join(re.escape(name) for name in LIBRARIES)
        files = unpacked(torch, folder, rf"^torch/(lib/({names})|version\.py)$")
        torch = next(file for file in files if file.name == "version.py").parent
    text = (torch / "version.py").read_text(encoding="utf-8")
    version = re.search(r"__version__ = ['\"](.+)['\"]", text)[1]
    return version, [torch / "lib" / name for name in LIBRARIES if (torch / "lib" / name).is_file()]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extension", type=Path)
    parser.add_argument("torch", type=Path, nargs="+")
    arguments = parser.parse_args()
    lacking = False
    with tempfile.TemporaryDirectory() as folder:
        extensions = unpacked(arguments.extension, folder, r"^cagan/(.+/)?_cagan.*\.so$")
        needs = [taken(extension) for extension in extensions]
        places = [path.relative_to(folder) if path.is_relative_to(folder) else path for path in extensions]
        heads = [f"missing for {place} ({len(need)} symbols)" for place, need in zip(places, needs)]
        print("| " + " | ".join(["torch", *heads]) + " |\n" + "| --- " * (len(heads) + 1) + "|")
        for k, torch in enumerate(arguments.torch):
            version, libraries = libraries_of(torch, Path(folder) / str(k))
            defined = set().union(*(symbols(library, "--defined-only") for library in libraries))
            missing = [sorted(need - defined) for need in needs]
            lacking |= all(missing)
            print("| " + " | ".join([version, *(" ".join(names) or "none" for names in missing)]) + " |", flush=True)
    sys.exit(int(lacking))


if __name__ == "__main__":
    main()
