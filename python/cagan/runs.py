"""Run folders, read back."""

import datetime
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from . import _cagan
from .settings import Which

if TYPE_CHECKING:
    from PIL.Image import Image

    from .evaluation import Scores

__all__ = ["Run", "runs", "saved_config"]

State = Literal["running", "finished", "stopped", "diverged"]


class Run:
    """A run folder: its config, log, pictures and snapshots. It is a path, so `cagan.Swapper(run)` works.

    Args:
        path: A folder that `cagan.train` wrote.

    Raises:
        FileNotFoundError: The folder is missing or holds no run.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:  # noqa: D107  # the class says it
        self.path = Path(path)
        if not (self.path / "config.json").is_file():
            raise FileNotFoundError(f"{self.path}: expected a run folder with config.json, got none")

    @classmethod
    def elsewhere(cls, path: str | os.PathLike[str]) -> "Run":
        """Returns the run of a folder that may be on another machine: its files cannot be read here then."""
        run = cls.__new__(cls)
        run.path = Path(path)
        return run

    @property
    def config(self) -> _cagan.Config:
        """The resolved config."""
        return _cagan.Config.from_json((self.path / "config.json").read_text(encoding="utf-8"))

    @property
    def stats(self) -> list[dict[str, float]]:
        """The lines of stats.jsonl: means over each interval, by log key."""
        return _lines(self.path / "stats.jsonl")

    @property
    def looks(self) -> list[dict[str, float]]:
        """The lines of monitor.jsonl: the monitor's measures, by log key; empty without the file."""
        return _lines(self.path / "monitor.jsonl", or_none=True)

    @property
    def resumes(self) -> list[int]:
        """The steps at which the run was resumed, in the order of time."""
        return [line["step"] for line in _lines(self.path / "resumes.jsonl", or_none=True)]

    @property
    def best(self) -> Path | None:
        """The snapshot with the monitor's lowest score, or None before the first."""
        path = self.path / "snapshots" / "best.safetensors"
        return path if path.is_file() else None

    @property
    def samples(self) -> list[Path]:
        """The sample grids, oldest first."""
        return sorted((self.path / "samples").glob("step_*.png"))

    @property
    def snapshots(self) -> list[Path]:
        """The snapshots, oldest first."""
        return sorted((self.path / "snapshots").glob("step_*.safetensors"))

    @property
    def best_step(self) -> int | None:
        """The step of the monitor's lowest score, or None before the first."""
        steps = [int(line["monitor/best_step"]) for line in self.looks if line.get("monitor/best_step")]
        return steps[-1] if steps and self.best is not None else None

    @property
    def score(self) -> float | None:
        """The monitor's lowest score, of the best snapshot; lower is better."""
        best = self.best_step
        return next((line["monitor/score"] for line in reversed(self.looks) if line["step"] == best), None)

    @property
    def evaluation(self) -> dict[str, Any] | None:
        """The content of evaluation.json, which `cagan.evaluate` of the run writes; None without one.

        Raises:
            ValueError: The file holds something else.
        """
        path = self.path / "evaluation.json"
        if not path.is_file():
            return None
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return content

    @property
    def total_steps(self) -> int | None:
        """The run's length in steps; None if it depends on a number of pairs that no checkpoint tells."""
        config = self.config
        if config.steps or config.images:
            return config.total_steps(1)
        pairs = next((header["pairs"] for header in _headers(self.path) if "pairs" in header), None)
        return None if pairs is None else config.total_steps(int(pairs))

    @property
    def stages(self) -> list[tuple[str, int]]:
        """The stages in order: names, and the steps at which they begin; one stage for the published networks."""
        config = self.config
        # The numbers of a run are resolved, so that the number of pairs does not matter.
        return [(name, -(-images // config.batch_size)) for name, images in config.stages(1)]

    @property
    def state(self) -> State:
        """What the run does: "running" in a process of this machine, "finished", "diverged", or "stopped"."""
        stats = self.stats
        if self.total_steps is not None and stats and stats[-1]["step"] >= self.total_steps:
            return "finished"
        if _is_alive(self.path / ".lock"):
            return "running"
        return "diverged" if (self.path / "failed.safetensors").is_file() else "stopped"

    @property
    def date(self) -> datetime.datetime:
        """When the run wrote its last line, or its config."""
        path = self.path / "stats.jsonl"
        return datetime.datetime.fromtimestamp((path if path.is_file() else self.path / "config.json").stat().st_mtime)

    def swapper(self, device: str | None = None, *, which: Which | None = None) -> _cagan.Swapper:
        """Loads a snapshot, as `cagan.Swapper` does.

        Args:
            device: As for `cagan.Swapper`.
            which: "best" (the default) is the newest, unless the monitor saw the run get worse: where its last score is
                above its lowest by more than 0.1, it is the one with the lowest. "newest", or a step.

        Raises:
            ValueError: There is no such snapshot.
        """
        return _cagan.Swapper(self.path, device, which=which)

    def best_swapper(self, device: str | None = None) -> _cagan.Swapper:
        """Loads the snapshot with the monitor's lowest score.

        Raises:
            FileNotFoundError: The monitor has found none.
        """
        if self.best is None:
            raise FileNotFoundError(f"{self.path}: expected snapshots/best.safetensors of the monitor, got none yet")
        return _cagan.Swapper(self.best, device)

    def push_to_hub(
        self,
        repository: str,
        *,
        which: Which | None = None,
        licence: str | None = None,
        private: bool | None = None,
        revision: str | None = None,
        message: str | None = None,
        token: str | bool | None = None,
    ) -> str:
        """Uploads a snapshot to the Hugging Face Hub, for `cagan.Swapper.from_hub`; needs `pip install 'cagan[hub]'`.

        The repository gets `model.safetensors`, `config.json`, a card with the settings, the scores of evaluation.json
        and the newest sample grid, which shows pictures of the run's people. It is made if it is missing.

        Args:
            repository: The repository, as "me/dress".
            which: The snapshot, as for `swapper`.
            licence: The model's licence, as the Hub names it: "mit", "cc-by-nc-4.0". Without one the card names none.
            private: Whether a new repository is private. Defaults to what your account has set.
            revision: A branch, made if it is missing. Defaults to the main branch.
            message: The commit's message.
            token: A token of the Hub. Defaults to the one that `hf auth login` saved.

        Returns:
            The address of the commit.

        Raises:
            ImportError: huggingface_hub is missing.
            ValueError: There is no such snapshot, the name is none of a repository, or `evaluation.json` holds no
                figures.
            PermissionError: The token may not write there.
            OSError: The Hub fails, or cannot be reached.
        """
        from .hub import push

        swapper, samples = self.swapper("cpu", which=which), self.samples
        return push(
            *(swapper, self.path, repository),
            samples=samples,
            licence=licence,
            private=private,
            revision=revision,
            message=message,
            token=token,
        )

    def evaluate(self, pairs: "_cagan.Pairs | str | os.PathLike[str]", **options: Any) -> "Scores":
        """Scores the run, as `cagan.evaluate` does, and writes evaluation.json into its folder.

        Raises:
            TypeError: An option is none of `cagan.evaluate`.
            ValueError: As `cagan.evaluate`.
        """
        from .evaluation import evaluate

        return evaluate(self, pairs, **options)

    def show_results(
        self, pairs: "_cagan.Pairs | list[_cagan.Pair] | None" = None, count: int = 4, *, which: Which | None = None
    ) -> "Image":
        """Draws people before and after: a row each of photo, worn article, target, swap and mask.

        Args:
            pairs: People, each of whom puts on the next one's article. None returns the newest sample grid.
            count: The largest number of rows.
            which: The snapshot, as for `swapper`.

        Raises:
            ValueError: There are fewer than two pairs, or no such snapshot.
            FileNotFoundError: The run has no sample grid.
        """
        from .showing import results

        if pairs is not None:
            return results(self.swapper(which=which), [pairs[k] for k in range(min(len(pairs), count + 1))], count)
        if not self.samples:
            raise FileNotFoundError(f"{self.path}: expected a sample grid, got none yet")
        from PIL import Image

        with Image.open(self.samples[-1]) as sample:
            return sample.copy()

    def __fspath__(self) -> str:
        """Returns the folder."""
        return str(self.path)

    def __repr__(self) -> str:
        """Names the folder."""
        return f"Run({str(self.path)!r})"

    def _repr_mimebundle_(self, **_: Any) -> dict[str, bytes]:
        """Shows curves and the newest grid; without matplotlib the grid, if the run has one."""
        if not (self.path / "stats.jsonl").is_file():
            return {}
        try:
            from .plots import overview
        except ImportError:
            samples = self.samples
            return {"image/png": samples[-1].read_bytes()} if samples else {}
        return overview(self)._repr_mimebundle_()[0]


def _lines(path: Path, *, or_none: bool = False) -> list[dict[str, Any]]:
    """Reads the lines of a .jsonl; `or_none` gives an empty list for a missing file.

    Passes over what is no line: the last one while it is written, and bytes that a crash left.
    """
    # A device, as /dev/null in the place of a log, has no lines, and a pipe would wait.
    if not path.is_file() and (or_none or path.exists()):
        return []
    found = []
    for text in path.read_bytes().split(b"\n"):
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            found.append(line)
    return found


def _headers(run_dir: Path) -> list[dict[str, str]]:
    """The headers of a run's checkpoints that can be read, newest first."""
    found = []
    for path in sorted((run_dir / "checkpoints").glob("step_*.safetensors"), reverse=True):
        try:
            found.append(_cagan.read_header(path))
        except (OSError, ValueError):
            continue
    return found


def saved_config(run_dir: Path) -> _cagan.Config | None:
    """The settings of the run in a folder that has a checkpoint; None without one that can be read."""
    headers = _headers(run_dir)
    if headers:
        try:
            return Run(run_dir).config
        # Then the checkpoint tells.
        except (OSError, ValueError, TypeError):
            pass
    for header in headers:
        try:
            return _cagan.Config.from_json(header["config"])
        # A checkpoint of another version; the core says what is wrong with it.
        except (KeyError, ValueError, TypeError):
            continue
    return None


def _is_alive(lock: Path) -> bool:
    """Whether the process that a lock's file names is there."""
    try:
        os.kill(int(lock.read_text(encoding="ascii").split()[0]), 0)
    except PermissionError:
        return True
    except (OSError, ValueError, IndexError):
        return False
    return True


def runs(folder: str | os.PathLike[str]) -> list[Run]:
    """Lists the runs in a folder and below it, by path; without those that a run has set aside in its folder `old`.

    Raises:
        FileNotFoundError: The folder is missing.

    Example:
        >>> import cagan
        >>> pairs = cagan.dolls("data/dolls", count=8)
        >>> run = cagan.train(pairs, "runs/first", "smoke", steps=4, progress=False)
        >>> cagan.runs("runs")
        [Run('runs/first')]
    """
    root = Path(folder)
    if not root.is_dir():
        raise FileNotFoundError(f"{root}: no such folder")
    # Other folders have a config.json too; a run has its log beside it.
    found = {path.parent for path in root.rglob("config.json") if (path.parent / "stats.jsonl").is_file()}
    # `old` of a run holds what was set aside.
    return [Run(path) for path in sorted(found) if not (path.parent.name == "old" and path.parent.parent in found)]
