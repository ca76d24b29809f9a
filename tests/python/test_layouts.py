"""Layouts and lists as people have them: try-on sets, their text files, patterns, names of any system, and what is left
out."""

import shutil
import unicodedata
import warnings

import cagan
import numpy as np
import pytest
from helpers import refusal
from PIL import Image


def write_all(folder, *names):
    """Writes small pictures that all differ."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 6, 3), number, np.uint8)).save(folder / name, "PNG")


def listed(pairs, folder):
    """Returns id, human and article of each pair, relative to the folder."""
    files = lambda pair: (str(path.relative_to(folder)) for path in (pair.human_path, pair.article_path))  # noqa: E731
    return [(pair.id, *files(pair)) for pair in pairs]


def table(folder, *lines, encoding="utf-8"):
    (folder / "pairs.csv").write_text("\n".join(lines), encoding=encoding)


# Sets of one folder


LISTS = ("train_pairs.txt", "test_pairs_paired.txt", "test_pairs_unpaired.txt")


CATEGORIES = {"upper_body": (0, 1, 2), "dresses": (3, 4)}
DRESSCODE = {
    "train_pairs.txt": [(0, 0, 0), (1, 1, 0), (3, 3, 2)],
    "test_pairs_paired.txt": [(2, 2, 0), (4, 4, 2)],
    "test_pairs_unpaired.txt": [(2, 0, 0), (4, 3, 2)],
}
NUMBERS = {0: "upper_body", 2: "dresses"}


def dresscode(folder, lists, where=("root", "categories"), third=str):
    """Writes DressCode's folders, with lists of all categories in the root, of one in its own folder, or both."""
    for category, numbers in CATEGORIES.items():
        write_all(folder / category / "images", *(f"{n:06}_{side}.jpg" for n in numbers for side in (0, 1)))
        write_all(folder / category / "keypoints", "000000_2.jpg")
    for name in lists:
        if "root" in where:
            text = "".join(f"{a:06}_0.jpg\t{b:06}_1.jpg\t{third(category)}\n" for a, b, category in DRESSCODE[name])
            (folder / name).write_text(text)
        for number, category in NUMBERS.items() if "categories" in where else ():
            own = "".join(f"{a:06}_0.jpg {b:06}_1.jpg\n" for a, b, of in DRESSCODE[name] if of == number)
            (folder / category / name).write_text(own)


@pytest.mark.parametrize("where", [("root",), ("categories",), ("root", "categories")], ids="+".join)
@pytest.mark.parametrize("lists", [(), LISTS[:1], LISTS[1:2], LISTS], ids=len)
def test_dresscode(tmp_path, lists, where):
    dresscode(tmp_path, lists, where)
    upper = [(f"{n:06}", f"images/{n:06}_0.jpg", f"images/{n:06}_1.jpg") for n in range(3)]
    wanted = {(): {0, 1, 2, 3, 4}, LISTS[:1]: {0, 1, 3}, LISTS[1:2]: {2, 4}, LISTS: {0, 1, 2, 3, 4}}[lists]
    pairs = cagan.Pairs(tmp_path)
    assert sorted(pairs.ids) == [f"{n:06}" for n in sorted(wanted)]
    assert pairs.splits == ({"train": 3, "test": 2} if lists == LISTS else {})
    assert all(pair.human_path.stem == f"{pair.id}_0" and pair.article_path.stem == f"{pair.id}_1" for pair in pairs)
    one = cagan.Pairs(tmp_path / "upper_body")
    assert sorted(listed(one, tmp_path / "upper_body")) == [upper[n] for n in sorted(wanted & {0, 1, 2})]
    assert one.splits == ({"train": 2, "test": 1} if lists == LISTS else {})
    assert sorted(cagan.Pairs(tmp_path / "upper_body" / "images").ids) == sorted(one.ids)
    if lists == LISTS:
        assert any("`test_pairs_unpaired.txt` is not used" in note for note in pairs.notes)
    if where == ("root",) and lists:
        assert any("pairs of categories that are not here" in note for note in one.notes)
    # As an archive unpacks.
    (tmp_path / "outer").mkdir()
    for entry in [*tmp_path.iterdir()]:
        if entry.name != "outer":
            entry.rename(tmp_path / "outer" / entry.name)
    assert sorted(cagan.Pairs(tmp_path).ids) == sorted(pairs.ids)


def test_dresscodes_third_column_may_be_a_name(tmp_path):
    dresscode(tmp_path, LISTS, ("root",), NUMBERS.get)
    pairs = cagan.Pairs(tmp_path)
    assert (len(pairs), pairs.splits) == (5, {"train": 3, "test": 2})
    assert cagan.Pairs(tmp_path / "dresses").splits == {"train": 1, "test": 1}


def test_dresscodes_third_column_tells_equal_names_apart(tmp_path):
    for category in ("upper_body", "lower_body"):
        write_all(tmp_path / category / "images", *(f"{n:06}_{side}.jpg" for n in range(3) for side in (0, 1)))
    lines = [f"{n:06}_0.jpg\t{n:06}_1.jpg\t{category}" for n, category in ((0, 1), (1, 0), (1, 1), (2, 0))]
    (tmp_path / "train_pairs.txt").write_text("\n".join(lines))
    pairs = cagan.Pairs(tmp_path)
    assert listed(pairs, tmp_path) == [
        (f"{category}_{n:06}", f"{category}/images/{n:06}_0.jpg", f"{category}/images/{n:06}_1.jpg")
        for category, n in (("lower_body", 0), ("lower_body", 1), ("upper_body", 1), ("upper_body", 2))
    ]
    assert "2 of 6 people are not in `train_pairs.txt`" in pairs.notes
    # Of one category alone.
    shutil.rmtree(tmp_path / "lower_body")
    assert cagan.Pairs(tmp_path).ids == ["000001", "000002"]


def test_one_list_above_two_splits(tmp_path):
    for split, numbers in (("train", (0, 1)), ("test", (2, 3))):
        write_all(tmp_path / split, *(f"{side}/{n}.png" for n in numbers for side in ("image", "cloth")))
    (tmp_path / "pairs.txt").write_text("0.png 1.png\n2.png 2.png\n3.png 3.png\n")
    pairs = cagan.Pairs(tmp_path)
    assert {pair.id: pair.split for pair in pairs} == {"0": "train", "2": "test", "3": "test"}
    assert pairs["0"].article_path.stem == "1"


@pytest.mark.parametrize("name", ["{}.jpg", "img_{}.jpg", "photo_{:02}_{}.jpg"])
def test_numbered_pictures_are_no_pairs(tmp_path, name):
    write_all(tmp_path, *(name.format(n, n) for n in range(12)))
    refusal(FileNotFoundError, lambda: cagan.Pairs(tmp_path), "no such pairs")


def test_few_numbered_pictures_are_told(tmp_path):
    write_all(tmp_path, *(f"photo_{n}.jpg" for n in range(1, 6)))
    with pytest.warns(UserWarning, match="3 pictures are neither `<id>_1` nor `<id>_5`"):
        pairs = cagan.Pairs(tmp_path)
    assert pairs.ids == ["photo"]


def test_numbered_folders_are_told(tmp_path):
    write_all(tmp_path, *(f"{n}/{k}.jpg" for n in range(1, 7) for k in range(3)))
    with pytest.warns(UserWarning, match="`1` is read as humans and `5` as articles, `2`, `3`, `4` not at all"):
        cagan.Pairs(tmp_path)


def test_in_shop(tmp_path):
    shop = tmp_path / "img" / "WOMEN"
    write_all(shop / "Dresses" / "id_00000001", "02_1_front.jpg", "02_6_flat.jpg", "02_3_back.jpg", "04_1_front.jpg")
    write_all(
        shop / "Tees" / "id_00000007", *(f"{n}_{view}.jpg" for n in ("01", "02") for view in ("1_front", "6_flat"))
    )
    write_all(shop / "Tees" / "id_00000009", "01_1_front.jpg")
    pairs = cagan.Pairs(tmp_path)
    assert [(pair.id, pair.human_path.name, pair.article_path.name) for pair in pairs] == [
        ("img_WOMEN_Dresses_id_00000001_02", "02_1_front.jpg", "02_6_flat.jpg"),
        ("img_WOMEN_Tees_id_00000007_01", "01_1_front.jpg", "01_6_flat.jpg"),
        ("img_WOMEN_Tees_id_00000007_02", "02_1_front.jpg", "02_6_flat.jpg"),
    ]
    # One product in two colours stays on one side of a split.
    assert [pair.group for pair in pairs] == [None, *["img/WOMEN/Tees/id_00000007"] * 2]


def test_folders_one_and_five(tmp_path):
    write_all(tmp_path, "1/7_1.png", "5/7_5.png", "1/8_1.png", "5/8_5.png")
    assert listed(cagan.Pairs(tmp_path), tmp_path) == [
        ("7_1", "1/7_1.png", "5/7_5.png"),
        ("8_1", "1/8_1.png", "5/8_5.png"),
    ]


# Sets further down


def test_a_set_one_folder_further_down(tmp_path):
    write_all(tmp_path, "data/human/a.png", "data/article/a.png")
    pairs = cagan.Pairs(tmp_path)
    assert listed(pairs, tmp_path) == [("a", "data/human/a.png", "data/article/a.png")]
    assert pairs.notes == ["the set is one folder further down: read `data`"]
    table(tmp_path / "data", "id,human,article", "z,human/a.png,article/a.png")
    shutil.move(tmp_path / "data" / "human", tmp_path / "data" / "photos")
    table(tmp_path / "data", "id,human,article", "z,photos/a.png,article/a.png")
    (tmp_path / "data" / "article").rename(tmp_path / "data" / "shirts")
    table(tmp_path / "data", "id,human,article", "z,photos/a.png,shirts/a.png")
    assert cagan.Pairs(tmp_path).ids == ["z"]


def test_strange_sets_that_are_read_as_one_are_told(tmp_path):
    for name in ("one", "two"):
        write_all(tmp_path / name, "human/a.png", "article/a.png")
    with pytest.warns(UserWarning, match="read 2 sets further down as one: `one`, `two`"):
        pairs = cagan.Pairs(tmp_path)
    assert pairs.ids == ["one_a", "two_a"]


def test_a_folder_in_a_circle_of_links_ends(tmp_path):
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "again").symlink_to(tmp_path)
    refusal(FileNotFoundError, lambda: cagan.Pairs(tmp_path), "no such pairs")


# Two folders or patterns by name


def test_two_folders_by_name(tmp_path):
    write_all(tmp_path, "photos/a.png", "photos/b.png", "shirts/a.jpg", "shirts/b.jpg")
    expected = [(k, f"photos/{k}.png", f"shirts/{k}.jpg") for k in "ab"]
    assert listed(cagan.Pairs(tmp_path, human="photos", article="shirts"), tmp_path) == expected
    other = cagan.Pairs(tmp_path / "shirts", human=str(tmp_path / "photos"), article=".")
    assert other.ids == ["a", "b"]
    refusal(FileNotFoundError, lambda: cagan.Pairs(tmp_path, human="photos", article="none"), tmp_path / "none")
    refusal(ValueError, lambda: cagan.Pairs(tmp_path, human="photos"), "article: expected a folder or a pattern")


def test_patterns(tmp_path):
    write_all(tmp_path, *(f"{n}/look_{k}.jpg" for n in (1, 2) for k in (0, 1)), "1/item_0.png", "2/item_0.png")
    pairs = cagan.Pairs(tmp_path, human="*/look_0.jpg", article="*/item_0.*")
    assert listed(pairs, tmp_path) == [(n, f"{n}/look_0.jpg", f"{n}/item_0.png") for n in "12"]
    assert cagan.Pairs(tmp_path / "1", human="look_?.jpg", article="item_?.png", on_error="skip").ids == ["0"]
    refusal(
        ValueError, lambda: cagan.Pairs(tmp_path, human="*_7.jpg", article="*.png"), "the pattern `*_7.jpg`, got none"
    )
    call = lambda: cagan.Pairs(tmp_path, human="*/look_0.jpg", article="1/item_*.png")  # noqa: E731
    refusal(ValueError, call, "1/look_0.jpg: a human without its article")


# Text files of try-on sets


def set_of_four(folder, sides=("image", "cloth")):
    write_all(folder, *(f"{side}/{n}.png" for n in range(4) for side in sides))


def articles(pairs):
    return {pair.human_path.stem: pair.article_path.stem for pair in pairs}


@pytest.mark.parametrize("name", ["pairs.txt", "train_pairs.txt", "pairs_mine.txt"])
@pytest.mark.parametrize("sides", [("image", "cloth"), ("human", "article")])
def test_a_list_of_the_users_own_decides(tmp_path, name, sides):
    set_of_four(tmp_path, sides)
    (tmp_path / name).write_text("0.png 3.png\n1.png 2.png\n2.png 1.png\n3.png 0.png\n")
    assert articles(cagan.Pairs(tmp_path)) == {"0": "3", "1": "2", "2": "1", "3": "0"}


def test_a_list_of_a_test_may_hold_articles_to_try_on_and_says_so(tmp_path):
    set_of_four(tmp_path / "test")
    (tmp_path / "test_pairs.txt").write_text("0.png 3.png\n1.png 2.png\n2.png 1.png\n3.png 0.png\n")
    pairs = cagan.Pairs(tmp_path / "test")
    assert articles(pairs) == {k: k for k in "0123"}
    assert pairs.notes == ["`test_pairs.txt` lists articles to try on: the pairs are those of equal names"]


def test_a_list_that_is_not_used_is_told(tmp_path):
    set_of_four(tmp_path)
    for name in ("pairs.txt", "mine_pairs.txt"):
        (tmp_path / name).write_text("0.png 3.png\n")
    with pytest.warns(UserWarning, match=r"`mine_pairs.txt` is not used: `pairs.txt` decides"):
        pairs = cagan.Pairs(tmp_path)
    assert "3 of 4 people are not in `pairs.txt`" in pairs.notes


def test_two_lists_in_one_folder_are_two_splits(tmp_path):
    set_of_four(tmp_path)
    (tmp_path / "train_pairs.txt").write_text("0.png 0.png\n1.png 1.png\n")
    (tmp_path / "test_pairs.txt").write_text("2.png 3.png\n3.png 2.png\n")
    pairs = cagan.Pairs(tmp_path)
    assert {pair.id: pair.split for pair in pairs} == {"0": "train", "1": "train", "2": "test", "3": "test"}
    assert articles(pairs) == {k: k for k in "0123"}


def test_a_list_is_found_however_the_folder_is_spelt(tmp_path, monkeypatch):
    set_of_four(tmp_path / "set" / "train")
    text = "0.png 0.png\n2.png 2.png\n"
    (tmp_path / "set" / "train_pairs.txt").write_text(text)
    (tmp_path / "link").symlink_to(tmp_path / "set" / "train")
    (tmp_path / "sets").symlink_to(tmp_path / "set")
    shutil.copytree(tmp_path / "set" / "train", tmp_path / "mine")
    (tmp_path / "mine" / "train_pairs.txt").write_text(text)
    shutil.copytree(tmp_path / "set" / "train", tmp_path / "other" / "renamed")
    (tmp_path / "other" / "train_pairs.txt").write_text(text)
    monkeypatch.chdir(tmp_path / "set" / "train")
    spelt = [".", "./", "../train", "../train/", tmp_path / "link", tmp_path / "sets" / "train", "image/.."]
    spelt += [tmp_path / "mine", tmp_path / "other" / "renamed", tmp_path / "link" / "."]
    assert [cagan.Pairs(folder).ids for folder in spelt] == [["0", "2"]] * len(spelt)


def test_a_list_of_something_else_is_not_taken(tmp_path):
    set_of_four(tmp_path / "set")
    (tmp_path / "best_pairs.txt").write_text("the pairs that I like most are\n")
    (tmp_path / "set" / "pairs of shoes.txt").write_text("left.jpg right.jpg\n")
    assert len(cagan.Pairs(tmp_path / "set")) == 4


def test_a_person_in_two_lines_is_a_group(tmp_path):
    set_of_four(tmp_path)
    (tmp_path / "pairs.txt").write_text("0.png 0.png\n0.png 1.png\n2.png 2.png\n0.png 3.png\n")
    pairs = cagan.Pairs(tmp_path)
    assert [(pair.id, pair.article_path.stem, pair.group) for pair in pairs] == [
        ("0", "0", "0"), ("0_2", "1", "0"), ("0_3", "3", "0"), ("2", "2", None)]  # fmt: skip


def test_a_name_that_a_list_gives_in_vain_is_told(tmp_path):
    set_of_four(tmp_path)
    (tmp_path / "pairs.txt").write_text("0.png 0.png\n1.png 9.png\n")
    call = lambda: cagan.Pairs(tmp_path)  # noqa: E731
    refusal(ValueError, call, "line 2: image/1.png: a human without its article", "`pairs.txt` names `9.png`")
    assert cagan.Pairs(tmp_path, on_error="skip").ids == ["0"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff0.png 1.png\r\n2.png 3.png\r\n",
        "0.png\t1.png\n2.png\t3.png\n",
        "0.png,1.png\n2.png, 3.png\n",
        "image/0.png cloth/1.png\nimage\\2.png cloth\\3.png\n",
        "0 1\r2 3\r",
        "  0.png   1.png  \n\n2.png 3.png 1\n",
    ],
    ids=["mark", "tabs", "commas", "folders", "stems", "blanks"],
)
def test_lines_of_any_system(tmp_path, text):
    set_of_four(tmp_path)
    (tmp_path / "pairs.txt").write_bytes(text.encode())
    assert articles(cagan.Pairs(tmp_path)) == {"0": "1", "2": "3"}


def test_names_with_blanks_in_a_list(tmp_path):
    names = ("my photo.png", "a\u3000b.png", "\u00a0x.png", "👩\u200d👧.png")
    write_all(tmp_path, *(f"{side}/{name}" for side in ("image", "cloth") for name in names))
    (tmp_path / "pairs.txt").write_text("".join(f"{name} {names[k - 1]}\n" for k, name in enumerate(names)))
    found = {pair.human_path.name: pair.article_path.name for pair in cagan.Pairs(tmp_path)}
    assert found == {name: names[k - 1] for k, name in enumerate(names)}


def test_a_list_in_another_encoding_fails_with_its_line(tmp_path):
    set_of_four(tmp_path)
    (tmp_path / "pairs.txt").write_bytes("0.png 1.png\ngröße.png 2.png\n".encode("latin-1"))
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), tmp_path / "pairs.txt", "line 2: expected UTF-8")


# Names of any system


def forms(name):
    return [unicodedata.normalize(form, name) for form in ("NFC", "NFD")]


def test_two_forms_in_one_folder_are_two_pictures(tmp_path):
    write_all(tmp_path, *(f"{side}/{name}.png" for side in ("human", "article") for name in forms("café")))
    assert len(cagan.Pairs(tmp_path)) == 2


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("hidden", [False, True], ids=["alone", "beside the other form"])
def test_folders_in_another_form(tmp_path, form, hidden):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    written = lambda text: unicodedata.normalize(form, text)  # noqa: E731
    there = lambda text: unicodedata.normalize(other, text)  # noqa: E731
    write_all(tmp_path, *(there(f"été/{side}/é{k}.png") for side in ("größe", "schön") for k in range(2)))
    if hidden:
        write_all(tmp_path, written("été/größe/other.txt"), written("été/schön/other.txt"))
    sides = [written(f"été/{side}/") for side in ("größe", "schön")]
    table(tmp_path, "id,human,article", *(f"{k},{written(f'{sides[0]}é{k}.png,{sides[1]}é{k}.png')}" for k in range(2)))
    expected = [(str(k), *(there(f"été/{side}/é{k}.png") for side in ("größe", "schön"))) for k in range(2)]
    assert listed(cagan.Pairs(tmp_path), tmp_path) == expected
    files = cagan._cagan.Listing(tmp_path).files
    assert [tuple(str(path.relative_to(tmp_path)) for path in row) for row in files] == [row[1:] for row in expected]
    (tmp_path / "pairs.csv").unlink()
    patterns = [f"{side}*.png" for side in sides]
    assert [row[1:] for row in listed(cagan.Pairs(tmp_path, human=patterns[0], article=patterns[1]), tmp_path)] == [
        row[1:] for row in expected
    ]
    if not hidden:
        found = cagan.Pairs(tmp_path, human=sides[0], article=sides[1])
        assert [row[1:] for row in listed(found, tmp_path)] == [row[1:] for row in expected]


def test_names_that_hold_a_backslash(tmp_path):
    """A zip of Windows, unpacked elsewhere, has them beside folders."""
    names = ("a\\b", "b", "c\\d")
    write_all(tmp_path, *(f"{side}/{name}.png" for side in ("image", "cloth") for name in names))
    (tmp_path / "pairs.txt").write_text("a\\b.png b.png\nb.png c\\d.png\nimage\\c\\d.png cloth/a\\b.png\n")
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), "line 3", "names `image\\c\\d.png`")
    (tmp_path / "pairs.txt").write_text("a\\b.png b.png\nimage\\b.png c\\d.png\nimage/c\\d.png cloth/a\\b.png\n")
    assert articles(cagan.Pairs(tmp_path)) == {"a\\b": "b", "b": "c\\d", "c\\d": "a\\b"}


def test_a_list_of_windows_beside_files_that_hold_a_backslash(tmp_path, pairs_dir):
    for side in ("human", "article"):
        (tmp_path / side).mkdir()
        for k in range(4):
            shutil.copy(pairs_dir / side / f"0000{k}.png", tmp_path / side / f"{k}.png")
            # Other pictures of the same names.
            shutil.copy(pairs_dir / side / f"0000{k + 4}.png", tmp_path / f"{side}\\{k}.png")
    rows = [f"{sep}{k},human{sep}{k}.png,article{sep}{k}.png" for sep in "/\\" for k in range(4)]
    table(tmp_path, "id,human,article", *rows)
    pairs = cagan.Pairs(tmp_path)
    assert [pair.human_path.name for pair in pairs] == [f"{p}{k}.png" for p in ("", "human\\") for k in range(4)]
    found = cagan.curate(tmp_path, progress=False, report=False)
    assert (found.kept, found.counts) == (8, {})


def test_ids_with_slashes(tmp_path, pairs, run, call):
    lines = [f"look/{k},{pair.human_path},{pair.article_path}" for k, pair in enumerate(pairs)]
    table(tmp_path, "id,human,article", *lines)
    found = cagan.Pairs(tmp_path)
    assert found["look/3"].human_path == pairs[3].human_path
    (tmp_path / "list.csv").write_text("human,target\nlook/0,look/1\n")
    code, _, err = call(
        "swap", run.path, "--pairs", tmp_path, "--list", tmp_path / "list.csv", "--out", tmp_path / "out"
    )
    assert code == 0, err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "look%2F0__look%2F1.alpha.png", "look%2F0__look%2F1.png"]  # fmt: skip


# pairs.csv as programs write it


ROWS = [f"{k},human/{k}.png,article/{k}.png" for k in range(3)]


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("id, human, article\n" + "\n".join(row.replace(",", ", ") for row in ROWS), "utf-8"),
        ("id;human;article\n" + "\n".join(row.replace(",", ";") for row in ROWS), "utf-8-sig"),
        ("id\thuman\tarticle\n" + "\n".join(row.replace(",", "\t") for row in ROWS), "utf-8"),
        ("id,human,article,group\r\n" + "\r\n".join(ROWS) + "\r\n", "utf-8-sig"),
        (',"id","human","article"\n' + "\n".join(f'"{k}",{",".join(map(repr, row.split(",")))}'.replace("'", '"') for k, row in enumerate(ROWS)), "utf-8"),  # noqa: E501
        ("human,article\n" + "\n".join(row.partition(",")[2] for row in ROWS), "utf-8"),
        ("id,human,article,exclude,reviewed,group\n" + "\n".join(f"{row},0.0,,nan" for row in ROWS), "utf-8"),
        ("id,human,article\n" + "\n".join(f"\u00a0{row}\u3000" for row in ROWS), "utf-8"),
    ],
    ids=["spaces", "semicolons", "tabs", "short rows", "quotes", "no ids", "pandas", "wide spaces"],
)  # fmt: skip
def test_one_reader_of_lists(tmp_path, text, encoding):
    write_all(tmp_path, *(f"{side}/{k}.png" for k in range(3) for side in ("human", "article")))
    table(tmp_path, text, encoding=encoding)
    before = cagan.Pairs(tmp_path)
    assert before.ids == ["0", "1", "2"]
    assert {pair.group for pair in before} == {None}
    found = cagan.curate(tmp_path, progress=False, report=False, min_side=1, min_spread=0, min_plain=0, min_colours=0)
    assert "unreadable" not in found.counts
    assert "missing" not in found.counts
    table(tmp_path, (tmp_path / "pairs.csv").read_text(encoding).replace(",1,", ",,"), encoding=encoding)
    names = (tmp_path / "pairs.csv").read_text(encoding)
    assert [pair.human_path for pair in before] == [tmp_path / "human" / f"{k}.png" for k in range(3)]
    assert "article" in names


def test_a_list_of_any_name(tmp_path):
    write_all(tmp_path, "h/1.png", "a/1.png")
    (tmp_path / "mine.csv").write_text("id,human,article\nx,h/1.png,a/1.png\n")
    pairs = cagan.Pairs(tmp_path / "mine.csv")
    assert (pairs.ids, pairs.folder) == (["x"], tmp_path)
    (tmp_path / "mine.json").write_text("{}")
    refusal(
        ValueError, lambda: cagan.Pairs(tmp_path / "mine.json"), "expected a folder, a .csv, a .parquet or a .tar file"
    )
    refusal(FileNotFoundError, lambda: cagan.Pairs(tmp_path / "none.csv"), tmp_path / "none.csv")


def test_spaces_at_the_ends_of_names_survive_curation(tmp_path, pairs_dir):
    names = (" 00000", "00000", "00001 ", "\u30000")
    for side in ("human", "article"):
        (tmp_path / side).mkdir()
        for k, name in enumerate(names):
            shutil.copy(pairs_dir / side / f"0000{k}.png", tmp_path / side / f"{name}.png")
    before = cagan.Pairs(tmp_path)
    assert sorted(before.ids) == sorted(names)
    for _ in range(2):
        assert cagan.curate(tmp_path, progress=False, report=False).kept == 4
        assert sorted(cagan.Pairs(tmp_path).ids) == sorted(names)
    # Without their quotes the spaces do not count.
    table(tmp_path, (tmp_path / "pairs.csv").read_text(encoding="utf-8").replace('"', ""))
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), "id: `00000` is also on line")


@pytest.mark.parametrize("name", ["pairs.csv", "pairs.txt"])
@pytest.mark.parametrize("how", ["folder", "link"])
def test_a_list_that_is_no_file_is_an_error(tmp_path, name, how):
    write_all(tmp_path, *(f"{side}/{k}.png" for k in range(2) for side in ("human", "article")))
    if how == "folder":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).symlink_to("/gone/list")
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), tmp_path / name)
    with pytest.raises((ValueError, PermissionError)):  # where a link leads to may be no place to write
        cagan.curate(tmp_path, progress=False)


def test_a_list_names_files_in_another_case(tmp_path):
    write_all(tmp_path, *(f"{side}/{k}.JPG" for k in range(2) for side in ("Human", "article")))
    table(tmp_path, "id,human,article", "a,human/0.jpg,Article\\0.jpg", "b,Human/1.JPG,article/1.jpg")
    assert listed(cagan.Pairs(tmp_path), tmp_path) == [
        ("a", "Human/0.JPG", "article/0.JPG"),
        ("b", "Human/1.JPG", "article/1.JPG"),
    ]


@pytest.mark.parametrize("delimiter", ",;\t")
def test_excels_line_about_the_delimiter(tmp_path, delimiter):
    write_all(tmp_path, *(f"{side}/{k}.png" for k in range(2) for side in ("human", "article")))
    lines = ["sep=,", "id,human,article,note", "a,human/0.png,article/0.png,", "a,human/1.png,article/1.png,x"]
    lines = [line.replace(",", delimiter) for line in lines]
    table(tmp_path, *lines)
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), "line 4: id: `a` is also on line 3")
    table(tmp_path, *lines[:3], lines[3].replace("a", "b", 1))
    assert cagan.Pairs(tmp_path).ids == ["a", "b"]
    cagan.curate(tmp_path, progress=False, report=False)
    assert (tmp_path / "pairs.csv").read_text().startswith("\n".join(lines[:2]))
    # They are too small to be kept.
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), "2 excluded")


def test_one_folder_for_both_sides_is_refused(tmp_path):
    write_all(tmp_path, "a/1.png", "a/2.png")
    for same in ("a", "a/*.png"):
        call = lambda same=same: cagan.Pairs(tmp_path, human="a", article=same)  # noqa: E731
        refusal(ValueError, call, "article: expected other pictures than the humans', got the same 2 files")


# What is left out


def test_any_change_of_a_folder_is_read_or_refused_and_nothing_is_dropped(tmp_path):
    """Names, kinds and places of files change at random, in three layouts."""
    rng = np.random.default_rng(5)
    layouts = {"plain": ("human/{}.png", "article/{}.png"), "vton": ("train/image/{}_0.png", "train/cloth/{}_1.png")}
    layouts["dress"] = ("dresses/images/{}_0.png", "dresses/images/{}_1.png")
    odd = ["x", ".png", "00.PNG", "0_0.png", "0_1.jpg", "é.png", " 0.png", "0.png.part", "pairs.csv", "train_pairs.txt"]
    odd += ["a" * 200 + ".png", "\udcff.png", "0\n.png", "human", "images", "test", "5"]
    refused = 0
    for turn in range(150):
        kind = [*layouts][turn % 3]
        folder = tmp_path / str(turn)
        write_all(folder, *(form.format(k) for k in range(3) for form in layouts[kind]))
        for _ in range(rng.integers(1, 4)):
            found = sorted(folder.rglob("*"), key=str)
            path = found[rng.integers(len(found))]
            place = path.parent / odd[rng.integers(len(odd))]
            act = rng.integers(7)
            if act == 0 and path.is_file():
                path.unlink()
            elif act == 1 and not place.exists():
                path.rename(place)
            elif act == 2 and not place.exists():
                place.mkdir()
            elif act == 3 and not place.exists() and not place.is_symlink():
                place.symlink_to([path, folder, "/gone", place][rng.integers(4)])
            elif act == 4 and not place.is_dir() and not place.is_symlink():
                place.write_bytes(rng.integers(0, 256, 20, dtype=np.uint8).tobytes())
            elif act == 5 and path.is_file():
                shutil.copy(path, folder / odd[rng.integers(5)])
            elif act == 6 and path.is_dir() and not path.is_symlink():
                shutil.copytree(path, folder / "copy", dirs_exist_ok=True, symlinks=True)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                pairs = cagan.Pairs(folder, on_error="skip")
        except (ValueError, OSError) as error:
            assert "panic" not in str(error)
            refused += 1
            continue
        named = {path for pair in pairs for path in (pair.human_path, pair.article_path)}
        named |= {path for _, path, _ in pairs.skipped} | {path for path, _ in pairs.passed_over}
        named |= {path for _, path in pairs.extra_articles}
        # Of each folder whose pictures are read, all are.
        read = {path.parent for pair in pairs for path in (pair.human_path, pair.article_path)}
        pictures = {path for place in read for path in place.iterdir() if path.suffix.lower() == ".png"}
        dropped = {path for path in pictures - named if not path.name.startswith(".")}
        assert not dropped or pairs.notes, (turn, dropped)
    assert 5 < refused < 100, refused


@pytest.mark.parametrize("ending", [".png?imwidth=762", ".image", "", ".png.part"])
def test_a_picture_of_another_ending_is_told(tmp_path, ending):
    write_all(tmp_path, "human/1.png", "article/1.png", f"human/2{ending}", f"article/2{ending}")
    (tmp_path / "human" / "notes.txt").write_text("no picture")
    with pytest.warns(UserWarning, match="2 pictures are passed over, the first: "):
        pairs = cagan.Pairs(tmp_path)
    assert "3 files passed over" in repr(pairs)
    assert {path.name: reason[:17] for path, reason in pairs.passed_over} == {
        f"2{ending}": "its name ends in ", "notes.txt": "its name ends in "}  # fmt: skip
    assert len(pairs.passed_over) == 3
    (tmp_path / "article" / f"2{ending}").rename(tmp_path / "article" / "2.png")
    call = lambda: cagan.Pairs(tmp_path)  # noqa: E731
    refusal(ValueError, call, f"article/2.png: an article without its human (`human/2{ending}`: its name ends in")


def test_files_that_are_no_pictures_are_counted_in_peace(tmp_path):
    write_all(tmp_path, "human/1.png", "article/1.png")
    for name in ("readme.md", ".DS_Store", "Thumbs.db"):
        (tmp_path / "human" / name).write_text("x")
    (tmp_path / "human" / "old").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs = cagan.Pairs(tmp_path)
    assert [path.name for path, _ in pairs.passed_over] == ["old", "readme.md"]


def test_endings_that_name_pictures(tmp_path):
    endings = ["jpg", "JPEG", "jpe", "jfif", "webp", "heic", "HEIF", "avif"]
    write_all(tmp_path, *(f"{side}/{k}.{ending}" for k, ending in enumerate(endings) for side in ("human", "article")))
    pairs = cagan.Pairs(tmp_path)
    assert (len(pairs), pairs.passed_over) == (len(endings), [])


def test_a_link_to_nowhere(tmp_path):
    write_all(tmp_path, *(f"{side}/{k}.png" for k in range(2) for side in ("human", "article")))
    (tmp_path / "human" / "1.png").unlink()
    (tmp_path / "human" / "1.png").symlink_to("/gone/1.png")
    refusal(ValueError, lambda: cagan.Pairs(tmp_path), "human/1.png: a link to `/gone/1.png`, which is missing")
    pairs = cagan.Pairs(tmp_path, on_error="skip")
    assert [(name, reason) for name, _, reason in pairs.skipped] == [("1", "a link to `/gone/1.png`, which is missing")]


@pytest.mark.parametrize("how", ["empty", "folders", "other"])
def test_a_split_without_pairs_is_told(tmp_path, how):
    write_all(tmp_path, "train/image/1.png", "train/cloth/1.png")
    (tmp_path / "test").mkdir()
    if how == "folders":
        (tmp_path / "test" / "image").mkdir()
        (tmp_path / "test" / "cloth").mkdir()
    elif how == "other":
        (tmp_path / "test" / "photos.zip").write_text("x")
    reason = {"empty": "it is empty", "folders": "its folders have no pictures", "other": "it is of no known layout"}[
        how
    ]
    with pytest.warns(UserWarning, match=f"`test` has no pairs: {reason}"):
        pairs = cagan.Pairs(tmp_path)
    assert (pairs.ids, pairs.splits) == (["1"], {"train": 1})


def test_one_person_in_several_rows_is_a_group(tmp_path):
    write_all(tmp_path, *(f"{side}/{k}.png" for k in range(4) for side in ("human", "article")))
    rows = ["top,human/0.png,article/0.png,", "skirt,human/0.png,article/1.png,", "b,human/1.png,article/2.png,eva"]
    rows += ["c,human/1.png,article/3.png,", "d,human/2.png,article/3.png,"]
    table(tmp_path, "id,human,article,group", *rows)
    assert [pair.group for pair in cagan.Pairs(tmp_path)] == ["top", "top", "eva", "eva", None]
