"""Lists of swaps as files: what is finished is kept, and what cannot be read is passed over and reported."""

import contextlib
import hashlib
import math
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import _cagan
from .evaluation.targets import Row
from .names import swap_name
from .progress import work_bar

__all__ = ["Listed", "swap_list"]

# A PNG's signature and its first chunk, which holds the size.
_START = 33
# Seconds after Ctrl-C to write what is done already.
_LAST_S = 0.7


@dataclass
class Listed:
    """The result of a list.

    Attributes:
        made: The number of swaps made now.
        kept: The number of swaps that were there already.
        broken: Swaps whose pictures cannot be read: ids of human and target, and the reason.
    """

    made: int = 0
    kept: int = 0
    broken: list[tuple[str, str, str]] = field(default_factory=list)


def swap_list(swapper: _cagan.Swapper, rows: list[Row], out: Path, *, worn: bool = True) -> Listed:
    """Swaps the rows to `out`: `<human>__<target>.png`, its mask `.alpha.png`, and the region `.located.png` if known.

    A file that this snapshot made of the same pictures stays, unless one of them is newer. Ctrl-C and, at the command
    line, SIGTERM keep what was done.

    Args:
        swapper: The generator.
        rows: People, and the pairs whose articles they put on.
        out: The folder, made if it is missing.
        worn: Whether the people's articles are those that they wear; otherwise nothing is known of these.

    Raises:
        ValueError: The networks need the worn articles, and they are not known.
        OSError: A file cannot be written.
    """
    if swapper.needs_worn and not worn:
        raise ValueError("worn: expected the worn articles, by which these networks locate them, got none")
    out.mkdir(parents=True, exist_ok=True)
    weights = hashlib.sha256(swapper.snapshot()).digest()
    result, todo = Listed(), []
    for row in rows:
        made = _Made(row, out, weights if worn else hashlib.sha256(weights).digest())
        if made.is_finished():
            result.kept += 1
        else:
            todo.append(made)
    swaps = swapper.stream(
        (made.pictures[0] for made in todo),
        (made.pictures[1] for made in todo) if worn else None,
        (made.pictures[2] for made in todo),
        on_error="return",
    )
    with work_bar(None, len(rows), " swaps", result.kept) as bar:
        waiting = iter(todo)
        try:
            _save(swaps, waiting, result, bar.update)
        except (KeyboardInterrupt, SystemExit):
            # Some are done that were not yet taken.
            with contextlib.suppress(KeyboardInterrupt):
                _save(swaps, waiting, result, bar.update, time.monotonic() + _LAST_S)
            raise
    return result


def _save(
    swaps: _cagan.SwapStream,
    waiting: "Iterator[_Made]",
    result: Listed,
    update: Callable[[int], object],
    until: float = math.inf,
) -> None:
    """Writes the swaps, until the clock shows a time."""
    for swap in swaps:
        made = next(waiting)
        if isinstance(swap, Exception):
            human, target = made.row
            result.broken.append((human.id, target.id, str(swap)))
        else:
            made.write(swap)
            result.made += 1
        update(1)
        if time.monotonic() > until:
            return


class _Made:
    """The files of one swap."""

    def __init__(self, row: Row, out: Path, weights: bytes) -> None:
        human, target = self.row = row
        self.pictures = (human.human_source, human.article_source, target.article_source)
        # Pictures in memory have no path.
        paths = (human.human_path, human.article_path, target.article_path)
        self._files = [path for path in paths if path is not None]
        name = swap_name(human.id, target.id)
        self._path, self._mask, self._located = (
            out / f"{name}{ending}" for ending in (".png", ".alpha.png", ".located.png")
        )
        names = "\0".join(str(path.absolute()) for path in self._files).encode("utf-8", "surrogateescape")
        mark = hashlib.sha256(weights + names).hexdigest()[:32]
        # A text chunk, which viewers ignore.
        chunk = b"tEXtcagan\0" + mark.encode()
        self._chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))

    def is_finished(self) -> bool:
        """Checks that the picture, which is written last, is of these weights and newer than what it was made of."""
        try:
            with self._path.open("rb") as file:
                start = file.read(_START + len(self._chunk))
            made = self._path.stat().st_mtime_ns
            newest = max((path.stat().st_mtime_ns for path in self._files), default=0)
        except OSError:
            return False
        return start[_START:] == self._chunk and newest <= made and self._mask.is_file()

    def write(self, swap: _cagan.Swap) -> None:
        """Writes the files.

        Raises:
            OSError: One cannot be written.
        """
        _cagan.write_atomically(self._mask, swap.encoded("png", "mask"))
        if swap.located is not None:
            _cagan.write_atomically(self._located, swap.encoded("png", "located"))
        content = swap.encoded("png")
        _cagan.write_atomically(self._path, content[:_START] + self._chunk + content[_START:])
