"""Scores of swaps: against true ones, inside true regions, and where nothing is known."""

import hashlib
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _cagan
from . import pictures
from .features import FeatureNetwork, frechet, kernel, lpips_metric
from .models import Model, Swapped, baselines, opened, swapped
from .region import RegionScorer
from .scores import Figure, Scores, mean_figure, set_figure
from .truth import Truth, listed

__all__ = ["Figure", "Scores", "Swapped", "baselines", "evaluate", "listed"]

_Array = NDArray[Any]
_Row = tuple[_cagan.Pair, _cagan.Pair]

# Parts of the people that a distance of sets leaves out in turn, for its interval.
_PARTS = 10
# Swaps in memory at once.
_AT_ONCE = 64
# Least height at which the smallest of three scales still holds a patch.
_LEAST_HEIGHT, _MOST_HEIGHT = 48, 4096


def evaluate(
    model: Model,
    pairs: _cagan.Pairs | str | os.PathLike[str],
    device: str | None = None,
    *,
    targets: int | None = None,
    height: int = 256,
    features: str | os.PathLike[str] | None = None,
    feature_size: tuple[int, int] | None = None,
    seed: int = 0,
) -> Scores:
    """Score a generator's swaps by all that is known of the pairs. The same call gives the same figures on a CPU.

    Differences are in grey levels of 255. Less is better, but for those marked +.

    Where the pairs have true swaps, as `cagan.dolls` draws them (all rows of `swaps/list.csv` are swapped), at the
    photo's own size:

    - `true/ssim` + (Wang et al. 2004, gaussian window), `true/ms_ssim` + (Wang et al. 2003; fewer scales below 176
      pixels), `true/psnr` + in dB: the swap against the true one; `true/ssim_inside` +: SSIM inside the true mask.
    - `true/error`: mean difference to the true swap inside the true mask; `true/keep`: to the photo outside of it.
    - `true/residual`: share of the pixels where photo and true swap visibly differ that are nearer to the photo.
    - `true/mask_iou` + and `true/mask_auc` +: the mask above one half, and as a score (ROC area), for the true mask.
    - `true/error_untouched`, `true/psnr_untouched`: the same of the photo left alone.

    Where they have a folder `mask/` with the worn garment's true region for each id, at `height` x 3/4 `height`:

    - `region/mask_auc` +, `region/mask_iou` +: the mask for that region. A swap's `located` comes first, then its
      `mask`, then what changed.
    - `region/keep`: difference to the photo outside the region, widened by 8 pixels of 256.
    - `region/colour`, `region/texture`: distance of the region's colours and of its 7 x 7 details to the target's, over
      that of the photo left alone: 1 = nothing transferred, 0 = alike. Ratios of sums.
    - `region/residual`: share of the region's pixels nearer to the worn article's palette than to the target's.
    - `region/realism`: how unlike photos the swaps are in patches at three scales; 1 = as unlike as other photos.

    Always:

    - `self_swap/error`: difference of the photo to a swap with the worn article as target.
    - `restored/error`: difference of the photo to the swap dressed back.
    - `mask/area` (mean mask), `mask/entropy` (bits in a pixel: 0 = decided), for models with masks.
    - `<name>/fid` and `<name>/kid` in the network of the file `features`, swaps against all photos: FID and KID in the
      papers' sense where that is their Inception network. Without a file `random_features/frechet` and
      `random_features/kernel`: the same distances in a small network with fixed random weights, not comparable to FID.
    - `lpips/self_swap`, `lpips/restored` (and `true/lpips`), where the package `lpips` and its weights are installed.

    The intervals hold 95 %: of 1,000 bootstrap draws of people with all their swaps; for distances of sets by leaving
    out a tenth of the people at a time.

    Args:
        model: A swapper, a run or its folder, a snapshot, or a function of human, worn and target (uint8 [H, W, 3])
            that gives the swapped picture, or something with `image` and, if it likes, `mask` and `located`.
        pairs: The pairs, or their folder; pairs that were not trained on tell more.
        device: "auto" (where none is given), "cpu", "cuda" or "cuda:N", for a model that is not loaded yet.
        targets: How many other articles each person puts on, drawn from `seed` without repetition. Where none is given,
            the list of true swaps, or 3 (fewer where there are fewer).
        height: What `region` figures are judged at, 48 to 4096; figures at different heights don't compare.
        features: A feature network as TorchScript (.pt, .pth, .ts) or ONNX (.onnx, with onnxruntime): float32
            [N, 3, H, W] from 0 to 1 in, [N, D] or [N, D, h, w] out.
        feature_size: Height and width of what it sees; where none is given, `height` x 3/4 `height`, or what an ONNX
            file of fixed size asks for.
        seed: What targets and bootstrap are drawn from.

    Returns:
        The scores, a mapping from names to numbers with intervals, a table, JSON and a sheet of the worst cases.

    Raises:
        FileNotFoundError: For pairs, a model, a network, a true swap or a region that is not there.
        ValueError: For fewer than 2 pairs, a number out of its range, a broken list, truth of another size than its
            photo, a function or network that gives other shapes.
        TypeError: For a model that is none.
        ImportError: For an ONNX file without onnxruntime.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/first", "smoke", steps=2, progress=False)
        >>> scores = cagan.evaluate(run, pairs)
        >>> 0 < scores["true/ssim"] < 1, scores.figures["true/ssim"].count
        (True, 8)
        >>> scores.sheet("worst.png").name
        'worst.png'
    """
    found = pairs if isinstance(pairs, _cagan.Pairs) else _cagan.Pairs(pairs)
    truth = Truth(found)
    _check(found, targets, height, feature_size)
    with_truth = targets is None and truth.listing.is_file()
    rows = (
        listed(truth.listing, found) if with_truth else _draw(found, 3 if targets is None else targets, targets, seed)
    )
    # By file name, as a folder of swaps is read: the region's draws depend on the order.
    rows.sort(key=lambda row: f"{row[0].id}__{row[1].id}.png")
    network = FeatureNetwork(features, feature_size or (height, height * 3 // 4))
    session = _Session(opened(model, device), truth, with_truth, height, network)
    for start in range(0, len(rows), _AT_ONCE):
        session.score(rows[start : start + _AT_ONCE])
    session.self_swaps(rows)
    settings = {
        "model": _name(model),
        "pairs": str(found.folder),
        "targets": targets,
        "height": height,
        "features": _fingerprint(features),
        "feature_size": list(network.size),
        "seed": seed,
        "swaps": len(rows),
        "cagan": _cagan.system()["cagan"],
    }
    return session.scores(seed, settings)


class _Session:
    """One evaluation: swaps come in, numbers gather."""

    def __init__(self, model: Any, truth: Truth, with_truth: bool, height: int, network: FeatureNetwork) -> None:
        self._model, self._truth, self._with_truth, self._network = model, truth, with_truth, network
        self._lpips = lpips_metric()
        self._region = RegionScorer(height)
        # Name -> (person, above, below) of each swap that has the figure.
        self._values: dict[str, list[tuple[str, float, float]]] = {}
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._features: list[_Array] = []
        self._people: list[str] = []

    def swaps(self, rows: list[_Row]) -> Iterator[Swapped]:
        return swapped(
            self._model,
            [human.human_path for human, _ in rows],
            [human.article_path for human, _ in rows],
            [target.article_path for _, target in rows],
        )

    def score(self, rows: list[_Row]) -> None:
        """Swaps, and dresses back what came of it."""
        swaps = list(self.swaps(rows))
        self._features.append(self._network([swap.image for swap in swaps]))
        worn, targets = ([pair.article_path for pair in side] for side in zip(*rows))
        back = swapped(self._model, [swap.image for swap in swaps], targets, worn)
        for row, swap, restored in zip(rows, swaps, back):
            self._people.append(row[0].id)
            self._rows[row[0].id, row[1].id] = {"human": row[0].id, "target": row[1].id}
            self._score_one(row, swap)
            self._compare(row, "restored", restored.image)

    def _score_one(self, row: _Row, swap: Swapped) -> None:
        human, target = row
        photo = human.human
        if swap.mask is not None:
            self._note(row, "mask/area", float(swap.mask.mean()) / 255)
            self._note(row, "mask/entropy", pictures.entropy(swap.mask))
        if self._with_truth:
            true, where = self._truth.swap(human, target)
            for name, value in _against(swap, photo, true, where).items():
                self._note(row, f"true/{name}", value)
            if self._lpips and min(photo.shape[:2]) > 31:
                self._note(row, "true/lpips", self._lpips(swap.image, true))
        region = self._truth.region(human)
        if region is not None:
            worn, goal = (human.id, human.article), (target.id, target.article)
            try:
                parts = self._region.score(photo, worn, goal, swap.image, swap.found, region)
            except ValueError as error:
                raise ValueError(f"mask of {human.id}: {error}") from None
            for name, (above, below) in parts.items():
                self._note(row, f"region/{name}", above, below)

    def self_swaps(self, rows: list[_Row]) -> None:
        """Everybody in what they wear."""
        people = list({human.id: human for human, _ in rows}.values())
        for human, swap in zip(people, self.swaps([(human, human) for human in people])):
            self._compare((human, human), "self_swap", swap.image)

    def _compare(self, row: _Row, name: str, image: _Array) -> None:
        photo = row[0].human
        self._note(row, f"{name}/error", float(np.abs(image.astype(np.float64) - photo).mean()))
        if self._lpips and min(photo.shape[:2]) > 31:
            self._note(row, f"lpips/{name}", self._lpips(image, photo))

    def _note(self, row: _Row, name: str, above: float, below: float = 1.0) -> None:
        human, target = row
        if not np.isnan(above):
            self._values.setdefault(name, []).append((human.id, above, below))
        if (human.id, target.id) in self._rows:
            self._rows[human.id, target.id][name] = above / below

    def scores(self, seed: int, settings: dict[str, Any]) -> Scores:
        figures = {name: mean_figure(values, seed) for name, values in self._values.items()}
        people = sorted(set(self._people))
        # Everybody is in one part; fewer people, fewer parts.
        part = {person: k % _PARTS for k, person in enumerate(people)}
        parts = np.array([part[person] for person in self._people])
        leave_out = [parts == k for k in range(min(_PARTS, len(people)))] if len(people) > 2 else []
        pairs = [self._truth.pairs[k] for k in range(len(self._truth.pairs))]
        photos = [pair.human for pair in sorted(pairs, key=lambda pair: pair.human_path.name)]
        count = len(self._people)
        if any(name.startswith("region/") for name in self._values):
            figures["region/realism"] = set_figure(*self._region.realism(photos, leave_out), count)
        ours, theirs = np.concatenate(self._features), self._network(photos)
        for name, distance in zip(self._network.names, (frechet, kernel)):
            if count > 1:
                without = [distance(ours[~out], theirs) for out in leave_out if (~out).sum() > 1]
                figures[name] = set_figure(distance(ours, theirs), without, count)
        # What is judged by a truth comes first.
        order = sorted(figures, key=lambda name: not name.startswith(("true/", "region/")))
        return Scores({name: figures[name] for name in order}, list(self._rows.values()), settings, self._show)

    def _show(self, row: dict[str, Any]) -> list[_Array]:
        """Human, worn, target, swap, mask, and the truth."""
        human, target = self._truth.pairs[row["human"]], self._truth.pairs[row["target"]]
        (swap,) = self.swaps([(human, target)])
        shown = [human.human, human.article, target.article, swap.image]
        shown += [] if swap.found is None else [swap.found]
        if self._with_truth:
            true, where = self._truth.swap(human, target)
            return [*shown, true, where.astype(np.uint8) * 255]
        region = self._truth.region(human)
        return shown if region is None else [*shown, region]


def _against(swap: Swapped, photo: _Array, true: _Array, where: _Array) -> dict[str, float]:
    """A swap against the true one and the mask of what that changes."""
    similarity = pictures.ssim_map(swap.image, true)
    figures = {
        "ssim": float(pictures.inside(similarity).mean()),
        "ms_ssim": pictures.ms_ssim(swap.image, true),
        "psnr": pictures.psnr(swap.image, true),
        "ssim_inside": float(similarity[where].mean()) if where.any() else float("nan"),
        "error": pictures.difference(swap.image, true, where),
        "keep": pictures.difference(swap.image, photo, ~where),
        "residual": pictures.residual(swap.image, photo, true, where),
        "error_untouched": pictures.difference(photo, true, where),
        "psnr_untouched": pictures.psnr(photo, true),
    }
    if (found := swap.found) is not None:
        figures["mask_iou"] = pictures.iou(found > 127, where)
        figures["mask_auc"] = pictures.roc_area(found, where)
    return figures


def _check(pairs: _cagan.Pairs, targets: int | None, height: int, feature_size: tuple[int, int] | None) -> None:
    if len(pairs) < 2:
        raise ValueError(f"{pairs.folder}: expected 2 pairs or more, got {len(pairs)}")
    if targets is not None and not 1 <= targets < len(pairs):
        raise ValueError(f"targets: expected 1 to {len(pairs) - 1}, one less than there are pairs, got {targets}")
    if not _LEAST_HEIGHT <= height <= _MOST_HEIGHT:
        raise ValueError(f"height: expected {_LEAST_HEIGHT} to {_MOST_HEIGHT}, got {height}")
    if feature_size is not None and not all(1 <= side <= _MOST_HEIGHT for side in feature_size):
        raise ValueError(f"feature_size: expected sides of 1 to {_MOST_HEIGHT}, got {feature_size}")


def _draw(pairs: _cagan.Pairs, wanted: int, asked: int | None, seed: int) -> list[_Row]:
    """Each person with other articles: the pair so many places further, for the same random numbers of places.

    So each article comes up equally often, but for those of the person's own group, which are passed over.
    """
    shifts = np.random.default_rng(seed).permutation(np.arange(1, len(pairs)))
    everybody, rows = [pairs[k] for k in range(len(pairs))], []
    for i, human in enumerate(everybody):
        others = (everybody[(i + int(shift)) % len(pairs)] for shift in shifts)
        strange = (other for other in others if human.group is None or other.group != human.group)
        chosen = list(itertools.islice(strange, wanted))
        if asked is not None and len(chosen) < wanted:
            raise ValueError(f"targets: expected at most {len(chosen)} for {human.id} and its group, got {wanted}")
        rows += [(human, other) for other in chosen]
    if not rows:
        raise ValueError(f"{pairs.folder}: expected pairs of two groups or more, got one")
    return rows


def _name(model: Any) -> str:
    if isinstance(model, _cagan.Swapper):
        return str(model.path)
    path = getattr(model, "path", model)
    return str(path) if isinstance(path, (str, os.PathLike)) else getattr(model, "__name__", type(model).__name__)


def _fingerprint(features: str | os.PathLike[str] | None) -> str:
    if features is None:
        return "random_features"
    return f"{features} sha256:{hashlib.sha256(Path(features).read_bytes()).hexdigest()}"
