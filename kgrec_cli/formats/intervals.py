"""RecBole's intervals as text: `[4,inf)`, `(0,5]`, several joined by `;`."""

import math
import re
from dataclasses import dataclass

from kgrec_cli.errors import KgrecError

_PATTERN = re.compile(r"\s*([\[(])\s*([^,]+?)\s*,\s*([^\])]+?)\s*([\])])\s*")


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`; whether either end belongs to it is told apart."""

    low: float
    high: float
    has_low: bool
    has_high: bool


def parse_intervals(text: str, where: str) -> tuple[Interval, ...]:
    """The intervals of a setting.

    Raises:
        KgrecError: A text that is no interval; `where` names the setting.
    """
    intervals = []
    for part in str(text).split(";"):
        match = _PATTERN.fullmatch(part)
        try:
            low, high = (float(match[2]), float(match[3])) if match else (math.nan, math.nan)
        except ValueError:
            low = high = math.nan
        if match is None or not low <= high:
            raise KgrecError(f"{where}: found '{text}', expected an interval such as [5,inf)")
        intervals.append(Interval(low, high, match[1] == "[", match[4] == "]"))
    return tuple(intervals)
