"""Item lists of every kind, and the year in a title."""

import zipfile
from pathlib import Path

import polars as pl
import pytest

from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.formats.raw.item_lists import (
    ListColumns,
    find_catalog,
    read_catalog,
    read_items,
    split_title,
)


@pytest.mark.parametrize(
    ("title", "expected"),
    [
        ("Heat (1995)", ("Heat", "1995")),
        ("Heat (1995) ", ("Heat", "1995")),
        ("Babylon 5", ("Babylon 5", None)),
        ("2001: A Space Odyssey (1968)", ("2001: A Space Odyssey", "1968")),
        ("Fawlty Towers (1975-1979)", ("Fawlty Towers", "1975")),
        ("Big Bang Theory, The (2007-)", ("Big Bang Theory, The", "2007")),
        ("Death Note: Desu nôto (2006–2007)", ("Death Note: Desu nôto", "2006")),
        ("Ed (1995–)", ("Ed", "1995")),
        ("Land Before Time III (1995) (V)", ("Land Before Time III (V)", "1995")),
        ("Postman, The (Postino, Il) (1994)", ("Postman, The (Postino, Il)", "1994")),
        ("Class of (1984) returns", ("Class of (1984) returns", None)),
        ("(500) Days of Summer (2009)", ("(500) Days of Summer", "2009")),
        ("unknown", ("unknown", None)),
        ("", ("", None)),
    ],
)
def test_split_title(title: str, expected: tuple[str, str | None]):
    assert split_title(title) == expected


def rows(path: Path) -> list[tuple[str | None, ...]]:
    return read_catalog(path).select("item_id", "title", "release_year", "genre").rows()


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_a_table_with_a_header_in_any_order(tmp_path: Path):
    path = write(
        tmp_path / "t.csv", 'year,name,id,genres\n1977,"Star, Wars",a1,Sci-Fi|Space Opera\n,X,a2,\n'
    )
    assert rows(path) == [
        ("a1", "Star, Wars", "1977", "Sci-Fi Space_Opera"),
        ("a2", "X", None, None),
    ]


def test_recbole_items(tmp_path: Path):
    head = "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
    path = write(tmp_path / "t.item", head + "1\tToy Story\t1995\tAnimation Comedy\n")
    assert rows(path) == [("1", "Toy Story", "1995", "Animation Comedy")]


def test_without_a_header_id_title_and_year(tmp_path: Path):
    path = write(tmp_path / "t.tsv", '1\tHeat\t1995\n2\tSay "yes"\t2000\n3\t"A ""b"""\t1999')
    assert rows(path) == [
        ("1", "Heat", "1995", None),
        ("2", 'Say "yes"', "2000", None),
        ("3", 'A "b"', "1999", None),
    ]


def test_without_a_header_a_third_column_that_is_no_year(tmp_path: Path):
    path = write(tmp_path / "t.tsv", "1\tHeat (1995)\thttp://x/Heat\n")
    assert rows(path) == [("1", "Heat (1995)", None, None)]  # nothing says that it is a film


@pytest.mark.parametrize(
    ("text", "movie_title"),
    [
        ("movieId,title,genres\n1,Heat (1995),\n", ("Heat", "1995")),
        ("id,title,film\n1,Heat (1995),x\n", ("Heat", "1995")),
        ("item_id:token,movie_title:token_seq\n1,Heat (1995)\n", ("Heat", "1995")),
        ("1::Heat (1995)::Drama\n", ("Heat", "1995")),
        ("1::(1962-1966)::Drama\n", ("(1962-1966)", "1962")),
        ("bookId,title\n1,Heat (1995)\n", None),
        ("id,name,year\n1,Heat (1995),1996\n", None),
    ],
)
def test_only_lists_of_films_have_movie_titles(
    tmp_path: Path, text: str, movie_title: tuple[str, str] | None
):
    items = read_catalog(write(tmp_path / "list", text))
    if movie_title is None:
        assert items.columns == ["item_id", "title", "release_year", "genre"]
        assert items["release_year"].item() == ("1996" if "1996" in text else None)
    else:
        assert items.select("movie_title", "release_year").row(0) == movie_title


def test_parquet(tmp_path: Path):
    path = tmp_path / "t.parquet"
    pl.DataFrame({"movieId": [7], "title": ["Heat (1995)"], "year": [None]}).write_parquet(path)
    assert rows(path) == [("7", "Heat (1995)", "1995", None)]


def test_columns_that_the_user_names(tmp_path: Path):
    path = write(
        tmp_path / "t.csv",
        "sku,product name,released,tags,note\nA1,Heat,1995-12-15,Crime|Big City,x\nA2,Ran,,,y\n",
    )
    file = find_catalog(path)
    with pytest.raises(KgrecError, match=r"no column of ids .* sku, product name, .* by --id-col"):
        read_items(file, ListColumns())
    named = ListColumns(id="sku", title="product name", year="3", genre="tags")
    columns = ["item_id", "title", "release_year", "genre"]
    expected = [("A1", "Heat", "1995", "Crime Big_City"), ("A2", "Ran", None, None)]
    assert read_items(file, named).select(columns).rows() == expected
    by_log = ListColumns(title="product name", item="sku")  # as the interactions call their items
    assert read_items(file, by_log)["item_id"].to_list() == ["A1", "A2"]
    with pytest.raises(UsageError, match="--genre-col: unknown column 'tag': did you mean 'tags'"):
        read_items(file, ListColumns(genre="tag"))
    with pytest.raises(KgrecError, match="no column of ids") as caught:
        read_catalog(path)  # a catalogue has no such options
    assert "--id-col" not in str(caught.value)


def test_ids_of_a_list_with_gaps_are_those_of_its_parquet(tmp_path: Path):
    path = write(tmp_path / "t.csv", "id,title\n18.0,Heat\n7.0,Ran\n")
    assert read_catalog(path)["item_id"].to_list() == ["18", "7"]


def test_a_folder_and_a_zip_that_hold_one(tmp_path: Path):
    (tmp_path / "set" / "inner").mkdir(parents=True)
    write(tmp_path / "set" / "inner" / "movies.dat", "1::Heat (1995)::Drama\n")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "set" / "inner" / "movies.dat", "x/movies.dat")
    expected = [("1", "Heat (1995)", "1995", "Drama")]
    assert rows(tmp_path / "set") == rows(tmp_path / "set.zip") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "found nothing, expected an item list"),
        ("hello\n", "found 'hello', expected an item list"),
        ("title,year\nHeat,1995\n", "no column of ids"),
        ("id,year\n1,1995\n", "no column of titles"),
        ("id,title\n1,Heat\n2\n", "line 3: found 1 column, expected 2 columns"),
        ("id,title\n1,Heat\n1,Ran\n", "line 3: found item '1' again"),
        ("id,title\n,Heat\n", "line 2: found no id"),
        ("1::Heat::Drama\n2::Ran\n", "line 2: found 2 columns, expected 3"),
    ],
)
def test_what_is_no_item_list(tmp_path: Path, text: str, message: str):
    with pytest.raises(KgrecError) as caught:
        read_catalog(write(tmp_path / "list.csv", text))
    assert message in str(caught.value)
    assert "list.csv" in str(caught.value)


def test_a_folder_without_a_list(tmp_path: Path):
    with pytest.raises(KgrecError, match="holds no item list"):
        read_catalog(tmp_path)


@pytest.mark.real_data
def test_real_lists(real_data_dir: Path):
    small = read_catalog(real_data_dir / "ml-latest-small")
    assert small.height == 9742
    assert small["genre"].null_count() == 34
    assert read_catalog(real_data_dir / "ml-1m").height == 3883
    mapping = read_catalog(real_data_dir / "ml-1m-dbpedia" / "MappingMovielens2DBpedia-1.2.tsv")
    assert mapping.height == 3301
    assert mapping["release_year"].null_count() == 3301  # matching reads them from the titles
    old = read_catalog(real_data_dir / "ml-100k")
    assert old.filter(pl.col("release_year").is_null())["item_id"].to_list() == ["267"]
    assert old.filter(pl.col("item_id") == "1252")["title"].item() == "Contempt (Mépris, Le) (1963)"
