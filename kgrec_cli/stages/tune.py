"""`kgrec tune`: a `hyper.test` in, a study out: trials, leaderboard, best settings, chart.

The data is loaded once. Each trial is a training; its weights are not saved.
"""

import os
import random
import secrets
import socket
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from kgrec_cli.config import format_config
from kgrec_cli.core.cores import share_cores
from kgrec_cli.core.pace import Forecasting
from kgrec_cli.core.tuning import executors
from kgrec_cli.core.tuning.ray_tasks import load_ray, run_on_ray
from kgrec_cli.core.tuning.report import (
    SearchTrial,
    best_trial,
    build_leaderboard,
    write_result_text,
)
from kgrec_cli.core.tuning.search import count_trials, run_search
from kgrec_cli.dataset.features import warn_of_broken_links
from kgrec_cli.dataset.files import find_features
from kgrec_cli.dataset.load import Dataset, load_dataset
from kgrec_cli.errors import KgrecError, Stopped, UsageError, unknown_name
from kgrec_cli.events import Note, OnEvent, Progress
from kgrec_cli.formats.files import cannot_write, sha256_of, write_table, write_text
from kgrec_cli.formats.hyper_test import SearchSpace, check_parameter_names, read_hyper_test
from kgrec_cli.formats.locks import TEMPORARY, in_use, is_in_use
from kgrec_cli.runs.run_dir import choose_device, set_up_cpu
from kgrec_cli.settings import Settings
from kgrec_cli.stages.report.study import render_study
from kgrec_cli.stages.trials import NOT_TUNED, BatchedTrials, Trials, load_objective, with_point

EXECUTORS = ("serial", "processes", "ray", "batched")
MAX_BATCHED_CPU, MAX_BATCHED_GPU = 8, 256
# With other values of these a score says something else.
WHAT_IS_SCORED = ("recbole_compat", "eval_args", "valid_metric")
N_POINTS_TRIED = 200


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
    executor: str | None = None,
    jobs: int | None = None,
    address: str | None = None,
    storage: str | None = None,
    on_event: OnEvent,
) -> Tuning:
    """Searches a space for the best `valid_metric`; the same call resumes a stopped search.

    All trials share `settings`; the other arguments are the options of `kgrec tune`. Several `jobs`
    without an `executor` are processes, each with its share of the CPU's threads. Several calls
    search one study together, on this machine or on others with a `storage` that all of them reach.

    Raises:
        UsageError: An unknown executor, or one that takes no `jobs` or `address`.
        KgrecError: A file that cannot be used, a parameter that is no setting, a study made with
            another space, other settings or other data.
        Stopped: Ctrl-C; finished trials are saved.
    """
    check_executor(executor, jobs, address)
    space = read_space(settings, space_path, on_event)
    set_up_cpu(settings)
    dataset = load_dataset(settings, folder, on_event)
    warn_of_broken_links(settings, dataset, folder, on_event)
    study_dir = study_dir_of(settings, folder, space_path)
    # A study resumes only with the same: what the scores depend on beside the point.
    shared = settings.model_dump(mode="json", exclude={*NOT_TUNED, *space.ranges})
    shared["inter_sha256"] = dataset.inter_sha256
    if settings.model != "GRU4Rec" or "model" in space.ranges:
        with suppress(KgrecError):  # the trials say it
            features = find_features(settings, folder)
            shared["vectors_sha256"] = [sha256_of(feature.path) for feature in features]
    try:
        study_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(study_dir, error) from error
    n_trials = count_trials(space.ranges, search, max_trials)
    worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
    run_trials = _choose_executor(settings, dataset, folder, executor, jobs, address, on_event)
    forecast = Forecasting(on_event, settings.epochs, n_trials, "trials")
    with in_use(_mark_of(worker, study_dir)):
        result = run_search(
            space.ranges,
            _forecasting(run_trials, forecast),
            storage_url=storage or f"sqlite:///{study_dir / 'study.db'}",
            study_name=study_dir.name,
            search=search,
            max_trials=max_trials,
            seed=settings.seed,
            pruner=pruner,
            early_stop=early_stop,
            settings=shared,
            worker=worker,
            has_ended=partial(_has_ended, study_dir=study_dir),
            on_event=on_event,
        )
        leaderboard = _write_outcome(study_dir, settings, result.trials)
    if result.stopped == "interrupted":
        raise Stopped(
            f"stopped after {len(result.trials)} trials, all saved in {study_dir}; "
            "the same command resumes"
        )
    return Tuning(study_dir, leaderboard, result.best, result.n_new, result.stopped)


def _mark_of(worker: str, study_dir: Path) -> Path:
    """A file that a process locks as long as it searches; its end, however it ends, unlocks it."""
    return study_dir / f".{worker}{TEMPORARY}"


def _has_ended(worker: str, study_dir: Path) -> bool | None:
    """Whether a process has ended; None for those of other machines and folders."""
    mark_path = _mark_of(worker, study_dir)
    is_here = worker.startswith(f"{socket.gethostname()}-") and mark_path.exists()
    return not is_in_use(mark_path) if is_here else None


def read_space(settings: Settings, space_path: Path, on_event: OnEvent) -> SearchSpace:
    """The search space in a file, its parameters, listed values and bounds checked.

    Raises:
        KgrecError: A file that cannot be used, a parameter or a value that no trial can take.
    """
    space = read_hyper_test(space_path)
    names = list(Settings.model_fields)
    of_data = names[names.index("field_separator") : names.index("benchmark_filename") + 1]
    check_parameter_names(space, names)
    for number in space.skipped_lines:
        on_event(Note(f"{space_path}, line {number}: fewer than three words, skipped"))
    for name, number in space.line_numbers.items():
        if name in {*NOT_TUNED, *of_data, *WHAT_IS_SCORED}:
            raise KgrecError(
                f"{space_path}, line {number}: {name} is the same for all trials of a study; take "
                f"the line out, and give the value by --set {name}=VALUE"
            )
    for name, range_ in space.ranges.items():
        for value in range_.tried:
            _check_value(settings, space, name, value)
    return space


def _check_value(settings: Settings, space: SearchSpace, name: str, value: Any) -> None:
    """Checks that some trial can take a value: alone, or with values of other parameters."""
    where = f"{space.path}, line {space.line_numbers[name]}"
    try:
        with_point(settings, {name: value}, where)
    except KgrecError:
        draw = random.Random(0)
        for _ in range(N_POINTS_TRIED if len(space.ranges) > 1 else 0):
            point = {other: draw.choice(range_.tried) for other, range_ in space.ranges.items()}
            with suppress(KgrecError):
                with_point(settings, point | {name: value}, where)
                return
        raise


def study_dir_of(settings: Settings, folder: Path, space_path: Path) -> Path:
    """The folder of a study; its name is that of the study."""
    return folder / "studies" / f"{settings.dataset}-{settings.model}-{space_path.stem}"


def check_executor(executor: str | None, jobs: int | None, address: str | None) -> None:
    """Checks the options of an executor.

    Raises:
        UsageError: An unknown executor, or one that takes no `jobs` or `address`.
        KgrecError: Ray is wanted, and not installed.
    """
    if executor is not None and executor not in EXECUTORS:
        raise UsageError(unknown_name("executor", executor, EXECUTORS))
    if executor == "serial" and jobs not in (None, 1):
        raise UsageError(f"--executor serial runs one trial at a time: found --jobs {jobs}")
    if address is not None and executor != "ray":
        raise UsageError("--address is of a Ray cluster: give --executor ray, too")
    if executor == "ray":
        load_ray()


def _choose_executor(
    settings: Settings,
    dataset: Dataset,
    folder: Path,
    executor: str | None,
    jobs: int | None,
    address: str | None,
    on_event: OnEvent,
) -> executors.RunTrials:
    """Who runs the trials, `jobs` at a time."""
    device = choose_device(settings.device)
    match executor or ("processes" if jobs and jobs > 1 else "serial"):
        case "processes":
            jobs, n_threads = share_cores(jobs)
            make = partial(load_objective, settings, folder, n_threads)
            return partial(executors.run_in_processes, make, jobs, on_event=on_event)
        case "ray":
            n_threads = settings.threads or 1
            make = partial(load_objective, settings, folder.resolve(), n_threads)
            return partial(
                run_on_ray, make, jobs, address,
                n_threads=n_threads, n_gpus=int(device.type == "cuda"),
            )  # fmt: skip
        case "batched":
            most = MAX_BATCHED_GPU if device.type == "cuda" else MAX_BATCHED_CPU
            return partial(BatchedTrials(settings, dataset, folder, on_event).run, jobs or most)
    return partial(executors.run_serially, Trials(settings, dataset, folder, on_event))


def _forecasting(run_trials: executors.RunTrials, forecast: Forecasting) -> executors.RunTrials:
    """The same executor; its trials are counted by epochs for a forecast, those at a time too."""
    last: Counter[int] = Counter()

    def run(points: executors.Points, should_prune: executors.ShouldPrune) -> executors.Outcomes:
        def after_epoch(number: int, step: int, score: float) -> bool:
            last[number] = step
            most = forecast.epochs * forecast.runs
            forecast.listen(Progress("trials", last.total(), most, "epochs"))
            return should_prune(number, step, score)

        return run_trials(points, after_epoch)

    return run


def _write_outcome(
    study_dir: Path, settings: Settings, trials: tuple[SearchTrial, ...]
) -> list[dict[str, Any]]:
    """Writes leaderboard.csv, best.yaml, result.txt and chart.html; returns the leaderboard."""
    leaderboard = build_leaderboard(trials)
    best = best_trial(trials)
    if best is None:
        return leaderboard
    write_table(study_dir / "leaderboard.csv", pl.DataFrame(leaderboard, infer_schema_length=None))
    tuned = with_point(settings, best.params, "best trial")
    head = f"# Trial {best.number}: {settings.valid_metric} {best.score:.4f} on validation.\n"
    write_text(study_dir / "best.yaml", head + format_config(tuned))
    write_text(study_dir / "result.txt", write_result_text(trials, settings.metric_decimal_place))
    chart = render_study(study_dir.name, trials, settings.valid_metric)
    write_text(study_dir / "chart.html", chart)
    return leaderboard
