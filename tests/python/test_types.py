"""What a type checker says of a user's script: nothing of a right one, and each mistake of a wrong one."""

import re
import subprocess
import sys

import pytest

RIGHT = """
from collections.abc import Sequence
from pathlib import Path

import cagan

pairs = cagan.Pairs("data")
people: Sequence[cagan.Pair] = pairs
part: cagan.Pairs = pairs[:10]
names: list[str] = [pair.id for pair in pairs]
place: int = pairs.index(pairs[0])
config = cagan.Config("vasily", steps=40, image_size=64, schedule="cosine", place_after="50%")
run: cagan.Run = cagan.train(part, Path("runs/a"), preset="kisekae", images=4000, judge_after=200)
run = cagan.train("data", "runs/b", config, seed=3, device="cpu", init_from=run)
swapper: cagan.Swapper = run.swapper(which="newest")
swap: cagan.Swap = swapper.swap(pairs[0], target=pairs[1])
swaps: list[cagan.Swap] = swapper.swap([pairs[0], pairs[1]], target=[pairs[1], pairs[0]])
swap.to_pil("mask").save("mask.png")
swap.before_after(pairs[0]).save("both.jpg")
error: float = run.evaluate(pairs)["true/error"]
step: int | None = run.best_step
run.show_results(pairs, which=500).save("results.png")
shape: tuple[int, ...] = pairs["00001"].human.shape
cagan.Swapper("dolls", which="best").swap("a.jpg", None, "b.jpg").save("c.jpg")
"""

# Each mistake, and what its line must be called.
WRONG = {
    'cagan.train("data", "run", "kisakae")': "arg-type",
    'cagan.train("data", "run", preset="kisakae")': "arg-type",
    'cagan.train("data", "run", lerning_rate=1e-3)': "call-arg",
    'cagan.train("data", "run", batch_size="8")': "arg-type",
    'cagan.Config("vasily", epoch=3)': "call-arg",
    'cagan.Config(schedule="cosinus")': "arg-type",
    'cagan.Config().replace(precision="fp16")': "arg-type",
    'cagan.Run("run").swapper(which="newst")': "arg-type",
    'cagan.train("data", "run", resume="always")': "arg-type",
    'cagan.Swapper("dolls").swap("a.jpg", None, "b.jpg").to_pil("masks")': "arg-type",
    'cagan.Pairs("data")[0].humans': "attr-defined",
    'number: int = cagan.Pairs("data")[0]': "assignment",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """The lines of mypy by file: (line, code)."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "right.py").write_text(RIGHT)
    (folder / "wrong.py").write_text("import cagan\n" + "\n".join(WRONG) + "\n")
    words = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(folder / "cache")]
    done = subprocess.run([*words, "right.py", "wrong.py"], cwd=folder, capture_output=True, text=True, timeout=300)
    assert not done.stderr
    found = re.findall(r"^(\w+)\.py:(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert len(found) == done.stdout.count(": error:"), done.stdout
    return [(name, int(line), code) for name, line, code in found]


def test_a_right_script_is_right(told):
    assert [line for line in told if line[0] == "right"] == []


def test_each_mistake_is_caught(told):
    assert [(line, code) for name, line, code in told if name == "wrong"] == list(enumerate(WRONG.values(), 2))
