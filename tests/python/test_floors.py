"""The floors of the core: a file uses its own floor-folder and lower floors, and only `bindings` knows Python."""

import ast
import re
import shutil

import pytest
from helpers import REPOSITORY

SOURCE = REPOSITORY / "src"


def floors(source):
    """Reads module -> floor from the table in lib.rs."""
    rows = re.findall(r"^//! \| (\d+) \| (.+?) \|$", (source / "lib.rs").read_text(), re.MULTILINE)
    # Text in brackets explains a row.
    return {name: int(floor) for floor, names in rows for name in re.findall(r"`(\w+)`", re.sub(r" \(.*\)", "", names))}


def reexports(source):
    """Reads name at the crate's root -> its module."""
    found = {}
    for module, names in re.findall(r"^pub use (\w+)::(\w+|\{[^}]+\});", (source / "lib.rs").read_text(), re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"\w+", names), module)
    return found


def code(path):
    """Returns a file's text without comments and strings."""
    text = re.sub(r"//.*", "", path.read_text())
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', text)


def group(text, start):
    """Returns the parts of `{a, b::{c, d}}` that opens at `start`."""
    depth, parts = 0, [""]
    for character in text[start:]:
        depth += {"{": 1, "}": -1}.get(character, 0)
        if depth == 0:
            return parts
        if depth == 1 and character == ",":
            parts.append("")
        elif not (depth == 1 and character == "{"):
            parts[-1] += character
    raise AssertionError("a brace is closed")


def uses(text, modules, depth):
    """Returns the names of the crate's root in a file. `depth`: number of `super::` from the file to the root."""
    found = []
    for match in re.finditer(r"\bcrate::(\w+|\{)", text):
        names = group(text, match.end() - 1) if match[1] == "{" else [match[1]]
        found += [re.match(r"\s*(\w*)", name)[1] for name in names]
    for match in re.finditer(r"\b((?:super::)+)(\w+|\{)", text):
        names = group(text, match.end() - 1) if match[2] == "{" else [match[2]]
        # One more `super::` leads out of an inner `mod tests`.
        if match[1].count("super") >= depth:
            found += [name for name in (re.match(r"\s*(\w*)", n)[1] for n in names) if name in modules]
    return [name for name in found if name]


def violations(source):
    """Returns the broken rules, and the modules and files read."""
    table, names = floors(source), reexports(source)
    broken, seen, files = [], set(), []
    for path in sorted(source.rglob("*.rs")):
        if path == source / "lib.rs":
            continue
        parts = path.relative_to(source).with_suffix("").parts
        module = parts[0]
        files.append(path)
        seen.add(module)
        where = "/".join(parts)
        if module not in table:
            broken.append(f"{where}: {module} has no floor in lib.rs")
            continue
        text = code(path)
        depth = len(parts) - (parts[-1] == "mod")
        for name in uses(text, table, depth):
            used = names.get(name, name)
            if used not in table:
                broken.append(f"{where}: crate::{name} is of no module in lib.rs")
            elif used != module and table[used] >= table[module]:
                broken.append(f"{where}: floor {table[module]} uses {used} on floor {table[used]}")
            elif (module, used) == ("losses", "networks"):
                broken.append(f"{where}: losses take tensors, never networks")
        for name in set(re.findall(r"\b(pyo3|numpy)\b", text)):
            if module != "bindings":
                broken.append(f"{where}: names {name}")
    return broken, seen, files


def test_every_file_keeps_to_its_floor():
    broken, seen, files = violations(SOURCE)
    assert broken == []
    # It read every floor and every folder.
    assert seen == set(floors(SOURCE))
    assert seen == {path.stem for path in SOURCE.iterdir() if path.is_dir() or path.suffix == ".rs"} - {"lib"}
    assert len(files) == len(list(SOURCE.glob("**/*.rs"))) - 1 > 30


def test_the_table_has_every_module_and_no_gap_at_the_ends():
    table = floors(SOURCE)
    declared = re.findall(r"^(?:pub )?mod (\w+);", (SOURCE / "lib.rs").read_text(), re.MULTILINE)
    assert sorted(table) == sorted(declared)
    assert table["error"] == 0
    assert max(table, key=table.get) == "bindings"
    assert len(set(table.values())) >= 6
    assert set(reexports(SOURCE)) >= {"Config", "Error", "Result"}


def test_no_test_file_imports_another():
    """Tests share conftest.py, helpers.py, twins.py and reference/."""
    files = sorted((REPOSITORY / "tests").rglob("test_*.py"))
    modules = {path.stem for path in files}
    assert len(files) > 30
    for path in files:
        imported = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported |= {(node.module or "").split(".")[-1], *(alias.name for alias in node.names)}
        assert imported, path
        assert not imported & modules, f"{path.name}: {sorted(imported & modules)}"


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("config/mod.rs", "use crate::training::Trainer;", "config/mod: floor 1 uses training on floor 6"),
        ("data/draw.rs", "use crate::networks::Swap;", "data/draw: floor 3 uses networks on floor 3"),
        ("inference/mod.rs", "use crate::training::Trainer;", "inference/mod: floor 6 uses training on floor 6"),
        ("inference/mod.rs", "use super::training::Trainer;", "inference/mod: floor 6 uses training on floor 6"),
        ("data/mod.rs", "use super::dolls::pair;", "data/mod: floor 3 uses dolls on floor 3"),
        ("data/draw.rs", "use super::super::dolls;", "data/draw: floor 3 uses dolls on floor 3"),
        ("pixels/mod.rs", "fn f() { crate::storage::latest(); }", "pixels/mod: floor 2 uses storage on floor 2"),
        ("pixels/mod.rs", "use crate::{config, data::{Pair, Pairs}};", "pixels/mod: floor 2 uses data on floor 3"),
        ("error.rs", "use crate::Config;", "error: floor 0 uses config on floor 1"),
        ("losses/cycle.rs", "use crate::networks::Swap;", "losses/cycle: losses take tensors, never networks"),
        (
            "networks/published/paper.rs",
            "use crate::losses::cycle;",
            "networks/published/paper: floor 3 uses losses on floor 4",
        ),
        ("training/run.rs", "use pyo3::prelude::*;", "training/run: names pyo3"),
        ("data/pairs.rs", "fn f(a: numpy::PyArray1<u8>) {}", "data/pairs: names numpy"),
        ("storage/mod.rs", "use crate::nowhere::Thing;", "storage/mod: crate::nowhere is of no module in lib.rs"),
        ("cellar/mod.rs", "", "cellar/mod: cellar has no floor in lib.rs"),
    ],
)
def test_a_broken_copy_is_found(tmp_path, file, line, expected):
    copy = shutil.copytree(SOURCE, tmp_path / "src")
    path = copy / file
    path.parent.mkdir(exist_ok=True)
    old = path.read_text() if path.is_file() else ""
    path.write_text(f"{old}\n{line}\n")
    assert violations(copy)[0] == [expected]


def test_comments_and_texts_are_no_uses(tmp_path):
    copy = shutil.copytree(SOURCE, tmp_path / "src")
    path = copy / "pixels" / "mod.rs"
    path.write_text(path.read_text() + '\n/// crate::training\n// use pyo3;\nconst A: &str = "crate::training pyo3";\n')
    assert violations(copy)[0] == []
