"""The notebooks: all of them run in a short form, and are committed with the outputs of a real run."""

import json
import os
import re

import pytest
from helpers import REPOSITORY

# Words before numbers in what the monitor says, which a short run does not hear, and in verdicts, which differ.
WARNED = {"step", "of", "by"}
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
NAMES = [
    "01_data",
    "02_train",
    "03_swap",
    "04_evaluate",
    "05_your_pairs",
    "06_kisekae",
    "07_instance_norm",
    "08_conditional_analogy",
]


def skeleton(cell):
    """What a cell's outputs show, without the values, which depend on a run's length."""
    kinds, words, keys, rows = [], [], set(), []
    for out in cell.outputs:
        data = out.get("data", {})
        # Text comes in as many pieces as a kernel sends, and a warning comes or not.
        if data:
            kinds.append(sorted(data))
        words += [about["alt"] for kind, about in out.get("metadata", {}).items() if kind in data and "alt" in about]
        text = "".join(out.get("text", "")) + "".join(data.get("text/plain", ""))
        keys |= set(re.findall(r"'([\w/ ]+)':", text)) | set(re.findall(r"\b([a-z]+) -?\.?\d", text))
        rows += re.findall(r"<tr>\s*<t[hd][^>]*>(.*?)</t[hd]>", "".join(data.get("text/html", "")), re.DOTALL)
    return kinds, words, keys - WARNED, rows


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One folder for all notebooks: a later one finds the run of an earlier one."""
    return tmp_path_factory.mktemp("notebooks")


def test_every_notebook_is_there():
    assert [path.stem for path in NOTEBOOKS] == NAMES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
# The kernel warns about its own sockets and loops.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_notebook_runs(path, folder, monkeypatch):
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("CAGAN_SMOKE", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", os.environ.get("OMP_NUM_THREADS", "1"))
    notebook = nbformat.read(path, as_version=4)
    committed = [skeleton(cell) for cell in notebook.cells if cell.cell_type == "code"]
    NotebookClient(
        notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert len(code) >= 7
    # What is committed is of today's package: the same kinds of outputs, keys, legends and rows of tables.
    for cell, old in zip(code, committed):
        assert skeleton(cell) == old, f"run `make notebooks` anew; cell:\n{cell.source}"
    assert all(cell.execution_count for cell in code)
    shown = [kind for cell in code for out in cell.outputs for kind in out.get("data", {})]
    assert sum(kind.startswith("image/") for kind in shown) >= 3
    for cell in code:
        for out in cell.outputs:
            assert out.get("name") != "stderr", out["text"]
            assert set(out.get("data", {})) != {"text/plain"} or "Figure(" not in out["data"]["text/plain"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=NAMES)
def test_a_notebook_has_its_outputs(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < 500_000
    cells = json.loads(text)["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert not [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]
    assert not re.findall(r"/(?:home|tmp|work|root|Users)/\S*", re.sub(r'"image/(?:png|jpeg|gif)": "[^"]*"', "", text))
    lines = [line for cell in code for line in "".join(cell["source"]).splitlines()]
    assert max(map(len, lines)) <= 88
    smoke = [cell for cell in cells if "parameters" in cell["metadata"].get("tags", [])]
    assert len(smoke) == 1
