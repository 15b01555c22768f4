"""What the order in time rests on, and ids that stand for a missing value."""

import json
from pathlib import Path

import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Warn
from kgrec_cli.formats.raw.choice import ColumnChoice
from tests.stages.prepare.conftest import RATINGS, Prepare, texts, write_raw

DATES = "session_id,user_id,item_id,timeframe,eventdate\n" + "".join(
    f"s{n % 6},NA,i{n * 7 % 11},{(n * 13 % 31) * 1000},2012-07-{9 + n % 6:02}\n" for n in range(30)
)


def test_what_the_time_order_rests_on_is_kept(
    prepare: Prepare, tmp_path: Path, events: list[Event]
):
    (tmp_path / "log.csv").write_text(DATES)
    choice = ColumnChoice(user="session_id", time="eventdate")
    report = prepare(raw_path=tmp_path / "log.csv", columns=choice).report
    line = (
        "log.csv: times are dates only: 24 of 30 events (all but each first) have their user's "
        "previous time, so the file's order decides between them; is 'timeframe' the time "
        "(--time-col), or the time of day (--offset-col)?"
    )
    assert Warn(f"{tmp_path}/{line}", on_results=True) in events
    assert report["warnings"] == report["warnings_on_results"] == [line]
    assert report["time"] == {"column": "eventdate", "same_as_previous": 24}
    assert report == json.loads((tmp_path / "work/dataset/toy/prepare.json").read_text())

    choice = ColumnChoice(user="session_id", time="eventdate", offset="timeframe")
    report = prepare(raw_path=tmp_path / "log.csv", columns=choice).report
    assert report["warnings"] == []
    assert report["options"]["columns"]["offset"] == "timeframe"
    first = texts(prepare(raw_path=tmp_path / "log.csv", columns=choice))["toy.inter"].splitlines()[
        1
    ]
    assert first == "s0\ti0\t1341792000"


def test_without_a_time_column_the_likely_one_is_named(prepare: Prepare, tmp_path: Path):
    (tmp_path / "log.csv").write_text(DATES.replace("NA", "u"))
    report = prepare(raw_path=tmp_path / "log.csv").report
    assert report["warnings"] == [
        "log.csv: the users are column 'user_id', the first of the names that kgrec knows; "
        "--user-col takes another ('session_id')",
        "log.csv: no time column: the file's order is taken for the order in time; is 'timeframe' "
        "or 'eventdate' the time (--time-col)?",
        "log.csv: user 'u' has 30 of 30 interactions (100%): is its column that of the users?",
    ]
    assert report["warnings_on_results"] == report["warnings"][1:]
    assert report["time"] == {"column": None, "same_as_previous": None}


def test_of_two_times_one_is_taken_by_name_and_that_is_said(prepare: Prepare, tmp_path: Path):
    (tmp_path / "log.csv").write_text(
        "user,item,day_time,time\nu,i,2012-07-09,5\nu,j,2012-07-10,6\n"
    )
    report = prepare(raw_path=tmp_path / "log.csv").report
    assert report["warnings"] == [
        "log.csv: the time is 'time', by its name; --time-col takes 'day_time'"
    ]
    assert report["warnings_on_results"] == []


def test_rows_dropped_for_a_missing_id_are_accounted_for(prepare: Prepare, tmp_path: Path):
    (tmp_path / "log.csv").write_text("user,item,time\nNA,i,1\nu,i,2\nu,j,3\nv,null,1\n")
    interactions = prepare(raw_path=tmp_path / "log.csv", on_missing_id="skip").report[
        "interactions"
    ]
    assert interactions["dropped"]["missing_ids"] == 2
    assert interactions["read"] == sum(interactions["dropped"].values()) + interactions["kept"]


def test_a_missing_id_in_a_movielens_set(prepare: Prepare, raw_dir: Path):
    write_raw(raw_dir, ratings=[*RATINGS, "NA::10::5::978300019"])
    with pytest.raises(KgrecError, match=r"column user_id: 'NA' in 1 of 7 rows \(14%\) stands for"):
        prepare()
    assert prepare(on_missing_id="skip").report["interactions"]["dropped"]["missing_ids"] == 1
