"""Export of a trained generator: ONNX, torch.export, TorchScript or safetensors, with a model card."""

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import _cagan
from ._torch_state import plain_torch
from .about import info
from .cards import model_card, use_of_file
from .progress import work_bar
from .runs import Run
from .settings import Which

if TYPE_CHECKING:
    import torch

    from .torch_module import Generator

__all__ = ["export"]

_INPUTS = ("human", "worn", "target")
_OUTPUTS = ("image", "mask", "paint")
# The metadata entry of the description, in every format.
_KEY = "cagan.json"


def export(
    model: _cagan.Swapper | str | os.PathLike[str],
    path: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    which: Which | None = None,
    progress: bool | None = None,
) -> Path:
    """Write a trained generator for other programs, and a model card beside it.

    All formats but safetensors hold the whole swap. They take `human`, `worn` and `target`, float32 [N, 3, H, W] (RGB)
    of 0 to 1, and return `image`, `mask` ([N, 1, H, W], 1 = repainted) and `paint` in the same range. N is free. H and
    W are free multiples of the networks' halvings, and the size of training swaps best. kisekae keeps the size of
    training, because the reach of its masks depends on it; a `worn` of one colour means that the worn article is
    unknown; and the paint has the networks' size, while `cagan.Swapper` warps the article at the photo's own. The
    file's metadata under `cagan.json` hold the preprocessing and the config.

    `config.pbtxt` beside an ONNX file is its configuration for Triton.

    The card `model.md` stands beside `model.onnx`, and `model.png` too if the model's run has sample grids. The card
    has the figures of `evaluation.json` in the run's folder, which `cagan.evaluate` of the run writes. A card that
    another program wrote or changed is not replaced, nor a foreign picture. Needs `pip install 'cagan[export]'`.

    Args:
        model: A run, a run's folder, a snapshot, "dolls" (the package's weights) or a swapper.
        path: The file to write. Its ending is the format: `.onnx`, `.pt2` (`torch.export.load`), `.pt` (TorchScript,
            which torch deprecates: `torch.jit.load`) or `.safetensors` (a snapshot, for `cagan.Swapper` and
            `cagan.torch_module.load`). An existing file is replaced.
        overwrite: Whether to replace any `model.md`, `model.png` and `config.pbtxt`.
        which: The snapshot of a run, as for `cagan.Swapper`: "best" (the default), "newest" or a step.
        progress: Whether to show a progress bar; by default in a terminal and in Jupyter.

    Returns:
        The path.

    Raises:
        FileNotFoundError: The model or the folder is missing.
        FileExistsError: `model.md`, `model.png` or `config.pbtxt` is not one that `cagan.export` wrote; nothing is
            written then.
        ValueError: The ending is unknown, the architecture cannot be exported, the snapshot is damaged, or
            `evaluation.json` holds no figures.
        ImportError: A package that the format needs is missing.
        OSError: A file cannot be written.

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
        model = _cagan.Swapper(model, "cpu", which=which)
    elif which is not None:
        raise ValueError(f"which: expected a run to choose from, got {model!r}")
    run = _run_of(model.path)
    sample = run.samples[-1].read_bytes() if run is not None and run.samples else None
    picture = out.with_suffix(".png")
    card = model_card(
        model,
        None if run is None else run.path,
        out.stem,
        use_of_file(out, model.config, _KEY),
        None if sample is None else picture.name,
    )
    beside = {out.with_suffix(".md"): _marked(card, sample)}
    if sample is not None:
        beside[picture] = sample
    if out.suffix == ".onnx":
        beside[out.with_name("config.pbtxt")] = _triton(model)
    if not overwrite:
        _keep_foreign(beside)
    with work_bar(progress, 2 + len(beside), " parts of the export") as bar:
        bar.update(1)
        # A copy of the snapshot does without torch.
        with contextlib.nullcontext() if out.suffix == ".safetensors" else plain_torch():
            content = _FORMATS[out.suffix](model)
        _cagan.write_atomically(out, content)
        bar.update(1)
        # The card last: it tells that the picture is ours.
        for file, content in reversed(beside.items()):
            _cagan.write_atomically(file, content)
            bar.update(1)
    return out


def _run_of(snapshot: Path) -> Run | None:
    """Returns the run that the snapshot lies in."""
    folder = snapshot.resolve().parent.parent
    return Run(folder) if (folder / "config.json").is_file() else None


def _marked(card: str, sample: bytes | None) -> bytes:
    """Ends the card with the hashes of its text and of the picture beside it."""
    text = card.encode()
    return text + f"<!-- cagan.export {_hash(text)} {_hash(sample or b'')} -->\n".encode()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _keep_foreign(beside: dict[Path, bytes]) -> None:
    """Checks that the files beside the model may be replaced: missing, equal, or as an export left them.

    Raises:
        FileExistsError: One is foreign.
    """
    picture = ""
    for file, content in beside.items():
        if not file.exists():
            continue
        old = file.read_bytes()
        if file.suffix == ".pbtxt":
            begin, _, rest = old.partition(b"\n")
            ours = begin == _triton_mark(rest)
        elif file.suffix == ".md":
            found = re.fullmatch(rb"(.*\n)<!-- cagan\.export (\w+) (\w+) -->\n", old, re.DOTALL)
            ours = found is not None and _hash(found[1]) == found[2].decode()
            picture = found[3].decode() if found else ""
        else:
            ours = _hash(old) == picture
        if not ours and old != content:
            raise FileExistsError(
                f"{file}: expected no file or one that cagan.export wrote, got another; overwrite=True replaces it"
            )


def _triton_mark(text: bytes) -> bytes:
    return f"# cagan.export {_hash(text)}".encode()


def _triton(swapper: _cagan.Swapper) -> bytes:
    """The configuration of the ONNX file for Triton: inputs, outputs, and batches that it gathers."""
    config = swapper.config
    height, width = config.image_size if config.architecture == "kisekae" else (-1, -1)

    def tensors(kind: str, names: tuple[str, ...]) -> str:
        rows = [
            f'  {{ name: "{name}", data_type: TYPE_FP32, dims: [ {1 if name == "mask" else 3}, {height}, {width} ] }}'
            for name in names
        ]
        return f"{kind} [\n" + ",\n".join(rows) + "\n]\n"

    text = (
        "# Put this file beside the folder 1/ that holds model.onnx.\n"
        'backend: "onnxruntime"\nmax_batch_size: 16\n'
        + tensors("input", _INPUTS)
        + tensors("output", _OUTPUTS)
        + "dynamic_batching { max_queue_delay_microseconds: 10000 }\n"
    ).encode()
    return _triton_mark(text) + b"\n" + text


def description(swapper: _cagan.Swapper, module: "Generator") -> dict[str, Any]:
    """Describes a file for its metadata: origin, inputs, preprocessing and outputs."""
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


# The formats: each turns a swapper into a file's bytes.


def _onnx(swapper: _cagan.Swapper) -> bytes:
    with _needs("onnx", "onnxscript"):
        import onnx
        import onnxscript  # noqa: F401  # torch imports it
    program, text = _exported(swapper)
    with _quiet():
        import torch

        done = torch.onnx.export(
            program, input_names=list(_INPUTS), output_names=list(_OUTPUTS), dynamo=True, verbose=False
        )
        assert done is not None
        proto = done.model_proto
    onnx.helper.set_model_props(proto, {_KEY: text})
    onnx.checker.check_model(proto)
    content: bytes = proto.SerializeToString()
    return content


def _pt2(swapper: _cagan.Swapper) -> bytes:
    program, text = _exported(swapper)
    import torch

    file = io.BytesIO()
    with _quiet():
        torch.export.save(program, file, extra_files={_KEY: text})
    return file.getvalue()


def _torchscript(swapper: _cagan.Swapper) -> bytes:
    module, text = _module(swapper)
    import torch

    file = io.BytesIO()
    with _quiet():
        # The graph does not depend on the free sizes, so the trace holds for all of them.
        traced = torch.jit.trace(module, _example(swapper, module))  # type: ignore[no-untyped-call]  # torch's
        torch.jit.save(traced, file, _extra_files={_KEY: text})
    return file.getvalue()


def _safetensors(swapper: _cagan.Swapper) -> bytes:
    # Not the file that it was loaded from, which may hold another snapshot by now.
    return swapper.snapshot()


_FORMATS: dict[str, Callable[[_cagan.Swapper], bytes]] = {
    ".onnx": _onnx,
    ".pt2": _pt2,
    ".pt": _torchscript,
    ".safetensors": _safetensors,
}


def _module(swapper: _cagan.Swapper) -> "tuple[Generator, str]":
    with _needs("safetensors"):
        import safetensors  # noqa: F401  # fails here if it is missing
    from .torch_module import load

    with tempfile.TemporaryDirectory() as folder:
        snapshot = Path(folder) / swapper.path.name
        snapshot.write_bytes(swapper.snapshot())
        try:
            module = load(snapshot).requires_grad_(False)
        except ValueError as error:
            raise ValueError(str(error).replace(str(snapshot), str(swapper.path))) from None
    return module, json.dumps(description(swapper, module))


def _example(swapper: _cagan.Swapper, module: "Generator") -> "tuple[torch.Tensor, ...]":
    import torch

    # torch may take a size of 1, or two equal sizes, for fixed: so a batch of 2, and no square.
    sides = (64, 96) if module.resizable else swapper.config.image_size
    return tuple(torch.rand(2, 3, *sides) for _ in _INPUTS)


def _exported(swapper: _cagan.Swapper) -> "tuple[torch.export.ExportedProgram, str]":
    """Runs torch.export with a free batch, and free height and width if the networks allow them."""
    module, text = _module(swapper)
    from torch.export import Dim
    from torch.export import export as torch_export

    part = module.multiple
    # Instance norm needs more than one position in the deepest layer.
    size = {2: part * Dim("rows", min=2), 3: part * Dim("columns", min=2)} if module.resizable else {}
    shapes = {name: {0: Dim("batch"), **size} for name in _INPUTS}
    with _quiet():
        return torch_export(module, _example(swapper, module), dynamic_shapes=shapes), text


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silences the warnings and logs of torch's exporters."""
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
