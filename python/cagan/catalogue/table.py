"""Tables of swaps as files: each picture whole or not there, named by its row's id."""

import contextlib
import errno
import itertools
import os
import time
import uuid
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from .. import _cagan
from ..failures import SwapError
from .rows import Row, Written, place_of, table_rows

__all__ = ["Form", "swap_rows", "swap_table"]

# Where pictures are written before they get their names, and the age in seconds of what a killed process left there.
_UNFINISHED, _OLD_S = ".unfinished", 3600.0
# Swaps that wait to be encoded and written: more would be memory.
_WAITING = 8
_WRITERS = 2
# Files that wait for the disk at once.
_SYNCED = 16
_FORMATS = ("png", "webp", "jpg", "jpeg")


@dataclass(frozen=True)
class Form:
    """How pictures are written.

    Attributes:
        format: "webp", "jpg" or "png".
        quality: 1 to 100; None writes WebP without loss and JPEG at 95.
        max_side: The longest side in pixels.
        masks: Whether each picture's mask is written beside it, as `.alpha.png`.
    """

    format: str = "webp"
    quality: int | None = None
    max_side: int | None = None
    masks: bool = False

    def check(self) -> None:
        """Checks the values before any work.

        Raises:
            ValueError: One is out of its range, or PNG comes with a quality.
        """
        if self.format not in _FORMATS:
            raise ValueError(f"format: expected {', '.join(_FORMATS[:3])}, got {self.format}")
        if self.quality is not None and (self.format == "png" or not 1 <= self.quality <= 100):
            rule = "none, since PNG is written without loss" if self.format == "png" else "1 to 100"
            raise ValueError(f"quality: expected {rule}, got {self.quality}")
        if self.max_side is not None and self.max_side < 1:
            raise ValueError(f"max_side: expected 1 or more pixels, got {self.max_side}")


def swap_table(
    model: "_cagan.Swapper | str | os.PathLike[str]",
    rows: Any,
    out: "str | os.PathLike[str] | None",
    *,
    format: str = "webp",  # noqa: A002  # as Pillow names it
    quality: int | None = None,
    max_side: int | None = None,
    masks: bool = False,
    batch: int | None = None,
    on_error: Literal["return", "raise", "skip"] = "return",
) -> list[dict[str, Any]]:
    """Swaps the rows of a table to files: the function that Ray Data, Spark, Daft or a loop of one's own calls.

    A picture is whole or not there, and lies in `out` under its row's id: `ab/abc123.webp`, where ab are two digits of
    the id's hash. Rows of one person are swapped together. A row made again gets the same bytes. Pictures are on the
    disk when the function returns. The files that a killed process left unfinished are removed after an hour.

    Args:
        model: A swapper, or what `Swapper` takes.
        rows: A dict of columns, a data frame of pandas or polars, an Arrow table or batch, or dicts, with id, human,
            target and perhaps worn: paths, a file's bytes, or other pictures that `Swapper.swap` takes.
        out: The folder, made if it is missing. None puts the files' bytes into the result.
        format: "webp", "jpg" or "png".
        quality: 1 to 100. Without it WebP has no loss, and JPEG 95.
        max_side: The longest side of what is written.
        masks: Whether masks are written too, as `ab/abc123.alpha.png`.
        batch: The rows that are held and sorted by person at a time; all without it.
        on_error: A row whose pictures cannot be read is a row with `error` ("return"), raises, or is left out ("skip").

    Returns:
        A dict for each row, in order: id, image and mask (places in `out`), error, seconds.

    Raises:
        ValueError: A column or a value is missing, an id comes twice, or an option is out of its range.
        TypeError: The rows have another form.
        OSError: A file cannot be written.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/three", count=3)
        >>> rows = {"id": pairs.ids, "human": [p.human_path for p in pairs], "worn": [p.article_path for p in pairs]}
        >>> rows["target"] = [pairs[0].article_path] * 3
        >>> [row["image"] for row in cagan.swap_table("dolls", rows, "catalogue", format="jpg")]
        ['e7/00000.jpg', '85/00001.jpg', '52/00002.jpg']
    """
    form = Form(format, quality, max_side, masks)
    form.check()
    if on_error not in ("return", "raise", "skip"):
        raise ValueError(f"on_error: expected return, raise or skip, got {on_error}")
    if batch is not None and batch < 1:
        raise ValueError(f"batch: expected 1 or more rows, got {batch}")
    swapper = model if isinstance(model, _cagan.Swapper) else _cagan.Swapper(Path(model))
    folder = None if out is None else Path(out)
    taken, made, seen = table_rows(rows), [], set[str]()
    while part := list(itertools.islice(taken, batch)):
        made += swap_rows(swapper, part, folder, form, seen=seen, raises=on_error == "raise")
    return [asdict(one) for one in made if on_error != "skip" or one.error is None]


def swap_rows(
    swapper: _cagan.Swapper,
    rows: list[Row],
    out: Path | None,
    form: Form,
    *,
    seen: set[str] | None = None,
    raises: bool = False,
    tell: Callable[[int], object] = lambda _: None,
) -> list[Written]:
    """Swaps rows, and returns what became of each, in their order, when all is on the disk.

    Args:
        swapper: The generator.
        rows: The rows.
        out: The folder; None keeps the files' bytes.
        form: How pictures are written.
        seen: The ids before these; gets theirs.
        raises: Whether the error of a row is raised.
        tell: Is called with the number of further rows that are done.

    Raises:
        ValueError: An id comes twice.
        OSError: A file cannot be written.
    """
    seen = set() if seen is None else seen
    for row in rows:
        if row.id in seen:
            raise ValueError(f"id: expected each one once, got {row.id} twice")
        seen.add(row.id)
    if out is not None:
        _sweep(out)
    made = {k: Written(row.id, error=row.error) for k, row in enumerate(rows) if row.error is not None}
    if made and raises:
        raise ValueError(f"{rows[min(made)].id}: {rows[min(made)].error}")
    tell(len(made))
    order = [k for k in _by_person(rows) if k not in made]
    sides = [[getattr(rows[k], side) for k in order] for side in ("human", "worn", "target")]
    stream = swapper.stream(*(iter(side) for side in sides), on_error="return")
    began = time.perf_counter()
    writer = _Writer(out, form)
    with ThreadPoolExecutor(_WRITERS, "cagan-write") as pool:
        waiting: deque[tuple[int, Future[Written]]] = deque()
        try:
            for k, swap in zip(order, stream):
                now = time.perf_counter()
                began, seconds = now, now - began
                if isinstance(swap, SwapError):
                    if raises:
                        raise swap.__cause__ or swap
                    # The stream's numbers are not the table's.
                    message = swap.message.replace(f"[{swap.row}]", "", 1)
                    made[k] = Written(rows[k].id, error=f"{swap.type}: {message}", seconds=seconds)
                    tell(1)
                    continue
                waiting.append((k, pool.submit(writer.write, rows[k].id, swap, seconds)))
                while len(waiting) > _WAITING or (waiting and waiting[0][1].done()):
                    first, future = waiting.popleft()
                    made[first] = future.result()
                    tell(1)
            for k, future in waiting:
                made[k] = future.result()
                tell(1)
        except BaseException:
            for _, future in waiting:
                future.cancel()
            raise
    writer.sync()
    return [made[k] for k in range(len(rows))]


def _by_person(rows: list[Row]) -> list[int]:
    """Returns the order in which each person's rows come one after the other."""
    groups: dict[Any, int] = {}

    def known_by(picture: Any) -> Any:
        return picture if isinstance(picture, str | bytes | os.PathLike) or picture is None else id(picture)

    of_row = [groups.setdefault((known_by(row.human), known_by(row.worn)), len(groups)) for row in rows]
    return sorted(range(len(rows)), key=of_row.__getitem__)


def _sweep(out: Path) -> None:
    """Makes the folder of unfinished files, and removes those that killed processes left."""
    folder = out / _UNFINISHED
    folder.mkdir(parents=True, exist_ok=True)
    old = time.time() - _OLD_S
    with os.scandir(folder) as entries:
        for entry in entries:
            # Another process may be quicker.
            with contextlib.suppress(FileNotFoundError):
                if entry.is_file(follow_symlinks=False) and entry.stat(follow_symlinks=False).st_mtime < old:
                    Path(entry.path).unlink()


class _Writer:
    """Encodes and writes swaps, in several threads.

    Args:
        out: The folder; None keeps the bytes.
        form: How pictures are written.
    """

    def __init__(self, out: Path | None, form: Form) -> None:
        self._out, self._form = out, form
        self._files: list[Path] = []
        self._folders: set[str] = set()

    def write(self, name: str, swap: _cagan.Swap, seconds: float) -> Written:
        """Writes a swap's files, the picture last."""
        began, form = time.perf_counter(), self._form
        ending: Any = form.format
        written = Written(name)
        try:
            if form.masks:
                mask = swap.encoded("png", "mask", max_side=form.max_side)
                written.mask = self._put(place_of(name, ".alpha.png"), mask)
            image = swap.encoded(ending, quality=form.quality, max_side=form.max_side)
        except ValueError as error:
            # Too large for the format: the row's own trouble.
            return Written(name, error=f"ValueError: {error}", seconds=seconds)
        written.image = self._put(place_of(name, f".{form.format}"), image)
        written.seconds = seconds + time.perf_counter() - began
        return written

    def _put(self, place: str, content: bytes) -> Any:
        if self._out is None:
            return content
        folder = place.split("/")[0]
        if folder not in self._folders:
            (self._out / folder).mkdir(parents=True, exist_ok=True)
            self._folders.add(folder)
        unfinished, path = self._out / _UNFINISHED / uuid.uuid4().hex, self._out / place
        try:
            unfinished.write_bytes(content)
            unfinished.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
        self._files.append(path)
        return place

    def sync(self) -> None:
        """Waits until all is on the disk."""
        paths = list(self._files)
        if self._out is not None and os.name == "posix":
            paths += [*{path.parent for path in paths}, self._out]
        with ThreadPoolExecutor(_SYNCED, "cagan-sync") as pool:
            for _ in pool.map(_sync, paths):
                pass


def _sync(path: Path) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        # Another process that makes the same shard just replaced it on a file system without that promise.
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems cannot.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):
            raise
    finally:
        os.close(descriptor)
