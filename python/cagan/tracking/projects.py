"""Trackers that keep the runs of a project: Weights & Biases, trackio, MLflow."""

import importlib
import time
from pathlib import Path
from typing import Any

from .. import _cagan
from .tracker import Tracker

__all__ = ["mlflow", "trackio", "wandb"]

# MLflow takes no more parameters at once.
_PARAMETERS = 100


def wandb(**options: Any) -> Tracker:
    """Logs to Weights & Biases: settings, curves and sample grids; needs `pip install wandb`.

    Args:
        **options: Arguments of `wandb.init`, as project, entity, mode="offline". The name defaults to that of the run's
            folder. A run that is resumed goes on in one curve with `id="..."` and `resume="allow"`.

    Raises:
        ImportError: wandb is missing.
    """
    return _Project("wandb", options)


def trackio(**options: Any) -> Tracker:
    """Logs to trackio, which keeps runs on this machine or in a Space of the Hub; needs `pip install trackio`.

    Args:
        **options: Arguments of `trackio.init`, as project or space_id. The project defaults to "cagan".

    Raises:
        ImportError: trackio is missing.
    """
    return _Project("trackio", {"project": "cagan"} | options)


def mlflow(experiment: str | None = None, *, run_id: str | None = None) -> Tracker:
    """Logs to MLflow: settings as parameters, curves, sample grids; needs `pip install mlflow`.

    `mlflow.set_tracking_uri` says where to. Log keys have points in place of slashes. The program's active run of
    MLflow takes all of it and stays open. Without one a run begins and ends with the training.

    Args:
        experiment: The experiment's name, which is made if it is missing. Defaults to the active one.
        run_id: A run of MLflow to go on with. The name of a new one is that of the run's folder.

    Raises:
        ImportError: mlflow is missing.
    """
    return _Mlflow(experiment, run_id)


def _library(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{name}: expected for cagan.tracking.{name}, found none; pip install {name}") from error


class _Project(Tracker):
    """Weights & Biases, and what has its calls."""

    def __init__(self, library: str, options: dict[str, Any]) -> None:
        self.name = library
        self._library, self._options = _library(library), options
        self._run: Any = None

    def start(self, config: dict[str, Any], about: dict[str, Any]) -> None:
        sizes = {f"parameters/{network}": count for network, count in about["parameters"].items()}
        settings = config | {"pairs": about["pairs"], "articles": about["articles"]} | sizes
        self._run = self._library.init(**{"name": self.run_dir.name, "config": settings} | self._options)

    def numbers(self, values: dict[str, float], step: int) -> None:
        self._run.log(values, step=step)

    def picture(self, name: str, path: Path, step: int) -> None:
        self._run.log({name: self._library.Image(str(path), caption=f"step {step}")}, step=step)

    def close(self, error: BaseException | None) -> None:
        if self._run is None:
            return
        if self.name == "wandb":
            self._run.finish(exit_code=0 if error is None else 1)
        else:
            self._run.finish()


class _Mlflow(Tracker):
    name = "mlflow"

    def __init__(self, experiment: str | None, run_id: str | None) -> None:
        self._library = _library("mlflow")
        self._experiment, self._given = experiment, run_id
        self._client: Any = None
        self._run_id = ""
        # A run of the program is the program's to end.
        self._ours = False

    def start(self, config: dict[str, Any], about: dict[str, Any]) -> None:
        self._client = self._library.MlflowClient()
        active = self._library.active_run()
        if active is None or self._given not in (None, active.info.run_id):
            names = {"run_id": self._given} if self._given else {"run_name": self.run_dir.name}
            active = self._library.start_run(**names, experiment_id=self._experiment_id(), nested=active is not None)
            self._ours = True
        self._run_id = active.info.run_id
        parts = {"pairs": about["pairs"], "articles": about["articles"]}
        # A parameter of MLflow never changes. Those of a run that goes on may have: its length, the machine.
        known = self._client.get_run(self._run_id).data.params
        new = [
            self._library.entities.Param(name, str(value))
            for name, value in (config | parts).items()
            if name not in known
        ]
        for first in range(0, len(new), _PARAMETERS):
            self._client.log_batch(self._run_id, params=new[first : first + _PARAMETERS])

    def _experiment_id(self) -> str | None:
        if self._experiment is None or self._given:
            return None
        known = self._client.get_experiment_by_name(self._experiment)
        return str(known.experiment_id if known else self._client.create_experiment(self._experiment))

    def numbers(self, values: dict[str, float], step: int) -> None:
        now = time.time_ns() // 1_000_000
        # MLflow's file store makes a folder of a name with a slash, and `loss/generator` is a name itself.
        named = {key.replace("/", "."): number for key, number in values.items()}
        metrics = [self._library.entities.Metric(key, number, now, step) for key, number in named.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def picture(self, name: str, path: Path, step: int) -> None:
        self._client.log_image(self._run_id, _cagan.read_picture(path), key=name, step=step)

    def close(self, error: BaseException | None) -> None:
        if self._ours:
            self._library.end_run(
                "FINISHED" if error is None else "FAILED" if isinstance(error, Exception) else "KILLED"
            )
