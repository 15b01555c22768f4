"""Intervals of numbers, as the filters of a settings file write them: "[1,3);[5,inf)".

Checked with the settings, applied by `core/data/filters.py`.
"""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

_INTERVAL = re.compile(r"\s*([\[(])\s*([^,]+?)\s*,\s*([^\])]+?)\s*([\])])\s*")


@dataclass(frozen=True)
class Interval:
    """The numbers from `low` to `high`; `has_low`, `has_high`: whether that end belongs to it."""

    low: float
    high: float
    has_low: bool
    has_high: bool

    def contains(self, number: "pl.Expr") -> "pl.Expr":
        """A mask; True where a number lies in the interval."""
        above = number >= self.low if self.has_low else number > self.low
        return above & (number <= self.high if self.has_high else number < self.high)


def parse_intervals(text: str) -> tuple[Interval, ...]:
    """The intervals in a text.

    Raises:
        ValueError: A text that is no interval, in words for a user.
    """
    intervals = []
    for each in text.split(";"):
        match = _INTERVAL.fullmatch(each)
        try:
            low, high = (float(match[2]), float(match[3])) if match else (math.nan, math.nan)
        except ValueError:
            low = high = math.nan
        if match is None or not low <= high:
            raise ValueError(f"found '{text[:40]}', expected an interval such as '[5,inf)'")
        intervals.append(Interval(low, high, match[1] == "[", match[4] == "]"))
    return tuple(intervals)
