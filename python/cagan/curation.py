"""Curation: which pairs to leave out and which belong together, written into `pairs.csv` and shown on a page."""

import html
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import _cagan
from .listing import Listing, Row, flag, reasons, standing

__all__ = ["Curation", "curate"]


@dataclass(frozen=True, repr=False)
class Curation:
    """What `cagan.curate` found.

    Attributes:
        folder: The folder of pairs.
        csv: The list that was written, `pairs.csv`.
        report: The page that was written, or None.
        rows: The rows of the list, by column.
    """

    folder: Path
    csv: Path
    report: Path | None
    rows: list[Row] = field(repr=False)

    @property
    def counts(self) -> dict[str, int]:
        """How many pairs are left out for each reason; a pair with two reasons counts for both."""
        found = Counter(word for row in self.rows if flag(row, "exclude") for word in reasons(row))
        return {word: found[word] for word in _cagan.curation_reasons() if found[word]}

    @property
    def excluded(self) -> int:
        """How many pairs are left out."""
        return sum(flag(row, "exclude") for row in self.rows)

    @property
    def kept(self) -> int:
        """How many pairs stay."""
        return len(self.rows) - self.excluded

    @property
    def groups(self) -> dict[str, list[str]]:
        """The ids of the pairs that share a person or an article, by the name of their group."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            if row.get("group"):
                found.setdefault(row["group"], []).append(row["id"])
        return {name: ids for name, ids in found.items() if len(ids) > 1}

    def __repr__(self) -> str:
        """The counts."""
        why = ", ".join(f"{count} {word}" for word, count in self.counts.items())
        found = f"{len(self.rows)} pairs: {self.kept} kept, {self.excluded} left out{f' ({why})' if why else ''}"
        return f"Curation({str(self.folder)!r}, {found}; {len(self.groups)} groups)"

    def _repr_html_(self) -> str:
        words = _cagan.curation_reasons()
        lines = [("kept", "", self.kept), *((word, words[word], n) for word, n in self.counts.items())]
        body = "".join(f"<tr><td>{word}</td><td>{text}</td><td>{n}</td></tr>" for word, text, n in lines)
        where = html.escape(str(self.report or self.csv))
        return f"<table><thead><tr><th></th><th></th><th>pairs</th></tr></thead>{body}</table><p>{where}</p>"


def curate(
    folder: str | os.PathLike[str],
    *,
    report: bool | str | os.PathLike[str] = True,
    progress: bool | None = None,
    **options: float,
) -> Curation:
    """Find what is wrong with the pairs of a folder; no picture is changed.

    Writes `pairs.csv`: `exclude` is 1 for a pair to leave out, `reason` says why, and `group` is one name for pairs
    that share a person or an article, so that no split parts them. Other columns stay as they are. Where the file is
    there already its exclusions stay, and what was decided in `cagan.review` is not judged again; a pair that is to be
    judged anew needs its `exclude`, `reason` and `reviewed` emptied. The same call again writes the same file.

    Args:
        folder: A folder with `human/` and `article/`, or with a `pairs.csv`.
        report: Where to write the page that shows what was found; True is `curation.html` in the folder, False is
            nowhere.
        progress: Whether to show a progress bar; where it is not given, in a terminal and in Jupyter.
        **options: Thresholds in place of the defaults, which `cagan curate --help` lists: `min_side`, `max_aspect`,
            `min_spread`, `min_plain`, `min_colours`, `hash_distance`, `human_difference`, `article_difference`.

    Returns:
        What was found.

    Raises:
        FileNotFoundError: For a folder that is not there, or without pairs.
        ValueError: For a broken `pairs.csv` (the message names line and column), or a bad threshold.
        TypeError: For a name that is no threshold.
        RuntimeError: If somebody else wrote `pairs.csv` meanwhile; nothing is written then.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/curated", count=8)
        >>> curation = cagan.curate("data/curated", progress=False)
        >>> curation.kept, curation.report.name
        (8, 'curation.html')
    """
    listing = Listing(folder)
    listing.add_columns("group", "exclude", "reason")

    def path(cell: str) -> Path | None:
        return listing.folder / cell if cell else None

    asked: list[tuple[str | os.PathLike[str] | None, str | os.PathLike[str] | None, str]]
    asked = [(path(row["human"]), path(row["article"]), standing(row)) for row in listing.rows]
    with _Bar(progress) as bar:
        findings = _cagan.inspect(asked, options, bar.show)
    _judge(listing.rows, findings)
    _group(listing.rows, findings)
    if listing.is_stale():
        raise RuntimeError(f"{listing.path}: somebody else wrote it meanwhile, nothing was changed; curate again")
    listing.write()

    page = None
    if report is not False:
        page = listing.folder / "curation.html" if report is True else Path(report)
        from .report import write_report

        write_report(page, listing, findings)
    return Curation(listing.folder, listing.path, page, listing.rows)


def _judge(rows: list[Row], findings: list[dict[str, Any]]) -> None:
    """Marks what nobody has decided yet."""
    for row, finding in zip(rows, findings):
        decided = standing(row)
        if decided == "open" and finding["reasons"]:
            row["exclude"] = "1"
            found = [word for word, _ in finding["reasons"]]
            row["reason"] = " ".join(dict.fromkeys([*reasons(row), *found]))
        else:
            row["exclude"] = "1" if decided == "excluded" else ""


def _group(rows: list[Row], findings: list[dict[str, Any]]) -> None:
    """Gives one name to each group of pairs that share a picture or, already, a name; the first name there is stays."""
    parents = [finding["group"] for finding in findings]

    def root(at: int) -> int:
        while parents[at] != at:
            parents[at] = parents[parents[at]]
            at = parents[at]
        return int(at)

    first: dict[str, int] = {}
    for k, row in enumerate(rows):
        if row["group"]:
            a, b = root(k), root(first.setdefault(row["group"], k))
            parents[max(a, b)] = min(a, b)
    members: dict[int, list[Row]] = {}
    for k, row in enumerate(rows):
        members.setdefault(root(k), []).append(row)
    taken = set(first)
    for group in members.values():
        name = next((row["group"] for row in group if row["group"]), "")
        if not name and len(group) > 1:
            name = group[0]["id"]
            while name in taken:
                name += "+"
            taken.add(name)
        for row in group:
            row["group"] = name


class _Bar:
    """One bar for each stage."""

    def __init__(self, progress: bool | None) -> None:
        # A Jupyter kernel's streams are no terminals, and still show bars.
        shows = sys.stderr.isatty() or "ipykernel" in sys.modules
        self._disable = not (shows if progress is None else progress)
        self._stage = ""
        self._bar: Any = None

    def show(self, stage: str, done: int, total: int) -> None:
        # Not above: `runs` imports it first, without its warning.
        from tqdm.auto import tqdm

        if stage != self._stage or self._bar is None:
            self.__exit__()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, unit=" pictures", disable=self._disable, dynamic_ncols=True)
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
