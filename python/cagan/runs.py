"""Run folders, read back."""

import json
import os
from pathlib import Path
from typing import Any

from . import _cagan

__all__ = ["Run", "runs"]


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

    def swapper(self, device: str | None = None) -> _cagan.Swapper:
        """Loads the newest snapshot."""
        return _cagan.Swapper(self.path, device)

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
    if or_none and not path.is_file():
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
