"""Ids for a missing value stop, are dropped or kept, as is asked; quoted ones are ids."""

from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Warn
from kgrec_cli.formats.raw.choice import ColumnChoice
from kgrec_cli.formats.raw.interactions import RawInteractions, read_raw_interactions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.csv"


def read(
    path: Path,
    text: str,
    on_missing_id: str = "error",
    events: list[Event] | None = None,
    **options,
) -> RawInteractions:
    path.write_text(text)
    return read_raw_interactions(
        path,
        ColumnChoice(),
        on_missing_id=on_missing_id,
        on_event=[].append if events is None else events.append,
        **options,
    )


SESSIONS = "session_id,user_id,item_id,time\n1,NA,i,1\n1,NA,j,2\n2,u,i,1\n3, na ,i,1\n"


def test_the_error_names_text_count_share_and_the_likely_column(path: Path):
    with pytest.raises(KgrecError) as caught:
        read(path, SESSIONS)
    assert str(caught.value) == (
        f"{path}, column user_id: 'NA' in 2 and 'na' in 1 of 4 rows (75%) stands for a missing "
        "value; is 'session_id' the user (--user-col)? else --missing-ids skip drops these rows, "
        "keep takes it for the user's id"
    )


def test_no_column_is_named_that_has_gaps_itself(path: Path):
    with pytest.raises(KgrecError) as caught:
        read(path, SESSIONS.replace("2,u", "NULL,u"))
    assert "session_id" not in str(caught.value)


@pytest.mark.parametrize("mark", ["NA", "nan", "NaN", "NULL", "None", r"\N", "<NA>", "#N/A", "n/a"])
@pytest.mark.parametrize("column", ["user", "item"])
def test_every_text_for_a_missing_value(path: Path, mark: str, column: str):
    row = f"{mark},i" if column == "user" else f"u,{mark}"
    with pytest.raises(KgrecError) as caught:
        read(path, f"user,item\nv,j\n{row}\n")
    assert f"column {column}: '{mark}' in 1 of 2 rows (50%)" in str(caught.value)


@pytest.mark.parametrize("token", ["Nana", "0", "-", "unknown", "NAN1", "no ne"])
def test_other_texts_are_ids(path: Path, token: str):
    assert read(path, f"user,item\nv,j\n{token},i\n").table["user_id"].to_list() == ["v", token]


def test_rows_are_dropped_only_when_asked(path: Path):
    events: list[Event] = []
    rows = read(path, SESSIONS, "skip", events)
    assert rows.table.rows() == [("u", "i", 1)]
    assert (rows.n_rows, rows.n_missing, rows.bad_rows.height) == (4, 3, 0)
    warnings = [event for event in events if isinstance(event, Warn)]
    assert "'NA' in 2 and 'na' in 1 of 4 rows (75%)" in warnings[1].text
    assert "dropped" in warnings[1].text
    with pytest.raises(KgrecError, match="--missing-ids skip leaves no row"):
        read(path, "user,item\nNA,i\n", "skip")


def test_what_is_kept_is_warned_of_for_good(path: Path):
    events: list[Event] = []
    rows = read(path, SESSIONS, "keep", events)
    assert rows.table["user_id"].to_list() == ["NA", "NA", "u", "na"]
    assert [event.on_results for event in events if isinstance(event, Warn)] == [False, True]


def test_a_missing_id_is_no_bad_row_and_an_empty_one_is(path: Path):
    text = "user,item,time\nNA,i,x\n,j,1\nu,j,2\n"
    rows = read(path, text, "skip", on_bad_row="skip")
    assert rows.bad_rows.select("line", "column").rows() == [(3, "user")]
    assert rows.n_missing == 1
    assert rows.table.rows() == [("u", "j", 2)]


def test_an_empty_user_asks_for_the_other_column_as_well(path: Path):
    text = SESSIONS.replace("NA", "").replace("na", "")
    with pytest.raises(KgrecError) as caught:
        read(path, text)
    assert str(caught.value) == (
        f"{path}, line 2, column user_id: found nothing, expected the user's id (3 bad rows in "
        "all; is 'session_id' the user (--user-col)? else --on-bad-row skip sets bad rows aside)"
    )
    with pytest.raises(KgrecError, match=r"all 4 rows are bad; is 'session_id' the user"):
        read(path, text.replace(",u,", ",,"))


@pytest.mark.parametrize(
    ("text", "users"),
    [
        ('user,item\n"NA",i\nb,"x, ""NA"",y"\n', ["NA", "b"]),
        ('"user","item"\n"NA","i"\n"null","j"\n', ["NA", "null"]),
        ('item,user\n"a\nb,NA","NA"\n"c","None"\n', ["NA", "None"]),
    ],
)
def test_quoted_fields_are_ids(path: Path, text: str, users: list[str]):
    assert read(path, text).table["user_id"].to_list() == users


def test_only_what_is_not_quoted_is_missing(path: Path):
    text = 'item,user\n"a,\nNA","NA"\nb,NA\n"c",""\n"d","NA"\n'
    rows = read(path, text, "skip", on_bad_row="skip")
    assert rows.table["item_id"].to_list() == ["a, NA", "d"]
    assert (rows.n_missing, rows.bad_rows.height) == (1, 1)


def test_texts_in_parquet(tmp_path: Path):
    path = tmp_path / "log.parquet"
    pl.DataFrame({"user": ["nan", None, "u"], "item": ["i"] * 3}).write_parquet(path)
    with pytest.raises(KgrecError, match=r"column user: 'nan' in 1 of 3 rows \(33%\)"):
        read_raw_interactions(path, ColumnChoice())
