"""`kgrec evaluate`: a run folder in, `metrics.json` and the rank of every target out."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.config import resolve_settings
from kgrec_cli.core.baselines import item_knn_score, popularity_score
from kgrec_cli.core.evaluation import (
    PARTS,
    Measured,
    measure,
    popularity_groups,
    slice_metrics,
)
from kgrec_cli.core.ranking import Score, score_by
from kgrec_cli.core.sequences import Split, item_popularity
from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats import run_dir as runs
from kgrec_cli.formats.exports import check_export_path, write_table
from kgrec_cli.settings import Settings
from kgrec_cli.stages.dataset import Dataset, load_dataset, split_dataset
from kgrec_cli.stages.trained import Trained, load_trained, read_run_settings


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        run_dir: The run.
        metrics: By part: valid, valid_masked, test, test_masked.
        baselines: The same for Pop and ItemKNN, by name; test parts only.
        slices: By view (test, test_masked), then by slice: n_targets and metrics.
    """

    run_dir: Path
    metrics: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, dict[str, float]]]
    slices: dict[str, dict[str, dict[str, float]]]


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
    if dataset.inter_sha256 != trained.inter_sha256:
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


def run_evaluate(
    run_dir: Path,
    folder: Path,
    *,
    settings: Settings,
    per_user_path: Path | None = None,
    baselines: bool = True,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent,
) -> Evaluation:
    """Measures a finished run on its own data set and merges the result into its `metrics.json`.

    Args:
        run_dir: A finished run.
        folder: The working folder.
        settings: The run's, with what to measure.
        per_user_path: Where to write the rank of each test target.
        baselines: Whether to measure popularity and ItemKNN too.
        device: Where to compute; None as in training.
        threads: CPU threads; None as in training.
        on_event: Hears the progress.

    Raises:
        KgrecError: The run held nothing out, its data set is missing or has changed.
    """
    if per_user_path is not None:
        check_export_path(per_user_path)
    held = load_held_out(
        run_dir, folder, settings, device=device, threads=threads, on_event=on_event
    )
    dataset, split, popularity = held.dataset, held.split, held.popularity
    histories = dataset.histories
    metrics: dict[str, dict[str, float]] = {}
    for part in PARTS:
        on_event(Note(f"ranking the {part} targets among {len(dataset.items) - 1:,} items"))
        measured = measure(held.score, histories, split, part, settings, popularity)
        metrics |= measured.metrics
        if not measured.metrics:
            on_event(Warn(f"the {part} part is empty: nothing to report of it"))
    slices = _slices(measured, dataset, popularity, settings)
    if per_user_path is not None:
        write_table(per_user_path, per_user_table(measured, dataset))
    compared: dict[str, dict[str, dict[str, float]]] = {}
    if baselines and measured.metrics:
        scores = {
            "Pop": popularity_score(popularity),
            "ItemKNN": item_knn_score(histories, split, len(dataset.items)),
        }
        for name, baseline in scores.items():
            on_event(Note(f"ranking the test targets by {name}"))
            compared[name] = measure(
                baseline, histories, split, "test", settings, popularity
            ).metrics
    merged = {**metrics, "slices": slices, **({"baselines": compared} if compared else {})}
    runs.merge_metrics(run_dir, merged)
    return Evaluation(run_dir, metrics, compared, slices)


def _slices(
    measured: Measured, dataset: Dataset, popularity: NDArray[np.int64], settings: Settings
) -> dict[str, dict[str, dict[str, float]]]:
    groups = item_groups(dataset, popularity)
    items = dataset.histories.items[measured.targets]
    ranking = measured.ranking
    views = {"test": ranking.ranks, "test_masked": ranking.ranks_masked}
    metrics = [name for name in settings.metrics if name in ("NDCG", "Hit", "MRR")]
    return {
        view: slice_metrics(ranks, items, groups, metrics, settings.topk)
        for view, ranks in views.items()
    }


def item_groups(dataset: Dataset, popularity: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Bool (N,) by name: items by popularity and, where there are links, by whether they have one.

    Args:
        dataset: Whose items.
        popularity: int64 (N,), training interactions of each item, padding first.
    """
    groups = popularity_groups(popularity)
    if dataset.entities:
        linked = np.array([token in dataset.entities for token in dataset.items.tokens])
        groups |= {"linked items": linked, "unlinked items": ~linked}
    return groups


def per_user_table(measured: Measured, dataset: Dataset) -> pl.DataFrame:
    """One row a target: user, item, history_length (events before it), rank, rank_masked."""
    histories, targets = dataset.histories, measured.targets
    owners = histories.owners[targets]
    users = np.array(dataset.users.tokens)[histories.user_ids[owners]]
    items = np.array(dataset.items.tokens)[histories.items[targets]]
    return pl.DataFrame(
        {
            "user": users,
            "item": items,
            "history_length": targets - histories.offsets[owners],
            "rank": measured.ranking.ranks,
            "rank_masked": measured.ranking.ranks_masked,
        }
    )
