"""Curation: the faults found among drawn pictures, the report, and the changes to the user's pairs.csv."""

import csv
import json
import os
import re
import resource
import shutil
import subprocess
import time

import cagan
import numpy as np
import pytest
from cagan.curation import curating
from helpers import HOSTILE, command, contents, refusal
from PIL import Image, ImageDraw, ImageOps

NAMES = list(cagan._cagan.curation_reasons())


def photo(seed, colour=(190, 30, 40), side=160):
    """Draws a person in that colour before waves of grey."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[0:1:160j, 0:1:120j]
    waves = sum(np.sin(draw.uniform(3, 25) * x + draw.uniform(3, 25) * y + draw.uniform(0, 6)) for _ in range(4))
    grey = (128 + 28 * waves).clip(0, 255).astype(np.uint8)
    picture = Image.fromarray(np.stack([grey] * 3, -1))
    ImageDraw.Draw(picture).rectangle((40, 50 + seed % 9, 80, 120), fill=colour)
    return picture.resize((side * 3 // 4, side), Image.Resampling.LANCZOS) if side != 160 else picture


def packshot(seed, colour=(190, 30, 40)):
    """Draws a garment on white; the seed chooses its outline and stripes."""
    draw = np.random.default_rng(1000 + seed)
    picture = Image.new("RGB", (120, 160), "white")
    pen = ImageDraw.Draw(picture)
    points = [(int(draw.integers(10, 110)), int(y)) for y in (20, 20, 60, 100, 140, 140)]
    pen.polygon(points, fill=colour)
    pen.rectangle((30, 40, 90, int(draw.integers(70, 130))), fill=colour)
    for _ in range(5):
        y = int(draw.integers(40, 120))
        pen.line((30, y, 90, y), fill=tuple(c // 2 for c in colour), width=int(draw.integers(2, 8)))
    return picture


COLOURS = [(190, 30, 40), (30, 60, 190), (20, 130, 60), (220, 170, 20), (120, 40, 140)]


class Folder:
    """A folder to which a test adds pairs."""

    def __init__(self, path):
        self.path = path
        for side in ("human", "article"):
            (path / side).mkdir()

    def add(self, name, human, article, ending="png", **options):
        for side, picture in (("human", human), ("article", article)):
            if picture is not None:
                picture.save(self.path / side / f"{name}.{ending}", **options)

    def curate(self, **options):
        return cagan.curate(self.path, progress=False, **options)

    def rows(self):
        with (self.path / "pairs.csv").open(newline="", encoding="utf-8-sig") as file:
            return {row["id"]: row for row in csv.DictReader(file)}


@pytest.fixture
def folder(tmp_path):
    """Five good pairs."""
    found = Folder(tmp_path)
    for k, colour in enumerate(COLOURS):
        found.add(f"good{k}", photo(k, colour), packshot(k, colour))
    return found


def test_good_pairs_stay(folder):
    before = contents(folder.path)
    curation = folder.curate()
    assert (curation.kept, curation.excluded, curation.counts, curation.groups) == (5, 0, {}, {})
    assert repr(curation) == f"Curation({str(folder.path)!r}, 5 pairs: 5 kept, 0 left out; 0 groups)"
    after = contents(folder.path)
    assert set(after) - set(before) == {"pairs.csv", "curation.html"}
    assert all(after[name] == before[name] for name in before), "no picture is changed"
    assert list(folder.rows()["good0"]) == ["id", "human", "article", "group", "exclude", "reason"]
    assert len(cagan.Pairs(folder.path)) == 5


def test_each_fault_is_found(folder):
    red = COLOURS[0]
    folder.add("tiny", photo(10, red).resize((40, 50)), packshot(10, red))
    folder.add("long", photo(11, red), packshot(11, red).resize((100, 600)))
    folder.add("blank", photo(12, red), Image.new("RGB", (120, 160), (250, 250, 251)))
    folder.add("street", photo(13, red), photo(14, red))
    folder.add("wrong", photo(15, (128, 128, 128)), packshot(15, (20, 130, 60)))
    folder.add("lonely", photo(16, red), None)
    folder.add("alone", None, packshot(17, red))
    folder.add("broken", photo(18, red), packshot(18, red))
    (folder.path / "article" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    curation = folder.curate()
    reasons = {name: row["reason"] for name, row in folder.rows().items() if row["exclude"]}
    assert reasons == {
        "tiny": "tiny",
        "long": "aspect",
        "blank": "blank",
        "street": "not_packshot",
        "wrong": "wrong_pair",
        "lonely": "no_article",
        "alone": "no_human",
        "broken": "unreadable",
    }
    assert folder.rows()["lonely"]["article"] == folder.rows()["alone"]["human"] == ""
    assert list(curation.counts) == [name for name in NAMES if name in curation.counts]
    assert (curation.kept, curation.excluded) == (5, 8)
    assert "5 kept, 8 left out (1 no_human, 1 no_article, 1 unreadable" in repr(curation)
    assert "<td>wrong_pair</td>" in curation._repr_html_()


def half(picture):
    return picture.resize((picture.width // 2, picture.height // 2), Image.Resampling.LANCZOS)


def cropped(picture):
    return picture.crop((4, 5, picture.width - 4, picture.height - 5))


CHANGES = {
    "copy": (lambda p: p, {}),
    "jpeg": (lambda p: p, {"ending": "jpg", "quality": 40}),
    "flip": (ImageOps.mirror, {}),
    "crop": (cropped, {}),
    "flipped_crop_jpeg": (lambda p: ImageOps.mirror(cropped(p)), {"ending": "jpg", "quality": 40}),
    "half": (half, {}),
    "bmp": (lambda p: p, {"ending": "bmp"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_photo_again_is_left_out(folder, name):
    change, options = CHANGES[name]
    # The second of the pairs, of its own article.
    folder.add("zz", change(photo(1, COLOURS[1])), packshot(20, COLOURS[1]), **options)
    curation = folder.curate(min_side=32)
    rows = folder.rows()
    assert {row["id"]: row["reason"] for row in curation.rows if row["exclude"]} == {"zz": "duplicate"}
    assert rows["zz"]["group"] == rows["good1"]["group"] == "good1"
    assert curation.groups == {"good1": ["good1", "zz"]}


@pytest.mark.parametrize("name", CHANGES)
def test_an_article_again_shares_a_group_and_stays(folder, name):
    change, options = CHANGES[name]
    folder.add("zz", photo(21, COLOURS[2]), change(packshot(2, COLOURS[2])), **options)
    curation = folder.curate(min_side=32)
    assert curation.excluded == 0
    assert curation.groups == {"good2": ["good2", "zz"]}


def test_the_same_garment_in_another_colour_is_another_article(folder):
    folder.add("zz", photo(22, COLOURS[3]), packshot(2, COLOURS[3]))
    assert folder.curate().groups == {}


def test_the_larger_photo_stays(folder):
    folder.add("zz", photo(0, COLOURS[0], side=320), packshot(23, COLOURS[0]))
    folder.curate()
    rows = folder.rows()
    assert (rows["good0"]["reason"], rows["zz"]["exclude"]) == ("duplicate", "")


def test_a_second_time_changes_nothing(folder):
    folder.add("again", photo(0, COLOURS[0]), packshot(24, COLOURS[0]))
    folder.add("large", photo(0, COLOURS[0], side=320), packshot(24, COLOURS[0]))
    folder.add("wrong", photo(25, (128, 128, 128)), packshot(25, COLOURS[1]))
    folder.curate()
    first = contents(folder.path)
    times = (folder.path / "pairs.csv").stat().st_mtime_ns
    for _ in range(2):
        folder.curate()
        assert contents(folder.path) == first
    assert (folder.path / "pairs.csv").stat().st_mtime_ns == times


# The user's own pairs.csv


def write(folder, text, encoding="utf-8"):
    (folder.path / "pairs.csv").write_bytes(text.encode(encoding))


def test_own_columns_decisions_and_encoding_stay(folder):
    folder.add("zz", photo(0, COLOURS[0]), packshot(20, COLOURS[0]))
    lines = [
        "note,id,article,human,split,reason,exclude,reviewed",
        '"größer, ""rot""",a,article/good0.png,human/good0.png,train,,,',
        "=1+1,b,article/good1.png,human/good1.png,val,from_behind;other,TRUE,",
        " spaces ,c,article/good2.png,human/good2.png,,,x,",
        ",kept,article/zz.png,human/zz.png,,,no,yes",
        ",gone,article/gone.png,human/good3.png,,,,",
    ]
    write(folder, "\r\n".join(lines) + "\r\n", "utf-8-sig")
    curation = folder.curate()
    text = (folder.path / "pairs.csv").read_bytes()
    assert text.startswith(b"\xef\xbb\xbf")
    assert text.decode("utf-8-sig").split("\r\n") == [
        "note,id,article,human,split,reason,exclude,reviewed,group",
        # `kept` was reviewed: it stays, and the pair that is not reviewed is its duplicate.
        '"größer, ""rot""",a,article/good0.png,human/good0.png,train,duplicate,1,,a',
        "=1+1,b,article/good1.png,human/good1.png,val,from_behind;other,1,,",
        " spaces ,c,article/good2.png,human/good2.png,,,1,,",
        ",kept,article/zz.png,human/zz.png,,,,yes,a",
        ",gone,article/gone.png,human/good3.png,,missing,1,,",
        "",
    ]
    assert curation.counts == {"missing": 1, "duplicate": 1, "from_behind": 1, "other": 1}
    assert curation.excluded == 4


def test_groups_of_the_user_are_merged(folder):
    for name in ("p", "q"):
        folder.add(name, photo(ord(name), COLOURS[0]), packshot(0, COLOURS[0]))
    sides = {name: f"human/{name}.png,article/{name}.png" for name in ("good0", "good1", "good2", "good3", "p", "q")}
    groups = {"good0": "", "good1": "ann", "good2": "bob", "good3": "bob", "p": "ann", "q": "good0"}
    write(folder, "id,human,article,group\n" + "".join(f"{n},{sides[n]},{groups[n]}\n" for n in sides))
    folder.curate()
    # good0, p and q wear one article; ann's and good0's names meet in it, and ann's is first.
    expected = {"good0": "ann", "good1": "ann", "good2": "bob", "good3": "bob", "p": "ann", "q": "ann"}
    assert {name: row["group"] for name, row in folder.rows().items()} == expected
    first = contents(folder.path)
    folder.curate()
    assert contents(folder.path) == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,human\n", "line 1: expected the columns id, human, article, got id, human"),
        ("", "line 1: expected the columns id, human, article, got none"),
        ("id,human,article,human\n", "line 1: expected each column once, got human twice"),
        ("id,human,article\na,b\nb,c,d,e\n", "line 3: expected 3 cells, got 4"),
        ("id,human,article,exclude\n\na,b,c,maybe\n", "line 3: exclude: expected 1, true, yes, x, or 0, false"),
        ("id,human,article,reviewed\na,b,c,2\n", "line 2: reviewed: expected 1"),
        ("id,human,article\n ,b,c\n", "line 2: id: expected a name, got none"),
        ("id,human,article\na,b,c\n a,b,c\n", "line 3: id: `a` is also on line 2"),
        ('id,human,article\na,"b,c\n', "line 2: expected a closing quote, got none"),
        ("id,human,article\n", "expected pairs, got none"),
    ],
)
def test_a_broken_list_fails_with_its_line(folder, text, message):
    write(folder, text)
    before = contents(folder.path)
    with pytest.raises(ValueError, match=re.escape(message)):
        folder.curate()
    assert contents(folder.path) == before
    # `Pairs` reads by the same rules.
    with pytest.raises(ValueError, match=re.escape(message.removesuffix(", got none"))):
        cagan.Pairs(folder.path)


def test_spaces_and_short_rows_are_read_alike_and_own_reasons_stay(folder):
    write(folder, "id , human,article,note,exclude,reason\n a ,human/good0.png, article/good0.png\nb,x,y, ,1,blurry\n")
    pairs = cagan.Pairs(folder.path)
    assert (pairs.ids, pairs["a"].article_path) == (["a"], folder.path / "article" / "good0.png")
    assert pairs.excluded == [("b", folder.path / "x", "blurry")]
    curation = folder.curate()
    assert (curation.counts, curation.groups) == ({"blurry": 1}, {})
    text = "id,human,article,note,exclude,reason,group\na,human/good0.png,article/good0.png,,,,\nb,x,y, ,1,blurry,\n"
    assert (folder.path / "pairs.csv").read_text() == text
    assert "a reason of your own" in (folder.path / "curation.html").read_text()


def test_other_bytes_than_utf_8_fail(folder):
    (folder.path / "pairs.csv").write_bytes("id,human,article\na,größe,c\n".encode("latin-1"))
    with pytest.raises(ValueError, match="line 2: expected UTF-8"):
        folder.curate()


def test_a_list_that_another_program_wrote_meanwhile_is_not_overwritten(folder, monkeypatch):
    text = "id,human,article,mine\na,human/good0.png,article/good0.png,1\n"
    monkeypatch.setattr(curating.Bar, "show", lambda *_: write(folder, text))
    with pytest.raises(RuntimeError, match="another program wrote it meanwhile"):
        folder.curate()
    assert (folder.path / "pairs.csv").read_text() == text


def test_a_list_that_cannot_be_written_is_still_there(folder):
    folder.curate()
    before = contents(folder.path)
    listing = cagan._cagan.Listing(folder.path)
    listing.set("good0", {"exclude": "1"})
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            listing.write()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert contents(folder.path) == before


def test_new_files_obey_the_umask(folder):
    old = os.umask(0o027)
    try:
        folder.curate()
    finally:
        os.umask(old)
    modes = {name: (folder.path / name).stat().st_mode & 0o777 for name in ("pairs.csv", "curation.html")}
    assert modes == {"pairs.csv": 0o640, "curation.html": 0o640}


def test_a_link_stays_a_link(folder, tmp_path_factory):
    real = tmp_path_factory.mktemp("real") / "list.csv"
    real.write_text("id,human,article\na,human/good0.png,article/good0.png\n")
    real.chmod(0o640)
    (folder.path / "pairs.csv").symlink_to(real)
    folder.curate()
    assert (folder.path / "pairs.csv").is_symlink()
    assert real.read_text().startswith("id,human,article,group,exclude,reason")
    assert real.stat().st_mode & 0o777 == 0o640


def test_folders_without_pairs(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        cagan.curate(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=re.escape("`<id>_5`, `pairs.csv`, or tar files")):
        cagan.curate(tmp_path)
    Folder(tmp_path)
    with pytest.raises(ValueError, match="expected pairs, got none"):
        cagan.curate(tmp_path)
    for ending in ("png", "jpg"):
        photo(0).save(tmp_path / "human" / f"a.{ending}")
    with pytest.raises(ValueError, match=r"expected one picture for `a`, got a\.(jpg and a\.png|png and a\.jpg)"):
        cagan.curate(tmp_path)


def test_other_layouts_are_curated_and_then_trained_on(tmp_path):
    """Pairs reads the list that curate writes, also with rows that lack a side."""
    for split in ("train", "test"):
        for k in range(4):
            for side, draw in (("image", photo), ("cloth", packshot)):
                path = tmp_path / split / side / f"{split}{k}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                draw(10 * k + len(split), COLOURS[k]).save(path)
    (tmp_path / "train" / "cloth" / "train3.png").unlink()
    found = cagan.curate(tmp_path)
    assert found.counts["no_article"] == 1
    pairs = cagan.Pairs(tmp_path)
    assert pairs.splits == {"test": 4, "train": 3}
    assert [(name, reason) for name, _, reason in pairs.excluded] == [("train3", "no_article")]
    run = cagan.train(pairs.of_split("train"), tmp_path / "run", "smoke", steps=1, batch_size=2, progress=False)
    assert run.stats[-1]["step"] == 1


# Thresholds


def test_thresholds_are_checked(folder):
    with pytest.raises(TypeError, match="unknown setting `min_sides`, did you mean `min_side`"):
        folder.curate(min_sides=3)
    for name, value, message in (
        ("min_side", 1.5, "min_side: expected a whole number, got 1.5"),
        ("min_plain", 2, "min_plain: expected between 0 and 1, got 2"),
        ("max_aspect", "wide", 'max_aspect: expected a number, got "wide"'),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            folder.curate(**{name: value})
    assert not (folder.path / "pairs.csv").exists()


def test_thresholds_decide(folder):
    assert folder.curate(min_side=121).counts == {"tiny": 5}


def test_every_threshold_is_documented():
    names = [option["name"] for option in cagan._cagan.curation_options()]
    assert len(names) == 8
    assert all(f"`{name}`" in cagan.curate.__doc__ for name in names)


# The report


def test_the_report_is_one_file_and_names_are_text(tmp_path):
    # A file name holds no slash; a name in a list may.
    folder = Folder(tmp_path)
    name = HOSTILE
    folder.add(name, photo(0, (128, 128, 128)), packshot(0, COLOURS[1]))
    folder.add("good", photo(1, COLOURS[1]), packshot(1, COLOURS[1]))
    folder.add("again", photo(1, COLOURS[1]), packshot(1, COLOURS[1]))
    folder.curate()
    page = (tmp_path / "curation.html").read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:|\#)""", page), "nothing is fetched"
    assert "http" not in re.sub(r'http-equiv="Content-Security-Policy"', "", page)
    assert page.count("data:image/jpeg;base64,") >= 5
    assert 'id="reason-wrong_pair"' in page
    assert 'id="reason-duplicate"' in page
    assert 'id="groups"' in page


def test_where_the_report_goes(folder, tmp_path_factory):
    assert folder.curate(report=False).report is None
    assert not (folder.path / "curation.html").exists()
    out = tmp_path_factory.mktemp("out") / "page.html"
    assert folder.curate(report=out).report == out
    assert "5 of 5 pairs kept" in out.read_text()


def test_a_long_report_says_what_it_shows(folder, monkeypatch):
    from cagan.curation import report

    monkeypatch.setattr(report, "_SHOWN", 2)
    folder.curate(min_side=500)
    page = (folder.path / "curation.html").read_text()
    assert "The first 2 are shown with pictures." in page
    assert page.count("data:image/jpeg") == 4
    assert all(f"good{k}" in page for k in range(5))


# The command line


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=120)


def test_the_command_line_prints_counts(folder):
    folder.add("again", photo(0, COLOURS[0]), packshot(24, COLOURS[0]))
    done = run("curate", folder.path)
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()[:4]]
    assert lines == [["5", "kept"], ["1", "left out"], ["1", "duplicate"], ["1", "groups"]]
    assert done.stdout.splitlines()[4:] == [str(folder.path / "pairs.csv"), str(folder.path / "curation.html")]
    done = run("curate", folder.path, "--json", "--no-report", "--min-side", 64)
    assert json.loads(done.stdout) == {
        "pairs": 6,
        "kept": 5,
        "excluded": 1,
        "reasons": {"duplicate": 1},
        "groups": 1,
        "csv": str(folder.path / "pairs.csv"),
        "report": None,
    }
    for option in cagan._cagan.curation_options():
        assert "--" + option["name"].replace("_", "-") in run("curate", "--help-all").stdout
    done = run("curate", folder.path, "--min-plain", 3)
    assert (done.returncode, done.stderr) == (1, "error: min_plain: expected between 0 and 1, got 3\n")


def test_ctrl_c_stops_it_and_writes_nothing(folder, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(curating.Bar, "show", stop)
    with pytest.raises(KeyboardInterrupt):
        folder.curate()
    assert not (folder.path / "pairs.csv").exists()


def test_dolls_are_good_pairs(pairs_dir, tmp_path):
    copy = shutil.copytree(pairs_dir, tmp_path / "dolls")
    curation = cagan.curate(copy, progress=False)
    assert (curation.kept, curation.excluded) == (8, 0)


# Pictures that cannot be looked at


def test_missing_files_are_judged_anew_when_they_are_back(folder):
    (folder.path / "human" / "good1.png").rename(folder.path / "away.png")
    lines = [f"good{k},human/good{k}.png,article/good{k}.png,{'mine' * (k == 2)}" for k in range(5)]
    write(folder, "\n".join(["id,human,article,reason", *lines]))
    found = folder.curate()
    assert found.counts == {"missing": 1}
    assert len(cagan.Pairs(folder.path)) == 4
    (folder.path / "away.png").rename(folder.path / "human" / "good1.png")
    assert folder.curate().counts == {}
    rows = folder.rows()
    assert (rows["good1"]["exclude"], rows["good1"]["reason"], rows["good2"]["reason"]) == ("", "", "mine")


def test_a_decision_of_a_person_about_a_missing_file_stays(folder):
    text = "id,human,article,exclude,reason,reviewed\n"
    text += "a,human/good0.png,article/good0.png,1,missing,1\nb,human/good1.png,article/good1.png,1,missing other,\n"
    write(folder, text + "c,human/good2.png,article/good2.png,1,missing,\n")
    folder.curate()
    rows = folder.rows()
    assert [rows[k]["exclude"] for k in "abc"] == ["1", "1", ""]
    assert [rows[k]["reason"] for k in "abc"] == ["missing", "other", ""]


@pytest.mark.parametrize("how", ["files", "links"])
def test_a_drive_that_is_away_condemns_nothing(tmp_path, how):
    (tmp_path / "set").mkdir()
    (tmp_path / "store").mkdir()
    store = Folder(tmp_path / "store")
    for k, colour in enumerate(COLOURS):
        store.add(f"{k}", photo(k, colour), packshot(k, colour))
    if how == "links":
        for side in ("human", "article"):
            (tmp_path / "set" / side).mkdir()
            for k in range(5):
                (tmp_path / "set" / side / f"{k}.png").symlink_to(store.path / side / f"{k}.png")
    else:
        lines = [f"{k},{store.path}/human/{k}.png,{store.path}/article/{k}.png" for k in range(5)]
        (tmp_path / "set" / "pairs.csv").write_text("\n".join(["id,human,article", *lines]))
    before = contents(tmp_path / "set") if how == "files" else None
    store.path.rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError, match="is the drive mounted"):
        cagan.curate(tmp_path / "set", progress=False)
    if how == "files":
        assert contents(tmp_path / "set") == before
    (tmp_path / "away").rename(store.path)
    assert cagan.curate(tmp_path / "set", progress=False).kept == 5


# Outfits


def test_one_photo_with_several_articles_is_a_group(folder):
    rows = ["top,human/good0.png,article/good0.png", "hat,human/good0.png,article/good1.png"]
    write(folder, "\n".join(["id,human,article", *rows, "again,human/good0.png,article/good1.png"]))
    found = folder.curate(min_colours=0)
    assert found.counts == {"duplicate": 1}
    assert folder.rows()["again"]["exclude"] == "1"
    assert found.groups == {"top": ["top", "hat", "again"]}


# Sets that cannot be written to


def test_the_list_and_the_page_go_elsewhere(folder, tmp_path_factory):
    before = contents(folder.path)
    out = tmp_path_factory.mktemp("out") / "new"
    found = folder.curate(out=out)
    assert (found.folder, found.csv, found.report) == (folder.path, out / "pairs.csv", out / "curation.html")
    assert contents(folder.path) == before
    pairs = cagan.Pairs(out)
    assert [pair.human_path for pair in pairs] == [folder.path / "human" / f"good{k}.png" for k in range(5)]
    # Decisions of an earlier call stay, and own columns come along.
    text = (out / "pairs.csv").read_text().replace("good0.png,,,", "good0.png,,1,mine", 1)
    (out / "pairs.csv").write_text(text)
    assert folder.curate(out=out).counts == {"mine": 1}
    write(folder, "note,id,human,article\nx,a,human\\good0.png,article/good0.png\n")
    other = folder.curate(out=out / "other")
    assert (other.rows[0]["note"], cagan.Pairs(out / "other")[0].human.shape) == ("x", (160, 120, 3))


def test_a_folder_that_cannot_be_written_to_fails_before_the_work(folder, monkeypatch, tmp_path_factory):
    monkeypatch.setattr(curating.os, "access", lambda *_: False)
    monkeypatch.setattr(curating.Bar, "show", lambda *_: pytest.fail("pictures were measured"))
    with pytest.raises(PermissionError, match=r"out= \(--out\) takes another one"):
        folder.curate()
    monkeypatch.undo()
    monkeypatch.setattr(curating.os, "access", lambda *_: False)
    page = tmp_path_factory.mktemp("page") / "page.html"
    with pytest.warns(UserWarning, match="it cannot be written to; the list is"):
        found = folder.curate(report=page)
    assert (found.csv, found.report) == (page.with_name("pairs.csv"), page)


# Many pictures


def alike(path, count):
    """Draws pairs of one silhouette in other colours."""
    for side in ("human", "article"):
        (path / side).mkdir(parents=True)
    for k in range(count):
        top, legs = (tuple(int(c) for c in row) for row in np.random.default_rng(k).integers(10, 245, (2, 3)))
        person, article = Image.new("RGB", (96, 128), (235, 235, 235)), Image.new("RGB", (96, 128), "white")
        pen = ImageDraw.Draw(person)
        pen.ellipse((38, 8, 58, 30), fill=(225, 180, 150))
        pen.rectangle((28, 32, 68, 72), fill=top)
        pen.rectangle((30, 73, 66, 122), fill=legs)
        ImageDraw.Draw(article).rectangle((20, 30, 76, 90), fill=top)
        person.save(path / "human" / f"{k:05}.jpg")
        article.save(path / "article" / f"{k:05}.jpg")


def test_many_copies_are_found_by_few_of_them(tmp_path):
    """Of 200 copies not each meets each, and each is found."""
    for side in ("human", "article"):
        (tmp_path / side).mkdir()
    for k in range(200):
        colour = COLOURS[k % 2]
        photo(k % 2, colour).save(tmp_path / "human" / f"{k:03}.jpg", quality=60 + k // 8)
        packshot(k % 2, colour).save(tmp_path / "article" / f"{k:03}.jpg", quality=60 + k // 8)
    found = cagan.curate(tmp_path, progress=False, report=False)
    assert (found.kept, sorted(len(ids) for ids in found.groups.values())) == (2, [100, 100])


@pytest.mark.speed
def test_time_grows_about_linearly(tmp_path):
    took = []
    for count in (1000, 2000):
        alike(tmp_path / str(count), count)
        began = time.process_time()
        cagan.curate(tmp_path / str(count), progress=False, report=False)
        took.append(time.process_time() - began)
    assert took[1] < 2.6 * took[0]


# Other places


def copied(pairs_dir, folder, sides=("human", "article")):
    for mine, theirs in zip(sides, ("human", "article")):
        shutil.copytree(pairs_dir / theirs, folder / mine)


def test_two_folders_by_name_and_patterns(tmp_path, pairs_dir, call):
    copied(pairs_dir, tmp_path / "a", ("photos", "shirts"))
    found = cagan.curate(tmp_path / "a", human="photos", article="shirts", progress=False)
    assert (found.kept, found.csv) == (8, tmp_path / "a" / "pairs.csv")
    assert cagan.Pairs(tmp_path / "a").ids == [f"{k:05}" for k in range(8)]
    before = found.csv.read_bytes()
    # The list decides from now on, and keeps its decisions.
    found.csv.write_bytes(before.replace(b",,\n", b",1,mine\n", 1))
    kept = found.csv.read_bytes()
    assert cagan.curate(tmp_path / "a", human="photos", article="shirts", progress=False).excluded == 1
    assert found.csv.read_bytes() == kept
    copied(pairs_dir, tmp_path / "b", ("photos", "shirts"))
    code, _, err = call("curate", tmp_path / "b", "--human", "photos/*.png", "--article", "shirts/*.*", "--quiet")
    assert (code, (tmp_path / "b" / "pairs.csv").read_bytes()) == (0, before), err
    refusal(ValueError, lambda: cagan.curate(tmp_path / "b", human="photos"), "article: expected a folder or a pattern")
    code, _, err = call("curate", tmp_path / "b", "--human", "photos")
    assert (code, err) == (1, "error: article: expected a folder or a pattern, as for the other side, got none\n")
    # Pairs that a list lacks are told.
    lines = before.decode().splitlines(keepends=True)
    found.csv.write_text("".join(lines[:-2]))
    with pytest.warns(UserWarning, match=r"pairs.csv` decides: it lacks 2 of the given pairs"):
        cagan.curate(tmp_path / "a", human="photos", article="shirts", progress=False)


def test_a_list_one_folder_further_down(tmp_path, pairs_dir):
    copied(pairs_dir, tmp_path / "shop", ("photos", "shirts"))
    rows = "".join(f"{k},photos/{k:05}.png,shirts/{k:05}.png\n" for k in range(8))
    (tmp_path / "shop" / "pairs.csv").write_text(f"id,human,article\n{rows}")
    found = cagan.curate(tmp_path, progress=False)
    assert (found.csv, found.report) == (tmp_path / "shop" / "pairs.csv", tmp_path / "shop" / "curation.html")
    assert not (tmp_path / "pairs.csv").exists()
    assert cagan.Pairs(tmp_path).ids == cagan.Pairs(tmp_path / "shop").ids == [str(k) for k in range(8)]
    other = cagan.curate(tmp_path, out=tmp_path / "out", progress=False)
    assert other.csv == tmp_path / "out" / "pairs.csv"
    assert cagan.Pairs(tmp_path / "out")[3].human_path.samefile(tmp_path / "shop" / "photos" / "00003.png")
