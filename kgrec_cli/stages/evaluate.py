"""`kgrec evaluate`: a run folder in, `metrics.json` and the rank of every target out."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.core.evaluation.measure import (
    PARTS,
    Measured,
    merge_parts,
)
from kgrec_cli.core.evaluation.slices import TIED, popularity_groups, slice_metrics, time_groups
from kgrec_cli.dataset.load import Dataset
from kgrec_cli.events import Note, OnEvent, Warn
from kgrec_cli.formats.files import CannotWrite, check_export_path, write_table
from kgrec_cli.runs.baselines import WhichBaselines, measure_baselines
from kgrec_cli.runs.held_out import load_held_out
from kgrec_cli.runs.run_files import merge_metrics, read_metrics
from kgrec_cli.settings import Settings


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured.

    Metrics are by part (valid, valid_masked, test, test_masked); those of the baselines, by name,
    of test parts only, beside the `parameters` that validation chose. Slices are by view, then by
    name: n_targets and metrics. `is_kept` says whether the run's `metrics.json` holds them now: not
    in a folder that is read-only.
    """

    run_dir: Path
    metrics: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, dict[str, float]]]
    slices: dict[str, dict[str, dict[str, float]]]
    is_kept: bool


def run_evaluate(
    run_dir: Path,
    folder: Path,
    *,
    settings: Settings,
    per_user_path: Path | None = None,
    baselines: WhichBaselines = True,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent,
) -> Evaluation:
    """Measures a finished run on its data set and merges the result into its `metrics.json`.

    `settings` are the run's, with what to measure. The rank of each test target is written to
    `per_user_path`. Where `metrics.json` cannot be written, a warning says so.

    Raises:
        KgrecError: The run is damaged or held nothing out, its data set is missing or has changed.
    """
    read_metrics(run_dir)
    if per_user_path is not None:
        check_export_path(per_user_path)
    held_out = load_held_out(
        run_dir, folder, settings, device=device, threads=threads, on_event=on_event
    )
    dataset, popularity = held_out.dataset, held_out.popularity
    measured: dict[str, Measured] = {}
    for part in PARTS:
        on_event(Note(f"ranking the {part} targets among {len(dataset.items) - 1:,} items"))
        measured[part] = held_out.measure(part, on_event)
    metrics, test = merge_parts(measured), measured["test"]
    slices = measure_slices(test, dataset, popularity, settings)
    if tied := slices["test"].get(TIED):
        on_event(Note(_tie_note(int(tied["n_targets"]), len(test.targets))))
    if per_user_path is not None:
        write_table(per_user_path, per_user_table(test, dataset))
    baseline_metrics = {
        name: {
            **each.measured.metrics,
            **({"parameters": each.parameters} if each.parameters else {}),
        }
        for name, each in measure_baselines(held_out, baselines, on_event).items()
    }
    baselines_measured = {"baselines": baseline_metrics} if baseline_metrics else {}
    try:
        merge_metrics(run_dir, {**metrics, "slices": slices, **baselines_measured})
    except CannotWrite as error:
        on_event(Warn(f"{error}: these metrics are shown, but not kept"))
        return Evaluation(run_dir, metrics, baseline_metrics, slices, is_kept=False)
    return Evaluation(run_dir, metrics, baseline_metrics, slices, is_kept=True)


def _tie_note(n_tied: int, n_targets: int) -> str:
    return (
        f"{n_tied:,} of {n_targets:,} test targets ({n_tied / n_targets:.0%}) have the time of "
        f"another event of their user: the rows' order decides between them (slice '{TIED}')"
    )


def measure_slices(
    test: Measured, dataset: Dataset, popularity: NDArray[np.int64], settings: Settings
) -> dict[str, dict[str, dict[str, float]]]:
    """The slices of an `Evaluation`: NDCG, Hit and MRR of groups of test targets.

    Groups are by the target's item (popularity, links) and by its time (ties, gaps).
    """
    items = dataset.histories.items[test.targets]
    groups = {name: of[items] for name, of in item_groups(dataset, popularity).items()}
    groups |= time_groups(dataset.histories, test.targets)
    views = {"test": test.ranking.ranks, "test_masked": test.ranking.ranks_masked}
    metrics = [name for name in settings.metrics if name in ("NDCG", "Hit", "MRR")]
    return {
        view: slice_metrics(ranks, groups, metrics, settings.topk) for view, ranks in views.items()
    }


def item_groups(dataset: Dataset, popularity: NDArray[np.int64]) -> dict[str, NDArray[np.bool_]]:
    """Bool (N,) by name: items by popularity and, where there are links, by whether they have one.

    `popularity` is int64 (N,), the training interactions of each item, padding first.
    """
    groups = popularity_groups(popularity)
    if dataset.entities:
        linked = np.array([token in dataset.entities for token in dataset.items.tokens])
        groups |= {"linked items": linked, "unlinked items": ~linked}
    return groups


def per_user_table(measured: Measured, dataset: Dataset) -> pl.DataFrame:
    """A row for each target: user, item, history_length (events before it), rank, rank_masked."""
    histories, targets = dataset.histories, measured.targets
    owners = histories.owners[targets]
    return pl.DataFrame(
        {
            "user": np.array(dataset.users.tokens)[histories.user_ids[owners]],
            "item": np.array(dataset.items.tokens)[histories.items[targets]],
            "history_length": targets - histories.offsets[owners],
            "rank": measured.ranking.ranks,
            "rank_masked": measured.ranking.ranks_masked,
        }
    )
