"""Two runs over the same users: the mean difference of each metric, and how sure it is.

A target's gain in every metric follows from its rank (`core.metrics`). Gains are averaged by user,
and users are what the bootstrap draws: a user's targets are not independent of each other.

Letters: U users, M metrics (columns), R resamples.
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

    A resample draws U users with replacement, the same for all metrics. The interval is that of the
    2.5% and 97.5% percentiles; p is twice the smaller share of resamples on either side of zero,
    those at zero and the data themselves counted on both, so that it is at least 2 / (R + 1).
    Users are put in an order of their values first: how they came does not matter. (Efron and
    Tibshirani 1993, chapters 13 and 15; Davison and Hinkley 1997, 4.2.)

    Args:
        first: float64 (U, M), by user the mean of the first run over the user's targets.
        other: float64 (U, M), the other run's, of the same users.
        n_targets: int64 (U,), each user's weight: a metric is a mean over targets.
        n_resamples: R.
        seed: Seed of the draws.

    Returns:
        One a metric, in the order of the columns.

    Raises:
        ValueError: No users, or shapes that do not fit.
    """
    if first.shape != other.shape or first.shape[:1] != n_targets.shape or len(first) == 0:
        raise ValueError(f"shapes {first.shape}, {other.shape} and {n_targets.shape}")
    order = np.lexsort((*first.T, *other.T, n_targets))
    first, other, weights = first[order], other[order], n_targets[order].astype(np.float64)
    sums = (other - first) * weights[:, None]
    differences = _snap(sums.sum(0) / weights.sum())
    drawn = _resample(sums, weights, n_resamples, np.random.default_rng(seed))
    lows, highs = np.percentile(drawn, (2.5, 97.5), axis=0)
    sides = np.minimum((drawn <= 0).sum(0), (drawn >= 0).sum(0))
    p_values = np.minimum(2 * (sides + 1) / (n_resamples + 1), 1.0)
    first_means, other_means = (
        (values * weights[:, None]).sum(0) / weights.sum() for values in (first, other)
    )
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


def _resample(sums: Floats, weights: Floats, n_resamples: int, rng: np.random.Generator) -> Floats:
    """The weighted mean difference of each resample, float64 (R, M); a bounded chunk at a time."""
    n_users = len(sums)
    n_rows = max(1, MAX_CHUNK_DRAWS // n_users)
    chunks = []
    for begin in range(0, n_resamples, n_rows):
        n_chunk = min(n_rows, n_resamples - begin)
        drawn = rng.integers(n_users, size=(n_chunk, n_users))
        drawn += np.arange(n_chunk)[:, None] * n_users
        counts = np.bincount(drawn.ravel(), minlength=n_chunk * n_users)
        times = counts.reshape(n_chunk, n_users).astype(np.float64)
        chunks.append(times @ sums / (times @ weights)[:, None])
    return _snap(np.concatenate(chunks))


def _snap(values: Floats) -> Floats:
    """The values, those that differ from zero by no more than rounding set to zero."""
    return np.where(np.abs(values) < 1e-12, 0.0, values)
