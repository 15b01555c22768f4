"""One reader for every table: what one kind of file may look like, the others may, too."""

import csv
import gzip
import io
import re
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.columns import guess_columns, header_sign
from kgrec_cli.formats.raw.files import RawFile
from kgrec_cli.formats.raw.interactions import ColumnChoice, read_raw_interactions
from kgrec_cli.formats.raw.item_lists import read_catalog
from kgrec_cli.formats.raw.knowledge_graph import read_raw_links, read_raw_triples
from kgrec_cli.formats.raw.layout import detect_table, find_quotes, find_separator
from kgrec_cli.formats.raw.tables import find_lines, read_columns

KINDS = ("user", "item", "rating", "time")
Row = tuple[object, ...]


def interactions(path: Path) -> list[Row]:
    return read_raw_interactions(path, ColumnChoice()).table.rows()


def triples(path: Path) -> list[Row]:
    return read_raw_triples(path).rows()


def links(path: Path) -> list[Row]:
    return read_raw_links(path).rows()


def items(path: Path) -> list[Row]:
    return read_catalog(path).select("item_id", "title").rows()


READERS: tuple[Callable[[Path], list[Row]], ...] = (interactions, triples, links, items)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.txt"


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# Separators


@pytest.mark.parametrize(
    ("separator", "lines"),
    [
        ("\t", ["1\tLee, Ang", "2\tHitchcock, Alfred"]),
        ("\t", ["1\ta\tb", "2\ta", "3\ta\tb"]),
        (";", ["user;item;rating", "u;i;3,5", "v;i;2,0"]),
        (";", ["u;i;3,5;7", "v;i;2,0;8"]),
        (",", ["id,genres", "1,a|b|c", "2,a|b|c"]),
        (",", ["user,item,text", "u,i,well; not; so; bad", "v,i,well; well; well; well"]),
        (",", ['u,"a;b;c"', "v,d"]),
        ("|", ["1|Heat, The", "2|Ran"]),
        ("::", ["1::2::3", "2::3::4"]),
        ("::", ["1::2", "2::3"]),
        (",", ["a::b,r,c", "d,r,e::f"]),
        (" ", ["1 2 3", "2 3 4"]),
        ("", ["word", "other"]),
        (",", ["user,item", "a line of prose", "another line", "u,i"]),  # the first line decides
    ],
)
def test_the_separator_of_a_text(separator: str, lines: list[str]):
    assert find_separator(lines) == separator


@pytest.mark.parametrize(
    ("reader", "header", "row", "expected"),
    [
        (interactions, "user item rating", "u i 3", ("u", "i", 3, 0)),
        (triples, "head relation tail", "a r b", ("a", "r", "b")),
        (links, "item entity", "1 m.1", ("1", "m.1")),
        (items, "id title", "1 Heat", ("1", "Heat")),
    ],
)
@pytest.mark.parametrize("separator", ["\t", ",", ";", "|", "::"])
def test_every_reader_takes_every_separator(
    path: Path,
    reader: Callable[[Path], list[Row]],
    header: str,
    row: str,
    expected: Row,
    separator: str,
):
    text = f"{header}\n{row}\n".replace(" ", separator)
    assert reader(write(path, text)) == [expected]
    assert reader(write(path, "\n \n" + text)) == [expected]
    assert reader(write(path, gzip.compress(text.encode()))) == [expected]  # by its content


@pytest.mark.parametrize("separator", ["\\t", "^", "~", "\x01", "#", "||"])
def test_a_separator_that_kgrec_does_not_know_is_named(path: Path, separator: str):
    shown = {"\\t": "a backslash and a t", "\x01": "the character U+0001"}
    text = f"user{separator}item{separator}time\nu{separator}i{separator}5\n"
    expected = re.escape(shown.get(separator, f"'{separator}'"))
    for reader in READERS:
        with pytest.raises(KgrecError, match=f"separated by {expected}, expected TAB, comma"):
            reader(write(path, text))


def test_a_header_with_another_separator_than_the_rows_is_named(path: Path):
    message = r"table\.txt: line 1 is separated by ',', the lines after it by TAB; write all with"
    with pytest.raises(KgrecError, match=message):
        interactions(write(path, "user,item,time\nu\ti\t5\nv\tj\t6\n"))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_line_that_excel_takes_the_separator_from(path: Path, separator: str):
    text = f"\ufeffsep={separator}\r\nuser;item;time\r\nu;i,x;5\r\n".replace(";", separator)
    if separator == ",":
        text = text.replace("i,x", '"i,x"')
    assert interactions(write(path, text)) == [("u", "i,x", 5)]


@pytest.mark.parametrize(
    "text",
    [
        "% bip weighted\n% 2 2 2\nuser item time\nu i 5\nv j 6\n",  # KONECT's: 4 words, 3 columns
        "% bip\n% 2 2\nuser item time\nu i 5\nv j 6\n",  # as many words as columns
        "# of a shop, on Monday\nuser,item,time\nu,i,5\nv,j,6\n",
        "# of a shop\n# user item time\nu i 5\nv j 6\n",
        "# of a shop\n# user\titem\ttime\nu\ti\t5\nv\tj\t6\n",
        "#user,item,time\nu,i,5\nv,j,6\n",
        "#,user,item,time\n0,u,i,5\n1,v,j,6\n",
    ],
)
def test_comments_at_the_head_are_no_rows(path: Path, text: str):
    assert interactions(write(path, text)) == [("u", "i", 5), ("v", "j", 6)]


def test_a_row_that_begins_like_a_comment_is_one(path: Path):
    rows = [("#u", "i", 5), ("v", "j", 6)]
    assert interactions(write(path, "user,item,time\n#u,i,5\nv,j,6\n")) == rows
    of_links = [("#a", "e1"), ("b", "e2")]
    assert links(write(path, "#a\te1\nb\te2\n")) == of_links


# Headers


@pytest.mark.parametrize(
    ("expected", "rows"),
    [
        (True, [["item_id:token", "x:float"]]),
        (True, [["user_id", "7"], ["1", "2"]]),
        (True, [["user", "what"]]),
        (False, [["time", "7"], ["a", "b"]]),
        (True, [["date", "score"], ["a", "b"]]),
        (None, [["time", "a"], ["date", "b"]]),
        (True, [["who", "what"], ["1", "a"], ["2", "b"]]),
        (None, [["who", "what"], ["1", "a"]]),
        # a date, a time, an address or an empty field is data
        (False, [["u1", "2012-07-01T10:00:00Z", "b"], ["u2", "2012-07-01T10:00:00Z", "c"]]),
        (False, [["u1", "7/1/2012 9:05:58 AM"], ["u2", "7/2/2012 9:05:58 AM"]]),
        (False, [["a", "Tue Apr 03 18:00:09 +0000 2012"], ["b", "Tue Apr 03 18:00:10 +0000 2012"]]),
        (False, [["a", "http://x/y"], ["b", "http://x/z"]]),
        (False, [["a", "", "b"], ["c", "d", "e"]]),
        (False, [["a", "", "b"], ["c", "1", "e"], ["d", "2", "e"]]),
        # ... but not beside names
        (True, [["", "user_id", "x"], ["0", "u", "y"]]),
        (True, [["", "u", "i"], ["0", "u1", "y"]]),
        # 0 to n-1, as pandas names columns
        (True, [["0", "1", "2"], ["u1", "i1", "5"]]),
        (True, [["0", "1", "2", "3"], ["4", "7", "5", "881250949"]]),
        (True, [["", "0", "1"], ["0", "u", "i"]]),
        (True, [["0", "1"], ["a", "b"]]),
        (None, [["0", "1", "2"], ["0", "2", "3"], ["1", "1", "1"]]),
        (False, [["0", "1"], ["1", "2"]]),
    ],
)
def test_what_makes_a_header(expected: bool | None, rows: list[list[str]]):
    assert header_sign(rows, KINDS) is expected


def test_no_column_is_taken_twice_and_the_likelier_name_wins():
    assert guess_columns(("id", "entity", "title"), ["id", "Item ID", "label", "URI:token"]) == {
        "id": 1,
        "entity": 3,
        "title": 2,
    }
    assert guess_columns(("title", "relation"), ["label"]) == {"title": 0}


@pytest.mark.parametrize("name", ["asin", "business_id", "parent_asin", "artist_id", "ISBN"])
def test_items_have_the_same_names_in_every_file(path: Path, name: str):
    assert interactions(write(path, f"user,{name}\nu,i\n")) == [("u", "i", 0)]
    assert links(write(path, f"{name},entity,x\n1,m.1,0\n")) == [("1", "m.1")]
    assert items(write(path, f"x,title,{name}\n0,Heat,1\n")) == [("1", "Heat")]


def test_a_row_number_called_id_is_not_the_item_of_a_link(path: Path):
    assert links(write(path, "id,item_id,entity\n0,7,m.1\n")) == [("7", "m.1")]


def test_a_first_row_with_a_date_or_an_empty_field_is_no_header(path: Path):
    """The layout of Last.fm 1K: user, time, artist's id, artist, track's id, track."""
    rows = ["u\t2012-07-01T10:00:00Z\tx\tA\t\tT", "v\t2012-07-02T10:00:00Z\ty\tB\t\tS"]
    columns = ColumnChoice("1", "3", None, "2")
    table = read_raw_interactions(write(path, "\n".join(rows)), columns).table
    assert table.rows() == [("u", "x", 1341136800), ("v", "y", 1341223200)]
    table = read_raw_interactions(write(path, "u,,x\nv,a,y\n"), ColumnChoice("1", "3")).table
    assert table.rows() == [("u", "x", 0), ("v", "y", 1)]


def test_a_header_of_numbers_as_pandas_writes_it(path: Path):
    rows = read_raw_interactions(write(path, "0,1,2\nu,i,5\n"), ColumnChoice("0", "1"))
    assert rows.table.rows() == [("u", "i", 0)]
    assert triples(write(path, "0,1,2\na,r,b\n")) == [("a", "r", "b")]
    assert triples(write(path, "0\t1\t2\n0\t1\t3\n")) == [("0", "1", "2"), ("0", "1", "3")]
    assert links(write(path, "0\t1\n1\t2\n")) == [("0", "1"), ("1", "2")]


def test_a_header_with_a_number_in_it(path: Path):
    assert interactions(write(path, "user,item,2020\nu,i,3\n")) == [("u", "i", 0)]


def test_a_first_line_with_a_number_is_a_triple(path: Path):
    text = "1\tr\tm.1\n2\tr\t5\n3\tr\t6\n"
    assert triples(write(path, text)) == [("1", "r", "m.1"), ("2", "r", "5"), ("3", "r", "6")]


# Quotes


@pytest.mark.parametrize(
    ("expected", "text"),
    [
        ("none", "a,b\n"),
        ("none", ""),
        ("enclose", '"a","b"\r\n"c","d"'),
        ("enclose", 'a,"b ""c"", d\ne"\n'),
        ("enclose", '\ufeff"a",b\n'),
        ("enclose", 'a,""\n'),
        ("text", 'a,5" disk\n'),
        ("text", '"Weird Al" Story,b\n'),
        ("text", 'a,"5 disk\nb,c\nd,"7 disk\n'),
        ("text", 'a,"b" "c"\n'),
        ("text", 'a,"never closed\n'),
    ],
)
def test_what_quotes_are(path: Path, expected: str, text: str):
    assert find_quotes(RawFile(write(path, text)), ",") == expected
    assert find_quotes(RawFile(write(path, gzip.compress(text.encode()))), ",") == expected


def test_quotes_in_a_column_that_is_not_wanted_swallow_no_rows(path: Path):
    text = 'user,item,text\nu,i,"5 disk\nv,j,ok\nw,k,"7 disk\nx,l,m\n'
    assert [row[0] for row in interactions(write(path, text))] == ["u", "v", "w", "x"]


def test_separators_in_quotes_that_are_not_well_formed_still_separate_nothing(path: Path):
    text = 'user,item,text\nu,i,"He said \\"hi\\", twice"\nv,j,ok\n'
    assert interactions(write(path, text)) == [("u", "i", 0), ("v", "j", 1)]


def test_quotes_are_the_same_in_every_file(path: Path):
    """A field that a writer of CSV or TSV had to quote, as pandas and polars do."""
    quoted = '"The ""Big"" 25"""'
    plain = 'The "Big" 25"'
    assert interactions(write(path, f"user\titem\n{quoted}\ti\n"))[0][0] == plain
    assert triples(write(path, f"a\tr\t{quoted}\nb\tr\tc\n"))[0] == ("a", "r", plain)
    assert links(write(path, f"1\t{quoted}\thttp://x/y\n"))[0] == ("1", "http://x/y", plain)
    assert items(write(path, f"id\ttitle\n1\t{quoted}\n")) == [("1", plain)]


@pytest.mark.parametrize("separator", ["\t", ",", "::"])
def test_quotes_that_are_text_are_the_same_in_every_file(path: Path, separator: str):
    def text(*rows: str) -> str:
        return "\n".join(rows).replace(" - ", separator)

    name = '"Weird Al" Story'
    assert interactions(write(path, text("user - item", f"u - {name}")))[0][1] == name
    assert triples(write(path, text(f"a - r - {name}", 'b - r - "c"'))) == [
        ("a", "r", name),
        ("b", "r", "c"),
    ]
    assert links(write(path, text(f"1 - {name} - m.1"))) == [("1", "m.1", name)]
    assert items(write(path, text("id - title", f"1 - {name}"))) == [("1", name)]


# Archives and Parquet


def test_a_first_column_called_pk_is_no_zip(path: Path):
    assert interactions(write(path, "PK,user,item\n1,u,i\n")) == [("u", "i", 0)]


def test_parquet_is_told_by_its_content_in_every_reader(path: Path):
    pl.DataFrame({"user": ["u"], "item": ["i"]}).write_parquet(path)
    assert interactions(path) == [("u", "i", 0)]
    pl.DataFrame({"head": ["<a>"], "relation": ["r"], "tail": ["b"]}).write_parquet(path)
    assert triples(path) == [("a", "r", "b")]
    pl.DataFrame({"item": ["1"], "entity": ["<m.1>"]}).write_parquet(path)
    assert links(path) == [("1", "m.1")]
    pl.DataFrame({"id": [1.0, None], "title": ["Heat", None]}).write_parquet(path)
    assert items(path) == [("1", "Heat")]


def test_parquet_numbers_and_missing_ones(path: Path):
    ids = pl.DataFrame({"user": [1.0, float("nan"), None], "item": [7, 8, 9]})
    ids.write_parquet(path)
    rows = read_raw_interactions(path, ColumnChoice(), on_bad_row="skip")
    assert rows.table.rows() == [("1", "7", 0)]
    assert rows.bad_rows.select("line", "column", "found").rows() == [
        (2, "user", "nothing"),
        (3, "user", "nothing"),
    ]
    assert rows.bad_rows["row"].to_list() == ["nan\t8", "\t9"]


@pytest.mark.parametrize("reader", READERS)
def test_parquet_that_is_cut_or_nested_is_one_line(path: Path, reader: Callable[[Path], list[Row]]):
    table = pl.DataFrame({"item": [["a"]], "user": ["b"], "entity": ["c"]})
    table = table.with_columns(head="item", relation="user", tail="user", title="user")
    table.write_parquet(path)
    with pytest.raises(KgrecError, match=r"column '\w+' holds List\(String\), expected text or"):
        reader(path)
    with pytest.raises(KgrecError, match=r"table\.txt: cannot be read \(not a whole Parquet file"):
        reader(write(path, path.read_bytes()[:60]))


# Rows


def test_a_first_row_that_is_much_too_wide_is_named(path: Path):
    with pytest.raises(KgrecError, match=r"line 2: found 7 columns .*, expected 3"):
        triples(write(path, "head,relation,tail\nz,z,z,z,z,z,z\n"))


FIELD = st.text('ab1é ,;|\t"\n', max_size=5)


@given(
    st.lists(st.tuples(FIELD, FIELD, FIELD), min_size=1, max_size=6),
    st.sampled_from("\t,;|"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    st.sampled_from(["\n", "\r\n"]),
)
def test_any_field_that_is_quoted_reads_back(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, str, str]],
    separator: str,
    quoting: int,
    line_end: str,
):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=separator, quoting=quoting, lineterminator=line_end)
    writer.writerows([("user_id", "item_id", "rating"), *rows])
    path = write(tmp_path_factory.mktemp("tables") / "x", buffer.getvalue())
    table = detect_table(RawFile(path), "rows", KINDS, if_unsure=True)
    assert (table.separator, table.has_header, table.n_skipped) == (separator, True, 1)
    fields = read_columns(table, {"a": 0, "b": 1, "c": 2})
    assert fields.select("a", "b", "c").rows() == [tuple(map(str.strip, row)) for row in rows]
    lines = find_lines(table, range(fields.height))
    assert [line.n_fields for line in lines] == [3] * len(rows)
    assert "".join(f"{line.text}{line_end}" for line in lines) == buffer.getvalue().partition(
        line_end
    )[2].replace("\r\n" if line_end == "\n" else "", "")


@given(st.text('ab1:é ,;|\t"\n\r\0<>.#', max_size=60), st.sampled_from(READERS))
def test_any_text_is_read_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, text: str, reader: Callable[[Path], list[Row]]
):
    path = write(tmp_path_factory.mktemp("tables") / "x", text)
    message = str(path)
    try:
        reader(path)
    except KgrecError as error:
        message = str(error)
    assert str(path) in message
    assert "\n" not in message
