"""For the site: pages that lie outside `docs/`, and links between the repository's files as links between pages."""

import posixpath
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]

# Page of the site -> file of the repository.
PAGES = {
    "index.md": "README.md",
    "benchmarks.md": "benchmarks/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
}
# A link or a picture: the part before the address, the address, its anchor.
LINK = re.compile(r"(!?\[[^\]]*\]\()(?!\w+:)([^)#\s]+)(#[^)\s]+)?\)")


def page_of(file: str) -> str | None:
    """The page of the site for a file of the repository, or None."""
    for page, source in PAGES.items():
        if file == source:
            return page
    if file.startswith("docs/"):
        return file.removeprefix("docs/")
    return file if file.startswith("notebooks/") else None


def relinked(text: str, page: str) -> str:
    """A page's text with links that hold on the site; a link to a file without a page becomes its words."""
    source = PAGES.get(page, f"docs/{page}")

    def link(found: re.Match[str]) -> str:
        before, address, anchor = found.groups()
        target = page_of(posixpath.normpath(posixpath.join(posixpath.dirname(source), address)))
        if target is None:
            return before.lstrip("!")[1:-2]
        return f"{before}{posixpath.relpath(target, posixpath.dirname(page) or '.')}{anchor or ''})"

    return LINK.sub(link, text)


# A link from a notebook to another one, or to a page of the guide.
NOTEBOOK = re.compile(r'(<a\b[^>]*\bhref=")(?:\.\./docs/)?([\w./-]+)\.(ipynb|md)(?=["#])')


def on_page_content(content: str, page: Any, **_: Any) -> str:
    """Rewrites the links of notebooks, whose pages mkdocs does not know as such."""

    def link(found: re.Match[str]) -> str:
        return f"{found[1]}{'../' if found[3] == 'ipynb' else '../../'}{found[2]}/"

    return NOTEBOOK.sub(link, content) if page.file.src_uri.endswith(".ipynb") else content


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that lie elsewhere."""
    from mkdocs.structure.files import File

    for page, source in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Rewrites a page's links."""
    return markdown if page.file.src_uri.endswith(".ipynb") else relinked(markdown, page.file.src_uri)
