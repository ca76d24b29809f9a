"""The list of a folder's pairs, `pairs.csv`: read strictly, written whole, with the user's own columns untouched."""

import csv
import io
import os
import tempfile
from pathlib import Path

from . import _cagan

__all__ = ["Listing"]

_FLAGS = {"1": True, "true": True, "yes": True, "x": True, "0": False, "false": False, "no": False, "": False}
_NEEDED = ("id", "human", "article")

Row = dict[str, str]
# Time and size: what tells that somebody else wrote the file.
Stamp = tuple[int, int] | None


class Listing:
    """The rows of `pairs.csv`, or of the folder's pictures where there is no such file yet.

    Args:
        folder: The folder of pairs.

    Raises:
        FileNotFoundError: For a folder that is not there, or without `pairs.csv` and of none of the
            layouts that `cagan.Pairs` knows.
        ValueError: For a broken CSV; the message names the file, the line and the column.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:  # noqa: D107  # the class says it
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise FileNotFoundError(f"{self.folder}: no such folder")
        self.path = self.folder / "pairs.csv"
        self.stamp: Stamp = None
        self._written: bytes | None = None
        self._bom, self._newline = False, "\n"
        if self.path.is_file():
            self._read()
        else:
            self.rows = _list_folder(self.folder)
            self.columns: list[str] = list(self.rows[0]) if self.rows else list(_NEEDED)
        if not self.rows:
            raise ValueError(f"{self.folder}: expected pairs, got none")

    def _read(self) -> None:
        # The stamp first: what is written between the two makes it stale, never too fresh.
        self.stamp = self._stamp()
        self._written = self.path.read_bytes()
        try:
            text = self._written.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = self._written[: error.start].count(b"\n") + 1
            raise ValueError(f"{self.path}: line {line}: expected UTF-8, got other bytes") from None
        self._bom = self._written.startswith(b"\xef\xbb\xbf")
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self.columns, self.rows = self._parse(text)

    def _parse(self, text: str) -> tuple[list[str], list[Row]]:
        lines = csv.reader(io.StringIO(text, newline=""), strict=True)
        table: list[tuple[int, list[str]]] = []
        try:
            for cells in lines:
                table.append((lines.line_num, cells))
        except csv.Error as error:
            raise ValueError(f"{self.path}: line {lines.line_num}: {error}") from None
        columns = table[0][1] if table else []
        missing = [name for name in _NEEDED if name not in columns]
        if missing:
            got = ", ".join(columns) or "none"
            raise ValueError(f"{self.path}: line 1: expected the columns {', '.join(_NEEDED)}, got {got}")
        if len(set(columns)) < len(columns):
            twice = next(name for name in columns if columns.count(name) > 1)
            raise ValueError(f"{self.path}: line 1: expected each column once, got {twice} twice")
        rows: list[Row] = []
        seen: dict[str, int] = {}
        for number, cells in table[1:]:
            if not cells:
                continue
            where = f"{self.path}: line {number}"
            if len(cells) > len(columns):
                raise ValueError(f"{where}: expected {len(columns)} cells, got {len(cells)}")
            row = dict(zip(columns, cells + [""] * (len(columns) - len(cells))))
            _check(row, where)
            if row["id"] in seen:
                raise ValueError(f"{where}: column id: {row['id']!r} is also on line {seen[row['id']]}")
            seen[row["id"]] = number
            rows.append(row)
        return columns, rows

    def add_columns(self, *names: str) -> None:
        """Appends the columns that are not there yet."""
        for name in names:
            if name not in self.columns:
                self.columns.append(name)
                for row in self.rows:
                    row[name] = ""

    def is_stale(self) -> bool:
        """Whether somebody else wrote the file since it was read or written here."""
        return self._stamp() != self.stamp

    def _stamp(self) -> Stamp:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size

    def write(self) -> None:
        """Replaces the file by the rows, at once or not at all; a file that would not change is left alone.

        Raises:
            OSError: Where the folder cannot be written; the old file is then still there.
        """
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self.columns, lineterminator=self._newline)
        writer.writeheader()
        writer.writerows(self.rows)
        content = text.getvalue().encode("utf-8-sig" if self._bom else "utf-8")
        if content != self._written:
            write_whole(self.path, content)
            self._written = content
        self.stamp = self._stamp()


def _check(row: Row, where: str) -> None:
    if not row["id"]:
        raise ValueError(f"{where}: column id: expected a name, got none")
    for name in ("exclude", "reviewed"):
        if row.get(name, "").strip().lower() not in _FLAGS:
            expected = "1, true, yes, x, or 0, false, no, nothing"
            raise ValueError(f"{where}: column {name}: expected {expected}, got {row[name]!r}")
    known = _cagan.curation_reasons()
    for word in reasons(row):
        if word not in known:
            raise ValueError(f"{where}: column reason: expected words of {', '.join(known)}, got {word!r}")


def flag(row: Row, name: str) -> bool:
    """Whether a cell says yes."""
    return _FLAGS[row.get(name, "").strip().lower()]


def reasons(row: Row) -> list[str]:
    """The words of the column `reason`."""
    return row.get("reason", "").replace(";", " ").split()


def standing(row: Row) -> str:
    """What was decided about a pair: "excluded", "kept" (by a person), or still "open"."""
    if flag(row, "exclude"):
        return "excluded"
    return "kept" if flag(row, "reviewed") else "open"


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file so that a reader sees the old content or the new one, also after a crash."""
    # Through a link, so that the link stays.
    path = path.resolve()
    handle, name = tempfile.mkstemp(prefix=".writing-", dir=path.parent)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    # The rename itself must reach the disk too.
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _list_folder(folder: Path) -> list[Row]:
    """The folder's pictures as rows, in whatever layout it has; one without a partner leaves the other cell empty."""
    found = _cagan.list_folder(folder)
    rows = []
    for name, human, article, split in found:
        row = {"id": name}
        for side, path in (("human", human), ("article", article)):
            row[side] = "" if path is None else path.relative_to(folder).as_posix()
            if not row[side].isprintable():
                raise ValueError(f"{folder}: expected printable names, got {row[side]!r}")
        if any(split for *_, split in found):
            row["split"] = split or ""
        rows.append(row)
    return rows
