"""How benchmark commands make the rows of a file of results."""

import pytest

from benchmarks.accuracy.results import mean_views
from benchmarks.speed.training import speed_of


def test_the_metrics_of_a_row_are_the_means_of_its_seeds_masked_first() -> None:
    one = {"test": {"ndcg@10": 0.1}, "valid": {"ndcg@10": 9.0}, "test_masked": {"ndcg@10": 0.3}}
    two = {"test": {"ndcg@10": 0.2}, "valid": {"ndcg@10": 9.0}, "test_masked": {"ndcg@10": 0.5}}
    found = mean_views([one, two])
    assert list(found) == ["test_masked", "test"]
    assert found["test_masked"]["ndcg@10"] == pytest.approx(0.4)
    assert found["test"]["ndcg@10"] == pytest.approx(0.15)


def test_speed_is_the_median_of_the_ratios_of_each_round() -> None:
    rates = {
        "kgrec": [100.0, 300.0, 80.0],
        "kgrec, prefix": [1.0, 1.0, 1.0],
        "RecBole, as shipped": [1.0, 1.0, 1.0],
        "RecBole, at its best": [10.0, 10.0, 2.0],
    }
    found = speed_of(rates, 2)
    assert found.ratios == [10.0, 30.0, 40.0]
    assert found.median_ratio == 30.0
    assert set(found.targets_per_s) == {"kgrec", "RecBole, at its best"}
    assert found.threads == 2
