"""Divergence: a loss that is not finite stops a run or sends it back to its last good checkpoint."""

import re

import cagan
import pytest
from helpers import (
    DIVERGING,
    LOG_KEYS,
    assert_same_end,
    checkpoints,
    is_finite,
    only,
    read_tensors,
    same_tensors,
    steps,
    train,
)


def test_a_loss_that_is_not_finite_stops_the_run(pairs, tmp_path):
    settings = {"log_every": 1, "checkpoint_every": 1, "keep_checkpoints": 1, **DIVERGING}
    with pytest.raises(FloatingPointError, match=r"^\S+ is (NaN|-?inf) at step \d+: ") as caught:
        train(pairs, tmp_path / "run", steps=40, **settings)
    term, step = re.match(r"(\S+) is \S+ at step (\d+)", str(caught.value)).groups()
    step = int(step)
    assert term in LOG_KEYS
    assert 1 < step < 40
    assert steps(tmp_path / "run") == list(range(1, step))
    path = only(tmp_path / "run" / "checkpoints")
    assert path.name == f"step_{step - 1:08}.safetensors"

    train(pairs, tmp_path / "before", steps=step - 1, **settings)
    assert_same_end(tmp_path / "before", tmp_path / "before")
    assert same_tensors(path, only(tmp_path / "before" / "checkpoints"))
    assert is_finite(path)


def test_a_rarely_read_log_does_not_hide_divergence(pairs, tmp_path):
    """No checkpoint or snapshot holds a number that is not finite, and the last good one stays."""
    messages = []
    for name, log_every in (("often", 1), ("rarely", 20)):
        with pytest.raises(FloatingPointError) as caught:
            train(
                pairs, tmp_path / name, steps=20, log_every=log_every, checkpoint_every=1, snapshot_every=1, **DIVERGING
            )
        messages.append(str(caught.value))
        failed = tmp_path / name / "failed.safetensors"
        assert not is_finite(failed), "the state is kept for inspection"
        files = [path for path in (tmp_path / name).rglob("*.safetensors") if path != failed]
        assert len(files) >= 2
        assert [path.relative_to(tmp_path).as_posix() for path in files if not is_finite(path)] == []
    assert messages[0] == messages[1]
    often, rarely = (checkpoints(tmp_path / name)[-1] for name in ("often", "rarely"))
    assert often.name == rarely.name
    assert same_tensors(often, rarely)


def test_a_diverged_run_can_be_called_again(pairs, tmp_path):
    """The saved settings equal the given ones to the last bit, so the same call goes on with the run."""
    with pytest.raises(FloatingPointError) as first:
        train(pairs, tmp_path, steps=40, log_every=1, checkpoint_every=1, **DIVERGING | {"adam_epsilon": 1e-30})
    with pytest.raises(FloatingPointError) as second:
        train(pairs, tmp_path, steps=40, log_every=1, checkpoint_every=1, **DIVERGING | {"adam_epsilon": 1e-30})
    assert str(first.value) == str(second.value)


def test_a_run_that_diverges_goes_back_at_half_the_rate(pairs, tmp_path):
    """At most three times; then the run stops and keeps its last good checkpoint."""
    warned = []
    note = lambda name, value: warned.append(value) if name == "warning" else None  # noqa: E731
    settings = DIVERGING | {"steps": 300, "log_every": 1, "checkpoint_every": 1, "threads": 1, "progress": False}
    with pytest.warns(UserWarning, match="going back to step"), pytest.raises(FloatingPointError, match="diverged"):
        cagan.train(pairs, tmp_path, "smoke", on_non_finite="rollback", on_event=note, **settings)
    found = [re.search(r"at step (\d+).* going back to step (\d+) and on at ([\d.]+) of", text) for text in warned]
    assert [float(match[3]) for match in found] == [0.5, 0.25, 0.125]
    assert all(int(match[2]) < int(match[1]) <= int(match[2]) + 1 for match in found)
    assert not is_finite(tmp_path / "failed.safetensors")
    newest = checkpoints(tmp_path)[-1]
    assert is_finite(newest)
    # The lower rate is part of the state: the same call again stops at the same step.
    assert read_tensors(newest)[0]["slowdown"] in ("0.125", "0.25")
    # The log has each step once.
    steps = [line["step"] for line in cagan.Run(tmp_path).stats]
    assert steps == list(range(1, len(steps) + 1))
