"""Which column is which, and what is told of a choice that might be another."""

from pathlib import Path

import pytest

from kgrec_cli.errors import UsageError
from kgrec_cli.events import Event, Warn
from kgrec_cli.formats.raw.choice import KINDS, ColumnChoice, choose_columns, time_like_columns
from kgrec_cli.formats.raw.files import RawFile
from kgrec_cli.formats.raw.layout import detect_table
from kgrec_cli.formats.raw.tables import RawTable


def detect(tmp_path: Path, text: str) -> RawTable:
    path = tmp_path / "log.csv"
    path.write_text(text)
    return detect_table(RawFile(path), "a table", KINDS, if_unsure=True)


def told(table: RawTable, **choice: str) -> list[str]:
    events: list[Event] = []
    choose_columns(table, ColumnChoice(**choice), events.append)
    where = f"{table.file.where}: "
    return [event.text.removeprefix(where) for event in events if isinstance(event, Warn)]


def test_two_columns_of_one_role_are_told(tmp_path: Path):
    table = detect(tmp_path, "session_id,user_id,item_id\n1,u,i\n")
    line = (
        "the users are column 'user_id', the first of the names that kgrec knows; --user-col takes "
        "another ('session_id')"
    )
    assert told(table) == [line]
    assert told(table, user="session_id") == []
    assert told(table, user="user_id") == []
    table = detect(tmp_path, "user_id,parent_asin,asin,rating,stars\nu,p,a,1,2\n")
    assert told(table) == [
        "the items are column 'asin', the first of the names that kgrec knows; --item-col takes "
        "another ('parent_asin')",
        "the ratings are column 'rating', the first of the names that kgrec knows; --rating-col "
        "takes another ('stars')",
    ]


def test_columns_by_number_where_there_are_names_are_told(tmp_path: Path):
    table = detect(tmp_path, "\nuser_id,what,when\nu,i,1\n")
    assert told(table, item="2", time="3") == [
        "line 2 holds names; --item-col 2 is column 2, 'what', --time-col 3 is column 3, 'when'"
    ]
    assert told(table, item="what") == []
    assert told(detect(tmp_path, "1,2,3\n4,5,6\n"), user="1", item="2") == []


def test_a_number_that_is_a_name_is_the_name(tmp_path: Path):
    table = RawTable(RawFile(tmp_path), ("0", "1", "2"), ",", has_header=True)
    assert choose_columns(table, ColumnChoice(user="0", item="1")) == {"user_id": 0, "item_id": 1}
    assert told(table, user="0", item="1") == [
        "line 1 holds names; --user-col 0 is column 1, '0', --item-col 1 is column 2, '1'"
    ]


def test_offset_and_format_need_a_time(tmp_path: Path):
    table = detect(tmp_path, "user,item,date,clock\nu,i,2012-07-09,08:00\n")
    columns = choose_columns(table, ColumnChoice(offset="clock"))
    assert columns == {"user_id": 0, "item_id": 1, "timestamp": 2, "offset": 3}
    for choice in ({"offset": "clock"}, {"time_format": "%Y"}):
        with pytest.raises(UsageError, match="which column is the time"):
            choose_columns(table, ColumnChoice(time="none", **choice))
    with pytest.raises(UsageError, match="--offset-col: column 'date' is taken by --time-col"):
        choose_columns(table, ColumnChoice(offset="date"))


@pytest.mark.parametrize(
    ("name", "value", "looks_so"),
    [
        ("timeframe", "7200000", True),
        ("eventdate", "2012-07-09", True),
        ("createdAt", "5", True),
        ("hour", "8", True),
        ("x", "2012-07-09T08:00:00Z", True),
        ("x", "7/9/2012", True),
        ("x", "1341799200", True),
        ("x", "1341799200000", True),
        ("x", "5", False),
        ("price", "4710000000005", False),
        ("candidate", "5", False),
        ("runtime", "90", False),
        ("time", "soon", False),
    ],
)
def test_columns_that_look_like_times(tmp_path: Path, name: str, value: str, looks_so: bool):
    table = detect(tmp_path, f"user,item,{name}\nu,i,{value}\nu,i,{value}\n")
    assert time_like_columns(table, {"user_id": 0, "item_id": 1}) == ([name] if looks_so else [])
    assert time_like_columns(table, {"user_id": 0, "item_id": 1, "timestamp": 2}) == []
