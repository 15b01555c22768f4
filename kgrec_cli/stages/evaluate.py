"""`kgrec evaluate`: a run folder in, `metrics.json` and the rank of every target out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.config import narrow
from kgrec_cli.core.evaluation.baselines import item_knn_score, popularity_score
from kgrec_cli.core.evaluation.measure import (
    PARTS,
    Measured,
    MeasureSettings,
    measure,
    merge_parts,
    popularity_groups,
    slice_metrics,
)
from kgrec_cli.dataset.load import Dataset
from kgrec_cli.events import Note, OnEvent
from kgrec_cli.formats.files import check_export_path, write_table
from kgrec_cli.runs.held_out import load_held_out
from kgrec_cli.runs.run_dir import merge_metrics
from kgrec_cli.settings import Settings


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
    held_out = load_held_out(
        run_dir, folder, settings, device=device, threads=threads, on_event=on_event
    )
    dataset, split, popularity = held_out.dataset, held_out.split, held_out.popularity
    measured: dict[str, Measured] = {}
    for part in PARTS:
        on_event(Note(f"ranking the {part} targets among {len(dataset.items) - 1:,} items"))
        measured[part] = held_out.measure(part, on_event)
    metrics, test = merge_parts(measured), measured["test"]
    slices = _slices(test, dataset, popularity, settings)
    if per_user_path is not None:
        write_table(per_user_path, per_user_table(test, dataset))
    measuring = narrow(settings, MeasureSettings)
    of_baselines: dict[str, dict[str, dict[str, float]]] = {}
    if baselines and test.metrics:
        scores = {
            "Pop": popularity_score(popularity),
            "ItemKNN": item_knn_score(dataset.histories, split, len(dataset.items)),
        }
        for name, score in scores.items():
            on_event(Note(f"ranking the test targets by {name}"))
            of_baselines[name] = measure(
                score, dataset.histories, split, "test", measuring, popularity
            ).metrics
    shown = {"slices": slices, **({"baselines": of_baselines} if of_baselines else {})}
    merge_metrics(run_dir, {**metrics, **shown})
    return Evaluation(run_dir, metrics, of_baselines, slices)


def _slices(
    test: Measured, dataset: Dataset, popularity: NDArray[np.int64], settings: Settings
) -> dict[str, dict[str, dict[str, float]]]:
    groups = item_groups(dataset, popularity)
    items = dataset.histories.items[test.targets]
    views = {"test": test.ranking.ranks, "test_masked": test.ranking.ranks_masked}
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
