"""`kgrec evaluate`: a run folder in, `metrics.json` and the rank of every target out."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.core.data import splits
from kgrec_cli.core.evaluation.measure import Measured, merge_parts
from kgrec_cli.core.evaluation.slices import TIED, popularity_groups, slice_metrics, time_groups
from kgrec_cli.core.linking.path_metrics import ExplainedList, path_metrics
from kgrec_cli.dataset.load import Dataset
from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Note, OnEvent, Progress, Warn
from kgrec_cli.formats.files import CannotWrite, check_export_path, write_table
from kgrec_cli.runs.baselines import WhichBaselines, measure_baselines
from kgrec_cli.runs.held_out import HeldOut, load_held_out
from kgrec_cli.runs.run_files import merge_metrics, read_metrics, read_run_settings
from kgrec_cli.settings import Settings

MAX_EXPLAINED = 1000
"""Users whose lists are explained at most: of more, that many evenly over all."""


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured.

    Metrics are by part (valid, valid_masked, test, test_masked); those of the baselines, by name,
    of test parts only, beside the `parameters` that validation chose. Slices are by view, then by
    name: n_targets and metrics. `is_kept` says whether the run's `metrics.json` holds them now: not
    in a folder that is read-only, nor where `eval_args` are others than the run's. `explanations`
    are path metrics by name, with `users` and `of_users`; empty unless asked for.
    """

    run_dir: Path
    metrics: dict[str, dict[str, float]]
    baselines: dict[str, dict[str, dict[str, float]]]
    slices: dict[str, dict[str, dict[str, float]]]
    is_kept: bool
    explanations: dict[str, float] = field(default_factory=dict)


def run_evaluate(
    run_dir: Path,
    folder: Path,
    *,
    settings: Settings,
    per_user_path: Path | None = None,
    baselines: WhichBaselines = True,
    explanations: bool = False,
    device: str | None = None,
    threads: int | None = None,
    on_event: OnEvent,
) -> Evaluation:
    """Measures a finished run on its data set and merges the result into its `metrics.json`.

    `settings` are the run's, with what to measure. The rank of each test target is written to
    `per_user_path`. A warning says where nothing is merged (see `Evaluation`).

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
    for part in settings.measured_parts:
        on_event(Note(f"ranking the {part} targets among {len(dataset.items) - 1:,} items"))
        measured[part] = held_out.measure(part, on_event)
    metrics, test = merge_parts(measured), measured["test"]
    slices = measure_slices(test, dataset, popularity, settings)
    if tied := slices["test"].get(TIED):
        n_tied, n = int(tied["n_targets"]), len(test.targets)
        text = f"{n_tied:,} of {n:,} test targets ({n_tied / n:.0%}) have the time of another event"
        text += f" of their user: the rows' order decides between them (slice '{TIED}')"
        on_event(Note(text))
    if per_user_path is not None:
        write_table(per_user_path, per_user_table(test, dataset))
    baseline_metrics = {
        name: each.measured.metrics | ({"parameters": each.parameters} if each.parameters else {})
        for name, each in measure_baselines(held_out, baselines, on_event).items()
    }
    of_paths = measure_explanations(held_out, on_event) if explanations else {}
    more = {"baselines": baseline_metrics, "explanations": of_paths}
    measured_too = {name: values for name, values in more.items() if values}
    is_kept = settings.eval_args == read_run_settings(run_dir).eval_args
    if not is_kept:
        on_event(Warn("eval_args are not those of the run: these metrics are shown, not kept"))
    try:
        if is_kept:
            merge_metrics(run_dir, {**metrics, "slices": slices, **measured_too})
    except CannotWrite as error:
        on_event(Warn(f"{error}: these metrics are shown, but not kept"))
        is_kept = False
    return Evaluation(run_dir, metrics, baseline_metrics, slices, is_kept, of_paths)


def measure_slices(
    test: Measured, dataset: Dataset, popularity: NDArray[np.int64], settings: Settings
) -> dict[str, dict[str, dict[str, float]]]:
    """The slices of an `Evaluation`: NDCG, Hit and MRR of groups of test targets.

    Groups are by the target's item (popularity, links) and by its time (ties, gaps).
    """
    items = dataset.histories.items[test.targets]
    groups = {name: of[items] for name, of in item_groups(dataset, popularity).items()}
    groups |= time_groups(dataset.histories, test.targets)
    metrics = [name for name in settings.metrics if name in ("NDCG", "Hit", "MRR")]
    return {
        view: slice_metrics(ranks, groups, metrics, settings.topk)
        for view, ranks in test.views.items()
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


def measure_explanations(held_out: HeldOut, on_event: OnEvent) -> dict[str, float]:
    """The path metrics of the lists of test users, by name, with `users` and `of_users`.

    A list follows the events before a user's first test target, seen items masked. The path to an
    item is the first that `Recommender.explain` names.

    Raises:
        KgrecError: The data set has no `.kg`.
    """
    recommender, histories = held_out.recommender, held_out.dataset.histories
    finder, settings = recommender.path_finder, recommender.settings
    if finder is None:
        where = f"dataset '{settings.dataset}' has no .kg"
        raise KgrecError(f"{where}: explanations are paths through a knowledge graph")
    targets = splits.test_targets(histories, held_out.split)
    owners, firsts = np.unique(histories.owners[targets], return_index=True)
    chosen = np.unique(np.linspace(0, len(owners) - 1, min(MAX_EXPLAINED, len(owners))).astype(int))
    tokens = np.array(held_out.dataset.items.tokens, dtype=object)
    lists = []
    for done, (owner, target) in enumerate(
        zip(owners[chosen], targets[firsts[chosen]], strict=True)
    ):
        before = slice(histories.offsets[owner], target)
        history = tokens[histories.items[before]].tolist()
        (found,) = recommender.recommend(histories=[history], topk=max(settings.topk))
        paths = [next(iter(each.paths), None) for each in recommender.explain(found, n_paths=1)]
        lists.append(ExplainedList(history, histories.times[before].astype(np.float64), paths))
        on_event(Progress("explain", done + 1, len(chosen), "users"))
    degrees = finder.n_triples.astype(np.float64)
    for item, entity in finder.entities.items():
        degrees[entity] += held_out.popularity[held_out.dataset.items.get(item) or 0]
    values = path_metrics(
        lists,
        settings.topk,
        degrees=dict(zip(finder.tokens, degrees.tolist(), strict=True)),
        of_items=frozenset(finder.tokens.gather(list(set(finder.entities.values())))),
        n_relations=finder.n_relations,
    )
    return {"users": len(lists), "of_users": len(owners), **values}
