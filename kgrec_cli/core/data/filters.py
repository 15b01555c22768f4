"""Rules that drop interactions: repeated pairs, low ratings, users and items with too few rows.

Tables in, tables out, in the order they came. Every rule says how many rows it dropped, so that
`prepare` can account for each row it read. RecBole applies them in the same order: repeated pairs,
ratings, then counts.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from kgrec_cli.intervals import Interval

Keep = Literal["first", "last", "all"]


class Filtered(NamedTuple):
    """What a rule leaves, and how many rows it dropped."""

    table: pl.DataFrame
    n_dropped: int


class Core(NamedTuple):
    """What `k_core` leaves, and the rows dropped because their user, or item, had too few."""

    table: pl.DataFrame
    n_dropped_by_user: int
    n_dropped_by_item: int


def count_repeats(table: pl.DataFrame) -> int:
    """How many rows repeat a (user_id, item_id) pair of another row."""
    users, items = _codes(table["user_id"]), _codes(table["item_id"])
    n_items = int(items.max()) + 1 if len(items) else 1
    pairs = pl.Series(users * n_items + items)
    return table.height - pairs.n_unique()


def drop_duplicates(table: pl.DataFrame, keep: Keep) -> Filtered:
    """The rows left when each (user_id, item_id) pair may occur once.

    Args:
        table: Columns user_id, item_id (String or Categorical), timestamp.
        keep: Which of a pair's rows stays: the "first" or "last" in time; rows of one time in the
            order of the table. "all" drops nothing.
    """
    if keep == "all" or table.is_empty():
        return Filtered(table, 0)
    rows = (
        table.select("user_id", "item_id", "timestamp")
        .with_row_index("row")
        .sort("timestamp", maintain_order=True)
        .unique(["user_id", "item_id"], keep=keep, maintain_order=True)
        .select(pl.col("row").sort())
        .to_series()
    )
    return Filtered(table[rows], table.height - len(rows))


def keep_min_rating(table: pl.DataFrame, min_rating: float) -> Filtered:
    """The rows whose rating is at least `min_rating`."""
    rest = table.filter(pl.col("rating") >= min_rating)
    return Filtered(rest, table.height - rest.height)


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
    dropped_by_user = dropped_by_item = 0
    while True:
        after_users = _frequent(alive, users, min_user_inter)
        after_items = _frequent(after_users, items, min_item_inter)
        dropped_by_user += len(alive) - len(after_users)
        dropped_by_item += len(after_users) - len(after_items)
        if len(after_items) == len(alive):
            break
        alive = after_items
    rest = table if len(alive) == table.height else table[alive]
    return Core(rest, dropped_by_user, dropped_by_item)


def keep_counts_in_intervals(
    table: pl.DataFrame, of_users: Sequence[Interval], of_items: Sequence[Interval]
) -> Filtered:
    """The rows left when users and items with a number of rows outside the intervals are dropped.

    Both rules are applied together until neither drops anything, as RecBole does
    (`data/dataset/dataset.py`, `_filter_by_inter_num`).

    The table has user_id and item_id; without intervals any number will do.
    """
    is_good = [
        pl.any_horizontal(each.contains(pl.len().over(column)) for each in intervals)
        for column, intervals in (("user_id", of_users), ("item_id", of_items))
        if intervals
    ]
    rest = table
    while True:
        fewer = rest.filter(pl.all_horizontal(is_good)) if is_good else rest
        if fewer.height == rest.height:
            return Filtered(rest, table.height - rest.height)
        rest = fewer


def _frequent(rows: np.ndarray, codes: np.ndarray, least: int) -> np.ndarray:
    """Those of `rows` whose code occurs at least `least` times among them."""
    if least <= 1 or not len(rows):
        return rows
    counts = np.bincount(codes[rows])
    frequent: np.ndarray = rows[counts[codes[rows]] >= least]
    return frequent


def _codes(tokens: pl.Series) -> np.ndarray:
    """An int64 number for each token, equal for equal tokens and not much above their number."""
    return np.asarray(tokens.cast(pl.Categorical).to_physical(), dtype=np.int64)
