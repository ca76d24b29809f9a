"""Rows of people and the articles that they put on: listed in a CSV, or drawn from a seed."""

import csv
import itertools
from pathlib import Path
from typing import TypeAlias

import numpy as np

from .. import _cagan

__all__ = ["Row", "drawn", "listed"]

# A person, and the pair whose article the person puts on.
Row: TypeAlias = "tuple[_cagan.Pair, _cagan.Pair]"


def listed(
    listing: Path, pairs: _cagan.Pairs, *, partly: bool = False, unread: list[tuple[str, str, str]] | None = None
) -> list[Row]:
    """Reads a CSV with the columns human and target, ids of `pairs`. A row that is listed twice comes once.

    Args:
        listing: The CSV.
        pairs: The pairs.
        partly: Whether rows of other pairs of the same folder, as of another split or of excluded ones, are passed
            over. Then the result may be empty.
        unread: Gets (human, target, reason) of the rows whose pairs were skipped when they were read. None makes them
            errors, as unknown ids.

    Rows of pairs that the folder has and that `pairs`, a part of it, has not are left out.

    Raises:
        FileNotFoundError: The CSV is missing.
        ValueError: A column or a value is missing, an id is unknown, or the CSV has no rows.
    """
    with listing.open(newline="", encoding="utf-8-sig") as file:
        rows = csv.DictReader(file)
        missing = {"human", "target"} - set(rows.fieldnames or ())
        if missing:
            got = ", ".join(rows.fieldnames or ()) or "none"
            raise ValueError(f"{listing}: expected the columns human, target, got {got}")
        found: dict[tuple[str, str], Row] = {}
        known: set[str] | None = None
        skipped = {name: f"{path}: {reason}" for name, path, reason in (pairs.skipped if unread is not None else ())}
        for row in rows:
            for name in ("human", "target"):
                if not row[name]:
                    raise ValueError(f"{listing}: line {rows.line_num}: expected a value for {name}, got none")
            ids = (row["human"], row["target"])
            if unread is not None and any(name in skipped for name in ids):
                unread.append((*ids, next(skipped[name] for name in ids if name in skipped)))
                continue
            try:
                found[ids] = (pairs[ids[0]], pairs[ids[1]])
            except KeyError as error:
                if partly and known is None:
                    known = _ids_of_folder(pairs)
                if known is None or not known.issuperset(ids):
                    raise ValueError(f"{listing}: line {rows.line_num}: {error.args[0]}") from None
    if not found and known is None and not unread:
        raise ValueError(f"{listing}: expected rows under the header, got none")
    return list(found.values())


def _ids_of_folder(pairs: _cagan.Pairs) -> set[str]:
    """Lists the ids of all pairs of the folder, also of excluded and skipped ones."""
    if pairs.folder is None:
        return set(pairs.ids)
    try:
        whole = _cagan.Pairs(pairs.folder, on_error="skip", extra_articles=True)
    except (OSError, ValueError):
        whole = pairs
    left_out = (name for name, *_ in [*pairs.excluded, *pairs.skipped, *whole.excluded, *whole.skipped])
    return {*whole.ids, *pairs.ids, *left_out}


def drawn(pairs: _cagan.Pairs, targets: int | None, seed: int) -> list[Row]:
    """Draws `targets` articles for each person; None draws 3, or fewer if there are fewer.

    The draw is a list of distances: each person takes the pairs at these distances further on in the list, so that each
    article comes up equally often. Pairs of the person's own group are passed over.

    Raises:
        ValueError: A person has fewer than `targets` articles of other groups, or nobody has one.
    """
    shifts = np.random.default_rng(seed).permutation(np.arange(1, len(pairs)))
    everybody, rows = [pairs[k] for k in range(len(pairs))], []
    for i, human in enumerate(everybody):
        others = (everybody[(i + int(shift)) % len(pairs)] for shift in shifts)
        strange = (other for other in others if human.group is None or other.group != human.group)
        chosen = list(itertools.islice(strange, 3 if targets is None else targets))
        if targets is not None and len(chosen) < targets:
            raise ValueError(f"targets: expected at most {len(chosen)} for {human.id} and its group, got {targets}")
        rows += [(human, other) for other in chosen]
    if not rows:
        raise ValueError(f"{pairs.folder or 'pairs'}: expected pairs of two groups or more, got one")
    return rows
