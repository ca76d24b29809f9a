"""`cagan.team`: the processes that train one run together, which torch.distributed connects."""

import contextlib
import datetime
import os
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["TIMEOUT_S", "Team", "team"]

# Seconds that a process waits for another one that is alive and does not answer; one that is gone is noticed at once.
TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Team:
    """Where this process is among those that train together.

    Attributes:
        rank: The number of this process, from 0. The first alone writes and reports.
        world: The number of processes.
        local_rank: The number of this process on its machine, which is that of its CUDA device.
        local_world: The number of processes on this machine, which share its memory and its cores.
        group: The name of the group for tensors of the training device.
        control: The name of the group for tensors of the CPU.
    """

    rank: int
    world: int
    local_rank: int
    local_world: int
    group: str
    control: str


@contextlib.contextmanager
def team(distributed: bool | None = None) -> "Iterator[Team | None]":
    """Joins the processes that train together, for `cagan.Trainer`; `cagan.train` does it by itself.

    It takes the default group of torch.distributed where the program has one, as under Ray Train. It makes one where
    `RANK` and `WORLD_SIZE` tell of several processes, as under torchrun, and destroys it at the end. Else the process
    is alone.

    Args:
        distributed: False stays alone, True fails where there are no others.

    Yields:
        The team, or None for a process alone.

    Raises:
        ValueError: `distributed` is True and there are no other processes, or the environment does not tell where the
            first one is.
        RuntimeError: The others do not come within ten minutes.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> with cagan.team() as team:
        ...     trainer = cagan.Trainer(pairs, cagan.Config("smoke"), team)
        ...     terms = trainer.run(2)
        >>> trainer.step
        2
    """
    with contextlib.ExitStack() as stack:
        found = None if distributed is False else _joined(stack)
        if distributed and found is None:
            raise ValueError(
                "distributed: expected a process group of torch.distributed, or RANK and a WORLD_SIZE above 1 as "
                "torchrun sets them, got neither"
            )
        yield found


def _joined(stack: contextlib.ExitStack) -> Team | None:
    # Without torch there is no group; its import takes a second.
    alone = int(os.environ.get("WORLD_SIZE") or 1) < 2 or not os.environ.get("RANK")
    if alone and "torch.distributed" not in sys.modules:
        return None
    import torch.distributed as dist

    if not dist.is_available():
        return None
    if not dist.is_initialized():
        if alone:
            return None
        _make(dist)
        stack.callback(dist.destroy_process_group)
    if dist.get_world_size() == 1:
        return None
    world: Any = dist.group.WORLD
    control = world
    if "cpu:" not in dist.get_backend_config(world):
        control = dist.new_group(backend="gloo", timeout=datetime.timedelta(seconds=TIMEOUT_S))
        stack.callback(dist.destroy_process_group, control)
    rank, (local_rank, local_world) = dist.get_rank(), _place(dist, control)
    return Team(rank, dist.get_world_size(), local_rank, local_world, world.group_name, control.group_name)


# The store of this process's groups, and their number: a second group must not read the addresses of the first.
_store: Any = None
_made = 0


def _make(dist: Any) -> None:
    """Makes the default group, of gloo for the CPU and NCCL for CUDA."""
    import torch

    global _store, _made
    timeout = datetime.timedelta(seconds=TIMEOUT_S)
    if _store is None:
        _store, _, _ = next(iter(dist.rendezvous("env://", timeout=timeout)))
    _made += 1
    cuda = torch.cuda.is_available() and dist.is_nccl_available()
    if cuda:
        local = int(os.environ.get("LOCAL_RANK") or 0)
        # NCCL and libtorch's own memory take the current device.
        torch.cuda.set_device(local if local < torch.cuda.device_count() else 0)
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if cuda else "gloo",
        store=dist.PrefixStore(f"cagan/{_made}", _store),
        rank=int(os.environ["RANK"]),
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=timeout,
    )


def _place(dist: Any, control: Any) -> tuple[int, int]:
    """Returns the number of this process on its machine, and the number of processes there."""
    try:
        return int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    except (KeyError, ValueError):
        hosts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(hosts, socket.gethostname(), group=control)
        here = hosts[dist.get_rank()]
        return hosts[: dist.get_rank()].count(here), hosts.count(here)
