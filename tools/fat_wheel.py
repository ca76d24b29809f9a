"""Put the extension module of another build of the core into a wheel, and widen the torch that the wheel asks for.

    python tools/fat_wheel.py WHEEL FOLDER LIBRARY

FOLDER is one of `BANDS` in `python/cagan/_libtorch.py`, and LIBRARY what cargo built for it (`libcagan.so`). The new
wheel takes the place of the old one. `make wheel` calls this; it needs the package `wheel`.
"""

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path


def bands(package):
    """The folders and versions that the package knows, without the import of torch."""
    for node in ast.parse((package / "_libtorch.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BANDS":
            return ast.literal_eval(node.value)
    raise SystemExit(f"{package / '_libtorch.py'}: no BANDS")


def widen(metadata, known, folders):
    """Asks for each torch of these folders in a wheel's METADATA."""
    minors = [int(version.split(".")[1]) for folder in folders for version in known[folder]]
    assert sorted(minors) == list(range(min(minors), max(minors) + 1)), f"a range would name others than {minors}"
    wanted = f"Requires-Dist: torch>=2.{min(minors)},<2.{max(minors) + 1}"
    text, count = re.subn(r"^Requires-Dist: torch\b(?!.*extra).*$", wanted, metadata.read_text("utf-8"), flags=re.M)
    assert count == 1, f"{metadata}: expected one line that asks for torch, found {count}"
    metadata.write_text(text, encoding="utf-8")


def main():
    """Rewrite the wheel."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("folder")
    parser.add_argument("library", type=Path)
    arguments = parser.parse_args()
    wheel = [sys.executable, "-m", "wheel"]
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([*wheel, "unpack", "--dest", work, arguments.wheel], check=True)
        (content,) = Path(work).iterdir()
        package = content / "cagan"
        known = bands(package)
        if arguments.folder not in known:
            parser.error(f"FOLDER: expected one of {', '.join(filter(None, known))}, found {arguments.folder}")
        (package / arguments.folder).mkdir(exist_ok=True)
        shutil.copy(arguments.library, package / arguments.folder / "_cagan.abi3.so")
        (metadata,) = content.glob("*.dist-info/METADATA")
        widen(metadata, known, [folder for folder in known if (package / folder / "_cagan.abi3.so").is_file()])
        built = Path(work, "built")
        built.mkdir()
        subprocess.run([*wheel, "pack", "--dest-dir", built, content], check=True)
        (new,) = built.iterdir()
        assert new.name == arguments.wheel.name, f"{new.name} is not {arguments.wheel.name}"
        shutil.move(new, arguments.wheel)


if __name__ == "__main__":
    main()
