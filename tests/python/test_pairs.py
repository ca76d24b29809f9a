"""Pairs: a sequence, read from common layouts of folders and from `pairs.csv` with all its columns."""

import math
import shutil
from collections.abc import Sequence
from functools import partial

import cagan
import numpy as np
import pytest
from helpers import contents, refusal
from PIL import Image


def picture(path, colour=(200, 30, 30), size=(24, 32)):
    """Writes a picture with detail, so that pictures of other colours differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((*size[::-1], 3), 255, np.uint8)
    pixels[4:-4, 4:-4] = colour
    Image.fromarray(pixels).save(path)


def listed(pairs, folder):
    """Returns id, human and article of each pair, relative to the folder."""
    return [
        (pair.id, pair.human_path.relative_to(folder).as_posix(), pair.article_path.relative_to(folder).as_posix())
        for pair in (pairs[i] for i in range(len(pairs)))
    ]


def write_all(folder, *names):
    for k, name in enumerate(names):
        picture(folder / name, colour=(10 * k, 250 - 10 * k, 77))


def test_human_and_article(tmp_path):
    write_all(tmp_path, "human/b.jpg", "human/a.png", "article/a.webp", "article/b.PNG", "article/.hidden.png")
    (tmp_path / "human" / "notes.txt").write_text("not a picture")
    expected = [("a", "human/a.png", "article/a.webp"), ("b", "human/b.jpg", "article/b.PNG")]
    assert listed(cagan.Pairs(tmp_path), tmp_path) == expected


def test_image_and_cloth_by_stem_and_by_endings(tmp_path):
    write_all(tmp_path / "hd", "image/1_00.jpg", "cloth/1_00.jpg")
    assert listed(cagan.Pairs(tmp_path / "hd"), tmp_path / "hd") == [("1_00", "image/1_00.jpg", "cloth/1_00.jpg")]
    write_all(tmp_path / "cp", "image/1_0.jpg", "cloth/1_1.jpg", "image/2_0.jpg", "cloth/2_1.jpg")
    expected = [("1_0", "image/1_0.jpg", "cloth/1_1.jpg"), ("2_0", "image/2_0.jpg", "cloth/2_1.jpg")]
    assert listed(cagan.Pairs(tmp_path / "cp"), tmp_path / "cp") == expected


def test_a_try_on_set_with_its_texts(tmp_path):
    names = [f"{split}/{side}/{k}.jpg" for split, k in (("train", 1), ("train", 2), ("test", 3), ("test", 4))
             for side in ("image", "cloth")]  # fmt: skip
    write_all(tmp_path, *names)
    (tmp_path / "train_pairs.txt").write_text("1.jpg 1.jpg\n2.jpg 2.jpg\n")
    # The test's list names the article to try on, not the one worn.
    (tmp_path / "test_pairs.txt").write_text("3.jpg 4.jpg\n4.jpg 3.jpg\n")
    pairs = cagan.Pairs(tmp_path)
    assert listed(pairs, tmp_path) == [
        *((f"{k}", f"train/image/{k}.jpg", f"train/cloth/{k}.jpg") for k in (1, 2)),
        *((f"{k}", f"test/image/{k}.jpg", f"test/cloth/{k}.jpg") for k in (3, 4)),
    ]
    assert pairs.splits == {"train": 2, "test": 2}
    assert pairs.of_split("test").ids == ["3", "4"]
    assert pairs["3"].split == "test"


def test_a_text_that_names_unlike_files(tmp_path):
    write_all(tmp_path, "image/anna.jpg", "image/eva.jpg", "cloth/red.jpg", "cloth/blue.jpg", "cloth/green.jpg")
    (tmp_path / "pairs.txt").write_text("anna.jpg red.jpg\n\neva.jpg blue.jpg\n")
    expected = [("anna", "image/anna.jpg", "cloth/red.jpg"), ("eva", "image/eva.jpg", "cloth/blue.jpg")]
    assert listed(cagan.Pairs(tmp_path), tmp_path) == expected
    # One person in two articles.
    (tmp_path / "pairs.txt").write_text("anna.jpg red.jpg\nanna.jpg blue.jpg\n")
    assert [(pair.id, pair.group) for pair in cagan.Pairs(tmp_path)] == [("anna", "anna"), ("anna_2", "anna")]
    (tmp_path / "pairs.txt").write_text("anna.jpg\n")
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), tmp_path / "pairs.txt", "line 1", "`anna.jpg`")


def test_one_folder_with_endings(tmp_path):
    write_all(tmp_path, "100_1.jpg", "100_2.jpg", "100_5.jpg", "200_1.jpg", "200_5.png")
    expected = [("100", "100_1.jpg", "100_5.jpg"), ("200", "200_1.jpg", "200_5.png")]
    assert listed(cagan.Pairs(tmp_path), tmp_path) == expected
    picture(tmp_path / "300_1.jpg")
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), "300_1.jpg: a human without its article")


def test_one_number_in_two_splits_names_two_pairs(tmp_path):
    write_all(tmp_path, *(f"{s}/{side}/7.png" for s in ("train", "val") for side in ("human", "article")))
    assert cagan.Pairs(tmp_path).ids == ["train_7", "val_7"]


def test_a_split_is_trained_on_only_by_name(tmp_path, pairs_dir):
    for split in ("train", "test"):
        shutil.copytree(pairs_dir, tmp_path / "pairs" / split)
    pairs = cagan.Pairs(tmp_path / "pairs")
    call = lambda: cagan.train(pairs, tmp_path / "run", "smoke", steps=1, progress=False)  # noqa: E731
    refusal(ValueError, call, "pairs: expected one split", "test (8), train (8)", "of_split")
    run = cagan.train(pairs.of_split("train"), tmp_path / "run", "smoke", steps=1, progress=False)
    assert run.stats[-1]["step"] == 1
    refusal(ValueError, lambda: pairs.of_split("trian"), "unknown split `trian`", "did you mean `train`?")


def test_a_csv_with_all_its_columns(tmp_path):
    write_all(tmp_path, *(f"{side}/{k}.png" for k in range(5) for side in ("h", "a")))
    (tmp_path / "pairs.csv").write_text(
        "id,human,article,note,group,split,exclude,reason\n"
        "one,h/0.png,a/0.png,hello,anna,train,,\n"
        "two,h/1.png,a/1.png,,anna,train,0,\n"
        "three,h/2.png,a/2.png,,,val,no,\n"
        "four,h/3.png,a/none.png,,,val,1,from_behind\n"
        "five,,a/4.png,,,,,\n"
    )
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), "line 6: a/4.png: an article without its human")
    pairs = cagan.Pairs(tmp_path, extra_articles=True)
    assert pairs.ids == ["one", "two", "three"]
    assert (pairs["one"].group, pairs["three"].group, pairs["three"].split) == ("anna", None, "val")
    assert pairs.extra_articles == [("five", tmp_path / "a" / "4.png")]
    assert pairs.excluded == [("four", tmp_path / "h" / "3.png", "from_behind")]
    assert "3 pairs, 1 articles without a human, 1 excluded" in repr(pairs)
    with pytest.raises(KeyError, match="`four` is excluded: from_behind"):
        pairs["four"]


@pytest.mark.parametrize("listing", [False, True])
def test_pictures_without_a_partner_can_be_skipped(tmp_path, listing):
    write_all(tmp_path, "human/a.png", "human/b.png", "human/c.png", "article/a.png", "article/b.png", "article/d.png")
    if listing:
        rows = ["a,human/a.png,article/a.png", "b,human/b.png,article/b.png", "c,human/c.png,", "d,,article/d.png"]
        rows.append("e,human/e.png,article/a.png")
        (tmp_path / "pairs.csv").write_text("\n".join(["id,human,article", *rows]))
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), "human/c.png: a human without", "article/d.png: an article")
    pairs = cagan.Pairs(tmp_path, on_error="skip")
    assert pairs.ids == ["a", "b"]
    skipped = [("c", tmp_path / "human" / "c.png"), ("d", tmp_path / "article" / "d.png")]
    if listing:
        skipped.append(("e", tmp_path / "human" / "e.png"))
        assert pairs.skipped[-1][2] == "no such file"
    assert [(name, path) for name, path, _ in pairs.skipped] == skipped
    with_extra = cagan.Pairs(tmp_path, on_error="skip", extra_articles=True)
    assert [name for name, _ in with_extra.extra_articles] == ["d"]
    refusal(ValueError, lambda: cagan.Pairs(tmp_path, on_error="ignore"), "on_error: expected raise or skip", "ignore")


def test_a_set_without_pairs_fails(tmp_path):
    write_all(tmp_path, "human/a.png", "article/b.png")
    call = lambda: cagan.Pairs(tmp_path, on_error="skip")  # noqa: E731
    refusal(ValueError, call, tmp_path, "expected pairs", "0 excluded, 2 skipped")


def test_a_split_keeps_groups_and_same_files_together(tmp_path):
    for k in range(10):
        picture(tmp_path / "human" / f"{k}.png", colour=(20 * k, 0, 99))
        picture(tmp_path / "article" / f"{k}.png", colour=(0, 20 * k, 99))
    # 1 and 4 wear the same article under two names; 4 and 8 are one person.
    shutil.copy(tmp_path / "article" / "1.png", tmp_path / "article" / "4.png")
    rows = [f"{k},human/{k}.png,article/{k}.png,{'eva' if k in (4, 8) else ''}" for k in range(10)]
    (tmp_path / "pairs.csv").write_text("\n".join(["id,human,article,group", *rows]))
    pairs = cagan.Pairs(tmp_path)
    inside = set()
    for seed in range(30):
        rest, share = pairs.split(0.4, seed)
        assert sorted(rest.ids + share.ids) == pairs.ids
        assert len(share) <= 4
        tied = {"1", "4", "8"} & set(share.ids)
        assert tied in (set(), {"1", "4", "8"})
        inside.add(len(tied))
    assert inside == {0, 3}


# Mistakes in a folder


def test_a_missing_folder(tmp_path):
    refusal(FileNotFoundError, lambda: cagan.Pairs(tmp_path / "nowhere"), tmp_path / "nowhere", "no such folder")
    train = partial(cagan.train, tmp_path / "nowhere", tmp_path / "run", "smoke", progress=False)
    refusal(FileNotFoundError, train, tmp_path / "nowhere")
    assert not (tmp_path / "run").exists()


def test_a_folder_without_pictures(tmp_path):
    parts = (tmp_path, "human/", "article/", "image/", "cloth/", "<id>_1", "<id>_5", "pairs.csv")
    refusal(FileNotFoundError, lambda: cagan.Pairs(tmp_path), *parts)
    (tmp_path / "human").mkdir()
    refusal(FileNotFoundError, lambda: cagan.Pairs(tmp_path), tmp_path / "article")
    (tmp_path / "article").mkdir()
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), tmp_path, "expected pairs of a human and an article", "got none")


def test_a_picture_without_its_partner(copied):
    (copied / "human" / "00003.png").unlink()
    (copied / "article" / "00005.png").unlink()
    refusal(
        ValueError,
        lambda: cagan.Pairs(copied),
        copied,
        "article/00003.png: an article without its",
        "human/00005.png: a human without its",
    )


def test_many_pictures_without_partners_are_counted(copied):
    for path in (copied / "human").iterdir():
        path.unlink()
    refusal(ValueError, lambda: cagan.Pairs(copied), "article/00000.png", "and 3 more")


def test_one_stem_twice(copied):
    shutil.copy(copied / "human" / "00002.png", copied / "human" / "00002.jpg")
    refusal(ValueError, lambda: cagan.Pairs(copied), copied / "human", "`00002`", "00002.png", "00002.jpg")


def test_a_single_pair_has_no_target(tmp_path):
    one = cagan.dolls(tmp_path / "pairs", count=1, size=(64, 64))
    call = partial(cagan.train, one, tmp_path / "run", "smoke", batch_size=1, progress=False)
    refusal(ValueError, call, "pairs: expected at least 2", "got 1")
    refusal(ValueError, lambda: cagan.Trainer(one, cagan.Config("smoke", batch_size=1)), "pairs: expected at least 2")


def broken_text(path):
    path.write_text("<html>404 not found</html>")


def broken_empty(path):
    path.write_bytes(b"")


def broken_truncated(path):
    path.write_bytes(path.read_bytes()[:200])


BROKEN = (broken_text, broken_empty, broken_truncated)


@pytest.mark.parametrize("spoil", BROKEN)
@pytest.mark.parametrize("side", ["human", "article"])
def test_a_broken_picture(copied, used, tmp_path, side, spoil):
    old = copied / side / "00006.png"
    path = old.with_suffix(".jpg")
    old.rename(path)
    spoil(path)
    before = contents(used)
    for run_dir in (used, tmp_path / "new"):
        call = partial(cagan.train, copied, run_dir, "smoke", steps=6, progress=False)
        refusal(ValueError, call, path, "cannot be decoded")
    assert contents(used) == before
    assert not (tmp_path / "new" / "checkpoints").exists()
    refusal(ValueError, lambda: getattr(cagan.Pairs(copied)["00006"], side), path, "cannot be decoded")


def write_csv(folder, *lines):
    (folder / "pairs.csv").write_text("\n".join(lines))


ROW = "{0},human/{0}.png,article/{0}.png"


@pytest.mark.parametrize(
    ("lines", "parts"),
    [
        ([], ["expected the columns id, human, article"]),
        (["id,human", "00000,human/00000.png"], ["expected the columns id, human, article", "got id, human"]),
        (["id,human,article"], ["expected pairs", "got none"]),
        (
            ["id,human,article", ROW.format("00000"), "b,human/00001.png,article/none.png"],
            ["line 3", "article/none.png", "no such file"],
        ),
        (["id,human,article", ROW.format("00000"), ROW.format("00000")], ["line 3", "`00000`", "line 2"]),
        (["id,human,article", "00000,human/00000.png,"], ["line 2", "human/00000.png", "without its article"]),
        (
            ["id,human,article", ROW.format("00000"), "00001,human/00001.png"],
            ["line 3", "human/00001.png", "without its article"],
        ),
        (["id,human,article", ROW.format("00000") + ",x"], ["line 2: expected 3 cells, got 4"]),
    ],
    ids=["empty", "no column", "no rows", "no such file", "id twice", "empty cell", "short row", "long row"],
)
def test_a_broken_csv(copied, lines, parts):
    write_csv(copied, *lines)
    refusal(ValueError, lambda: cagan.Pairs(copied), copied / "pairs.csv", *parts)


def test_a_csv_comes_before_folders(copied):
    write_csv(copied, "\ufeffarticle , id,human", "article/00001.png,b,human/00001.png")
    assert cagan.Pairs(copied).ids == ["b"]


# The sequence


def test_pairs_are_a_sequence(pairs, pairs_dir):
    ids = [f"{k:05}" for k in range(8)]
    assert pairs.ids == ids
    assert len(pairs) == 8
    assert pairs.folder == pairs_dir
    assert [pair.id for pair in pairs] == ids
    assert pairs[0] == pairs["00000"] == pairs[-8] != pairs[1]
    assert pairs[-1].id == "00007"
    assert pairs[2] in pairs
    assert pairs[2].human_path == pairs_dir / "human" / "00002.png"
    assert pairs[2].article_path == pairs_dir / "article" / "00002.png"
    assert repr(pairs[2]) == 'Pair("00002")'
    assert repr(pairs) == f'Pairs("{pairs_dir}", 8 pairs)'
    for index in (8, -9, 2**40):
        with pytest.raises(IndexError, match=f"index {index} is out of range for 8 pairs"):
            pairs[index]
    with pytest.raises(KeyError, match="unknown id `00011`"):
        pairs["00011"]
    with pytest.raises(TypeError):
        pairs[1.5]


def test_pairs_are_what_collections_call_a_sequence(pairs):
    assert isinstance(pairs, Sequence)
    listed = list(pairs)
    assert [pair.id for pair in reversed(pairs)] == [pair.id for pair in listed[::-1]]
    assert [pairs.index(pair) for pair in listed] == list(range(8))
    assert (pairs.index(pairs[3], 2), pairs.count(pairs[3]), pairs.count("00003")) == (3, 1, 0)
    with pytest.raises(ValueError):
        pairs.index(pairs[3], 4)
    with pytest.raises(ValueError):
        pairs.index("00003")


def test_a_split_parts_the_pairs(pairs):
    rest, share = pairs.split(0.25)
    assert (len(rest), len(share)) == (6, 2)
    assert sorted(rest.ids + share.ids) == pairs.ids
    assert rest.ids == sorted(rest.ids)
    assert pairs.split(0.25)[1].ids == pairs.split(0.25, seed=0)[1].ids == share.ids
    assert len({tuple(pairs.split(0.25, seed=seed)[1].ids) for seed in range(9)}) > 3
    for wrong in (0, 1, -0.5, 0.01, 0.99, math.nan):
        with pytest.raises(ValueError, match="share: expected between 0 and 1"):
            pairs.split(wrong)
