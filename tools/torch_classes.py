"""Compare the C++ classes in the headers of one torch with those of others: sizes, and tables of virtual functions.

    python tools/torch_classes.py SOURCE BUILT TORCH...

SOURCE is `src/native/shim.cpp` or torch-sys's `libtch/torch_api.cpp`; the others are folders of torch
(`.../site-packages/torch`). Prints each class that differs from BUILT, the torch of a build. The code of headers is in
the extension module: an object that it makes on its own stack must have the size that the torch in use fills, and a
virtual function the place where it calls it. Whether it does either is to be read in the code. A torch whose symbols
fit (`tools/torch_bands.py`) may fail here. Needs g++.
"""

import argparse
import re
import subprocess
import tempfile
from pathlib import Path


def classes(source, torch):
    """Each class of torch with its size and its table of virtual functions."""
    include = torch / "include"
    with tempfile.TemporaryDirectory() as folder:
        dump = Path(folder) / "classes"
        command = ["g++", "-std=c++20", "-w", "-fsyntax-only", f"-fdump-lang-class={dump}"]
        paths = [f"-I{include / 'torch/csrc/api/include'}", f"-I{include}"]
        subprocess.run([*command, *paths, source], check=True)
        blocks = dump.read_text().split("\n\n")
    found = {}
    for block in blocks:
        first, *rest = block.split("\n")
        kind, _, name = first.partition(" for ") if first.startswith("Vtable") else first.partition(" ")
        if not re.match(r"(at|c10|torch|caffe2)::", name) or "<lambda" in name:
            continue
        if kind == "Class":
            found[f"size of {name}"] = re.findall(r"size=(\d+)", block)[:1]
        elif kind == "Vtable":
            found[f"virtual functions of {name}"] = [re.sub(r"^\d+\s+", "", line) for line in rest[1:]]
    return found


def told(kind, before, after):
    """What differs, in a line."""
    if kind.startswith("size"):
        return f"{kind}: {before[0]}, {after[0]}"
    place = next((k for k, pair in enumerate(zip(before, after)) if pair[0] != pair[1]), min(len(before), len(after)))
    return f"{kind}: {len(before)}, {len(after)}, alike before number {place}"


def main():
    """Print the differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("built", type=Path)
    parser.add_argument("torch", type=Path, nargs="+")
    arguments = parser.parse_args()
    before = classes(arguments.source, arguments.built)
    for torch in arguments.torch:
        after = classes(arguments.source, torch)
        print(f"{torch}: {len(before.keys() & after.keys())} compared")
        for kind in sorted(before.keys() & after.keys()):
            if before[kind] != after[kind]:
                print(f"  {told(kind, before[kind], after[kind])}")


if __name__ == "__main__":
    main()
