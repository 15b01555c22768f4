import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.knowledge_graph import read_raw_links

EXPECTED = [("1", "m.0dyb1"), ("2", "m.09w353")]


def links_of(path: Path, content: str | bytes) -> pl.DataFrame:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    table = read_raw_links(path)
    assert table.dtypes == [pl.String] * table.width
    return table


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ml2fb.txt", "1\tm.0dyb1\r\n2\tm.09w353\r\n"),
        ("x.link", "item_id:token\tentity_id:token\n1\tm.0dyb1\n2\tm.09w353\n"),
        ("x.link", "entity_id:token\titem_id:token\nm.0dyb1\t1\nm.09w353\t2\n"),
        ("header.csv", "movieId,freebase_id\n1,m.0dyb1\n2,m.09w353\n"),
        ("unknown header.csv", "film,thing\n1,m.0dyb1\n2,m.09w353\n"),
        ("spaces.txt", "1 m.0dyb1\n2 m.09w353\n"),
        ("brackets.tsv", "1\t<m.0dyb1>\n2\t<m.09w353>\n"),
        ("scores.tsv", "1\tm.0dyb1\t0.5\n2\tm.09w353\t\n"),
        ("scores.csv", "item_id,entity_id,score\n1,m.0dyb1,\n2,m.09w353,0.5\n"),
        ("more columns.csv", "x,item_id,y,entity_id\n0,1,0,m.0dyb1\n0,2,0,m.09w353\n"),
    ],
)
def test_two_column_layouts_give_the_same_links(tmp_path: Path, name: str, content: str) -> None:
    links = links_of(tmp_path / name, content)
    assert links.columns == ["item_id", "entity_id"]
    assert links.rows() == EXPECTED


def test_the_dbpedia_mapping(tmp_path: Path) -> None:
    """Three columns without a header, bare quotes and commas in titles, no final line end."""
    content = (
        "781\tStealing Beauty (1996)\thttp://dbpedia.org/resource/Stealing_Beauty\n"
        '12\t"Weird Al" Story, The (1996)\thttp://dbpedia.org/resource/Weird,_Al\n'
        '13\tNo "End\thttp://dbpedia.org/resource/End\n'
        "2762\tSixth Sense, The (1999)\thttp://dbpedia.org/resource/The_Sixth_Sense"
    )
    links = links_of(tmp_path / "mapping.tsv", content)
    assert links.columns == ["item_id", "entity_id", "title"]
    assert links.rows() == [
        ("781", "http://dbpedia.org/resource/Stealing_Beauty", "Stealing Beauty (1996)"),
        ("12", "http://dbpedia.org/resource/Weird,_Al", '"Weird Al" Story, The (1996)'),
        ("13", "http://dbpedia.org/resource/End", 'No "End'),
        ("2762", "http://dbpedia.org/resource/The_Sixth_Sense", "Sixth Sense, The (1999)"),
    ]


def test_a_title_behind_the_entity(tmp_path: Path) -> None:
    links = links_of(tmp_path / "x", "1\tm.0dyb1\tToy Story\n2\tm.09w353\t\n")
    assert links.rows() == [("1", "m.0dyb1", "Toy Story"), ("2", "m.09w353", "")]


def test_csv_with_quoted_titles_and_a_header_in_another_order(tmp_path: Path) -> None:
    content = 'title,uri,id\n"Sixth Sense, The",http://x/Sixth,2762\nHeat,http://x/Heat,6\n'
    assert links_of(tmp_path / "x.csv", content).rows() == [
        ("2762", "http://x/Sixth", "Sixth Sense, The"),
        ("6", "http://x/Heat", "Heat"),
    ]


def test_numbers_only_have_no_header(tmp_path: Path) -> None:
    (tmp_path / "item_index2entity_id.txt").write_bytes(b"1\t0\r\n2\t1\r\n3\t2\r\n")
    rows = [("1", "0"), ("2", "1"), ("3", "2")]
    assert read_raw_links(tmp_path / "item_index2entity_id.txt").rows() == rows
    assert read_raw_links(tmp_path).rows() == rows


def test_gzip_and_parquet(tmp_path: Path) -> None:
    assert links_of(tmp_path / "x", gzip.compress(b"1\tm.0dyb1\n2\tm.09w353")).rows() == EXPECTED
    pl.DataFrame({"movieId": [1, 2], "mid": ["m.0dyb1", "m.09w353"]}).write_parquet(tmp_path / "p")
    assert read_raw_links(tmp_path / "p").rows() == EXPECTED


def test_several_links_of_an_item_and_duplicates_are_kept(tmp_path: Path) -> None:
    content = "1\tm.02\n1\tm.01\n1\tm.02\n"
    assert links_of(tmp_path / "x", content)["entity_id"].to_list() == ["m.02", "m.01", "m.02"]


TOKEN = st.text("abcXYZ0123456789_.:é", min_size=1)


@given(st.lists(st.tuples(st.integers(0, 10**9), TOKEN), min_size=1, max_size=20))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, links: list[tuple[int, str]]
) -> None:
    path = tmp_path_factory.mktemp("links") / "x.link"
    path.write_text("item_id:token\tentity_id:token\n" + "\n".join(f"{i}\t{e}" for i, e in links))
    assert read_raw_links(path).rows() == [(str(item), entity) for item, entity in links]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "empty, expected links"),
        ("item_id:token\tentity_id:token\n", "holds no links"),
        ("1\tm.1\n2\n3\tm.3\n", "line 2: found 1 columns ('2'), expected 2"),
        ("1\tm.1\n2\t\n", "line 2, column entity_id: found nothing ('2<TAB>'), expected an entity"),
        ("1\tm.1\n2\tm.2\tTwo\n3\tm.3\n", "line 2: found 3 columns"),
        ("movieId,imdbId,tmdbId\n1,0114709,862\n", "none that is an entity"),
        ("movieId,title\n1,Toy Story\n", "none that is an entity"),
        ("a\tb\tc\td\n1\t2\t3\t4\n", "expected item_id, entity_id"),
        ("word\n", "expected 2 columns (item_id, entity_id)"),
    ],
)
def test_what_is_no_link_file_is_refused(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "x"
    path.write_text(content)
    with pytest.raises(KgrecError) as caught:
        read_raw_links(path)
    assert said in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_without_links(tmp_path: Path) -> None:
    with pytest.raises(KgrecError, match="nowhere: no such file"):
        read_raw_links(tmp_path / "nowhere")
    with pytest.raises(KgrecError, match="a folder without item_index2entity_id"):
        read_raw_links(tmp_path)


@pytest.mark.real_data
def test_real_links(real_data_dir: Path) -> None:
    ml2fb = read_raw_links(real_data_dir / "freebase" / "ml2fb.txt")
    assert ml2fb.height == 25_982
    assert ml2fb.row(0) == ("1", "m.0dyb1")
    assert ml2fb.row(-1) == ("131262", "m.0gy7g5y")
    assert read_raw_links(real_data_dir / "freebase" / "ml-100k.recbole.link").height == 1_598
    mapping = read_raw_links(real_data_dir / "ml-1m-dbpedia" / "MappingMovielens2DBpedia-1.2.tsv")
    assert mapping.height == 3_301
    assert mapping["entity_id"].str.starts_with("http://dbpedia.org/resource/").all()
    assert read_raw_links(real_data_dir / "ml-1m-mkr-kg").height == 2_347
