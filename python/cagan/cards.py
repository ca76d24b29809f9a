"""Cards of models: what they are, how they are used, samples, scores, settings."""

import json
from pathlib import Path

from . import _cagan
from .about import info
from .evaluation.scores import Figure, read_figures, table
from .evaluation.verdict import verdict

__all__ = ["figures_of", "model_card", "use_of_file"]

_PAPER = "a Conditional Analogy GAN (Jetchev & Bergmann, arXiv 1709.04695)"
_KINDS = {
    "paper": _PAPER,
    "vasily": _PAPER,
    "kisekae": "it locates the worn article, places the target, warps and paints it",
}


def model_card(swapper: _cagan.Swapper, run_dir: Path | None, name: str, use: list[str], sample: str | None) -> str:
    """Writes the card of a model.

    Args:
        swapper: The model.
        run_dir: The folder of the run that it is of, whose data and scores are told.
        name: The card's title.
        use: Lines that show how the model is used.
        sample: The name of the run's newest sample grid beside the card, if it has one.

    Raises:
        ValueError: `evaluation.json` of the run holds no figures.
    """
    config = swapper.config
    height, width = config.image_size
    lines = [
        f"# {name}",
        "",
        f"Puts a fashion article on the photo of a person: {_KINDS[config.architecture]},",
        f"trained with cagan {info()['cagan']} from pairs of a person and the product picture of the worn article.",
        "",
        "| | |",
        "| --- | --- |",
        f"| architecture | {config.architecture} |",
        f"| pictures | {height} x {width} (height x width) |",
        f"| step | {swapper.step} |",
        *_data(run_dir),
        f"| config | `{config!r}` |",
        "",
        "## Use",
        "",
        *use,
        "",
    ]
    if sample is not None:
        text = "People along the top with their worn articles, articles down the left, each swap beside its mask."
        lines += ["## Samples", "", f"![{text}]({sample})", "", text, ""]
    figures = figures_of(run_dir)
    if figures:
        lines += ["## Scores", "", verdict(figures), "", "Figures of `cagan.evaluate`:", ""]
        lines += [table(figures, markdown=True), ""]
    lines += ["## Settings", "", "| setting | value | source |", "| --- | --- | --- |"]
    values = config.to_dict()
    lines += [f"| {name} | `{json.dumps(values[name])}` | {source} |" for name, source in config.sources().items()]
    return "\n".join(lines) + "\n"


def _data(run_dir: Path | None) -> list[str]:
    """Reads number and fingerprint of the pairs from the run's newest checkpoint."""
    checkpoints = sorted((run_dir / "checkpoints").glob("step_*.safetensors")) if run_dir else []
    if not checkpoints:
        return []
    header = _cagan.read_header(checkpoints[-1])
    return [f"| pairs | {header['pairs']} |", f"| data fingerprint | `{header['data']}` |"]


def figures_of(run_dir: Path | None) -> dict[str, Figure]:
    """Reads the figures of a run that was scored; none without a run or a file.

    Raises:
        ValueError: `evaluation.json` holds something else.
    """
    path = run_dir / "evaluation.json" if run_dir else None
    return read_figures(path) if path is not None and path.is_file() else {}


def use_of_file(out: Path, config: _cagan.Config, key: str) -> list[str]:
    """Shows how an exported file is used; `key` is the entry of its metadata that describes it."""
    height, width = config.image_size
    fixed = config.architecture == "kisekae"
    best = "all of" if fixed else "best at"
    contract = (
        f"`human`, `worn` and `target` are float32 of [N, 3, H, W], RGB, values of 0 to 1, {best} {height} x {width}: "
        f"photos fitted by `{config.human_fit}`, articles by `{config.article_fit}`. `image` is the swap, `mask` the "
        f"repainted region, `paint` the colours proposed for it; the metadata's entry `{key}` describes the rest."
    )
    if fixed:
        contract += " A `worn` of one colour means that the worn article is unknown."
    code = {
        ".onnx": [
            *_preprocess(config, "{}"),
            "",
            "import onnxruntime",
            f'session = onnxruntime.InferenceSession("{out.name}")',
            'image, mask, paint = session.run(None, {"human": human, "worn": worn, "target": target})',
        ],
        ".pt2": [
            *_preprocess(config, "torch.from_numpy({})"),
            "",
            f'image, mask, paint = torch.export.load("{out.name}").module()(human, worn, target)',
        ],
        ".pt": [
            *_preprocess(config, "torch.from_numpy({})"),
            "",
            f'image, mask, paint = torch.jit.load("{out.name}")(human, worn, target)',
        ],
        ".safetensors": [
            "import cagan",
            f'swap = cagan.Swapper("{out.name}").swap("human.jpg", "worn.jpg", "target.jpg")',
        ],
    }[out.suffix]
    if out.suffix == ".safetensors":
        contract = (
            "Pictures have any size, and the swap has the photo's. `cagan/torch_module.py` reads the file with torch "
            "and safetensors alone."
        )
        return ["```python", *code, "```", "", contract]
    return ["```python", *code, "```", "", contract, "", _EDGES.format(height=height, width=width)]


# How a file differs from a swapper.
_EDGES = (
    "`cagan.Swapper` does more at the edges than this file. It swaps a photo of any size: the mask is enlarged along "
    "the photo's own edges, pixels outside the mask keep their bytes, and so does what the fit cut off. This file "
    "returns {height} x {width} pixels of the fitted photo, with edges as coarse as that."
)


def _preprocess(config: _cagan.Config, array: str) -> list[str]:
    """Code that reads pictures as the file takes them."""
    height, width = config.image_size
    fits = {"human": config.human_fit, "worn": config.article_fit, "target": config.article_fit}
    return [
        "import numpy as np",
        *(["import torch"] if "torch" in array else []),
        "from PIL import Image, ImageOps",
        "",
        "def preprocess(path, fit):",
        "    picture = ImageOps.exif_transpose(Image.open(path)).convert('RGB')",
        f"    size, bilinear = ({width}, {height}), Image.Resampling.BILINEAR",
        "    if fit == 'crop':",
        "        picture = ImageOps.fit(picture, size, bilinear)",
        "    elif fit == 'pad':  # bars in the colour of the border",
        "        picture = ImageOps.pad(picture, size, bilinear, picture.getpixel((0, 0)))",
        "    values = np.asarray(picture.resize(size, bilinear), np.float32) / 255",
        f"    return {array.format('values.transpose(2, 0, 1)[None].copy()')}",
        "",
        *(f'{name} = preprocess("{name}.jpg", "{fit}")' for name, fit in fits.items()),
    ]
