"""Times: numbers and dates of many forms, all in the order that they mean."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.formats.raw.times import add_offsets, parse_times


def times(*texts: str, time_format: str | None = None) -> list[int | float | None]:
    return parse_times(pl.Series(texts, dtype=pl.String), "log, column t", time_format).to_list()


def test_whole_times_are_exact():
    largest = str(2**63 - 1)
    assert times(largest, "-5", "0") == [2**63 - 1, -5, 0]
    assert times("3.0", "9007199254740993") == [3, 9007199254740993]
    assert times("1e3", "7") == [1000, 7]


def test_times_out_of_range_are_unreadable():
    assert times("1", str(2**63)) == [1, None]
    assert times("1.5", "9007199254740993", "2") == [1.5, None, 2.0]
    assert times("1", "inf", "nan", "1e400", "", "x") == [1, None, None, None, None, None]


def test_iso_dates_become_seconds():
    assert times(
        "2020-01-01", "2020-01-01T10:00", "2020-01-01 10:00:05Z", "2020-01-01T12:00:00+02:00",
        "2020-01-01T05:30:00-0430", "2020-13-01", "soon", "",
    ) == [1577836800, 1577872800, 1577872805, 1577872800, 1577872800, None, None, None]  # fmt: skip
    assert times("2020-01-01 00:00:00.25", "2020-01-01") == [1577836800.25, 1577836800.0]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1))
def test_any_whole_number_reads_back(numbers: list[int]):
    assert times(*map(str, numbers)) == numbers


@given(st.lists(st.floats(-(2.0**52), 2.0**52), min_size=1))
def test_any_fraction_reads_back(numbers: list[float]):
    assert times(*map(repr, numbers)) == numbers


NINE = 1333476009  # Tuesday, 3 April 2012, 18:00:09 UTC
DAY = 86_400


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("Tue Apr 03 18:00:09 +0000 2012", NINE),
        ("Tue Apr  3 20:00:09 +0200 2012", NINE),
        ("Tue Apr  3 18:00:09 2012", NINE),
        ("Tue, 03 Apr 2012 18:00:09 GMT", NINE),
        ("03/Apr/2012:18:00:09 +0000", NINE),
        ("3 April 2012 6:00:09 PM", NINE),
        ("April 3, 2012, 18:00:09", NINE),
        ("apr 3rd 2012 18:00:09", NINE),
        ("2012-04-03T18:00:09Z", NINE),
        ("2012-4-3 18:00:09", NINE),
        ("2012/04/03 18:00:09", NINE),
        ("20120403T180009Z", NINE),
        ("2012-04-03 18:00:09 +02", NINE - 7200),
        ("2012-04-03 18", NINE - 9),
        ("2012-04-03", NINE - 9 - 18 * 3600),
        ("4/13/2012 6:00:09 PM", NINE + 10 * DAY),
        ("13/4/2012 18:00:09", NINE + 10 * DAY),
        ("13.04.2012 18:00:09", NINE + 10 * DAY),
        ("04 13, 2012", NINE + 10 * DAY - 9 - 18 * 3600),
        ("4/13/2012 12:00:09 AM", NINE + 10 * DAY - 18 * 3600),
        ("4/13/2012 12:00:09 p.m.", NINE + 10 * DAY - 6 * 3600),
        ("4/4/2012 18:00:09", NINE + DAY),  # whichever is the month
    ],
)
def test_dates_that_can_be_read_in_one_way(text: str, seconds: int):
    assert times(text) == [seconds]


def test_one_row_tells_the_order_of_day_and_month_for_all():
    assert times("1/2/2012", "1/13/2012") == [1325462400, 1326412800]
    assert times("1/2/2012", "13/1/2012") == [1328054400, 1326412800]


def test_dates_that_can_be_read_in_two_ways_are_an_error_with_both_formats():
    with pytest.raises(KgrecError) as caught:
        times("11/1/2000 9:05 AM", "", "1/2/2000 10:05 PM")
    assert str(caught.value) == (
        "log, column t: '11/1/2000 9:05 AM' may be day/month or month/day, and no row tells: say "
        "it by --time-format, for instance '%d/%m/%Y %I:%M %p' or '%m/%d/%Y %I:%M %p'"
    )
    assert times("11/1/2000 9:05 AM", time_format="%d/%m/%Y %I:%M %p") == [947581500]
    assert times("11/1/2000 9:05 AM", time_format="%m/%d/%Y %I:%M %p") == [973069500]


def test_dates_of_two_orders_are_an_error():
    with pytest.raises(KgrecError, match=r"'13/1/2012' has the day first, '1/14/2012' the month"):
        times("1/2/2012", "13/1/2012", "1/14/2012")


def test_what_is_no_date_is_unreadable():
    assert times("2012-02-30", "2012-04-03 25", "2012-04-03") == [None, None, 1333411200]
    assert times("4/31/2012", "4/13/2012 13:00 PM", "4/13/2012 9:60 AM", "4/13/2012") == [
        None, None, None, 1334275200
    ]  # fmt: skip


def test_a_column_is_numbers_or_dates_whichever_are_more():
    assert times("1", "2", "2012-04-03") == [1, 2, None]
    assert times("1", "2012-04-03", "2012-04-03") == [None, 1333411200, 1333411200]
    assert times("x", "", "Mai 2012") == [None, None, None]


def test_a_format_of_one_s_own():
    found = times("3.4.12 18h", "x", "4.4.12 00h", time_format="%d.%m.%y %Hh")
    assert found == [1333476000, None, 1333497600]
    assert times("2012 +0200", "", time_format="%Y %z") == [1325368800, None]
    assert times("2012.5", time_format="%Y.%f") == [1325376000.5]
    with pytest.raises(UsageError, match="--time-format '%Q': 'Q' is a bad directive"):
        times("2012", time_format="%Q")
    with pytest.raises(UsageError, match="--time-format '%Y %Y': redefinition of group name"):
        times("2012", time_format="%Y %Y")


def offsets(days: list[int], *texts: str) -> tuple[list[int | None], str]:
    found, unit = add_offsets(pl.Series(days), pl.Series(texts, dtype=pl.String), "log")
    return found.to_list(), unit


def test_a_day_and_the_time_within_it():
    day = 1341792000  # 2012-07-09
    assert offsets([day, day], "7200000", "1") == ([1341799200000, 1341792000001], "milliseconds")
    assert offsets([day, day], "7200", "86399") == ([1341799200, 1341878399], "seconds")
    assert offsets([day, day], "08:00:01", "8:05 PM") == ([1341820801, 1341864300], "seconds")
    assert offsets([3, 4], "7200", "-1") == ([3 * DAY + 7200, None], "seconds")
    assert offsets([day, day], "x", "25:00") == ([None, None], "seconds")
    with pytest.raises(KgrecError, match="expected a date or the number of a day"):
        offsets([2**60 + 1], "1")


@given(st.lists(st.tuples(st.integers(0, 20_000), st.integers(0, 10**12)), min_size=2, max_size=2))
def test_days_and_offsets_keep_their_order(rows: list[tuple[int, int]]):
    """An offset beyond the day at hand is of a finer unit: none reaches into the next day."""
    found, _ = offsets([day for day, _ in rows], *(str(offset) for _, offset in rows))
    largest = max(offset for _, offset in rows)
    unit = next(10**power for power in (0, 3, 6, 9) if largest < 86_400 * 10**power)
    assert found == [day * 86_400 * unit + offset for day, offset in rows]
