"""GroupLens' layouts: recognised, read whole, and told apart from what they are not."""

import gzip
import zipfile
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.movielens import RawData, find_movielens, read_movielens

ML_100K = {
    "u.data": "1\t2\t3\t881250949\n2\t1\t5\t881250950\n1\t1\t1\t881250949\n",
    "u.item": (
        "1|Toy Story (1995)|01-Jan-1995||http://x|0|0|0|1|1|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
        "2|Cérémonie, La|20-Dec-1996||http://x|0|0|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0\n"
        "267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    ),
    "u.user": "1|24|M|technician|85711\n2|53|F|other|T8H1N\n",
}
ML_10M = {
    "ratings.dat": "1::2::3.5::978300760\n2::1::5::978300761\n",
    "movies.dat": (
        "1::Toy Story (1995)::Animation|Children's|Comedy\n"
        "2::Odd::One: The Sequel::Again (2000)::Drama\n"
    ),
    "users.dat": "1::F::1::10::48067\n2::M::56::16::70072\n",
    "tags.dat": "1::2::film::noir::1::978300760\n2::1::007::978300760\n",
}
ML_20M = {
    "ratings.csv": "userId,movieId,rating,timestamp\r\n1,2,0.5,964982703\r\n2,1,4.0,964981247\r\n",
    "movies.csv": (
        "movieId,title,genres\r\n"
        '1,"American President, The (1995)",Comedy|Drama\r\n'
        '2,"""Great Performances"" Cats (1998) ",Musical|Film-Noir\r\n'
        "3,Babylon 5,(no genres listed)\r\n"
    ),
    "tags.csv": 'userId,movieId,tag,timestamp\r\n2,1,"a ""quoted"", tag",1445714994\r\n',
}


def lay_out(folder: Path, texts: dict[str, str], encoding: str = "utf-8") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (folder / name).write_bytes(text.encode(encoding))
    return folder


def zip_up(path: Path, texts: dict[str, str], encoding: str = "utf-8") -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in texts.items():
            archive.writestr(name, text.encode(encoding))
    return path


def read(path: Path, **options: object) -> RawData:
    found = find_movielens(path)
    assert found is not None
    return read_movielens(found, with_tags=True, **options)


def rows_of(table: pl.DataFrame | None) -> list[tuple[object, ...]] | None:
    return None if table is None else table.rows()


def test_ml_100k(tmp_path: Path):
    raw = read(lay_out(tmp_path, ML_100K, "latin-1"))
    assert raw.layout == "ml-100k"
    assert raw.rows.table.rows() == [
        ("1", "2", 3, 881250949), ("2", "1", 5, 881250950), ("1", "1", 1, 881250949)
    ]  # fmt: skip
    assert raw.rows.table.schema["timestamp"] == pl.Int64
    assert raw.items.rows() == [
        ("1", "Toy Story (1995)", "Toy Story", "1995", "Animation Children's Comedy"),
        ("2", "Cérémonie, La", "Cérémonie, La", "1996", "Drama"),
        ("267", "unknown", "unknown", None, None),
    ]
    assert raw.users.columns == ["user_id", "age", "gender", "occupation", "zip_code"]
    assert raw.users.rows()[1] == ("2", "53", "F", "other", "T8H1N")
    assert raw.tags is None
    assert [file.name for file in raw.files] == ["u.data", "u.item", "u.user"]


def test_genre_names_come_from_u_genre(tmp_path: Path):
    names = "\n".join(f"genre{number}|{number}" for number in range(19))
    raw = read(lay_out(tmp_path, {**ML_100K, "u.genre": f"{names}\n\n"}))
    assert raw.items["genre"].to_list() == ["genre3 genre4 genre5", "genre8", "genre0"]


def test_ml_10m_with_colons_in_titles_and_tags(tmp_path: Path):
    raw = read(lay_out(tmp_path, ML_10M))
    assert raw.rows.table.rows() == [("1", "2", 3.5, 978300760), ("2", "1", 5.0, 978300761)]
    assert raw.items.select("movie_title", "release_year", "genre").rows() == [
        ("Toy Story", "1995", "Animation Children's Comedy"),
        ("Odd::One: The Sequel::Again", "2000", "Drama"),
    ]
    assert raw.tags.rows() == [("1", "2", "film::noir::1"), ("2", "1", "007")]
    assert raw.users.columns == ["user_id", "gender", "age", "occupation", "zip_code"]


def test_ml_20m_with_quotes_and_windows_line_ends(tmp_path: Path):
    raw = read(lay_out(tmp_path, ML_20M))
    assert raw.rows.table.rows() == [("1", "2", 0.5, 964982703), ("2", "1", 4.0, 964981247)]
    assert raw.items.select("title", "movie_title", "release_year", "genre").rows() == [
        ("American President, The (1995)", "American President, The", "1995", "Comedy Drama"),
        (
            '"Great Performances" Cats (1998)',
            '"Great Performances" Cats',
            "1998",
            "Musical Film-Noir",
        ),
        ("Babylon 5", "Babylon 5", None, None),
    ]
    assert raw.tags.rows() == [("2", "1", 'a "quoted", tag')]
    assert raw.users is None


def test_kaggles_names_in_the_singular(tmp_path: Path):
    times = {"964982703": "2000-07-30 18:45:03", "964981247": "2000-07-30 18:20:47"}
    texts = {name.replace("s.", "."): text for name, text in ML_20M.items()}
    for number, date in times.items():
        texts["rating.csv"] = texts["rating.csv"].replace(number, f'"{date}"')
    raw = read(lay_out(tmp_path / "kaggle", texts))
    plain = read(lay_out(tmp_path / "grouplens", ML_20M))
    assert raw.rows.table.rows() == plain.rows.table.rows()
    assert rows_of(raw.items) == rows_of(plain.items)
    assert rows_of(raw.tags) == rows_of(plain.tags)


@pytest.mark.parametrize("texts", [ML_100K, ML_10M, ML_20M])
def test_a_zip_reads_as_its_folder(tmp_path: Path, texts: dict[str, str]):
    folder = read(lay_out(tmp_path / "one" / "two", texts))
    outer = read(tmp_path / "one")
    zipped = read(zip_up(tmp_path / "x.zip", {f"any/{name}": text for name, text in texts.items()}))
    flat = read(zip_up(tmp_path / "y", texts))
    for raw in (outer, zipped, flat):
        assert raw.rows.table.equals(folder.rows.table)
        assert raw.items.equals(folder.items)
        assert rows_of(raw.tags) == rows_of(folder.tags)
        assert rows_of(raw.users) == rows_of(folder.users)


def test_a_zip_unpacks_nothing_even_with_names_that_lead_out(tmp_path: Path):
    path = zip_up(tmp_path / "evil.zip", {"../../ratings.csv": "x", **ML_20M})
    assert read(path).rows.n_rows == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["evil.zip"]


def test_recognised_by_content_under_another_name(tmp_path: Path):
    lay_out(tmp_path, {"movies.dat": ML_10M["movies.dat"]})
    (tmp_path / "sample.dat.gz").write_bytes(gzip.compress(ML_10M["ratings.dat"].encode()))
    raw = read(tmp_path)
    assert raw.rows.n_rows == 2
    assert raw.items.height == 2


def test_a_file_of_ratings_takes_its_neighbours_along(tmp_path: Path):
    raw = read(lay_out(tmp_path, ML_100K, "latin-1") / "u.data")
    assert raw.items.height == 3


def test_other_tables_are_not_movielens(tmp_path: Path):
    lay_out(tmp_path, {"ratings.csv": "user_id,book_id,rating\n1,2,3\n", "notes.txt": "hello\n"})
    assert find_movielens(tmp_path) is None
    assert find_movielens(tmp_path / "ratings.csv") is None


def test_several_sets_are_one_error(tmp_path: Path):
    lay_out(tmp_path / "a", ML_100K)
    lay_out(tmp_path / "b", ML_20M)
    with pytest.raises(KgrecError, match=r"several files of ratings.*--raw.*u\.data.*ratings\.csv"):
        find_movielens(tmp_path)


def test_a_cut_zip(tmp_path: Path):
    path = zip_up(tmp_path / "x.zip", ML_100K)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(KgrecError, match="not a whole zip file"):
        find_movielens(path)


def test_a_zip_with_a_flipped_byte(tmp_path: Path):
    path = zip_up(tmp_path / "x.zip", ML_20M)
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b"964981247", b"964981248"))
    with pytest.raises(KgrecError, match=r"x\.zip:ratings\.csv: damaged or cut short"):
        read(path)


BAD_RATINGS = [
    ("1\t2\tabc\t5", "column rating: found 'abc', expected a number"),
    ("1\t2\tinf\t5", "column rating: found 'inf', expected a number"),
    ("1\t2\t3\tnever", "column timestamp: found 'never', expected a number"),
    ("1\t2\t3\t9223372036854775808", "expected a time in range"),
    ("1\t2\t3", "line 2: found 3 columns, expected 4 columns"),
    ("1\t2\t3\t5\t6", "line 2: found 5 columns, expected 4 columns"),
    ("\t2\t3\t5", "column user_id: found nothing, expected the user's id"),
    ("1\t \t3\t5", "column item_id: found nothing, expected the item's id"),
]


@pytest.mark.parametrize(("line", "message"), BAD_RATINGS)
def test_a_bad_rating_is_named(tmp_path: Path, line: str, message: str):
    lay_out(tmp_path, {"u.data": f"1\t2\t3\t881250949\n{line}\n4\t5\t1\t881250949\n"})
    with pytest.raises(KgrecError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'u.data'}, line 2")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)

    raw = read(tmp_path, on_bad_row="skip")
    assert raw.rows.n_rows == 3
    assert raw.rows.table["user_id"].to_list() == ["1", "4"]
    bad = raw.bad_rows.row(0, named=True)
    assert (bad["line"], bad["row"]) == (2, line)


@pytest.mark.parametrize("line", ["1::2::3", "1:2::3::4::5", "1::2::3::4:5", "1::2::3::4::5"])
def test_bad_double_colon_rows(tmp_path: Path, line: str):
    lay_out(tmp_path, {"ratings.dat": f"1::2::3::978300760\n{line}\n"})
    raw = read(tmp_path, on_bad_row="skip")
    assert raw.rows.table.rows() == [("1", "2", 3, 978300760)]
    assert raw.bad_rows["line"].to_list() == [2]


@pytest.mark.parametrize(
    ("name", "text", "bad_lines", "message"),
    [
        ("u.item", ML_100K["u.item"] + "5|x\n", [4], "found 2 columns, expected 24 columns"),
        ("u.item", ML_100K["u.item"] * 2, [4, 5, 6], "found item '1' again"),
        ("u.user", "1|24|M\n", [1], "found 3 columns, expected 5"),
        ("u.user", "1|2|3|4|5\n\n1|2|3|4|5\n", [3], "found user '1' again"),
    ],
)
def test_a_bad_row_of_the_lists(
    tmp_path: Path, name: str, text: str, bad_lines: list[int], message: str
):
    lay_out(tmp_path, {**ML_100K, name: text})
    with pytest.raises(KgrecError) as caught:
        read(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / name}, line {bad_lines[0]}: {message}")
    assert read(tmp_path, on_bad_row="skip").bad_rows["line"].to_list() == bad_lines


def test_a_bad_tag(tmp_path: Path):
    lay_out(tmp_path, {**ML_20M, "tags.csv": "userId,movieId,tag,timestamp\n1,2,x,3\n1,2\n"})
    with pytest.raises(KgrecError, match=r"tags\.csv, line 3: found 2 columns, expected 4"):
        read(tmp_path)


def test_blank_lines_are_no_rows(tmp_path: Path):
    lay_out(tmp_path, {"u.data": "1\t2\t3\t881250949\n\n4\t5\t1\t881250949\n\n\n"})
    raw = read(tmp_path)
    assert raw.rows.n_rows == raw.rows.table.height == 2


def test_a_header_alone_holds_no_rows(tmp_path: Path):
    lay_out(tmp_path, {"ratings.csv": "userId,movieId,rating,timestamp\n"})
    with pytest.raises(KgrecError, match="holds no rows"):
        read(tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("folder", "n_rows", "n_users", "n_items", "n_listed"),
    [
        ("ml-100k", 100_000, 943, 1682, 1682),
        ("ml-latest-small", 100_836, 610, 9724, 9742),
        ("ml-1m", 100_000, 5958, 3312, 3883),
    ],
)
def test_real_sets(
    real_data_dir: Path, folder: str, n_rows: int, n_users: int, n_items: int, n_listed: int
):
    raw = read(real_data_dir / folder)
    assert raw.rows.table.height == raw.rows.n_rows == n_rows
    assert raw.rows.table["user_id"].n_unique() == n_users
    assert raw.rows.table["item_id"].n_unique() == n_items
    assert raw.items.height == n_listed
    assert raw.bad_rows.is_empty()


@pytest.mark.real_data
def test_real_ml_100k_row_by_row(real_data_dir: Path):
    lines = (real_data_dir / "ml-100k" / "u.data").read_text().splitlines()
    expected = [tuple(line.split("\t")) for line in lines]
    table = read(real_data_dir / "ml-100k").rows.table
    assert table.with_columns(pl.all().cast(pl.String)).rows() == expected
