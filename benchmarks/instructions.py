"""Count the instructions of the core's own parts, without libtorch, by valgrind's callgrind.

    python benchmarks/instructions.py [--cases jpeg adam ...] [--against FILE.json] [--json FILE]

Other load changes a time but not a count, so one run shows whether a commit made a part dearer. A count is not a time:
it leaves out caches and waiting. `benches/instructions.rs` has the cases; only the part itself counts, on one thread
and on its second call. Each case runs in two processes, whose counts should agree within 0.1 %; each takes half a
minute, nearly all of it for loading libtorch. valgrind's CPU has AVX2 and no AVX-512: code that could use more takes
its AVX2 path here. Another rustc gives other counts.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import common

ROOT = Path(__file__).parents[1]
COUNTED = "cagan_counted"
APART = 1e-3


def need(program):
    if shutil.which(program) is None:
        raise SystemExit(f"{program} is not on the PATH: instructions.py builds with cargo and counts with valgrind")


def build():
    """Build the driver and return its path."""
    # torch-sys asks the first python for torch.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    command = ["cargo", "bench", "--bench", "instructions", "--no-run", "--message-format", "json-render-diagnostics"]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PATH": path}, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit("cargo could not build benches/instructions.rs: its own words are above")
    messages = [json.loads(line) for line in done.stdout.splitlines()]
    (found,) = (m["executable"] for m in messages if m.get("target", {}).get("name") == "instructions")
    return found


def total(path):
    """Read the number of instructions from callgrind's file."""
    found = re.findall(r"^totals: (\d+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    if len(found) != 1 or int(found[0]) == 0:
        raise SystemExit(f"{path.name}: expected one count, got {', '.join(found) or 'none'}: was {COUNTED} called?")
    return int(found[0])


def count(driver, case):
    """Run a case; return the driver's output and the instructions."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / f"callgrind.{case}"
        command = ["valgrind", "-q", "--tool=callgrind", "--collect-atstart=no", f"--toggle-collect={COUNTED}"]
        done = subprocess.run([*command, f"--callgrind-out-file={out}", driver, case], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{case}: valgrind ended with {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout), total(out)


def row(case, counts):
    """Make a row of the table from the driver's output and the counts of two processes."""
    least, most = sorted(counts)
    if most > least * (1 + APART):
        print(f"{case['case']}: two runs differ: {least:,} and {most:,}", file=sys.stderr)
    return {**case, "instructions": least, "most": most, "per_unit": least / case["units"]}


def table(rows, before=None):
    """Print the table. `before`: an earlier file's counts by case; ratio = now / then, below 1 = fewer now."""
    ratio = " ratio |" if before is not None else ""
    lines = [f"| case | instructions | each |{ratio} what it is |", f"| --- | --- | --- |{ratio and ' --- |'} --- |"]
    for r in rows:
        then = (before or {}).get(r["case"])
        ratio = "" if before is None else f" {r['instructions'] / then:.4f} |" if then else "  |"
        each = f"{r['per_unit']:,.{1 if r['per_unit'] < 1000 else 0}f} a {r['unit']}"
        lines.append(f"| {r['case']} | {r['instructions']:,} | {each} |{ratio} {r['what']} |")
    return "\n".join(lines)


def earlier(path):
    try:
        return {r["case"]: r["instructions"] for r in json.loads(Path(path).read_text(encoding="utf-8"))["rows"]}
    except (OSError, ValueError, KeyError) as error:
        raise argparse.ArgumentTypeError(f"{path} holds no counts of an earlier run") from error


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", help="these alone [default: all]")
    parser.add_argument("--against", type=earlier, metavar="FILE", help="an earlier run's file, to give ratios to it")
    parser.add_argument("--json", type=Path, help="write the results here, not to benchmarks/results")
    arguments = parser.parse_args()
    need("cargo")
    need("valgrind")
    driver = build()
    known = subprocess.run([driver], capture_output=True, text=True, check=True).stdout.split(": ")[1].split()
    unknown = set(arguments.cases or []).difference(known)
    if unknown:
        parser.error(f"--cases: expected {', '.join(known)}; got {', '.join(sorted(unknown))}")
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    rows = []
    for name in arguments.cases or known:
        (case, first), (_, second) = count(driver, name), count(driver, name)
        rows.append({**row(case, [first, second]), "rustc": rustc})
        print(f"{name}: {rows[-1]['instructions']:,}", file=sys.stderr, flush=True)
    print(table(rows, arguments.against))
    print(f"\n{common.keep('instructions', rows, arguments.json)}")


if __name__ == "__main__":
    main()
