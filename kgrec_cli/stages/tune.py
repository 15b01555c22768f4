"""`kgrec tune`: a `hyper.test` in, a study out: trials, leaderboard, best settings, chart.

The data is loaded once. Each trial is a training; its weights are not saved.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_cli.config import build_settings, format_config, merge, narrow
from kgrec_cli.core.evaluation.measure import MeasureSettings, measure_model
from kgrec_cli.core.model.gru4reckg import ModelSettings, build_model
from kgrec_cli.core.training.epoch import TrainingSettings
from kgrec_cli.core.training.fit import TrainingState, fit
from kgrec_cli.core.tuning import executors
from kgrec_cli.core.tuning.report import (
    SearchTrial,
    best_trial,
    build_leaderboard,
    write_result_text,
)
from kgrec_cli.core.tuning.search import run_search
from kgrec_cli.core.tuning.space import Choice
from kgrec_cli.dataset.features import FeatureTables, load_feature_tables, warn_of_broken_links
from kgrec_cli.dataset.load import Dataset, load_dataset, split_dataset
from kgrec_cli.errors import Stopped
from kgrec_cli.events import EpochDone, Note, OnEvent, Progress, ignore_event
from kgrec_cli.formats.files import cannot_write, write_table, write_text
from kgrec_cli.formats.hyper_test import SearchSpace, check_parameter_names, read_hyper_test
from kgrec_cli.formats.locks import only_writer
from kgrec_cli.runs.run_dir import choose_device, set_up_cpu
from kgrec_cli.settings import Settings
from kgrec_cli.stages.report.study import render_study

NOT_TUNED = ("dataset", "data_path", "checkpoint_dir", "device", "threads", "preset", "pretrain_kg")


@dataclass(frozen=True)
class Tuning:
    """The outcome of a search so far.

    In `study_dir` are leaderboard.csv, best.yaml, result.txt, chart.html and, unless `storage`
    names another database, study.db. `best` is None when no trial is complete, `n_new` counts those
    of this call. `stopped` is exhausted, max_trials or early_stop.
    """

    study_dir: Path
    leaderboard: list[dict[str, Any]]
    best: SearchTrial | None
    n_new: int
    stopped: str


def run_tune(
    settings: Settings,
    folder: Path,
    space_path: Path,
    *,
    search: str = "exhaustive",
    max_trials: int | None = None,
    pruner: str = "none",
    early_stop: int | None = None,
    jobs: int = 1,
    storage: str | None = None,
    on_event: OnEvent,
) -> Tuning:
    """Searches a space for the best `valid_metric`; the same call resumes a stopped search.

    All trials share `settings`; the other arguments are the options of `kgrec tune`. With several
    `jobs` each trial has a process, with its share of the CPU's threads; on a GPU a thread.

    Raises:
        KgrecError: A file that cannot be used, a parameter that is no setting, a study made with
            another space or other settings, or searched by another process now.
        Stopped: Ctrl-C; finished trials are saved.
    """
    space = read_hyper_test(space_path)
    tunable = [name for name in Settings.model_fields if name not in NOT_TUNED]
    check_parameter_names(space, tunable)
    for number in space.skipped_lines:
        on_event(Note(f"{space_path}, line {number}: fewer than three words, skipped"))
    _check_points(settings, space)
    set_up_cpu(settings)
    dataset = load_dataset(settings, folder, on_event)
    warn_of_broken_links(settings, dataset, folder, on_event)
    study_name = f"{dataset.name}-{settings.model}-{space_path.stem}"
    study_dir = folder / "studies" / study_name
    # A study resumes only with the same: what the scores depend on beside the point.
    shared = settings.model_dump(mode="json", exclude={*NOT_TUNED, *space.ranges})
    shared["inter_sha256"] = dataset.inter_sha256
    with only_writer(study_dir):
        try:
            study_dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(study_dir, error) from error
        result = run_search(
            space.ranges,
            _choose_executor(settings, dataset, folder, jobs, on_event),
            storage_url=storage or f"sqlite:///{study_dir / 'study.db'}",
            study_name=study_name,
            search=search,
            max_trials=max_trials,
            seed=settings.seed,
            pruner=pruner,
            early_stop=early_stop,
            settings=shared,
            on_event=on_event,
        )
        leaderboard = _write_outcome(study_dir, settings, result.trials)
    if result.stopped == "interrupted":
        raise Stopped(
            f"stopped after {len(result.trials)} trials, all saved in {study_dir}; "
            "the same command resumes"
        )
    return Tuning(study_dir, leaderboard, result.best, result.n_new, result.stopped)


def _check_points(settings: Settings, space: SearchSpace) -> None:
    """Refuses a listed value that no trial could take before the first trial is run."""
    for name, range_ in space.ranges.items():
        for value in range_.values if isinstance(range_, Choice) else ():
            where = f"{space.path}, line {space.line_numbers[name]}"
            _with_point(settings, {name: value}, where)


def _with_point(settings: Settings, point: Mapping[str, Any], where: str) -> Settings:
    return build_settings(merge(settings.model_dump(mode="json"), point), where)


def _choose_executor(
    settings: Settings, dataset: Dataset, folder: Path, jobs: int, on_event: OnEvent
) -> executors.RunTrials:
    """Who runs the trials, `jobs` at a time."""
    device = choose_device(settings.device)
    if jobs == 1:
        return partial(executors.run_serially, _make_objective(settings, dataset, folder, on_event))
    if device.type == "cuda":
        objective = _make_objective(settings, dataset, folder, ignore_event)
        return partial(executors.run_in_threads, objective, jobs, device)
    return partial(
        executors.run_in_processes, partial(_load_objective, settings, folder, jobs), jobs
    )


def _load_objective(settings: Settings, folder: Path, jobs: int) -> executors.Objective:
    """The objective of a worker process, which loads the data itself."""
    if settings.threads is None:
        share = max(1, (os.cpu_count() or 1) // jobs)
        settings = settings.model_copy(update={"threads": share})
    set_up_cpu(settings)
    dataset = load_dataset(settings, folder, ignore_event)
    return _make_objective(settings, dataset, folder, ignore_event)


def _make_objective(
    settings: Settings, dataset: Dataset, folder: Path, on_event: OnEvent
) -> executors.Objective:
    """The function that trains one point of the space and gives its scores."""
    device = choose_device(settings.device)
    tables: dict[tuple[str, int], FeatureTables] = {}

    def train(point: dict[str, Any], report: executors.Report) -> executors.TrialResult:
        tried = _with_point(settings, point, "trial")
        key = (tried.model, tried.embedding_size)
        if key not in tables:
            tables[key] = load_feature_tables(tried, dataset, folder, on_event)
        split = split_dataset(tried, dataset)
        model = build_model(narrow(tried, ModelSettings), len(dataset.items), tables[key], device)
        metric = tried.valid_metric.casefold()

        def report_epoch(state: TrainingState, event: EpochDone) -> None:
            best = f"best {metric} {state.best_score:.4f}"
            done = Progress("this trial", event.epoch, event.epochs, "epochs", best, passing=True)
            on_event(done)
            if event.valid:
                report(event.epoch, event.valid[metric])

        state = fit(
            model,
            dataset.histories,
            split,
            narrow(tried, TrainingSettings),
            device=device,
            on_epoch=report_epoch,
        )
        on_event(Progress("this trial", tried.epochs, tried.epochs, "epochs", passing=True))
        valid = state.history[state.best_epoch - 1]["valid"]
        measuring = narrow(tried, MeasureSettings)
        test = measure_model(model, dataset.histories, split, measuring, parts=("test",))["test"]
        return executors.TrialResult(
            valid=valid, test=test.metrics.get("test", {}), score=valid[metric]
        )

    return train


def _write_outcome(
    study_dir: Path, settings: Settings, trials: tuple[SearchTrial, ...]
) -> list[dict[str, Any]]:
    """Writes leaderboard.csv, best.yaml, result.txt and chart.html; returns the leaderboard."""
    leaderboard = build_leaderboard(trials)
    best = best_trial(trials)
    if best is None:
        return leaderboard
    write_table(study_dir / "leaderboard.csv", pl.DataFrame(leaderboard, infer_schema_length=None))
    tuned = _with_point(settings, best.params, "best trial")
    head = f"# Trial {best.number}: {settings.valid_metric} {best.score:.4f} on validation.\n"
    write_text(study_dir / "best.yaml", head + format_config(tuned))
    write_text(study_dir / "result.txt", write_result_text(trials, settings.metric_decimal_place))
    chart = render_study(study_dir.name, trials, settings.valid_metric)
    write_text(study_dir / "chart.html", chart)
    return leaderboard
