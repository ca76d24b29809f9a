"""Calls every binding that computes while libtorch's allocations fail, and again. Run it with `starved.c` preloaded."""

import ctypes
import sys
import time
from pathlib import Path

import cagan
from cagan import _cagan
from helpers import same_tensors
from walk import FORMS, RUN, Walk, config, frozen

SHIM = ctypes.CDLL(sys.argv[1])
SAID = ("out of memory: ", "a smaller batch_size, image_size or width, or fewer pictures at once, needs less")


def places(times=1):
    """Counts the allocations before the first that fails: few, then ever more."""
    at = 0
    while True:
        yield at
        at += 1 + int(at * times)


def check(name, call, expected=None, unchanged=lambda: None):
    """Lets ever later allocations of a call fail until none does. Returns the number of calls that failed."""
    count = 0
    for turn, at in enumerate(places(0.4 if "Trainer.run" in name else 1)):
        # All that follow fail, or that one alone.
        SHIM.starve(ctypes.c_long(at), ctypes.c_long(-1 if turn % 2 else 1))
        try:
            result = call()
        except MemoryError as error:
            assert SHIM.feed() > 0, name
            assert all(part in str(error) for part in SAID), f"{name}: {error}"
            assert "\n" not in str(error), f"{name}: {error}"
            unchanged()
            count += 1
        else:
            # The threads of the streaming loader are ahead of the call, and their failures too.
            assert SHIM.feed() == 0 or "streaming" in name, f"{name}: a failure was passed over"
            assert expected is None or frozen(result) == expected, name
            return count
    raise AssertionError("the places have no end")


def trainers(walk, form):
    """Starves one of two equal trainers."""
    made = config(form)
    starved, fed = (_cagan.Trainer(walk.pairs, made) for _ in range(2))
    found = {"Trainer.__new__": check("Trainer.__new__", lambda: _cagan.Trainer(walk.pairs, made))}
    networks = ("generator", "discriminator")

    def state(trainer):
        return frozen([trainer.step, trainer.vectors(), *(trainer.state(network) for network in networks)])

    # The third step has all losses.
    for turn in range(3):
        calls, others = walk.trainer_calls(starved, form), walk.trainer_calls(fed, form)
        for name, call in calls.items():
            if turn < 2 and name != "Trainer.run":
                continue
            before = state(fed)

            def unchanged(name=name, before=before):
                assert state(starved) == before, name

            expected = frozen(others[name]())
            found[name] = found.get(name, 0) + check(f"{name}, {form}", call, expected, unchanged)
            assert state(starved) == state(fed), name
    return found


def loaders(walk, form):
    """Starves the batches of a training without networks."""
    made = config(form, steps=2)
    found = {"Loader.__new__": check(f"Loader.__new__, {form}", lambda: _cagan.Loader(walk.pairs, made))}
    starved, fed = (_cagan.Loader(walk.pairs, made) for _ in range(2))
    for name, call in walk.loader_calls(starved).items():
        found[name] = check(f"{name}, {form}", call, frozen(walk.loader_calls(fed)[name]()))
    return found


def rested():
    """Waits until the threads of closed streaming loaders have ended. They allocate until their picture is done."""

    def name(task):
        try:
            return (task / "comm").read_text()
        except OSError:
            return "ended in between"

    until = time.monotonic() + 60
    while any("cagan-decode" in name(task) for task in Path("/proc/self/task").iterdir()):
        assert time.monotonic() < until, "a closed loader's threads go on"
        time.sleep(0.01)


def swappers(walk, form):
    """Starves the use of a snapshot."""
    path = walk.runs[form]
    found = {"Swapper.__new__": check("Swapper.__new__", lambda: _cagan.Swapper(path).step, 2)}
    starved, fed = _cagan.Swapper(path), _cagan.Swapper(path)
    for name, call in walk.swapper_calls(starved).items():
        expected = frozen(walk.swapper_calls(fed)[name]())
        found[name] = check(f"{name}, {form}", call, expected)
    return found


def runs(walk, form):
    """Starves a run at many places, and goes on with it: the end is that of a run with enough memory."""
    made = config(form, **RUN | {"steps": 6, "sample_every": 3, "ema_images": 20})
    whole = walk.new_folder()
    _cagan.run(walk.pairs, whole, made, None, lambda *_: None)
    count = 0
    for at in places():
        folder = walk.new_folder()

        def starve(event, value, at=at):
            if (event, value) == ("step", 3):
                SHIM.starve(ctypes.c_long(at), ctypes.c_long(1))

        try:
            _cagan.run(walk.pairs, folder, made, None, starve)
        except MemoryError as error:
            assert SHIM.feed() > 0
            assert all(part in str(error) for part in SAID), error
            count += 1
        else:
            # The place is beyond the end, or a file was left out with a warning.
            if SHIM.feed() == 0:
                break
        kept = [int(path.stem.split("_")[1]) for path in (folder / "checkpoints").glob("step_*")]
        assert kept, f"{form}, {at}: no checkpoint"
        _cagan.run(walk.pairs, folder, made, "must", lambda *_: None)
        ends = [sorted((path / "checkpoints").iterdir())[-1] for path in (folder, whole)]
        assert ends[0].name == ends[1].name
        assert same_tensors(*ends), f"{form}, {at}: went on from {kept} to another end"
    return {"run": count}


def main():
    """Prints the number of failed calls for each binding."""
    folder = Path(sys.argv[2])
    folder.mkdir()
    cagan.dolls(folder / "pairs", count=4, seed=1, size=64)
    walk = Walk(folder / "walk", folder / "pairs")
    found = []
    for form in FORMS:
        found += [*trainers(walk, form).items(), *runs(walk, form).items(), *loaders(walk, form).items()]
    rested()
    for form in walk.runs:
        found += swappers(walk, form).items()
    for name, count in found:
        print(name, count, sep="\t")


if __name__ == "__main__":
    main()
