"""The command line: the Python package's functions as commands, with the core's settings and defaults."""

import csv
import io
import json
import signal
import sys
import warnings
from pathlib import Path
from typing import Any, Literal

import click

from . import _cagan
from .about import info as gather_info
from .curation import curate as run_curate
from .curation import review as run_review
from .demo import demo as run_demo
from .evaluation import evaluate as run_evaluate
from .evaluation import listed
from .exporting import export as run_export
from .runs import runs as list_runs
from .serving import app as run_app
from .settings import Preset
from .swapping import swap_list
from .training import train as run_train

_PATH = click.Path(path_type=Path)
# What a swap is written as.
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
_DEVICE = f"auto, cpu, cuda or cuda:N [default: {_cagan.Config().device}]"


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic in newer click alone
    """A size as `128x96` (height x width), or as one number for a square."""

    name = "HxW"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns height and width."""
        if not isinstance(value, str):
            return value
        try:
            sides = [int(side) for side in value.lower().split("x")]
        except ValueError:
            sides = []
        if len(sides) not in (1, 2):
            self.fail(f"expected a size as 128x96 (height x width) or 64, got {value}", param, ctx)
        return sides[0], sides[-1]


class _Moment(click.ParamType):  # type: ignore[type-arg]  # as above
    """A number of images, or a share of the run's length as `50%`."""

    name = "IMAGES|SHARE%"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the number or the text of the share."""
        if not isinstance(value, str) or value.endswith("%"):
            return value
        try:
            return int(value)
        except ValueError:
            self.fail(f"expected a number of images, or a share such as 50%, got {value}", param, ctx)


_TYPES: dict[str, Any] = {
    "count": int,
    "number": float,
    "flag": bool,
    "text": str,
    "size": _Size(),
    "moment": _Moment(),
}


class _GroupedOption(click.Option):
    """An option with a heading in the help."""

    def __init__(self, *names: str, group: str, **options: Any) -> None:
        super().__init__(names, **options)
        self.group = group


class _Grouped(click.Command):
    """A command whose help lists the options under the headings of their groups."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options, those without a heading first."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            if isinstance(option, click.Option) and (record := option.get_help_record(ctx)) is not None:
                groups.setdefault(getattr(option, "group", "Options"), []).append(record)
        for group, records in groups.items():
            with formatter.section(group):
                formatter.write_dl(records)


def _settings(command: click.Command) -> click.Command:
    """Adds every setting of the core as an option."""
    config = _cagan.Config()
    for setting in _cagan.settings():
        default = getattr(config, setting["name"])
        shown = "x".join(map(str, default)) if isinstance(default, tuple) else default
        option = _GroupedOption(
            "--" + setting["name"].replace("_", "-"),
            group=setting["group"],
            type=click.Choice(setting["choices"]) if setting["kind"] == "choice" else _TYPES[setting["kind"]],
            help=f"{setting['help']} [default: {'none' if shown in (None, '') else shown}]",
        )
        command.params.append(option)
    return command


def _thresholds(command: click.Command) -> click.Command:
    """Adds every threshold of curation as an option."""
    for threshold in _cagan.curation_options():
        name, default = "--" + threshold["name"].replace("_", "-"), threshold["default"]
        text = threshold["help"][0].upper() + threshold["help"][1:]
        option = _GroupedOption(name, group="Thresholds", type=type(default), help=f"{text} [default: {default}]")
        command.params.append(option)
    return command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cagan")
def cli() -> None:
    """Train on pairs of a person and a product picture, and swap fashion articles on photos.

    Results go to standard output, progress and errors to standard error. The exit code is 0 if the command is done, 1
    if it failed, 2 for an unknown command, option or value, 130 after Ctrl-C and 143 after SIGTERM. `eval
    "$(_CAGAN_COMPLETE=bash_source cagan)"` completes words in bash; zsh_source and fish_source are for other shells.
    """


@_settings
@cli.command(cls=_Grouped)
@click.argument("pairs", type=_PATH)
@click.argument("run_dir", type=_PATH)
@click.option("--preset", type=click.Choice(_cagan.presets()), help=f"Preset [default: {_cagan.Config().preset}]")
@click.option("--human", help="Folder or pattern of the humans, in place of a layout")
@click.option("--article", help="Folder or pattern of the articles")
@click.option("--split", help="Split to train on, for pairs with several")
@click.option("--on-error", type=click.Choice(["raise", "skip"]), help="Action on unusable files [default: raise]")
@click.option("--extra-articles", is_flag=True, help="Add articles without a human as targets")
@click.option(
    "--resume",
    type=click.Choice(["auto", "never", "must"]),
    help="Resume the run in RUN_DIR: if it has a checkpoint, never (and fail if it has one), or fail without one "
    "[default: auto]",
)
@click.option("--tensorboard", is_flag=True, help="Write TensorBoard's event files to RUN_DIR/tensorboard")
@click.option("--quiet", is_flag=True, help="Hide the progress bar")
@click.option("--json", "as_json", is_flag=True, help="Print the run's paths and its last log line as JSON")
def train(
    pairs: Path,
    run_dir: Path,
    human: str | None,
    article: str | None,
    preset: Preset | None,
    split: str | None,
    on_error: Literal["raise", "skip"] | None,
    extra_articles: bool,
    resume: Literal["auto", "never", "must"] | None,
    tensorboard: bool,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train on the pairs in the folder PAIRS, or resume the run in RUN_DIR.

    Settings default to the preset's values. The values below are those of the default preset.
    """
    given = {name: value for name, value in settings.items() if value is not None}
    found = _cagan.Pairs(pairs, human=human, article=article, on_error=on_error, extra_articles=extra_articles)
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
    newest = {"snapshot": run.snapshots[-1:], "sample": run.samples[-1:]}
    if as_json:
        last = run.stats[-1] if run.stats else {}
        # A time limit may end a run before its first snapshot.
        files = {kind: str(paths[0]) if paths else None for kind, paths in newest.items()}
        _say(json.dumps({"run": str(run.path), **files, **last}))
        return
    for paths in newest.values():
        for path in paths:
            _say(str(path))


@cli.command()
@click.argument("model", type=_PATH)
@click.option("--human", type=_PATH, help="Photo of the person")
@click.option("--worn", type=_PATH, help="Product picture of the worn article")
@click.option("--target", type=_PATH, help="Product picture of the article to put on")
@click.option("--pairs", type=_PATH, help="Folder of the pairs that --list names")
@click.option("--list", "listing", type=_PATH, help="CSV with the columns human and target: ids of --pairs")
@click.option("--out", type=_PATH, required=True, help="Picture to write, .png, .jpg or .webp, or folder with --list")
@click.option("--report", type=_PATH, help="CSV to write with the swaps of --list whose pictures cannot be read")
@click.option("--device", help=_DEVICE)
def swap(
    model: Path,
    human: Path | None,
    worn: Path | None,
    target: Path | None,
    pairs: Path | None,
    listing: Path | None,
    out: Path,
    report: Path | None,
    device: str | None,
) -> None:
    """Swap with MODEL, a run folder or a snapshot.

    Swaps one photo (--human, --target, and --worn if known) to the picture --out and its mask to .alpha.png beside it,
    or a --list of ids of --pairs to OUT/<human>__<target>.png and .alpha.png. Networks that locate the worn article
    write its region to .located.png too. A list goes on where it was stopped, passes over pictures that cannot be read,
    and then exits with 1.
    """
    one, many = (human, worn, target), (pairs, listing, report)
    if human is not None and target is not None and not any(many):
        _check_out(out, [path for path in one if path is not None])
        swapper = _cagan.Swapper(model, device)
        swap = swapper.swap(human, worn, target)
        swap.save(out, out.with_suffix(".alpha.png"), out.with_suffix(".located.png"))
        click.echo(out)
        return
    if any(one) or pairs is None or listing is None:
        raise click.UsageError("expected --human and --target (and --worn), or --pairs and --list")
    unread: list[tuple[str, str, str]] = []
    wanted = listed(listing, _cagan.Pairs(pairs, on_error="skip"), unread=unread)
    done = swap_list(_cagan.Swapper(model, device), wanted, out)
    done.broken += unread
    if report is not None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("human", "target", "reason"), *done.broken])
        _cagan.write_atomically(report, text.getvalue().encode("utf-8", errors="replace"))
    made = done.made + done.kept
    click.echo(f"{made} swaps in {out}" + (f", {done.kept} of them from before" if done.kept else ""))
    if done.broken:
        person, article, reason = done.broken[0]
        raise ValueError(f"{len(done.broken)} swaps not made; the first: {person} in {article}: {reason}")


def _check_out(out: Path, pictures: list[Path]) -> None:
    """Checks before any work that the ending is known, and that no picture would be lost."""
    if out.suffix.lower() not in _ENDINGS:
        raise ValueError(f"{out}: expected a name that ends in {', '.join(_ENDINGS)}")
    for path in pictures:
        if out.exists() and path.exists() and out.samefile(path):
            raise ValueError(f"{out}: expected another file than the pictures of the swap, got {path}")


@cli.command()
@click.argument("model", type=_PATH)
@click.argument("pairs", type=_PATH)
@click.option("--split", help="Split to score, for pairs with several")
@click.option("--on-error", type=click.Choice(["raise", "skip"]), help="Action on unusable files [default: raise]")
@click.option("--targets", type=int, help="Number of articles for each person [default: the list of true swaps, or 3]")
@click.option("--list", "listing", type=_PATH, help="CSV with the columns human and target: the swaps to score")
@click.option("--height", type=int, default=256, show_default=True, help="Height of comparisons inside regions")
@click.option("--features", type=_PATH, help="Feature network for FID and KID: TorchScript .pt or .onnx")
@click.option("--feature-size", type=_Size(), help="Height x width of its input [default: as --height, in 4:3]")
@click.option("--device", help=_DEVICE)
@click.option(
    "--json",
    "json_path",
    type=_PATH,
    help="Write the figures, those of each swap too, as JSON to the file PATH; - prints them instead of the table. "
    "`cagan export` reads evaluation.json in the run's folder",
)
@click.option("--sheet", type=_PATH, help="Write the worst swaps as a PNG")
def evaluate(
    model: Path,
    pairs: Path,
    split: str | None,
    on_error: Literal["raise", "skip"] | None,
    targets: int | None,
    listing: Path | None,
    height: int,
    features: Path | None,
    feature_size: Any,
    device: str | None,
    json_path: Path | None,
    sheet: Path | None,
) -> None:
    """Score the swaps of MODEL, a run folder or a snapshot, on the folder PAIRS.

    Dolls are scored by their true swaps, pairs with a folder mask/ by the worn garments' regions, other pairs without a
    truth.
    """
    found = _cagan.Pairs(pairs, on_error=on_error)
    scores = run_evaluate(
        model,
        found if split is None else found.of_split(split),
        device,
        targets=targets,
        listing=listing,
        height=height,
        features=features,
        feature_size=feature_size,
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
@click.argument("model", type=_PATH)
@click.argument("out", type=_PATH)
@click.option("--overwrite", is_flag=True, help="Replace a card or a picture of other programs beside OUT")
def export(model: Path, out: Path, overwrite: bool) -> None:
    """Write MODEL, a run folder or a snapshot, for other programs, and a model card beside it.

    The ending of OUT is the format: .onnx, .pt2 (torch.export), .pt (TorchScript) or .safetensors. The card has the
    figures of evaluation.json in the run's folder: cagan evaluate RUN PAIRS --json RUN/evaluation.json writes it.
    """
    click.echo(run_export(model, out, overwrite=overwrite))


@cli.command()
@click.argument("out", type=_PATH)
@click.option("--count", type=int, required=True, help="Number of pairs")
@click.option("--seed", type=int, help="Seed of the drawing [default: 0]")
@click.option("--size", type=_Size(), help="Height x width [default: 128x96]")
@click.option("--swaps", type=int, help="True swaps of each person; 0 for none [default: 1]")
def dolls(out: Path, count: int, seed: int | None, size: Any, swaps: int | None) -> None:
    """Draw synthetic pairs into the folder OUT, true swaps and their masks into OUT/swaps."""
    click.echo(_cagan.dolls(out, count, seed, size, swaps))


@_thresholds
@cli.command(cls=_Grouped)
@click.argument("folder", type=_PATH)
@click.option("--human", help="Folder or pattern of the humans, in place of a layout")
@click.option("--article", help="Folder or pattern of the articles")
@click.option("--out", type=_PATH, help="Folder for pairs.csv and the page, if FOLDER cannot be written to")
@click.option("--report", type=_PATH, help="Page to write [default: curation.html beside pairs.csv]")
@click.option("--no-report", is_flag=True, help="Write no page")
@click.option("--json", "as_json", is_flag=True, help="Print the counts as JSON")
@click.option("--quiet", is_flag=True, help="Hide the progress bar")
def curate(
    folder: Path,
    human: str | None,
    article: str | None,
    out: Path | None,
    report: Path | None,
    no_report: bool,
    as_json: bool,
    quiet: bool,
    **thresholds: float | None,
) -> None:
    """Find unreadable, repeated and wrong pairs in FOLDER, and write pairs.csv and a page that shows them."""
    given = {name: value for name, value in thresholds.items() if value is not None}
    found = run_curate(
        folder,
        human=human,
        article=article,
        out=out,
        report=False if no_report else report or True,
        progress=False if quiet else None,
        **given,
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
@click.argument("folder", type=_PATH)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of 127.0.0.1 [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Print the address without opening it")
def review(folder: Path, port: int, no_browser: bool) -> None:
    """Review the pairs in FOLDER with the keyboard on a local page; each decision is saved at once."""
    run_review(folder, port=port, browser=not no_browser)


@cli.command()
@click.argument("model", type=_PATH)
@click.option("--pairs", type=_PATH, help="Folder of pairs to pick pictures from")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; any other admits other machines"
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on [default: a free one]")
@click.option("--device", help=_DEVICE)
@click.option("--no-browser", is_flag=True, help="Print the address without opening it")
def app(model: Path, pairs: Path | None, host: str, port: int, device: str | None, no_browser: bool) -> None:
    """Try MODEL, a run folder or a snapshot, on a local page that swaps uploaded or picked pictures."""
    run_app(model, pairs, host=host, port=port, device=device, browser=not no_browser)


@cli.command()
@click.argument("folder", type=_PATH, default=Path("runs/demo"))
def demo(folder: Path) -> None:
    """Draw dolls, train on them for a minute or two, write a grid of swaps and score them, all in FOLDER."""
    grid, scores = run_demo(folder)
    click.echo(scores.table())
    click.echo(
        f"Inside the true masks the swaps differ from the true ones by {scores['true/error']:.0f} grey levels, "
        f"the unchanged photos by {scores['true/error_untouched']:.0f}.\n{grid}"
    )


@cli.command()
@click.argument("folder", type=_PATH, default=Path("runs"))
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each run")
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
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with PRESET its settings alone")
def info(preset: Preset | None, as_json: bool) -> None:
    """Show versions, device, threads and presets; with PRESET its settings and their sources."""
    if as_json:
        click.echo(json.dumps(_cagan.Config(preset).to_dict() if preset else gather_info()))
        return
    if preset:
        click.echo(_cagan.Config(preset))
        return
    for name, value in gather_info().items():
        click.echo(f"{name:15} {', '.join(value) if isinstance(value, list) else value}")


# What a command leaves behind at Ctrl-C.
_STOPPED = {
    "train": "the steps so far are saved, and the same command resumes it",
    "demo": "the steps so far are saved, and the same command resumes its run",
    "swap": "finished swaps of a list are saved, and the same command goes on with the rest",
    "evaluate": "no score was kept, and the same command begins anew",
    "export": "no model was written, and the same command begins anew",
    "curate": "no file was changed, and the same command begins anew",
    "dolls": "the pictures so far stay, and the same command draws all of them again",
    "review": "every decision is saved",
}


def _say(text: str) -> None:
    """Prints a result. A reader who went away does not make the command fail: it is done."""
    try:
        click.echo(text)
    except BrokenPipeError:
        # Python flushes once more at its end.
        sys.stdout = None


def main() -> None:
    """Run the command line; prints an error as one line, without a traceback."""
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"
    try:
        cli(standalone_mode=False, prog_name="cagan")
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        # Further presses would only spoil the message and the exit code.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        left = next((_STOPPED[word] for word in sys.argv[1:] if word in _STOPPED), None)
        click.echo(f"stopped; {left}" if left else "stopped", err=True)
        sys.exit(130)
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError, ArithmeticError) as error:
        text = error.args[0] if isinstance(error, KeyError) else error
        click.echo(f"error: {text}", err=True)
        sys.exit(1)
