"""`kgrec train`: atomic files and entity vectors in, a run folder out."""

import hashlib
import os
import shutil
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kgrec_cli.config import flatten, narrow
from kgrec_cli.core.cores import warn_of_busy_cores
from kgrec_cli.core.data.histories import vocabulary_of
from kgrec_cli.core.data.splits import Split, check_targets, split_all
from kgrec_cli.core.evaluation.measure import MeasureSettings, measure_model, merge_parts
from kgrec_cli.core.model.gru4reckg import GRU4RecKG, ModelSettings, build_model
from kgrec_cli.core.pace import Forecasting
from kgrec_cli.core.training.epoch import TrainingSettings
from kgrec_cli.core.training.fit import (
    TrainingState,
    find_state_misfit,
    fit,
    pack_state,
    unpack_state,
)
from kgrec_cli.core.workers import ALONE, Workers
from kgrec_cli.dataset.features import FeatureTables, load_feature_tables, warn_of_broken_links
from kgrec_cli.dataset.load import Dataset, load_dataset, split_dataset
from kgrec_cli.errors import KgrecError, Stopped
from kgrec_cli.events import EpochDone, Note, OnEvent, RunDone, RunStarted, ignore_event
from kgrec_cli.formats.files import CannotWrite
from kgrec_cli.formats.locks import only_writer
from kgrec_cli.runs import run_dir as runs
from kgrec_cli.runs.model_fit import check_model_size, check_negatives_size, widths_of
from kgrec_cli.runs.run_dir import choose_device, set_up_cpu
from kgrec_cli.runs.run_files import (
    CHECKPOINT,
    Environment,
    naming_the_cure,
    read_checkpoint,
    read_environment,
    read_run_settings,
    write_history,
    write_tensors,
)
from kgrec_cli.runs.warm_start import (
    WarmStart,
    check_fits,
    read_warm_start,
    take_over,
    warn_of_leaks,
)
from kgrec_cli.settings import SSM_NEGATIVES, Settings

MANY_ITEMS = 5 * SSM_NEGATIVES["sample_num"]
"""From so many items on sampled ones save most of the scores."""


@dataclass(frozen=True)
class TrainedRun:
    """The outcome of one training. `elapsed_s` includes loading.

    `best_score` is the validation score of the best epoch in `valid_metric`, `metrics` are by part
    ("valid", "test_masked", ...): 0 and empty after a fit on all data.
    """

    run_dir: Path
    seed: int
    best_epoch: int
    best_score: float
    epochs: int
    elapsed_s: float
    metrics: dict[str, dict[str, float]]


def run_train(
    settings: Settings,
    folder: Path,
    *,
    n_seeds: int = 1,
    name: str | None = None,
    on_all_data: bool = False,
    warm_start: Path | None = None,
    on_event: OnEvent,
    workers: Workers = ALONE,
) -> list[TrainedRun]:
    """Trains one run, or one for each of `n_seeds` seeds from `settings.seed` on.

    `name` is that of the run's folder; None for one of data set, model and time.
    With `on_all_data` (a final fit) nothing is held out, and all of `settings.epochs` are trained.
    `warm_start` is a finished run of the same settings to take the first weights from. Of several
    `workers` the first one alone needs the folder of the runs.

    Raises:
        KgrecError: A missing or malformed file, an empty split.
        Stopped: Ctrl-C; the line says how to resume.
    """
    began = time.perf_counter()
    workers.check_device(device := choose_device(settings.device))
    if workers.number:
        on_event = ignore_event
    of_run = None if warm_start is None else os.path.relpath(warm_start, folder)
    if workers.is_restart and n_seeds > 1:
        raise KgrecError(
            f"torchrun began {n_seeds} seeds again, and which of them are trained is not known: "
            "`kgrec train --resume latest` resumes the last one, --seed N --seeds M begins others"
        )
    if workers.is_restart and (
        stopped := workers.first(lambda: _stopped_run(settings, folder, on_all_data, of_run))
    ):
        return [resume_train(stopped, folder, on_event=on_event, workers=workers)]
    seeds = range(settings.seed, settings.seed + n_seeds)
    suffixes = {seed: f"-seed{seed}" if n_seeds > 1 else "" for seed in seeds}
    for suffix in suffixes.values() if name is not None and workers.number == 0 else ():
        runs.check_new_name(folder / settings.checkpoint_dir, f"{name}{suffix}")
    ready = get_ready(settings, folder, on_all_data, warm_start, on_event, workers)
    results = []
    for seed, suffix in suffixes.items():
        seeded = settings.model_copy(update={"seed": seed})
        new_run = runs.new_run(
            folder / settings.checkpoint_dir,
            seeded,
            ready.dataset,
            device,
            name=name,
            suffix=suffix,
            on_all_data=on_all_data,
            warm_start=of_run,
        )
        with new_run if workers.number == 0 else nullcontext(folder) as run_dir:
            on_event(Note(f"training {settings.model} on {ready.dataset.name} -> {run_dir}"))
            try:
                on_event(_run_started(run_dir, seeded, ready.dataset))
            except KgrecError:  # a tracker that cannot be started
                shutil.rmtree(run_dir, ignore_errors=True)
                raise
            try:
                result = _train(run_dir, seeded, ready, None, on_all_data, began, on_event)
            except Stopped as error:
                if workers.number or (run_dir / CHECKPOINT).is_file():
                    raise
                shutil.rmtree(run_dir, ignore_errors=True)
                raise Stopped(
                    f"stopped before the first epoch of seed {seed} was done: nothing of it is kept"
                ) from error
        results.append(result)
        began = time.perf_counter()
    return results


@dataclass(frozen=True)
class Ready:
    """What a training begins with: the data, the vectors of each branch, the first weights."""

    dataset: Dataset
    split: Split
    tables: FeatureTables
    warm: WarmStart | None
    workers: Workers

    def make_model(self, settings: Settings, on_event: OnEvent) -> GRU4RecKG:
        """A model with its first weights; `settings` are those that this was got ready for."""
        n_items, device = len(self.dataset.items), choose_device(settings.device)
        model = build_model(narrow(settings, ModelSettings), n_items, self.tables, device)
        if self.warm is not None:
            take_over(self.warm, model, self.dataset, on_event)
        return model


def get_ready(
    settings: Settings,
    folder: Path,
    on_all_data: bool,
    warm_start: Path | None,
    on_event: OnEvent,
    workers: Workers = ALONE,
) -> Ready:
    """Loads what a training needs, and checks that it can be trained; as `run_train` does.

    Raises:
        KgrecError: A missing or malformed file, an empty split, too little memory.
    """
    set_up_cpu(settings)
    warm = None
    if warm_start is not None:
        warm = workers.first(lambda: read_warm_start(warm_start, settings))
    dataset = load_dataset(settings, folder, on_event)
    split = _split(settings, dataset, on_all_data)
    check_targets(dataset.histories, split, validate=settings.validates and not on_all_data)
    dataset, split, workers = share_out(dataset, split, workers)
    tables = load_feature_tables(settings, dataset, folder, on_event)
    if warm is not None:
        check_fits(warm, settings, dataset, widths_of(tables))
        if not on_all_data and workers.number == 0:
            warn_of_leaks(warm, settings, folder, on_event)
    of_model, widths = narrow(settings, ModelSettings), widths_of(tables)
    check_model_size(of_model, len(dataset.items), widths, settings.learner)
    check_negatives_size(settings, dataset.n_interactions)
    if settings.loss_type == "CE" and (n_items := len(dataset.items) - 1) > MANY_ITEMS:
        on_event(
            Note(
                f"each target is compared with all {n_items:,} items; loss_type: SSM (as in "
                "--preset sparse) draws a few thousand of them, which is faster"
            )
        )
    warn_of_broken_links(settings, dataset, folder, on_event)
    return Ready(dataset, split, tables, warm, workers)


def resume_train(
    run_dir: Path,
    folder: Path,
    *,
    threads: int | None = None,
    on_event: OnEvent,
    workers: Workers = ALONE,
) -> TrainedRun:
    """Resumes a stopped run, to the same result as an uninterrupted one.

    Raises:
        KgrecError: The run is finished, another process trains it, or its data set has changed.
        Stopped: Ctrl-C; the line says how to resume.
    """
    if workers.number:
        on_event = ignore_event
    with only_writer(run_dir) if workers.number == 0 else nullcontext():
        return _resume(run_dir, folder, threads, on_event, workers)


def _stopped_run(
    settings: Settings, folder: Path, on_all_data: bool, warm_start: str | None
) -> Path | None:
    """The newest run of this training, if it was stopped; damaged runs are passed over."""
    for run_dir in reversed(runs.list_runs(folder / settings.checkpoint_dir)):
        with suppress(KgrecError):
            made = read_environment(run_dir)
            is_same = (made.on_all_data, made.warm_start) == (on_all_data, warm_start)
            if is_same and read_run_settings(run_dir) == settings:
                return None if runs.is_finished(run_dir) else run_dir
    return None


def _resume(
    run_dir: Path, folder: Path, threads: int | None, on_event: OnEvent, workers: Workers
) -> TrainedRun:
    began = time.perf_counter()
    settings, environment, state = workers.first(lambda: _read_stopped(run_dir))
    workers.check_device(choose_device(settings.device))
    if threads is not None:
        settings = settings.model_copy(update={"threads": threads})
    set_up_cpu(settings)
    dataset = load_dataset(settings, folder, on_event)
    if not dataset.matches(environment.inter_sha256, on_event):
        raise KgrecError(f"{run_dir}: its data set {dataset.name} has changed since; train anew")
    on_all_data = environment.on_all_data
    dataset, split, workers = share_out(dataset, _split(settings, dataset, on_all_data), workers)
    tables = load_feature_tables(settings, dataset, folder, on_event)
    warm = None
    if state is not None:
        if workers.number == 0:
            write_history(run_dir, state.history)  # a kill may have come between the two files
        on_event(Note(f"resuming {run_dir.name} after epoch {state.epoch}"))
    else:
        on_event(Note(f"{run_dir.name} was stopped within its first epoch: it starts again"))
        if (of_run := environment.warm_start) is not None:
            warm = workers.first(lambda: read_warm_start(folder / of_run, settings))
    on_event(_run_started(run_dir, settings, dataset, state.epoch if state else 0))
    ready = Ready(dataset, split, tables, warm, workers)
    return _train(run_dir, settings, ready, state, on_all_data, began, on_event)


def _read_stopped(run_dir: Path) -> tuple[Settings, Environment, TrainingState | None]:
    """What a stopped run holds; no state if it was stopped within its first epoch."""
    if runs.is_finished(run_dir):
        raise KgrecError(f"{run_dir}: this run is finished; there is nothing to resume")
    has_state = (run_dir / CHECKPOINT).is_file()
    state = unpack_state(*read_checkpoint(run_dir)) if has_state else None
    return read_run_settings(run_dir), read_environment(run_dir), state


def share_out(dataset: Dataset, split: Split, workers: Workers) -> tuple[Dataset, Split, Workers]:
    """The data set with the histories of this process's users alone, and no tokens of users."""
    if workers.count == 1:
        return dataset, split, workers
    workers.check_same(f"{dataset.name}.inter", dataset.inter_sha256)
    histories, split, workers = workers.share_out(dataset.histories, split)
    dataset = replace(dataset, histories=histories, users=vocabulary_of([]), split=None)
    return dataset, split, workers


def _digest(model: GRU4RecKG) -> str:
    """The SHA-256 of all weights."""
    digest = hashlib.sha256()
    for weight in model.state_dict().values():
        digest.update(weight.numpy().data)
    return digest.hexdigest()


def _run_started(run_dir: Path, settings: Settings, dataset: Dataset, epoch: int = 0) -> RunStarted:
    return RunStarted(run_dir, dataset.name, flatten(settings.model_dump(mode="json")), epoch)


def _train(
    run_dir: Path,
    settings: Settings,
    ready: Ready,
    state: TrainingState | None,
    on_all_data: bool,
    began: float,
    on_event: OnEvent,
) -> TrainedRun:
    histories, split, workers = ready.dataset.histories, ready.split, ready.workers
    device = choose_device(settings.device)
    if workers.count == 1 and device.type == "cpu":
        warn_of_busy_cores(on_event)
    model = ready.make_model(settings, on_event)
    if state is not None:
        with naming_the_cure(run_dir / CHECKPOINT):
            misfit = find_state_misfit(state, model, has_average=settings.ema_decay > 0)
            if misfit:
                raise KgrecError(f"{run_dir / CHECKPOINT}: {misfit}")
    if workers.count > 1:
        workers.check_same("the first weights (vectors, links, versions)", _digest(model))
    on_event = Forecasting(on_event, settings.epochs - (state.epoch if state else 0))

    def save(state: TrainingState, event: EpochDone) -> None:
        if workers.number:
            return
        tensors, meta = pack_state(state)
        write_tensors(run_dir / CHECKPOINT, tensors, meta)
        write_history(run_dir, state.history)
        on_event(event)

    metrics: dict[str, dict[str, float]] = {}
    try:
        state = fit(
            model,
            histories,
            split,
            narrow(settings, TrainingSettings),
            device=device,
            state=state,
            on_epoch=save,
            on_event=on_event,
            validate=settings.validates and not on_all_data,
            workers=workers,
        )
        training: dict[str, Any] = {
            "best_epoch": state.best_epoch,
            "epochs": state.epoch,
            "on_all_data": on_all_data,
            "train_s": round(sum(row["elapsed_s"] for row in state.history), 3),
        }
        if not on_all_data:
            measuring, parts = narrow(settings, MeasureSettings), settings.measured_parts
            measured = measure_model(
                model, histories, split, measuring, parts=parts, on_event=on_event, workers=workers
            )
            metrics = merge_parts(measured)
        if workers.number == 0:
            runs.finish_run(run_dir, model, training, metrics)
        by_part = {f"{part}/{name}": v for part in metrics for name, v in metrics[part].items()}
        on_event(RunDone(state.best_epoch, by_part))
    except CannotWrite as error:
        raise CannotWrite(f"{error}; `kgrec train --resume {run_dir.name}` resumes") from error
    except KeyboardInterrupt as error:
        raise Stopped(
            f"stopped; finished epochs are saved: `kgrec train --resume {run_dir.name}` resumes"
        ) from error
    return TrainedRun(
        run_dir=run_dir,
        seed=settings.seed,
        best_epoch=state.best_epoch,
        best_score=state.best_score,
        epochs=state.epoch,
        elapsed_s=time.perf_counter() - began,
        metrics=metrics,
    )


def _split(settings: Settings, dataset: Dataset, on_all_data: bool) -> Split:
    if on_all_data:
        return split_all(dataset.histories)
    return split_dataset(settings, dataset)
