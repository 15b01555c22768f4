"""Rules that drop interactions: repeated pairs, low ratings, users and items with too few rows.

Tables in, tables out, in the order they came. Every rule says how many rows it dropped, so that
`prepare` can account for each row it read. RecBole applies them in the same order: repeated pairs,
ratings, then counts.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from kgrec_cli.errors import KgrecError

Keep = Literal["first", "last", "all"]
Range = tuple[float, float, bool, bool]


class Kept(NamedTuple):
    """What a rule leaves, and how many rows it dropped."""

    table: pl.DataFrame
    n_dropped: int


class Core(NamedTuple):
    """What `k_core` leaves.

    Attributes:
        table: The rows left.
        n_dropped_by_user: Rows dropped because their user had too few.
        n_dropped_by_item: Rows dropped because their item had too few.
        n_rounds: Passes over users and items until nothing changed any more.
    """

    table: pl.DataFrame
    n_dropped_by_user: int
    n_dropped_by_item: int
    n_rounds: int


def count_repeats(table: pl.DataFrame) -> int:
    """How many rows repeat a (user_id, item_id) pair of another row."""
    users, items = _codes(table["user_id"]), _codes(table["item_id"])
    n_items = int(items.max()) + 1 if len(items) else 1
    pairs = pl.Series(users * n_items + items)
    return table.height - pairs.n_unique()


def drop_duplicates(table: pl.DataFrame, keep: Keep) -> Kept:
    """The rows left when each (user_id, item_id) pair may stand once.

    Args:
        table: Columns user_id, item_id (String or Categorical), timestamp.
        keep: Which of a pair's rows stays: the "first" or "last" in time; rows of one time in the
            order of the table. "all" drops nothing.
    """
    if keep == "all" or table.is_empty():
        return Kept(table, 0)
    kept_rows = (
        table.select("user_id", "item_id", "timestamp")
        .with_row_index("row")
        .sort("timestamp", maintain_order=True)
        .unique(["user_id", "item_id"], keep=keep, maintain_order=True)
        .select(pl.col("row").sort())
        .to_series()
    )
    return Kept(table[kept_rows], table.height - len(kept_rows))


def keep_min_rating(table: pl.DataFrame, min_rating: float) -> Kept:
    """The rows whose rating is at least `min_rating`."""
    kept = table.filter(pl.col("rating") >= min_rating)
    return Kept(kept, table.height - kept.height)


def k_core(table: pl.DataFrame, min_user_inter: int = 0, min_item_inter: int = 0) -> Core:
    """The largest part of `table` in which every user and every item has enough rows.

    Dropping a user can leave an item with too few rows and the other way round, so both rules are
    applied in turn until neither drops anything. The rows left do not depend on which comes first;
    the two counts do (users come first).

    Args:
        table: Columns user_id, item_id (String or Categorical).
        min_user_inter: Fewest rows of a user.
        min_item_inter: Fewest rows of an item.
    """
    users, items = _codes(table["user_id"]), _codes(table["item_id"])
    alive = np.arange(table.height)
    dropped_by_user = dropped_by_item = n_rounds = 0
    while True:
        n_rounds += 1
        after_users = _frequent(alive, users, min_user_inter)
        after_items = _frequent(after_users, items, min_item_inter)
        dropped_by_user += len(alive) - len(after_users)
        dropped_by_item += len(after_users) - len(after_items)
        if len(after_items) == len(alive):
            break
        alive = after_items
    kept = table if len(alive) == table.height else table[alive]
    return Core(kept, dropped_by_user, dropped_by_item, n_rounds)


def keep_in_ranges(table: pl.DataFrame, column: str, ranges: Sequence[Range]) -> Kept:
    """The rows whose number in `column` lies in any of the ranges; empty ones are dropped.

    Args:
        table: Any table.
        column: A column of numbers.
        ranges: (low, high, whether low belongs to it, whether high does).
    """
    kept = table.filter(pl.any_horizontal(_within(pl.col(column), *each) for each in ranges))
    return Kept(kept, table.height - kept.height)


def _within(number: pl.Expr, low: float, high: float, has_low: bool, has_high: bool) -> pl.Expr:
    above = number >= low if has_low else number > low
    return above & (number <= high if has_high else number < high)


def keep_counts_in_ranges(
    table: pl.DataFrame, user_ranges: Sequence[Range], item_ranges: Sequence[Range]
) -> Kept:
    """The rows left when users and items with a number of rows outside the ranges are dropped.

    Both rules are applied together until neither drops anything, as RecBole does
    (`data/dataset/dataset.py`, `_filter_by_inter_num`).

    Args:
        table: Columns user_id, item_id.
        user_ranges: Numbers of rows that a user may have; empty: any.
        item_ranges: The same for items.
    """
    kept = table
    while True:
        good = [
            pl.any_horizontal(_within(pl.len().over(column), *each) for each in ranges)
            for column, ranges in (("user_id", user_ranges), ("item_id", item_ranges))
            if ranges
        ]
        smaller = kept.filter(pl.all_horizontal(good)) if good else kept
        if smaller.height == kept.height:
            return Kept(kept, table.height - kept.height)
        kept = smaller


def _frequent(rows: np.ndarray, codes: np.ndarray, least: int) -> np.ndarray:
    """Those of `rows` whose code stands at least `least` times among them."""
    if least <= 1 or not len(rows):
        return rows
    counts = np.bincount(codes[rows])
    kept: np.ndarray = rows[counts[codes[rows]] >= least]
    return kept


def _codes(tokens: pl.Series) -> np.ndarray:
    """An int64 number for each token, equal for equal tokens and not much above their number."""
    return np.asarray(tokens.cast(pl.Categorical).to_physical(), dtype=np.int64)


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
