"""Baselines: scores worked out by hand, and the parameter that validation chooses."""

import numpy as np
import pytest

from kgrec_cli.core.data.splits import item_popularity, split_all, split_leave_one_out
from kgrec_cli.core.evaluation.baselines import (
    BASELINES,
    CHOICES,
    ease_score,
    measure_baseline,
    sequential_rules_score,
)
from kgrec_cli.core.evaluation.measure import MeasureSettings
from tests.core.data.test_histories import make_histories


def test_sequential_rules_by_hand() -> None:
    # Training: user 1 had 1, 2, 3; user 2 had 1, 3. Rules: 1->2 1; 2->3 1; 1->3 1/2 + 1.
    histories = make_histories([1, 2, 3], [1, 3], [2, 1, 2])
    split = split_all(histories)
    split.train_end[2] = histories.offsets[2]  # user 3 is no training data
    build = sequential_rules_score(histories, split, 4)
    # After 2, 1: 1 is the last (weight 1), 2 the one before (1/2).
    (scores,) = build(0.0)(np.array([7])).numpy()
    np.testing.assert_allclose(scores, [0, 0, 1, 1.5 + 1 / 2])
    # Counts of 1, 2, 3: 2, 1, 2. At 1/2 the rule 1->2 is divided by sqrt(2), 1->3 by 2, 2->3 by
    # sqrt(2).
    (scores,) = build(0.5)(np.array([7])).numpy()
    expected = [0, 0, 1 / np.sqrt(2), 1.5 / 2 + 0.5 / np.sqrt(2)]
    np.testing.assert_allclose(scores, expected, rtol=1e-6)


def test_ease_by_hand() -> None:
    """Two items: G = [[2, 1], [1, 2]], with l2 = 1 P = [[3, -1], [-1, 3]] / 8: weights of 1/3."""
    histories = make_histories([1, 2], [1], [2], [1, 2, 1])
    split = split_all(histories)
    split.train_end[3] = histories.offsets[3]
    build = ease_score(histories, split, 3)
    (one, two) = build(1.0)(np.array([5, 6])).numpy()  # after 1; after 1, 2
    np.testing.assert_allclose(one, [0, 0, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(two, [0, 1 / 3, 1 / 3 / 2], rtol=1e-6)


def test_ease_is_the_least_squares_that_it_says() -> None:
    rng = np.random.default_rng(1)
    lists = [rng.choice(np.arange(1, 7), size=4, replace=False).tolist() for _ in range(20)]
    histories = make_histories(*lists, [1, 2])
    split = split_all(histories)
    split.train_end[20] = histories.offsets[20]
    x = np.zeros((20, 6))
    for user, items in enumerate(lists):
        x[user, np.array(items) - 1] = 1
    for j in range(6):  # a ridge regression of each item on the others
        others = np.arange(6) != j
        a = x[:, others]
        weights = np.linalg.solve(a.T @ a + 3 * np.eye(5), a.T @ x[:, j])
        after_item_1 = ease_score(histories, split, 7)(3.0)(np.array([81]))[0, j + 1].item()
        assert after_item_1 == pytest.approx(0 if j == 0 else weights[0], abs=1e-5)


@pytest.mark.parametrize("name", BASELINES)
def test_a_cycle_is_known_to_those_that_read_the_order(name: str) -> None:
    histories = make_histories(
        *([1 + (user + step) % 12 for step in range(9)] for user in range(30))
    )
    split, settings = split_leave_one_out(histories), MeasureSettings(topk=(1,))
    told: list[tuple[int, int]] = []
    found = measure_baseline(
        name, histories, split, settings, item_popularity(histories, split, 13),
        lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert (found.measured.metrics["test"]["hit@1"] == 1) == (name == "SequentialRules")
    parameter, values = CHOICES.get(name, ("", ()))
    assert told[-1] == (30 + 30 * len(values),) * 2
    assert set(found.parameters) == ({parameter} if parameter else set())


def test_without_validation_targets_the_first_value_is_taken() -> None:
    histories = make_histories([1, 2, 3], [2, 3, 1])
    split = split_leave_one_out(histories, "test_only")
    popularity = item_popularity(histories, split, 4)
    found = measure_baseline(
        "EASE", histories, split, MeasureSettings(), popularity, lambda done, total: None
    )
    assert found.parameters == {"l2": CHOICES["EASE"][1][0]}
