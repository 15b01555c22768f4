import json
import math
import random

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core.tuning.search import suggest
from kgrec_cli.core.tuning.space import (
    choice_options,
    count_points,
    draw_point,
    encode_point,
    list_points,
    multiple,
    multiples,
    point_key,
)
from kgrec_cli.formats.hyper_test import Choice, LogUniform, QUniform, Uniform

GRID = {"a": Choice((1, 2, 3)), "b": Choice(([8, 8], None))}


def test_counts_by_hand():
    assert count_points(GRID) == 6
    assert count_points({"q": QUniform(0.0, 0.5, 0.1), "a": Choice((1, 2))}) == 12
    assert count_points({"u": Uniform(0, 1), "a": Choice((1, 2))}) is None


@pytest.mark.parametrize(
    ("range_", "expected"),
    [
        (QUniform(0.0, 0.5, 0.1), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (QUniform(32, 128, 32), [32, 64, 96, 128]),
        (QUniform(40, 100, 32), [64, 96]),
        (QUniform(-1.0, 1.0, 0.75), [-0.75, 0.0, 0.75]),
    ],
)
def test_multiples_by_hand(range_, expected):
    first, last = multiples(range_)
    found = [multiple(range_, count) for count in range(first, last + 1)]
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


axes = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@given(axes, st.integers(0, 5))
def test_listed_points_are_the_product_each_once(sizes, seed):
    space = {f"p{place}": Choice(tuple(range(size))) for place, size in enumerate(sizes)}
    points = [point_key(point) for point in list_points(space, seed)]
    assert len(points) == math.prod(sizes) == count_points(space)
    assert len(set(points)) == len(points)
    assert points == [point_key(point) for point in list_points(space, seed)]


def test_the_order_of_points_is_shuffled_by_the_seed():
    space = {"a": Choice(tuple(range(10))), "b": Choice(tuple(range(10)))}
    first, other = ([point_key(p) for p in list_points(space, seed)] for seed in (1, 2))
    assert first != other
    a_seen = {json.loads(key)["a"] for key in first[:20]}
    assert len(a_seen) > 5  # a search cut short has seen all of the space


everything = {
    "u": Uniform(-1.0, 2.0),
    "l": LogUniform(-8.0, -2.0),
    "q": QUniform(0.05, 0.95, 0.1),
    "i": QUniform(32, 128, 32),
    "c": Choice(([64, 64], None, "x", 0.5)),
    "d": Choice((True, 0, 2.5, "True", None)),
}


@given(st.integers(0, 10_000))
def test_a_drawn_point_is_in_its_space_and_survives_the_study(seed):
    point = draw_point(everything, random.Random(seed))
    assert -1 <= point["u"] <= 2
    assert math.exp(-8) <= point["l"] <= math.exp(-2)
    assert point["q"] in [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert point["i"] in [32, 64, 96, 128]
    assert isinstance(point["i"], int)
    fixed = optuna.trial.FixedTrial(encode_point(everything, point))
    assert point_key(suggest(fixed, everything)) == point_key(point)


def test_loguniform_is_uniform_in_the_logarithm():
    generator = random.Random(1)
    space = {"l": LogUniform(-8.0, -2.0)}
    logs = sorted(math.log(draw_point(space, generator)["l"]) for _ in range(4000))
    for share in (0.25, 0.5, 0.75):
        assert logs[int(share * len(logs))] == pytest.approx(-8 + 6 * share, abs=0.15)


def test_scalar_choices_stay_themselves_in_the_study():
    assert choice_options(Choice((1, None, "x"))) == [1, None, "x"]
    assert choice_options(Choice(([1], "x"))) == ["[1]", '"x"']
