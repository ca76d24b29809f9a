"""A process among several that train together: does its jobs one after the other. `test_processes.py` runs it."""

import json
import os
import signal
import sys
from pathlib import Path

import cagan
import numpy as np
import torch

# Small networks that take every way through a step. Batches of 4 are uneven for 3 processes.
FORMS = {
    "paper": {
        "preset": "paper",
        "image_size": 32,
        "discriminator_noise": 0.1,
        "self_swap_weight": 1,
        "mask_tv_weight": 1,
        "mask_binary_weight": 1,
        "feature_weight": 1,
        "perceptual_weight": 1,
        "r1_weight": 1,
        "r1_every": 1,
        "augment_colour": True,
        "augment_translation": True,
        "augment_cutout": True,
        "reverse": "detached",
        "reverse_noise": 0.1,
        "gradient_clip": 100,
    },
    "vasily": {"preset": "vasily", "image_size": 64, "discriminator_noise": 0.1},
    # All phases from the first step on, and the first phase alone.
    "kisekae": {
        "preset": "kisekae",
        "image_size": 32,
        "width": 32,
        "place_after": 0,
        "judge_after": 0,
        "discriminator_spectral_norm": True,
        "perceptual_weight": 1,
    },
    "erasing": {"preset": "kisekae", "image_size": 32, "width": 32},
}


def trainer_of(form, pairs, team=None):
    """Returns a trainer of one of the small configs."""
    small = {"width": 16, "batch_size": 4, "threads": 1, "device": "cpu"}
    return cagan.Trainer(pairs, cagan.Config(**small | FORMS[form]), team)


def gradients(form, pairs, team=None):
    """Takes a step. Returns both gradients, the weights after it, and the terms, each as one array."""
    trainer = trainer_of(form, pairs, team)
    terms = trainer.run(1)
    found = {name: trainer.gradients(name) for name in ("generator", "discriminator")}
    found["weights"] = trainer.state("generator")
    flat = {name: np.concatenate([values.ravel() for values in arrays.values()]) for name, arrays in found.items()}
    return flat | {"terms": np.array(list(terms.values()))}


class CheckError(Exception):
    """Raised by a process's signal handler."""


def fail(*_):
    raise CheckError("the check of this process")


def train(folder, rank, job):
    """Trains, and at a step sends a signal to a process."""
    (folder / f"pid{rank}").write_text(str(os.getpid()))

    def on_event(event, value):
        if (event, value) == ("step", job.get("at")):
            os.kill(int((folder / f"pid{job['to']}").read_text()), getattr(signal, job["signal"]))

    pairs = cagan.Pairs(job["pairs"], on_error="skip")
    # Another machine may hold other pictures.
    pairs = pairs[: len(pairs) - rank] if job.get("differ") else pairs
    run = cagan.train(pairs, job["run"], on_event=on_event, progress=False, **job["settings"])
    return run.path.name


def join():
    """Makes the default group as a program of its own would, joins it, and leaves it as it is."""
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        del os.environ[name]
    torch.distributed.init_process_group("gloo")
    with cagan.team() as team:
        found = [team.rank, team.world, team.local_rank, team.local_world]
    still = torch.distributed.is_initialized()
    torch.distributed.destroy_process_group()
    return f"{found}, {still}"


def main():
    folder, jobs = Path(sys.argv[1]), json.loads(sys.argv[2])
    rank = int(os.environ["RANK"])
    signal.signal(signal.SIGUSR1, fail)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, job in enumerate(jobs):
        out = folder / f"{number}.{rank}"
        try:
            if job["do"] == "gradients":
                with cagan.team(True) as team:
                    np.savez(f"{out}.npz", **gradients(job["form"], cagan.Pairs(job["pairs"]), team))
            elif job["do"] == "join":
                out.write_text(join())
            else:
                out.write_text(f"done: {train(folder, rank, job)}")
        except BaseException as error:
            out.write_text(f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
