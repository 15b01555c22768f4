"""The settings that `kgrec train` takes from a run: for a warm start or a final fit."""

from pathlib import Path
from typing import Any

from kgrec_cli.config import choose_dataset, resolve_settings
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import OnEvent, Warn
from kgrec_cli.runs import run_dir as runs
from kgrec_cli.runs.run_files import read_metrics, read_run_settings


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
