"""Curation: finds pairs to leave out and pairs that belong together, writes `pairs.csv` and a page."""

import html
import os
import warnings
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
        csv: The written list.
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
    human: str | None = None,
    article: str | None = None,
    out: str | os.PathLike[str] | None = None,
    report: bool | str | os.PathLike[str] = True,
    progress: bool | None = None,
    **options: float,
) -> Curation:
    """Find the faults of a folder's pairs. No picture is changed, and none is condemned that could not be looked at.

    Writes `pairs.csv`: `exclude` is 1 for a pair to leave out, `reason` holds the reasons, and `group` is one name for
    pairs that share a person or an article and stay on one side of a split. Other columns stay as they are. An existing
    file keeps its exclusions, and decisions of `cagan.review` are not judged again. To have a pair judged anew, empty
    its `exclude`, `reason` and `reviewed`. A second call writes the same file, but for pairs whose files were missing:
    their reason is `missing`, and each call judges them anew.

    Args:
        folder: A folder of pairs in any layout that `cagan.Pairs` knows.
        human: The folder or the pattern of the humans, in place of a layout, as for `cagan.Pairs`. A `pairs.csv` that
            exists decides.
        article: The folder or the pattern of the articles.
        out: The folder for the list and the page, for a set that cannot be written to. `cagan.Pairs` reads the list
            there. Defaults to the folder; for one that cannot be written to, to that of `report`.
        report: The page of findings to write: True is `curation.html` beside the list, False none.
        progress: Whether to show a progress bar (default: in a terminal and in Jupyter).
        **options: Thresholds, of which `cagan curate --help` lists the defaults: `min_side`, `max_aspect`,
            `min_spread`, `min_plain`, `min_colours`, `hash_distance`, `human_difference`, `article_difference`.

    Returns:
        The findings.

    Warns:
        UserWarning: A picture was passed over, `pairs.csv` lacks pairs of `human` and `article`, or the list went to
            the folder of `report`.

    Raises:
        FileNotFoundError: For a missing folder, one without pairs, or one of whose pictures none can be read.
        PermissionError: For a folder that cannot be written to, without `out`.
        ValueError: For a broken `pairs.csv` (the message names line and column), a bad threshold, or one of `human` and
            `article` alone.
        TypeError: For a name that is no threshold.
        RuntimeError: If another program wrote `pairs.csv` meanwhile; nothing is written then.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/curated", count=8)
        >>> curation = cagan.curate("data/curated", progress=False)
        >>> curation.kept, curation.report.name
        (8, 'curation.html')
    """
    path = _list_path(Path(folder), out, report)
    listing = _cagan.Listing(folder, path, human, article)
    # A list one folder further down.
    if path is None and not os.access(listing.path.resolve().parent, os.W_OK):
        raise _unwritable(listing.path.parent)
    with Bar(progress) as bar:
        findings = listing.curate(options, bar.show)
    page, content = None, b""
    if report is not False:
        page = listing.path.with_name("curation.html") if report is True else Path(report)
        # Only this needs jinja2.
        from .report import make_report

        # Its thumbnails take a while: what is stopped before the end changes no file.
        content = make_report(Path(folder), listing, findings)
    with locked(listing.path.parent):
        if listing.is_stale():
            raise RuntimeError(f"{listing.path}: another program wrote it meanwhile, nothing was changed; curate again")
        listing.write()
    if page is not None:
        _cagan.write_atomically(page, content)
    decisions = [decision for decision in listing.decisions if decision["excluded"]]
    found = Counter(word for decision in decisions for word in decision["reasons"])
    # The known words in their order, then the user's own.
    counts = {word: found[word] for word in [*_cagan.curation_reasons(), *found] if found[word]}
    return Curation(Path(folder), listing.path, page, listing.rows, counts, len(decisions), listing.groups)


def _list_path(folder: Path, out: str | os.PathLike[str] | None, report: bool | str | os.PathLike[str]) -> Path | None:
    """Returns the file of the list, or None for that of the folder, before any picture is measured.

    Raises:
        PermissionError: The list cannot be written.
    """
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        return Path(out) / "pairs.csv"
    # A list may be a link to another place.
    target = (folder / "pairs.csv").resolve().parent
    if not folder.is_dir() or os.access(target, os.W_OK):
        return None
    if not isinstance(report, bool):
        found = Path(report).parent / "pairs.csv"
        warnings.warn(f"{folder}: it cannot be written to; the list is {found}", stacklevel=3)
        return found
    raise _unwritable(folder)


def _unwritable(folder: Path) -> PermissionError:
    return PermissionError(f"{folder}: expected a folder that can be written to; out= (--out) takes another one")


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
