"""The metrics of an evaluation against independent implementations: scikit-image, torchmetrics, scipy, lpips."""

import warnings

import cagan
import numpy as np
import pytest
import scipy.linalg
import skimage.color
import skimage.metrics
import torch
import torchmetrics.functional as metrics
import torchmetrics.functional.image as images
from cagan.evaluation import features, pictures
from cagan.evaluation.scores import mean_figure, set_figure
from helpers import refusal
from PIL import Image

# Largest difference allowed; most metrics agree to rounding.
NEAR = 1e-4


def noise(seed, shape=(64, 48, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="module")
def doll_swaps(tmp_path_factory):
    """A list of photo, true swap, true mask."""
    folder = tmp_path_factory.mktemp("large")
    pairs = cagan.dolls(folder, count=3, seed=2, size=(192, 224), swaps=1)
    found = []
    for path in sorted((folder / "swaps").glob("*.alpha.png")):
        name = path.name.removesuffix(".alpha.png")
        true = np.asarray(Image.open(folder / "swaps" / f"{name}.png").convert("RGB"))
        found.append((pairs[name.split("__")[0]].human, true, np.asarray(Image.open(path)) > 0))
    assert len(found) == 3
    return found


@pytest.fixture(scope="module")
def couples(doll_swaps):
    """Couples of pictures: alike, unlike, smooth, small, of odd sizes."""
    blurred = [np.asarray(Image.fromarray(human).resize((80, 70)).resize((224, 192))) for human, *_ in doll_swaps]
    return [
        *((human, true) for human, true, _ in doll_swaps),
        *((blur, true) for blur, (_, true, _) in zip(blurred, doll_swaps)),
        (noise(1), noise(2)),
        (noise(3, (177, 201, 3)), noise(3, (177, 201, 3)) // 2),
    ]


def as_tensors(*arrays):
    return (torch.from_numpy(x.transpose(2, 0, 1)[None].astype(np.float64)) for x in arrays)


def test_flow_errors_by_hand():
    nan = np.nan
    true = np.array([[[0.0, 0.0], [nan, nan]], [[0.5, -0.5], [-1.0, 1.0]]], np.float32)
    # An article of 128 x 96: half of its sides is 32 and 24 pixels at height 64.
    flow = np.array([[[0.25, 0.0], [9.0, 9.0]], [[0.5, 0.0], [-1.0, 1.0]]], np.float32)
    assert pictures.flow_errors(flow, true, (128, 96)).tolist() == [0.25 * 24, 0.5 * 32, 0]
    # One place for the whole photo: (.5, .5), (0, 1) and (1.5, -.5) away.
    apart = pictures.flow_errors(np.full((1, 1, 2), 0.5, np.float32), true, (100, 100))
    assert apart == pytest.approx([32 * np.hypot(0.5, 0.5), 32, 32 * np.hypot(1.5, 0.5)])
    # Four columns for two: the first pixel's middle lies halfway between columns 0 and 1.
    wide = np.zeros((2, 4, 2), np.float32)
    wide[0, :, 0] = (0.25, 0.75, 3, 3)
    assert pictures.flow_errors(wide, true, (64, 64))[0] == 0.5 * 32


def test_similarity_is_that_of_scikit_image(couples):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    for a, b in couples:
        value, whole = skimage.metrics.structural_similarity(a, b, channel_axis=-1, full=True, **options)
        ours = pictures.ssim_map(a, b)
        assert np.abs(ours - whole).max() < NEAR
        assert abs(pictures.inside(ours).mean() - value) < NEAR
        assert abs(pictures.inside(ours).mean() - similarity(*as_tensors(a, b))) < NEAR
    assert pictures.ssim_map(a, a).min() == pytest.approx(1)
    assert pictures.inside(np.ones((10, 30, 3))).shape == (10, 30, 3)


def similarity(a, b):
    """Averages torchmetrics' similarity over whole windows; its own mean includes mirrored edges, unlike Wang et al."""
    _, whole = images.structural_similarity_index_measure(a, b, data_range=255.0, return_full_image=True)
    return float(whole[..., 5:-5, 5:-5].mean())


def test_multi_scale_similarity_is_that_of_torchmetrics(couples):
    """Multiplies torchmetrics' factors; its own product includes mirrored edges, most of the coarsest scale."""
    weights = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
    looked = set()
    for a, b in [*couples, (noise(8), noise(8) // 2)]:
        scales = 5 if min(a.shape[:2]) >= 176 else 3
        betas = [weight / sum(weights[:scales]) * sum(weights) for weight in weights[:scales]]
        one, other = as_tensors(a, b)
        theirs = 1.0
        for beta in betas[:-1]:
            _, contrast = images.structural_similarity_index_measure(
                one, other, data_range=255.0, return_contrast_sensitivity=True
            )
            theirs *= max(0.0, float(contrast)) ** beta
            one, other = (torch.nn.functional.avg_pool2d(x, 2) for x in (one, other))
        theirs *= max(0.0, similarity(one, other)) ** betas[-1]
        looked.add(scales)
        assert abs(pictures.ms_ssim(a, b) - theirs) < NEAR
    assert looked == {3, 5}
    assert pictures.ms_ssim(a, a) == pytest.approx(1)
    assert pictures.ms_ssim(noise(1, (16, 16, 3)), noise(2, (16, 16, 3))) >= 0


def test_psnr_is_that_of_scikit_image(couples):
    for a, b in couples:
        assert abs(pictures.psnr(a, b) - skimage.metrics.peak_signal_noise_ratio(a, b, data_range=255)) < NEAR
    assert 80 < pictures.psnr(a, a) < 120


def test_lab_is_that_of_scikit_image():
    a = noise(5)
    # scikit-image rounds the white point and the matrix at other places.
    assert np.abs(pictures.lab(a) - skimage.color.rgb2lab(a)).max() < 0.02


def test_the_roc_area_is_that_of_torchmetrics():
    draw = np.random.default_rng(0)
    for levels in (2, 5, 256):
        truth = draw.random((40, 30)) < 0.3
        score = (draw.integers(0, levels, (40, 30)) // 2 + truth * draw.integers(0, levels, (40, 30)) // 2).astype(
            np.uint8
        )
        theirs = metrics.auroc(torch.from_numpy(score / 255), torch.from_numpy(truth.astype(int)), task="binary")
        # torchmetrics computes in float32.
        assert abs(pictures.roc_area(score, truth) - float(theirs)) < NEAR
        mann_whitney = scipy.stats.mannwhitneyu(score[truth], score[~truth]).statistic / (truth.sum() * (~truth).sum())
        assert pictures.roc_area(score, truth) == pytest.approx(mann_whitney, abs=1e-12)
        iou = metrics.jaccard_index(torch.from_numpy(score > 1), torch.from_numpy(truth), task="binary")
        assert abs(pictures.iou(score > 1, truth) - float(iou)) < NEAR
    assert pictures.roc_area(np.zeros((4, 4)), np.eye(4) > 0) == 0.5
    assert np.isnan(pictures.roc_area(np.zeros((4, 4)), np.zeros((4, 4), bool)))


def test_the_entropy_is_that_of_scipy():
    mask = noise(1, (30, 40))
    p = mask / 255
    theirs = scipy.stats.entropy(np.stack([p, 1 - p]), base=2).mean()
    assert pictures.entropy(mask) == pytest.approx(theirs, abs=1e-9)
    assert pictures.entropy(np.full((3, 3), 255, np.uint8)) == pictures.entropy(np.zeros((3, 3), np.uint8)) == 0


def test_residual_colour(doll_swaps):
    for human, true, where in doll_swaps:
        seen = where & (np.linalg.norm(pictures.lab(human) - pictures.lab(true), axis=-1) > 6)
        assert seen.sum() > 100
        assert pictures.residual(human, human, true, where) == 1
        assert pictures.residual(true, human, true, where) == 0
        half = true.copy()
        rows, columns = np.nonzero(seen)
        half[rows[: len(rows) // 4], columns[: len(rows) // 4]] = human[
            rows[: len(rows) // 4], columns[: len(rows) // 4]
        ]
        assert pictures.residual(half, human, true, where) == pytest.approx(len(rows) // 4 / len(rows))
    assert np.isnan(pictures.residual(human, human, human, where))


def test_differences_inside_a_mask():
    a, b = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 200, np.uint8)
    b[0] = 50
    where = np.array([[True, True], [False, True]])
    assert pictures.difference(a, b, where) == (50 + 50 + 200) / 3
    assert pictures.difference(a, b, where & False) == 0


# Distances of sets


@pytest.mark.parametrize(("many", "few", "wide"), [(60, 40, 8), (30, 20, 50), (12, 40, 30)])
def test_the_frechet_distance_is_that_of_scipys_square_root(many, few, wide):
    draw = np.random.default_rng(many)
    a = draw.normal(size=(many, wide)) @ draw.normal(size=(wide, wide))
    b = draw.normal(size=(few, wide)) + 1
    covariances = [np.cov(x, rowvar=False) for x in (a, b)]
    root = scipy.linalg.sqrtm(covariances[0] @ covariances[1])
    apart = a.mean(0) - b.mean(0)
    theirs = apart @ apart + np.trace(covariances[0] + covariances[1] - 2 * root.real)
    # With fewer pictures than features the matrix is singular and its square root inexact.
    assert features.frechet(a, b) == pytest.approx(theirs, rel=NEAR if few > wide else 1e-3)
    assert abs(features.frechet(a, a)) < 1e-8 * np.trace(covariances[0])


def test_the_kernel_distance_is_that_of_torchmetrics():
    from torchmetrics.image.kid import poly_mmd

    draw = np.random.default_rng(1)
    a, b = draw.normal(size=(40, 24)), draw.normal(size=(40, 24)) + 0.3
    assert abs(features.kernel(a, b) - float(poly_mmd(torch.from_numpy(a), torch.from_numpy(b)))) < NEAR
    # Unequal sizes, by the definition.
    k = lambda x, y: (x @ y / 24 + 1) ** 3  # noqa: E731
    few = b[:7]
    within = np.mean([k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    others = np.mean([k(x, y) for i, x in enumerate(few) for j, y in enumerate(few) if i != j])
    across = np.mean([k(x, y) for x in a for y in few])
    assert features.kernel(a, few) == pytest.approx(within + others - 2 * across)


class Means(torch.nn.Module):
    def forward(self, xs):
        return xs.mean((2, 3)) * 2


class Maps(torch.nn.Module):
    def forward(self, xs):
        return xs[:, :, ::2, ::2]


def saved(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(str(path))
    return path


def test_a_network_of_the_user(tmp_path):
    some = [noise(k, (20, 30, 3)) for k in range(35)]
    network = features.FeatureNetwork(saved(Means(), tmp_path / "means.pt"), (20, 30))
    assert network.names == ("means/fid", "means/kid")
    expected = np.stack([picture.mean((0, 1)) for picture in some]) / 255 * 2
    assert np.abs(network(some) - expected).max() < 1e-6
    maps = features.FeatureNetwork(saved(Maps(), tmp_path / "maps.ts"), (20, 30))(some)
    assert np.abs(maps - np.stack([p[::2, ::2].mean((0, 1)) for p in some]) / 255).max() < 1e-6


@pytest.mark.parametrize("sides", [("H", "W"), (10, 12)])
def test_a_network_as_onnx(tmp_path, sides):
    import onnx

    nodes = [onnx.helper.make_node("GlobalAveragePool", ["x"], ["y"])]
    given = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, *sides])
    gives = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 3, 1, 1])
    graph = onnx.helper.make_graph(nodes, "means", [given], [gives])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "means.onnx")
    network = features.FeatureNetwork(tmp_path / "means.onnx", (20, 30))
    assert network.size == ((20, 30) if sides == ("H", "W") else (10, 12))
    some = [np.full((20, 30, 3), 10 * k, np.uint8) for k in range(4)]
    assert np.abs(network(some)[:, 0] - np.arange(4) * 10 / 255).max() < 1e-6


def test_the_stand_in_is_always_the_same():
    some = [noise(k, (64, 48, 3)) for k in range(3)]
    one, other = (features.FeatureNetwork(None, (64, 48)) for _ in range(2))
    assert one.names == ("random_features/frechet", "random_features/kernel")
    assert np.array_equal(one(some), other(some))
    assert one(some).shape == (3, 224)
    # Recorded, so that figures of different versions compare.
    assert one(some)[0, [0, 100, 223]] == pytest.approx(RECORDED, abs=1e-5)


RECORDED = [0.28019068, 0.12554966, 0.02339693]


def test_files_that_are_no_networks(tmp_path):
    refusal(FileNotFoundError, lambda: features.FeatureNetwork(tmp_path / "gone.pt", (8, 8)), tmp_path / "gone.pt")
    for name, kind in (("a.pt", "TorchScript"), ("a.onnx", "ONNX"), ("a.txt", ".onnx, got .txt")):
        (tmp_path / name).write_bytes(b"none")
        refusal(ValueError, lambda name=name: features.FeatureNetwork(tmp_path / name, (8, 8)), tmp_path / name, kind)

    class Flat(torch.nn.Module):
        def forward(self, xs):
            return xs.flatten()

    class Wide(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(5, 2)

        def forward(self, xs):
            return self.layer(xs.flatten(1))

    for module, words in ((Flat(), "expected features [1, D], got [192]"), (Wide(), "failed on pictures of the shape")):
        network = features.FeatureNetwork(saved(module, tmp_path / "odd.pt"), (8, 8))
        refusal(ValueError, lambda network=network: network([noise(1)]), "odd", words)


def test_lpips_where_its_weights_are(tmp_path, monkeypatch):
    """With random weights in place of the downloaded ones: ours equals the package's number."""
    import lpips
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert features.lpips_metric() is None
    path = tmp_path / "hub" / "checkpoints" / torchvision.models.AlexNet_Weights.IMAGENET1K_V1.url.split("/")[-1]
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    torch.save(torchvision.models.alexnet(weights=None).state_dict(), path)
    a, b = noise(1), noise(2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = lpips.LPIPS(net="alex", verbose=False).eval()
    with torch.no_grad():
        expected = theirs(*(lpips.im2tensor(x) for x in (a, b))).item()
    assert expected > 0
    assert features.lpips_metric()(a, b) == pytest.approx(expected, abs=1e-6)


# Intervals


def test_the_bootstrap_is_that_of_scipy():
    """One swap a person; then several, where the interval is wider than for independent swaps."""
    draw = np.random.default_rng(0)
    values = draw.normal(5, 2, 60)
    ours = mean_figure([(f"{k:03}", float(v), 1.0) for k, v in enumerate(values)], seed=0)
    theirs = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9999, rng=1).confidence_interval
    assert ours.value == pytest.approx(values.mean())
    assert (ours.low, ours.high) == (pytest.approx(theirs.low, abs=0.1), pytest.approx(theirs.high, abs=0.1))
    people = mean_figure([(f"{k % 6}", float(k % 6), 1.0) for k in range(60)], seed=0)
    strangers = mean_figure([(f"{k}", float(k % 6), 1.0) for k in range(60)], seed=0)
    assert people.value == strangers.value == 2.5
    assert people.high - people.low > 2 * (strangers.high - strangers.low)
    ratio = mean_figure([("a", 1.0, 2.0), ("b", 3.0, 2.0)], seed=0)
    assert (ratio.value, ratio.count) == (1.0, 2)
    assert mean_figure([("a", 1.0, 2.0)], seed=0).low is None


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(0).normal(size=30)
    without = [float(np.delete(values, k).mean()) for k in range(30)]
    figure = set_figure(float(values.mean()), without, 30)
    assert (figure.high - figure.value) / 1.96 == pytest.approx(values.std(ddof=1) / np.sqrt(30))
