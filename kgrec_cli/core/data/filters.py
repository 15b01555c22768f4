"""Rules that drop interactions: repeated pairs, low ratings, users and items with too few rows.

Tables in, tables out, in the order they came. Every rule says how many rows it dropped, so that
`prepare` can account for each row it read. RecBole applies them in the same order: repeated pairs,
ratings, then counts.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

from kgrec_cli.intervals import Interval

Keep = Literal["first", "last", "all"]
_IDS = ("user_id", "item_id")


class Filtered(NamedTuple):
    """What a rule leaves, and how many rows it dropped."""

    table: pl.DataFrame
    n_dropped: int


class Core(NamedTuple):
    """What `k_core` leaves, and the rows dropped because their user, or item, had too few.

    `users` and `items` are bool, True for the number of a category that stays.
    """

    users: np.ndarray
    items: np.ndarray
    n_dropped_by_user: int
    n_dropped_by_item: int

    def keep(self, table: pl.DataFrame) -> pl.DataFrame:
        """The rows of a table that stay."""
        return table.filter(self.alive(table))

    def alive(self, table: pl.DataFrame) -> np.ndarray:
        """Bool, True for the rows of a table that stay."""
        alive: np.ndarray = self.users[_codes(table["user_id"])]
        alive &= self.items[_codes(table["item_id"])]
        return alive


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


def k_core(
    tables: Callable[[], Iterable[pl.DataFrame]], min_user_inter: int = 0, min_item_inter: int = 0
) -> Core:
    """The largest part of some rows in which every user and every item has enough of them.

    Dropping a user can leave an item with too few rows and the other way round, so both rules are
    applied in turn until neither drops anything. The rows left do not depend on which comes first;
    the two counts do (users come first).

    Args:
        tables: Gives all rows in parts, whenever it is called: user_id, item_id (Categorical).
            That is once for each rule and turn; in between, users and items alone are remembered.
        min_user_inter: Fewest rows of a user.
        min_item_inter: Fewest rows of an item.
    """
    largest = max(
        (int(_codes(table[name]).max()) for table in tables() if table.height for name in _IDS),
        default=0,
    )
    is_known = np.ones(largest + 1, dtype=np.bool_)
    core = Core(is_known, is_known, 0, 0)
    if max(min_user_inter, min_item_inter) <= 1:
        return core
    while True:
        by_user, users = _too_few(tables, core, "user_id", min_user_inter)
        core = core._replace(users=users, n_dropped_by_user=core.n_dropped_by_user + by_user)
        by_item, items = _too_few(tables, core, "item_id", min_item_inter)
        core = core._replace(items=items, n_dropped_by_item=core.n_dropped_by_item + by_item)
        if not by_user + by_item:
            return core


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


def _too_few(
    tables: Callable[[], Iterable[pl.DataFrame]], core: Core, column: str, least: int
) -> tuple[int, np.ndarray]:
    """The rows of `core` whose user (or item) has fewer than `least`, and who has enough."""
    stays = core.users if column == "user_id" else core.items
    if least <= 1:
        return 0, stays
    counts = np.zeros(len(stays), dtype=np.int64)
    for table in tables():
        codes = _codes(table[column])[core.alive(table)]
        counts += np.bincount(codes, minlength=len(stays))
    enough = counts >= least
    return int(counts[~enough].sum()), enough


def _codes(tokens: pl.Series) -> np.ndarray:
    """An int64 number for each token, equal for equal tokens and not much above their number."""
    return np.asarray(tokens.cast(pl.Categorical).to_physical(), dtype=np.int64)
