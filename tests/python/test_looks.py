"""Looks: a person prepared once for any number of targets; rows of a list share what they can, and no bytes change."""

import copy
import os
import pickle

import cagan
import numpy as np
import pytest
from helpers import refusal, same_swap


@pytest.fixture(scope="module")
def kisekae():
    """The package's weights: networks that locate the worn article."""
    return cagan.Swapper("dolls", threads=1)


@pytest.fixture(scope="module", params=["smoke", "kisekae"])
def model(request, run, kisekae):
    return kisekae if request.param == "kisekae" else cagan.Swapper(run.path, threads=1)


def same(one, other):
    """Compares all parts of two swaps, bit for bit."""
    parts = [(getattr(one, name), getattr(other, name)) for name in ("located", "flow")]
    return same_swap(one, other) and all((a is None and b is None) or np.array_equal(a, b) for a, b in parts)


def test_a_look_gives_the_bytes_of_single_swaps(model, pairs):
    people = [pairs[k] for k in range(3)]
    targets = [pair.article for pair in pairs]
    looks = model.look(people)
    for person, look in zip(people, looks):
        alone = [model.swap(person.human, person.article, target) for target in targets]
        assert all(map(same, model.swap(look, targets), alone))
        assert all(map(same, model.stream(look, target=iter(targets)), alone))
        assert same(model.swap(look, targets[5]), alone[5])
        assert np.array_equal(look.human, person.human)
    mixed = model.swap(looks, targets[2:5])
    assert all(same(swap, model.swap(p.human, p.article, t)) for swap, p, t in zip(mixed, people, targets[2:5]))


def test_a_list_in_any_order_gives_the_bytes_of_single_swaps(model, pairs):
    """Paths, bytes and arrays of the same people, by target, with repeated and broken rows among them."""
    rows = [(human, target) for target in range(4) for human in (0, 1, 2, 1)]
    kinds = (lambda p: p.human_path, lambda p: p.human_path.read_bytes(), lambda p: p.human)
    photos = [kinds[k % 3](pairs[human]) for k, (human, _) in enumerate(rows)]
    worn = [pairs[human].article_path for human, _ in rows]
    targets = [pairs[target].article for _, target in rows]
    photos[5] = b"a letter"
    found = model.swap(photos, worn, targets, on_error="return")
    assert [type(one) for one in found] == [cagan.SwapError if k == 5 else cagan.Swap for k in range(16)]
    for k, (photo, article, target) in enumerate(zip(photos, worn, targets)):
        if k != 5:
            assert same(found[k], model.swap(photo, article, target))
    assert found[5].row == 5 and found[5].type == "ValueError"
    assert found[5].message.startswith("human[5]: cannot be decoded") and str(found[5]) == found[5].message
    assert isinstance(found[5].__cause__, ValueError)
    assert all(map(same, model.swap(photos, worn, targets, on_error="skip"), found[:5] + found[6:]))
    with pytest.raises(ValueError, match=r"human\[5\]"):
        model.swap(photos, worn, targets)


def test_a_repeated_picture_is_decoded_once(kisekae, pairs, tmp_path):
    """Every decoding of a photo fails but the first ones: its file is taken away while the list runs."""
    photo = tmp_path / "photo.png"
    photo.write_bytes(pairs[0].human_path.read_bytes())
    expected = kisekae.swap(photo, pairs[0].article, pairs[1].article)
    mtime = photo.stat().st_mtime_ns

    def photos():
        for k in range(100):
            if k == 40:
                # As long and as old, but no picture: only a second reading would notice.
                photo.write_bytes(bytes(len(pairs[0].human_path.read_bytes())))
                os.utime(photo, ns=(mtime, mtime))
            yield photo

    swaps = list(kisekae.stream(photos(), pairs[0].article_path, pairs[1].article))
    assert len(swaps) == 100 and all(same(swap, expected) for swap in swaps)


def test_a_look_survives_pickle_and_copy(model, pairs):
    look = model.look(pairs[0])
    again = pickle.loads(pickle.dumps(look))
    assert again == look and copy.copy(look) is look and copy.deepcopy(look) is look
    assert again != model.look(pairs[1]) and look != "look"
    target = pairs[3].article
    assert same(model.swap(again, target), model.swap(look, target))
    assert len(pickle.dumps(look)) < 64 * 64 * 3 + 64 * 64 * 8
    assert look.nbytes >= look.human.nbytes
    kind, (parts,) = look.__reduce__()
    refusal(ValueError, lambda: kind((parts[0], parts[1][:-3], *parts[2:])), "look", "parts")
    refusal(ValueError, lambda: kind((b"x", *parts[1:])), "look", "parts")
    refusal(ValueError, lambda: kind((*parts[:4], "mark")), "look", "mark")


def test_a_look_belongs_to_its_weights(run, kisekae, pairs):
    other = cagan.Swapper(run.path)
    target = pairs[1].article
    for model, look in ((kisekae, other.look(pairs[0])), (other, kisekae.look(pairs[0]))):
        refusal(ValueError, lambda m=model, x=look: m.swap(x, target), "human: expected a look by this snapshot's")
    assert same(other.swap(cagan.Swapper(run.path).look(pairs[0]), target), other.swap(pairs[0], target=target))


def test_a_looks_mistakes(run, kisekae, pairs):
    look, (photo, article) = kisekae.look(pairs[0]), (pairs[0].human, pairs[0].article)
    refusal(ValueError, lambda: kisekae.swap(look, article, article), "worn: expected none beside a look")
    refusal(ValueError, lambda: kisekae.swap([look, photo], article, article), "worn[0]: expected none beside a look")
    refusal(TypeError, lambda: kisekae.swap(look), "target")
    refusal(ValueError, lambda: kisekae.look(b"a letter"), "human: cannot be decoded")
    refusal(ValueError, lambda: kisekae.look([photo, photo], [article]), "worn", "2")
    refusal(ValueError, lambda: kisekae.look([photo, look]), "human[1]")
    refusal(ValueError, lambda: kisekae.swap(photo, look, article), "worn")
    other = cagan.Swapper(run.path)
    refusal(ValueError, lambda: other.look(photo), "worn: expected a picture")
    refusal(ValueError, lambda: other.swap([photo] * 2, [article, None], article), "worn[1]: expected a picture")
    assert kisekae.look([]) == []


def test_an_unknown_article_among_known_ones(kisekae, pairs):
    photos, target = [pairs[k].human for k in range(4)], pairs[5].article
    worn = [pairs[0].article, None, pairs[2].article, None]
    for swaps in (kisekae.swap(photos, worn, target), kisekae.swap(kisekae.look(photos, worn), target)):
        for photo, article, swap in zip(photos, worn, swaps):
            assert same(swap, kisekae.swap(photo, article, target))


def test_threads_are_the_swappers_own(run, pairs):
    import torch

    before = torch.get_num_threads()
    model = cagan.Swapper(run.path, threads=2)
    person = (pairs[0].human, pairs[0].article, pairs[1].article)
    model.swap(*person)
    assert torch.get_num_threads() == before
    assert model.threads == 2 and pickle.loads(pickle.dumps(model)).threads == 2
    assert cagan.Swapper(run.path).threads == 0
    for wrong in (-1, 4000):
        refusal(ValueError, lambda n=wrong: cagan.Swapper(run.path, threads=n), "threads: expected 0 to 1024", wrong)
