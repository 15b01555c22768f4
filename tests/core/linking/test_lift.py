"""The lift of a relation: by hand, against brute force, and whether its interval holds."""

import math

import numpy as np
import polars as pl
import pytest

from kgrec_cli.core.linking import lift as module
from kgrec_cli.core.linking.lift import (
    MAX_PAIRS,
    MAX_USERS,
    Consumption,
    consumption,
    relation_lift,
)

NONE = pl.DataFrame(schema={"item": pl.Int64, "other": pl.Int64})


def holders(*rows: tuple[object, int]) -> pl.DataFrame:
    return pl.DataFrame(rows, {"value": pl.String, "item": pl.Int64}, orient="row")


def consumed(histories: list[list[int]], n_items: int) -> Consumption:
    items = np.array([item for history in histories for item in history])
    users = np.repeat(np.arange(len(histories)), [len(history) for history in histories])
    return consumption(items, users, n_items)


def test_by_hand():
    """Four items, users 0-1, 0-1, 2-3, 0-2 (item 0 twice).

    Common users: of 0 and 1 two, 2 and 3 one, 0 and 2 one; 4 in all. Counts are 3, 2, 2, 1: the
    products of all pairs are 6 + 6 + 3 + 4 + 2 + 2 = 23. Items 0 and 1 share a value: 2 common
    users, chance has 6 * 4 / 23.
    """
    table = consumed([[0, 1], [0, 1], [2, 3], [0, 2, 0]], 4)
    assert (table.common[-1], table.products[-1]) == (4, 23)
    found = relation_lift(holders(("a", 0), ("a", 1), ("b", 2)), NONE, table)
    assert found.lift == pytest.approx(2 / (6 * 4 / 23))
    assert (found.n_pairs, found.low, found.verdict) == (1, None, "unclear")
    direct = pl.DataFrame({"item": [2, 0], "other": [3, 0]}, schema=NONE.schema)
    found = relation_lift(holders(("a", 0), ("a", 1)), direct, table)
    assert found.lift == pytest.approx(3 / ((6 + 2) * 4 / 23))
    assert relation_lift(holders(("a", 0)), NONE, table) == (None, None, None, 0, "unclear")


def random_histories(seed: int, n_users: int = 200, n_items: int = 60) -> list[list[int]]:
    """Popular items and active users, and no taste."""
    rng = np.random.default_rng(seed)
    popularity = rng.permutation(1 / np.arange(1, n_items + 1))
    sizes = rng.integers(2, 25, n_users)
    return [
        rng.choice(n_items, size, replace=False, p=popularity / popularity.sum()).tolist()
        for size in sizes
    ]


def test_all_pairs_together_are_one():
    table = consumed(random_histories(0), 60)
    found = relation_lift(holders(*(("all", item) for item in range(60))), NONE, table)
    assert found.lift == pytest.approx(1)
    assert (found.low, found.high) == (pytest.approx(1), pytest.approx(1))
    assert found.verdict == "nothing"


def test_sums_without_a_group_are_those_of_the_other_items():
    histories = random_histories(1)
    table = consumed(histories, 60)
    for group in (0, 7):
        rest = np.flatnonzero(table.groups != group)
        cut = [[item for item in history if item in rest] for history in histories]
        again = consumed(cut, 60)
        assert table.common[group] == again.common[-1]
        assert table.products[group] == pytest.approx(again.products[-1])


def test_taste_is_found_and_its_absence_too():
    """Half of the users read brand 0 alone, half brand 1; colours mean nothing."""
    rng = np.random.default_rng(3)
    histories = [(2 * rng.choice(40, 8, replace=False) + user % 2).tolist() for user in range(300)]
    table = consumed(histories, 80)
    brand = relation_lift(holders(*((str(i % 2), i) for i in range(80))), NONE, table)
    assert brand.verdict == "above"
    assert brand.lift == pytest.approx(2, abs=0.1)
    apart = relation_lift(holders(*((str(i // 2), i) for i in range(80))), NONE, table)
    assert (apart.lift, apart.verdict) == (0, "unclear")
    colour = relation_lift(
        holders(*((str(c), i) for i, c in enumerate(rng.integers(0, 2, 80)))), NONE, table
    )
    assert colour.low < 1 < colour.high


def test_the_interval_of_a_relation_that_means_nothing_holds_one():
    """At 95 %: of 60 draws at least 52 (a binomial has fewer once in 200 times at 0.95)."""
    inside = 0
    for seed in range(60):
        table = consumed(random_histories(seed), 60)
        values = np.random.default_rng(1000 + seed).integers(0, 8, 60)
        found = relation_lift(holders(*((str(v), i) for i, v in enumerate(values))), NONE, table)
        inside += found.low < 1 < found.high
    assert inside >= 52


def test_a_hub_is_sampled_and_the_lift_stays(monkeypatch: pytest.MonkeyPatch):
    table = consumed(random_histories(5), 60)
    values = holders(*((str(i % 3), i) for i in range(60)), *(("hub", i) for i in range(40)))
    direct = pl.DataFrame({"item": [1, 2, 3], "other": [4, 5, 6]}, schema=NONE.schema)
    exact = relation_lift(values, direct, table)
    assert exact.n_pairs == 3 * math.comb(20, 2) + math.comb(40, 2) + 3
    monkeypatch.setattr(module, "MAX_PAIRS", 1000)
    sampled = relation_lift(values, direct, table)
    assert sampled.n_pairs == exact.n_pairs
    assert sampled.lift == pytest.approx(exact.lift, abs=0.1)
    assert sampled == relation_lift(values, direct, table)


def test_work_is_bounded():
    """100,000 items with one value, and more users than count."""
    n = MAX_USERS + 10_000
    table = consumption(np.arange(2 * n) % 100_000, np.arange(2 * n) % n, 100_000)
    assert table.matrix.shape == (100_000, MAX_USERS)
    hub = pl.DataFrame({"value": ["x"] * 100_000, "item": range(100_000)})
    found = relation_lift(hub, NONE, table)
    assert found.n_pairs == math.comb(100_000, 2) > MAX_PAIRS
