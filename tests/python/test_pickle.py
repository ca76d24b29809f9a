"""Copies in this process and in others: pickle, copy, workers, `fork`."""

import copy
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys

import cagan
import numpy as np
import pytest
from helpers import refusal
from torch.utils.data import DataLoader


@pytest.fixture(scope="module")
def swap(run, pairs):
    return run.swapper().swap(pairs[0].human, pairs[0].article, pairs[1].article)


def again(thing):
    return [pickle.loads(pickle.dumps(thing)), copy.copy(thing), copy.deepcopy(thing)]


def test_swaps_survive_pickle_and_copy(swap):
    for one in again(swap):
        assert one == swap
        assert all(np.array_equal(getattr(one, name), getattr(swap, name)) for name in ("image", "mask", "paint"))
    other = cagan.Swap(swap.image, swap.mask, swap.image)
    assert other != swap
    assert swap != "swap"


def test_the_flow_and_the_located_region_survive_too(swap):
    flow = np.linspace(-1, 1, 4 * 3 * 2, dtype=np.float32).reshape(4, 3, 2)
    flow[1, 1] = np.nan
    whole = cagan.Swap(swap.image, swap.mask, swap.paint, swap.mask, flow)
    for one in again(whole):
        assert one == whole
        assert np.array_equal(one.flow, flow, equal_nan=True) and one.flow.dtype == np.float32
        assert np.array_equal(one.located, swap.mask)
    parts = (swap.image, swap.mask, swap.paint, swap.mask)
    assert whole != cagan.Swap(*parts)
    assert whole != cagan.Swap(*parts, flow + np.float32(0.01))
    assert whole != cagan.Swap(*parts, flow.reshape(3, 4, 2))
    assert cagan.Swap(*parts).flow is None
    for wrong, words in (
        (flow.astype(float), "got float64"),
        (flow[..., :1], "got shape [4, 3, 1]"),
        (flow[:0], "got shape [0, 3, 2]"),
        ([[0, 0]], "got list"),
    ):
        refusal(
            ValueError,
            lambda wrong=wrong: cagan.Swap(*parts, wrong),
            "flow: expected a float32 array of shape [h, w, 2]",
            words,
        )


def test_runs_and_pairs_survive_pickle_and_copy(run, pairs, tmp_path):
    for one in again(run):
        assert (one.path, one.config, one.stats) == (run.path, run.config, run.stats)
    full = cagan.Pair("a", "h.png", tmp_path / "a.png", group="g", split="train")
    for pair in (pairs[3], full):
        for one in again(pair):
            assert one == pair
            assert (one.group, one.split, one.human_path) == (pair.group, pair.split, pair.human_path)
    assert full != cagan.Pair("a", "h.png", tmp_path / "a.png", group="g")


def test_a_set_of_pairs_survives_with_everything_that_was_read(pairs_dir, tmp_path):
    folder = shutil.copytree(pairs_dir, tmp_path / "copy")
    (folder / "article" / "00001.png").unlink()
    (folder / "human" / "00002.png").unlink()
    lines = ["id,human,article,group,split,exclude,reason"]
    for k in range(8):
        human = "" if k == 2 else f"human/0000{k}.png"
        lines.append(f"0000{k},{human},article/0000{k}.png,g{k // 2},train,{int(k == 5)},{'other' * (k == 5)}")
    (folder / "pairs.csv").write_text("\n".join(lines) + "\n")
    pairs = cagan.Pairs(folder, on_error="skip", extra_articles=True)
    assert pairs.skipped
    assert pairs.excluded
    assert pairs.extra_articles
    rest, share = pairs.split(0.4, seed=3)
    shutil.rmtree(folder)
    for whole in (pairs, rest, share):
        for one in again(whole):
            assert repr(one) == repr(whole)
            assert [*one] == [*whole]
            for name in ("folder", "ids", "splits", "extra_articles", "excluded", "skipped"):
                assert getattr(one, name) == getattr(whole, name)
            # The handling of broken files is part of the state.
            assert one.__reduce__()[1] == whole.__reduce__()[1]


# Workers


class Swaps:
    """A data set that swaps: for a DataLoader."""

    def __init__(self, swapper, pairs):
        self.swapper, self.pairs = swapper, pairs

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, k):
        return made(self.swapper, self.pairs[k])


def made(swapper, pair):
    return swapper.swap(pair.human_path, pair.article_path, pair.article_path).image


def test_a_swapper_survives_pickle_and_copy(run, pairs, tmp_path, monkeypatch):
    swapper = run.swapper()
    for one in again(swapper):
        assert (one.path, one.step, one.config) == (swapper.path, swapper.step, swapper.config)
        assert np.array_equal(made(one, pairs[0]), made(swapper, pairs[0]))
    assert copy.deepcopy(swapper) is swapper
    # A worker may be in another folder.
    folder = shutil.copytree(run.path, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(cagan.Swapper("run", "cpu"))
    monkeypatch.chdir(folder)
    assert pickle.loads(content).step == swapper.step
    # Not another snapshot in silence, nor a traceback of the core.
    newest = sorted((folder / "snapshots").glob("step_*"))[-1]
    other = sorted((run.path / "snapshots").glob("step_*"))[0]
    if cagan.Swapper(other).step != swapper.step:
        shutil.copy(other, newest)
        refusal(ValueError, lambda: pickle.loads(content), newest, "step 4")
    newest.unlink()
    refusal(FileNotFoundError, lambda: pickle.loads(content), newest)


def test_workers_take_a_swapper(run, pairs):
    swapper = run.swapper()
    chosen = [pairs[k] for k in range(3)]
    expected = [made(swapper, pair) for pair in chosen]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert all(map(np.array_equal, pool.starmap(made, [(swapper, pair) for pair in chosen]), expected))
    loader = DataLoader(Swaps(swapper, chosen), batch_size=None, num_workers=1, multiprocessing_context="spawn")
    assert all(np.array_equal(np.asarray(image), want) for image, want in zip(loader, expected))


def test_joblibs_workers_take_a_swapper(run, pairs):
    joblib = pytest.importorskip("joblib")
    swapper = run.swapper()
    chosen = [pairs[k] for k in range(3)]
    work = [joblib.delayed(made)(swapper, pair) for pair in chosen]
    found = joblib.Parallel(n_jobs=2, backend="loky")(work)
    assert all(map(np.array_equal, found, [made(swapper, pair) for pair in chosen]))
    found = joblib.Parallel(n_jobs=2, backend="threading")(work)
    assert all(map(np.array_equal, found, [made(swapper, pair) for pair in chosen]))


# Each child ends by itself with 0, or by the alarm.
CHILDREN = """
import os, signal, sys, threading
import cagan

run, folder, busy = sys.argv[1], sys.argv[2], sys.argv[3] == "busy"
pairs = cagan.Pairs(sys.argv[4])
swapper = cagan.Swapper(run)
photos = [pair.human for pair in pairs]
swap = lambda of: of.swap(photos, pairs[0].article, pairs[1].article)[0].image.tobytes()
expected, stop = swap(swapper), threading.Event()

def work():
    while not stop.is_set():
        swap(swapper)

threads = [threading.Thread(target=work) for _ in range(2 * busy)]
for thread in threads:
    thread.start()
refused = 0
for k in range(6):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        code = 0
        try:
            found = swap(swapper)
        except RuntimeError as error:
            code = 1 if busy and "spawn" in str(error) else 2
            # A new one works even so.
            found = swap(cagan.Swapper(run))
        if found != expected:
            code = 2
        if k == 0 and not busy:
            cagan.dolls(folder + "/dolls", count=8, size=64, swaps=0)
            cagan.train(folder + "/dolls", folder + "/run", "smoke", steps=2, progress=False)
        os._exit(code)
    code = os.waitpid(child, 0)[1]
    assert code in (0, 256), code
    refused += code == 256
stop.set()
for thread in threads:
    thread.join()
print(refused)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.parametrize("parent", ["idle", "busy"])
def test_a_child_of_fork_works_or_says_what_does(run, pairs_dir, tmp_path, parent):
    arguments = [sys.executable, "-W", "ignore", "-c", CHILDREN, run.path, tmp_path, parent, pairs_dir]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    # A busy parent holds the lock nearly all of the time.
    assert done.stdout == "0\n" or parent == "busy"


def test_scores_survive_pickle_and_copy(run, pairs, tmp_path):
    scores = cagan.evaluate(run.swapper(), pairs, targets=1, height=64)
    scores.sheet(tmp_path / "a.png")
    for one in again(scores):
        assert one.to_json() == scores.to_json()
        one.sheet(tmp_path / "b.png")
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    # A function without a name stays behind, and only the sheet needs it.
    scores = cagan.evaluate(lambda *pictures: pictures[0], pairs, targets=1, height=64)
    pickled, *copies = again(scores)
    assert pickled.to_json() == scores.to_json()
    refusal(ValueError, lambda: pickled.sheet(tmp_path / "c.png"), "could not be pickled")
    for one in copies:
        one.sheet(tmp_path / "c.png")
    copies[1].rows[0]["human"] = "changed"
    assert scores.rows[0]["human"] != "changed"
