"""Are items that share a value consumed by the same users more often than chance has it?

The lift of a relation, with an interval, before any training (docs/graph.md has the formula). Work
is bounded: of very many pairs of items or users a sample is taken, always the same one.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.stats import t

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Verdict = Literal["above", "nothing", "below", "unclear"]

MAX_PAIRS = 50_000
MAX_USERS = 20_000
N_GROUPS = 20
MIN_PAIRS, MIN_EXPECTED = 30, 10.0
"""With fewer pairs, or common users to expect of them, nothing is said."""
MAX_NOTHING = 1.1
"""An interval that holds 1 and ends below this shows that there is next to nothing."""
_ROUNDING = 1e-6
_SEED = 0
_CHUNK = 5_000


class Lift(NamedTuple):
    """How much more often two items that share a value have a common user than chance has it.

    Attributes:
        lift: Common users of all pairs over those that chance has; None without a pair.
        low, high: 95 % interval; None where there is too little to say.
        n_pairs: Pairs of items that share a value, once for each value.
        verdict: "above" or "below" chance where the interval is; "nothing" where it holds 1 and
            ends below `MAX_NOTHING`; else "unclear".
    """

    lift: float | None
    low: float | None
    high: float | None
    n_pairs: int
    verdict: Verdict


class Consumption(NamedTuple):
    """Who consumed what, once a user and item, and what chance is.

    Attributes:
        matrix: Binary (items, users), float32.
        counts: float64 (items,), users of each item.
        groups: int64 (items,), which of `N_GROUPS` an item is left out with.
        common: float64 (N_GROUPS + 1,), common users of all pairs of items without a group; the
            last one is of all items.
        products: float64 (N_GROUPS + 1,), the same of products of counts.
    """

    matrix: csr_array
    counts: Floats
    groups: Ints
    common: Floats
    products: Floats


def consumption(items: Ints, users: Ints, n_items: int) -> Consumption:
    """The consumption of items 0 ... n_items - 1, from one row an event.

    Of more than `MAX_USERS` users a sample counts, always the same one.
    """
    rng = np.random.default_rng(_SEED)
    known, users = np.unique(users, return_inverse=True)
    if len(known) > MAX_USERS:
        place = np.full(len(known), -1)
        place[rng.permutation(len(known))[:MAX_USERS]] = np.arange(MAX_USERS)
        items, users = items[place[users] >= 0], place[users[place[users] >= 0]]
    pairs = np.unique(np.stack([items, users]), axis=1)
    ones = np.ones(pairs.shape[1], dtype=np.float32)
    matrix = csr_array((ones, (pairs[0], pairs[1])), shape=(n_items, min(len(known), MAX_USERS)))
    counts = np.bincount(pairs[0], minlength=n_items).astype(np.float64)
    groups = rng.permutation(n_items) % N_GROUPS
    by_group = np.zeros((matrix.shape[1], N_GROUPS))
    np.add.at(by_group, (pairs[1], groups[pairs[0]]), 1)
    sizes = by_group.sum(1, keepdims=True) - np.hstack([by_group, np.zeros((len(by_group), 1))])
    sums, squares = (
        values.sum() - np.append(np.bincount(groups, values, N_GROUPS), 0)
        for values in (counts, counts**2)
    )
    common = (sizes * (sizes - 1) / 2).sum(0)
    return Consumption(matrix, counts, groups, common, (sums**2 - squares) / 2)


def relation_lift(holders: pl.DataFrame, direct: pl.DataFrame, consumed: Consumption) -> Lift:
    """The lift of a relation.

    Args:
        holders: Columns value (any) and item (number): which items have which value.
        direct: Columns item, other: items that the relation joins without a value between.
        consumed: As of `consumption`.
    """
    rng = np.random.default_rng(_SEED)
    one, other, n_pairs = _pairs(holders, direct, rng)
    if n_pairs == 0:
        return Lift(None, None, None, 0, "unclear")
    observed = _common_users(consumed.matrix, one, other)
    expected = consumed.counts[one] * consumed.counts[other]
    total = expected.sum() * consumed.common[-1] / max(consumed.products[-1], 1.0)
    if total == 0:
        return Lift(None, None, None, n_pairs, "unclear")
    lift = observed.sum() / total
    scale = n_pairs / len(one)
    if n_pairs < MIN_PAIRS or total * scale < MIN_EXPECTED:
        return Lift(float(lift), None, None, n_pairs, "unclear")
    without = _without_groups(observed, expected, consumed.groups[one], consumed.groups[other])
    chance = consumed.common[:-1] / np.maximum(consumed.products[:-1], 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(without[0] / (without[1] * chance))
    if not np.isfinite(logs).all():
        return Lift(float(lift), None, None, n_pairs, "unclear")
    error = np.sqrt((N_GROUPS - 1) / N_GROUPS * ((logs - logs.mean()) ** 2).sum())
    step = float(t.ppf(0.975, N_GROUPS - 1) * error)
    low, high = float(lift * np.exp(-step)), float(lift * np.exp(step))
    verdict: Verdict = "nothing" if high < MAX_NOTHING else "unclear"
    if low > 1 + _ROUNDING or high < 1 - _ROUNDING:
        verdict = "above" if low > 1 else "below"
    return Lift(float(lift), low, high, n_pairs, verdict)


def _pairs(
    holders: pl.DataFrame, direct: pl.DataFrame, rng: np.random.Generator
) -> tuple[Ints, Ints, int]:
    """Pairs of items, at most `MAX_PAIRS` of them, and how many there are."""
    table = holders.select("value", pl.col("item").cast(pl.Int64)).unique().sort("value", "item")
    items = table["item"].to_numpy()
    sizes = table["value"].rle().struct.field("len").to_numpy().astype(np.int64)
    starts = np.cumsum(sizes) - sizes
    n_of_value = sizes * (sizes - 1) // 2
    joined = direct.filter(pl.col("item") != pl.col("other")).unique().sort("item", "other")
    total = int(n_of_value.sum()) + joined.height
    if total <= MAX_PAIRS:
        pairs = [
            items[start + np.stack(np.triu_indices(size, 1))]
            for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True)
        ]
        pairs.append(joined.select("item", "other").to_numpy().T.astype(np.int64))
        one, other = np.concatenate(pairs, axis=1)
        return one, other, total
    drawn = rng.integers(total, size=MAX_PAIRS)
    ends = np.cumsum(n_of_value)
    value = np.searchsorted(ends, drawn, side="right")
    of_value = value[value < len(sizes)]
    first = rng.integers(sizes[of_value])
    second = rng.integers(sizes[of_value] - 1)
    second += second >= first
    of_direct = joined[drawn[value == len(sizes)] - (ends[-1] if len(ends) else 0)]
    one = np.append(items[starts[of_value] + first], of_direct["item"].to_numpy())
    other = np.append(items[starts[of_value] + second], of_direct["other"].to_numpy())
    return one.astype(np.int64), other.astype(np.int64), total


def _common_users(matrix: csr_array, one: Ints, other: Ints) -> Floats:
    parts: Sequence[Floats] = [
        np.asarray(matrix[one[k : k + _CHUNK]].multiply(matrix[other[k : k + _CHUNK]]).sum(axis=1))
        for k in range(0, len(one), _CHUNK)
    ]
    return np.concatenate(parts).astype(np.float64).ravel()


def _without_groups(observed: Floats, expected: Floats, one: Ints, other: Ints) -> Floats:
    """(2, N_GROUPS): the sums of both over the pairs that a group has no item of."""
    sums = []
    for values in (observed, expected):
        touched = np.bincount(one, values, N_GROUPS) + np.bincount(other, values, N_GROUPS)
        touched -= np.bincount(one[one == other], values[one == other], N_GROUPS)
        sums.append(values.sum() - touched)
    return np.stack(sums)
