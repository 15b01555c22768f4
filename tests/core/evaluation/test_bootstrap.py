"""Differences of two runs: by hand, against known answers, and on simulated data."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_cli.core.evaluation import bootstrap as comparison
from kgrec_cli.core.evaluation.bootstrap import Difference, paired_differences, user_means


def column(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)[:, None]


def ones(n_users: int) -> np.ndarray:
    return np.ones(n_users, dtype=np.int64)


def test_user_means_by_hand() -> None:
    means = user_means(np.array([0, 1, 0, 1, 1]), np.array([1.0, 0.0, 0.5, 0.0, 0.75]))
    assert means.tolist() == [0.75, 0.25]


def test_two_users_by_hand() -> None:
    (found,) = paired_differences(column(0.5, 0.25), column(1.0, 0.25), np.array([1, 3]))
    assert found.first == pytest.approx((0.5 + 3 * 0.25) / 4)
    assert found.other == pytest.approx((1.0 + 3 * 0.25) / 4)
    assert found.difference == pytest.approx(0.125)
    assert found.relative_percent == pytest.approx(40)
    # a quarter of the resamples draws the second user twice (0), a quarter the first one (0.5)
    assert (found.low, found.high) == pytest.approx((0.0, 0.5))
    assert found.p_value == pytest.approx(0.5, abs=0.03)


def test_equal_runs_do_not_differ() -> None:
    values = np.random.default_rng(1).random((40, 3))
    for found in paired_differences(values, values.copy(), ones(40)):
        assert (found.difference, found.relative_percent, found.low, found.high) == (0, 0, 0, 0)
        assert found.p_value == 1


def test_changes_that_cancel_out_do_not_differ_by_rounding() -> None:
    (found,) = paired_differences(column(0, 0, 0), column(0.1, 0.2, -0.3), ones(3))
    assert found.difference == 0  # 0.1 + 0.2 - 0.3 is 6e-17
    assert found.p_value == 1  # each user once, 6 of 27 resamples, counts on both sides of zero


def test_a_constant_shift_excludes_zero() -> None:
    values = np.random.default_rng(1).random((40, 1))
    (found,) = paired_differences(values, values - 0.01, ones(40))
    assert (found.difference, found.low, found.high) == pytest.approx((-0.01, -0.01, -0.01))
    assert found.p_value == pytest.approx(2 / 10_001)


def test_there_is_no_relative_difference_to_nothing() -> None:
    (found,) = paired_differences(column(0, 0), column(0, 1), ones(2))
    assert (found.difference, found.relative_percent) == (0.5, None)


def test_many_users_give_the_normal_interval() -> None:
    rng = np.random.default_rng(5)
    first = rng.random((2_000, 2))
    change = rng.normal(0, 0.1, 2_000)
    change += 0.004 - change.mean()
    other = first + np.stack([change, change * 2], axis=1)
    one, two = paired_differences(first, other, ones(2_000))
    error = change.std() / np.sqrt(2_000)
    assert (one.low, one.high) == pytest.approx(
        (0.004 - 1.96 * error, 0.004 + 1.96 * error), abs=0.06 * error
    )
    # z = 0.004 / 0.00224 = 1.79; two-sided p of the normal distribution
    assert one.p_value == pytest.approx(0.0735, abs=0.015)
    assert (two.low, two.high) == pytest.approx((2 * one.low, 2 * one.high))
    assert two.p_value == one.p_value  # the same users are drawn for every metric


def test_the_interval_covers_the_truth_as_often_as_it_says() -> None:
    rng = np.random.default_rng(11)
    n_covered = n_false = 0
    for number in range(400):
        first = (rng.random((80, 1)) < 0.4).astype(np.float64)
        other = (rng.random((80, 1)) < 0.6).astype(np.float64)
        n_targets = rng.integers(1, 5, size=80)
        (found,) = paired_differences(first, other, n_targets, n_resamples=500, seed=number)
        n_covered += found.low <= 0.2 <= found.high
        same = (rng.random((80, 1)) < 0.4).astype(np.float64)
        (found,) = paired_differences(first, same, n_targets, n_resamples=500, seed=number)
        n_false += found.p_value < 0.05
    assert 0.91 <= n_covered / 400 <= 0.98
    assert 0.02 <= n_false / 400 <= 0.09


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 3))
def test_the_order_of_users_does_not_matter(seed: int, n_users: int, n_metrics: int) -> None:
    rng = np.random.default_rng(seed)
    first, other = rng.integers(0, 4, size=(2, n_users, n_metrics)) / 7
    n_targets = rng.integers(1, 4, size=n_users)
    order = rng.permutation(n_users)
    assert paired_differences(
        first[order], other[order], n_targets[order], n_resamples=50
    ) == paired_differences(first, other, n_targets, n_resamples=50)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(10, 40))
def test_the_other_way_round_is_the_negative(seed: int, n_users: int) -> None:
    rng = np.random.default_rng(seed)
    first, other = rng.random((2, n_users, 1))
    n_targets = rng.integers(1, 4, size=n_users)
    (one,) = paired_differences(first, other, n_targets)
    (two,) = paired_differences(other, first, n_targets)
    width = one.high - one.low
    assert two.difference == pytest.approx(-one.difference)
    assert (two.low, two.high) == pytest.approx((-one.high, -one.low), abs=0.1 * width)
    assert two.p_value == pytest.approx(one.p_value, abs=0.1)


def test_the_seed_decides_and_the_size_of_a_chunk_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, other = np.random.default_rng(3).random((2, 50, 1))

    def numbers(seed: int = 1) -> Difference:
        return paired_differences(first, other, ones(50), n_resamples=200, seed=seed)[0]

    whole = numbers()
    assert numbers() == whole
    assert numbers(2).low != whole.low
    monkeypatch.setattr(comparison, "MAX_CHUNK_DRAWS", 50 * 7)
    assert numbers().low == pytest.approx(whole.low, rel=1e-12)
    assert numbers().p_value == whole.p_value


def test_memory_stays_small() -> None:
    first, other = np.random.default_rng(3).random((2, 20_000, 1))
    tracemalloc.start()
    paired_differences(first, other, ones(20_000), n_resamples=1_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6  # all draws at once are 160 MB


@pytest.mark.parametrize(
    ("first", "other", "n_users"), [((0, 2), (0, 2), 0), ((3, 2), (3, 1), 3), ((3, 2), (3, 2), 2)]
)
def test_shapes_that_do_not_fit(
    first: tuple[int, int], other: tuple[int, int], n_users: int
) -> None:
    with pytest.raises(ValueError, match="shapes"):
        paired_differences(np.zeros(first), np.zeros(other), ones(n_users))


def test_two_seeds_by_hand() -> None:
    # One user: only the seeds are drawn, 0 and 1 twice or once each, so the mean is 0, 0.5 or 1.
    other = np.array([[[0.0]], [[1.0]]])
    (found,) = paired_differences(column(0.5), other, ones(1))
    assert (found.first, found.other, found.difference) == (0.5, 0.5, 0.0)
    assert (found.low, found.high) == (-0.5, 0.5)
    # Both once (difference 0) in half of the resamples, below in a quarter: 2 * 3/4, so 1.
    assert found.p_value == 1
    (found,) = paired_differences(column(-1.0), other, ones(1))
    assert (found.low, found.high) == (1.0, 2.0)


def test_users_and_seeds_add_their_variances() -> None:
    rng = np.random.default_rng(7)
    n_users, n_seeds = 3_000, 12
    users, seeds = rng.normal(0, 1, n_users), rng.normal(0, 0.05, (2, n_seeds))
    first = np.broadcast_to(seeds[0][:, None], (n_seeds, n_users))[..., None]
    other = (seeds[1][:, None] + users)[..., None]
    (found,) = paired_differences(first, other, ones(n_users))
    # The variance of the users over U, and of the seeds of each side over S.
    variance = users.var() / n_users + (seeds.var(axis=1) / n_seeds).sum()
    assert found.difference == pytest.approx(users.mean() + seeds[1].mean() - seeds[0].mean())
    half = 1.96 * np.sqrt(variance)
    assert (found.low, found.high) == pytest.approx(
        (found.difference - half, found.difference + half), abs=0.08 * half
    )
    # Over the mean of the seeds, as one seed each, the interval is that of the users alone.
    (alone,) = paired_differences(first.mean(0), other.mean(0), ones(n_users))
    assert alone.difference == pytest.approx(found.difference)
    width = 2 * 1.96 * np.sqrt(users.var() / n_users)
    assert alone.high - alone.low == pytest.approx(width, rel=0.08)


def test_equal_seeds_are_one_seed() -> None:
    rng = np.random.default_rng(4)
    first, other = rng.random((2, 30, 2))
    one = paired_differences(first, other, ones(30), n_resamples=100)
    three = paired_differences(np.stack([first] * 3), other, ones(30), n_resamples=100)
    for a, b in zip(one, three, strict=True):
        assert vars(b) == pytest.approx(vars(a))
