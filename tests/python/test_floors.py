"""The floors of the core: a file uses its own floor-folder and lower floors, and only `bindings` knows Python."""

import ast
import re
import shutil
from pathlib import Path

import cagan
import pytest
from helpers import REPOSITORY

SOURCE = REPOSITORY / "src"
PACKAGE = Path(cagan.__file__).parent


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
    text = re.sub(r"'(?:\\.|[^'\\])'", "''", text)
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


# Circles inside a folder


def tree(text):
    """Splits a use tree, as `a::{b, c as d}`, into its paths with the names that they get."""
    head, brace, _ = text.partition("{")
    if brace:
        inside = [found for part in group(text, len(head)) if part.strip() for found in tree(part)]
        return [([*re.findall(r"\w+", head), *path], name) for path, name in inside]
    path, _, name = text.partition(" as ")
    segments = [segment for segment in re.findall(r"\w+", path) if path.strip() != "self"]
    return [(segments, name.strip() or "".join(segments[-1:]))]


def rust_uses(source):
    """Reads module -> the modules that it declares or names. Unit tests may name any."""
    files = {}
    for path in sorted(source.rglob("*.rs")):
        parts = path.relative_to(source).with_suffix("").parts
        module = () if parts == ("lib",) else parts[:-1] if parts[-1] == "mod" else parts
        text = re.split(r"^#\[cfg\([^\n]*\btest\b[^\n]*\)\]\s*mod \w+ \{", code(path), flags=re.MULTILINE)[0]
        children = re.findall(r"^\s*(?:pub(?:\([^)]*\))? )?mod (\w+);", text, re.MULTILINE)
        used = [found for use in re.findall(r"\buse ([^;]+);", text) for found in tree(use)]
        rest = re.sub(r"\buse [^;]+;", "", text)
        named = re.findall(r"(?<![\w:])(?:crate|super|self)(?:::\w+)+", rest)
        files[module] = (children, used + [(name.split("::"), "") for name in named])

    def absolute(module, path):
        """Returns a path from the crate's root; None for another crate's."""
        if path[:1] == ["crate"]:
            return path[1:]
        if path[:1] == ["self"]:
            return [*module, *path[1:]]
        above = sum(name == "super" for name in path)
        if above:
            return [*module[: len(module) - above], *path[above:]]
        return [*module, *path] if path and path[0] in files[module][0] else None

    def owner(path):
        """Returns the module that a path leads to, through the names that modules hand on."""
        module = ()
        for place, name in enumerate(path):
            if (*module, name) in files:
                module = (*module, name)
                continue
            for used, alias in files[module][1]:
                further = absolute(module, used) if alias == name else None
                if further is not None:
                    return owner([*further, *path[place + 1 :]])
            break
        return module

    graph = {}
    for module, (children, used) in files.items():
        found = [absolute(module, path) for path, _ in used]
        graph[module] = {(*module, child) for child in children} | {owner(path) for path in found if path is not None}
    return graph


def python_uses(package):
    """Reads module -> the modules of the package that it imports, at its top or in a function."""
    files = {}
    for path in sorted(path for path in package.rglob("*") if path.suffix in (".py", ".pyi")):
        parts = (package.name, *path.relative_to(package).with_suffix("").parts)
        files[parts[:-1] if parts[-1] == "__init__" else parts] = path
    graph = {}
    for module, path in files.items():
        named = []
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                named += [tuple(alias.name.split(".")) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                above = (*module, "")[: -node.level] if path.name == "__init__.py" else module[: -node.level]
                start = (*(above if node.level else ()), *(node.module or "").split("."))
                named += [(*filter(None, start), alias.name) for alias in node.names]
        # The name is a module, or stands in one.
        graph[module] = {name if name in files else name[:-1] for name in named} & set(files)
    return graph


def circles(graph):
    """Returns the groups of modules that reach each other."""

    def reached(start):
        found, left = set(), {start}
        while left:
            left = set().union(*(graph[module] - {module} for module in left)) - found
            found |= left
        return found

    reach = {module: reached(module) for module in graph}
    groups = {frozenset(other for other in found if module in reach[other]) for module, found in reach.items()}
    return sorted(sorted("/".join(module) for module in found) for found in groups if found)


def package_uses(package):
    graph = python_uses(package)
    # The one exception: a run draws its curves in a notebook, and imports them only then.
    graph["cagan", "runs"].remove(("cagan", "plots"))
    return graph


def test_no_circle_in_the_core():
    graph = rust_uses(SOURCE)
    assert circles(graph) == []
    # It read every file of every floor and found what they use.
    assert len(graph) == len(list(SOURCE.rglob("*.rs"))) > 100
    assert {module[0] for module in graph if module} == set(floors(SOURCE))
    assert sum(map(len, graph.values())) > 3 * len(graph)
    # Through the names that `mod.rs` hands on.
    assert ("curation", "reason") in graph["curation", "repeats"]
    assert ("data", "disjoint") in graph["curation", "repeats"]


def test_no_circle_in_the_package():
    graph = package_uses(PACKAGE)
    assert circles(graph) == []
    assert len(graph) == len(list(PACKAGE.rglob("*.py"))) + 1 > 20
    folders = {module[1] for module in graph if len(module) > 2}
    assert folders == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert ("cagan", "curation", "decisions") in graph["cagan", "curation", "server"]


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        ("data/pairs.rs", "use super::split;", ["data/pairs", "data/split"]),
        (
            "data/row.rs",
            "fn f(_: super::Pairs) {}",
            ["data/layouts", "data/listing", "data/pairs", "data/row", "data/sets", "data/shards", "data/texts"],
        ),
        (
            "storage/atomic.rs",
            "use crate::storage::{latest, Snapshot as S};",
            ["storage/atomic", "storage/snapshot", "storage/tensors"],
        ),
        ("curation/show.rs", '// super::here\nconst HERE: &str = "super::here";', None),
        ("curation/show.rs", "fn f() { super::here() }", ["curation", "curation/show"]),
    ],
)
def test_a_circle_in_a_copy_is_found(tmp_path, file, line, expected):
    copy = shutil.copytree(SOURCE, tmp_path / "src")
    path = copy / file
    path.write_text(f"{line}\n{path.read_text()}")
    found = circles(rust_uses(copy))
    assert [circle for circle in found if circle not in circles(rust_uses(SOURCE))] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        (
            "progress.py",
            "def f():\n    from . import curation",
            ["cagan/curation", "cagan/curation/curating", "cagan/progress"],
        ),
        ("curation/decisions.py", "from .server import serve", ["cagan/curation/decisions", "cagan/curation/server"]),
        ("serving.py", "import cagan", ["cagan", "cagan/serving"]),
    ],
)
def test_a_circle_in_a_copy_of_the_package_is_found(tmp_path, file, line, expected):
    copy = shutil.copytree(PACKAGE, tmp_path / "cagan", ignore=shutil.ignore_patterns("*.so"))
    path = copy / file
    path.write_text(f"{path.read_text()}\n{line}\n")
    assert circles(package_uses(copy)) == [expected]
