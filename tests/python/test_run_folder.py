"""What a run tells others: TensorBoard's event files and the table of runs."""

import json

import cagan
import numpy as np
import pytest
from test_cli import call  # noqa: F401  # a fixture

SETTINGS = {"threads": 1, "log_every": 1, "progress": False}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_has_the_curves_and_the_samples_without_doubles(pairs, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for steps in (3, 6):
        run = cagan.train(pairs, tmp_path, "smoke", steps=steps, tensorboard=True, sample_every=3, **SETTINGS)
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    tags = board.Tags()
    assert set(tags["scalars"]) == set(run.stats[0]) - {"step"}
    for key in tags["scalars"]:
        curve = [(event.step, event.value) for event in board.Scalars(key)]
        assert [step for step, _ in curve] == [1, 2, 3, 4, 5, 6]
        assert np.allclose([value for _, value in curve], [line[key] for line in run.stats], rtol=1e-6)
    assert [event.step for event in board.Images("samples")] == [0, 3, 6]


def test_the_table_of_runs(pairs, tmp_path, call):  # noqa: F811
    for name, steps in (("b", 2), ("deep/a", 4)):
        cagan.train(pairs, tmp_path / name, "smoke", steps=steps, **SETTINGS)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    assert [run.path.name for run in cagan.runs(tmp_path)] == ["b", "a"]
    code, out, _ = call("runs", tmp_path)
    head, first, second = out.splitlines()
    assert (code, head.split()[:3]) == (0, ["run", "preset", "step"])
    assert first.split()[:3] == [str(tmp_path / "b"), "smoke", "2"]
    assert second.split()[:3] == [str(tmp_path / "deep" / "a"), "smoke", "4"]
    _, out, _ = call("runs", tmp_path, "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    last = cagan.Run(tmp_path / "b").stats[-1]
    assert rows[0] == {"run": str(tmp_path / "b"), "preset": "smoke", "snapshots": 1} | last
    code, _, err = call("runs", tmp_path / "nowhere")
    assert code == 1
    assert str(tmp_path / "nowhere") in err
