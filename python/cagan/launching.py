"""`cagan train --gpus N`: torchrun on this machine, in the launcher's own process."""

import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence

from . import _cagan

__all__ = ["check_gpus", "launch", "without_gpus"]


def check_gpus(count: int, device: str | None) -> None:
    """Checks that there are as many GPUs, and that this process is none of torchrun's.

    Raises:
        ValueError: There are fewer, the settings name another device, or torchrun has started this process.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        raise ValueError("--gpus: expected a command that torchrun did not start, which has its number of processes")
    if device not in (None, "auto", "cuda"):
        raise ValueError(f"--gpus: expected device auto or cuda, got {device}")
    found = _cagan.system()["cuda_devices"]
    if count > found:
        raise ValueError(f"--gpus: expected at most {found}, the number of GPUs that libtorch finds, got {count}")


def without_gpus(arguments: Sequence[str]) -> list[str]:
    """Returns a command line without its option --gpus.

    Example:
        >>> from cagan.launching import without_gpus
        >>> without_gpus(["train", "data", "--gpus", "4", "run", "--gpus=2", "--seed", "1"])
        ['train', 'data', 'run', '--seed', '1']
    """
    kept, values = [], iter(arguments)
    for argument in values:
        if argument == "--gpus":
            next(values, None)
        elif not argument.startswith("--gpus="):
            kept.append(argument)
    return kept


def launch(count: int, arguments: Sequence[str]) -> int:
    """Runs `python -m cagan` in several processes of this machine, as torchrun does, until all have ended.

    SIGINT, SIGTERM and SIGHUP go on to the processes, which save the run. If one fails, the others are ended.

    Returns:
        The exit code: that of the first process that failed.
    """
    # Restarts by torch 2.11 read the addresses of the processes before without it (pytorch/pytorch#135712).
    os.environ["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # The processes say what is wrong; torchrun's own words would follow.
    for name in logging.root.manager.loggerDict:
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    # Under nohup SIGHUP is ignored, as before.
    heard = [
        name for name in ("SIGTERM", "SIGINT", "SIGHUP") if signal.getsignal(getattr(signal, name)) != signal.SIG_IGN
    ]
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        signals_to_handle=",".join(heard),
    )
    try:
        elastic_launch(config, sys.executable)("-m", "cagan", *arguments)
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        # A negative code is a signal's.
        return failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode
    except SignalException as stopped:
        return 128 + int(stopped.sigval)
    return 0
