"""What a tracker of experiments is told of a run."""

from pathlib import Path
from typing import Any

__all__ = ["Tracker"]


class Tracker:
    """Takes the events of `cagan.train` and writes them elsewhere. Trackers of other libraries derive from it.

    A tracker that fails at its start ends the run there. One that fails later gets no more of the run, which goes on
    with a warning: no curve is worth a run.

    Attributes:
        name: What it is called in a warning.
        run_dir: The run's folder, which `cagan.train` sets.
    """

    name = "the tracker"
    run_dir = Path()

    def start(self, config: dict[str, Any], about: dict[str, Any]) -> None:
        """Begins.

        Args:
            config: The resolved settings.
            about: "step" (where it begins), "pairs", "articles", "parameters" and what else the event "start" holds.
        """

    def numbers(self, values: dict[str, float], step: int) -> None:
        """Takes logged values by their keys: a line of stats.jsonl or of monitor.jsonl."""

    def picture(self, name: str, path: Path, step: int) -> None:
        """Takes a picture: "samples", a sample grid."""

    def close(self, error: BaseException | None) -> None:
        """Ends.

        Args:
            error: What ended the run before its end, such as a KeyboardInterrupt.
        """

    def __call__(self, event: str, value: Any) -> None:
        """Takes an event."""
        if event == "start":
            self.start(value["config"], {name: entry for name, entry in value.items() if name != "config"})
        elif event in ("report", "look"):
            self.numbers({key: number for key, number in value.items() if key != "step"}, value["step"])
        elif event == "sample":
            self.picture("samples", value, int(value.stem.split("_")[1]))
