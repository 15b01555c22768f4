"""Metrics of a run or a baseline: of a part of the data.

Everything is measured twice: with all items as candidates, and ("masked") without the items that
the user has already had.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.core.data import splits
from kgrec_cli.core.data.histories import Histories, Ints
from kgrec_cli.core.data.splits import Split, item_popularity
from kgrec_cli.core.evaluation.ranking import (
    Ranking,
    Score,
    draw_candidates,
    rank_targets,
    score_by,
)
from kgrec_cli.core.model.gru4reckg import GRU4RecKG
from kgrec_cli.core.workers import ALONE, Workers
from kgrec_cli.events import OnEvent, Progress, Warn, ignore_event
from kgrec_cli.setting_blocks import LIST_METRICS, METRICS, EvalArgs

PARTS = ("valid", "test")


@dataclass(frozen=True)
class MeasureSettings:
    """How ranks become metrics; names and defaults are those of `settings.Settings`."""

    metrics: tuple[str, ...] = METRICS
    topk: tuple[int, ...] = (5, 10, 20)
    eval_args: EvalArgs = field(default_factory=EvalArgs)
    eval_batch_size: int = 4096
    MAX_ITEM_LIST_LENGTH: int = 50
    recbole_compat: bool = False
    seed: int = 2020


@dataclass(frozen=True)
class Measured:
    """One part of the data, ranked.

    Attributes:
        targets: int64 (n,) indices into `Histories.items`; of a shard its own alone.
        ranking: Where each target stands, those of the other shards too.
        metrics: Values by view: "test" and "test_masked", for instance.
    """

    targets: Ints
    ranking: Ranking
    metrics: dict[str, dict[str, float]]

    @property
    def views(self) -> dict[str, Ints]:
        """The ranks of test targets by view: among all items, and with seen items masked."""
        return {"test": self.ranking.ranks, "test_masked": self.ranking.ranks_masked}


def part_targets(histories: Histories, split: Split, part: str) -> Ints:
    """The targets of "valid" or "test"."""
    if part == "valid":
        return splits.valid_targets(histories, split)
    return splits.test_targets(histories, split)


def measure(
    score: Score,
    histories: Histories,
    split: Split,
    part: str,
    settings: MeasureSettings,
    popularity: NDArray[np.int64],
    on_event: OnEvent = ignore_event,
    workers: Workers = ALONE,
) -> Measured:
    """All metrics of `settings` for one part, masked and not.

    Args:
        score: A model's or a baseline's scores.
        histories: All histories.
        split: How they are split.
        part: "valid" or "test".
        settings: Metrics, cutoffs, candidates.
        popularity: int64 (N,), training interactions of each item.
        on_event: Hears how many targets are ranked.
        workers: The processes with a shard each.
    """
    targets = part_targets(histories, split, part)
    ranking = rank_targets(
        score,
        histories,
        targets,
        n_items=len(popularity),
        topk=max(settings.topk),
        eval_batch_size=settings.eval_batch_size,
        candidates=draw_candidates(
            settings.eval_args.mode_of(part),
            histories,
            targets,
            len(popularity),
            settings.seed,
            workers,
        ),
        on_chunk=lambda n_done: on_event(
            Progress(f"{part} targets", n_done, len(targets), "ranked", passing=True)
        ),
        workers=workers,
    )
    if len(ranking.ranks) == 0:
        return Measured(targets, ranking, {})
    return Measured(
        targets,
        ranking,
        {
            part: _all_metrics(ranking.ranks, ranking.top_items, settings, popularity),
            f"{part}_masked": _all_metrics(
                ranking.ranks_masked, ranking.top_items_masked, settings, popularity
            ),
        },
    )


def measure_model(
    model: GRU4RecKG,
    histories: Histories,
    split: Split,
    settings: MeasureSettings,
    *,
    parts: Sequence[str] = PARTS,
    on_event: OnEvent = ignore_event,
    workers: Workers = ALONE,
) -> dict[str, Measured]:
    """All metrics of a trained model, by part.

    Args:
        model: A trained model.
        histories: All histories.
        split: How they are split.
        settings: Metrics, cutoffs, candidates, the length that the model reads.
        parts: "valid", "test".
        on_event: Hears the progress, and is warned of a part without targets.
        workers: The processes with a shard each; all get the metrics of the whole.
    """
    model.eval()
    item_vectors = model.item_embedding.weight
    popularity = workers.total(
        item_popularity(histories, split, len(item_vectors), targets_only=settings.recbole_compat)
    )
    score = score_by(
        model, histories, max_length=settings.MAX_ITEM_LIST_LENGTH, device=item_vectors.device
    )
    measured = {}
    for part in parts:
        measured[part] = measure(
            score, histories, split, part, settings, popularity, on_event, workers
        )
        if not measured[part].metrics:
            on_event(Warn(f"the {part} part is empty: nothing to report of it"))
    return measured


def merge_parts(measured: Mapping[str, Measured]) -> dict[str, dict[str, float]]:
    """The metrics of several parts by view: valid, valid_masked, test, test_masked."""
    return {view: values for each in measured.values() for view, values in each.metrics.items()}


def _all_metrics(
    ranks: Ints,
    top_items: NDArray[np.int32],
    settings: MeasureSettings,
    popularity: NDArray[np.int64],
) -> dict[str, float]:
    values = rank_metrics(ranks, settings.metrics, settings.topk)
    return values | list_metrics(
        top_items,
        popularity,
        settings.metrics,
        settings.topk,
        count_padding=settings.recbole_compat,
    )


Ranks = NDArray[np.int64]


def gains(metric: str, ranks: Ranks, cutoff: int) -> NDArray[np.float64]:
    """What each target adds to a metric, float64 (n,); the metric is the mean.

    With one target: Hit = Recall = [rank <= k]; MRR = MAP = 1/rank; NDCG = 1/log2(rank + 1);
    Precision = Hit/k; all 0 beyond the cutoff k.

    Args:
        metric: Recall, Hit, MRR, MAP, NDCG or Precision, in any case.
        ranks: int64 (n,), from 1.
        cutoff: k.
    """
    hit = (ranks <= cutoff).astype(np.float64)
    match metric.casefold():
        case "recall" | "hit":
            return hit
        case "precision":
            return hit / cutoff
        case "mrr" | "map":
            return hit / ranks
        case "ndcg":
            return hit / np.log2(ranks + 1)
    raise ValueError(f"no metric of ranks: {metric}")


def rank_metrics(ranks: Ranks, metrics: Sequence[str], topk: Sequence[int]) -> dict[str, float]:
    """The mean of each metric at each cutoff; list metrics are ignored."""
    return {
        f"{metric.casefold()}@{cutoff}": float(gains(metric, ranks, cutoff).mean())
        for metric in metrics
        if metric not in LIST_METRICS
        for cutoff in topk
    }


def list_metrics(
    top_items: NDArray[np.int32],
    popularity: NDArray[np.int64],
    metrics: Sequence[str],
    topk: Sequence[int],
    tail_ratio: float = 0.1,
    count_padding: bool = False,
) -> dict[str, float]:
    """What the recommended lists are like, at each cutoff.

    ItemCoverage: share of all items that appear in any list. AveragePopularity: mean number of
    training interactions of a listed item. ShannonEntropy: of the shares of places that the listed
    items take, divided by their number (as RecBole does). GiniIndex: 0 when all items are listed
    equally often, towards 1 when few take all places. TailPercentage: share of places taken by the
    `tail_ratio` least popular training items. (RecBole `evaluator/metrics.py`.)

    Args:
        top_items: int32 (n, K), best first; 0 where a list is shorter.
        popularity: int64 (N,), training interactions of each item, padding first.
        metrics: Names; rank metrics are ignored.
        topk: Cutoffs, each at most K.
        tail_ratio: Share of the items that is the tail.
        count_padding: Count the padding as an item that is never listed, as RecBole does.
    """
    n_items = len(popularity) - (0 if count_padding else 1)
    trained = np.flatnonzero(popularity)
    tail_size = max(int(len(trained) * tail_ratio), 1)
    in_tail = np.zeros(len(popularity), dtype=bool)
    in_tail[trained[np.argsort(popularity[trained], kind="stable")[:tail_size]]] = True
    values: dict[str, float] = {}
    for cutoff in topk:
        listed = top_items[:, :cutoff]
        listed = listed[listed > 0]
        counts = np.sort(np.bincount(listed, minlength=len(popularity))[-n_items:])
        total = max(int(counts.sum()), 1)
        shares = counts[counts > 0] / total
        order = 2 * np.arange(1, n_items + 1) - n_items - 1
        at_cutoff = {
            "ItemCoverage": np.count_nonzero(counts) / n_items,
            "AveragePopularity": popularity[listed].mean() if len(listed) else 0.0,
            "ShannonEntropy": (0.0 - (shares * np.log(shares)).sum()) / max(len(shares), 1),
            "GiniIndex": (order * counts).sum() / total / n_items,
            "TailPercentage": in_tail[listed].mean() if len(listed) else 0.0,
        }
        for name in metrics:
            if name in at_cutoff:
                values[f"{name.casefold()}@{cutoff}"] = float(at_cutoff[name])
    return values
