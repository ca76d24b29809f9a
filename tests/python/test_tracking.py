"""Trackers: what wandb, trackio, MLflow and TensorBoard are told of a run, and their own files of it."""

import contextlib
import json
import sqlite3
import sys

import pytest
from cagan import tracking
from helpers import OFTEN, StopError, refusal, stop_at, train

# Six steps, sample grids at 0, 5 and 6.
TOLD = {"log_every": 1, "monitor_every": 3} | {name: OFTEN[name] for name in ("sample_every",)}


class Recorded:
    """Stands in for wandb and trackio: keeps each call."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        def call(*arguments, **options):
            self.calls.append((name, arguments, options))
            return self

        return call

    def named(self, name):
        return [(arguments, options) for called, arguments, options in self.calls if called == name]


@pytest.fixture
def recorded(monkeypatch):
    library = Recorded()
    for name in ("wandb", "trackio"):
        monkeypatch.setitem(sys.modules, name, library)
    return library


def keys(run):
    return {key for line in run.stats + run.looks for key in line} - {"step"}


@pytest.mark.parametrize("name", ["wandb", "trackio"])
def test_settings_curves_and_pictures_are_told(recorded, pairs, tmp_path, name):
    tracker = getattr(tracking, name)(project="dress")
    seen = []
    run = train(pairs, tmp_path / "first", steps=6, on_event=[tracker, lambda *event: seen.append(event)], **TOLD)
    ((_, options),) = recorded.named("init")
    assert (options["project"], options["name"]) == ("dress", "first")
    assert options["config"].items() >= run.config.to_dict().items()
    assert (options["config"]["pairs"], options["config"]["parameters/generator"] > 1000) == (8, True)
    logs = recorded.named("log")
    numbers = [(values, options["step"]) for (values,), options in logs if "samples" not in values]
    assert {key for values, _ in numbers for key in values} == keys(run)
    losses = [(step, values["loss/generator"]) for values, step in numbers if "loss/generator" in values]
    assert losses == [(line["step"], line["loss/generator"]) for line in run.stats]
    assert [options["step"] for (values,), options in logs if "samples" in values] == [0, 5, 6]
    assert [arguments[0] for arguments, _ in recorded.named("Image")] == [str(path) for path in run.samples]
    steps = [options["step"] for _, options in logs]
    assert steps == sorted(steps), "these libraries drop what is of an earlier step"
    assert recorded.named("finish") == [((), {"exit_code": 0} if name == "wandb" else {})]
    assert [value for event, value in seen if event == "step"] == [1, 2, 3, 4, 5, 6]


def test_a_run_that_stops_is_ended(recorded, pairs, tmp_path):
    with pytest.raises(StopError):
        train(pairs, tmp_path, steps=6, on_event=[tracking.wandb(), stop_at(2)])
    assert recorded.named("finish") == [((), {"exit_code": 1})]


class Fails(tracking.Tracker):
    name = "a tracker"

    def __init__(self, where):
        self.where, self.told = where, []

    def start(self, config, about):  # noqa: ARG002
        self.tell("start")

    def numbers(self, values, step):  # noqa: ARG002
        self.tell("numbers")

    def close(self, error):  # noqa: ARG002
        self.tell("close")

    def tell(self, what):
        self.told.append(what)
        if what == self.where:
            raise ValueError(f"no {what}")


def test_a_tracker_that_fails_costs_no_steps_unless_it_cannot_begin(pairs, tmp_path):
    late, last, good = Fails("numbers"), Fails("close"), Fails("")
    with pytest.warns(UserWarning) as caught:
        run = train(pairs, tmp_path / "late", steps=3, log_every=1, on_event=[late, last, good])
    assert run.stats[-1]["step"] == 3
    assert [str(warning.message) for warning in caught] == [
        "no numbers; a tracker gets no more of this run",
        "no close; a tracker did not end in order",
    ]
    assert late.told == ["start", "numbers", "close"]
    assert good.told == ["start", *["numbers"] * 3, "close"]
    assert good.run_dir == run.path
    first = Fails("start")
    refusal(ValueError, lambda: train(pairs, tmp_path / "first", steps=3, on_event=first), "no start")
    assert first.told == ["start", "close"]


def test_what_cannot_be_called_is_a_type_error_before_any_work(pairs, tmp_path):
    for given in ("text", 5, [print, None]):
        refusal(TypeError, lambda given=given: train(pairs, tmp_path / "run", on_event=given), "on_event: expected")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["wandb", "trackio", "mlflow"])
def test_a_missing_library_is_named(monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    refusal(ImportError, getattr(tracking, name), f"cagan.tracking.{name}", f"pip install {name}")


def test_tensorboard_goes_where_it_is_told(pairs, tmp_path):
    run = train(pairs, tmp_path / "run", steps=1, on_event=tracking.tensorboard(tmp_path / "boards"))
    assert len(list((tmp_path / "boards").glob("events*"))) == 1
    assert not (run.path / "tensorboard").exists()


# The libraries themselves, where they are installed


@pytest.mark.filterwarnings("ignore")
def test_mlflow_keeps_a_run(pairs, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "mlruns").as_uri())
    run = train(pairs, tmp_path / "first", steps=6, on_event=tracking.mlflow("dresses"), **TOLD)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("dresses")
    (made,) = client.search_runs([experiment.experiment_id])
    assert (made.info.run_name, made.info.status) == ("first", "FINISHED")
    assert made.data.params["batch_size"] == str(run.config.batch_size)
    assert set(made.data.metrics) == {key.replace("/", ".") for key in keys(run)}
    history = client.get_metric_history(made.info.run_id, "loss.generator")
    assert [(point.step, point.value) for point in history] == [
        (line["step"], pytest.approx(line["loss/generator"])) for line in run.stats
    ]
    pictures = [file.path for file in client.list_artifacts(made.info.run_id, "images") if file.path.endswith(".png")]
    assert len([name for name in pictures if "compressed" not in name]) == 3
    # It goes on in the same run, with another length.
    with pytest.raises(StopError):
        train(pairs, run.path, steps=9, on_event=[tracking.mlflow(run_id=made.info.run_id), stop_at(7)], log_every=1)
    again = client.get_run(made.info.run_id)
    assert again.info.status == "FAILED"
    assert again.data.params["steps"] == "6"
    assert mlflow.active_run() is None
    # The program's own run stays open.
    with mlflow.start_run() as own:
        train(pairs, tmp_path / "second", steps=1, on_event=tracking.mlflow(), log_every=1)
        assert mlflow.active_run().info.run_id == own.info.run_id
    assert "loss.generator" in client.get_run(own.info.run_id).data.metrics


@pytest.mark.filterwarnings("ignore")
def test_wandb_keeps_a_run_offline(pairs, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    tracker = tracking.wandb(mode="offline", dir=str(tmp_path), project="dress")
    train(pairs, tmp_path / "first", steps=6, on_event=tracker, **TOLD)
    wandb.teardown()
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    (file,) = folder.glob("*.wandb")
    content = file.read_bytes()
    assert content.count(b"loss/generator/cycle") >= 6
    assert len(list(folder.rglob("*.png"))) == 3


@pytest.mark.filterwarnings("ignore")
def test_trackio_keeps_a_run(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    train(pairs, tmp_path / "first", steps=6, on_event=tracking.trackio(project="dress"), **TOLD)
    (database,) = (tmp_path / "trackio").rglob("*.db")
    with contextlib.closing(sqlite3.connect(database)) as kept:
        told = [json.loads(row) for (row,) in kept.execute("select metrics from metrics")]
    assert len([line for line in told if "loss/generator/cycle" in line]) == 6
    assert len(list((tmp_path / "trackio").rglob("*.png"))) == 3
