"""Tables of interactions: which column is which, numbers and times, bad rows."""

import datetime as dt
import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.formats.raw.choice import ColumnChoice
from kgrec_cli.formats.raw.interactions import RawInteractions, read_raw_interactions


def read(
    path: Path, text: str | bytes, on_bad_row: str = "error", **columns: str
) -> RawInteractions:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_raw_interactions(path, ColumnChoice(**columns), on_bad_row=on_bad_row)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.csv"


@pytest.mark.parametrize(
    "text",
    [
        "user_id,item_id,rating,timestamp\nu,i,3,5\n",
        "timestamp\trating\titem\tuser\n5\t3\ti\tu\n",
        "userId;movieId;score;time\nu;i;3;5\n",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu\ti\t3.0\t5.0\n",
        'USER,"Item ID",Stars,ts,text\nu,i,3,5,"a, ""b"""\n',
        "user item rating timestamp\nu i 3 5\n",
        "user|item|rating|timestamp\nu|i|3|5",
        "﻿user,item,rating,timestamp\r\nu,i,3,5\r\n",
        "user::item::rating::timestamp\nu::i::3::5\n",
        "user , item , rating , timestamp\n u , i , 3 , 5 \n",
    ],
)
def test_common_names_are_found(path: Path, text: str):
    assert read(path, text).table.rows() == [("u", "i", 3, 5)]


def test_columns_by_name_and_by_number(path: Path):
    text = "who,what,how much,when\nu,i,3,5\n"
    by_name = read(path, text, user="who", item="what", rating="how much", time="when")
    assert by_name.table.rows() == [("u", "i", 3, 5)]
    assert by_name.columns["rating"] == "how much"
    by_number = read(path, "1,2,3,4\n5,6,7,8\n", user="2", item="1", time="4")
    assert by_number.table.rows() == [("2", "1", 4), ("6", "5", 8)]


def test_without_times_the_file_orders(path: Path):
    table = read(path, "user,item,date\nu,a,5\n\nv,b,4\n", time="none").table
    assert table.rows() == [("u", "a", 0), ("v", "b", 1)]


def test_ratings_can_be_left_out(path: Path):
    text = "user,item,rating\nu,i,good\n"
    assert read(path, text, rating="none").table.columns == ["user_id", "item_id", "timestamp"]


def test_latin_1(path: Path):
    assert read(path, "user,item\né,ü\n".encode("latin-1")).table.rows() == [("é", "ü", 0)]


def test_a_file_longer_than_the_sample_that_is_looked_at(path: Path):
    """The sample of 256 KiB ends within the first character of a row."""
    header = "Käufer,itemid\n".encode()
    row = "é,ü\n".encode()
    assert (2**18 - len(header)) % len(row) == 1
    rows = read(path, header + row * 50_000, user="Käufer", item="itemid")
    assert rows.table["user_id"].unique().to_list() == ["é"]
    assert rows.table.height == 50_000


def test_quotes_that_are_mere_text(path: Path):
    text = 'user,item,text\nu,i,5" disk" is "odd\nv,j,"\n'
    assert read(path, text).table["user_id"].to_list() == ["u", "v"]


def test_ids_keep_their_zeros_and_lose_their_line_ends(path: Path):
    table = read(path, 'user,item\n007,"a\nb"\n07,c\n').table
    assert table["user_id"].to_list() == ["007", "07"]
    assert table["item_id"].to_list() == ["a b", "c"]


def test_bad_rows_are_set_aside_with_their_lines(path: Path):
    text = (
        "user,item,rating,time\n"
        "u,a,1,1\n"
        'v,"x\ny",2,2\n'  # two lines
        "\n"
        "u,b,abc,3\n"
        "u,b\n"
        ",c,1,4\n"
        "u,d,5,5,6\n"
        "u,e,nan,5\n"
        "u,f,3,nan\n"
        "u,g,3,6\n"
    )
    rows = read(path, text, "skip")
    assert rows.table["item_id"].to_list() == ["a", "x y", "g"]
    assert rows.n_rows == 9
    assert rows.bad_rows.select("line", "column", "found").rows() == [
        (6, "rating", "'abc'"),
        (7, "", "2 columns"),
        (8, "user", "nothing"),
        (9, "", "5 columns"),
        (10, "rating", "'nan'"),
        (11, "time", "'nan'"),
    ]
    assert rows.bad_rows["row"].to_list()[1] == "u,b"
    with pytest.raises(KgrecError, match=r"log\.csv, line 6, column rating.*6 bad rows in all"):
        read(path, text)


def test_when_every_row_is_bad_skipping_does_not_help(path: Path):
    with pytest.raises(KgrecError, match="all 2 rows are bad, so check which column is which"):
        read(path, "user,item,rating\nu,i,good\nu,i,bad\n", "skip")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("\n", "empty"),
        ("user,item\n", "holds no rows"),
        ("hello\n", "found 'hello', expected columns separated by"),
        ("a,b\n1,2\n", "no column of users or items among a, b: name it by --user-col and --item"),
        ("user,b\n1,2\n", "no column of items among user, b: name it by --item-col"),
        ("1,2,3\n", r"no header \(line 1 is '1,2,3'\): say by number"),
        (b"PK\x03\x04rest", "not a whole zip file"),
        (gzip.compress(b"user,item\nu,i\n" * 999, mtime=0)[:60], "damaged or cut short"),
    ],
)
def test_what_is_no_table(path: Path, text: str | bytes, message: str):
    with pytest.raises(KgrecError, match=message) as caught:
        read(path, text)
    assert "log.csv" in str(caught.value)


def test_a_column_that_is_not_there(path: Path):
    with pytest.raises(UsageError, match="--time-col: unknown column 'wen': did you mean 'when'"):
        read(path, "user,item,when\nu,i,1\n", time="wen")
    with pytest.raises(UsageError, match="--time-col: column 'item' is taken by --item-col"):
        read(path, "user,item\nu,i\n", time="item")


def test_a_missing_file(tmp_path: Path):
    with pytest.raises(KgrecError, match="no such file"):
        read_raw_interactions(tmp_path / "x.csv", ColumnChoice())


def test_parquet(tmp_path: Path):
    path = tmp_path / "log.parquet"
    pl.DataFrame(
        {
            "user": [1.0, 2.0, None],  # pandas makes floats of ids when one is missing
            "item": ["a", "b", "c"],
            "rating": [2.5, 3.0, 1.0],
            "time": [dt.datetime(2020, 1, 1), dt.datetime(2020, 1, 2), dt.datetime(2020, 1, 3)],
        }
    ).write_parquet(path)
    rows = read_raw_interactions(path, ColumnChoice(), on_bad_row="skip")
    assert rows.table.rows() == [("1", "a", 2.5, 1577836800), ("2", "b", 3.0, 1577923200)]
    assert rows.bad_rows["line"].to_list() == [3]
    with pytest.raises(KgrecError, match=r"log\.parquet: cannot be read"):
        read(path, path.read_bytes()[:99])


def test_parquet_times_finer_than_seconds_are_kept(tmp_path: Path):
    path = tmp_path / "log.parquet"
    moments = [dt.datetime(2020, 1, 1, 0, 0, 0, microsecond) for microsecond in (0, 1, 999_999)]
    pl.DataFrame({"user": ["u"] * 3, "item": ["i"] * 3, "time": moments}).write_parquet(path)
    times = read_raw_interactions(path, ColumnChoice()).table["timestamp"]
    assert times.to_list() == [1577836800, 1577836800.000001, 1577836800.999999]


@given(
    st.lists(
        st.tuples(
            st.text("ab'é ,;\"0", min_size=1).filter(str.strip),
            st.text('xy"z,', min_size=1),
            st.integers(-9, 9),
        ),
        min_size=1,
    )
)
def test_what_polars_writes_reads_back(tmp_path_factory: pytest.TempPathFactory, rows):
    path = tmp_path_factory.mktemp("tables") / "log.csv"
    written = pl.DataFrame(rows, schema=["user", "item", "time"], orient="row")
    written.write_csv(path)
    expected = [(user.strip(), item.strip(), time) for user, item, time in rows]
    assert read_raw_interactions(path, ColumnChoice()).table.rows() == expected


@pytest.mark.real_data
def test_real_log_in_time_order(real_data_dir: Path):
    path = real_data_dir / "ml-1m" / "interactions_ordered.tsv.gz"
    table = read_raw_interactions(path, ColumnChoice()).table
    assert table.height == 1_000_209
    assert table["user_id"].n_unique() == 6040
    assert table["timestamp"].is_sorted()
