"""The documents: each name, page, link, path, command, option, log key and example in them holds."""

import fnmatch
import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import cagan
import click
import pytest
import yaml
from cagan import plots, tracking
from cagan.cli import cli

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
GUIDE = sorted((DOCS / "guide").glob("*.md"))
PAGES = [REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")] + [*DOCS.rglob("*.md")]


@pytest.fixture
def tool(monkeypatch):
    """Imports a hook of the site."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "tools"))
    return importlib.import_module


def blocks(text, language):
    """The code blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def prose(text):
    """The text without its code blocks."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def spans(text):
    """The texts in backticks."""
    return re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)


# Pages and links


def test_every_public_name_is_in_the_reference():
    pages = "\n".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    named = re.findall(r"^::: cagan\.(\S+)$", pages, re.MULTILINE)
    parts = [f"{part.__name__.removeprefix('cagan.')}.{name}" for part in (plots, tracking) for name in part.__all__]
    expected = [*cagan.__all__, *parts, "torch_module"]
    assert sorted(named) == sorted(expected)


def test_every_page_is_in_the_menu(tool):
    menu = re.findall(r"[\w/-]+\.(?:md|ipynb)", (REPOSITORY / "mkdocs.yml").read_text())
    pages = [*tool("docs_pages").PAGES, *(path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md"))]
    pages += [f"notebooks/{path.name}" for path in (REPOSITORY / "notebooks").glob("*.ipynb")]
    assert sorted(menu) == sorted(pages)
    assert len(pages) > 25
    hooks = re.findall(r"tools/docs_\w+\.py", (REPOSITORY / "mkdocs.yml").read_text())
    assert sorted(hooks) == sorted(f"tools/{path.name}" for path in (REPOSITORY / "tools").glob("docs_*.py"))


def anchors(page):
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def test_links_lead_somewhere():
    looked = 0
    for page in PAGES:
        for address, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)]+))?\)", page.read_text()):
            if address.startswith("http"):
                continue
            target = page.parent / address if address else page
            assert target.exists(), f"{page}: {address}"
            assert not anchor or anchor in anchors(target), f"{page}: {address}#{anchor}"
            looked += 1
    assert looked > 40


def test_links_become_those_of_the_site(tool):
    relinked = tool("docs_pages").relinked
    assert relinked("[a](docs/guide/score.md#x) ![b](docs/b.jpg)", "index.md") == "[a](guide/score.md#x) ![b](b.jpg)"
    assert relinked("[a](../../benchmarks/README.md#x)", "guide/score.md") == "[a](../benchmarks.md#x)"
    assert relinked("![a](../docs/a.jpg) [b](#b)", "benchmarks.md") == "![a](a.jpg) [b](#b)"
    assert relinked("[a](../../README.md) [b](../../notebooks/b.ipynb)", "guide/x.md") == (
        "[a](../index.md) [b](../notebooks/b.ipynb)"
    )
    assert relinked("[the citation](CITATION.cff) [c](https://c.org)", "index.md") == "the citation [c](https://c.org)"


def test_links_between_notebooks_become_those_of_the_site(tool):
    page = SimpleNamespace(file=SimpleNamespace(src_uri="notebooks/01_data.ipynb"))
    content = '<a class="x" href="02_train.ipynb">b</a> <a href="https://a.org/c.ipynb.html">d</a>'
    relinked = tool("docs_pages").on_page_content
    assert relinked(content, page) == content.replace("02_train.ipynb", "../02_train/")
    assert relinked('<a href="../docs/guide/score.md#x">', page) == '<a href="../../guide/score/#x">'


def test_a_built_site_is_checked_for_dead_links_and_pages_that_are_there_twice(tool, tmp_path):
    faults = tool("docs_links").faults
    (tmp_path / "a").mkdir()
    home = '<a href="a/#there">x</a><a href="https://elsewhere.org/x">y</a><img src="data:,"><article>home</article>'
    (tmp_path / "index.html").write_text(home)
    (tmp_path / "a" / "index.html").write_text('<h2 id="there">A</h2><a href="..">home</a><article>page</article>')
    assert faults(tmp_path) == []
    (tmp_path / "b").mkdir()
    other = '<a href="../a/#gone">x</a><a href="../c/">y</a><img src="d.png"><article> page </article>'
    (tmp_path / "b" / "index.html").write_text(other)
    assert faults(tmp_path) == [
        "b/index.html: ../a/#gone: no such heading",
        "b/index.html: ../c/: no such file",
        "b/index.html: d.png: no such file",
        "b/index.html: the same page as a/index.html",
    ]
    for path in tmp_path.rglob("*.html"):
        path.write_text("nothing")
    assert faults(tmp_path) == [f"{tmp_path}: no links were found"]


def test_the_citation_names_both_sources():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == cagan.__version__
    assert {"title", "message", "authors", "license"} <= set(citation)
    assert citation["preferred-citation"]["url"].endswith("1709.04695")
    assert [source["year"] for source in citation["references"]] == [2017]


# Tables that the package gives


def test_tables_have_a_place_and_places_a_table(tool):
    tables = tool("docs_tables")
    places = [name for page in DOCS.rglob("*.md") for name in tables.PLACE.findall(page.read_text())]
    assert sorted(places) == sorted(tables.TABLES)
    assert tables.on_page_markdown("a\n<!-- table: smoke -->\nb").startswith("a\n| setting | smoke |\n")


def test_the_table_of_settings_is_complete(tool):
    table = tool("docs_tables").settings().replace(r"\|", "|").replace("&gt;", ">").replace("&lt;", "<")
    settings = cagan._cagan.settings()
    assert len(re.findall(r"^\| `", table, re.MULTILINE)) == len(settings) > 60
    for setting in settings:
        (row,) = re.findall(rf"^\| `{setting['name']}`.*$", table, re.MULTILINE)
        assert setting["help"] in row
        assert all(f"`{name!r}`" in row for name in setting["choices"])
        assert setting["bounds"] is None or setting["bounds"] in row
        for preset in map(cagan.Config, ("kisekae", "paper", "vasily")):
            if preset.architecture in setting["used_by"]:
                value = preset.to_dict()[setting["name"]]
                value = tuple(value) if isinstance(value, list) else value
                assert f"`{value!r}`<br>{preset.sources()[setting['name']]}" in row, preset.preset


def test_the_page_of_the_command_line_is_complete(tool):
    parts = re.split(r"^## cagan ", tool("docs_tables").commands(), flags=re.MULTILINE)[1:]
    assert [part.split()[0] for part in parts] == list(cli.commands)
    settings = {setting["name"] for setting in cagan._cagan.settings()}
    for part, command in zip(parts, cli.commands.values()):
        options = [option for option in command.params if isinstance(option, click.Option)]
        if command.name == "train":
            options = [option for option in options if option.name not in settings]
            assert "guide/settings.md" in part
        assert len(re.findall(r"^\| `-", part, re.MULTILINE)) == len(options), command.name


# Paths and targets


def test_paths_exist():
    folders = {"src", "python", "tests", "docs", "tools", "notebooks", "benches", "benchmarks", "fuzz", "examples"}
    looked, missing = set(), set()
    for page in PAGES:
        for span in spans(prose(page.read_text())):
            path = span.split(" ")[-1] if span.startswith("python ") else span
            if path.split("/")[0] in folders and "/" in path:
                looked.add(path)
                # A name in brackets is the reader's.
                found = REPOSITORY / path
                if not (found.parent if "<" in path else found).exists():
                    missing.add(f"{page.relative_to(REPOSITORY)}: {path}")
    assert not missing
    assert len(looked) > 50
    assert {"src/config/settings.rs", "src/losses/<name>.rs", "tests/python/reference/"} <= looked


def test_tests_that_the_text_names_exist():
    names = set()
    for page in PAGES:
        names |= set(re.findall(r"`pytest -m \w+ -k (\w+)`", page.read_text()))
    tests = "".join(path.read_text() for path in (REPOSITORY / "tests" / "python").glob("test_*.py"))
    for name in names:
        assert re.search(rf"^def test_\w*{name}", tests, re.MULTILINE), name
    assert len(names) == 2


def test_the_map_of_the_code_is_short_and_in_one_piece():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text()
    rows = re.search(r"^\| idea \| file \|\n\| --- \| --- \|\n((?:\|.*\n)+)", text, re.MULTILINE)[1].splitlines()
    assert 20 <= len(rows) <= 25
    assert all(spans(row) for row in rows)
    recipes = re.findall(r"^\*\*(Add an? .+?)\.\*\*", text, re.MULTILINE)
    assert {"Add a setting", "Add a preset", "Add a loss", "Add a block", "Add a binding"} <= set(recipes)


def test_the_readme_is_one_page():
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 120


# Commands and options


def takes_value(command, name):
    """Whether an option of a command takes a value; None if the command does not have it."""
    for option in command.params:
        if isinstance(option, click.Option) and name in option.opts:
            return not option.is_flag
    return None


def faults(sentence):
    """The faults of a sentence's options: `--x` alone is a flag, `--x VALUE` is not."""
    named, mentions = set(), []
    for span in spans(sentence):
        words = shlex.split(span)
        if words[0] == "cagan" and len(words) > 1 and not words[1].isupper():
            if words[1] not in cli.commands:
                yield f"no command `{words[1]}`"
                continue
            named.add(words[1])
            words = words[2:]
        elif span in cli.commands:
            named.add(span)
            continue
        elif not span.startswith("--"):
            continue
        for word, following in zip(words, [*words[1:], None]):
            if word.startswith("--"):
                mentions.append((word, following is not None and not following.startswith("--")))
    commands = [cli.commands[name] for name in sorted(named)] or [*cli.commands.values()]
    for option, valued in mentions:
        if not any(takes_value(command, option) is valued for command in commands):
            yield f"`{option}` {'with' if valued else 'without'} a value is an option of none of the commands"
    for command in commands if named else ():
        for option in {option for option, _ in mentions}:
            takes = takes_value(command, option)
            if takes is not None and (option, takes) not in mentions:
                yield f"`{option}` of {command.name} {'takes a value' if takes else 'is a flag'}"


def sentences(text):
    """A page's sentences, list items and table rows."""
    parts = re.split(r"\n\s*\n|\n(?=\||- |\d+\. )", prose(text))
    return [sentence for part in parts for sentence in re.split(r"(?<=[.!?])\s", part)]


def test_options_are_told_from_flags():
    assert not list(faults("`train` prints JSON with `--json`, `evaluate` writes it with `--out FILE`"))
    assert len(list(faults("`train`, `evaluate` and `runs` print JSON with `--json FILE`"))) == 4
    assert len(list(faults("`cagan swap MODEL --list`"))) == 2
    assert len(list(faults("the option `--no-such-thing`"))) == 1
    assert len(list(faults("`cagan fly`"))) == 1
    assert not list(faults("`cagan COMMAND --help` and `batch_size` as `--batch-size N`"))


def test_options_in_the_text_exist_and_are_used_as_they_are():
    found, looked = [], 0
    for page in PAGES:
        if page.parent.name == "benchmarks":
            continue  # its options are the scripts'
        for sentence in sentences(page.read_text()):
            looked += "`--" in sentence
            found += [f"{page.relative_to(REPOSITORY)}: {fault}" for fault in faults(sentence)]
    assert not found
    assert looked > 5


def check(words, page):
    """Checks one command of a shell block."""
    if words[0] == "cagan":
        command = cli.commands[words[1]]
        command.make_context(words[1], words[2:])  # fails on an unknown option, a missing value, an argument too many
    elif words[0] == "torchrun":
        check(words[words.index("-m") + 1 :], page)
    elif words[0] == "make":
        targets = re.findall(r"^(\w+):.*## ", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
        assert set(words[1:]) <= set(targets), f"{page}: {words}"
    elif words[0] == "python":
        script = (REPOSITORY / words[1]).read_text()
        assert all(f'"{word}"' in script for word in words if word.startswith("--")), f"{page}: {words}"
    else:
        assert words[:3] == ["pip", "install", "."], f"{page}: {words}"


def test_commands_in_blocks_are_commands():
    looked = {}
    for page in PAGES:
        for line in "".join(blocks(page.read_text(), "sh")).splitlines():
            # Brackets mark optional words.
            words = shlex.split(re.sub(r" \[([^\]]*)\]", r" \1", line), comments=True)
            if words:
                check(words, page)
                looked.setdefault(words[0], []).append(line)
    assert {name: len(lines) > 1 for name, lines in looked.items()} == {
        "cagan": True,
        "make": True,
        "python": True,
        "torchrun": True,
        "pip": False,
    }
    assert any("make demo" in line for line in looked["make"])


# A run's folder


def documented(title):
    """The first column of a section's tables in the page about a run's folder."""
    text = (DOCS / "guide" / "run-folder.md").read_text()
    section = re.search(rf"^#+ {re.escape(title)}$(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)[1]
    cells = re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
    return {span for cell in cells for span in spans(cell)}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each method with all that can be logged."""
    folder = tmp_path_factory.mktemp("runs")
    pairs = cagan.dolls(folder / "dolls", count=8, size=(32, 24), swaps=0)
    every = {"steps": 2, "batch_size": 2, "log_every": 1, "monitor_every": 1, "perceptual_weight": 1.0, "threads": 1}
    extras = ("self_swap", "mask_tv", "mask_binary", "feature", "r1")
    published = {f"{name}_weight": 1.0 for name in extras}
    configs = [
        cagan.Config("smoke", r1_every=1, **published, **every),
        cagan.Config("kisekae", image_size=96, width=32, place_after=0, judge_after=0, full_size_after=2, **every),
    ]
    return [cagan.train(pairs, folder / config.preset, config, progress=False) for config in configs]


def test_every_log_key_is_in_the_guide(runs):
    assert documented("stats.jsonl") == {key for run in runs for line in run.stats for key in line}
    assert documented("monitor.jsonl") == {key for run in runs for line in run.looks for key in line}


def test_every_file_of_a_run_is_in_the_guide(runs):
    patterns = documented("A run's folder")
    assert len(patterns) > 10
    for run in runs:
        files = [path.relative_to(run.path).as_posix() for path in run.path.rglob("*") if path.is_file()]
        assert len(files) > 5
        for file in files:
            assert any(fnmatch.fnmatch(file, pattern) for pattern in patterns), file


# Examples


# Checks the settings of a run of the guide, and trains a short one in its place.
PRELUDE = """
import cagan

train = cagan.train


def short(pairs, run_dir, config=None, **given):
    config = config if isinstance(config, cagan.Config) else cagan.Config(config)
    config.replace(**given)
    return train(pairs, run_dir, "smoke", steps=2, threads=1, progress=False)


cagan.train = short
"""


def test_the_guide_runs_as_written(tmp_path):
    pairs = cagan.dolls(tmp_path / "data", count=12, size=64)
    cagan.train(pairs, tmp_path / "runs" / "first", "smoke", steps=2, threads=1, progress=False)
    for name, array in (("me", pairs[0].human), ("my_shirt", pairs[0].article), ("other_shirt", pairs[1].article)):
        plots.mask_overlay(array, array[:, :, 0]).savefig(tmp_path / f"{name}.jpg")
    parts = [part for page in GUIDE for part in blocks(page.read_text(), "python")]
    assert len(parts) >= 8
    script = tmp_path / "guide.py"
    script.write_text("\n".join([PRELUDE, *parts]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_examples_that_need_more_than_the_tests_have_are_python():
    """Blocks of `py`, unlike those of `python`, need another library or a network."""
    parts = [part for page in PAGES for part in blocks(page.read_text(), "py")]
    assert len(parts) >= 2
    for part in parts:
        compile(part, "a block", "exec")
