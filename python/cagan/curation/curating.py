"""Curation: finds pairs to leave out and pairs that belong together, writes `pairs.csv` and a page."""

import html
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _cagan
from ..locking import locked
from ..progress import new_bar

__all__ = ["Curation", "curate"]


@dataclass(frozen=True, repr=False)
class Curation:
    """The result of `cagan.curate`.

    Attributes:
        folder: The folder of pairs.
        csv: The written list, `pairs.csv`.
        report: The written page, or None.
        rows: The rows of the list, texts by column.
        counts: The number of pairs left out for each reason. A pair with two reasons counts for both.
        excluded: The number of pairs left out.
        groups: The ids of the pairs that share a person or an article, by the name of their group.
    """

    folder: Path
    csv: Path
    report: Path | None
    rows: list[dict[str, str]]
    counts: dict[str, int]
    excluded: int
    groups: dict[str, list[str]]

    @property
    def kept(self) -> int:
        """The number of pairs that stay."""
        return len(self.rows) - self.excluded

    def __repr__(self) -> str:
        """The counts."""
        why = ", ".join(f"{count} {word}" for word, count in self.counts.items())
        found = f"{len(self.rows)} pairs: {self.kept} kept, {self.excluded} left out{f' ({why})' if why else ''}"
        return f"Curation({str(self.folder)!r}, {found}; {len(self.groups)} groups)"

    def _repr_html_(self) -> str:
        words = _cagan.curation_reasons()
        lines = [("kept", "", self.kept), *((word, words.get(word, ""), n) for word, n in self.counts.items())]
        cells = ([html.escape(str(cell)) for cell in line] for line in lines)
        body = "".join(f"<tr><td>{'</td><td>'.join(line)}</td></tr>" for line in cells)
        where = html.escape(str(self.report or self.csv))
        return f"<table><thead><tr><th></th><th></th><th>pairs</th></tr></thead>{body}</table><p>{where}</p>"


def curate(
    folder: str | os.PathLike[str],
    *,
    report: bool | str | os.PathLike[str] = True,
    progress: bool | None = None,
    **options: float,
) -> Curation:
    """Find the faults of a folder's pairs. No picture is changed.

    Writes `pairs.csv`: `exclude` is 1 for a pair to leave out, `reason` holds the reasons, and `group` is one name for
    pairs that share a person or an article and stay on one side of a split. Other columns stay as they are. An existing
    file keeps its exclusions, and decisions of `cagan.review` are not judged again. To have a pair judged anew, empty
    its `exclude`, `reason` and `reviewed`. A second call writes the same file.

    Args:
        folder: A folder with `human/` and `article/`, or with a `pairs.csv`.
        report: The page of findings to write: True is `curation.html` in the folder, False none.
        progress: Whether to show a progress bar (default: in a terminal and in Jupyter).
        **options: Thresholds, of which `cagan curate --help` lists the defaults: `min_side`, `max_aspect`,
            `min_spread`, `min_plain`, `min_colours`, `hash_distance`, `human_difference`, `article_difference`.

    Returns:
        The findings.

    Raises:
        FileNotFoundError: For a missing folder, or one without pairs.
        ValueError: For a broken `pairs.csv` (the message names line and column), or a bad threshold.
        TypeError: For a name that is no threshold.
        RuntimeError: If another program wrote `pairs.csv` meanwhile; nothing is written then.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/curated", count=8)
        >>> curation = cagan.curate("data/curated", progress=False)
        >>> curation.kept, curation.report.name
        (8, 'curation.html')
    """
    listing = _cagan.Listing(folder)
    with Bar(progress) as bar:
        findings = listing.curate(options, bar.show)
    page, content = None, b""
    if report is not False:
        page = listing.folder / "curation.html" if report is True else Path(report)
        # Only this needs jinja2.
        from .report import make_report

        # Its thumbnails take a while: what is stopped before the end changes no file.
        content = make_report(listing, findings)
    with locked(listing.folder):
        if listing.is_stale():
            raise RuntimeError(f"{listing.path}: another program wrote it meanwhile, nothing was changed; curate again")
        listing.write()
    if page is not None:
        _cagan.write_atomically(page, content)
    decisions = [decision for decision in listing.decisions if decision["excluded"]]
    found = Counter(word for decision in decisions for word in decision["reasons"])
    # The known words in their order, then the user's own.
    counts = {word: found[word] for word in [*_cagan.curation_reasons(), *found] if found[word]}
    return Curation(listing.folder, listing.path, page, listing.rows, counts, len(decisions), listing.groups)


class Bar:
    """A progress bar for each stage.

    Args:
        progress: Whether to show it; None shows it in a terminal and in Jupyter.
    """

    def __init__(self, progress: bool | None) -> None:
        self._progress = progress
        self._stage = ""
        self._bar: Any = None

    def show(self, stage: str, done: int, total: int) -> None:
        """Moves the stage's bar."""
        if stage != self._stage:
            self.__exit__()
            self._stage = stage
            self._bar = new_bar(self._progress, total=total, desc=stage, unit=" pictures")
        self._bar.update(done - self._bar.n)

    def __enter__(self) -> "Bar":
        """The bar."""
        return self

    def __exit__(self, *_: object) -> None:
        """Closes the stage's bar."""
        if self._bar is not None:
            self._bar.close()
