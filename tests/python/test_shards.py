"""Pairs in tar files, as WebDataset writes them: the pictures, names and errors that `tarfile` knows."""

import gzip
import io
import json
import os
import pickle
import tarfile
import time

import cagan
import numpy as np
import pytest
from helpers import train

COUNT = 6
NAMES = ["000000.tar", "000001.tar"]


def add(shard, name, data):
    about = tarfile.TarInfo(name)
    about.size = len(data)
    shard.addfile(about, io.BytesIO(data))


def members(pairs, told=None):
    """The members of a shard, by name."""
    found = {}
    for pair in pairs:
        found[f"{pair.id}.human.png"] = pair.human_path.read_bytes()
        found[f"{pair.id}.article.PNG"] = pair.article_path.read_bytes()
        if told is not None:
            found[f"{pair.id}.json"] = json.dumps(told(pair)).encode()
    return found


def write(path, found, form=tarfile.PAX_FORMAT):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as shard:
        for name, data in found.items():
            add(shard, name, data)
    return path


@pytest.fixture
def shards(pairs, tmp_path):
    folder = tmp_path / "shards"
    write(folder / "000000.tar", members(pairs[:3]))
    write(folder / "000001.tar", members(pairs[3:COUNT]))
    return folder


def test_pairs_of_shards_are_those_of_files(pairs, shards):
    found = cagan.Pairs(shards)
    assert found.ids == pairs.ids[:COUNT]
    assert found.folder == shards
    for pair, file in zip(found, pairs):
        assert np.array_equal(pair.human, file.human)
        assert np.array_equal(pair.article, file.article)
        assert pair.human_path is None
        assert pair.human_source == file.human_path.read_bytes()
    assert [pair.id for pair in cagan.Pairs(shards / "000001.tar")] == pairs.ids[3:COUNT]
    # Pickled pairs, slices and sums go on reading the members.
    again = pickle.loads(pickle.dumps(found))
    assert again[2] == found[2]
    assert np.array_equal(again[5].article, pairs[5].article)
    both = found[4:] + cagan.Pairs(pairs.folder)[:1]
    assert np.array_equal(both[0].human, pairs[4].human)
    rest, share = found.split(0.5, seed=1)
    assert sorted(rest.ids + share.ids) == found.ids


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_any_length_and_json(pairs, tmp_path, form):
    part = "part" * 20 if form == tarfile.USTAR_FORMAT else "é" * 130
    told = {"id": "anna", "group": 7, "split": None, "caption": ["any"]}
    found = {f"./{part}/1.{side}.png": data for side, data in zip(["human", "article"], members(pairs[:1]).values())}
    found[f"{part}/1.json"] = json.dumps(told).encode()
    found |= {name.replace(".", "/2.", 1): data for name, data in members(pairs[1:2]).items()}
    found |= {"._hidden.human.png": b"", "1.txt": b"", "1.human.mask.png": b""}
    read = cagan.Pairs(write(tmp_path / "a.tar", found, form))
    assert read.ids == ["anna", f"{pairs[1].id}/2"]
    assert [(pair.group, pair.split) for pair in read] == [("7", None), (None, None)]
    assert np.array_equal(read["anna"].human, pairs[0].human)
    (note,) = read.notes
    assert note.startswith("2 members are neither `<key>.human.<ending>` nor") and note.endswith("a.tar/1.txt")


def test_shards_of_splits(pairs, tmp_path):
    write(tmp_path / "train" / "0.tar", members(pairs[:4]))
    write(tmp_path / "test" / "0.tar", members(pairs[4:6], lambda _: {"group": "g"}))
    found = cagan.Pairs(tmp_path)
    assert found.splits == {"train": 4, "test": 2}
    assert {pair.group for pair in found.of_split("test")} == {"g"}


def test_training_and_scores_are_those_of_files(pairs, shards, tmp_path):
    read = cagan.Pairs(shards)
    for loader in ["resident", "streaming"]:
        runs = [
            train(source, tmp_path / f"{loader}{k}", steps=2, batch_size=2, loader=loader)
            for k, source in enumerate([read, pairs[:COUNT]])
        ]
        ours, files = (run.snapshots[-1].read_bytes() for run in runs)
        assert ours == files
    for model in [runs[0], lambda *pictures: pictures[0]]:
        ours, files = (cagan.evaluate(model, source, targets=1).rows for source in [read, pairs[:COUNT]])
        assert ours == files


def test_a_list_of_members_and_a_curated_set(pairs, shards, tmp_path):
    listing = tmp_path / "lists" / "pairs.csv"
    cagan.curate(shards, out=listing.parent, progress=False)
    text = listing.read_text(encoding="utf-8")
    assert "000000.tar/00000.human.png" in text
    assert {path.name for path in shards.iterdir()} == {*NAMES, *(f".{name}.cagan" for name in NAMES)}
    found = cagan.Pairs(listing)
    assert {pair.id for pair in found} <= set(pairs.ids)
    assert np.array_equal(found[0].human, pairs[found[0].id].human)
    # Frames and rows name members in the same way.
    path = shards / "000001.tar" / f"{pairs[4].id}.human.png"
    (row,) = cagan.Pairs.from_rows([(path, pairs[0].article_path)])
    assert np.array_equal(row.human, pairs[4].human)
    listing.write_text(f"id,human,article\na,{shards}/000000.tar/none.png,{pairs[0].article_path}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 2: .*000000.tar/none.png: its tar file has no such picture"):
        cagan.Pairs(listing)


def damaged(path, kind):
    whole = path.read_bytes()
    with tarfile.open(path) as shard:
        last = shard.getmembers()[-1]
    cut = {"member": last.offset_data + 5, "header": last.offset + 100, "end": last.offset_data + last.size}
    path.write_bytes(whole[: cut[kind]])
    return last.name


@pytest.mark.parametrize("kind", ["member", "header", "end"])
def test_a_shard_that_is_cut_off(shards, kind):
    name = damaged(shards / "000001.tar", kind)
    match = f"member `{name}`.*cut off" if kind == "member" else "cut off"
    with pytest.raises(ValueError, match=f"000001.tar: .*{match}"):
        cagan.Pairs(shards)


def test_broken_shards(pairs, shards):
    shard = shards / "000001.tar"
    good = members(pairs[3:5])
    name = f"{pairs[3].id}.human"

    def expect(match, kind=ValueError, **settings):
        with pytest.raises(kind, match=match):
            cagan.Pairs(shards, **settings)

    with tarfile.open(write(shard, good), "a") as file:
        add(file, f"{name}.jpg", b"")
    expect(rf"000001.tar: member `{name}.jpg`: expected one human of `{pairs[3].id}`, it is the second")
    write(shard, members(pairs[2:4]))
    expect(rf"000001.tar: expected each pair once, `{pairs[2].id}` is also in .*000000.tar")
    write(shard, {key: data for key, data in good.items() if key != f"{name}.png"})
    expect(rf"000001.tar/{pairs[3].id}.article.PNG: an article without its human")
    skipped = cagan.Pairs(shards, on_error="skip")
    assert skipped.skipped == [
        (pairs[3].id, shard / f"{pairs[3].id}.article.PNG", skipped.skipped[0][2]),
    ]
    assert cagan.Pairs(shards, extra_articles=True).extra_articles[0][0] == pairs[3].id
    write(shard, good | {"x.json": b"[1]"})
    expect("000001.tar: member `x.json`: expected a JSON object")
    write(shard, good | {"x.json": b'{"group": []}'})
    expect(r"member `x.json`: group: expected a text, got \[\]")
    shard.write_bytes(b"no tar file" * 100)
    expect("000001.tar: expected a tar file")
    shard.write_bytes(gzip.compress(b"x"))
    expect("000001.tar: expected a tar file that is not compressed, .* got gzip")
    # A picture that cannot be decoded is named with its shard.
    write(shard, good | {f"{name}.png": b"no picture"})
    read = cagan.Pairs(shards)
    with pytest.raises(ValueError, match=f"000001.tar/{name}.png: cannot be decoded"):
        _ = read[pairs[3].id].human
    # A file that changes under the pairs is noticed; other pairs of it are new ones.
    write(shard, members(pairs[4:6]))
    with pytest.raises(ValueError, match=r"000001.tar: the file has changed since the pairs were read"):
        _ = read[pairs[4].id].human
    assert np.array_equal(cagan.Pairs(shards)[pairs[4].id].human, pairs[4].human)
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=r"000001.tar"):
        _ = read[pairs[4].id].human


def test_compressed_shards_alone(pairs, tmp_path):
    path = tmp_path / "0.tar.gz"
    with tarfile.open(path, "w:gz") as shard:
        add(shard, "a.human.png", pairs[0].human_path.read_bytes())
    for place in [tmp_path, path]:
        with pytest.raises(ValueError, match=r"0.tar.gz: expected a tar file that is not compressed"):
            cagan.Pairs(place)


def test_the_index_spares_the_way_through_the_shards(pairs, shards):
    index = shards / ".000000.tar.cagan"
    first = cagan.Pairs(shards)
    assert index.is_file()
    shard = shards / "000000.tar"
    about = shard.stat()
    # Of the same length and time, with a broken header: only the index tells the pairs.
    whole = shard.read_bytes()
    shard.write_bytes(b"x" * 512 + whole[512:])
    os.utime(shard, ns=(about.st_atime_ns, about.st_mtime_ns))
    again = cagan.Pairs(shards)
    assert again.ids == first.ids
    assert np.array_equal(again[0].human, pairs[0].human)
    # Another time is another file; a broken index is as none.
    kept = index.read_bytes()
    assert kept.count(b'png",1,') == 1
    for broken in [kept[:-1], kept.replace(b'png",1,', b'png",2,', 1), b""]:
        index.write_bytes(broken)
        with pytest.raises(ValueError, match=r"000000.tar: expected a tar file"):
            cagan.Pairs(shards)
    index.write_bytes(kept)
    os.utime(shard, (time.time() + 9,) * 2)
    with pytest.raises(ValueError, match=r"000000.tar: expected a tar file"):
        cagan.Pairs(shards)
    # Shards that come and go; an index that cannot be written.
    write(shard, members(pairs[:2]))
    (shards / "000001.tar").unlink()
    index.unlink()
    index.mkdir()
    assert cagan.Pairs(shards).ids == pairs.ids[:2]
