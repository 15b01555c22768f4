"""A run beside the events that it was not trained on: what `evaluate` and `compare` measure."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.config import resolve_settings
from kgrec_cli.core.data.splits import Split, item_popularity
from kgrec_cli.core.evaluation.ranking import Score, score_by
from kgrec_cli.dataset.load import Dataset, load_dataset, split_dataset
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import OnEvent
from kgrec_cli.runs.trained import Trained, load_trained, read_run_settings
from kgrec_cli.settings import Settings

MEASURING = ("topk", "metrics", "eval_args", "eval_batch_size", "data_path")


def evaluation_settings(
    run_dir: Path, *, topk: str | None, metrics: str, values: dict[str, Any]
) -> Settings:
    """The settings of a run with other things to measure.

    Args:
        run_dir: The run.
        topk: Cutoffs separated by commas; None for the run's.
        metrics: Names separated by commas.
        values: Further settings; only those of `MEASURING` make sense.

    Raises:
        UsageError: A name or value that is not valid, or a setting that a trained run cannot take.
    """
    for name in values:
        if name not in MEASURING:
            raise UsageError(
                f"--set {name}: a trained run keeps its settings; "
                f"evaluate takes {', '.join(MEASURING)}"
            )
    typed: dict[str, Any] = {"metrics": [name.strip() for name in metrics.split(",")], **values}
    if topk is not None:
        typed["topk"] = [cutoff.strip() for cutoff in topk.split(",")]
    own = read_run_settings(run_dir).model_dump(mode="json")
    return resolve_settings(folder=run_dir, options=typed, base=own)


@dataclass(frozen=True)
class HeldOut:
    """A finished run beside the data that it held out.

    Attributes:
        trained: The run.
        dataset: Its data set, in the run's item ids.
        split: Its parts.
        popularity: int64 (N,), training interactions of each item.
        score: The scores of its model.
    """

    trained: Trained
    dataset: Dataset
    split: Split
    popularity: NDArray[np.int64]
    score: Score


def load_held_out(
    run_dir: Path,
    folder: Path,
    settings: Settings,
    *,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent,
) -> HeldOut:
    """What it takes to rank the held-out targets of a run.

    Args:
        run_dir: A finished run.
        folder: The working folder.
        settings: The run's, with what to measure.
        device: Where to compute; None as in training.
        threads: CPU threads; None as in training.
        on_event: Hears the progress.

    Raises:
        KgrecError: The run held nothing out, its data set is missing or has changed.
    """
    trained = load_trained(run_dir, device=device, threads=threads)
    if trained.on_all_data:
        raise KgrecError(f"{run_dir}: trained on all data, so nothing was held out to measure on")
    dataset = load_dataset(settings, folder, on_event, items=trained.items)
    if not dataset.matches(trained.inter_sha256, on_event):
        raise KgrecError(
            f"{run_dir}: trained on another {dataset.name}.inter than the one here now; "
            "evaluate it where it was trained, or train anew"
        )
    histories, split = dataset.histories, split_dataset(settings, dataset)
    popularity = item_popularity(
        histories, split, len(dataset.items), targets_only=settings.recbole_compat
    )
    score = score_by(
        trained.model,
        histories,
        max_length=settings.MAX_ITEM_LIST_LENGTH,
        device=trained.device,
    )
    return HeldOut(trained, dataset, split, popularity, score)
