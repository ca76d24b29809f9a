"""What happens in a run, kept up to date by its events: stage, time left, curves, pictures."""

import math
import time
from collections import deque
from pathlib import Path
from typing import Any

__all__ = ["Following", "duration"]

# Steps behind an estimate of the speed.
_RECENT = 50


def duration(seconds: float) -> str:
    """Writes a time for people.

    Example:
        >>> from cagan.following import duration
        >>> duration(4.2), duration(75), duration(3700), duration(200_000)
        ('4 s', '1 min 15 s', '1 h 2 min', '2 d 8 h')
    """
    if not math.isfinite(seconds):
        return "?"
    whole = round(seconds)
    parts = ((whole // 86_400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s"))
    first = next((k for k, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


class Following:
    """Takes the events of `cagan.train`.

    Attributes:
        start: The value of the event "start", empty before it.
        step: Steps done.
        lines: The lines of stats.jsonl since the start.
        looks: The lines of monitor.jsonl since the start.
        sample: The newest sample grid.
    """

    # The logged values that people watch: a short name, the key, and the stage from which it means something.
    SHOWN = (
        ("D", "loss/discriminator", "judge"),
        ("G", "loss/generator", None),
        ("cycle", "loss/generator/cycle", None),
        ("restored", "loss/generator/restored", None),
        ("mask", "mask/area", None),
    )

    def __init__(self) -> None:  # noqa: D107  # the class says it
        self.start: dict[str, Any] = {}
        self.step = 0
        self.lines: list[dict[str, float]] = []
        self.looks: list[dict[str, float]] = []
        self.sample: Path | None = None
        self._began_s = time.monotonic()
        self._times: deque[tuple[int, float]] = deque(maxlen=_RECENT)

    def take(self, event: str, value: Any) -> None:
        """Takes an event."""
        if event == "start":
            self.start, self.step = value, value["step"]
            self._began_s = time.monotonic()
            self._times.append((self.step, self._began_s))
        elif event == "step":
            self.step = value
            self._times.append((value, time.monotonic()))
        elif event == "report":
            self.lines.append(value)
        elif event == "look":
            self.looks.append(value)
        elif event == "sample":
            self.sample = value

    @property
    def total(self) -> int:
        """The run's steps."""
        return int(self.start.get("total", 0))

    @property
    def images(self) -> int:
        """The pictures seen."""
        return self.step * int(self.start.get("batch_size", 1))

    @property
    def stages(self) -> list[tuple[str, int, int]]:
        """The stages with the pictures at which each begins and ends, without those that never begin."""
        end = self.total * int(self.start.get("batch_size", 1))
        found = [(name, first) for name, first in self.start.get("stages", []) if first < end]
        ends = [first for _, first in found[1:]] + [end]
        return [(name, first, last) for (name, first), last in zip(found, ends)]

    @property
    def stage(self) -> str:
        """The present stage, as `2/3 place`; empty for networks with a single one."""
        stages = self.stages
        if len(stages) < 2:
            return ""
        number = max((k for k, (_, first, _) in enumerate(stages) if first <= self.images), default=0)
        return f"{number + 1}/{len(stages)} {stages[number][0]}"

    @property
    def images_per_s(self) -> float:
        """The speed of the last steps; NaN before two."""
        if len(self._times) < 2:
            return math.nan
        (first, before), (last, now) = self._times[0], self._times[-1]
        return (last - first) * int(self.start.get("batch_size", 1)) / max(now - before, 1e-9)

    @property
    def elapsed_s(self) -> float:
        """The seconds since the start."""
        return time.monotonic() - self._began_s

    @property
    def left_s(self) -> float:
        """The seconds to the end at the present speed; NaN before two steps. Later stages of kisekae are slower."""
        rate = self.images_per_s
        left = (self.total - self.step) * int(self.start.get("batch_size", 1))
        return left / rate if rate > 0 else math.nan

    def values(self) -> dict[str, str]:
        """The newest logged values, without those that mean nothing yet."""
        if not self.lines:
            return {}
        line, late = self.lines[-1], {name for name, first, _ in self.stages if first > self.images}
        known = {name for name, _, _ in self.stages}
        never = len(known) > 1 and "judge" not in known
        shown: dict[str, str] = {}
        for name, key, since in self.SHOWN:
            begins = since is None or (since not in late and not never)
            if key in line and begins:
                shown[name] = f"{line[key]:.3f}"
        return shown

    def summary(self) -> list[str]:
        """What begins: networks, pictures, stages."""
        start = self.start
        config, sizes = start["config"], start["parameters"]
        height, width = config["image_size"]
        numbers = " + ".join(f"{count / 1e6:.1f} M" for count in sizes.values())
        articles = "" if start["articles"] == start["pairs"] else f", {start['articles']} articles"
        began = f"; goes on at step {start['step']}" if start["step"] else ""
        lines = [
            f"{config['preset']}: {height} x {width} pixels, {numbers} parameters on {start['device']}",
            f"{start['pairs']} pairs{articles}",
            f"{self.total} steps of {start['batch_size']} = {self.total * start['batch_size']} pictures{began}",
        ]
        if len(self.stages) > 1:
            lines.append("stages: " + ", ".join(f"{name} {first}-{last}" for name, first, last in self.stages))
        return lines

    def line(self) -> str:
        """One plain line on the present."""
        parts = [f"step {self.step} of {self.total} ({100 * self.step / max(self.total, 1):.0f} %)"]
        parts += [self.stage] if self.stage else []
        parts += [" ".join(f"{name} {value}" for name, value in self.values().items())] if self.lines else []
        parts += [f"{self.images_per_s:.1f} images/s, {duration(self.left_s)} left"]
        return ", ".join(parts)
