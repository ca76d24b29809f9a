"""The preset kisekae: its phases, its swaps, its settings."""

import math
import shutil

import cagan
import numpy as np
import pytest
from helpers import checkpoints, read_tensors, refusal, same_tensors, write_tensors
from PIL import Image

# All three phases within six steps of four: blobs, the locator's masks, the discriminator.
SMALL = {
    "image_size": 32,
    "width": 32,
    "batch_size": 4,
    "place_after": 8,
    "judge_after": 16,
    "schedule_start": 16,
    "schedule_end": 40,
    "ema_images": 20,
    "steps": 6,
    "log_every": 1,
    "monitor_every": 3,
    "sample_humans": 2,
    "sample_articles": 2,
    "threads": 1,
}


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    return cagan.dolls(tmp_path_factory.mktemp("dolls"), count=12, size=(48, 40))


@pytest.fixture(scope="module")
def run(pairs, tmp_path_factory):
    return cagan.train(pairs, tmp_path_factory.mktemp("run"), cagan.Config("kisekae", **SMALL), progress=False)


@pytest.fixture(scope="module")
def eager(run, tmp_path_factory):
    """The run's swapper with a locator of higher logits: a run this short locates nothing."""
    entries, arrays = read_tensors(run.snapshots[-1])
    arrays["locator.out.bias"] += 1
    path = tmp_path_factory.mktemp("eager") / "eager.safetensors"
    write_tensors(path, entries, arrays)
    return cagan.Swapper(path)


def test_each_phase_adds_its_terms(run):
    stats = run.stats
    assert [line["step"] for line in stats] == [1, 2, 3, 4, 5, 6]
    assert all(math.isfinite(value) for line in stats for value in line.values())
    judged = [line["loss/discriminator"] > 0 for line in stats]
    assert judged == [False, False, False, False, True, True]
    assert [line["loss/generator/feature"] > 0 for line in stats] == judged
    assert all(line["loss/generator/located"] > 0 for line in stats)
    for name in ("loss/generator/placed", "loss/generator/edge", "time/registration_s"):
        assert [line[name] > 0 for line in stats] == [False] * 2 + [True] * 4, name
    weights = {"restored": 1, "surroundings": 0.1, "warped": 0.5, "bending": 1, "located": 1, "placed": 1}
    weights |= {"framed": 5, "fitted": 5, "beside": 1, "edge": 1, "adversarial": 0.1, "feature": 5}
    assert all(line["time/registration_s"] < line["time/step_s"] for line in stats)
    for line in stats:
        total = sum(weight * line[f"loss/generator/{name}"] for name, weight in weights.items())
        assert line["loss/generator"] == pytest.approx(total, rel=1e-4)
    assert len(run.looks) == 2 and all(math.isfinite(value) for look in run.looks for value in look.values())


@pytest.mark.parametrize("stop", [1, 3, 5])
def test_a_run_in_parts_is_the_whole_run(pairs, run, tmp_path, stop):
    config = run.config
    cagan.train(pairs, tmp_path, config.replace(steps=stop), progress=False)
    again = cagan.train(pairs, tmp_path, config.replace(steps=6), progress=False)
    newest = [checkpoints(path)[-1] for path in (run.path, again.path)]
    assert same_tensors(*newest)
    assert same_tensors(run.snapshots[-1], again.snapshots[-1])


def test_a_snapshot_holds_four_networks(run):
    _, arrays = read_tensors(run.snapshots[-1])
    assert {name.split(".")[0] for name in arrays} == {"painter", "locator", "placer", "frames"}


def test_a_snapshot_of_an_earlier_design_is_refused(run, tmp_path):
    from cagan import torch_module

    entries, arrays = read_tensors(run.snapshots[-1])
    # Their second frame saw the person erased, and had the same shapes.
    older = {name.replace("frames.person.", "frames.body."): values for name, values in arrays.items()}
    write_tensors(tmp_path / "old.safetensors", entries, older)
    for load in (torch_module.load, cagan.Swapper):
        refusal(ValueError, lambda load=load: load(tmp_path / "old.safetensors"), "old.safetensors", "earlier design")


def test_swaps_with_and_without_the_worn_article(pairs, run):
    swapper = run.swapper()
    human, worn, target = pairs[0].human, pairs[0].article, pairs[1].article
    known, unknown = swapper.swap(human, worn, target), swapper.swap(human, target=target)
    for swap in (known, unknown):
        assert swap.located.shape == swap.mask.shape == human.shape[:2]
        assert np.array_equal(swap.image[swap.mask == 0], human[swap.mask == 0])
    assert not np.array_equal(known.located, unknown.located)
    both = swapper.swap([human, human], [worn, worn], [target, worn])
    assert np.array_equal(both[0].image, known.image)
    alone = swapper.swap([human, human], target=[target, worn])
    assert np.array_equal(alone[0].image, unknown.image)


def test_the_flow_of_a_swap_is_the_painters(pairs, run):
    import torch
    from cagan import torch_module

    pictures = [
        np.asarray(Image.fromarray(picture).resize((32, 32)))
        for picture in (pairs[0].human, pairs[0].article, pairs[1].article)
    ]
    flow = run.swapper(which="newest").swap(*pictures).flow
    assert (flow.shape, flow.dtype) == ((32, 32, 2), np.float32)
    module, found = torch_module.load(run.snapshots[-1]), []
    module.painter.register_forward_hook(lambda *call: found.append(call[-1]["warped"]))
    tensors = [torch.from_numpy(picture.copy()).permute(2, 0, 1)[None] / 255 for picture in pictures]
    with torch.no_grad():
        module(*tensors)
    target = tensors[2] * 2 - 1
    region = torch_module.filled(torch_module.article_region(target))
    seen = torch_module.warped_inside(target, region, torch.from_numpy(flow)[None].permute(0, 3, 1, 2))
    assert (seen - found[0]).abs().max() < 1e-3


def test_a_flow_leads_from_the_whole_photo_to_the_whole_article(run):
    """The networks see the middle of a wide photo, and bars beside a narrow article."""
    draw = np.random.default_rng(0)
    wide = draw.integers(0, 255, (32, 48, 3), dtype=np.uint8)
    narrow = np.full((64, 32, 3), 255, np.uint8)
    narrow[10:50, 8:24] = draw.integers(0, 200, (40, 16, 3))
    square = np.pad(narrow, ((0, 0), (16, 16), (0, 0)), constant_values=255)
    swapper = run.swapper()
    seen = swapper.swap(wide[:, 8:40], target=square).flow
    assert swapper.config.human_fit == "crop" and swapper.config.article_fit == "pad"
    # Half of the square is the article: its places are twice as far from the middle.
    in_article = swapper.swap(wide[:, 8:40], target=narrow).flow
    assert np.allclose(in_article, seen * (2, 1), atol=1e-5)
    # Of the whole photo's 48 columns the networks see 8 to 40: column k of 32 lies at 1.5 k + .25.
    whole = swapper.swap(wide, target=square).flow
    assert whole.shape == seen.shape
    at = (np.arange(32) + 0.5) * 1.5 - 8 - 0.5
    for axis in (0, 1):
        expected = np.stack([np.interp(at, np.arange(32), row) for row in seen[..., axis]])
        assert np.allclose(whole[..., axis], expected, atol=1e-4)


def test_the_way_back_is_scored_with_and_without_the_worn_article(pairs, eager, tmp_path):
    for name in ("human", "article"):
        (tmp_path / name).symlink_to(pairs.folder / name)
    (tmp_path / "mask").symlink_to(pairs.folder / "worn")
    swapper, few = eager, cagan.Pairs(tmp_path)
    scores = cagan.evaluate(swapper, few, targets=1, height=48)
    known, unknown = [], []
    for row in scores.rows:
        human, target = few[row["human"]], few[row["target"]]
        there = swapper.swap(human.human, human.article, target.article).image
        region = np.asarray(Image.open(tmp_path / "mask" / f"{human.id}.png"))
        assert region.shape == (48, 40)
        for found, back in (
            (known, swapper.swap(there, target.article, human.article)),
            (unknown, swapper.swap(there, target=human.article)),
        ):
            # 48 x 36: Pillow's filters of each kind of picture.
            a, b = (
                np.asarray(Image.fromarray(x).resize((36, 48), Image.BILINEAR), float)
                for x in (human.human, back.image)
            )
            inside = np.asarray(Image.fromarray(region).resize((36, 48), Image.NEAREST)) > 127
            found.append(np.abs(a - b)[inside].mean())
    assert scores["restored/error_inside"] == pytest.approx(np.mean(known))
    assert scores["restored_unknown/error_inside"] == pytest.approx(np.mean(unknown))
    assert scores["restored/error_inside"] != scores["restored_unknown/error_inside"]
    for name in ("restored", "restored_unknown"):
        assert -1 < scores[f"{name}/ssim_inside"] < 1


def test_ways_back_are_those_of_their_own_swaps_beside_skipped_ones(pairs, eager, tmp_path):
    """More swaps than a part holds, some of which are skipped: each row has the figures that it has alone."""
    for name in ("human", "article"):
        shutil.copytree(pairs.folder / name, tmp_path / name)
    shutil.copytree(pairs.folder / "worn", tmp_path / "mask")
    whole = cagan.evaluate(eager, tmp_path, targets=2, height=48)
    ids = pairs.ids
    for path in (tmp_path / "human" / f"{ids[2]}.png", tmp_path / "mask" / f"{ids[5]}.png"):
        path.write_bytes(b"no picture")
    with pytest.warns(UserWarning, match="4 of 24 swaps skipped"):
        scores = cagan.evaluate(eager, cagan.Pairs(tmp_path, on_error="skip"), targets=2, height=48)
    assert {human for human, *_ in scores.skipped} == {ids[2], ids[5]}
    rows = {(row["human"], row["target"]): row for row in whole.rows}
    names = [
        f"{way}/{figure}" for way in ("restored", "restored_unknown") for figure in ("ssim_inside", "error_inside")
    ]
    for row in scores.rows:
        same = rows[row["human"], row["target"]]
        assert [row[name] for name in names] == pytest.approx([same[name] for name in names])
    assert len({row["restored_unknown/error_inside"] for row in scores.rows}) == 20


def test_tensors_of_other_libraries_are_pictures(pairs, run):
    import torch

    arrays = [np.array(picture) for picture in (pairs[0].human, pairs[0].article, pairs[1].article)]
    swapper = run.swapper()
    swap, expected = swapper.swap(*map(torch.from_numpy, arrays)), swapper.swap(*arrays)
    assert np.array_equal(swap.image, expected.image)
    assert torch.from_dlpack(swap.image).shape == expected.image.shape
    numbers = torch.zeros(5, 7, 3, dtype=torch.int64)
    refusal(ValueError, lambda: swapper.swap(numbers, target=numbers), "human: expected a path", "got int64")


def test_the_published_networks_need_the_worn_article(pairs, tmp_path):
    swapper = cagan.train(pairs, tmp_path, "smoke", steps=1, threads=1, progress=False).swapper()
    swap = swapper.swap(pairs[0].human, pairs[0].article, pairs[1].article)
    assert swap.located is None and swap.flow is None
    refusal(ValueError, lambda: swapper.swap(pairs[0].human, target=pairs[1].article), "worn", "none")
    refusal(TypeError, lambda: swapper.swap(pairs[0].human, pairs[0].article), "target", "none")


def test_the_articles_pattern_is_as_sharp_as_its_picture(run):
    """Stripes of two pixels, sixteen of which are one pixel of the networks."""
    human = np.full((512, 512, 3), 200, np.uint8)
    human[100:400, 150:350] = (30, 60, 160)
    article = np.full((512, 512, 3), 255, np.uint8)
    article[100:400, 150:350] = np.where(np.arange(300)[:, None, None] // 2 % 2, 0, 220)
    swap = run.swapper().swap(human, target=article)
    middle = swap.paint[200:300, 200:300].astype(float)
    assert np.abs(np.diff(middle, axis=0)).mean() > 5
    smooth = np.full_like(article, 255)
    smooth[100:400, 150:350] = 110
    plain = run.swapper().swap(human, target=smooth).paint[200:300, 200:300].astype(float)
    assert np.abs(np.diff(plain, axis=0)).mean() < 1


def test_swaps_over_a_list_have_the_located_mask_beside_them(pairs, run, tmp_path):
    from cagan.cli import cli
    from click.testing import CliRunner

    folder = pairs[0].human_path.parent.parent
    (tmp_path / "list.csv").write_text(f"human,target\n{pairs[0].id},{pairs[1].id}\n")
    out = tmp_path / "out"
    arguments = ["swap", run.path, "--pairs", folder, "--list", tmp_path / "list.csv", "--out", out]
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    name = f"{pairs[0].id}__{pairs[1].id}"
    assert {path.name for path in out.iterdir()} == {f"{name}{end}.png" for end in ("", ".alpha", ".located")}


@pytest.mark.parametrize(
    ("preset", "name", "value"),
    [
        ("kisekae", "identity_weight", 0.1),
        ("kisekae", "discriminator_noise", 0.2),
        ("kisekae", "generator_copies", "worn"),
        ("kisekae", "r1_weight", 1.0),
        ("paper", "warp_weight", 1.0),
        ("vasily", "judge_after", 5),
        ("paper", "withhold_worn", 0.5),
    ],
)
def test_settings_that_the_networks_would_ignore_fail(preset, name, value):
    refusal(ValueError, lambda: cagan.Config(preset, **{name: value}), name, preset, "no use")


def test_sizes_and_widths():
    assert cagan.Config("kisekae", image_size=(512, 384)).image_size == (512, 384)
    refusal(ValueError, lambda: cagan.Config("kisekae", image_size=(512, 400)), "image_size", "384 and 512")
    refusal(ValueError, lambda: cagan.Config("kisekae", width=40), "width", "multiple of 32")
    # A length that the user gives replaces the preset's.
    assert cagan.Config("kisekae", epochs=2).total_steps(100) == 26
    assert cagan.Config("kisekae").replace(steps=7).total_steps(100) == 7


def test_half_precision_is_the_same_step_rounded(pairs):
    config = cagan.Config("kisekae", **SMALL)
    exact, rounded = (cagan.Trainer(pairs, config.replace(precision=p)) for p in ("fp32", "bf16"))
    mine, other = exact.run(1), rounded.run(1)
    for key in mine:
        assert abs(mine[key] - other[key]) < 0.05 * max(1, abs(mine[key])), key
