"""Rows of a catalogue in any form: columns, data frames, Arrow, dictionaries; Parquet, CSV and JSON lines."""

import csv
import hashlib
import importlib
import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import _cagan
from ..names import file_name, swap_name

__all__ = [
    "LISTS",
    "OF_PAIRS",
    "Row",
    "Written",
    "count_rows",
    "listed_rows",
    "place_of",
    "rows_of_pairs",
    "table_rows",
]

# What a list's file may end in.
LISTS = (".parquet", ".csv", ".jsonl")
_COLUMNS = ("id", "human", "worn", "target")
_WANTED = ("id", "human", "target")
# The columns of a list whose pictures are ids of pairs.
OF_PAIRS = ("human", "target")


@dataclass
class Row:
    """One swap of a catalogue: the pictures are paths, a file's bytes, or whatever `Swapper.swap` takes."""

    id: str
    human: Any
    worn: Any
    target: Any
    # Why it cannot be made, if that is known before.
    error: str | None = None


@dataclass
class Written:
    """What became of a row.

    Attributes:
        id: The row's id.
        image: The picture's file, from the folder of the catalogue; its bytes if there is no folder; None if it failed.
        mask: The mask's, as `image`.
        error: The type and the message of what failed.
        seconds: The row's share of the time.
    """

    id: str
    image: Any = None
    mask: Any = None
    error: str | None = None
    seconds: float = 0.0


def place_of(name: str, ending: str) -> str:
    """Returns the place of an id's file in the catalogue's folder: two hexadecimal digits of its hash, and the id.

    Unsafe characters of a file name are escaped, and long ids end in a hash: different ids have different names.

    Example:
        >>> from cagan.catalogue.rows import place_of
        >>> place_of("abc123", ".webp"), place_of("../../x", ".webp")
        ('6c/abc123.webp', '9c/%2E.%2F..%2Fx.webp')
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{digest[:2]}/{file_name(name)}{ending}"


def table_rows(rows: Any, folder: Path | None = None) -> Iterator[Row]:
    """Reads rows of a dict of columns, a data frame, an Arrow table or batch, or an iterable of dicts.

    Args:
        rows: Rows with id, human and target, and perhaps worn. An empty cell of worn is an unknown article.
        folder: Where relative paths begin; None for the current folder.

    A row without a human or a target is a row with an error.

    Raises:
        ValueError: A column or an id is missing, or columns differ in length.
        TypeError: The rows have another form.
    """
    for number, cells in enumerate(_dicts(rows)):
        if _is_empty(cells.get("id")):
            raise ValueError(f"rows[{number}]: expected a value for id, got none")
        human, worn, target = (_picture(cells.get(name), folder) for name in _COLUMNS[1:])
        missing = [name for name, picture in (("human", human), ("target", target)) if picture is None]
        error = f"ValueError: {missing[0]}: expected a picture, got none" if missing else None
        yield Row(_text(cells["id"]), human, worn, target, error)


def _dicts(rows: Any) -> Iterator[Mapping[str, Any]]:
    if isinstance(rows, Mapping):
        _check_columns(list(rows))
        columns = {name: list(rows[name]) for name in _COLUMNS if rows.get(name) is not None}
        if len({len(column) for column in columns.values()}) > 1:
            lengths = ", ".join(f"{name} {len(column)}" for name, column in columns.items())
            raise ValueError(f"rows: expected columns of one length, got {lengths}")
        for cells in zip(*columns.values()):
            yield {name: _plain(cell) for name, cell in zip(columns, cells)}
        return
    if hasattr(rows, "to_pylist"):
        # A table or a batch of pyarrow.
        _check_columns(list(rows.schema.names))
        yield from rows.select([name for name in _COLUMNS if name in rows.schema.names]).to_pylist()
        return
    if hasattr(rows, "iter_rows") and hasattr(rows, "columns"):
        # A frame of polars.
        _check_columns(list(rows.columns))
        yield from rows.iter_rows(named=True)
        return
    if hasattr(rows, "itertuples") and hasattr(rows, "columns"):
        # A frame of pandas.
        _check_columns(list(rows.columns))
        yield from _dicts({name: rows[name].tolist() for name in _COLUMNS if name in rows.columns})
        return
    if isinstance(rows, str | bytes | Path) or not isinstance(rows, Iterable):
        kind = type(rows).__name__
        raise TypeError(f"rows: expected columns, a data frame, an Arrow table or a list of dicts, got {kind}")
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise TypeError(f"rows[{number}]: expected a dict with id, human, target, got {type(row).__name__}")
        yield row


def _check_columns(names: list[str], wanted: tuple[str, ...] = _WANTED) -> None:
    if missing := [name for name in wanted if name not in names]:
        raise ValueError(
            f"rows: expected the columns {', '.join(wanted)}, got {', '.join(map(str, names)) or 'none'}"
            f" ({missing[0]} is missing)"
        )


def _plain(cell: Any) -> Any:
    """Turns a scalar of Arrow or of numpy into Python's."""
    if hasattr(cell, "as_py"):
        return cell.as_py()
    return cell.item() if type(cell).__module__ == "numpy" and getattr(cell, "ndim", 1) == 0 else cell


def _is_empty(cell: Any) -> bool:
    if cell is None or (isinstance(cell, str | bytes) and not cell):
        return True
    return (isinstance(cell, float) and math.isnan(cell)) or type(cell).__name__ in ("NAType", "NaTType")


def _text(cell: Any) -> str:
    """An id as text. Data frames turn whole numbers beside empty cells into floats."""
    cell = _plain(cell)
    return str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell)


def _picture(cell: Any, folder: Path | None) -> Any:
    cell = _plain(cell)
    if isinstance(cell, Mapping):
        # A data set's picture: its bytes, or its path.
        cell = next((cell[key] for key in ("bytes", "path") if not _is_empty(cell.get(key))), None)
    if _is_empty(cell):
        return None
    if folder is not None and isinstance(cell, str | Path):
        return folder / cell
    return cell


# Lists in files


def _kind(path: Path) -> str:
    kind = path.suffix.lower()
    if kind not in LISTS:
        raise ValueError(f"{path}: expected a list that ends in .parquet, .csv or .jsonl")
    return kind


def _parquet(path: Path) -> Any:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        text = "pyarrow: expected for .parquet files, found none; pip install 'cagan[parquet]'"
        raise ImportError(text) from None
    try:
        return parquet.ParquetFile(path)
    # pyarrow's own error of a file that is none is a ValueError.
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _lines(path: Path, wanted: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Reads the rows of a CSV or of JSON lines."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        if _kind(path) == ".csv":
            reader = csv.DictReader(file)
            try:
                _check_columns(list(reader.fieldnames or ()), wanted)
            except ValueError as error:
                raise ValueError(f"{path}: {error}") from None
            yield from reader
            return
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"expected an object, got {line.strip()[:40]}")
            except ValueError as error:
                raise ValueError(f"{path}: line {number}: {error}") from None
            yield row


def count_rows(path: Path, wanted: tuple[str, ...] = _WANTED) -> int:
    """Counts the rows of a list that has at least some columns.

    Raises:
        FileNotFoundError: The list is missing.
        ValueError: The file is no list.
        ImportError: pyarrow is missing for a Parquet file.
    """
    if _kind(path) == ".parquet":
        found = _parquet(path)
        _check_columns(found.schema_arrow.names, wanted)
        return int(found.metadata.num_rows)
    return sum(1 for _ in _lines(path, wanted))


def listed_rows(path: Path, start: int, stop: int) -> list[Row]:
    """Reads the rows from `start` to before `stop` of a list. Relative paths begin in the list's folder.

    Raises:
        OSError: The list cannot be read.
        ValueError: As `table_rows`, with the file.
    """
    try:
        return list(table_rows(_cells(path, start, stop, _WANTED), path.absolute().parent))
    except ValueError as error:
        raise ValueError(f"{path}: from row {start} on: {error}") from None


def rows_of_pairs(path: Path, start: int, stop: int, pairs: _cagan.Pairs) -> list[Row]:
    """Reads rows as `listed_rows` does of a list whose humans and targets are ids of pairs.

    Rows without an id get that of `cagan swap`'s files; rows of unknown pairs get an error.

    Raises:
        OSError: The list cannot be read.
        ValueError: It is broken.
    """
    found = []
    for cells in _cells(path, start, stop, OF_PAIRS):
        names = [_text(cells.get(name) or "") for name in OF_PAIRS]
        row = Row(_text(cells.get("id") or swap_name(*names)), None, None, None)
        try:
            human, target = (pairs[name] for name in names)
            row.human, row.worn, row.target = human.human_source, human.article_source, target.article_source
        except KeyError as error:
            row.error = f"KeyError: {error.args[0]}"
        found.append(row)
    return found


def _cells(path: Path, start: int, stop: int, wanted: tuple[str, ...]) -> list[dict[str, Any]]:
    if _kind(path) == ".parquet":
        found, rows, first = _parquet(path), [], 0
        columns = [name for name in _COLUMNS if name in found.schema_arrow.names]
        for group in range(found.metadata.num_row_groups):
            count = found.metadata.row_group(group).num_rows
            low, high = max(start - first, 0), min(stop - first, count)
            if low < high:
                table = found.read_row_group(group, columns=columns)
                rows += table.slice(low, high - low).to_pylist()
            first += count
        return rows
    return list(itertools.islice(_lines(path, wanted), start, stop))
