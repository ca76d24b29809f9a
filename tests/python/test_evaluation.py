"""`cagan.evaluate` against values known without a model and against recorded figures."""

import json
import math
import re
import shutil
import subprocess
import sys
from types import SimpleNamespace

import cagan
import numpy as np
import pytest
from cagan.evaluation import Figure, Swapped, baselines, session
from cagan.evaluation.verdict import better, verdict
from helpers import refusal, run_examples, with_mask
from PIL import Image, ImageFilter


@pytest.fixture(scope="module")
def dolls(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scored")
    cagan.dolls(folder, count=5, seed=4, size=64, swaps=2)
    return folder


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    """Dolls with a folder of regions: the true masks. The true swaps are moved to `truth`."""
    folder = tmp_path_factory.mktemp("masked")
    cagan.dolls(folder, count=9, seed=6, size=(128, 96), swaps=1)
    (folder / "mask").mkdir()
    for path in (folder / "swaps").glob("*.alpha.png"):
        Image.open(path).point(lambda v: 255 * (v > 0)).save(folder / "mask" / f"{path.name.split('__')[0]}.png")
    shutil.move(folder / "swaps", folder / "truth")
    return folder


def true_swaps(dolls):
    """Yields human, true swap and each pixel's share of worn and new article of each row, read by Pillow alone."""
    for line in sorted((dolls / "swaps" / "list.csv").read_text().splitlines()[1:]):
        name = "__".join(line.split(","))
        human = np.asarray(Image.open(dolls / "human" / f"{name.split('__')[0]}.png"), float)
        swap = np.asarray(Image.open(dolls / "swaps" / f"{name}.png").convert("RGB"), float)
        yield human, swap, np.asarray(Image.open(dolls / "swaps" / f"{name}.alpha.png"))


def patchwork(human, worn, target):
    """Makes an arbitrary swap from integers: bands of human, target and worn article."""
    rows, columns = np.indices(human.shape[:2])
    mask = ((rows * 5 + columns * 3 + int(human[64, 48, 0])) % 256).astype(np.uint8)
    articles = np.where((rows // 16 % 2 == 0)[..., None], target, worn)
    image = np.where(mask[..., None] > 100, articles, human)
    # Half of the swaps have a located mask beside the mask they repaint.
    located = None if human[64, 48, 1] % 2 else 255 - mask
    return SimpleNamespace(image=image, mask=mask, located=located)


# Printed to nine places by the project's scoring script, an independent program, for the pictures of `patchwork`.
RECORDED = {
    64: {
        "mask_auc": 0.492655767,
        "mask_iou": 0.139355028,
        "keep": 42.994125366,
        "colour": 0.745867060,
        "texture": 0.863390231,
        "residual": 0.651111111,
        "realism": 2.643271060,
    },
    256: {
        "mask_auc": 0.493725266,
        "mask_iou": 0.139001531,
        "keep": 43.104778290,
        "colour": 0.751444259,
        "texture": 0.757502249,
        "residual": 0.647361111,
        "realism": 4.342189503,
    },
}


@pytest.mark.parametrize("height", [64, 256])
def test_figures_inside_regions_are_the_recorded_ones(masked, height):
    scores = cagan.evaluate(patchwork, masked, height=height, targets=2)
    assert scores.settings["swaps"] == 18
    assert set(RECORDED[height]) | {"keep_free"} == {
        name.split("/")[1] for name in scores if name.startswith("region/")
    }
    for name, value in RECORDED[height].items():
        # The script sums in single precision.
        assert scores[f"region/{name}"] == pytest.approx(value, rel=1e-6), name


def test_the_scales_ends_are_where_theory_puts_them(masked):
    scores = {
        name: cagan.evaluate(function, masked, targets=3, height=128) for name, function in baselines(masked).items()
    }
    untouched, mean, pasted = (scores[name] for name in ("untouched", "mean_colour", "pasted"))
    assert untouched["region/colour"] == untouched["region/texture"] == 1
    assert untouched["region/keep"] == untouched["region/mask_iou"] == untouched["mask/area"] == 0
    assert untouched["region/mask_auc"] == 0.5
    assert untouched["region/residual"] > 0.8
    assert untouched["self_swap/error"] == untouched["restored/error"] == 0
    for painted in (mean, pasted):
        assert painted["region/mask_auc"] == painted["region/mask_iou"] == 1
        assert painted["region/keep"] == painted["mask/entropy"] == 0
        assert painted["region/colour"] < 0.7
        assert painted["region/residual"] < 0.3
        assert painted["restored/error"] > 0
    assert pasted["region/colour"] < mean["region/colour"]
    assert pasted["region/texture"] < mean["region/texture"]
    assert untouched["region/realism"] < pasted["region/realism"] < mean["region/realism"]
    assert mean["random_features/frechet"] > pasted["random_features/frechet"] > untouched["random_features/frechet"]


def test_the_example_of_baselines_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_examples("baselines", baselines) > 5


def test_a_located_mask_comes_first(masked):
    regions = {
        cagan.Pairs(masked)[path.stem].human.tobytes(): np.asarray(Image.open(path))
        for path in (masked / "mask").iterdir()
    }

    def with_located(human, *_):
        region = regions.get(human.tobytes(), np.zeros(human.shape[:2], np.uint8))
        return Swapped(human, 255 - region, region)

    scores = cagan.evaluate(with_located, masked, targets=1, height=128)
    assert scores["region/mask_auc"] == scores["region/mask_iou"] == 1
    area = np.mean([1 - region.mean() / 255 for region in regions.values()])
    assert scores["mask/area"] == pytest.approx(area)


def test_the_scores_of_an_unchanged_photo(run, dolls, tmp_path):
    scores = cagan.evaluate(with_mask(run, tmp_path / "nothing.safetensors", -1e4), dolls)
    rows = list(true_swaps(dolls))
    assert scores.figures["true/error"].count == len(rows) == 10
    untouched = np.mean([np.abs(human - swap)[share > 0].mean() for human, swap, share in rows])
    assert scores["true/error"] == scores["true/error_untouched"] == pytest.approx(untouched)
    psnr = np.mean([10 * np.log10(255**2 / ((human - swap) ** 2).mean()) for human, swap, _ in rows])
    assert scores["true/psnr"] == scores["true/psnr_untouched"] == pytest.approx(psnr)
    assert scores["true/keep"] == scores["true/mask_iou"] == scores["restored/error"] == scores["self_swap/error"] == 0
    assert scores["true/residual"] == 1
    assert scores["true/mask_auc"] == 0.5


def test_the_scores_of_a_photo_repainted_whole(run, dolls, tmp_path):
    swapper = with_mask(run, tmp_path / "everything.safetensors", 1e4)
    scores = cagan.evaluate(swapper, dolls)
    rows = list(true_swaps(dolls))
    assert scores["true/mask_iou"] == pytest.approx(np.mean([(share > 127).mean() for *_, share in rows]))
    # It neither locates nor warps.
    assert not {"true/located_iou", "true/flow_error"} & set(scores)
    assert (scores["mask/area"], scores["mask/entropy"]) == (1, 0)
    pairs = cagan.Pairs(dolls)
    keep, error, back = [], [], []
    for line, (human, swap, share) in zip(sorted((dolls / "swaps" / "list.csv").read_text().splitlines()[1:]), rows):
        person, target = (pairs[name] for name in line.split(","))
        made = swapper.swap(person.human_path, person.article_path, target.article_path).image
        image = made.astype(float)
        keep.append(np.abs(image - human)[share == 0].mean())
        error.append(np.abs(image - swap)[share > 0].mean())
        back.append(np.abs(swapper.swap(made, target.article, person.article).image - human).mean())
    assert (scores["true/keep"], scores["true/error"]) == (pytest.approx(np.mean(keep)), pytest.approx(np.mean(error)))
    assert scores["restored/error"] == pytest.approx(np.mean(back))
    same = [np.abs(swapper.swap(p.human, p.article, p.article).image - p.human.astype(float)).mean() for p in pairs]
    assert scores["self_swap/error"] == pytest.approx(np.mean(same))


@pytest.fixture(scope="module")
def oracle(dolls):
    """Swaps with the truth, read by Pillow alone; `flow` is NaN where the new article is not shown."""
    pairs = cagan.Pairs(dolls)
    known = {}
    for line in (dolls / "swaps" / "list.csv").read_text().splitlines()[1:]:
        person, target = (pairs[name] for name in line.split(","))
        path = dolls / "swaps" / f"{person.id}__{target.id}.png"
        x, y = np.split(np.asarray(Image.open(dolls / "flow" / path.name)).astype(float), 2)
        places = np.stack([x, y], -1)
        known[person.human.tobytes(), target.article.tobytes()] = SimpleNamespace(
            image=np.asarray(Image.open(path).convert("RGB")),
            mask=np.asarray(Image.open(path.with_suffix(".alpha.png"))),
            located=np.asarray(Image.open(dolls / "worn" / f"{person.id}.png")),
            flow=np.where(places > 0, (places - 1) / 65534 * 2 - 1, np.nan).astype(np.float32),
        )

    def swap(human, target):
        found = known.get((human.tobytes(), target.tobytes()))
        empty = np.zeros(human.shape[:2], np.uint8)
        return found or SimpleNamespace(image=human, mask=empty, located=empty, flow=np.zeros((1, 1, 2), np.float32))

    return swap


def changed(oracle, **changes):
    """Makes a model of the oracle whose attributes are changed by functions; the flow is 0 where there is none."""

    def model(human, _, target):
        swap = SimpleNamespace(**vars(oracle(human, target)))
        swap.flow = np.nan_to_num(swap.flow)
        for name, change in changes.items():
            setattr(swap, name, change(getattr(swap, name)))
        return swap

    return model


def test_the_true_swaps_score_full_marks(dolls, oracle):
    scores = cagan.evaluate(changed(oracle), dolls)
    for name in ("ssim", "ms_ssim", "ssim_inside", "mask_iou", "mask_auc", "located_iou"):
        assert scores[f"true/{name}"] == pytest.approx(1), name
    for name in ("error", "keep", "residual"):
        assert scores[f"true/{name}"] == 0, name
    for name in ("flow_error", "flow_error_median"):
        assert scores[f"true/{name}"] == pytest.approx(0, abs=1e-5), name
        assert scores.figures[f"true/{name}"].count == 10
    assert scores["true/psnr"] > 80


def test_masks_are_compared_at_half_coverage_each_with_its_own_truth(dolls, oracle):
    shares = [share for *_, share in true_swaps(dolls)]
    # A mask of all pixels that either article touches is too large.
    touched = cagan.evaluate(changed(oracle, mask=lambda mask: 255 * (mask > 0).astype(np.uint8)), dolls)
    expected = np.mean([(share > 127).sum() / (share > 0).sum() for share in shares])
    assert touched["true/mask_iou"] == pytest.approx(expected)
    assert expected < 0.95
    assert touched["true/located_iou"] == 1
    # What is located does not count as repainted, nor the other way round.
    nothing = cagan.evaluate(changed(oracle, located=lambda located: 0 * located), dolls)
    assert (nothing["true/located_iou"], nothing["true/mask_iou"]) == (0, 1)
    without = cagan.evaluate(changed(oracle, located=lambda _: None, flow=lambda _: None), dolls)
    assert not {"true/located_iou", "true/flow_error", "true/flow_error_median"} & set(without)
    assert without["true/mask_iou"] == 1


def test_the_error_of_a_flow_is_in_pixels_of_64(dolls, oracle):
    # These articles are 64 x 64: a half of their side is 32 pixels.
    moved = cagan.evaluate(changed(oracle, flow=lambda flow: flow + np.float32((3 / 32, 4 / 32))), dolls)
    assert moved["true/flow_error"] == pytest.approx(5, abs=1e-3)
    assert moved["true/flow_error_median"] == pytest.approx(5, abs=1e-3)
    assert moved["true/error"] == 0

    def spoilt(flow):
        """Moves a tenth of the pixels by 20."""
        flow = flow.copy()
        shown = np.argwhere(flow[..., 0] != 0)
        flow[tuple(shown[: len(shown) // 10].T)] += np.float32((20 / 32, 0))
        return flow

    # The mean moves by 2, the median stays.
    scores = cagan.evaluate(changed(oracle, flow=spoilt), dolls)
    assert scores["true/flow_error"] == pytest.approx(2, abs=0.2)
    assert scores["true/flow_error_median"] == pytest.approx(0, abs=1e-3)


def test_dolls_without_worn_masks_and_flows_have_the_other_figures(dolls, oracle, tmp_path):
    for name in ("human", "article", "swaps"):
        shutil.copytree(dolls / name, tmp_path / name)
    scores, whole = (cagan.evaluate(changed(oracle), folder) for folder in (tmp_path, dolls))
    assert set(whole) - set(scores) == {"true/located_iou", "true/flow_error", "true/flow_error_median"}
    for name in ("worn", "flow"):
        shutil.copytree(dolls / name, tmp_path / name)
        path = next((tmp_path / name).iterdir())
        content = path.read_bytes()
        path.unlink()
        refusal(FileNotFoundError, lambda: cagan.evaluate(changed(oracle), tmp_path), path)
        Image.new("L", (64, 60)).save(path)
        refusal(ValueError, lambda: cagan.evaluate(changed(oracle), tmp_path), path, "64", "got 60 x 64")
        path.write_bytes(b"no picture")
        refusal(ValueError, lambda: cagan.evaluate(changed(oracle), tmp_path), path)
        path.write_bytes(content)
    assert cagan.evaluate(changed(oracle), tmp_path)["true/flow_error"] == whole["true/flow_error"]


def test_what_is_repainted_for_the_target_is_left_out_of_keep_free(masked):
    """Some rows are changed by 100, with a mask or without; other rows are located."""
    pairs = cagan.Pairs(masked)
    regions = [np.asarray(Image.open(masked / "mask" / f"{pair.id}.png")) for pair in pairs]
    top = slice(0, 20)

    def figures(located, mask):
        def swap(human, *_):
            image, found = human.copy(), np.zeros(human.shape[:2], np.uint8)
            image[top] = np.where(human[top] > 127, human[top] - 100, human[top] + 100)
            found[located] = 255
            repainted = np.zeros_like(found)
            repainted[mask] = 255
            return Swapped(image, repainted, found)

        scores = cagan.evaluate(swap, masked, height=128, targets=1)
        return scores["region/keep"], scores["region/keep_free"]

    def expected(left_out):
        """The mean outside the region, which reaches 4 of 128 pixels farther, and outside some rows."""
        means = []
        for region in regions:
            outside = np.asarray(Image.fromarray(region).filter(ImageFilter.MaxFilter(9))) <= 127
            outside[left_out] = False
            change = np.zeros(outside.shape)
            change[top] = 100
            means.append(change[outside].mean())
        return np.mean(means)

    nothing, middle = slice(0), slice(60, 80)
    whole = expected(nothing)
    assert figures(middle, top) == (pytest.approx(whole), 0)
    # Within 4 pixels of what is located, it is repainted for the worn article.
    assert figures(slice(20, 80), top)[1] == pytest.approx(expected(slice(0, 16)))
    # In full count: changes where the worn article is located by mistake, and changes without a mask.
    for located, mask in ((top, top), (middle, nothing)):
        keep, free = figures(located, mask)
        assert keep == free == pytest.approx(whole)


def test_the_way_back_is_compared_inside_the_region(masked):
    def greyer(by):
        def swap(human, *_):
            return np.where(human > 127, human - by, human + by).astype(np.uint8)

        return swap

    same = cagan.evaluate(greyer(0), masked, height=128, targets=1)
    assert same["restored/ssim_inside"] == pytest.approx(1)
    assert same["restored/error_inside"] == 0
    assert not [name for name in same if name.startswith("restored_unknown/")]
    grey, expected = cagan.evaluate(greyer(3), masked, height=128, targets=1), []
    for pair in cagan.Pairs(masked):
        region = np.asarray(Image.open(masked / "mask" / f"{pair.id}.png")) > 127
        back = greyer(3)(greyer(3)(pair.human)).astype(float)
        expected.append(np.abs(back - pair.human)[region].mean())
    assert grey["restored/error_inside"] == pytest.approx(np.mean(expected))
    assert 0.5 < grey["restored/ssim_inside"] < 0.9999


def test_targets_are_drawn_from_the_seed(dolls):
    def targets(**options):
        rows = cagan.evaluate(lambda human, *_: human, dolls, height=64, **options).rows
        return [(row["human"], row["target"]) for row in rows]

    two = targets(targets=2)
    assert two == targets(targets=2) != targets(targets=2, seed=1)
    assert len(set(two)) == 10
    assert all(human != target for human, target in two)
    assert sorted(target for _, target in two) == sorted(human for human, _ in two)


def test_the_same_call_gives_the_same_bytes(run, dolls, masked):
    for pairs in (dolls, masked):
        one, other = (cagan.evaluate(run, pairs, height=64) for _ in range(2))
        assert one.to_json() == other.to_json()
        for name, figure in one.figures.items():
            assert figure.low <= figure.value <= figure.high, name


def test_scores_as_numbers_json_and_tables(run, masked):
    scores = cagan.evaluate(run, masked, targets=1, height=64)
    assert len(scores) == len(list(scores)) == len(scores.figures) > 10
    content = json.loads(scores.to_json())
    assert content["figures"]["region/keep"]["value"] == scores["region/keep"]
    assert [row["human"] for row in content["rows"]] == sorted(cagan.Pairs(masked).ids)
    keep = [row["region/keep"] for row in content["rows"]]
    assert np.mean(keep) == pytest.approx(scores["region/keep"])
    text, markdown, page = str(scores), scores.table(markdown=True), scores._repr_html_()
    for name in scores:
        for shown in (text, markdown, page):
            assert name in shown
            assert f"{scores[name]:.4g}" in shown
    assert all(line.count("|") == 6 for line in markdown.splitlines())
    assert page.count("<tr>") == len(scores) + 1


def test_the_sheet_has_the_worst_on_top(run, masked, dolls, tmp_path):
    pairs = cagan.Pairs(masked)

    def spoils_one(human, *_):
        return np.zeros_like(human) if np.array_equal(human, pairs[3].human) else human

    scores = cagan.evaluate(spoils_one, masked, targets=1, height=128)
    scores.sheet(tmp_path / "worst.png", by="region/keep", count=2)
    sheet = np.asarray(Image.open(tmp_path / "worst.png"))
    # Human, worn, target, swap, region; each 256 high under a line of text.
    assert sheet.shape == (2 * 274, 5 * 196, 3)
    assert not sheet[18:274, 3 * 196 : 3 * 196 + 192].any()
    first = np.asarray(Image.fromarray(pairs[3].human).resize((192, 256), Image.BICUBIC))
    assert np.abs(sheet[18:274, :192].astype(int) - first).max() <= 1
    best_first = cagan.evaluate(run, dolls, height=64)
    assert best_first.sheet(tmp_path / "dolls.png").stat().st_size > 1000
    refusal(ValueError, lambda: scores.sheet(tmp_path / "a.png", by="keep"), "by: expected one of", "region/keep")
    refusal(ValueError, lambda: scores.sheet(tmp_path / "a.png", count=0), "count: expected 1 or more, got 0")
    refusal(FileNotFoundError, lambda: scores.sheet(tmp_path / "gone" / "a.png"), tmp_path / "gone")


def test_errors_name_missing_files_and_other_sizes(run, masked, tmp_path):
    refusal(FileNotFoundError, lambda: cagan.evaluate(run.path, tmp_path), tmp_path)
    cagan.dolls(tmp_path / "spoilt", count=2, size=64, swaps=1)
    path = next((tmp_path / "spoilt" / "swaps").glob("*.alpha.png"))
    Image.new("L", (32, 48)).save(path)
    refusal(
        ValueError, lambda: cagan.evaluate(run.path, tmp_path / "spoilt"), path, "the photo's size 64 x 64, got 48 x 32"
    )
    path.unlink()
    refusal(FileNotFoundError, lambda: cagan.evaluate(run.path, tmp_path / "spoilt"), path)
    shutil.copytree(masked, tmp_path / "masked")
    path = tmp_path / "masked" / "mask" / "00004.png"
    for size, kind, words in (((96, 100), ValueError, "100 x 96"), ((96, 128), ValueError, "00004: expected a region")):
        Image.new("L", size).save(path)
        refusal(kind, lambda: cagan.evaluate(run.path, tmp_path / "masked", height=64), words)
    path.unlink()
    refusal(FileNotFoundError, lambda: cagan.evaluate(run.path, tmp_path / "masked", height=64), path)
    shutil.rmtree(path.parent)
    refusal(FileNotFoundError, lambda: baselines(tmp_path / "masked"), "expected a folder mask/")


def test_wrong_arguments_are_named(run, masked):
    for options, words in (
        ({"targets": 9}, "targets: expected 1 to 8"),
        ({"targets": 0}, "targets: expected 1 to 8"),
        ({"height": 40}, "height: expected 48 to 4096, got 40"),
        ({"feature_size": (0, 3)}, "feature_size: expected sides of 1 to 4096, got (0, 3)"),
    ):
        refusal(ValueError, lambda options=options: cagan.evaluate(run, masked, **options), words)
    refusal(
        TypeError, lambda: cagan.evaluate(3, masked), "model: expected a Swapper, a run, a path or a function, got int"
    )
    for swap, words in (
        (
            lambda human, *_: human[1:],
            "the swap's image: expected uint8 [128, 96, 3], got uint8 [127, 96, 3]",
        ),
        (lambda human, *_: human / 2, "got float64 [128, 96, 3]"),
        (lambda *_: None, "the swap's image: expected uint8 [128, 96, 3], got NoneType"),
        (lambda human, *_: Swapped(human, human), "the swap's mask: expected uint8 [128, 96], got"),
        (lambda human, *_: Swapped(human, flow=human), "the swap's flow: expected finite float32 [h, w, 2], got uint8"),
        (lambda human, *_: Swapped(human, flow=[1]), "the swap's flow: expected finite float32 [h, w, 2], got list"),
        (
            lambda human, *_: Swapped(human, flow=np.full((3, 2, 2), np.nan, np.float32)),
            "the swap's flow: expected finite float32 [h, w, 2], got 12 that are not finite",
        ),
    ):
        refusal(ValueError, lambda swap=swap: cagan.evaluate(swap, masked), words)


def test_people_of_one_group_do_not_change_clothes(pairs, tmp_path):
    rows = ["id,human,article,group"]
    rows += [f"{p.id},{p.human_path},{p.article_path},{'x' if k < 3 else ''}" for k, p in enumerate(pairs)]
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    few = cagan.evaluate(lambda human, *_: human, tmp_path, height=64, targets=5)
    first = {p.id for k, p in enumerate(pairs) if k < 3}
    assert not any({row["human"], row["target"]} <= first for row in few.rows)
    refusal(
        ValueError,
        lambda: cagan.evaluate(lambda human, *_: human, tmp_path, height=64, targets=6),
        "expected at most 5",
    )


# Parts, lists, broken pictures


def test_a_part_of_dolls_has_its_own_true_swaps(tmp_path):
    """A random split, pairs that were left out in review, and a named split: rows of two of the given pairs remain."""
    pairs = cagan.dolls(tmp_path, count=12, seed=2, size=32, swaps=4)
    wanted = [tuple(line.split(",")) for line in (tmp_path / "swaps" / "list.csv").read_text().split()[1:]]
    _, part = pairs.split(0.5)
    (tmp_path / "pairs.csv").write_text(
        "id,human,article,exclude,split\n"
        + "".join(
            f"{p.id},human/{p.id}.png,article/{p.id}.png,{int(k == 3)},{'ab'[k % 2]}\n" for k, p in enumerate(pairs)
        )
    )
    fewer = cagan.Pairs(tmp_path)
    assert len(fewer) == 11
    for given in (part, fewer, fewer.of_split("a")):
        scores = cagan.evaluate(untouched, given, height=64)
        rows = [(row["human"], row["target"]) for row in scores.rows]
        assert sorted(rows) == sorted(row for row in wanted if set(row) <= set(given.ids))
        assert scores.figures["true/error"].count == len(rows) > 1
    # An id of nobody is still a mistake, and a part without any true swap draws its targets.
    listing = tmp_path / "swaps" / "list.csv"
    listing.write_text("human,target\n00000,00001\n00000,0001\n")
    refusal(ValueError, lambda: cagan.evaluate(untouched, fewer), listing, "line 3", "unknown id `0001`")
    listing.write_text("human,target\n00000,00001\n")
    with pytest.warns(UserWarning, match="no true swap is of two of these pairs"):
        scores = cagan.evaluate(untouched, fewer.of_split("b"), height=64)
    assert not any(name.startswith("true/") for name in scores)


def test_a_list_of_swaps_is_scored(dolls, tmp_path, call, run):
    listing = tmp_path / "mine.csv"
    listing.write_text("human,target\n00000,00001\n00003,00001\n00003,00001\n00002,00004\n")
    scores = cagan.evaluate(untouched, dolls, listing=listing, height=64)
    assert [(row["human"], row["target"]) for row in scores.rows] == [
        ("00000", "00001"),
        ("00002", "00004"),
        ("00003", "00001"),
    ]
    assert scores.settings["listing"] == str(listing)
    refusal(ValueError, lambda: cagan.evaluate(untouched, dolls, listing=listing, targets=2), "listing")
    # With a true swap for each row they are compared.
    known = (dolls / "swaps" / "list.csv").read_text().split()[:4]
    listing.write_text("\n".join(known) + "\n")
    assert cagan.evaluate(untouched, dolls, listing=listing, height=64).figures["true/error"].count == 3
    code, out, err = call("evaluate", run.path, dolls, "--list", listing, "--height", 64, "--json")
    assert (code, err, len(json.loads(out)["rows"])) == (0, "", 3)


def untouched(human, worn, target):  # noqa: ARG001  # `evaluate` passes them
    return human


@pytest.mark.parametrize("kind", ["human", "article", "swaps", "mask"])
def test_what_pairs_skip_is_skipped(run, tmp_path, kind, masked, dolls):
    """A picture that cannot be read costs its own swaps, in each folder, for networks and for functions."""
    folder = shutil.copytree(masked if kind == "mask" else dolls, tmp_path / "pairs")
    name = sorted((folder / kind).glob("0000[13]*.png"))[0]
    name.write_bytes(name.read_bytes()[:40])
    refusal(ValueError, lambda: cagan.evaluate(untouched, folder, height=64), name, "cannot be decoded")
    pairs = cagan.Pairs(folder, on_error="skip")
    for model in (run, untouched):
        with pytest.warns(UserWarning, match="swaps skipped; the first: "):
            scores = cagan.evaluate(model, pairs, height=64)
        assert len(scores.rows) + len(scores.skipped) == (10 if kind != "mask" else 27)
        skipped = {(human, target) for human, target, reason in scores.skipped if str(name) in reason}
        assert len(skipped) == len(scores.skipped) > 0
        assert all(name.stem[:5] in row for row in skipped)
        assert scores.settings["swaps"] == len(scores.rows)
        assert json.loads(scores.to_json())["skipped"] == [list(row) for row in scores.skipped]
    # The figures are those of the rest alone.
    rest = cagan.evaluate(untouched, dolls, height=64) if kind == "swaps" else scores
    for row in scores.rows:
        (same,) = (other for other in rest.rows if (other["human"], other["target"]) == (row["human"], row["target"]))
        assert same == row


@pytest.mark.parametrize("kind", ["worn", "flow"])
def test_a_broken_truth_of_dolls_costs_its_own_swaps(dolls, oracle, tmp_path, kind):
    folder = shutil.copytree(dolls, tmp_path / "pairs")
    name = sorted((folder / kind).iterdir())[1]
    name.write_bytes(name.read_bytes()[:40])
    with pytest.warns(UserWarning, match="swaps skipped; the first: "):
        scores = cagan.evaluate(changed(oracle), cagan.Pairs(folder, on_error="skip"), height=64)
    rows = [(human, target) for human, target, reason in scores.skipped if str(name) in reason]
    assert rows == [row[:2] for row in scores.skipped] and {human for human, _ in rows} == {name.name[:5]}
    assert scores.figures["true/flow_error"].count == len(scores.rows) == 10 - len(rows) < 10
    # A model that neither locates nor warps does not need them.
    assert len(cagan.evaluate(untouched, folder, height=64).rows) == 10


def test_a_region_too_small_for_the_comparison_is_named(masked, tmp_path):
    folder = shutil.copytree(masked, tmp_path / "pairs")
    pairs = cagan.Pairs(folder, on_error="skip")
    path = folder / "mask" / f"{pairs[2].id}.png"
    dot = np.zeros((128, 96), np.uint8)
    dot[0, 0] = 255
    Image.fromarray(dot).save(path)
    refusal(
        ValueError, lambda: cagan.evaluate(untouched, folder, targets=1, height=48), f"mask of {pairs[2].id}", "none"
    )
    with pytest.warns(UserWarning, match="1 of 9 swaps skipped"):
        scores = cagan.evaluate(untouched, pairs, targets=1, height=48)
    assert scores.skipped[0][0] == pairs[2].id


def test_pairs_without_a_picture_that_can_be_read(tmp_path):
    cagan.dolls(tmp_path, count=3, size=32, swaps=0)
    for path in (tmp_path / "human").iterdir():
        path.write_text("a letter")
    pairs = cagan.Pairs(tmp_path, on_error="skip")
    refusal(ValueError, lambda: cagan.evaluate(untouched, pairs), tmp_path, "got none", "6 of 6 swaps skipped")


def test_a_failing_function_is_not_skipped(dolls):
    def failing(*_):
        raise ValueError("mine")

    pairs = cagan.Pairs(dolls, on_error="skip")
    with pytest.raises(ValueError, match="mine"):
        cagan.evaluate(failing, pairs)


def test_ids_with_slashes_have_regions(masked, tmp_path):
    folder = shutil.copytree(masked, tmp_path / "pairs")
    names = {pair.id: f"shop/{pair.id}" for pair in cagan.Pairs(masked)}
    lines = [f"{names[k]},human/{k}.png,article/{k}.png\n" for k in names]
    (folder / "pairs.csv").write_text("id,human,article\n" + "".join(lines))
    for name in names:
        (folder / "mask" / f"{name}.png").rename(folder / "mask" / f"shop%2F{name}.png")
    one, other = (cagan.evaluate(untouched, where, height=64) for where in (masked, folder))
    assert other["region/keep"] == one["region/keep"]
    assert len(other.rows) == len(one.rows)


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ({"true/error": 20.0, "true/error_untouched": 80.0, "true/located_iou": 0.75}, "Good: 25 % .* by 0.75 of 1"),
        ({"true/error": 48.0, "true/error_untouched": 80.0, "true/mask_iou": 0.5}, "Fair: 60 % .* by 0.50 of 1"),
        ({"region/colour": 0.9, "region/mask_iou": 0.25}, "Weak: 90 % of the way to the target's colours .* 0.25 of 1"),
        ({"region/colour": 1.2}, "Failed: 120 % .* no mask is known"),
        ({"mask/area": 0.001, "region/colour": 0.1}, "Failed: the mask is closed"),
        ({"mask/area": 0.2, "restored/error": 4.2}, "No truth is known .* differ by 4 grey levels"),
    ],
)
def test_a_verdict_says_what_the_figures_mean(figures, words):
    found = {name: Figure(value, None, None, 1) for name, value in figures.items()}
    assert re.fullmatch(f"{words}.*", verdict(found))


def test_each_figure_has_its_direction(run, masked, dolls):
    for pairs in (masked, dolls):
        scores = cagan.evaluate(run, pairs, targets=1 if pairs is masked else None, height=64, progress=False)
        words = dict(re.findall(r"^(\S+/\S+) +\S+ +(higher|lower)", scores.table(), re.MULTILINE))
        assert words == {name: better(name) for name in scores if better(name)}
        assert len(words) > 8 and len(set(scores) - set(words)) >= 2
    assert [better(name) for name in ("true/ssim", "region/keep", "mask/area", "true/psnr_untouched")] == [
        *("higher", "lower", "", "")
    ]


def test_the_command_line(run, masked, tmp_path):
    def call(*arguments):
        command = [sys.executable, "-c", "from cagan.cli import main; main()", "evaluate", run.path, masked]
        command += ["--targets", "2", "--height", "64", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    scores = cagan.evaluate(run.path, masked, targets=2, height=64)
    assert json.loads(call("--json")) == json.loads(scores.to_json())
    out = call("--out", tmp_path / "scores.json", "--sheet", tmp_path / "worst.png")
    assert out == f"{scores.table()}\n{scores.verdict}\n"
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written["figures"].keys() == scores.figures.keys()
    assert all(figure["low"] is None or math.isfinite(figure["low"]) for figure in written["figures"].values())
    assert (tmp_path / "worst.png").read_bytes().startswith(b"\x89PNG")


def test_parts_change_no_figure(run, pairs, monkeypatch):
    whole = cagan.evaluate(run.swapper("cpu"), pairs, targets=2, progress=False)
    monkeypatch.setattr(session, "_PART_BYTES", 3 * pairs[0].human.nbytes)
    parts = cagan.evaluate(run.swapper("cpu"), pairs, targets=2, progress=False)
    assert parts.to_json() == whole.to_json() and len(whole.rows) == 2 * len(pairs)
