"""The command line: the Python package's functions as commands, with the core's settings and defaults."""

import contextlib
import csv
import io
import json
import os
import signal
import sys
import warnings
import webbrowser
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from . import _cagan
from .about import info as gather_info
from .catalogue import Catalogue
from .catalogue.rows import LISTS
from .catalogue.share import Shared, swap_shards
from .commands import Choice, Commands, Grouped, GroupedOption, Model, Moment, Shard, Size, WhichSnapshot
from .curation import curate as run_curate
from .curation import review as run_review
from .demo import demo as run_demo
from .evaluation import evaluate as run_evaluate
from .evaluation import listed
from .exporting import export as run_export
from .launching import check_gpus, launch, without_gpus
from .names import swap_name
from .progress import Stream
from .runs import runs as list_runs
from .service import serve as run_serve
from .serving import app as run_app
from .settings import Preset, Which
from .signals import EXIT_CODES, terminable
from .swapping import swap_list
from .training import train as run_train

_PATH = click.Path(path_type=Path)
# What a swap is written as.
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
# What a folder of pictures holds.
_READ = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic", ".jp2")
_DEVICE = f"auto, cpu, cuda or cuda:N [default: {_cagan.Config().device}]"


_TYPES: dict[str, Any] = {
    "count": int,
    "number": float,
    "flag": bool,
    "text": str,
    "size": Size(),
    "moment": Moment(),
}


# The settings that most people set; the others are in --help-all.
_USUAL = (
    "image_size",
    "learning_rate",
    "batch_size",
    "epochs",
    "steps",
    "images",
    "time_limit_s",
    "seed",
    "init_from",
    "device",
    "threads",
)
_SHORT = {"images": ("-i",), "steps": ("-s",), "epochs": ("-e",), "batch_size": ("-b",), "device": ("-d",)}


def _settings(command: click.Command) -> click.Command:
    """Adds every setting of the core as an option."""
    config = _cagan.Config()
    for setting in _cagan.settings():
        default = getattr(config, setting["name"])
        shown = "x".join(map(str, default)) if isinstance(default, tuple) else default
        option = GroupedOption(
            *_SHORT.get(setting["name"], ()),
            "--" + setting["name"].replace("_", "-"),
            group=setting["group"],
            usual=setting["name"] in _USUAL,
            type=Choice(setting["choices"]) if setting["kind"] == "choice" else _TYPES[setting["kind"]],
            help=f"{setting['help']} [default: {'none' if shown in (None, '') else shown}]",
        )
        command.params.append(option)
    return command


class _Rare(GroupedOption):
    """An option without a heading that the short help leaves out."""

    def __init__(self, names: Sequence[str], **options: Any) -> None:
        super().__init__(*names, group="Options", usual=False, **options)


def _thresholds(command: click.Command) -> click.Command:
    """Adds every threshold of curation as an option."""
    for threshold in _cagan.curation_options():
        name, default = "--" + threshold["name"].replace("_", "-"), threshold["default"]
        text = threshold["help"][0].upper() + threshold["help"][1:]
        option = GroupedOption(
            name, group="Thresholds", usual=False, type=type(default), help=f"{text} [default: {default}]"
        )
        command.params.append(option)
    return command


_WHICH = click.option(
    "--which",
    type=WhichSnapshot(),
    help="Snapshot of a run: best, newest or a step [default: best, the newest unless the run got worse]",
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="cagan")
def cli() -> None:
    """Train on pairs of a person and a product picture, and swap fashion articles on photos.

    Results go to standard output, progress and errors to standard error. The exit code is 0 if the command is done, 1
    if it failed, 2 for an unknown command, option or value, 130 after Ctrl-C and 143 after SIGTERM. `eval
    "$(_CAGAN_COMPLETE=bash_source cagan)"` completes words in bash; zsh_source and fish_source are for other shells.
    """


@_settings
@cli.command(cls=Grouped)
@click.argument("pairs", type=_PATH)
@click.argument("run_dir", type=_PATH)
@click.option("-p", "--preset", type=Choice(_cagan.presets()), help=f"Preset [default: {_cagan.Config().preset}]")
@click.option("--human", cls=_Rare, help="Folder or pattern of the humans, in place of a layout")
@click.option("--article", cls=_Rare, help="Folder or pattern of the articles")
@click.option("--split", help="Split to train on, for pairs with several")
@click.option("--on-error", cls=_Rare, type=Choice(["raise", "skip"]), help="Action on unusable files [default: raise]")
@click.option("--extra-articles", cls=_Rare, is_flag=True, help="Add articles without a human as targets")
@click.option(
    "--resume",
    type=Choice(["auto", "never", "must"]),
    help="Resume the run in RUN_DIR: if it has a checkpoint, never (and fail if it has one), or fail without one "
    "[default: auto]",
)
@click.option("--gpus", type=click.IntRange(1), help="Train on this many GPUs of this machine, a process on each")
@click.option("--tensorboard", cls=_Rare, is_flag=True, help="Write TensorBoard's event files to RUN_DIR/tensorboard")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress and no summary")
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
    gpus: int | None,
    tensorboard: bool,
    quiet: bool,
    as_json: bool,
    **settings: Any,
) -> None:
    """Train on the pairs in the folder PAIRS, or resume the run in RUN_DIR.

    Settings default to the preset's values, and for a run that is resumed to the run's own, but for --time-limit-s. The
    values below are those of the default preset.

    On several machines, `torchrun ... -m cagan train PAIRS RUN_DIR` trains one run in all processes that it starts.
    """
    if gpus is not None:
        check_gpus(gpus, settings["device"])
        if gpus > 1:
            sys.exit(launch(gpus, without_gpus(sys.argv[1:])))
    given: Any = {name: value for name, value in settings.items() if value is not None}
    found = _cagan.Pairs(pairs, human=human, article=article, on_error=on_error, extra_articles=extra_articles)
    if split is not None:
        found = found.of_split(split)
    with _resumable(run_dir):
        run = run_train(
            found,
            run_dir,
            preset=preset,
            resume=resume,
            progress=False if quiet else None,
            tensorboard=tensorboard,
            **given,
        )
    if os.environ.get("RANK", "0") != "0" and os.environ.get("WORLD_SIZE", "1") != "1":
        return
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


@cli.command(cls=Grouped)
@click.argument("model", type=Model())
@click.argument("pictures", type=_PATH, nargs=-1, metavar="[HUMAN TARGET]")
@click.option(
    "-w", "--worn", type=_PATH, help="Product picture of the worn article, or a folder with the photos' names"
)
@click.option("-o", "--out", type=_PATH, help="Picture to write, .png, .jpg or .webp, or folder; - for standard output")
@click.option("--pairs", type=_PATH, help="Folder of the pairs that --list names")
@click.option(
    "--list",
    "listing",
    type=_PATH,
    help="CSV with the columns human and target, ids of --pairs; or lists of a catalogue (.parquet, .csv, .jsonl)",
)
@click.option("--report", type=_PATH, help="CSV to write with the swaps whose pictures cannot be read")
@click.option("--shard", type=Shard(), help="This worker's share of a catalogue: 0/4 to 3/4 for four workers")
@click.option("--shard-rows", type=int, help="Rows of a shard, which a killed job repeats at most [default: 1000]")
@click.option("--format", "ending", type=Choice(["webp", "jpg", "png"]), help="Format of a catalogue [default: webp]")
@click.option("--quality", type=int, help="Quality of .jpg and .webp, 1 to 100 [default: 95 and no loss]")
@click.option("--max-side", type=int, help="Longest side of what is written, in pixels")
@click.option("--masks", is_flag=True, help="Write the masks of a catalogue too")
@click.option("--retry-failed", is_flag=True, help="Try the failed rows of a catalogue's finished shards again")
@_WHICH
@click.option("-d", "--device", help=_DEVICE)
@click.option("--threads", type=int, help="Threads of libtorch; 1 where several workers share a machine [default: 0]")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON")
def swap(
    model: Path,
    pictures: tuple[Path, ...],
    worn: Path | None,
    out: Path | None,
    pairs: Path | None,
    listing: Path | None,
    report: Path | None,
    shard: tuple[int, int] | None,
    shard_rows: int | None,
    ending: str | None,
    quality: int | None,
    max_side: int | None,
    masks: bool,
    retry_failed: bool,
    which: Which | None,
    device: str | None,
    threads: int | None,
    as_json: bool,
) -> None:
    """Put the article TARGET on the person HUMAN with MODEL: a run folder, a snapshot, or dolls.

    Writes the picture to --out, by default HUMAN__TARGET.png in the current folder, and its mask to .alpha.png beside
    it; networks that locate the worn article write its region to .located.png too. With - one of HUMAN and TARGET comes
    from standard input, or the picture goes to standard output, as PNG and without its mask.

    If HUMAN or TARGET is a folder, every person in it puts on every article, to --out/HUMAN__TARGET.png, by default in
    swaps/. A --list of ids of --pairs does the same for its rows. Several swaps go on where they were stopped, pass
    over pictures that cannot be read, and then exit with 1.

    A catalogue is a --list of the columns id, human, target and perhaps worn, paths or files' bytes, without --pairs;
    or several lists; or a --list of ids of --pairs with --shard or --format. It is made in shards, to --out/ab/ID.webp,
    with one manifest for each shard: a job that was killed goes on behind the last one, and any number of workers share
    the work by --shard.
    """

    def load() -> _cagan.Swapper:
        return _cagan.Swapper(model, device, which=which, threads=threads)

    of_catalogue = {
        "--shard": shard is not None,
        "--shard-rows": shard_rows is not None,
        "--format": ending is not None,
        "--masks": masks,
        "--retry-failed": retry_failed,
    }
    given = [name for name, is_given in of_catalogue.items() if is_given]
    in_shards = given or quality is not None or max_side is not None or pairs is None
    if listing is not None and listing.suffix.lower() in LISTS and in_shards:
        if worn is not None:
            raise click.UsageError("--worn: expected the column worn of the list, got an option")
        if out is None or str(out) == "-":
            raise click.UsageError(f"--out: expected a folder for the catalogue, got {out or 'none'}")
        lists: list[Any] = [listing, *pictures]
        catalogue = Catalogue(
            lists,
            out,
            shard_rows=1000 if shard_rows is None else shard_rows,
            format=ending or "webp",
            quality=quality,
            max_side=max_side,
            masks=masks,
            pairs=None if pairs is None else _cagan.Pairs(pairs, on_error="skip"),
        )
        _say_catalogue(swap_shards(load, catalogue, shard or (0, 1), retry_failed), out, report, as_json)
        return
    if given:
        raise click.UsageError(f"{given[0]}: expected a --list of a catalogue, got none")
    if len(pictures) not in (0, 2):
        raise click.UsageError("expected HUMAN and TARGET, or --pairs and --list")
    human, target = pictures if pictures else (None, None)
    if human is not None and target is not None and pairs is None and listing is None:
        if not (human.is_dir() or target.is_dir()):
            if report is not None:
                raise click.UsageError("--report: expected a folder or a --list, got one photo")
            _swap_one(load(), human, target, worn, out, as_json, {"quality": quality, "max_side": max_side})
            return
        rows = _crossed(human, target, worn)
        unread: list[tuple[str, str, str]] = []
        out, knows = out or Path("swaps"), worn is not None
    else:
        if any(path is not None for path in (human, target, worn)) or pairs is None or listing is None:
            raise click.UsageError("expected HUMAN and TARGET, or --pairs and --list")
        if out is None:
            raise click.UsageError("--out: expected a folder for the swaps of --list, got none")
        unread = []
        rows, knows = listed(listing, _cagan.Pairs(pairs, on_error="skip"), unread=unread), True
    if str(out) == "-":
        raise click.UsageError("--out: expected a folder for several swaps, got -")
    if quality is not None or max_side is not None:
        name = "--max-side" if quality is None else "--quality"
        raise click.UsageError(f"{name}: expected one photo or a catalogue, got swaps as PNG")
    done = swap_list(load(), rows, out, worn=knows)
    done.broken += unread
    if report is not None:
        _report(report, ("human", "target", "reason"), done.broken)
    made = done.made + done.kept
    if as_json:
        broken = [dict(zip(("human", "target", "reason"), row)) for row in done.broken]
        _say(json.dumps({"out": str(out), "swaps": made, "kept": done.kept, "broken": broken}))
    else:
        _say(f"{made} swaps in {out}" + (f", {done.kept} of them from before" if done.kept else ""))
    if done.broken:
        person, article, reason = done.broken[0]
        raise ValueError(f"{len(done.broken)} swaps not made; the first: {person} in {article}: {reason}")


def _report(path: Path, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    _cagan.write_atomically(path, text.getvalue().encode("utf-8", errors="replace"))


def _say_catalogue(done: Shared, out: Path, report: Path | None, as_json: bool) -> None:
    """Prints what became of a worker's share of a catalogue.

    Raises:
        ValueError: A row or a shard could not be made.
    """
    if report is not None:
        _report(report, ("id", "error"), done.failed)
    if as_json:
        failed = [dict(zip(("id", "error"), row)) for row in done.failed]
        shards = [dict(zip(("shard", "error"), row)) for row in done.undone]
        counts = {"out": str(out), "shards": done.shards, "swaps": done.made, "kept": done.kept}
        _say(json.dumps({**counts, "failed": failed, "undone": shards}))
    else:
        before = f", {done.kept} of them from before" if done.kept else ""
        _say(f"{done.made} swaps in {out}{before}")
    if done.undone:
        shard, error = done.undone[0]
        raise ValueError(f"{len(done.undone)} shards not made; the first: {shard}: {error}")
    if done.failed:
        name, error = done.failed[0]
        raise ValueError(f"{len(done.failed)} swaps not made; the first: {name}: {error}")


def _swap_one(
    swapper: _cagan.Swapper,
    human: Path,
    target: Path,
    worn: Path | None,
    out: Path | None,
    as_json: bool,
    form: dict[str, int | None],
) -> None:
    """Swaps one photo, from standard input and to standard output if a path is -."""
    given = [path for path in (human, target, worn) if path is not None]
    if sum(str(path) == "-" for path in given) > 1:
        raise click.UsageError("-: expected one picture from standard input, got two")
    if out is None:
        names = ("photo" if str(path) == "-" else path.stem for path in (human, target))
        out = Path(f"{swap_name(*names)}.png")
    elif out.is_dir():
        out /= f"{swap_name(human.stem, target.stem)}.png"
    piped = str(out) == "-"
    if not piped:
        _check_out(out, given)

    def picture(path: Path) -> Any:
        return sys.stdin.buffer.read() if str(path) == "-" else path

    swap = swapper.swap(picture(human), None if worn is None else picture(worn), picture(target))
    if piped:
        sys.stdout.buffer.write(swap.encoded("png", **form))
        sys.stdout.buffer.flush()
        return
    files = {"image": out, "mask": out.with_suffix(".alpha.png")}
    if swap.located is not None:
        files["located"] = out.with_suffix(".located.png")
    swap.save(out, files["mask"], files.get("located"), **form)
    _say(json.dumps({name: str(path) for name, path in files.items()}) if as_json else str(out))


def _crossed(human: Path, target: Path, worn: Path | None) -> list[tuple[_cagan.Pair, _cagan.Pair]]:
    """Every person in every article of two folders, or of a folder and a picture.

    Raises:
        ValueError: A folder has no picture, or two of one name, or a photo's worn article is missing.
    """
    people, articles = _pictures(human), _pictures(target)
    known = dict.fromkeys(people, worn) if worn is not None and not worn.is_dir() else {}
    if worn is not None and worn.is_dir():
        known = dict(_pictures(worn))
        if missing := [name for name in people if name not in known]:
            raise ValueError(f"{worn}: expected a picture called {missing[0]}, as the photo, got none")
    # An unknown worn article is withheld later; a pair has two pictures.
    rows = [_cagan.Pair(name, photo, known.get(name) or photo) for name, photo in people.items()]
    return [(person, _cagan.Pair(name, path, path)) for person in rows for name, path in articles.items()]


def _pictures(path: Path) -> dict[str, Path]:
    """The pictures of a folder by their names without endings; or the one picture."""
    if not path.is_dir():
        return {path.stem: path}
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        if file.suffix.lower() in _READ and not file.name.startswith("."):
            if file.stem in found:
                raise ValueError(f"{path}: expected one picture called {file.stem}, got two, as {file.name}")
            found[file.stem] = file
    if not found:
        raise ValueError(f"{path}: expected pictures ({', '.join(_READ)}), got none")
    return found


def _check_out(out: Path, pictures: list[Path]) -> None:
    """Checks before any work that the ending is known, and that no picture would be lost."""
    if out.suffix.lower() not in _ENDINGS:
        raise ValueError(f"{out}: expected a name that ends in {', '.join(_ENDINGS)}")
    for path in pictures:
        if out.exists() and path.exists() and out.samefile(path):
            raise ValueError(f"{out}: expected another file than the pictures of the swap, got {path}")


@cli.command()
@click.argument("model", type=Model())
@click.argument("pairs", type=_PATH)
@click.option("--split", help="Split to score, for pairs with several")
@click.option("--on-error", type=Choice(["raise", "skip"]), help="Action on unusable files [default: raise]")
@click.option("--targets", type=int, help="Number of articles for each person [default: the list of true swaps, or 3]")
@click.option("--list", "listing", type=_PATH, help="CSV with the columns human and target: the swaps to score")
@click.option("--height", type=int, default=256, show_default=True, help="Height of comparisons inside regions")
@click.option("--features", type=_PATH, help="Feature network for FID and KID: TorchScript .pt or .onnx")
@click.option("--feature-size", type=Size(), help="Height x width of its input [default: as --height, in 4:3]")
@click.option("-d", "--device", help=_DEVICE)
@_WHICH
@click.option("-o", "--out", type=_PATH, help="File to write the figures to as JSON, beside evaluation.json of a run")
@click.option("--json", "as_json", is_flag=True, help="Print the figures, those of each swap too, as JSON")
@click.option("--sheet", type=_PATH, help="Write the worst swaps as a PNG")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress")
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
    which: Which | None,
    out: Path | None,
    as_json: bool,
    sheet: Path | None,
    quiet: bool,
) -> None:
    """Score the swaps of MODEL, a run folder, a snapshot or dolls, on the folder PAIRS.

    Dolls are scored by their true swaps, pairs with a folder mask/ by the worn garments' regions, other pairs without a
    truth. The last line is a verdict. The figures of a run are written to evaluation.json in its folder, where `cagan
    export` and `cagan runs` read them.
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
        which=which,
        progress=False if quiet else None,
    )
    if sheet is not None:
        scores.sheet(sheet)
    if out is not None:
        _cagan.write_atomically(out, f"{scores.to_json()}\n".encode())
    _say(scores.to_json() if as_json else f"{scores.table()}\n{scores.verdict}")


@cli.command()
@click.argument("model", type=Model())
@click.argument("out", type=_PATH)
@click.option("--overwrite", is_flag=True, help="Replace a card or a picture of other programs beside OUT")
@_WHICH
@click.option("--json", "as_json", is_flag=True, help="Print what was written as JSON")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress")
def export(model: Path, out: Path, overwrite: bool, which: Which | None, as_json: bool, quiet: bool) -> None:
    """Write MODEL, a run folder, a snapshot or dolls, for other programs, and a model card beside it.

    The ending of OUT is the format: .onnx, .pt2 (torch.export), .pt (TorchScript) or .safetensors. The card has the
    figures of evaluation.json in the run's folder, which cagan evaluate RUN PAIRS writes.
    """
    made = run_export(model, out, overwrite=overwrite, which=which, progress=False if quiet else None)
    _say(json.dumps({"model": str(made), "card": str(made.with_suffix(".md"))}) if as_json else str(made))


@cli.command()
@click.argument("out", type=_PATH)
@click.option("-n", "--count", type=int, required=True, help="Number of pairs")
@click.option("--seed", type=int, help="Seed of the drawing [default: 0]")
@click.option("--size", type=Size(), help="Height x width [default: 128x96]")
@click.option("--swaps", type=int, help="True swaps of each person; 0 for none [default: 1]")
@click.option("--json", "as_json", is_flag=True, help="Print the folder and the number of pairs as JSON")
def dolls(out: Path, count: int, seed: int | None, size: Any, swaps: int | None, as_json: bool) -> None:
    """Draw synthetic pairs into the folder OUT, true swaps and their masks into OUT/swaps."""
    pairs = _cagan.dolls(out, count, seed, size, swaps)
    _say(json.dumps({"folder": str(out), "pairs": len(pairs)}) if as_json else str(pairs))


@_thresholds
@cli.command(cls=Grouped)
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
        _say(json.dumps({**counts, **more}))
        return
    for word, count in {"kept": found.kept, "left out": found.excluded, **found.counts}.items():
        _say(f"{count:7} {word}")
    _say(f"{len(found.groups):7} groups\n{found.csv}")
    if found.report:
        _say(str(found.report))


@cli.command()
@click.argument("folder", type=_PATH)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port of 127.0.0.1 [default: a free one]")
@click.option("--no-browser", is_flag=True, help="Print the address without opening it")
@click.option("--json", "as_json", is_flag=True, help="Print address and token, and at the end the counts, as JSON")
def review(folder: Path, port: int, no_browser: bool, as_json: bool) -> None:
    """Review the pairs in FOLDER with the keyboard on a local page; each decision is saved at once."""
    run_review(folder, port=port, browser=not no_browser, as_json=as_json)


@cli.command()
@click.argument("model", type=Model())
@click.option("--pairs", type=_PATH, help="Folder of pairs to pick pictures from")
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; any other admits other machines"
)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Port to listen on [default: a free one]")
@_WHICH
@click.option("-d", "--device", help=_DEVICE)
@click.option("--no-browser", is_flag=True, help="Print the address without opening it")
@click.option("--json", "as_json", is_flag=True, help="Print address and token as JSON")
def app(
    model: Path,
    pairs: Path | None,
    host: str,
    port: int,
    which: Which | None,
    device: str | None,
    no_browser: bool,
    as_json: bool,
) -> None:
    """Try MODEL, a run folder, a snapshot or dolls, on a local page that swaps uploaded or picked pictures."""
    chosen = model if which is None else _cagan.Swapper(model, device, which=which)
    run_app(chosen, pairs, host=host, port=port, device=device, browser=not no_browser, as_json=as_json)


@cli.command()
@click.argument("model", type=Model())
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Address to listen on; any other admits other machines"
)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Port; 0 takes a free one")
@click.option("--max-batch", type=int, default=16, show_default=True, help="Most requests that are swapped at once")
@click.option("--wait-ms", type=float, default=10, show_default=True, help="Time that the first of them waits")
@click.option("--max-bytes", type=int, default=32 << 20, show_default=True, help="Largest request in bytes")
@click.option("--max-pixels", type=int, default=25_000_000, show_default=True, help="Largest picture in pixels")
@click.option("--cache-bytes", type=int, default=256 << 20, show_default=True, help="Memory of decoded pictures")
@_WHICH
@click.option("-d", "--device", help=_DEVICE)
def serve(model: Path, host: str, port: int, which: Which | None, device: str | None, **limits: float) -> None:
    """Serve MODEL, a run folder, a snapshot or dolls, over HTTP: POST /swap, GET /healthz, GET /metadata.

    POST /swap takes a form with the files human, target and worn, and answers with the picture. Requests that come
    together are swapped together. Ctrl-C and SIGTERM let what was begun end.
    """
    chosen = model if which is None else _cagan.Swapper(model, device, which=which)
    run_serve(chosen, host=host, port=port, device=device, **limits)


@cli.command()
@click.argument("folder", type=_PATH, default=Path("runs/demo"))
@click.option("--images", type=int, help="Length of the run in pictures [default: what two cores see in three minutes]")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser")
@click.option("--json", "as_json", is_flag=True, help="Print the page's path and the scores as JSON")
def demo(folder: Path, images: int | None, opens: bool, as_json: bool) -> None:
    """Show swaps after some seconds, then train a model of your own for some minutes.

    Writes FOLDER/index.html at once, with swaps by the weights that cagan brings, and keeps it up to date while a run
    on freshly drawn dolls learns from nothing. Ends with a verdict and what to try next.
    """

    def seen(page: Path) -> None:
        Stream(sys.stderr).write(f"swaps by the package's weights, and soon your own run: {page.resolve().as_uri()}\n")
        if opens:
            webbrowser.open(page.resolve().as_uri())

    with _resumable(folder / "run"):
        page, scores = run_demo(folder, images=images, seen=seen)
    if as_json:
        _say(json.dumps({"page": str(page), "verdict": scores.verdict, "scores": dict(scores)}))
        return
    _say(f"{scores.table()}\n{scores.verdict}\n{page}")


@cli.command()
@click.argument("folder", type=_PATH, default=Path("runs"))
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each run")
def runs(folder: Path, as_json: bool) -> None:
    """List the runs in FOLDER and below it: preset, state, steps, best score (lower is better), speed, date."""
    rows = []
    for run in list_runs(folder):
        last = run.stats[-1] if run.stats else {}
        own = {
            "run": str(run.path),
            "preset": run.config.preset,
            "state": run.state,
            "steps": run.total_steps,
            "score": run.score,
            "best_step": run.best_step,
            "date": run.date.isoformat(" ", "minutes"),
            "snapshots": len(run.snapshots),
            "verdict": (run.evaluation or {}).get("verdict"),
        }
        rows.append({**own, **last})
    if as_json:
        for row in rows:
            _say(json.dumps(row))
        return
    columns = {
        "run": "run",
        "preset": "preset",
        "state": "state",
        "step": "step",
        "of": "steps",
        "score": "score",
        "best": "best_step",
        "images/s": "time/images_per_s",
        "date": "date",
        "G": "loss/generator",
        "mask": "mask/area",
    }
    table = [list(columns)] + [[_short(row.get(key)) for key in columns.values()] for row in rows]
    widths = [max(len(line[k]) for line in table) for k in range(len(columns))]
    for line in table:
        _say("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())


def _short(value: Any) -> str:
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


@cli.command()
@click.argument("preset", type=Choice(_cagan.presets()), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; with PRESET its settings alone")
def info(preset: Preset | None, as_json: bool) -> None:
    """Show versions, device, threads and presets; with PRESET its settings and their sources."""
    if as_json:
        _say(json.dumps(_cagan.Config(preset).to_dict() if preset else gather_info()))
        return
    if preset:
        _say(str(_cagan.Config(preset)))
        return
    for name, value in gather_info().items():
        _say(f"{name:15} {', '.join(value) if isinstance(value, list) else value}")


# What a command leaves behind when it is stopped.
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
# What takes the place of these words.
_LEFT: list[str] = []


@contextlib.contextmanager
def _resumable(run_dir: Path) -> Iterator[None]:
    """Makes the last words of a run that was stopped before its first checkpoint true."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if not any((run_dir / "checkpoints").glob("step_*.safetensors")):
            _LEFT.append("no step was made, and the same command begins anew")
        raise


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
    errors = Stream(sys.stderr)
    try:
        with terminable():
            cli(standalone_mode=False, prog_name="cagan")
    except click.ClickException as error:
        with contextlib.suppress(OSError):  # nobody reads it
            error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt, SystemExit) as stop:
        code = stop.code if isinstance(stop, SystemExit) else 130
        if code not in (130, *EXIT_CODES):
            raise  # click's own, as after the completion of words
        # Further presses would only spoil the message and the exit code.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        left = _LEFT[-1] if _LEFT else _STOPPED.get(command)
        errors.write(f"stopped; {left}\n" if left else "stopped\n")
        sys.exit(code)
    except (OSError, ValueError, TypeError, KeyError, ImportError, RuntimeError, ArithmeticError) as error:
        text = error.args[0] if isinstance(error, KeyError) else error
        errors.write(f"error: {text}\n")
        sys.exit(1)
