"""Metrics against values computed by hand."""

import math

import numpy as np
import pytest

from kgrec_cli.core.evaluation.measure import gains, list_metrics, rank_metrics


def test_rank_metrics_by_hand() -> None:
    ranks = np.array([1, 3, 11, 2])
    values = rank_metrics(ranks, ["Recall", "MRR", "NDCG", "Hit", "Precision", "MAP"], [2, 10])
    assert values["hit@2"] == values["recall@2"] == 0.5
    assert values["hit@10"] == 0.75
    assert values["mrr@10"] == values["map@10"] == pytest.approx((1 + 1 / 3 + 1 / 2) / 4)
    assert values["ndcg@10"] == pytest.approx((1 + 1 / 2 + 1 / math.log2(3)) / 4)
    assert values["ndcg@2"] == pytest.approx((1 + 1 / math.log2(3)) / 4)
    assert values["precision@10"] == pytest.approx(0.075)


def test_a_rank_at_the_cutoff_counts_and_one_beyond_does_not() -> None:
    assert gains("ndcg", np.array([10, 11]), 10).tolist() == [1 / math.log2(11), 0.0]


def test_list_metrics_by_hand() -> None:
    top_items = np.array([[1, 2], [1, 3], [1, 0]], dtype=np.int32)  # the last list is shorter
    popularity = np.array([0, 10, 4, 1, 1], dtype=np.int64)
    values = list_metrics(
        top_items,
        popularity,
        [
            "ItemCoverage",
            "AveragePopularity",
            "ShannonEntropy",
            "GiniIndex",
            "TailPercentage",
            "NDCG",
        ],
        [1, 2],
        tail_ratio=0.25,
    )
    assert values["itemcoverage@1"] == 0.25
    assert values["itemcoverage@2"] == 0.75
    assert values["averagepopularity@2"] == pytest.approx((10 * 3 + 4 + 1) / 5)
    # counts 0 1 1 3: sum((2i - n - 1) * count) / (total * n) = (0 - 1 + 1 + 9) / 20
    assert values["giniindex@2"] == pytest.approx(0.45)
    shares = [3 / 5, 1 / 5, 1 / 5]
    entropy = -sum(share * math.log(share) for share in shares) / 3
    assert values["shannonentropy@2"] == pytest.approx(entropy)
    # the tail is one of four items, the least popular of lowest id: item 3
    assert values["tailpercentage@2"] == pytest.approx(1 / 5)
    assert "ndcg@2" not in values


def test_gini_is_zero_when_all_items_are_listed_alike() -> None:
    top_items = np.array([[1, 2], [3, 4]], dtype=np.int32)
    popularity = np.array([0, 1, 1, 1, 1], dtype=np.int64)
    assert list_metrics(top_items, popularity, ["GiniIndex"], [2])["giniindex@2"] == 0


def test_the_tail_is_the_share_of_least_popular_items() -> None:
    """Of four items one is the tail, item 4: listed once among four places."""
    top_items, popularity = np.array([[1, 4], [3, 2]], np.int32), np.array([0, 10, 4, 2, 1])
    values = list_metrics(top_items, popularity, ["TailPercentage"], [2], tail_ratio=0.25)
    assert values["tailpercentage@2"] == 0.25
