import gzip
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.knowledge_graph import read_raw_triples

EXPECTED = [("m.01", "film.film.actor", "m.02"), ("m.03", "film.film.genre", "m.04")]
NAMES = ["head_id", "relation_id", "tail_id"]


def rows_of(path: Path, content: str | bytes) -> list[tuple[str, ...]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    table = read_raw_triples(path)
    assert table.columns == NAMES
    assert table.dtypes == [pl.String] * 3
    return table.rows()


def error_of(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(KgrecError) as caught:
        read_raw_triples(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


TSV = "m.01\tfilm.film.actor\tm.02\nm.03\tfilm.film.genre\tm.04\n"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.kg", "head_id:token\trelation_id:token\ttail_id:token\n" + TSV),
        ("x.kg", "head:token\tsort_of:token\tother:token\n" + TSV),
        ("typed names nobody knows", "a:token\tb:token\tc:token\n" + TSV),
        ("no header.tsv", TSV),
        ("no final line end.txt", TSV.rstrip("\n")),
        ("crlf.txt", TSV.replace("\n", "\r\n")),
        ("byte order mark.tsv", "\ufeff" + TSV),
        ("blank lines.tsv", "\n" + TSV.replace("\n", "\n\n") + "\n"),
        ("header.tsv", "head\trelation\ttail\n" + TSV),
        ("spo.csv", "subject,predicate,object\n" + TSV.replace("\t", ",")),
        ("single letters.csv", "h,r,t\n" + TSV.replace("\t", ",")),
        ("semicolons.csv", TSV.replace("\t", ";")),
        ("spaces around.csv", TSV.replace("\t", ", ")),
        ("spaces.txt", TSV.replace("\t", " ")),
        ("pipes.txt", TSV.replace("\t", "|")),
        ("quoted.csv", '"m.01","film.film.actor","m.02"\n"m.03","film.film.genre","m.04"\n'),
        ("quoted.tsv", '"m.01"\t"film.film.actor"\t"m.02"\n"m.03"\t"film.film.genre"\t"m.04"\n'),
        ("angle brackets.tsv", "<m.01>\t<film.film.actor>\t<m.02>\nm.03\tfilm.film.genre\tm.04\n"),
        ("wrong ending.nt", TSV),
    ],
)
def test_delimited_layouts_give_the_same_triples(tmp_path: Path, name: str, content: str) -> None:
    assert rows_of(tmp_path / name, content) == EXPECTED


def test_named_columns_are_taken_by_name_and_others_left(tmp_path: Path) -> None:
    content = (
        "relation,weight,tail,head\nfilm.film.actor,1,m.02,m.01\nfilm.film.genre,2,m.04,m.03\n"
    )
    assert rows_of(tmp_path / "x.csv", content) == EXPECTED


def test_a_column_that_is_numbers_but_for_its_first_line_has_a_header(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "x", "film\tverb\tthing\n1\tr\t7\n2\tr\t8\n") == [
        ("1", "r", "7"),
        ("2", "r", "8"),
    ]


def test_relations_named_like_columns_are_no_header(tmp_path: Path) -> None:
    content = "film1\ttype\tcomedy\nfilm2\tlabel\tTwo\n"
    assert rows_of(tmp_path / "x", content) == [
        ("film1", "type", "comedy"),
        ("film2", "label", "Two"),
    ]


def test_duplicates_and_order_are_kept(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "x", "b\tr\tc\na\tr\tc\nb\tr\tc\n") == [
        ("b", "r", "c"),
        ("a", "r", "c"),
        ("b", "r", "c"),
    ]


def test_a_bare_quote_in_a_tsv_is_a_character(tmp_path: Path) -> None:
    content = 'say "x\tr\tb\nc\tr\t"d\n'
    assert rows_of(tmp_path / "x", content) == [('say "x', "r", "b"), ("c", "r", '"d')]


def test_a_comma_inside_quotes_separates_nothing(tmp_path: Path) -> None:
    content = 'm1,directed_by,"Lee, Ang"\nm2,directed_by,"Lee ""Spike"""\n'
    assert rows_of(tmp_path / "x.csv", content) == [
        ("m1", "directed_by", "Lee, Ang"),
        ("m2", "directed_by", 'Lee "Spike"'),
    ]


def test_latin_1_where_it_is_not_utf_8(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "x", "Amélie\tr\tb\n".encode("latin-1")) == [("Amélie", "r", "b")]


def test_parquet_by_name_or_by_position_and_numbers_as_text(tmp_path: Path) -> None:
    by_name = pl.DataFrame({"relation": ["r", "s"], "head": [1, 2], "tail": [3.0, 4.0]})
    by_name.write_parquet(tmp_path / "no ending")
    assert read_raw_triples(tmp_path / "no ending").rows() == [("1", "r", "3"), ("2", "s", "4")]
    pl.DataFrame({"a": ["x"], "b": ["r"], "c": ["y"]}).write_parquet(tmp_path / "y")
    assert read_raw_triples(tmp_path / "y").rows() == [("x", "r", "y")]


@pytest.mark.parametrize("name", ["kg.txt", "kg_final.txt"])
def test_the_folder_of_kgcn_and_its_like(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("749\tfilm.film.writer\t2347\n1410\tfilm.film.language\t2348\n")
    assert read_raw_triples(tmp_path).rows() == [
        ("749", "film.film.writer", "2347"),
        ("1410", "film.film.language", "2348"),
    ]


def test_kg_txt_goes_before_the_file_made_from_it(tmp_path: Path) -> None:
    (tmp_path / "kg_final.txt").write_text("0 0 1\n")
    (tmp_path / "kg.txt").write_text("a\tr\tb\n")
    assert read_raw_triples(tmp_path).rows() == [("a", "r", "b")]


def test_a_row_is_no_header_when_its_fields_stand_below_again(tmp_path: Path) -> None:
    """`e1` and `e2` are names that columns go by, too."""
    assert rows_of(tmp_path / "x", "e1\tknows\te2\ne2\tknows\te3\n") == [
        ("e1", "knows", "e2"),
        ("e2", "knows", "e3"),
    ]
    assert rows_of(tmp_path / "x", "h\tr\tt\na\tr\tb\n") == [("a", "r", "b")]


def test_the_only_line_is_a_row_unless_it_names_all_columns(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "one.tsv", "e1\tknows\te2\n") == [("e1", "knows", "e2")]
    assert "holds no triples" in error_of(tmp_path / "names.csv", "head,relation,tail\n")


@pytest.mark.parametrize(
    "content",
    [
        "head,relation,tail,weight\nm1,r,m2,\nm2,r,m3,0.5\n",
        "head,relation,tail,weight\nm1,r,m2,NULL\nm2,r,m3,\n",
        "head,relation,tail,note\nm1,r,m2,\nm2,r,m3,\n",
        "a,b,c,score\nm1,r,m2,1\nm2,r,m3,\n",
        "m1,r,m2,0.5\nm2,r,m3,\n",
        "m1,r,m2,\nm2,r,m3,\n",
        "m1,r,m2,nan\nm2,r,m3,1e-3\n",
        "item1,item2,relation\nm1,m2,r\nm2,m3,r\n",
        "item1,relation,item2,weight\nm1,r,m2,\nm2,r,m3,\n",
    ],
)
def test_weights_are_left_out_though_some_are_missing(tmp_path: Path, content: str) -> None:
    assert rows_of(tmp_path / "x.csv", content) == [("m1", "r", "m2"), ("m2", "r", "m3")]


def test_weights_in_parquet(tmp_path: Path) -> None:
    table = {"head": ["m1"], "relation": ["r"], "tail": ["m2"]}
    for weights in ([None], [0.5], [1]):
        pl.DataFrame(table | {"weight": weights}).write_parquet(tmp_path / "x")
        assert read_raw_triples(tmp_path / "x").rows() == [("m1", "r", "m2")]
    pairs = {"source": ["m1", "m2"], "target": ["m2", "m3"], "weight": [None, 0.5]}
    pl.DataFrame(pairs).write_parquet(tmp_path / "x")
    assert read_raw_triples(tmp_path / "x").rows() == PAIRS


PAIRS = [("m1", "related_to", "m2"), ("m2", "related_to", "m3")]


@pytest.mark.parametrize(
    "content",
    [
        "source,target\nm1,m2\nm2,m3\n",
        "source,target,weight\nm1,m2,0.5\nm2,m3,\n",
        "item1,item2,weight\nm1,m2,0.5\nm2,m3,0.25\n",
    ],
)
def test_pairs_with_names_are_of_one_relation(tmp_path: Path, content: str) -> None:
    assert rows_of(tmp_path / "x.csv", content) == PAIRS


@pytest.mark.parametrize(
    "content", ["m1,m2\nm2,m3\n", "asin,other\nm1,m2\nm2,m3\n", "m1,m2,0.5\nm2,m3,\n"]
)
def test_pairs_without_names_are_read_of_items_only(tmp_path: Path, content: str) -> None:
    (tmp_path / "x.csv").write_text(content)
    assert read_raw_triples(tmp_path / "x.csv", of_items=True).rows() == PAIRS
    if "0.5" in content:  # a rating may well be a tail
        (tmp_path / "x.csv").write_text("m1,rated,0.5\n")
        assert read_raw_triples(tmp_path / "x.csv").rows() == [("m1", "rated", "0.5")]
    else:
        assert "pairs of items are read with --link-by id" in error_of(tmp_path / "x.csv", content)


# N-Triples

N_TRIPLES = r"""# a comment
<http://e/Heat> <http://p/director> <http://e/Michael_Mann> .

<http://e/Heat> <http://p/title> "Heat" .
  <http://e/Heat>	<http://p/title>	"Fièvre \"\u00e0 L.A.\"\n\U0001F525"@fr .  # another
<http://e/Heat><http://p/year>"1995"^^<http://www.w3.org/2001/XMLSchema#gYear>.
_:b0 <http://p/of> _:b1.2 .
<http://e/Heat> <http://p/note> "" .
<http://e/Heat> <http://p/note> "see <http://x> . and # no comment" .
"""


def test_n_triples_known_answer(tmp_path: Path) -> None:
    expected = [
        ("http://e/Heat", "http://p/director", "http://e/Michael_Mann"),
        ("http://e/Heat", "http://p/title", "Heat"),
        ("http://e/Heat", "http://p/title", 'Fièvre "à L.A."\n🔥'),
        ("http://e/Heat", "http://p/year", "1995"),
        ("_:b0", "http://p/of", "_:b1.2"),
        ("http://e/Heat", "http://p/note", '""'),
        ("http://e/Heat", "http://p/note", "see <http://x> . and # no comment"),
    ]
    assert rows_of(tmp_path / "x.nt", N_TRIPLES) == expected
    assert rows_of(tmp_path / "x.nt.gz", gzip.compress(N_TRIPLES.encode())) == expected
    assert rows_of(tmp_path / "x.txt", N_TRIPLES) == expected


def test_escapes_that_are_no_characters_stay(tmp_path: Path) -> None:
    assert rows_of(tmp_path / "x", r'<a> <b> "\uD83D \\u0041 \UFFFFFFFF" .') == [
        ("a", "b", r"\uD83D \u0041 \UFFFFFFFF")
    ]


TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"], exclude_characters="\x85"),
    min_size=1,
)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=8))
def test_any_literal_comes_back_from_n_triples(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]]
) -> None:
    path = tmp_path_factory.mktemp("nt") / "x.nt"

    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    path.write_bytes("".join(f"<h> <r> {quoted(a + b)} .\n" for a, b in pairs).encode())
    assert read_raw_triples(path)["tail_id"].to_list() == [a + b for a, b in pairs]


ENTITY = st.text("abcdefgXYZ0123456789._:/éü'", min_size=1).filter(lambda text: text.strip())


@given(
    st.lists(st.tuples(ENTITY, ENTITY, ENTITY), min_size=1, max_size=20),
    st.sampled_from("\t,;"),
    st.booleans(),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    triples: list[tuple[str, str, str]],
    separator: str,
    has_header: bool,
    line_end: str,
) -> None:
    path = tmp_path_factory.mktemp("kg") / "x"
    header = (
        [separator.join(NAMES)]
        if has_header
        else ["zz0,".replace(",", separator) + f"zz{separator}zz"]
    )
    lines = [*header, *(separator.join(triple) for triple in triples)]
    path.write_bytes(line_end.join(lines).encode())
    expected = triples if has_header else [("zz0", "zz", "zz"), *triples]
    if not has_header and len(triples) >= 2:
        # Numbers below a first line of none would make it a header, rightly.
        expected = (
            expected
            if not any(all(t[i].isdecimal() for t in triples) for i in range(3))
            else triples
        )
    assert read_raw_triples(path).rows() == expected


# Malformed


def test_errors_name_file_line_found_expected(tmp_path: Path) -> None:
    path = tmp_path / "x.kg"
    message = error_of(path, "head_id:token\trelation_id:token\ttail_id:token\na\tr\tb\na\tr\n")
    assert message == f"{path}, line 3: found 2 columns ('a<TAB>r'), expected 3"
    message = error_of(path, "a\tr\tb\n\na\tr\tb\tc\n")
    assert message == f"{path}, line 3: found 4 columns ('a<TAB>r<TAB>b<TAB>c'), expected 3"
    message = error_of(path, "a\tr\tb\na\t\tb\n")
    assert message == (
        f"{path}, line 2, column relation_id: found nothing ('a<TAB><TAB>b'), expected a relation"
    )


def test_the_line_of_an_error_counts_the_lines_inside_quotes(tmp_path: Path) -> None:
    message = error_of(tmp_path / "x.csv", 'a,r,"b\nc"\nd,r,"e"\na,r\n')
    assert "line 4: found 2 columns" in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty, expected triples"),
        (b"\n \n", "empty, expected triples"),
        (b"head\trelation\ttail\n", "holds no triples"),
        (b"head_id:token\trelation_id:token\ttail_id:token\n", "holds no triples"),
        (b"just some words of prose, as it were\n", "line 1: found"),
        (b"oneword\n", "line 1: found 'oneword', expected 3 columns (head_id, relation_id"),
        (b"\n\na,b\nc,d\n", "line 3: found 'a,b', expected 3 columns"),
        (b"a\tb\tc\td\ne\tf\tg\th\n", "found 4 columns without known names"),
        (b"head\tweight\tsize\ttail\na\t1\t1\tb\n", "none that is a relation"),
        (b"PK\x03\x04rest", "a zip archive; unpack it"),
        (b"PAR1 but not really", "not a whole Parquet file"),
        (gzip.compress(b"a\tr\tb\n" * 1000, mtime=0)[:-20], "damaged or cut short"),
        (
            b"<a> <r> <b> .\n<a> <r> <b> .\n<a> <r> .\n",
            "line 3: found '<a> <r> .', expected an N-T",
        ),
        (b"<a> <r> <b> .\n<a> <> <b> .\n", "line 2: found '<a> <> <b> .'"),
        (
            b"@prefix ex: <http://x/> .\nex:a ex:r ex:b .\n",
            "Turtle or TriG; convert it to N-Triples",
        ),
        (b"PREFIX ex: <http://x/>\nex:a ex:r ex:b .\n", "Turtle or TriG; convert it"),
        (b"<a> <r> <b> <g> .\n<a> <r> <c> <g> .\n", "N-Quads; convert it to N-Triples"),
        (b'<a> <r> "b"@en <g> .\n', "N-Quads; convert it to N-Triples"),
        (b'<a> <r> "open .\n<a> <r> <b> .\n<a> <r> <b> .\n', "line 1: found"),
    ],
)
def test_what_is_no_graph_is_refused(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in error_of(tmp_path / "x", content)


def test_parquet_with_a_missing_value_names_the_row(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    pl.DataFrame({"h": ["a", "b"], "r": ["r", None], "t": ["c", "d"]}).write_parquet(path)
    with pytest.raises(KgrecError, match="row 2, column r: found nothing, expected a relation"):
        read_raw_triples(path)
    pl.DataFrame({"h": [["a"]], "r": ["r"], "t": ["c"]}).write_parquet(path)
    with pytest.raises(KgrecError, match="expected text or numbers"):
        read_raw_triples(path)
    pl.DataFrame({"x": ["a"], "y": ["r"]}).write_parquet(path)
    with pytest.raises(KgrecError, match="found columns x"):
        read_raw_triples(path)


def test_a_missing_file_and_a_folder_without_a_graph(tmp_path: Path) -> None:
    with pytest.raises(KgrecError, match="nowhere: no such file"):
        read_raw_triples(tmp_path / "nowhere")
    with pytest.raises(KgrecError, match=r"a folder without kg\.txt or kg_final\.txt"):
        read_raw_triples(tmp_path)


@pytest.mark.real_data
def test_real_graphs(real_data_dir: Path) -> None:
    freebase = read_raw_triples(real_data_dir / "freebase" / "ml-100k.kg.gz")
    assert freebase.height == 91_631
    assert freebase["relation_id"].n_unique() == 24
    assert pl.concat([freebase["head_id"], freebase["tail_id"]]).n_unique() == 34_628
    dbpedia = read_raw_triples(real_data_dir / "ml-1m-dbpedia" / "triples.tsv.gz")
    assert dbpedia.height == 34_941
    assert dbpedia["relation_id"].n_unique() == 8
    assert read_raw_triples(real_data_dir / "ml-1m-mkr-kg").height == 20_782
