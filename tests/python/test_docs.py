"""The site's sources: every name has its place, every page and notebook is in the menu, every link leads somewhere."""

import re
from pathlib import Path

import cagan
import yaml
from cagan import plots
from cagan.cli import cli

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"


def test_every_public_name_is_in_the_reference():
    pages = "\n".join(path.read_text() for path in (DOCS / "api").glob("*.md"))
    named = re.findall(r"^::: cagan\.(\S+)$", pages, re.MULTILINE)
    expected = [*cagan.__all__, *(f"plots.{name}" for name in plots.__all__), "torch_module"]
    assert sorted(named) == sorted(expected)
    commands = (DOCS / "api" / "cli.md").read_text()
    assert set(re.findall(r"^\| `cagan (\w+)", commands, re.MULTILINE)) == set(cli.commands)


def test_every_page_is_in_the_menu():
    menu = re.findall(r"[\w/]+\.(?:md|ipynb)", (REPOSITORY / "mkdocs.yml").read_text())
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    pages += [f"notebooks/{path.name}" for path in (REPOSITORY / "notebooks").glob("*.ipynb")]
    assert sorted(menu) == sorted(pages)
    assert len(pages) > 10


def test_links_lead_somewhere():
    looked = 0
    for page in [REPOSITORY / "README.md", *DOCS.rglob("*.md")]:
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if not link.startswith("http"):
                assert (page.parent / link).exists(), f"{page}: {link}"
                looked += 1
    assert looked > 8


def test_the_citation_names_both_sources():
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == cagan.__version__
    assert {"title", "message", "authors", "license"} <= set(citation)
    assert citation["preferred-citation"]["url"].endswith("1709.04695")
    assert [source["year"] for source in citation["references"]] == [2017]
