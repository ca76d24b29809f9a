"""Swapping: pictures of every form, masks, batches, threads, saved swaps."""

from concurrent.futures import ThreadPoolExecutor

import cagan
import numpy as np
import pytest
from helpers import random_picture, refusal, same_swap, with_mask
from PIL import Image


def test_the_attributes_of_a_swapper(swapper, run):
    assert swapper.config == run.config
    assert (swapper.path, swapper.step) == (run.snapshots[-1], 4)
    assert repr(swapper) == f'Swapper("{swapper.path}", step 4)'
    assert cagan.Swapper(str(run.snapshots[-1]), device="cpu").step == 4


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
