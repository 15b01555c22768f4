"""RecBole's `hyper.test`: the search space of `kgrec tune`, one parameter a line.

A line is `name type range`, for instance `dropout_prob choice [0.0, 0.1]` or
`learning_rate loguniform -8,-4`. Out comes the space that `core/tuning` searches.
Nothing is ever evaluated: lists are read as literals.
Differs from RecBole: `#` comments are skipped, a name or a value that stands twice is an error.
"""

import ast
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kgrec_cli.bounded_yaml import read_bounded
from kgrec_cli.core.tuning.space import Choice, LogUniform, QUniform, Range, Uniform
from kgrec_cli.errors import KgrecError, nearest, shorten, unknown_name

MAX_CHOICES = 1_000
MAX_LOG_BOUND = 700.0  # exp() of more is no float
MAX_BOUND = 1e100  # the difference of more may be no float
MAX_STEPS = 2**53  # a float counts no further
KINDS = ("choice", "uniform", "loguniform", "quniform")


@dataclass(frozen=True)
class SearchSpace:
    """What the `hyper.test` file at `path` says: by parameter its range and the line it stands on.

    `skipped_lines` had fewer than three parts and are neither blank nor comments: RecBole skips
    them in silence.
    """

    path: Path
    ranges: Mapping[str, Range]
    line_numbers: Mapping[str, int]
    skipped_lines: tuple[int, ...] = ()


def read_hyper_test(path: Path) -> SearchSpace:
    """The search space in a `hyper.test` file.

    Raises:
        KgrecError: No such file, not UTF-8, too large, no parameter in it, an unknown type, a range
            that cannot be read, or a parameter that stands twice; with file and line.
    """
    ranges: dict[str, Range] = {}
    line_numbers: dict[str, int] = {}
    skipped_lines = []
    missing = "no such file; `kgrec prepare` leaves a hyper.test to start from"
    text = read_bounded(path, "lines of `name type range`", missing)
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = line.split(maxsplit=2)
        if len(parts) < 3:
            skipped_lines.append(number)
            continue
        name, kind, listed = parts[0], parts[1], parts[2].strip()
        where = f"{path}, line {number}"
        if name in ranges:
            raise KgrecError(
                f"{where}: parameter '{shorten(name)}' stands already on line "
                f"{line_numbers[name]}; keep one of the two"
            )
        ranges[name] = _parse_range(kind, listed, where)
        line_numbers[name] = number
    if not ranges:
        raise KgrecError(
            f"{path}: no parameter in it; expected lines of `name type range`, "
            "for instance `num_layers choice [1,2,3]`"
        )
    return SearchSpace(path, ranges, line_numbers, tuple(skipped_lines))


def check_parameter_names(space: SearchSpace, valid_names: Iterable[str]) -> None:
    """Checks that every parameter of `space` is one of `valid_names`.

    Raises:
        KgrecError: An unknown parameter; with file, line and the nearest valid name.
    """
    valid = set(valid_names)
    for name, number in space.line_numbers.items():
        if name not in valid:
            raise KgrecError(f"{space.path}, line {number}: {unknown_name('setting', name, valid)}")


def _parse_range(kind: str, text: str, where: str) -> Range:
    match kind:
        case "choice":
            return Choice(_parse_choice(text, where))
        case "uniform":
            return Uniform(*_parse_bounds(text, "low,high", where))
        case "loguniform":
            low, high = _parse_bounds(text, "low,high", where)
            if max(abs(low), abs(high)) > MAX_LOG_BOUND:
                raise KgrecError(
                    f"{where}: found loguniform '{shorten(text)}', expected natural logarithms "
                    f"of the bounds, within {-MAX_LOG_BOUND:.0f},{MAX_LOG_BOUND:.0f}"
                )
            return LogUniform(low, high)
        case "quniform":
            low, high, q = _parse_bounds(text, "low,high,q", where)
            if all(re.fullmatch(r"[+-]?\d+", part.strip()) for part in text.split(",")):
                return QUniform(int(low), int(high), int(q))
            return QUniform(low, high, q)
    guess = nearest(kind, KINDS)
    hint = f"did you mean '{guess}'?" if guess else "RecBole's format has these four"
    raise KgrecError(
        f"{where}: found type '{shorten(kind)}', expected one of {', '.join(KINDS)}; {hint}"
    )


def _parse_bounds(text: str, expected: str, where: str) -> list[float]:
    """The finite numbers of `low,high` or `low,high,q`, low < high and 0 < q <= high - low."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    problem = ""
    if len(numbers) != len(expected.split(",")) or not all(map(math.isfinite, numbers)):
        problem = "as plain numbers"
    elif numbers[0] >= numbers[1]:
        problem = "with low below high"
    elif max(map(abs, numbers)) > MAX_BOUND:
        problem = f"within {-MAX_BOUND:g},{MAX_BOUND:g}"
    elif len(numbers) == 3 and not 0 < numbers[2] <= numbers[1] - numbers[0]:
        problem = "with a step q above 0 and no wider than high - low"
    elif len(numbers) == 3 and max(map(abs, numbers)) > MAX_STEPS * numbers[2]:
        problem = "with a step q that is no tiny part of low and high"
    if problem:
        raise KgrecError(f"{where}: found range '{shorten(text)}', expected {expected} {problem}")
    return numbers


def _parse_choice(text: str, where: str) -> tuple[Any, ...]:
    """The values of a Python list literal; `"[64,64]"` inside it is the list [64, 64]."""
    try:
        values = _literal(text)
    except ValueError as error:
        raise KgrecError(
            f"{where}: found choice {shorten(text)}, expected a Python list of plain values "
            "such as [1, 2] or ['CE', 'BPR'] (nothing is calculated, texts need quotes)"
        ) from error
    if not isinstance(values, list | tuple) or not values:
        raise KgrecError(
            f"{where}: found choice {shorten(text)}, expected a list of at least one value "
            "such as [1, 2]"
        )
    if len(values) > MAX_CHOICES:
        raise KgrecError(f"{where}: {len(values):,} choices, expected {MAX_CHOICES:,} at most")
    parsed: list[Any] = []
    for value in values:
        try:
            plain = _plain(value)
        except ValueError as error:
            raise KgrecError(
                f"{where}: found choice value {shorten(repr(value))}, expected None, True, False, "
                "a finite number, a text, or a list or mapping of these"
            ) from error
        if plain in parsed:
            raise KgrecError(
                f"{where}: choice value {shorten(repr(value))} equals one before it; keep one"
            )
        parsed.append(plain)
    return tuple(parsed)


def _literal(text: str) -> Any:
    """The value of a Python literal; ValueError for anything else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "[1 (2)]": Python wonders about a missing comma
            return ast.literal_eval(text)
    except (SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(text) from error


def _plain(value: Any) -> Any:
    """`value` as JSON holds it, quoted inner lists read; ValueError for what JSON cannot hold.

    Nor is a number of more than 64 bits taken.
    """
    if isinstance(value, str):
        value.encode()  # refuses half characters: UnicodeEncodeError is a ValueError
        if value.strip()[:1] in {"[", "(", "{"}:
            try:
                inner = _literal(value.strip())
            except ValueError:
                return value
            return _plain(inner) if isinstance(inner, list | tuple | dict) else value
        return value
    if value is None or (isinstance(value, bool | int) and value.bit_length() <= 64):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item) for key, item in value.items()}
    raise ValueError(value)
