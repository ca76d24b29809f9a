"""The loader: the pictures of a step, resident or streamed, and files that it cannot decode."""

import gc
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import cagan
import numpy as np
import pytest
from helpers import contents, read_tensors, refusal
from PIL import Image


def config(**overrides):
    return cagan.Config("smoke", crop_margin=5, threads=1, **overrides)


def triplets(pairs, steps, **overrides):
    trainer = cagan.Trainer(pairs, config(**overrides))
    return [trainer.triplet(step) for step in steps]


def same(some, others):
    return all(np.array_equal(a, b) for x, y in zip(some, others, strict=True) for a, b in zip(x, y, strict=True))


@pytest.mark.parametrize("jitter", [0, 0.3])
def test_streaming_gives_the_resident_triplets(pairs, jitter):
    steps = [0, 1, 2, 3, 7, 8, 2, 2, 0]
    resident = triplets(pairs, steps, loader="resident", colour_jitter=jitter)
    for workers, prefetch in ((1, 1), (2, 3), (7, 20)):
        settings = {"loader": "streaming", "loader_workers": workers, "loader_prefetch": prefetch}
        assert same(resident, triplets(pairs, steps, colour_jitter=jitter, **settings))
    assert not same(resident, triplets(pairs, steps, loader="resident", colour_jitter=jitter, seed=1))


def test_a_run_is_the_same_run_either_way(pairs, tmp_path):
    runs = [
        cagan.train(pairs, tmp_path / loader, config(steps=4, loader=loader), progress=False)
        for loader in ("resident", "streaming")
    ]
    resident, streaming = ((run.snapshots[-1], run.samples[-1]) for run in runs)
    # A snapshot holds its config, and that names the loader.
    (_, ours), (_, others) = read_tensors(resident[0]), read_tensors(streaming[0])
    assert all(np.array_equal(ours[name], others[name]) for name in ours)
    assert resident[1].read_bytes() == streaming[1].read_bytes()


def noise_pairs(folder, count, low, high):
    """Pairs of pictures without any symmetry."""
    rng = np.random.default_rng(3)
    for side in ("human", "article"):
        (folder / side).mkdir()
        for k in range(count):
            pixels = rng.integers(low, high, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / side / f"{k}.png")
    return cagan.Pairs(folder)


def test_a_triplet_follows_its_draw(tmp_path):
    """Each picture of a batch is found among the files, straight or mirrored."""
    pairs = noise_pairs(tmp_path, 8, 0, 256)
    trainer = cagan.Trainer(pairs, cagan.Config("smoke", batch_size=8, crop_margin=0))
    humans = {pair.human.tobytes(): k for k, pair in enumerate(pairs)}
    articles = {pair.article.tobytes(): k for k, pair in enumerate(pairs)}

    def found(values, known):
        pixels = np.round(values.transpose(1, 2, 0) * 255).astype(np.uint8)
        mirrored = pixels.tobytes() not in known
        return known[pixels[:, ::-1].tobytes() if mirrored else pixels.tobytes()], mirrored

    seen, flips = [], set()
    for step in range(6):
        for human, worn, target in zip(*trainer.triplet(step)):
            pair, flip = found(human, humans)
            assert found(worn, articles) == (pair, flip), "human and worn article are one pair, mirrored together"
            other, flip_other = found(target, articles)
            assert other != pair
            seen.append(pair)
            flips.add((flip, flip_other))
    assert sorted(seen) == sorted(list(range(8)) * 6)
    assert len(flips) == 4


def test_the_target_is_of_another_content(tmp_path, pairs_dir):
    """The same article under four names, in three formats, is never its own target."""
    shutil.copytree(pairs_dir, tmp_path, dirs_exist_ok=True)
    article = Image.open(tmp_path / "article" / "00000.png").convert("RGB")
    for name in ("00001.bmp", "00002.tiff", "00003.png"):
        (tmp_path / "article" / f"{name[:5]}.png").unlink()
        article.save(tmp_path / "article" / name)
    pairs = cagan.Pairs(tmp_path)
    trainer = cagan.Trainer(pairs, cagan.Config("smoke", batch_size=8, crop_margin=0, flip=False))
    worn_alike = 0
    for step in range(30):
        _, worn, target = trainer.triplet(step)
        assert all(not np.array_equal(a, b) for a, b in zip(worn, target))
        worn_alike += sum(np.array_equal(worn[0], other) for other in worn[1:])
    assert worn_alike > 0
    for k in range(4, 8):
        shutil.copy(tmp_path / "article" / "00003.png", tmp_path / "article" / f"{k:05}.png")
    parts = ("pairs: expected for each pair an article of other content", "none for `00000`")
    refusal(ValueError, lambda: cagan.Trainer(cagan.Pairs(tmp_path), config()), *parts)


def test_articles_without_a_human_are_targets_and_never_worn(tmp_path, pairs_dir):
    shutil.copytree(pairs_dir, tmp_path, dirs_exist_ok=True)
    for k in range(2, 8):
        (tmp_path / "human" / f"{k:05}.png").unlink()
    pairs = cagan.Pairs(tmp_path, extra_articles=True)
    assert (len(pairs), len(pairs.extra_articles)) == (2, 6)
    trainer = cagan.Trainer(pairs, cagan.Config("smoke", batch_size=2, crop_margin=0, flip=False))
    pixels = [trainer.triplet(step) for step in range(40)]
    worn = {picture.tobytes() for _, batch, _ in pixels for picture in batch}
    targets = {picture.tobytes() for _, _, batch in pixels for picture in batch}
    assert (len(worn), len(targets), len(worn & targets)) == (2, 8, 2)


def spoil(folder, name):
    (folder / name).write_bytes(b"\x89PNG\r\n\x1a\nbroken")


@pytest.mark.parametrize("loader", ["resident", "streaming"])
def test_broken_files_are_skipped_counted_and_listed(tmp_path, pairs_dir, loader):
    folder = shutil.copytree(pairs_dir, tmp_path / "pairs")
    spoil(folder, "human/00002.png")
    spoil(folder, "article/00005.png")
    call = lambda: cagan.train(folder, tmp_path / "run", config(steps=1, loader=loader), progress=False)  # noqa: E731
    refusal(ValueError, call, folder / "human" / "00002.png", "cannot be decoded")
    pairs = cagan.Pairs(folder, on_error="skip")
    started = []
    note = lambda name, value: started.append(value) if name == "start" else None  # noqa: E731
    with pytest.warns(UserWarning, match=r"2 skipped, 6 pairs left; the first: 00002: .*00002\.png") as caught:
        cagan.train(pairs, tmp_path / "run", config(steps=2, loader=loader), progress=False, on_event=note)
    assert caught[0].filename == __file__
    assert (started[0]["pairs"], started[0]["articles"], len(started[0]["skipped"])) == (6, 6, 2)
    lines = (tmp_path / "run" / "skipped.csv").read_text().splitlines()
    assert lines[0] == "id,path,reason"
    assert [line.split(",")[0] for line in lines[1:]] == ["00002", "00005"]
    for name in ("00000", "00001", "00003", "00004", "00006"):
        spoil(folder, f"human/{name}.png")
    refusal(ValueError, lambda: cagan.Trainer(pairs, config(loader=loader)), "pairs: expected at least 2", "got 1")


def test_a_file_that_breaks_while_it_streams_costs_no_steps(tmp_path, pairs_dir):
    folder = shutil.copytree(pairs_dir, tmp_path / "pairs")
    settings = config(steps=400, loader="streaming", loader_prefetch=1, loader_workers=1)

    def lose(name, value):
        if (name, value) == ("step", 3):
            shutil.rmtree(folder / "human")

    with pytest.raises(FileNotFoundError, match="human"):
        cagan.train(folder, tmp_path / "run", settings, progress=False, on_event=lose)
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    reached = int(checkpoint.stem.split("_")[1])
    assert 3 <= reached <= 8
    shutil.copytree(pairs_dir / "human", folder / "human")
    again = cagan.train(folder, tmp_path / "run", settings.replace(steps=reached + 2), progress=False)
    whole = cagan.train(folder, tmp_path / "whole", settings.replace(steps=reached + 2), progress=False)
    assert all(
        np.array_equal(a, b)
        for a, b in zip(read_tensors(again.snapshots[-1])[1].values(), read_tensors(whole.snapshots[-1])[1].values())
    )


def test_memory_is_reported_before_it_is_allocated(pairs, tmp_path):
    said = []

    def stop(name, value):
        said.append((name, value))
        raise RuntimeError("enough")

    for loader, size in (("resident", 16 * 3 * 69 * 69), ("streaming", 5 * 4 * 9 * 64 * 64 * 4)):
        said.clear()
        with pytest.raises(RuntimeError, match="enough"):
            cagan.train(pairs, tmp_path / "run", config(loader=loader), progress=False, on_event=stop)
        expected = {"done": 0, "files": 16, "pairs": 8, "loader": loader, "bytes": size, "workers": os.cpu_count()}
        assert said == [("load", expected)]
    assert not (tmp_path / "run").exists()


def decoding_threads():
    return sum(path.read_text().startswith("cagan-decode") for path in Path("/proc/self/task").glob("*/comm"))


def soon(condition):
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.05)
    return False


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="tells threads by /proc")
def test_no_thread_stays_behind(pairs):
    gc.collect()
    assert soon(lambda: decoding_threads() == 0)
    trainer = cagan.Trainer(pairs, config(loader="streaming", loader_workers=3))
    trainer.triplet(0)
    # A thread gets its name shortly after it begins.
    assert soon(lambda: decoding_threads() == 3)
    del trainer
    assert soon(lambda: decoding_threads() == 0)
    # A resident set needs no thread once it is loaded.
    trainer = cagan.Trainer(pairs, config(loader="resident"))
    assert soon(lambda: decoding_threads() == 0)
    assert trainer.step == 0


def test_control_c_while_loading_ends_at_once(tmp_path, pairs_dir):
    """An interrupt while thousands of pictures load."""
    for side in ("human", "article"):
        (tmp_path / "pairs" / side).mkdir(parents=True)
        for k in range(4000):
            (tmp_path / "pairs" / side / f"{k}.png").symlink_to(pairs_dir / side / f"0000{k % 8}.png")
    code = """
        import os, signal, sys, cagan
        def interrupt(name, value):
            if name == "load" and value["done"] > 0:
                assert value["done"] < value["files"] / 2
                os.kill(os.getpid(), signal.SIGINT)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            cagan.train(sys.argv[1], sys.argv[2], "smoke", progress=False, on_event=interrupt)
        except KeyboardInterrupt:
            sys.exit(3)
    """
    arguments = [sys.executable, "-c", textwrap.dedent(code), tmp_path / "pairs", tmp_path / "run"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (3, "")
    assert not (tmp_path / "run").exists()


def test_colours_are_drawn_once_for_a_triplet(tmp_path):
    """One affine map takes the colours of a human and of its two articles to the jittered ones."""
    pairs = noise_pairs(tmp_path, 4, 90, 165)
    plain = cagan.Trainer(pairs, cagan.Config("smoke"))
    jittered = cagan.Trainer(pairs, cagan.Config("smoke", colour_jitter=0.2))
    maps = []
    for step in range(3):
        before = [batch.transpose(0, 2, 3, 1).reshape(4, -1, 3) for batch in plain.triplet(step)]
        after = [batch.transpose(0, 2, 3, 1).reshape(4, -1, 3) for batch in jittered.triplet(step)]
        with_one = [np.concatenate([pixels, np.ones_like(pixels[:, :, :1])], 2) for pixels in before]
        for k in range(4):
            found, *_ = np.linalg.lstsq(with_one[0][k], after[0][k], rcond=None)
            assert all(np.abs(with_one[side][k] @ found - after[side][k]).max() < 1e-4 for side in range(3))
            maps.append(found)
    apart = [np.abs(a - b).max() for i, a in enumerate(maps) for b in maps[:i]]
    assert min(apart) > 1e-3, "each triplet has a draw of its own"
    assert all(0.7 < found[:3].sum(0).mean() < 1.5 for found in maps)


def test_pictures_are_fitted_as_pillow_would(tmp_path):
    """A photo keeps its middle, an article gets bars in its background's colour."""
    rng = np.random.default_rng(0)
    smooth = lambda h, w: np.asarray(  # noqa: E731
        Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)).resize((w, h), Image.Resampling.BICUBIC)
    )
    for k in range(2):
        (tmp_path / "human").mkdir(exist_ok=True)
        (tmp_path / "article").mkdir(exist_ok=True)
        human, article = smooth(300, 200), smooth(100, 180).copy()
        article[:8], article[-8:], article[:, :8], article[:, -8:] = 240, 240, 240, 240
        Image.fromarray(human).save(tmp_path / "human" / f"{k}.png")
        Image.fromarray(article).save(tmp_path / "article" / f"{k}.png")
    pairs = cagan.Pairs(tmp_path)
    settings = {"batch_size": 2, "flip": False, "crop_margin": 0}

    def loaded(**fits):
        human, worn, _ = cagan.Trainer(pairs, cagan.Config("smoke", **settings, **fits)).triplet(0)
        return (np.stack([human, worn]) * 255).transpose(0, 1, 3, 4, 2)

    def near(pixels, side, expected):
        worst = [np.abs(pixels[side][k] - expected(pair)).max() for k in range(2) for pair in pairs]
        return sorted(worst)[1] <= 2

    def resized(image, box=None, size=(64, 64)):
        return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR, box=box), dtype=float)

    def barred(image, size):
        """Returns the picture of [height, width] in the middle."""
        out = np.full((64, 64, 3), 240.0)
        top, left = (64 - size[0]) // 2, (64 - size[1]) // 2
        out[top : top + size[0], left : left + size[1]] = resized(image, size=size[::-1])
        return out

    usual = loaded()
    assert near(usual, 0, lambda pair: resized(pair.human, box=(0, 50, 200, 250)))
    assert near(usual, 1, lambda pair: barred(pair.article, (36, 64)))
    stretched = loaded(human_fit="stretch", article_fit="stretch")
    assert near(stretched, 0, lambda pair: resized(pair.human))
    assert near(stretched, 1, lambda pair: resized(pair.article))
    assert near(loaded(article_fit="crop"), 1, lambda pair: resized(pair.article, box=(40, 0, 140, 100)))


def test_a_loader_that_fails_leaves_the_run_alone(pairs, run, tmp_path):
    used = shutil.copytree(run.path, tmp_path / "used")
    before = contents(used)
    call = lambda: cagan.train(pairs, used, "smoke", steps=6, progress=False, loader="disk")  # noqa: E731
    refusal(ValueError, call, "loader: expected one of auto, resident, streaming", "disk")
    assert contents(used) == before
