"""What is doubtful about interactions, on tables where the answer is known."""

import random

import polars as pl
import pytest

from kgrec_cli.core.data import sanity
from kgrec_cli.core.data.sanity import missing_id_warnings, sanity_warnings

Row = tuple[str, str, float, float]


def warnings(rows: list[Row], *, has_times: bool = True) -> list[str]:
    schema = ["user_id", "item_id", "timestamp", "rating"]
    table = pl.DataFrame(rows, schema=schema, orient="row")
    return sanity_warnings(table, has_times=has_times)


def log(n_users: int = 20, n_events: int = 8, seed: int = 0) -> list[Row]:
    """Users with distinct times and nothing sorted but these, rows shuffled."""
    draw = random.Random(seed)
    rows = [
        (f"u{user}", f"i{draw.randrange(50)}", 1e9 + user * 1000 + place, draw.randint(1, 5))
        for user in range(n_users)
        for place in range(n_events)
    ]
    draw.shuffle(rows)
    return rows


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("n_users", [1, 2, 3, 40])
def test_a_log_with_nothing_odd_is_not_warned_of(n_users: int, seed: int):
    lines = warnings(log(n_users, seed=seed))
    assert not [line for line in lines if "u0" not in line]  # one of few users has most events
    lines = warnings(log(n_users, 3, seed=seed), has_times=False)
    assert not [line for line in lines if "sorted" in line]


@pytest.mark.parametrize(
    ("key", "reverse", "text"),
    [
        (lambda row: int(row[1][1:]), False, "by item, ascending"),
        (lambda row: int(row[1][1:]), True, "by item, descending"),
        (lambda row: row[1], False, "by item, ascending"),  # i10 before i2
        (lambda row: row[3], True, "by rating, descending"),
        (lambda row: row[3], False, "by rating, ascending"),
    ],
)
def test_rows_sorted_by_something_else_than_time(key, reverse: bool, text: str):
    rows = sorted(log(), key=key, reverse=reverse)
    (line,) = warnings(rows, has_times=False)
    assert text in line
    last = "lowest" if reverse else "highest"
    assert f"the last event is the user's {last} {text[3:].split(',')[0]}" in line
    assert warnings(rows) == []  # their times are in order, whatever the rows'


@pytest.mark.parametrize(("n_unsorted", "is_said"), [(0, True), (4, True), (5, False)])
def test_nearly_all_users_are_nine_in_ten(n_unsorted: int, is_said: bool):
    rows = sorted(log(40), key=lambda row: row[1])
    unsorted = [row for row in rows if int(row[0][1:]) < n_unsorted]
    others = [row for row in rows if row not in unsorted]
    assert len(warnings(unsorted[::-1] + others, has_times=False)) == is_said


def test_names_sorted_whatever_their_case():
    rows = sorted(log(), key=lambda row: row[1])
    rows = [
        (
            user,
            (str.upper if place % 2 else str.lower)(f"{'abcdef'[int(item[-1]) % 6]}{item}x"),
            time,
            3,
        )
        for place, (user, item, time, _) in enumerate(rows)
    ]
    assert len(warnings(sorted(rows, key=lambda row: row[1].lower()), has_times=False)) == 1


def test_times_that_follow_the_items_are_asked_about():
    rows = [(f"u{n % 9}", f"i{n:03}", n, 1) for n in range(90)]
    assert warnings(rows) == [
        "within nearly every user the events stand sorted by item, ascending: are the times an "
        "order of something else?"
    ]


def test_most_events_at_their_predecessor_s_time():
    days = [
        (user, item, (float(time) - 1e9) // 4 * 86_400, rating)
        for user, item, time, rating in log()
    ]
    (line,) = warnings(days)
    assert line == (
        "times are dates only: 120 of 160 events (75%) have their user's previous time, so the "
        "file's order decides between them"
    )
    (line,) = warnings([(user, item, 86_400.0, rating) for user, item, _, rating in days])
    assert line.startswith("all times are the same: ")
    assert "140 of 160 events (all but each first)" in line
    halves = [(user, item, float(time) // 2, rating) for user, item, time, rating in log()]
    assert warnings(halves) == []  # 80 of 160: not most


@pytest.mark.parametrize(("n_tied", "is_said"), [(85, False), (96, False), (97, True)])
def test_of_times_that_are_no_dates_six_in_ten_are_most(n_tied: int, is_said: bool):
    rows = [("u0" if n < 80 else "u1", f"i{n * 7 % 31}", n, 1) for n in range(160)]
    rows = [
        (u, i, max(t, n_tied // 2 + 80 * (u == "u1") + (u == "u1") * (n_tied % 2)), r)
        for u, i, t, r in rows
    ]
    lines = [line for line in warnings(rows) if "previous time" in line]
    assert lines == (
        [
            f"{n_tied} of 160 events (61%) have their user's previous time, so the file's order "
            "decides between them"
        ]
        if is_said
        else []
    )


def test_within_a_date_the_events_may_be_sorted_too():
    days = [(user, item, (time - 1e9) // 4 * 86_400, rating) for user, item, time, rating in log()]
    lines = warnings(sorted(days, key=lambda row: row[1]))
    assert "within nearly every user and time the events stand sorted by item" in lines[1]


def test_two_units_in_one_column():
    rows = [
        (user, item, time * (1000 if n % 3 == 0 else 1), 1)
        for n, (user, item, time, _) in enumerate(log())
    ]
    assert warnings(rows) == [
        "the times are seconds (106 events) and milliseconds (54 events): those of finer units "
        "sort behind all others"
    ]


def test_one_user_or_item_with_most_of_the_events():
    rows = [("u" if n < 6 else f"u{n}", "i" if n > 4 else f"i{n}", n, 1) for n in range(10)]
    assert warnings(rows) == [
        "user 'u' has 6 of 10 interactions (60%): is its column that of the users?"
    ]
    rows = [("u" if n < 5 else f"u{n}", "i" if n > 3 else f"i{n}", n, 1) for n in range(10)]
    assert warnings(rows) == [
        "item 'i' has 6 of 10 interactions (60%): is its column that of the items?"
    ]


def test_ids_for_missing_values():
    users = ["NA", "n/a", " nan ", "NULL", "None", r"\N", "Nana", "0", "-", "a"]
    table = pl.DataFrame({"user_id": users, "item_id": ["i"] * 9 + ["null"]})
    user, item = missing_id_warnings(table)
    assert user.startswith(
        "' nan ' in 1, 'NA' in 1, 'NULL' in 1 and 3 more texts of 10 rows (60%) as user"
    )
    assert item.startswith("'null' in 1 of 10 rows (10%) as item stands for a missing value")


def test_a_large_log_is_checked_by_some_of_its_users(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sanity, "CHECKED_ROWS", 500)
    rows = sorted(log(400), key=lambda row: row[1])
    assert "sorted by item" in warnings(rows, has_times=False)[0]
