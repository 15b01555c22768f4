"""Trackers: what reaches them, with the real packages, and what happens when they fail."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from kgrec_cli import trackers
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import EpochDone, Event, RunDone, RunStarted, Warn
from tests.conftest import QUICK, RunCli

TRAIN = ("train", "--epochs", "2", *QUICK, "--name", "mine", "-q")


def epoch(number: int) -> EpochDone:
    return EpochDone(number, 3, 0.5, 100.0, 1.0, 2.0, valid={"ndcg@10": number / 10})


class Kept:
    where = "here"

    def __init__(self, run: RunStarted) -> None:
        self.calls: list[object] = [run.run_dir.name]
        KEPT.append(self)

    def log(self, values: dict[str, float], step: int) -> None:
        if step == 3:
            raise OSError("the disk is full")
        self.calls.append((values, step))

    def close(self, is_done: bool) -> None:
        self.calls.append(is_done)


KEPT: list[Kept] = []


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> list[Kept]:
    monkeypatch.setitem(trackers.TRACKERS, "mlflow", Kept)
    monkeypatch.setattr(trackers, "find_spec", lambda name: None if name == "trackio" else name)
    KEPT.clear()
    return KEPT


def test_numbers_go_by_name_and_epoch_and_all_events_go_on(
    kept: list[Kept], events: list[Event]
) -> None:
    run = RunStarted(Path("saved/mine"), "small", {"seed": 1})
    with trackers.tracking("mlflow", events.append) as on_event:
        for event in (run, epoch(1), RunDone(1, {"test/hit@5": 0.25}), run):
            on_event(event)
    first, second = kept
    values = {"train/loss": 0.5, "train/targets_per_s": 100.0, "valid/ndcg@10": 0.1}
    assert first.calls == ["mine", (values, 1), ({"test/hit@5": 0.25}, 1), True]
    assert second.calls == ["mine", False]  # stopped
    assert [type(event).__name__ for event in events].count("RunStarted") == 2


def test_a_tracker_that_fails_is_left_out(kept: list[Kept], events: list[Event]) -> None:
    with trackers.tracking("mlflow", events.append) as on_event:
        on_event(RunStarted(Path("saved/mine"), "small", {}))
        on_event(epoch(3))
        on_event(epoch(1))
    warnings = [event.text for event in events if isinstance(event, Warn)]
    assert warnings == ["mlflow: the disk is full; the training goes on without"]
    assert kept[0].calls == ["mine"]


def test_a_tracker_that_cannot_be_started_leaves_no_run(
    run_cli: RunCli, small_folder: Path, kept: list[Kept], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(run: RunStarted) -> Kept:
        raise OSError("no such server")

    monkeypatch.setitem(trackers.TRACKERS, "mlflow", refuse)
    result = run_cli(*TRAIN, "--tracker", "mlflow")
    assert result.exit_code == 1
    assert "--tracker mlflow: cannot be started (no such server)" in result.stderr
    assert not (small_folder / "saved" / "mine").exists()


def test_a_tracker_that_is_not_installed_is_one_line(kept: list[Kept]) -> None:
    expected = "--tracker trackio: not installed; pip install 'kgrec"
    with pytest.raises(KgrecError, match=expected), trackers.tracking("trackio", print):
        pass


@pytest.mark.extras
def test_tensorboard_reads_what_was_logged(run_cli: RunCli, small_folder: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result = run_cli(*TRAIN, "--tracker", "tensorboard")
    assert result.exit_code == 0, result.stderr
    read = EventAccumulator(str(small_folder / "saved/mine/tensorboard")).Reload()
    rows = (small_folder / "saved/mine/history.jsonl").read_text().splitlines()
    expected = [json.loads(row)["loss"] for row in rows]
    assert [each.value for each in read.Scalars("train/loss")] == pytest.approx(expected)
    metrics = json.loads((small_folder / "saved/mine/metrics.json").read_text())
    (masked,) = read.Scalars("test_masked/ndcg@10")
    assert masked.value == pytest.approx(metrics["test_masked"]["ndcg@10"])
    assert masked.step == metrics["training"]["best_epoch"]


@pytest.mark.extras
def test_mlflow_reads_what_was_logged(
    run_cli: RunCli, small_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{small_folder}/tracked.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    result = run_cli(*TRAIN, "--tracker", "mlflow")
    assert result.exit_code == 0, result.stderr
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("small")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status) == ("mine", "FINISHED")
    assert run.data.params["hidden_size"] == "16"
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert [each.step for each in losses] == [1, 2]
    metrics = json.loads((small_folder / "saved/mine/metrics.json").read_text())
    assert run.data.metrics["test/ndcg_at_10"] == pytest.approx(metrics["test"]["ndcg@10"])


@pytest.mark.extras
def test_a_run_that_is_resumed_is_one_run_of_mlflow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: list[Event]
) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/tracked.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    for n_done in (0, 1):
        with trackers.tracking("mlflow", events.append) as on_event:
            on_event(RunStarted(tmp_path / "mine", "small", {"seed": 1}, n_done))
            on_event(epoch(n_done + 1))
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name("small")
        (run,) = client.search_runs([experiment.experiment_id])
        assert run.info.status == "KILLED"
    steps = [each.step for each in client.get_metric_history(run.info.run_id, "train/loss")]
    assert steps == [1, 2]
    assert not any(isinstance(event, Warn) for event in events)


@pytest.mark.extras
def test_trackio_keeps_what_was_logged(small_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "kgrec_cli", *TRAIN, "--json", "--tracker", "trackio"]
    environment = {"TRACKIO_DIR": str(tmp_path / "tracked"), "HF_HUB_OFFLINE": "1"}
    finished = subprocess.run(
        command, cwd=small_folder, env={**os.environ, **environment},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert finished.returncode == 0, finished.stderr
    (run,) = json.loads(finished.stdout)  # nothing else is printed
    (path,) = (tmp_path / "tracked").glob("*.db")
    with sqlite3.connect(path) as database:
        rows = [json.loads(row) for (row,) in database.execute("select metrics from metrics")]
    assert [row["train/loss"] for row in rows if "train/loss" in row]
    (last,) = [row for row in rows if "test/ndcg@10" in row]
    assert last["test/ndcg@10"] == pytest.approx(run["metrics"]["test"]["ndcg@10"])
