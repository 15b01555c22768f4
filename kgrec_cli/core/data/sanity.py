"""Sanity checks of interactions: what all results rest on, and what a log may have wrong.

Time order, ids that stand for a missing value, one user or item with most of the events. `prepare`
checks what it writes, `dataset/load.py` the files of others.
"""

from collections.abc import Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from kgrec_cli.errors import shorten

MISSING_MARKS = ("na", "nan", "null", "none", "n/a", "#n/a", "#na", "<na>", "-nan", "\\n")
"""Texts for a missing value in lower case: of pandas (its default `na_values`), R and SQL."""

KEPT_MARK = "stands for a missing value, and each such text counts as one id"

LARGEST_FLOAT_TIME = 2.0**53
"""From here on different whole numbers are one float, and their order is lost."""
MIN_SORTED_SHARE = 0.9
MIN_SORTED_SHARE_OF_TIMES = 0.99
"""Of users in the file's order, and in an order by times: in these items may well ascend."""
MIN_EVENTS = 10
"""Of fewer events, more than half say nothing."""
CHECKED_ROWS = 2_000_000
"""Of larger tables, the order is checked for a part of the users."""
MAX_LOG_CHANCE = np.log(1e-5)

_UNITS = {"seconds": 1.0, "milliseconds": 1e3, "microseconds": 1e6, "nanoseconds": 1e9}
_EPOCH_S = (1e8, 4.2e9)
"""1973 to 2103: times of two units in this range never meet."""


def sanity_warnings(table: pl.DataFrame, *, has_times: bool = True) -> list[str]:
    """Lines on what is doubtful about interactions; none for most data sets.

    The table is that of `order_warnings`.
    """
    counts = {role: table.group_by(f"{role}_id").agg(n=pl.len()) for role in ("user", "item")}
    return order_warnings(table, has_times=has_times) + concentration_warnings(counts)


def order_warnings(table: pl.DataFrame, *, has_times: bool = True) -> list[str]:
    """Lines on an order in time that may be none.

    Args:
        table: Columns user_id, item_id (Categorical or String), timestamp (Int64 or Float64),
            rating (optional). The rows' order decides between equal times.
        has_times: False when `timestamp` says nothing: the rows' order is all there is.
    """
    if not has_times:
        table = table.with_columns(timestamp=pl.lit(0))
    warnings: list[str] = []
    n_ties = count_ties(table) if has_times else 0
    are_tied = has_times and are_mostly_tied(table, n_ties)
    if are_tied:
        times = "times are dates only: " if _are_dates(table["timestamp"]) else ""
        times = "all times are the same: " if table["timestamp"].n_unique() == 1 else times
        is_all = n_ties == table.height - table["user_id"].n_unique()
        all_of_them = " (all but each first)" if is_all else f" ({n_ties / table.height:.0%})"
        warnings.append(
            f"{times}{n_ties:,} of {table.height:,} events{all_of_them} have their user's previous "
            "time, so the file's order decides between them"
        )
    if has_times:
        warnings += _units(table["timestamp"])
    are_unordered = are_tied or not has_times
    return warnings + _sorting(table, within_times=are_tied, is_files_order=are_unordered)


def unit_of_times(times: NDArray[np.int64] | NDArray[np.float64]) -> float | None:
    """How many units of the times make a second (1, 1e3, ...); None where they are no Unix times.

    Args:
        times: (n,), at least one; all have to lie between 1973 and 2103 in that unit.
    """
    least, most = float(times.min()), float(times.max())
    for unit in _UNITS.values():
        if _EPOCH_S[0] * unit <= least and most < _EPOCH_S[1] * unit:
            return unit
    return None


def missing_marks(tokens: pl.Series) -> list[str]:
    """Those of a column's tokens that stand for a missing value, case and blanks aside."""
    distinct = tokens.unique().cast(pl.String)
    marks = pl.Series(MISSING_MARKS).implode()
    is_mark = distinct.str.strip_chars().str.to_lowercase().is_in(marks)
    return sorted(distinct.filter(is_mark).to_list())


def count_marks(tokens: pl.Series, n_rows: int) -> str:
    """For instance "'NA' in 4 and 'nan' in 3 of 32 rows (22%)"; `tokens` are the missing ids."""
    counts = tokens.value_counts(sort=True).sort("count", tokens.name, descending=[True, False])
    shown = [f"'{token}' in {count:,}" for token, count in counts.head(3).iter_rows()]
    shown += [f"{counts.height - 3} more texts"] if counts.height > 3 else []
    *first, last = shown
    text = f"{', '.join(first)} and {last}" if first else last
    return f"{text} of {n_rows:,} rows ({len(tokens) / n_rows:.0%})"


def missing_id_warnings(table: pl.DataFrame) -> list[str]:
    """Lines on ids in user_id and item_id that stand for a missing value."""
    warnings = []
    for role in ("user", "item"):
        tokens = table[f"{role}_id"]
        if marks := missing_marks(tokens):
            marked = tokens.cast(pl.String).filter(tokens.cast(pl.String).is_in(marks))
            warnings.append(f"{count_marks(marked, table.height)} as {role} {KEPT_MARK}")
    return warnings


def count_ties(table: pl.DataFrame) -> int:
    """How many events have the time of their user's event before them."""
    return table.height - table.select("user_id", "timestamp").n_unique()


def are_mostly_tied(table: pl.DataFrame, n_ties: int) -> bool:
    """Whether so many of `count_ties` leave the order to the file.

    That is half of the events where times are dates, else 60 %: people who rate a list in one go
    tie half of MovieLens 100K, whose sessions are in order all the same.
    """
    share = 0.5 if _are_dates(table["timestamp"]) else 0.6
    return n_ties > share * table.height


def _are_dates(times: pl.Series) -> bool:
    return bool((times % 86_400 == 0).all())


def _units(times: pl.Series) -> list[str]:
    """A line when seconds and milliseconds (or finer) stand in one column."""
    counts = {
        unit: int(times.is_between(_EPOCH_S[0] * factor, _EPOCH_S[1] * factor).sum())
        for unit, factor in _UNITS.items()
    }
    units = {unit: count for unit, count in counts.items() if count}
    if len(units) < 2 or sum(units.values()) < 0.99 * len(times):
        return []
    shown = " and ".join(f"{unit} ({count:,} events)" for unit, count in units.items())
    return [f"the times are {shown}: those of finer units sort behind all others"]


def _sorting(table: pl.DataFrame, *, within_times: bool, is_files_order: bool) -> list[str]:
    """Lines when nearly all users' events (or those of one time) are sorted by something else."""
    if table.height > CHECKED_ROWS:
        step = table.height // CHECKED_ROWS + 1
        users = table["user_id"].cast(pl.Categorical).to_physical()
        table = table.filter(users % step == 0)
    user = table["user_id"].cast(pl.Categorical).to_physical().to_numpy()
    times = table["timestamp"].to_numpy()
    order = np.lexsort((times, user))
    is_new = np.diff(user[order]) != 0
    if within_times:
        is_new |= np.diff(times[order]) != 0
    owners = np.concatenate([[0], np.cumsum(is_new)])
    warnings = []
    share = MIN_SORTED_SHARE if is_files_order else MIN_SORTED_SHARE_OF_TIMES
    keys = _orders_of_tokens(table["item_id"])
    if "rating" in table.columns:
        keys.append(("rating", table["rating"].to_numpy()))
    for name, values in keys:
        direction = _sorted(owners, values[order], share)
        if direction:
            what = f"by {name}, {direction}"
            where = "within nearly every user" + (" and time" if within_times else "")
            means = (
                f"this is no order in time, and the last event is the user's {_LAST[direction]} "
                f"{name}"
                if is_files_order
                else "are the times an order of something else?"
            )
            warnings.append(f"{where} the events stand sorted {what}: {means}")
            break
    return warnings


_LAST = {"ascending": "highest", "descending": "lowest"}


def _orders_of_tokens(tokens: pl.Series) -> list[tuple[str, NDArray[np.int64]]]:
    """The ways that items sort: as text and, where each is or ends in a number, by that."""
    distinct = tokens.unique().cast(pl.String)
    numbers = distinct.str.extract(r"^\D*(\d+)$").cast(pl.Int64, strict=False)
    texts = [distinct, distinct.str.to_lowercase()]
    keys = texts if numbers.null_count() else [numbers, *texts]
    return [
        (
            "item",
            tokens.cast(pl.String)
            .replace_strict(distinct, key.rank("dense").cast(pl.Int64), return_dtype=pl.Int64)
            .to_numpy(),
        )
        for key in keys
    ]


def _sorted(owners: NDArray[np.int64], values: NDArray[np.generic], share: float) -> str | None:
    """The direction, "ascending" or "descending", that a share of groups has, if not by chance.

    The chance of one group is that of its permutations, equal values being no difference; all
    groups together must stay below MAX_LOG_CHANCE.

    `owners` int64 (n,), ascending, gives the group of each of `values` (n,), which stand in the
    order that is looked at. `share` is of the groups whose values differ.
    """
    same = np.diff(owners) == 0
    steps, owner_of_step = np.diff(values)[same], owners[1:][same]
    n_groups = int(owners[-1]) + 1
    n_up = np.bincount(owner_of_step[steps > 0], minlength=n_groups)
    n_down = np.bincount(owner_of_step[steps < 0], minlength=n_groups)
    varied = n_up + n_down > 0
    for direction, n_against in (("ascending", n_down), ("descending", n_up)):
        in_order = varied & (n_against == 0)
        if not varied.any() or in_order.sum() < share * varied.sum():
            continue
        log_factorial = np.cumsum(np.log(np.maximum(np.arange(len(values) + 1), 1)))
        chances = -log_factorial[np.bincount(owners, minlength=n_groups)]
        pairs = pl.DataFrame({"owner": owners, "value": values}).group_by("owner", "value").len()
        equal = log_factorial[pairs["len"].to_numpy()]
        chances += np.bincount(pairs["owner"].to_numpy(), weights=equal, minlength=n_groups)
        # which of the groups are out of order: at most exp(0.33 n) choices for a share of 0.1
        if chances[in_order].sum() + 0.33 * varied.sum() < MAX_LOG_CHANCE:
            return direction
    return None


def concentration_warnings(counts: Mapping[str, pl.DataFrame]) -> list[str]:
    """Lines on a user or an item with more than half of all events.

    `counts` has a table for "user" and one for "item": the token, and its number of events.
    """
    warnings = []
    for role, by_token in counts.items():
        (token, count), total = by_token.sort("n", descending=True).row(0), by_token["n"].sum()
        if 2 * count > total >= MIN_EVENTS:
            warnings.append(
                f"{role} '{shorten(token)}' has {count:,} of {total:,} "
                f"interactions ({count / total:.0%}): is its column that of the {role}s?"
            )
    return warnings
