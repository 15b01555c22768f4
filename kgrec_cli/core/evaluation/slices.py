"""Slices of the targets: by the popularity of their item, and by what their times say."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from kgrec_cli.core.data.histories import Histories, Ints
from kgrec_cli.core.data.sanity import unit_of_times
from kgrec_cli.core.evaluation.measure import rank_metrics

Groups = dict[str, NDArray[np.bool_]]

TIED = "tied in time"
HOUR_S, DAY_S = 3600, 86_400


def slice_metrics(
    ranks: Ints,
    groups: Mapping[str, NDArray[np.bool_]],
    metrics: Sequence[str],
    topk: Sequence[int],
) -> dict[str, dict[str, float]]:
    """Metrics of the targets in each group; groups without targets are omitted.

    Args:
        ranks: int64 (n,).
        groups: Name to bool (n,), True for the targets of the group.
        metrics: Metrics of ranks.
        topk: Cutoffs.

    Returns:
        By group: `n_targets` and the metrics.
    """
    slices: dict[str, dict[str, float]] = {}
    for name, members in groups.items():
        chosen = ranks[members]
        if len(chosen):
            slices[name] = {"n_targets": len(chosen), **rank_metrics(chosen, metrics, topk)}
    return slices


def time_groups(histories: Histories, targets: Ints) -> Groups:
    """Targets by ties in time and, where times are Unix times, by the gap to the event before.

    A tied target has the time of another event of its user: the rows' order in the file decides
    which of them comes first. The gaps are those of more than nothing. Empty where the times say
    nothing: no ties and no Unix times.

    Args:
        histories: All histories.
        targets: int64 (n,) indices into `histories.items`, none the first of its history.

    Returns:
        Name to bool (n,).
    """
    times, last = histories.times, len(histories.times) - 1
    gaps = times[targets] - times[targets - 1]
    after = np.minimum(targets + 1, last)
    owners = np.searchsorted(histories.offsets, targets, side="right") - 1
    has_next = targets + 1 < histories.offsets[owners + 1]
    tied = (gaps == 0) | (has_next & (times[after] == times[targets]))
    groups: Groups = {TIED: tied, "not tied": ~tied} if tied.any() else {}
    if unit := unit_of_times(times):
        hour, day = HOUR_S * unit, DAY_S * unit
        groups["gap under an hour"] = (gaps > 0) & (gaps < hour)
        groups["gap under a day"] = (gaps >= hour) & (gaps < day)
        groups["gap of a day or more"] = gaps >= day
    return groups


def popularity_groups(popularity: NDArray[np.int64]) -> Groups:
    """Items in five groups, each with about a fifth of all training interactions.

    The first holds the few most popular items, the last the many rare ones.

    Args:
        popularity: int64 (N,), padding first.
    """
    n_groups = 5
    order = 1 + np.argsort(-popularity[1:], kind="stable")
    before = np.cumsum(popularity[order]) - popularity[order]
    number = np.minimum(before * n_groups // max(int(popularity.sum()), 1), n_groups - 1)
    groups = {}
    for index in range(n_groups):
        members = np.zeros(len(popularity), dtype=bool)
        members[order[number == index]] = True
        label = {0: " (top)", n_groups - 1: " (tail)"}.get(index, "")
        groups[f"popularity {index + 1}/{n_groups}{label}"] = members
    return groups
