"""Lists of any length, cut to shards. Each ends with a manifest, which is its commit."""

import glob
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import _cagan
from .manifest import manifest_of, read_manifest, write_manifest
from .rows import OF_PAIRS, Row, Written, count_rows, listed_rows, rows_of_pairs
from .table import Form, swap_rows

__all__ = ["Catalogue", "Done"]

_ABOUT = "catalogue.json"


@dataclass(frozen=True)
class Done:
    """What became of a shard.

    Attributes:
        shard: Its number.
        made: The number of its swaps that are in the folder.
        kept: The number of those that were there before.
        failed: The rows that could not be made: id and error.
    """

    shard: int
    made: int
    kept: int
    failed: list[tuple[str, str]]


class Catalogue:
    r"""Swaps of a list of any length, in shards: work that may be killed at any time, and shared by many machines.

    A shard is some rows of a list. Its pictures lie in the folder under their rows' ids, and its manifest,
    `manifest/shard-00003.parquet`, is written when they are on the disk: a shard with a manifest is done. One without
    it is made again, to the same bytes. The union of the manifests is the result, each row once, failed ones with
    `error`. Without pyarrow manifests are JSON lines.

    It opens no file but the lists, and can be pickled: any scheduler may hand out `todo()`.

    Args:
        lists: Lists with the columns id, human, target and perhaps worn: .csv, .jsonl or, with `cagan[parquet]`,
            .parquet; a path, a pattern as "part-*.parquet", or several. Relative paths in a list begin in its folder.
        out: The folder. It belongs to one catalogue: other lists, options or weights are refused.
        shard_rows: The rows of a shard: what a killed job repeats at most.
        format: "webp", "jpg" or "png".
        quality: 1 to 100. Without it WebP has no loss, and JPEG 95.
        max_side: The longest side of what is written.
        masks: Whether masks are written too.
        pairs: The pairs whose ids are in the columns human and target of the lists; the worn articles are the humans'
            own. Without the column id a row's is `<human>__<target>`.

    Raises:
        FileNotFoundError: There is no such list.
        ValueError: A list lacks a column, or an option is out of its range.
        ImportError: pyarrow is missing for a Parquet list.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/three", count=3)
        >>> lines = [f"{k},{p.human_path},{p.article_path},{pairs[0].article_path}" for k, p in enumerate(pairs)]
        >>> from pathlib import Path
        >>> _ = Path("list.csv").write_text("\n".join(["id,human,worn,target", *lines]))
        >>> catalogue = cagan.Catalogue("list.csv", "swapped", shard_rows=2)
        >>> catalogue.todo()
        [0, 1]
        >>> catalogue.swap("dolls", 0).made
        2
        >>> catalogue.todo()
        [1]
    """

    def __init__(  # noqa: D107  # the class says it
        self,
        lists: "str | os.PathLike[str] | list[str | os.PathLike[str]]",
        out: "str | os.PathLike[str]",
        *,
        shard_rows: int = 1000,
        format: str = "webp",  # noqa: A002  # as Pillow names it
        quality: int | None = None,
        max_side: int | None = None,
        masks: bool = False,
        pairs: _cagan.Pairs | None = None,
    ) -> None:
        if shard_rows < 1:
            raise ValueError(f"shard_rows: expected 1 or more, got {shard_rows}")
        self.out, self._form, self._shard_rows = (
            Path(out).absolute(),
            Form(format, quality, max_side, masks),
            shard_rows,
        )
        self._form.check()
        self._pairs = pairs
        wanted = {} if pairs is None else {"wanted": OF_PAIRS}
        self._lists = [(path, count_rows(path, **wanted)) for path in _found(lists)]
        self._first: list[int] = []
        shards = 0
        for _, count in self._lists:
            self._first.append(shards)
            shards += -(-count // shard_rows)
        self._shards = shards
        # The generator that the folder was claimed for.
        self._claimed: _cagan.Swapper | None = None

    def __len__(self) -> int:
        """The number of shards."""
        return self._shards

    @property
    def rows(self) -> int:
        """The number of rows of all lists."""
        return sum(count for _, count in self._lists)

    def size(self, shard: int) -> int:
        """The number of a shard's rows."""
        _, start, stop = self._place(shard)
        return stop - start

    def todo(self, index: int = 0, of: int = 1, *, retry_failed: bool = False) -> list[int]:
        """Lists the shards that are not done.

        Args:
            index: The number of this worker, from 0.
            of: The number of workers: this one gets the shards `index`, `index + of`, and so on.
            retry_failed: Whether a shard with failed rows counts as not done.

        Raises:
            ValueError: The index is not below the number of workers.
        """
        return [k for k in self.share(index, of) if not self._is_done(k, retry_failed)]

    def share(self, index: int, of: int) -> range:
        """The shards of one worker, done or not: arguments and errors as of `todo`."""
        if not 0 <= index < of:
            raise ValueError(f"shard: expected 0 to {of - 1} of {of}, got {index}")
        return range(index, len(self), of)

    def _is_done(self, shard: int, retry_failed: bool) -> bool:
        path = manifest_of(self.out, shard)
        if path is None or not retry_failed:
            return path is not None
        return all(row.error is None for row in read_manifest(path))

    def swap(
        self,
        model: "_cagan.Swapper | str | os.PathLike[str]",
        shard: int,
        *,
        retry_failed: bool = False,
        tell: Callable[[int], object] = lambda _: None,
    ) -> Done:
        """Makes a shard, and returns when its pictures and its manifest are on the disk. One that is done stays.

        Args:
            model: A swapper, or what `Swapper` takes.
            shard: Its number.
            retry_failed: Whether the failed rows of a shard that is done are tried again.
            tell: Is called with the number of further rows that are done.

        Raises:
            ValueError: There is no such shard, an id is missing or comes twice in it, or the folder belongs to another
                catalogue.
            OSError: A list cannot be read, or a file cannot be written.
        """
        path, start, stop = self._place(shard)
        swapper = model if isinstance(model, _cagan.Swapper) else _cagan.Swapper(Path(model))
        self.claim(swapper)
        done = manifest_of(self.out, shard)
        before = [] if done is None else read_manifest(done)
        failed = {row.id for row in before if row.error is not None}
        kept = len(before) - len(failed)
        if done is None or (retry_failed and failed):
            rows = [row for row in self._read(path, start, stop) if done is None or row.id in failed]
            made = {row.id: row for row in swap_rows(swapper, rows, self.out, self._form, tell=tell)}
            before = [made.pop(row.id, row) for row in before] + list(made.values())
            write_manifest(self.out, shard, before)
        broken = [(row.id, row.error) for row in before if row.error is not None]
        return Done(shard, len(before) - len(broken), kept, broken)

    def results(self) -> Iterator[Written]:
        """Yields the rows of all manifests, by shard.

        Raises:
            ImportError: pyarrow is missing for a Parquet manifest.
        """
        for shard in range(len(self)):
            if (path := manifest_of(self.out, shard)) is not None:
                yield from read_manifest(path)

    def _read(self, path: Path, start: int, stop: int) -> list[Row]:
        if self._pairs is None:
            return listed_rows(path, start, stop)
        return rows_of_pairs(path, start, stop, self._pairs)

    def _place(self, shard: int) -> tuple[Path, int, int]:
        """The list of a shard, and its rows."""
        if not 0 <= shard < len(self):
            raise ValueError(f"shard: expected 0 to {len(self) - 1}, got {shard}")
        number = max(k for k, first in enumerate(self._first) if first <= shard)
        path, count = self._lists[number]
        start = (shard - self._first[number]) * self._shard_rows
        return path, start, min(start + self._shard_rows, count)

    def claim(self, swapper: _cagan.Swapper) -> None:
        """Checks that the folder is this catalogue's, or makes it so. `swap` does it too.

        Args:
            swapper: The generator.

        Raises:
            ValueError: The folder belongs to another catalogue.
        """
        if self._claimed is swapper:
            return
        weights = hashlib.sha256(swapper.snapshot()).hexdigest()[:32]
        lists = [[path.name, count] for path, count in self._lists]
        mine = {"lists": lists, "shard_rows": self._shard_rows, **asdict(self._form), "weights": weights}
        path = self.out / _ABOUT
        if not path.is_file():
            self.out.mkdir(parents=True, exist_ok=True)
            _cagan.write_atomically(path, f"{json.dumps(mine)}\n".encode())
        # Another process may have been quicker.
        found = json.loads(path.read_text(encoding="utf-8"))
        for name, value in mine.items():
            if found.get(name) != value:
                text = f"{path}: expected {name} {found.get(name)}, as the catalogue was begun, got {value}"
                raise ValueError(f"{text}; another one needs a folder of its own")
        self._claimed = swapper

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the generator: another process has its own."""
        return self.__dict__ | {"_claimed": None}

    def __repr__(self) -> str:
        """Returns rows, shards and folder."""
        return f"Catalogue({self.rows} rows in {len(self)} shards, {str(self.out)!r})"


def _found(lists: Any) -> list[Path]:
    given = [lists] if isinstance(lists, str | os.PathLike) else list(lists)
    found: list[Path] = []
    for one in given:
        path = Path(one)
        if path.is_file() or not glob.has_magic(str(path)):
            found.append(path)
            continue
        matching = sorted(Path(name) for name in glob.glob(str(path)))  # noqa: PTH207  # an absolute pattern too
        if not matching:
            raise FileNotFoundError(f"{path}: expected lists of this pattern, found none")
        found += matching
    for path in found:
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such list")
    if not found:
        raise ValueError("lists: expected one or more, got none")
    return [path.absolute() for path in found]
