"""A log in several files, and a log in a folder or zip beside other files."""

import gzip
import zipfile
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.events import Event, Note, Warn
from kgrec_cli.formats.raw.interactions import ColumnChoice, read_raw_interactions
from kgrec_cli.formats.raw.layout import detect_table
from kgrec_cli.formats.raw.logs import find_log
from kgrec_cli.formats.raw.movielens import find_movielens


def lay_out(folder: Path, **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name.replace("__", "-").replace("_", ".")).write_text(text)
    return folder


def read(path: Path, *columns: str) -> list[tuple[object, ...]]:
    return read_raw_interactions(path, ColumnChoice(*columns)).table.rows()


HEADER = "user,item,time\n"
ROWS = [("a", "x", 1), ("b", "y", 2), ("c", "z", 3)]


def test_a_folder_of_parquet_parts_as_spark_writes_it(tmp_path: Path):
    for number, (user, item, time) in enumerate(ROWS):
        table = pl.DataFrame({"user": [user], "item": [item], "time": [time]})
        table.write_parquet(tmp_path / f"part-{number:05}-3f2a-c000.snappy.parquet")
    empty = pl.DataFrame(schema={"user": pl.String, "item": pl.String, "time": pl.Int64})
    empty.write_parquet(tmp_path / "part-00003-3f2a-c000.snappy.parquet")
    for name in ("_SUCCESS", "._SUCCESS.crc", ".part-00000-3f2a-c000.snappy.parquet.crc"):
        (tmp_path / name).write_bytes(b"crc\0")
    assert read(tmp_path) == ROWS
    assert read(tmp_path / "part-*.parquet") == ROWS
    assert len(find_log(tmp_path).files) == 4


@pytest.mark.parametrize(
    ("first", "second", "third"),
    [
        (HEADER + "a,x,1\n", HEADER + "b,y,2\n", HEADER + "c,z,3\n"),  # each its header
        (HEADER + "a,x,1\n", "b,y,2\n", "c,z,3\n"),  # cut after lines: one has it
        (HEADER + "a,x,1\n", "", "b,y,2\nc,z,3\n"),  # an empty part
    ],
)
def test_csv_parts(tmp_path: Path, first: str, second: str, third: str):
    folder = lay_out(tmp_path / "log", p__9_csv=first, p__10_csv=second, p__11_csv=third)
    assert read(folder) == ROWS
    assert read(folder / "p-*") == ROWS
    with zipfile.ZipFile(tmp_path / "log.zip", "w") as archive:
        for path in folder.iterdir():
            archive.write(path, f"log/{path.name}")
    assert read(tmp_path / "log.zip") == ROWS
    for path in folder.iterdir():
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert read(folder) == ROWS


def test_parts_without_a_header_lose_no_row(tmp_path: Path):
    """Alone, "anna,emma" might be a header; the parts have different first lines."""
    lay_out(tmp_path, a_csv="anna,emma\nberta,emma\n", b_csv="carla,ulysses\n")
    users = ["anna", "berta", "carla"]
    assert [row[0] for row in read(tmp_path, "1", "2")] == users


def test_json_parts_may_have_different_names(tmp_path: Path):
    lay_out(tmp_path, a_json='{"user": "a", "item": "x"}\n')
    lay_out(tmp_path, b_json='{"item": "y", "time": 2, "user": "b"}\n')
    assert read(tmp_path, "user", "item", "none", "none") == [("a", "x", 0), ("b", "y", 1)]
    first, *parts = find_log(tmp_path).files
    table = detect_table(first, "rows", ["user"], if_unsure=True, parts=parts)
    assert (table.names, table.sample) == (("user", "item", "time"), [["a", "x", ""]])


def test_a_bad_row_of_a_part_is_named_with_its_file(tmp_path: Path):
    lay_out(tmp_path, a_csv=HEADER + "a,x,1\n", b_csv=HEADER + "b,y,2\nb,,2\n")
    with pytest.raises(KgrecError, match=r"b\.csv, line 3, column item: found nothing"):
        read(tmp_path)
    rows = read_raw_interactions(tmp_path, ColumnChoice(), on_bad_row="skip")
    assert rows.bad_rows.select("file", "line", "row").rows() == [
        (str(tmp_path / "b.csv"), 3, "b,,2")
    ]


def test_ids_are_settled_over_all_parts(tmp_path: Path):
    lay_out(tmp_path, a_csv="user,item\n1.0,2\n", b_csv="user,item\nx,3\n")
    assert [row[0] for row in read(tmp_path)] == ["1.0", "x"]


def test_a_part_of_one_row_has_the_separator_of_the_others(tmp_path: Path):
    lay_out(tmp_path, a_csv="user,item\na,x\n", b_csv="b,y;z;w;v\n")
    assert read(tmp_path) == [("a", "x", 0), ("b", "y;z;w;v", 1)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("user,item\na,x\n", "item,title\nx,Heat\n"),
        ("user,item\na,x\n", "user,item,time\na,x,1\n"),
        ("user,item\na,x\n", "user\titem\na\tx\n"),
        ('{"user": 1, "item": 2}\n', "user,item\na,x\n"),
    ],
)
def test_different_tables_are_no_log(tmp_path: Path, first: str, second: str):
    lay_out(tmp_path, a_csv=first, b_csv=second)
    with pytest.raises(KgrecError, match=r"a\.csv .* and .*b\.csv .* are different tables; give"):
        read(tmp_path)


def test_one_table_beside_a_readme(tmp_path: Path):
    lay_out(tmp_path, README_txt="words", log_tsv="user\titem\na\tx\n", LICENSE="words")
    assert read(tmp_path) == [("a", "x", 0)]
    lay_out(tmp_path, b_json="{}")
    with pytest.raises(KgrecError, match=r"several kinds \(b\.json, log\.tsv\); give the inter"):
        read(tmp_path)


def test_a_folder_of_recbole_and_one_of_movielens_with_another_header(tmp_path: Path):
    folder = lay_out(
        tmp_path / "x",
        x_inter="user_id:token\titem_id:token\na\tx\n",
        x_item="item_id:token\tmovie_title:token_seq\nx\tHeat\n",
        x_kg="head_id:token\trelation_id:token\ttail_id:token\n",
    )
    assert read(folder) == [("a", "x", 0)]
    assert find_log(folder).item_list is not None
    folder = lay_out(
        tmp_path / "ml",
        ratings_csv="user_id;movie_id;score;ts\n1;2;3.5;4\n",
        movies_csv="movieId,title,genres\n2,Heat,Drama\n",
    )
    assert find_movielens(folder) is None
    assert read(folder) == [("1", "2", 3.5, 4)]
    assert find_log(folder).item_list.name == "movies.csv"  # type: ignore[union-attr]
    lay_out(folder, ratings_csv="a;b;c\n1;2;3\n")
    with pytest.raises(KgrecError, match=r"ratings\.csv: no column of users or items among a, b, c"
                       ": name it by --user-col and --item-col"):  # fmt: skip
        read(folder)
    assert read(folder, "a", "b") == [("1", "2", 0)]


def test_parts_with_the_header_of_movielens_are_one_log(tmp_path: Path):
    header = "userId,movieId,rating,timestamp\n"
    lay_out(tmp_path, part__0_csv=header + "1,2,3,4\n", part__1_csv=header + "5,6,1,8\n")
    assert find_movielens(tmp_path) is None
    assert read(tmp_path) == [("1", "2", 3, 4), ("5", "6", 1, 8)]


def test_a_header_of_numbers_is_said(tmp_path: Path):
    events: list[Event] = []
    path = lay_out(tmp_path, log_csv="0,1,2\nu,i,5\n") / "log.csv"
    columns = ColumnChoice("0", "1", "none", "none")
    table = read_raw_interactions(path, columns, on_event=events.append).table
    assert table.rows() == [("u", "i", 0)]
    assert Note(f"{path}, line 1: '0 1 2' is read as the header") in events
    path.write_text("0,1,2\n0,2,2\n1,3,5\n")
    table = read_raw_interactions(path, columns, on_event=events.append).table
    assert table["item_id"].to_list() == ["2", "3"]
    said = f"{path}, line 1: '0 1 2' is read as the header; or is it the first row?"
    assert Warn(said) in events


def test_a_column_in_the_names_of_folders_is_said(tmp_path: Path):
    lay_out(tmp_path / "date=2020-01-01", a_csv=HEADER + "a,x,1\n")
    lay_out(tmp_path / "date=2020-01-02", a_csv=HEADER + "b,y,2\n")
    events: list[Event] = []
    read_raw_interactions(tmp_path, ColumnChoice(), on_event=events.append)
    assert [event.text for event in events if isinstance(event, Warn)] == [
        f"{tmp_path / 'date=2020-01-01' / 'a.csv'}: the folders name a column "
        "('date=2020-01-01') that is not read"
    ]


def test_not_utf_8_is_said(tmp_path: Path):
    path = tmp_path / "x.csv"
    path.write_bytes("user,item\né,ü\n".encode("latin-1"))
    events: list[Event] = []
    read_raw_interactions(path, ColumnChoice(), on_event=events.append)
    assert Note(f"{path}: not UTF-8, read as latin-1") in events
