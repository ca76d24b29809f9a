"""Pairs without a folder: rows, data frames, datasets, pictures in memory; parts and sums of pairs."""

import io
import sys

import cagan
import numpy as np
import pytest
from helpers import assert_same_end, refusal
from PIL import Image

SETTINGS = {"threads": 1, "progress": False, "steps": 4}


def encoded(path):
    return path.read_bytes()


KINDS = {
    "paths": lambda pair: (pair.human_path, pair.article_path),
    "texts": lambda pair: (str(pair.human_path), str(pair.article_path)),
    "arrays": lambda pair: (pair.human, pair.article),
    "pictures": lambda pair: (Image.open(pair.human_path), Image.open(pair.article_path)),
    "bytes": lambda pair: (encoded(pair.human_path), encoded(pair.article_path)),
    "records": lambda pair: (
        {"bytes": encoded(pair.human_path), "path": None},
        {"bytes": None, "path": str(pair.article_path)},
    ),
    "mixed": lambda pair: (pair.human_path, pair.article),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_from_anywhere_are_the_same_pairs(pairs, kind):
    rows = [(*KINDS[kind](pair), pair.id) for pair in pairs]
    found = cagan.Pairs.from_rows(rows)
    assert (found.ids, found.folder, len(found)) == (pairs.ids, None, 8)
    for mine, theirs in zip(found, pairs):
        assert np.array_equal(mine.human, theirs.human)
        assert np.array_equal(mine.article, theirs.article)
    triplets = [cagan.Trainer(p, cagan.Config("smoke", threads=1)).triplet(3) for p in (pairs, found)]
    assert all(np.array_equal(a, b) for a, b in zip(*triplets))


@pytest.mark.parametrize("loader", ["resident", "streaming"])
def test_pictures_in_memory_train_evaluate_and_resume_like_files(pairs, tmp_path, loader):
    rows = cagan.Pairs.from_rows([(*KINDS["bytes"](pair), pair.id) for pair in pairs])
    arrays = cagan.Pairs.from_rows([(pair.human, pair.article, pair.id) for pair in pairs])
    whole = cagan.train(pairs, tmp_path / "whole", "smoke", loader=loader, **SETTINGS)
    cagan.train(rows, tmp_path / "parts", "smoke", loader=loader, **SETTINGS | {"steps": 2})
    # The run goes on with the same pictures, wherever they are.
    parts = cagan.train(arrays, tmp_path / "parts", "smoke", loader=loader, resume="must", **SETTINGS)
    assert_same_end(parts.path, whole.path)
    other = cagan.Pairs.from_rows([(pair.human[::-1].copy(), pair.article, pair.id) for pair in pairs])
    call = lambda: cagan.train(other, tmp_path / "parts", "smoke", loader=loader, **SETTINGS | {"steps": 6})  # noqa: E731
    with pytest.raises(ValueError, match="pairs"):
        call()
    scores = [cagan.evaluate(whole, p, targets=1) for p in (pairs, rows, arrays)]
    assert dict(scores[0]) == dict(scores[1]) == dict(scores[2])


def test_rows_have_names_groups_and_splits(pairs):
    files = [KINDS["paths"](pair) for pair in pairs]
    found = cagan.Pairs(files)
    assert found.ids == [f"{k:05}" for k in range(8)]
    found = cagan.Pairs.from_rows([(*files[0], "a", "anna", "train"), (*files[1], 7, None, float("nan"))])
    assert [(pair.id, pair.group, pair.split) for pair in found] == [("a", "anna", "train"), ("7", None, None)]
    # A row of one photo for each article: names of their own, and one group.
    found = cagan.Pairs.from_rows([(files[0][0], files[k][1]) for k in range(3)])
    assert [(pair.id, pair.group) for pair in found] == [("00000", "00000"), ("00000_2", "00000"), ("00000_3", "00000")]
    found = cagan.Pairs.from_rows([{"human": files[0][0], "article": files[0][1], "id": "x", "split": "val"}, pairs[3]])
    assert (found.ids, found.splits) == (["x", "00003"], {"val": 1})
    arrays = cagan.Pairs.from_rows((pair.human, pair.article) for pair in pairs)
    assert arrays.ids == [str(k) for k in range(8)]
    assert arrays["3"].human_path is None
    assert arrays["3"].human_source.shape == (64, 64, 3)
    assert found["x"].human_source == files[0][0]


def test_paths_are_relative_to_the_folder(pairs_dir, monkeypatch):
    rows = [("human/00000.png", "article/00000.png"), ("human/00001.png", "article/00001.png")]
    assert cagan.Pairs.from_rows(rows, folder=pairs_dir)[1].human_path == pairs_dir / "human" / "00001.png"
    refusal(ValueError, lambda: cagan.Pairs.from_rows(rows), "human/00000.png: no such file")
    monkeypatch.chdir(pairs_dir)
    assert len(cagan.Pairs.from_rows(rows)) == 2


def test_rows_that_are_none(pairs, tmp_path):
    files = KINDS["paths"](pairs[0])
    refusal(ValueError, lambda: cagan.Pairs([]), "expected pairs of a human and an article, got none")
    refusal(TypeError, lambda: cagan.Pairs(7), "pairs: expected a folder", "got int")
    refusal(TypeError, lambda: cagan.Pairs([files, "human.png"]), "row 1: expected (human, article)", "got str")
    refusal(TypeError, lambda: cagan.Pairs([files, 5]), "row 1: expected (human, article)", "got int")
    refusal(ValueError, lambda: cagan.Pairs([(files[0],)]), "row 0: expected human, article", "got 1")
    refusal(ValueError, lambda: cagan.Pairs([(*files, "a"), (*files, "a")]), "id: expected each once, got `a` twice")
    refusal(ValueError, lambda: cagan.Pairs([(np.zeros((4, 4)), files[1], "a")]), "human of `a`: expected", "[4, 4]")
    refusal(ValueError, lambda: cagan.Pairs([(files[0], None)]), "a human without its article")
    broken = cagan.Pairs([(b"no picture", files[1], "a"), (*files, "b")])
    refusal(ValueError, lambda: broken[0].human, "human of `a`: cannot be decoded")
    call = lambda: cagan.Trainer(broken, cagan.Config("smoke", batch_size=1))  # noqa: E731
    refusal(ValueError, call, "human of `a`: cannot be decoded")
    with pytest.raises(TypeError, match="human: expected a picture, got none"):
        cagan.Pair("a", None, files[1])
    skipped = cagan.Pairs.from_rows([(*files, "a"), (tmp_path / "gone.png", files[1], "b")], on_error="skip")
    assert (skipped.ids, [row[0] for row in skipped.skipped]) == (["a"], ["b"])
    extra = cagan.Pairs.from_rows([(*files, "a"), (None, pairs[1].article, "b")], extra_articles=True)
    assert [name for name, _ in extra.extra_articles] == ["b"]


def test_broken_bytes_are_skipped_and_listed(pairs, tmp_path):
    rows = [(*KINDS["bytes"](pair), pair.id) for pair in pairs]
    rows[2] = (b"\x89PNG\r\n\x1a\nbroken", rows[2][1], "00002")
    found = cagan.Pairs.from_rows(rows, on_error="skip")
    with pytest.warns(UserWarning, match="1 skipped, 7 pairs left; the first: 00002"):
        cagan.train(found, tmp_path / "run", "smoke", **SETTINGS)
    assert "00002,human of `00002`" in (tmp_path / "run" / "skipped.csv").read_text()


# Data frames


def columns(pairs):
    return {
        "id": pairs.ids,
        "human": [str(pair.human_path) for pair in pairs],
        "article": [str(pair.article_path) for pair in pairs],
    }


def test_columns_by_name(pairs):
    found = cagan.Pairs.from_frame(columns(pairs))
    assert found.ids == pairs.ids
    table = columns(pairs)
    table["photo"] = table.pop("human")
    assert cagan.Pairs(table, human="photo").ids == pairs.ids
    refusal(
        ValueError,
        lambda: cagan.Pairs.from_frame(table),
        "columns: expected `human` among them, got id, article, photo",
    )
    refusal(ValueError, lambda: cagan.Pairs.from_frame(columns(pairs), group="person"), "expected `person` among them")
    table["photo"] = table["photo"][1:]
    refusal(ValueError, lambda: cagan.Pairs(table, human="photo"), "columns of one length")
    refusal(TypeError, lambda: cagan.Pairs.from_frame(5), "frame: expected a data frame", "got int")


def test_pandas(pairs, tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(columns(pairs))
    assert cagan.Pairs(frame).ids == pairs.ids
    frame["exclude"] = [1, *[None] * 7]
    frame["group"] = [None, 1, 1, *[None] * 5]
    frame["id"] = range(8)
    found = cagan.Pairs.from_frame(frame)
    assert (found.ids, found.excluded[0][0]) == ([str(k) for k in range(1, 8)], "0")
    assert [pair.group for pair in found[:3]] == ["1", "1", None]
    indexed = pandas.DataFrame(columns(pairs)).set_index("id")
    indexed.index = [f"row{k}" for k in range(8)]
    indexed.index.name = "id"
    assert cagan.Pairs(indexed).ids == [f"row{k}" for k in range(8)]
    again = found.to_frame()
    assert list(again.columns) == ["id", "human", "article", "group", "split"]
    assert [*cagan.Pairs.from_frame(again)] == [*found]
    arrays = cagan.Pairs.from_rows([(pair.human, pair.article, pair.id) for pair in pairs])
    assert [*cagan.Pairs.from_frame(arrays.to_frame())] == [*arrays]
    # A list through pandas and back is the same list.
    frame.to_csv(tmp_path / "pairs.csv", index=False)
    assert cagan.Pairs(tmp_path).ids == found.ids


def test_polars(pairs):
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame(columns(pairs))
    for one in (frame, frame.lazy()):
        assert cagan.Pairs.from_frame(one).ids == pairs.ids
    binary = frame.with_columns(human=polars.Series([encoded(pair.human_path) for pair in pairs]))
    assert np.array_equal(cagan.Pairs(binary)[2].human, pairs[2].human)


@pytest.mark.parametrize("name", ["__arrow_c_stream__", "__dataframe__"])
def test_frames_by_their_protocols(pairs, name):
    arrow = pytest.importorskip("pyarrow")
    frame = arrow.table(columns(pairs))
    assert cagan.Pairs(frame).ids == pairs.ids
    kind = type("Frame", (), {name: lambda _, *a, **k: getattr(frame, name)(*a, **k)})
    assert cagan.Pairs.from_frame(kind()).ids == pairs.ids


def test_a_frame_that_nothing_can_read(pairs, monkeypatch):
    for name in ("pyarrow", "polars", "pandas", "pyarrow.interchange", "pandas.api.interchange", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    kind = type("Frame", (), {"__arrow_c_stream__": lambda *_: None})
    refusal(ImportError, lambda: cagan.Pairs(kind()), "pip install pyarrow")
    refusal(ImportError, lambda: pairs.to_frame(), "expected pandas or polars")


def test_parquet(pairs, tmp_path, pairs_dir, monkeypatch):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = columns(pairs)
    table["human"] = [f"human/{k:05}.png" for k in range(8)]
    table["article"] = [{"bytes": encoded(pair.article_path), "path": "x.png"} for pair in pairs]
    parquet.write_table(arrow.table(table), tmp_path / "mine.parquet")
    (tmp_path / "human").symlink_to(pairs_dir / "human")
    found = cagan.Pairs(tmp_path / "mine.parquet")
    assert (found.ids, found.folder) == (pairs.ids, tmp_path)
    assert np.array_equal(found[3].article, pairs[3].article)
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    refusal(ValueError, lambda: cagan.Pairs(tmp_path / "bad.parquet"), "bad.parquet: expected a Parquet file")
    refusal(FileNotFoundError, lambda: cagan.Pairs(tmp_path / "none.parquet"), "none.parquet")
    for name in ("pyarrow.parquet", "polars", "pandas"):
        monkeypatch.setitem(sys.modules, name, None)
    refusal(ImportError, lambda: cagan.Pairs(tmp_path / "mine.parquet"), "pip install 'cagan[parquet]'")


# Datasets


def test_rows_that_can_only_be_gone_through(pairs):
    rows = ({"human": pair.human, "article": pair.article, "id": pair.id, "caption": "x"} for pair in pairs)
    assert cagan.Pairs.from_dataset(rows).ids == pairs.ids


def test_rows_of_a_list_and_of_splits(pairs):
    rows = [{"human": pair.human, "article": pair.article} for pair in pairs]
    assert len(cagan.Pairs.from_dataset(rows)) == 8
    found = cagan.Pairs.from_dataset({"train": rows[:5], "test": rows[5:]})
    assert found.splits == {"train": 5, "test": 3}


def test_what_is_no_dataset(pairs, pairs_dir):
    files = KINDS["paths"](pairs[0])
    for wrong in (None, 7, "shop", b"shop", object()):
        kind = type(wrong).__name__
        expected = "dataset: expected a dataset of Hugging Face, or rows that are dicts of columns"
        refusal(TypeError, lambda wrong=wrong: cagan.Pairs.from_dataset(wrong), f"{expected}, got {kind}")
    for wrong in ([files], iter([files]), {"human": [files[0]], "article": [files[1]]}, pairs_dir / "human"):
        call = lambda wrong=wrong: cagan.Pairs.from_dataset(wrong)  # noqa: E731
        with pytest.raises(TypeError, match=r"(row 0|dataset): expected"):
            call()
    refusal(ValueError, lambda: cagan.Pairs.from_dataset([{"human": files[0]}]), "columns: expected `article`")


def test_a_dataset(pairs, tmp_path):
    datasets = pytest.importorskip("datasets")
    table = {
        "human": [{"bytes": encoded(pair.human_path), "path": None} for pair in pairs],
        "shirt": [str(pair.article_path) for pair in pairs],
        "caption": ["text"] * 8,
    }
    features = datasets.Features(
        {"human": datasets.Image(), "shirt": datasets.Image(), "caption": datasets.Value("string")}
    )
    dataset = datasets.Dataset.from_dict(table, features=features)
    assert cagan.Pairs.from_dataset(dataset, article="shirt")[2].article_path == pairs[2].article_path
    dataset.save_to_disk(tmp_path / "set")
    dataset = datasets.load_from_disk(tmp_path / "set")
    before = sorted(tmp_path.rglob("*"))
    found = cagan.Pairs.from_dataset(dataset, article="shirt")
    assert all(np.array_equal(mine.human, theirs.human) for mine, theirs in zip(found, pairs))
    assert all(np.array_equal(mine.article, theirs.article) for mine, theirs in zip(found, pairs))
    assert cagan.Pairs(dataset, article="shirt").ids == found.ids
    # Chosen and shuffled rows, and columns that decode.
    part = dataset.select([5, 2, 3])
    chosen = cagan.Pairs.from_dataset(part, article="shirt")
    assert [np.array_equal(mine.human, pairs[k].human) for mine, k in zip(chosen, (5, 2, 3))] == [True] * 3
    splits = datasets.DatasetDict(train=dataset, test=part)
    both = cagan.Pairs.from_dataset(splits, article="shirt")
    assert both.splits == {"test": 3, "train": 8}
    assert sorted(tmp_path.rglob("*")) == before, "nothing is copied to disk"
    refusal(
        ValueError,
        lambda: cagan.Pairs.from_dataset(dataset),
        "expected `article` among them, got human, shirt, caption",
    )
    triplets = [cagan.Trainer(p, cagan.Config("smoke", threads=1)).triplet(1) for p in (pairs, found)]
    assert all(np.array_equal(a, b) for a, b in zip(*triplets))
    streamed = dataset.to_iterable_dataset()
    assert np.array_equal(cagan.Pairs.from_dataset(streamed, article="shirt")[1].human, pairs[1].human)


def test_columns_of_a_dataset(pairs):
    datasets = pytest.importorskip("datasets")
    image, height, width = datasets.Image(), *pairs[0].human.shape[:2]
    kinds = {"human": datasets.Array3D((height, width, 3), "uint8"), "article": image}
    kinds["split"] = datasets.ClassLabel(names=["train", "test"])
    table = {"human": [pair.human for pair in pairs], "article": [Image.fromarray(pair.article) for pair in pairs]}
    table["split"] = [0] * 5 + [1, 1, None]
    found = cagan.Pairs.from_dataset(datasets.Dataset.from_dict(table, features=datasets.Features(kinds)))
    assert found.splits == {"test": 2, "train": 5}
    assert all(np.array_equal(mine.human, theirs.human) for mine, theirs in zip(found, pairs))
    assert all(np.array_equal(mine.article, theirs.article) for mine, theirs in zip(found, pairs))
    # An empty cell is no picture.
    table = {"human": [table["article"][0], None], "article": table["article"][:2]}
    empty = datasets.Dataset.from_dict(table, features=datasets.Features(human=image, article=image))
    refusal(ValueError, lambda: cagan.Pairs.from_dataset(empty), "an article without its human")


def test_a_frame_of_polars_and_back(pairs, monkeypatch):
    pytest.importorskip("polars")
    monkeypatch.setitem(sys.modules, "pandas", None)
    for kind in KINDS.values():
        found = cagan.Pairs.from_rows([(*kind(pair), pair.id) for pair in pairs])
        again = cagan.Pairs.from_frame(found.to_frame())
        assert again.ids == found.ids
        assert all(np.array_equal(mine.human, theirs.human) for mine, theirs in zip(again, pairs))


# Parts and sums


def test_slices(pairs):
    assert pairs[2:5].ids == ["00002", "00003", "00004"]
    assert pairs[::-3].ids == ["00007", "00004", "00001"]
    assert pairs[10:20].ids == []
    assert pairs[2:5]["00003"] == pairs[3]
    assert "00007" not in pairs[2:5]
    assert pairs[:4].folder == pairs.folder
    assert repr(pairs[1:3]) == f'Pairs("{pairs.folder}", 2 pairs)'


def test_filter(pairs):
    assert pairs.filter(lambda pair: int(pair.id) % 3 == 0).ids == ["00000", "00003", "00006"]
    with pytest.raises(ZeroDivisionError):
        pairs.filter(lambda _: 1 / 0)


def test_sums(pairs, tmp_path):
    assert (pairs[:3] + pairs[5:]).ids == ["00000", "00001", "00002", "00005", "00006", "00007"]
    twice = pairs + pairs
    assert (len(twice), twice.ids[8], len(set(twice.ids))) == (16, "00000_2", 16)
    # The same photo twice is one person.
    assert twice[0].group == twice[8].group == "00000"
    other = cagan.dolls(tmp_path / "others", count=3, seed=5, size=(64, 64))
    both = pairs + other
    assert (len(both), both.folder) == (11, None)
    assert both["00001_2"].human_path == other[1].human_path
    with pytest.raises(TypeError, match="expected other Pairs to add, got list"):
        pairs + [1]  # noqa: RUF005  # the operator is tested
    run = cagan.train(both, tmp_path / "run", "smoke", **SETTINGS)
    assert run.stats[-1]["step"] == 4


def test_a_part_of_dolls_is_scored_by_its_true_swaps(pairs_dir, run):
    whole = cagan.Pairs(pairs_dir)
    rows = [line.split(",") for line in (pairs_dir / "swaps" / "list.csv").read_text().splitlines()[1:]]
    inside = [row for row in rows if set(row) <= set(whole[:6].ids)]
    assert 0 < len(inside) < len(rows)
    scores = cagan.evaluate(run, whole[:6])
    assert scores.figures["true/ssim"].count == len({human for human, _ in inside})


def test_ids_are_found_at_once():
    """A search of each row for each id would take minutes."""
    row = io.BytesIO()
    Image.new("RGB", (4, 4)).save(row, "PNG")
    count = 20_000
    pairs = cagan.Pairs.from_rows([(row.getvalue(), row.getvalue(), f"pair{k}") for k in range(count)])
    assert all(pairs[f"pair{k}"].id == f"pair{k}" for k in range(0, count, 2))
    with pytest.raises(KeyError, match="did you mean `pair7`"):
        pairs["pair7x"]


def test_in_memory_pairs_are_shown_in_notebooks(pairs):
    found = cagan.Pairs.from_rows([(pair.human, pair.article) for pair in pairs])
    assert found._repr_png_() == pairs._repr_png_()


def test_in_memory_pairs_survive_pickle(pairs):
    import pickle

    rows = [(*KINDS["bytes"](pairs[0]), "a"), (pairs[1].human, pairs[1].article, "b", "g", "train")]
    found = cagan.Pairs.from_rows([*rows, (None, pairs[2].article, "c")], extra_articles=True)
    again = pickle.loads(pickle.dumps(found))
    assert [*again] == [*found]
    assert (again.ids, again.splits, again.extra_articles) == (found.ids, found.splits, found.extra_articles)


def test_the_app_shows_pictures_in_memory(pairs):
    found = cagan.Pairs.from_rows([(pair.human, pair.article) for pair in pairs])
    pictures = cagan._cagan.thumbnails([pair.human_source for pair in found], 32)
    assert pictures == cagan._cagan.thumbnails([pair.human_path for pair in pairs], 32)
