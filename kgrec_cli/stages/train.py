"""`kgrec train`: atomic files and entity vectors in, a run folder out."""

import os
import shutil
import time
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgrec_cli.config import choose_dataset, flatten, narrow, resolve_settings
from kgrec_cli.core.cores import warn_of_busy_cores
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
from kgrec_cli.core.workers import Workers, is_restart, join_workers
from kgrec_cli.dataset.features import FeatureTables, load_feature_tables, warn_of_broken_links
from kgrec_cli.dataset.load import Dataset, load_dataset, split_dataset
from kgrec_cli.errors import KgrecError, Stopped
from kgrec_cli.events import EpochDone, Note, OnEvent, RunDone, RunStarted, Warn, ignore_event
from kgrec_cli.formats.files import CannotWrite
from kgrec_cli.formats.locks import only_writer
from kgrec_cli.runs import run_dir as runs
from kgrec_cli.runs.model_fit import check_model_size, check_negatives_size, widths_of
from kgrec_cli.runs.run_dir import choose_device, set_up_cpu
from kgrec_cli.runs.run_files import (
    CHECKPOINT,
    naming_the_cure,
    read_checkpoint,
    read_environment,
    read_metrics,
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
from kgrec_cli.settings import Settings


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
) -> list[TrainedRun]:
    """Trains one run, or one for each of `n_seeds` seeds from `settings.seed` on.

    `name` is that of the run's folder; None for one of data set, model and time.
    With `on_all_data` (a final fit) nothing is held out, and all of `settings.epochs` are trained.
    `warm_start` is a finished run of the same settings to take the first weights from.

    Raises:
        KgrecError: A missing or malformed file, an empty split.
        Stopped: Ctrl-C; the line says how to resume.
    """
    began = time.perf_counter()
    workers = join_workers(device := choose_device(settings.device))
    if workers.number:
        on_event = ignore_event
    of_run = None if warm_start is None else os.path.relpath(warm_start, folder)
    if is_restart() and n_seeds > 1:
        raise KgrecError(
            f"torchrun began {n_seeds} seeds again, and which of them are trained is not known: "
            "`kgrec train --resume latest` resumes the last one, --seed N --seeds M begins others"
        )
    if is_restart() and (stopped := _stopped_run(settings, folder, on_all_data, of_run)):
        return [resume_train(stopped, folder, on_event=on_event)]
    if name is not None:
        runs.check_new_name(folder / settings.checkpoint_dir, name)
    ready = get_ready(settings, folder, on_all_data, warm_start, on_event)
    results = []
    for number in range(n_seeds):
        seeded = settings.model_copy(update={"seed": settings.seed + number})
        new_run = runs.new_run(
            folder / settings.checkpoint_dir,
            seeded,
            ready.dataset,
            device,
            name=name,
            suffix=f"-seed{seeded.seed}" if n_seeds > 1 else "",
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
                result = _train(run_dir, seeded, ready, None, on_all_data, began, on_event, workers)
            except Stopped as error:
                if workers.number or (run_dir / CHECKPOINT).is_file():
                    raise
                shutil.rmtree(run_dir, ignore_errors=True)
                raise Stopped("stopped before the first epoch was done: nothing is kept") from error
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

    def make_model(self, settings: Settings, on_event: OnEvent) -> GRU4RecKG:
        """A model with its first weights; `settings` are those that this was got ready for."""
        n_items, device = len(self.dataset.items), choose_device(settings.device)
        model = build_model(narrow(settings, ModelSettings), n_items, self.tables, device)
        if self.warm is not None:
            take_over(self.warm, model, self.dataset, on_event)
        return model


def get_ready(
    settings: Settings, folder: Path, on_all_data: bool, warm_start: Path | None, on_event: OnEvent
) -> Ready:
    """Loads what a training needs, and checks that it can be trained; as `run_train` does.

    Raises:
        KgrecError: A missing or malformed file, an empty split, too little memory.
    """
    set_up_cpu(settings)
    warm = None if warm_start is None else read_warm_start(warm_start, settings)
    dataset = load_dataset(settings, folder, on_event)
    split = _split(settings, dataset, on_all_data)
    check_targets(dataset.histories, split, validate=not on_all_data)
    tables = load_feature_tables(settings, dataset, folder, on_event)
    if warm is not None:
        check_fits(warm, settings, dataset, widths_of(tables))
        if not on_all_data:
            warn_of_leaks(warm, settings, folder, on_event)
    of_model, widths = narrow(settings, ModelSettings), widths_of(tables)
    check_model_size(of_model, len(dataset.items), widths, settings.learner)
    check_negatives_size(settings, len(dataset.histories.items))
    warn_of_broken_links(settings, dataset, folder, on_event)
    return Ready(dataset, split, tables, warm)


def base_settings(
    folder: Path,
    warm_start: Path | None,
    like: str | Path | None,
    dataset: str | None,
    on_event: OnEvent,
    *,
    on_all_data: bool,
    epochs: int | None,
) -> dict[str, Any] | None:
    """The settings that a warm start or a final fit begins with, those of a run; None for others.

    Raises:
        KgrecError: As `final_fit_settings`; or a warm start on all data without `epochs`: those of
            a training from scratch are too many.
    """
    if warm_start is None or like is not None:
        return final_fit_settings(folder, like, dataset, on_event) if on_all_data else None
    if on_all_data and epochs is None:
        raise KgrecError(
            "--from with --on-all-data: nothing is held out to stop by, so give --epochs N: the "
            "best epoch of a warm start that holds data out (`kgrec train --from RUN`)"
        )
    return read_run_settings(warm_start).model_dump(mode="json")


def final_fit_settings(
    folder: Path, like: str | Path | None, dataset: str | None, on_event: OnEvent
) -> dict[str, Any]:
    """The settings of a finished run, as a mapping, `epochs` being its best epoch.

    Without `like` it is the newest run that held data out, of `dataset` (or of the folder's
    settings) if that is set. Damaged runs are passed over, with a warning.

    Raises:
        KgrecError: No such run, or one that was itself trained on all data.
    """
    local = resolve_settings(folder=folder, options={"dataset": dataset})
    saved_dir = folder / local.checkpoint_dir
    if dataset := local.dataset:  # a folder may be named
        dataset = choose_dataset(local, folder).dataset
    if like is None:
        candidates = [
            run
            for run in runs.list_runs(saved_dir)
            if runs.is_finished(run) and _held_out(run, dataset, on_event)
        ]
        if not candidates:
            raise KgrecError(
                f"no finished run under {saved_dir.name}/ to take the epochs from: "
                "`kgrec train` first, then `kgrec train --on-all-data`"
            )
        run_dir = candidates[-1]
    else:
        run_dir = runs.find_run(folder, like)
    training = read_metrics(run_dir).training
    if training.on_all_data:
        raise KgrecError(f"{run_dir}: trained on all data itself; name a run that held data out")
    settings = read_run_settings(run_dir).model_dump(mode="json")
    return {**settings, "epochs": training.best_epoch}


def _held_out(run_dir: Path, dataset: str | None, on_event: OnEvent) -> bool:
    """Whether a run held data out, and is of the data set if one is named."""
    try:
        return bool(read_metrics(run_dir).test) and dataset in (
            None,
            read_run_settings(run_dir).dataset,
        )
    except KgrecError as error:
        on_event(Warn(f"passed over: {error}"))
        return False


def resume_train(
    run_dir: Path, folder: Path, *, threads: int | None = None, on_event: OnEvent
) -> TrainedRun:
    """Resumes a stopped run, to the same result as an uninterrupted one.

    Raises:
        KgrecError: The run is finished, another process trains it, or its data set has changed.
        Stopped: Ctrl-C; the line says how to resume.
    """
    workers = join_workers(choose_device(read_run_settings(run_dir).device))
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
    if runs.is_finished(run_dir):
        raise KgrecError(f"{run_dir}: this run is finished; there is nothing to resume")
    settings = read_run_settings(run_dir)
    if threads is not None:
        settings = settings.model_copy(update={"threads": threads})
    set_up_cpu(settings)
    dataset = load_dataset(settings, folder, on_event)
    environment = read_environment(run_dir)
    if not dataset.matches(environment.inter_sha256, on_event):
        raise KgrecError(f"{run_dir}: its data set {dataset.name} has changed since; train anew")
    tables = load_feature_tables(settings, dataset, folder, on_event)
    state = warm = None
    if (run_dir / CHECKPOINT).is_file():
        state = unpack_state(*read_checkpoint(run_dir))
        if workers.number == 0:
            write_history(run_dir, state.history)  # a kill may have come between the two files
        on_event(Note(f"resuming {run_dir.name} after epoch {state.epoch}"))
    else:
        on_event(Note(f"{run_dir.name} was stopped within its first epoch: it starts again"))
        if environment.warm_start is not None:
            warm = read_warm_start(folder / environment.warm_start, settings)
    on_all_data = environment.on_all_data
    on_event(_run_started(run_dir, settings, dataset, state.epoch if state else 0))
    ready = Ready(dataset, _split(settings, dataset, on_all_data), tables, warm)
    return _train(run_dir, settings, ready, state, on_all_data, began, on_event, workers)


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
    workers: Workers,
) -> TrainedRun:
    histories, split = ready.dataset.histories, ready.split
    device = choose_device(settings.device)
    if workers.count == 1 and device.type == "cpu":
        warn_of_busy_cores(on_event)
    model = ready.make_model(settings, on_event)
    if state is not None:
        with naming_the_cure(run_dir / CHECKPOINT):
            misfit = find_state_misfit(state, model, has_average=settings.ema_decay > 0)
            if misfit:
                raise KgrecError(f"{run_dir / CHECKPOINT}: {misfit}")
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
            validate=not on_all_data,
            workers=workers,
        )
        training: dict[str, Any] = {
            "best_epoch": state.best_epoch,
            "epochs": state.epoch,
            "on_all_data": on_all_data,
            "train_s": round(sum(row["elapsed_s"] for row in state.history), 3),
        }
        if not on_all_data:
            measuring = narrow(settings, MeasureSettings)
            parts = measure_model(
                model, histories, split, measuring, on_event=on_event, workers=workers
            )
            metrics = merge_parts(parts)
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
