"""The page of `cagan.curate`: one self-contained HTML file."""

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from .. import _cagan

__all__ = ["make_report"]

# Rows with pictures in a section, and groups with pictures: they limit the file and keep a browser quick.
_SHOWN = 500
# Pixels along a thumbnail's longer side: 1.5 times its size on the page, for fine screens.
_SIDE = 144
# Articles shown of one group.
_MEMBERS = 6


def make_report(folder: Path, listing: _cagan.Listing, findings: list[dict[str, Any]]) -> bytes:
    """Makes the page on a folder's list."""
    environment = Environment(
        loader=PackageLoader("cagan"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    sections = _sections(listing, findings)
    groups = _groups(listing)
    wanted = {cell: "" for section in sections for entry in section["rows"][:_SHOWN] for cell in _cells(entry) if cell}
    wanted |= {row["article"]: "" for group in groups[:_SHOWN] for row in group["rows"][:_MEMBERS] if row["article"]}
    # A cell may spell its file in another way than the disk.
    files = {
        row[side]: path
        for row, paths in zip(listing.rows, listing.files)
        for side, path in zip(("human", "article"), paths)
        if path is not None
    }
    wanted = {cell: "" for cell in wanted if cell in files}
    pictures = _cagan.thumbnails([files[cell] for cell in wanted], _SIDE)
    for cell, picture in zip(wanted, pictures):
        if picture is not None:
            wanted[cell] = "data:image/jpeg;base64," + base64.b64encode(picture).decode("ascii")
    decisions = listing.decisions
    page = environment.get_template("curation.html").render(
        folder=folder.resolve().name or str(folder),
        total=len(decisions),
        excluded=sum(decision["excluded"] for decision in decisions),
        grouped=sum(len(group["rows"]) for group in groups),
        sections=sections,
        groups=groups,
        pictures=wanted,
        shown=_SHOWN,
        members=_MEMBERS,
    )
    # File names may hold bytes that are no UTF-8.
    return page.encode("utf-8", errors="replace")


def _cells(entry: dict[str, Any]) -> tuple[str, ...]:
    row, partner = entry["row"], entry["partner"]
    return (row["human"], row["article"], partner["human"] if partner else "")


def _sections(listing: _cagan.Listing, findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lists the pairs that are left out by reason: the known reasons in their order, then the user's own."""
    words = {**_cagan.curation_reasons(), "": "left out by hand, without a reason"}
    rows = listing.rows
    sections: dict[str, list[dict[str, Any]]] = {word: [] for word in words}
    for number, (row, decision, finding) in enumerate(zip(rows, listing.decisions, findings), 1):
        if not decision["excluded"]:
            continue
        for word in decision["reasons"] or [""]:
            of = finding["duplicate_of"] if word == "duplicate" else None
            sections.setdefault(word, []).append(
                {
                    "number": number,
                    "row": row,
                    "partner": None if of is None else rows[of],
                    "details": [text for found, text in finding["reasons"] if found == word],
                    "reviewed": decision["reviewed"],
                }
            )
    own = "a reason of your own"
    return [{"word": word, "help": words.get(word, own), "rows": found} for word, found in sections.items() if found]


def _groups(listing: _cagan.Listing) -> list[dict[str, Any]]:
    """Lists the pairs that share a person or an article, the largest group first."""
    rows = {row["id"]: row for row in listing.rows}
    groups = [{"name": name, "rows": [rows[member] for member in ids]} for name, ids in listing.groups.items()]
    return sorted(groups, key=lambda group: -len(group["rows"]))
