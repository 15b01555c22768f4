"""Trackers: the events of a training handed on to TensorBoard, MLflow or trackio.

A tracker is a listener between a stage and whoever else listens. Each takes numbers by name and
step; where they go is the tracker's own matter (its environment variables).
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from typing import Any, Literal, Protocol

from kgrec_cli.errors import KgrecError, reason
from kgrec_cli.events import EpochDone, Event, Note, OnEvent, RunDone, RunStarted, Warn

TrackerName = Literal["tensorboard", "mlflow", "trackio"]


class Tracker(Protocol):
    """Where the numbers of one run go."""

    where: str

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Takes numbers by name, `valid/ndcg@10`, of an epoch."""

    def close(self, is_done: bool) -> None:
        """Ends; `is_done` is False where the training was stopped."""


class _TensorBoard:
    def __init__(self, run: RunStarted) -> None:
        from torch.utils.tensorboard import SummaryWriter

        step = run.epoch + 1 if run.epoch else None
        self.writer = SummaryWriter(str(run.run_dir / "tensorboard"), purge_step=step)
        rows = "".join(f"| {name} | {value} |\n" for name, value in run.settings.items())
        self.writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}")
        self.where = f"`tensorboard --logdir {run.run_dir.parent}` shows it"

    def log(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)
        self.writer.flush()

    def close(self, is_done: bool) -> None:
        self.writer.close()


class _MLflow:
    def __init__(self, run: RunStarted) -> None:
        from mlflow import MlflowClient
        from mlflow.entities import Param

        logging.getLogger("mlflow").setLevel(logging.WARNING)
        uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
        self.client = MlflowClient(uri)
        experiment = self.client.get_experiment_by_name(run.dataset)
        number = (
            experiment.experiment_id if experiment else self.client.create_experiment(run.dataset)
        )
        named = f"attributes.run_name = '{run.run_dir.name}'"
        found = self.client.search_runs([number], named, max_results=1) if run.epoch else []
        if found:
            self.run_id = found[0].info.run_id
            self.client.update_run(self.run_id, "RUNNING")
        else:
            self.run_id = self.client.create_run(number, run_name=run.run_dir.name).info.run_id
            params = [Param(name, str(value)) for name, value in run.settings.items()]
            self.client.log_batch(self.run_id, params=params)
        self.where = f"`mlflow ui --backend-store-uri {uri}` shows it"

    def log(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        # Its names hold no @.
        metrics = [Metric(n.replace("@", "_at_"), v, now, step) for n, v in values.items()]
        self.client.log_batch(self.run_id, metrics)

    def close(self, is_done: bool) -> None:
        self.client.set_terminated(self.run_id, "FINISHED" if is_done else "KILLED")


class _Trackio:
    def __init__(self, run: RunStarted) -> None:
        trackio = import_module("trackio")
        with redirect_stdout(StringIO()):  # it prints how it is opened
            self.run = trackio.init(
                run.dataset, run.run_dir.name, config=dict(run.settings), resume="allow",
                auto_log_gpu=False, auto_log_cpu=False,
            )  # fmt: skip
        self.where = f"`trackio show --project {run.dataset}` shows it"

    def log(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self, is_done: bool) -> None:
        with redirect_stdout(StringIO()):
            import_module("trackio").finish()


TRACKERS: dict[str, Callable[[RunStarted], Tracker]] = {
    "tensorboard": _TensorBoard,
    "mlflow": _MLflow,
    "trackio": _Trackio,
}


@contextmanager
def tracking(name: TrackerName | None, on_event: OnEvent) -> Iterator[OnEvent]:
    """Yields a listener that hands events on to `on_event`, and those of trainings to a tracker.

    A tracker that fails while a run is trained is left out, with a warning.

    Raises:
        KgrecError: The tracker is not installed, or cannot be started.
    """
    if name is None:
        yield on_event
        return
    if find_spec(name) is None:
        raise KgrecError(f"--tracker {name}: not installed; pip install 'kgrec[trackers]'")
    listener = _Listener(name, on_event)
    try:
        yield listener
    finally:
        listener.tell(lambda tracker: tracker.close(is_done=False))


class _Listener:
    def __init__(self, name: str, on_event: OnEvent) -> None:
        self.name = name
        self.on_event = on_event
        self.tracker: Tracker | None = None

    def __call__(self, event: Event) -> None:
        """Takes an event."""
        self.on_event(event)
        match event:
            case RunStarted():
                try:
                    self.tracker = TRACKERS[self.name](event)
                except Exception as error:
                    text = f"--tracker {self.name}: cannot be started ({reason(error)})"
                    raise KgrecError(text) from error
                self.on_event(Note(f"{self.name}: {self.tracker.where}"))
            case EpochDone():
                valid = {f"valid/{name}": value for name, value in event.valid.items()}
                values = {"train/loss": event.loss, "train/targets_per_s": event.targets_per_s}
                self.tell(lambda tracker: tracker.log(values | valid, event.epoch))
            case RunDone():
                self.tell(lambda tracker: tracker.log(event.metrics, event.epoch))
                self.tell(lambda tracker: tracker.close(is_done=True))
                self.tracker = None

    def tell(self, call: Callable[[Tracker], Any]) -> None:
        """Calls the tracker; what it raises is a warning, and the end of it."""
        if self.tracker is not None:
            try:
                call(self.tracker)
            except Exception as error:
                self.tracker = None
                self.on_event(Warn(f"{self.name}: {reason(error)}; the training goes on without"))
