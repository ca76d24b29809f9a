"""A trained generator for other programs: ONNX, torch.export, TorchScript, safetensors, each with a model card."""

import contextlib
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _cagan
from .runs import Run, info

if TYPE_CHECKING:
    import torch

    from .torch_module import Generator

__all__ = ["export"]

_INPUTS = ("human", "worn", "target")
_OUTPUTS = ("image", "mask", "paint")
# The entry that holds the description, in every format.
_KEY = "cagan.json"


def export(model: _cagan.Swapper | str | os.PathLike[str], path: str | os.PathLike[str]) -> Path:
    """Write a trained generator for other programs, and a model card beside it.

    All but the safetensors file hold the whole swap: they take `human`, `worn` and `target`, float32 of [N, 3, H, W]
    (RGB), values of 0 to 1, and give `image`, `mask` ([N, 1, H, W], 1 = repainted) and `paint` of the same range. N is
    free, and so are H and W where the networks' halvings divide them; the size of training swaps best. Of kisekae, H
    and W are those of training: how far its masks grow depends on them. A `worn` of one colour tells it that the worn
    article is not known; the paint is of that size, where `cagan.Swapper` warps the article at the photo's own. What a
    caller has to do before is described in the file's metadata under `cagan.json`, with the config.

    Beside `model.onnx` stand the card `model.md` and, where the model is of a run with sample grids, `model.png`. The
    card has the scores of an `evaluation.json` in the run's folder (`cagan evaluate RUN DOLLS --json`). Needs
    `pip install 'cagan[export]'`.

    Args:
        model: A run, a run's folder (its newest snapshot), a snapshot or a swapper.
        path: What to write; its ending decides: `.onnx`, `.pt2` (`torch.export.load`), `.pt` (TorchScript, which torch
            means to drop: `torch.jit.load`) or `.safetensors` (a snapshot, for `cagan.Swapper` and
            `cagan.torch_module.load`).

    Returns:
        The path.

    Raises:
        FileNotFoundError: For a model or a folder that is not there.
        ValueError: For another ending, an architecture that cannot be exported, a damaged snapshot, or an
            `evaluation.json` that holds no scores.
        ImportError: What the format needs is not installed.
        OSError: Where a file cannot be written.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/first", "smoke", steps=4, progress=False)
        >>> cagan.export(run, "model.safetensors").name
        'model.safetensors'
        >>> import torch
        >>> module = cagan.torch_module.load("model.safetensors")
        >>> image, mask, paint = module(*torch.rand(3, 2, 3, 64, 64))
        >>> image.shape, mask.shape
        (torch.Size([2, 3, 64, 64]), torch.Size([2, 1, 64, 64]))
    """
    out = Path(path)
    if out.suffix not in _FORMATS:
        raise ValueError(f"path: expected a name that ends in {', '.join(_FORMATS)}, got {out}")
    if not out.parent.is_dir():
        raise FileNotFoundError(f"{out.parent}: no such folder")
    if not isinstance(model, _cagan.Swapper):
        model = _cagan.Swapper(model, "cpu")
    run = _run_of(model.path)
    card = _card(model, run, out)
    _cagan.write_atomically(out, _FORMATS[out.suffix](model))
    if run is not None and run.samples:
        _cagan.write_atomically(out.with_suffix(".png"), run.samples[-1].read_bytes())
    _cagan.write_atomically(out.with_suffix(".md"), card.encode())
    return out


def _run_of(snapshot: Path) -> Run | None:
    """The run that a snapshot lies in."""
    folder = snapshot.resolve().parents[1]
    return Run(folder) if (folder / "config.json").is_file() else None


def description(swapper: _cagan.Swapper, module: "Generator") -> dict[str, Any]:
    """What a file's metadata tell: where it comes from, and what goes in and comes out."""
    config = swapper.config
    return {
        "cagan": info()["cagan"],
        "step": swapper.step,
        "preprocessing": {
            "layout": "NCHW",
            "channels": "RGB",
            "range": [0, 1],
            "image_size": list(config.image_size),
            "multiple": module.multiple,
            "resizable": module.resizable,
            "resize": "bilinear, averaged when shrinking",
            "human_fit": config.human_fit,
            "article_fit": config.article_fit,
        },
        "inputs": list(_INPUTS),
        "outputs": list(_OUTPUTS),
        "config": config.to_dict(),
    }


# The formats: a swapper to a file's bytes.


def _onnx(swapper: _cagan.Swapper) -> bytes:
    with _needs("onnx", "onnxscript"):
        import onnx
        import onnxscript  # noqa: F401  # torch needs it
    program, told = _exported(swapper)
    with _quiet():
        import torch

        done = torch.onnx.export(
            program, input_names=list(_INPUTS), output_names=list(_OUTPUTS), dynamo=True, verbose=False
        )
        assert done is not None
        proto = done.model_proto
    onnx.helper.set_model_props(proto, {_KEY: told})
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString()
    return content


def _pt2(swapper: _cagan.Swapper) -> bytes:
    program, told = _exported(swapper)
    import torch

    file = io.BytesIO()
    with _quiet():
        torch.export.save(program, file, extra_files={_KEY: told})
    return file.getvalue()


def _torchscript(swapper: _cagan.Swapper) -> bytes:
    module, told = _module(swapper)
    import torch

    file = io.BytesIO()
    with _quiet():
        # The graph depends on no size that is free, so that what was traced holds for all.
        traced = torch.jit.trace(module, _example(swapper, module))  # type: ignore[no-untyped-call]  # torch's
        torch.jit.save(traced, file, _extra_files={_KEY: told})
    return file.getvalue()


def _safetensors(swapper: _cagan.Swapper) -> bytes:
    return swapper.path.read_bytes()


_FORMATS: dict[str, Callable[[_cagan.Swapper], bytes]] = {
    ".onnx": _onnx,
    ".pt2": _pt2,
    ".pt": _torchscript,
    ".safetensors": _safetensors,
}


def _module(swapper: _cagan.Swapper) -> "tuple[Generator, str]":
    with _needs("safetensors"):
        import safetensors  # noqa: F401  # its absence is told here
    from .torch_module import load

    module = load(swapper.path).requires_grad_(False)
    return module, json.dumps(description(swapper, module))


def _example(swapper: _cagan.Swapper, module: "Generator") -> "tuple[torch.Tensor, ...]":
    import torch

    # Two, and no square: what is one, or the same as another, may be taken for fixed.
    sides = (64, 96) if module.resizable else swapper.config.image_size
    return tuple(torch.rand(2, 3, *sides) for _ in _INPUTS)


def _exported(swapper: _cagan.Swapper) -> "tuple[torch.export.ExportedProgram, str]":
    """The module as torch.export sees it, its batch free, and its height and width where the networks allow it."""
    module, told = _module(swapper)
    from torch.export import Dim
    from torch.export import export as torch_export

    part = module.multiple
    # Instance norm needs more than one place in the deepest layer.
    size = {2: part * Dim("rows", min=2), 3: part * Dim("columns", min=2)} if module.resizable else {}
    shapes = {name: {0: Dim("batch"), **size} for name in _INPUTS}
    with _quiet():
        return torch_export(module, _example(swapper, module), dynamic_shapes=shapes), told


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch's exporters tell about themselves."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _needs(*names: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise ImportError(
            f"{' and '.join(names)}: expected for cagan.export, found none; pip install 'cagan[export]'"
        ) from error


# The model card


_PAPER = "a Conditional Analogy GAN (Jetchev & Bergmann, arXiv 1709.04695)"
_KINDS = {
    "paper": _PAPER,
    "vasily": _PAPER,
    "kisekae": "it locates what is worn, places the other article, warps and paints it",
}


def _card(swapper: _cagan.Swapper, run: Run | None, out: Path) -> str:
    config = swapper.config
    height, width = config.image_size
    lines = [
        f"# {out.stem}",
        "",
        f"Puts a fashion article on the photo of a person: {_KINDS[config.architecture]},",
        f"trained with cagan {info()['cagan']} from pairs of a person and the product picture of what is worn.",
        "",
        "| | |",
        "| --- | --- |",
        f"| architecture | {config.architecture} |",
        f"| pictures | {height} x {width} (height x width) |",
        f"| step | {swapper.step} |",
        *_data(run),
        f"| config | `{config!r}` |",
        "",
        "## Use",
        "",
        *_use(out, config),
        "",
    ]
    if run is not None and run.samples:
        text = "People along the top with what they wear, articles down the left; beside each swap its mask."
        lines += ["## Samples", "", f"![{text}]({out.with_suffix('.png').name})", "", text, ""]
    scores = _scores(run)
    if scores:
        lines += ["## Scores", "", "As `cagan.evaluate` gives them.", "", "| score | value |", "| --- | --- |"]
        lines += [f"| {name} | {value:.4g} |" for name, value in scores.items()] + [""]
    lines += ["## Settings", "", "| setting | value | source |", "| --- | --- | --- |"]
    values = config.to_dict()
    lines += [f"| {name} | `{json.dumps(values[name])}` | {source} |" for name, source in config.sources().items()]
    return "\n".join(lines) + "\n"


def _data(run: Run | None) -> list[str]:
    """What the run's newest checkpoint tells about its pairs."""
    checkpoints = sorted((run.path / "checkpoints").glob("step_*.safetensors")) if run else []
    if not checkpoints:
        return []
    header = _cagan.read_header(checkpoints[-1])
    return [f"| pairs | {header['pairs']} |", f"| data fingerprint | `{header['data']}` |"]


def _scores(run: Run | None) -> dict[str, float]:
    path = run.path / "evaluation.json" if run else None
    if path is None or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: expected JSON, as `cagan evaluate --json` prints it: {error}") from None
    if not isinstance(found, dict) or not all(isinstance(value, int | float) for value in found.values()):
        raise ValueError(f"{path}: expected an object of numbers, as `cagan evaluate --json` prints it")
    return found


def _use(out: Path, config: _cagan.Config) -> list[str]:
    height, width = config.image_size
    fixed = config.architecture == "kisekae"
    best = "all of" if fixed else "best at"
    contract = (
        f"`human`, `worn` and `target` are float32 of [N, 3, H, W], RGB, values of 0 to 1, {best} {height} x {width}: "
        f"photos fitted by `{config.human_fit}`, articles by `{config.article_fit}`. `image` is the swap, `mask` what "
        f"is repainted, `paint` what with; the metadata's entry `{_KEY}` tells the rest."
    )
    if fixed:
        contract += " A `worn` of one colour is one that is not known."
    code = {
        ".onnx": [
            "import onnxruntime",
            f'session = onnxruntime.InferenceSession("{out.name}")',
            'image, mask, paint = session.run(None, {"human": human, "worn": worn, "target": target})',
        ],
        ".pt2": [
            "import torch",
            f'image, mask, paint = torch.export.load("{out.name}").module()(human, worn, target)',
        ],
        ".pt": ["import torch", f'image, mask, paint = torch.jit.load("{out.name}")(human, worn, target)'],
        ".safetensors": [
            "import cagan",
            f'swap = cagan.Swapper("{out.name}").swap("human.jpg", "worn.jpg", "target.jpg")',
        ],
    }[out.suffix]
    if out.suffix == ".safetensors":
        contract = (
            "Pictures of any size; the swap has the photo's own. `cagan/torch_module.py` reads it with torch alone."
        )
    return ["```python", *code, "```", "", contract]
