"""The benchmarks run in toy form, report the right numbers, and time no wrong result."""

import argparse
import json
import random
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from helpers import REPOSITORY

BENCHMARKS = REPOSITORY / "benchmarks"


@pytest.fixture
def scripts(monkeypatch):
    """Lets `import common` and `import gpu` find the scripts."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))


def call(script, *arguments):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / script, *arguments], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_table_of_ratios(tmp_path):
    path = tmp_path / "kept" / "bench.json"
    out = call("run.py", "--tiny", "--rounds", "2", "--parts", "step", "swap", "import", "checkpoint", "--json", path)
    kept = json.loads(path.read_text())
    assert {"processor", "cores", "torch", "python", "date", "cagan", "device"} <= set(kept["system"])
    assert [row["part"] for row in kept["rows"]] == ["step"] * 2 + ["swap"] * 4 + ["import"] + ["checkpoint"] * 2
    for row in kept["rows"]:
        assert 0 < row["low"] <= row["ratio"] <= row["high"]
        assert f"| {row['case']} | {row['unit']} |" in out


def test_the_table_of_sizes():
    out = call("sizes.py", "--sizes", "32x32", "--steps", "1")
    (row,) = [line for line in out.splitlines() if line.startswith("| 32x32 |")]
    without, judged, peak = (float(cell) for cell in row.split("|")[2:5])
    assert 0 < without < judged
    assert peak > 100


def test_gpu_in_toy_form(tmp_path):
    path = tmp_path / "gpu.json"
    out = call("gpu.py", "--tiny", "--no-compile", "--rounds", "2", "--steps", "2", "--json", path)
    # Four of them of each published preset with noise.
    assert out.count("\nok ") == 35
    rows = json.loads(path.read_text())["rows"]
    assert {"swaps: kisekae, toy size, 1 at once", "swaps: kisekae, toy size, 16 at once"} <= {r["case"] for r in rows}
    assert {"channels first", "channels last"} <= {row["form"] for row in rows}
    forms = [row["form"] for row in rows if row["case"].startswith("vasily")]
    assert {"cagan fp32", "cagan bf16", "PyTorch eager fp32", "PyTorch eager tf32", "PyTorch eager bf16"} <= set(forms)
    for row in rows:
        assert row["ms"] > 0
        if row["experiment_s"] is not None:
            assert row["experiment_s"] == pytest.approx(2950 * row["ms"] / 1e3)
            assert row["images_per_s"] == pytest.approx(2 / row["ms"] * 1e3)
        if row["form"] == row["against"]:
            assert row["ratio"] == 1


@pytest.mark.usefixtures("scripts")
def test_gpu_times_nothing_that_is_wrong(tmp_path, monkeypatch, capsys):
    import gpu

    def another_device(preset, settings, pairs, device):
        return [*check(preset, settings, pairs, device), ("swap", 2e-4, gpu.FORWARD)]

    check = gpu.check
    monkeypatch.setattr(gpu, "check", another_device)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--json", str(tmp_path / "a.json")])
    with pytest.raises(SystemExit, match="not timed: kisekae, paper, vasily"):
        gpu.main()
    assert "BAD paper, toy size: swap: 2.0e-04, bound 1e-04" in capsys.readouterr().out
    assert not (tmp_path / "a.json").exists()


@pytest.mark.usefixtures("scripts")
@pytest.mark.parametrize(
    ("mean", "deviation", "bad"),
    [
        (1, 0.1, []),
        # The graph's noise stands still, is too large, or shifts the loss.
        (1, 0, ["repeat", "factor"]),
        (1, 0.4, ["factor"]),
        (1.2, 0.1, ["mean"]),
    ],
)
def test_noise_that_a_graph_gets_wrong_is_found(mean, deviation, bad, monkeypatch):
    import gpu

    class Trainer:
        def __init__(self, _pairs, config):
            self.random = random.Random(config["cuda_graph"])
            self.of = (mean, deviation) if config["cuda_graph"] else (1, 0.1)

        def run(self, _steps):
            return {"loss/discriminator": self.random.gauss(*self.of)}

    monkeypatch.setattr(gpu.cagan, "Trainer", Trainer)
    monkeypatch.setattr(gpu.cagan, "Config", lambda _preset, **settings: settings)
    found = list(gpu.check_noise("paper", {}, None, torch.device("cuda")))
    wrong = [what for what, difference, bound in found if not difference <= bound]
    assert all(any(word in what for what in wrong) for word in bad)
    assert bool(wrong) == bool(bad)


@pytest.mark.usefixtures("scripts")
def test_differences_between_devices():
    import gpu

    a = {"large": np.array([1.0, -2.0]), "small": np.array([1e-6])}
    b = {"large": np.array([1.0, -2.0]), "small": np.array([3e-6])}
    assert gpu.apart("gradients", a, b, 1) == pytest.approx(1e-6)
    b["large"] = np.array([1.2, -2.0])
    assert gpu.apart("gradients", a, b, 1) == pytest.approx(0.1)
    # One weight in three moved the other way.
    assert gpu.apart("weights", a, {**a, "small": a["small"] + 4e-4}, 2e-4) == 0
    assert gpu.apart("weights", a, {name: value + 1e-4 for name, value in a.items()}, 2e-4) == pytest.approx(0.5)


@pytest.mark.usefixtures("scripts")
def test_a_ratio_is_of_turns_side_by_side():
    import common

    found = common.row("step", "a", [1.0, 2.0, 4.0], [2.0, 4.0, 4.0], form="eager")
    assert (found["ratio"], found["low"], found["high"]) == (2, 1, 2)
    assert (found["cagan"], found["twin"]) == (2000, 4000)
    calls = []
    ours, theirs = common.alternate(lambda: calls.append("a"), lambda: calls.append("b"), 2)
    assert calls == ["a", "b"] * 3
    assert len(ours) == len(theirs) == 2


@pytest.mark.usefixtures("scripts")
def test_instructions_are_callgrinds_total(tmp_path, monkeypatch):
    import instructions

    path = tmp_path / "callgrind.out"
    head = "# callgrind format\nversion: 1\nevents: Ir\nsummary: 12\n\nfn=(1) main\n0 12\n\n"
    path.write_text(f"{head}totals: 12\n")
    assert instructions.total(path) == 12
    for text, got in [(head, "none"), (f"{head}totals: 0\n", "0")]:
        path.write_text(text)
        with pytest.raises(SystemExit, match=f"callgrind.out: expected one count, got {got}"):
            instructions.total(path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for program in ("cargo", "valgrind"):
        with pytest.raises(SystemExit, match=f"{program} is not on the PATH"):
            instructions.need(program)


@pytest.mark.usefixtures("scripts")
def test_instructions_against_an_earlier_file(tmp_path, capsys):
    import common
    import instructions

    def row(name, *counts):
        return instructions.row({"case": name, "what": "it", "unit": "pixel", "units": 10}, counts)

    path = common.keep("instructions", [row("jpeg", 50, 50)], tmp_path / "a.json")
    assert capsys.readouterr().err == ""
    rows = [row("jpeg", 40, 40), row("png", 20_000, 20_400)]
    assert capsys.readouterr().err == "png: two runs differ: 20,000 and 20,400\n"
    assert instructions.table(rows, instructions.earlier(path)).splitlines()[2:] == [
        "| jpeg | 40 | 4.0 a pixel | 0.8000 | it |",
        "| png | 20,000 | 2,000 a pixel |  | it |",
    ]
    assert instructions.table(rows).splitlines()[2] == "| jpeg | 40 | 4.0 a pixel | it |"
    path.write_text("{}")
    with pytest.raises(argparse.ArgumentTypeError, match="holds no counts of an earlier run"):
        instructions.earlier(path)


@pytest.mark.speed
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_instructions_of_a_case(tmp_path):
    path = tmp_path / "a.json"
    out = call("instructions.py", "--cases", "fit", "--json", path)
    (row,) = json.loads(path.read_text())["rows"]
    # A resize reads each of the pixels' three bytes, several at once.
    assert 1 < row["per_unit"] < 200
    assert row["most"] <= row["instructions"] * 1.001
    assert f"| fit | {row['instructions']:,} |" in out


def test_the_service_is_loaded_and_nothing_is_lost():
    pytest.importorskip("httpx")
    row = call("service.py", "--seconds", "2", "--at-once", "3", "--photos", "2").splitlines()[-1]
    at_once, answers, _, median, last, lost, apart, memory = (cell.strip() for cell in row.strip("|").split("|"))
    assert (at_once, lost, apart) == ("3", "0", "0")
    assert int(answers) >= 3
    assert 0 < float(median) <= float(last)
    assert len(memory.split(",")) == 4


def test_catalogues_in_toy_form():
    out = call("catalogue.py", "looks", "--humans", "2", "--articles", "3", "--twin", "2")
    assert "bytes equal: True" in out
    assert all(f"\n{name} " in out for name in ("single swaps", "a list", "looks", "PyTorch"))
    out = call("catalogue.py", "rows", "--rows", "100")
    assert out.count(" 10 rows, ") == 10


@pytest.mark.parametrize("form", ["list", "files", "shards"])
def test_large_sets_in_toy_form(form):
    lines = call("sets.py", form, "--pairs", "1000", "--size", "16").splitlines()
    assert lines[0] == "1,000 pairs"
    rows = {tuple(cell.strip() for cell in line.strip("|").split("|"))[:2] for line in lines[4:]}
    assert {(form, "open"), (form, "memory a pair, at the end"), (form, "a step's draw and batch of 16")} <= rows
    assert (form == "list") != ((f"{form}, second start", "start of a training") in rows)
