"""The four ranges of RecBole's `hyper.test`, and the points that a space of them has.

`formats/hyper_test.py` reads a file into these; `search.py` says them in Optuna's terms.
A point is a mapping of setting name to value; one trial is run for each.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from typing import Any, ClassVar

from optuna import distributions
from optuna.distributions import BaseDistribution

from kgrec_cli.errors import KgrecError

MAX_LISTED_POINTS = 100_000


@dataclass(frozen=True)
class Choice:
    """One of the values as listed: None, bool, int, float, str, or lists and mappings of these."""

    kind: ClassVar[str] = "choice"
    values: tuple[Any, ...]

    def __str__(self) -> str:
        return f"choice {json.dumps(self.values)}"

    @property
    def tried(self) -> tuple[Any, ...]:
        """All values."""
        return self.values

    @property
    def options(self) -> list[Any]:
        """The values as Optuna can keep them: beside lists or mappings, all as JSON text."""
        if all(isinstance(value, str | int | float | None) for value in self.values):
            return list(self.values)
        return [json.dumps(value) for value in self.values]


@dataclass(frozen=True)
class Bounded:
    """What ranges between two numbers share."""

    kind: ClassVar[str]
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.kind} {','.join(map(repr, astuple(self)))}"


class Uniform(Bounded):
    """A float between `low` and `high`, all equally likely."""

    kind = "uniform"

    @property
    def tried(self) -> tuple[float, float]:
        """The lowest and the highest value; a bound itself is as good as never drawn."""
        return math.nextafter(self.low, self.high), math.nextafter(self.high, self.low)


class LogUniform(Bounded):
    """exp(u), u uniform between `low` and `high`: the bounds are natural logarithms."""

    kind = "loguniform"

    @property
    def tried(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return math.exp(self.low), math.exp(self.high)


@dataclass(frozen=True)
class QUniform(Bounded):
    """A multiple of `q` between `low` and `high`, all equally likely. All three int: an int.

    Differs from RecBole: hyperopt rounds and may leave the bounds by half a step.
    """

    kind = "quniform"
    q: float

    @property
    def counts(self) -> tuple[int, int]:
        """The first and the last multiple within the bounds, in units of `q`."""
        tolerance = 1e-9  # 0.3 / 0.1 is a little less than 3
        first = math.ceil(self.low / self.q - tolerance)
        return first, math.floor(self.high / self.q + tolerance)

    @property
    def tried(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        first, last = self.counts
        return self.multiple(first), self.multiple(last)

    def multiple(self, count: int) -> float:
        """`count` times `q`: an int where the range is written in ints, else a float."""
        if all(isinstance(number, int) for number in astuple(self)):
            return count * self.q
        return float(f"{count * self.q:.12g}")  # 3 * 0.1 as 0.3


Range = Choice | Uniform | LogUniform | QUniform
Space = Mapping[str, Range]
Params = dict[str, Any]


def count_points(space: Space) -> int | None:
    """How many points `space` has; None when a range is continuous."""
    n_points = 1
    for range_ in space.values():
        match range_:
            case Choice():
                n_points *= len(range_.values)
            case QUniform():
                first, last = range_.counts
                n_points *= last - first + 1
            case _:
                return None
    return n_points


def check_listable(space: Space) -> None:
    """Checks that an exhaustive search of `space` has an end.

    Raises:
        KgrecError: A range that is no choice, or too many points.
    """
    for name, range_ in space.items():
        if not isinstance(range_, Choice):
            raise KgrecError(
                f"search exhaustive takes choices only, and {name} is {range_.kind}: "
                "list its values as a choice, or search by random or tpe"
            )
    n_points = count_points(space) or 0
    if n_points > MAX_LISTED_POINTS:
        raise KgrecError(
            f"search exhaustive of {n_points:,} points, expected {MAX_LISTED_POINTS:,} at most: "
            "shorten the choices, or search by random or tpe with a number of trials"
        )


def to_distributions(space: Space) -> dict[str, BaseDistribution]:
    """The ranges as Optuna keeps them; `decode_point` is the way back."""
    axes: dict[str, BaseDistribution] = {}
    for name, range_ in space.items():
        match range_:
            case Choice():
                axes[name] = distributions.CategoricalDistribution(range_.options)
            case Uniform():
                axes[name] = distributions.FloatDistribution(range_.low, range_.high)
            case LogUniform():
                low, high = math.exp(range_.low), math.exp(range_.high)
                axes[name] = distributions.FloatDistribution(low, high, log=True)
            case QUniform():
                axes[name] = distributions.IntDistribution(*range_.counts)
    return axes


def decode_point(space: Space, params: Mapping[str, Any]) -> Params:
    """The point that Optuna knows as `params` (options of choices, multiples in units of q)."""
    point: Params = {}
    for name, range_ in space.items():
        match range_:
            case Choice():
                point[name] = range_.values[range_.options.index(params[name])]
            case QUniform():
                point[name] = range_.multiple(params[name])
            case _:
                point[name] = params[name]
    return point
