"""Two sides over the same users: the mean difference of each metric, and how sure it is.

A target's gain in every metric follows from its rank (`core.metrics`). Gains are averaged by user,
and users are what the bootstrap draws: a user's targets are not independent of each other. Where a
side is several seeds of one configuration, its seeds are drawn too.

Letters: S seeds of a side, U users, M metrics (columns), R resamples.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

N_RESAMPLES = 10_000
SEED = 2020
MAX_CHUNK_DRAWS = 2**20


@dataclass(frozen=True)
class Difference:
    """How one metric of a run differs from the first run's, over the users of both.

    Attributes:
        first: The metric of the first run.
        other: That of the other run.
        difference: other - first.
        relative_percent: The difference in percent of `first`; None where that is 0.
        low: Lower end of the 95% interval of the difference.
        high: Its upper end.
        p_value: Two-sided.
    """

    first: float
    other: float
    difference: float
    relative_percent: float | None
    low: float
    high: float
    p_value: float


def user_means(rows: Ints, values: Floats) -> Floats:
    """The mean of the targets' values by user, float64 (U,).

    Args:
        rows: int64 (n,), the user of each target, 0 to U - 1, each at least once.
        values: float64 (n,), one a target.
    """
    means: Floats = np.bincount(rows, weights=values) / np.bincount(rows)
    return means


def paired_differences(
    first: Floats,
    other: Floats,
    n_targets: Ints,
    *,
    n_resamples: int = N_RESAMPLES,
    seed: int = SEED,
) -> list[Difference]:
    """The difference of each metric, with an interval and a p-value from a paired bootstrap.

    A resample draws U users with replacement, the same for both sides and all metrics, and of
    each side its seeds with replacement (users and seeds are crossed: the pigeonhole bootstrap,
    Owen 2007). So the interval holds the spread of the seeds. One seed says nothing of that
    spread, and S seeds too little: (S - 1) / S of its variance.

    The interval is that of the 2.5% and 97.5% percentiles; p is twice the smaller share of
    resamples on either side of zero, those at zero and the data themselves counted on both, so
    that it is at least 2 / (R + 1). Users are put in an order of their values first: how they came
    does not matter. (Efron and Tibshirani 1993, chapters 13 and 15; Davison and Hinkley 1997, 4.2.)

    Args:
        first: float64 (S, U, M), by seed and user the mean of the first side over the user's
            targets; (U, M) of one seed.
        other: float64 (S', U, M) or (U, M), the other side's, of the same users.
        n_targets: int64 (U,), each user's weight: a metric is a mean over targets.
        n_resamples: R.
        seed: Seed of the draws.

    Returns:
        One a metric, in the order of the columns.

    Raises:
        ValueError: No users, or shapes that do not fit.
    """
    first, other = (side[None] if side.ndim == 2 else side for side in (first, other))
    shapes = [side.shape[1:] for side in (first, other)]
    if shapes[0] != shapes[1] or shapes[0][:1] != n_targets.shape or first.size * other.size == 0:
        raise ValueError(f"shapes {first.shape}, {other.shape} and {n_targets.shape}")
    keys = [column for side in (first, other) for of_seed in side for column in of_seed.T]
    order = np.lexsort((*keys, n_targets))
    weights = n_targets[order].astype(np.float64)
    sums = [side[:, order] * weights[:, None] for side in (first, other)]
    first_means, other_means = (of_side.sum(1).mean(0) / weights.sum() for of_side in sums)
    differences = _snap(other_means - first_means)
    drawn = _resample(sums[0], sums[1], weights, n_resamples, np.random.default_rng(seed))
    lows, highs = np.percentile(drawn, (2.5, 97.5), axis=0)
    sides = np.minimum((drawn <= 0).sum(0), (drawn >= 0).sum(0))
    p_values = np.minimum(2 * (sides + 1) / (n_resamples + 1), 1.0)
    return [
        Difference(
            first=float(mean),
            other=float(other_mean),
            difference=float(difference),
            relative_percent=float(100 * difference / mean) if mean else None,
            low=float(low),
            high=float(high),
            p_value=float(p_value),
        )
        for mean, other_mean, difference, low, high, p_value in zip(
            first_means, other_means, differences, lows, highs, p_values, strict=True
        )
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, so that the chance of any false one is bounded.

    The smallest of n is multiplied by n, the next one by n - 1, ...; none is below one before it
    (Holm 1979).
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p_values[index]))
        corrected[index] = largest
    return corrected


def _resample(
    first: Floats, other: Floats, weights: Floats, n_resamples: int, rng: np.random.Generator
) -> Floats:
    """The weighted mean difference of each resample, float64 (R, M); a bounded chunk at a time.

    Args:
        first: float64 (S, U, M), the first side's values, each times its user's weight.
        other: float64 (S', U, M).
        weights: float64 (U,).
        n_resamples: R.
        rng: Draws users, then the seeds of a side that has several.
    """
    (_, n_users, n_metrics), sums = first.shape, np.concatenate([-first, other])
    columns = sums.transpose(1, 0, 2).reshape(n_users, -1)
    n_rows = max(1, MAX_CHUNK_DRAWS // n_users)
    chunks = []
    for begin in range(0, n_resamples, n_rows):
        n_chunk = min(n_rows, n_resamples - begin)
        times = _counts(n_chunk, n_users, rng)
        means = (times @ columns / (times @ weights)[:, None]).reshape(n_chunk, -1, n_metrics)
        chunks.append(means)
    of_seeds = np.concatenate(chunks)
    shares = [_counts(n_resamples, len(side), rng) / len(side) for side in (first, other)]
    return _snap((of_seeds * np.concatenate(shares, axis=1)[:, :, None]).sum(1))


def _counts(n_rows: int, n: int, rng: np.random.Generator) -> Floats:
    """How often each of n was drawn in n draws with replacement, float64 (n_rows, n)."""
    if n == 1:
        return np.ones((n_rows, 1))
    drawn = rng.integers(n, size=(n_rows, n)) + np.arange(n_rows)[:, None] * n
    return np.bincount(drawn.ravel(), minlength=n_rows * n).reshape(n_rows, n).astype(np.float64)


def _snap(values: Floats) -> Floats:
    """The values, those that differ from zero by no more than rounding set to zero."""
    return np.where(np.abs(values) < 1e-12, 0.0, values)
