"""Figures of pictures: swaps in a grid, triplets, masks, before and after, and a film of one swap."""

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

from .. import _cagan
from ..runs import Run

# Pixels of an inch, more than any page prints.
_FINEST = 300

__all__ = ["before_after", "film", "mask_overlay", "swap_grid", "triplet_sheet"]

Picture: TypeAlias = str | os.PathLike[str] | NDArray[np.uint8] | _cagan.Swap | Any
Model: TypeAlias = _cagan.Swapper | str | os.PathLike[str]


class ShownFigure(Figure):
    """A figure that a notebook shows without pyplot, in few bytes, so that notebooks stay small in a repository."""

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict[str, bytes], dict[str, dict[str, str]]]:
        file = io.BytesIO()
        self.savefig(file, format="png", bbox_inches="tight", dpi=80)
        picture, out = Image.open(file).convert("RGB"), io.BytesIO()
        # Curves need few colours, pictures many.
        if not any(axes.images for axes in self.axes):
            picture.quantize(64, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
            kind = "image/png"
        else:
            picture.save(out, "JPEG", quality=85)
            kind = "image/jpeg"
        words = self._words()
        return {kind: out.getvalue()}, {kind: {"alt": words}} if words else {}

    def _words(self) -> str:
        """The titles and legends, for who does not see the figure."""
        parts = []
        for axes in self.axes:
            legend = axes.get_legend()
            labels = ", ".join(text.get_text() for text in legend.get_texts()) if legend else ""
            parts.append(": ".join(filter(None, (axes.get_title(), labels))))
        return "; ".join(filter(None, parts))


def swap_grid(
    model: Model,
    people: Sequence[_cagan.Pair],
    articles: Sequence[_cagan.Pair | Picture],
    *,
    masks: bool = False,
    cell: float = 1.2,
) -> Figure:
    """Plot each person in each article: people along the top with their worn articles, articles down the left.

    Args:
        model: A run, a run's folder, a snapshot or a swapper.
        people: At least one pair, whose human puts on the articles; `cagan.Pairs` is a sequence of pairs.
        articles: At least one pair, whose article is put on, or product picture.
        masks: Whether each swap's mask stands beside it.
        cell: A picture's height in inches.

    Returns:
        The figure, of 1 + len(articles) rows.

    Raises:
        ValueError: There are no people or no articles.
        FileNotFoundError: The model or a picture is missing.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/first", "smoke", steps=4, progress=False)
        >>> figure = cagan.plots.swap_grid(run, [pairs[0], pairs[1]], [pairs[2], pairs[3], pairs[4]])
        >>> len(figure.axes)
        20
    """
    people, articles = list(people), list(articles)
    _expect("people", people, "one pair at least")
    _expect("articles", articles, "one article at least")
    targets = [article.article_source if isinstance(article, _cagan.Pair) else article for article in articles]
    swaps = swapper_of(model).stream(
        [pair.human_source for pair in people] * len(targets),
        [pair.article_source for pair in people] * len(targets),
        [_given(target) for target in targets for _ in people],
    )
    # A photo of a camera is far larger than its place.
    most = math.ceil(cell * _FINEST)
    top: list[NDArray[Any] | None] = [None]
    for pair in people:
        top += [_shrunk(pair.human, most), _shrunk(pair.article, most)]
    rows = [top]
    for target in targets:
        row: list[NDArray[Any] | None] = [_shrunk(pixels("articles", target), most)]
        for _ in people:
            swap = next(swaps)
            row += [_shrunk(swap.image, most), _shrunk(swap.mask, most) if masks else None]
        rows.append(row)
    return table(rows, cell=cell)


def _shrunk(picture: NDArray[np.uint8], height: int) -> NDArray[np.uint8]:
    """Returns a picture of at most twice the height, which takes less memory than a larger one."""
    if picture.shape[0] <= 2 * height:
        return picture
    size = (max(1, round(picture.shape[1] * height / picture.shape[0])), height)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BOX))


def triplet_sheet(
    triplets: Sequence[tuple[Picture, Picture, Picture]],
    swaps: Sequence[_cagan.Swap] | None = None,
    *,
    cell: float = 1.2,
) -> Figure:
    """Plot human, worn and target article, a row for each triplet, and their swaps beside them.

    Args:
        triplets: At least one (human, worn, target).
        swaps: A swap for each triplet, whose picture, mask and paint join the row.
        cell: A picture's height in inches.

    Raises:
        ValueError: There are no triplets, or the number of swaps differs from theirs.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=4)
        >>> one = (pairs[0].human, pairs[0].article, pairs[1].article)
        >>> [axes.get_title() for axes in cagan.plots.triplet_sheet([one]).axes]
        ['human', 'worn', 'target']
    """
    triplets = list(triplets)
    _expect("triplets", triplets, "one triplet at least")
    if swaps is not None and len(swaps) != len(triplets):
        raise ValueError(f"swaps: expected as many as triplets ({len(triplets)}), got {len(swaps)}")
    titles, rows = ["human", "worn", "target"], []
    for k, triplet in enumerate(triplets):
        row: list[NDArray[Any] | None] = [pixels(f"triplets[{k}]", picture) for picture in triplet]
        if swaps is not None:
            row += [swaps[k].image, swaps[k].mask, swaps[k].paint]
        rows.append(row)
    if swaps is not None:
        titles += ["swap", "mask", "paint"]
    return table(rows, titles=titles, cell=cell)


def mask_overlay(
    human: Picture, mask: Picture, *, colour: str = "magenta", opacity: float = 0.6, cell: float = 2.5
) -> Figure:
    """Plot a photo with a mask over it in a colour.

    Args:
        human: The photo.
        mask: A swap, or an array [H, W] of the photo's size, 255 = repainted.
        colour: Any colour of matplotlib.
        opacity: The colour's opacity where the mask is 255, 0 to 1.
        cell: The picture's height in inches.

    Raises:
        ValueError: The mask has another size than the photo, the opacity is out of its range, or the colour is unknown.

    Example:
        >>> import cagan
        >>> pair = cagan.dolls("data/dolls", count=4)[0]
        >>> figure = cagan.plots.mask_overlay(pair.human, pair.human[..., 0])
        >>> figure.axes[0].images[0].get_array().shape == pair.human.shape
        True
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity: expected 0 to 1, got {opacity}")
    level = mask.mask if isinstance(mask, _cagan.Swap) else pixels("mask", mask)
    return table([[_overlaid(pixels("human", human), level, colour, opacity)]], cell=cell)


def _overlaid(photo: NDArray[np.uint8], level: NDArray[np.uint8], colour: str, opacity: float) -> NDArray[np.uint8]:
    """Lays a mask over a photo."""
    level = level[..., 0] if level.ndim == 3 else level
    if level.shape != photo.shape[:2]:
        raise ValueError(f"mask: expected the photo's size {photo.shape[:2]}, got {level.shape}")
    share = level[..., None] / 255 * opacity
    mixed = share * np.array(to_rgb(colour)) * 255 + (1 - share) * photo
    laid: NDArray[np.uint8] = np.rint(mixed).astype(np.uint8)
    return laid


def before_after(
    human: Picture,
    swap: Picture,
    worn: Picture | None = None,
    target: Picture | None = None,
    *,
    mask: bool = False,
    cell: float = 2.5,
) -> Figure:
    """Plot the photo and the swap side by side, with their articles if given.

    Args:
        human: The photo.
        swap: The swap.
        worn: The article in the photo.
        target: The article in the swap.
        mask: Whether the photo stands there once more, with the mask of the swap over it; needs a `Swap`.
        cell: A picture's height in inches.

    Raises:
        TypeError: A mask is asked for, and the swap is a picture without one.

    Example:
        >>> import cagan
        >>> pair = cagan.dolls("data/dolls", count=4)[0]
        >>> [axes.get_title() for axes in cagan.plots.before_after(pair.human, pair.human).axes]
        ['before', 'after']
    """
    repainted = None
    if mask:
        if not isinstance(swap, _cagan.Swap):
            raise TypeError(f"swap: expected a Swap for mask=True, got {type(swap).__name__}")
        repainted = _overlaid(pixels("human", human), swap.mask, "magenta", 0.6)
    shown = {"worn": worn, "before": human, "after": swap, "repainted": repainted, "target": target}
    shown = {name: picture for name, picture in shown.items() if picture is not None}
    return table([[pixels(name, picture) for name, picture in shown.items()]], titles=list(shown), cell=cell)


def film(
    run: str | os.PathLike[str],
    human: Picture,
    worn: Picture,
    target: Picture,
    path: str | os.PathLike[str],
    *,
    frame_s: float = 0.4,
    height: int = 256,
    device: str | None = None,
) -> Path:
    """Write one swap over the course of a run, a frame for each snapshot: an animated GIF, or a PNG strip of frames.

    Args:
        run: A run, or its folder.
        human: The photo.
        worn: The worn article.
        target: The article to put on.
        path: The file to write: `.gif`, or `.png` for the strip, first frame at the left.
        frame_s: Seconds that a frame of the GIF stays; the last one stays four times as long.
        height: The largest height in pixels; a taller photo is shrunk.
        device: The device of the swaps, as for `cagan.Swapper`.

    Returns:
        The path. In a notebook `IPython.display.Image(path)` plays it.

    Raises:
        ValueError: The run has no snapshots, a time or a height is not above 0, or the ending is unknown.
        FileNotFoundError: The run or a picture is missing.
        OSError: The file cannot be written.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/film", "smoke", steps=4, snapshot_every=2, progress=False)
        >>> cagan.plots.film(run, pairs[0].human, pairs[0].article, pairs[1].article, "swap.gif").name
        'swap.gif'
    """
    out = Path(path)
    if out.suffix not in (".gif", ".png"):
        raise ValueError(f"path: expected a name that ends in .gif or .png, got {out}")
    for name, value in (("frame_s", frame_s), ("height", height)):
        if not value > 0:
            raise ValueError(f"{name}: expected above 0, got {value}")
    snapshots = run_of(run).snapshots
    if not snapshots:
        raise ValueError(f"{run_of(run).path}: expected a run with snapshots, got none")
    pictures = [_given(picture) for picture in (human, worn, target)]
    frames = []
    for snapshot in snapshots:
        frame = Image.fromarray(_cagan.Swapper(snapshot, device).swap(*pictures).image)
        if frame.height > height:
            frame = frame.resize((max(1, round(frame.width * height / frame.height)), height))
        frames.append(frame)
    if out.suffix == ".png":
        Image.fromarray(np.concatenate([np.asarray(frame) for frame in frames], 1)).save(out)
        return out
    durations = [round(1000 * frame_s)] * len(frames)
    durations[-1] *= 4
    # Each frame keeps its own palette: a common one would be the first frame's, which is mostly grey.
    frames[0].save(out, save_all=True, append_images=frames[1:], duration=durations, loop=0)
    return out


def table(
    rows: Sequence[Sequence[NDArray[Any] | None]], *, titles: Sequence[str] | None = None, cell: float = 1.2
) -> Figure:
    """Plots pictures in rows and columns, without ticks; None leaves a place empty."""
    if not cell > 0:
        raise ValueError(f"cell: expected a height in inches above 0, got {cell}")
    columns = max(map(len, rows))
    first = next(picture for row in rows for picture in row if picture is not None)
    breadth = cell * min(2.0, max(0.5, first.shape[1] / first.shape[0]))
    figure = ShownFigure(figsize=(breadth * columns, cell * len(rows) + (0.3 if titles else 0)), layout="constrained")
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)  # type: ignore[call-arg]  # the constrained engine's
    places = figure.subplots(len(rows), columns, squeeze=False)
    for line, row in zip(places, rows):
        for number, axes in enumerate(line):
            picture = row[number] if number < len(row) else None
            show(axes, picture)
    for axes, title in zip(places[0], titles or ()):
        axes.set_title(title, fontsize=9)
    return figure


def show(axes: Axes, picture: NDArray[Any] | None) -> None:
    """Draws a picture without ticks; masks are grey."""
    axes.set_axis_off()
    if picture is not None:
        axes.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")


def pixels(name: str, picture: Picture) -> NDArray[np.uint8]:
    """Returns a picture as uint8: [H, W, 3], or [H, W] if it is grey.

    Raises:
        TypeError: `picture` is of another type.
        ValueError: The array has another shape or type, or the file cannot be decoded.
    """
    if isinstance(picture, _cagan.Swap):
        return picture.image
    if isinstance(picture, str | os.PathLike):
        return _cagan.read_picture(picture)
    if isinstance(picture, Image.Image):
        return np.asarray(picture.convert("L" if picture.mode in ("1", "L") else "RGB"))
    if not isinstance(picture, np.ndarray):
        raise TypeError(
            f"{name}: expected a path, a PIL picture, a uint8 array or a Swap, got {type(picture).__name__}"
        )
    if picture.dtype != np.uint8 or not (picture.ndim == 2 or (picture.ndim == 3 and picture.shape[2] == 3)):
        raise ValueError(
            f"{name}: expected uint8 of shape [H, W, 3] or [H, W], got {picture.dtype} of {list(picture.shape)}"
        )
    return picture


def _given(picture: Picture) -> Any:
    """Returns a picture as `Swapper.swap` takes it."""
    return picture.image if isinstance(picture, _cagan.Swap) else picture


def swapper_of(model: Model) -> _cagan.Swapper:
    """Returns the swapper of a run, a folder, a file or a swapper."""
    return model if isinstance(model, _cagan.Swapper) else _cagan.Swapper(model)


def run_of(run: str | os.PathLike[str]) -> Run:
    """Returns the run of a run or its folder."""
    return run if isinstance(run, Run) else Run(run)


def _expect(name: str, given: Sequence[Any], wanted: str) -> None:
    if not given:
        raise ValueError(f"{name}: expected {wanted}, got none")
