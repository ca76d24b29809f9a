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


def listed(listing: Path, pairs: _cagan.Pairs) -> list[Row]:
    """Reads a CSV with the columns human and target, ids of `pairs`.

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
        found, others = [], None
        for row in rows:
            for name in ("human", "target"):
                if not row[name]:
                    raise ValueError(f"{listing}: line {rows.line_num}: expected a value for {name}, got none")
            try:
                found.append((pairs[row["human"]], pairs[row["target"]]))
            except KeyError as error:
                if others is None:
                    others = _others(pairs)
                if not {row["human"], row["target"]} <= others.union(pairs.ids):
                    raise ValueError(f"{listing}: line {rows.line_num}: {error.args[0]}") from None
    if not found and not others:
        raise ValueError(f"{listing}: expected rows under the header, got none")
    return found


def _others(pairs: _cagan.Pairs) -> set[str]:
    """Returns the ids that the folder of `pairs` has beside them."""
    if pairs.folder is None:
        return set()
    whole = _cagan.Pairs(pairs.folder, on_error="skip", extra_articles=True)
    left_out = [name for name, *_ in (*whole.excluded, *whole.skipped)]
    return {*whole.ids, *left_out} - set(pairs.ids)


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
