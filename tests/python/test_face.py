"""The public face: every name is exported, documented and stubbed, and every example runs."""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path

import cagan
from helpers import REPOSITORY, run_examples

STUB = Path(cagan.__file__).with_name("_cagan.pyi")
CORE = [name for name in cagan.__all__ if hasattr(cagan._cagan, name)]


# The names


def test_every_name_is_there_and_documented():
    assert len(set(cagan.__all__)) == len(cagan.__all__) >= 11
    assert cagan.__all__ == sorted(cagan.__all__)
    for name in cagan.__all__:
        assert inspect.getdoc(getattr(cagan, name)), name
    assert cagan.__doc__
    assert cagan.__version__ == cagan.info()["cagan"]


def test_the_package_lists_its_public_names_alone():
    program = "import cagan; print(*(name for name in dir(cagan) if not name.startswith('__')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    modules = ["evaluation", "plots", "torch_module", "tracking"]
    assert done.stdout.split() == sorted([*cagan.__all__, *modules]), done.stderr
    assert {"__all__", "__doc__", "__version__"} <= set(dir(cagan))
    assert not hasattr(cagan, "trian")


def test_an_init_file_defines_nothing():
    paths = sorted(Path(cagan.__file__).parent.rglob("__init__.py"))
    assert len(paths) >= 3
    defined = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.With)
    for path in paths:
        assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, defined)], path


def documented():
    """Yields the name and value of everything public in the package."""
    for name in cagan.__all__:
        thing = getattr(cagan, name)
        yield name, thing
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                if not member.startswith("_"):
                    yield f"{name}.{member}", value


def test_methods_are_documented_and_signatures_are_no_text():
    looked = 0
    for name, thing in documented():
        text = getattr(thing, "__doc__", None)
        if callable(thing):
            assert text, name
            assert str(inspect.signature(thing))
            looked += 1
        # PyO3 writes the signature; a second one would show in `help` as text.
        assert "\n--\n" not in (text or ""), name
    assert looked > 20


def test_the_stub_has_every_name():
    tree = ast.parse(STUB.read_text())
    defined = (node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef))
    # A private name is a type of the stub alone.
    stubbed = {node.name: node for node in defined if not node.name.startswith("_")}
    (exported,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"
    ]
    assert sorted(stubbed) == sorted(exported)
    assert set(CORE) <= set(stubbed)
    assert sorted(stubbed) == sorted(name for name in vars(cagan._cagan) if not name.startswith("_"))
    # The rest is Python, which has its types in its source.
    python = {"Catalogue", "Curation", "Run", "Scores", "SwapError", "app", "asgi", "curate", "evaluate", "export"}
    python |= {"info", "review", "runs", "serve", "swap_table", "team", "train"}
    assert set(cagan.__all__) - set(CORE) == python
    classes = [name for name in CORE if inspect.isclass(getattr(cagan, name))]
    assert len(classes) >= 6
    for name in classes:
        members = {m for m in vars(getattr(cagan, name)) if not m.startswith("_")}
        members |= {
            m
            for m in ("__len__", "__getitem__", "_repr_png_", "_repr_html_", "_restored")
            if m in vars(getattr(cagan, name))
        }
        mine = {node.name for node in stubbed[name].body if isinstance(node, ast.FunctionDef)}
        assert members <= mine, name
        assert {m for m in mine if not m.startswith("__")} <= members, name


# The examples


def test_every_example_in_the_documentation_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = []
    for name, thing in documented():
        if run_examples(name, thing):
            ran.append(name)
    assert len(ran) >= 4
    assert {"Config", "train"} <= set(ran)


def readme_blocks(text):
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_the_readme_runs_as_written(tmp_path):
    blocks = readme_blocks((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    assert blocks, "the README shows some Python"
    # All blocks run in order in one process, as in one notebook.
    script = tmp_path / "readme.py"
    script.write_text("\n".join(blocks), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_blocks_are_found_where_they_stand():
    text = "```python\na = 1\n```\n\n```sh\nls\n```\n```python\nb = 2\nc = 3\n```\n"
    assert readme_blocks(text) == ["a = 1\n", "b = 2\nc = 3\n"]
