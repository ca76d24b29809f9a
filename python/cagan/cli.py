"""The command line: the same face as the Python package, with defaults asked from the core."""

import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

from . import _cagan
from .curation import curate as run_curate
from .curation import review as run_review
from .demo import demo as run_demo
from .evaluation import evaluate as run_evaluate
from .evaluation import listed
from .exporting import export as run_export
from .runs import info as gather_info
from .runs import runs as list_runs
from .runs import train as run_train
from .serving import app as run_app

_FOLDER = click.Path(path_type=Path)


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic in newer click alone
    """`128x96` (height x width), or one number for a square."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The sides as numbers."""
        if not isinstance(value, str):
            return value
        try:
            sides = [int(side) for side in value.lower().split("x")]
        except ValueError:
            sides = []
        if len(sides) not in (1, 2):
            self.fail(f"expected a size as 128x96 (height x width) or 64, got {value}", param, ctx)
        return sides[0] if len(sides) == 1 else tuple(sides)


_TYPES: dict[str, Any] = {"count": int, "number": float, "flag": bool, "text": str, "size": _Size()}


def _settings(command: Callable[..., None]) -> Callable[..., None]:
    """Adds every setting of the core as an option."""
    for setting in reversed(_cagan.settings()):
        kind = click.Choice(setting["choices"]) if setting["kind"] == "choice" else _TYPES[setting["kind"]]
        default = getattr(_cagan.Config(), setting["name"])
        shown = "x".join(map(str, default)) if isinstance(default, tuple) else default
        # Not `capitalize`, which lowers the rest: `cuda:N` stays.
        text = setting["help"][0].upper() + setting["help"][1:]
        option = click.option(
            "--" + setting["name"].replace("_", "-"),
            type=kind,
            default=None,
            help=f"{text} [default: {'none' if shown in (None, '') else shown}, or the preset's]",
        )
        command = option(command)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cagan")
def cli() -> None:
    """Learn from pairs of a person and a product picture to swap fashion articles on photos.

    Results go to the output, progress and mistakes to the errors. It exits with 0, 1 for what could not be done, 2 for
    words that it does not know, 130 after Ctrl-C and 143 after SIGTERM. `eval "$(_CAGAN_COMPLETE=bash_source cagan)"`
    completes words in bash; zsh_source and fish_source are for others.
    """


@cli.command()
@click.argument("pairs", type=_FOLDER)
@click.argument("run_dir", type=_FOLDER)
@click.option(
    "--preset", type=click.Choice(_cagan.presets()), help=f"Row of settings [default: {_cagan.Config().preset}]"
)
@click.option("--split", help="Split to train on, where the pairs have several")
@click.option("--on-error", type=click.Choice(["raise", "skip"]), help="Files that cannot be used [default: raise]")
@click.option("--extra-articles", is_flag=True, help="Articles without a human join as targets")
@click.option(
    "--resume",
    type=click.Choice(["auto", "never", "must"]),
    help="Go on with the run in RUN_DIR: where there is one, never, or fail without one [default: auto]",
)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's event files to RUN_DIR/tensorboard")
@click.option("--quiet", is_flag=True, help="No progress bar")
@click.option("--json", "as_json", is_flag=True, help="Print where the run is and the last line of its log as JSON")
@_settings
def train(
    pairs: Path,
    run_dir: Path,
    preset: str | None,
    split: str | None,
    on_error: Literal["raise", "skip"] | None,
    extra_articles: bool,
    resume: Literal["auto", "never", "must"] | None,
    tensorboard: bool,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train on the pairs in the folder PAIRS, or go on with the run in RUN_DIR."""
    given = {name: value for name, value in settings.items() if value is not None}
    found = _cagan.Pairs(pairs, on_error=on_error, extra_articles=extra_articles)
    if split is not None:
        found = found.of_split(split)
    run = run_train(
        found,
        run_dir,
        _cagan.Config(preset, **given),
        resume=resume,
        progress=False if quiet else None,
        tensorboard=tensorboard,
    )
    if as_json:
        last = run.stats[-1] if run.stats else {}
        files = {"snapshot": str(run.snapshots[-1]), "sample": str(run.samples[-1])}
        click.echo(json.dumps({"run": str(run.path), **files, **last}))
        return
    click.echo(f"{run.snapshots[-1]}\n{run.samples[-1]}")


@cli.command()
@click.argument("model", type=_FOLDER)
@click.option("--human", type=_FOLDER, help="Photo of the person")
@click.option("--worn", type=_FOLDER, help="Product picture of what the person wears")
@click.option("--target", type=_FOLDER, help="Product picture of what to put on")
@click.option("--pairs", type=_FOLDER, help="Folder of pairs that the ids of --list are of")
@click.option("--list", "listing", type=_FOLDER, help="CSV with the columns human, target: ids over --pairs")
@click.option("--out", type=_FOLDER, required=True, help="PNG to write; with --list the folder")
@click.option("--device", help=f"auto, cpu, cuda or cuda:N [default: {_cagan.Config().device}]")
def swap(
    model: Path,
    human: Path | None,
    worn: Path | None,
    target: Path | None,
    pairs: Path | None,
    listing: Path | None,
    out: Path,
    device: str | None,
) -> None:
    """Swap with MODEL, a run folder or a snapshot.

    Either one photo (--human, --target, and --worn where it is known) to the PNG --out, its mask beside it as
    .alpha.png; or a --list of ids over --pairs to OUT/<human>__<target>.png and .alpha.png. Networks that look for the
    worn article write where it is as .located.png too.
    """
    one, many = (human, worn, target), (pairs, listing)
    if human is not None and target is not None and not any(many):
        swapper = _cagan.Swapper(model, device)
        swap = swapper.swap(human, worn, target)
        swap.save(out, out.with_suffix(".alpha.png"), out.with_suffix(".located.png"))
        click.echo(out)
        return
    if any(one) or pairs is None or listing is None:
        raise click.UsageError("expected --human and --target (and --worn), or --pairs and --list")
    wanted = listed(listing, _cagan.Pairs(pairs))
    swapper = _cagan.Swapper(model, device)
    out.mkdir(parents=True, exist_ok=True)
    # A part at a time bounds what is in memory.
    for start in range(0, len(wanted), 64):
        people, articles = zip(*wanted[start : start + 64])
        swaps = swapper.swap(
            [person.human_path for person in people],
            [person.article_path for person in people],
            [article.article_path for article in articles],
        )
        for person, article, swap in zip(people, articles, swaps):
            name = f"{person.id}__{article.id}"
            swap.save(*(out / f"{name}{ending}" for ending in (".png", ".alpha.png", ".located.png")))
    click.echo(f"{len(wanted)} swaps in {out}")


@cli.command()
@click.argument("model", type=_FOLDER)
@click.argument("pairs", type=_FOLDER)
@click.option("--split", help="Split to score, where the pairs have several")
@click.option("--targets", type=int, help="Other articles for each person [default: the list of true swaps, or 3]")
@click.option("--height", type=int, default=256, show_default=True, help="What figures inside regions are judged at")
@click.option("--features", type=_FOLDER, help="Feature network for FID and KID: TorchScript .pt or .onnx")
@click.option("--feature-size", type=_Size(), help="Height x width that it sees [default: as --height, in 4:3]")
@click.option("--device", help=f"auto, cpu, cuda or cuda:N [default: {_cagan.Config().device}]")
@click.option(
    "--json", "json_path", type=_FOLDER, help="Write all figures, of each swap too, to this file; - prints them"
)
@click.option("--sheet", type=_FOLDER, help="Write the worst swaps as a PNG")
def evaluate(
    model: Path,
    pairs: Path,
    split: str | None,
    targets: int | None,
    height: int,
    features: Path | None,
    feature_size: Any,
    device: str | None,
    json_path: Path | None,
    sheet: Path | None,
) -> None:
    """Score the swaps of MODEL, a run folder or a snapshot, on the folder PAIRS.

    Dolls are scored by their true swaps, pairs with a folder mask/ by the worn garments' regions, others by what can be
    said without.
    """
    found = _cagan.Pairs(pairs)
    scores = run_evaluate(
        model,
        found if split is None else found.of_split(split),
        device,
        targets=targets,
        height=height,
        features=features,
        feature_size=(feature_size, feature_size) if isinstance(feature_size, int) else feature_size,
    )
    if sheet is not None:
        scores.sheet(sheet)
    if json_path == Path("-"):
        click.echo(scores.to_json())
        return
    if json_path is not None:
        json_path.write_text(scores.to_json() + "\n", encoding="utf-8")
    click.echo(scores.table())


@cli.command()
@click.argument("model", type=_FOLDER)
@click.argument("out", type=_FOLDER)
def export(model: Path, out: Path) -> None:
    """Write MODEL, a run folder or a snapshot, for other programs, and a model card beside it.

    OUT ends in .onnx, .pt2 (torch.export), .pt (TorchScript) or .safetensors.
    """
    click.echo(run_export(model, out))


@cli.command()
@click.argument("out", type=_FOLDER)
@click.option("--count", type=int, required=True, help="Number of pairs")
@click.option("--seed", type=int, help="What the drawing comes from [default: 0]")
@click.option("--size", type=_Size(), help="Height x width [default: 128x96]")
@click.option("--swaps", type=int, help="True swaps of each person; 0 for none [default: 1]")
def dolls(out: Path, count: int, seed: int | None, size: Any, swaps: int | None) -> None:
    """Draw synthetic pairs into the folder OUT, true swaps and their masks into OUT/swaps."""
    size = (size, size) if isinstance(size, int) else size
    click.echo(_cagan.dolls(out, count, seed, size, swaps))


def _thresholds(command: Callable[..., None]) -> Callable[..., None]:
    """Adds every threshold of curation as an option."""
    for option in reversed(_cagan.curation_options()):
        name, default = "--" + option["name"].replace("_", "-"), option["default"]
        text = option["help"][0].upper() + option["help"][1:]
        command = click.option(name, type=type(default), help=f"{text} [default: {default}]")(command)
    return command


@cli.command()
@click.argument("folder", type=_FOLDER)
@click.option("--report", type=_FOLDER, help="Page to write [default: curation.html in FOLDER]")
@click.option("--no-report", is_flag=True, help="Write no page")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON")
@click.option("--quiet", is_flag=True, help="No progress bar")
@_thresholds
def curate(
    folder: Path, report: Path | None, no_report: bool, as_json: bool, quiet: bool, **thresholds: float | None
) -> None:
    """Find unreadable, doubled and wrong pairs in FOLDER, and write pairs.csv and a page that shows them."""
    given = {name: value for name, value in thresholds.items() if value is not None}
    found = run_curate(
        folder, report=False if no_report else report or True, progress=False if quiet else None, **given
    )
    if as_json:
        counts = {"pairs": len(found.rows), "kept": found.kept, "excluded": found.excluded, "reasons": found.counts}
        more = {"groups": len(found.groups), "csv": str(found.csv), "report": found.report and str(found.report)}
        click.echo(json.dumps({**counts, **more}))
        return
    for word, count in {"kept": found.kept, "left out": found.excluded, **found.counts}.items():
        click.echo(f"{count:7} {word}")
    click.echo(f"{len(found.groups):7} groups\n{found.csv}")
    if found.report:
        click.echo(found.report)


@cli.command()
@click.argument("folder", type=_FOLDER)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of 127.0.0.1 [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Print the address and open nothing")
def review(folder: Path, port: int, no_browser: bool) -> None:
    """Go through the pairs in FOLDER with the keyboard on a local page; each decision is saved at once."""
    run_review(folder, port=port, browser=not no_browser)


@cli.command()
@click.argument("model", type=_FOLDER)
@click.option("--pairs", type=_FOLDER, help="Folder of pairs to pick pictures from")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; others let other machines in"
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on [default: a free one]")
@click.option("--device", help=f"auto, cpu, cuda or cuda:N [default: {_cagan.Config().device}]")
@click.option("--no-browser", is_flag=True, help="Print the address and open nothing")
def app(model: Path, pairs: Path | None, host: str, port: int, device: str | None, no_browser: bool) -> None:
    """Try MODEL, a run folder or a snapshot, on a local page: upload or pick pictures, see the swap."""
    run_app(model, pairs, host=host, port=port, device=device, browser=not no_browser)


@cli.command()
@click.argument("folder", type=_FOLDER, default=Path("runs/demo"))
def demo(folder: Path) -> None:
    """Draw dolls, train on them for a minute or two, write a grid of swaps and score them, all in FOLDER."""
    grid, scores = run_demo(folder)
    click.echo(scores.table())
    click.echo(
        f"Inside the true masks the swaps are {scores['true/error']:.0f} grey levels off the true ones; "
        f"the photos left alone are {scores['true/error_untouched']:.0f} off.\n{grid}"
    )


@cli.command()
@click.argument("folder", type=_FOLDER, default=Path("runs"))
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each run")
def runs(folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER and below it: preset, length, and the last line of the log."""
    rows = []
    for run in list_runs(folder):
        stats = run.stats
        last = stats[-1] if stats else {}
        rows.append({"run": str(run.path), "preset": run.config.preset, "snapshots": len(run.snapshots), **last})
    if as_json:
        for row in rows:
            click.echo(json.dumps(row))
        return
    columns = {
        "run": "run",
        "preset": "preset",
        "step": "step",
        "epoch": "epoch",
        "D": "loss/discriminator",
        "G": "loss/generator",
        "cycle": "loss/generator/cycle",
        "restored": "loss/generator/restored",
        "mask": "mask/area",
        "snapshots": "snapshots",
    }
    table = [list(columns)] + [[_short(row.get(key, "-")) for key in columns.values()] for row in rows]
    widths = [max(len(line[k]) for line in table) for k in range(len(columns))]
    for line in table:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@cli.command()
@click.argument("preset", type=click.Choice(_cagan.presets()), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON; of PRESET its settings alone")
def info(preset: str | None, as_json: bool) -> None:
    """Show versions, device, threads and presets; with PRESET its settings and where they come from."""
    if as_json:
        click.echo(json.dumps(_cagan.Config(preset).to_dict() if preset else gather_info()))
        return
    if preset:
        click.echo(_cagan.Config(preset))
        return
    for name, value in gather_info().items():
        click.echo(f"{name:15} {', '.join(value) if isinstance(value, list) else value}")


def main() -> None:
    """Run the command line; a mistake of the user's is one line, not a traceback."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        cli(standalone_mode=False, prog_name="cagan")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; what was done is saved, the same command goes on", err=True)
        sys.exit(130)
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError, ArithmeticError) as error:
        text = error.args[0] if isinstance(error, KeyError) else error
        click.echo(f"error: {text}", err=True)
        sys.exit(1)
