import json
import math

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core.tuning.search import propose
from kgrec_cli.core.tuning.space import (
    Choice,
    LogUniform,
    QUniform,
    Uniform,
    count_points,
    decode_point,
    to_distributions,
)

GRID = {"a": Choice((1, 2, 3)), "b": Choice(([8, 8], None))}


def draw(space, search, seed):
    return decode_point(space, propose([], space, search, seed))


@pytest.fixture(autouse=True)
def quiet():
    optuna.logging.set_verbosity(optuna.logging.ERROR)


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
    first, last = range_.counts
    found = [range_.multiple(count) for count in range(first, last + 1)]
    assert found == expected
    assert [type(value) for value in found] == [type(value) for value in expected]


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
    point = draw(everything, "random", str(seed))
    assert list(point) == list(everything)
    assert -1 <= point["u"] <= 2
    assert math.exp(-8) <= point["l"] <= math.exp(-2)
    assert point["q"] in [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    assert point["i"] in [32, 64, 96, 128]
    assert isinstance(point["i"], int)
    assert point["c"] in everything["c"].values
    assert any(point["d"] is value for value in everything["d"].values)
    assert json.loads(json.dumps(point)) == point


def test_loguniform_is_uniform_in_the_logarithm():
    space = {"l": LogUniform(-8.0, -2.0)}
    logs = sorted(math.log(draw(space, "random", str(seed))["l"]) for seed in range(4000))
    for share in (0.25, 0.5, 0.75):
        assert logs[int(share * len(logs))] == pytest.approx(-8 + 6 * share, abs=0.15)


def test_what_optuna_keeps_of_a_range():
    """Studies of former versions hold these: with others they would not go on."""
    kept = to_distributions(everything)
    assert kept["l"] == optuna.distributions.FloatDistribution(math.exp(-8), math.exp(-2), log=True)
    assert kept["q"] == optuna.distributions.IntDistribution(1, 9)
    assert kept["c"].choices == ("[64, 64]", "null", '"x"', "0.5")
    assert kept["d"].choices == (True, 0, 2.5, "True", None)
