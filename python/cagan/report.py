"""The page of `cagan.curate`: one file with everything in it."""

import base64
from pathlib import Path
from typing import Any

from . import _cagan
from .listing import Listing, Row, flag, reasons, write_whole

__all__ = ["write_report"]

# Rows with pictures in a section, and groups with pictures: a browser stays quick, and the file small.
_SHOWN = 500
# Pixels along a thumbnail's longer side: half as many again as the page shows, for fine screens.
_SIDE = 144
# Articles shown of one group.
_MEMBERS = 6


def write_report(path: Path, listing: Listing, findings: list[dict[str, Any]]) -> None:
    """Writes the page.

    Raises:
        OSError: Where it cannot be written.
    """
    # A third of a second that only this function needs.
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("cagan"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    rows = listing.rows
    sections = _sections(rows, findings)
    groups = _groups(rows)
    wanted = {cell: "" for section in sections for entry in section["rows"][:_SHOWN] for cell in _cells(entry) if cell}
    wanted |= {row["article"]: "" for group in groups[:_SHOWN] for row in group["rows"][:_MEMBERS] if row["article"]}
    pictures = _cagan.thumbnails([listing.folder / cell for cell in wanted], _SIDE)
    for cell, picture in zip(wanted, pictures):
        if picture is not None:
            wanted[cell] = "data:image/jpeg;base64," + base64.b64encode(picture).decode("ascii")
    page = environment.get_template("curation.html").render(
        folder=listing.folder.resolve().name or str(listing.folder),
        total=len(rows),
        excluded=sum(flag(row, "exclude") for row in rows),
        grouped=sum(len(group["rows"]) for group in groups),
        sections=sections,
        groups=groups,
        pictures=wanted,
        shown=_SHOWN,
        members=_MEMBERS,
    )
    # Names that are no UTF-8 come from the file system and must not stop the page.
    write_whole(path, page.encode("utf-8", errors="replace"))


def _cells(entry: dict[str, Any]) -> tuple[str, ...]:
    row, partner = entry["row"], entry["partner"]
    return (row["human"], row["article"], partner["human"] if partner else "")


def _sections(rows: list[Row], findings: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What is left out, by reason."""
    words = {**_cagan.curation_reasons(), "": "left out by hand, without a reason"}
    sections: dict[str, list[dict[str, Any]]] = {word: [] for word in words}
    for number, (row, finding) in enumerate(zip(rows, findings), 1):
        if not flag(row, "exclude"):
            continue
        for word in reasons(row) or [""]:
            of = finding["duplicate_of"] if word == "duplicate" else None
            sections[word].append(
                {
                    "number": number,
                    "row": row,
                    "partner": None if of is None else rows[of],
                    "details": [text for found, text in finding["reasons"] if found == word],
                    "reviewed": flag(row, "reviewed"),
                }
            )
    return [{"word": word, "help": words[word], "rows": found} for word, found in sections.items() if found]


def _groups(rows: list[Row]) -> list[dict[str, Any]]:
    """The pairs that share a person or an article, the largest group first."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        if row.get("group"):
            found.setdefault(row["group"], []).append(row)
    groups = [{"name": name, "rows": members} for name, members in found.items() if len(members) > 1]
    return sorted(groups, key=lambda group: -len(group["rows"]))
