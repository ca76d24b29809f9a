"""Make a catalogue of swaps with Ray Data: actors that hold a swapper each, on one machine or on a cluster.

    pip install 'cagan[ray,parquet]'
    python examples/ray_catalogue.py runs/first "lists/part-*.parquet" out --actors 4 --gpus 0.25

The rows that Ray hands out are shards. An actor reads a shard's rows itself, and its manifest is the commit. So:

- The present reader of Parquet files merges small ones into one task, and one actor works: here each shard is a task.
- Ray's own checkpoints filter rows in a pool of actors that needs spare CPUs, or the job hangs: there is none here.
- They hold every id in the driver's memory: here the driver holds the shards' numbers.

A job that was killed goes on by the same command, and repeats a shard for each actor at most. Lists and folder lie
where every machine reaches them under the same path.
"""

import argparse
import contextlib
from typing import Any

import cagan
import ray


class Maker:
    """Makes shards. An actor loads the model once.

    Args:
        model: A run folder, a snapshot's file, or "dolls".
        catalogue: The catalogue.
        retry_failed: Whether failed rows of finished shards are tried again.
    """

    def __init__(self, model: str, catalogue: cagan.Catalogue, retry_failed: bool = False) -> None:  # noqa: D107  # above
        # Other actors have the other cores.
        self.swapper = cagan.Swapper(model, threads=1)
        self.catalogue, self.retry_failed = catalogue, retry_failed

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Makes one shard."""
        shard = int(row["shard"])
        error, made, failed = None, 0, 0
        # A shard whose list is at fault costs itself alone.
        try:
            done = self.catalogue.swap(self.swapper, shard, retry_failed=self.retry_failed)
            made, failed = done.made, len(done.failed)
        except (ValueError, FileNotFoundError) as fault:
            error = str(fault)
        return {"shard": shard, "made": made, "failed": failed, "error": error}


def make(
    model: str, catalogue: cagan.Catalogue, actors: int = 2, gpus: float = 0.0, retry_failed: bool = False
) -> list[dict[str, Any]]:
    """Makes the shards that are not done.

    Args:
        model: A run folder, a snapshot's file, or "dolls".
        catalogue: The catalogue.
        actors: The largest number of actors.
        gpus: The share of a GPU that each takes: 0.25 puts four on one.
        retry_failed: Whether failed rows of finished shards are tried again.

    Returns:
        A dict for each shard: shard, made, failed, error.
    """
    todo = catalogue.todo(retry_failed=retry_failed)
    if not todo:
        return []
    # One block for each shard, or few actors would get all.
    shards = ray.data.from_items([{"shard": shard} for shard in todo], override_num_blocks=len(todo))
    done = shards.map(
        Maker,
        fn_constructor_args=[model, catalogue, retry_failed],
        compute=ray.data.ActorPoolStrategy(min_size=1, max_size=actors),
        num_cpus=1,
        num_gpus=gpus or None,
    )
    found = []
    for row in done.iter_rows():
        found.append(row)
        print(f"shard {row['shard']}: {row['made']} swaps, {row['failed']} failed; {len(found)} of {len(todo)} shards")
    return found


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("lists")
    parser.add_argument("out")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--gpus", type=float, default=0.0, help="share of a GPU for each actor")
    parser.add_argument("--shard-rows", type=int, default=1000)
    parser.add_argument("--format", default="webp")
    parser.add_argument("--quality", type=int)
    parser.add_argument("--address", help="a running cluster, as auto; without it this machine")
    parser.add_argument("--retry-failed", action="store_true")
    arguments = parser.parse_args()
    catalogue = cagan.Catalogue(
        arguments.lists,
        arguments.out,
        shard_rows=arguments.shard_rows,
        format=arguments.format,
        quality=arguments.quality,
    )
    if arguments.address:
        ray.init(address=arguments.address)
    else:
        ray.init(num_cpus=arguments.actors + 1, include_dashboard=False, _node_ip_address="127.0.0.1")
    with contextlib.suppress(AttributeError):
        ray.data.DataContext.get_current().enable_progress_bars = False
    found = make(arguments.model, catalogue, arguments.actors, arguments.gpus, arguments.retry_failed)
    print(f"{sum(row['made'] for row in found)} swaps made, {len(catalogue.todo())} shards left")
    ray.shutdown()


if __name__ == "__main__":
    main()
