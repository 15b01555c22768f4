"""hopwise's path metrics on a few lists, each computed by hand."""

import numpy as np
import pytest

from kgrec_cli.core.linking.path_metrics import ExplainedList, path_metrics, smooth_shares
from kgrec_cli.core.linking.paths import Path


def path(item: str, value: str, *triples: tuple[str, str, str], is_borne_out: bool = True) -> Path:
    return Path(item, value, value, "", "", triples, 1.0, is_borne_out)


DIRECTED = path("1", "lucas", ("a", "director", "lucas"), ("d", "director", "lucas"))
GENRE = path("2", "war", ("b", "genre", "war"), ("e", "genre", "war"), is_borne_out=False)
SEQUEL = path("1", "a", ("c", "sequel", "a"))
SAME = path("3", "c")
# 1, 2, 3 at 0, 10, 20: weights 1, 1/2, 1/4 backwards give 0, 20/3, 100/7: shares 0, 7/15, 1.
FIRST = ExplainedList(["1", "2", "3"], np.array([0.0, 10, 20]), [DIRECTED, GENRE, None, SEQUEL])
# One item twice: its last time counts, so that 3 stands at 5 and 1 at 9.
SECOND = ExplainedList(["1", "3", "1"], np.array([0.0, 5, 9]), [SAME, SAME, SAME, SEQUEL])
NOTHING = ExplainedList(["1"], np.array([3.0]), [None] * 4)
# ascending 1, 1, 2, 4, 4: rank them by hand with a = 2 / 6, decay 2/3
DEGREES = {"a": 4.0, "b": 1.0, "c": 2.0, "war": 4.0, "lucas": 1.0}


@pytest.fixture
def values() -> dict[str, float]:
    return path_metrics(
        [FIRST, SECOND, NOTHING],
        [2, 4],
        degrees=DEGREES,
        of_items=frozenset("abc"),
        n_relations=1,
    )


def test_shares_of_three_and_of_equal_values() -> None:
    assert smooth_shares(np.array([20.0, 0, 10])) == pytest.approx([1, 0, 7 / 15])
    # equal values: their places 0, 1, 2 stand for them, which are as far apart as 0, 10, 20
    assert smooth_shares(np.array([7.0, 7, 7])) == pytest.approx([0, 7 / 15, 1])
    assert smooth_shares(np.array([7.0])).tolist() == [0]
    assert smooth_shares(np.array([])).tolist() == []
    late = 1_700_000_000 + np.array([20.0, 0, 10])
    assert smooth_shares(late) == pytest.approx([1, 0, 7 / 15], abs=1e-12)


def test_recency(values: dict[str, float]) -> None:
    """At 2: 0 and 7/15 of the first list, 0 and 0 of the second. At 4: 0 and 0, 0 and 1 more."""
    assert values["lir@2"] == pytest.approx((7 / 15) / 4)
    assert values["lir@4"] == pytest.approx((7 / 15 + 1) / 7)


def test_popularity_of_the_shared_entity(values: dict[str, float]) -> None:
    """Ascending b, lucas, c, a, war at 1, 1, 2, 4, 4; a value weighs 2/3 of the one above it."""
    means = [1, 1]
    for numbers in ([1, 1, 2], [1, 1, 2, 4], [1, 1, 2, 4, 4]):
        weights = [(2 / 3) ** place for place in reversed(range(len(numbers)))]
        means.append(sum(w * x for w, x in zip(weights, numbers, strict=True)) / sum(weights))
    b, lucas, c, a, war = ((mean - means[0]) / (means[-1] - means[0]) for mean in means)
    assert (b, lucas, war) == (0, 0, 1)
    assert values["sep@2"] == pytest.approx((lucas + war + c + c) / 4)
    assert values["sep@4"] == pytest.approx((lucas + war + a + c + c + c + a) / 7)


@pytest.mark.parametrize(
    ("name", "at_2", "at_4"),
    [
        ("lid", (1 + 1 / 2) / 2, (2 / 3 + 2 / 4) / 2),  # items 1, 2 | 3; 1, 2, 1 | 3, 3, 3, 1
        ("litd", (1 / 2 + 1 / 2) / 2, (1 / 3 + 1 / 4) / 2),
        ("sed", (1 + 1 / 2) / 2, (3 / 3 + 2 / 4) / 2),
        ("setd", (1 / 2 + 1 / 2) / 2, (2 / 3 + 1 / 4) / 2),  # a, c are items' entities
        # types: director, genre | interaction; relations: 1 and interaction and padding
        ("ptd", (2 / 2 + 1 / 2) / 2, (3 / 3 + 2 / 3) / 2),
        ("ptc", (1 + 0) / 2, (1 + (1 - 6 / 12)) / 2),
        ("ppt", (1 + 1 / 2) / 2, (1 + 2 / 4) / 2),
        ("fidelity", 1, (3 / 4 + 1) / 2),  # over the lists with a path
        ("borne_out", 3 / 4, 6 / 7),
    ],
)
def test_by_hand(values: dict[str, float], name: str, at_2: float, at_4: float) -> None:
    assert values[f"{name}@2"] == pytest.approx(at_2)
    assert values[f"{name}@4"] == pytest.approx(at_4)


def test_more_patterns_than_a_path_has_places() -> None:
    paths = [path("1", "v", ("a", f"r{n}", "v"), ("b", f"r{n}", "v")) for n in range(8)]
    each = ExplainedList(["1"], np.array([1.0]), paths)
    values = path_metrics([each], [8], degrees={"v": 2}, of_items=frozenset(), n_relations=3)
    assert values["ppt@8"] == 1  # eight patterns of seven
    assert values["ptd@8"] == 8 / 5  # as in hopwise, which counts on two-way names


def test_without_paths_all_are_zero() -> None:
    values = path_metrics([NOTHING], [4], degrees={}, of_items=frozenset(), n_relations=0)
    assert set(values.values()) == {0.0}
