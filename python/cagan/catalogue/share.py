"""One worker's share of a catalogue, with progress."""

from collections.abc import Callable
from dataclasses import dataclass, field

from .. import _cagan
from ..progress import work_bar
from .shards import Catalogue

__all__ = ["Shared", "swap_shards"]


@dataclass
class Shared:
    """What became of a worker's share.

    Attributes:
        shards: The number of its shards that are done.
        made: The number of its swaps that are there.
        kept: The number of those that were there before.
        failed: Rows that could not be made: id and error.
        undone: Shards that could not be made, as their list cannot be read: number and error.
    """

    shards: int = 0
    made: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    undone: list[tuple[int, str]] = field(default_factory=list)


def swap_shards(
    load: Callable[[], _cagan.Swapper],
    catalogue: Catalogue,
    share: tuple[int, int],
    retry_failed: bool,
    progress: bool | None = None,
) -> Shared:
    """Makes the shards of a worker that are not done.

    Args:
        load: Loads the generator.
        catalogue: The catalogue.
        share: The worker's number and the number of workers.
        retry_failed: Whether failed rows of finished shards are tried again.
        progress: Whether progress shows; None shows it in a terminal, and plain lines elsewhere.

    Raises:
        OSError: A file cannot be written.
        ValueError: The folder belongs to another catalogue.
    """
    mine, todo = catalogue.share(*share), set(catalogue.todo(*share, retry_failed=retry_failed))
    swapper, result = load(), Shared()
    catalogue.claim(swapper)
    rows = sum(catalogue.size(shard) for shard in mine)
    before = sum(catalogue.size(shard) for shard in mine if shard not in todo)
    with work_bar(progress, rows, " swaps", before) as bar:
        for shard in mine:
            try:
                done = catalogue.swap(swapper, shard, retry_failed=retry_failed, tell=bar.update)
            except (ValueError, FileNotFoundError) as error:
                result.undone.append((shard, str(error)))
                continue
            result.shards += 1
            result.made += done.made
            result.kept += done.kept
            result.failed += done.failed
    return result
