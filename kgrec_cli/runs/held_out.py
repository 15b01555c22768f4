"""A run beside the events that it was not trained on: what `evaluate` and `compare` measure."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.config import narrow, resolve_settings
from kgrec_cli.core.data.splits import Split, item_popularity
from kgrec_cli.core.evaluation.measure import Measured, MeasureSettings, measure_model
from kgrec_cli.dataset.load import Dataset, split_dataset
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import OnEvent, ignore_event
from kgrec_cli.runs.recommender import Recommender, load_recommender
from kgrec_cli.runs.run_files import read_run_settings
from kgrec_cli.setting_blocks import LIST_METRICS, METRICS
from kgrec_cli.settings import Settings

MEASURING = ("topk", "metrics", "eval_args", "eval_batch_size", "data_path")


def evaluation_settings(run_dir: Path, values: Mapping[str, Any]) -> Settings:
    """The settings of a run with other things to measure.

    `values` are settings of `MEASURING` by name; None is the run's. Without `metrics` all metrics
    are measured.

    Raises:
        UsageError: A name or value that is not valid, or a setting that a trained run cannot take.
    """
    for name in values:
        if name not in MEASURING:
            raise UsageError(
                f"--set {name}: a trained run keeps its settings; "
                f"evaluate takes {', '.join(MEASURING)}"
            )
    metrics = values.get("metrics") or (*METRICS, *LIST_METRICS)
    run_settings = read_run_settings(run_dir).model_dump(mode="json")
    return resolve_settings(
        folder=run_dir, options={**values, "metrics": metrics}, base=run_settings
    )


@dataclass(frozen=True)
class HeldOut:
    """A finished run beside the data that it held out, in the run's item ids.

    `popularity` int64 (N,) counts the training interactions of each item.
    """

    recommender: Recommender
    dataset: Dataset
    split: Split
    popularity: NDArray[np.int64]

    def measure(self, part: str, on_event: OnEvent = ignore_event) -> Measured:
        """The "valid" or "test" part ranked by the run's model and measured."""
        model = self.recommender.model
        measuring = narrow(self.recommender.settings, MeasureSettings)
        return measure_model(
            model, self.dataset.histories, self.split, measuring, parts=(part,), on_event=on_event
        )[part]


def load_held_out(
    run_dir: Path,
    folder: Path,
    settings: Settings,
    *,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent,
) -> HeldOut:
    """A finished run, its data set and its split, to rank the held-out targets.

    `settings` are the run's, with what to measure.

    Raises:
        KgrecError: The run held nothing out, its data set is missing or has changed.
    """
    recommender = load_recommender(
        run_dir, folder, settings=settings, device=device, threads=threads, on_event=on_event
    )
    if recommender.on_all_data:
        raise KgrecError(f"{run_dir}: trained on all data, so nothing was held out to measure on")
    dataset = recommender.dataset
    if not dataset.matches(recommender.inter_sha256, on_event):
        raise KgrecError(
            f"{run_dir}: trained on another {dataset.name}.inter than the one here now; "
            "evaluate it where it was trained, or train anew"
        )
    split = split_dataset(settings, dataset)
    popularity = item_popularity(
        dataset.histories, split, len(dataset.items), targets_only=settings.recbole_compat
    )
    return HeldOut(recommender, dataset, split, popularity)
