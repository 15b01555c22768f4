"""The points of a search space: counted, listed, drawn, described. No Optuna here.

The ranges are whatever has these attributes: `formats.hyper_test` has the four there are.
A point is a mapping of setting name to value; `core.search` runs one trial for each.
"""

import json
import math
import random
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, Protocol

from kgrec_cli.errors import KgrecError

MAX_LISTED_POINTS = 100_000


class ChoiceRange(Protocol):
    """One of `values`."""

    kind: ClassVar[Literal["choice"]]

    @property
    def values(self) -> tuple[Any, ...]:
        """The values as listed, no two equal."""


class _Bounded(Protocol):
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


class FloatRange(_Bounded, Protocol):
    """A float from `low` to `high`."""

    kind: ClassVar[Literal["uniform"]]


class LogRange(_Bounded, Protocol):
    """exp(u), u from `low` to `high`: the bounds are natural logarithms."""

    kind: ClassVar[Literal["loguniform"]]


class StepRange(_Bounded, Protocol):
    """The multiples of `q` from `low` to `high`; ints when all three are."""

    kind: ClassVar[Literal["quniform"]]

    @property
    def q(self) -> float:
        """The step."""


Range = ChoiceRange | FloatRange | LogRange | StepRange
Space = Mapping[str, Range]
Params = dict[str, Any]


def count_points(space: Space) -> int | None:
    """How many points `space` has; None when a range is continuous."""
    n_points = 1
    for range_ in space.values():
        if range_.kind == "choice":
            n_points *= len(range_.values)
        elif range_.kind == "quniform":
            first, last = multiples(range_)
            n_points *= last - first + 1
        else:
            return None
    return n_points


def describe_space(space: Space) -> dict[str, str]:
    """Each range in one line of text, equal for equal ranges."""
    lines = {}
    for name, range_ in space.items():
        if range_.kind == "choice":
            numbers = json.dumps(range_.values)
        elif range_.kind == "quniform":
            numbers = f"{range_.low!r},{range_.high!r},{range_.q!r}"
        else:
            numbers = f"{range_.low!r},{range_.high!r}"
        lines[name] = f"{range_.kind} {numbers}"
    return lines


def check_made_with(
    study_name: str, noted: Mapping[str, Any], found: Mapping[str, Mapping[str, Any]]
) -> None:
    """Checks that a study goes on with what it was made with.

    Args:
        study_name: For the error.
        noted: The `space` and the `settings` that the study was made with, name to value each.
        found: Those of now. Values are compared as JSON holds them (a tuple is a list).

    Raises:
        KgrecError: Names the first difference.
    """
    for part in ("space", "settings"):
        old, new = noted[part], found[part]
        for name in sorted(old.keys() | new.keys()):
            was, is_ = (_show(values, name) for values in (old, new))
            if was != is_:
                raise KgrecError(
                    f"study '{study_name}' was made with {name} = {was}, found {is_}: "
                    "go back to the first, or start a new study (rename the search file, or "
                    "remove the old study)"
                )


def _show(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name, "absent")
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def check_listable(space: Space) -> None:
    """Checks that `list_points` can list `space`.

    Raises:
        KgrecError: A range that is no choice, or too many points.
    """
    for name, range_ in space.items():
        if range_.kind != "choice":
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


def list_points(space: Space, seed: int) -> Iterator[Params]:
    """Every point of a space of choices once, in an order shuffled by `seed`.

    Raises:
        ValueError: A range that is no choice.
    """
    axes: list[tuple[Any, ...]] = []
    for name, range_ in space.items():
        if range_.kind != "choice":
            raise ValueError(name)
        axes.append(range_.values)
    n_points = math.prod(map(len, axes))
    for index in random.Random(seed).sample(range(n_points), n_points):
        point: Params = {}
        for name, values in zip(space, axes, strict=True):
            index, place = divmod(index, len(values))
            point[name] = values[place]
        yield point


def draw_point(space: Space, generator: random.Random) -> Params:
    """A point at random, each range by its own distribution."""
    point: Params = {}
    for name, range_ in space.items():
        match range_.kind:
            case "choice":
                point[name] = generator.choice(range_.values)
            case "uniform":
                point[name] = min(generator.uniform(range_.low, range_.high), range_.high)
            case "loguniform":
                low, high = log_bounds(range_)
                value = math.exp(generator.uniform(range_.low, range_.high))
                point[name] = min(max(value, low), high)
            case "quniform":
                first, last = multiples(range_)
                point[name] = multiple(range_, generator.randint(first, last))
    return point


def point_key(point: Mapping[str, Any]) -> str:
    """A text that is equal for equal points, whatever the order of their names."""
    return json.dumps(point, sort_keys=True)


def encode_point(space: Space, point: Mapping[str, Any]) -> Params:
    """The values by which Optuna knows a point (see `core.search.suggest`)."""
    encoded: Params = {}
    for name, range_ in space.items():
        match range_.kind:
            case "choice":
                encoded[name] = choice_options(range_)[range_.values.index(point[name])]
            case "quniform":
                encoded[name] = round(point[name] / range_.q)
            case _:
                encoded[name] = point[name]
    return encoded


def choice_options(range_: ChoiceRange) -> list[Any]:
    """The values as Optuna can keep them: beside lists or mappings, all as JSON text."""
    if all(isinstance(value, str | int | float | None) for value in range_.values):
        return list(range_.values)
    return [json.dumps(value) for value in range_.values]


def log_bounds(range_: LogRange) -> tuple[float, float]:
    """The least and the greatest value of a loguniform range."""
    return math.exp(range_.low), math.exp(range_.high)


def multiples(range_: StepRange) -> tuple[int, int]:
    """The first and the last multiple of `q` within the bounds, in units of `q`.

    Differs from RecBole: hyperopt rounds and may leave the bounds by half a step.
    """
    tolerance = 1e-9  # 0.3 / 0.1 is a little less than 3
    return (
        math.ceil(range_.low / range_.q - tolerance),
        math.floor(range_.high / range_.q + tolerance),
    )


def multiple(range_: StepRange, count: int) -> float:
    """`count` times `q`: an int where the range is written in ints, else a float."""
    if all(isinstance(number, int) for number in (range_.low, range_.high, range_.q)):
        return count * range_.q
    return float(f"{count * range_.q:.12g}")  # 3 * 0.1 as 0.3
