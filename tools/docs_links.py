"""For the site: fails the build where a link, an anchor or a picture is missing, or a page is there twice."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


class _Page(HTMLParser):
    """Collects a page's links, the names that a link can lead to, and the text of its article."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: set[str] = set()
        self.text: list[str] = []
        self._depth = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Notes a tag's addresses and names."""
        given = dict(attributes)
        self._depth += tag == "article"
        self.names |= {value for key in ("id", "name") if (value := given.get(key))}
        for key in ("href", "src"):
            value = given.get(key)
            # A notebook keeps its pictures in the page.
            if value is not None and not value.startswith("data:"):
                self.links.append(value)

    def handle_endtag(self, tag: str) -> None:
        """Notes the end of the article."""
        self._depth -= tag == "article"

    def handle_data(self, data: str) -> None:
        """Notes the article's words."""
        if self._depth:
            self.text.append(data)


def faults(site: Path) -> list[str]:
    """The faults of a built site, one a line."""
    pages = {path: _Page(path.read_text(encoding="utf-8")) for path in sorted(site.rglob("*.html"))}
    found, looked = [], 0
    for path, page in pages.items():
        # The page for addresses that are not there has links from the root.
        if path.name == "404.html":
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            looked += 1
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            target = target / "index.html" if target.is_dir() else target
            where = f"{path.relative_to(site)}: {link}"
            if not target.is_file():
                found.append(f"{where}: no such file")
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].names:
                found.append(f"{where}: no such heading")
    texts: dict[str, Path] = {}
    for path, page in pages.items():
        words = re.sub(r"\s+", " ", " ".join(page.text)).strip()
        if words and texts.setdefault(words, path) != path:
            found.append(f"{path.relative_to(site)}: the same page as {texts[words].relative_to(site)}")
    if not looked:
        found.append(f"{site}: no links were found")
    return found


def on_post_build(config: Any, **_: Any) -> None:
    """Checks the site when it is written."""
    from mkdocs.exceptions import PluginError

    found = faults(Path(config["site_dir"]).resolve())
    if found:
        raise PluginError("\n".join(["the site has faults:", *found]))
