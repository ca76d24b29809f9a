"""`cagan.evaluate`: swaps people and scores the swaps."""

import hashlib
import itertools
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import _cagan
from ..progress import work_bar
from ..settings import Which
from . import pictures
from .features import FeatureNetwork, Features, frechet, kernel, lpips_metric
from .models import Model, Swapped, arrays, made, opened
from .region import RegionScorer
from .scores import Scores, mean_figure, set_figure
from .targets import Row, drawn, listed
from .truth import Truth

__all__ = ["evaluate"]

_Array = NDArray[Any]

# Parts of the people that a distance of sets leaves out in turn, for its interval.
_PARTS = 10
# The swaps that wait for their way back, in bytes.
_PART_BYTES = 64 << 20
# At the least height, a 7 x 7 patch still fits into the smallest of three scales.
_LEAST_HEIGHT, _MOST_HEIGHT = 48, 4096


def evaluate(
    model: Model,
    pairs: _cagan.Pairs | str | os.PathLike[str],
    device: str | None = None,
    *,
    targets: int | None = None,
    listing: str | os.PathLike[str] | None = None,
    height: int = 256,
    features: str | os.PathLike[str] | None = None,
    feature_size: tuple[int, int] | None = None,
    seed: int = 0,
    which: Which | None = None,
    progress: bool | None = None,
) -> Scores:
    """Score a model's swaps by all that is known of the pairs. On a CPU the same call gives the same figures.

    Differences are in grey levels of 255. Lower is better, except for figures marked +.

    Pairs with true swaps, as `cagan.dolls` draws them: every row of `swaps/list.csv` of two of these pairs is swapped
    and compared at the photo's own size.

    - `true/ssim` + (Wang et al. 2004, gaussian window), `true/ms_ssim` + (Wang et al. 2003; fewer scales below 176
      pixels), `true/psnr` + in dB: the swap against the true one. `true/ssim_inside` +: SSIM inside the true mask.
    - `true/error`: mean difference to the true swap inside the true mask. `true/keep`: mean difference to the photo
      outside it.
    - `true/residual`: share of the pixels where photo and true swap visibly differ that are nearer to the photo.
    - `true/mask_iou` + and `true/mask_auc` +: the `mask` of what is repainted against the pixels that the worn or the
      new article takes by more than half: above one half, and as a score (area under the ROC curve).
    - `true/located_iou` +, for models that locate: `located` against the pixels that the worn article takes by more
      than half.
    - `true/flow_error`, `true/flow_error_median`, for models that warp: distance between the place in the target's
      picture that a pixel shows, by `flow`, and the true one, in pixels of that picture at height 64. Mean and median
      of the pixels that the new article takes by more than half.
    - `true/error_untouched`, `true/psnr_untouched`: the same of the unchanged photo.

    Pairs with a folder `mask/` that holds the worn garment's true region for each id: compared at `height` x 3/4
    `height`.

    - `region/mask_auc` +, `region/mask_iou` +: the mask against the region. The mask is a swap's `located`, else its
      `mask`, else its change.
    - `region/keep`: difference to the photo outside the region, which is widened by 8 pixels of 256.
    - `region/keep_free`: the same without the pixels that are repainted for the target alone, such as longer sleeves:
      the `mask` less the widened `located`. It is `region/keep` for a model without `located`.
    - `region/colour`, `region/texture`: distance of the region's colours and of its 7 x 7 patches to the target's,
      divided by that of the unchanged photo: 1 = nothing is transferred, 0 = alike. Ratios of sums.
    - `region/residual`: share of the region's pixels nearer to the worn article's palette than to the target's.
    - `region/realism`: distance between swaps and photos in patches at three scales, divided by the distance between
      photos and other photos.
    - `restored/ssim_inside` +, `restored/error_inside`: SSIM of grey pictures and mean difference inside the region,
      between the photo and the swap that is swapped back. `restored_unknown/...`: the same with the article that the
      swap wears withheld on the way back, for networks that do not need it.

    All pairs:

    - `self_swap/error`: difference between the photo and a swap with the worn article as target.
    - `restored/error`: difference between the photo and the swap that is swapped back.
    - `mask/area` (mean mask), `mask/entropy` (bits in a pixel: 0 = decided), for models with masks.
    - `<name>/fid` and `<name>/kid`, in the network of the file `features`: swaps against all photos. They are FID and
      KID in the papers' sense if the file is the papers' Inception network. `random_features/frechet` and
      `random_features/kernel`, without a file: the same distances in a small network with fixed random weights, not
      comparable to FID.
    - `lpips/self_swap`, `lpips/restored` (and `true/lpips`), if the package `lpips` and its weights are installed.

    The intervals hold 95 %: of 1,000 bootstrap draws of people with all their swaps, and for distances of sets by a
    jackknife over tenths of the people.

    The figures of a run, or of its folder, are written to `evaluation.json` in the folder too, where `cagan.export` and
    `cagan runs` read them.

    Args:
        model: A swapper, a run or its folder, a snapshot, "dolls" (the package's weights), or a function of human, worn
            and target (uint8 [H, W, 3]) that returns the swapped picture, or an object with `image` and optionally
            `mask`, `located` and `flow`.
        pairs: The pairs, or their folder. Take pairs that the model was not trained on. Pairs with `on_error="skip"`
            leave out swaps whose pictures, true swaps or regions cannot be read, and `skipped` lists them.
        device: "auto" (the default), "cpu", "cuda" or "cuda:N", or a `torch.device`, for a model that is loaded here.
        targets: Number of articles that each person puts on, drawn from `seed` without repetition. Defaults to the list
            of true swaps, or to 3 (or all, if there are fewer).
        listing: A CSV with the columns human and target, ids of the pairs: the swaps to score, in place of `targets`.
            They are compared with true swaps if there is one for each.
        height: The height of the comparisons inside regions, 48 to 4096. Figures at different heights do not compare.
        features: A feature network as TorchScript (.pt, .pth, .ts) or ONNX (.onnx, needs onnxruntime): it takes float32
            [N, 3, H, W] of 0 to 1 and returns [N, D] or [N, D, h, w].
        feature_size: Height and width of its input. Defaults to `height` x 3/4 `height`, or to the fixed size of an
            ONNX file.
        seed: Seed of the targets and of the bootstrap.
        which: The snapshot of a run, as for `cagan.Swapper`: "best" (the default), "newest" or a step.
        progress: Whether to show a progress bar; by default in a terminal and in Jupyter, and elsewhere as a line at
            most every 30 s.

    Returns:
        The scores: a mapping from names to numbers, with intervals, a table, JSON and a sheet of the worst swaps.

    Warns:
        UserWarning: Swaps were skipped, none of the true swaps is of two of these pairs, or evaluation.json could not
            be written.

    Raises:
        FileNotFoundError: Pairs, a model, a network, a true swap or a region is missing.
        ValueError: There are fewer than 2 pairs, a number is out of its range, a list is broken, a true swap or region
            has another size than its photo, or a function or network returns other shapes.
        TypeError: `model` is of another type.
        ImportError: The network is an ONNX file and onnxruntime is missing.

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
    _check(found, targets, listing, height, feature_size)
    rows, with_truth = _rows(found, truth, targets, listing, seed)
    # Sorted by file name, as in a folder of swaps: the region's draws depend on the order.
    rows.sort(key=lambda row: f"{row[0].id}__{row[1].id}.png")
    network = FeatureNetwork(features, feature_size or (height, height * 3 // 4))
    swapper = opened(model, device, which)
    session = _Session(swapper, truth, with_truth, height, network)
    with work_bar(progress, len(rows), " swaps") as bar:
        session.score(rows, bar.update)
    if session.skipped:
        first = session.skipped[0]
        text = f"{len(session.skipped)} of {len(rows)} swaps skipped; the first: {first[0]} in {first[1]}: {first[2]}"
        if len(session.skipped) == len(rows):
            raise ValueError(f"{found.folder}: expected a swap whose pictures can be read, got none; {text}")
        warnings.warn(f"{text}; `skipped` lists all", stacklevel=2)
    session.self_swaps()
    settings = {
        "model": _name(model),
        "pairs": str(found.folder or f"{len(found)} pairs"),
        "targets": targets,
        "height": height,
        "features": _fingerprint(features),
        "feature_size": list(network.size),
        "seed": seed,
        "swaps": len(rows) - len(session.skipped),
        "cagan": _cagan.system()["cagan"],
    }
    if isinstance(swapper, _cagan.Swapper):
        settings["step"] = swapper.step
    if listing is not None:
        settings["listing"] = os.fspath(listing)
    scores = session.scores(seed, settings)
    _keep(model, scores)
    return scores


def _keep(model: Model, scores: Scores) -> None:
    """Writes evaluation.json into the folder of a run."""
    path = getattr(model, "path", model)
    if isinstance(model, _cagan.Swapper) or not isinstance(path, str | os.PathLike):
        return
    if not (Path(path) / "config.json").is_file():
        return
    try:
        _cagan.write_atomically(Path(path) / "evaluation.json", (scores.to_json() + "\n").encode())
    except OSError as error:
        warnings.warn(f"{path}: evaluation.json was not written: {error}", stacklevel=3)


def _rows(
    pairs: _cagan.Pairs, truth: Truth, targets: int | None, listing: str | os.PathLike[str] | None, seed: int
) -> tuple[list[Row], bool]:
    """Returns the swaps to score, and whether true ones are known."""
    if targets is not None:
        return drawn(pairs, targets, seed), False
    true = listed(truth.listing, pairs, partly=True) if truth.listing and truth.listing.is_file() else []
    if listing is not None:
        rows = listed(Path(listing), pairs)
        known = {(human.id, target.id) for human, target in true}
        return rows, all((human.id, target.id) in known for human, target in rows)
    if true:
        return true, True
    if truth.listing and truth.listing.is_file():
        warnings.warn(f"{truth.listing}: no true swap is of two of these pairs; targets are drawn", stacklevel=3)
    return drawn(pairs, targets, seed), False


@dataclass(frozen=True)
class _Known:
    """The pictures that a swap is compared with.

    Attributes:
        photo: The person.
        true: The true swap and each pixel's share of worn and new article, if known.
        worn: Each pixel's share of the worn article, if known and the swap locates it.
        flow: The true swap's flow, if known and the swap has a flow.
        region: The worn garment's region, if known.
    """

    photo: _Array
    true: tuple[_Array, _Array] | None
    worn: _Array | None
    flow: _Array | None
    region: _Array | None


@dataclass(frozen=True)
class _Show:
    """Shows a scored swap. It can be pickled if the model can."""

    model: Any
    truth: Truth
    with_truth: bool

    def known(self, row: Row, swap: Swapped) -> _Known:
        """Reads the pictures that a swap is compared with.

        Raises:
            FileNotFoundError: A file is missing.
            ValueError: A file is broken or has another size than the photo.
        """
        human, target = row
        photo = human.human
        true = self.truth.swap(human, target, photo) if self.with_truth else None
        worn = self.truth.worn(human, photo) if self.with_truth and swap.located is not None else None
        flow = self.truth.flow(human, target, photo) if self.with_truth and swap.flow is not None else None
        return _Known(photo, true, worn, flow, self.truth.region(human, photo))

    def __call__(self, row: dict[str, Any]) -> list[_Array]:
        """Returns human, worn, target, swap, mask, and the truth."""
        human, target = self.truth.pairs[row["human"]], self.truth.pairs[row["target"]]
        (swap,) = made(self.model, [human.human_source], [human.article_source], [target.article_source])
        assert not isinstance(swap, Exception), "it was made before"
        swap = arrays(swap)
        known = self.known((human, target), swap)
        shown = [known.photo, human.article, target.article, swap.image]
        if known.true is not None:
            shown += [] if swap.mask is None else [swap.mask]
            return [*shown, *known.true]
        shown += [] if swap.found is None else [swap.found]
        return shown if known.region is None else [*shown, known.region]


class _Session:
    """One evaluation: swaps, and gathers their numbers. Few pictures are in memory at once."""

    def __init__(self, model: Any, truth: Truth, with_truth: bool, height: int, network: FeatureNetwork) -> None:
        self._model, self._truth, self._network = model, truth, network
        self._show = _Show(model, truth, with_truth)
        self._skips = truth.pairs.on_error == "skip"
        self._lpips = lpips_metric()
        self._region = RegionScorer(height)
        # Name -> (person, numerator, denominator) of each swap that has the figure.
        self._values: dict[str, list[tuple[str, float, float]]] = {}
        self._rows: dict[tuple[str, str], dict[str, Any]] = {}
        self._features = Features(network)
        # The person of each scored swap.
        self._scored: list[_cagan.Pair] = []
        self.skipped: list[tuple[str, str, str]] = []

    def _swaps(self, rows: list[Row]) -> "Iterator[Swapped | _cagan.Swap | Exception]":
        """Swaps the rows."""
        return made(
            self._model,
            (human.human_source for human, _ in rows),
            (human.article_source for human, _ in rows),
            (target.article_source for _, target in rows),
            skip=self._skips,
        )

    def score(self, rows: list[Row], update: Callable[[int], object]) -> None:
        """Swaps the rows, swaps the results back, notes the figures of both, and counts the rows that are done."""
        optional = isinstance(self._model, _cagan.Swapper) and not self._model.needs_worn
        withholds = optional and any(self._truth.has_region(human) for human, _ in rows)
        for part in self._parts(rows, update):
            self._score_part(part, withholds, update)

    def _parts(
        self, rows: list[Row], update: Callable[[int], object]
    ) -> "Iterator[list[tuple[Row, Swapped | _cagan.Swap]]]":
        """Swaps the rows in parts of which each waits for its way back as a whole."""
        part, held = [], 0
        for row, swap in zip(rows, self._swaps(rows)):
            if isinstance(swap, Exception):
                self._skip(row, swap)
                update(1)
                continue
            part.append((row, swap))
            held += swap.image.nbytes
            if held >= _PART_BYTES:
                yield part
                part, held = [], 0
        yield part

    def _score_part(
        self, part: "list[tuple[Row, Swapped | _cagan.Swap]]", withholds: bool, update: Callable[[int], object]
    ) -> None:
        images = [swap.image for _, swap in part]
        worn, targets = [row[1].article_source for row, _ in part], [row[0].article_source for row, _ in part]
        back = made(self._model, images, worn, targets, skip=self._skips)
        # The worn article withheld.
        unknown: Iterable[Swapped | _cagan.Swap | Exception | None] = itertools.repeat(None)
        if withholds:
            unknown = made(self._model, images, None, targets, skip=self._skips)
        for (row, kept), restored, without in zip(part, back, unknown):
            swap = arrays(kept)
            update(1)
            try:
                if isinstance(restored, Exception):
                    raise restored
                if isinstance(without, Exception):
                    raise without
                known = self._show.known(row, swap)
                compared = known.region is not None or known.flow is not None
                articles = (row[0].article, row[1].article) if compared else None
                if known.region is not None and not self._region.sees(known.region):
                    raise ValueError(f"mask of {row[0].id}: expected a region above 127 somewhere, got none")
            except (OSError, ValueError) as error:
                if not self._skips:
                    raise
                self._skip(row, error)
                continue
            self._features.add(swap.image)
            self._scored.append(row[0])
            self._rows[row[0].id, row[1].id] = {"human": row[0].id, "target": row[1].id}
            self._score_one(row, swap, known, articles)
            self._compare(row, "restored", restored.image, known.photo)
            self._compare_inside(row, "restored", restored.image, known)
            if without is not None:
                self._compare_inside(row, "restored_unknown", without.image, known)

    def _skip(self, row: Row, error: Exception) -> None:
        self.skipped.append((row[0].id, row[1].id, str(error)))

    def _score_one(self, row: Row, swap: Swapped, known: _Known, articles: "tuple[_Array, _Array] | None") -> None:
        human, target = row
        if swap.mask is not None:
            self._note(row, "mask/area", float(swap.mask.mean()) / 255)
            self._note(row, "mask/entropy", pictures.entropy(swap.mask))
        if known.true is not None:
            true, share = known.true
            figures = _against(swap, known.photo, true, share)
            if swap.located is not None and known.worn is not None:
                figures["located_iou"] = pictures.iou(swap.located > 127, known.worn > 127)
            if swap.flow is not None and known.flow is not None and articles is not None:
                apart = pictures.flow_errors(swap.flow, known.flow, articles[1].shape[:2])
                figures["flow_error"] = float(apart.mean()) if apart.size else float("nan")
                figures["flow_error_median"] = float(np.median(apart)) if apart.size else float("nan")
            for name, value in figures.items():
                self._note(row, f"true/{name}", value)
            if self._lpips and min(known.photo.shape[:2]) > 31:
                self._note(row, "true/lpips", self._lpips(swap.image, true))
        if known.region is not None and articles is not None:
            worn, goal = (human.id, articles[0]), (target.id, articles[1])
            painted = None if swap.mask is None or swap.located is None else (swap.mask, swap.located)
            parts = self._region.score(known.photo, worn, goal, swap.image, swap.found, known.region, painted)
            for name, (numerator, denominator) in parts.items():
                self._note(row, f"region/{name}", numerator, denominator)

    def self_swaps(self) -> None:
        """Swaps each person with the worn article as target."""
        people = list({human.id: human for human in self._scored}.values())
        for human, swap in zip(people, self._swaps([(human, human) for human in people])):
            if isinstance(swap, Exception):
                # It was read a moment ago.
                raise swap
            self._compare((human, human), "self_swap", swap.image, human.human)

    def _compare(self, row: Row, name: str, image: _Array, photo: _Array) -> None:
        self._note(row, f"{name}/error", pictures.difference(image, photo))
        if self._lpips and min(photo.shape[:2]) > 31:
            self._note(row, f"lpips/{name}", self._lpips(image, photo))

    def _compare_inside(self, row: Row, name: str, image: _Array, known: _Known) -> None:
        if known.region is not None:
            for figure, value in self._region.inside(known.photo, image, known.region).items():
                self._note(row, f"{name}/{figure}", value)

    def _note(self, row: Row, name: str, numerator: float, denominator: float = 1.0) -> None:
        human, target = row
        if not np.isnan(numerator):
            self._values.setdefault(name, []).append((human.id, numerator, denominator))
        if (human.id, target.id) in self._rows:
            self._rows[human.id, target.id][name] = numerator / denominator

    def _photos(self, features: Features) -> Iterator[_Array]:
        """Reads the photos one by one, in the order of their names, and adds their features."""
        pairs = [self._truth.pairs[k] for k in range(len(self._truth.pairs))]
        names = {pair.id: pair.id if pair.human_path is None else pair.human_path.name for pair in pairs}
        for pair in sorted(pairs, key=lambda pair: names[pair.id]):
            try:
                photo = pair.human
            except (OSError, ValueError):
                if not self._skips:
                    raise
                continue
            features.add(photo)
            yield photo

    def scores(self, seed: int, settings: dict[str, Any]) -> Scores:
        """Sums up the figures."""
        figures = {name: mean_figure(values, seed) for name, values in self._values.items()}
        people = sorted({human.id for human in self._scored})
        # Each person is in one part.
        part = {person: k % _PARTS for k, person in enumerate(people)}
        parts = np.array([part[human.id] for human in self._scored])
        leave_out = [parts == k for k in range(min(_PARTS, len(people)))] if len(people) > 2 else []
        count = len(self._scored)
        features = Features(self._network)
        photos = self._photos(features)
        if any(name.startswith("region/") for name in self._values):
            figures["region/realism"] = set_figure(*self._region.realism(photos, leave_out), count)
        else:
            deque(photos, maxlen=0)
        ours, theirs = self._features.rows(), features.rows()
        for name, distance in zip(self._network.names, (frechet, kernel)):
            if count > 1:
                without = [distance(ours[~out], theirs) for out in leave_out if (~out).sum() > 1]
                figures[name] = set_figure(distance(ours, theirs), without, count)
        # Figures against a truth come first.
        order = sorted(figures, key=lambda name: not name.startswith(("true/", "region/")))
        rows = list(self._rows.values())
        return Scores({name: figures[name] for name in order}, rows, settings, self._show, self.skipped)


def _against(swap: Swapped, photo: _Array, true: _Array, share: _Array) -> dict[str, float]:
    """Compares a swap with the true one and with each pixel's share of worn and new article."""
    where = share > 0
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
    if swap.mask is not None:
        figures["mask_iou"] = pictures.iou(swap.mask > 127, share > 127)
        figures["mask_auc"] = pictures.roc_area(swap.mask, share > 127)
    return figures


def _check(
    pairs: _cagan.Pairs,
    targets: int | None,
    listing: str | os.PathLike[str] | None,
    height: int,
    feature_size: tuple[int, int] | None,
) -> None:
    if targets is not None and listing is not None:
        raise ValueError(f"listing: expected targets or a listing, got both {targets} and {os.fspath(listing)}")
    if len(pairs) < 2:
        raise ValueError(f"{pairs.folder or 'pairs'}: expected 2 pairs or more, got {len(pairs)}")
    if targets is not None and not 1 <= targets < len(pairs):
        raise ValueError(f"targets: expected 1 to {len(pairs) - 1}, one less than there are pairs, got {targets}")
    if not _LEAST_HEIGHT <= height <= _MOST_HEIGHT:
        raise ValueError(f"height: expected {_LEAST_HEIGHT} to {_MOST_HEIGHT}, got {height}")
    if feature_size is not None and not all(1 <= side <= _MOST_HEIGHT for side in feature_size):
        raise ValueError(f"feature_size: expected sides of 1 to {_MOST_HEIGHT}, got {feature_size}")


def _name(model: Any) -> str:
    if isinstance(model, _cagan.Swapper):
        return str(model.path)
    path = getattr(model, "path", model)
    return str(path) if isinstance(path, (str, os.PathLike)) else getattr(model, "__name__", type(model).__name__)


def _fingerprint(features: str | os.PathLike[str] | None) -> str:
    if features is None:
        return "random_features"
    return f"{features} sha256:{hashlib.sha256(Path(features).read_bytes()).hexdigest()}"
