"""The installation: it finds torch in any order of imports, or says why it cannot; the wheel's contents."""

import itertools
import re
import runpy
import shutil
import subprocess
import sys
import zipfile
from importlib import metadata, util
from pathlib import Path

import cagan
import pytest
from cagan import _libtorch
from helpers import REPOSITORY

PACKAGE = Path(cagan.__file__).parent

# One tensor operation on each side.
CORE = """
import cagan, tempfile
with tempfile.TemporaryDirectory() as folder:
    trainer = cagan.Trainer(cagan.dolls(folder, 2, size=64), cagan.Config("smoke", batch_size=1))
    assert 0 < trainer.run(1)["mask/area"] < 1
"""
TORCH = "import torch; assert torch.arange(4).sum().item() == 6"
MAPS = "maps = open('/proc/self/maps').read()"

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")


def run(*lines: str) -> str:
    """Returns the output of a fresh interpreter for these lines."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", "\n".join(lines)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


PROJECT = (REPOSITORY / "pyproject.toml").read_text()


def needed_torch() -> tuple[str, list[str]]:
    """Returns what the package asks pip for, and the versions in it, such as `2.11`."""
    (wanted,) = re.findall(r'"(torch>=2\.\d+,<2\.\d+)"', PROJECT)
    first, end = map(int, re.findall(r"2\.(\d+)", wanted))
    return wanted, [f"2.{minor}" for minor in range(first, end)]


@pytest.mark.parametrize("order", [(CORE, TORCH), (TORCH, CORE)], ids=["cagan first", "torch first"])
def test_imports_in_either_order(order):
    run(*order, CORE, TORCH)


@linux
@pytest.mark.parametrize("order", [(CORE,), (CORE, TORCH), (TORCH, CORE)], ids=["alone", "cagan first", "torch first"])
def test_one_libtorch_with_cuda_where_it_is_installed(order):
    libraries = Path(util.find_spec("torch").origin).parent / "lib"
    names = ("libc10.so", "libtorch_cpu.so", "libtorch_cuda.so")
    installed = [name for name in names if (libraries / name).is_file()]
    assert len(installed) >= 2

    mapped = set(run(*order, MAPS, r"import re; print('\n'.join(re.findall(r'/.*\.so\S*$', maps, re.M)))").split("\n"))
    for name in installed:
        assert [path for path in mapped if Path(path).name == name] == [str((libraries / name).resolve())]


def test_imports_without_torch():
    assert run("import sys, cagan", "print('torch' in sys.modules)") == "False"


@linux
@pytest.mark.parametrize(
    ("version", "found"),
    [
        (None, "found none"),
        ("", "found an unknown version in {folder}"),
        ("__version__ = '2.10.0+cu128'", "found 2.10.0+cu128 in {folder}"),
        ("__version__ = '2.110.0'", "found 2.110.0 in {folder}"),
    ],
    ids=["missing", "unknown", "older", "alike"],
)
def test_names_both_versions_when_torch_does_not_fit(version, found, tmp_path):
    (tmp_path / "cagan").symlink_to(PACKAGE)
    if version is not None:
        (tmp_path / "torch").mkdir()
        (tmp_path / "torch" / "__init__.py").write_text("raise AssertionError('the wrong torch was imported')")
        (tmp_path / "torch" / "version.py").write_text(version)

    message, loaded = run(
        "import os, sys",
        "sys.path[:] = [path for path in sys.path if not os.path.exists(os.path.join(path, 'torch'))]",
        f"sys.path.insert(0, {str(tmp_path)!r})",
        "try: import cagan",
        "except ImportError as error: print(error)",
        MAPS,
        "print('libtorch' in maps or 'libc10' in maps)",
    ).split("\n")

    *others, last = _libtorch.TESTED
    found = found.format(folder=tmp_path / "torch")
    wanted = f"torch>={others[0]},<2.{int(last.split('.')[1]) + 1}"
    assert message == f"torch: expected {', '.join(others)} or {last}, {found}; pip install '{wanted}'"
    assert loaded == "False"


def chosen(tmp_path, version, folders):
    """Returns where `_cagan` is looked for first, in a package with builds in these folders, or why nowhere."""
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "torch" / "version.py").write_text(f"__version__ = '{version}'")
    for folder in ("", *folders):
        (tmp_path / "cagan" / folder).mkdir(exist_ok=True)
        (tmp_path / "cagan" / folder / "_cagan.abi3.so").touch()
    (tmp_path / "cagan" / "__init__.py").write_text("from . import _libtorch")
    shutil.copy(PACKAGE / "_libtorch.py", tmp_path / "cagan")
    path = run(
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import torch",
        "try: import cagan",
        "except ImportError as error: print(error)",
        "else: print(cagan.__path__[0])",
    )
    return path.removeprefix(str(tmp_path / "cagan")).lstrip("/")


@pytest.mark.parametrize(("folder", "versions"), _libtorch.BANDS.items(), ids=str)
def test_the_build_for_the_torch_in_use_is_taken(folder, versions, tmp_path):
    for version in versions:
        (tmp_path / version).mkdir()
        assert chosen(tmp_path / version, f"{version}.1+cpu", filter(None, _libtorch.BANDS)) == folder
    if folder:
        expected = " or ".join(_libtorch.BANDS[""])
        assert chosen(tmp_path, f"{versions[0]}.0", []).startswith(f"torch: expected {expected}, found {versions[0]}.0")


def test_torch_pins_agree():
    pins = re.findall(r'"torch==([^"]+)"', PROJECT)
    assert len(pins) == 1, "expected the build's pin"
    _, versions = needed_torch()
    assert pins[0].rsplit(".", 1)[0] == versions[0], "a build against the oldest uses nothing that the others lack"
    assert list(_libtorch.BANDS[""]) == versions
    asked = [line for line in metadata.requires("cagan") or [] if re.match(r"torch\b", line)]
    # pip sorts the bounds. An installation from before the last change of them asks for others.
    assert len(asked) == 1


@pytest.mark.parametrize("folder", [folder for folder in _libtorch.BANDS if folder])
def test_a_second_build_is_of_the_same_sources_and_crates(folder):
    band = REPOSITORY / "bands" / folder.removeprefix("torch_")

    def manifest(path):
        text = (path / "Cargo.toml").read_text()
        package = re.findall(r"^(?:version|edition|rust-version|license) = .*$", text, re.M)
        rest = text[text.index("[features]") :].split("[[test]]")[0]
        return package, re.sub(r"^(tch|torch-sys) = .*$", r"\1", rest, flags=re.M)

    assert manifest(band) == manifest(REPOSITORY)

    def crates(path):
        found = re.findall(r'^name = "(.+)"\nversion = "(.+)"$', (path / "Cargo.lock").read_text(), re.M)
        return [(name, None if name in ("tch", "torch-sys") else version) for name, version in found]

    assert crates(band) == crates(REPOSITORY)
    torch = f"torch=={_libtorch.BANDS[folder][0]}.0"
    assert torch in (REPOSITORY / "Makefile").read_text()


def test_the_workflow_tests_each_torch_with_scripts_that_are_there():
    import yaml

    text = (REPOSITORY / ".github" / "workflows" / "wheels.yml").read_text()
    jobs = yaml.safe_load(text)["jobs"]
    tested = jobs["test"]["strategy"]["matrix"]["torch"]
    assert [version.rsplit(".", 1)[0] for version in tested] == [*itertools.chain(*_libtorch.BANDS.values())]
    assert "make band" in text, "a wheel of both builds"
    built = {row["target"] for row in jobs["build"]["strategy"]["matrix"]["include"]}
    assert built == {row["target"] for row in jobs["test"]["strategy"]["matrix"]["machine"]}
    assert "Never run" in text
    for path in re.findall(r"tools/\w+\.py", text):
        assert (REPOSITORY / path).is_file(), path


@linux
def test_symbols_that_a_torch_lacks_are_named(tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or shutil.which("nm") is None:
        pytest.skip("there is no C compiler on this machine")
    torch = tmp_path / "torch"
    (torch / "lib").mkdir(parents=True)
    (torch / "version.py").write_text("__version__ = '2.99.0'")

    def built(path, code):
        (tmp_path / "code.c").write_text(code)
        subprocess.run([compiler, "-shared", "-fPIC", "-o", path, tmp_path / "code.c"], check=True)
        return path

    core = built(tmp_path / "_cagan.so", "void torch_a(void), torch_b(void); void f(void) { torch_a(); torch_b(); }")
    built(torch / "lib" / "libc10.so", "void torch_a(void) {}")

    def told():
        script = [sys.executable, REPOSITORY / "tools" / "torch_bands.py", core, torch]
        done = subprocess.run(script, capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout.splitlines()[-1]

    assert told() == (1, "| 2.99.0 | torch_b |")
    built(torch / "lib" / "libtorch_cpu.so", "void torch_b(void) {}")
    assert told() == (0, "| 2.99.0 | none |")

    # A wheel with a build for another torch beside it: one that fits is enough.
    wheel = tmp_path / "cagan.whl"
    with zipfile.ZipFile(wheel, "w") as content:
        content.write(core, "cagan/torch_2_99/_cagan.abi3.so")
        core = built(tmp_path / "other.so", "void torch_c(void); void f(void) { torch_c(); }")
        content.write(core, "cagan/_cagan.abi3.so")
    assert told() == (1, "| 2.99.0 | torch_c |")
    core = wheel
    assert told() == (0, "| 2.99.0 | none | torch_c |")


def test_a_wheel_asks_for_the_torch_of_its_builds(tmp_path):
    tool = runpy.run_path(str(REPOSITORY / "tools" / "fat_wheel.py"))
    assert tool["bands"](PACKAGE) == _libtorch.BANDS
    metadata = tmp_path / "METADATA"
    metadata.write_text("Requires-Dist: torch>=2.11,<2.13\nRequires-Dist: torchmetrics>=1.4 ; extra == 'test'\n")
    known = {"": ("2.11", "2.12"), "torch_2_13": ("2.13", "2.14")}
    for folders, wanted in (known, ">=2.11,<2.15"), ([""], ">=2.11,<2.13"):
        tool["widen"](metadata, known, folders)
        assert metadata.read_text().splitlines()[0] == f"Requires-Dist: torch{wanted}"
        assert metadata.read_text().count("torchmetrics>=1.4 ; extra") == 1
    metadata.write_text("Name: cagan\n")
    with pytest.raises(AssertionError, match="one line that asks for torch, found 0"):
        tool["widen"](metadata, known, known)


@pytest.fixture
def wheel():
    wheels = list((REPOSITORY / "dist").glob("*.whl"))
    if not wheels:
        pytest.skip("no wheel in dist: `make wheel` builds one")
    assert len(wheels) == 1
    return wheels[0]


def test_wheel_fits_every_python_and_carries_what_it_should(wheel):
    assert "-cp310-abi3-" in wheel.name
    names = zipfile.ZipFile(wheel).namelist()
    cores = [name for name in names if name.endswith(".so")]
    assert wheel.stat().st_size < 7e6 + 5e6 * len(cores)
    folders = [str(Path(name).parent.relative_to("cagan")).removeprefix(".") for name in cores]
    minors = [int(version.split(".")[1]) for folder in folders for version in _libtorch.BANDS[folder]]
    (metadata,) = [name for name in names if name.endswith("/METADATA")]
    (asked,) = re.findall(
        r"^Requires-Dist: torch[ (]*([<>=.,\d]+)\)?$", zipfile.ZipFile(wheel).read(metadata).decode(), re.M
    )
    assert sorted(asked.split(",")) == [f"<2.{max(minors) + 1}", f">=2.{min(minors)}"], (
        "the torch of its builds, no other"
    )
    assert {"cagan/__init__.py", "cagan/_cagan.abi3.so", "cagan/_cagan.pyi", "cagan/py.typed"} <= set(names)
    assert {"cagan/templates/curation.html", "cagan/templates/review.html"} <= set(names)
    assert {f"cagan/weights/{name}" for name in ("dolls.safetensors", "dolls.md", "vasily.jpg", "vasily.json")} <= set(
        names
    )
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE-APACHE", "LICENSE-MIT"}
    assert all(name.startswith(("cagan/", "cagan-")) for name in names)


@linux
def test_wheel_needs_torch_but_no_folder_cuda_or_libpython(wheel, tmp_path):
    content = zipfile.ZipFile(wheel)
    for name in [name for name in content.namelist() if name.endswith(".so")]:
        library = content.extract(name, tmp_path)
        dynamic = subprocess.run(["readelf", "-dW", library], capture_output=True, text=True, check=True).stdout
        needed = set(re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic))
        assert {"libtorch_cpu.so", "libc10.so"} <= needed
        assert not [name for name in needed if re.match(r"libtorch_cuda|libc10_cuda|libcu|libpython", name)]
        assert not re.findall(r"\((?:RPATH|RUNPATH)\).*", dynamic)
