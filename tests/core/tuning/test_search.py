import math
import time
from collections import Counter

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgrec_cli.core.tuning.search import SEARCHES, propose
from kgrec_cli.core.tuning.space import (
    Choice,
    LogUniform,
    Uniform,
    count_points,
    decode_point,
    to_distributions,
)
from kgrec_cli.errors import KgrecError, UsageError
from tests.core.tuning.searches import GRID, Visits, file_url, point_key, score, search


def test_exhaustive_visits_every_point_once_and_finds_the_best():
    visits = Visits(lambda p: p["a"] + (p["b"] is None))
    result = search(GRID, visits)
    assert Counter(map(point_key, visits.points)) == Counter(
        point_key({"a": a, "b": b}) for a in (1, 2, 3) for b in ([8, 8], None)
    )
    assert result.stopped == "exhausted"
    assert result.n_new == len(result.trials) == 6
    assert result.best.params == {"a": 3, "b": None}
    assert result.best.score == 4
    assert result.best.test == {"ndcg@10": 2}
    assert [trial.number for trial in result.trials] == list(range(1, 7))


def test_the_seed_orders_the_points():
    first, again, other = Visits(), Visits(), Visits()
    for visits, seed in ((first, 1), (again, 1), (other, 2)):
        search(GRID, visits, seed=seed)
    assert first.points == again.points != other.points


def test_a_trial_says_how_long_it_took():
    def slow(point, report):
        time.sleep(0.05)
        return score(0)

    (trial,) = search({"a": Choice((1,))}, slow).trials
    assert trial.elapsed_s >= 0.05


def points_in_memory(space, name, n_points, seed, score_of=lambda point: 0.0) -> list:
    """The first points of a search, each with its score known before the next."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize")
    points = []
    for place in range(n_points):
        params = propose(study.get_trials(), space, name, f"{seed}/{place}")
        points.append(decode_point(space, params))
        study.add_trial(
            optuna.create_trial(
                params=params, distributions=to_distributions(space), value=score_of(points[-1])
            )
        )
    return points


axes = st.lists(st.integers(1, 4), min_size=1, max_size=3)


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
@settings(deadline=None)
@given(axes, st.integers(0, 5), st.sampled_from(sorted(SEARCHES)))
def test_points_are_the_product_each_once_whatever_the_search(sizes, seed, name):
    space = {f"p{place}": Choice(tuple(range(size))) for place, size in enumerate(sizes)}
    n_points = math.prod(sizes)
    points = [point_key(point) for point in points_in_memory(space, name, n_points, seed)]
    assert n_points == count_points(space)
    assert len(set(points)) == n_points


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_the_order_of_points_is_shuffled_by_the_seed():
    space = {"a": Choice(tuple(range(10))), "b": Choice(tuple(range(10)))}
    first, other, again = (
        points_in_memory(space, "exhaustive", 20, seed=seed) for seed in (1, 2, 1)
    )
    assert first == again
    assert first != other
    a_seen = {point["a"] for point in first}
    assert len(a_seen) > 5  # a search cut short has seen all of the space


def test_tpe_finds_the_top_of_a_hill_better_than_random():
    space = {"x": Uniform(-5.0, 5.0), "y": Uniform(-5.0, 5.0)}

    def height(point):
        return -((point["x"] - 2) ** 2) - (point["y"] + 1) ** 2

    found = {
        name: [
            max(map(height, points_in_memory(space, name, 30, seed, height)))
            for seed in range(1, 6)
        ]
        for name in ("random", "tpe")
    }
    assert min(found["tpe"]) > -0.5
    assert sum(found["tpe"]) > sum(found["random"])


@pytest.mark.parametrize("name", ["random", "tpe"])
def test_no_point_is_run_twice_even_when_few_are_left(name):
    visits = Visits(lambda p: p["a"])
    result = search(GRID, visits, search=name, max_trials=30)
    assert result.stopped == "exhausted"
    assert len(set(map(point_key, visits.points))) == len(visits.points) == 6


def test_max_trials_counts_earlier_calls(tmp_path):
    url = file_url(tmp_path)
    first = search(GRID, Visits(), storage_url=url, max_trials=3)
    assert (first.stopped, first.n_new) == ("max_trials", 3)
    again = search(GRID, Visits(), storage_url=url, max_trials=3)
    assert (again.stopped, again.n_new, len(again.trials)) == ("max_trials", 0, 3)
    more = search(GRID, Visits(), storage_url=url, max_trials=4)
    assert (more.n_new, len(more.trials)) == (1, 4)
    assert more.trials[:3] == first.trials


def test_early_stop_after_trials_without_progress():
    scores = iter([1, 2, 2, 1, 3, 0, 3, 3, 9])
    result = search({"a": Choice(tuple(range(9)))}, Visits(lambda p: next(scores)), early_stop=3)
    assert result.stopped == "early_stop"
    assert [trial.score for trial in result.trials] == [1, 2, 2, 1, 3, 0, 3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"search": "exhaustiv"}, "unknown search 'exhaustiv': did you mean 'exhaustive'"),
        ({"pruner": "medain"}, "unknown pruner 'medain': did you mean 'median'"),
        ({"max_trials": 0}, "max_trials: found 0, expected 1 or more"),
        ({"early_stop": -1}, "early_stop: found -1, expected 1 or more"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(UsageError, match=message):
        search(GRID, Visits(), **options)


def test_exhaustive_needs_choices():
    with pytest.raises(KgrecError, match="takes choices only, and lr is loguniform"):
        search({"a": Choice((1,)), "lr": LogUniform(-8, -2)}, Visits())


def test_exhaustive_of_too_many_points():
    space = {name: Choice(tuple(range(100))) for name in "abcdefghij"}
    with pytest.raises(KgrecError, match="search by random or tpe"):
        search(space, Visits())
