"""JSON lines, and Parquet that is damaged or unpacks without end."""

import gzip
import json
import random
import re
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kgrec_cli.errors import KgrecError, UsageError
from kgrec_cli.events import Event, Note
from kgrec_cli.formats.raw.interactions import ColumnChoice, read_raw_interactions
from kgrec_cli.formats.raw.item_lists import read_catalog
from kgrec_cli.formats.raw.knowledge_graph import read_raw_links, read_raw_triples


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


LINES = (
    '{"user_id": 8, "item_id": "a b", "rating": 4.0, "timestamp": 5, "text": "a,\\tb\\nc"}\n'
    "\n"
    '  {"item_id": "caf\\u00e9", "user_id": 12345678901234567890123, "timestamp": 7, "rating": 1}\n'
)
ROWS = [("8", "a b", 4, 5), ("12345678901234567890123", "café", 1, 7)]


def test_json_lines_are_read(tmp_path: Path):
    path = write(tmp_path / "x.csv", LINES)
    assert read_raw_interactions(path, ColumnChoice()).table.rows() == ROWS
    path.write_bytes(gzip.compress(LINES.encode()))
    assert read_raw_interactions(path, ColumnChoice()).table.rows() == ROWS
    path.write_bytes(b"\xef\xbb\xbf" + LINES.replace("\n", "\r\n").encode())
    assert read_raw_interactions(path, ColumnChoice()).table.rows() == ROWS


def test_json_lines_in_every_reader(tmp_path: Path):
    path = tmp_path / "x.json"
    write(path, '{"head": "a", "relation": "r", "tail": true}\n')
    assert read_raw_triples(path).rows() == [("a", "r", "true")]
    assert read_raw_links(write(path, '{"item": 1, "entity": "<m.1>"}\n')).rows() == [("1", "m.1")]
    text = '{"asin": "1", "title": "Heat (1995)", "categories": [["A", "B C"], ["D"]]}\n'
    items = read_catalog(write(path, text))
    assert items.select("item_id", "title", "genre").rows() == [("1", "Heat (1995)", "A B_C D")]


def test_a_bad_json_line_is_named(tmp_path: Path):
    lines = ['{"user": "u", "item": "i"}', '{"user": "v", "item"', "[1]", '{"user": null}']
    path = write(tmp_path / "x.json", "\n".join(lines))
    rows = read_raw_interactions(path, ColumnChoice(), on_bad_row="skip")
    assert rows.table.rows() == [("u", "i", 0)]
    assert rows.bad_rows.select("line", "column", "found", "row").rows() == [
        (2, "", "no JSON object", lines[1]),
        (3, "", "no JSON object", lines[2]),
    ]
    nested = write(path, '{"user": {"id": 1}, "item": "i"}\n')
    with pytest.raises(KgrecError, match=r"x\.json, line 1: 'user' holds dicts, expected text"):
        read_raw_interactions(nested, ColumnChoice())
    deep = write(path, '{"user": "u", "item": "i"}\n{"user": ' + "[" * 10**5 + "\n")
    with pytest.raises(
        KgrecError, match=r"x\.json, line 2: found no JSON object, expected one in each line"
    ):
        read_raw_interactions(deep, ColumnChoice())


def test_half_a_character_in_json_is_a_bad_line(tmp_path: Path):
    """ "\\ud800" is JSON, but no text: it is the first half of a character."""
    bad = '{"user_id": "\\ud800", "item_id": "x", "timestamp": 6}\n'
    path = write(tmp_path / "x.jsonl", LINES.replace("\n\n", f"\n{bad}", 1))
    with pytest.raises(KgrecError, match=r"x\.jsonl, line 2: found"):
        read_raw_interactions(path, ColumnChoice())
    rows = read_raw_interactions(path, ColumnChoice(), on_bad_row="skip")
    assert rows.table.rows() == ROWS
    whole = write(tmp_path / "y.jsonl", LINES.replace("a b", "\\ud83d\\ude00"))
    assert read_raw_interactions(whole, ColumnChoice()).table.rows()[0][1] == "\U0001f600"


def test_a_bad_first_json_line_is_a_bad_row(tmp_path: Path):
    path = write(tmp_path / "x.json", '{"user": "u", "it\n{"user": "v", "item": "i"}\n[3]\n')
    rows = read_raw_interactions(path, ColumnChoice(), on_bad_row="skip")
    assert rows.table.rows() == [("v", "i", 0)]
    assert rows.bad_rows["line"].to_list() == [1, 3]
    write(path, '{"user": "u", "it\n{}\n')
    with pytest.raises(KgrecError, match=r"x\.json, line 1: found .*, expected JSON lines: an obj"):
        read_raw_interactions(path, ColumnChoice())


def test_what_a_json_column_is_called(tmp_path: Path):
    path = write(tmp_path / "x.json", '{"reviewerID": "u", "a\'b": "i"}\n')
    message = r"unknown column 'item_id' \(columns: reviewerID, a'b\) in .*x\.json \(JSON lines\)"
    with pytest.raises(UsageError, match=message):
        read_raw_interactions(path, ColumnChoice(item="item_id"))
    assert read_raw_interactions(path, ColumnChoice(item="a'b")).table.rows() == [("u", "i", 0)]


@given(
    st.lists(
        st.fixed_dictionaries({"user": st.integers(), "item": st.text(min_size=1)}), min_size=1
    )
)
@example([{"user": 0, "item": "NULL"}])
def test_any_json_text_reads_back(
    tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, object]]
):
    records = [record for record in records if str(record["item"]).strip()]
    text = "".join(json.dumps(record) + "\n" for record in [{"user": 1, "item": "i"}, *records])
    path = write(tmp_path_factory.mktemp("json") / "x", text)
    # "keep": a text such as "NULL" (hypothesis knows it, too) stands for a missing value else
    table = read_raw_interactions(path, ColumnChoice(), on_missing_id="keep").table
    assert table["user_id"].to_list()[1:] == [str(record["user"]) for record in records]
    items = [re.sub(r"[\t\r\n]+", " ", str(record["item"]).strip()) for record in records]
    assert table["item_id"].to_list()[1:] == items


def test_csv_parquet_and_json_of_one_table_give_the_same_ids(tmp_path: Path):
    """pandas writes whole numbers beside a gap as 18.0."""
    table = pl.DataFrame({"user": [18.0, None, 7.0], "item": [5.0, 6.0, 10.0], "time": [1, 2, 3]})
    table.write_csv(tmp_path / "x.csv")
    table.write_parquet(tmp_path / "x.parquet")
    table.write_ndjson(tmp_path / "x.json")
    assert "18.0,5.0,1" in (tmp_path / "x.csv").read_text()
    for name in ("x.csv", "x.parquet", "x.json"):
        events: list[Event] = []
        read = read_raw_interactions(
            tmp_path / name, ColumnChoice(), on_bad_row="skip", on_event=events.append
        )
        assert read.table.select("user_id", "item_id").rows() == [("18", "5"), ("7", "10")]
        texts = [event.text for event in events if isinstance(event, Note)]
        assert texts == ([] if name == "x.parquet" else [
            f"{tmp_path / name}, column user: 18.0 is read as 18, for all are whole numbers",
            f"{tmp_path / name}, column item: 5.0 is read as 5, for all are whole numbers",
        ])  # fmt: skip


def test_ids_of_a_graph_and_its_links_are_those_of_their_parquet(tmp_path: Path):
    graph = write(tmp_path / "kg.csv", "head,relation,tail\n1.0,r,x\n22.0,r,y\n")
    assert read_raw_triples(graph).rows() == [("1", "r", "x"), ("22", "r", "y")]
    links = write(tmp_path / "links.csv", "item,entity\n5.0,1.0\n6.0,22.0\n")
    assert read_raw_links(links).rows() == [("5", "1"), ("6", "22")]


@pytest.mark.parametrize("ids", [["1.0", "2.5"], ["1.0", "a"], ["1", "2"], ["1.00", "v1.0"]])
def test_ids_that_are_no_whole_floats_stay(tmp_path: Path, ids: list[str]):
    path = write(tmp_path / "x.csv", "user,item\n" + "".join(f"u,{token}\n" for token in ids))
    assert read_raw_interactions(path, ColumnChoice()).table["item_id"].to_list() == ids


# Parquet


def damaged(path: Path, seed: int) -> Path:
    table = pl.DataFrame({"user": list(range(40)), "item": [f"i{i}" for i in range(40)]})
    table.write_parquet(path, compression="uncompressed")
    raw = bytearray(path.read_bytes())
    rng = random.Random(seed)
    for _ in range(4):
        raw[rng.randrange(4, len(raw) - 8)] = rng.randrange(256)
    path.write_bytes(raw)
    return path


READ = """
import sys
from pathlib import Path
from kgrec_cli.errors import KgrecError
from kgrec_cli.formats.raw.interactions import ColumnChoice, read_raw_interactions
from kgrec_cli.formats.raw.knowledge_graph import read_raw_triples
for path in sys.argv[1:]:
    for read in (lambda path: read_raw_interactions(path, ColumnChoice()), read_raw_triples):
        try:
            read(Path(path))
            print("read")
        except KgrecError as error:
            print(error)
"""


def test_damaged_parquet_is_one_line_and_nothing_else_on_the_screen(tmp_path: Path):
    paths = [str(damaged(tmp_path / f"{seed}.parquet", seed)) for seed in range(8)]
    done = subprocess.run(
        [sys.executable, "-c", READ, *paths], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 2 * len(paths)
    assert all(line == "read" or ".parquet: " in line for line in lines)
    assert sum("not a whole Parquet file" in line for line in lines) >= 8


def test_parquet_that_unpacks_without_end_is_one_line(tmp_path: Path):
    path = tmp_path / "x.parquet"
    pl.DataFrame({"user": ["u"], "item": [1]}).select(pl.all().repeat_by(3_000_000).explode()).head(
        3_000_000
    ).write_parquet(path)
    assert path.stat().st_size < 20_000
    with pytest.raises(KgrecError, match=r"x\.parquet: cannot be read .*or [\d,]+ rows"):
        read_raw_interactions(path, ColumnChoice())


def test_parquet_text_without_a_type_and_lists_of_genres(tmp_path: Path):
    path = tmp_path / "x.parquet"
    pl.DataFrame({"user": [b"u"], "item": ["caf\u00e9".encode()]}).write_parquet(path)
    assert read_raw_interactions(path, ColumnChoice()).table.rows() == [("u", "café", 0)]
    pl.DataFrame({"id": [1], "title": ["Heat"], "genres": [["A b", "C"]]}).write_parquet(path)
    assert read_catalog(path)["genre"].to_list() == ["A_b C"]
