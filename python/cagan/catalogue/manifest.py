"""Manifests: what became of the rows of one shard. A shard with a manifest is done."""

import importlib
import io
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from .. import _cagan
from .rows import Written

__all__ = ["manifest_of", "read_manifest", "write_manifest"]

_FOLDER = "manifest"


def _pyarrow() -> Any:
    try:
        importlib.import_module("pyarrow.parquet")
    except ImportError:
        return None
    return importlib.import_module("pyarrow")


def manifest_of(out: Path, shard: int) -> Path | None:
    """Returns a shard's manifest, Parquet or JSON lines, or None if the shard is not done."""
    paths = (out / _FOLDER / f"shard-{shard:05}{ending}" for ending in (".parquet", ".jsonl"))
    return next((path for path in paths if path.is_file()), None)


def read_manifest(path: Path) -> list[Written]:
    """Reads a manifest.

    Raises:
        ImportError: pyarrow is missing for a Parquet file.
        ValueError: The file is no manifest.
    """
    if path.suffix == ".jsonl":
        return [Written(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
    pyarrow = _pyarrow()
    if pyarrow is None:
        raise ImportError(f"{path}: expected pyarrow to read it, found none; pip install 'cagan[parquet]'")
    return [Written(**row) for row in pyarrow.parquet.read_table(path).to_pylist()]


def write_manifest(out: Path, shard: int, rows: list[Written]) -> Path:
    """Writes a shard's manifest at once, and waits for the disk: Parquet with pyarrow, else JSON lines.

    Raises:
        OSError: It cannot be written.
    """
    (out / _FOLDER).mkdir(exist_ok=True)
    before, pyarrow = manifest_of(out, shard), _pyarrow()
    path = before or out / _FOLDER / f"shard-{shard:05}{'.jsonl' if pyarrow is None else '.parquet'}"
    if path.suffix == ".jsonl":
        content = "".join(json.dumps(asdict(row)) + "\n" for row in rows).encode()
    else:
        kinds = {"seconds": pyarrow.float64()}
        names = [field.name for field in fields(Written)]
        schema = pyarrow.schema([(name, kinds.get(name, pyarrow.string())) for name in names])
        file = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([asdict(row) for row in rows], schema), file)
        content = file.getvalue()
    _cagan.write_atomically(path, content)
    return path
