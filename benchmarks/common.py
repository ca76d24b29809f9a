"""Take turns, make ratios and tables, keep results."""

import functools
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import cagan

RESULTS = Path(__file__).with_name("results")
TWIN = Path(__file__).parents[1] / "tests" / "python"


def seconds(call):
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def alternate(ours, theirs, rounds):
    """Return the seconds of both, in turns, after one turn each that does not count."""
    turns = [(seconds(ours), seconds(theirs)) for _ in range(rounds + 1)][1:]
    return [turn[0] for turn in turns], [turn[1] for turn in turns]


def row(part, case, ours, theirs, *, scale=1e3, unit="ms", form=""):
    """Make a row of the table. Ratio = theirs / ours, above 1 = cagan is faster; the spread is that of single turns."""
    ratios = sorted(b / a for a, b in zip(ours, theirs))
    return {
        "part": part,
        "case": case,
        "unit": unit,
        "cagan": statistics.median(ours) * scale,
        "twin": statistics.median(theirs) * scale,
        "ratio": statistics.median(ratios),
        "low": ratios[len(ratios) // 10],
        "high": ratios[-1 - len(ratios) // 10],
        "rounds": len(ratios),
        "form": form,
    }


def table(rows):
    lines = [
        "| part | case | unit | cagan | PyTorch | ratio | 10 % .. 90 % | shares | PyTorch's form |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for r in rows:
        numbers = f"{r['cagan']:.4g} | {r['twin']:.4g} | {r['ratio']:.2f} | {r['low']:.2f} .. {r['high']:.2f}"
        shares = f"{r['cagan_share']:.0%}, {r['twin_share']:.0%}" if "cagan_share" in r else ""
        lines.append(f"| {r['part']} | {r['case']} | {r['unit']} | {numbers} | {shares} | {r['form']} |")
    return "\n".join(lines)


@functools.cache
def matrix_rate(precision):
    """Return the operations a second of this machine's fastest large matrix product, with torch's threads."""
    import torch

    kind = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    a, b = (torch.rand(2048, 2048).to(kind) for _ in range(2))
    ways = [lambda: a @ b]
    if torch.backends.mkldnn.is_available():
        # The library of the convolutions is twice as fast in float32 where MKL does not know the processor.
        ways.append(lambda: torch.ops.mkldnn._linear_pointwise(a, b, None, "none", [], ""))
    with torch.inference_mode():
        return 2 * 2048**3 / min(seconds(way) for way in ways for _ in range(5))


def processor():
    info = Path("/proc/cpuinfo")
    text = info.read_text(encoding="utf-8") if info.is_file() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def system():
    """Describe machine, versions, date and commit, on which a number depends."""
    import torch

    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=TWIN, capture_output=True, text=True)
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2),
        "torch_threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "platform": platform.platform(),
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit.stdout.strip(),
        **cagan.info(),
    }


def keep(name, rows, path=None):
    """Write rows and system as JSON: to `path`, or to a file beside this one whose name has the date."""
    path = path or RESULTS / f"{name}_{time.strftime('%Y-%m-%d_%H%M%S')}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"system": system(), "rows": rows}, indent=2) + "\n", encoding="utf-8")
    return path


def use_twin():
    """Make `from reference import Twin` work."""
    sys.path.insert(0, str(TWIN))
