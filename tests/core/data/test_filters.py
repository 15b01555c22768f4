"""The rules that drop interactions, against hand-made tables and brute force."""

import random
from collections import Counter
from typing import NamedTuple

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.core.data.filters import count_repeats, drop_duplicates, k_core, keep_min_rating

Row = tuple[str, str, int]

ROWS = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from("uvwxyz"), st.integers(0, 4)), max_size=40
)


def table(rows: list[Row]) -> pl.DataFrame:
    schema = {"user_id": pl.String, "item_id": pl.String, "timestamp": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def test_first_and_last_are_by_time_then_by_row():
    rows = [
        ("a", "x", 9),
        ("a", "y", 1),
        ("a", "x", 3),
        ("b", "x", 3),
        ("a", "x", 3),
        ("a", "x", 9),
    ]
    first = drop_duplicates(table(rows), "first")
    last = drop_duplicates(table(rows), "last")
    assert first.table.rows() == [rows[1], rows[2], rows[3]]
    assert last.table.rows() == [rows[1], rows[3], rows[5]]
    assert first.n_dropped == last.n_dropped == 3


def test_keep_all_drops_nothing():
    rows = [("a", "x", 1), ("a", "x", 1)]
    kept = drop_duplicates(table(rows), "all")
    assert kept.table.rows() == rows
    assert kept.n_dropped == 0


def test_further_columns_stay_with_their_row():
    rated = table([("a", "x", 2), ("a", "x", 1)]).with_columns(rating=pl.Series([5, 3]))
    assert drop_duplicates(rated, "first").table.rows() == [("a", "x", 1, 3)]


@given(ROWS, st.sampled_from(["first", "last"]))
def test_duplicates_against_brute_force(rows: list[Row], keep: str):
    chosen: dict[tuple[str, str], tuple[int, int]] = {}
    for index, (user, item, time) in enumerate(rows):
        key = (time, index)
        old = chosen.get((user, item))
        if old is None or (key < old if keep == "first" else key > old):
            chosen[user, item] = key
    expected = [rows[index] for index in sorted(index for _, index in chosen.values())]
    kept = drop_duplicates(table(rows), keep)
    assert kept.table.rows() == expected
    assert kept.n_dropped == len(rows) - len(expected) == count_repeats(table(rows))


def test_min_rating_keeps_the_bound_itself():
    rated = table([("a", "x", 1), ("a", "y", 2), ("b", "x", 3)]).with_columns(
        rating=pl.Series([2.5, 3.0, 5.0])
    )
    kept = keep_min_rating(rated, 3.0)
    assert kept.table["rating"].to_list() == [3.0, 5.0]
    assert kept.n_dropped == 1


class Left(NamedTuple):
    rows: list[Row]
    n_dropped_by_user: int
    n_dropped_by_item: int


def core_of(rows: list[Row], min_user_inter: int = 0, min_item_inter: int = 0) -> Left:
    """What is left of rows that come in parts of two."""
    whole = table(rows).with_columns(pl.col("user_id", "item_id").cast(pl.Categorical))
    parts = [whole[start : start + 2] for start in range(0, max(len(rows), 1), 2)]
    core = k_core(lambda: parts, min_user_inter, min_item_inter)
    left = [row for part in parts for row in core.keep(part).rows()]
    return Left(left, core.n_dropped_by_user, core.n_dropped_by_item)


def test_core_goes_on_until_nothing_changes():
    # c has one row: out. Then z has one row: out. Then b has one row: out. Then x is left with a's
    # two rows and y with one: y goes, and a stays with x twice.
    rows = [
        ("a", "x", 1),
        ("a", "x", 2),
        ("a", "y", 3),
        ("b", "y", 4),
        ("b", "z", 5),
        ("c", "z", 6),
    ]
    core = core_of(rows, min_user_inter=2, min_item_inter=2)
    assert core.rows == rows[:2]
    assert (core.n_dropped_by_user, core.n_dropped_by_item) == (2, 2)


@pytest.mark.parametrize(("users", "items"), [(0, 0), (1, 1)])
def test_core_without_bounds_keeps_everything(users: int, items: int):
    rows = [("a", "x", 1), ("b", "y", 2)]
    core = core_of(rows, users, items)
    assert core.rows == rows
    assert core.n_dropped_by_user == core.n_dropped_by_item == 0


def test_core_of_one_side_only():
    rows = [("a", "x", 1), ("a", "y", 2), ("b", "x", 3)]
    assert core_of(rows, min_user_inter=2).rows == rows[:2]
    assert core_of(rows, min_item_inter=2).rows == [rows[0], rows[2]]


@given(ROWS, st.integers(0, 4), st.integers(0, 4), st.randoms(use_true_random=False))
def test_core_is_the_largest_fixed_point(
    rows: list[Row], least_user: int, least_item: int, order: random.Random
):
    core = core_of(rows, least_user, least_item)
    kept = core.rows
    users = Counter(user for user, _, _ in kept)
    items = Counter(item for _, item, _ in kept)
    assert all(count >= least_user for count in users.values())
    assert all(count >= least_item for count in items.values())
    assert kept == one_at_a_time(rows, least_user, least_item, order)
    assert len(rows) - len(kept) == core.n_dropped_by_user + core.n_dropped_by_item


def one_at_a_time(rows: list[Row], least_user: int, least_item: int, order: random.Random):
    """Takes away one offending user or item after the other, in any order."""
    while True:
        users = Counter(user for user, _, _ in rows)
        items = Counter(item for _, item, _ in rows)
        bad = [("user", user) for user, count in users.items() if count < least_user]
        bad += [("item", item) for item, count in items.items() if count < least_item]
        if not bad:
            return rows
        side, token = order.choice(bad)
        rows = [row for row in rows if row[0 if side == "user" else 1] != token]


@given(ROWS)
def test_tokens_may_be_categorical(rows: list[Row]):
    categorical = table(rows).with_columns(pl.col("user_id", "item_id").cast(pl.Categorical))
    assert count_repeats(categorical) == len(rows) - len({row[:2] for row in rows})
