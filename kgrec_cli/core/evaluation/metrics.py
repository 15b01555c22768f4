"""Metrics of ranked targets and of recommended lists, under RecBole's names.

A target's rank is 1 when no item scores higher or equal; every metric of ranks follows from it.
Keys are lower case with the cutoff: "ndcg@10".
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.settings import LIST_METRICS

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
    """The mean of each metric at each cutoff; the metrics of lists are left out."""
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

    ItemCoverage: share of all items that stand in any list. AveragePopularity: mean number of
    training interactions of a listed item. ShannonEntropy: of the shares of places that the listed
    items take, divided by their number (as RecBole does). GiniIndex: 0 when all items are listed
    equally often, towards 1 when few take all places. TailPercentage: share of places taken by the
    `tail_ratio` least popular items of those met in training. (RecBole `evaluator/metrics.py`.)

    Args:
        top_items: int32 (n, K), best first; 0 where a list is shorter.
        popularity: int64 (N,), training interactions of each item, padding first.
        metrics: Names; those of ranks are left out.
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
        order = 2 * np.arange(1, n_items + 1) - n_items - 1
        at_cutoff = {
            "ItemCoverage": np.count_nonzero(counts) / n_items,
            "AveragePopularity": popularity[listed].mean() if len(listed) else 0.0,
            "ShannonEntropy": _entropy(counts[counts > 0] / total),
            "GiniIndex": (order * counts).sum() / total / n_items,
            "TailPercentage": in_tail[listed].mean() if len(listed) else 0.0,
        }
        for name in metrics:
            if name in at_cutoff:
                values[f"{name.casefold()}@{cutoff}"] = float(at_cutoff[name])
    return values


def _entropy(shares: NDArray[np.float64]) -> float:
    """-sum(p log p) over the number of shares; 0 when there is none."""
    return float(-(shares * np.log(shares)).sum() / max(len(shares), 1))
