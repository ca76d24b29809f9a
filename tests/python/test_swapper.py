"""Swapping: pictures of every form, masks, batches, threads, saved swaps."""

import functools
import io
import json
import os
import signal
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor

import cagan
import numpy as np
import pytest
import torch
from helpers import random_picture, refusal, same_swap, with_mask
from PIL import Image, ImageCms


def test_the_attributes_of_a_swapper(swapper, run):
    assert swapper.config == run.config
    assert (swapper.path, swapper.step) == (run.snapshots[-1], 4)
    assert repr(swapper) == f'Swapper("{swapper.path}", step 4)'
    assert cagan.Swapper(str(run.snapshots[-1]), device="cpu").step == 4


@pytest.fixture(scope="module")
def two(pairs, tmp_path_factory):
    """A run with snapshots of steps 2 and 4, the first of which a monitor found best."""
    folder = tmp_path_factory.mktemp("two")
    run = cagan.train(pairs, folder, "smoke", steps=4, snapshot_every=2, threads=1, progress=False)
    (folder / "snapshots" / "best.safetensors").write_bytes(run.snapshots[0].read_bytes())
    return run


def test_the_best_snapshot_is_used_unless_another_is_named(two, pairs, tmp_path):
    assert (cagan.Swapper(two).step, two.swapper().step, two.best_swapper().step) == (2, 2, 2)
    assert cagan.Swapper(two).path.name == "best.safetensors"
    assert [two.swapper(which=which).step for which in ("best", "newest", 2, 4)] == [2, 4, 2, 4]
    refusal(ValueError, lambda: two.swapper(which=3), "expected step 2, 4", "got step 3")
    refusal(ValueError, lambda: two.swapper(which="newst"), "which: expected best, newest or a step", "newst")
    refusal(ValueError, lambda: cagan.Swapper(two.snapshots[0], which="newest"), "which: expected a run's folder")
    newest = cagan.evaluate(two, pairs, targets=1, which="newest", progress=False)
    assert newest.settings["step"] == 4
    assert cagan.Run(two).evaluation["settings"]["step"] == 4
    assert cagan.Run(two).evaluation["verdict"] == newest.verdict
    assert cagan.evaluate(two, pairs, targets=1, progress=False).settings["step"] == 2
    for which, step in ((None, 2), ("newest", 4)):
        path = cagan.export(two, tmp_path / "a.safetensors", which=which)
        assert cagan.Swapper(path).step == step
    refusal(ValueError, lambda: cagan.export(two.swapper(), tmp_path / "b.safetensors", which="best"), "which")
    # The monitor's scores decide: the newest, unless the run got worse since.
    looks = two.path / "monitor.jsonl"
    for last, step in ((0.59, 4), (0.61, 2), (None, 2)):
        scores = ((1, 0.9), (2, 0.5), (4, last))
        looks.write_text("".join(json.dumps({"step": k, "monitor/score": score}) + "\n" for k, score in scores))
        assert two.swapper().step == step == cagan.Swapper(cagan._cagan.chosen(two.path)).step
    looks.write_text("")
    (two.path / "snapshots" / "best.safetensors").rename(tmp_path / "best.safetensors")
    assert two.swapper().step == 4, "without a best one it is the newest"
    refusal(FileNotFoundError, two.best_swapper, two.path, "best.safetensors")
    (tmp_path / "best.safetensors").rename(two.path / "snapshots" / "best.safetensors")


def test_pairs_stand_for_their_pictures(swapper, pairs):
    person, other = pairs[0], pairs[1]
    expected = swapper.swap(person.human, person.article, other.article)
    assert same_swap(swapper.swap(person, target=other), expected)
    assert same_swap(swapper.swap(person.human, person, other), expected)
    assert not same_swap(swapper.swap(person, other.article, other), expected), "another worn article may be given"
    for people, targets in (([person, pairs[2]], [other, pairs[3]]), (pairs[:3:2], pairs[1:4:2])):
        both = swapper.swap(people, target=targets)
        assert len(both) == 2 and same_swap(both[0], expected)
        assert same_swap(both[1], swapper.swap(pairs[2].human, pairs[2].article, pairs[3].article))
    assert same_swap(next(swapper.stream([person], target=other)), expected)
    # A list with a photo knows of no worn articles.
    refusal(ValueError, lambda: swapper.swap([person, person.human], target=other), "worn")


def test_a_swap_becomes_pictures_of_pillow(swapper, pairs):
    swap = swapper.swap(pairs[0], target=pairs[1])
    for part in ("image", "mask", "paint"):
        assert np.array_equal(np.asarray(swap.to_pil(part)), getattr(swap, part))
    refusal(ValueError, lambda: swap.to_pil("located"), "part", "located")
    refusal(ValueError, lambda: swap.to_pil("masks"), "part: expected image, mask, paint or located", "masks")
    for human in (pairs[0], pairs[0].human_path, pairs[0].human):
        both = np.asarray(swap.before_after(human))
        width = swap.image.shape[1]
        assert np.array_equal(both[:, :width], pairs[0].human)
        assert np.array_equal(both[:, -width:], swap.image)
    refusal(
        ValueError, lambda: swap.before_after(np.zeros((9, 9, 3), np.uint8)), "human: expected the photo of the swap"
    )


def test_results_show_people_before_and_after(two, pairs):
    sheet = two.show_results(pairs, 3)
    assert sheet.size == (5 * 200 - 8, 3 * 264 - 8)
    assert np.asarray(sheet).std() > 10
    assert two.show_results().size[0] > 100
    refusal(ValueError, lambda: two.show_results(pairs[:1]), "expected 2 or more")


def test_paths_arrays_and_pil_pictures_give_the_same_swap(swapper, pairs):
    person, other = pairs[0], pairs[1]
    paths = (person.human_path, person.article_path, other.article_path)
    expected = swapper.swap(*paths)
    arrays = (person.human, person.article, other.article)
    for given in (
        tuple(map(str, paths)),
        arrays,
        tuple(Image.fromarray(array) for array in arrays),
        (paths[0], arrays[1], Image.fromarray(arrays[2])),
        tuple(np.asfortranarray(array) for array in arrays),
        tuple(np.pad(array, ((3, 4), (5, 6), (0, 0)))[3:-4, 5:-6] for array in arrays),
    ):
        assert same_swap(swapper.swap(*given), expected)
    assert same_swap(swapper.swap(human=paths[0], worn=paths[1], target=paths[2]), expected)
    (alone,) = swapper.swap(paths[0], paths[1], [paths[2]])
    assert same_swap(alone, expected)
    three = swapper.swap(paths[0], paths[1], [paths[2], arrays[1], arrays[2]])
    assert [same_swap(swap, expected) for swap in three] == [True, False, True]
    assert swapper.swap([], arrays[1], arrays[2]) == []


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "L", "P", "1", "CMYK", "I;16"])
def test_a_pil_picture_means_what_its_file_means(swapper, pairs, tmp_path, mode):
    """Transparency is blended with white and 16 bits become 8, whether Pillow or the core opens the file."""
    if mode == "I;16":
        picture = Image.fromarray(np.random.default_rng(4).integers(0, 1 << 16, (64, 64), dtype=np.uint16))
    elif mode in ("RGBA", "LA"):
        picture = Image.fromarray(random_picture(64, 64, len(mode) if mode == "LA" else 4), mode)
    else:
        picture = Image.fromarray(random_picture(64, 64)).convert(mode)
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    picture.save(path)
    articles = (pairs[0].article, pairs[1].article)
    with Image.open(path) as opened:
        assert opened.mode == mode
        assert same_swap(swapper.swap(opened, *articles), swapper.swap(path, *articles))


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (63, 65), (101, 37), (64, 64), (257, 190)])
def test_a_swap_has_the_photos_own_size(swapper, pairs, size):
    photo = np.asarray(Image.fromarray(pairs[0].human).resize(size[::-1]))
    swap = swapper.swap(photo, pairs[0].article, np.zeros((7, 300, 3), np.uint8))
    assert (swap.image.shape, swap.mask.shape, swap.paint.shape) == ((*size, 3), size, (*size, 3))
    assert {array.dtype for array in (swap.image, swap.mask, swap.paint)} == {np.dtype(np.uint8)}
    assert repr(swap) == f"Swap({size[0]} x {size[1]})"
    assert np.array_equal(swap.image, blended(photo, swap))


def blended(photo, swap):
    """Computes mask * paint + (1 - mask) * photo, rounded."""
    mask = swap.mask[..., None].astype(int)
    return ((mask * swap.paint + (255 - mask) * photo.astype(int) + 127) // 255).astype(np.uint8)


@pytest.mark.parametrize(("size", "cut"), [((64, 64), 0), ((75, 121), 23)])
def test_the_mask_decides_between_photo_and_paint(run, pairs, tmp_path, size, cut):
    photo = random_picture(*size)
    # The networks read the middle square.
    inside = np.zeros(size, dtype=bool)
    inside[:, cut : size[1] - cut] = True
    arguments = (photo, pairs[0].article, pairs[1].article)
    nothing = with_mask(run, tmp_path / "nothing.safetensors", -1e4).swap(*arguments)
    assert not nothing.mask.any()
    assert np.array_equal(nothing.image, photo)
    assert not np.array_equal(nothing.paint, photo)
    everything = with_mask(run, tmp_path / "everything.safetensors", 1e4).swap(*arguments)
    assert np.array_equal(everything.mask == 255, inside)
    assert np.array_equal(everything.mask == 0, ~inside)
    assert np.array_equal(everything.image, everything.paint)
    assert np.array_equal(everything.image[~inside], photo[~inside])
    assert np.array_equal(everything.paint, nothing.paint)

    mixed = with_mask(run, tmp_path / "mixed.safetensors", 0, gain=1e5).swap(*arguments)
    kept, repainted = mixed.mask == 0, mixed.mask == 255
    assert min(kept.sum(), repainted.sum()) > 50
    assert np.array_equal(mixed.image[kept], photo[kept])
    assert np.array_equal(mixed.image[repainted], mixed.paint[repainted])
    assert np.array_equal(mixed.image, blended(photo, mixed))


def test_many_at_once_are_one_by_one(swapper, pairs):
    count = 70
    sizes = [(60 + 3 * (k % 5), 50 + 7 * (k % 3)) for k in range(count)]
    photos = [np.asarray(Image.fromarray(pairs[k % 8].human).resize(size)) for k, size in enumerate(sizes)]
    worn = [pairs[k % 8].article_path for k in range(count)]
    targets = [pairs[(k + 1 + k % 7) % 8].article for k in range(count)]
    swaps = swapper.swap(photos, worn, targets)
    assert len(swaps) == count
    for swap, *arguments in zip(swaps, photos, worn, targets):
        assert same_swap(swap, swapper.swap(*arguments))


def test_threads_may_share_a_swapper(swapper, pairs):
    jobs = [(pairs[a].human, pairs[a].article, pairs[b].article) for a in range(4) for b in range(4, 8)]
    serial = [swapper.swap(*job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        parallel = list(pool.map(lambda job: swapper.swap(*job), jobs))
    assert all(map(same_swap, serial, parallel))
    assert not same_swap(serial[0], serial[1])


def test_a_swap_is_saved_and_shown(swapper, pairs, tmp_path):
    swap = swapper.swap(pairs[0].human, pairs[0].article, pairs[1].article)
    swap.save(tmp_path / "alone.png")
    swap.save(str(tmp_path / "a.png"), mask=tmp_path / "m.png")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "alone.png", "m.png"]
    for given, mode, expected in (
        (tmp_path / "a.png", "RGB", swap.image),
        (tmp_path / "alone.png", "RGB", swap.image),
        (tmp_path / "m.png", "L", swap.mask),
    ):
        with Image.open(given) as picture:
            assert (picture.format, picture.mode) == ("PNG", mode)
            assert np.array_equal(np.asarray(picture), expected)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({"image": np.zeros((4, 5), np.uint8)}, ["image", "[H, W, 3]", "shape [4, 5]"]),
        ({"image": np.zeros((0, 5, 3), np.uint8)}, ["image", "shape [0, 5, 3]"]),
        ({"image": np.zeros((4, 5, 3))}, ["image", "uint8", "float64"]),
        ({"mask": np.zeros((4, 5, 1), np.uint8)}, ["mask", "[4, 5]", "shape [4, 5, 1]"]),
        ({"mask": "m"}, ["mask", "[4, 5]", "str"]),
        ({"paint": np.zeros((5, 4, 3), np.uint8)}, ["paint", "[4, 5, 3]", "shape [5, 4, 3]"]),
    ],
)
def test_swaps_of_the_wrong_shape(parts, text):
    whole = {"image": np.zeros((4, 5, 3), np.uint8), "mask": np.zeros((4, 5), np.uint8)}
    whole["paint"] = whole["image"]
    refusal(ValueError, lambda: cagan.Swap(**(whole | parts)), *text)


# Streams


def test_a_stream_gives_the_swaps_of_a_list(swapper, pairs):
    people = [pairs[k % 8] for k in range(21)]
    sides = (
        [p.human_path for p in people],
        [p.article for p in people],
        [pairs[(k + 1) % 8].article_path for k in range(21)],
    )
    expected = swapper.swap(*sides)
    for given in (sides, (iter(sides[0]), (p for p in sides[1]), sides[2])):
        assert all(map(same_swap, swapper.stream(*given), expected))
        assert len(list(swapper.stream(*given[:2], pairs[0].article))) in (0, 21), "iterators are used up"
    (alone,) = swapper.stream(sides[0][0], sides[1][0], sides[2][0])
    assert same_swap(alone, expected[0])
    assert list(swapper.stream([], sides[1][0], sides[2][0])) == []


def test_a_stream_reads_as_it_goes(swapper, pairs):
    taken = []

    def photos():
        for k in range(1000):
            taken.append(k)
            yield pairs[k % 8].human

    stream = swapper.stream(photos(), pairs[0].article, pairs[1].article)
    for _ in range(3):
        next(stream)
    assert len(taken) < 50


def test_a_broken_picture_costs_its_own_swap(swapper, pairs, tmp_path):
    (tmp_path / "cut.png").write_bytes(pairs[0].human_path.read_bytes()[:60])
    photos = [pairs[k % 8].human_path for k in range(40)]
    photos[5], photos[20], photos[39] = tmp_path / "cut.png", tmp_path / "none.png", b"a letter"
    rest = (pairs[0].article, pairs[1].article)
    whole = swapper.swap([pairs[k % 8].human_path for k in range(40)], *rest)
    found = swapper.swap(photos, *rest, on_error="return")
    assert [(e.row, e.type) for e in found if isinstance(e, cagan.SwapError)] == [
        (5, "ValueError"),
        (20, "FileNotFoundError"),
        (39, "ValueError"),
    ]
    assert [k for k, swap in enumerate(found) if isinstance(swap, Exception)] == [5, 20, 39]
    kept = swapper.swap(photos, *rest, on_error="skip")
    assert len(kept) == 37 and same_swap(kept[-1], whole[38])
    assert "human[39]: cannot be decoded" in str(found[39])
    assert all(same_swap(a, b) for a, b in zip(found, whole) if not isinstance(a, Exception))
    with pytest.raises(ValueError, match="cut"):
        swapper.swap(photos, *rest)
    # A stream raises in the row's turn, and the next call goes on behind it.
    stream, seen = swapper.stream(iter(photos), *rest), []
    while True:
        try:
            seen.append(next(stream))
        except StopIteration:
            break
        except (ValueError, FileNotFoundError) as error:
            seen.append(error)
    assert [type(a).__name__ for a in seen] == [getattr(a, "type", "Swap") for a in found]
    assert len(list(swapper.stream(iter(photos), *rest, on_error="skip"))) == 37
    # An article that goes with all is everyone's.
    with pytest.raises(ValueError, match="target: cannot be decoded"):
        swapper.swap(photos, rest[0], b"a letter", on_error="return")


def test_a_streams_mistakes(swapper, pairs):
    photo, article = pairs[0].human, pairs[0].article
    refusal(
        ValueError,
        lambda: swapper.stream([photo], [article] * 2, article),
        "worn",
        "as many pictures as human (1)",
        "2",
    )
    refusal(ValueError, lambda: swapper.stream([photo], article, article, on_error="drop"), "on_error", "drop")
    refusal(ValueError, lambda: swapper.stream([photo], target=article), "worn", "none")
    refusal(TypeError, lambda: swapper.stream([photo], article), "target")
    for human, target, text in (
        (2, 3, "target: expected as many pictures as human (2), got more"),
        (3, 2, "target: expected as many pictures as human, got 2"),
    ):
        stream = swapper.stream(iter([photo] * human), article, iter([article] * target))
        assert [type(next(stream)) for _ in range(2)] == [cagan.Swap] * 2
        refusal(ValueError, stream.__next__, text)
        assert list(stream) == []

    def failing():
        yield photo
        raise KeyError("mine")

    stream = swapper.stream(failing(), article, article)
    next(stream)
    with pytest.raises(KeyError, match="mine"):
        next(stream)


def test_a_signal_handler_that_swaps_does_not_wait_for_itself(swapper, pairs):
    """The handler runs in the middle of a list, in the thread that swaps."""
    person, seen = (pairs[0].human, pairs[0].article, pairs[1].article), []
    photo = np.zeros((900, 700, 3), np.uint8)

    def handler(*_):
        seen.append(swapper.swap(*person))

    old = signal.signal(signal.SIGUSR1, handler)
    timer = threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    timer.start()
    try:
        swaps = swapper.swap([photo] * 100, person[1], person[2])
    finally:
        timer.join()
        signal.signal(signal.SIGUSR1, old)
    assert len(swaps) == 100
    assert same_swap(seen[0], swapper.swap(*person))


def test_ctrl_c_is_heard_soon_and_leaves_nothing_locked(swapper, pairs):
    photo, rest = np.zeros((1500, 1200, 3), np.uint8), (pairs[0].article, pairs[1].article)
    for make in (lambda: swapper.swap([photo] * 400, *rest), lambda: list(swapper.stream([photo] * 400, *rest))):
        timers = [threading.Timer(0.5 + k / 100, lambda: os.kill(os.getpid(), signal.SIGINT)) for k in range(2)]
        start, ended = time.monotonic(), False
        try:
            try:
                [timer.start() for timer in timers]
                make()
                ended = True
            except KeyboardInterrupt:
                # The second may come here.
                time.sleep(0.5)
        except KeyboardInterrupt:
            pass
        assert not ended
        assert time.monotonic() - start < 3
        swapper.swap(photo, *rest)
    stream = swapper.stream([photo] * 400, *rest)
    timer = threading.Timer(0.5, lambda: os.kill(os.getpid(), signal.SIGINT))
    start, count, waiting = time.monotonic(), 0, True
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        while True:
            waiting = True
            next(stream)
            waiting = False
            count += 1
    assert time.monotonic() - start < 2.5
    # What was done behind the last one taken is still given. A stream that did not wait knows of no interrupt.
    assert count + len(list(stream)) < (400 if waiting else 401)


# Pictures


@pytest.mark.parametrize("ending", ["jpg", "png", "webp"])
def test_bytes_and_open_files_are_pictures(swapper, pairs, tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    Image.fromarray(pairs[0].human).resize((90, 70)).save(path)
    rest = (pairs[0].article, pairs[1].article)
    expected = swapper.swap(path, *rest)
    content = path.read_bytes()
    with path.open("rb") as file, zipfile.ZipFile(tmp_path / "a.zip", "w") as pack:
        pack.writestr("a", content)
        with pack.open("a") as packed:
            flat = np.frombuffer(content, np.uint8)
            for given in (content, bytearray(content), memoryview(content), flat, io.BytesIO(content), file, packed):
                assert same_swap(swapper.swap(given, *rest), expected), type(given)
    with path.open(encoding="latin-1") as file:
        refusal(ValueError, lambda: swapper.swap(file, *rest), "human: expected a file opened for bytes")
    refusal(ValueError, lambda: swapper.swap(content[:50], *rest), "human: cannot be decoded")
    refusal(ValueError, lambda: swapper.swap(7, *rest), "human: expected a path, a file's bytes", "int")


def test_a_pil_picture_keeps_its_profile_orientation_and_range(swapper, pairs, tmp_path):
    rest, photo = (pairs[0].article, pairs[1].article), Image.fromarray(pairs[0].human).resize((90, 70))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    # Red and blue change places.
    tags = {profile[p : p + 4]: p for p in range(132, 132 + 12 * profile[131], 12)}
    red, blue = (tags[name] + 4 for name in (b"rXYZ", b"bXYZ"))
    other = bytearray(profile)
    other[red : red + 8], other[blue : blue + 8] = profile[blue : blue + 8], profile[red : red + 8]
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options in (
        ("a.png", {"icc_profile": bytes(other)}),
        ("b.jpg", {"exif": exif, "quality": 95}),
        ("c.png", {"transparency": (255, 255, 255)}),
    ):
        photo.save(tmp_path / name, **options)
        with Image.open(tmp_path / name) as opened:
            # Two decoders of JPEG differ by a few levels.
            got, want = swapper.swap(opened, *rest), swapper.swap(tmp_path / name, *rest)
        assert got.image.shape == want.image.shape
        assert np.abs(got.image.astype(int) - want.image).max() <= 8, name
    grey = photo.convert("L")
    want = swapper.swap(grey, *rest)
    for mode, scale in (("I", 257), ("I;16", 257)):
        array = np.asarray(grey).astype(np.int32 if mode == "I" else np.uint16) * scale
        assert same_swap(swapper.swap(Image.fromarray(array), *rest), want), mode


def test_a_device_of_torch(run, pairs):
    swapper = cagan.Swapper(run.path, torch.device("cpu"))
    assert same_swap(
        swapper.swap(pairs[0].human, pairs[0].article, pairs[1].article),
        run.swapper().swap(pairs[0].human, pairs[0].article, pairs[1].article),
    )
    assert cagan.Config("smoke", device=torch.device("cuda", 1)).device == "cuda:1"
    assert cagan.Config("smoke", device=torch.device("cpu", 0)).device == "cpu"
    assert cagan.Swapper(run.path, torch.device("cpu", 0)).step == 4
    refusal(TypeError, lambda: cagan.Swapper(run.path, 3), "device: expected a text or a torch.device, got int")
    refusal(RuntimeError, lambda: cagan.Swapper(run.path, torch.device("cuda:64")), "device")


# Files


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.webp", "a.png"])
def test_a_saved_file_is_what_its_ending_says(swapper, pairs, tmp_path, name):
    swap = swapper.swap(pairs[0].human, pairs[0].article, pairs[1].article)
    swap.save(tmp_path / name, mask=tmp_path / f"m{name}")
    kind = {"jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP", "png": "PNG"}[name.split(".")[1].lower()]
    for file, part, array in ((name, "image", swap.image), (f"m{name}", "mask", np.stack([swap.mask] * 3, -1))):
        with Image.open(tmp_path / file) as picture:
            assert picture.format == kind
            most = 40 if kind == "JPEG" else 0
            assert np.abs(np.asarray(picture.convert("RGB")).astype(int) - array).max() <= most
        assert swap.encoded(name.split(".")[1], part) == (tmp_path / file).read_bytes()


def test_an_ending_that_cannot_be_written_writes_nothing(swapper, pairs, tmp_path):
    swap = swapper.swap(pairs[0].human, pairs[0].article, pairs[1].article)
    for name in ("a.gif", "a.tar.gz", "a"):
        for paths in ((tmp_path / name, tmp_path / "m.png"), (tmp_path / "b.png", tmp_path / name)):
            refusal(ValueError, functools.partial(swap.save, *paths), name, ".png, .jpg, .jpeg or .webp")
    assert list(tmp_path.iterdir()) == []
    refusal(ValueError, lambda: swap.encoded("gif"), ".gif")
    refusal(ValueError, lambda: swap.encoded("png", "hat"), "part", "hat")
    refusal(ValueError, lambda: swap.encoded("png", "located"), "part", "located")


def test_a_saved_file_has_the_quality_and_the_size_that_were_asked_for(swapper, pairs, tmp_path):
    photo = np.asarray(Image.fromarray(pairs[0].human).resize((150, 200)))
    swap = swapper.swap(photo, pairs[0].article, pairs[1].article)
    for ending, name in (("webp", "WEBP"), ("jpg", "JPEG")):
        fine, coarse = (len(swap.encoded(ending, quality=quality)) for quality in (90, 10))
        assert coarse < 0.7 * fine
        swap.save(tmp_path / f"a.{ending}", mask=tmp_path / "m.webp", quality=90, max_side=100)
        with Image.open(tmp_path / f"a.{ending}") as picture:
            assert (picture.format, picture.size) == (name, (75, 100))
            wanted = np.asarray(Image.fromarray(swap.image).resize((75, 100), Image.Resampling.BILINEAR), float)
            assert np.abs(np.asarray(picture, float) - wanted).mean() < 6
        with Image.open(tmp_path / "m.webp") as mask:
            assert mask.size == (75, 100)
    assert swap.encoded("png", max_side=200) == swap.encoded("png") == swap.encoded("png", max_side=10**9)
    for call, parts in (
        (lambda: swap.encoded("webp", quality=0), ["quality: expected 1 to 100, got 0"]),
        (lambda: swap.encoded("jpg", quality=1000), ["quality: expected 1 to 100, got 1000"]),
        (lambda: swap.encoded("png", quality=90), ["quality", "without loss"]),
        (lambda: swap.save(tmp_path / "b.jpg", max_side=0), ["max_side: expected 1 or more pixels, got 0"]),
    ):
        refusal(ValueError, call, *parts)
    assert not (tmp_path / "b.jpg").exists()
