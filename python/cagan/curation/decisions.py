"""Decisions of a review: on disk before they are answered, and undone in turn."""

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _cagan
from ..locking import locked

__all__ = ["KEYS", "ConflictError", "Review"]

# Key and word, in the order of the page's buttons; "keep" is no reason.
KEYS = {
    "k": "keep",
    "b": "bottoms_only",
    "f": "from_behind",
    "e": "extra_garment",
    "d": "duplicate",
    "o": "other",
}
# The formats that every browser decodes, by a file's first bytes. The core converts all others.
_KNOWN = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"GIF8": "image/gif"}
# Bytes of a file that is sent as it is; a larger one must be a picture that the core decodes.
_MOST = 64 << 20
_CELLS = ("exclude", "reason", "reviewed")
# Pairs of a group whose photos are compared with a duplicate's, and pixels of a side for that.
_NEAR = 64
_SIDE = 32


class ConflictError(Exception):
    """A decision that no longer fits the list on disk."""


class Review:
    """The list under review: decisions, undo, and the file on disk, one at a time.

    Several reviews of one folder, and `cagan.curate`, may run at once: each decision joins the list that is on disk.

    Args:
        folder: The folder of pairs.

    Raises:
        FileNotFoundError: For a missing folder, or one without pairs.
        ValueError: For a broken `pairs.csv`.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:  # noqa: D107  # the class says it
        self._lock = threading.Lock()
        self.listing = _cagan.Listing(folder)
        # Id, the cells before, the cells after.
        self._done: list[tuple[str, dict[str, str], dict[str, str]]] = []

    def _fresh(self) -> None:
        """Reads the list again after another program wrote it, as `cagan.curate` or a spreadsheet."""
        if self.listing.is_stale():
            self.listing = _cagan.Listing(self.listing.folder)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other threads and programs from the list, and reads it again, since equal times hide a change."""
        with self._lock, locked(self.listing.folder):
            self.listing = _cagan.Listing(self.listing.folder)
            yield

    def _row(self, name: str) -> dict[str, str]:
        try:
            return self.listing.row(name)
        except KeyError:
            raise ConflictError(f"{name!r} is no longer in pairs.csv") from None

    def _cells(self, name: str) -> dict[str, str]:
        row = self._row(name)
        return {cell: row.get(cell, "") for cell in _CELLS}

    def _set(self, name: str, cells: dict[str, str]) -> None:
        old = self._cells(name)
        self.listing.set(name, cells)
        try:
            self.listing.write()
        except BaseException:
            self.listing.set(name, old)
            raise

    def decide(self, name: str, decision: str) -> dict[str, Any]:
        """Keeps a pair or leaves it out for a reason. The decision is on disk when this returns.

        Raises:
            ValueError: For a word that is no decision, or a `pairs.csv` that another program broke.
            ConflictError: For a pair that is no longer listed.
            OSError: If the list cannot be written; nothing is decided then.
        """
        if decision not in KEYS.values():
            raise ValueError(f"decision: expected one of {', '.join(KEYS.values())}, got {decision!r}")
        with self._alone():
            before = self._cells(name)
            keep = decision == "keep"
            after = {"exclude": "" if keep else "1", "reason": "" if keep else decision, "reviewed": "1"}
            self._set(name, after)
            self._done.append((name, before, after))
            return self._shown(self._row(name), self.listing.decision(name))

    def undo(self) -> dict[str, Any]:
        """Takes the last decision of this review back. The list is on disk when this returns.

        Raises:
            ConflictError: Without a decision to undo, or after another program changed that pair.
        """
        with self._alone():
            if not self._done:
                raise ConflictError("nothing to undo")
            name, before, after = self._done.pop()
            if self._cells(name) != after:
                raise ConflictError(f"{name!r} was changed by another program since, and stays as it is")
            try:
                self._set(name, before)
            except BaseException:
                self._done.append((name, before, after))
                raise
            return self._shown(self._row(name), self.listing.decision(name))

    def state(self) -> dict[str, Any]:
        """All pairs, in order."""
        with self._lock:
            self._fresh()
            rows = [self._shown(*both) for both in zip(self.listing.rows, self.listing.decisions)]
            return {"rows": rows, "undo": len(self._done)}

    def partner(self, name: str) -> dict[str, str] | None:
        """Finds the pair that stays in a duplicate's place: of its group, the one with the most alike photo.

        Raises:
            ConflictError: For a pair that is not listed.
        """
        with self._lock:
            group = self.listing.groups.get(self._row(name).get("group", ""), [])
            excluded = {row["id"] for row, d in zip(self.listing.rows, self.listing.decisions) if d["excluded"]}
            others = [other for other in group if other != name and other not in excluded][:_NEAR]
            files = {other: self.listing.files_of(other)[0] for other in (name, *others)}
            rows = {other: self._row(other) for other in others}
        known = [other for other, path in files.items() if path is not None]
        looks = dict(zip(known, _looks([files[other] for other in known])))
        own = looks.pop(name, None)
        if own is None:
            return None
        found = {other: _difference(own, look) for other, look in looks.items() if look is not None}
        if not found:
            return None
        nearest = min(found, key=lambda other: found[other])
        return {"id": nearest, "human": rows[nearest]["human"], "article": rows[nearest]["article"]}

    def report(self) -> bytes | None:
        """Reads the page of `cagan.curate` beside the list, or returns None if there is none."""
        path = self.listing.path.with_name("curation.html")
        try:
            return path.read_bytes()
        except FileNotFoundError:
            return None

    @staticmethod
    def _shown(row: dict[str, str], decision: Any) -> dict[str, Any]:
        return {"id": row["id"], "human": row["human"], "article": row["article"], **decision}

    def picture(self, name: str, side: str) -> tuple[bytes, str]:
        """Returns a listed picture in a format that browsers know, and its media type.

        Raises:
            ConflictError: For a pair that is not listed, or without that side.
            FileNotFoundError: For a missing file.
            ValueError: For a file that is no picture.
        """
        with self._lock:
            self._row(name)
            path = self.listing.files_of(name)[side == "article"]
        if path is None:
            raise ConflictError(f"{name!r} has no {side}")
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file")
        with path.open("rb") as file:
            start = file.read(16)
            kind = next((kind for begin, kind in _KNOWN.items() if start.startswith(begin)), None)
            if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
                kind = "image/webp"
            content = start + file.read(_MOST) if kind else b""
            if kind and len(content) <= _MOST:
                return content, kind
        return _cagan.to_png(path), "image/png"


def _looks(paths: list[Any]) -> list[NDArray[np.float32] | None]:
    """Small grey copies of photos, all of one size; None for what cannot be read."""
    from PIL import Image

    return [
        None
        if data is None
        else np.asarray(Image.open(io.BytesIO(data)).convert("L").resize((_SIDE, _SIDE)), np.float32)
        for data in _cagan.thumbnails(paths, 4 * _SIDE)
    ]


def _difference(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """The mean difference in grey levels, of the photo or its mirror image."""
    return float(min(np.abs(one - way).mean() for way in (other, other[:, ::-1])))
